"""The store's contract, kept alike by memory, SQLite (in the loop's thread and in its own) and PostgreSQL."""

import pytest

from galaxy.store.contract import FLEET, ArtifactRow, Recovered, Row, Store
from galaxy.store.errors import StoreConflict, StoreCorrupt
from tests.galaxy.store.conftest import Reopen
from tests.galaxy.store.facts import answer, batch, line, row, rows

pytestmark = pytest.mark.asyncio


async def recovered(store: Store) -> list[Recovered]:
    return [stream async for stream in store.recover()]


async def test_a_batch_is_read_back_as_it_was_written(store: Store):
    written = [row(1), Row("d", 1, "planner_asked", 0.1 + 0.2, "né\x00\u2028".encode()), row(2)]

    await store.append(batch(*written, summaries=(line(),), answered=(answer(),)))

    assert await store.events("c", 0, 10) == [row(1), row(2)]
    assert await store.events("d", 0, 10) == [written[1]]
    assert await store.summary("c") == line()
    assert await store.answered("submit/k1") == answer()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 256, 300])
async def test_batches_of_every_size_keep_their_order(store: Store, count: int):
    await store.append(batch(*rows(1, count)))

    assert await store.events("c", 0, 1_000) == rows(1, count)


async def test_events_are_read_by_pages_after_a_number(store: Store):
    await store.append(batch(*rows(1, 5), *rows(1, 5, stream="d")))

    assert await store.events("c", 1, 2) == rows(2, 3)
    assert await store.events("c", 4, 10) == [row(5)]
    assert await store.events("c", 5, 10) == []
    assert await store.events("nobody", 0, 10) == []


async def test_an_identical_batch_may_be_appended_again(store: Store):
    again = batch(*rows(1, 3), summaries=(line(),), answered=(answer(),))
    await store.append(again)

    await store.append(again)

    assert await store.events("c", 0, 10) == rows(1, 3)


async def test_a_batch_that_is_partly_recorded_is_completed(store: Store):
    await store.append(batch(*rows(1, 2)))

    await store.append(batch(*rows(1, 4), summaries=(line(),), answered=(answer(),)))

    assert await store.events("c", 0, 10) == rows(1, 4)
    assert (await store.summary("c"), await store.answered("submit/k1")) == (line(), answer())


async def test_a_different_event_under_the_same_number_is_a_conflict_and_writes_nothing(store: Store):
    await store.append(batch(row(1)))

    with pytest.raises(StoreConflict, match="event 1 of c"):
        await store.append(batch(row(1, body=b"{}"), row(2), summaries=(line(),), answered=(answer(),)))

    assert await store.events("c", 0, 10) == [row(1)]
    assert (await store.summary("c"), await store.answered("submit/k1")) == (None, None)


async def test_a_different_answer_under_the_same_key_is_a_conflict_and_writes_nothing(store: Store):
    await store.append(batch(answered=(answer(),)))

    with pytest.raises(StoreConflict, match="submit/k1"):
        await store.append(batch(row(1), answered=(answer(digest="d2"),)))

    assert await store.answered("submit/k1") == answer()
    assert await store.events("c", 0, 10) == []


async def test_a_store_goes_on_after_a_conflict(store: Store):
    await store.append(batch(row(1)))
    with pytest.raises(StoreConflict):
        await store.append(batch(row(1, body=b"{}")))

    await store.append(batch(row(2)))

    assert await store.events("c", 0, 10) == rows(1, 2)


async def test_the_newest_summary_of_a_batch_replaces_those_before_it(store: Store):
    await store.append(batch(summaries=(line(),)))

    await store.append(batch(summaries=(line(state="paused"), line(state="failed", ended_at=200.0))))

    assert await store.summary("c") == line(state="failed", ended_at=200.0)


async def test_summaries_come_newest_first_and_page_by_time_and_id(store: Store):
    a, b, c, d = line("a", at=1.0), line("b", at=2.0), line("c", at=2.0), line("d", at=3.0, state="failed")
    await store.append(batch(summaries=(c, a, d, b)))

    assert await store.summaries(state=None, before=None, limit=2) == [d, c]
    assert await store.summaries(state=None, before=(2.0, "c"), limit=2) == [b, a]
    assert await store.summaries(state="running", before=None, limit=2) == [c, b]
    assert await store.summaries(state="running", before=(2.0, "b"), limit=2) == [a]
    assert await store.summary("nobody") is None


async def test_recovery_gives_the_fleet_first_and_then_what_has_not_ended_oldest_first(store: Store):
    await store.append(
        batch(
            *rows(1, 2, stream="young"),
            row(1, stream="over"),
            row(1, stream="old"),
            row(1, stream=FLEET),
            summaries=(line("young", at=9.0), line("over", at=1.0, ended_at=5.0), line("old", at=2.0), line("idle")),
        )
    )

    assert await recovered(store) == [
        Recovered(FLEET, None, 0, [row(1, stream=FLEET)]),
        Recovered("old", None, 0, [row(1, stream="old")]),
        Recovered("young", None, 0, rows(1, 2, stream="young")),
        Recovered("idle", None, 0, []),
    ]


async def test_recovery_begins_after_the_snapshot(store: Store):
    await store.append(batch(*rows(1, 5), *rows(1, 3, stream=FLEET), summaries=(line(),)))
    await store.snapshot("c", 3, b'{"state":3}')
    await store.snapshot(FLEET, 3, b'{"fleet":3}')

    assert await recovered(store) == [
        Recovered(FLEET, b'{"fleet":3}', 3, []),
        Recovered("c", b'{"state":3}', 3, rows(4, 5)),
    ]


async def test_an_older_snapshot_does_not_replace_a_newer_one(store: Store):
    await store.append(batch(*rows(1, 5), summaries=(line(),)))
    await store.snapshot("c", 2, b"two")
    await store.snapshot("c", 4, b"four")
    await store.snapshot("c", 3, b"three")

    assert (await recovered(store))[1] == Recovered("c", b"four", 4, [row(5)])


async def test_recovery_reads_long_logs_whole(store: Store):
    await store.append(batch(*rows(1, 2_500), *rows(1, 1_001, stream=FLEET), summaries=(line(),)))

    assert await recovered(store) == [
        Recovered(FLEET, None, 0, rows(1, 1_001, stream=FLEET)),
        Recovered("c", None, 0, rows(1, 2_500)),
    ]


async def test_an_empty_store_recovers_an_empty_fleet(store: Store):
    assert await recovered(store) == [Recovered(FLEET, None, 0, [])]


@pytest.mark.parametrize("stream", ["c", FLEET])
async def test_a_gap_in_the_log_is_refused_at_recovery(store: Store, stream: str):
    await store.append(batch(row(1, stream), row(3, stream), summaries=(line(),)))

    with pytest.raises(StoreCorrupt, match=f"event 2 of {stream} is missing"):
        await recovered(store)


async def test_old_answers_are_forgotten_and_newer_ones_kept(store: Store):
    old = tuple(answer(f"k{n}", at=1.0) for n in range(1_001))
    await store.append(batch(answered=(*old, answer("new", at=2.0))))

    assert await store.forget_answered(2.0) == 1_001
    assert await store.answered("k1") is None
    assert await store.answered("new") == answer("new", at=2.0)


async def test_an_artifact_keeps_its_first_description(store: Store):
    first = ArtifactRow("ab" * 32, 5 << 30, "image/png", 1.5)
    await store.add_artifact(first)
    await store.add_artifact(ArtifactRow("ab" * 32, 5 << 30, "text/plain", 2.5))

    assert await store.artifact("ab" * 32) == first
    assert await store.artifact("cd" * 32) is None


async def test_a_setting_has_its_latest_value(store: Store):
    assert await store.setting("id") is None

    await store.set_setting("id", "g1")
    await store.set_setting("id", "g2")

    assert await store.setting("id") == "g2"


async def test_reading_goes_on_while_a_recovery_is_half_read(store: Store):
    await store.append(batch(row(1), row(1, "d"), summaries=(line(), line("d"))))
    recovery = store.recover()
    await anext(recovery)
    await anext(recovery)

    await store.append(batch(row(2), row(2, "d")))

    assert await store.events("c", 1, 10) == [row(2)]
    assert [stream.stream async for stream in recovery] == ["d"]


async def test_everything_is_there_after_closing_and_opening_again(reopening: Reopen):
    store = await reopening()
    await store.append(batch(*rows(1, 3), summaries=(line(),), answered=(answer(),)))
    await store.set_setting("id", "g1")
    await store.snapshot("c", 2, b"two")
    await store.close()

    store = await reopening()

    assert (await recovered(store))[1] == Recovered("c", b"two", 2, [row(3)])
    assert (await store.summary("c"), await store.setting("id")) == (line(), "g1")
    assert await store.answered("submit/k1") == answer()
    await store.close()
