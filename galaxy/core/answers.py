"""What a planner's answer must be, beyond what every edit must be. Nothing here changes anything."""

import msgspec

from . import consulting
from .binding import BindingError, bindings_in, resolved
from .constellation import Constellation
from .edit import AddStar, Edit, Supersede, UpdateStar
from .errors import Conflict, InvalidEdit, NoProgress, NotGranted, OverBudget, StaleConsult
from .events import (
    ConstellationEdited,
    ConsultClosed,
    GoalGivenUp,
    GoalReached,
    UsageReserved,
    UsageSettled,
)
from .goal import Consult, FactKind
from .states import HELD_BY_DEVICE


def check(c: Constellation, event: ConsultClosed | GoalReached | GoalGivenUp) -> None:
    """Raise Refused unless the question is open and the answer may be taken now."""
    _open(c, event.consult)
    if isinstance(event, ConsultClosed):
        return
    if c.goal is None:
        raise InvalidEdit("a constellation without a goal ends by itself; answer with an edit")
    running = [star_id for star_id, course in c.courses.items() if course.state in HELD_BY_DEVICE]
    if running:
        raise InvalidEdit(f"{', '.join(running[:5])} still runs: the end of a goal is not taken before")
    if isinstance(event, GoalReached):
        _require_honest(c, event)


def check_edit(c: Constellation, event: ConstellationEdited) -> None:
    """Raise Refused unless a planner may make this edit."""
    consult, operations = _open(c, event.consult), event.edit.operations
    if not operations and any(fact.kind is FactKind.GOAL for fact in consult.facts):
        raise InvalidEdit("a plan needs at least one star", "/operations")
    added = c.dialogue.additions + consulting.additions(event.edit)
    if added > c.planning.additions_max:
        raise NotGranted(f"planners may add {c.planning.additions_max} stars in all; this would make it {added}")
    _require_no_more_rights(c, event.edit)
    if (seen := consulting.fingerprint(c, consult, event.edit)) and seen in c.dialogue.patches:
        raise NoProgress("the same failure was answered with the same edit before; find another way")


def _require_no_more_rights(c: Constellation, edit: Edit) -> None:
    """What a call does to the world, how that is found out, and who is asked before it, is not for a planner to say."""
    needs_approval: set[str] = set()  # stars of this very edit that take over from one that needs it
    for index, operation in enumerate(edit.operations):
        if not isinstance(operation, AddStar | UpdateStar | Supersede):
            continue
        star, place = operation.star, f"/operations/{index}/star"
        old = operation.id if isinstance(operation, Supersede) else star.id
        before = c.courses[old].star if old in c.courses else None
        if star.effects is not None and (before is None or before.effects != star.effects):
            raise NotGranted("a planner does not say what a call does to the world", f"{place}/effects")
        if star.verify is not None and (before is None or before.verify != star.verify):
            raise NotGranted("a planner does not say how it is found out what a call did", f"{place}/verify")
        if old in needs_approval or (before and before.needs_approval):
            needs_approval.add(star.id)
            if not star.needs_approval:
                raise NotGranted(f"star {old} needs approval, and so does what replaces it", place)


def check_usage(c: Constellation, event: UsageReserved | UsageSettled) -> None:
    """Raise Refused if the call might cost more than is granted, or is not known."""
    spent, budget = c.dialogue.spent, c.grant.budget
    if isinstance(event, UsageSettled):
        if event.call not in spent.reserved:
            raise Conflict(f"no call {event.call!r} is open")
        return
    if event.call in spent.reserved:
        raise Conflict(f"call {event.call!r} is open already")
    tokens, money, calls = spent.would_be(event.tokens, event.money)
    for what, would_be, most in (
        ("tokens", tokens, budget.tokens),
        ("money", money, budget.money),
        ("calls", calls, budget.calls),
    ):
        if most and would_be > most:
            raise OverBudget(f"the budget is {most:g} {what}; with this call it might be {would_be:g}")


def _open(c: Constellation, number: int) -> Consult:
    consult = c.dialogue.consult
    if consult is None or consult.number != number:
        raise StaleConsult(c.id, number)
    return consult


def _require_honest(c: Constellation, event: GoalReached) -> None:
    """Each failure is named, and the answer leads to results."""
    failed = [one.star for one in c.failures() if not one.handled_by]
    failed += [star_id for star_id, course in c.courses.items() if course.failure_held]
    if unnamed := [star_id for star_id in failed if star_id not in event.despite]:
        text = f"{', '.join(unnamed[:5])} failed and nothing made up for it: name it in `despite`, or give up"
        raise InvalidEdit(text, "/despite")
    try:
        bindings_in(msgspec.json.decode(event.answer))
        resolved(event.answer, c.result_of)
    except BindingError as exc:
        raise InvalidEdit(f"the answer does not lead to a result: {exc}", f"/answer{exc.place}") from None
    except msgspec.DecodeError as exc:
        raise InvalidEdit(f"the answer is not JSON: {exc}", "/answer") from None
