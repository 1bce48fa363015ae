"""Second attempts beside the first: a substitute while its device is gone, a hedge while it is slow.

Only a call that may be repeated gets one, and only one. The first durable success counts; whoever is left is revoked.
"""

from protocol.vocabulary import Effect

from .attempt import Attempt, AttemptId
from .constellation import Constellation
from .course import Course
from .fleet import Device, Presence
from .placement.placer import Placer, Wish
from .retry import REPEATABLE
from .star import Reconcile
from .states import HELD_BY_DEVICE
from .timers import Timers

REPLACE_AFTER_S = 5.0  # most devices that drop a connection are back sooner
HEDGES_SHARE = 0.05  # of all attempts


class Rivals:
    """Which attempts are to get a second one beside them, and when."""

    def __init__(self, constellations: dict[str, Constellation], placer: Placer) -> None:
        self._constellations = constellations
        self._placer = placer
        self._timers: Timers[AttemptId] = Timers()
        self.active = False  # whether any attempt may be about to get a second one beside it
        self._leased = 0
        self._hedged = 0

    def count(self, *, hedge: bool) -> None:
        """Count an attempt against the share of hedges."""
        self._leased += 1
        self._hedged += hedge

    def look(
        self, name: AttemptId, constellation: Constellation, course: Course, attempt: Attempt, device: Device | None
    ) -> None:
        """Set when the attempt gets a second one beside it, or take that back."""
        at = self._due_at(constellation, course, attempt, device)
        if at is None:
            self.forget(name)
        elif not self._placer.seeks_rival((name.constellation, name.star)):
            self._timers.set(name, at)
            self.active = True

    def forget(self, name: AttemptId) -> None:
        """Want no second attempt beside this one."""
        self._timers.clear(name)
        self._placer.forget_rival((name.constellation, name.star), name.number)
        self.active = bool(self._timers) or self._placer.seeks_rivals

    def due(self, now: float) -> None:
        """Queue the second attempts whose time has come."""
        while (name := self._timers.pop_due(now)) is not None:
            constellation = self._constellations[name.constellation]
            course = constellation.courses[name.star]
            attempt = course.attempts[name.number - 1]
            device = self._placer.fleet.devices.get(attempt.device)
            if device and device.presence is Presence.CONNECTED:
                if self._hedged + 1 > HEDGES_SHARE * self._leased:
                    continue  # what is slow now is seldom slow alone: no hedge when the budget is used up
                why = f"it has run for longer on {device.id} than 95 of 100 calls of {course.star.tool} do"
            else:
                why = f"{attempt.device} is gone and may come back"
            self._placer.put_rival((constellation.id, name.star), constellation, course, Wish(name.number, why))

    def next(self) -> float | None:
        """Return when `due` is next due."""
        return self._timers.next()

    def _due_at(
        self, constellation: Constellation, course: Course, attempt: Attempt, device: Device | None
    ) -> float | None:
        star = course.star
        if (
            course.state not in HELD_BY_DEVICE
            or course.stopping
            or attempt.stopping
            or attempt.effect not in REPEATABLE
            or len(course.open) > 1
            or constellation.paused
            or star.needs_approval
            or attempt.effect in constellation.grant.approve
            or device is None
        ):
            return None
        if device.presence is Presence.CONNECTED:
            slow_s = (
                self._placer.weighing.durations.slow_s(star.tool)
                if star.hedge and attempt.effect is Effect.PURE
                else None
            )
            return None if slow_s is None else attempt.leased_at + slow_s
        replace = star.disconnect.replace
        if replace is None:
            replace = attempt.effect is Effect.PURE
        return device.since + device.grace_s + REPLACE_AFTER_S if replace else None


def keeps(course: Course, back: Attempt) -> tuple[Attempt | None, str]:
    """Return which of two attempts is to be stopped, and why, as the device of one of them is back; or none."""
    other = next((attempt for attempt in course.open if attempt is not back and not attempt.stopping), None)
    if other is None or course.state not in HELD_BY_DEVICE:
        return None, ""
    original, replacement = (back, other) if other.beside == back.number else (other, back)
    match course.star.disconnect.reconcile:
        case Reconcile.KEEP_ORIGINAL:
            return replacement, f"{original.device} is back, and its attempt is kept"
        case Reconcile.KEEP_REPLACEMENT:
            return original, f"its substitute on {replacement.device} is kept"
    return None, ""
