"""The one loop: what shares a commit, what happens only after it, and what survives a store that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from galaxy import runner as loop
from galaxy.core.errors import Conflict, Refused
from galaxy.core.events import (
    FLEET,
    CancelRequested,
    ConstellationPaused,
    ConstellationSubmitted,
    DeviceConnected,
    DeviceDisconnected,
    DeviceJoined,
    Event,
    JoinTokenMinted,
    StarReported,
)
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.orders import Dispatch, Order
from galaxy.core.star import Star, Timeouts
from galaxy.journal import constellation_of, event_of, fleet_of, snapshot_of
from galaxy.metrics import Metrics
from galaxy.runner import Runner
from galaxy.store.contract import Answered, Batch, Recovered
from galaxy.store.errors import StoreUnavailable
from protocol.vocabulary import Effect, Kind, Outcome, Profile
from tests.galaxy.api.devices import spec
from tests.galaxy.api.helpers import Clock, TroubledStore, waits

pytestmark = pytest.mark.asyncio


class Rig:
    """A runner over a store, and what it has carried out."""

    def __init__(self, store: TroubledStore) -> None:
        self.store, self.clock, self.core = store, Clock(), Orchestrator()
        self.runner = Runner(self.core, store, self.clock, Metrics())
        self.carried_out: list[Order] = []
        self.runner.carry_out = self.carried_out.extend
        self.tasks: list[asyncio.Task[Any]] = []

    def tell(self, event: Event, answered: Answered | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task(self.runner.tell(event, answered))
        self.tasks.append(task)
        return task

    async def laptop(self, slots: int = 1) -> None:
        """Let a device be here."""
        at = self.clock()
        profile = Profile(Kind.SERVER, slots, (spec("work", Effect.PURE),))
        for event in (
            JoinTokenMinted(at=at, digest="d", expires_at=at + 60),
            DeviceJoined(at=at, device="laptop", public_key="k", token_digest="d"),
            DeviceConnected(at=at, device="laptop", boot="b", profile=profile),
        ):
            await self.runner.tell(event)

    def kinds(self) -> list[list[str]]:
        """Return the kinds of events by commit."""
        return [[row.kind for row in batch.rows] for batch in self.store.batches]


@asynccontextmanager
async def a_rig(store: TroubledStore | None = None) -> AsyncIterator[Rig]:
    rig = Rig(store or TroubledStore())
    rig.tasks.append(asyncio.create_task(rig.runner.run()))
    try:
        yield rig
    finally:
        for task in rig.tasks:
            task.cancel()
        await asyncio.wait(rig.tasks)


def submitted(name: str, *stars: Star, at: float = 1_000.0) -> ConstellationSubmitted:
    return ConstellationSubmitted(at=at, constellation=name, name=name, stars=stars or (Star("a", "work"),))


def reported(name: str, star: str = "a", attempt: int = 1, device: str = "laptop") -> StarReported:
    at, outcome = 2_000.0, Outcome.SUCCEEDED
    return StarReported(at=at, constellation=name, star=star, attempt=attempt, device=device, outcome=outcome)


# What shares a commit.


async def test_a_lone_event_is_recorded_at_once_with_all_that_follows_from_it():
    async with a_rig() as rig:
        await rig.laptop()
        rig.store.batches.clear()
        await rig.runner.tell(submitted("c"))

        assert rig.kinds() == [["constellation_submitted", "star_leased"]]


async def test_what_is_told_while_a_commit_is_under_way_shares_the_next_one():
    async with a_rig() as rig:
        rig.store.shut()
        first = rig.tell(submitted("c1"))
        await rig.store.tries.get()
        crowd = [rig.tell(submitted(f"c{n}")) for n in range(2, 50)]
        assert all([await waits(task) for task in (first, crowd[-1])])
        rig.store.open()
        await asyncio.wait([first, *crowd])

        assert [len(kinds) for kinds in rig.kinds()] == [1, 48]


async def test_the_next_batch_is_applied_while_the_last_one_is_written():
    async with a_rig() as rig:
        rig.store.shut()
        rig.tell(submitted("c1"))
        await rig.store.tries.get()
        second = rig.tell(submitted("c2"))

        assert await waits(second)
        assert list(rig.core.constellations) == ["c1", "c2"]
        rig.store.open()


# What happens only after the commit.


async def test_nothing_is_carried_out_and_nobody_is_answered_before_the_commit():
    async with a_rig() as rig:
        await rig.laptop()
        rig.store.shut()
        telling = rig.tell(submitted("c"))
        await rig.store.tries.get()

        assert await waits(telling)
        assert rig.carried_out == []
        rig.store.open()
        await telling
        assert [(type(order), order.device) for order in rig.carried_out] == [(Dispatch, "laptop")]


async def test_orders_go_out_before_their_teller_is_answered_and_in_their_order():
    async with a_rig() as rig:
        await rig.laptop(slots=9)
        seen: list[list[str]] = []
        done = asyncio.Event()

        def answered(_: Refused | None) -> None:
            seen.append([str(order.attempt) for order in rig.carried_out if isinstance(order, Dispatch)])
            done.set()

        await rig.runner.tell_all([submitted("c", Star("a", "work"), Star("b", "work"))], answered)
        await done.wait()

        assert seen == [["c/a#1", "c/b#1"]]


async def test_a_refused_event_is_recorded_nowhere_and_its_teller_knows_why():
    async with a_rig() as rig:
        await rig.runner.tell(submitted("c"))
        before = rig.store.rows()
        with pytest.raises(Conflict, match="exists already"):
            await rig.runner.tell(submitted("c"), Answered("k", "d", b"{}", 1.0))

        assert rig.store.rows() == before
        assert await rig.store.answered("k") is None


async def test_a_refused_event_among_others_takes_nothing_from_them():
    async with a_rig() as rig:
        verdict: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        gone = DeviceDisconnected(at=1.0, device="nobody", reason="x")
        await rig.runner.tell_all([submitted("c1"), gone, submitted("c2")], verdict.set_result)

        assert "no device 'nobody'" in str(await verdict)
        assert list(rig.core.constellations) == ["c1", "c2"]


async def test_a_stale_report_is_recorded_as_refused_where_its_constellation_is_open():
    async with a_rig() as rig:
        await rig.laptop()
        await rig.runner.tell(submitted("c"))
        for event in (reported("c", device="thief"), reported("c", attempt=7), reported("gone")):
            with pytest.raises(Refused):
                await rig.runner.tell(event)

        refused = [event_of(row) for row in rig.store.rows() if row.kind == "report_refused"]
        assert [event.reason for event in refused] == ["c/a#1 is held by laptop, not by thief", "c/a#7 is over"]


async def test_an_answer_is_recorded_in_the_commit_of_what_it_answers():
    async with a_rig() as rig:
        kept = Answered("k", "d", b'{"id":"c"}', 1.0)
        await rig.runner.tell(submitted("c"), kept)

        assert [(batch.answered, len(batch.rows)) for batch in rig.store.batches] == [([kept], 1)]


async def test_a_teller_that_goes_away_leaves_its_event_standing():
    async with a_rig() as rig:
        rig.store.shut()
        telling = rig.tell(submitted("c"))
        await rig.store.tries.get()
        telling.cancel()
        rig.store.open()
        await rig.runner.durable()

        assert rig.store.kinds("c") == ["constellation_submitted"]


# When the store fails.


class Forgetful(TroubledStore):
    """Records, and then loses the answer, as often as it is told to."""

    lost = 0

    async def append(self, batch: Batch) -> None:
        await super().append(batch)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable("the answer was lost")


async def test_a_commit_that_fails_is_made_again_without_loss_or_repetition(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "STORE_RETRY_S", (0.001,))
    store = Forgetful()
    async with a_rig(store) as rig:
        await rig.laptop()
        store.trouble = "gone"
        telling = rig.tell(submitted("c"))
        for _ in range(4):
            await store.tries.get()
        assert (rig.runner.store_trouble, rig.carried_out) == ("gone", [])
        store.lost, store.trouble = 3, ""
        await telling

        assert [row.kind for row in await store.events("c", 0, 99)] == ["constellation_submitted", "star_leased"]
        assert len(rig.carried_out) == 1
        assert rig.runner.store_trouble == ""


async def test_what_waits_for_a_store_that_is_gone_has_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "BATCH_ROWS_MAX", 2)
    monkeypatch.setattr(loop, "INBOX_MAX", 3)
    async with a_rig() as rig:
        rig.store.shut()
        rig.tell(submitted("c0"))
        await rig.store.tries.get()
        order: list[int] = []

        async def told(number: int) -> None:
            await rig.runner.tell_all([submitted(f"c{number}")], lambda _: None)
            order.append(number)

        tellings = [asyncio.create_task(told(number)) for number in range(1, 9)]
        assert await waits(tellings[-1])
        assert order == [1, 2, 3], "the others are kept from telling more"
        rig.store.open()
        await asyncio.wait(tellings)
        await rig.runner.durable()

        recorded = [row.stream for row in rig.store.rows()]
        assert recorded == [f"c{number}" for number in range(9)], "who told first comes first"
        assert max(len(kinds) for kinds in rig.kinds()) == 2


async def test_a_crowd_that_follows_from_one_event_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "DUE_MAX", 3)
    async with a_rig() as rig:
        await rig.laptop(slots=20)
        telling = rig.tell(submitted("c", *[Star(f"s{n}", "work") for n in range(20)]))
        other = rig.tell(submitted("other"))
        await asyncio.wait([telling, other])
        await rig.runner.durable()
        while rig.runner._more_due:
            await rig.runner.durable()

        kinds = [row.kind for row in rig.store.rows() if row.stream != FLEET]
        assert kinds.count("star_leased") == 20
        assert kinds.index("constellation_submitted", 1) < 20, "the other one did not wait for all of them"


# The clock.


async def test_a_deadline_is_met_though_nobody_says_anything():
    async with a_rig() as rig:
        watcher = rig.runner.watch("c")
        await rig.runner.tell(submitted("c", Star("a", "work", timeouts=Timeouts(queue_s=0.03)), at=rig.clock()))
        while "constellation_ended" not in rig.store.kinds("c"):
            watcher.clear()
            await watcher.wait()

        assert rig.store.kinds("c") == ["constellation_submitted", "star_failed", "constellation_ended"]


async def test_a_deadline_is_not_met_before_the_clock_says_so():
    async with a_rig() as rig:
        await rig.runner.tell(submitted("c", Star("a", "work", timeouts=Timeouts(queue_s=60)), at=rig.clock()))
        rig.clock.jump(59.0)
        await rig.runner.durable()
        before = rig.store.kinds("c")
        rig.clock.jump(1.0)
        await rig.runner.durable()

        assert before == ["constellation_submitted"]
        assert rig.store.kinds("c")[-1] == "constellation_ended"


# What can be replayed.


async def lived(rig: Rig) -> None:
    """Let enough happen for some snapshots."""
    await rig.laptop(slots=2)
    await rig.runner.tell(submitted("c", *[Star(f"s{n}", "work") for n in range(12)]))
    for number in range(9):
        await rig.runner.tell(reported("c", f"s{number}"))
    await rig.runner.tell(ConstellationPaused(at=3_000.0, constellation="c", reason="lunch"))


async def test_a_snapshot_with_what_came_after_it_is_the_same_as_the_whole_history(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "SNAPSHOT_EVERY", 5)
    async with a_rig() as rig:
        await lived(rig)
        recovered = {one.stream: one async for one in rig.store.recover()}
        whole = {stream: await rig.store.events(stream, 0, 999) for stream in recovered}

        assert recovered["c"].snapshot_seq >= 20
        assert 0 < len(recovered["c"].rows) < 5
        state = snapshot_of(constellation_of(recovered["c"]))
        assert state == snapshot_of(constellation_of(Recovered("c", None, 0, whole["c"])))
        assert state == snapshot_of(rig.core.constellations["c"])
        fleet = snapshot_of(fleet_of(recovered[FLEET]))
        assert fleet == snapshot_of(fleet_of(Recovered(FLEET, None, 0, whole[FLEET]))) == snapshot_of(rig.core.fleet)


async def test_a_snapshot_is_of_the_moment_of_its_number_and_not_of_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "SNAPSHOT_EVERY", 3)
    kept: list[tuple[str, int, bytes]] = []

    class Keeping(TroubledStore):
        async def snapshot(self, stream: str, seq: int, body: bytes) -> None:
            kept.append((stream, seq, body))

    async with a_rig(Keeping()) as rig:
        await lived(rig)
        rows = rig.store.rows("c")

    assert kept
    for stream, seq, body in kept:
        if stream == "c":
            assert body == snapshot_of(constellation_of(Recovered("c", None, 0, rows[:seq])))


async def test_numbers_go_on_where_the_last_run_ended():
    async with a_rig() as rig:
        await rig.runner.tell(submitted("c"))
        rows = rig.store.rows("c")
    core = Orchestrator()
    core.restore(core.fleet, [constellation_of(Recovered("c", None, 0, rows))], 5_000.0)
    async with a_rig() as rig:
        rig.runner.core, rig.runner._seqs = core, {"c": 1}
        await rig.runner.tell(CancelRequested(at=5_000.0, constellation="c", reason="enough"))

        assert [(row.seq, row.kind) for row in rig.store.rows("c")] == [
            (2, "cancel_requested"),
            (3, "constellation_ended"),
        ]


async def test_the_line_in_the_list_follows_what_happens():
    async with a_rig() as rig:
        lines = []
        paused = ConstellationPaused(at=1.0, constellation="c", reason="x")
        for event in (submitted("c"), paused, CancelRequested(at=2.0, constellation="c", reason="x")):
            await rig.runner.tell(event)
            lines.append(await rig.store.summary("c"))

        assert [line.state for line in lines if line] == ["running", "paused", "cancelled"]
        assert lines[-1]
        assert b'"counts":{"cancelled":1}' in bytes(lines[-1].body)


async def test_whoever_watches_a_stream_is_woken_by_it_and_by_no_other():
    async with a_rig() as rig:
        mine, other = rig.runner.watch("c"), rig.runner.watch("d")
        await rig.runner.tell(submitted("c"))

        assert (mine.is_set(), other.is_set()) == (True, False)
        rig.runner.unwatch("c", mine)
        rig.runner.unwatch("c", mine)
        rig.runner.unwatch("d", other)
        assert rig.runner._watchers == {}
