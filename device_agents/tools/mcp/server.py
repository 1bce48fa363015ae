"""One MCP server: connected while it is used, begun anew when it has crashed, asked within a time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import ToolFailed
from .. import wanted
from ..blocking import unblocked
from .settings import McpSettings
from .stdio import Words, opened

log = logging.getLogger(__name__)

TOOLS_MAX = 200
_PAGES_MAX = 20
_PING_S = 4.0

Progress = Callable[[str, float | None], None]


class Server:
    """The connection to one server. It is kept in a task of its own, for whose scopes it must be left where entered."""

    def __init__(self, name: str, settings: McpSettings) -> None:
        self.name = name
        self.settings = settings
        self._owner: asyncio.Task[None] | None = None
        self._client: asyncio.Future[Any] | None = None
        self._left = asyncio.Event()

    async def tools(self) -> list[Any]:
        """Return its tools as it describes them; raise ToolFailed."""
        found: list[Any] = []
        cursor = None
        for _ in range(_PAGES_MAX):
            page = await self._asked(partial(_page, cursor), self.settings.start_s)
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) >= TOOLS_MAX:
                break
        return found[:TOOLS_MAX]

    async def call(self, tool: str, arguments: dict[str, Any], progress: Progress) -> Any:
        """Return the library's CallToolResult; raise ToolFailed: timeout, connection_lost, mcp_error, unavailable."""

        async def told(done: float, total: float | None, message: str | None) -> None:
            progress((message or f"{done:g}")[:2_000], min(done / total, 1.0) if total else None)

        return await self._asked(
            lambda client: client.call_tool(tool, arguments, progress_callback=told), self.settings.timeout_s
        )

    async def check(self) -> None:
        """Raise ToolFailed unless it answers; one that has crashed is begun anew."""
        try:
            await self._asked(lambda client: client.list_tools(cache_mode="bypass"), _PING_S)
        except ToolFailed as exc:
            raise ToolFailed("unavailable", f"the MCP server {self.name}: {exc.failure.message}") from exc

    async def close(self) -> None:
        """End the connection, and with it the server that it has started."""
        self._left.set()
        if self._owner is not None:
            await asyncio.wait([self._owner])

    async def _asked(self, question: Callable[[Any], Any], within_s: float) -> Any:
        exceptions = wanted.library("mcp.shared.exceptions", "mcp")
        types = wanted.library("mcp.types", "mcp")
        client = await self._connected()
        try:
            async with asyncio.timeout(within_s):
                return await question(client)
        except TimeoutError:
            self._left.set()  # what hangs may hang for the next one too
            raise ToolFailed("timeout", f"{self.name} has not answered in {within_s:g} s", retryable=True) from None
        except exceptions.MCPError as exc:
            if exc.code == types.CONNECTION_CLOSED:
                self._left.set()
                raise ToolFailed("connection_lost", f"{self.name} has ended in the middle", retryable=True) from exc
            raise ToolFailed("mcp_error", f"{self.name} says: {exc.message}"[:2_000]) from exc
        except (OSError, ValueError, RuntimeError) as exc:  # what it says cannot be understood, or nobody is there
            self._left.set()
            raise ToolFailed("connection_lost", f"{self.name}: {exc}"[:500], retryable=True) from exc

    async def _connected(self) -> Any:
        if self._owner is None or self._owner.done() or self._left.is_set():
            if self._owner is not None and not self._owner.done():
                await asyncio.wait([self._owner])  # the one before is going
            self._left = asyncio.Event()
            self._client = asyncio.get_running_loop().create_future()
            self._owner = asyncio.create_task(self._owned(self._client, self._left))
        assert self._client is not None
        return await asyncio.shield(self._client)

    async def _owned(self, ready: "asyncio.Future[Any]", left: asyncio.Event) -> None:
        words = Words()
        try:
            library = wanted.library("mcp", "mcp")
            transport = opened(self.settings, words) if self.settings.command else _over_http(self.settings)
            async with asyncio.timeout(self.settings.start_s) as starting:
                async with library.Client(transport) as client:
                    starting.reschedule(None)
                    ready.set_result(client)
                    await left.wait()
        except ToolFailed as exc:
            self._failed(ready, exc)
        except TimeoutError:
            said = f"{self.name} has not started in {self.settings.start_s:g} s{words}"
            self._failed(ready, ToolFailed("unavailable", said, retryable=True))
        except Exception as exc:  # a server can make the library fail in any way
            said = f"{self.name}: {_innermost(exc)}{words}"[:500]
            self._failed(ready, ToolFailed("unavailable", said, retryable=True))
        finally:
            left.set()
            ready.cancel()  # unless it is done: nobody waits in vain

    def _failed(self, ready: "asyncio.Future[Any]", failure: ToolFailed) -> None:
        log.warning("an MCP server is not there", extra={"server": self.name, "reason": failure.failure.message})
        if not ready.done():
            ready.set_exception(failure)
            ready.exception()  # seen: whoever asked may have gone


async def _page(cursor: str | None, client: Any) -> Any:
    return await client.list_tools(cursor=cursor)


@asynccontextmanager
async def _over_http(settings: McpSettings) -> AsyncIterator[Any]:
    http, streamable = wanted.library("httpx2", "mcp"), wanted.library("mcp.client.streamable_http", "mcp")
    headers = await unblocked(lambda _: _bearer(settings))
    client = http.AsyncClient(headers=headers, timeout=settings.timeout_s, trust_env=False, follow_redirects=False)
    async with client, streamable.streamable_http_client(settings.url, http_client=client) as streams:
        yield streams


def _bearer(settings: McpSettings) -> dict[str, str]:
    if not settings.token_file:
        return {}
    try:
        return {"Authorization": f"Bearer {Path(settings.token_file).expanduser().read_text('utf-8').strip()}"}
    except (OSError, UnicodeDecodeError) as exc:
        raise ToolFailed("unavailable", f"its token_file cannot be read: {type(exc).__name__}") from exc


def _innermost(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"
