"""A TCP proxy between one device and the node, in the judge's own loop: the network, which may do what it likes.

    latency_s, rate          every byte comes later, or few at a time
    hold(...)                keep back one direction from a certain word on; release() or drop() what was kept
    swallow(...)             half-open, or open one way only: what is there stays open, and nothing crosses it any more
    reset()                  both ends of every connection find it reset
    cut_mid_frame()          the next frame of the device arrives by half, and then the connection is gone
    refuse                   whoever dials is reset at once

What a fault does to a connection is over with it: the next one is well, unless `refuse`, `latency_s` or `rate` say no.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from .frames import Frames, Piece

READ_BYTES = 64 << 10
SLICE_BYTES = 4 << 10  # at a limited rate
RESET = struct.pack("ii", 1, 0)  # to linger for 0 s: the kernel sends a RST instead of a FIN


class Way(StrEnum):
    """A direction."""

    UP = "up"  # from the device to the node
    DOWN = "down"


UP, DOWN = Way


@dataclass(slots=True)
class Hold:
    """A wish to keep back one direction, from the first frame that says `word` on, or of uploads after some bytes."""

    way: Way
    word: bytes = b""  # empty: anything
    uploads_after: int = 0  # not of the session, but of what is sent beside it, once so many bytes have passed
    said: int = 0  # how often the word stands in what is kept back
    caught: int = 0  # connections of which something is kept back


class Proxy:
    """The way of one device to the node."""

    def __init__(self, port_behind: int) -> None:
        self.port = 0
        self.latency_s = 0.0
        self.rate = 0.0  # bytes a second, each way; 0: no limit
        self.refuse = False
        self.refused = 0
        self.sessions = 0  # WebSockets that were opened so far
        self.cutting = False
        self.holding: Hold | None = None
        self.connections: set[Connection] = set()
        self._port_behind = port_behind
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, on a port of the kernel's choice."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Reset what is open, and listen no more."""
        assert self._server
        self._server.close()
        self.reset()
        for connection in list(self.connections):
            await connection.over.wait()

    def hold(self, way: Way, word: str = "", *, uploads_after: int = 0) -> Hold:
        """Keep something back from here on, and return what tells of it."""
        self.holding = Hold(way, f'"type":"{word}"'.encode() if word else b"", uploads_after)
        return self.holding

    def release(self) -> None:
        """Let what was kept back go on its way."""
        self.holding = None
        for pipe in self._pipes():
            pipe.release()

    def drop(self) -> None:
        """Lose what was kept back, and what comes after it on the same connections, but for their end."""
        self.holding = None
        for pipe in self._pipes():
            if pipe.held:
                pipe.losing = True
                pipe.held.clear()
                pipe.release()

    def swallow(self, *ways: Way) -> None:
        """Let nothing more cross, in these directions, the connections that are open; not even their end.

        What is kept back on its way to the device stays so, and is lost with its connection.
        """
        self.holding = None
        for pipe in self._pipes():
            if pipe.way in ways:
                pipe.swallowing = True
                pipe.held.clear()
            elif pipe.way is UP:
                pipe.release()

    def cut_mid_frame(self) -> None:
        """Pass on half of the device's next frame, or of one that is kept back, and nothing more on its connection.

        What is kept back on its way to the device is lost.
        """
        self.cutting, self.holding = True, None
        for pipe in self._pipes():
            if pipe.way is UP:
                pipe.release()

    def reset(self) -> None:
        """Break every connection as a router does that has forgotten it."""
        self.holding = None
        for connection in list(self.connections):
            connection.reset()

    def heal(self) -> None:
        """Be a good network again."""
        self.latency_s = self.rate = 0.0
        self.refuse = self.cutting = False
        self.release()

    def _pipes(self) -> "list[Pipe]":
        return [pipe for connection in self.connections for pipe in connection.pipes]

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            self.refused += 1
            _reset(writer)
            return
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._port_behind)
        except OSError:  # no node
            _reset(writer)
            return
        connection = Connection(self, (reader, writer), behind)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            connection.over.set()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connection:
    """One connection of the device, and the one that stands for it behind the proxy."""

    def __init__(self, proxy: Proxy, device: Ends, node: Ends) -> None:
        self.over = asyncio.Event()
        self._proxy = proxy
        self._writers = (device[1], node[1])
        self.pipes = (Pipe(proxy, self, UP, device[0], node[1]), Pipe(proxy, self, DOWN, node[0], device[1]))

    async def run(self) -> None:
        """Carry bytes both ways until one end has closed and the other was told."""
        async with asyncio.TaskGroup() as tasks:
            for pipe in self.pipes:
                tasks.create_task(pipe.read())
                tasks.create_task(pipe.write())
        for writer in self._writers:
            writer.close()

    def reset(self) -> None:
        """Break it at both ends."""
        for writer in self._writers:
            _reset(writer)
        self.end()

    def end(self) -> None:
        """Let nothing more be waited for."""
        for pipe in self.pipes:
            pipe.end()


class Pipe:
    """One direction of a connection."""

    def __init__(
        self, proxy: Proxy, connection: Connection, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        self.way = way
        self.swallowing = False  # what the source says, and its end too
        self.losing = False  # only what it says
        self.held: deque[Piece] = deque()
        self.closing_at: float | None = None  # when the source said, in WebSocket's words, that it closes
        self._proxy = proxy
        self._connection = connection
        self._source = source
        self._sink = sink
        self._frames = Frames()
        self._passed = 0
        self._kept_back: Hold | None = None
        self._queue: deque[tuple[float, bytes]] = deque()  # what is under way, and when it arrives
        self._stirred = asyncio.Event()
        self._source_ended = self._ended = False

    async def read(self) -> None:
        """Take in what the source says, to its end."""
        with suppress(OSError):
            while not self._ended and (data := await self._source.read(READ_BYTES)):
                was_session = self._frames.is_session
                for piece in self._frames.fed(data):
                    self._take(piece)
                if self._frames.is_session and not was_session and self.way is UP:
                    self._proxy.sessions += 1
        self._source_ended = True
        self._stirred.set()

    async def write(self) -> None:
        """Hand on what has arrived, and then the end."""
        with suppress(OSError):
            while not self._ended:
                self._stirred.clear()
                if self._queue:
                    due_at, data = self._queue.popleft()
                    await self._hand_on(due_at, data)
                elif self._source_ended and not self.swallowing and not self.held:
                    break
                else:
                    await self._stirred.wait()
        self._sink.close()
        self._connection.end()

    def release(self) -> None:
        """Go on as if nothing had been held."""
        self._kept_back = None
        held, self.held = self.held, deque()
        for piece in held:
            self._take(piece)
        self._stirred.set()

    def end(self) -> None:
        """Wait for nothing more."""
        self._ended = True
        self._stirred.set()

    def _take(self, piece: Piece) -> None:
        if piece.is_close and self.closing_at is None:
            self.closing_at = time.monotonic()
        if self.swallowing or self.losing:
            return
        if self._keeps_back(piece):
            self.held.append(piece)
        elif self._proxy.cutting and self.way is UP and (piece.is_frame or self._frames.is_session is False):
            self._proxy.cutting = False
            self._pass_on(piece.raw[: len(piece.raw) // 2])
            self.losing = self._source_ended = True  # what has gone out arrives, and then the end
        else:
            self._pass_on(piece.raw)

    def _keeps_back(self, piece: Piece) -> bool:
        hold = self._proxy.holding
        if self._kept_back is None and hold is not None and self._is_meant(hold, piece):
            self._kept_back = hold
            hold.caught += 1
        if self._kept_back is None:
            return False
        self._kept_back.said += piece.text.count(self._kept_back.word) if self._kept_back.word else 0
        return True

    def _is_meant(self, hold: Hold, piece: Piece) -> bool:
        if hold.way is not self.way:
            return False
        if hold.uploads_after:
            return self._frames.is_session is False and self._passed >= hold.uploads_after
        return bool(self._frames.is_session) and hold.word in piece.text

    def _pass_on(self, data: bytes) -> None:
        self._passed += len(data)
        self._queue.append((time.monotonic() + self._proxy.latency_s, data))
        self._stirred.set()

    async def _hand_on(self, due_at: float, data: bytes) -> None:
        if (early_s := due_at - time.monotonic()) > 0:
            await asyncio.sleep(early_s)
        if not self._proxy.rate:
            self._sink.write(data)
            await self._sink.drain()
            return
        for begin in range(0, len(data), SLICE_BYTES):
            part = data[begin : begin + SLICE_BYTES]
            self._sink.write(part)
            await self._sink.drain()
            if self._proxy.rate:
                await asyncio.sleep(len(part) / self._proxy.rate)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):  # it is gone already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
