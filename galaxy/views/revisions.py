"""The history of a constellation: its revisions, what each has changed, how one is taken back, and how one goes on.

A revision is made by the submission, and by each edit that has operations.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from msgspec import Raw, Struct

from ..core.constellation import MET_BY, Constellation
from ..core.control import SUPERSEDED_BY
from ..core.edit import AnyOperation, Draft, Edit, drafted, inverse, submission
from ..core.errors import Conflict
from ..core.events import ConstellationEdited, ConstellationSubmitted, ConsultOpened, Event, Kept, UsageSettled
from ..core.goal import Fact, Usage
from ..core.regrow import as_written, stem_of
from ..core.star import Line, Star, When
from ..core.states import CANCELLED, FAILED, SKIPPED, SUCCEEDED

Picture = dict[str, Any]
MakesRevision = ConstellationSubmitted | ConstellationEdited

TOLD_BY = frozenset({"constellation_submitted", "constellation_edited", "consult_opened", "usage_settled"})
NULL = Raw(b"null")
CAME_TO_NOTHING = frozenset({FAILED, CANCELLED, SKIPPED})


def is_revision(event: Event) -> TypeGuard[MakesRevision]:
    """Return whether the event makes a revision; a planner's edit without operations makes none."""
    return isinstance(event, ConstellationSubmitted) or (
        isinstance(event, ConstellationEdited) and bool(event.edit.operations)
    )


@dataclass(slots=True)
class Cost:
    """What models have cost."""

    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0
    calls: int = 0
    seconds: float = 0.0

    def add(self, usage: Usage) -> None:
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        self.money += usage.money
        self.calls += 1
        self.seconds += usage.took_s


@dataclass(slots=True)
class Revisions:
    """The revisions, worked out event by event; of the log, only events of the kinds `TOLD_BY` are looked at."""

    made: list[Picture] = field(default_factory=list)
    facts: dict[int, tuple[Fact, ...]] = field(default_factory=dict)  # of each question
    costs: dict[int, Cost] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        match event:
            case ConsultOpened():
                self.facts[event.consult] = event.facts
            case UsageSettled() if event.consult:
                self.costs.setdefault(event.consult, Cost()).add(event.usage)
            case ConstellationSubmitted():
                self._note(event, operations_of(event), base=0)
            case ConstellationEdited() if event.edit.operations:
                self._note(event, event.edit.operations, event.base, event.edit.reason, event.consult)

    def listed(self, after: int, limit: int) -> list[Picture]:
        """Return a page of them, the oldest first, each with the question that it answered and what that has cost."""
        return [
            {
                **one,
                "facts": plain_facts(self.facts.get(one["consult"], ())),
                "cost": self.costs.get(one["consult"], Cost()) if one["consult"] else None,
            }
            for one in self.made[after : after + limit]
        ]

    def _note(
        self, event: MakesRevision, operations: Iterable[AnyOperation], base: int, reason: str = "", consult: int = 0
    ) -> None:
        number = len(self.made) + 1
        self.made.append(
            {
                "revision": number,
                "at": event.at,
                "by": event.by,
                "reason": reason,
                "base": base,
                "rebased": base != number - 1,
                "consult": consult,
                "operations": counted(operations),
            }
        )


def plain_facts(facts: Iterable[Fact]) -> list[Picture]:
    """Return what a question is about, by the names of the API."""
    return [{"kind": fact.kind, "at": fact.at, "star": fact.star or None} for fact in facts]


def counted(operations: Iterable[AnyOperation]) -> dict[str, int]:
    """Return how many operations of each kind there are, in the order of their first."""
    return dict(Counter(str(operation.__struct_config__.tag) for operation in operations))


def operations_of(event: MakesRevision) -> tuple[AnyOperation, ...]:
    """Return the operations that make the revision from the one before it."""
    if isinstance(event, ConstellationSubmitted):
        return tuple(submission(event.stars, event.lines))
    return event.edit.operations


def draft_of(before: Constellation, event: MakesRevision) -> Draft:
    """Return what the event makes of the constellation as it was; raise InvalidEdit if that cannot be."""
    return drafted(before, operations_of(event))


def difference(before: Constellation, draft: Draft, reason: str = "") -> Picture:
    """Return what a draft changes: of stars and lines what is new, gone or otherwise; and what is done with stars."""
    stars: dict[str, list[Picture]] = {"added": [], "removed": [], "changed": []}
    for star_id, star in draft.stars.items():
        course = before.courses.get(star_id)
        _compare(stars, {"id": star_id}, course.star if course else None, star)
    lines: dict[str, list[Picture]] = {"added": [], "removed": [], "changed": []}
    for (source, target), line in draft.lines.items():
        was = before.into.get(target, {}).get(source)
        _compare(lines, {"source": source, "target": target}, was, line)
    return {
        "stars": stars,
        "lines": lines,
        "retried": [{"id": star_id, "reason": reason} for star_id in draft.retried],
        "skipped": [{"id": star_id, "reason": why or reason} for star_id, why in draft.skipped.items()],
        "superseded": [{"id": old, "by": new, "reason": reason} for old, new in draft.superseded.items()],
    }


def taken_back(before: Constellation, event: MakesRevision, revision: int, reason: str = "") -> Edit:
    """Return the edit that takes the revision back; raise Conflict if there is none."""
    if isinstance(event, ConstellationSubmitted):
        raise Conflict("revision 1 is the submission: cancel the constellation instead of taking it back")
    undo = inverse(before, event.edit)
    if undo is None:
        kinds = ", ".join(counted(event.edit.operations))
        raise Conflict(
            f"revision {revision} cannot be taken back: it stopped, skipped or retried something ({kinds}), "
            "and that has happened"
        )
    return Edit(undo.operations, reason or f"undo of revision {revision}")


@dataclass(frozen=True, slots=True)
class Continued:
    """What goes on in another constellation: the graph, and the results that it need not work out anew."""

    stars: tuple[Star, ...]
    lines: tuple[Line, ...]
    kept: tuple[Kept, ...]


def continued(then: Constellation, now: Constellation, from_star: str = "") -> Continued:
    """Return the graph as it was `then`, with those results of `now` that still count; raise UnknownId.

    A result counts while its star is written as it was, every result that it was made of counts too, and it is not
    behind `from_star`. A star that came to nothing and was made up for is left out, unless it is behind `from_star`:
    what may happen only once may have been begun by it, and has been done by the other.
    """
    anew = _behind(then, from_star) if from_star else {}
    kept: dict[str, Kept] = {}
    for star_id in sorted(then.courses, key=lambda one: then.levels[one]):
        written, course = then.courses[star_id].star, now.courses.get(star_id)
        if star_id in anew or course is None or course.state is not SUCCEEDED or course.star != written:
            continue
        if all(binding.source in kept for binding in written.bindings):
            kept[star_id] = Kept(star_id, NULL if course.result is None else course.result)
    gone = _made_up_for(then, now, {*anew, *kept})
    return Continued(
        stars=tuple(course.star for star_id, course in then.courses.items() if star_id not in gone),
        lines=tuple(
            line
            for sources in then.into.values()
            for line in sources.values()
            if not line.implied and line.source not in gone and line.target not in gone
        ),
        kept=tuple(kept[star_id] for star_id in then.courses if star_id in kept),
    )


def _made_up_for(then: Constellation, now: Constellation, wanted: Collection[str]) -> dict[str, None]:
    """Return the stars that came to nothing and have another in their place, and those that could only follow on them.

    The other is one that succeeded, or a later copy of the star, however far that is.
    """
    handled = {failed.star: failed.handled_by for failed in now.failures()}
    copies: dict[str, list[str]] = {}
    for star_id in then.courses:
        copies.setdefault(stem_of(star_id), []).append(star_id)
    gone: dict[str, None] = {}
    for star_id in sorted(then.courses, key=lambda one: then.levels[one]):
        course = now.courses.get(star_id)
        if star_id in wanted or course is None or course.state not in CAME_TO_NOTHING:
            continue
        lines = then.into.get(star_id, {}).values()
        never = any(line.source in gone and now.courses[line.source].state not in MET_BY[line.when] for line in lines)
        if never or _stand_in(now, handled, star_id) in then.courses or _has_copy(then, copies, star_id):
            gone[star_id] = None
    return gone


def _stand_in(now: Constellation, handled: Mapping[str, str], star_id: str) -> str:
    """Return the star that succeeded in the place of this one, or nothing."""
    while (course := now.courses.get(star_id)) and course.state is not SUCCEEDED:
        star_id = handled.get(star_id, "")
        if course.state is CANCELLED and course.cause.startswith(SUPERSEDED_BY):
            star_id = course.cause.removeprefix(SUPERSEDED_BY)
    return star_id if course else ""


def _has_copy(then: Constellation, copies: Mapping[str, list[str]], star_id: str) -> bool:
    """Return whether the star has grown anew beside itself."""
    same = copies[stem_of(star_id)]
    later = same[same.index(star_id) + 1 :]
    return any(as_written(then, then.courses[star_id].star) == as_written(then, then.courses[o].star) for o in later)


def _behind(constellation: Constellation, star_id: str) -> dict[str, None]:
    """Return the star and all that are behind it."""
    constellation.course(star_id)
    found = {star_id: None}
    pending = [star_id]
    while pending:
        for target in constellation.out_of.get(pending.pop(), ()):
            if target not in found:
                found[target] = None
                pending.append(target)
    return found


def _compare(
    found: Mapping[str, list[Picture]], name: Picture, was: Star | Line | None, now: Star | Line | None
) -> None:
    if was is None and now is not None:
        found["added"].append(written(now))
    elif was is not None and now is None:
        found["removed"].append(written(was))
    elif was is not None and now is not None:
        old, new = written(was), written(now)
        fields = {key: {"before": old[key], "after": new[key]} for key in new if old[key] != new[key]}
        if fields:
            found["changed"].append({**name, "fields": fields})


def written(one: Struct) -> Picture:
    """Return a star or a line as it is written, with its defaults; bindings stand in the arguments."""
    found = {name: _plain(getattr(one, name)) for name in one.__struct_fields__ if name != "bindings"}
    if isinstance(one, Line):
        found["condition"] = one.condition if one.when is When.CONDITION else None
    return found


def _plain(value: Any) -> Any:
    return written(value) if isinstance(value, Struct) else value
