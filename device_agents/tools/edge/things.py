"""The sensors and relays that `agent.toml` names, and what the agent does for them all the time."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from math import isfinite, nan
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from protocol.pointer import pointed
from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import Context, Service
from .broker import AT_LEAST_ONCE, check_broker, connected, heard, text_of
from .series import folder_of
from .settings import EdgeSettings, RelaySettings, SensorSettings
from .store import Reading, SeriesStore

log = logging.getLogger(__name__)

Name = Annotated[str, Meta(max_length=100, description="One that the device's owner has named.")]
Position = Literal["on", "off"]
_CONFIRM_S = 5.0


class ReadArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which sensor, and how fresh its reading has to be."""

    sensor: Name
    max_age_s: Annotated[float, Meta(ge=0, le=1e9, description="An older reading is not taken.")] = 60
    timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="How long to wait for a fresh one.")] = 10


class Measured(Struct, frozen=True):
    """A reading in the sensor's range."""

    value: float
    unit: str
    at: Annotated[float, Meta(description="Seconds since 1970.")]


class SensorRead:
    """Tell what a sensor of the device measures: its last reading, or a new one where that is too old."""

    name: ClassVar[str] = "sensor.read"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = ReadArguments
    Result: ClassVar[type[Struct]] = Measured

    def __init__(self, settings: EdgeSettings, store: SeriesStore) -> None:
        self._settings = settings
        self._store = store

    async def probe(self, guard: Guard) -> None:
        check_broker(self._settings)
        if not self._settings.sensors:
            raise ToolFailed("unavailable", "no sensor is named: a table [edge.sensors.NAME] in agent.toml does it")

    async def run(self, arguments: ReadArguments, context: Context) -> Measured:
        sensor = self._settings.sensors.get(arguments.sensor)
        if sensor is None:
            said = f"no sensor {arguments.sensor!r} is named; [edge.sensors.NAME] in agent.toml does it"
            raise ToolFailed("denied", said)
        last = await self._store.last(folder_of(context), arguments.sensor)
        if last is None or not 0 <= time.time() - last.at <= arguments.max_age_s:
            last = await self._fresh(arguments, sensor)
        if not last.good:
            said = f"{arguments.sensor} says {last.value:g} {sensor.unit}, which is outside of its range"
            raise ToolFailed("out_of_range", said, retryable=True)
        return Measured(last.value, sensor.unit, last.at)

    async def _fresh(self, arguments: ReadArguments, sensor: SensorSettings) -> Reading:
        async with connected(self._settings) as client:
            await heard(client, (sensor.topic,))
            try:
                async with asyncio.timeout(arguments.timeout_s):
                    async for message in client.messages:
                        reading = None if message.retain else read(arguments.sensor, sensor, text_of(message))
                        if reading is not None:  # of one that was kept, nobody knows the time
                            return reading
            except TimeoutError:
                said = f"{arguments.sensor} has said nothing in {arguments.timeout_s:g} s"
                raise ToolFailed("timeout", said, retryable=True) from None
        raise ToolFailed("connection_lost", "the broker has ended the connection", retryable=True)

    def services(self, guard: Guard) -> list[Service]:
        """Return what listens to the sensors as long as the agent runs, with or without a galaxy."""
        if not self._settings.broker or not (self._settings.sensors or self._settings.status):
            return []
        return [partial(self._collect, guard)]

    async def _collect(self, guard: Guard) -> None:
        by_topic: dict[str, list[str]] = {}
        for name, sensor in self._settings.sensors.items():
            by_topic.setdefault(sensor.topic, []).append(name)
        status = self._settings.status
        async with connected(self._settings, will=(status, "offline") if status else None) as client:
            if status:
                await client.publish(status, "online", qos=AT_LEAST_ONCE, retain=True)
            try:
                if by_topic:
                    await heard(client, tuple(by_topic))
                messages = client.messages
                async for message in messages:
                    # What waits goes to the disk together: one by one, a flood would be dated long after its coming.
                    waiting = [message, *[await anext(messages) for _ in range(len(messages))]]
                    found = [reading for each in waiting for reading in self._told_by(each, by_topic)]
                    if found:
                        await self._store.add(guard.work_folder.parent, found)
            finally:
                if status:
                    await client.publish(status, "offline", qos=AT_LEAST_ONCE, retain=True)

    def _told_by(self, message: Any, by_topic: dict[str, list[str]]) -> list[Reading]:
        if message.retain:
            return []  # of one that was kept, nobody knows the time
        names, text = by_topic.get(str(message.topic), []), text_of(message)
        found = (read(name, self._settings.sensors[name], text) for name in names)
        return [each for each in found if each is not None]


def read(name: str, sensor: SensorSettings, payload: str) -> Reading | None:
    """Return the reading that a payload tells, as of now; None where it tells no number."""
    try:
        value: Any = msgspec.json.decode(payload)
        number = float(pointed(value, sensor.pointer))
    except (msgspec.DecodeError, TypeError, ValueError, LookupError, RecursionError, OverflowError):
        number = nan
    if not isfinite(number):
        log.warning("a sensor tells no number", extra={"sensor": name, "payload": payload[:100]})
        return None
    too_low = sensor.minimum is not None and number < sensor.minimum
    too_high = sensor.maximum is not None and number > sensor.maximum
    return Reading(name, time.time(), number, good=not (too_low or too_high))


class SetArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which relay, and how it shall be."""

    relay: Name
    to: Position
    hold_s: Annotated[float, Meta(ge=0, le=86_400, description="Then back to safe; 0: it stays, and this ends.")] = 0


class Set(Struct, frozen=True):
    """How the relay was left."""

    is_now: Position
    confirmed: Annotated[bool, Meta(description="Whether the relay itself has said so.")]


class RelaySet:
    """Switch a relay of the device on or off; held for a time, it goes back to its safe position in any case."""

    name: ClassVar[str] = "relay.set"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = SetArguments
    Result: ClassVar[type[Struct]] = Set

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        # Relays to be made safe. At first too: the agent before may have been killed while no broker was there.
        self._unsafe = {name for name, relay in settings.relays.items() if relay.safe}
        self._has_unsafe = asyncio.Event()

    async def probe(self, guard: Guard) -> None:
        check_broker(self._settings)
        if not self._settings.relays:
            raise ToolFailed("unavailable", "no relay is named: a table [edge.relays.NAME] in agent.toml does it")

    async def run(self, arguments: SetArguments, context: Context) -> Set:
        relay = self._settings.relays.get(arguments.relay)
        if relay is None:
            said = f"no relay {arguments.relay!r} is named; [edge.relays.NAME] in agent.toml does it"
            raise ToolFailed("denied", said)
        if not arguments.hold_s:
            async with connected(self._settings) as client:
                with self._newer_word_on(arguments.relay):
                    return Set(arguments.to, await _switched(client, relay, arguments.to))
        safe = _safe(relay)
        async with self._until_safe(arguments.relay) as client:
            self._unsafe.discard(arguments.relay)
            await _switched(client, relay, arguments.to)
            try:
                async with asyncio.timeout(arguments.hold_s):
                    context.progress(f"{arguments.relay} is {arguments.to} for {arguments.hold_s:g} s", None)
                    async for _ in client.messages:
                        pass  # what it still says of itself; without a broker, nobody would make it safe
            except TimeoutError:
                return Set(safe, await _switched(client, relay, safe))
        raise AssertionError("nothing else ends the wait")

    def services(self, guard: Guard) -> list[Service]:
        """Return what makes each relay safe when the agent stops: a connection, and its last will if it is killed.

        And what makes it safe when that had to wait for the broker.
        """
        if not self._settings.broker or not self._settings.relays:
            return []
        guarded = [name for name, relay in self._settings.relays.items() if relay.safe]
        return [*(partial(self._guarded, name) for name in guarded), self._made_safe]

    async def _guarded(self, name: str) -> None:
        async with self._until_safe(name) as client:
            async for _ in client.messages:
                pass  # it subscribes to nothing: this ends with the connection

    async def _made_safe(self) -> None:
        while True:
            if not self._unsafe:
                self._has_unsafe.clear()
                await self._has_unsafe.wait()
            async with connected(self._settings) as client:
                for name in sorted(self._unsafe):
                    if name in self._unsafe:  # nobody has switched it meanwhile
                        await self._make_safe(client, name)

    @asynccontextmanager
    async def _until_safe(self, name: str) -> AsyncIterator[Any]:
        """Yield a connection at whose end, whatever it is, the relay is told to be safe."""
        relay = self._settings.relays[name]
        async with connected(self._settings, will=(relay.topic, _payload(relay, _safe(relay)))) as client:
            try:
                yield client
            finally:
                await self._make_safe(client, name)

    async def _make_safe(self, client: Any, name: str) -> None:
        relay = self._settings.relays[name]
        try:
            await client.publish(relay.topic, _payload(relay, _safe(relay)), qos=AT_LEAST_ONCE, retain=relay.retain)
        except BaseException:
            self._unsafe.add(name)
            self._has_unsafe.set()
            raise
        self._unsafe.discard(name)

    @contextmanager
    def _newer_word_on(self, name: str) -> Iterator[None]:
        """Whatever was to make the relay safe is out of date, unless the newer word fails."""
        is_unsafe = name in self._unsafe
        self._unsafe.discard(name)
        try:
            yield
        except BaseException:
            if is_unsafe:
                self._unsafe.add(name)
                self._has_unsafe.set()
            raise


def _safe(relay: RelaySettings) -> Position:
    return "on" if relay.safe == "on" else "off"


def _payload(relay: RelaySettings, to: Position) -> str:
    return relay.on if to == "on" else relay.off


async def _switched(client: Any, relay: RelaySettings, to: Position) -> bool:
    """Say it, and return whether the relay has confirmed it; raise ToolFailed where it should and does not."""
    payload = _payload(relay, to)
    if relay.state:
        await heard(client, (relay.state,))
    await client.publish(relay.topic, payload, qos=AT_LEAST_ONCE, retain=relay.retain)
    if not relay.state:
        return False
    try:
        async with asyncio.timeout(_CONFIRM_S):
            async for message in client.messages:
                if text_of(message).strip() == payload:
                    return True
    except TimeoutError:
        pass
    raise ToolFailed("not_confirmed", f"the relay has not said {payload} on {relay.state}", retryable=True)
