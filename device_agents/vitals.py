"""How the device is: what can be read of that, when it is worth telling, and the telling."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import asdict, replace

from protocol.messages import Message, VitalsTold
from protocol.vocabulary import Vitals

from .tools.blocking import unblocked
from .tools.settings import VitalsSettings

TELL_EVERY_S = 30.0
# A number that has moved by less since it was told is not worth a message; of the others, so great a share of it.
STEPS = {"load": 0.5, "memory_free": 0.1, "battery": 0.03, "temperature_c": 5.0}
SHARES = {"disk_free_bytes": 0.1, "link_bytes_per_s": 0.3}
BATTERY_LOW = 0.15  # where new work ends: the way past it is told at once, however small the step


async def tell(read: Callable[[], Vitals] | None, say: Callable[[Message], bool]) -> None:
    """Say for ever how the device is, whenever that is worth it; `say` returns whether there was anyone to hear it."""
    said: Vitals | None = None  # by this start of the agent: what an earlier one told may no longer be so
    while read:
        vitals = await unblocked(lambda _: read())
        if (said is None or is_news(said, vitals)) and say(VitalsTold(vitals)):
            said = vitals
        await asyncio.sleep(TELL_EVERY_S)


def is_news(said: Vitals, vitals: Vitals) -> bool:
    """Return whether something has changed by enough."""
    before, after = asdict(said), asdict(vitals)
    return any(_differs(name, before[name], after[name]) for name in after)


def _differs(name: str, before: Any, after: Any) -> bool:
    if before is None or after is None or name not in STEPS.keys() | SHARES.keys():
        return bool(before != after)
    if name == "battery" and (before < BATTERY_LOW) != (after < BATTERY_LOW):
        return True
    return bool(abs(after - before) >= STEPS.get(name, 0.0) + SHARES.get(name, 0.0) * abs(before))


def reader(
    work: Path, link_rate: Callable[[], float | None], own: VitalsSettings, pack: Callable[[], Vitals] = Vitals
) -> Callable[[], Vitals]:
    """Return what reads the vitals of this machine, as far as its owner lets them be told.

    What the `pack` of tools can tell goes before what the machine does: of a phone that hangs on it, of its screen.
    """

    def read() -> Vitals:
        battery = _battery()
        vitals = Vitals(
            load=_load(),
            memory_free=round(psutil.virtual_memory().available / psutil.virtual_memory().total, 3),
            disk_free_bytes=psutil.disk_usage(str(work)).free if work.exists() else None,
            battery=round(battery.percent / 100.0, 3) if battery else None,
            charging=bool(battery.power_plugged) if battery and battery.power_plugged is not None else None,
            temperature_c=_hottest(),
            link_bytes_per_s=link_rate(),
        )
        told = {name: value for name, value in asdict(pack()).items() if value is not None}
        if own.metered is not None:
            told["metered"] = own.metered
        vitals = replace(vitals, **told)
        return Vitals(**{name: value for name, value in asdict(vitals).items() if name in own.tell})

    return read


def _load() -> float | None:
    with suppress(OSError):  # Android keeps it from its apps, Termux among them
        return round(psutil.getloadavg()[0] / (psutil.cpu_count() or 1), 2)
    return None


def _battery() -> Any:
    """Return the battery, where there is one and the system tells of it."""
    sensors = getattr(psutil, "sensors_battery", None)
    with suppress(OSError):
        return sensors() if sensors else None
    return None


def _hottest() -> float | None:
    sensors = getattr(psutil, "sensors_temperatures", None)
    with suppress(OSError):
        found = [each.current for group in (sensors() if sensors else {}).values() for each in group]
        return max(found, default=None)
    return None
