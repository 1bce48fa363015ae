"""What the node makes of devices' signs of life: suspicion, trust, and the pace that it asks for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from galaxy import suspicion
from galaxy.journal import event_of
from protocol.codec import unframed
from protocol.messages import Accept, Renew, Renewed
from tests.galaxy.api.devices import Device, connected
from tests.galaxy.api.helpers import Node, a_node, star

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path) as node:
        yield node


async def until_suspected(node: Node, name: str = "laptop") -> None:
    """Let time pass, and the node look, until it suspects a device that says nothing."""
    for _ in range(150):
        if node.core.fleet.devices[name].suspected:
            return
        node.clock.jump(0.1)
        await node.gateway.pulse.look()
        await node.runner.durable()
    raise AssertionError("it is not suspected")


async def shown(node: Node, name: str = "laptop") -> dict[str, Any]:
    device: dict[str, Any] = (await node.http.get(f"/v1/devices/{name}")).json()
    return device


async def measured(node: Node, name: str) -> float:
    text = (await node.http.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def renewed(laptop: Device) -> Renewed:
    """Renew, and return the answer."""
    laptop._socket.send(Renew(1.0))
    await laptop.flush()
    while True:
        frame = await laptop._end.recv()
        answers = [message for message in unframed(frame).messages if isinstance(message, Renewed)]
        laptop._socket.receive(frame, laptop._node.clock())
        if answers:
            return answers[0]


# Suspicion.


async def test_a_silent_device_is_suspected_before_it_is_lost_and_gets_no_new_work(node: Node):
    laptop = await connected(node, slots=2)
    before = node.clock()
    await until_suspected(node)
    constellation = await node.submit("a")

    (suspected,) = [event_of(row) for row in node.store.rows("~fleet") if row.kind == "device_suspected"]
    assert suspected.device == "laptop"
    assert suspected.phi >= 8
    assert 7.5 < suspected.at - before < 9.0
    assert suspected.reason.startswith("silent for 7.")
    assert await node.states(constellation) == {"a": "ready"}
    assert laptop.welcome


async def test_a_suspected_device_is_trusted_again_with_its_first_word_and_gets_the_work(node: Node):
    laptop = await connected(node)
    await until_suspected(node)
    constellation = await node.submit("a")
    await renewed(laptop)

    assert (await laptop.call()).attempt == f"{constellation}/a#1"
    assert node.store.kinds("~fleet")[-2:] == ["device_suspected", "device_trusted"]


async def test_what_runs_on_a_suspected_device_stays_its_own(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a")
    call = await laptop.call()
    await laptop.say(Accept(call.attempt))
    await until_suspected(node)
    await laptop.succeed(call)

    assert (await node.constellation(constellation))["state"] == "succeeded"
    assert node.store.kinds("~fleet")[-2:] == ["device_suspected", "device_trusted"]


async def test_a_suspicion_is_shown_with_its_cause_and_since_when_and_counted(node: Node):
    laptop = await connected(node)
    assert (await shown(node))["suspected_at"] is None
    await until_suspected(node)
    device = await shown(node)
    suspected, counted = (
        await measured(node, "galaxy_devices_suspected"),
        await measured(node, "galaxy_suspicions_total"),
    )
    await renewed(laptop)
    await node.runner.durable()
    after = await shown(node)

    assert device["presence"] == "connected"
    assert device["suspected"].startswith("silent for")
    assert node.clock() - 2.0 < device["suspected_at"] <= node.clock()
    assert (suspected, counted) == (1.0, 1.0)
    assert (after["suspected"], after["suspected_at"]) == (None, None)
    assert await measured(node, "galaxy_devices_suspected") == 0.0


async def test_a_device_that_is_gone_or_back_is_not_suspected(node: Node):
    laptop = await connected(node)
    serving = node.tasks[-1]
    node.clock.jump(7.0)
    await laptop.cut()
    await serving
    node.clock.jump(2.0)
    await node.gateway.pulse.look()
    await laptop.connect()
    node.clock.jump(7.0)
    await node.gateway.pulse.look()

    assert "device_suspected" not in node.store.kinds("~fleet")
    await until_suspected(node)


async def test_the_one_timer_finds_a_silent_device_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suspicion, "HEARTBEATS_MAX", 0.02)
    async with a_node(tmp_path) as node:
        watcher = node.runner.watch("~fleet")
        await connected(node)
        while "device_suspected" not in node.store.kinds("~fleet"):
            await watcher.wait()
            watcher.clear()


# The pace.


async def test_a_larger_fleet_is_told_to_renew_more_seldom_and_a_smaller_one_more_often(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    laptop = await connected(node)
    assert laptop.welcome
    assert laptop.welcome.heartbeat_s == 5.0
    assert (await renewed(laptop)).heartbeat_s == 0.0
    monkeypatch.setattr(suspicion, "HEARTBEATS_PER_S", 0.25)
    tower = await connected(node, "tower")

    assert (await renewed(laptop)).heartbeat_s == pytest.approx(9.6)
    assert laptop._socket.heartbeat_s == pytest.approx(9.6)
    assert (await renewed(laptop)).heartbeat_s == 0.0
    assert (await renewed(tower)).heartbeat_s == pytest.approx(9.6), "though its Welcome had said less"
    assert await measured(node, "galaxy_heartbeat_seconds") == pytest.approx(9.6)
    phone = await connected(node, "phone")
    assert phone.welcome
    assert phone.welcome.heartbeat_s == pytest.approx(9.6)
    for one in (tower, phone):
        await one.cut()
    while node.gateway.pulse.devices > 1:
        await node.runner.durable()
    assert (await renewed(laptop)).heartbeat_s == 5.0


async def test_a_device_with_a_short_lease_renews_it_three_times_within_it(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suspicion, "HEARTBEATS_PER_S", 0.01)
    await connected(node, "tower")
    await node.http.post("/v1/devices/tower:drain")
    laptop = await connected(node)
    assert laptop._socket.heartbeat_s == 15.0
    await node.submit(star("a", disconnect={"lost_after_s": 30}))
    call = await laptop.call()
    assert (await renewed(laptop)).heartbeat_s == 10.0
    await laptop.cut()
    await laptop.connect()
    assert laptop.welcome
    assert laptop.welcome.heartbeat_s == 10.0
    await laptop.succeed(call)
    await node.submit(star("a"))
    await laptop.call()

    assert (await renewed(laptop)).heartbeat_s == 15.0
