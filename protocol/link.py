"""Carries a session's frames over one socket. The only file of the protocol that waits.

The device's socket is a `websockets` client connection, Galaxy's one that uvicorn accepts for an ASGI
application.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from .errors import RemoteProtocolError
from .messages import AnyMessage
from .session import Session
from .states import CLOSED
from .vocabulary import FRAME_BYTES_MAX, SUBPROTOCOL, ByeCode

log = logging.getLogger(__name__)

SEND_WITHIN_S = 10.0
CLOSE_WITHIN_S = 1.0
DIAL_WITHIN_S = 10.0
SOCKET_BYTES_MAX = 2 * FRAME_BYTES_MAX  # a frame over the protocol's limit still arrives, to be told so
NORMAL_CLOSURE = 1000


class SocketClosed(Exception):
    """Nothing more can be read from, or written to, this socket."""


class Socket(Protocol):
    """What a link needs of a socket."""

    async def recv(self) -> bytes | str:
        """Return the next frame; raise SocketClosed."""

    async def send(self, frame: bytes) -> None:
        """Hand over one frame; raise SocketClosed."""

    async def close(self, code: int) -> None:
        """Close, if it is still open."""

    async def abort(self) -> None:
        """Close without waiting for the other side, which is silent."""


class DialledSocket:
    """A device's end: the WebSocket that it dialled."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def recv(self) -> bytes | str:
        try:
            return await self._connection.recv()
        except WebSocketException as exc:
            raise SocketClosed(str(exc)) from exc

    async def send(self, frame: bytes) -> None:
        try:
            await self._connection.send(frame)
        except WebSocketException as exc:
            raise SocketClosed(str(exc)) from exc

    async def close(self, code: int) -> None:
        await self._connection.close(code)

    async def abort(self) -> None:
        self._connection.transport.abort()


async def dial(url: str) -> DialledSocket:
    """Return a socket to the galaxy at `url` (ws or wss); raise OSError, TimeoutError or SocketClosed."""
    try:
        connection = await connect(
            url,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            compression=None,  # a third of the rate for a few bytes on a local link
            max_size=SOCKET_BYTES_MAX,
            open_timeout=DIAL_WITHIN_S,
            close_timeout=CLOSE_WITHIN_S,  # the default of 10 s is how long a half-open link would look alive
            proxy=None,  # the galaxy's address is what was joined, whatever the environment says
            ping_interval=None,  # the session's own renewals are the signs of life
        )
    except WebSocketException as exc:
        raise SocketClosed(str(exc)) from exc
    return DialledSocket(connection)


AsgiEvent = MutableMapping[str, Any]


class AcceptedSocket:
    """Galaxy's end: a WebSocket that an ASGI application has accepted."""

    def __init__(
        self, receive: Callable[[], Awaitable[AsgiEvent]], send: Callable[[AsgiEvent], Awaitable[None]]
    ) -> None:
        self._receive = receive
        self._send = send
        self._open = True

    async def recv(self) -> bytes | str:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            self._open = False
            raise SocketClosed(f"code {event.get('code')}")
        frame: bytes | str = event["bytes"] if event.get("bytes") is not None else event["text"]
        return frame

    async def send(self, frame: bytes) -> None:
        await self._tell({"type": "websocket.send", "bytes": frame})

    async def close(self, code: int) -> None:
        if self._open:
            self._open = False
            with suppress(SocketClosed):
                await self._tell({"type": "websocket.close", "code": code})

    async def abort(self) -> None:
        await self.close(NORMAL_CLOSURE)  # which waits for nobody

    async def _tell(self, event: AsgiEvent) -> None:
        try:
            await self._send(event)
        except (RuntimeError, OSError) as exc:  # the server's words for "it is closed"
            self._open = False
            raise SocketClosed(str(exc)) from exc


class Link:
    """One socket under a session, for as long as either lasts."""

    def __init__(self, session: Session, socket: Socket, now: Callable[[], float]) -> None:
        self.session = session
        self._socket = socket
        self._now = now
        self._wake = asyncio.Event()
        self._broken = ""
        self._hearing = False
        self._over = False

    def wake(self) -> None:
        """Say that the session may have frames to send."""
        self._wake.set()

    async def run(self, hear: Callable[[list[AnyMessage]], Awaitable[None]]) -> str:
        """Carry frames both ways until the session closes or the socket breaks; return why.

        `hear` gets the messages of one frame at a time, none where it only acknowledged; while it waits, nothing more
        is read: that is the backpressure. What has been read is heard to its end, as it will not be said again.
        `hear` may raise RemoteProtocolError for a message that makes no sense to it.
        """
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read(hear))
            await self._write()
            self._over = True
            if not self._hearing:
                reader.cancel()
        if self._broken:
            return self._broken
        return "said goodbye"

    async def _read(self, hear: Callable[[list[AnyMessage]], Awaitable[None]]) -> None:
        try:
            while self.session.state is not CLOSED and not self._over:
                frame = await self._socket.recv()
                messages = self.session.receive(frame, self._now())
                self.wake()
                self._hearing = True
                await hear(messages)
                self._hearing = False
        except SocketClosed as exc:
            self._broken = self._broken or f"socket closed: {exc}"
        except RemoteProtocolError as exc:
            self.session.close(exc.code, str(exc))
            log.info("closed a link", extra={"code": exc.code, "reason": str(exc)})
        self.wake()

    async def _write(self) -> None:
        try:
            while not self._broken:
                self._wake.clear()
                now = self._now()
                self.session.tick(now)
                for frame in self.session.frames_to_send(now):
                    async with asyncio.timeout(SEND_WITHIN_S):
                        await self._socket.send(frame)
                deadline = self.session.next_deadline()
                if deadline is None:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, deadline - self._now())):
                        await self._wake.wait()
        except TimeoutError:
            self._broken = f"the peer has not read for {SEND_WITHIN_S:g} s"
            self.session.close(ByeCode.OVERLOADED, self._broken)
        except SocketClosed as exc:
            self._broken = f"socket closed: {exc}"
        if self.session.closed_for is ByeCode.SILENT:
            self._broken = self._broken or "it was silent for too long"
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                if self.session.closed_for is ByeCode.SILENT:
                    await self._socket.abort()
                else:
                    await self._socket.close(NORMAL_CLOSURE)
