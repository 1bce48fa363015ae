"""D-Bus: a connection for as long as one call, and what goes wrong on it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ....errors import ToolFailed
from ... import wanted
from .display import EXTRA
from .settings import ScreenSettings

_CONNECT_S = 3.0
CALL_S = 2.0
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


class BusSilent(Exception):
    """Whoever was asked has not answered in time."""


class BusRefused(Exception):
    """Whoever was asked has answered with an error, or is not there."""


@dataclass(frozen=True, slots=True)
class Question:
    """What can be asked, with the D-Bus signatures of its arguments and of an answer: another is taken from nobody."""

    interface: str
    member: str
    takes: str = ""
    answers: str = ""
    starts: bool = False  # whether the program that answers is started for it


GET = Question("org.freedesktop.DBus.Properties", "Get", "ss", "v")
GET_ALL = Question("org.freedesktop.DBus.Properties", "GetAll", "s", "a{sv}")


class Bus:
    """A bus that is connected to."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._dbus = wanted.library("dbus_fast", EXTRA)

    async def ask(self, to: tuple[str, str], question: Question, *body: Any, timeout_s: float = CALL_S) -> list[Any]:
        """Return the answer of an object, which is a name on the bus and a path there; raise BusSilent, BusRefused."""
        flags = self._dbus.MessageFlag.NONE if question.starts else self._dbus.MessageFlag.NO_AUTOSTART
        words = {"flags": flags, "signature": question.takes, "body": list(body)}
        try:
            message = self._dbus.Message(*to, question.interface, question.member, **words)
            async with asyncio.timeout(timeout_s):
                reply = await self._connection.call(message)
        except TimeoutError:
            raise BusSilent(f"{to[0]} has not answered in {timeout_s:g} s") from None
        except (self._dbus.DBusError, EOFError, OSError, ValueError, TypeError) as exc:
            raise BusRefused(str(exc)) from exc
        if reply is None or reply.message_type is self._dbus.MessageType.ERROR:
            raise BusRefused(f"{to[0]}: {reply.body[0] if reply and reply.body else reply and reply.error_name}"[:300])
        if reply.signature != question.answers:
            raise BusRefused(f"{to[0]} answers {question.member} with {reply.signature!r}, not {question.answers!r}")
        return list(reply.body)


def session_bus(settings: ScreenSettings) -> str:
    """Return the address of the session's bus, or nothing."""
    running = os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "bus")
    given = settings.session_bus or os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    return given or (f"unix:path={running}" if os.path.exists(running) else "")


@asynccontextmanager
async def on_bus(address: str) -> AsyncIterator[Bus]:
    """Yield the bus; raise ToolFailed unavailable."""
    if not address:
        raise ToolFailed("unavailable", "no D-Bus of a session is named: `session_bus` under [desktop.screen] does it")
    aio, dbus = wanted.library("dbus_fast.aio", EXTRA), wanted.library("dbus_fast", EXTRA)
    connection: Any = None
    try:
        async with asyncio.timeout(_CONNECT_S):
            connection = aio.MessageBus(bus_address=address)
            await connection.connect()  # which tidies up after itself when it fails
    except (dbus.DBusError, dbus.InvalidAddressError, dbus.AuthError, EOFError, OSError, ValueError) as exc:
        said = f"the D-Bus at {address[:200]!r} cannot be used: {exc or type(exc).__name__}"
        raise ToolFailed("unavailable", said, retryable=True) from exc
    try:
        yield Bus(connection)
    finally:
        connection.disconnect()
        with suppress(OSError, EOFError):
            async with asyncio.timeout(1):
                await connection.wait_for_disconnect()
