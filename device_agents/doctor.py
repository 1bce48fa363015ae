"""What this device could do, tool by tool: able or not, why, and what to do about it. Nothing is run but probes."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from .errors import ToolFailed
from .guard import Guard
from .tools.base import Probed, Tool

PROBE_WITHIN_S = 5.0


class State(StrEnum):
    """Whether a tool can be offered."""

    ABLE = "able"
    UNTRIED = "untried"  # it has no probe: it needs nothing, or a call will tell
    WITHDRAWN = "withdrawn"
    FORBIDDEN = "forbidden"


class Finding(NamedTuple):
    """What was found of one tool; `why` also says how to change it."""

    tool: str
    effect: str
    state: State
    why: str = ""


def examined(tools: Mapping[str, Tool], guard: Guard) -> list[Finding]:
    """Return the findings, in the order of the tools."""
    return asyncio.run(_examined(tools, guard))


async def _examined(tools: Mapping[str, Tool], guard: Guard) -> list[Finding]:
    return [await _finding(tool, guard) for tool in tools.values()]


async def _finding(tool: Tool, guard: Guard) -> Finding:
    if not guard.allows(tool.name):
        return Finding(tool.name, tool.effect, State.FORBIDDEN, "`tools` in guard.toml would allow it")
    if not isinstance(tool, Probed):
        return Finding(tool.name, tool.effect, State.UNTRIED)
    try:
        async with asyncio.timeout(PROBE_WITHIN_S):
            await tool.probe(guard)
    except ToolFailed as exc:
        return Finding(tool.name, tool.effect, State.WITHDRAWN, exc.failure.message)
    except TimeoutError:
        return Finding(tool.name, tool.effect, State.WITHDRAWN, f"no answer to its probe in {PROBE_WITHIN_S:g} s")
    return Finding(tool.name, tool.effect, State.ABLE)
