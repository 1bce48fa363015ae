"""Sessions over real sockets: a websockets client end, a uvicorn and Starlette end, and a wire that can freeze."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from msgspec import Raw
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from protocol import link as shell
from protocol.codec import unframed
from protocol.errors import RemoteProtocolError
from protocol.link import AcceptedSocket, DialledSocket, Link, SocketClosed, dial
from protocol.messages import AnyMessage, Bye, Challenge, Drain, Hello, Report, Welcome
from protocol.session import Session
from protocol.states import CLOSED, DEVICE, GALAXY, OPEN
from protocol.vocabulary import FRAME_BYTES_MAX, SUBPROTOCOL, ByeCode, Outcome

from .helpers import CHALLENGE, hello

pytestmark = pytest.mark.asyncio

Hear = Callable[[Link, AnyMessage], Awaitable[None]]


class Echo:
    """A galaxy that greets everybody, and answers each report with its attempt."""

    def __init__(self, heartbeat_s: float = 5.0) -> None:
        self.heartbeat_s = heartbeat_s
        self.links: list[Link] = []
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/agent"

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        session = Session(GALAXY, now=time.monotonic())
        session.send(CHALLENGE)
        link = Link(session, AcceptedSocket(receive, send), time.monotonic)
        self.links.append(link)

        async def hear(messages: list[AnyMessage]) -> None:
            for message in messages:
                self.answer(link, message)
            session.settle(session.heard, time.monotonic())
            link.wake()

        self.ended.put_nowait(await link.run(hear))

    def answer(self, link: Link, message: AnyMessage) -> None:
        match message:
            case Hello():
                link.session.send(Welcome("s1", False, 0, self.heartbeat_s, 64, "token"))
            case Report(attempt="nonsense"):
                raise RemoteProtocolError(ByeCode.MALFORMED, "nonsense is no attempt")
            case Report(attempt=attempt):
                link.session.send(Drain(attempt))


@asynccontextmanager
async def running(echo: Echo) -> AsyncIterator[Echo]:
    """Serve on a free port of the loopback, as `galaxy serve` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    echo.port = listener.getsockname()[1]
    app = Starlette(
        routes=[WebSocketRoute("/v1/agent", echo), Route("/page", lambda _: PlainTextResponse("no socket"))]
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app, ws="websockets-sansio", ws_max_size=shell.SOCKET_BYTES_MAX, lifespan="off", log_level="error"
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(20):
            yield echo
    finally:
        server.should_exit = server.force_exit = True
        await serving


class Device:
    """A device that greets back and keeps what it hears."""

    def __init__(self, dialled: DialledSocket) -> None:
        self.session = Session(DEVICE, now=time.monotonic())
        self.link = Link(self.session, dialled, time.monotonic)
        self.heard: asyncio.Queue[AnyMessage] = asyncio.Queue()

    async def hear(self, messages: list[AnyMessage]) -> None:
        for message in messages:
            if isinstance(message, Challenge):
                self.session.send(hello())
            self.heard.put_nowait(message)
        self.session.settle(self.session.heard, time.monotonic())

    def report(self, attempt: str) -> None:
        self.session.send(Report(attempt, Outcome.SUCCEEDED, Raw(b'"done"')))
        self.link.wake()


@asynccontextmanager
async def device_at(url: str) -> AsyncIterator[Device]:
    """A device with an open session, whose link is carried in the background."""
    device = Device(await dial(url))
    async with asyncio.TaskGroup() as tasks:
        carried = tasks.create_task(device.link.run(device.hear))
        assert isinstance(await device.heard.get(), Challenge)
        assert isinstance(await device.heard.get(), Welcome)
        yield device
        device.session.close(ByeCode.STOPPING, "the test is over")
        device.link.wake()
        await carried


async def raw_peer(url: str) -> DialledSocket:
    """A peer whose frames the test writes itself; it has been greeted."""
    peer = await dial(url)
    session = Session(DEVICE, now=0.0)
    session.receive(await peer.recv(), 0.0)
    session.send(hello())
    for frame in session.frames_to_send(0.0):
        await peer.send(frame)
    session.receive(await peer.recv(), 0.0)
    assert session.state is OPEN
    return peer


async def last_word(peer: DialledSocket) -> Bye:
    """Read to the end of the socket; return the Bye."""
    byes: list[Bye] = []
    try:
        while True:
            byes += [m for m in unframed(await peer.recv()).messages if isinstance(m, Bye)]
    except SocketClosed:
        (bye,) = byes
        return bye


async def test_words_cross_both_ways_and_are_acknowledged():
    async with running(Echo()) as echo, device_at(echo.url) as device:
        for n in range(3):
            device.report(f"c/a#{n}")
        assert [await device.heard.get() for _ in range(3)] == [Drain(f"c/a#{n}") for n in range(3)]
        device.report("c/b#1")
        await device.heard.get()
        assert device.session.unacknowledged <= 1


async def test_a_goodbye_ends_the_link_at_both_ends():
    async with running(Echo()) as echo:
        async with device_at(echo.url) as device:
            echo.links[0].session.close(ByeCode.REVOKED, "not welcome here", terminal=True)
            echo.links[0].wake()
            assert await device.heard.get() == Bye(ByeCode.REVOKED, "not welcome here", terminal=True)
        assert await echo.ended.get() == "said goodbye"
        assert device.session.state is CLOSED


async def test_a_malformed_frame_closes_only_that_link_and_says_why():
    async with running(Echo()) as echo, device_at(echo.url) as bystander:
        peer = await raw_peer(echo.url)
        await peer.send(b'{"first":1,"messages":[{"type":"nova"}]}')

        bye = await last_word(peer)
        assert (bye.code, "nova" in bye.message) == (ByeCode.MALFORMED, True)
        bystander.report("c/a#1")
        assert await bystander.heard.get() == Drain("c/a#1")


async def test_a_message_that_makes_no_sense_to_the_owner_closes_the_link_too():
    async with running(Echo()) as echo:
        peer = await raw_peer(echo.url)
        await peer.send(b'{"first":1,"messages":[{"type":"report","attempt":"nonsense","outcome":"succeeded"}]}')

        assert await last_word(peer) == Bye(ByeCode.MALFORMED, "nonsense is no attempt")


async def test_an_oversized_frame_is_answered_with_its_size_before_the_link_closes():
    async with running(Echo()) as echo:
        peer = await raw_peer(echo.url)
        await peer.send(b" " * (FRAME_BYTES_MAX + FRAME_BYTES_MAX // 2) + b"{}")

        bye = await last_word(peer)
        assert bye.code is ByeCode.TOO_LARGE
        assert bye.message == f"a frame of {FRAME_BYTES_MAX * 3 // 2 + 2} bytes, at most {FRAME_BYTES_MAX}"


async def test_a_peer_that_leaves_without_a_word_ends_the_link_and_not_the_session():
    async with running(Echo()) as echo:
        peer = await raw_peer(echo.url)
        await peer.close(1000)

        assert (await echo.ended.get()).startswith("socket closed")
        assert echo.links[0].session.state is OPEN


async def test_what_was_read_is_heard_to_its_end_though_the_socket_breaks():
    """The session has counted it as heard, so it would not be said again."""
    async with running(Echo()) as echo:
        device = Device(await dial(echo.url))
        entered, may_go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow(messages: list[AnyMessage]) -> None:
            await device.hear(messages)
            if any(isinstance(message, Drain) for message in messages):
                entered.set()
                await may_go_on.wait()
                finished.set()

        async with asyncio.TaskGroup() as tasks:
            carried = tasks.create_task(device.link.run(slow))
            await device.heard.get()
            await device.heard.get()
            device.report("c/a#1")
            await entered.wait()
            device.session.close(ByeCode.STOPPING, "in the middle of it")
            device.link.wake()
            await echo.ended.get()
            assert not carried.done()
            may_go_on.set()
            await carried
        assert finished.is_set()


async def test_a_half_open_wire_is_noticed_by_both_ends_by_the_heartbeat():
    async with running(Echo(heartbeat_s=0.1)) as echo, freezable(echo.port) as (port, freeze):
        device = Device(await dial(f"ws://127.0.0.1:{port}/v1/agent"))

        async def freeze_when_open(messages: list[AnyMessage]) -> None:
            await device.hear(messages)
            if any(isinstance(message, Welcome) for message in messages):
                freeze.set()

        assert await device.link.run(freeze_when_open) == "it was silent for too long"
        assert device.session.state is CLOSED
        await echo.ended.get()
        assert echo.links[0].session.state is CLOSED


async def test_a_peer_that_does_not_read_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(shell, "SEND_WITHIN_S", 0.2)
    async with running(Echo()) as echo:
        peer = await raw_peer(echo.url)
        link = echo.links[0]
        for _ in range(64):
            link.session.send(Drain("x" * 900_000))
        link.wake()

        assert await echo.ended.get() == "the peer has not read for 0.2 s"
        await peer.close(1000)


async def test_a_galaxy_that_is_not_there_or_is_none_cannot_be_dialled():
    async with running(Echo()) as echo:
        with pytest.raises(SocketClosed):
            await dial(f"ws://127.0.0.1:{echo.port}/page")
    with pytest.raises(OSError, match=r"\d+"):
        await dial(echo.url)


async def test_writing_to_a_socket_that_is_closed_says_so():
    async with running(Echo()) as echo:
        peer = await raw_peer(echo.url)
        await peer.close(1000)
        with pytest.raises(SocketClosed):
            await peer.send(b"{}")
        await echo.ended.get()
        with pytest.raises(SocketClosed):
            await echo.links[0]._socket.send(b"{}")


@asynccontextmanager
async def freezable(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A wire to `port` that carries nothing any more once it is frozen, and does not say so."""
    frozen = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not frozen.is_set():
                writer.write(data)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, upstream), pump(upstream_reader, writer), return_exceptions=True)
        finally:
            for end in (writer, upstream):
                end.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], frozen
