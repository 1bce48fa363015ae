"""A whole agent, over real sockets, against a Galaxy that says what the test says: what it does with work."""

import asyncio
import os
import time
from typing import Any

import pytest

from device_agents.guard import Policy
from device_agents.tools.shell import ShellRun
from protocol.messages import Accept, Profiled, Progress, Reject, Report, Revoke, Stopping
from protocol.vocabulary import Held, Holding, Outcome

from .helpers import ONCE, ToolOf, Words, assign, bench_of, full_disk
from .scripted import Device, begun, outcome_of, reports_in, until

A, B = "c/a#1", "c/b#1"

pytestmark = pytest.mark.asyncio


async def test_an_agent_greets_with_what_it_is_and_holds(galaxy, device):
    async with device.runs():
        line = await galaxy.line()

    hello = line.hello
    assert (hello.device, hello.session, hello.heard, hello.held) == ("laptop", "", 0, ())
    assert [tool.name for tool in hello.profile.tools] == ["test.tool"]


async def test_work_is_done_and_reported(galaxy, device, gate):
    gate.go.set()
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A, arguments={"text": "hello"}))
        report = await line.next(Report)

    assert (outcome_of(report), bytes(report.result)) == ((A, Outcome.SUCCEEDED, ""), b'{"text":"hello"}')


async def test_what_runs_for_a_while_is_accepted(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A))

        assert await line.next(Accept) == Accept(A)
        gate.go.set()
        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")


async def test_reports_of_one_moment_share_a_commit_and_a_frame(galaxy, device, gate):
    statements: list[str] = []
    attempts = [f"c/s{n}#1" for n in range(8)]
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, *map(assign, attempts))
        device.outbox._db.set_trace_callback(statements.append)
        gate.go.set()
        reports = [await line.next(Report) for _ in attempts]

    assert [report.attempt for report in reports] == attempts
    written = statements[: statements.index("COMMIT")]
    assert sum(statement.startswith("INSERT OR REPLACE INTO reports") for statement in written) == 8
    assert [len(frame) for frame in line.frames if frame and isinstance(frame[0], Report)] == [8]


async def test_an_acknowledgement_alone_makes_an_agent_forget(galaxy, device, gate):
    gate.go.set()
    galaxy.acknowledges = False
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A))
        await line.next(Report)
        assert device.reports_on_disk() == [A]

        line.acknowledge()

        await until(lambda: device.outbox.reports() == [])
    assert device.reports_on_disk() == []


async def test_a_report_that_was_made_without_a_link_arrives_once(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        await galaxy.cut_and_shut(line)
        gate.go.set()
        await until(lambda: device.reports_on_disk() == [A])
        galaxy.open.set()

        second = await galaxy.line()
        await second.next(Report)
        second.say(assign(B))
        await second.next(Report)

    assert reports_in(line, second) == [A, B]


async def test_a_session_goes_on_within_one_start_of_the_agent(galaxy, device, gate):
    async with device.runs():
        first = await galaxy.line()
        await begun(first, gate, assign(A))
        first.cut()
        second = await galaxy.line()
        gate.go.set()
        await second.next(Report)

    assert second.hello.boot == first.hello.boot
    assert (second.hello.session, second.hello.heard) == (first.session.id, 1)
    assert second.hello.held == (Held(A, Holding.RUNNING),)
    assert gate.begun == [A]


async def test_a_galaxy_that_does_not_know_the_session_is_told_everything_anew(galaxy, device, gate):
    galaxy.acknowledges = False
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A))
        await line.next(Accept)
        gate.go.set()
        await line.next(Report)
        gate.go.clear()
        line.say(assign(B))
        await line.next(Accept)
        galaxy.remembers = False
        line.cut()

        line = await galaxy.line()
        assert set(line.hello.held) == {Held(A, Holding.FINISHED), Held(B, Holding.RUNNING)}
        assert await line.next(Accept) == Accept(B)
        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")
        gate.go.set()
        assert outcome_of(await line.next(Report)) == (B, Outcome.SUCCEEDED, "")


async def test_what_ends_in_the_very_moment_of_a_new_session_is_said_once(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        galaxy.remembers = False
        await galaxy.cut_and_shut(line)
        galaxy.open.set()
        line = await galaxy.line()
        gate.go.set()
        await line.next(Report)
        line.say(assign(B))
        await line.next(Report)

    assert reports_in(line) == [A, B]


async def test_a_restarted_agent_says_again_what_was_not_acknowledged(galaxy, device, gate):
    gate.go.set()
    galaxy.acknowledges = False
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A))
        first = await line.next(Report)
        device.agent.stop()
    galaxy.acknowledges = True
    async with device.runs():
        line = await galaxy.line()
        assert line.hello.held == (Held(A, Holding.FINISHED),)
        assert await line.next(Report) == first

    assert (device.reports_on_disk(), gate.begun) == ([], [A])


async def test_a_call_that_a_crash_cut_off_is_reported_as_unknown(galaxy, device, gate):
    device.agent_of()
    device.outbox.intend(A, 0.0)
    device.outbox.close()
    async with device.runs():
        line = await galaxy.line()
        assert line.hello.held == (Held(A, Holding.INTENT),)
        assert outcome_of(await line.next(Report)) == (A, Outcome.UNKNOWN, "cut_off")
        await until(lambda: device.outbox.reports() == [])
        line.say(assign(A, ONCE))
        assert outcome_of(await line.next(Report)) == (A, Outcome.UNKNOWN, "cut_off")

    assert gate.begun == []


async def test_a_completed_call_that_is_assigned_again_is_reported_again_and_not_repeated(galaxy, device, gate):
    gate.go.set()
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A, ONCE))
        first = await line.next(Report)
        await until(lambda: device.outbox.reports() == [])
        line.say(assign(A, ONCE))
        assert await line.next(Report) == first

    assert gate.begun == [A]


async def test_work_that_is_taken_back_in_the_same_breath_is_never_begun(galaxy, device, gate):
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A, ONCE), Revoke(A, "cancelled"), assign(B))
        assert outcome_of(await line.next(Report)) == (A, Outcome.CANCELLED, "stopped")
        gate.go.set()
        await line.next(Report)

    assert gate.begun == [B]


async def test_revoking_a_program_kills_all_that_it_started(galaxy, tmp_path):
    bench = bench_of(tmp_path, ShellRun(grace_s=0.2), policy=Policy(shell=True))  # noqa: S604  # no subprocess: what the guard allows
    script = "trap '' TERM; sleep 61 & echo $! >> pids; (setsid sleep 62 & echo $! >> pids); echo $$ >> pids; wait"
    pids = tmp_path / "work" / "pids"
    async with Device(tmp_path, galaxy, bench=bench).runs():
        line = await galaxy.line()
        line.say(assign(A, ONCE, "shell.run", arguments={"shell": script}))
        await until(lambda: pids.exists() and pids.read_text().count("\n") == 3)
        line.say(Revoke(A, "a person cancelled it", 0.3))
        assert await line.next(Stopping) == Stopping(A)
        assert outcome_of(await line.next(Report)) == (A, Outcome.CANCELLED, "killed")

    assert [pid for pid in pids.read_text().split() if is_alive(int(pid))] == []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_flood_of_progress_reaches_galaxy_as_a_trickle(galaxy, tmp_path):
    async def flood(words: Words, context: Any) -> Words:
        for n in range(50_000):
            context.progress(f"line {n}", n / 50_000)
        return words

    async with Device(tmp_path, galaxy, ToolOf(flood)).runs():
        line = await galaxy.line()
        line.say(assign(A))
        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")

    said = [message for frame in line.frames for message in frame]
    assert sum(isinstance(message, Progress) for message in said) <= 2


async def test_progress_does_not_pile_up_while_there_is_no_link(galaxy, tmp_path, monkeypatch):
    monkeypatch.setattr("device_agents.desk.PROGRESS_EVERY_S", 0.0)
    told, go = asyncio.Event(), asyncio.Event()

    async def chatter(words: Words, context: Any) -> Words:
        context.progress("connected", None)
        await go.wait()
        for n in range(1_000):
            context.progress(f"alone {n}", None)
        told.set()
        return words

    device = Device(tmp_path, galaxy, ToolOf(chatter))
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A))
        assert (await line.next(Progress)).note == "connected"
        await galaxy.cut_and_shut(line)
        go.set()
        await told.wait()
        galaxy.open.set()
        line = await galaxy.line()
        await line.next(Report)

    assert sum(isinstance(message, Progress) for frame in line.frames for message in frame) == 0


async def test_a_device_that_was_not_heard_for_too_long_stops_what_may_be_given_to_another(galaxy, device, gate):
    """Its machine slept: the clock leaps, and the link is dead."""
    leap = 0.0
    device.now = lambda: time.monotonic() + leap
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A, stop_after_s=60.0))
        await galaxy.cut_and_shut(line)
        leap = 3600.0
        await until(lambda: device.reports_on_disk() == [A])
        galaxy.open.set()
        report = await (await galaxy.line()).next(Report)

    assert outcome_of(report) == (A, Outcome.FAILED, "killed")
    assert report.failure.message.startswith("Galaxy has not answered for 3600.")


async def test_an_agent_whose_disk_is_full_takes_nothing_until_it_can_write_again(galaxy, device, gate, monkeypatch):
    monkeypatch.setattr("device_agents.ledger.WRITE_AGAIN_AFTER_S", 0.4)
    async with device.runs():
        line = await galaxy.line()
        with full_disk():
            line.say(assign(A, ONCE))
            rejected, profiled = await line.next(Reject), await line.next(Profiled)
            line.say(assign(B))
            assert (await line.next(Reject)).failure.code == "tool_withdrawn"
        assert (await line.next(Profiled)).profile.withdrawn == {}
        gate.go.set()
        line.say(assign("c/c#1", ONCE))
        assert outcome_of(await line.next(Report)) == ("c/c#1", Outcome.SUCCEEDED, "")

    assert (rejected.attempt, rejected.failure.code, rejected.failure.retryable) == (A, "outbox_failed", True)
    assert profiled.profile.withdrawn["test.tool"].startswith("the outbox cannot be written: ")


async def test_an_agent_whose_disk_is_full_reports_all_the_same_and_writes_later(galaxy, device, gate, monkeypatch):
    monkeypatch.setattr("device_agents.ledger.WRITE_AGAIN_AFTER_S", 0.05)
    galaxy.acknowledges = False
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A, ONCE))
        with full_disk():
            gate.go.set()
            assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")
            assert device.outbox.unknown() == [A]
        await until(lambda: device.outbox.unknown() == [])

    assert device.reports_on_disk() == [A]
