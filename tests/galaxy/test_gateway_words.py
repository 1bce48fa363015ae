"""What devices say and are told: what becomes of it, when it is acknowledged, and what it cannot do to the node."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from msgspec import Raw

from galaxy import gateway
from galaxy.journal import event_of
from protocol import link
from protocol.messages import Accept, Drain, Profiled, Progress, Reject, Report, Revoke
from protocol.vocabulary import RESULT_INLINE_BYTES_MAX, ByeCode, Failure, Outcome
from tests.galaxy.api.devices import Device, End, connected, said, spec
from tests.galaxy.api.helpers import Node, a_node, star, waits

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path) as node:
        yield node


# What a device says.


async def test_each_sentence_of_a_device_becomes_an_event_under_its_own_name(node: Node):
    laptop = await connected(node, slots=2)
    constellation = await node.submit(star("a"), star("b"))
    a, b = await laptop.call(), await laptop.call()
    await laptop.say(Accept(a.attempt), Progress(a.attempt, "half", 0.5))
    await laptop.say(Reject(b.attempt, Failure("full", "no room")))
    await laptop.say(Profiled(msgspec.structs.replace(laptop.profile, slots=3)), Drain("tired"))
    await laptop.succeed(a)

    kinds = [kind for kind in node.store.kinds(constellation) if kind not in ("constellation_submitted", "star_leased")]
    assert kinds == ["star_accepted", "star_progressed", "lease_ended", "star_reported", "constellation_ended"]
    assert node.store.kinds("~fleet")[-2:] == ["device_profiled", "device_draining"]
    said = [event_of(row) for row in node.store.rows(constellation) if b'"device"' in row.body]
    assert {event.device for event in said} == {"laptop"}


async def test_a_report_of_another_devices_attempt_is_refused_recorded_and_acknowledged(node: Node):
    laptop, thief = await connected(node), Device(node, "thief")
    await thief.join()
    constellation = await node.submit("a")
    call = await laptop.call()
    await thief.connect()
    thief.desk.hear(call, node.clock())
    await thief.succeed(call, "stolen")

    assert node.reports(constellation) == ["report_refused"]
    refused = event_of(node.store.rows(constellation)[-1])
    assert refused.reason == f"{call.attempt} is held by laptop, not by thief"
    await laptop.succeed(call, "mine")
    assert (await node.constellation(constellation))["stars"][0]["result"] == "mine"


async def test_a_late_report_of_an_attempt_that_is_over_is_refused_and_recorded(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a", star("b", "fly"))
    call = await laptop.call()
    await laptop.succeed(call)
    await laptop.say(Report(call.attempt, Outcome.FAILED), Accept(call.attempt), Progress(call.attempt, "x"))
    await laptop.say(Report("no/such#1", Outcome.SUCCEEDED), Drain("done"))
    while node.store.kinds("~fleet")[-1] != "device_draining":
        await laptop.step()

    assert node.reports(constellation) == ["star_reported", "report_refused"]


@pytest.mark.parametrize(
    "attempt",
    ["", "c/a", "c#1", "c/a#", "c/a#x", "c/a#-1", "c/a#0", "c/a#1.0", "c/a# 1", "c/a#\u0661", "c/a#" + "9" * 4_000],
)
async def test_an_attempt_that_is_none_closes_only_that_link_and_what_was_said_before_it_stands(
    node: Node, attempt: str
):
    laptop, tower = await connected(node), Device(node, "tower")
    constellation = await node.submit("a")
    call = await laptop.call()
    await tower.join()
    await tower.connect()
    await laptop.say(Report(call.attempt, Outcome.SUCCEEDED), Report(attempt, Outcome.SUCCEEDED))

    assert (await laptop.bye()).code is ByeCode.MALFORMED
    await node.runner.durable()
    assert node.reports(constellation) == ["star_reported"]
    await node.submit("b")
    assert (await tower.call()).tool == "work"


async def test_after_such_a_breach_the_session_is_over_and_all_is_said_anew(node: Node):
    laptop = await connected(node, slots=2)
    constellation = await node.submit("a", "b")
    a, b = await laptop.call(), await laptop.call()
    laptop.finish(Report(a.attempt, Outcome.SUCCEEDED))
    laptop._send(Report("nonsense", Outcome.SUCCEEDED))
    laptop.finish(Report(b.attempt, Outcome.SUCCEEDED))
    await laptop.flush()
    await laptop.bye()
    await laptop.connect()
    await laptop.until_acknowledged()

    assert laptop.welcome
    assert not laptop.welcome.resumed
    assert (await node.constellation(constellation))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (b'"' + b"x" * RESULT_INLINE_BYTES_MAX + b'"', "result_too_large"),
        (b"[" * 201 + b"]" * 201, "result_too_deep"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "result_too_deep"),
    ],
)
async def test_a_result_that_nobody_could_read_is_a_failure_that_says_so(node: Node, result: bytes, code: str):
    laptop = await connected(node)
    constellation = await node.submit("a")
    call = await laptop.call()
    await laptop.report(Report(call.attempt, Outcome.SUCCEEDED, Raw(result)))

    (one,) = (await node.constellation(constellation))["stars"]
    assert (one["state"], one["failure"]["code"], one["result"]) == ("failed", code, None)


@pytest.mark.parametrize(
    "result",
    [
        b'"' + b"x" * (RESULT_INLINE_BYTES_MAX - 2) + b'"',
        b"[" * 200 + b"]" * 200,
        b'["[[\\"[[", {}]' * 1,
        b"[[]" + b",[]" * 999 + b"]",
    ],
)
async def test_a_result_within_the_limits_is_kept_as_it_was_said(node: Node, result: bytes):
    laptop = await connected(node)
    constellation = await node.submit("a", star("b", "fly"))
    await laptop.report(Report((await laptop.call()).attempt, Outcome.SUCCEEDED, Raw(result)))

    assert bytes(node.open(constellation).courses["a"].result or b"") == result


async def test_a_time_that_ran_backward_counts_as_none(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a")
    await laptop.report(Report((await laptop.call()).attempt, Outcome.SUCCEEDED, ran_s=-5.0))

    assert (await node.constellation(constellation))["stars"][0]["attempts"][0]["ran_s"] == 0.0


# When it is said.


async def test_a_report_is_acknowledged_only_when_it_is_recorded(node: Node):
    laptop = await connected(node)
    await node.submit("a")
    call = await laptop.call()
    node.store.shut()
    reporting = node.start(laptop.succeed(call))

    assert await waits(reporting)
    assert laptop.session.acked == 0
    node.store.open()
    await reporting
    assert laptop.session.acked > 0


class Clogged(End):
    """The node's end, whose send delivers, and returns when it is let go."""

    async def send(self, frame: bytes | str) -> None:
        await super().send(frame)
        if self.clogged:
            await self.let_go.wait()

    clogged = False
    let_go: asyncio.Event


async def test_an_answer_that_comes_before_the_send_has_returned_is_not_lost(node: Node):
    laptop = Device(node, "laptop")
    await laptop.join()
    mine, clogged = End(), Clogged()
    clogged.peer, mine.peer, clogged.let_go = mine, clogged, asyncio.Event()
    await laptop.dial()
    laptop._end = mine
    node.start(node.gateway.serve(clogged))
    while laptop.welcome is None:
        await laptop.step()
    await node.runner.durable()
    clogged.clogged = True
    constellation = await node.submit("a")
    laptop.finish(Report((await laptop.call()).attempt, Outcome.SUCCEEDED))
    await laptop.flush()
    watcher = node.runner.watch(constellation)
    while "constellation_ended" not in node.store.kinds(constellation):
        await watcher.wait()
        watcher.clear()
    clogged.let_go.set()
    await laptop.until_acknowledged()


async def test_a_device_that_does_not_read_is_cut_off(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link, "SEND_WITHIN_S", 0.02)
    laptop = await connected(node)
    guest = node.gateway._guests["laptop"]
    assert guest.link

    async def never(frame: bytes) -> None:
        await asyncio.Event().wait()

    guest.link._socket.send = never  # type: ignore[method-assign]
    await node.submit("a")
    watcher = node.runner.watch("~fleet")
    while node.store.kinds("~fleet")[-1] != "device_disconnected":
        await watcher.wait()
        watcher.clear()

    assert "has not read" in node.core.fleet.devices["laptop"].reason
    assert laptop.welcome


async def test_a_device_that_acknowledges_nothing_is_sent_away_before_its_outbox_is_full(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateway, "OUTBOX_MAX", 3)
    laptop = await connected(node, slots=9)
    constellation = await node.submit(*[f"s{n}" for n in range(9)])

    assert (await laptop.bye()).code is ByeCode.OVERLOADED
    assert node.gateway.unacknowledged() == 4, "nothing more is put there"
    laptop.restart()
    monkeypatch.setattr(gateway, "OUTBOX_MAX", 100)
    await laptop.connect()
    calls = [await laptop.call() for _ in range(9)]
    assert {call.attempt for call in calls} == {f"{constellation}/s{n}#2" for n in range(9)}


async def test_a_device_whose_star_is_cancelled_is_told_to_stop(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a")
    call = await laptop.call()
    await node.http.post(f"/v1/constellations/{constellation}:cancel", json={"reason": "enough"})

    assert await laptop.hear(Revoke) == Revoke(call.attempt, "enough")


async def test_a_node_that_stops_tells_its_devices_to_come_back(node: Node):
    laptop = await connected(node)
    node.gateway.close()
    bye = await laptop.bye()

    assert (bye.code, bye.terminal) == (ByeCode.STOPPING, False)
    assert bye.retry_after_s > 0


async def test_a_device_that_is_gone_is_recorded_as_unreachable_with_the_reason(node: Node):
    laptop = await connected(node)
    serving = node.tasks[-1]
    await laptop.cut()
    await serving

    gone = node.core.fleet.devices["laptop"]
    assert (gone.presence, gone.reason) == ("unreachable", "socket closed: cut")


async def test_tools_may_change_while_a_device_is_connected(node: Node):
    laptop = await connected(node)
    constellation = await node.submit(star("a", "fly"))
    await laptop.say(Profiled(msgspec.structs.replace(laptop.profile, tools=(spec("fly"),))))

    assert (await laptop.call()).attempt == f"{constellation}/a#1"


async def test_only_a_hello_makes_a_guest_a_device(node: Node):
    laptop = Device(node, "laptop")
    await laptop.dial()
    await laptop._end.recv()
    await laptop.send_frame(b'{"first":1,"messages":[{"type":"report","attempt":"c/a#1","outcome":"succeeded"}]}')

    assert await said(laptop._end, "out_of_turn")
