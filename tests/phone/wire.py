"""The wire protocol of ADB, the phone's side: packets, the greeting, and streams over one connection.

A packet is six words (command, two arguments, the payload's length and sum, the command inverted) and its payload. Of
each stream one packet is under way at a time: the next may go when the peer has said OKAY to the last.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

_NAMES = b"CNXN", b"OPEN", b"OKAY", b"WRTE", b"CLSE"
CNXN, OPEN, OKAY, WRTE, CLSE = (int.from_bytes(name, "little") for name in _NAMES)
VERSION_WITH_SUMS = 0x01000000
VERSION = 0x01000001  # from here on nobody sums the payloads up
PAYLOAD_BYTES_MAX = 1 << 20
STREAMS_MAX = 100
_GREETING_S = 10.0
_HEADER = struct.Struct("<6I")


class Breach(Exception):
    """The peer does not speak the protocol; the connection ends."""


class Abandoned(Exception):
    """The service ends its stream here, whatever the peer still has to say."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What is said at once."""

    command: int
    first: int
    second: int
    payload: bytes = b""

    def encoded(self, *, summed: bool) -> bytes:
        total = sum(self.payload) & 0xFFFFFFFF if summed else 0
        magic = self.command ^ 0xFFFFFFFF
        return _HEADER.pack(self.command, self.first, self.second, len(self.payload), total, magic) + self.payload


async def packet(reader: asyncio.StreamReader, *, summed: bool) -> Packet:
    """Return the next packet; raise Breach, IncompleteReadError."""
    command, first, second, length, total, magic = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if magic != command ^ 0xFFFFFFFF:
        raise Breach(f"the magic of {command:#x} is {magic:#x}")
    if length > PAYLOAD_BYTES_MAX:
        raise Breach(f"a payload of {length} bytes")
    payload = await reader.readexactly(length)
    if (summed or command == CNXN) and sum(payload) & 0xFFFFFFFF != total:
        raise Breach("the sum of the payload is wrong")
    return Packet(command, first, second, payload)


class Stream:
    """One conversation with a service of the phone."""

    def __init__(self, connection: "Connection", local: int, remote: int) -> None:
        self.local, self.remote = local, remote
        self.may_write = asyncio.Event()
        self._connection = connection
        self._came: asyncio.Queue[bytes] = asyncio.Queue()
        self._held = bytearray()

    async def write(self, content: bytes) -> None:
        most = self._connection.payload_bytes_max
        for start in range(0, len(content), most):
            await self.may_write.wait()
            self.may_write.clear()
            await self._connection.send(Packet(WRTE, self.local, self.remote, content[start : start + most]))

    async def read(self) -> bytes:
        """Return some bytes that came. Who reads is cancelled when the peer closes the stream."""
        while not self._held:
            self._held += await self._came.get()
            await self._connection.send(Packet(OKAY, self.local, self.remote))
        piece = bytes(self._held)
        self._held.clear()
        return piece

    async def exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            found += await self.read()
        self._held[:0] = found[count:]
        return bytes(found[:count])

    def came(self, piece: bytes) -> None:
        if self._came.qsize():
            raise Breach("a second packet before the first was taken")
        self._came.put_nowait(piece)


Service = Callable[[Stream], Awaitable[None]]


class Connection:
    """One adb server that is connected, and the streams that it has opened."""

    def __init__(
        self,
        pair: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        banner: bytes,
        service: Callable[[str], Service | None],
        version: int = VERSION,
    ) -> None:
        self.payload_bytes_max = 4096  # until the greeting
        self._reader, self._writer = pair
        self._banner = banner
        self._service = service
        self._version = version
        self._summed = True
        self._streams: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._count = 0

    async def serve(self) -> None:
        """Return when the peer is gone, or has not kept to the protocol; nothing of its streams is left then."""
        try:
            async with asyncio.TaskGroup() as group:
                with suppress(Breach, OSError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(_GREETING_S):
                        await self._greeted()
                    while True:
                        self._take(await packet(self._reader, summed=self._summed), group)
                for _, task in self._streams.values():
                    task.cancel()
        finally:
            self._writer.close()

    def close(self) -> None:
        self._writer.transport.abort()

    async def send(self, said: Packet) -> None:
        self._writer.write(said.encoded(summed=self._summed))
        await self._writer.drain()

    async def _greeted(self) -> None:
        said = await packet(self._reader, summed=True)
        if said.command != CNXN:
            raise Breach("no greeting")
        self._summed = min(self._version, said.first) < VERSION
        self.payload_bytes_max = max(1, min(PAYLOAD_BYTES_MAX, said.second))
        greeting = Packet(CNXN, self._version, PAYLOAD_BYTES_MAX, self._banner)
        self._writer.write(greeting.encoded(summed=True))
        await self._writer.drain()

    def _take(self, said: Packet, group: asyncio.TaskGroup) -> None:
        known = self._streams.get(said.second)
        match said.command:
            case int(command) if command == OPEN:
                self._open(said, group)
            case int(command) if command == OKAY and known:
                known[0].may_write.set()
            case int(command) if command == WRTE and known:
                known[0].came(said.payload)
            case int(command) if command == CLSE and known:
                known[1].cancel()
            case int(command) if command not in (OKAY, WRTE, CLSE):
                raise Breach(f"the command {command:#x}")

    def _open(self, said: Packet, group: asyncio.TaskGroup) -> None:
        if len(self._streams) >= STREAMS_MAX:
            raise Breach("too many streams")
        self._count += 1
        stream = Stream(self, self._count, said.first)
        service = self._service(said.payload.rstrip(b"\0").decode("utf-8", "replace"))
        self._streams[stream.local] = stream, group.create_task(self._served(stream, service))

    async def _served(self, stream: Stream, service: Service | None) -> None:
        try:
            if service is None:
                return
            stream.may_write.set()
            with suppress(ConnectionError, Abandoned):
                await self.send(Packet(OKAY, stream.local, stream.remote))
                await service(stream)
                await stream.may_write.wait()  # or the peer would lose what it has not taken yet
        finally:
            del self._streams[stream.local]
            refused = service is None
            closing = Packet(CLSE, 0 if refused else stream.local, stream.remote)
            self._writer.write(closing.encoded(summed=self._summed))
