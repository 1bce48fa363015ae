"""One MCP server: connected while it is used, begun anew when it has crashed, asked within a time."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ...errors import ToolFailed
from .. import wanted
from .over_http import over_http
from .settings import McpSettings
from .stdio import Words, opened

log = logging.getLogger(__name__)

TOOLS_MAX = 200
_PAGES_MAX = 20
_PING_S = 4.0
_CHECKED_FOR_S = 10.0

Progress = Callable[[str, float | None], None]


class Server:
    """The connection to one server. It is kept in a task of its own, for whose scopes it must be left where entered."""

    def __init__(self, name: str, settings: McpSettings) -> None:
        self.name = name
        self.settings = settings
        self._owner: asyncio.Task[None] | None = None
        self._client: asyncio.Future[Any] | None = None
        self._left = asyncio.Event()
        self._asking = 0  # how many wait for an answer
        self._checking: asyncio.Task[dict[str, Any]] | None = None
        self._checked_at = -math.inf
        self._described: dict[str, Any] = {}

    async def tools(self) -> list[Any]:
        """Return its tools as it describes them; raise ToolFailed."""
        return await self._listed(self.settings.start_s)

    async def _listed(self, within_s: float) -> list[Any]:
        found: list[Any] = []
        cursor = None
        for _ in range(_PAGES_MAX):
            page = await self._asked(partial(_page, cursor), within_s)
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) >= TOOLS_MAX:
                break
        return found[:TOOLS_MAX]

    async def call(self, tool: str, arguments: dict[str, Any], progress: Progress) -> Any:
        """Return the library's CallToolResult; raise ToolFailed.

        Codes: unavailable, mcp_error; in the middle: timeout, connection_lost, broken_answer.
        """

        async def told(done: float, total: float | None, message: str | None) -> None:
            progress((message or f"{done:g}")[:2_000], min(done / total, 1.0) if total else None)

        return await self._asked(
            lambda client: client.call_tool(tool, arguments, progress_callback=told), self.settings.timeout_s
        )

    async def check(self) -> dict[str, Any]:
        """Return its tools by name as it describes them now; raise ToolFailed unless it answers.

        One that has crashed is begun anew. All its tools ask this, and it is asked once for all.
        """
        if self._is_there and time.monotonic() - self._checked_at < _CHECKED_FOR_S:
            return self._described
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._checked())
        checking = self._checking
        await asyncio.wait([checking])
        return checking.result()

    async def _checked(self) -> dict[str, Any]:
        try:
            self._described = {each.name: each for each in await self._listed(_PING_S)}
        except ToolFailed as exc:
            raise ToolFailed("unavailable", f"the MCP server {self.name}: {exc.failure.message}") from exc
        self._checked_at = time.monotonic()
        return self._described

    async def close(self) -> None:
        """End the connection, and with it the server that it has started."""
        self._left.set()
        if self._owner is not None:
            await asyncio.wait([self._owner])

    async def _asked(self, question: Callable[[Any], Any], within_s: float) -> Any:
        exceptions = wanted.library("mcp.shared.exceptions", "mcp")
        types = wanted.library("mcp.types", "mcp")
        client = await self._connected()
        self._asking += 1
        try:
            async with asyncio.timeout(within_s):
                return await question(client)
        except TimeoutError:
            if self._asking == 1:  # what hangs may hang for the next one too; but others may be about to be answered
                self._left.set()
            raise ToolFailed("timeout", f"{self.name} has not answered in {within_s:g} s", retryable=True) from None
        except exceptions.MCPError as exc:
            if exc.code == types.CONNECTION_CLOSED:
                self._left.set()
                raise ToolFailed("connection_lost", f"{self.name} has ended in the middle", retryable=True) from exc
            # Of any other error nobody knows whether the server has done something before, or has even said it.
            undone = {types.METHOD_NOT_FOUND, types.INVALID_PARAMS}
            code = "mcp_error" if exc.code in undone else "broken_answer"
            raise ToolFailed(code, f"{self.name} says: {exc.message}"[:2_000]) from exc
        except (OSError, ValueError, RuntimeError) as exc:  # what it says cannot be understood, or nobody is there
            self._left.set()
            raise ToolFailed("connection_lost", f"{self.name}: {exc}"[:500], retryable=True) from exc
        finally:
            self._asking -= 1

    @property
    def _is_there(self) -> bool:
        return self._owner is not None and not self._owner.done() and not self._left.is_set()

    async def _connected(self) -> Any:
        while not self._is_there:
            if self._owner is not None and not self._owner.done():
                await asyncio.wait([self._owner])  # the one before is going; then somebody else may have begun anew
                continue
            self._left = asyncio.Event()
            self._client = asyncio.get_running_loop().create_future()
            self._owner = asyncio.create_task(self._owned(self._client, self._left))
        assert self._client is not None
        return await asyncio.shield(self._client)

    async def _owned(self, ready: "asyncio.Future[Any]", left: asyncio.Event) -> None:
        words = Words()
        try:
            library = wanted.library("mcp", "mcp")
            transport = opened(self.settings, words, left) if self.settings.command else over_http(self.settings)
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
    return await client.list_tools(cursor=cursor, cache_mode="bypass")


def _innermost(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"
