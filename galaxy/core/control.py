"""What people and planners make of a constellation: submit, edit, pause, resume, cancel."""

from typing import TYPE_CHECKING

from . import attempts, consulting
from .edit import drafted, submission
from .events import (
    CancelRequested,
    ConstellationEdited,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
)
from .goal import FactKind
from .states import CANCELLED, FAILED, HELD_BY_DEVICE, NOT_STARTED, READY, WAITING

SUPERSEDED_BY = "superseded by "  # how the cause of an end begins that another star was put in the place of

if TYPE_CHECKING:
    from .constellation import Constellation
    from .edit import Draft


def submitted(c: "Constellation", event: ConstellationSubmitted) -> None:
    c.name, c.by, c.submitted_at, c.revision = event.name, event.by, event.at, 1
    c.goal, c.planning, c.grant, c.origin = event.goal, event.planning, event.grant, event.origin
    c.install(drafted(c, submission(event.stars, event.lines)), event.at, event.kept)
    if c.goal and not c.courses:
        consulting.note(c, FactKind.GOAL, event.at)


def edited(c: "Constellation", event: ConstellationEdited) -> None:
    draft = drafted(c, event.edit.operations)
    if event.consult:
        consulting.count(c, event.edit)  # before it is made: what it answers is still there
    if event.edit.operations:
        c.revision += 1
    c.install(draft, event.at)
    for _, target in draft.lines:
        course = c.courses.get(target)
        if course and course.state is WAITING:
            course.approval = None  # it is asked about anew when it is its turn again
    for star_id in draft.retried:
        course = c.courses.get(star_id)
        if course is None or star_id in draft.superseded:  # the same edit does away with it
            continue
        c.answer(course)
        course.not_before, course.ready_at = 0.0, event.at
        c.stirred.append(star_id)
    for star_id, reason in draft.skipped.items():
        if star_id not in draft.superseded:
            c.skip(c.courses[star_id], reason or f"skipped by {event.by or 'an edit'}", event.at)
    _supersede(c, draft, event.at)
    if event.consult:
        consulting.answered(c, draft, event.at)
    if c.paused.startswith(attempts.FAILURE_PAUSE) and not consulting.waits_for_a_person(c):
        resumed(c, ConstellationResumed(at=event.at, constellation=c.id))


def _supersede(c: "Constellation", draft: "Draft", at: float) -> None:
    """Stop what runs, and let a failure that was held count: whatever else the same edit says of the star."""
    for star_id, by in draft.superseded.items():
        course = c.courses.get(star_id)
        if course is None:  # it was never tried, and the same edit removes it
            continue
        if course.state is WAITING:  # the same edit has drawn a line to it
            c.move(course, READY, at)
        if course.state is READY:
            course.failure_held = False
            c.move(course, FAILED, at)
        elif course.state in HELD_BY_DEVICE:
            course.stop(f"{SUPERSEDED_BY}{by}")
            c.stirred.append(star_id)


def paused(c: "Constellation", event: ConstellationPaused) -> None:
    c.paused = event.reason or "paused"


def resumed(c: "Constellation", event: ConstellationResumed) -> None:
    c.paused = ""
    consulting.go_on(c, event.at)
    for star_id, course in c.courses.items():
        if course.state in HELD_BY_DEVICE:
            c.stirred.append(star_id)
        if course.state is not READY:
            continue
        if course.failure_held and not consulting.is_open_about(c, star_id):  # going on without an answer: so be it
            course.failure_held = False
            c.move(course, FAILED, event.at)
        else:
            course.ready_at = max(course.ready_at, event.at)
            c.stirred.append(star_id)


def cancel_requested(c: "Constellation", event: CancelRequested) -> None:
    c.cancelled = event.reason or "cancelled"
    for course in c.courses.values():
        if course.state in HELD_BY_DEVICE:
            course.stop(c.cancelled)
            c.stirred.append(course.star.id)
        elif course.state in NOT_STARTED:
            c.close(course, CANCELLED, c.cancelled, event.at)
    c.questions.clear()
    consulting.dropped(c)
