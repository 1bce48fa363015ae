"""An MCP server that is a URL, over streamable HTTP. What it answers has a limit, as has the line of a program."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from ...answers import PLAIN, bounded
from ...errors import ToolFailed
from .. import wanted
from ..blocking import unblocked
from .settings import McpSettings
from .stdio import LINE_BYTES_MAX


@asynccontextmanager
async def over_http(settings: McpSettings) -> AsyncIterator[Any]:
    """Yield the streams that the library's client reads and writes; raise ToolFailed unavailable."""
    streamable = wanted.library("mcp.client.streamable_http", "mcp")
    headers = PLAIN | await unblocked(lambda _: _bearer(settings))
    client = httpx2.AsyncClient(
        headers=headers,
        timeout=settings.timeout_s,
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [bounded(LINE_BYTES_MAX, events=True)]},
    )
    async with client, streamable.streamable_http_client(settings.url, http_client=client) as streams:
        yield streams


def _bearer(settings: McpSettings) -> dict[str, str]:
    if not settings.token_file:
        return {}
    try:
        return {"Authorization": f"Bearer {Path(settings.token_file).expanduser().read_text('utf-8').strip()}"}
    except (OSError, UnicodeDecodeError) as exc:
        raise ToolFailed("unavailable", f"its token_file cannot be read: {type(exc).__name__}") from exc
