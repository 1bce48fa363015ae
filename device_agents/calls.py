"""The calls that run on this device, each in a task: begun, halted, killed.

The lease rule is looked at before each step of a call, whatever has woken it: after a freeze of the process, or a sleep
of the machine, nothing that has outlived its lease does anything more. Three things cannot be caught in this way: what
a thread or a program of the call does before it is stopped, and what stood between two looks when all froze. Galaxy
fences those: it accepts nothing more from an attempt that it has given to another device.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from types import coroutine
from typing import Any

from protocol.messages import Assign, Report
from protocol.vocabulary import Outcome

from .tools.base import Grace
from .work import Bench, Journal, work


@dataclass(frozen=True, slots=True)
class Told:
    """What calls tell, and ask, whoever runs them."""

    progress: Callable[[str, str, float | None], None]
    ended: Callable[[Report], None]
    must_stop: Callable[[str], bool]  # by the lease rule; and if so, it has been halted


@dataclass(frozen=True, slots=True)
class Running:
    """A call under way."""

    task: asyncio.Task[Report]
    grace: Grace


class Calls:
    """Those that run, by attempt. Halts and kills of others are passed over."""

    def __init__(self, bench: Bench, journal: Journal, told: Told) -> None:
        self._bench = bench
        self._journal = journal
        self._told = told
        self._running: dict[str, Running] = {}

    def begin(self, assign: Assign, tasks: asyncio.TaskGroup) -> None:
        attempt, grace = assign.attempt, Grace()

        def progress(note: str, fraction: float | None) -> None:
            if self._told.must_stop(attempt):
                raise asyncio.CancelledError
            self._told.progress(attempt, note, fraction)

        async def looking() -> Report:
            working = work(assign, self._bench, progress, self._journal, grace)
            return await _stepwise(working, lambda: self._told.must_stop(attempt))

        task = tasks.create_task(looking(), name=attempt)
        self._running[attempt] = Running(task, grace)
        task.add_done_callback(partial(self._ended, attempt))

    def halt(self, attempt: str, grace_s: float) -> None:
        """Tell it to stop within its grace."""
        if call := self._running.get(attempt):
            call.grace.s = grace_s
            if call.task is not asyncio.current_task():  # that one has asked, and is cancelled on the spot
                call.task.cancel()

    def kill(self, attempt: str) -> None:
        """Tell it that it has no grace left. It may still go on: a thread, or a tool that swallows that."""
        if call := self._running.get(attempt):
            call.grace.s = 0.0
            call.task.cancel()

    def _ended(self, attempt: str, call: asyncio.Task[Report]) -> None:
        del self._running[attempt]
        # A call that is halted before its first step never gets to make its own report.
        self._told.ended(Report(attempt, Outcome.CANCELLED) if call.cancelled() else call.result())


@coroutine
def _stepwise(call: Coroutine[Any, Any, Report], must_stop: Callable[[], bool]) -> Generator[Any, Any, Report]:
    """Return what the call returns. Before each of its steps it is asked whether it must stop; then it is cancelled."""
    thrown: BaseException | None = None
    while True:
        if must_stop():
            thrown = asyncio.CancelledError()
        try:
            awaited = call.send(None) if thrown is None else call.throw(thrown)
        except StopIteration as end:
            report: Report = end.value
            return report
        thrown = None
        try:
            yield awaited
        except BaseException as exc:  # whatever it is, it is for the call
            thrown = exc
