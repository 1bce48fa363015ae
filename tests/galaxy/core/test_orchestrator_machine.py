"""Any history of people and devices: what must stay true of it is in `invariants`."""

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from galaxy.core.attempt import AttemptId
from galaxy.core.edit import UpdateStar
from galaxy.core.events import NodeStarted
from galaxy.core.fleet import Presence
from protocol.vocabulary import Outcome

from . import helpers, histories
from .helpers import reloaded, stream
from .invariants import Watched


class Galaxy(Watched):
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

    # What holds at the end.

    def teardown(self):
        self.drain()
        self.the_log_is_the_galaxy()
        twin = self.twin()
        self.every_constellation_can_end()
        twin.every_constellation_can_end()
        for name in histories.CONSTELLATIONS:
            assert self.log.states(name) == twin.log.states(name), "a restored core has another future"
        self.the_log_is_the_galaxy()
        self.nothing_is_left_behind()

    def every_constellation_can_end(self):
        """I7: with a person who answers, and a device that can do anything, everything ends."""
        self.all_come_back()
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

    def twin(self) -> "Galaxy":
        """Return a machine around a core that snapshots of this one's gave back."""
        twin = type(self)()
        twin.log, twin.dispatched, twin.minted = reloaded(self.log), dict(self.dispatched), self.minted
        twin.excused, twin.answered, twin.rewritten = set(self.excused), set(self.answered), set(self.rewritten)
        return twin

    def all_come_back(self) -> None:
        """All devices are there and can do anything, and one more beside them."""
        for name in ("saviour", *histories.DEVICES):
            device = self.core.fleet.devices.get(name)
            if device is None or device.presence is Presence.REVOKED:
                self.join(name)
            boot = f"last-{self.log.now}"
            self.happen(helpers.connect(name, self.log.now, boot=boot, profile=histories.SAVIOUR))


TestGalaxy = Galaxy.TestCase
TestGalaxy.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
