"""The outbox as the agent uses it: a disk may fail, and work again later.

    intend, completed, journal   raise, or answer, for the one call that asked
    keep, forget, flush          fail in silence; what could not be written is written when it can be
    try_again(now)               look, at `again_at`, whether the outbox works again

`trouble` says what is wrong, as long as something is.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf

from protocol.messages import Assign, Report
from protocol.vocabulary import Failure, Outcome

from .desk import INSTRUCT, REPEATABLE, Keep
from .errors import ToolFailed
from .outbox import Outbox, OutboxFailed
from .work import Journal

log = logging.getLogger(__name__)

WRITE_AGAIN_AFTER_S = 1.0
WRITE_AGAIN_S_MAX = 60.0


class Ledger:
    """One outbox, and how it is with it. `changed` is called when trouble comes or goes."""

    def __init__(self, outbox: Outbox, now: Callable[[], float]) -> None:
        self.trouble = ""
        self.again_at = inf
        self.changed: Callable[[], None] = lambda: None
        self._outbox = outbox
        self._now = now
        self._pause_s = 0.0
        self._unwritten: list[Keep] = []  # said, but not on disk

    def intend(self, assign: Assign) -> None:
        """Write down that the call begins; raise OutboxFailed."""
        with self._noted():
            self._outbox.intend(assign.attempt, self._now(), in_steps=assign.tool == INSTRUCT)

    def completed(self, assign: Assign) -> Report | None:
        """Return how the call ended, if it may not be repeated and did end."""
        if assign.effect in REPEATABLE:
            return None
        try:
            with self._noted():
                return self._outbox.completed(assign.attempt)
        except OutboxFailed as exc:
            return Report(assign.attempt, Outcome.UNKNOWN, failure=Failure("outbox_failed", str(exc)))

    def journal(self, stepped: Callable[[str], None]) -> Journal:
        """Return where steps are written down; `stepped` is told of each that has begun."""

        def begins(attempt: str, step: int, tool: str) -> None:
            with self._as_tool_failed():
                self._outbox.begin_step(attempt, step, tool)
            stepped(attempt)

        def ended(attempt: str, step: int, outcome: Outcome) -> None:
            with self._as_tool_failed():
                self._outbox.end_step(attempt, step, outcome)

        return Journal(begins, ended)

    def keep(self, kept: list[Keep]) -> None:
        self._unwritten += kept
        with self._lenient():
            self._write()

    def forget(self, attempts: list[str]) -> None:
        with self._lenient():
            self._outbox.forget(attempts)

    def flush(self) -> None:
        with self._lenient():
            self._outbox.flush()

    def try_again(self, now: float) -> None:
        """If it is time, look whether the outbox works again: with what could not be written, and with a trial."""
        if now < self.again_at:
            return
        self.again_at = inf
        with self._lenient():
            self._write()
            self._outbox.try_out()
            log.info("the outbox works again", extra={"was": self.trouble})
            self.trouble, self._pause_s = "", 0.0
            self.changed()

    def close(self) -> None:
        with self._lenient():
            self._outbox.close()

    def _write(self) -> None:
        if self._unwritten:
            with self._noted():
                self._outbox.keep([(chore.report, chore.journalled) for chore in self._unwritten])
            self._unwritten = []

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OutboxFailed as exc:
            self._fails(str(exc))
            raise

    @contextmanager
    def _lenient(self) -> Iterator[None]:
        with suppress(OutboxFailed), self._noted():
            yield

    @contextmanager
    def _as_tool_failed(self) -> Iterator[None]:
        try:
            with self._noted():
                yield
        except OutboxFailed as exc:
            raise ToolFailed("outbox_failed", str(exc), retryable=True) from exc

    def _fails(self, trouble: str) -> None:
        if self.again_at == inf:
            self._pause_s = min(max(2 * self._pause_s, WRITE_AGAIN_AFTER_S), WRITE_AGAIN_S_MAX)
            self.again_at = self._now() + self._pause_s
        if trouble != self.trouble:
            log.error("the outbox fails", extra={"reason": trouble})
            self.trouble = trouble
        self.changed()
