"""The only way out of the browser: a proxy on loopback that asks the guard before each connection.

Chromium resolves no name and dials nobody itself. What a page wants (navigation, redirect, picture, fetch, WebSocket,
worker, download) comes here with the name of its host. The name is looked up once, its addresses are judged by the
guard, and the connection goes to one of those: a name that leads elsewhere a moment later changes nothing.
"""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from ....addresses import Reach, reach_of
from ....errors import ToolFailed
from ....guard import Guard
from ...http import Resolve, allowed_addresses
from ...running import side_by_side

NOWHERE = "nowhere.invalid"  # what Chromium itself asks for is sent there
HEAD_BYTES_MAX = 256 << 10  # of a request or an answer, before its body
CONNECTIONS_MAX = 256
FAILURES_MAX = 50  # that are remembered of one call
_HEAD_S = 60.0  # Chromium dials ahead of what it will ask
_CONNECT_S = 10.0
_PIECE_BYTES = 64 << 10
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")

# What belongs to one connection and not to the next.
_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer"),
    *("upgrade", "host", "alt-svc"),
}
Origin = tuple[str, int]


class _HungUp(Exception):
    """One of the two ends has closed, so the connection is over."""


class Proxy:
    """Takes the connections of one browser, and remembers which of them failed and why."""

    def __init__(self, guard: Guard, resolve: Resolve) -> None:
        self.failures: dict[Origin, ToolFailed] = {}
        self.closed_ports: set[int] = set()  # doors of the agent itself, which no page may knock at
        self.room = 0  # bytes that may still come
        self.overrun: Callable[[], object] | None = None  # called when more come
        self._guard = guard
        self._resolve = resolve
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """Return the port on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        port = int(self._server.sockets[0].getsockname()[1])
        self.closed_ports.add(port)
        return port

    def begin(self, bytes_max: int) -> None:
        """Forget what failed, and let so many bytes come."""
        self.failures.clear()
        self.room = bytes_max

    def failure_of(self, url: str) -> ToolFailed | None:
        """Return why the origin of this address could not be reached, if that was so."""
        try:
            return self.failures.get(_origin_of(url))
        except ValueError:
            return None

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        serving = set(self._serving)
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if len(self._serving) <= CONNECTIONS_MAX:
                await self._answer(reader, writer)
        except (_HungUp, OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the end of the task is the end of the connection
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        method, target, fields = await _head(reader)
        if NOWHERE in target[: len(NOWHERE) + len("http://")]:
            return
        try:
            if method == "CONNECT":
                origin = _origin_of(f"https://{target}")
            else:
                origin = _origin_of(target)
                if not target.lower().startswith("http://"):
                    raise ToolFailed("denied", "only http and https can be asked")
            incoming, outgoing = await self._connected(origin)
        except ToolFailed as exc:
            status = "403 Forbidden" if exc.failure.code == "denied" else "502 Bad Gateway"
            # The reason is for whoever called the tool; a page could learn from it what names lead to here.
            writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await side_by_side(self._relay(reader, outgoing, None), self._bring(incoming, writer))
            else:
                length = _body_length(fields)
                outgoing.write(_request(method, target, fields))
                await side_by_side(self._relay(reader, outgoing, length), self._bring_answer(incoming, writer))
        finally:
            outgoing.close()

    async def _connected(self, origin: Origin) -> tuple[StreamReader, StreamWriter]:
        """Return a connection to an address that the guard has seen; raise ToolFailed, and remember it."""
        host, port = origin
        try:
            self._guard.check_origin(host, port)
            reason = "no address takes a connection"
            for address in await allowed_addresses(self._resolve, self._guard, host, port):
                if port in self.closed_ports and reach_of(address) is Reach.PRIVATE:
                    raise ToolFailed("denied", f"port {port} of {host} is the agent's own; no setting allows it")
                try:
                    async with asyncio.timeout(_CONNECT_S):
                        return await asyncio.open_connection(address, port, limit=HEAD_BYTES_MAX)
                except (OSError, TimeoutError) as exc:
                    reason = str(exc) or "no answer"
            raise ToolFailed("connect_failed", f"{host} port {port}: {reason}", retryable=True)
        except ToolFailed as exc:
            if len(self.failures) < FAILURES_MAX:
                self.failures[origin] = exc
            raise

    async def _relay(self, reader: StreamReader, outgoing: StreamWriter, length: int | None) -> None:
        """Hand on what the browser sends: all of it, or so many bytes. What comes behind those goes nowhere."""
        while piece := await reader.read(_PIECE_BYTES):
            if length is not None:
                piece = piece[:length]
                length -= len(piece)
            outgoing.write(piece)
            await outgoing.drain()
        raise _HungUp

    async def _bring(self, incoming: StreamReader, writer: StreamWriter) -> None:
        while piece := await incoming.read(_PIECE_BYTES):
            self._count(len(piece))
            writer.write(piece)
            await writer.drain()
        raise _HungUp

    async def _bring_answer(self, incoming: StreamReader, writer: StreamWriter) -> None:
        """Hand on the answer, which ends with its connection: a browser must not send the next request behind it."""
        while True:
            head = await incoming.readuntil(b"\r\n\r\n")
            self._count(len(head))
            status, *lines = head[:-4].decode("latin-1").split("\r\n")
            interim = re.fullmatch(r"HTTP/1\.[01] 1\d\d( .*)?", status)
            if not re.fullmatch(r"HTTP/1\.[01] \d{3}( .*)?", status) or status[9:12] == "101":
                raise _HungUp
            if not interim:
                break
        fields = [line for line in lines if line.partition(":")[0].strip().lower() not in _HOP_BY_HOP]
        writer.write("\r\n".join([status, *fields, "Connection: close", "", ""]).encode("latin-1"))
        await self._bring(incoming, writer)

    def _count(self, length: int) -> None:
        self.room -= length
        if self.room < 0:
            if self.overrun is not None:
                self.overrun()
            raise _HungUp


async def _head(reader: StreamReader) -> tuple[str, str, list[tuple[str, str]]]:
    async with asyncio.timeout(_HEAD_S):
        head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, version = line.split(" ")
    if version != "HTTP/1.1" or not method.isalpha():
        raise ValueError(line)
    fields = []
    for each in lines:
        match = _FIELD.fullmatch(each)
        if match is None:
            raise ValueError(each)
        fields.append((match[1], match[2]))
    return method, target, fields


def _body_length(fields: Iterable[tuple[str, str]]) -> int:
    lengths = {value for name, value in fields if name.lower() == "content-length"}
    if len(lengths) > 1 or any(name.lower() == "transfer-encoding" for name, _ in fields):
        raise ValueError("a body without one length")
    return int(lengths.pop()) if lengths else 0


def _request(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    url = urlsplit(target)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    kept = [f"{name}: {value}" for name, value in fields if name.lower() not in _HOP_BY_HOP]
    lines = [f"{method} {path} HTTP/1.1", f"Host: {url.netloc}", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _origin_of(url: str) -> Origin:
    """Return the host and the port; raise ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.scheme not in {"http", "https", "ws", "wss"}:
        raise ValueError(url)
    return parts.hostname.casefold(), parts.port or (80 if parts.scheme in {"http", "ws"} else 443)
