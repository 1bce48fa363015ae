"""The orchestrator: events in, orders out.

    check(event)      raise Refused, or promise that apply will not
    apply(event)      change the state, return the orders that follow
    due(now)          what follows by itself, as events: stars placed, conditions judged, deadlines passed, ends
    next_deadline()   when the clock alone will make something due

The shell's whole duty: check, record, apply, then record and apply what is due, and carry out the orders.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from protocol.vocabulary import Failure

from . import approving, asking, checks, explain, judging
from .attempt import AttemptId, LeaseEnd
from .constellation import Constellation
from .course import Course
from .errors import UnknownId
from .events import (
    ApprovalLapsed,
    ConstellationEnded,
    ConstellationEvent,
    ConstellationSubmitted,
    DeviceConnected,
    DeviceDisconnected,
    DeviceDraining,
    DeviceLost,
    DeviceRevoked,
    Event,
    LeaseEnded,
    NodeStarted,
    StarFailed,
    StarLeased,
    StarReported,
)
from .fleet import Fleet, Presence
from .leases import Leases
from .orders import Disconnect, Order, Revoke, TellDrain, dispatched
from .placement.placer import Key, Placer
from .placement.policy import Policy
from .states import HELD_BY_DEVICE, TERMINAL, WAITING
from .timers import Timers


class Orchestrator:
    """All constellations that have not ended, the fleet, and the indexes that make each step cheap."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.constellations: dict[str, Constellation] = {}
        self.fleet = Fleet()
        self.placer = Placer(self.constellations, self.fleet, policy)
        self.leases = Leases(self.constellations, self.fleet, self.placer)
        self._timers: Timers[Key] = Timers()  # of stars that no device holds
        self._pins = approving.Pins()
        self._absences: Timers[str] = Timers()  # when a device that is gone counts as lost
        self._questions: Timers[str] = Timers()  # when a constellation's planner is asked, or has been silent too long
        self._judged: dict[str, None] = {}  # constellations with conditions to judge
        self._proofs: dict[Key, None] = {}  # stars with a verification to judge
        self._ending: dict[str, None] = {}
        self._steps = 0

    def check(self, event: Event) -> None:
        """Raise Refused, or promise that `apply` will do. Nothing is changed."""
        checks.check(self, event)

    def apply(self, event: Event) -> list[Order]:
        """Change the state, return the orders that follow. The event was checked, or came from `due`."""
        self._steps += 1
        if isinstance(event, ConstellationEvent):
            return self._apply_to_constellation(event)
        self.fleet.apply(event)
        self.placer.fleet_changed()
        handler = FLEET_HANDLERS.get(type(event))
        orders = handler(self, event) if handler else []
        if device_id := getattr(event, "device", ""):
            self.placer.count_slots(device_id)
            self._watch_absence(device_id)
            self._look_at_pinned(self._pins.of(device_id), event.at)
        return orders

    def due(self, now: float) -> Iterator[Event]:
        """Yield what the state and the clock have made true. Apply each event before asking for the next."""
        steps = -1
        while steps != self._steps:
            steps = self._steps
            yield from self.leases.due(now)
            yield from self._passed_deadlines(now)
            yield from self._losses(now)
            yield from self._judgements(now)
            yield from asking.due(self.constellations, self._questions, now)
            yield from self.placer.rulings(now)
            yield from self.placer.placements(now)
            for constellation_id in list(self._ending):
                del self._ending[constellation_id]
                constellation = self.constellations[constellation_id]
                if constellation.is_over:
                    yield constellation.ending(now)

    def next_deadline(self) -> float | None:
        """Return when `due` will have something to say though nothing happened."""
        deadlines = [
            self._timers.next(),
            self.leases.next(),
            self._questions.next(),
            self._absences.next(),
            self.placer.next(),
        ]
        return min([at for at in deadlines if at is not None], default=None)

    def constellation(self, constellation_id: str) -> Constellation:
        """Return the open constellation; raise UnknownId."""
        try:
            return self.constellations[constellation_id]
        except KeyError:
            raise UnknownId("open constellation", constellation_id) from None

    def restore(self, fleet: Fleet, constellations: Iterable[Constellation], at: float) -> None:
        """Take over what replay gave back, and build the indexes anew."""
        self.fleet = self.placer.fleet = self.leases.fleet = fleet
        for constellation in sorted(constellations, key=lambda c: c.submitted_at):
            self.constellations[constellation.id] = constellation
            for star_id, course in constellation.courses.items():
                for attempt in course.open:
                    name = AttemptId(constellation.id, star_id, attempt.number)
                    self.placer.take(attempt.device, name, attempt.leased_at, 0.0)
                self.placer.weighing.remember(course)
            for star_id in constellation.courses:
                self._look(constellation, star_id, at)
            self._note(constellation)
        for device in fleet.devices:
            self.placer.count_slots(device)
            self._watch_absence(device)

    def load(self) -> dict[str, tuple[int, int]]:
        """Return slots held and slots of each connected device."""
        connected = [d.id for d in self.fleet.devices.values() if d.presence is Presence.CONNECTED]
        return {load.device: (load.held, load.slots) for load in self.placer.loads(connected)}

    def explained(self, constellation: Constellation, course: Course) -> explain.Wait | None:
        """Return why a star that is not running waits, or None if it does not wait."""
        return self.placer.explained(constellation, course)

    # applying

    def _apply_to_constellation(self, event: ConstellationEvent) -> list[Order]:
        match event:
            case StarReported() | LeaseEnded():
                attempt = AttemptId(event.constellation, event.star, event.attempt)
                self.placer.release(event.device, attempt)
                self.leases.over(attempt)
            case StarLeased():
                moves_s = event.candidates[0].moves_s if event.candidates else 0.0
                name = AttemptId(event.constellation, event.star, event.attempt)
                self.placer.take(event.device, name, event.at, moves_s)
                self.leases.rivals.count(hedge=bool(event.beside))
            case ConstellationSubmitted():
                self.constellations[event.constellation] = Constellation(event.constellation)
        constellation = self.constellations[event.constellation]
        consult = constellation.dialogue.consult
        stirred = constellation.apply(event)
        orders: list[Order] = [order for one in stirred for order in self._look(constellation, one, event.at)]
        match event:
            case StarLeased(star=star_id):
                orders.append(dispatched(constellation.courses[star_id].star, event, self.placer.bound_for(event)))
            case StarReported():
                tool = constellation.courses[event.star].star.tool
                self.placer.weighing.learn(tool, event)
            case LeaseEnded(cause=LeaseEnd.OVERRAN):
                orders.append(Revoke(event.device, attempt, event.failure.message))
            case ConstellationEnded():
                del self.constellations[event.constellation]
                self.placer.weighing.outlook.forget(event.constellation)
                self._questions.clear(event.constellation)
        if consult or constellation.dialogue.consult:
            orders += asking.orders(constellation, consult, event)
        self._note(constellation)
        return orders

    def _note(self, constellation: Constellation) -> None:
        if constellation.questions:
            self._judged[constellation.id] = None
        if constellation.dialogue.has_open() or constellation.goal:
            asking.set_timer(self._questions, constellation)
        if not constellation.end and constellation.is_over:
            self._ending[constellation.id] = None

    def _look(self, constellation: Constellation, star_id: str, at: float) -> Sequence[Order]:
        """Put a star's entries in the indexes right; return the orders to stop what is to be stopped of it."""
        key, course = (constellation.id, star_id), constellation.courses.get(star_id)
        if self._pins.device:
            self._pins.clear(key)
        if course is None or course.state in TERMINAL or course.state is WAITING:
            self.placer.forget(key)
            self._timers.clear(key)
            return self.leases.watch(constellation, course, at) if course and constellation.loose else ()
        if course.state in HELD_BY_DEVICE:
            self.placer.forget(key)
            self._timers.clear(key)
            return self.leases.watch(constellation, course, at)
        if course.proof is not None:
            self._timers.clear(key)
            self._proofs[key] = None
        else:
            deadline, lapse = self._queue(key, constellation, course, at), self._lapse(course)
            deadlines = [when for when in (deadline, lapse and lapse[0]) if when is not None]
            if course.approval:
                self._pins.set(key, course.approval.device)
            if deadlines:
                self._timers.set(key, min(deadlines))
            else:
                self._timers.clear(key)
        return ()

    def _queue(self, key: Key, constellation: Constellation, course: Course, at: float) -> float | None:
        """Let a ready star be placed if it may be; return when it has waited for long enough."""
        if course.needs_approval and course.approval:
            self.placer.await_approval(key)
            return course.approval.expires_at
        if not course.placeable(bool(constellation.paused)):
            self.placer.forget(key)
            return None
        if course.not_before > at:
            self.placer.forget(key)
            return course.not_before
        self.placer.put(key, constellation, course)
        queue_s = course.star.timeouts.queue_s
        return max(course.ready_at, course.not_before) + queue_s if queue_s else None

    def _lapse(self, course: Course) -> tuple[float, str] | None:
        if course.approval is None:
            return None
        return approving.lapse(course, self.fleet.devices.get(course.approval.device))

    def _look_at_pinned(self, keys: Iterable[Key], at: float) -> None:
        for key in keys:
            self._look(self.constellations[key[0]], key[1], at)

    # devices

    def _node_started(self, event: NodeStarted) -> list[Order]:
        self.placer.all_gone()
        for device in self.fleet.devices:
            self._watch_absence(device)
        for device in list(self.placer.held):
            self.leases.watch_all(device, event.at)
        self._look_at_pinned(self._pins, event.at)
        return [order for c in self.constellations.values() for order in asking.anew(c)]

    def _device_connected(self, event: DeviceConnected) -> list[Order]:
        forgot = self.fleet.devices[event.device].forgot
        return self.leases.connected(event, same_journal=not forgot)

    def _device_disconnected(self, event: DeviceDisconnected) -> list[Order]:
        self.leases.watch_all(event.device, event.at)
        return []

    def _device_draining(self, event: DeviceDraining) -> list[Order]:
        return [TellDrain(event.device, event.reason)]

    def _device_revoked(self, event: DeviceRevoked) -> list[Order]:
        self.leases.device_revoked(event.device, event.reason)
        return [Disconnect(event.device, event.reason)]

    def _watch_absence(self, device: str) -> None:
        at = self.fleet.lost_at(device) if device in self.fleet.devices else None
        if at is None:
            self._absences.clear(device)
        else:
            self._absences.set(device, at)

    # what is due

    def _losses(self, now: float) -> Iterator[Event]:
        while (device := self._absences.pop_due(now)) is not None:
            gone_s = now - self.fleet.devices[device].since
            yield DeviceLost(at=now, device=device, reason=f"it has been gone for {gone_s:.0f} s")

    def _passed_deadlines(self, now: float) -> Iterator[Event]:
        while (key := self._timers.pop_due(now)) is not None:
            constellation = self.constellations[key[0]]
            course = constellation.courses[key[1]]
            if (lapse := self._lapse(course)) and lapse[0] <= now:
                yield _approval_lapsed(now, key, course, lapse[1])
            elif course.needs_approval:
                failure = Failure("approval_expired", "nobody has approved it in time")
                yield StarFailed(at=now, constellation=key[0], star=key[1], failure=failure)
            elif course.placeable(bool(constellation.paused)):
                if self.placer.is_queued(key):
                    failure = explain.unplaced(course, self.explained(constellation, course))
                    yield StarFailed(at=now, constellation=key[0], star=key[1], failure=failure)
                else:
                    self._look(constellation, key[1], now)  # its back-off is over

    def _judgements(self, now: float) -> Iterator[Event]:
        for constellation_id in list(self._judged):
            del self._judged[constellation_id]
            if constellation := self.constellations.get(constellation_id):  # else its star was skipped, and all ended
                yield from judging.lines(constellation, now)
        for constellation_id, star_id in list(self._proofs):
            del self._proofs[constellation_id, star_id]
            yield from judging.proof(self.constellations[constellation_id], star_id, now)


def _approval_lapsed(at: float, key: Key, course: Course, reason: str) -> ApprovalLapsed:
    approval = course.approval
    assert approval
    c, s, n, device = *key, approval.attempt, approval.device
    return ApprovalLapsed(at=at, constellation=c, star=s, attempt=n, device=device, reason=reason)


FLEET_HANDLERS: dict[type[Event], Callable[[Orchestrator, object], list[Order]]] = {
    NodeStarted: Orchestrator._node_started,  # type: ignore[dict-item]
    DeviceConnected: Orchestrator._device_connected,  # type: ignore[dict-item]
    DeviceDisconnected: Orchestrator._device_disconnected,  # type: ignore[dict-item]
    DeviceDraining: Orchestrator._device_draining,  # type: ignore[dict-item]
    DeviceRevoked: Orchestrator._device_revoked,  # type: ignore[dict-item]
}
