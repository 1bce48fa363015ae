"""Any history at all: what must stay true (the invariants I1 to I7), whatever happens in whatever order."""

from collections import Counter
from typing import Any

import msgspec
import networkx as nx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from galaxy.core.attempt import AttemptId, Purpose
from galaxy.core.constellation import MET_BY, Constellation
from galaxy.core.course import Course
from galaxy.core.edit import UpdateStar
from galaxy.core.errors import Refused
from galaxy.core.events import AnyEvent, ConstellationEnded, EffectJudged, Event, NodeStarted, StarLeased
from galaxy.core.fleet import Presence
from galaxy.core.orders import Dispatch, Order
from galaxy.core.retry import REPEATABLE
from galaxy.core.star import When
from galaxy.core.states import HELD_BY_DEVICE, NOT_STARTED, READY, TERMINAL, WAITING
from protocol.vocabulary import Outcome

from . import helpers, histories
from .helpers import Log, encoded, reloaded, replayed, stream

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


class Galaxy(RuleBasedStateMachine):
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
            held, device = self.core.held[event.device], self.core.fleet.devices[event.device]
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
        indexes = [core.held, core._free, list(core._timers._at.items()), core._queue.demands()]
        courses = [encoded(constellation) for constellation in core.constellations.values()]
        return b"".join([*courses, _encoder.encode(core.fleet), repr(indexes).encode()])

    def held_now(self) -> list[tuple[str, str]]:
        """Return the attempts that are held, with their holders."""
        return sorted(
            (f"{c}/{star}#{self.core.constellations[c].courses[star].attempts[-1].number}", device)
            for device, keys in self.core.held.items()
            for c, star in keys
        )

    def attempt_to_speak_of(self, data: st.DataObject) -> tuple[str, str]:
        """Return an attempt and a device: usually one that is held, by its holder; else any attempt ever, by any."""
        if (held := self.held_now()) and not data.draw(histories.seldom(5)):
            return data.draw(st.sampled_from(held))
        return data.draw(st.sampled_from(sorted(self.dispatched))), data.draw(histories.devices)

    # What happens.

    @initialize(dag=histories.dags(), profile=histories.profiles(), other=histories.profiles())
    def begin(self, dag, profile, other):
        self.submit("c1", dag)
        for device, offer in (("d1", profile), ("d2", other)):
            self.join(device)
            self.happen(helpers.connect(device, profile=offer))

    @rule(name=histories.constellations, dag=histories.dags())
    def submit(self, name, dag):
        stars, lines = dag
        if name in self.core.constellations or not stream(self.log.events, name):  # ids are not used twice
            self.happen(helpers.submit(*stars, *lines, c=name, at=self.log.now))

    @precondition(lambda self: self.core.constellations)
    @rule(data=st.data(), lag=st.sampled_from([0, 0, 0, 0, 1]), lazily=st.booleans())
    def edit(self, data, lag, lazily):
        constellation = self.core.constellations[data.draw(st.sampled_from(sorted(self.core.constellations)))]
        operations = data.draw(histories.edits(constellation))
        base = constellation.revision - lag
        held_back = {(constellation.id, s) for s, course in constellation.courses.items() if course.failure_held}
        self.rewritten |= {(constellation.id, op.star.id) for op in operations if isinstance(op, UpdateStar)}
        self.answered |= held_back  # by a person, who may have it begun again
        self.happen(helpers.edit(*operations, c=constellation.id, base=base, at=self.log.now), lazily=lazily)

    def join(self, device):
        self.minted += 1
        mint, join = helpers.joined(device, self.log.now)
        self.happen(msgspec.structs.replace(mint, digest=f"t{self.minted}"))
        self.happen(msgspec.structs.replace(join, token_digest=f"t{self.minted}"))

    @rule(device=histories.devices, profile=histories.profiles(), resumed=st.booleans(), data=st.data())
    def connect(self, device, profile, resumed, data):
        """A device comes back and still holds any of what it was ever given; or joins, and connects for once."""
        if device not in self.core.fleet.devices or self.core.fleet.devices[device].presence is Presence.REVOKED:
            self.join(device)
        given = sorted(attempt for attempt, holder in self.dispatched.items() if holder == device)
        held = data.draw(st.lists(st.sampled_from(given), unique=True, max_size=4)) if given else []
        half = data.draw(st.integers(0, len(held)))
        event = helpers.connect(
            device,
            self.log.now,
            resumed=resumed,
            held=tuple(held[:half]),
            finished=tuple(held[half:]),
            boot=data.draw(st.sampled_from(["boot-1", "boot-2"])),
            profile=profile,
        )
        self.happen(event, lazily=data.draw(st.booleans()))

    @rule(device=histories.devices, kind=st.sampled_from(["disconnect"] * 4 + ["drain", "revoke"]))
    def leave(self, device, kind):
        self.happen(getattr(helpers, kind)(device, self.log.now))

    @precondition(lambda self: self.dispatched)
    @rule(
        data=st.data(),
        outcome=histories.outcomes,
        result=histories.results,
        failure=histories.failures,
        lazily=st.booleans(),
    )
    def report(self, data, outcome, result, failure, lazily):
        attempt, device = self.attempt_to_speak_of(data)
        failure = None if outcome is Outcome.SUCCEEDED else failure
        ran_s = data.draw(st.sampled_from([-5.0, 0.0, 5.0, 50.0]))
        said = {"by": device, "result": result, "failure": failure, "ran_s": ran_s}
        self.happen(helpers.report(attempt, outcome, self.log.now, **said), lazily=lazily)

    @rule(number=st.integers(1, 3), n=st.integers(0, 1), data=st.data())
    def finish(self, number, n, data):
        """Some of what is held succeeds, as it should: so histories get on."""
        for _ in range(number):
            if held := self.held_now():
                attempt, device = data.draw(st.sampled_from(held))
                result = {"n": n, "rows": [1]}
                self.happen(helpers.done(attempt, self.log.now, by=device, result=result))

    @precondition(lambda self: self.held_now())
    @rule(data=st.data(), how=st.sampled_from([Outcome.UNKNOWN, Outcome.FAILED]))
    def break_off(self, data, how):
        """Something that is held begins, and comes to no good end, though it may be tried again."""
        attempt, device = data.draw(st.sampled_from(self.held_now()))
        self.happen(helpers.accept(attempt, self.log.now, by=device))
        self.happen(helpers.report(attempt, how, self.log.now, by=device, failure=helpers.AGAIN))

    @precondition(lambda self: self.dispatched)
    @rule(data=st.data(), kind=st.sampled_from(["accept", "accept", "accept", "reject"]))
    def answer(self, data, kind):
        attempt, device = self.attempt_to_speak_of(data)
        self.happen(getattr(helpers, kind)(attempt, self.log.now, by=device))

    @precondition(lambda self: self.core.constellations)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["pause", "pause", "resume", "resume", "resume", "resume", "cancel"]),
        lazily=st.booleans(),
    )
    def control(self, data, kind, lazily):
        name = data.draw(st.sampled_from(sorted(self.core.constellations)))
        self.happen(getattr(helpers, kind)(self.log.now, name), lazily=lazily)

    @rule(seconds=st.sampled_from([0.0, 1.0, 6.0, 6.0, 30.0, 100.0]))
    def wait(self, seconds):
        self.log.now += seconds
        self.drain()

    @precondition(lambda self: not self.lazy)
    @rule(now=histories.seldom(5))
    def restart(self, now):
        """The node dies and comes back with what snapshots and logs gave back."""
        if now:
            self.log = reloaded(self.log)
            self.happen(NodeStarted(at=self.log.now))

    # What stays true.

    @invariant()
    def each_star_has_at_most_one_holder(self):
        held = Counter(key for keys in self.core.held.values() for key in keys)
        by_course = {
            (c.id, star): course.attempt.device
            for c in self.core.constellations.values()
            for star, course in c.courses.items()
            if course.state in HELD_BY_DEVICE
        }
        assert set(held) == set(by_course), "I1"
        assert all(self.core.held[device].keys() >= {key} for key, device in by_course.items())
        assert set(held.values()) <= {1}

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
                if course.state is READY and not c.paused and not course.failure_held:
                    assert course.proof is None
                    key = (c.id, course.star.id)
                    assert key in self.core._queue or course.not_before > self.log.now, "I5: it waits for nothing"
                    if course.not_before <= self.log.now:
                        assert not self.free_for(course), "I5: a device is free and able"

    def free_for(self, course: Course) -> list[str]:
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
                    fits = fits and needs.device in ("", device.id)
                if fits:
                    able.append(device.id)
        failed = {a.device for a in course.attempts if a.failure and a.purpose is Purpose.RUN}
        preferred = [d for d in able if d not in failed] if course.purpose is Purpose.RUN else able
        return [d for d in preferred or able if len(self.core.held.get(d, ())) < self.core.fleet.devices[d].slots]

    @invariant()
    def every_wait_can_be_explained(self):
        for c in self.core.constellations.values():
            for course in c.courses.values():
                wait = self.core.explained(c, course)
                assert (wait is not None) == (course.state in NOT_STARTED or bool(course.stopping))

    # What holds at the end.

    def teardown(self):
        self.drain()
        self.the_log_is_the_galaxy()
        twin = Galaxy()
        twin.log, twin.dispatched, twin.minted = reloaded(self.log), dict(self.dispatched), self.minted
        twin.excused, twin.answered, twin.rewritten = set(self.excused), set(self.answered), set(self.rewritten)
        self.every_constellation_can_end()
        twin.every_constellation_can_end()
        for name in histories.CONSTELLATIONS:
            assert self.log.states(name) == twin.log.states(name), "a restored core has another future"
        self.the_log_is_the_galaxy()
        self.nothing_is_left_behind()

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

    def every_constellation_can_end(self):
        """I7: with a person who answers, and a device that can do anything, everything ends."""
        for name in ("saviour", *histories.DEVICES):
            device = self.core.fleet.devices.get(name)
            if device is None or device.presence is Presence.REVOKED:
                self.join(name)
            boot = f"last-{self.log.now}"
            self.happen(helpers.connect(name, self.log.now, boot=boot, profile=histories.SAVIOUR))
        for _ in range(100):
            if not self.core.constellations:
                return
            for name, constellation in list(self.core.constellations.items()):
                if constellation.paused and not constellation.cancelled:
                    self.happen(helpers.resume(self.log.now, name))
            for attempt, device in self.held_now():
                result = {"n": ord(AttemptId.parse(attempt).star[0]) % 2, "rows": [1]}
                self.happen(helpers.done(attempt, self.log.now, by=device, result=result))
            self.log.now += 7.0
            self.drain()
        raise AssertionError("I7: a constellation never ends")

    def nothing_is_left_behind(self):
        core = self.core
        assert not any(core.held.values()), "a lease leaked its slot"
        assert [len(index) for index in (core._timers._at, core._queue, core._lapsed, core._ending)] == [0] * 4
        assert core.next_deadline() is None


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


TestGalaxy = Galaxy.TestCase
TestGalaxy.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
