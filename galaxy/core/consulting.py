"""Questions to the planner: what becomes one, what it holds meanwhile, and what its answer does.

A question holds only what is directly behind the stars that it is about: what is further behind waits for that by
itself, and everything else goes on. There is one open question at a time; facts that arrive meanwhile are the next one.
"""

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from protocol.vocabulary import Failure

from .binding import resolved
from .course import Course
from .edit import AddStar, AnyOperation, Draft, Edit, Supersede, UpdateStar
from .events import (
    AnswerRefused,
    ConsultClosed,
    ConsultOpened,
    GoalGivenUp,
    GoalReached,
    UsageReserved,
    UsageSettled,
)
from .goal import Consult, ConsultWhen, Fact, FactKind
from .star import OnFailure, OnSuccess, Star, When
from .states import FAILED, NOT_STARTED, READY, SKIPPED, TERMINAL

if TYPE_CHECKING:
    from .constellation import Constellation

QUESTION = "waits for a person: "  # how the reason of a pause begins that an edit or a resumption answers
STEMS = re.compile(rb"~[A-Za-z0-9]+")


def is_asked_about(c: "Constellation", course: Course) -> bool:
    """Return whether the planner is asked when this star has succeeded."""
    wish = course.star.on_success
    if wish is None:
        return c.planning.when is ConsultWhen.ALWAYS and _may_ask(c)
    return wish is OnSuccess.CONSULT and _may_ask(c)


def on_failure(c: "Constellation", course: Course) -> OnFailure:
    """Return what is done with a star that has no attempts left."""
    wish = course.star.on_failure
    if wish is None:
        asks = c.planning.when is not ConsultWhen.NEVER and not _is_provided_for(c, course)
        wish = OnFailure.CONSULT if asks else OnFailure.FAIL
    if wish is OnFailure.CONSULT and not _may_ask(c):
        return OnFailure.PAUSE if not c.cancelled and not c.dialogue.settled else OnFailure.FAIL
    return wish


def note(c: "Constellation", kind: FactKind, at: float, star_id: str = "") -> None:
    """Add a fact to the next question."""
    c.dialogue.facts.append(Fact(kind, at, star_id))


def note_success(c: "Constellation", course: Course, at: float) -> None:
    """Ask about a star that has succeeded, and hold what is behind it."""
    note(c, FactKind.SUCCEEDED, at, course.star.id)
    for target in c.out_of.get(course.star.id, ()):
        behind = c.courses[target]
        if behind.state in NOT_STARTED:
            behind.holds += 1
            c.dialogue.held.append(target)
            c.stirred.append(target)


def at_the_end(c: "Constellation", at: float) -> None:
    """Ask whether the goal is reached, when nothing is left to do."""
    dialogue = c.dialogue
    if c.goal is None or c.planning.when is ConsultWhen.NEVER or dialogue.settled or dialogue.has_open():
        return
    if c.end is None and _may_ask(c):
        note(c, FactKind.ENDED, at)


def is_open_about(c: "Constellation", star_id: str) -> bool:
    """Return whether a question about the star is open, or about to be."""
    dialogue = c.dialogue
    asked = dialogue.consult.facts if dialogue.consult else ()
    return any(fact.star == star_id for fact in (*asked, *dialogue.facts))


def waits_for_a_person(c: "Constellation") -> bool:
    """Return whether a failure is held that no question is about."""
    return any(course.failure_held and not is_open_about(c, star_id) for star_id, course in c.courses.items())


def opens_at(c: "Constellation") -> float | None:
    """Return when the facts so far become a question, if nothing stands in the way."""
    dialogue = c.dialogue
    if not dialogue.facts or dialogue.consult or c.paused or c.cancelled:
        return None
    first = dialogue.facts[0]
    return first.at if first.kind in (FactKind.GOAL, FactKind.ENDED) else first.at + c.planning.debounce_s


def fingerprint(c: "Constellation", consult: Consult, edit: Edit) -> str:
    """Return what tells this answer to these failures from others, whatever its stars are called; or nothing.

    A failure is the call, where it failed and how, or why it was never made; an operation is the call that it asks for.
    """
    failures = [
        _how_it_failed(course, course.failure)
        for fact in consult.facts
        if fact.kind is FactKind.FAILED and (course := c.courses.get(fact.star)) and course.failure
    ]
    if not failures or not edit.operations:
        return ""
    asked = [_what_it_asks(operation) for operation in edit.operations]
    encoded = STEMS.sub(b"", msgspec.json.encode((sorted(failures, key=repr), asked)))
    return blake2b(encoded, digest_size=12).hexdigest()


def count(c: "Constellation", edit: Edit) -> None:
    """Remember what a planner's edit adds, and what it answers to which failures."""
    dialogue = c.dialogue
    assert dialogue.consult
    dialogue.additions += additions(edit)
    dialogue.reasons.append(edit.reason)
    if seen := fingerprint(c, dialogue.consult, edit):
        dialogue.patches.append(seen)


def additions(edit: Edit) -> int:
    """Return how many stars the edit adds."""
    return sum(isinstance(operation, AddStar | Supersede) for operation in edit.operations)


# What events make of it.


def opened(c: "Constellation", event: ConsultOpened) -> None:
    dialogue = c.dialogue
    dialogue.consult = Consult(event.consult, event.facts, event.at, event.deadline_at, dialogue.held)
    dialogue.facts, dialogue.held, dialogue.consults = [], [], event.consult


def refused(c: "Constellation", event: AnswerRefused) -> None:
    consult = c.dialogue.consult
    if consult and consult.number == event.consult:
        consult.refusals.append(event.reason)


def answered(c: "Constellation", draft: Draft, at: float) -> None:
    """Close the question, for its edit is made: failures that it does not touch count as they are."""
    consult = _closed(c)
    _release(c, consult.held, at)
    for fact in consult.facts:
        course = c.courses.get(fact.star)
        if course and course.failure_held and not is_open_about(c, fact.star):  # else it has failed anew meanwhile
            if fact.star in draft.stars:
                c.answer(course)
                course.not_before, course.ready_at = 0.0, at
                c.stirred.append(fact.star)
            else:
                course.failure_held = False
                c.move(course, FAILED, at)
    if all(fact.kind is FactKind.ENDED for fact in consult.facts) and not c.unfinished:
        c.dialogue.settled = True


def closed(c: "Constellation", event: ConsultClosed) -> None:
    consult, dialogue = _closed(c), c.dialogue
    kinds = {fact.kind for fact in consult.facts}
    if FactKind.GOAL in kinds and not c.courses:
        dialogue.settled, dialogue.given_up, dialogue.ended_because = True, True, f"no plan: {event.reason}"
    elif kinds == {FactKind.ENDED}:
        dialogue.settled, dialogue.ended_because = True, event.reason
    elif kinds != {FactKind.GOAL}:  # else a person has planned it meanwhile
        dialogue.unanswered += consult.held
        about = ", ".join(fact.star for fact in consult.facts if fact.star)
        c.paused = c.paused or f"{QUESTION}no answer about {about}: {event.reason}"[:500]
        for star_id in consult.held:
            c.stirred.append(star_id)


def reached(c: "Constellation", event: GoalReached) -> None:
    c.dialogue.answers, c.dialogue.ended_because = (resolved(event.answer, c.result_of),), event.reason
    _end_all(c, "the goal is reached", event.at)


def given_up(c: "Constellation", event: GoalGivenUp) -> None:
    c.dialogue.given_up, c.dialogue.ended_because = True, event.reason
    _end_all(c, "the planner gave up", event.at)


def reserved(c: "Constellation", event: UsageReserved) -> None:
    c.dialogue.spent.reserved[event.call] = (event.tokens, event.money)


def settled(c: "Constellation", event: UsageSettled) -> None:
    spent, usage = c.dialogue.spent, event.usage
    del spent.reserved[event.call]
    spent.tokens += usage.tokens_in + usage.tokens_out
    spent.money += usage.money
    spent.calls += 1


def go_on(c: "Constellation", at: float) -> None:
    """Let go what a question without an answer has left held: a person goes on."""
    held, c.dialogue.unanswered = c.dialogue.unanswered, []
    _release(c, held, at)


def dropped(c: "Constellation") -> None:
    """Ask nothing more: the constellation is being cancelled."""
    dialogue = c.dialogue
    dialogue.consult, dialogue.facts, dialogue.held, dialogue.unanswered, dialogue.settled = None, [], [], [], True


def _is_provided_for(c: "Constellation", course: Course) -> bool:
    """Return whether the constellation itself says what to do if the star fails."""
    star_id = course.star.id
    return any(c.into[target][star_id].when is When.FAILURE for target in c.out_of.get(star_id, ()))


def _may_ask(c: "Constellation") -> bool:
    dialogue = c.dialogue
    return not (c.cancelled or dialogue.settled) and dialogue.consults < c.planning.consults_max


def _closed(c: "Constellation") -> Consult:
    consult, c.dialogue.consult = c.dialogue.consult, None
    assert consult, "it was checked that this question is open"
    c.dialogue.seen_at = consult.opened_at
    return consult


def _release(c: "Constellation", held: list[str], at: float) -> None:
    for star_id in held:
        course = c.courses.get(star_id)
        if course and course.holds:
            course.holds -= 1
            course.ready_at = max(course.ready_at, at) if course.state is READY else course.ready_at
            c.stirred.append(star_id)


def _end_all(c: "Constellation", cause: str, at: float) -> None:
    _closed(c)
    dialogue = c.dialogue
    dialogue.facts, dialogue.held, dialogue.unanswered, dialogue.settled = [], [], [], True
    for course in list(c.courses.values()):
        if course.failure_held:
            course.failure_held = False
            c.move(course, FAILED, at)
    for course in c.courses.values():
        if course.state not in TERMINAL:
            c.close(course, SKIPPED, cause, at)
    c.questions.clear()


def _how_it_failed(course: Course, failure: Failure) -> object:
    star = course.star
    if course.attempts:
        return star.tool, star.arguments, failure.code, course.attempts[-1].device
    return star.tool, star.arguments, failure.code, failure.message, star.needs


def _what_it_asks(operation: AnyOperation) -> object:
    match operation:
        case AddStar(star=star) | UpdateStar(star=star) | Supersede(star=star):
            return type(operation).__name__, _call_of(star)
    return operation


def _call_of(star: Star) -> object:
    return star.tool, star.arguments, star.needs, star.instruction
