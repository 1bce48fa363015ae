"""The way to the MQTT broker that `agent.toml` names, and what may be said and heard there."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from msgspec import Meta, Struct

from ...errors import ToolFailed
from .. import wanted
from ..blocking import unblocked
from .settings import EdgeSettings

PAYLOAD_BYTES_MAX = 256 << 10
QUEUE_MAX = 1_000  # messages that wait for a call; the next are dropped by the client, which says so in its log
AT_LEAST_ONCE = 1
_ANSWER_S = 10.0
_GIVEN_UP_S = 0.2  # for a goodbye to a broker that has not even greeted
_PORTS = {"mqtt": 1883, "mqtts": 8883}

TopicText = Annotated[str, Meta(min_length=1, max_length=500, pattern="^[^#+\u0000]+$")]
FilterText = Annotated[str, Meta(min_length=1, max_length=500, description="A topic; + and # stand for any level.")]


class Told(Struct, frozen=True, omit_defaults=True):
    """A message as it came. What is no UTF-8 has replacement characters."""

    topic: str
    payload: str
    at: Annotated[float, Meta(description="When it came, in seconds since 1970.")]
    retained: Annotated[bool, Meta(description="Whether the broker had kept it from before.")] = False


def told_of(message: Any) -> Told:
    return Told(str(message.topic), text_of(message), time.time(), bool(message.retain))


def text_of(message: Any) -> str:
    return bytes(message.payload or b"")[:PAYLOAD_BYTES_MAX].decode("utf-8", "replace")


@asynccontextmanager
async def connected(settings: EdgeSettings, *, will: tuple[str, str] | None = None) -> AsyncIterator[Any]:
    """Yield an aiomqtt client. `will` is a topic and what is said there, retained, if this connection is lost.

    Raises ToolFailed: not_installed, unavailable, not_permitted, connection_lost.
    """
    mqtt, password = await unblocked(lambda _: (wanted.library("aiomqtt", "edge"), _password(settings)))
    url = urlsplit(_named(settings))
    client = mqtt.Client(
        url.hostname or "",
        url.port or _PORTS[url.scheme],
        username=unquote(url.username) if url.username else None,
        password=password,
        timeout=_ANSWER_S,
        keepalive=20,
        max_queued_incoming_messages=QUEUE_MAX,
        tls_params=mqtt.TLSParameters() if url.scheme == "mqtts" else None,
        will=mqtt.Will(*will, qos=AT_LEAST_ONCE, retain=True) if will else None,
    )
    try:
        await _entered(client)
    except mqtt.MqttError as exc:
        code = "not_permitted" if "not authori" in str(exc).casefold() else "unavailable"
        raise ToolFailed(code, f"the broker {url.hostname}: {exc}", retryable=code == "unavailable") from exc
    try:
        yield client
    except mqtt.MqttError as exc:
        await _left(client, exc)
        raise ToolFailed("connection_lost", f"the broker {url.hostname}: {exc}", retryable=True) from exc
    except BaseException as exc:
        await _left(client, exc)
        raise
    else:
        await _left(client, None)


async def _entered(client: Any) -> None:
    """Connect. What fails or is cancelled meanwhile leaves no connection: the library would keep it alive for ever."""
    mqtt = wanted.library("aiomqtt", "edge")
    entering = asyncio.create_task(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except BaseException:
        client.timeout = _GIVEN_UP_S
        while not entering.done():  # it dials in a thread, which no cancellation keeps from opening a socket
            if client._client.socket() and not client._connected.done():
                client._connected.set_exception(mqtt.MqttError("nobody waits for it any more"))
            with suppress(asyncio.CancelledError):
                await asyncio.wait([entering], timeout=_GIVEN_UP_S)
        entering.exception()  # seen: whoever asked has gone
        if client._client.socket():
            await _left(client, None)
        raise


async def _left(client: Any, exc: BaseException | None) -> None:
    """Say goodbye, so that no will is carried out; to a broker that is gone, there is nobody to say it to."""
    mqtt = wanted.library("aiomqtt", "edge")
    try:
        await client.__aexit__(type(exc) if exc else None, exc, None)
    except mqtt.MqttError:
        return


async def heard(client: Any, filters: tuple[str, ...]) -> None:
    """Subscribe; raise ToolFailed where the broker refuses."""
    granted = await client.subscribe([(each, AT_LEAST_ONCE) for each in filters])
    if any(getattr(code, "value", code) >= 0x80 for code in granted):
        raise ToolFailed("not_permitted", f"the broker lets nobody like this agent listen to {', '.join(filters)}")


def check_publish(settings: EdgeSettings, topic: str) -> None:
    if not any(covers(each, topic) for each in settings.publish):
        raise _closed(f"nothing may be said on {topic}", "edge.publish", topic)


def check_subscribe(settings: EdgeSettings, topic_filter: str) -> None:
    check_filter(topic_filter)
    if not any(covers(each, topic_filter) for each in settings.subscribe):
        raise _closed(f"{topic_filter} may not be listened to", "edge.subscribe", topic_filter)


def check_filter(topic_filter: str) -> None:
    """Raise ToolFailed unless wildcards stand where MQTT lets them."""
    levels = topic_filter.split("/")
    hash_inside = any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#")
    if hash_inside or any("+" in level and level != "+" for level in levels) or "\0" in topic_filter:
        raise ToolFailed(
            "bad_arguments", f"{topic_filter!r} is no topic filter: + is a whole level, # the whole last one"
        )


def covers(allowed: str, asked: str) -> bool:
    """Return whether every topic that `asked` matches is matched by `allowed`; both may have wildcards."""
    if asked.startswith("$") != allowed.startswith("$"):
        return False  # the broker's own topics: no wildcard leads to them
    mine, theirs = allowed.split("/"), asked.split("/")
    for number, level in enumerate(mine):
        if level == "#":
            return True
        if number >= len(theirs) or theirs[number] == "#" or (theirs[number] != level and level != "+"):
            return False
    return len(theirs) == len(mine)


def check_broker(settings: EdgeSettings) -> None:
    wanted.library("aiomqtt", "edge")
    _named(settings)


def _named(settings: EdgeSettings) -> str:
    if not settings.broker:
        raise ToolFailed("unavailable", 'no broker is named: broker = "mqtt://HOST" under [edge] in agent.toml does it')
    return settings.broker


def _closed(refused: str, setting: str, topic: str) -> ToolFailed:
    return ToolFailed("denied", f'{refused}; "{topic}" in {setting} in agent.toml would allow it')


def _password(settings: EdgeSettings) -> str | None:
    if not settings.password_file:
        return None
    try:
        return Path(settings.password_file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ToolFailed("unavailable", f"edge.password_file cannot be read: {type(exc).__name__}") from exc
