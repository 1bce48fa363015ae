"""Placement: which ready star is leased to which device next, as events.

The placer owns the queue of ready stars, what each device holds, and what it remembers until the fleet changes.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec import Raw, Struct

from protocol.vocabulary import Failure, ToolSpec

from .. import explain, rules
from ..attempt import AttemptId, Candidate, Purpose
from ..binding import BindingError, resolved
from ..constellation import Constellation
from ..course import Course
from ..events import ApprovalGiven, ApprovalRequested, ConstellationEvent, StarFailed, StarLeased
from ..fleet import Fleet, Presence
from ..orders import called_with
from ..states import HELD_BY_DEVICE, READY
from .demand import Demand, Feasible, demand_of, feasible
from .earliest import EXPLAINED_MAX, ranked
from .ready import Place, ReadyQueue

MEAN_RUN_WEIGHT = 0.1  # of the newest run in the moving mean
MEAN_RUN_GUESS_S = 1.0
FEASIBLE_MAX = 10_000  # demands that are remembered between two changes of the fleet
RUNS_KEPT = 64  # of each tool
RUNS_TELL = 8  # fewer runs than this say nothing of what is slow
SLOW_OF_RUNS = 0.95

Key = tuple[str, str]  # constellation, star


class Wish(Struct, frozen=True):
    """A second attempt is wanted beside this one."""

    beside: int
    why: str


class Placer:
    """The ready stars of all constellations, and the slots of all devices."""

    def __init__(self, constellations: dict[str, Constellation], fleet: Fleet) -> None:
        self.fleet = fleet
        self.held: dict[str, dict[AttemptId, None]] = {}  # device -> what it holds
        self._constellations = constellations
        self._free: dict[str, None] = {}  # devices with a free slot
        self._queue = ReadyQueue(self._is_placeable)
        self._feasible: dict[Demand, Feasible] = {}
        self._tools: dict[str, dict[str, ToolSpec]] = {}
        self._mean_run_s: dict[str, float] = {}
        self._runs_s: dict[str, deque[float]] = {}  # the last ones of each tool
        self._wishes: dict[Key, Wish] = {}  # stars that run and are queued for a second attempt
        self._asked: dict[Key, None] = {}  # stars that wait for approval
        self._bound: tuple[Key, Raw] | None = None  # the arguments of the star that is just being placed

    # what changes

    def fleet_changed(self) -> None:
        """Forget what was worked out of the fleet as it was."""
        self._feasible.clear()
        self._tools.clear()

    def all_gone(self) -> None:
        """No device is here any more."""
        self._free.clear()

    def put(self, key: Key, constellation: Constellation, course: Course) -> None:
        """Let a star be placed."""
        self._asked.pop(key, None)
        self._queue.put(demand_of(course, constellation.grant.devices), *key, course.star.priority, course.ready_at)

    def forget(self, key: Key) -> None:
        """Let a star not be placed any more."""
        if key not in self._wishes:
            self._queue.forget(*key)
        if self._asked:
            self._asked.pop(key, None)

    def put_rival(self, key: Key, constellation: Constellation, course: Course, wish: Wish) -> None:
        """Let a star that runs get a second attempt, on a device that holds none at it."""
        self._wishes[key] = wish
        elsewhere = frozenset(attempt.device for attempt in course.open)
        demand = demand_of(course, constellation.grant.devices)._replace(not_on=elsewhere)
        self._queue.put(demand, *key, course.star.priority, course.ready_at)

    @property
    def seeks_rivals(self) -> bool:
        """Whether any star is queued for a second attempt."""
        return bool(self._wishes)

    def seeks_rival(self, key: Key) -> bool:
        """Return whether the star is queued for a second attempt."""
        return key in self._wishes

    def forget_rival(self, key: Key, beside: int) -> None:
        """Let a star not get a second attempt beside this one."""
        if (wish := self._wishes.get(key)) and wish.beside == beside:
            del self._wishes[key]
            self._queue.forget(*key)

    def await_approval(self, key: Key) -> None:
        """Let a star wait until a person, or a rule that a person made, has approved its call."""
        self._queue.forget(*key)
        self._asked[key] = None

    def take(self, device: str, attempt: AttemptId) -> None:
        """Note that the device holds the attempt."""
        self.held.setdefault(device, {})[attempt] = None
        self.count_slots(device)

    def release(self, device: str, attempt: AttemptId) -> None:
        """Note that the device holds the attempt no more."""
        self.held.get(device, {}).pop(attempt, None)
        self.count_slots(device)

    def count_slots(self, device_id: str) -> None:
        """Work out anew whether the device has a free slot."""
        device = self.fleet.devices.get(device_id)
        if (
            device
            and device.presence is Presence.CONNECTED
            and not device.draining
            and not device.suspected
            and device.wakes_at is None
            and len(self.held.get(device_id, ())) < device.slots
        ):
            self._free[device_id] = None
        else:
            self._free.pop(device_id, None)

    def learn(self, tool: str, ran_s: float) -> None:
        """Take a run into the tool's mean."""
        ran_s = max(0.0, ran_s)  # a device may say anything
        mean = self._mean_run_s.get(tool, ran_s)
        self._mean_run_s[tool] = mean + MEAN_RUN_WEIGHT * (ran_s - mean)
        if (runs := self._runs_s.get(tool)) is None:
            runs = self._runs_s[tool] = deque(maxlen=RUNS_KEPT)
        runs.append(ran_s)

    def asked(self) -> Iterator[tuple[Constellation, Course]]:
        """Yield the stars that wait for approval."""
        for constellation_id, star_id in self._asked:
            constellation = self._constellations.get(constellation_id)
            course = constellation.courses.get(star_id) if constellation else None
            if constellation and course:
                yield constellation, course

    # what follows

    def rulings(self, now: float) -> Iterator[ApprovalGiven]:
        """Approve what rules approve that were made after it was asked for."""
        if not (self._asked and self.fleet.rules):
            return
        for key in list(self._asked):
            constellation = self._constellations.get(key[0])
            course = constellation.courses.get(key[1]) if constellation else None
            approval = course.approval if course else None
            if course and approval and not approval.given_by and not course.star.instruction:
                rule = rules.match(self.fleet.rules, approval.tool, approval.arguments, approval.device, now)
                if rule:
                    yield ApprovalGiven(
                        at=now,
                        constellation=key[0],
                        star=key[1],
                        attempt=approval.attempt,
                        by=rule.by,
                        rule=rule.id,
                    )

    def placements(self, now: float) -> Iterator[ConstellationEvent]:
        """Lease ready stars as long as devices are free; apply each event before asking for the next."""
        if not self._free or not len(self._queue):
            return
        stars = self._queue.round()
        while self._free and (entry := stars.next()):
            place, demand = entry
            found = self._feasible_for(demand)
            course = self._constellations[place.constellation].courses[place.star]
            candidates = ranked(self.loads(found.able), self.mean_run_s(course.star.tool))
            if not candidates or candidates[0].device not in self._free:
                continue
            self._queue.take(demand, place)
            yield self._placed(now, place, course, candidates, found)
            stars.again(demand)

    def bound_for(self, event: StarLeased) -> Raw | None:
        """Return the arguments that were worked out for this lease, their bindings replaced."""
        bound, self._bound = self._bound, None
        return bound[1] if bound and bound[0] == (event.constellation, event.star) else None

    # what is there

    def is_queued(self, key: Key) -> bool:
        return key in self._queue

    def explained(self, constellation: Constellation, course: Course) -> explain.Wait | None:
        """Return why a star that is not running waits, or None if it does not wait."""
        found = None
        if course.state is READY and course.proof is None:
            found = self._feasible_for(demand_of(course, constellation.grant.devices))
        candidates = ranked(self.loads(found.able), self.mean_run_s(course.star.tool)) if found else []
        queued = (constellation.id, course.star.id) in self._queue
        return explain.wait(constellation, course, found, candidates, queued=queued)

    def would_place(self, demand: Demand) -> tuple[list[Candidate], dict[str, str]]:
        """Return the devices that a star with this demand could go to now, the best first, and why not the others."""
        found = self._feasible_for(demand)
        return ranked(self.loads(found.able), MEAN_RUN_GUESS_S), found.refused

    def loads(self, able: Iterable[str]) -> list[tuple[str, int, int]]:
        """Return slots held and slots of each of these devices."""
        devices, held = self.fleet.devices, self.held
        return [(device, len(held.get(device, ())), devices[device].slots) for device in able]

    def mean_run_s(self, tool: str) -> float:
        """Return how long a call of the tool takes, as far as is known."""
        return self._mean_run_s.get(tool, MEAN_RUN_GUESS_S)

    def slow_s(self, tool: str) -> float | None:
        """Return what 95 of 100 calls of the tool do not take, or None where too few were seen."""
        runs = self._runs_s.get(tool, ())
        return sorted(runs)[int(SLOW_OF_RUNS * (len(runs) - 1))] if len(runs) >= RUNS_TELL else None

    def _placed(
        self, now: float, place: Place, course: Course, candidates: list[Candidate], found: Feasible
    ) -> ConstellationEvent:
        key, star = (place.constellation, place.star), course.star
        constellation, device = self._constellations[place.constellation], candidates[0].device
        arguments, rule, wish = star.arguments, "", self._wishes.pop(key, None)
        if course.purpose is Purpose.RUN:
            if star.bindings:
                try:
                    arguments = resolved(arguments, constellation.result_of)
                except BindingError as exc:
                    failure = Failure("binding_unresolved", str(exc)[:2000])
                    return StarFailed(at=now, constellation=key[0], star=key[1], failure=failure)
                self._bound = (key, arguments)
            if star.needs_approval or constellation.grant.approve:
                asked = self._approval(now, constellation, course, device, called_with(star, arguments))
                if isinstance(asked, ApprovalRequested):
                    self._bound = None
                    return asked
                rule = asked
        return StarLeased(
            at=now,
            constellation=key[0],
            star=key[1],
            attempt=len(course.attempts) + 1,
            device=device,
            effect=explain.effect_of(course, self._tools_of(device)),
            purpose=course.purpose,
            waited_s=0.0 if wish else round(now - course.ready_at, 6),
            candidates=tuple(candidates[:EXPLAINED_MAX]),
            refused=dict([*found.refused.items()][:EXPLAINED_MAX]) if found.refused else {},
            rule=rule,
            beside=wish.beside if wish else 0,
            why=wish.why if wish else "",
        )

    def _approval(
        self, now: float, constellation: Constellation, course: Course, device: str, arguments: Raw
    ) -> ApprovalRequested | str:
        """Return the question to a person, or the rule that has answered it, or nothing where none is needed."""
        star, attempt = course.star, len(course.attempts) + 1
        effects = explain.effects_of(star, self._tools_of(device))
        if not star.needs_approval and effects.isdisjoint(constellation.grant.approve):
            return ""
        if course.approval and course.approval.holds_for(attempt, device, star.tool, arguments, now):
            return ""
        # What a model will do with an instruction is not known yet, so no rule can have approved it.
        if not star.instruction and (rule := rules.match(self.fleet.rules, star.tool, arguments, device, now)):
            return rule.id
        return ApprovalRequested(
            at=now,
            constellation=constellation.id,
            star=star.id,
            attempt=attempt,
            device=device,
            tool=star.tool,
            arguments=arguments,
            effect=explain.effect_of(course, self._tools_of(device)),
            expires_at=now + constellation.grant.approval_within_s,
        )

    def _feasible_for(self, demand: Demand) -> Feasible:
        if demand not in self._feasible:
            if len(self._feasible) >= FEASIBLE_MAX:
                self._feasible.clear()
            self._feasible[demand] = feasible(demand, self.fleet.devices)
        return self._feasible[demand]

    def _tools_of(self, device: str) -> dict[str, ToolSpec]:
        if device not in self._tools:
            self._tools[device] = self.fleet.tools(device)
        return self._tools[device]

    def _is_placeable(self, place: Place) -> bool:
        constellation = self._constellations.get(place.constellation)
        course = constellation.courses.get(place.star) if constellation else None
        if constellation is None or course is None:
            return False
        if course.state in HELD_BY_DEVICE and not constellation.paused:
            return place[-2:] in self._wishes
        return course.placeable(bool(constellation.paused))
