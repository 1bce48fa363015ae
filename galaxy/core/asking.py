"""When the planner is asked: the clock's part of questions, and the orders that follow from them."""

from collections.abc import Iterator

from . import consulting
from .constellation import Constellation
from .events import AnswerRefused, CancelRequested, ConstellationEvent, ConsultClosed, ConsultOpened
from .goal import Consult, ConsultEnd
from .orders import AskPlanner, Order, StopAsking
from .timers import Timers


def set_timer(timers: Timers[str], constellation: Constellation) -> None:
    """Set when something becomes due about the constellation's questions or its goal, or clear it."""
    at = _next(constellation)
    if at is None:
        timers.clear(constellation.id)
    else:
        timers.set(constellation.id, at)


def due(constellations: dict[str, Constellation], timers: Timers[str], now: float) -> Iterator[ConstellationEvent]:
    """Yield questions that are to be asked, and those that end without an answer."""
    while (constellation_id := timers.pop_due(now)) is not None:
        c = constellations[constellation_id]
        deadline, opens_at, consult = _deadline(c), consulting.opens_at(c), c.dialogue.consult
        if deadline is not None and deadline <= now:
            reason = f"its deadline of {c.goal.deadline_s if c.goal else 0:g} s has passed"
            yield CancelRequested(at=now, constellation=c.id, reason=reason, by="galaxy")
        elif consult and len(consult.refusals) >= c.planning.rounds_max:
            reason = f"{len(consult.refusals)} answers were refused, the last because: {consult.refusals[-1]}"
            yield _closed(c, consult, ConsultEnd.FAILED, reason[:2000], now)
        elif consult and consult.deadline_at <= now:
            reason = f"{c.planning.planner} has not answered within {c.planning.answer_within_s:g} s"
            yield _closed(c, consult, ConsultEnd.SILENT, reason, now)
        elif opens_at is not None and opens_at <= now:
            yield ConsultOpened(
                at=now,
                constellation=c.id,
                consult=c.dialogue.consults + 1,
                planner=c.planning.planner,
                facts=tuple(c.dialogue.facts),
                deadline_at=now + c.planning.answer_within_s,
            )
        else:
            set_timer(timers, c)  # what was due has been overtaken


def orders(c: Constellation, before: Consult | None, event: ConstellationEvent) -> list[Order]:
    """Return what is to be asked, or not asked any more, after an event; `before` was open before it."""
    consult = c.dialogue.consult
    asked: list[Order] = []
    if before and (consult is None or consult.number != before.number):
        asked.append(StopAsking(c.id, before.number))
    if consult and (before is None or consult.number != before.number):
        asked.append(AskPlanner(c.id, consult.number))
    elif consult and isinstance(event, AnswerRefused) and event.consult == consult.number:
        asked += anew(c)
    return asked


def anew(c: Constellation) -> list[Order]:
    """Return the open question, to be asked again while answers to it may still be refused."""
    consult = c.dialogue.consult
    if consult is None or len(consult.refusals) >= c.planning.rounds_max:
        return []
    return [AskPlanner(c.id, consult.number)]


def _next(c: Constellation) -> float | None:
    consult, candidates = c.dialogue.consult, [_deadline(c), consulting.opens_at(c)]
    if consult:
        exhausted = len(consult.refusals) >= c.planning.rounds_max
        candidates.append(consult.opened_at if exhausted else consult.deadline_at)
    return min((at for at in candidates if at is not None), default=None)


def _deadline(c: Constellation) -> float | None:
    if c.goal is None or not c.goal.deadline_s or c.cancelled or c.end:
        return None
    return c.submitted_at + c.goal.deadline_s


def _closed(c: Constellation, consult: Consult, end: ConsultEnd, reason: str, now: float) -> ConsultClosed:
    return ConsultClosed(at=now, constellation=c.id, consult=consult.number, end=end, reason=reason)
