"""A constellation: stars joined by lines, the course of each, and what its own events make of them.

    apply(event)   change the state; return the stars that need a look: ready, ended, or to be stopped
    questions      lines whose condition can be judged now

The state is a function of the constellation's own stream of events. It knows nothing of devices but their names.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from . import approving, attempts, consulting, control
from .binding import bindings_in, renamed
from .course import Course
from .edit import Draft
from .errors import UnknownId
from .events import (
    AnswerRefused,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalLapsed,
    ApprovalRequested,
    AttemptRevoked,
    CancelRequested,
    ConstellationEdited,
    ConstellationEnded,
    ConstellationEvent,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
    ConsultClosed,
    ConsultOpened,
    EffectJudged,
    FailedStar,
    GoalGivenUp,
    GoalReached,
    Kept,
    LeaseEnded,
    LineJudged,
    PlannerThought,
    ReportRefused,
    StarAccepted,
    StarFailed,
    StarLeased,
    StarProgressed,
    StarReported,
    StopBegun,
    StopUnconfirmed,
    UsageReserved,
    UsageSettled,
)
from .goal import Dialogue, Goal, Grant, Planning
from .star import Line, Star, When
from .states import (
    CANCELLED,
    FAILED,
    NOT_STARTED,
    READY,
    SKIPPED,
    SUCCEEDED,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    ConstellationState,
    StarState,
)
from .topology import lift

MET_BY = {
    When.SUCCESS: frozenset({SUCCEEDED}),
    When.FAILURE: frozenset({FAILED}),
    When.ALWAYS: TERMINAL,
    When.CONDITION: frozenset({SUCCEEDED}),  # and only if its condition is judged to hold
}


class Verdict(Struct, frozen=True):
    """What was found of a condition."""

    met: bool
    error: str = ""


class Constellation:
    """One constellation, alive. Snapshots of it are in `snapshot`, pictures in the views."""

    def __init__(self, constellation_id: str) -> None:
        self.id = constellation_id
        self.name = ""
        self.by = ""
        self.submitted_at = 0.0
        self.ended_at: float | None = None
        self.end: ConstellationState | None = None
        self.revision = 0
        self.paused = ""  # why
        self.cancelled = ""  # why
        self.courses: dict[str, Course] = {}
        self.into: dict[str, dict[str, Line]] = {}  # target -> source -> line
        self.out_of: dict[str, dict[str, None]] = {}  # source -> targets
        self.levels: dict[str, int] = {}  # each star's is above its sources': a topological order with room in it
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        self.questions: dict[tuple[str, str], None] = {}
        self.unfinished = 0
        self.loose: dict[tuple[str, int], None] = {}  # attempts that devices hold though their stars have ended
        self.goal: Goal | None = None
        self.planning = Planning()
        self.grant = Grant()
        self.origin = ""
        self.dialogue = Dialogue()
        self.stirred: list[str] = []  # stars that the event has moved

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done or asked, and no device may still act."""
        return not self.unfinished and not self.loose and not self.dialogue.has_open()

    @property
    def state(self) -> ConstellationState:
        if self.end:
            return self.end
        if self.cancelled:
            return ConstellationState.CANCELLING
        return ConstellationState.PAUSED if self.paused else ConstellationState.RUNNING

    def course(self, star_id: str) -> Course:
        """Return the star's course; raise UnknownId."""
        try:
            return self.courses[star_id]
        except KeyError:
            raise UnknownId("star", star_id) from None

    def result_of(self, star_id: str) -> Raw | None:
        course = self.courses.get(star_id)
        return course.result if course else None

    def counts(self) -> dict[str, int]:
        """Return how many stars are in each state."""
        return {str(state): n for state, n in sorted(Counter(c.state for c in self.courses.values()).items())}

    def apply(self, event: ConstellationEvent) -> list[str]:
        """Change the state as the event says; it was checked. Return the stars that need a look, in order."""
        APPLIES[type(event)](self, event)
        if not self.unfinished:
            consulting.at_the_end(self, event.at)
        stirred, self.stirred = self.stirred, []
        return stirred

    def failures(self) -> tuple[FailedStar, ...]:
        """Return the stars that failed, with the star that made up for each if one did."""
        return tuple(
            FailedStar(star_id, course.failure, self._handler_of(star_id))
            for star_id, course in self.courses.items()
            if course.state is FAILED and course.failure
        )

    def ending(self, at: float) -> ConstellationEnded:
        """Return how this constellation ends, when nothing is left to be done or asked."""
        failures, dialogue = self.failures(), self.dialogue
        if self.cancelled:
            state = ConstellationState.CANCELLED
        elif dialogue.given_up or (not dialogue.answers and any(not failed.handled_by for failed in failures)):
            state = ConstellationState.FAILED
        else:  # a planner that is done has named each failure that nothing made up for
            state = ConstellationState.SUCCEEDED
        return ConstellationEnded(
            at=at,
            constellation=self.id,
            state=state,
            failures=failures,
            counts=self.counts(),
            answer=dialogue.answers,
            reason=dialogue.ended_because,
        )

    def rebound(self, star: Star, names: dict[str, str]) -> Star:
        """Return the star with the sources of its bindings renamed."""
        arguments = renamed(star.arguments, names)
        return msgspec.structs.replace(star, arguments=arguments, bindings=bindings_in(msgspec.json.decode(arguments)))

    # How a star moves.

    def move(self, course: Course, state: StarState, at: float) -> None:
        """Move a star and, when that decides lines, the stars behind them."""
        assert state in TRANSITIONS[course.state], (course.star.id, course.state, state)
        course.state = state
        self.stirred.append(course.star.id)
        if state is READY:
            course.ready_at = at
        elif state in TERMINAL:
            course.ended_at = at
            course.stopping = ""
            self.unfinished -= 1
            for attempt in course.open if len(course.attempts) > 1 else ():
                attempt.stopping = attempt.stopping or f"attempt {len(course.attempts)} of {course.star.id} is enough"
                self.loose[course.star.id, attempt.number] = None
            self._decide_lines_out_of(course, at)
            if state is SUCCEEDED and consulting.is_asked_about(self, course):
                consulting.note_success(self, course, at)

    def _decide_lines_out_of(self, course: Course, at: float) -> None:
        for target in self.out_of.get(course.star.id, ()):
            line = self.into[target][course.star.id]
            behind = self.courses[target]
            if behind.state is not WAITING:
                continue
            if course.state not in MET_BY[line.when]:
                self.skip(behind, _cannot_hold(line, course.state), at)
            elif line.when is When.CONDITION:
                self.questions[line.source, target] = None
            else:
                self.one_line_fewer(behind, at)

    def one_line_fewer(self, course: Course, at: float) -> None:
        course.undecided -= 1
        if course.undecided == 0:
            self.move(course, READY, at)

    def skip(self, course: Course, cause: str, at: float) -> None:
        # A chain of skips is as long as the graph is deep: a list, not the call stack, carries it.
        pending = [(course, cause)]
        while pending:
            course, cause = pending.pop()
            if course.state in TERMINAL:
                continue
            self.close(course, SKIPPED, cause, at)
            for target in self.out_of.get(course.star.id, ()):
                line, behind = self.into[target][course.star.id], self.courses[target]
                if behind.state is not WAITING:
                    continue
                if line.when is When.ALWAYS:
                    self.one_line_fewer(behind, at)
                else:
                    pending.append((behind, _cannot_hold(line, SKIPPED)))

    def close(self, course: Course, state: StarState, cause: str, at: float) -> None:
        """End a star that no device holds; what was still to be found out or decided about it lapses."""
        course.state, course.cause, course.ended_at = state, cause, at
        course.failure_held, course.verifying, course.proofs, course.approval = False, False, (), None
        self.stirred.append(course.star.id)
        self.unfinished -= 1

    def answer(self, course: Course) -> None:
        """Take a failed star from the person that it waits for: it is tried again, as often as its policy says."""
        if course.failure_held:
            course.failure_held, course.granted = False, course.failures

    def _resettle(self, star_id: str, at: float) -> None:
        """Work out anew what the lines into a star that has not started say of it."""
        course, undecided, unmet = self.courses[star_id], 0, ""
        for source, line in self.into.get(star_id, {}).items():
            state = self.courses[source].state
            if state not in TERMINAL:
                undecided += 1
            elif state not in MET_BY[line.when]:
                unmet = _cannot_hold(line, state)
            elif line.when is When.CONDITION and (source, star_id) not in self.verdicts:
                undecided += 1
                self.questions[source, star_id] = None
        course.undecided = undecided
        if unmet:
            self.skip(course, unmet, at)
        elif undecided and course.state is READY:
            self.answer(course)
            self.move(course, WAITING, at)
        elif not undecided and course.state is WAITING:
            self.move(course, READY, at)

    def _handler_of(self, failed: str) -> str:
        """Return who made up for a star; whoever made up for what was to make up for it did so too."""
        pending = [failed]
        for one in pending:
            for target in self.out_of.get(one, ()):
                if self.into[target][one].when is not When.FAILURE:
                    continue
                if self.courses[target].state is SUCCEEDED:
                    return target
                if self.courses[target].state is FAILED and target not in pending:
                    pending.append(target)
        return ""

    # How the graph changes.

    def level_all(self) -> None:
        """Give every star its level, where they were not kept."""
        lift(self, self.courses)

    def install(self, draft: Draft, at: float, kept: tuple[Kept, ...] = ()) -> None:
        """Make the draft so; `kept` are new stars that have succeeded already, elsewhere."""
        results = {one.star: one.result for one in kept}
        touched: dict[str, None] = {}
        for star_id, star in draft.stars.items():
            course = self.courses.get(star_id)
            if star is None:
                if course:
                    del self.courses[star_id], self.levels[star_id]
                    self.into.pop(star_id, None)
                    self.out_of.pop(star_id, None)
                    self.unfinished -= 1
                    self.stirred.append(star_id)
            elif course:
                course.star, course.approval = star, None
                touched[star_id] = None
                self.stirred.append(star_id)
            elif star_id in results:
                done = self.courses[star_id] = Course(star, SUCCEEDED, results=(results[star_id],), ended_at=at)
                done.ready_at = at
                touched[star_id] = None
            else:
                self.courses[star_id] = Course(star)
                self.unfinished += 1
                touched[star_id] = None
        for (source, target), line in draft.lines.items():
            self.verdicts.pop((source, target), None)
            self.questions.pop((source, target), None)
            if line:
                self.into.setdefault(target, {})[source] = line
                self.out_of.setdefault(source, {})[target] = None
            else:
                _forget(self.into, target, source)
                _forget(self.out_of, source, target)
            if target in self.courses:
                touched[target] = None
        lift(self, touched)
        for star_id in touched:
            self.courses[star_id].revision = self.revision
            if self.courses[star_id].state in NOT_STARTED:
                self._resettle(star_id, at)


def _forget(ends: dict[str, dict[str, Any]], one: str, other: str) -> None:
    """Leave nothing empty behind: a snapshot would not bring it back, and the order would be another."""
    if one in ends:
        ends[one].pop(other, None)
        if not ends[one]:
            del ends[one]


def _cannot_hold(line: Line, state: StarState) -> str:
    needed = "failure" if line.when is When.FAILURE else "success"
    was = {SKIPPED: "was skipped", CANCELLED: "was cancelled"}.get(state, str(state))
    return f"it needed the {needed} of {line.source}, which {was}"


def _line_judged(c: Constellation, event: LineJudged) -> None:
    c.questions.pop((event.source, event.target), None)
    c.verdicts[event.source, event.target] = Verdict(event.met, event.error)
    behind = c.courses[event.target]
    if behind.state is not WAITING:
        return
    if event.met:
        c.one_line_fewer(behind, event.at)
    else:
        why = f"cannot be told: {event.error}" if event.error else "does not hold"
        c.skip(behind, f"its condition on {event.source} {why}", event.at)


def _ended(c: Constellation, event: ConstellationEnded) -> None:
    c.end, c.ended_at = event.state, event.at


def _nothing(c: Constellation, event: ConstellationEvent) -> None:
    """The event is for people; no decision follows from it."""


APPLIES: dict[type[ConstellationEvent], Callable[[Constellation, Any], None]] = {
    ConstellationSubmitted: control.submitted,
    ConstellationEdited: control.edited,
    ConstellationPaused: control.paused,
    ConstellationResumed: control.resumed,
    CancelRequested: control.cancel_requested,
    ConsultOpened: consulting.opened,
    AnswerRefused: consulting.refused,
    ConsultClosed: consulting.closed,
    GoalReached: consulting.reached,
    GoalGivenUp: consulting.given_up,
    UsageReserved: consulting.reserved,
    UsageSettled: consulting.settled,
    PlannerThought: _nothing,
    ApprovalRequested: approving.requested,
    ApprovalGiven: approving.given,
    ApprovalDenied: approving.denied,
    ApprovalLapsed: approving.lapsed,
    LineJudged: _line_judged,
    ConstellationEnded: _ended,
    ReportRefused: attempts.came_late,
    StarLeased: attempts.leased,
    StopBegun: attempts.stop_begun,
    AttemptRevoked: attempts.revoked,
    StopUnconfirmed: attempts.stop_unconfirmed,
    StarAccepted: attempts.accepted,
    StarProgressed: attempts.progressed,
    StarReported: attempts.reported,
    LeaseEnded: attempts.lease_ended,
    StarFailed: attempts.failed,
    EffectJudged: attempts.effect_judged,
}
