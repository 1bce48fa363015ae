"""Who comes in when many want to, and when two claim to be one device."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from galaxy import greeting
from galaxy.greeting import GREETINGS_MAX, RETURNS_PER_S, SAY_HELLO_WITHIN_S, SPREAD_MOST_S, Greetings
from protocol import session
from protocol.codec import unframed
from protocol.messages import Assign, Bye, Challenge
from protocol.session import Session
from protocol.states import CLOSED, GALAXY
from protocol.vocabulary import ByeCode
from tests.galaxy.api.devices import Device, connected, said
from tests.galaxy.api.helpers import Node, a_node, waits

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path) as node:
        yield node


# How many at once.


def opened(greetings: Greetings, now: float, woken: list[int] | None = None, devices: int = 10) -> Session | None:
    """Return the session of a socket that may greet and is challenged, or None if it was sent away."""
    new = Session(GALAXY, now=now)
    if not greetings.begin(new, lambda: woken.append(1) if woken is not None else None, now, devices):
        return None
    new.send(Challenge("g", "n", 1, 1))
    return new


def bye_of(one: Session) -> Bye:
    (frame, *_) = one.frames_to_send(0.0)
    bye = unframed(frame).messages[-1]
    assert isinstance(bye, Bye)
    return bye


async def test_so_many_may_greet_at_once_and_the_others_are_told_to_come_again():
    greetings = Greetings(Random(1))
    inside = [opened(greetings, 0.0) for _ in range(GREETINGS_MAX)]
    away = Session(GALAXY, now=0.0)

    assert all(inside)
    assert not greetings.begin(away, lambda: None, SAY_HELLO_WITHIN_S / 2, 10)
    bye = bye_of(away)
    assert (bye.code, bye.terminal) == (ByeCode.OVERLOADED, False)
    assert 0.0 < bye.retry_after_s <= 1.0
    assert inside[3]
    greetings.end(inside[3])
    assert opened(greetings, 0.0)
    assert len(greetings) == GREETINGS_MAX


async def test_a_place_that_somebody_silent_holds_goes_to_who_has_just_come():
    """So strangers that open sockets and say nothing keep nobody out."""
    greetings, woken = Greetings(Random(1)), list[int]()
    busy = opened(greetings, 0.0)
    silent = [opened(greetings, 0.1, woken) for _ in range(GREETINGS_MAX - 1)]
    assert busy
    busy.state = CLOSED  # it has greeted, and what became of it is being recorded
    new = opened(greetings, 0.1 + SAY_HELLO_WITHIN_S)

    assert new
    assert woken == [1]
    assert silent[0]
    assert silent[0].closed_for is ByeCode.OVERLOADED
    assert len(greetings) == GREETINGS_MAX


async def test_a_crowd_that_is_sent_away_comes_back_spread_and_a_larger_one_further():
    greetings = Greetings(Random(1))
    few, many, most = ([greetings.return_after_s(n) for _ in range(500)] for n in (10, 1_000, 1_000_000))

    assert max(few) <= 10 / RETURNS_PER_S
    for found, window_s in ((many, 1_000 / RETURNS_PER_S), (most, SPREAD_MOST_S)):
        assert max(found) <= window_s
        tenths = [sum(window_s * n / 10 <= one < window_s * (n + 1) / 10 for one in found) for n in range(10)]
        assert min(tenths) > 20, "jitter is full: each tenth of the window gets its share"


async def test_a_device_that_finds_no_place_is_told_so_and_gets_in_later(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(greeting, "GREETINGS_MAX", 1)
    stranger, laptop = Device(node, "stranger"), Device(node, "laptop")
    await laptop.join()
    await stranger.dial()
    await stranger._end.recv()
    await laptop.dial()
    bye = await laptop.bye()
    assert bye.code is ByeCode.OVERLOADED
    assert 0.0 < bye.retry_after_s <= 1.0
    assert 'galaxy_links_ended_total{why="overloaded"} 1.0' in (await node.http.get("/metrics")).text

    node.clock.jump(SAY_HELLO_WITHIN_S)
    await laptop.connect()
    assert await said(stranger._end, "overloaded")
    assert node.gateway.greeting == 0


async def test_greetings_that_wait_for_the_disk_take_places_however_long_they_wait(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    """A device that is tired of waiting dials again. What was begun for it must not pile up."""
    monkeypatch.setattr(greeting, "GREETINGS_MAX", 2)
    monkeypatch.setattr(session, "GREETING_WITHIN_S", 0.02)
    laptop = await connected(node)
    serving = node.tasks[-1]
    await laptop.cut()
    await serving
    laptop.restart()
    node.store.shut()
    submitting = node.start(node.submit("a"))
    await node.store.tries.get()
    byes = []
    for _ in range(4):
        await laptop.dial()
        while not any(isinstance(message, Bye) for message in laptop.heard):
            await laptop.step()
        byes.append((await laptop.bye()).code)
    assert byes == [ByeCode.SILENT, ByeCode.SILENT, ByeCode.OVERLOADED, ByeCode.OVERLOADED]
    node.store.open()
    await submitting
    monkeypatch.undo()
    while node.gateway.greeting:
        await node.runner.durable()
    await laptop.connect()


async def test_a_node_that_stops_asks_its_devices_to_come_back_spread(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(greeting, "RETURNS_PER_S", 0.1)
    devices = [await connected(node, f"d{n}") for n in range(4)]
    node.gateway.close()
    returns = [(await one.bye()).retry_after_s for one in devices]

    assert len(set(returns)) == 4
    assert min(returns) >= 1.0
    assert max(returns) > 5.0


# Two agents of one identity.


def twin_of(laptop: Device) -> Device:
    """Return another agent with the key of a device, as in a copy of its folder."""
    twin = Device(laptop._node, laptop.name)
    twin.key, twin.boot = laptop.key, "another boot"
    return twin


async def test_a_second_agent_of_a_connected_device_is_refused_and_told_why_and_until_when(node: Node):
    laptop = await connected(node)
    node.clock.jump(3.0)
    twin = twin_of(laptop)
    rows = node.store.rows()
    await twin.dial()
    bye = await twin.bye()

    assert (bye.code, bye.terminal) == (ByeCode.REPLACED, False)
    assert "laptop is connected already, by an agent that was started apart from this one" in bye.message
    assert 4.0 < bye.retry_after_s < 5.0, "by then the other one has spoken, or is gone"
    assert node.store.rows() == rows
    constellation = await node.submit("a")
    assert (await laptop.call()).attempt == f"{constellation}/a#1"


async def test_the_agent_that_was_first_stays_however_often_a_second_one_dials(node: Node):
    laptop = await connected(node)
    twin = twin_of(laptop)
    for _ in range(20):
        node.clock.jump(4.0)
        await laptop.send_frame(b'{"messages":[{"type":"renew","sent_at":1.0}]}')
        await laptop.step()
        await twin.dial()
        assert (await twin.bye()).code is ByeCode.REPLACED

    assert node.store.kinds("~fleet").count("device_connected") == 1


async def test_an_agent_that_was_started_anew_does_not_wait_once_the_old_socket_is_closed(node: Node):
    """The system closes the sockets of a process that was killed."""
    laptop = await connected(node)
    serving = node.tasks[-1]
    await laptop.cut()
    await serving
    laptop.restart()
    await laptop.connect()

    assert laptop.welcome


async def test_an_agent_that_was_started_anew_takes_the_place_of_a_link_that_has_fallen_silent(node: Node):
    laptop = await connected(node)
    old = laptop._end
    laptop.restart()
    await laptop.dial()
    wait_s = (await laptop.bye()).retry_after_s
    node.clock.jump(wait_s)
    await laptop.connect()

    assert laptop.welcome
    assert await said(old, "replaced")


async def test_the_same_agent_that_dials_again_takes_its_own_place_at_once(node: Node):
    laptop = await connected(node)
    old = laptop._end
    constellation = await node.submit("a")
    await laptop.connect()

    assert laptop.welcome
    assert laptop.welcome.resumed
    assert await said(old, "replaced")
    assert (await laptop.call()).attempt == f"{constellation}/a#1"


async def test_of_two_agents_that_greet_at_once_the_first_stays(node: Node):
    laptop = await connected(node)
    node.store.shut()
    submitting = node.start(node.submit("a"))
    await node.store.tries.get()
    await laptop.cut()
    one, other = twin_of(laptop), twin_of(laptop)
    other.boot = "a third boot"
    connecting = [node.start(twin.connect()) for twin in (one, other)]
    assert all([await waits(task) for task in connecting])
    node.store.open()
    await asyncio.wait([*connecting, submitting])
    node.tasks = [task for task in node.tasks if task not in connecting]
    refused = [task.exception() is not None for task in connecting]

    assert sorted(refused) == [False, True]
    stays = one if refused[1] else other
    assert [type(message) for message in stays.heard if isinstance(message, Assign | Bye)] in ([], [Assign])
