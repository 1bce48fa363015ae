"""The one loop that owns the core: check, record, apply, carry out.

Whoever wants to change the galaxy tells an event and is answered when it is durable, or refused at once. The mind takes
what waits as one batch and applies it with all that follows; the scribe records one batch in one commit and only then
lets its orders go and its tellers know. While the scribe writes, the mind goes on with the next batch: a lone event
waits for nobody, a crowd shares one commit. There is nothing to lock because there is no one else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter

import msgspec

from .core.checks import recorded_refusal
from .core.constellation import Constellation
from .core.errors import Refused, StaleAttempt
from .core.events import (
    FLEET,
    CancelRequested,
    ConstellationEdited,
    ConstellationEnded,
    ConstellationEvent,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
    Event,
    StarLeased,
    StarReported,
)
from .core.orchestrator import Orchestrator
from .core.orders import AskPlanner, DeviceOrder, Dispatch, PlannerOrder, StopAsking
from .journal import artifacts_named, row_of, snapshot_of, stream_of
from .metrics import Metrics
from .store.contract import Answered, Batch, Row, Store, Summary
from .store.errors import StoreUnavailable

log = logging.getLogger(__name__)

INBOX_MAX = 10_000  # tellings
BATCH_ROWS_MAX = 5_000  # recorded by one commit; the mind waits when so many are ahead of the disk
BATCH_TELLERS_MAX = 20_000  # answered after one commit, be it with a refusal
COMMIT_LATE_S = 5.0  # milliseconds are usual: by then the disk or the server is in trouble, though it has not said so
DUE_MAX = 1_000  # events that the core may add before others get their turn
SNAPSHOT_EVERY = 10_000  # events of one stream
STORE_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
PLANNER_ORDERS = (AskPlanner, StopAsking)
SUMMARIZED = (
    ConstellationSubmitted,
    ConstellationEdited,
    ConstellationPaused,
    ConstellationResumed,
    CancelRequested,
    ConstellationEnded,
)


# What is recorded as the answer to a request; or how to make it, asked once the event is applied.
Answering = Answered | Callable[[], Answered | None] | None


@dataclass(slots=True)
class Telling:
    """Events told together, and who wants to know what became of them."""

    events: Sequence[Event]
    done: Callable[[Refused | None], None]  # called when they are durable; with the first refusal, if there was one
    answered: Answering = None


@dataclass(slots=True)
class Work:
    """What one commit records, and what may happen only after it."""

    rows: list[Row] = field(default_factory=list)
    summaries: dict[str, Summary] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)
    orders: list[DeviceOrder] = field(default_factory=list)
    asked: list[PlannerOrder] = field(default_factory=list)
    dones: list[tuple[Callable[[Refused | None], None], Refused | None]] = field(default_factory=list)
    snapshots: list[tuple[str, int, bytes]] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return len(self.rows) < BATCH_ROWS_MAX and len(self.dones) < BATCH_TELLERS_MAX


class Runner:
    """The owner of the core."""

    def __init__(
        self,
        core: Orchestrator,
        store: Store,
        now: Callable[[], float],
        metrics: Metrics,
        seqs: dict[str, int] | None = None,
        snapshots_at: dict[str, int] | None = None,
    ) -> None:
        self.core = core
        # Neither may wait: they fill devices' outboxes, and the planners' inbox.
        self.carry_out: Callable[[list[DeviceOrder]], None] = lambda _: None
        self.ask: Callable[[list[PlannerOrder]], None] = lambda _: None
        self._store = store
        self._now = now
        self._metrics = metrics
        self._seqs = seqs or {}  # number of each open stream's last event
        self._snapshot_at = snapshots_at or {}  # the number up to which each has a snapshot
        self._inbox: deque[Telling] = deque()
        self._told = asyncio.Event()
        self._room = asyncio.Event()
        self._work = Work()
        self._recording = Work()  # what the commit under way writes
        self._to_record = asyncio.Event()
        self._recorded = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._more_due = False  # the core was interrupted, so that others get a turn
        self._trouble = ""  # what the last try to record came to
        self._recording_since: float | None = None  # when the commit under way was first tried

    @property
    def waiting(self) -> int:
        """How many tellings the loop has not come to."""
        return len(self._inbox)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that more should be refused."""
        return len(self._inbox) >= INBOX_MAX

    @property
    def store_trouble(self) -> str:
        """Why nothing can be recorded just now."""
        if self._trouble or self.store_trouble_s < COMMIT_LATE_S:
            return self._trouble
        return f"a commit has not been answered for {self.store_trouble_s:.0f} s"

    @property
    def store_trouble_s(self) -> float:
        """For how long the commit under way has been."""
        return 0.0 if self._recording_since is None else max(0.0, self._now() - self._recording_since)

    def is_recorded(self, stream: str) -> bool:
        """Return whether all that has happened in the stream is recorded."""
        return not any(row.stream == stream for work in (self._recording, self._work) for row in work.rows)

    # telling

    async def tell(self, event: Event, answered: Answering = None) -> None:
        """Return once the event is durable and applied; raise Refused if the core will not have it."""
        verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(refusal: Refused | None) -> None:
            if verdict.done():  # the teller has stopped listening; the event stands all the same
                return
            if refusal:
                verdict.set_exception(refusal)
            else:
                verdict.set_result(None)

        await self.tell_all([event], done, answered)
        await verdict

    async def tell_all(
        self, events: Sequence[Event], done: Callable[[Refused | None], None], answered: Answering = None
    ) -> None:
        """Put events into the inbox; `done` is called when they are durable. Return when the inbox is not over-full."""
        # In at once, and only then wait: who tells later must not come first, for acknowledgements are cumulative.
        self._inbox.append(Telling(events, done, answered))
        self._told.set()
        while len(self._inbox) > INBOX_MAX:
            self._room.clear()
            await self._room.wait()

    async def durable(self) -> None:
        """Return when everything that has been told so far is recorded, or refused."""
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_durable(lambda: None if passed.done() else passed.set_result(None))
        await passed

    def when_durable(self, done: Callable[[], None]) -> None:
        """Call `done` when everything that has been told so far is recorded, or refused."""
        self._inbox.append(Telling((), lambda _: done()))
        self._told.set()

    def watch(self, stream: str) -> asyncio.Event:
        """Return an event that is set whenever something was recorded in the stream; end with `unwatch`."""
        watcher = asyncio.Event()
        self._watchers.setdefault(stream, set()).add(watcher)
        return watcher

    def unwatch(self, stream: str, watcher: asyncio.Event) -> None:
        """Stop watching."""
        watchers = self._watchers.get(stream, set())
        watchers.discard(watcher)
        if not watchers:
            self._watchers.pop(stream, None)

    def stir(self) -> None:
        """Wake everyone who watches, though nothing was recorded: the node stops."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.set()

    # the two halves of the loop

    async def run(self) -> None:
        """Run until cancelled. What was told and not answered by then was not promised."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mind(), name="mind")
            tasks.create_task(self._scribe(), name="scribe")

    async def _mind(self) -> None:
        while True:
            self._told.clear()
            if self._inbox or self._more_due or self._is_due():
                if self._work.has_room:
                    self._settle()
                    self._to_record.set()
                    # Not straight on: those who wait for a turn of the loop, the scribe among them, come first.
                    asyncio.get_running_loop().call_soon(self._told.set)
                else:
                    self._recorded.clear()
                    await self._recorded.wait()
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_deadline()):
                    await self._told.wait()

    async def _scribe(self) -> None:
        while True:
            await self._to_record.wait()
            self._to_record.clear()
            while self._work.rows or self._work.dones:
                work, self._work = self._work, Work()
                self._recording = work
                if work.rows:
                    await self._record(work)
                self._recording = Work()
                self._release(work)
                self._recorded.set()
                for stream, seq, body in work.snapshots:
                    with suppress(StoreUnavailable):  # the events are there; it only makes the next start quicker
                        await self._store.snapshot(stream, seq, body)

    async def _record(self, work: Work) -> None:
        batch = Batch(work.rows, list(work.summaries.values()), work.answered, work.uses)
        began, tries = perf_counter(), 0
        self._recording_since = self._now()
        while True:
            try:
                await self._store.append(batch)
                break
            except StoreUnavailable as exc:
                self._trouble = str(exc) or "the store is unavailable"
                self._metrics.store_failures.inc()
                log.warning("could not record", extra={"reason": self._trouble, "rows": len(work.rows)})
                await asyncio.sleep(STORE_RETRY_S[min(tries, len(STORE_RETRY_S) - 1)])
                tries += 1
        self._trouble, self._recording_since = "", None
        if tries:
            log.info("recording again", extra={"tries": tries, "took_s": round(perf_counter() - began, 3)})
        self._metrics.commit_seconds.observe(perf_counter() - began)
        self._metrics.batch_rows.observe(len(work.rows))

    def _release(self, work: Work) -> None:
        began = perf_counter()
        if work.orders:
            self.carry_out(work.orders)
            now = self._now()
            for order in work.orders:
                if isinstance(order, Dispatch):
                    self.core.leases.went_out(order, now)
        if work.asked:
            self.ask(work.asked)
        for done, refusal in work.dones:
            done(refusal)
        if self._watchers:
            for stream in {row.stream for row in work.rows} & self._watchers.keys():
                for watcher in self._watchers[stream]:
                    watcher.set()
        self._metrics.stage_seconds.labels("release").inc(perf_counter() - began)

    # the mind

    def _is_due(self) -> bool:
        deadline = self.core.next_deadline()
        return deadline is not None and deadline <= self._now()

    def _until_deadline(self) -> float | None:
        deadline = self.core.next_deadline()
        return None if deadline is None else max(0.0, deadline - self._now())

    def _settle(self) -> None:
        """Apply what was told, and what follows from it, into the batch that is recorded next."""
        began, work = perf_counter(), self._work
        while self._inbox and work.has_room:
            telling = self._inbox.popleft()
            work.dones.append((telling.done, self._take(telling, work)))
        self._room.set()
        checked = perf_counter()
        self._more_due = False
        for added, event in enumerate(self.core.due(self._now()), 1):
            self._apply(event, work)
            if added >= DUE_MAX:
                self._more_due = True
                break
        self._metrics.stage_seconds.labels("apply").inc(checked - began)
        self._metrics.stage_seconds.labels("place").inc(perf_counter() - checked)

    def _take(self, telling: Telling, work: Work) -> Refused | None:
        first: Refused | None = None
        for event in telling.events:
            try:
                self.core.check(event)
            except Refused as refusal:
                first = first or refusal
                log.info("refused", extra={"event": type(event).__name__, "reason": str(refusal)})
                if isinstance(refusal, StaleAttempt):
                    self._metrics.stale_reports.inc()
                if kept := recorded_refusal(self.core, event, refusal):
                    self._apply(kept, work)
            else:
                self._apply(event, work)
        if telling.answered and not first:
            made = telling.answered() if callable(telling.answered) else telling.answered
            work.answered += [made] if made else []
        return first

    def _apply(self, event: Event, work: Work) -> None:
        stream = stream_of(event)
        seq = self._seqs[stream] = self._seqs.get(stream, 0) + 1
        row = row_of(event, stream, seq)
        work.rows.append(row)
        if named := artifacts_named(row.body):
            work.uses += [(name, stream) for name in named]
        match event:
            case StarLeased():
                self._metrics.ready_to_dispatch.observe(event.waited_s)
            case StarReported():
                course = self.core.constellations[event.constellation].courses[event.star]
                self._metrics.dispatch_to_report.observe(event.at - course.attempts[event.attempt - 1].leased_at)
        constellation = self.core.constellations.get(stream)
        paused = constellation.paused if constellation else ""
        for order in self.core.apply(event):
            if isinstance(order, PLANNER_ORDERS):
                work.asked.append(order)
            else:
                work.orders.append(order)
        constellation = constellation or self.core.constellations.get(stream)
        if constellation and (isinstance(event, SUMMARIZED) or constellation.paused != paused):
            assert isinstance(event, ConstellationEvent)
            work.summaries[stream] = _summary(constellation, event)
        if isinstance(event, ConstellationEnded):
            self._seqs.pop(stream, None)
            self._snapshot_at.pop(stream, None)
        elif seq - self._snapshot_at.get(stream, 0) >= SNAPSHOT_EVERY:
            self._snapshot_at[stream] = seq
            state = self.core.fleet if stream == FLEET else self.core.constellations[stream]
            work.snapshots.append((stream, seq, snapshot_of(state)))


def _summary(constellation: Constellation, event: ConstellationEvent) -> Summary:
    ended = isinstance(event, ConstellationEnded)
    return Summary(
        id=constellation.id,
        name=constellation.name,
        state=constellation.state,
        stars=len(constellation.courses),
        submitted_at=constellation.submitted_at,
        ended_at=event.at if ended else None,
        body=msgspec.Raw(msgspec.json.encode(event)) if ended else msgspec.Raw(b"{}"),
    )
