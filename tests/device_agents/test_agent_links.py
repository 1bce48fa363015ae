"""A whole agent, over real sockets, against a Galaxy that says what the test says: how it comes and goes."""

import asyncio
import socket
import time
from typing import Any

import pytest

from device_agents.agent import SentAway
from device_agents.reconnect import FIRST_S
from protocol.messages import Accept, Assign, Bye, Drain, Reject, Report
from protocol.vocabulary import VERSION, ByeCode, Held, Holding, Outcome

from .helpers import ONCE, ToolOf, Words, assign, running
from .scripted import WITHIN_S, Device, begun, outcome_of, until

A, B = "c/a#1", "c/b#1"

pytestmark = pytest.mark.asyncio


async def enough_delays(device: Device) -> list[tuple[float, float]]:
    async with asyncio.timeout(WITHIN_S):
        await device.delays.enough.wait()
    return device.delays.noted[:5]


async def test_a_stopping_agent_finishes_what_runs_takes_no_more_and_says_goodbye(galaxy, device, gate):
    async with device.runs() as run:
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        device.agent.stop()
        assert await line.next(Drain) == Drain("the agent stops")
        line.say(assign(B))
        assert (await line.next(Reject)).attempt == B
        gate.go.set()
        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")
        assert (await line.next(Bye)).code == ByeCode.STOPPING
        await run

    assert (gate.begun, device.reports_on_disk()) == ([A], [])


async def test_an_agent_with_nothing_to_do_stops_at_once(galaxy, device):
    began = time.monotonic()
    async with device.runs():
        line = await galaxy.line()
        device.agent.stop()
        device.agent.stop()
        await line.next(Bye)

    assert time.monotonic() - began < 1.0


async def test_a_stopping_agent_halts_what_does_not_end_in_time(galaxy, device, gate, monkeypatch):
    monkeypatch.setattr("device_agents.agent.DRAIN_WITHIN_S", 0.05)
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A), assign(B, ONCE))
        device.agent.stop()
        reports = [await line.next(Report), await line.next(Report)]
        await line.next(Bye)

    assert [outcome_of(report) for report in reports] == [
        (A, Outcome.FAILED, "stopped"),
        (B, Outcome.UNKNOWN, "stopped"),
    ]


async def test_a_stopping_agent_does_not_lose_the_report_of_a_call_that_stops_late(galaxy, tmp_path, monkeypatch):
    monkeypatch.setattr("device_agents.agent.DRAIN_WITHIN_S", 0.05)
    monkeypatch.setattr("device_agents.agent.GOODBYE_WITHIN_S", 0.05)
    told = asyncio.Event()

    async def reluctant(words: Words, _: Any) -> Words:
        try:
            await asyncio.Event().wait()
        finally:
            told.set()
            later = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.5, later.set_result, None)
            await later
        return words

    device = Device(tmp_path, galaxy, ToolOf(reluctant))
    async with device.runs() as run:
        line = await galaxy.line()
        line.say(assign(A, ONCE))
        await until(lambda: device.outbox.unknown() == [A])
        device.agent.stop()
        await told.wait()
        await run

    assert device.reports_on_disk() == [A]
    device.agent_of()
    assert (device.outbox.unknown(), [outcome_of(report) for report in device.outbox.reports()]) == (
        [],
        [(A, Outcome.UNKNOWN, "stopped")],
    )
    device.outbox.close()


async def test_a_stopping_agent_without_a_link_keeps_its_reports(galaxy, device, gate):
    async with device.runs() as run:
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        await galaxy.cut_and_shut(line)
        device.agent.stop()
        gate.go.set()
        await run

    assert device.reports_on_disk() == [A]


async def test_an_agent_that_is_drained_in_one_session_says_so_in_the_next(galaxy, device):
    async with device.runs():
        line = await galaxy.line()
        line.say(Drain("an update"))
        line.say(assign(A))
        assert (await line.next(Reject)).failure.code == "draining"
        galaxy.remembers = False
        line.cut()

        assert await (await galaxy.line()).next(Drain) == Drain("an update")


async def test_an_agent_stops_while_it_dials_a_galaxy_that_does_not_answer(galaxy, device):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        galaxy.port = silent.getsockname()[1]
        async with device.runs() as run:
            dialled, _ = await asyncio.get_running_loop().sock_accept(silent)
            with dialled:
                device.agent.stop()
                async with asyncio.timeout(1.0):
                    await run


async def test_an_agent_stops_while_it_waits_to_be_greeted(galaxy, device):
    galaxy.open.clear()
    async with device.runs() as run:
        await galaxy.dialled.wait()
        device.agent.stop()
        async with asyncio.timeout(3.0):
            await run


async def test_an_agent_that_is_cancelled_keeps_what_it_knows(galaxy, device, gate):
    agent = device.agent_of()
    async with running(agent.run()) as [run]:
        line = await galaxy.line()
        await begun(line, gate, assign(A), assign(B, ONCE))
        run.cancel()

    assert device.reports_on_disk() == [A, B]


async def test_a_galaxy_that_sends_a_device_away_ends_its_agent(galaxy, device, gate):
    agent = device.agent_of()
    async with running(caught(agent)) as [run]:
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        line.session.close(ByeCode.REVOKED, "laptop was revoked", terminal=True)
        line.link.wake()
        assert await run == "laptop was revoked"

    assert (device.delays.noted, device.reports_on_disk()) == ([], [A])


async def caught(agent: Any) -> str:
    try:
        await agent.run()
    except SentAway as exc:
        return str(exc)
    return ""


async def test_a_goodbye_that_is_not_the_last_is_followed_by_another_hello(galaxy, device):
    async with device.runs():
        line = await galaxy.line()
        line.session.close(ByeCode.STOPPING, "the node stops", retry_after_s=7.0)
        line.link.wake()
        await galaxy.line()

    [(_, delay), *_] = device.delays.noted
    assert 7.0 <= delay <= 7.0 + 2 * FIRST_S


async def test_another_galaxy_than_the_one_it_joined_learns_nothing_from_a_device(galaxy, device):
    galaxy.id = "g2"
    async with device.runs():
        bye = await (await galaxy.line()).next(Bye)
        again = await galaxy.line()

    assert (bye.code, bye.message) == (ByeCode.UNAUTHENTICATED, "this is galaxy g2, laptop has joined g1")
    assert again.hello is None


async def test_a_galaxy_of_another_version_is_told_so(galaxy, device):
    galaxy.versions = (VERSION + 1, VERSION + 3)
    async with device.runs():
        bye = await (await galaxy.line()).next(Bye)

    text = f"this agent speaks version {VERSION}, the galaxy {VERSION + 1} to {VERSION + 3}"
    assert (bye.code, bye.message) == (ByeCode.VERSION, text)


async def test_delays_grow_while_nobody_listens(galaxy, device):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        galaxy.port = nobody.getsockname()[1]
    async with device.runs():
        noted = await enough_delays(device)

    assert all(lasted_s == 0.0 and delay <= FIRST_S * 2 ** (n + 1) for n, (lasted_s, delay) in enumerate(noted))
    assert len({delay for _, delay in noted}) == 5


async def test_delays_grow_though_a_galaxy_takes_its_time_to_refuse(galaxy, device):
    """Only a welcome counts: else a busy one would be dialled ever faster."""
    galaxy.versions = (VERSION + 1, VERSION + 1)
    leap = [0.0]

    def now() -> float:
        leap[0] += 2.0  # each look at the clock takes long, as when all is slow
        return time.monotonic() + leap[0]

    device.now = now
    async with device.runs():
        noted = await enough_delays(device)

    assert [lasted_s for lasted_s, _ in noted] == [0.0] * 5


async def test_a_link_that_lasted_is_noted_from_its_welcome_on(galaxy, device):
    leap = 0.0
    device.now = lambda: time.monotonic() + leap
    async with device.runs():
        line = await galaxy.line()
        line.say(Drain("for an answer"), assign(A))
        await line.next(Reject)  # so it has heard the welcome before
        leap = 5.0
        line.cut()
        await galaxy.line()

    assert device.delays.noted[0][0] >= 5.0


@pytest.mark.parametrize("frame", [b"nonsense", b'{"messages":[{"type":"assign"}]}', b'{"first":9,"messages":[]}'])
async def test_a_galaxy_that_speaks_nonsense_is_told_so_and_dialled_again(galaxy, device, gate, frame):
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        await line.send(frame)
        assert (await line.next(Bye)).code == ByeCode.MALFORMED
        gate.go.set()
        line = await galaxy.line()

        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")


async def test_two_hundred_calls_survive_as_many_broken_sockets_as_it_takes(galaxy, device, gate):
    """Each report arrives, and each call was begun once."""
    attempts = [f"c/s{n}#1" for n in range(200)]
    gate.go.set()
    reported: list[str] = []
    given: list[Assign] = [assign(attempt, ONCE if n % 50 == 0 else "pure") for n, attempt in enumerate(attempts)]
    async with device.runs():
        line = await galaxy.line()
        for number in range(0, 200, 20):
            line.say(*given[number : number + 20])
            reported.append((await line.next(Report)).attempt)
            line.cut()
            line, before = await galaxy.line(), line
            while not before.heard.empty():
                message = before.heard.get_nowait()
                reported += [message.attempt] if isinstance(message, Report) else []
        while len(reported) < 200:
            reported.append((await line.next(Report)).attempt)

    assert sorted(reported) == sorted(gate.begun) == sorted(attempts)


async def test_a_galaxy_that_was_restarted_learns_what_is_held(galaxy, device, gate):
    """It has lost its sessions, and asks for nothing that the device does not offer by itself."""
    async with device.runs():
        line = await galaxy.line()
        await begun(line, gate, assign(A))
        galaxy.remembers = False
        await galaxy.cut_and_shut(line)
        galaxy.open.set()
        line = await galaxy.line()
        gate.go.set()
        assert outcome_of(await line.next(Report)) == (A, Outcome.SUCCEEDED, "")

    assert line.hello.held == (Held(A, Holding.RUNNING),)


async def test_acknowledgements_of_an_old_session_mean_nothing_in_the_next(galaxy, device, gate):
    """The numbers begin anew: the first message is another one now."""
    galaxy.acknowledges = False
    gate.go.set()
    async with device.runs():
        line = await galaxy.line()
        line.say(assign(A))
        await line.next(Report)
        gate.go.clear()
        line.say(assign(B))
        await line.next(Accept)
        galaxy.remembers = False
        line.cut()
        line = await galaxy.line()
        assert (await line.next(Accept), (await line.next(Report)).attempt) == (Accept(B), A)
        line.session.settle(1, time.monotonic())
        line.say(Drain("for an answer"), assign("c/c#1"))
        await line.next(Reject)  # so it has heard the acknowledgement before
        assert device.reports_on_disk() == [A]
        assert [report.attempt for report in device.outbox.reports()] == [A]

        line.session.settle(2, time.monotonic())
        line.link.wake()
        await until(lambda: device.outbox.reports() == [])
        gate.go.set()
