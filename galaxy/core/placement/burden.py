"""What speaks against a device that is able: how it is, and what failed there lately. It counts as a longer run.

A burden never keeps a star waiting and never forbids anything: that is for `demand`. It decides between devices that
would do the work about equally soon.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from protocol.vocabulary import Vitals

from ..fleet import Fleet

# Shares of a run, by which it counts as longer than it is. They are a matter of taste; what is written here is ours.
BATTERY_SHARE = 1.0  # of one that is empty and not charging; half full, half of that
LOAD_SHARE_MAX = 2.0  # one more waiting program for each processor is a whole run more
HOT_C, HOT_SHARE = 80.0, 0.5  # it slows down, or soon will
IN_USE_SHARE = 0.25  # whoever sits at it should not feel the work
FAILURE_SHARE = 1.0  # of each failure of the tool there, halved with time
FAILURES_MAX = 4.0
FAILURE_HALF_LIFE_S = 600.0
_FORGOTTEN = 0.1  # of a failure
_KEPT_MAX = 10_000  # pairs of tool and device


class Burden(NamedTuple):
    """By which share of itself a run counts as longer, and why."""

    share: float = 0.0
    why: tuple[str, ...] = ()


NONE = Burden()


def burden_of(vitals: Vitals) -> Burden:
    """Return what a device's vitals say against it; what it has not told says nothing."""
    found: list[tuple[float, str]] = []
    if vitals.battery is not None and not vitals.charging:
        found.append((BATTERY_SHARE * (1.0 - vitals.battery), f"it runs on its battery, at {vitals.battery:.0%}"))
    if vitals.load is not None and vitals.load > 1.0:
        found.append((min(vitals.load - 1.0, LOAD_SHARE_MAX), f"its load is {vitals.load:.1f} for each processor"))
    if vitals.temperature_c is not None and vitals.temperature_c >= HOT_C:
        found.append((HOT_SHARE, f"it is {vitals.temperature_c:.0f} °C hot"))
    if vitals.in_use:
        found.append((IN_USE_SHARE, "a person is using it"))
    return _sum(found)


class Burdens:
    """The burdens of all devices, and what failed where."""

    def __init__(self, fleet: Callable[[], Fleet]) -> None:
        self._fleet = fleet
        self._of: dict[str, Burden] | None = None  # those that have one
        self.failures: dict[tuple[str, str], tuple[float, float]] = {}  # tool, device -> how many, as of when

    def fleet_changed(self) -> None:
        """Forget what was worked out of the vitals as they were."""
        self._of = None

    def failed(self, tool: str, device: str, at: float) -> None:
        """Note that the tool failed on the device, in a way that says nothing of the call itself."""
        if len(self.failures) > _KEPT_MAX:
            self.failures.clear()
        self.failures[tool, device] = (min(self._failures(tool, device, at) + 1.0, FAILURES_MAX), at)

    def succeeded(self, tool: str, device: str) -> None:
        """Note that the tool works there."""
        self.failures.pop((tool, device), None)

    def has_failed(self, tool: str, able: Iterable[str]) -> bool:
        """Return whether the tool has failed on one of these devices, and not worked there since."""
        return any((tool, device) in self.failures for device in able)

    def burdened(self, able: Iterable[str]) -> bool:
        """Return whether the vitals of one of these devices say anything against it."""
        found = self._known() if self._of is None else self._of
        return bool(found) and any(device in found for device in able)

    def on(self, tool: str, device: str, now: float) -> Burden:
        """Return what speaks against a call of the tool on the device."""
        found = self._known().get(device, NONE)
        if not self.failures or (count := self._failures(tool, device, now)) < _FORGOTTEN:
            return found
        lately = Burden(FAILURE_SHARE * count, (f"{tool} has failed there lately",))
        return Burden(found.share + lately.share, found.why + lately.why)

    def _failures(self, tool: str, device: str, now: float) -> float:
        count, at = self.failures.get((tool, device), (0.0, now))
        return float(count * 0.5 ** (max(0.0, now - at) / FAILURE_HALF_LIFE_S))

    def _known(self) -> dict[str, Burden]:
        if self._of is None:
            every = {device.id: burden_of(device.vitals) for device in self._fleet().devices.values()}
            self._of = {device: burden for device, burden in every.items() if burden.share}
        return self._of


def _sum(found: list[tuple[float, str]]) -> Burden:
    told = [(share, why) for share, why in found if share > 0.0]
    return Burden(sum(share for share, _ in told), tuple(why for _, why in told))
