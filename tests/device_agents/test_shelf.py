"""Artifacts against the real endpoints of a node, over real connections that break."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware

from device_agents import shelf as shelf_module
from device_agents.shelf import Shelf
from device_agents.tools.base import ArtifactRef
from galaxy.api import artifacts, errors
from galaxy.api.gate import Gate, Rules
from galaxy.artifacts import Artifacts
from galaxy.node import Server
from galaxy.store.memory import MemoryStore

from .helpers import running, turns
from .tools.bench import failing

TOKEN = "the-session's"
CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REF = ArtifactRef(SHA256, len(CONTENT), "image/png")

pytestmark = pytest.mark.asyncio


class Node:
    """The artifact endpoints of a node, a note of each request, and a way to it that can be cut."""

    def __init__(self, folder: Path) -> None:
        self.artifacts = Artifacts(folder / "node", MemoryStore())
        self.requests: list[str] = []
        self.tokens = {TOKEN: "laptop"}
        self.cuts: list[tuple[int, int]] = []  # bytes up and down after which the next connections break
        self.before_put: list[Any] = []  # called before the next PUTs are heard
        self.port = 0
        self.app = FastAPI(middleware=[Middleware(Gate, rules=Rules("", frozenset(), self.tokens.get))])
        self.app.state.parts = SimpleNamespace(artifacts=self.artifacts, now=lambda: 0.0)
        self.app.include_router(artifacts.router)
        errors.install(self.app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.requests.append(scope["method"])
            if scope["method"] == "PUT" and self.before_put:
                self.before_put.pop(0)()
        await self.app(scope, receive, send)

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, and break it when it has carried so much."""
        up, down = self.cuts.pop(0) if self.cuts else (1 << 40, 1 << 40)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
            ends.append(back)
            async with running(carry(reader, back, up), carry(there, writer, down)) as ways:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.transport.abort()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_max: int) -> None:
    while bytes_max > 0 and (piece := await reader.read(min(bytes_max, 64 << 10))):
        bytes_max -= len(piece)
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[int]:
    """Serve the node, and return the port of the way that can be cut."""
    listener = socket.create_server(("127.0.0.1", 0))
    node.port = listener.getsockname()[1]
    server = Server(uvicorn.Config(node, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    relay = await asyncio.start_server(node.relay, "127.0.0.1", 0)
    async with running(server.serve(sockets=[listener])) as [task]:
        yield relay.sockets[0].getsockname()[1]
        relay.close()
        server.should_exit = True
        await task
    listener.close()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(shelf_module, "PAUSES_S", (0.0,))
    monkeypatch.setattr(shelf_module, "PIECE_BYTES", 200_000)
    return Node(tmp_path)


@pytest_asyncio.fixture
async def shelf(node: Node, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with serving(node) as port:
        shelf = Shelf(node.url(port), tmp_path / "cache")
        shelf.token = TOKEN
        yield shelf
        await shelf.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


async def uploaded(node: Node, content: bytes = CONTENT) -> ArtifactRef:
    """Put the bytes on the node, past all connections."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    sha256 = hashlib.sha256(content).hexdigest()
    assert await node.artifacts.take(sha256, pieces(), start=0, total=len(content), media_type="image/png", at=0.0)
    return ArtifactRef(sha256, len(content), "image/png")


async def test_a_file_goes_up_in_pieces_and_comes_down_whole(node, shelf, file):
    assert await shelf.put(file, "image/png") == REF
    assert node.artifacts.path(SHA256).read_bytes() == CONTENT
    assert (await shelf.fetch(REF)).read_bytes() == CONTENT
    assert node.requests.count("PUT") == 6


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_the_smallest_files_travel_too(node, shelf, tmp_path, content):
    path = tmp_path / "small"
    path.write_bytes(content)

    ref = await shelf.put(path, "text/plain")

    assert (ref.bytes, (await shelf.fetch(ref)).read_bytes()) == (len(content), content)


async def test_what_galaxy_has_is_not_sent_again(node, shelf, file):
    await uploaded(node)

    assert await shelf.put(file, "image/png") == REF
    assert node.requests == ["HEAD"]


async def test_an_upload_goes_on_where_its_connection_broke(node, shelf, file):
    node.cuts = [(300_000, 1 << 40), (90_000, 1 << 40), (250_000, 1 << 40), (1 << 40, 100)]

    assert await shelf.put(file, "image/png") == REF
    assert node.artifacts.path(SHA256).read_bytes() == CONTENT


async def test_a_download_goes_on_where_its_connection_broke(node, shelf):
    """Also when it breaks more often than would be borne without any progress."""
    await uploaded(node)
    node.cuts = [(1 << 40, 90_000)] * 10

    assert (await shelf.fetch(REF)).read_bytes() == CONTENT
    assert node.requests == ["GET"] * 11


async def test_a_galaxy_that_is_gone_is_given_up_on_after_some_tries(node, file, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        shelf = Shelf(node.url(nobody.getsockname()[1]), tmp_path / "cache")
    for transfer in (shelf.put(file, "image/png"), shelf.fetch(REF)):
        with failing("artifact_unreachable", SHA256[:12], retryable=True):
            await transfer
    await shelf.close()


async def test_a_transfer_waits_for_the_next_session_however_often_it_was_tried_with_the_old_one(node, shelf, file):
    node.tokens.clear()

    def reconnected() -> None:
        node.tokens["the next session's"] = "laptop"
        shelf.token = "the next session's"

    asyncio.get_running_loop().call_later(0.1, reconnected)

    assert await shelf.put(file, "image/png") == REF
    assert node.requests.count("HEAD") < shelf_module.BREAKS_MAX


async def test_a_session_that_does_not_come_back_ends_the_transfer(node, shelf, file, monkeypatch):
    monkeypatch.setattr(shelf_module, "SESSION_WITHIN_S", 0.01)
    node.tokens.clear()

    with failing("artifact_unreachable", "401", retryable=True):
        await shelf.put(file, "image/png")


async def test_an_artifact_that_galaxy_does_not_have_is_missing(node, shelf):
    with failing("artifact_missing", SHA256):
        await shelf.fetch(REF)

    assert node.requests == ["GET"]


async def test_bytes_that_are_not_what_their_name_says_are_dropped(node, shelf, tmp_path):
    await uploaded(node)
    node.artifacts.path(SHA256).write_bytes(CONTENT[::-1])

    with failing("artifact_corrupt", SHA256, retryable=True):
        await shelf.fetch(REF)
    assert list((tmp_path / "cache").iterdir()) == []

    node.artifacts.path(SHA256).write_bytes(CONTENT)
    assert (await shelf.fetch(REF)).read_bytes() == CONTENT


@pytest.mark.parametrize("claimed", [1, len(CONTENT) - 1])
async def test_an_artifact_that_is_larger_than_its_reference_says_is_not_read_to_its_end(node, shelf, claimed):
    await uploaded(node)

    with failing("artifact_corrupt", str(claimed), retryable=True):
        await shelf.fetch(msgspec.structs.replace(REF, bytes=claimed))


async def test_an_artifact_that_is_smaller_than_its_reference_says_is_given_up_on(node, shelf):
    await uploaded(node)

    with failing("artifact_unreachable", retryable=True):
        await shelf.fetch(msgspec.structs.replace(REF, bytes=len(CONTENT) + 1))


@pytest.mark.parametrize("name", ["../device.key", "/etc/passwd", "http://elsewhere/steal", "", "A" * 64])
async def test_a_name_that_is_no_sha256_is_neither_asked_for_nor_opened(node, shelf, tmp_path, name):
    (tmp_path / "device.key").write_text("secret")

    with failing("bad_arguments", "not the SHA-256"):
        await shelf.fetch(ArtifactRef(name, 6))

    assert node.requests == []


@pytest.mark.parametrize("left", [CONTENT, CONTENT[:1000], CONTENT[:0]])
async def test_what_a_killed_agent_left_of_a_download_is_made_use_of(node, shelf, tmp_path, left):
    await uploaded(node)
    (tmp_path / "cache" / f"{SHA256}.part").write_bytes(left)

    assert (await shelf.fetch(REF)).read_bytes() == CONTENT


async def test_what_a_power_cut_has_left_of_a_cached_file_is_fetched_anew(node, shelf, tmp_path):
    await uploaded(node)
    (tmp_path / "cache" / SHA256).write_bytes(b"")

    assert (await shelf.fetch(REF)).read_bytes() == CONTENT


async def test_a_fetched_file_is_read_only_and_is_not_fetched_twice(node, shelf):
    await uploaded(node)

    first, second = await shelf.fetch(REF), await shelf.fetch(REF)

    assert (first, first.stat().st_mode & 0o777) == (second, 0o400)
    assert node.requests == ["GET"]


async def test_many_calls_that_want_one_artifact_share_one_download(node, shelf):
    await uploaded(node)
    async with running(*(shelf.fetch(REF) for _ in range(5))) as fetches:
        paths = {await fetch for fetch in fetches}

    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert node.requests == ["GET"]


async def test_a_download_that_is_cancelled_is_taken_over_by_whoever_else_wants_it(node, shelf):
    await uploaded(node)
    async with running(shelf.fetch(REF), shelf.fetch(REF)) as [first, second]:
        await turns(1)
        first.cancel()

        assert (await second).read_bytes() == CONTENT
    assert first.cancelled()


async def test_two_calls_may_put_the_same_bytes_at_the_same_time(node, shelf, file, monkeypatch):
    monkeypatch.setattr(shelf_module, "PAUSES_S", (0.05, 0.1, 0.2, 0.4, 0.8))
    async with running(shelf.put(file, "image/png"), shelf.put(file, "image/png")) as puts:
        assert [await put for put in puts] == [REF, REF]

    assert node.artifacts.path(SHA256).read_bytes() == CONTENT


def whole_but_not_verified(node: Node, *, under_way: bool) -> None:
    partial = node.artifacts._partial(SHA256)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT)
    if under_way:
        node.artifacts._taking.add(SHA256)


async def test_bytes_that_galaxy_is_just_verifying_for_another_call_are_waited_for(node, shelf, file):
    whole_but_not_verified(node, under_way=True)
    node.before_put = [lambda: None, lambda: None, lambda: node.artifacts._taking.discard(SHA256)]

    assert await shelf.put(file, "image/png") == REF
    assert node.artifacts.path(SHA256).read_bytes() == CONTENT


async def test_bytes_that_a_killed_node_did_not_come_to_verify_are_verified_with_the_next_upload(node, shelf, file):
    whole_but_not_verified(node, under_way=False)

    assert await shelf.put(file, "image/png") == REF
    assert node.artifacts.path(SHA256).read_bytes() == CONTENT
    assert node.requests == ["HEAD", "PUT"]


async def test_a_file_that_shrinks_while_it_goes_up_is_given_up_on(node, shelf, file):
    node.before_put = [lambda: None, lambda: os.truncate(file, 250_000)]

    with failing("artifact_changed", "cut short"):
        await shelf.put(file, "image/png")


async def test_a_file_that_changes_while_it_goes_up_is_given_up_on(node, shelf, file):
    node.before_put = [lambda: None, lambda: file.write_bytes(CONTENT[::-1])]

    with failing("artifact_unreachable", "422", retryable=True):
        await shelf.put(file, "image/png")


async def test_wrong_bytes_that_someone_else_began_with_are_replaced(node, shelf, file):
    async def junk() -> AsyncIterator[bytes]:
        yield b"junk" * 1000

    await node.artifacts.take(SHA256, junk(), start=0, total=len(CONTENT), media_type="image/png", at=0.0)

    assert await shelf.put(file, "image/png") == REF


async def test_the_cache_drops_what_was_used_longest_ago_and_nothing_that_is_in_use(node, shelf, monkeypatch):
    monkeypatch.setattr(shelf_module, "CACHE_BYTES_MAX", 10)
    old, used, new = [await uploaded(node, bytes([n]) * 8) for n in range(3)]
    paths = [await shelf.fetch(ref) for ref in (old, used)]
    os.utime(paths[0], (1.0, 1.0))

    paths.append(await shelf.fetch(new))

    assert [path.exists() for path in paths] == [False, True, True]
