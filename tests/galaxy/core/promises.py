"""What must be true of each step between a constellation, its planner and its people; and a count of what came up."""

from dataclasses import dataclass, field
from typing import Any

from galaxy.core.constellation import Constellation
from galaxy.core.edit import RemoveStar, Supersede, named
from galaxy.core.events import (
    ApprovalDenied,
    ApprovalGiven,
    CancelRequested,
    ConstellationEdited,
    ConstellationEvent,
    ConstellationResumed,
    ConsultClosed,
    ConsultOpened,
    GoalGivenUp,
    GoalReached,
    StarFailed,
    StarLeased,
)
from galaxy.core.goal import Fact, FactKind
from galaxy.core.states import FAILED, HELD_BY_DEVICE, SUCCEEDED, TERMINAL, StarState

Seen = dict[str, tuple[Any, Any]]  # stars, and the lines into each

# What each search must have met to be worth anything, and what a long one (some thousand histories) must.
OFTEN = {
    *("answered", "left as it is", "silent", "failed", "no_answer", "worn out", "reached"),
    *("edited while asked", "held", "released", "gone on without an answer", "asked once more"),
    *("asked anew after a restart", "approved", "approved by a rule", "denied", "lapsed"),
    *("late", "cyclic", "not granted", "too many", "too dear"),
}
SELDOM = {
    *("rebased", "given up", "cancelled while asked", "no progress", "stale", "dishonest", "too soon"),
    *("deadline passed", "no plan was needed"),
}


@dataclass
class Picture:
    """A constellation as it was before the event that is looked at."""

    asked: int = 0
    facts: tuple[Fact, ...] = ()
    next_facts: tuple[Fact, ...] = ()
    consults: int = 0
    paused: str = ""
    states: dict[str, StarState] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    kept_back: frozenset[str] = frozenset()  # stars whose failure is held
    revision: int = 0
    revisions: dict[int, Seen] = field(default_factory=dict)  # each as it was when it was made

    def after(self, c: Constellation) -> "Picture":
        """Return the picture of the constellation as it is now."""
        dialogue, courses = c.dialogue, c.courses
        revisions = self.revisions
        if c.revision not in revisions:
            revisions = {**revisions, c.revision: seen(c)}
        return Picture(
            dialogue.consult.number if dialogue.consult else 0,
            dialogue.consult.facts if dialogue.consult else (),
            tuple(dialogue.facts),
            dialogue.consults,
            c.paused,
            {name: course.state for name, course in courses.items()},
            {name: course.holds for name, course in courses.items()},
            frozenset(name for name, course in courses.items() if course.failure_held),
            c.revision,
            revisions,
        )


def seen(c: Constellation) -> Seen:
    return {name: (course.star, dict(c.into.get(name, {}))) for name, course in c.courses.items()}


def are_kept(was: Picture, c: Constellation, event: ConstellationEvent) -> None:
    """Assert what is true of this event, whatever came before it."""
    match event:
        case ConsultOpened():
            _is_asked_in_time(was, c, event)
        case ConstellationEdited() if event.consult:
            _is_an_answer(was, c, event.consult)
            _stands_on_what_was_seen(was, event)
            _gains_no_rights(was, c, event)
            _judges_only_what_it_was_asked(was, c, event)
        case ConstellationEdited():
            assert event.base == was.revision, "a person's edit was made against something else"
        case ConsultClosed():
            _is_an_answer(was, c, event.consult)
        case GoalReached() | GoalGivenUp():
            _is_an_answer(was, c, event.consult)
            assert not [name for name, state in was.states.items() if state in HELD_BY_DEVICE], "it still ran"
            assert {course.state for course in c.courses.values()} <= TERMINAL, "it was said to be the end"
        case StarLeased(star=name):
            assert not was.holds[name], "it is held, and was begun"
            assert name not in was.kept_back, "its failure is held, and it was begun again"
            assert not was.paused, "nothing is begun while people have paused it"
    if isinstance(event, GoalReached):
        for failed in c.failures():
            assert failed.handled_by or failed.star in event.despite, "a failure was passed over in silence"
    for name, course in c.courses.items():
        if course.holds > was.holds.get(name, 0):
            just = [s for s in c.into[name] if c.courses[s].state is SUCCEEDED and was.states[s] is not SUCCEEDED]
            assert just, "it is held, and nothing that it is directly behind has succeeded"


def _is_asked_in_time(was: Picture, c: Constellation, event: ConsultOpened) -> None:
    assert (was.asked, event.consult) == (0, was.consults + 1), "one question at a time, numbered without gaps"
    assert event.facts == was.next_facts, "what has happened is asked about once, and all of it"
    assert not was.paused
    assert not c.cancelled
    first = event.facts[0]
    if first.kind not in (FactKind.GOAL, FactKind.ENDED):
        assert event.at >= first.at + c.planning.debounce_s, "it was asked before others could come along"


def _is_an_answer(was: Picture, c: Constellation, consult: int) -> None:
    assert consult == was.asked, "it answers a question that is not open"
    assert c.dialogue.consult is None, "a question is answered once"


def _stands_on_what_was_seen(was: Picture, event: ConstellationEdited) -> None:
    then, now = was.revisions[event.base], was.revisions[was.revision]
    for operation in event.edit.operations:
        gone = operation.id if isinstance(operation, RemoveStar) else ""
        for name in (*named(operation), *(name for name in now if gone in now[name][1])):
            if name in now:
                assert then.get(name) == now[name], f"{name} is not what the planner saw"


def _gains_no_rights(was: Picture, c: Constellation, event: ConstellationEdited) -> None:
    now = was.revisions[was.revision]
    new_for = {op.star.id: op.id for op in event.edit.operations if isinstance(op, Supersede)}
    for name, course in c.courses.items():
        old = now[new_for.get(name, name)][0] if new_for.get(name, name) in now else None
        assert course.star.effects in (None, old and old.effects), "I8: it says itself what it does to the world"
        assert course.star.verify in (None, old and old.verify), "I8: it says itself how that is found out"
        assert course.star.needs_approval or not (old and old.needs_approval), "I8: a person is not asked any more"


def _judges_only_what_it_was_asked(was: Picture, c: Constellation, event: ConstellationEdited) -> None:
    superseded = {op.id for op in event.edit.operations if isinstance(op, Supersede)}
    asked, next_ones = {fact.star for fact in was.facts}, {fact.star for fact in was.next_facts}
    for name in was.kept_back & c.courses.keys():
        if c.courses[name].state is FAILED and name not in superseded:
            assert name in asked, "it was not asked about this failure"
            assert name not in next_ones, "it has failed anew, and that is another question"
    for name in asked - next_ones:
        assert not (name in c.courses and c.courses[name].failure_held), (
            "the answer came, and its failure is still held"
        )


def what_came_up(was: Picture, c: Constellation, event: ConstellationEvent) -> list[str]:
    """Return what this event shows to be possible."""
    held = sum(course.holds for course in c.courses.values()) - sum(was.holds.values())
    found = ["held"] * (held > 0) + ["released"] * (held < 0)
    match event:
        case ConstellationEdited():
            if not event.consult:
                return found + ["edited while asked"] * bool(was.asked)
            if {fact.kind for fact in was.facts} == {FactKind.ENDED} and c.dialogue.settled:
                found.append("no plan was needed")
            return [*found, "answered" if event.edit.operations else "left as it is"] + ["rebased"] * (
                event.base < was.revision and bool(event.edit.operations)
            )
        case ConsultClosed():
            return [*found, "worn out" if "answers were refused" in event.reason else str(event.end)]
        case GoalReached():
            return [*found, "reached"]
        case GoalGivenUp():
            return [*found, "given up"]
        case CancelRequested():
            return found + ["cancelled while asked"] * bool(was.asked) + ["deadline passed"] * (event.by == "galaxy")
        case ApprovalGiven():
            return [*found, "approved by a rule" if event.rule else "approved"]
        case ApprovalDenied():
            return [*found, "denied"]
        case StarFailed() if event.failure.code == "approval_expired":
            return [*found, "lapsed"]
        case ConstellationResumed():
            return found + ["gone on without an answer"] * bool(was.kept_back)
    return found


REFUSALS = {  # how a refused answer is recognized, the first that fits
    "is not open": "late",
    "cycle": "cyclic",
    "planners may add": "too many",
    "same edit": "no progress",
    "not granted": "not granted",
    "does not say": "not granted",
    "needs approval": "not granted",
    "revision": "stale",
    "name it in `despite`": "dishonest",
    "still runs": "too soon",
    "budget": "too dear",
}


def kind_of(refusal: Exception) -> str:
    """Return the kind of an answer that was refused."""
    return next((kind for words, kind in REFUSALS.items() if words in str(refusal)), "other")
