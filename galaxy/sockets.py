"""uvicorn's sockets, but that a peer which reads nothing is cut off.

Whoever writes to such a peer waits (that is the backpressure), and what waits holds memory. A slow reader is left
alone: only one that has taken nothing at all for a while is cut off. It comes back and goes on where it was: a device
resumes its session, a reader of events names the last one that it has seen.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = logging.getLogger(__name__)

UNREAD_S = 30.0


class Unread:
    """What waits to be read by the peer of one socket, while the socket is full."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self._cut = cut
        self._timer: asyncio.TimerHandle | None = None

    def begins(self, transport: asyncio.Transport, peer: Any) -> None:
        self.ends()
        left = transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(UNREAD_S, self._look, transport, peer, left)

    def ends(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _look(self, transport: asyncio.Transport, peer: Any, left: int) -> None:
        if transport.get_write_buffer_size() < left:
            self.begins(transport, peer)
            return
        log.warning("cut off a reader", extra={"peer": peer, "reason": f"it has read nothing for {UNREAD_S:g} s"})
        self._cut()
        transport.abort()


class HttpSocket(HttpToolsProtocol):
    """Carries requests and their answers, streams of events among them."""

    def __init__(self, cut: Callable[[], None], *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._unread = Unread(cut)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.begins(self.transport, self.client)

    def resume_writing(self) -> None:
        self._unread.ends()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread.ends()
        super().connection_lost(exc)


class WebSocket(WebSocketsSansIOProtocol):
    """Carries a device's session. Its link gives up sooner; this closes what the link has left behind unread."""

    def __init__(self, cut: Callable[[], None], *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._unread = Unread(cut)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.begins(self.transport, self.client)

    def resume_writing(self) -> None:
        self._unread.ends()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread.ends()
        super().connection_lost(exc)


def protocols(cut: Callable[[], None]) -> dict[str, Any]:
    """Return what uvicorn is to be configured with; `cut` is called for each peer that is cut off."""
    return {"http": partial(HttpSocket, cut), "ws": partial(WebSocket, cut)}
