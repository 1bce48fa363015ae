"""What each event takes for granted, and the refusal when it is not so. Nothing here changes anything."""

from typing import TYPE_CHECKING

from protocol.vocabulary import NAME

from . import answers
from . import attempt as attempts
from .constellation import Constellation
from .contradictions import require_consistent
from .edit import drafted, submission, unchanged_since
from .errors import Conflict, InvalidEdit, Refused, StaleAttempt, StaleConsult, StaleRevision
from .events import (
    AnswerRefused,
    ApprovalDenied,
    ApprovalGiven,
    CancelRequested,
    ConstellationEdited,
    ConstellationEvent,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
    ConsultClosed,
    DeviceConnected,
    Event,
    GoalGivenUp,
    GoalReached,
    LeaseEnded,
    ReportRefused,
    StarAccepted,
    StarProgressed,
    StarReported,
    StopBegun,
    UsageReserved,
    UsageSettled,
)
from .grant import require_granted

if TYPE_CHECKING:
    from .orchestrator import Orchestrator


def check(core: "Orchestrator", event: Event) -> None:
    """Raise Refused unless the event can be applied to the core as it is."""
    match event:
        case StarReported() | StarAccepted() | StarProgressed() | StopBegun() | LeaseEnded():
            _require_holder(core, event)
        case ConstellationSubmitted():
            _require_submittable(core, event)
        case ConstellationEdited():
            _require_editable(core, event)
        case ConstellationPaused():
            if _not_cancelling(core, event).paused:
                raise Conflict(f"{event.constellation} is paused already")
        case ConstellationResumed():
            if not _not_cancelling(core, event).paused:
                raise Conflict(f"{event.constellation} is not paused")
        case CancelRequested():
            _not_cancelling(core, event)
        case ConsultClosed() | GoalReached() | GoalGivenUp():
            answers.check(_not_cancelling(core, event), event)
        case UsageReserved() | UsageSettled():
            answers.check_usage(core.constellation(event.constellation), event)
        case ApprovalGiven() | ApprovalDenied():
            _require_asked(_not_cancelling(core, event), event)
        case ConstellationEvent():
            core.constellation(event.constellation)
        case DeviceConnected():
            for held in event.held:
                _require_attempt_id(held.attempt)
            core.fleet.check(event)
        case _:
            core.fleet.check(event)


def _require_editable(core: "Orchestrator", event: ConstellationEdited) -> None:
    constellation, operations = _not_cancelling(core, event), event.edit.operations
    if event.consult:
        answers.check_edit(constellation, event)
    elif not operations:
        raise InvalidEdit("an edit without operations", "/operations")
    if event.base != constellation.revision:
        if not event.rebase or not 0 < event.base < constellation.revision:
            raise StaleRevision(constellation.id, constellation.revision)
        unchanged_since(constellation, operations, event.base)
    require_granted(constellation.grant, operations)
    draft = drafted(constellation, operations)
    require_consistent(operations)
    if (event.consult or constellation.goal) and not draft.size():
        otherwise = "give up where there is nothing to do" if event.consult else "cancel it instead"
        raise InvalidEdit(f"the edit leaves no star, and nothing done is no success: {otherwise}", "/operations")


def _require_asked(constellation: Constellation, event: ApprovalGiven | ApprovalDenied) -> None:
    course = constellation.course(event.star)
    approval, name = course.approval, str(attempts.AttemptId(event.constellation, event.star, event.attempt))
    if not (course.needs_approval and approval and approval.attempt == event.attempt):
        raise Conflict(f"{name} does not wait for approval")
    if event.asked_at not in (0.0, approval.asked_at):
        raise Conflict(f"{name} is another call by now: look at what waits for approval")


def _not_cancelling(core: "Orchestrator", event: ConstellationEvent) -> Constellation:
    constellation = core.constellation(event.constellation)
    if constellation.cancelled:
        raise Conflict(f"{event.constellation} is being cancelled")
    return constellation


def _require_submittable(core: "Orchestrator", event: ConstellationSubmitted) -> None:
    if event.constellation in core.constellations:
        raise Conflict(f"constellation {event.constellation} exists already")
    if not event.stars and not event.goal:
        raise InvalidEdit("a constellation needs at least one star, or a goal", "/stars")
    if not NAME.fullmatch(event.constellation):
        raise InvalidEdit(f"{event.constellation!r} is not a name for a constellation", "/constellation")
    operations = submission(event.stars, event.lines)
    try:
        require_granted(event.grant, operations)
        drafted(Constellation(event.constellation), operations)
    except InvalidEdit as exc:
        raise type(exc)(str(exc), _place_in_submission(exc.place, len(event.stars))) from None


def _place_in_submission(place: str, stars: int) -> str:
    """Return where it stands in what was submitted; `place` is among the operations that would make the same."""
    if not place:
        return ""
    _, _, number, *rest = place.split("/")
    if (index := int(number)) < stars:
        return "/".join(["/stars", number, *rest[1:]])  # without the operation's `star`
    return f"/lines/{index - stars}"


def recorded_refusal(core: "Orchestrator", event: Event, refusal: Refused) -> ReportRefused | AnswerRefused | None:
    """Return the event that keeps a refused word, where there is an open constellation to keep it in.

    What a device says of an attempt that is over is kept, and so is an answer to a question that is not open. Other
    refusals are for whoever spoke.
    """
    if not isinstance(event, ConstellationEvent) or event.constellation not in core.constellations:
        return None
    match event, refusal:
        case ((StarReported() | LeaseEnded()), StaleAttempt()):
            return ReportRefused(
                at=event.at,
                constellation=event.constellation,
                star=event.star,
                attempt=event.attempt,
                device=event.device,
                reason=str(refusal),
                said=event.outcome if isinstance(event, StarReported) else event.cause,
            )
        case ((ConstellationEdited() | GoalReached() | GoalGivenUp()), StaleConsult()):
            return AnswerRefused(
                at=event.at,
                constellation=event.constellation,
                consult=event.consult,
                reason=str(refusal),
                by=event.by,
            )
    return None


def _require_attempt_id(text: str) -> None:
    try:
        attempts.AttemptId.parse(text)
    except ValueError as exc:
        raise Conflict(str(exc)) from None


def _require_holder(
    core: "Orchestrator", event: StarReported | StarAccepted | StarProgressed | StopBegun | LeaseEnded
) -> None:
    """A device may speak of an attempt only while it holds it."""
    name = str(attempts.AttemptId(event.constellation, event.star, event.attempt))
    constellation = core.constellations.get(event.constellation)
    course = constellation.courses.get(event.star) if constellation else None
    if course is None:
        raise StaleAttempt(name, "is of no open constellation")
    held = course.holding(event.attempt)
    if held is None:
        raise StaleAttempt(name, "is over")
    if held.device != event.device:
        raise StaleAttempt(name, f"is held by {held.device}, not by {event.device}")
