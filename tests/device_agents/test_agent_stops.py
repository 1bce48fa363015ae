"""A whole agent: stops that a call resists, freezes, sleep, and tools that come and go."""

import asyncio
import threading
import time
from random import Random
from typing import Any

import pytest

from device_agents.errors import ToolFailed
from device_agents.reconnect import FIGHT_FIRST_S, REPLACED_MAX, UNDISTURBED_S, Reconnect
from device_agents.tools.blocking import unblocked
from device_agents.wishes import seconds
from protocol.messages import Bye, Profiled, Reconcile, Reject, Report, Revoke, Sleep, Stopping
from protocol.vocabulary import ByeCode, Outcome, Verdict

from .helpers import ONCE, ToolOf, Words, assign
from .scripted import WITHIN_S, Device, begun, outcome_of, until

A, B = "c/a#1", "c/b#1"


class Leap:
    """A clock that can be told that a machine has slept."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.s


async def stubborn(words: Words, go: asyncio.Event) -> Words:
    """Swallow whatever it is told, until it may go."""
    while not go.is_set():
        try:
            await go.wait()
        except asyncio.CancelledError:
            continue
    return words


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["a coroutine", "a thread"])
async def test_a_call_that_cannot_be_ended_is_reported_as_such_and_keeps_its_slot(galaxy, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("device_agents.desk.GIVE_UP_AFTER_S", 0.1)
    go, go_thread, began = asyncio.Event(), threading.Event(), asyncio.Event()

    async def doing(words: Words, context: Any) -> Words:
        began.set()
        if kind == "a coroutine":
            return await stubborn(words, go)
        await unblocked(lambda _: go_thread.wait(WITHIN_S))
        return words

    async with Device(tmp_path, galaxy, ToolOf(doing)).runs():
        line = await galaxy.line()
        line.say(assign(A, ONCE))
        await began.wait()
        line.say(Revoke(A, "why", 0.1))
        assert await line.next(Stopping) == Stopping(A)
        assert outcome_of(await line.next(Report)) == (A, Outcome.UNKNOWN, "stop_failed")
        assert (await line.next(Profiled)).profile.slots == 3
        go.set()
        go_thread.set()
        assert (await line.next(Profiled)).profile.slots == 4


@pytest.mark.asyncio
async def test_an_agent_that_stops_does_not_wait_for_what_cannot_be_ended(galaxy, tmp_path, monkeypatch):
    monkeypatch.setattr("device_agents.desk.GIVE_UP_AFTER_S", 0.1)
    monkeypatch.setattr("device_agents.agent.DRAIN_WITHIN_S", 0.1)
    monkeypatch.setattr("device_agents.desk.GRACE_S", 0.1)
    go, began, left = asyncio.Event(), asyncio.Event(), []

    async def doing(words: Words, context: Any) -> Words:
        began.set()
        return await stubborn(words, go)

    def leave(code: int) -> None:
        left.append(code)
        go.set()

    device = Device(tmp_path, galaxy, ToolOf(doing))
    device.leave = leave
    async with device.runs() as run:
        line = await galaxy.line()
        line.say(assign(A, ONCE))
        await began.wait()
        device.agent.stop()
        assert outcome_of(await line.next(Report)) == (A, Outcome.UNKNOWN, "stop_failed")
        async with asyncio.timeout(WITHIN_S):
            await run

    assert left == [5]


@pytest.mark.asyncio
@pytest.mark.parametrize("woken_by", ["what it waits for", "its own progress"])
async def test_a_call_that_has_outlived_its_lease_takes_no_step_after_a_freeze(galaxy, tmp_path, woken_by):
    """What it waited for is there already when all goes on, and nobody has looked at the clock yet."""
    leap, began, go = Leap(), asyncio.Event(), asyncio.Event()
    steps: list[str] = []

    async def doing(words: Words, context: Any) -> Words:
        began.set()
        if woken_by == "what it waits for":
            await go.wait()
        else:
            await go.wait()
            leap.s = 3600.0
            context.progress("on and on", None)
        steps.append("went on")
        return words

    device = Device(tmp_path, galaxy, ToolOf(doing))
    device.now = leap
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A, stop_after_s=60.0))
        await began.wait()
        if woken_by == "what it waits for":
            leap.s = 3600.0
        go.set()
        await until(lambda: not device.agent._desk.jobs)

    assert steps == []


@pytest.mark.asyncio
async def test_a_superseded_attempt_is_stopped_and_its_report_delivered(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        line.say(Reconcile(A, Verdict.SUPERSEDED, "another device has done it"))
        assert await line.next(Stopping) == Stopping(A)
        assert outcome_of(await line.next(Report)) == (A, Outcome.CANCELLED, "stopped")


@pytest.mark.asyncio
async def test_a_device_that_holds_a_lease_renews_often_enough_for_it(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A, stop_after_s=0.9))
        before = line.session.heard_at
        await until(lambda: line.session.heard_at > before + 0.5)
        assert device.agent._desk.jobs, "renewed in time, though the heartbeat is 5 s"
        gate.go.set()
        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")


@pytest.mark.asyncio
async def test_a_device_that_goes_to_sleep_says_so_and_stays_away_until_it_is_woken(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        device.agent.rest(1800.0, "the lid is closed")
        said = await line.next(Sleep)
        assert (round(said.for_s), said.reason) == (1800, "the lid is closed")
        assert (await line.next(Bye)).code == ByeCode.STOPPING
        gate.go.set()
        await until(lambda: device.reports_on_disk() == [A])
        bye_at = time.monotonic()
        await until(lambda: time.monotonic() > bye_at + 0.3)
        assert galaxy._lines.empty()
        device.agent.wake()
        assert outcome_of(await (await galaxy.line()).next(Report)) == (A, Outcome.SUCCEEDED, "")


@pytest.mark.asyncio
async def test_a_device_comes_back_by_itself_when_its_sleep_is_over(galaxy, device):
    async with device.runs():
        line = await galaxy.line()
        device.agent.rest(0.3, "")
        await line.next(Bye)
        await galaxy.line()


class Probed(ToolOf):
    """A tool that says of itself what the test says."""

    cause = ""

    async def probe(self, guard: Any) -> None:
        if self.cause == "a bug":
            raise KeyError(self.cause)
        if self.cause:
            raise ToolFailed("unavailable", self.cause)


@pytest.mark.asyncio
@pytest.mark.parametrize("cause", ["no such program", "a bug"])
async def test_a_tool_whose_probe_fails_is_withdrawn_and_comes_back_when_it_passes(
    galaxy, tmp_path, monkeypatch, gate, cause
):
    monkeypatch.setattr("device_agents.health.PROBE_AGAIN_AFTER_S", 0.1)
    tool = Probed(gate)
    tool.cause = cause
    async with Device(tmp_path, galaxy, tool).runs():
        line = await galaxy.line()
        withdrawn = line.hello.profile.withdrawn or (await line.next(Profiled)).profile.withdrawn
        assert cause in withdrawn["test.tool"]
        line.say(assign(A))
        rejected = (await line.next(Reject)).failure
        assert (rejected.code, rejected.retryable, cause in rejected.message) == ("tool_withdrawn", True, True)
        tool.cause = ""
        assert (await line.next(Profiled)).profile.withdrawn == {}
        gate.go.set()
        line.say(assign(B))
        assert outcome_of(await line.next(Report)) == (B, Outcome.SUCCEEDED, "")


@pytest.mark.asyncio
async def test_a_failure_that_suggests_it_makes_a_tool_be_probed_sooner(galaxy, tmp_path, monkeypatch):
    monkeypatch.setattr("device_agents.health.PROBE_AGAIN_AFTER_S", 0.05)

    async def fails(words: Words, context: Any) -> Words:
        tool.cause = "it is gone"
        raise ToolFailed("unavailable", "it is gone")

    tool = Probed(fails)
    async with Device(tmp_path, galaxy, tool).runs():
        line = await galaxy.line()
        line.say(assign(A))
        assert (await line.next(Profiled)).profile.withdrawn == {"test.tool": "it is gone"}


def test_two_agents_of_one_identity_do_not_fight_for_ever():
    reconnect, replaced = Reconnect(Random(7)), Bye(ByeCode.REPLACED, "the same device has dialled again")
    delays = [reconnect.after(1.0, replaced) for _ in range(REPLACED_MAX + 8)]

    assert max(delays[:REPLACED_MAX]) < 1.0
    assert all(FIGHT_FIRST_S / 2 <= delay <= 3600.0 for delay in delays[REPLACED_MAX:])
    assert delays[-1] >= 1800.0
    assert reconnect.after(UNDISTURBED_S, replaced) < 1.0


@pytest.mark.parametrize(("text", "s"), [("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), ("2d", 172_800.0)])
def test_how_long_to_sleep_is_a_number_with_its_unit(text, s):
    assert seconds(text) == s


@pytest.mark.parametrize("text", ["", "30", "0m", "m", "-5m", "1h30m"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(ValueError, match="write it as"):
        seconds(text)


@pytest.mark.asyncio
async def test_a_call_whose_lease_is_shorter_than_the_heartbeat_is_begun_once_it_is_renewed(galaxy, tmp_path):
    """Begun at once, it would be stopped at once, and nobody would know whether its effect had happened."""
    leap = Leap()

    async def doing(words: Words, context: Any) -> Words:
        return words

    device = Device(tmp_path, galaxy, ToolOf(doing))
    device.now = leap
    async with device.runs():
        line = await galaxy.line()
        leap.s = 3.5
        line.say(assign(A, ONCE, stop_after_s=4.0))

        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")
