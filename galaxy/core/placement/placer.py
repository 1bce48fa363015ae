"""Placement: which ready star is leased to which device next, as events.

The placer owns the queue of ready stars, what each device holds, and what it remembers until the fleet changes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Raw, Struct, structs

from protocol.vocabulary import Failure, ToolSpec

from .. import explain, rules
from ..attempt import AttemptId, Candidate, Purpose
from ..binding import BindingError, resolved
from ..constellation import Constellation
from ..course import Course
from ..events import ApprovalGiven, ApprovalRequested, ConstellationEvent, StarFailed, StarLeased
from ..fleet import Fleet, Presence
from ..orders import called_with, equipped
from ..states import HELD_BY_DEVICE, READY
from .demand import METERED_BYTES_MAX, Demand, Feasible, demand_of, feasible
from .heft import Heft
from .inputs import inputs_of
from .matching import Lexical, Matcher
from .policy import EXPLAINED_MAX, Policy
from .ready import Place, ReadyQueue
from .timeline import Timeline, Under
from .weighing import Held, Weighing

FEASIBLE_MAX = 10_000  # demands that are remembered between two changes of the fleet
ASIDE_MAX = 256  # stars of one round that may wait for a better device than is free
WORTH_S, WORTH_SHARE = 0.1, 0.05  # by so much sooner, and by such a share of the time, is a better device waited for

Key = tuple[str, str]  # constellation, star


class Wish(Struct, frozen=True):
    """A second attempt is wanted beside this one."""

    beside: int
    why: str


class Await(NamedTuple):
    """A star is kept for a device that is full, though another is free: until when, and why."""

    device: str
    until: float
    why: str


class Placer:
    """The ready stars of all constellations, and the slots of all devices."""

    def __init__(self, constellations: dict[str, Constellation], fleet: Fleet, policy: Policy | None = None) -> None:
        self.held: Held = {}
        self.policy = policy or Heft()
        self.matcher: Matcher = Lexical()
        self.weighing = Weighing(fleet, self.held, lambda c, course: self._feasible_for(_demand(c, course)).able)
        self._constellations = constellations
        self._free: dict[str, None] = {}  # devices with a free slot
        self._queue = ReadyQueue(self._is_placeable)
        self._feasible: dict[Demand, Feasible] = {}
        self._tools: dict[str, dict[str, ToolSpec]] = {}
        self._wishes: dict[Key, Wish] = {}  # stars that run and are queued for a second attempt
        self._asked: dict[Key, None] = {}  # stars that wait for approval
        self._bound: tuple[Key, Raw] | None = None  # the arguments of the star that is just being placed
        self._awaits: dict[Key, Await] = {}  # since the last round

    @property
    def fleet(self) -> Fleet:
        return self.weighing.fleet

    @fleet.setter
    def fleet(self, fleet: Fleet) -> None:
        self.weighing.fleet = fleet

    # what changes

    def fleet_changed(self) -> None:
        """Forget what was worked out of the fleet as it was."""
        self._feasible.clear()
        self._tools.clear()
        self.weighing.fleet_changed()

    def all_gone(self) -> None:
        """No device is here any more."""
        self._free.clear()

    def put(self, key: Key, constellation: Constellation, course: Course) -> None:
        """Let a star be placed."""
        self._asked.pop(key, None)
        rank_s = self.weighing.outlook.rank_s(constellation, key[1]) if self.policy.weighs else 0.0
        self._queue.put(_demand(constellation, course), *key, course.star.priority, course.ready_at - rank_s)

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
        demand = _demand(constellation, course)._replace(not_on=elsewhere)
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

    def take(self, device: str, attempt: AttemptId, at: float, moves_s: float) -> None:
        """Note that the device holds the attempt, since that time; its inputs take so long to get there."""
        tool = self._constellations[attempt.constellation].courses[attempt.star].star.tool
        self.held.setdefault(device, {})[attempt] = Under(
            at, moves_s + self.weighing.durations.expected_s(tool, device)
        )
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
        """Lease ready stars as long as devices are free; apply each event before asking for the next.

        A star whose best device is full, although another is free, keeps its place there for this round, so that the
        next star sees that device as it will be.
        """
        self._awaits.clear()
        if not self._free or not len(self._queue):
            return
        stars, timeline = self._queue.round(), self.weighing.timeline(now)
        try:
            while self._free and (entry := stars.next()):
                place, demand = entry
                found = self._feasible_for(demand)
                constellation = self._constellations[place.constellation]
                course = constellation.courses[place.star]
                candidates = self._candidates(found, constellation, course, timeline)
                best = next((c for c in candidates if c.device in self._free), None)
                if best is None:
                    continue
                if best is not candidates[0] and self.policy.waits and _is_worth_the_wait(candidates[0], best):
                    if stars.aside < ASIDE_MAX:
                        self._await(place, candidates[0], best, timeline, now)
                        stars.set_aside(demand, place)
                    continue
                if candidates[0] is not best:
                    candidates.remove(best)
                    candidates.insert(0, best)
                self._queue.take(demand, place)
                timeline.leased(best.device, best.moves_s + best.runs_s)
                self.policy.chose(best.device)
                yield self._placed(now, place, course, candidates, found)
                stars.again(demand)
        finally:
            stars.end()

    def next(self) -> float | None:
        """Return when a star that is kept for a device should be looked at again, should nothing happen before."""
        return min([each.until for each in self._awaits.values()]) if self._awaits else None

    def _await(self, place: Place, best: Candidate, free: Candidate, timeline: Timeline, now: float) -> None:
        timeline.promise(best.device, best.moves_s + best.runs_s)
        why = (
            f"it is kept for {best.device}, which is full and expected to be done with it in {_finish_s(best):.3g} s; "
            f"{free.device} is free and would take {_finish_s(free):.3g} s"
        )
        until = now + max(best.starts_in_s, WORTH_S)
        self._awaits[place.constellation, place.star] = Await(best.device, until, why)

    def _candidates(
        self, found: Feasible, c: Constellation, course: Course, timeline: Timeline | None = None
    ) -> list[Candidate]:
        able, weighing = found.able, self.weighing
        if timeline and self.policy.weighs:
            inputs = inputs_of(c, course) if course.star.bindings else ()
            if weighing.matters(able, course, inputs):
                return self._ranked(weighing.weighed(able, c, course, inputs, timeline))
        return self._ranked(weighing.plain(able, course.star.tool))

    def _ranked(self, candidates: list[Candidate]) -> list[Candidate]:
        if len(candidates) > 1:
            self.policy.rank(candidates)
        return candidates

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
            found = self._feasible_for(_demand(constellation, course))
        candidates = self._candidates(found, constellation, course) if found else []
        key = (constellation.id, course.star.id)
        awaits = self._awaits.get(key)
        queued = key in self._queue
        return explain.wait(
            constellation, course, found, candidates, queued=queued, awaits=awaits.why if awaits else ""
        )

    def awaits(self, key: Key) -> Await | None:
        """Return for which device the star is kept, though another is free."""
        return self._awaits.get(key)

    def would_place(self, demand: Demand) -> tuple[list[Candidate], dict[str, str]]:
        """Return the devices that a star with this demand could go to now, the best first, and why not the others."""
        found = self._feasible_for(demand)
        return self._ranked(self.weighing.plain(found.able, min(demand.tools, default=""))), found.refused

    def weighed(self, c: Constellation, course: Course, now: float) -> tuple[list[Candidate], dict[str, str]]:
        """Return every device that could take the star's next attempt, the best first with all terms; and why not."""
        found, timeline = self._feasible_for(_demand(c, course)), self.weighing.timeline(now)
        return self._ranked(self.weighing.weighed(found.able, c, course, inputs_of(c, course), timeline)), found.refused

    def loads(self, able: Iterable[str]) -> list[Candidate]:
        """Return how full each of these devices is."""
        return self.weighing.plain(able, "")

    def _placed(
        self, now: float, place: Place, course: Course, candidates: list[Candidate], found: Feasible
    ) -> ConstellationEvent:
        constellation, device = self._constellations[place.constellation], candidates[0].device
        if tools := found.tools.get(device, ()):
            course = structs.replace(course, star=equipped(course.star, tools))  # to read from
        key, star = (place.constellation, place.star), course.star
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
            tools=tools,
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
            self._feasible[demand] = feasible(demand, self.fleet.devices, self.matcher)
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


def _demand(c: Constellation, course: Course) -> Demand:
    heavy = bool(course.star.bindings) and sum(each.bytes for each in inputs_of(c, course)) > METERED_BYTES_MAX
    return demand_of(course, c.grant, heavy=heavy)


def _finish_s(candidate: Candidate) -> float:
    return candidate.starts_in_s + candidate.moves_s + candidate.runs_s


def _is_worth_the_wait(best: Candidate, free: Candidate) -> bool:
    """Return whether a full device is so much better than the best free one that a star should be kept for it."""
    gain_s = _finish_s(free) + free.behind_s - _finish_s(best) - best.behind_s
    return best.starts_in_s > 0.0 and gain_s > max(WORTH_S, WORTH_SHARE * _finish_s(free))
