"""An outline's steps, whichever way they were written, and what must be true of them together.

The front ends read syntax; `outline_of` is where steps meet: what each refers to is above it, and makes sense there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from protocol.pointer import PointerError, tokens

from ..core.condition import compiled
from ..core.star import When
from .contract import PlannerFailed

STEPS_MAX = 500
TITLE_CHARS_MAX = 500
BEFORE = 0  # in a link: the step that is written before this one


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in an outline, both counted from 1."""

    line: int
    column: int


class OutlineError(PlannerFailed):
    """An outline that cannot be followed: where, why, and what to write instead."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Reference:
    """What stands in braces: a step's number or a loop's variable, and where to look in its value."""

    name: str
    pointer: str
    mark: Mark

    @property
    def step(self) -> int | None:
        """The step that is named; None for a variable."""
        return int(self.name) if self.name.isdecimal() else None

    def __str__(self) -> str:
        return self.name + self.pointer


@dataclass(frozen=True, slots=True)
class Mixed:
    """A text into which values of the loop's item are put."""

    parts: tuple[str | Reference, ...]


Value = None | bool | int | float | str | Reference | Mixed | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool, and arguments in which references stand for what is not known yet."""

    tool: str
    arguments: dict[str, Value]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Words:
    """An instruction for a device's own model, and the tools that the model may call."""

    text: Value
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """What a step waits for."""

    step: int
    when: When
    mark: Mark
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """A step for each item of a list in another step's result."""

    variable: str
    step: int
    pointer: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it is written. Where there are `words`, the call's arguments are their inputs."""

    number: int
    mark: Mark
    call: Call
    title: str = ""
    device: str = ""
    device_mark: Mark = Mark(1, 1)
    labels: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    loop: Loop | None = None
    words: Words | None = None
    fallback: Call | None = None
    attempts: int | None = None
    within_s: float | None = None
    needs_approval: bool = False

    def references(self) -> Iterator[Reference]:
        yield from references_in(self.call.arguments)
        if self.fallback:
            yield from references_in(self.fallback.arguments)
        if self.words:
            yield from references_in(self.words.text)

    def tools(self) -> Iterator[tuple[str, Mark]]:
        """Yield each tool that the step may come to, and where it is written."""
        yield self.call.tool, self.call.mark
        if self.words:
            yield from ((tool, self.call.mark) for tool in self.words.tools)
        if self.fallback:
            yield self.fallback.tool, self.fallback.mark


@dataclass(frozen=True, slots=True)
class Outline:
    """Steps that fit together. `answer` is texts and references to results; empty where none is asked for."""

    steps: tuple[Step, ...]
    answer: tuple[str | Reference, ...] = ()


def fault(message: str, mark: Mark) -> OutlineError:
    """Return the error for this place."""
    return OutlineError(message, mark.line, mark.column)


def references_in(value: Value) -> Iterator[Reference]:
    """Yield every reference in a value, in order."""
    match value:
        case Reference():
            yield value
        case Mixed(parts=parts):
            yield from (part for part in parts if isinstance(part, Reference))
        case dict():
            for item in value.values():
                yield from references_in(item)
        case list():
            for item in value:
                yield from references_in(item)


def outline_of(steps: Sequence[Step], answer: tuple[str | Reference, ...], end: Mark) -> Outline:
    """Return the outline; raise OutlineError for what does not fit together. `end` is where the text ends."""
    if not steps:
        raise fault("there are no steps: write a line such as `1. system.info`", end)
    if len(steps) > STEPS_MAX:
        raise fault(f"over {STEPS_MAX} steps: make two outlines of it", steps[STEPS_MAX].mark)
    numbers = {step.number for step in steps}
    above: dict[int, Step] = {}
    for step in steps:
        if step.number in above:
            raise fault(f"there is a step {step.number} already: give each step a number of its own", step.mark)
        above[step.number] = _checked(step, _Known(above, numbers, step.number))
    known = _Known(above, numbers, BEFORE)
    for reference in (part for part in answer if isinstance(part, Reference)):
        known.check_reference(reference, None)
    return Outline(tuple(above.values()), answer)


@dataclass(frozen=True, slots=True)
class _Known:
    """What may be named where the step `here` stands."""

    above: dict[int, Step]
    numbers: set[int]
    here: int

    def step(self, number: int, mark: Mark) -> Step:
        if number in self.above:
            return self.above[number]
        names = _listed(self.above)
        if number == self.here:
            raise fault(f"step {number} refers to itself: name a step above it{names}", mark)
        if number in self.numbers:
            raise fault(f"step {number} stands below this one: move it up, or name a step above{names}", mark)
        raise fault(f"there is no step {number}: name a step above{names}", mark)

    def check_reference(self, reference: Reference, loop: Loop | None) -> None:
        _check_pointer(reference.pointer, reference.mark)
        if reference.step is not None:
            self.step(reference.step, reference.mark)
        elif loop is None or reference.name != loop.variable:
            there = f"the loop's variable is {{{loop.variable}}}" if loop else "there is no loop here"
            message = f"nothing is called {reference.name}, {there}: for the text itself write {{{{{reference}}}}}"
            raise fault(message, reference.mark)


def _checked(step: Step, known: _Known) -> Step:
    """Return the step with `BEFORE` made a number; raise OutlineError."""
    if len(step.title) > TITLE_CHARS_MAX:
        raise fault(f"a title of {len(step.title)} characters: write at most {TITLE_CHARS_MAX}", step.mark)
    links = tuple(_placed(link, known) for link in step.links)
    for index, link in enumerate(links):
        if any(link.step == other.step for other in links[:index]):
            raise fault(f"step {link.step} is waited for twice: say once how it must end", link.mark)
        _check_link(link, known.step(link.step, link.mark))
    needed: dict[int, Mark] = {}
    if step.loop:
        _check_loop(step.loop, known)
        needed[step.loop.step] = step.loop.mark
    for reference in step.references():
        known.check_reference(reference, step.loop)
        if reference.step is not None:
            needed.setdefault(reference.step, reference.mark)
    for link in links:
        if link.step in needed and link.when in (When.FAILURE, When.ALWAYS):
            message = (
                f"this needs the result of step {link.step}, which has none if it fails: write `after {link.step}`"
            )
            raise fault(message, needed[link.step])
    return replace(step, links=links, words=_worded(step.words, step.call.mark) if step.words else None)


def _worded(words: Words, mark: Mark) -> Words:
    """Return the words with a loop's item as text; a result is not text."""
    if words.text == "":
        raise fault('an instruction without words: write `do "tidy up"`', mark)
    if not isinstance(words.text, Reference):
        return words
    if words.text.step is not None:
        raise fault(f"an instruction is words: give it the result as an input, as in `from={{{words.text}}}`", mark)
    return replace(words, text=Mixed((words.text,)))


def _placed(link: Link, known: _Known) -> Link:
    if link.step != BEFORE:
        return link
    if not known.above:
        raise fault("there is no step before the first one: leave this out", link.mark)
    return replace(link, step=next(reversed(known.above)))


def _check_link(link: Link, source: Step) -> None:
    if source.loop and link.when is When.FAILURE:
        message = f"step {link.step} is a step for each item, and all would have to fail: write `if {link.step} ends`"
        raise fault(message, link.mark)
    if link.when is When.CONDITION:
        try:
            compiled(link.condition)
        except (ValueError, RecursionError) as exc:
            raise fault(f"{exc}: write a condition such as `result.status == 200`", link.mark) from None


def _check_loop(loop: Loop, known: _Known) -> None:
    _check_pointer(loop.pointer, loop.mark)
    if known.step(loop.step, loop.mark).loop:
        message = f"step {loop.step} is a loop itself, and loops are not nested: loop over a step that runs once"
        raise fault(message, loop.mark)


def _check_pointer(pointer: str, mark: Mark) -> None:
    try:
        tokens(pointer)
    except PointerError as exc:
        raise fault(f"{exc}: write it as in /items/0/name", mark) from None


def _listed(numbers: Iterable[int]) -> str:
    names = [str(number) for number in numbers]
    more = ", ..." if len(names) > 8 else ""
    return f" ({', '.join(names[:8])}{more})" if names else ", of which there is none"
