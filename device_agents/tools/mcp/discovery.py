"""What the named servers offer, asked once when the agent starts."""

import asyncio
import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from msgspec import Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import Context, Tool
from ..system import Nothing
from .server import Server
from .settings import McpSettings
from .tool import McpTool, Unusable

log = logging.getLogger(__name__)


class McpSilent:
    """Stands for the tools of an MCP server that could not be asked for them when the agent started."""

    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = Nothing
    Result: ClassVar[type[Struct]] = Nothing

    def __init__(self, name: str, failure: ToolFailed) -> None:
        self.name = f"mcp:{name}"
        self._failure = failure

    async def probe(self, guard: Guard) -> None:
        said = f"{self._failure.failure.message}; start the agent again when it works"
        raise ToolFailed(self._failure.failure.code, said)

    async def run(self, arguments: Nothing, context: Context) -> Nothing:
        raise self._failure


def tools(servers: Mapping[str, McpSettings]) -> list[Tool]:
    """Return the tools of the servers, which are started for it; a server that fails costs its own tools only."""
    if not servers:
        return []

    async def asked() -> list[Tool]:
        async with asyncio.TaskGroup() as asking:
            tasks = [asking.create_task(_offered(Server(name, settings))) for name, settings in servers.items()]
        return [tool for task in tasks for tool in task.result()]

    return asyncio.run(asked())


async def _offered(server: Server) -> list[Tool]:
    try:
        described = await server.tools()
    except ToolFailed as exc:
        return [McpSilent(server.name, exc)]
    finally:
        await server.close()
    found: dict[str, Tool] = {}
    for each in described:
        if any(fnmatchcase(each.name, pattern) for pattern in server.settings.tools):
            _add(found, server, each)
    return list(found.values())


def _add(found: dict[str, Tool], server: Server, described: Any) -> None:
    try:
        tool = McpTool(server, described)
        if tool.name in found:
            raise Unusable("there is another one of this name")
        found[tool.name] = tool
    except (Unusable, TypeError, ValueError, RecursionError) as exc:
        log.warning(
            "an MCP tool is left out", extra={"server": server.name, "tool": described.name[:100], "reason": str(exc)}
        )
