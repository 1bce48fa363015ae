"""Approval: a person says yes or no to one very call, before it is made.

The call is one device's. While that is there, or may soon be back, the star waits for it, asked about or approved;
after that the question and its answer have lapsed, and whoever is given the star is asked about anew.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from protocol.vocabulary import Failure

from .course import Approval, Course
from .events import ApprovalDenied, ApprovalGiven, ApprovalLapsed, ApprovalRequested
from .fleet import Device, Presence
from .states import FAILED

if TYPE_CHECKING:
    from .constellation import Constellation

Key = tuple[str, str]  # constellation, star


def requested(c: "Constellation", event: ApprovalRequested) -> None:
    course = c.courses[event.star]
    course.approval = Approval(
        event.attempt, event.device, event.tool, event.arguments, event.effect, event.at, event.expires_at
    )
    c.stirred.append(event.star)


def given(c: "Constellation", event: ApprovalGiven) -> None:
    course = c.courses[event.star]
    assert course.approval, "it was checked that this attempt waits for approval"
    course.approval.given_by = event.by or "somebody"  # nobody would be no approval, and a rule would say it for ever
    course.ready_at = max(course.ready_at, event.at)
    c.stirred.append(event.star)


def lapsed(c: "Constellation", event: ApprovalLapsed) -> None:
    course = c.courses[event.star]
    course.approval = None
    course.ready_at = max(course.ready_at, event.at)  # it did not wait for a device while it waited for this one
    c.stirred.append(event.star)


def denied(c: "Constellation", event: ApprovalDenied) -> None:
    """A no is final: nobody looks for another way around it."""
    course = c.courses[event.star]
    course.approval = None
    text = f"{event.by} denied it" + (f": {event.reason}" if event.reason else "")
    course.failure = Failure("approval_denied", text)
    c.move(course, FAILED, event.at)


class Pins:
    """Which stars wait for which device, because a person was asked about it."""

    def __init__(self) -> None:
        self.device: dict[Key, str] = {}  # that each waits for
        self._stars: dict[str, dict[Key, None]] = {}

    def set(self, key: Key, device: str) -> None:
        self.clear(key)
        self.device[key] = device
        self._stars.setdefault(device, {})[key] = None

    def clear(self, key: Key) -> None:
        if device := self.device.pop(key, ""):
            stars = self._stars[device]
            del stars[key]
            if not stars:
                del self._stars[device]

    def of(self, device: str) -> list[Key]:
        """Return the stars that wait for the device."""
        return list(self._stars.get(device, ()))

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self.device))


def lapse(course: Course, device: Device | None) -> tuple[float, str] | None:
    """Return when a question about this device and the answer to it lapse, and why; or None while it is here."""
    if device is None or device.presence is Presence.REVOKED:
        return 0.0, "it was revoked"
    star, profile = course.star, device.profile
    assert profile, "it was connected when a person was asked about it"
    tools = {star.tool, *star.needs.tools, *(star.instruction.tools if star.instruction else ())}
    if missing := tools - {tool.name for tool in profile.tools}:
        return 0.0, f"it no longer offers {', '.join(sorted(missing))}"
    if any(profile.labels.get(name) != value for name, value in star.needs.labels.items()):
        return 0.0, "it no longer has a label that the star needs"
    if device.presence is Presence.CONNECTED:
        return None
    lost_after_s = star.disconnect.lost_after_s
    return device.since + lost_after_s, f"it has been gone for {lost_after_s:g} s"
