"""The phone of the tests holds its peer to the protocol."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from . import phone
from .wire import CLSE, CNXN, OKAY, OPEN, VERSION, VERSION_WITH_SUMS, WRTE, Packet, packet


class Peer:
    """An adb server that says what the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, command: int, first: int, second: int, payload: bytes = b"", *, summed: bool = True) -> None:
        self.writer.write(Packet(command, first, second, payload).encoded(summed=summed))

    async def hear(self, *, summed: bool = True) -> Packet:
        async with asyncio.timeout(10):
            return await packet(self.reader, summed=summed)

    async def is_cut_off(self) -> bool:
        async with asyncio.timeout(10):
            try:
                while await self.reader.read(4096):
                    pass
            except ConnectionError:
                pass
            return True

    async def outputs(self, service: bytes) -> list[bytes]:
        """Return what the service says, packet by packet."""
        self.say(OPEN, 7, 0, service + b"\0")
        found = []
        while (heard := await self.hear()).command != CLSE:
            if heard.command == WRTE:
                found.append(heard.payload)
                self.say(OKAY, 7, heard.first)
        return found


@asynccontextmanager
async def connected(port: int, *, version: int = VERSION_WITH_SUMS, most: int = 4096) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = Peer(reader, writer)
    try:
        peer.say(CNXN, version, most, b"host::")
        assert (await peer.hear()).command == CNXN
        yield peer
    finally:
        writer.close()


def with_a_peer(body: Callable[[Peer], Coroutine[Any, Any, None]], **more: int) -> None:
    async def run(port: int) -> None:
        async with connected(port, **more) as peer:
            await body(peer)

    with phone() as found:
        asyncio.run(run(found.port))


def test_an_old_peer_gets_sums_and_no_more_at_once_than_it_can_take():
    async def body(peer: Peer) -> None:
        pieces = await peer.outputs(b"exec:screencap -p")

        assert max(map(len, pieces)) == 4096
        assert b"".join(pieces).startswith(b"\x89PNG")

    with_a_peer(body)


def test_a_newer_peer_gets_no_sums():
    async def body(peer: Peer) -> None:
        peer.say(OPEN, 7, 0, b"exec:echo hello\0", summed=False)
        while (heard := await peer.reader.readexactly(24))[:4] != b"WRTE":
            await peer.reader.readexactly(struct.unpack("<6I", heard)[3])

        assert struct.unpack("<6I", heard)[3:5] == (6, 0)

    with_a_peer(body, version=VERSION)


def test_a_service_that_there_is_not_is_closed_at_once():
    async def body(peer: Peer) -> None:
        peer.say(OPEN, 7, 0, b"reverse:forward\0")

        assert await peer.hear() == Packet(CLSE, 0, 7)

    with_a_peer(body)


@pytest.mark.parametrize(
    "broken",
    [
        Packet(OPEN, 7, 0, b"shell:\0").encoded(summed=False),
        Packet(0x12345678, 0, 0).encoded(summed=True),
        struct.pack("<6I", OPEN, 7, 0, 0, 0, OPEN),
        struct.pack("<6I", OPEN, 7, 0, (1 << 20) + 1, 0, OPEN ^ 0xFFFFFFFF),
    ],
    ids=["sum", "command", "magic", "length"],
)
def test_who_breaks_the_protocol_is_cut_off(broken: bytes):
    async def body(peer: Peer) -> None:
        peer.writer.write(broken)

        assert await peer.is_cut_off()

    with_a_peer(body)


def test_who_sends_the_next_packet_before_the_last_was_taken_is_cut_off():
    async def body(peer: Peer) -> None:
        peer.say(OPEN, 7, 0, b"shell:uiautomator\0")
        local = (await peer.hear()).first
        for _ in range(20):
            peer.say(WRTE, 7, local, b"x" * 4096)

        assert await peer.is_cut_off()

    with_a_peer(body)


def test_a_command_ends_when_its_stream_is_closed():
    async def body(peer: Peer) -> None:
        peer.say(OPEN, 7, 0, b"shell:read x; echo $x\0")
        local = (await peer.hear()).first
        peer.say(CLSE, 7, local)

        assert (await peer.hear()).command == CLSE
        assert await peer.outputs(b"shell:echo still here") == [b"still here\n"]

    with_a_peer(body)
