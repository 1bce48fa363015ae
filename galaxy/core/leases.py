"""What devices hold, and when their silence about it becomes an answer.

A device that is there is asked to stop, or has the time of the run; one that is gone has until its leases are over: it
counts from when it sent its last renewal and has stopped `stop_after_s` later, Galaxy counts from when it noticed the
silence, which is never earlier, and adds what clocks may drift and a grace.
"""

from collections import deque
from collections.abc import Iterator

from protocol.vocabulary import Failure, Held, Holding, Verdict

from . import explain
from .attempt import Attempt, AttemptId, LeaseEnd
from .constellation import Constellation
from .course import Course
from .events import AttemptRevoked, ConstellationEvent, DeviceConnected, LeaseEnded, StopUnconfirmed
from .fleet import Device, Fleet, Presence
from .orders import Dispatch, Order, Reconcile, Revoke
from .placement.placer import Placer
from .rivals import Rivals, keeps
from .timers import Timers

RUN_GRACE_S = 30.0  # a device enforces run_s itself; so much later its silence counts as an answer
STOP_GRACE_S = 30.0  # for a device to confirm that it has stopped an attempt
DRIFT = 0.02  # by which a device's clock may be slower than ours
GRACE_S = 1.0


def stopped_at(device: Device, course: Course) -> float | None:
    """Return by when a device that is gone has stopped the attempt by its own rule, or None if it never does."""
    stops_after_s = course.star.disconnect.stops_after_s
    if not stops_after_s:
        return None
    return device.since + device.grace_s + stops_after_s * (1 + DRIFT) + GRACE_S


def lost_at(device: Device, course: Course) -> float:
    """Return when an attempt of a device that is gone is given up: never before the device has stopped it."""
    lost = device.since + device.grace_s + course.star.disconnect.lost_after_s
    return max(lost, stopped_at(device, course) or 0.0)


class Leases:
    """The open attempts' deadlines, and what follows when a device comes or goes."""

    def __init__(self, constellations: dict[str, Constellation], fleet: Fleet, placer: Placer) -> None:
        self.fleet = fleet
        self.rivals = Rivals(constellations, placer)
        self._constellations = constellations
        self._placer = placer
        self._timers: Timers[AttemptId] = Timers()
        self._out_at: dict[AttemptId, float] = {}  # of those that were given out since the node started, when that was
        self._lapsed: deque[tuple[AttemptId, str, LeaseEnd, Failure]] = deque()  # to be ended, with their devices
        self._revoked: deque[tuple[AttemptId, str]] = deque()  # to be stopped, and why

    def watch(self, constellation: Constellation, course: Course, at: float) -> list[Revoke]:
        """Set the deadlines of the star's open attempts; return the orders to stop those that are to be stopped."""
        orders: list[Revoke] = []
        for attempt in course.open:
            name = AttemptId(constellation.id, course.star.id, attempt.number)
            device = self.fleet.devices.get(attempt.device)
            here = device is not None and device.presence is Presence.CONNECTED
            if attempt.stopping and here and not attempt.unconfirmed:
                orders.append(Revoke(attempt.device, name, attempt.stopping))
            self._set(name, course, attempt, device if here else None, at)
            if self.rivals.active or not here or course.star.hedge:
                self.rivals.look(name, constellation, course, attempt, device)
        return orders

    def over(self, attempt: AttemptId) -> None:
        """Forget an attempt that has ended."""
        self._timers.clear(attempt)
        self._out_at.pop(attempt, None)
        if self.rivals.active:
            self.rivals.forget(attempt)

    def went_out(self, order: Dispatch, at: float) -> None:
        """Count the run from here: what was decided is recorded, perhaps much later, and the device is told."""
        name = order.attempt
        if order.run_s and name in self._placer.held.get(order.device, ()):
            self._out_at[name] = at
            if name not in self._timers:  # else it is being stopped, or its device is gone
                self._timers.set(name, at + order.run_s + RUN_GRACE_S)

    def watch_all(self, device: str, at: float) -> list[Revoke]:
        """Look at all that a device holds, which has come or gone."""
        orders: list[Revoke] = []
        for name in list(self._placer.held.get(device, ())):
            constellation = self._constellations[name.constellation]
            orders += self.watch(constellation, constellation.courses[name.star], at)
        return orders

    def connected(self, event: DeviceConnected, *, same_journal: bool) -> list[Order]:
        """Settle with a device that is back what it still holds; what it does not name, it has never begun.

        Unless its journal is another one: then it cannot know.
        """
        answered_for = {held.attempt for held in event.held}  # what becomes of those is told below
        watched = self.watch_all(event.device, event.at)
        orders: list[Order] = [order for order in watched if str(order.attempt) not in answered_for]
        mine = list(self._placer.held.get(event.device, ()))
        if not event.resumed:
            for name in mine:
                if str(name) not in answered_for:
                    course = self._constellations[name.constellation].courses[name.star]
                    cause, failure = explain.absence(course.attempts[name.number - 1], same_journal=same_journal)
                    self._lapsed.append((name, event.device, cause, failure))
        for held in event.held:
            orders += self._reconciled(event.device, held)
        return orders

    def device_revoked(self, device: str, reason: str) -> None:
        """End all leases of a device that may no longer take part."""
        failure = Failure("device_revoked", f"{device} was revoked: {reason}", retryable=True)
        self._lapsed.extend((name, device, LeaseEnd.REVOKED, failure) for name in self._placer.held.get(device, ()))

    def due(self, now: float) -> Iterator[ConstellationEvent]:
        """Yield what the clock and the returns of devices have made of attempts."""
        while self._lapsed:
            name, device, cause, failure = self._lapsed.popleft()
            if name in self._placer.held.get(device, ()):
                yield _ended(now, name, device, cause, failure)
        while self._revoked:
            name, reason = self._revoked.popleft()
            if (attempt := self._open(name)) and not attempt.stopping:
                yield _of(AttemptRevoked, now, name, attempt.device, reason=reason)
        while (due := self._timers.pop_due(now)) is not None:
            yield self._silent(due, now)
        self.rivals.due(now)

    def next(self) -> float | None:
        """Return when `due` has something to say though nothing happened."""
        return min((at for at in (self._timers.next(), self.rivals.next()) if at is not None), default=None)

    def _silent(self, name: AttemptId, now: float) -> ConstellationEvent:
        constellation = self._constellations[name.constellation]
        course = constellation.courses[name.star]
        attempt = course.attempts[name.number - 1]
        device = self.fleet.devices.get(attempt.device)
        if constellation.cancelled and attempt.stopping and device and device.presence is Presence.CONNECTED:
            reason = f"{attempt.device} was told to stop {STOP_GRACE_S:g} s ago and has not said that it did"
            return _of(StopUnconfirmed, now, name, attempt.device, reason=reason)
        cause, failure = explain.silence(course, attempt, device)
        return _ended(now, name, attempt.device, cause, failure)

    def _set(self, name: AttemptId, course: Course, attempt: Attempt, here: Device | None, at: float) -> None:
        run_s = course.star.timeouts.run_s
        if here is None:
            device = self.fleet.devices.get(attempt.device)
            deadline = lost_at(device, course) if device else at + course.star.disconnect.lost_after_s
            if device and attempt.stopping:
                deadline = stopped_at(device, course) or deadline
            self._timers.set(name, max(deadline, at))
        elif attempt.unconfirmed:
            self._timers.clear(name)  # it may still act, and whoever asks is told so, until it answers or is gone
        elif attempt.stopping:
            self._timers.set(name, at + STOP_GRACE_S)
        elif run_s and (began_at := self._began_at(name, attempt, here)) is not None:
            # A device that is back after the end of the run has its report in its outbox: let it come.
            self._timers.set(name, max(began_at + run_s, here.since) + RUN_GRACE_S)
        else:
            self._timers.clear(name)

    def _began_at(self, name: AttemptId, attempt: Attempt, device: Device) -> float | None:
        """Return when the device may have begun it at the latest, or None while it has not been told."""
        if attempt.accepted_at is not None:
            return attempt.accepted_at
        return self._out_at.get(name, device.since if device.since > attempt.leased_at else None)

    def _reconciled(self, device: str, held: Held) -> list[Order]:
        name = AttemptId.parse(held.attempt)
        attempt, course = self._open(name), self._course(name)
        if attempt is None or course is None or attempt.device != device:
            return [Reconcile(device, name, Verdict.SUPERSEDED, explain.superseded(name, course))]
        if attempt.stopping:
            return [Reconcile(device, name, Verdict.STOP, attempt.stopping)]
        loser, reason = keeps(course, attempt)
        if loser:
            self._revoked.append((AttemptId(name.constellation, name.star, loser.number), reason))
        if held.holding is Holding.RUNNING and attempt.accepted_at is None:
            return [Reconcile(device, name, Verdict.ADOPT, "it was not known that it had begun")]
        return [Reconcile(device, name, Verdict.CONTINUE, "its lease holds")]

    def _course(self, name: AttemptId) -> Course | None:
        constellation = self._constellations.get(name.constellation)
        return constellation.courses.get(name.star) if constellation else None

    def _open(self, name: AttemptId) -> Attempt | None:
        course = self._course(name)
        return course.holding(name.number) if course else None


def _ended(at: float, name: AttemptId, device: str, cause: LeaseEnd, failure: Failure) -> LeaseEnded:
    c, s, n = name
    return LeaseEnded(at=at, constellation=c, star=s, attempt=n, device=device, cause=cause, failure=failure)


def _of(
    kind: type[AttemptRevoked] | type[StopUnconfirmed], at: float, name: AttemptId, device: str, *, reason: str
) -> AttemptRevoked | StopUnconfirmed:
    c, s, n = name
    return kind(at=at, constellation=c, star=s, attempt=n, device=device, reason=reason)
