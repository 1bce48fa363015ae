"""One request as a server would give it to the application: its answer is read as it comes, or not at all."""

import asyncio
from typing import Any

from .helpers import TOKEN, WITHIN_S, Node

Header = tuple[str, str]


class Exchange:
    """A request whose events the test sends and receives one by one. What is sent to it waits until it is read."""

    def __init__(self, node: Node, path: str, *headers: Header, kind: str = "http", **scope: Any) -> None:
        self._coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._going: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1)
        given = (("host", "localhost:8421"), *headers)
        own = {"method": "GET", "http_version": "1.1", "scheme": "http"} if kind == "http" else {"subprotocols": []}
        whole = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
            **own,
            **scope,
        }
        self.task = node.start(node.app(whole, self._coming.get, self._going.put))

    def give(self, **event: Any) -> None:
        self._coming.put_nowait(event)

    async def next(self) -> dict[str, Any]:
        """Return the next event of the answer."""
        async with asyncio.timeout(WITHIN_S):
            return await self._going.get()

    def disconnect(self) -> None:
        self.give(type="http.disconnect")


BEARER = ("authorization", f"Bearer {TOKEN}")


class EventStream:
    """Server-sent events, one at a time."""

    def __init__(self, node: Node, constellation: str, *headers: Header) -> None:
        path = f"/v1/constellations/{constellation}/events"
        self._exchange = Exchange(node, path, BEARER, ("accept", "text/event-stream"), *headers)
        self._exchange.give(type="http.request", body=b"", more_body=False)
        self.task = self._exchange.task

    async def begin(self) -> int:
        return int((await self._exchange.next())["status"])

    async def next(self) -> str | None:
        """Return the next piece, or None at the end."""
        event = await self._exchange.next()
        return event["body"].decode() if event.get("more_body") else None

    async def number(self) -> int | None:
        """Return the number of the next event, or None at the end."""
        piece = await self.next()
        return int(piece.splitlines()[0].removeprefix("id: ")) if piece else None

    def disconnect(self) -> None:
        self._exchange.disconnect()
