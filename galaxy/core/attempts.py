"""What becomes of a star when an attempt at it begins, ends, or can never be made: first rungs of the failure ladder.

Success settles the lines. A failure is followed by another attempt if policy lets the call be repeated; a call whose
outcome nobody knows is verified, or fails as `outcome_unknown`, but is never repeated by itself; what has no attempts
left fails, or waits for a person.
"""

from typing import TYPE_CHECKING, assert_never

from protocol.vocabulary import Effect, Failure, Outcome

from . import consulting
from .attempt import Attempt, AttemptId, LeaseEnd, Purpose
from .course import VERIFICATIONS_MAX, Course
from .events import (
    AttemptRevoked,
    EffectJudged,
    LeaseEnded,
    ReportRefused,
    StarAccepted,
    StarFailed,
    StarLeased,
    StarProgressed,
    StarReported,
    StopBegun,
    StopUnconfirmed,
)
from .goal import FactKind
from .retry import REPEATABLE, delay_s, may_repeat
from .star import OnFailure
from .states import CANCELLED, FAILED, LEASED, READY, RUNNING, SUCCEEDED, TERMINAL

if TYPE_CHECKING:
    from .constellation import Constellation

FAILURE_PAUSE = consulting.QUESTION
FINAL = frozenset({"approval_denied", "approval_expired"})  # no rung of the ladder leads around a person's no


def leased(c: "Constellation", event: StarLeased) -> None:
    course = c.courses[event.star]
    attempt = Attempt(event.attempt, event.device, event.effect, event.at, event.purpose)
    attempt.candidates, attempt.refused, attempt.beside = event.candidates, event.refused, event.beside
    attempt.tools = event.tools
    course.attempts.append(attempt)
    if not event.beside:
        course.not_before, course.approval = 0.0, None
        course.state = LEASED
    c.stirred.append(event.star)


def accepted(c: "Constellation", event: StarAccepted) -> None:
    course = c.courses[event.star]
    course.attempts[event.attempt - 1].accepted_at = event.at
    if course.state is LEASED:
        c.move(course, RUNNING, event.at)


def progressed(c: "Constellation", event: StarProgressed) -> None:
    attempt = c.courses[event.star].attempts[event.attempt - 1]
    attempt.note, attempt.fraction = event.note, event.fraction


def revoked(c: "Constellation", event: AttemptRevoked) -> None:
    c.courses[event.star].attempts[event.attempt - 1].stopping = event.reason
    c.stirred.append(event.star)


def stop_begun(c: "Constellation", event: StopBegun) -> None:
    attempt = c.courses[event.star].attempts[event.attempt - 1]
    attempt.stopping_at = event.at
    if attempt.unconfirmed:  # it has answered after all, and has as long again
        attempt.unconfirmed = False
        c.stirred.append(event.star)


def stop_unconfirmed(c: "Constellation", event: StopUnconfirmed) -> None:
    c.courses[event.star].attempts[event.attempt - 1].unconfirmed = True
    c.stirred.append(event.star)


def came_late(c: "Constellation", event: ReportRefused) -> None:
    """Keep with the attempt what was said of it too late, where it is of this device."""
    course = c.courses.get(event.star)
    if course and 0 < event.attempt <= len(course.attempts):
        attempt = course.attempts[event.attempt - 1]
        if attempt.device == event.device:
            attempt.late = event.said


def reported(c: "Constellation", event: StarReported) -> None:
    course = c.courses[event.star]
    attempt = course.attempts[event.attempt - 1]
    attempt.ended_at, attempt.outcome, attempt.ran_s = event.at, event.outcome, event.ran_s
    succeeded, unknown = event.outcome is Outcome.SUCCEEDED, event.outcome is Outcome.UNKNOWN
    if not succeeded or event.failure:
        text = f"the attempt was {event.outcome}"
        attempt.failure = event.failure or Failure(event.outcome, text, retryable=unknown)
    if _is_left_behind(c, course, attempt):
        return
    if not succeeded:
        # A device answers for the steps of an instruction: it says that it may be retried only if none was `once`.
        began = course.star.instruction is None or unknown
        _attempt_failed(c, course, attempt, unknown=unknown, began=began, at=event.at)
    elif attempt.purpose is Purpose.RUN:
        course.results, course.failure = (event.result,), None
        c.move(course, SUCCEEDED, event.at)
    elif course.stopping:
        _stopped(c, course, event.at)
    else:
        course.proofs = (event.result,)
        c.move(course, READY, event.at)


def lease_ended(c: "Constellation", event: LeaseEnded) -> None:
    course = c.courses[event.star]
    attempt = course.attempts[event.attempt - 1]
    attempt.ended_at, attempt.outcome = event.at, event.cause
    unbegun = event.cause is LeaseEnd.NOT_STARTED and attempt.accepted_at is None
    if not unbegun:
        attempt.failure = event.failure
    if _is_left_behind(c, course, attempt):
        return
    if unbegun:
        if course.stopping:
            _stopped(c, course, event.at)
        elif not course.open:
            c.move(course, READY, event.at)
        return
    # Whatever a device says later: what it has accepted may have happened.
    began = event.cause is not LeaseEnd.REJECTED or attempt.accepted_at is not None
    _attempt_failed(c, course, attempt, unknown=began, began=began, at=event.at)


def failed(c: "Constellation", event: StarFailed) -> None:
    course = c.courses[event.star]
    course.approval = None
    if event.failure.code in FINAL:
        course.failure = event.failure
        c.move(course, FAILED, event.at)
    else:
        _given_up(c, course, event.failure, event.at)


def effect_judged(c: "Constellation", event: EffectJudged) -> None:
    course = c.courses[event.star]
    proofs, course.proofs, course.verifying, course.verifications = course.proofs, (), False, 0
    if event.happened:
        course.results, course.failure = proofs, None
        c.move(course, SUCCEEDED, event.at)
    elif event.error:
        _given_up(c, course, Failure("outcome_unknown", f"the verification could not tell: {event.error}"), event.at)
    else:
        failure = Failure("not_happened", "the attempt was cut off before its effect", retryable=True)
        _again_or_give_up(c, course, failure, repeatable=True, at=event.at)


def _attempt_failed(
    c: "Constellation", course: Course, attempt: Attempt, *, unknown: bool, began: bool, at: float
) -> None:
    failure = attempt.failure
    assert failure
    wished = attempt.outcome == Outcome.CANCELLED and attempt.stopping and not course.stopping
    if not wished:
        course.failure = failure
    if course.stopping:
        _stopped(c, course, at)
    elif course.open:  # another attempt may still succeed
        course.failures += not wished
        c.stirred.append(course.star.id)
    elif wished:
        _again_or_give_up(c, course, course.failure or failure, repeatable=True, at=at)
    elif attempt.purpose is Purpose.VERIFY:
        _verification_failed(c, course, failure, at)
    elif unknown and attempt.effect not in REPEATABLE:
        course.failures += 1
        _outcome_unknown(c, course, attempt, failure, at)
    else:
        course.failures += 1
        _again_or_give_up(c, course, failure, repeatable=may_repeat(failure, attempt.effect, began=began), at=at)


def _is_left_behind(c: "Constellation", course: Course, attempt: Attempt) -> bool:
    """Return whether the star has ended without this attempt: nothing follows from how it went."""
    if course.state not in TERMINAL:
        return False
    c.stirred.append(course.star.id)
    del c.loose[course.star.id, attempt.number]
    return True


def _stopped(c: "Constellation", course: Course, at: float) -> None:
    if not course.open:
        course.cause = course.stopping
        c.move(course, CANCELLED, at)


def _outcome_unknown(c: "Constellation", course: Course, attempt: Attempt, failure: Failure, at: float) -> None:
    if course.star.verify and attempt.effect is Effect.ONCE:
        course.verifying = True
        c.move(course, READY, at)
    else:
        _given_up(c, course, Failure("outcome_unknown", f"begun and cut off: {failure.message}"), at)


def _verification_failed(c: "Constellation", course: Course, failure: Failure, at: float) -> None:
    course.verifications += 1
    if failure.retryable and course.verifications < VERIFICATIONS_MAX:
        attempt = AttemptId(c.id, course.star.id, len(course.attempts))
        c.move(course, READY, at)
        course.not_before = at + delay_s(course.star.retry, attempt, course.verifications)
    else:
        course.verifying = False
        _given_up(c, course, Failure("outcome_unknown", f"the verification failed: {failure.message}"), at)


def _again_or_give_up(c: "Constellation", course: Course, failure: Failure, *, repeatable: bool, at: float) -> None:
    policy = course.star.retry
    if not repeatable or course.failures >= policy.attempts + course.granted:
        _given_up(c, course, failure, at)
        return
    course.failure = failure
    if course.state is not READY:
        c.move(course, READY, at)
    else:
        c.stirred.append(course.star.id)
    wait_s = delay_s(policy, AttemptId(c.id, course.star.id, len(course.attempts)), course.failures)
    course.not_before = at + wait_s if wait_s else 0.0


def _given_up(c: "Constellation", course: Course, failure: Failure, at: float) -> None:
    course.failure = failure
    match consulting.on_failure(c, course):
        case OnFailure.FAIL:
            c.move(course, FAILED, at)
            return
        case OnFailure.PAUSE:
            c.paused = c.paused or f"{FAILURE_PAUSE}{course.star.id} failed: {failure.message}"[:500]
        case OnFailure.CONSULT:
            consulting.note(c, FactKind.FAILED, at, course.star.id)
        case other:
            assert_never(other)
    course.failure_held = True
    if course.state is READY:
        c.stirred.append(course.star.id)
    else:
        c.move(course, READY, at)
