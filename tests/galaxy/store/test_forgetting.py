"""What goes and what stays when old things are let go, alike in memory, SQLite and PostgreSQL."""

import pytest

from galaxy.store.contract import FLEET, ArtifactRow, Gone, Store
from tests.galaxy.store.conftest import Reopen
from tests.galaxy.store.facts import answer, batch, line, row, rows

pytestmark = pytest.mark.asyncio

OLD, NEW, AT = "ab" * 32, "cd" * 32, 1_000.0


async def ended_one(store: Store, name: str, ended_at: float, events: int = 3) -> None:
    await store.append(batch(*rows(1, events, stream=name), summaries=(line(name, ended_at=ended_at),)))


async def test_what_ended_long_ago_is_forgotten_piece_by_piece_and_nothing_else(store: Store):
    await ended_one(store, "old", 10.0, events=5)
    await ended_one(store, "young", 90.0)
    await store.append(batch(*rows(1, 3, stream="open"), summaries=(line("open"),)))
    await store.snapshot("old", 2, b"two")

    assert await store.forget_ended(50.0, AT, 10) == ["old"]
    assert (await store.summary("old"), await store.forgotten_at("old")) == (None, AT)
    size = len(row(1).body)
    assert await store.forget_events(AT, 3) == Gone(3, 3 * size)
    assert await store.events("old", 0, 10) == rows(4, 5, stream="old")
    assert await store.forget_events(AT, 3) == Gone(2, 2 * size)
    assert await store.forget_events(AT, 3) is None

    assert await store.streams("", 10) == ["open", "young"]
    assert await store.kept_snapshot("old") is None
    assert [one.id for one in await store.summaries(state=None, before=None, limit=10)] == ["young", "open"]
    assert await store.forgotten_at("young") is None


async def test_the_oldest_go_first_and_no_more_than_asked_for(store: Store):
    for name, ended_at in (("b", 20.0), ("a", 30.0), ("c", 10.0)):
        await ended_one(store, name, ended_at)

    assert await store.forget_ended(50.0, AT, 2) == ["c", "b"]
    assert await store.forget_ended(50.0, AT, 2) == ["a"]
    assert await store.forget_ended(50.0, AT, 2) == []


async def test_forgetting_that_was_cut_off_goes_on_after_the_next_start(reopening: Reopen):
    store = await reopening()
    await ended_one(store, "old", 10.0)
    await store.forget_ended(50.0, AT, 10)
    await store.close()

    store = await reopening()
    assert await store.forget_events(AT, 10) == Gone(3, 3 * len(row(1).body))
    assert await store.streams("", 10) == []
    await store.close()


async def test_a_constellation_of_exactly_one_piece_is_emptied_too(store: Store):
    await ended_one(store, "old", 10.0, events=3)
    await store.forget_ended(50.0, AT, 10)

    assert [gone and gone.amount for gone in [await store.forget_events(AT, 3) for _ in range(3)]] == [3, 0, None]


async def test_what_is_known_of_the_forgotten_is_dropped_once_they_are_empty_and_old(store: Store):
    await ended_one(store, "old", 10.0)
    await store.forget_ended(50.0, AT, 10)
    await store.forget_forgotten(AT + 1)
    assert await store.forgotten_at("old") == AT, "its events are still there"
    while await store.forget_events(AT, 10):
        pass
    await store.forget_forgotten(AT)
    assert await store.forgotten_at("old") == AT
    await store.forget_forgotten(AT + 1)
    assert await store.forgotten_at("old") is None


async def test_an_artifact_stays_as_long_as_any_constellation_names_it(store: Store):
    for name in (OLD, NEW):
        await store.add_artifact(ArtifactRow(name, 5, "text/plain", 1.0))
    used = batch(row(1, "a"), row(1, "b"), summaries=(line("a", ended_at=10.0), line("b", ended_at=90.0)))
    used.uses = [(OLD, "a"), (OLD, "b"), (OLD, "b")]
    await store.append(used)
    await store.append(used)  # a commit whose answer was lost

    assert [one.sha256 for one in await store.unused_artifacts(2.0, 10)] == [NEW]
    assert await store.unused_artifacts(1.0, 10) == []
    assert len(await store.unused_artifacts(2.0, 10, ended_before=50.0)) == 1
    assert len(await store.unused_artifacts(2.0, 10, ended_before=100.0)) == 2
    await store.forget_artifacts([OLD, NEW])
    assert [await store.artifact(name) for name in (OLD, NEW)] == [ArtifactRow(OLD, 5, "text/plain", 1.0), None]

    await store.forget_ended(100.0, AT, 10)
    while await store.forget_events(AT, 10):
        pass
    assert [one.sha256 for one in await store.unused_artifacts(2.0, 10)] == [OLD]


async def test_uses_that_come_alone_or_with_a_conflict_are_recorded_like_rows(store: Store):
    await store.add_artifact(ArtifactRow(OLD, 5, "text/plain", 1.0))
    await store.append(batch(row(1, "a")))
    again = batch(*rows(1, 2, "a"))
    again.uses = [(OLD, "a")]
    await store.append(again)

    assert await store.unused_artifacts(2.0, 10) == []


async def test_an_artifact_that_somebody_asks_for_begins_its_time_anew(store: Store):
    await store.add_artifact(ArtifactRow(OLD, 5, "text/plain", 1.0))
    await store.touch_artifact(OLD, 9.0)
    await store.touch_artifact(OLD, 3.0)
    await store.touch_artifact(NEW, 9.0)

    assert await store.artifact(OLD) == ArtifactRow(OLD, 5, "text/plain", 9.0)


async def test_the_fleets_log_goes_up_to_its_snapshot_and_no_further(store: Store):
    await store.append(batch(*rows(1, 6, stream=FLEET)))
    assert await store.forget_fleet(1e9, 10) == Gone(0, 0)
    await store.snapshot(FLEET, 4, b"four")

    assert (await store.forget_fleet(103.0, 10)).amount == 2, "those of 101 and 102"
    assert (await store.forget_fleet(1e9, 1)).amount == 1
    assert (await store.forget_fleet(1e9, 10)).amount == 1
    assert await store.events(FLEET, 0, 10) == rows(5, 6, stream=FLEET)
    assert [one.rows async for one in store.recover()] == [rows(5, 6, stream=FLEET)]


async def test_a_look_ahead_counts_what_would_go_and_changes_nothing(store: Store):
    size = len(row(1).body)
    await ended_one(store, "old", 10.0)
    await ended_one(store, "young", 90.0)
    await store.append(batch(*rows(1, 4, stream=FLEET), answered=(answer("k", at=1.0), answer("l", at=60.0))))
    await store.snapshot(FLEET, 2, b"two")

    assert await store.ended(50.0) == (Gone(1, 3 * size), Gone(0, 0))
    assert await store.ended(500.0) == (Gone(2, 6 * size), Gone(2, 2 * size))
    assert await store.answers(50.0) == Gone(1, len(answer().answer))
    assert await store.streams("", 2) == ["old", "young"]
    assert await store.streams("old", 2) == ["young", FLEET]


async def test_giving_room_back_keeps_everything(store: Store):
    await store.append(batch(*rows(1, 50)))
    await store.compact()

    assert await store.events("c", 0, 99) == rows(1, 50)
