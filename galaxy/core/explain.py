"""Why a star waits, and what a device's silence means: the words for people, in one place."""

from collections.abc import Mapping

from msgspec import Struct

from protocol.vocabulary import Effect, Failure, ToolSpec

from . import consulting
from .attempt import Attempt, AttemptId, Candidate, LeaseEnd, Purpose
from .constellation import Constellation
from .course import Course
from .fleet import Device, Presence
from .placement.demand import Feasible
from .star import Star
from .states import HELD_BY_DEVICE, TERMINAL, WAITING

SEVERITY = (Effect.PURE, Effect.IDEMPOTENT, Effect.ONCE, Effect.INTERACTIVE)


class Wait(Struct, frozen=True, omit_defaults=True):
    """Why a star does not run: a sentence, and for a ready one each device's reason."""

    reason: str
    candidates: tuple[Candidate, ...] = ()
    refused: dict[str, str] = {}


def wait(
    constellation: Constellation,
    course: Course,
    found: Feasible | None,
    candidates: list[Candidate],
    *,
    queued: bool,
    awaits: str,
) -> Wait | None:
    """Return why the star waits, or None if it runs or has ended. `awaits`: for which device it is kept, in words."""
    if course.state in TERMINAL:
        return None
    if course.state in HELD_BY_DEVICE:
        return Wait(_stopping(course)) if course.stopping else None
    if course.state is WAITING:
        return Wait(_undecided(constellation, course))
    if course.failure_held and course.failure:
        return Wait(_failure_held(constellation, course, course.failure))
    if course.needs_approval:
        return Wait(f"it waits for a person to approve it{_gone(course, found)}")
    if course.holds:
        return Wait(f"it is held until the planner has answered about {_asked(constellation)}")
    if constellation.paused:
        return Wait(f"the constellation is paused: {constellation.paused}")
    if found is None:
        return Wait("what a verification found is being judged")
    if course.approval:
        return Wait(
            f"it was approved{_gone(course, found) or ': its device is full'}", tuple(candidates), found.refused
        )
    if not found.able:
        return Wait(_nobody(found), refused=found.refused)
    if awaits:
        return Wait(awaits, tuple(candidates), found.refused)
    reason = "every able device is full" if queued else "it backs off before another attempt"
    return Wait(reason, tuple(candidates), found.refused)


def silence(course: Course, attempt: Attempt, device: Device | None) -> tuple[LeaseEnd, Failure]:
    """Return what it means that a deadline passed while a device held an attempt."""
    policy = course.star.disconnect
    if device is None or device.presence is not Presence.CONNECTED:
        if attempt.stopping and policy.stops_after_s:
            text = f"{attempt.device} is gone, and its own rule has stopped it after {policy.stops_after_s:g} s"
        else:
            text = f"{attempt.device} has been gone for {policy.lost_after_s:g} s"
        return LeaseEnd.LOST, Failure("device_lost", text, retryable=True)
    if attempt.stopping:
        text = f"{attempt.device} was told to stop and has not said that it did"
        return LeaseEnd.UNCONFIRMED, Failure("stop_unconfirmed", text)
    text = f"{attempt.device} has not reported within {course.star.timeouts.run_s:g} s and the grace"
    return LeaseEnd.OVERRAN, Failure("overran", text, retryable=True)


def absence(attempt: Attempt, *, same_journal: bool) -> tuple[LeaseEnd, Failure]:
    """Return what it means that a device came back and does not answer for the attempt that it was given."""
    if not same_journal:
        text = "the device came back without its journal: nobody knows whether it had begun"
        return LeaseEnd.LOST, Failure("device_lost", text, retryable=True)
    if attempt.accepted_at is None:
        text = "the device came back and has not begun it"
        return LeaseEnd.NOT_STARTED, Failure("not_started", text, retryable=True)
    text = "the device came back without it, though it had begun"
    return LeaseEnd.LOST, Failure("device_lost", text, retryable=True)


def superseded(name: AttemptId, course: Course | None) -> str:
    """Return why an attempt that a device still holds is none of its star's any more."""
    if course is None:
        return "its constellation has ended"
    if course.state in TERMINAL:
        return f"its star has {course.state}"
    if name.number < len(course.attempts):
        return f"attempt {len(course.attempts)} has taken its place"
    return "it is over"


def unplaced(course: Course, wait: Wait | None) -> Failure:
    """Return what it means that no device could be given the star in time."""
    text = f"no device within {course.star.timeouts.queue_s:g} s: {wait.reason if wait else ''}"
    if course.verifying:
        return Failure("outcome_unknown", f"the verification could not be made: {text}"[:2000])
    return Failure("queue_timeout", text[:2000])


def effect_of(course: Course, tools: Mapping[str, ToolSpec]) -> Effect:
    """Return the effect class that holds for the star's next attempt on the device with these tools."""
    if course.purpose is Purpose.VERIFY:
        return Effect.PURE
    star = course.star
    if star.effects is not None:
        return star.effects
    if star.instruction is None:
        return tools[star.tool].effect if star.tool in tools else Effect.ONCE
    return max(_own_effects(star, tools), key=SEVERITY.index)


def effects_of(star: Star, tools: Mapping[str, ToolSpec]) -> frozenset[Effect]:
    """Return every effect class that a call may have, by what the star says and by what its tools say of themselves."""
    said = () if star.effects is None else (star.effects,)
    return frozenset({*said, *_own_effects(star, tools)})


def _own_effects(star: Star, tools: Mapping[str, ToolSpec]) -> list[Effect]:
    """An instruction does what its tools do."""
    called = star.instruction.tools if star.instruction else (star.tool,)
    return [tools[tool].effect if tool in tools else Effect.ONCE for tool in called] or [Effect.PURE]


def _stopping(course: Course) -> str:
    told = []
    for attempt in course.open:
        if attempt.unconfirmed:
            told.append(f"{attempt.device} has not confirmed it and may still act")
        elif attempt.stopping_at is None:
            told.append(f"{attempt.device} has not answered yet")
        else:
            told.append(f"{attempt.device} is stopping it")
    return f"stopping: {course.stopping}; {', '.join(told)}"


def _failure_held(constellation: Constellation, course: Course, failure: Failure) -> str:
    if consulting.is_open_about(constellation, course.star.id):
        return f"it failed and waits for the planner: {failure.message}"
    return f"it failed and waits for a person to retry or skip it: {failure.message}"


def _asked(constellation: Constellation) -> str:
    dialogue = constellation.dialogue
    facts = (*(dialogue.consult.facts if dialogue.consult else ()), *dialogue.facts)
    return ", ".join(fact.star for fact in facts[:5] if fact.star) or "what a person has not gone on from"


def _undecided(constellation: Constellation, course: Course) -> str:
    sources = constellation.into.get(course.star.id, {})
    open_ones = [source for source in sources if constellation.courses[source].state not in TERMINAL]
    more = f" and {len(open_ones) - 5} more" if len(open_ones) > 5 else ""
    return f"it waits for {', '.join(open_ones[:5])}{more}"


def _gone(course: Course, found: Feasible | None) -> str:
    """Return why the device that a person was asked about cannot take the call now, if it cannot."""
    if course.approval is None or found is None or found.able:
        return ""
    device = course.approval.device
    return f", and waits for {device}: {found.refused.get(device, 'it is not there')}"


def _nobody(found: Feasible) -> str:
    if not found.refused:
        return "no device has joined"
    first = [f"{device}: {reason}" for device, reason in list(found.refused.items())[:5]]
    return "no device is able: " + "; ".join(first)
