"""Readers that do not read, over real sockets: they are cut off, keep nothing, and miss nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from websockets.asyncio.client import connect

from galaxy import gateway, sockets
from galaxy.node import Server
from galaxy.sockets import Unread, protocols
from protocol import link
from protocol.link import SOCKET_BYTES_MAX, DialledSocket
from protocol.session import Session
from protocol.states import DEVICE
from protocol.vocabulary import SUBPROTOCOL
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import TOKEN, WITHIN_S, Node, a_node, star

pytestmark = pytest.mark.asyncio

BUFFER_BYTES = 64 << 10  # of the system's own: they would grow to megabytes


@dataclass
class Carried:
    """A node behind real sockets, and what says that it has cut a reader off."""

    node: Node
    port: int
    cut: asyncio.Event


@pytest_asyncio.fixture
async def carried(tmp_path: Path) -> AsyncIterator[Carried]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    async with a_node(tmp_path) as node:
        cut = asyncio.Event()
        carrying = protocols(cut.set)
        config = uvicorn.Config(node.app, lifespan="off", log_config=None, ws_max_size=SOCKET_BYTES_MAX, **carrying)
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield Carried(node, listener.getsockname()[1], cut)
        finally:
            server.should_exit = server.force_exit = True
            await serving


@asynccontextmanager
async def asked(port: int, path: str) -> AsyncIterator[socket.socket]:
    """A client that has asked for something, and reads nothing by itself."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        await loop.sock_sendall(client, f"{head}Accept: text/event-stream\r\n\r\n".encode())
        yield client


def large(stars: int, kib: int) -> list[dict[str, object]]:
    return [star(f"s{n}", arguments={"text": "x" * (kib << 10)}) for n in range(stars)]


async def test_a_reader_of_events_that_does_not_read_is_cut_off_and_can_go_on_where_it_was(
    carried: Carried, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockets, "UNREAD_S", 0.1)
    node = carried.node
    constellation = await node.submit(*large(4, 200))
    async with asked(carried.port, f"/v1/constellations/{constellation}/events"):
        await carried.cut.wait()
        while node.runner._watchers:
            await node.runner.durable()

    await node.http.post(f"/v1/constellations/{constellation}:cancel")
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{carried.port}", timeout=WITHIN_S) as client:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream", "Last-Event-ID": "1"}
        answer = await client.get(f"/v1/constellations/{constellation}/events", headers=headers)
    assert answer.text.startswith("id: 2\n")
    assert "event: constellation_ended" in answer.text


async def dialled(laptop: Device, port: int) -> None:
    """Let a device connect over a socket of the system's; it reads when the test lets it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    client.connect(("127.0.0.1", port))
    url = f"ws://127.0.0.1:{port}/v1/agent"
    connection = await connect(url, sock=client, subprotocols=[SUBPROTOCOL], compression=None, close_timeout=0.1)
    laptop._end = DialledSocket(connection)  # type: ignore[assignment]
    laptop._socket, laptop.welcome = Session(DEVICE, now=laptop._node.clock()), None
    while laptop.welcome is None:
        await laptop.step()
    await laptop._node.runner.durable()


async def test_a_device_that_does_not_read_is_cut_off_with_the_reason_and_goes_on_over_its_next_socket(
    carried: Carried, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockets, "UNREAD_S", 0.5)
    monkeypatch.setattr(link, "SEND_WITHIN_S", 0.2)
    node = carried.node
    laptop = Device(node, "laptop", slots=100)
    await laptop.join()

    await dialled(laptop, carried.port)
    first = laptop._end
    watcher = node.runner.watch("~fleet")
    constellations = [await node.submit(*large(20, 180)) for _ in range(3)]
    while node.store.kinds("~fleet")[-1] != "device_disconnected":
        await watcher.wait()
        watcher.clear()
    await carried.cut.wait()

    assert node.core.fleet.devices["laptop"].reason == "the peer has not read for 0.2 s"
    assert 'galaxy_links_ended_total{why="overloaded"} 1.0' in (await node.http.get("/metrics")).text
    monkeypatch.undo()
    await dialled(laptop, carried.port)
    assert laptop.welcome
    assert laptop.welcome.resumed
    attempts = {(await laptop.call()).attempt for _ in range(60)}
    assert attempts == {f"{constellation}/s{n}#1" for constellation in constellations for n in range(20)}
    for end in (first, laptop._end):
        await end.close(1000)


async def test_a_device_that_leaves_too_many_bytes_unacknowledged_is_sent_away(
    carried: Carried, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateway, "OUTBOX_BYTES_MAX", 300 << 10)
    laptop = Device(carried.node, "laptop", slots=9)
    await laptop.join()
    await laptop.connect()
    await carried.node.submit(*large(3, 90))
    calls = [await laptop.call() for _ in range(3)]
    for call in calls:
        await laptop.succeed(call)
    assert carried.node.gateway._guests["laptop"].session.unacknowledged_bytes == 0
    await carried.node.submit(*large(4, 90))
    bye = await laptop.bye()

    assert bye.message == f"messages of over {300 << 10} bytes are unacknowledged"


class Pipe(asyncio.Transport):
    """A transport whose buffer empties as a test says."""

    def __init__(self, *left: int) -> None:
        super().__init__()
        self.left = [*left]
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0)

    def abort(self) -> None:
        self.aborted = True


async def test_a_reader_that_takes_a_little_now_and_then_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "UNREAD_S", 0.005)
    cut = asyncio.Event()
    slow = Pipe(100, 90, 90, 89, 89, 89)
    Unread(cut.set).begins(slow, "slow")
    await cut.wait()

    assert (slow.left, slow.aborted) == ([], True)


async def test_a_reader_that_has_caught_up_is_not_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "UNREAD_S", 0.005)
    cut, other = asyncio.Event(), asyncio.Event()
    caught_up, waiting = Unread(cut.set), Unread(other.set)
    caught_up.begins(Pipe(100, 100), "caught up")
    waiting.begins(Pipe(100, 100), "waiting")
    caught_up.ends()
    await other.wait()

    assert not cut.is_set()
