"""When somebody looks at a clock that timers do not keep up with: they stand still while the machine sleeps."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

SOON_S = 0.05  # how late a look may be, and what a flood of wishes is made one of


class Alarm:
    """One waiter, and anybody who wants it to look sooner."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at = math.inf
        self._sooner = asyncio.Event()

    def soon(self) -> None:
        """Let it look at what has just changed, and at all that changes in the next moment with it."""
        if (at := self._now() + SOON_S) < self._at:
            self._at = at
            self._sooner.set()

    async def rings(self, at: float) -> None:
        """Return when it is time, or somebody wants it sooner."""
        self._at = at
        while True:
            left_s = self._at - self._now()
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left_s == math.inf else max(0.0, left_s)):
                    await self._sooner.wait()
            if self._now() >= self._at:
                return
