"""The recorded questions of a constellation, put to another planner: what would it have answered, at what cost?

Teacher-forced: after each question the recorded history goes on, whatever was answered. Nothing is recorded, no device
hears of it. The fleet is as its own log tells it; what other constellations held of it then is not worked out.
"""

from collections.abc import AsyncIterator

import msgspec

from protocol.vocabulary import Kind, Profile, ToolSpec

from ..core import attempts, consulting
from ..core.constellation import Constellation
from ..core.course import Course
from ..core.edit import Edit
from ..core.errors import Refused
from ..core.events import (
    AnswerRefused,
    CancelRequested,
    ConstellationEdited,
    ConstellationEnded,
    ConstellationEvent,
    ConsultClosed,
    ConsultOpened,
    Event,
    GoalGivenUp,
    GoalReached,
    UsageSettled,
)
from ..core.fleet import Device, Fleet, Presence
from ..core.goal import Answer, Budget, ConsultEnd, ConsultWhen, Done, Fact, FactKind, GiveUp, Spent, Usage
from ..core.orchestrator import Orchestrator
from ..core.star import EMPTY, OnFailure
from ..core.states import FAILED, SUCCEEDED
from ..views.revisions import Cost, Picture, plain_facts
from .backtest_answers import Question, Said, is_same
from .contract import NoAnswer, Planner, PlannerFailed, View
from .ladder import answered
from .view import view_of

KINDS: dict[type[Answer], str] = {Edit: "edit", Done: "done", GiveUp: "give_up"}
NOTE = "teacher-forced: after each question the recorded history goes on, whatever was answered"


class Tally:
    """The meter of a backtest: the constellation's budget holds anew, and nothing is recorded."""

    def __init__(self, budget: Budget) -> None:
        self.cost = Cost()
        self._of_question = Cost()
        self._budget = budget
        self._spent = Spent()

    def begun(self) -> Cost:
        """Begin another question; return what it costs, which grows."""
        self._of_question = Cost()
        return self._of_question

    async def reserve(self, tokens: int, money: float) -> str:
        would_be = self._spent.would_be(tokens, money)
        budget = (self._budget.tokens, self._budget.money, self._budget.calls)
        if any(most and needed > most for needed, most in zip(would_be, budget, strict=True)):
            raise PlannerFailed("the backtest has used up as much as the constellation itself was granted")
        call = str(self._spent.calls + len(self._spent.reserved) + 1)
        self._spent.reserved[call] = (tokens, money)
        return call

    async def settle(self, call: str, usage: Usage) -> None:
        del self._spent.reserved[call]
        self._spent.tokens += usage.tokens_in + usage.tokens_out
        self._spent.money += usage.money
        self._spent.calls += 1
        self.cost.add(usage)
        self._of_question.add(usage)

    async def thought(self, text: str) -> None:
        """A backtest shows answers only."""


async def backtested(
    planner: tuple[str, Planner],
    when: ConsultWhen | None,
    events: AsyncIterator[ConstellationEvent],
    fleet: AsyncIterator[Event],
) -> Picture:
    """Return how a planner, given with its name, would have answered; and which questions `when` would have asked.

    The events are all of one constellation and all of the fleet.
    """
    test, past = Backtest(*planner, when), _Past(fleet)
    async for event in events:
        was = _ends_of(test.constellation, event)
        test.constellation.id = event.constellation
        test.constellation.apply(event)
        test.note(event, was)
        if isinstance(event, ConsultOpened):
            await test.ask(event, await past.until(event.at))
    return test.shown()


class Backtest:
    """The constellation as it was, replayed event by event, and what has been found of its questions."""

    def __init__(self, name: str, planner: Planner, when: ConsultWhen | None) -> None:
        self.constellation = Constellation("")
        self.questions: dict[int, Question] = {}
        self.additional: list[Fact] = []
        self._name = name
        self._planner = planner
        self._when = when
        self.tally: Tally | None = None
        self._would: dict[Fact, bool] = {}  # ends of stars -> whether the policy asks about them

    @property
    def when(self) -> ConsultWhen:
        return self._when or self.constellation.planning.when

    def note(self, event: ConstellationEvent, was: tuple[bool, bool]) -> None:
        """Take in what was answered, and what the policy makes of the end of a star."""
        self._note_answer(event)
        if fact := self._end_of_star(event, was):
            self._would[fact] = self._is_asked(fact)
            if self._would[fact] and fact not in self.constellation.dialogue.facts:
                self.additional.append(fact)
        if isinstance(event, ConstellationEnded) and self._would_ask_at_the_end():
            self.additional.append(Fact(FactKind.ENDED, event.at))

    async def ask(self, event: ConsultOpened, fleet: Fleet) -> None:
        """Put the question to the planner."""
        c, core = self.constellation, Orchestrator()
        core.restore(fleet if fleet.devices else _fleet_named_by(c), [c], event.at)
        consult = c.dialogue.consult
        assert consult, "it was opened just now"
        proposed = await self._proposed(view_of(core, c, consult), event.facts)
        self.questions[event.consult] = Question(
            number=event.consult,
            facts=event.facts,
            asked_at=event.at,
            revision=c.revision,
            stars=sorted({*consult.held, *(f.star for f in event.facts if f.kind is FactKind.FAILED)}),
            proposed=proposed,
            refusal=_refusal(core, event, c.revision, proposed.answer),
            would_be_asked=any(self._is_still_asked(fact) for fact in event.facts),
        )

    def shown(self) -> Picture:
        questions = list(self.questions.values())
        same = sum(is_same(one.recorded, one.proposed) for one in questions)
        spared = [one for one in questions if not one.would_be_asked]
        return {
            "id": self.constellation.id,
            "planner": self._name,
            "when": self.when,
            "note": NOTE,
            "questions": [one.shown() for one in questions],
            "additional": plain_facts(self.additional),
            "totals": {
                "questions": len(questions),
                "same": same,
                "different": len(questions) - same,
                "accepted": sum(bool(one.accepted) for one in questions),
                "not_asked": len(spared),
                "additional": len(self.additional),
                "held_s": round(sum(one.held_s for one in questions), 3),
                "held_s_not_asked": round(sum(one.held_s for one in spared), 3),
                "cost": self.tally.cost if self.tally else Cost(),
            },
        }

    def _note_answer(self, event: ConstellationEvent) -> None:
        match event:
            case UsageSettled() if event.consult in self.questions:
                self.questions[event.consult].recorded.cost.add(event.usage)
            case AnswerRefused() if event.consult in self.questions:
                self.questions[event.consult].refusals.append(event.reason)
            case ConstellationEdited() if event.consult in self.questions:
                self._close(event.consult, event, event.edit, event.by)
            case GoalReached():
                done = Done(event.answer, event.despite, event.reason)
                self._close(event.consult, event, done, event.by)
            case GoalGivenUp():
                self._close(event.consult, event, GiveUp(event.reason), event.by)
            case ConsultClosed():
                self._close(event.consult, event, None, event.by, event.end, event.reason)
            case CancelRequested():
                for number, question in self.questions.items():
                    if question.closed_at is None:
                        self._close(number, event, None, event.by, "cancelled", event.reason)

    def _close(
        self, number: int, event: Event, answer: Answer | None, by: str, kind: str = "", reason: str = ""
    ) -> None:
        question = self.questions[number]
        question.closed_at = event.at
        said = question.recorded
        said.answer, said.by = answer, by
        said.kind, said.reason = (KINDS[type(answer)], answer.reason) if answer else (kind, reason)

    # The planner that is tried.

    async def _proposed(self, view: View, facts: tuple[Fact, ...]) -> Said:
        """Return what would have been answered, in the order in which a node asks."""
        tally = self.tally = self.tally or Tally(view.grant.budget)
        said = Said(by=f"planner:{self._name}", cost=tally.begun())
        planning = msgspec.structs.replace(self.constellation.planning, planner=self._name)
        try:
            found = await answered(planning, {self._name: self._planner}, view, facts, tally)
        except NoAnswer as exc:
            said.kind, said.reason = ConsultEnd.NO_ANSWER, str(exc)
        except PlannerFailed as exc:
            said.kind, said.reason = ConsultEnd.FAILED, str(exc)
        else:
            assert found, "who answers by REST is no planner that can be tried"
            said.answer, said.by = found.answer, found.by
            said.kind, said.reason = KINDS[type(found.answer)], found.answer.reason
        return said

    # The policy.

    def _end_of_star(self, event: ConstellationEvent, was: tuple[bool, bool]) -> Fact | None:
        course = self.constellation.courses.get(getattr(event, "star", ""))
        if course is None:
            return None
        succeeded, failed = _ended(course)
        if succeeded and not was[0]:
            return Fact(FactKind.SUCCEEDED, event.at, course.star.id)
        return Fact(FactKind.FAILED, event.at, course.star.id) if failed and not was[1] else None

    def _is_asked(self, fact: Fact) -> bool:
        c, course = self.constellation, self.constellation.courses[fact.star]
        planning, c.planning = c.planning, msgspec.structs.replace(c.planning, when=self.when)
        try:
            if fact.kind is FactKind.SUCCEEDED:
                return consulting.is_asked_about(c, course)
            is_final = course.failure is not None and course.failure.code in attempts.FINAL
            return not is_final and consulting.on_failure(c, course) is OnFailure.CONSULT
        finally:
            c.planning = planning

    def _is_still_asked(self, fact: Fact) -> bool:
        if fact.kind is FactKind.ENDED:
            return self.when is not ConsultWhen.NEVER
        return self._would.get(fact, True)

    def _would_ask_at_the_end(self) -> bool:
        c, dialogue = self.constellation, self.constellation.dialogue
        asks = c.goal is not None and self.when is not ConsultWhen.NEVER
        return asks and not (c.cancelled or dialogue.settled) and dialogue.consults < c.planning.consults_max


class _Past:
    """The fleet as it was, told by its log."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events = events
        self._fleet = Fleet()
        self._next: Event | None = None  # read already, and later than was asked for

    async def until(self, at: float) -> Fleet:
        """Return the fleet at a time that is not before the last one asked for."""
        self._next = self._next or await anext(self._events, None)
        while self._next and self._next.at <= at:
            self._fleet.apply(self._next)
            self._next = await anext(self._events, None)
        return self._fleet


def _fleet_named_by(c: Constellation) -> Fleet:
    """Return the devices and tools that a constellation's own log names, for where the fleet's is not there."""
    tools: dict[str, dict[str, ToolSpec]] = {}
    for course in c.courses.values():
        for attempt in course.attempts:
            tool = ToolSpec(course.star.tool, "", attempt.effect, EMPTY, EMPTY)
            tools.setdefault(attempt.device, {})[tool.name] = tool
    return Fleet(
        {
            name: Device(name, "", 0.0, Presence.CONNECTED, profile=Profile(Kind.SERVER, 1, tuple(specs.values())))
            for name, specs in tools.items()
        }
    )


def _refusal(core: Orchestrator, asked: ConsultOpened, base: int, answer: Answer | None) -> str | None:
    """Return why the core, as it was when it asked, would not take the answer."""
    at, constellation, consult = asked.at, asked.constellation, asked.consult
    match answer:
        case None:
            return None
        case Edit():
            event: ConstellationEvent = ConstellationEdited(
                at=at, constellation=constellation, base=base, edit=answer, consult=consult, rebase=True
            )
        case Done(answer=said, despite=despite):
            event = GoalReached(at=at, constellation=constellation, consult=consult, answer=said, despite=despite)
        case GiveUp(reason=reason):
            event = GoalGivenUp(at=at, constellation=constellation, consult=consult, reason=reason)
    try:
        core.check(event)
    except Refused as refusal:
        return str(refusal)
    return None


def _ends_of(c: Constellation, event: ConstellationEvent) -> tuple[bool, bool]:
    course = c.courses.get(getattr(event, "star", ""))
    return _ended(course) if course else (False, False)


def _ended(course: Course) -> tuple[bool, bool]:
    """Return whether the star has succeeded, and whether it has no attempts left."""
    return course.state is SUCCEEDED, course.state is FAILED or course.failure_held
