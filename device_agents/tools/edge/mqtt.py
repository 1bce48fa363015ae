"""The tools that speak with an MQTT broker, on the topics that the device's owner has opened."""

import asyncio
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import Context
from ..spool import INLINE_BYTES_MAX, cut_to_fit
from .broker import (
    AT_LEAST_ONCE,
    FilterText,
    Told,
    TopicText,
    check_broker,
    check_publish,
    check_subscribe,
    connected,
    heard,
    told_of,
)
from .settings import EdgeSettings

MESSAGES_MAX = 1_000
_SETTLED_S = 0.5  # without another retained message: MQTT does not say which is the last

Payload = Annotated[str, Meta(max_length=64 << 10)]


class PublishArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is said, and where."""

    topic: TopicText
    payload: Payload
    retain: Annotated[bool, Meta(description="Whether the broker keeps it for those who come later.")] = False


class Published(Struct, frozen=True):
    """The broker has it."""

    topic: str


class SubscribeArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is listened to, and until when."""

    topic: FilterText
    count: Annotated[int, Meta(ge=1, le=MESSAGES_MAX, description="End after so many messages.")] = 1
    for_s: Annotated[float, Meta(gt=0, le=86_400, description="End after so many seconds, with what came.")] = 30
    least: Annotated[int, Meta(ge=0, le=MESSAGES_MAX, description="Fail if fewer came.")] = 1


class RetainedArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which topics are asked for what the broker keeps."""

    topic: FilterText


class Heard(Struct, frozen=True):
    """What came, in the order of its coming."""

    messages: list[Told]
    more: Annotated[bool, Meta(description="Whether more came than a result can hold.")]


class RequestArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question, and the topic of its answer."""

    topic: TopicText
    payload: Payload
    reply_topic: TopicText
    timeout_s: Annotated[float, Meta(gt=0, le=3_600)] = 10


class _OnBroker:
    """What these tools share: the settings, and what they cannot do without."""

    limits: ClassVar[dict[str, int | float]] = {"messages": MESSAGES_MAX}

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings

    async def probe(self, guard: Guard) -> None:
        check_broker(self._settings)
        async with connected(self._settings):
            return


class MqttPublish(_OnBroker):
    """Publish a message on an MQTT topic; it has reached the broker when this ends."""

    name: ClassVar[str] = "mqtt.publish"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = PublishArguments
    Result: ClassVar[type[Struct]] = Published

    async def run(self, arguments: PublishArguments, context: Context) -> Published:
        check_publish(self._settings, arguments.topic)
        async with connected(self._settings) as client:
            await client.publish(arguments.topic, arguments.payload, qos=AT_LEAST_ONCE, retain=arguments.retain)
        return Published(arguments.topic)


class MqttSubscribe(_OnBroker):
    """Listen to MQTT topics until enough messages came or the time is over. Messages that were kept count too."""

    name: ClassVar[str] = "mqtt.subscribe"
    effect: ClassVar[Effect] = Effect.PURE
    Arguments: ClassVar[type[Struct]] = SubscribeArguments
    Result: ClassVar[type[Struct]] = Heard

    async def run(self, arguments: SubscribeArguments, context: Context) -> Heard:
        check_subscribe(self._settings, arguments.topic)
        found: list[Told] = []
        async with connected(self._settings) as client:
            await heard(client, (arguments.topic,))
            try:
                async with asyncio.timeout(arguments.for_s):
                    async for message in client.messages:
                        found.append(told_of(message))
                        context.progress(f"{len(found)} of {arguments.count} messages", len(found) / arguments.count)
                        if len(found) == arguments.count:
                            break
            except TimeoutError:
                if len(found) < arguments.least:
                    said = f"{len(found)} of at least {arguments.least} messages came on {arguments.topic}"
                    raise ToolFailed("timeout", f"{said} in {arguments.for_s:g} s", retryable=True) from None
        return _fitted(found)


class MqttRetained(_OnBroker):
    """Tell what an MQTT broker keeps on topics: the last known state of things that publish it retained."""

    name: ClassVar[str] = "mqtt.retained"
    effect: ClassVar[Effect] = Effect.PURE
    Arguments: ClassVar[type[Struct]] = RetainedArguments
    Result: ClassVar[type[Struct]] = Heard

    async def run(self, arguments: RetainedArguments, context: Context) -> Heard:
        check_subscribe(self._settings, arguments.topic)
        found: list[Told] = []
        async with connected(self._settings) as client:
            await heard(client, (arguments.topic,))
            try:
                async with asyncio.timeout(_SETTLED_S) as settled:
                    async for message in client.messages:
                        if message.retain:
                            found.append(told_of(message))
                            settled.reschedule(asyncio.get_running_loop().time() + _SETTLED_S)
                        if len(found) == MESSAGES_MAX:
                            break
            except TimeoutError:
                pass  # that is how one knows
        return _fitted(found)


class MqttRequest(_OnBroker):
    """Ask a question on one MQTT topic and return the first new message on the topic of its answer."""

    name: ClassVar[str] = "mqtt.request"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = RequestArguments
    Result: ClassVar[type[Struct]] = Told

    async def run(self, arguments: RequestArguments, context: Context) -> Told:
        check_publish(self._settings, arguments.topic)
        check_subscribe(self._settings, arguments.reply_topic)
        async with connected(self._settings) as client:
            await heard(client, (arguments.reply_topic,))
            await client.publish(arguments.topic, arguments.payload, qos=AT_LEAST_ONCE)
            answer = await first_new(client, arguments.timeout_s)
        if answer is None:
            said = f"no answer on {arguments.reply_topic} in {arguments.timeout_s:g} s"
            raise ToolFailed("timeout", said, retryable=True)
        return _cut(told_of(answer))


async def first_new(client: Any, timeout_s: float) -> Any:
    """Return the first message that was not kept from before, or None."""
    try:
        async with asyncio.timeout(timeout_s):
            async for message in client.messages:
                if not message.retain:
                    return message
    except TimeoutError:
        return None
    return None


def _fitted(found: list[Told]) -> Heard:
    """Return as many as a result can hold."""
    kept: list[Told] = []
    room = INLINE_BYTES_MAX
    for each in map(_cut, found):
        room -= len(each.payload.encode()) * 2 + len(each.topic.encode()) + 100
        if room < 0 and kept:
            break
        kept.append(each)
    return Heard(kept, len(kept) < len(found))


def _cut(told: Told) -> Told:
    return Told(told.topic, cut_to_fit(told.payload, INLINE_BYTES_MAX - 2_000), told.at, told.retained)
