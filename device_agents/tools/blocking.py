"""Blocking work, off the loop, that does not outlive the call that asked for it."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Raised in the thread of a call that was cancelled; nobody reads it."""


class Stop(threading.Event):
    """Set when nobody wants the work any more."""

    def check(self) -> None:
        """Raise Stopped if so. Whatever may take long calls it between its steps."""
        if self.is_set():
            raise Stopped


async def unblocked(work: Callable[[Stop], T], *, end: Callable[[], object] = lambda: None) -> T:
    """Return what the work returns; when cancelled, tell it to stop and wait until it has.

    `end` is called then, for work that does not look at its Stop. A thread cannot be killed: cancelling once more does
    not end the wait, for it would only hide what goes on.
    """
    stop = Stop()
    running = asyncio.get_running_loop().run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        end()
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen, or the loop would complain that nobody did
        raise
