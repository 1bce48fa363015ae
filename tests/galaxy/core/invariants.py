"""What must stay true of a core (the invariants I1 to I8), whatever happens in whatever order."""

from collections import Counter
from typing import Any

import msgspec
import networkx as nx
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition

from galaxy.core.attempt import Purpose
from galaxy.core.constellation import MET_BY, Constellation
from galaxy.core.course import Course
from galaxy.core.errors import Refused
from galaxy.core.events import AnyEvent, ConstellationEnded, EffectJudged, Event, StarLeased
from galaxy.core.fleet import Presence
from galaxy.core.orders import Dispatch, Order
from galaxy.core.retry import REPEATABLE
from galaxy.core.star import When
from galaxy.core.states import HELD_BY_DEVICE, NOT_STARTED, READY, TERMINAL, WAITING

from . import helpers
from .helpers import Log, encoded, replayed, stream

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


class Watched(RuleBasedStateMachine):
    """A core that is told things, and looked at after each. What it is told is for the classes below it to say."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.dispatched: dict[str, str] = {}  # attempt -> device
        self.ended: dict[tuple[str, str], str] = {}  # star -> its terminal state
        self.minted = 0
        self.excused: set[tuple[str, str]] = set()  # stars whose effect was found not to have happened
        self.answered: set[tuple[str, str]] = set()  # stars that a person has decided about
        self.rewritten: set[tuple[str, str]] = set()  # stars whose policy may have changed in the middle
        self.lazy = False  # what is due was not asked for yet

    @property
    def core(self) -> Any:
        return self.log.core

    # How things happen.

    def happen(self, event: Event, *, lazily: bool = False) -> bool:
        """Tell the core; a refusal must change nothing. Lazily: as in a batch, before what is due is asked for."""
        before = self.fingerprint()
        try:
            self.core.check(event)
        except Refused:
            assert self.fingerprint() == before, "a refused event changed the state"
            return False
        assert self.fingerprint() == before, "to check an event changed the state"
        self.carry_out(self.log._applied(event), event)
        self.lazy = True
        if not lazily:
            self.drain()
        return True

    def drain(self) -> None:
        at = self.log.now
        for n, event in enumerate(self.core.due(at)):
            assert n < helpers.DUE_MAX, "due does not come to an end"
            self.core.check(event)
            self.carry_out(self.log._applied(event), event)
        deadline = self.core.next_deadline()
        assert deadline is None or deadline > at, "what is due was not said"
        self.lazy = False

    def carry_out(self, orders: list[Order], event: Event) -> None:
        for order in orders:
            if isinstance(order, Dispatch):
                name = str(order.attempt)
                assert name not in self.dispatched, f"I1: {name} was dispatched twice"
                self.dispatched[name] = order.device
        if isinstance(event, StarLeased):
            held, device = self.core.placer.held[event.device], self.core.fleet.devices[event.device]
            assert device.presence is Presence.CONNECTED
            assert not device.draining
            assert len(held) <= device.slots, "I4: a device holds more than its slots"
            self.is_allowed(event)
        if isinstance(event, EffectJudged):
            self.excused.add((event.constellation, event.star))
        if isinstance(event, ConstellationEnded):
            for name in [star for star in self.ended if star[0] == event.constellation]:
                del self.ended[name]  # its id may be used again here; a shell mints new ones

    def is_allowed(self, leased: StarLeased) -> None:
        """Nothing that may happen only once is begun twice, and nothing is tried more often than its policy says."""
        course = self.core.constellations[leased.constellation].courses[leased.star]
        key, runs = (leased.constellation, leased.star), [a for a in course.attempts if a.purpose is Purpose.RUN]
        if leased.purpose is Purpose.RUN and key not in self.answered:
            tries = course.star.retry.attempts + course.granted
            assert course.failures < tries or key in self.rewritten, "it is tried too often"
            if runs[1:] and runs[-2].effect not in REPEATABLE and key not in self.excused:
                before = runs[-2]
                assert before.outcome in ("not_started", "rejected"), "it may have happened, and is begun again"
                assert before.accepted_at is None, "it has begun, and is begun again"
        if leased.purpose is Purpose.RUN:
            self.excused.discard(key)
            self.answered.discard(key)

    def fingerprint(self) -> bytes:
        core = self.core
        timers = [
            list(timers._at.items())
            for timers in (
                core._timers,
                core._questions,
                core._absences,
                core.leases._timers,
                core.leases.rivals._timers,
            )
        ]
        indexes = [core.placer.held, core.placer._free, core.placer._asked, timers, core.placer._queue.demands()]
        courses = [encoded(constellation) for constellation in core.constellations.values()]
        return b"".join([*courses, _encoder.encode(core.fleet), repr(indexes).encode()])

    def held_now(self) -> list[tuple[str, str]]:
        """Return the attempts that are held, with their holders."""
        return sorted((str(name), device) for device, names in self.core.placer.held.items() for name in names)

    # What stays true.

    @invariant()
    def devices_hold_the_open_attempts_and_no_star_has_two_that_may_not_be_repeated(self):
        held = Counter((str(name), device) for device, names in self.core.placer.held.items() for name in names)
        is_open = Counter(
            (f"{c.id}/{star}#{attempt.number}", attempt.device)
            for c in self.core.constellations.values()
            for star, course in c.courses.items()
            for attempt in course.open
        )
        assert held == is_open, "I1"
        for c in self.core.constellations.values():
            loose = {(star, a.number) for star, k in c.courses.items() if k.state in TERMINAL for a in k.open}
            assert loose == set(c.loose)
            for course in c.courses.values():
                attempts = course.open
                assert bool(attempts) or course.state not in HELD_BY_DEVICE, "I1"
                assert not attempts or course.state in HELD_BY_DEVICE or course.state in TERMINAL
                assert len({attempt.device for attempt in attempts}) == len(attempts) <= 2
                assert len(attempts) < 2 or {attempt.effect for attempt in attempts} <= REPEATABLE, "I1"

    @invariant()
    def what_has_ended_never_changes(self):
        for c in self.core.constellations.values():
            for star, course in c.courses.items():
                if (c.id, star) in self.ended:
                    assert course.state == self.ended[c.id, star], "I3"
                elif course.state in TERMINAL:
                    self.ended[c.id, star] = course.state
            assert c.unfinished == sum(course.state not in TERMINAL for course in c.courses.values())

    @invariant()
    def there_is_no_cycle(self):
        for c in self.core.constellations.values():
            graph = nx.DiGraph((source, target) for target, sources in c.into.items() for source in sources)
            assert nx.is_directed_acyclic_graph(graph), "I2"
            assert all(c.levels[source] < c.levels[target] for source, target in graph.edges)
            assert set(graph.edges) == {(s, t) for s, targets in c.out_of.items() for t in targets}
            assert set(graph.nodes) <= c.courses.keys()

    @precondition(lambda self: not self.lazy)
    @invariant()
    def every_state_follows_from_the_lines(self):
        for c in self.core.constellations.values():
            assert not c.questions
            for star, course in c.courses.items():
                if course.state in NOT_STARTED:
                    expected = verdict_of(c, star)
                    assert course.state is expected, (star, course.state, expected)

    @precondition(lambda self: not self.lazy)
    @invariant()
    def nothing_that_could_run_is_left_waiting(self):
        for c in self.core.constellations.values():
            for course in c.courses.values():
                if course.state is READY and not c.paused and not is_waited_for(course):
                    assert course.proof is None
                    key = (c.id, course.star.id)
                    assert key in self.core.placer._queue or course.not_before > self.log.now, (
                        "I5: it waits for nothing"
                    )
                    if course.not_before <= self.log.now:
                        kept = self.core.placer.awaits((c.id, course.star.id))
                        assert kept or not self.free_for(c, course), "I5: a device is free and able"
                        if kept:
                            held = self.core.placer.held.get(kept.device, ())
                            assert len(held) >= self.core.fleet.devices[kept.device].slots, "I5: it is not full"
                            assert self.core.next_deadline() <= kept.until, "I5: nobody will look again"

    def free_for(self, c: Constellation, course: Course) -> list[str]:
        """Return the devices that could be given the star now, worked out from the star itself."""
        able = []
        for device in self.core.fleet.devices.values():
            if device.presence is Presence.CONNECTED and not device.draining and device.profile:
                tools = {tool.name for tool in device.profile.tools}
                if course.purpose is Purpose.VERIFY:
                    fits = course.star.verify.tool in tools and device.id == course.last_run.device
                else:
                    needs = course.star.needs
                    fits = {course.star.tool, *needs.tools} <= tools
                    fits = fits and needs.labels.items() <= device.profile.labels.items()
                    fits = fits and (course.approval.device if course.approval else needs.device) in ("", device.id)
                if fits and (not c.grant.devices or device.id in c.grant.devices):
                    able.append(device.id)
        failed = {a.device for a in course.attempts if a.failure and a.purpose is Purpose.RUN}
        preferred = [d for d in able if d not in failed] if course.purpose is Purpose.RUN else able
        return [
            d for d in preferred or able if len(self.core.placer.held.get(d, ())) < self.core.fleet.devices[d].slots
        ]

    @invariant()
    def every_wait_can_be_explained(self):
        for c in self.core.constellations.values():
            for course in c.courses.values():
                wait = self.core.explained(c, course)
                assert (wait is not None) == (course.state in NOT_STARTED or bool(course.stopping))

    # What holds at the end.

    def the_log_is_the_galaxy(self):
        """I6, through the bytes that would be kept."""
        events = [_decoder.decode(_encoder.encode(event)) for event in self.log.events]
        for name, constellation in self.core.constellations.items():
            assert encoded(replayed(stream(events, name))) == encoded(constellation), "I6"
        fleet = type(self.core.fleet)()
        for event in events:
            if not hasattr(event, "constellation"):
                fleet.apply(event)
        assert _encoder.encode(fleet) == _encoder.encode(self.core.fleet), "I6"

    def nothing_is_left_behind(self):
        core = self.core
        assert not any(core.placer.held.values()), "a lease leaked its slot"
        indexes = (core._timers._at, core._questions._at, core.placer._queue, core.placer._asked, core.placer._wishes)
        assert [len(index) for index in (*indexes, core._ending)] == [0] * 6
        assert core.leases.next() is None
        assert set(core._absences._at) == {d for d in core.fleet.devices if core.fleet.lost_at(d) is not None}
        assert list(core._pins) == []


def verdict_of(c: Constellation, star: str) -> Any:
    """Return the state that the lines alone give to a star that has not started."""
    undecided = False
    for source, line in c.into.get(star, {}).items():
        state = c.courses[source].state
        if state not in TERMINAL:
            undecided = True
        elif state not in MET_BY[line.when] or (line.when is When.CONDITION and not c.verdicts[source, star].met):
            return "skipped"
    return WAITING if undecided else READY


def is_waited_for(course: Course) -> bool:
    """Return whether a person or the planner is asked about the star, or about what it is behind."""
    return course.failure_held or course.holds > 0 or course.needs_approval
