"""What a star asks of a device. Stars that ask the same share one demand, so feasibility is worked out once for all."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from protocol.vocabulary import Effect, Profile

from ..attempt import Purpose
from ..course import Course
from ..fleet import Device, Presence
from ..goal import Grant
from ..star import Star
from .matching import Matcher, Words, matched

PURE = Effect.PURE


class Demand(NamedTuple):
    """Tools, labels, a pinned device, devices to avoid while another can do it, those that are granted (or all).

    `not_on` are devices that may not have it at all, for they hold another attempt at the same star. With `pure`, each
    of the tools must say of itself that it changes nothing. An `interactive` star is one that says so of itself; a
    `heavy` one brings more along than may go over a network that costs by the byte.
    """

    tools: frozenset[str]
    labels: tuple[tuple[str, str], ...] = ()
    device: str = ""
    avoid: frozenset[str] = frozenset()
    among: tuple[str, ...] = ()
    not_on: frozenset[str] = frozenset()
    pure: bool = False
    interactive: bool = False
    heavy: bool = False
    words: Words | None = None  # of an instruction that names no tools


class Feasible(NamedTuple):
    """The devices that can meet a demand, and why the others cannot."""

    able: tuple[str, ...]
    refused: dict[str, str]
    tools: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # of an instruction that names none, by device


BATTERY_MIN = 0.15  # of 1: with less, a device that is not charging gets no new work
METERED_BYTES_MAX = 10_000_000  # of inputs, to a device whose network costs by the byte


def demand_of(course: Course, grant: Grant, *, heavy: bool = False) -> Demand:
    """Return what the star's next attempt asks: a verification goes to where the effect may have happened.

    A call that was approved goes to the device for which it was.
    """
    granted = grant.devices
    star, needs = course.star, course.star.needs
    if course.purpose is Purpose.VERIFY:
        assert star.verify, "only a star that says how is verified"
        assert course.last_run, "and only after it was cut off"
        return Demand(frozenset({star.verify.tool}), device=course.last_run.device, among=granted, pure=True)
    plain = not (needs.tools or needs.labels or needs.device or star.instruction or heavy)
    if plain and not (course.failures or course.approval or star.effects is Effect.INTERACTIVE):
        return Demand(_only(star.tool), among=granted)
    tools = frozenset({star.tool, *needs.tools, *(star.instruction.tools if star.instruction else ())})
    device = course.approval.device if course.approval else needs.device
    labels, interactive = tuple(sorted(needs.labels.items())), star.effects is Effect.INTERACTIVE
    words = _words_of(star, grant.tools)
    return Demand(tools, labels, device, course.failed_on(), granted, interactive=interactive, heavy=heavy, words=words)


def _words_of(star: Star, granted: tuple[str, ...]) -> Words | None:
    if star.instruction is None or not star.instruction.match:
        return None
    return Words(f"{star.title} {star.instruction.text}", granted)


def feasible(demand: Demand, devices: Mapping[str, Device], matcher: Matcher) -> Feasible:
    """Return who can meet the demand. A device to avoid is able only where no other is."""
    able: list[str] = []
    refused: dict[str, str] = {}
    for device in devices.values():
        if reason := _obstacle(demand, device):
            refused[device.id] = reason
        else:
            able.append(device.id)
    others = [device_id for device_id in able if device_id not in demand.avoid]
    if others and len(others) < len(able):
        refused |= {device_id: "an attempt failed there" for device_id in able if device_id in demand.avoid}
        able = others
    if demand.words is None:
        return Feasible(tuple(able), refused)
    profiles = {device_id: profile for device_id in able if (profile := devices[device_id].profile)}
    found = matched(demand.words, profiles, matcher)
    return Feasible(tuple(found.tools), refused | found.refused, found.tools)


def _obstacle(demand: Demand, device: Device) -> str:
    if demand.device and device.id != demand.device:
        return f"the star is pinned to {demand.device}"
    if device.id in demand.not_on:
        return "it holds the first attempt"
    if demand.among and device.id not in demand.among:
        return "the constellation is not granted it"
    if device.presence is not Presence.CONNECTED or device.profile is None:
        return f"it is {device.presence}{f': {device.reason}' if device.reason else ''}"
    if device.wakes_at is not None:
        return "it goes to sleep"
    if device.suspected:
        return f"it is suspected: {device.suspected}"
    if device.draining:
        return f"it is draining: {device.draining}"
    if missing := demand.tools - {tool.name for tool in device.profile.tools}:
        return f"it has no tool {_listed(missing)}"
    if withdrawn := demand.tools & device.profile.withdrawn.keys():
        return f"it has withdrawn {_listed(f'{tool} ({device.profile.withdrawn[tool]})' for tool in withdrawn)}"
    if demand.pure and (acting := [t for t in device.profile.tools if t.name in demand.tools and t.effect is not PURE]):
        return f"a verification may change nothing, and of {acting[0].name} it says: {acting[0].effect}"
    if unwell := _unwell(demand, device, device.profile):
        return unwell
    if wrong := [f"{k}={v}" for k, v in demand.labels if device.profile.labels.get(k) != v]:
        return f"it has no label {_listed(wrong)}"
    return ""


def _unwell(demand: Demand, device: Device, profile: Profile) -> str:
    """Return which of the limits that rest on a device's vitals is passed; what it has not told passes none."""
    vitals = device.vitals
    if vitals.battery is not None and vitals.battery < BATTERY_MIN and not vitals.charging:
        return f"its battery is at {vitals.battery:.0%} and it is not charging"
    if demand.heavy and vitals.metered:
        return f"its network costs by the byte, and the inputs are over {METERED_BYTES_MAX // 1_000_000} MB"
    if vitals.in_use:
        acting = [
            tool.name for tool in profile.tools if tool.name in demand.tools and tool.effect is Effect.INTERACTIVE
        ]
        if demand.interactive or acting:
            return "a person is using it, and the call is interactive"
    return ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


_SINGLE: dict[str, frozenset[str]] = {}


def _only(tool: str) -> frozenset[str]:
    """Return the set of one tool; the same object each time, as its hash is then known."""
    if len(_SINGLE) > 1_000:
        _SINGLE.clear()
    return _SINGLE.setdefault(tool, frozenset({tool}))
