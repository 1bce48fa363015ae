"""Sensors and relays: readings in their range and none else, positions that are confirmed, and what is always safe."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from device_agents.services import beside
from device_agents.tools.edge.settings import SensorSettings
from device_agents.tools.edge.store import SeriesStore, Span
from device_agents.tools.edge.things import RelaySet, SensorRead, read

from ..bench import Bench, failing
from .stands import SENSOR, a_broker, a_thing, client, edge


@pytest.mark.parametrize(
    ("payload", "value", "good"),
    [
        ('{"t": 61.5}', 61.5, True),
        ('{"t": "61.5"}', 61.5, True),
        ('{"t": 121}', 121.0, False),
        ('{"t": -20.1}', -20.1, False),
    ],
)
def test_a_reading_outside_of_the_range_of_its_sensor_is_a_bad_one(payload: str, value: float, good: bool):
    reading = read("boiler", SENSOR, payload)

    assert reading is not None
    assert (reading.value, reading.good) == (value, good)


@pytest.mark.parametrize(
    "payload", ["", "warm", "{}", '{"t": null}', '{"t": []}', "[1]", '{"t": "NaN"}', '{"t": 1e999}']
)
def test_a_payload_that_tells_no_number_is_no_reading(payload: str):
    assert read("boiler", SENSOR, payload) is None


def test_a_payload_may_be_just_the_number():
    reading = read("x", SensorSettings("x"), " 7 ")

    assert reading is not None
    assert reading.value == 7.0


def test_a_sensor_outside_of_its_range_is_a_failure_and_no_value(tmp_path: Path):
    bench = Bench(tmp_path)
    cold = {"cold": SensorSettings("home/boiler", "°C", 0, 50, "/t")}

    async def asked(url: str) -> None:
        async with client(url) as broker:
            asking = asyncio.create_task(
                bench.run(SensorRead(edge(url, sensors=cold), SeriesStore(100)), sensor="cold")
            )
            while not asking.done():  # until it listens
                await broker.publish("home/boiler", '{"t": 61.5}', qos=1)
            await asking

    with a_broker(bench) as url, failing("out_of_range", "61.5 °C", retryable=True):
        asyncio.run(asked(url))


def test_a_relay_that_confirms_is_waited_for_and_one_that_does_not_is_told(tmp_path: Path):
    bench = Bench(tmp_path)

    async def switched(url: str, answer: str) -> Any:
        async with a_thing(url, "home/pump/set", lambda said: ("home/pump", answer or said)):
            return await bench.run(RelaySet(edge(url)), relay="pump", to="on")

    with a_broker(bench) as url:
        done = asyncio.run(switched(url, ""))
        with failing("not_confirmed", retryable=True):
            asyncio.run(switched(url, "OFF"))

    assert (done.is_now, done.confirmed) == ("on", True)


def test_a_relay_that_is_held_is_safe_again_at_the_end_of_the_time(tmp_path: Path):
    bench = Bench(tmp_path)

    async def held(url: str) -> list[str]:
        async with a_thing(url, "home/pump/set", lambda said: ("home/pump", said)) as came:
            done = await bench.run(RelaySet(edge(url)), relay="pump", to="on", hold_s=0.2)
            assert (done.is_now, done.confirmed) == ("off", True)
            return came

    with a_broker(bench) as url:
        assert asyncio.run(held(url))[:2] == ["ON", "OFF"]


def test_a_relay_that_is_held_is_safe_again_when_the_call_is_cancelled(tmp_path: Path):
    bench = Bench(tmp_path)

    async def held(url: str) -> list[str]:
        async with a_thing(url, "home/pump/set", lambda said: ("home/pump", said)) as came:
            holding = asyncio.create_task(bench.run(RelaySet(edge(url)), relay="pump", to="on", hold_s=60))
            await came.grown_to(1)
            holding.cancel()
            await asyncio.wait([holding])
            await came.grown_to(2)
            return came

    with a_broker(bench) as url:
        assert asyncio.run(held(url)) == ["ON", "OFF"]


def test_the_agent_listens_to_its_sensors_all_the_time_and_says_whether_it_is_there(tmp_path: Path):
    bench = Bench(tmp_path)
    store = SeriesStore(100)

    async def listened(url: str) -> None:
        settings = edge(url, status="home/agent")
        statuses: list[str] = []
        async with client(url) as broker:
            await broker.subscribe("home/agent", qos=1)

            async def work() -> None:
                async for message in broker.messages:
                    statuses.append(bytes(message.payload).decode())
                    break
                for value in (1, 2, 500, 3):
                    await broker.publish("home/boiler", f'{{"t": {value}}}', qos=1)
                await kept(4)

            async def kept(count: int) -> None:
                while len(await store.readings(bench.work.parent, Span("boiler", good_only=False), 10)) < count:
                    await store.changed()

            await beside([SensorRead(settings, store)], bench.guard, work())
            async for message in broker.messages:
                statuses.append(bytes(message.payload).decode())
                break
        assert statuses == ["online", "offline"]

    with a_broker(bench) as url:
        asyncio.run(listened(url))
        measured = bench.call(SensorRead(edge(), store), sensor="boiler")

    assert measured.value == 3.0
    readings = asyncio.run(store.readings(bench.work.parent, Span("boiler"), 10))
    assert [reading.value for reading in readings] == [1.0, 2.0, 3.0]
