"""The loop in virtual time: what is killed gets no turn, and what is frozen gets it later."""

import asyncio

import pytest

from nebulabench.world.loop import SimLoop


@pytest.fixture
def loop():
    fallen: list[str] = []
    loop = SimLoop(fallen.append)
    yield loop
    loop.close()
    assert fallen == []


def test_hours_pass_at_once_and_in_their_order(loop):
    told = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        told.append((name, round(loop.time())))

    process = loop.process("p")
    for name, seconds in (("late", 7_200.0), ("soon", 60.0)):
        process.start(wait(name, seconds))
    assert not loop.run_until(lambda: False, 10_000.0)

    assert told == [("soon", 60), ("late", 7_200)]


def test_a_process_that_is_killed_does_nothing_more_not_even_finally(loop):
    told = []

    async def work() -> None:
        try:
            await asyncio.sleep(10.0)
        finally:
            told.append("finally")

    process = loop.process("p")
    process.start(work())
    loop.call_later(5.0, process.kill)
    loop.run_until(lambda: False, 100.0)

    assert told == []


def test_a_frozen_process_goes_on_with_all_that_became_due(loop):
    told = []

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(1.0)
            told.append(round(loop.time()))

    process = loop.process("p")
    process.start(work())
    loop.call_later(1.5, process.freeze)
    loop.call_later(50.0, process.thaw)
    loop.run_until(lambda: False, 100.0)

    assert told == [1, 50, 51]


def test_what_falls_out_of_a_callback_is_told_to_whoever_asked():
    fallen: list[str] = []
    loop = SimLoop(fallen.append)
    loop.call_soon(lambda: 1 / 0)
    loop.run_until(lambda: False, 1.0)
    loop.close()

    assert fallen == ["the world: ZeroDivisionError: division by zero"]


def test_a_process_that_crashes_is_told_though_nobody_waits_for_it():
    fallen: list[str] = []
    loop = SimLoop(fallen.append)

    async def crash() -> None:
        raise AttributeError("no such thing")

    loop.process("d1.1").start(crash())
    loop.run_until(lambda: bool(fallen), 1.0)
    loop.close()

    assert fallen == ["d1.1 crashed: AttributeError('no such thing')"]


def test_a_time_limit_is_one_of_virtual_time(loop):
    told = []

    async def work() -> None:
        try:
            async with asyncio.timeout(30.0):
                await asyncio.Event().wait()
        except TimeoutError:
            told.append(round(loop.time()))

    loop.process("p").start(work())
    loop.run_until(lambda: bool(told), 100.0)

    assert told == [30]
