"""Planners as adversaries: late, cyclic, greedy, silent, contradictory; among people, failures and restarts."""

import os
from collections import Counter, defaultdict
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from galaxy.core import explain, rules
from galaxy.core.attempt import AttemptId, Purpose
from galaxy.core.checks import recorded_refusal
from galaxy.core.constellation import Constellation
from galaxy.core.edit import UpdateStar
from galaxy.core.errors import Refused
from galaxy.core.events import (
    AnswerRefused,
    ApprovalGiven,
    ApprovalRequested,
    ConstellationEnded,
    ConstellationEvent,
    ConstellationSubmitted,
    Event,
    NodeStarted,
    RuleEnded,
    StarLeased,
    UsageReserved,
    UsageSettled,
)
from galaxy.core.goal import ConsultEnd, Usage
from galaxy.core.grant import tools_of
from galaxy.core.orders import AskPlanner, Dispatch, Order, StopAsking
from galaxy.core.states import NOT_STARTED, READY

from . import helpers, histories, promises
from .helpers import stream
from .test_orchestrator_machine import Galaxy

ROUNDS_TO_THE_END = 400
ENDED_BEFORE_S = 30_000.0


class PlannedGalaxy(Galaxy):
    came_up: ClassVar[Counter[str]] = Counter()  # in all histories of the search

    def __init__(self) -> None:
        super().__init__()
        self.asking: set[tuple[str, int]] = set()
        self.asked: Counter[tuple[str, int]] = Counter()
        self.restarts = 0
        self.added: Counter[str] = Counter()  # stars that planners have added
        self.patches: dict[str, tuple] = {}  # the last that each constellation's planner has said
        self.before: defaultdict[str, promises.Picture] = defaultdict(promises.Picture)

    # How things happen.

    def carry_out(self, orders: list[Order], event: Event) -> None:
        for order in orders:
            match order:
                case AskPlanner(constellation=name, consult=number):
                    again = self.asked[name, number] > 0
                    self.came_up[
                        "asked anew after a restart"
                        if again and isinstance(event, NodeStarted)
                        else "asked once more"
                        if again
                        else "asked"
                    ] += 1
                    self.asking.add((name, number))
                    self.asked[name, number] += 1
                case StopAsking(constellation=name, consult=number):
                    assert (name, number) in self.asking, "nobody was asked"
                    self.asking.remove((name, number))
        super().carry_out([order for order in orders if not isinstance(order, AskPlanner | StopAsking)], event)
        if isinstance(event, ConstellationEnded):
            del self.before[event.constellation]
        elif isinstance(event, ConstellationEvent):
            c, before = self.core.constellations[event.constellation], self.before[event.constellation]
            promises.are_kept(before, c, event)
            self.came_up.update(promises.what_came_up(before, c, event))
            self.before[event.constellation] = before.after(c)
        if isinstance(event, StarLeased):
            self.is_approved(event, next(order for order in orders if isinstance(order, Dispatch)))

    def is_approved(self, leased: StarLeased, order: Dispatch) -> None:
        """A call that needs a person's yes has had one: to this very call, or by a rule that is still good."""
        core, name = self.core, (leased.constellation, leased.star)
        c = core.constellations[leased.constellation]
        star, grant = c.courses[leased.star].star, c.grant
        assert not grant.devices or leased.device in grant.devices, "I8: it was not granted"
        effects = explain.effects_of(star, core.fleet.tools(leased.device))
        if leased.purpose is not Purpose.RUN or not (star.needs_approval or effects & set(grant.approve)):
            return
        if leased.rule:
            rule = core.fleet.rules[leased.rule]
            assert not star.instruction, "a rule let a model do anything"
            assert rules.match({"": rule}, order.tool, order.arguments, leased.device, leased.at) is rule
            return
        mine = [e for e in stream(self.log.events, leased.constellation) if getattr(e, "star", "") == name[1]]
        question = [e for e in mine if isinstance(e, ApprovalRequested)][-1]
        assert question.attempt == leased.attempt
        assert (question.device, question.tool) == (leased.device, order.tool)
        assert bytes(question.arguments) == bytes(order.arguments), "other arguments were approved"
        assert question.expires_at > leased.at, "the answer had lapsed"
        yes = [e for e in mine[mine.index(question) :] if isinstance(e, ApprovalGiven)]
        assert yes, "nobody said yes"
        assert not (yes[-1].rule and star.instruction), "a rule let a model do anything"

    def say(self, event: ConstellationEvent, *, lazily: bool = False) -> bool:
        """Tell the core an answer as the shell does: what is refused is recorded, so that it is asked again."""
        try:
            self.core.check(event)
        except Refused as refusal:
            assert not self.happen(event)
            self.came_up[promises.kind_of(refusal)] += 1
            by, at, name = "planner:x", self.log.now, event.constellation
            told = AnswerRefused(at=at, constellation=name, consult=event.consult, reason=str(refusal), by=by)
            self.happen(recorded_refusal(self.core, event, refusal) or told, lazily=lazily)
            return False
        return self.happen(event, lazily=lazily)

    def question(self, data: st.DataObject) -> tuple[Constellation, int]:
        """Return a question to answer: usually an open one, sometimes one that is over or was never asked."""
        constellations = self.core.constellations
        open_ones = sorted(name for name, c in constellations.items() if c.dialogue.consult)
        c = constellations[data.draw(st.sampled_from(open_ones or sorted(constellations)))]
        return c, (c.dialogue.consults + data.draw(st.sampled_from([0] * 9 + [-1, 1]))) or 99  # 0 is no question at all

    def is_asked(self) -> bool:
        return any(c.dialogue.consult for c in self.core.constellations.values())

    # What happens.

    @initialize(data=st.data(), other=histories.profiles())
    def begin(self, data, other):
        self.submit("c1", data)
        for device, offer in (("d1", histories.ABLE), ("d2", other)):
            self.join(device)
            self.happen(helpers.connect(device, profile=offer))

    @rule(name=histories.constellations, data=st.data())
    def submit(self, name, data):
        if name in self.core.constellations or stream(self.log.events, name):
            return
        goal, planning, grant = (data.draw(s) for s in (histories.goals, histories.plannings, histories.grants))
        stars, lines = data.draw(histories.dags())
        all_wishes = zip(stars, data.draw(histories.many_wishes), strict=False)
        stars = tuple(helpers.msgspec.structs.replace(star, **wishes) for star, wishes in all_wishes)
        if goal and data.draw(histories.seldom(2)):
            stars, lines = (), ()
        more = {"goal": goal, "planning": planning, "grant": grant}
        self.happen(
            ConstellationSubmitted(at=self.log.now, constellation=name, name="test", stars=stars, lines=lines, **more)
        )

    @precondition(lambda self: self.held_now() or any(c.dialogue.facts for c in self.core.constellations.values()))
    @rule(data=st.data(), fails=st.booleans(), patches=st.integers(0, 3))
    def converse(self, data, fails, patches):
        """Something fails for good, time passes until that is a question, and the planner tries to answer."""
        if self.held_now() and fails:
            attempt, device = data.draw(st.sampled_from(self.held_now()))
            self.happen(helpers.fail(attempt, self.log.now, by=device))
        self.log.now += 0.25
        self.drain()
        for _ in range(patches):
            if self.is_asked():
                self.patch(data, lag=0, lazily=False, again=data.draw(histories.seldom(2)))

    @precondition(is_asked)
    @rule(data=st.data(), first=st.booleans(), lazily=st.booleans())
    def overtake(self, data, first, lazily):
        """A person edits while the planner thinks, and the planner has not seen it."""
        c, number = self.question(data)
        base, operations = c.revision, data.draw(histories.patches(c))
        theirs = data.draw(histories.edits(c))
        self.answered |= {(c.id, s) for s, course in c.courses.items() if course.failure_held}
        self.rewritten |= {(c.id, op.star.id) for op in theirs if isinstance(op, UpdateStar)}
        self.happen(helpers.edit(*theirs, c=c.id, base=c.revision, at=self.log.now), lazily=first)
        if c.id in self.core.constellations:
            self.tell(c, operations, number, base, lazily=lazily)

    @precondition(lambda self: self.core.constellations)
    @rule(data=st.data(), lag=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, -1]), lazily=st.booleans())
    def answer_anything(self, data, lag, lazily):
        if self.is_asked() or data.draw(histories.seldom(9)):
            self.patch(data, lag, lazily=lazily, again=data.draw(histories.seldom(3)))

    def patch(self, data: st.DataObject, lag: int, *, lazily: bool, again: bool) -> None:
        """A planner edits: what is there, what it has said before, or what it may not."""
        c, number = self.question(data)
        operations = data.draw(histories.patches(c))
        operations = self.patches.get(c.id, operations) if again else operations
        self.tell(c, operations, number, c.revision - lag, lazily=lazily)

    def tell(self, c: Constellation, operations: tuple, number: int, base: int, *, lazily: bool) -> None:
        self.patches[c.id] = operations
        self.rewritten |= {(c.id, op.star.id) for op in operations if isinstance(op, UpdateStar)}
        held = {(c.id, s) for s, course in c.courses.items() if course.failure_held}
        before, said = set(c.courses), c.dialogue.additions
        event = helpers.answer(*operations, to=number, base=base, at=self.log.now, c=c.id)
        decided, self.answered = self.answered, self.answered | held
        if not self.say(event, lazily=lazily):
            self.answered = decided
        else:
            self.added[c.id] += c.dialogue.additions - said
            assert len(set(c.courses) - before) <= c.dialogue.additions - said, "an addition was not counted"

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 1.0, 6.0, 30.0]))
    def wait(self, seconds):
        super().wait(seconds)

    @precondition(is_asked)
    @rule(data=st.data(), kind=st.sampled_from(["done", "done", "honest", "give up", "fail", "no answer", "refuse"]))
    def conclude(self, data, kind):
        c, to = self.question(data)
        about = {"to": to, "at": self.log.now, "c": c.id}
        match kind:
            case "done" | "honest":
                failed = tuple(s for s, course in c.courses.items() if course.failure) if kind == "honest" else ()
                source = data.draw(histories.any_names)
                value = data.draw(st.sampled_from(["ok", {"n": {"$from": source, "pointer": "/n"}}]))
                self.say(helpers.reach(value, **about, despite=failed))
            case "give up":
                self.say(helpers.give_up(**about))
            case "refuse":
                self.happen(helpers.refuse(**about))
            case _:
                end = ConsultEnd.FAILED if kind == "fail" else ConsultEnd.NO_ANSWER
                self.happen(helpers.close(end, **about))

    @precondition(lambda self: self.core.constellations)
    @rule(data=st.data(), tokens=st.sampled_from([10, 60, 200]), settle=st.booleans())
    def spend(self, data, tokens, settle):
        name = data.draw(st.sampled_from(sorted(self.core.constellations)))
        open_calls = self.core.constellations[name].dialogue.spent.reserved
        if settle:
            call = data.draw(st.sampled_from([*open_calls, "nova"]))
            usage = Usage(tokens_in=open_calls[call][0] // 2 if call in open_calls else 5)
            self.happen(UsageSettled(at=self.log.now, constellation=name, call=call, usage=usage))
        else:
            call = f"call-{data.draw(st.integers(1, 3))}"
            reserved = UsageReserved(at=self.log.now, constellation=name, call=call, tokens=tokens)
            self.came_up["too dear"] += not self.happen(reserved) and call not in open_calls

    def asked_about(self) -> list[str]:
        return [
            str(AttemptId(c.id, star, course.approval.attempt))
            for c in self.core.constellations.values()
            for star, course in c.courses.items()
            if course.approval
        ]

    @precondition(lambda self: self.asked_about())
    @rule(data=st.data(), yes=st.sampled_from([True, True, True, False]), lag=histories.seldom(6), lazily=st.booleans())
    def judge(self, data, yes, lag, lazily):
        """A person says yes or no to a call, or to one that is over."""
        c, star, number = AttemptId.parse(data.draw(st.sampled_from(self.asked_about())))
        attempt = str(AttemptId(c, star, number - lag))
        self.happen((helpers.approve if yes else helpers.deny)(attempt, self.log.now), lazily=lazily)

    @rule(
        name=st.sampled_from(["r1", "r2"]),
        tool=st.sampled_from(sorted([*histories.TOOLS, "instruct"])),
        pattern=st.sampled_from([{}, {}, {"x": 1}, {"x": "*"}]),
        device=st.sampled_from(["", "", "d1"]),
    )
    def make_rule(self, name, tool, pattern, device):
        if name in self.core.fleet.rules:
            self.happen(RuleEnded(at=self.log.now, rule=name))
        else:
            more = {"rule": name, "tool": tool, "device": device, "expires_at": self.log.now + 40.0}
            self.happen(helpers.allow(pattern, self.log.now, **more))

    @precondition(lambda self: not self.lazy)
    @rule(now=histories.seldom(5))
    def restart(self, now):
        open_ones = {(c.id, c.dialogue.consult.number) for c in self.core.constellations.values() if c.dialogue.consult}
        before = self.asked.copy()
        self.restarts += now
        super().restart(now)
        for question in open_ones & self.asking:
            assert self.asked[question] == before[question] + now, "a question is not asked anew after a restart"

    # What stays true.

    @invariant()
    def who_is_asked_is_who_is_waited_for(self):
        constellations = self.core.constellations.values()
        assert self.asking == {(c.id, c.dialogue.consult.number) for c in constellations if c.dialogue.consult}

    @invariant()
    def questions_answers_and_additions_are_bounded(self):
        for c in self.core.constellations.values():
            dialogue, planning = c.dialogue, c.planning
            assert dialogue.consults <= planning.consults_max, "it is asked too often"
            assert self.added[c.id] <= planning.additions_max, "planners may add for ever"
            assert self.added[c.id] == dialogue.additions
            for number in range(1, dialogue.consults + 1):
                assert self.asked[c.id, number] <= planning.rounds_max + self.restarts, "a question is asked for ever"
            tokens, _, calls = dialogue.spent.would_be(0, 0.0)
            budget = c.grant.budget
            assert tokens <= budget.tokens, "more was spent than was granted"
            assert not budget.calls or calls - 1 <= budget.calls, "more calls were made than were granted"

    @invariant()
    def nothing_has_what_it_was_not_granted(self):
        for c in self.core.constellations.values():
            for course in c.courses.values():
                star, grant = course.star, c.grant
                called = {star.tool, *tools_of(star)} - ({"instruct"} if star.instruction else set())
                assert not grant.tools or called <= set(grant.tools), "I8"
                assert not grant.devices or star.needs.device in ("", *grant.devices), "I8"

    @precondition(lambda self: not self.lazy)
    @invariant()
    def whatever_is_kept_back_is_kept_back_by_somebody(self):
        """A hold belongs to a question or to a person's pause, and so does a failure."""
        for c in self.core.constellations.values():
            dialogue = c.dialogue
            asked = dialogue.consult
            held = Counter([*dialogue.held, *(asked.held if asked else ()), *dialogue.unanswered])
            facts = {fact.star for fact in (*dialogue.facts, *(asked.facts if asked else ()))}
            for star, course in c.courses.items():
                if course.state in NOT_STARTED:
                    assert course.holds <= held[star], "it is held, and nobody knows why"
                if course.state is READY and not c.paused:
                    assert not course.failure_held or star in facts, "its failure is held, and nobody is asked"
            assert not (dialogue.unanswered and not c.paused), "a person has gone on, and it is still held"
            if c.paused or c.cancelled or asked:
                continue
            assert not dialogue.facts or dialogue.facts[0].at + c.planning.debounce_s > self.log.now, "nobody asks"

    @precondition(lambda self: not self.lazy)
    @invariant()
    def nobody_is_waited_for_longer_than_was_said(self):
        now = self.log.now
        for c in self.core.constellations.values():
            asked, by = c.dialogue.consult, c.goal.deadline_s if c.goal else 0.0
            assert not asked or now < asked.deadline_at, "a silent planner is waited for"
            assert not asked or len(asked.refusals) < c.planning.rounds_max, "its answers are refused for ever"
            assert not by or c.cancelled or now < c.submitted_at + by, "the goal's deadline is nothing"
            for course in c.courses.values():
                if course.state is READY and course.needs_approval:
                    assert now < course.approval.expires_at, "nobody has said yes in time, and it still waits"

    # What holds at the end.

    def twin(self) -> Galaxy:
        twin = super().twin()
        twin.asking, twin.asked, twin.added = set(self.asking), self.asked.copy(), self.added.copy()
        twin.before, twin.restarts = self.before.copy(), self.restarts
        return twin

    def every_constellation_can_end(self):
        """With nobody who answers, whatever was asked: people go on, devices do their work, time passes."""
        self.all_come_back()
        begun = self.log.now
        for _ in range(ROUNDS_TO_THE_END):
            if not self.core.constellations:
                assert self.log.now - begun < ENDED_BEFORE_S, "it takes for ever"
                return
            self.go_on_once()
        raise AssertionError("I7: a constellation never ends")

    def go_on_once(self) -> None:
        for name, constellation in list(self.core.constellations.items()):
            if constellation.paused and not constellation.cancelled:
                self.happen(helpers.resume(self.log.now, name))
        for attempt, device in self.held_now():
            result = {"n": ord(AttemptId.parse(attempt).star[0]) % 2, "rows": [1]}
            self.happen(helpers.done(attempt, self.log.now, by=device, result=result))
        self.log.now = max(self.log.now + 7.0, (not self.held_now() and self.core.next_deadline()) or 0.0)
        self.drain()


def extent() -> dict[str, Any]:
    """A long search is asked for by EXAMPLES; else the same short one each time."""
    if examples := os.environ.get("EXAMPLES"):
        return {"max_examples": int(examples), "derandomize": False}
    return {"max_examples": 260, "derandomize": True}


def test_planners_of_every_kind_come_up_and_none_breaks_a_promise():
    PlannedGalaxy.came_up.clear()
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        PlannedGalaxy,
        settings=settings(
            stateful_step_count=50, deadline=None, database=None, suppress_health_check=health, **extent()
        ),
    )

    if "EXAMPLES" in os.environ:
        print(*(f"{n:6} {what}" for what, n in PlannedGalaxy.came_up.most_common()), sep="\n")  # noqa: T201
    wanted = promises.SELDOM | promises.OFTEN if "EXAMPLES" in os.environ else promises.OFTEN
    assert wanted - PlannedGalaxy.came_up.keys() == set(), "the search is too narrow"
