"""An edge agent alone: it goes on listening and keeping while its galaxy is away, and its relays are never left on."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from galaxy.cli.cold_store.world import mqtt_broker
from galaxy.cli.local import LocalGalaxy, local_galaxy

SETTINGS = """\
[edge]
broker = "{url}"
status = "home/agent"
subscribe = ["home/#"]

[edge.sensors.boiler]
topic = "home/boiler"

[edge.relays.pump]
topic = "home/pump"
safe = "off"
"""
WITHIN_S = 20.0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with mqtt_broker(tmp_path / "broker") as url:
        yield url


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[LocalGalaxy]:
    with local_galaxy(tmp_path / "home") as galaxy:
        galaxy.add_agent("porch", "--kind", "edge", files={"agent.toml": SETTINGS.format(url=url)})
        galaxy.wait_for_agents()
        yield galaxy


def on_broker(url: str, work: Callable[[aiomqtt.Client], Coroutine[Any, Any, None]]) -> None:
    """Do the work as another client of the broker; it may not last for ever."""

    async def done() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            aiomqtt.Client("127.0.0.1", int(url.rpartition(":")[2])) as client,
        ):
            await work(client)

    asyncio.run(done())


def result(home: LocalGalaxy, tool: str, **arguments: Any) -> dict[str, Any]:
    body = {"name": "edge", "stars": [{"id": "one", "tool": tool, "arguments": arguments}]}
    path = f"/v1/constellations/{home.request('POST', '/v1/constellations', json=body).json()['id']}"
    home.wait_until(lambda: home.request("GET", path).json()["ended_at"], "it has not ended", WITHIN_S)
    (star,) = home.request("GET", path).json()["stars"]
    assert star["state"] == "succeeded", star
    found: dict[str, Any] = star["result"]
    return found


async def heard(client: aiomqtt.Client, topic: str, payload: str) -> None:
    """Return when this was said there, or is kept from before."""
    await client.subscribe(topic, qos=1)
    async for message in client.messages:
        if bytes(message.payload).decode() == payload:
            return


def test_readings_that_come_while_the_galaxy_is_away_are_told_later_in_their_order(home: LocalGalaxy, url: str):
    home.node.kill()

    async def measure(client: aiomqtt.Client) -> None:
        await heard(client, "home/agent", "online")
        for value in range(50):
            await client.publish("home/boiler", str(value), qos=1)

    on_broker(url, measure)
    home.start_node()
    home.wait_for_agents()
    result(home, "series.watch", series="boiler", above=48.5, for_s=WITHIN_S)

    first = result(home, "series.query", series="boiler", limit=30)
    rest = result(home, "series.query", series="boiler", after=first["next"])

    assert [value for _, value in first["points"] + rest["points"]] == list(map(float, range(50)))


def test_a_relay_is_safe_after_its_agent_was_killed(home: LocalGalaxy, url: str):
    result(home, "relay.set", relay="pump", to="on")
    on_broker(url, lambda client: heard(client, "home/pump", "ON"))

    home.agents["porch"].kill()

    on_broker(url, lambda client: heard(client, "home/pump", "OFF"))
    on_broker(url, lambda client: heard(client, "home/agent", "offline"))


def test_a_relay_is_safe_after_its_agent_was_stopped(home: LocalGalaxy, url: str):
    result(home, "relay.set", relay="pump", to="on")

    home.agents["porch"].stop()

    on_broker(url, lambda client: heard(client, "home/pump", "OFF"))
    on_broker(url, lambda client: heard(client, "home/agent", "offline"))
