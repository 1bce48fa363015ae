"""Which tools of this device work just now. Those that can tell are asked: at the start, at times, and on suspicion.

A tool whose probe fails is withdrawn, and that tool only; when the probe passes again, it comes back.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from traceback import format_exception_only

from .errors import ToolFailed
from .guard import Guard
from .tools.base import Probed, Tool

log = logging.getLogger(__name__)

PROBE_EVERY_S = 60.0
PROBE_WITHIN_S = 5.0
PROBE_AGAIN_AFTER_S = 5.0  # after a failure, and twice that after the next one; also between two suspicions
SUSPICIOUS = frozenset({"unavailable", "disk_full", "io_failed", "not_permitted", "killed", "tool_crashed"})
CAUSE_CHARS_MAX = 300


class Health:
    """The probes of one device's tools. `changed` is called when a tool is withdrawn or comes back."""

    def __init__(self, tools: Mapping[str, Tool], guard: Guard, now: Callable[[], float], chance: Random) -> None:
        self.withdrawn: dict[str, str] = {}
        self.changed: Callable[[], None] = lambda: None
        self._probed = {name: tool for name, tool in tools.items() if isinstance(tool, Probed)}
        self._guard = guard
        self._now = now
        self._chance = chance
        self._due_at = dict.fromkeys(self._probed, now())
        self._asked_at: dict[str, float] = {}
        self._failures: Counter[str] = Counter()  # in a row
        self._sooner = asyncio.Event()

    async def run(self) -> None:
        """Probe for ever. A probe that hangs holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = self._now()
                for name in [name for name, due_at in self._due_at.items() if due_at <= now]:
                    del self._due_at[name]  # until it is answered
                    self._asked_at[name] = now
                    tasks.create_task(self._probe(name, tasks), name=f"probe {name}")
                self._sooner.clear()
                next_s = min(self._due_at.values()) - now if self._due_at else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(next_s):
                        await self._sooner.wait()

    def suspected(self, tool: str, code: str) -> None:
        """A call of the tool has failed with this code: where that says so, probe sooner."""
        if code in SUSPICIOUS and tool in self._due_at:
            soon = max(self._now(), self._asked_at.get(tool, 0.0) + PROBE_AGAIN_AFTER_S)
            self._due_at[tool] = min(self._due_at[tool], soon)
            self._sooner.set()

    async def _probe(self, name: str, tasks: asyncio.TaskGroup) -> None:
        asked = tasks.create_task(self._cause(self._probed[name]))
        await asyncio.wait([asked], timeout=PROBE_WITHIN_S)
        if not asked.done():
            self._found(name, f"it has not answered a probe in {PROBE_WITHIN_S:g} s")
            asked.cancel()
            await asyncio.wait([asked])
        if not asked.cancelled():
            self._found(name, asked.result())
        self._due_at[name] = self._now() + self._pause_s(name)
        self._sooner.set()

    async def _cause(self, tool: Probed) -> str:
        """Return why the tool does not work, or nothing."""
        try:
            await tool.probe(self._guard)
        except ToolFailed as exc:
            return exc.failure.message or exc.failure.code
        except Exception as exc:  # a probe's bug is its tool's failure, never the agent's end
            return f"its probe crashed: {format_exception_only(exc)[0].strip()}"
        return ""

    def _found(self, name: str, cause: str) -> None:
        cause = cause[:CAUSE_CHARS_MAX]
        self._failures[name] = self._failures[name] + 1 if cause else 0
        if cause == self.withdrawn.get(name, ""):
            return
        if cause:
            log.warning("a tool is withdrawn", extra={"tool": name, "reason": cause})
            self.withdrawn[name] = cause
        else:
            log.info("a tool is back", extra={"tool": name})
            del self.withdrawn[name]
        self.changed()

    def _pause_s(self, name: str) -> float:
        failures = self._failures[name]
        pause_s = min(PROBE_AGAIN_AFTER_S * 2 ** min(failures - 1, 10), PROBE_EVERY_S) if failures else PROBE_EVERY_S
        return pause_s * self._chance.uniform(0.8, 1.2)
