"""Readings that lie about their time: clocks set back, values that a broker had kept, points of others, floods."""

import asyncio
import time
from pathlib import Path

import pytest

from device_agents.services import beside
from device_agents.tools.edge import tools
from device_agents.tools.edge.series import SeriesAppend
from device_agents.tools.edge.store import Reading, SeriesStore, Span
from device_agents.tools.edge.things import SensorRead

from ..bench import Bench, failing
from .stands import a_broker, client, edge


def with_readings(bench: Bench, *readings: tuple[float, float]) -> SeriesStore:
    store = SeriesStore(1_000)
    for at, value in readings:
        asyncio.run(store.add(bench.work.parent, [Reading("boiler", at, value)]))
    return store


def test_a_reading_from_before_the_clock_was_set_back_is_not_the_newest(tmp_path: Path):
    bench = Bench(tmp_path)
    store = with_readings(bench, (time.time() + 86_400, 20), (time.time(), 90))

    assert bench.call(SensorRead(edge(), store), sensor="boiler").value == 90


def test_a_reading_of_the_future_is_not_taken_for_a_fresh_one(tmp_path: Path):
    bench = Bench(tmp_path)
    store = with_readings(bench, (time.time() + 86_400, 20))

    with a_broker(bench) as url, failing("timeout", "has said nothing", retryable=True):
        bench.call(SensorRead(edge(url), store), sensor="boiler", timeout_s=0.3)


def test_a_value_that_the_broker_had_kept_is_no_fresh_reading(tmp_path: Path):
    bench = Bench(tmp_path)
    with a_broker(bench) as url, failing("timeout", "has said nothing", retryable=True):
        bench.call(SensorRead(edge(url), SeriesStore(10)), sensor="boiler", timeout_s=0.5)


def test_nobody_but_the_sensor_fills_its_series(tmp_path: Path):
    bench = Bench(tmp_path)
    (append,) = [tool for tool in tools(edge()) if isinstance(tool, SeriesAppend)]

    with failing("denied", "agent.toml"):
        bench.call(append, series="boiler", points=[(9e10, 20)])
    assert bench.call(append, series="else", points=[(1, 2)]).count == 1


def test_a_flood_of_readings_is_kept_and_dated_as_it_comes(tmp_path: Path):
    bench, count = Bench(tmp_path), 900
    store = SeriesStore(10_000)

    async def flooded(url: str) -> float:
        async with client(url, max_inflight_messages=1_000) as broker:

            async def online() -> None:
                await broker.subscribe("home/agent", qos=1)
                async for _ in broker.messages:
                    return

            async def work() -> None:
                await online()
                said = [broker.publish("home/boiler", f'{{"t": {number % 100}}}', qos=0) for number in range(count)]
                for each in said:
                    await each
                while len(await store.readings(bench.work.parent, Span("boiler"), count)) < count:
                    await store.changed()

            began = time.monotonic()
            await beside([SensorRead(edge(url, status="home/agent"), store)], bench.guard, work())
            return time.monotonic() - began

    with a_broker(bench) as url:
        assert asyncio.run(flooded(url)) < 10


@pytest.mark.parametrize("payload", ["9" * 400, '{"t": ' * 2_000, '{"t": 1e308}', '{"t": true}', "\x00", "[" * 100_000])
def test_a_payload_that_means_harm_does_not_end_the_listening(tmp_path: Path, payload: str):
    bench = Bench(tmp_path)
    store = SeriesStore(100)

    async def harmed(url: str) -> None:
        async with client(url) as broker:

            async def work() -> None:
                await broker.subscribe("home/agent", qos=1)
                async for _ in broker.messages:
                    break
                await broker.publish("home/boiler", payload, qos=1)
                await broker.publish("home/boiler", '{"t": 7}', qos=1)
                while not (last := await store.last(bench.work.parent, "boiler")) or last.value != 7:
                    await store.changed()

            async with asyncio.timeout(10):
                await beside([SensorRead(edge(url, status="home/agent"), store)], bench.guard, work())

    with a_broker(bench) as url:
        asyncio.run(harmed(url))


def test_many_that_write_and_read_at_once_do_not_find_the_file_locked(tmp_path: Path):
    bench = Bench(tmp_path)
    store = SeriesStore(100_000)

    async def crowd() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(store.add(bench.work.parent, [Reading("x", number, number)]))
                group.create_task(store.last(bench.work.parent, "x"))

    asyncio.run(crowd())
    assert len(asyncio.run(store.readings(bench.work.parent, Span("x"), 1_000))) == 300
