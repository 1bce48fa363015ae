"""What Android's services tell of themselves, read as far as it is wanted. Apps write some of it: data, no more."""

import re
import struct
from typing import Annotated

from msgspec import Meta, Struct

from ...errors import ToolFailed
from .line import Line

_KEYGUARD = re.compile(
    r"KeyguardServiceDelegate\s+showing=true|\bmIsShowing=true|\bmDreamingLockscreen=true"
    r"|\bisStatusBarKeyguard=true|\bmShowingLockscreen=true|\bisKeyguardShowing=true|\bmAwake=false"
)
_TRUST = re.compile(r"\(current\):[^\n]*\bdeviceLocked=1")
_FOCUSED = re.compile(r"\bmFocusedApp=[^\n]*?\s([A-Za-z][\w.]*)/")
_FOCUS = re.compile(r"\bmCurrentFocus=[^\n]*?\s([A-Za-z][\w.]*)/")
_SIZE = re.compile(r"(?:Physical|Override) size: (\d{1,5})x(\d{1,5})")
_FIELD = re.compile(r"^\s*([A-Za-z ]+): (\S+)$", re.M)
_RECORD = re.compile(r"^ {4}NotificationRecord\(0x[0-9a-f]+: pkg=(\S+) ", re.M)
_EXTRA = re.compile(r"^ +android\.(title|text)=(?:String|SpannableString) \((.*)\)$", re.M)
_DEFAULT_NETWORK = re.compile(r"^Active default network: (\d+)$", re.M)
_CHARGING, _FULL = "2", "5"


class Glance(Struct, frozen=True):
    """What can be told of the screen without looking at it. One that is dark counts as locked."""

    locked: bool
    app: str


class Battery(Struct, frozen=True, omit_defaults=True):
    """How the battery is."""

    level: Annotated[float, Meta(description="Of 1.")]
    charging: bool
    temperature_c: float | None = None


class Notification(Struct, frozen=True):
    """What an app shows in the drawer."""

    package: str
    title: str
    text: str


def asked(line: Line, command: str) -> str:
    """Return what the command says; raise ToolFailed `unavailable` where it fails."""
    said = line.ask(command)
    if said.code != 0:
        raise ToolFailed("unavailable", f"`{command}` fails on the phone: {said.complaint}"[:500])
    return said.text


def glance(line: Line) -> Glance:
    """Return whether the screen is locked, and the package of the app that is in front."""
    trust, window = line.ask("dumpsys trust").text, asked(line, "dumpsys window")
    front = _FOCUSED.search(window) or _FOCUS.search(window)
    return Glance(bool(_KEYGUARD.search(window) or _TRUST.search(trust)), front[1][:200] if front else "")


def unlocked(line: Line) -> Glance:
    """Return the same; raise ToolFailed `screen_locked`."""
    seen = glance(line)
    if seen.locked:
        raise ToolFailed(
            "screen_locked",
            "the phone is locked or asleep: phone.key wakes it, and a person unlocks it",
            retryable=True,
        )
    return seen


def battery(line: Line) -> Battery:
    fields = dict(_FIELD.findall(asked(line, "dumpsys battery")))
    try:
        level = int(fields["level"]) / max(1, int(fields.get("scale", "100")))
        heat = int(fields["temperature"]) / 10 if "temperature" in fields else None
    except (KeyError, ValueError) as exc:
        raise ToolFailed("unavailable", f"the phone tells no battery: {exc}") from exc
    powered = any(value == "true" for name, value in fields.items() if name.endswith(" powered"))
    return Battery(level, fields.get("status") in {_CHARGING, _FULL} or powered, heat)


def screen_size(line: Line) -> tuple[int, int]:
    sizes = _SIZE.findall(asked(line, "wm size"))
    if not sizes:
        raise ToolFailed("unavailable", "the phone tells no size of its screen")
    return int(sizes[-1][0]), int(sizes[-1][1])  # one that overrides stands last


def notifications(dump: str) -> list[Notification]:
    """Return what the records say, in their order."""
    records = list(_RECORD.finditer(dump))
    ends = [each.start() for each in records[1:]] + [len(dump)]
    found = []
    for record, end in zip(records, ends, strict=False):  # without a record there is one end too many
        extras = dict(_EXTRA.findall(dump, record.end(), end))
        found.append(Notification(record[1], extras.get("title", ""), extras.get("text", "")))
    return found


def metered(line: Line) -> bool | None:
    """Return whether the network in use costs by the byte, or None where the phone does not tell."""
    said = line.ask("dumpsys connectivity")
    network = _DEFAULT_NETWORK.search(said.text)
    if said.code != 0 or network is None:
        return None
    for told in said.text.splitlines():
        if f"network{{{network[1]}}}" in told and "Capabilities:" in told:
            return "NOT_METERED" not in told
    return None


def png_size(png: bytes) -> tuple[int, int]:
    """Return width and height; raise ToolFailed `bad_picture`."""
    if len(png) < 24 or not png.startswith(b"\x89PNG\r\n\x1a\n") or png[12:16] != b"IHDR":
        raise ToolFailed("bad_picture", "what the phone gives for its screen is no PNG", retryable=True)
    width, height = struct.unpack(">II", png[16:24])
    return width, height
