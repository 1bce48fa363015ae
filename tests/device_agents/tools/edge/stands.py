"""What the edge's tools work on in tests: a real broker, things that live on it, models and pictures."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiomqtt
from PIL import Image, ImageDraw, ImageFont

from device_agents.tools import Settings
from device_agents.tools.edge.settings import EdgeSettings, ModelSettings, RelaySettings, SensorSettings
from galaxy.cli.cold_store.world import mqtt_broker
from tests.onnx_models import endless, too_warm

from ..bench import Bench

SENSOR = SensorSettings("home/boiler", "°C", -20, 120, "/t")
PUMP = RelaySettings("home/pump/set", safe="off", state="home/pump")


def edge(broker: str = "", **more: Any) -> EdgeSettings:
    topics = {"publish": ("home/#",), "subscribe": ("home/#",), "sensors": {"boiler": SENSOR}}
    return EdgeSettings(broker=broker, **{**topics, "relays": {"pump": PUMP, "fan": RelaySettings("home/fan")}, **more})


def at_the_broker(bench: Bench) -> Settings:
    return Settings(edge=edge(bench.peer or ""))


def with_models(bench: Bench) -> Settings:
    """Return settings that name a quick model and one that takes minutes."""
    found = {}
    for name, code in {"warm": too_warm(50), "endless": endless()}.items():
        path = bench.outside / f"{name}.onnx"
        path.write_bytes(code)
        found[name] = ModelSettings(str(path), ("fine", "too warm"))
    return Settings(edge=edge(models=found))


@contextmanager
def a_broker(bench: Bench) -> Iterator[str]:
    with mqtt_broker(bench.outside / "broker") as url:
        asyncio.run(_kept(url))
        yield url


async def _kept(url: str) -> None:
    async with client(url) as broker:
        await broker.publish("home/boiler", '{"t": 61.5}', qos=1, retain=True)


def client(url: str, **more: Any) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", int(url.rpartition(":")[2]), **more)


class Came(list[str]):
    """What has come, and a way to wait for more."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    async def grown_to(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self) < count:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def a_thing(url: str, topic: str, answered: Callable[[str], tuple[str, str]]) -> AsyncIterator[Came]:
    """Live on the broker: what comes on the topic is answered with (topic, payload). Yields what has come."""
    came = Came()

    async def live() -> None:
        async for message in broker.messages:
            came.append(bytes(message.payload).decode())
            came.news.set()
            reply, payload = answered(came[-1])
            await broker.publish(reply, payload, qos=1)

    async with client(url) as broker:
        await broker.subscribe(topic, qos=1)
        living = asyncio.create_task(live())
        try:
            yield came
        finally:
            living.cancel()
            await asyncio.wait([living])


def a_picture(bench: Bench, text: str = "hello from the edge") -> dict[str, Any]:
    """Draw the text, large."""
    image = Image.new("RGB", (480, 120), "white")
    ImageDraw.Draw(image).text((20, 30), text, "black", ImageFont.load_default(40))
    image.save(bench.work / "words.png")
    return {"path": "words.png"}
