"""One example of each tool of the edge's pack."""

import asyncio
import time
from pathlib import Path

from device_agents.tools.edge.store import Reading, SeriesStore
from protocol.vocabulary import Effect

from ..bench import Bench
from ..examples import Example, a_file, outside
from .stands import a_broker, a_picture, at_the_broker, with_models


def wired(name: str) -> str:
    return "" if Path(name).exists() else f"this machine has no {name}"


EXAMPLES: dict[str, Example] = {
    "mqtt.publish": Example(
        Effect.ONCE,
        works=lambda bench: {"topic": "home/lamp", "payload": "ON"},
        refused=lambda bench: {"topic": "garage/door", "payload": "OPEN"},
        peer=a_broker,
        settings=at_the_broker,
    ),
    "mqtt.subscribe": Example(
        Effect.PURE,
        works=lambda bench: {"topic": "home/+"},
        refused=lambda bench: {"topic": "#"},
        slow=lambda bench: {"topic": "home/silent", "for_s": 60},
        peer=a_broker,
        settings=at_the_broker,
    ),
    "mqtt.retained": Example(
        Effect.PURE,
        works=lambda bench: {"topic": "home/#"},
        refused=lambda bench: {"topic": "+/door"},
        peer=a_broker,
        settings=at_the_broker,
    ),
    "mqtt.request": Example(
        Effect.ONCE,
        works=lambda bench: {"topic": "home/echo", "payload": "x", "reply_topic": "home/echo"},
        refused=lambda bench: {"topic": "home/echo", "payload": "x", "reply_topic": "garage/door"},
        slow=lambda bench: {"topic": "home/echo", "payload": "x", "reply_topic": "home/silent", "timeout_s": 60},
        peer=a_broker,
        settings=at_the_broker,
    ),
    "sensor.read": Example(
        Effect.PURE,
        works=lambda bench: kept(bench, "boiler", time.time()) | {"sensor": "boiler"},
        refused=lambda bench: {"sensor": "safe"},
        slow=lambda bench: {"sensor": "boiler", "timeout_s": 60},
        peer=a_broker,
        settings=at_the_broker,
    ),
    "relay.set": Example(
        Effect.IDEMPOTENT,
        works=lambda bench: {"relay": "fan", "to": "on"},
        refused=lambda bench: {"relay": "door", "to": "on"},
        slow=lambda bench: {"relay": "fan", "to": "on", "hold_s": 60},
        peer=a_broker,
        settings=at_the_broker,
    ),
    "series.append": Example(Effect.IDEMPOTENT, works=lambda bench: {"series": "x", "points": [[1.0, 2.0]]}),
    "series.query": Example(Effect.PURE, works=lambda bench: {"series": "x"}),
    "series.watch": Example(
        Effect.PURE,
        works=lambda bench: kept(bench, "x", 1.0) | {"series": "x", "above": 50.0},
        slow=lambda bench: {"series": "y", "above": 50.0},
    ),
    "onnx.run": Example(
        Effect.PURE,
        works=lambda bench: {"model": "warm", "inputs": {"readings": [[60.0, 61.0, 62.0]]}},
        refused=lambda bench: {"model": "other"},
        slow=lambda bench: {"model": "endless", "inputs": {"size": [1_000, 1_000]}},
        settings=with_models,
    ),
    "file.type": Example(Effect.PURE, works=a_file, refused=outside),
    "image.text": Example(Effect.PURE, works=a_picture, refused=outside),
    "camera.shot": Example(
        Effect.PURE,
        works=lambda bench: {"camera": "front"},
        refused=lambda bench: {"camera": "front"},
        needs=lambda: wired("/dev/video0"),
    ),
    "gpio.read": Example(Effect.PURE, works=lambda bench: {"line": "lamp"}, needs=lambda: wired("/dev/gpiochip0")),
    "gpio.write": Example(
        Effect.IDEMPOTENT, works=lambda bench: {"line": "lamp", "high": True}, needs=lambda: wired("/dev/gpiochip0")
    ),
    "i2c.read": Example(Effect.PURE, works=lambda bench: {"device": "clock"}, needs=lambda: wired("/dev/i2c-1")),
}


def kept(bench: Bench, series: str, at: float) -> dict[str, object]:
    """Keep a reading, which is above the line already."""
    asyncio.run(SeriesStore(10).add(bench.work.parent, [Reading(series, at, 51.0)]))
    return {}
