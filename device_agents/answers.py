"""How long an answer over HTTP may be where a library reads it to its end by itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

PLAIN = {"Accept-Encoding": "identity"}  # goes with each request: what is packed may be of any length
_EVENTS = "text/event-stream"


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it becomes too long."""

    def __init__(self, stream: Any, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for piece in self._stream:
            count += len(piece)
            if count > self._bytes_max:
                raise httpx2.ReadError(f"an answer has more than {self._bytes_max} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def bounded(bytes_max: int, *, events: bool = False) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook for a client's responses. With `events`, a stream of them goes on: its reader limits each."""

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("an answer is packed, which it was asked not to be", request=response.request)
        if not (events and response.headers.get("content-type", "").lower().startswith(_EVENTS)):
            response.stream = _Bounded(response.stream, bytes_max)

    return bound
