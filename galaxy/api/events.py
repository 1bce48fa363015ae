"""A constellation's events: as pages of JSON, or as they happen (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Raw

from ..store.contract import Row
from ..store.errors import StoreUnavailable
from . import shown
from .errors import READING
from .parts import Node, Parts, answer

router = APIRouter(prefix="/v1/constellations/{constellation_id}/events", tags=["events"], responses=READING)

PAGE_MAX = 1_000
STREAMED_MAX = 100  # events that a stream holds for its reader, who may have stopped reading
SEQ_MAX = (1 << 63) - 1
SIGN_OF_LIFE_S = 15.0
END = "constellation_ended"


@router.get("", response_model=shown.EventsOut, responses={200: {"content": {"text/event-stream": {}}}})
async def events(
    request: Request,
    node: Node,
    constellation_id: str,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 200,
    last_event_id: Annotated[int | None, Header(ge=0, le=SEQ_MAX)] = None,
) -> Response:
    """Return the events after a number. With `Accept: text/event-stream`, go on as they happen until the end."""
    await node.require_known(constellation_id)
    start = after if last_event_id is None else last_event_id
    if "text/event-stream" in request.headers.get("accept", ""):
        stream = _streamed(node, constellation_id, start)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    rows = await node.store.events(constellation_id, start, limit)
    return answer({"items": [_picture(row) for row in rows], "next": rows[-1].seq if rows else start})


def _picture(row: Row) -> Raw:
    """Return the event with its number. What devices said stands in it as they said it: it is not read here."""
    return Raw(b'{"seq":%d,%b' % (row.seq, row.body[1:]))


async def _streamed(node: Parts, constellation_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield what is recorded, from the store and nowhere else: so there is no gap, and a slow reader costs nothing."""
    watcher = node.runner.watch(constellation_id)
    all_recorded = False
    try:
        while not node.is_stopping:
            watcher.clear()
            try:
                rows = await node.store.events(constellation_id, after, STREAMED_MAX)
            except StoreUnavailable:
                return  # the reader comes back, and says where it was
            for row in rows:
                yield b"id: %d\nevent: %b\ndata: %b\n\n" % (row.seq, row.kind.encode(), bytes(_picture(row)))
            if rows:
                after = rows[-1].seq
                if rows[-1].kind == END:
                    return
                continue
            if constellation_id not in node.runner.core.constellations:
                if all_recorded:
                    return
                await node.runner.durable()  # its end may just be being written
                all_recorded = True
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SIGN_OF_LIFE_S):
                    await watcher.wait()
            if not watcher.is_set():
                yield b": alive\n\n"
    finally:
        node.runner.unwatch(constellation_id, watcher)
