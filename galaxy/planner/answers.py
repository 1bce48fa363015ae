"""From a model's words to an Edit, Done or GiveUp, or to every mistake that was found in them.

    plan_from, revision_from    the answer; raise BadAnswer

Nothing is taken on trust: the schema is checked again, names against what is granted, arguments against what the tool
says of itself, pointers against results that are there, and the whole against the rules of edits.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from protocol.pointer import PointerError, pointed
from protocol.vocabulary import Effect

from ..core.attempt import Attempt
from ..core.binding import FROM
from ..core.constellation import Constellation
from ..core.course import Course
from ..core.edit import AddLine, AnyOperation, Edit, drafted
from ..core.edit import RemoveStar as Remove
from ..core.edit import Retry as TryAgain
from ..core.edit import Skip as DoWithout
from ..core.errors import InvalidEdit
from ..core.goal import Answer, Done, GiveUp
from ..core.star import When
from ..core.states import SUCCEEDED
from .answer_schema import Json, Menu
from .answer_steps import Call, Line, Steps
from .contract import View
from .schema_check import mistakes_in

MISTAKES_MAX = 20
MISTAKE_CHARS = 400
ANSWER_CHARS_MAX = 400_000


class BadAnswer(Exception):
    """A model's answer that cannot be used, and everything that is wrong with it, a sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        kept = list(dict.fromkeys(mistake[:MISTAKE_CHARS] for mistake in mistakes))[:MISTAKES_MAX]
        super().__init__("; ".join(kept))
        self.mistakes = kept


class NewStep(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A star that is to be added."""

    name: str
    after: tuple[Line, ...] = ()
    replaces: str | None = None


class Rewritten(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A star that has not started, said anew. Without `after` its lines stay."""

    star: str
    after: tuple[Line, ...] | None = None


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of the answer for the person: words, or what stands in a result."""

    text: str = ""
    source: str | None = field(name="from", default=None)
    pointer: str = ""


class PlanSaid(Struct, frozen=True, forbid_unknown_fields=True):
    """A model's answer to a goal."""

    thought: str
    steps: dict[str, NewStep | None]


class RevisionSaid(Struct, frozen=True, forbid_unknown_fields=True):
    """A model's answer to what has happened."""

    thought: str
    decision: str
    reason: str
    retry: list[str]
    skip: list[str]
    remove: list[str]
    update: list[Rewritten]
    add: dict[str, NewStep | None]
    answer: list[Part]
    despite: list[str]

    def changes(self) -> bool:
        return bool(self.retry or self.skip or self.remove or self.update or any(self.add.values()))


def plan_from(text: str, schema: Json, view: View, menu: Menu) -> Edit:
    """Return the edit that makes the constellation; raise BadAnswer."""
    said = msgspec.convert(_document(text, schema), PlanSaid)
    steps = Steps(view, menu)
    operations = _added(steps, said.steps)
    if not operations:
        steps.mistakes.append("there are no steps: give at least one")
    return _checked(operations, said.thought, steps)


def revision_from(text: str, schema: Json, view: View, menu: Menu) -> Answer:
    """Return what the model makes of the facts; raise BadAnswer."""
    said = msgspec.convert(_document(text, schema), RevisionSaid)
    reason = said.reason or said.thought
    if said.decision != "edit" and said.changes():
        raise BadAnswer([f"the decision is {said.decision}, but there are changes: decide edit, or leave them out"])
    match said.decision:
        case "edit":
            return _edited(said, reason, Steps(view, menu))
        case "go_on":
            return Edit((), reason)
        case "give_up":
            if not reason:
                raise BadAnswer(["/reason: say why the goal cannot be reached"])
            return GiveUp(reason)
    return _done(said, reason, view)


def _document(text: str, schema: Json) -> Any:
    """Return the JSON object that the model wrote, if it fits the schema; raise BadAnswer."""
    if len(text) > ANSWER_CHARS_MAX:
        raise BadAnswer([f"the answer has {len(text)} characters, at most {ANSWER_CHARS_MAX}"])
    try:
        document = msgspec.json.decode(_bare(text))
    except (ValueError, RecursionError) as exc:
        raise BadAnswer([f"the answer is not JSON: {exc}"]) from None
    if mistakes := mistakes_in(document, schema):
        raise BadAnswer(mistakes)
    return document


def _bare(text: str) -> str:
    """Return the text without the fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text.strip("`").removeprefix("json").strip()
    return text


def _added(steps: Steps, said: dict[str, NewStep | None]) -> list[AnyOperation]:
    new = {key: said[key] for key in steps.menu.keys if said.get(key)}
    steps.name_all({key: step.name for key, step in new.items() if step})
    operations: list[AnyOperation] = []
    replaced: dict[str, str] = {}
    for key, step in new.items():
        assert step, "only those that are there were taken"
        place = f"{'add' if steps.view.stars else 'steps'} {key}"
        if step.replaces and step.replaces in replaced:
            steps.mistakes.append(f"{place}: {step.replaces} is replaced by {replaced[step.replaces]} already")
            continue
        if step.replaces:
            replaced[step.replaces] = key
        operations += steps.added(key, step, step.replaces, place)
        operations += [AddLine(line) for line in steps.lines(key, step.after, place) if line.source != step.replaces]
    return operations


def _edited(said: RevisionSaid, reason: str, steps: Steps) -> Edit:
    operations = _added(steps, said.add)
    for update in said.update:
        operations += steps.updated(update.star, update, update.after, f"update {update.star}")
    operations += [Remove(name) for name in said.remove]
    operations += [DoWithout(name, reason) for name in said.skip]
    operations += [TryAgain(name) for name in said.retry]
    if not operations:
        steps.mistakes.append("the decision is edit, but nothing is changed: decide go_on, done or give_up instead")
    return _checked(operations, reason, steps)


def _checked(operations: list[AnyOperation], reason: str, steps: Steps) -> Edit:
    try:
        drafted(as_constellation(steps.view), operations)
    except InvalidEdit as exc:
        # It often follows from what was found before; alone it is all there is to say.
        steps.mistakes.append(str(exc))
    if steps.mistakes:
        raise BadAnswer(steps.mistakes)
    return Edit(tuple(operations), reason)


def _done(said: RevisionSaid, reason: str, view: View) -> Done:
    mistakes = [
        f"star {name} failed with nothing in its place: name it in `despite`, or do something about it"
        for name in unhandled(view)
        if name not in said.despite
    ]
    parts: list[Any] = []
    for n, part in enumerate(said.answer):
        if part.source is None:
            parts.append(part.text)
            continue
        mistakes += [f"/answer/{n}: {mistake}" for mistake in mistakes_of_pointer(view, part.source, part.pointer)]
        parts.append({FROM: part.source, "pointer": part.pointer})
    if mistakes:
        raise BadAnswer(mistakes)
    whole = parts[0] if len(parts) == 1 else parts or ""
    return Done(Raw(msgspec.json.encode(whole)), tuple(said.despite), reason)


def unhandled(view: View) -> list[str]:
    """Return the stars that failed and have no star behind a `failure` line that succeeded in their place."""
    handled = {
        line.source
        for star in view.stars.values()
        for line in star.sources
        if line.when is When.FAILURE and star.state is SUCCEEDED
    }
    return [n for n, star in view.stars.items() if (star.failure_held or star.state == "failed") and n not in handled]


def mistakes_of_pointer(view: View, source: str, pointer: str) -> list[str]:
    """Return why the pointer leads nowhere in a result that is there."""
    star = view.stars.get(source)
    if star is None or star.result is None:
        return [f"{source} has no result"]
    try:
        pointed(msgspec.json.decode(star.result), pointer)
    except (PointerError, ValueError) as exc:
        return [f"in the result of {source}, {exc}"]
    return []


def as_constellation(view: View) -> Constellation:
    """Return a constellation that is as the view says, for trying edits on."""
    constellation = Constellation(view.constellation)
    for name, seen in view.stars.items():
        course = Course(seen.star, seen.state, failure=seen.failure, failure_held=seen.failure_held)
        if seen.device or seen.tries:  # it was tried: that it was is all that the rules ask
            course.attempts.append(Attempt(1, seen.device, Effect.ONCE, 0.0))
        constellation.courses[name] = course
        for line in seen.sources:
            constellation.into.setdefault(name, {})[line.source] = line
            constellation.out_of.setdefault(line.source, {})[name] = None
    constellation.level_all()
    return constellation
