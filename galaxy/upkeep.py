"""What is kept for how long, and the upkeep that lets the rest go: in small steps, so that no commit waits for it.

A constellation that has ended goes with its events, its snapshot and its claim on artifacts. An artifact goes when no
constellation names it. What has not ended is never touched.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from .artifacts import Artifacts
from .store.contract import Gone, Store
from .store.errors import StoreUnavailable

log = logging.getLogger(__name__)

EVERY_S = 600.0
PAUSE_S = 0.25  # between two steps, so that most commits find the disk to themselves
STEP_LINES = 100  # constellations taken off the list in a transaction
STEP_EVENTS = 250  # deleted in a transaction, in 3 ms
STEP_TURNS = 2  # transactions of a step, between which others get theirs
STEP_ARTIFACTS = 50
ASKED_TURNS = 50  # of a step that somebody waits for
LOOK_ARTIFACTS = 100_000
FORGOTTEN_KEPT_S = 90 * 86_400.0  # for so long, who asks for a forgotten constellation is told so

CONSTELLATIONS, EVENTS, FLEET_EVENTS = "constellations", "events", "fleet events"
ARTIFACTS, UPLOADS, ANSWERS = "artifacts", "partial uploads", "idempotency keys"
KINDS = (CONSTELLATIONS, EVENTS, FLEET_EVENTS, ARTIFACTS, UPLOADS, ANSWERS)

Tally = Mapping[str, Gone]
NOTHING: Tally = MappingProxyType({kind: Gone(0, 0) for kind in KINDS})


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long, in seconds; 0 is for ever."""

    ended_s: float = 0.0  # constellations, since their end, and the fleet's log
    artifacts_s: float = 0.0  # that nobody names, since they came
    uploads_s: float = 0.0  # half ones, since their last piece
    answers_s: float = 0.0


def added(one: Tally, other: Tally) -> Tally:
    """Return the sum."""
    return {kind: Gone(one[kind].amount + other[kind].amount, one[kind].bytes + other[kind].bytes) for kind in KINDS}


class Upkeep:
    """Lets go of what has been kept for long enough. `forgotten` hears which constellations went."""

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        keep: Keep,
        now: Callable[[], float],
        forgotten: Callable[[list[str]], None] = lambda _: None,
    ) -> None:
        self.keep = keep
        self._store = store
        self._artifacts = artifacts
        self._now = now
        self._forgotten = forgotten

    async def run(self) -> None:
        """Tidy up now and then until cancelled. A store in trouble is left alone until the next time."""
        never = asyncio.Event()
        while True:
            gone, wait_s = NOTHING, EVERY_S
            with suppress(StoreUnavailable):
                gone = await self.step(self.keep, STEP_TURNS)
            if any(one.amount for one in gone.values()):
                log.info("let go", extra={kind.replace(" ", "_"): one.amount for kind, one in gone.items()})
                wait_s = PAUSE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await never.wait()

    async def step(self, keep: Keep, turns: int = ASKED_TURNS) -> Tally:
        """Let go of a bounded part of what may go; return what went, nothing of any kind at the end."""
        now, gone = self._now(), dict(NOTHING)
        if keep.ended_s:
            ids = await self._store.forget_ended(now - keep.ended_s, now, STEP_LINES)
            self._forgotten(ids)
            gone[CONSTELLATIONS] = Gone(len(ids), 0)
            gone[FLEET_EVENTS] = await self._store.forget_fleet(now - keep.ended_s, STEP_EVENTS)
        gone[EVENTS] = await self._empty(now, turns)
        if keep.artifacts_s:
            gone[ARTIFACTS] = await self._artifacts.forget(now - keep.artifacts_s, STEP_ARTIFACTS)
        if keep.uploads_s:
            gone[UPLOADS] = self._artifacts.forget_uploads(keep.uploads_s)
        if keep.answers_s:
            old = await self._store.answers(now - keep.answers_s)
            await self._store.forget_answered(now - keep.answers_s)
            gone[ANSWERS] = old
        if not any(one.amount for one in gone.values()):
            await self._store.forget_forgotten(now - FORGOTTEN_KEPT_S)
        return gone

    async def look(self, keep: Keep) -> Tally:
        """Return what would go, without letting any of it go."""
        now, would = self._now(), dict(NOTHING)
        if keep.ended_s:
            constellations, would[FLEET_EVENTS] = await self._store.ended(now - keep.ended_s)
            would[CONSTELLATIONS] = Gone(constellations.amount, 0)
            would[EVENTS] = Gone(0, constellations.bytes)
        if keep.artifacts_s:
            ended_before = now - keep.ended_s if keep.ended_s else None
            unused = await self._store.unused_artifacts(
                now - keep.artifacts_s, LOOK_ARTIFACTS, ended_before=ended_before
            )
            would[ARTIFACTS] = Gone(len(unused), sum(row.bytes for row in unused))
        if keep.uploads_s:
            would[UPLOADS] = self._artifacts.forget_uploads(keep.uploads_s, dry_run=True)
        if keep.answers_s:
            would[ANSWERS] = await self._store.answers(now - keep.answers_s)
        return would

    async def _empty(self, now: float, turns: int) -> Gone:
        """Delete some of the events of constellations that are forgotten."""
        gone = Gone(0, 0)
        for _ in range(turns):
            part = await self._store.forget_events(now, STEP_EVENTS)
            if part is None:
                break
            gone = Gone(gone.amount + part.amount, gone.bytes + part.bytes)
        return gone
