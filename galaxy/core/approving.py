"""Approval: a person says yes or no to one very call, before it is made."""

from typing import TYPE_CHECKING

from protocol.vocabulary import Failure

from .course import Approval
from .events import ApprovalDenied, ApprovalGiven, ApprovalRequested
from .states import FAILED

if TYPE_CHECKING:
    from .constellation import Constellation


def requested(c: "Constellation", event: ApprovalRequested) -> None:
    course = c.courses[event.star]
    course.approval = Approval(
        event.attempt, event.device, event.tool, event.arguments, event.effect, event.at, event.expires_at
    )
    c.stirred.append(event.star)


def given(c: "Constellation", event: ApprovalGiven) -> None:
    course = c.courses[event.star]
    assert course.approval, "it was checked that this attempt waits for approval"
    course.approval.given_by = event.by or "somebody"  # nobody would be no approval, and a rule would say it for ever
    course.ready_at = max(course.ready_at, event.at)
    c.stirred.append(event.star)


def denied(c: "Constellation", event: ApprovalDenied) -> None:
    """A no is final: nobody looks for another way around it."""
    course = c.courses[event.star]
    course.approval = None
    text = f"{event.by} denied it" + (f": {event.reason}" if event.reason else "")
    course.failure = Failure("approval_denied", text)
    c.move(course, FAILED, event.at)
