"""Whether the screen is locked, as far as anything on this device tells."""

import os

from ....errors import ToolFailed
from .bus import GET, SYSTEM_BUS, BusRefused, BusSilent, Question, on_bus, session_bus
from .settings import ScreenSettings

_ASK_S = 1.0
_SAVERS = ("org.freedesktop.ScreenSaver", "org.gnome.ScreenSaver", "org.cinnamon.ScreenSaver", "org.mate.ScreenSaver")
_LOGIN = "org.freedesktop.login1"
_OWN_SESSION = "/org/freedesktop/login1/session/auto"


async def check_unlocked(settings: ScreenSettings) -> None:
    """Raise ToolFailed screen_locked if the screen is known to be: what is typed would go to who knows where."""
    if await locked(settings):
        said = "the screen is locked; a person has to unlock it before anything is clicked or typed"
        raise ToolFailed("screen_locked", said, retryable=True)


async def locked(settings: ScreenSettings) -> bool | None:
    """Return whether the screen is locked, None if nothing here tells."""
    told = await _told_by_savers(session_bus(settings))
    told += await _told_by_login(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS))
    return any(told) if told else None


async def _told_by_savers(address: str) -> list[bool]:
    told: list[bool] = []
    try:
        async with on_bus(address) as bus:
            for name in _SAVERS:
                try:
                    to = name, "/" + name.replace(".", "/")
                    told += await bus.ask(to, Question(name, "GetActive", answers="b"), timeout_s=_ASK_S)
                except BusRefused:
                    continue
    except (ToolFailed, BusSilent):
        pass  # a saver that hangs tells nothing, and the next would only take longer
    return told


async def _told_by_login(address: str) -> list[bool]:
    try:
        async with on_bus(address) as bus:
            found = await bus.ask((_LOGIN, _OWN_SESSION), GET, f"{_LOGIN}.Session", "LockedHint", timeout_s=_ASK_S)
            return [bool(found[0].value)]
    except (ToolFailed, BusRefused, BusSilent):
        return []
