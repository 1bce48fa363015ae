"""Time series: on the disk, in the order in which they were kept, as fine or coarse as they are asked for."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_agents.tools.edge.series import SeriesAppend, SeriesQuery, SeriesWatch
from device_agents.tools.edge.store import Reading, SeriesStore, Span

from ..bench import Bench, failing


def with_points(bench: Bench, *points: tuple[float, float]) -> SeriesStore:
    store = SeriesStore(1_000)
    bench.call(SeriesAppend(store), series="x", points=points)
    return store


def test_a_query_goes_on_where_the_one_before_has_stopped_even_if_a_later_reading_is_older(tmp_path: Path):
    bench = Bench(tmp_path)
    store = with_points(bench, (10, 1), (20, 2))

    first = bench.call(SeriesQuery(store), series="x", limit=1)
    bench.call(SeriesAppend(store), series="x", points=[(5, 0)])  # what was offline comes late
    rest = bench.call(SeriesQuery(store), series="x", after=first.next)

    assert (first.points, first.more) == ([(10, 1)], True)
    assert (rest.points, rest.more) == ([(20, 2), (5, 0)], False)
    assert bench.call(SeriesQuery(store), series="x", after=rest.next).points == []


def test_a_point_said_twice_is_kept_once(tmp_path: Path):
    bench = Bench(tmp_path)
    store = with_points(bench, (10, 1), (20, 2))
    bench.call(SeriesAppend(store), series="x", points=[(10, 1), (20, 3)])

    assert bench.call(SeriesQuery(store), series="x").points == [(10, 1), (20, 3)]


@pytest.mark.parametrize(("how", "values"), [("mean", [2, 10]), ("min", [1, 10]), ("max", [3, 10]), ("sum", [6, 10])])
def test_a_coarser_series_has_one_point_for_each_span_of_time(tmp_path: Path, how: str, values: list[float]):
    bench = Bench(tmp_path)
    store = with_points(bench, (60, 1), (70, 2), (119, 3), (180, 10))

    found = bench.call(SeriesQuery(store), series="x", every_s=60, how=how)

    assert found.points == list(zip([60, 180], values, strict=True))


def test_readings_outlive_the_agent_and_the_oldest_go_when_there_are_too_many(tmp_path: Path):
    bench = Bench(tmp_path)
    for number in range(10):
        bench.call(SeriesAppend(SeriesStore(4)), series="x", points=[(number, number), (number + 0.5, number)])

    found = bench.call(SeriesQuery(SeriesStore(4)), series="x")

    assert found.points[-2:] == [(9.0, 9), (9.5, 9)]
    assert len(found.points) <= 8


def watched(bench: Bench, store: SeriesStore, points: list[tuple[float, float]], **arguments: Any) -> Any:
    """Watch while the points come one by one; the first is there before."""

    async def both() -> Any:
        begun = asyncio.Event()
        bench.context = replace(bench.context, progress=lambda note, fraction: begun.set())
        await store.add(bench.work.parent, [Reading("x", *points[0])])
        watching = asyncio.create_task(bench.run(SeriesWatch(store), series="x", **arguments))
        await begun.wait()
        for at, value in points[1:]:
            await store.add(bench.work.parent, [Reading("x", at, value)])
        return await watching

    return asyncio.run(both())


def test_a_watch_ends_with_the_reading_that_crosses_the_line(tmp_path: Path):
    bench = Bench(tmp_path)
    crossed = watched(bench, SeriesStore(100), [(1, 5), (2, 20), (3, 51), (4, 7)], above=50)

    assert (crossed.at, crossed.value) == (3, 51)


def test_a_watch_that_asks_for_a_while_begins_anew_after_a_break(tmp_path: Path):
    bench = Bench(tmp_path)
    points = [(1.0, 5.0), (2.0, 1.0), (10.0, 9.0), (11.0, 2.0), (15.0, 1.5), (21.5, 1.0)]
    crossed = watched(bench, SeriesStore(100), points, below=3, held_s=10)

    assert (crossed.at, crossed.value) == (21.5, 1.0)


def test_a_watch_gives_up_when_its_time_is_over_and_wants_one_line(tmp_path: Path):
    bench = Bench(tmp_path)
    with failing("not_crossed"):
        bench.call(SeriesWatch(SeriesStore(9)), series="x", above=1, for_s=0.1)
    with failing("bad_arguments", "above", "below"):
        bench.call(SeriesWatch(SeriesStore(9)), series="x", above=1, below=0)


def test_a_bad_reading_is_told_only_to_those_who_ask_for_it(tmp_path: Path):
    bench = Bench(tmp_path)
    store = SeriesStore(100)
    asyncio.run(store.add(bench.work.parent, [Reading("x", 1, 999, good=False), Reading("x", 2, 20)]))

    assert bench.call(SeriesQuery(store), series="x").points == [(2, 20)]
    assert bench.call(SeriesQuery(store), series="x", bad=True).points == [(1, 999), (2, 20)]
    assert len(asyncio.run(store.readings(bench.work.parent, Span("x"), 10))) == 1
