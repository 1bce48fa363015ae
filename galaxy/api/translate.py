"""From what callers send to the core's words. Mistakes that only a closer look finds are named by their place."""

import math

import msgspec
from msgspec import Raw
from pydantic import JsonValue

from protocol.vocabulary import Effect

from ..core import edit
from ..core.binding import BindingError, bindings_in
from ..core.condition import compiled
from ..core.edit import AnyOperation
from ..core.errors import InvalidEdit
from ..core.goal import Answer, Budget, ContextItem, Done, GiveUp, Goal, Grant, Planning
from ..core.star import (
    INSTRUCT,
    Disconnect,
    Fallback,
    Instruction,
    Line,
    Needs,
    Retry,
    Star,
    Timeouts,
    Verify,
    When,
)
from . import schemas


def star_of(sent: schemas.StarIn, place: str) -> Star:
    """Return the star as the core knows it; raise InvalidEdit naming the place."""
    try:
        bindings = bindings_in(sent.arguments)
    except BindingError as exc:
        raise InvalidEdit(f"star {sent.id}: {exc}", f"{place}/arguments{exc.place}") from None
    if any(binding.source == sent.id for binding in bindings):
        raise InvalidEdit(f"star {sent.id} binds to itself", f"{place}/arguments")
    if (sent.tool is None) == (sent.instruction is None):
        raise InvalidEdit(f"star {sent.id} is a tool call or an instruction: give one of the two", f"{place}/tool")
    _check_second_attempts(sent, place)
    return Star(
        id=sent.id,
        tool=sent.tool or INSTRUCT,
        arguments=_raw(sent.arguments, f"{place}/arguments"),
        bindings=bindings,
        title=sent.title,
        needs=_needs_of(sent.needs) if sent.needs else Needs(),
        effects=sent.effects,
        verify=_verify_of(sent.verify, f"{place}/verify"),
        retry=Retry(**sent.retry.model_dump()) if sent.retry else Retry(),
        timeouts=Timeouts(**sent.timeouts.model_dump()) if sent.timeouts else Timeouts(),
        disconnect=_disconnect_of(sent.disconnect, f"{place}/disconnect") if sent.disconnect else Disconnect(),
        priority=sent.priority,
        on_failure=sent.on_failure,
        on_success=sent.on_success,
        instruction=_instruction_of(sent.instruction, f"{place}/instruction") if sent.instruction else None,
        fallback=_fallback_of(sent.fallback, f"{place}/fallback") if sent.fallback else None,
        needs_approval=sent.needs_approval,
        hedge=sent.hedge,
    )


def goal_of(sent: schemas.GoalIn) -> Goal:
    context = tuple(ContextItem(one.name, one.text, one.artifact) for one in sent.context)
    return Goal(sent.text, context, sent.deadline_s)


def planning_of(sent: schemas.PlanningIn | None, *, for_goal: bool) -> Planning:
    """Return who plans: by default nobody is asked about a constellation without a goal."""
    if sent is None and not for_goal:
        return Planning()
    return Planning(**(sent or schemas.PlanningIn()).model_dump())


def grant_of(sent: schemas.ConstraintsIn | None) -> Grant:
    if sent is None:
        return Grant()
    return Grant(
        tuple(sent.tools),
        tuple(sent.devices),
        Budget(**sent.budget.model_dump()),
        tuple(sent.approve),
        sent.approval_within_s,
    )


def answer_of(sent: schemas.AnswerIn) -> Answer:
    """Return the answer to a question as the core knows it; raise InvalidEdit naming the place."""
    if (sent.done is not None) + (sent.give_up is not None) + bool(sent.operations) > 1:
        raise InvalidEdit("an answer is an edit, `done`, or `give_up`: give one of the three")
    if sent.give_up:
        return GiveUp(sent.give_up.reason)
    if sent.done:
        try:
            bindings_in(sent.done.answer)
        except BindingError as exc:
            raise InvalidEdit(str(exc), f"/done/answer{exc.place}") from None
        return Done(_raw(sent.done.answer, "/done/answer"), tuple(sent.done.despite), sent.done.reason)
    operations = tuple(operation_of(one, f"/operations/{index}") for index, one in enumerate(sent.operations))
    return edit.Edit(operations, sent.reason)


def line_of(sent: schemas.LineIn, place: str) -> Line:
    """Return the line as the core knows it; raise InvalidEdit naming the place."""
    when = sent.when or (When.CONDITION if sent.condition else When.SUCCESS)
    if (when is When.CONDITION) != (sent.condition is not None):
        raise InvalidEdit(f"a line with `when: {when}` and {'a' if sent.condition else 'no'} condition", place)
    if sent.condition:
        _require_cel(sent.condition, f"{place}/condition")
    return Line(sent.source, sent.target, when, sent.condition or "")


def operation_of(sent: schemas.OperationIn, place: str) -> AnyOperation:
    """Return the operation as the core knows it; raise InvalidEdit naming the place."""
    match sent:
        case schemas.AddStarIn():
            return edit.AddStar(star_of(sent.star, f"{place}/star"))
        case schemas.UpdateStarIn():
            return edit.UpdateStar(star_of(sent.star, f"{place}/star"))
        case schemas.SupersedeIn():
            return edit.Supersede(sent.id, star_of(sent.star, f"{place}/star"))
        case schemas.AddLineIn():
            return edit.AddLine(line_of(sent.line, f"{place}/line"))
        case schemas.UpdateLineIn():
            return edit.UpdateLine(line_of(sent.line, f"{place}/line"))
        case schemas.RemoveStarIn():
            return edit.RemoveStar(sent.id)
        case schemas.RemoveLineIn():
            return edit.RemoveLine(sent.source, sent.target)
        case schemas.RetryStarIn():
            return edit.Retry(sent.id)
        case schemas.SkipStarIn():
            return edit.Skip(sent.id, sent.reason)


def _needs_of(sent: schemas.NeedsIn) -> Needs:
    return Needs(tuple(sent.tools), sent.labels, sent.device or "")


def _check_second_attempts(sent: schemas.StarIn, place: str) -> None:
    """Raise InvalidEdit where a second attempt is asked for beside a call that says it may not be repeated."""
    if sent.effects not in (Effect.ONCE, Effect.INTERACTIVE):
        return
    for asked, where in (
        (bool(sent.disconnect and sent.disconnect.replace), "disconnect/replace"),
        (sent.hedge, "hedge"),
    ):
        if asked:
            text = f"a call that is {sent.effects} gets no second attempt beside the first"
            raise InvalidEdit(text, f"{place}/{where}")


def _disconnect_of(sent: schemas.DisconnectIn, place: str) -> Disconnect:
    stop_after_s = sent.lost_after_s if sent.stop_after_s is None else sent.stop_after_s
    if stop_after_s > sent.lost_after_s:
        text = "stop_after_s may not exceed lost_after_s: two devices could act at once"
        raise InvalidEdit(text, f"{place}/stop_after_s")
    return Disconnect(sent.lost_after_s, stop_after_s, sent.replace, sent.reconcile)


def _verify_of(sent: schemas.VerifyIn | None, place: str) -> Verify | None:
    if sent is None:
        return None
    _require_cel(sent.happened, f"{place}/happened")
    try:
        bindings = bindings_in(sent.arguments)
    except BindingError as exc:
        raise InvalidEdit(str(exc), f"{place}/arguments{exc.place}") from None
    if bindings:
        raise InvalidEdit("a verification's arguments may not hold bindings", f"{place}/arguments")
    return Verify(sent.tool, sent.happened, _raw(sent.arguments, f"{place}/arguments"))


def _require_cel(condition: str, place: str) -> None:
    try:
        compiled(condition)
    except ValueError as exc:
        raise InvalidEdit(str(exc), place) from None


def _instruction_of(sent: schemas.InstructionIn, place: str) -> Instruction:
    output = _raw(sent.output, f"{place}/output")
    tools, match = tuple(sent.tools or ()), sent.tools is None
    return Instruction(sent.text, sent.tips, tools, sent.steps_max, sent.tokens_max, output, match)


def _fallback_of(sent: schemas.FallbackIn, place: str) -> Fallback:
    try:
        bindings_in(sent.arguments)
    except BindingError as exc:
        raise InvalidEdit(str(exc), f"{place}/arguments{exc.place}") from None
    return Fallback(sent.tool, _raw(sent.arguments, f"{place}/arguments"))


def _raw(arguments: JsonValue, place: str) -> Raw:
    try:
        encoded = msgspec.json.encode(arguments)
    except UnicodeEncodeError as exc:
        raise InvalidEdit(f"half a character is no text: {exc}", place) from None
    if b"null" in encoded:  # it stands for None, and for numbers that JSON does not have
        _require_finite(arguments, place)
    return Raw(encoded)


def _require_finite(value: JsonValue, place: str) -> None:
    match value:
        case float() if not math.isfinite(value):
            raise InvalidEdit(f"{value} is not a number in JSON", place)
        case dict():
            for key, item in value.items():
                _require_finite(item, f"{place}/{key.replace('~', '~0').replace('/', '~1')}")
        case list():
            for index, item in enumerate(value):
                _require_finite(item, f"{place}/{index}")
