"""How the steps of an outline become stars, as far as what is known allows.

Step n becomes star `s<n>`; where it has a loop, item i becomes `s<n>-<i>`. A loop can be drawn when its list is there,
and what stands behind a loop when the loop is drawn. What is drawn is looked up in the view; nothing else is kept.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from protocol.pointer import PointerError, pointed
from protocol.vocabulary import ARTIFACT

from ..core.binding import FROM, bindings_in
from ..core.edit import AddLine, AddStar, AnyOperation
from ..core.star import Fallback, Instruction, Line, Needs, OnSuccess, Retry, Star, Timeouts, When
from ..core.states import SUCCEEDED, TERMINAL
from .contract import View
from .steps import Loop, Mixed, Outline, Reference, Step, Value

ITEMS_MAX = 200  # of one list

_LOOP_STAR = re.compile(r"s([1-9][0-9]*)-([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What can be added to a constellation, and why something could not be, by the star whose result is the reason."""

    operations: tuple[AnyOperation, ...]
    problems: dict[str, str]


class _CannotDraw(Exception):
    """A list that is none, or whose items do not fit where they are to go."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of a loop's list, by the star that has it and its place there."""

    source: str
    pointer: str
    value: Any


@dataclass(slots=True)
class _Drawing:
    """Goes through the steps once. `stars` has the stars of each step that is drawn, in order."""

    outline: Outline
    view: View
    at_first: bool  # the steps without loops are drawn too
    stars: dict[int, tuple[str, ...]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)  # steps that will never be drawn
    added: list[Star] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def drawn(self) -> Drawn:
        loops = {step.number for step in self.outline.steps if step.loop}
        asked = {step.loop.step for step in self.outline.steps if step.loop}
        late = _behind(self.outline, loops)
        there = self._there()
        for step in self.outline.steps:
            if step.number in there:
                self.stars[step.number] = there[step.number]
            elif step.number not in late and not self.at_first:
                self.gone.add(step.number)  # it was drawn at first, and somebody has removed it
            elif self._can_be_drawn(step):
                self._draw(step, OnSuccess.CONSULT if step.number in asked else None)
        return Drawn((*map(AddStar, self.added), *map(AddLine, self.lines)), self.problems)

    def _there(self) -> dict[int, tuple[str, ...]]:
        """Return the stars of each step that the view has, or those that stand in for them."""
        items: dict[int, list[int]] = defaultdict(list)
        for star_id in self.view.stars:
            if match := _LOOP_STAR.fullmatch(star_id):
                items[int(match[1])].append(int(match[2]))
        there = {}
        for step in self.outline.steps:
            ids = [f"s{step.number}-{index}" for index in sorted(items[step.number])] if step.loop else []
            if not step.loop and f"s{step.number}" in self.view.stars:
                ids = [f"s{step.number}"]
            if ids:
                there[step.number] = tuple(standing_in(self.view, star_id) for star_id in ids)
        return there

    def _can_be_drawn(self, step: Step) -> bool:
        waits = _waits_for(step)
        if any(number in self.gone for number, when in waits.items() if when is not When.ALWAYS):
            self.gone.add(step.number)
            return False
        return all(number in self.stars or number in self.gone for number in waits)

    def _draw(self, step: Step, on_success: OnSuccess | None) -> None:
        if step.loop is None:
            self._put(step, f"s{step.number}", None, on_success)
            self.stars[step.number] = (f"s{step.number}",)
            return
        (source,) = self.stars[step.loop.step]
        seen = self.view.stars.get(source)
        if seen is None or seen.state not in TERMINAL:
            return
        if seen.state is not SUCCEEDED:
            self.gone.add(step.number)
            return
        before = len(self.added), len(self.lines)
        try:
            items = _items_of(seen.result, step.loop, source)
            ids = tuple(f"s{step.number}-{index}" for index in range(1, len(items) + 1))
            for star_id, item in zip(ids, items, strict=True):
                self._put(step, star_id, item, on_success)
        except _CannotDraw as exc:
            del self.added[before[0] :], self.lines[before[1] :]
            self.gone.add(step.number)
            self.problems[source] = f"step {step.number} cannot be drawn: {exc}"
            return
        self.stars[step.number] = ids

    def _put(self, step: Step, star_id: str, item: _Item | None, on_success: OnSuccess | None) -> None:
        filling = _Filling(self.stars, {s.number for s in self.outline.steps if s.loop}, item)
        arguments = filling.filled(step.call.arguments)
        fallback = step.fallback
        words = step.words
        star = Star(
            star_id,
            step.call.tool,
            Raw(msgspec.json.encode(arguments)),
            bindings_in(arguments),
            title=step.title,
            needs=Needs(tuple(dict.fromkeys(words.tools)) if words else (), dict(step.labels), step.device),
            retry=Retry() if step.attempts is None else Retry(step.attempts),
            timeouts=Timeouts() if step.within_s is None else Timeouts(run_s=step.within_s),
            on_success=on_success,
            instruction=Instruction(str(filling.filled(words.text)), tools=words.tools, match=not words.tools)
            if words
            else None,
            fallback=Fallback(fallback.tool, Raw(msgspec.json.encode(filling.filled(fallback.arguments))))
            if fallback
            else None,
            needs_approval=step.needs_approval,
        )
        self.added.append(star)
        self.lines += self._lines_into(step, star, filling)

    def _lines_into(self, step: Step, star: Star, filling: "_Filling") -> Iterator[Line]:
        """Yield the lines that the star's bindings do not draw by themselves."""
        bound = {binding.source for binding in star.bindings}
        said = set()
        for link in step.links:
            for source in self.stars.get(link.step, ()):  # none: it is gone, and this goes on whatever happens
                said.add(source)
                if source not in bound or link.when is not When.SUCCESS:
                    yield Line(source, star.id, link.when, link.condition)
        # A fallback's results must be there too, and a loop's list, even where only its words are used.
        others = [*filling.named, *([filling.item.source] if filling.item else [])]
        for source in dict.fromkeys(others):
            if source not in bound and source not in said:
                yield Line(source, star.id)


@dataclass(slots=True)
class _Filling:
    """Puts bindings and an item's values in the place of references. `named` is every star that it has bound to."""

    stars: dict[int, tuple[str, ...]]
    loops: set[int]
    item: _Item | None
    named: list[str] = field(default_factory=list)

    def filled(self, value: Value) -> Any:
        match value:
            case Reference():
                return self._binding(value)
            case Mixed(parts=parts):
                return "".join(part if isinstance(part, str) else self._scalar(part) for part in parts)
            case dict():
                return {key: self.filled(inner) for key, inner in value.items()}
            case list():
                return [self.filled(inner) for inner in value]
        return value

    def _binding(self, reference: Reference) -> Any:
        if reference.step is None:
            assert self.item, "a loop's variable stands in its own step only"
            return {FROM: self.item.source, "pointer": self.item.pointer + reference.pointer}
        bound = [{FROM: source, "pointer": reference.pointer} for source in self.stars[reference.step]]
        self.named += self.stars[reference.step]
        return bound if reference.step in self.loops else bound[0]

    def _scalar(self, reference: Reference) -> str:
        assert self.item, "a loop's variable stands in its own step only"
        try:
            value = pointed(self.item.value, reference.pointer)
        except PointerError as exc:
            raise _CannotDraw(f"in item {self.item.pointer!r} of {self.item.source}, {exc}") from None
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, dict | list):
            what = "nothing" if value is None else "an object or a list"
            raise _CannotDraw(f"{{{reference}}} stands in a text, and is {what} in item {self.item.pointer!r}")
        return msgspec.json.encode(value).decode()


def standing_in(view: View, star_id: str) -> str:
    """Return the star that was put in the place of this one, of that again, and so on; or this one."""
    stem = star_id.partition("~")[0] + "~"
    seen = {star_id}
    while view.stars[star_id].state in TERMINAL and view.stars[star_id].state is not SUCCEEDED:
        follower = next(
            (
                other.star.id
                for other in view.stars.values()
                if other.star.id.startswith(stem)
                and other.star.id not in seen
                and any(line.source == star_id for line in other.sources)
            ),
            None,
        )
        if follower is None:
            return star_id
        seen.add(follower)
        star_id = follower
    return star_id


def _behind(outline: Outline, loops: set[int]) -> set[int]:
    """Return the loops and every step behind one."""
    late = set(loops)
    for step in outline.steps:
        if late & _waits_for(step).keys():
            late.add(step.number)
    return late


def _waits_for(step: Step) -> dict[int, When]:
    """Return the steps that this one waits for, and how each must end."""
    waits = {reference.step: When.SUCCESS for reference in step.references() if reference.step is not None}
    if step.loop:
        waits[step.loop.step] = When.SUCCESS
    return waits | {link.step: link.when for link in step.links}


def _items_of(result: Raw | None, loop: Loop, source: str) -> list[_Item]:
    try:
        document = msgspec.json.decode(result or Raw(b"null"))
        if isinstance(document, dict) and ARTIFACT in document:
            raise _CannotDraw(f"the result of {source} is an artifact; a list must be small enough to be sent inline")
        found = pointed(document, loop.pointer)
    except (PointerError, msgspec.DecodeError, RecursionError) as exc:
        raise _CannotDraw(f"in the result of {source}, {exc}") from None
    where = f"{loop.pointer!r} in the result of {source}" if loop.pointer else f"the result of {source}"
    if not isinstance(found, list):
        raise _CannotDraw(f"{where} is not a list")
    if len(found) > ITEMS_MAX:
        raise _CannotDraw(f"{where} has {len(found)} items, at most {ITEMS_MAX}")
    return [_Item(source, f"{loop.pointer}/{index}", value) for index, value in enumerate(found)]


def drawn(outline: Outline, view: View, *, at_first: bool = False) -> Drawn:
    """Return what can be drawn and is not there: at first everything that needs no list, later what was waiting."""
    return _Drawing(outline, view, at_first).drawn()
