"""A batch of changes to a constellation: made against a revision, accepted whole or refused whole.

Each operation has its precondition; a refusal names the operation's place. `drafted` works out what an edit would do
without touching the constellation, so that checking an edit and applying it are the same computation.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from protocol.vocabulary import NAME

from .binding import ARGUMENTS_BYTES_MAX
from .cycle import require_acyclic
from .errors import InvalidEdit
from .star import EMPTY, INSTRUCT, Line, Star, When
from .states import HELD_BY_DEVICE, NOT_STARTED, READY

if TYPE_CHECKING:
    from .constellation import Constellation

STARS_MAX = 100_000
LINES_MAX = 400_000


def tag_of(class_name: str) -> str:
    """Return the class's name as it stands in JSON: AddStar is add_star."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", class_name).lower()


class Operation(Struct, frozen=True, omit_defaults=True, tag_field="op", tag=tag_of):
    """One change."""


class AddStar(Operation, frozen=True):
    star: Star


class RemoveStar(Operation, frozen=True):
    """Only what has not started; its lines go with it."""

    id: str


class UpdateStar(Operation, frozen=True):
    """Rewrite a star that has not started."""

    star: Star


class AddLine(Operation, frozen=True):
    line: Line


class RemoveLine(Operation, frozen=True):
    source: str
    target: str


class UpdateLine(Operation, frozen=True):
    """Change when an existing line holds."""

    line: Line


class Retry(Operation, frozen=True):
    """Try a star again at once that waits: for its back-off, or for a person after its last failure."""

    id: str


class Skip(Operation, frozen=True):
    """Do without a star that has not started."""

    id: str
    reason: str = ""


class Supersede(Operation, frozen=True):
    """Put another star in the place of one that runs or whose failure is held; it starts when the old one has ended.

    The one that runs is stopped. The one that failed counts as failed, and the other as what made up for it.
    """

    id: str
    star: Star


AnyOperation = AddStar | RemoveStar | UpdateStar | AddLine | RemoveLine | UpdateLine | Retry | Skip | Supersede


class Edit(Struct, frozen=True, omit_defaults=True):
    """The operations, in order: a later one sees what an earlier one did."""

    operations: tuple[AnyOperation, ...]
    reason: str = ""


class Draft:
    """What an edit would make of a constellation: an overlay of what it touches."""

    def __init__(self, constellation: "Constellation") -> None:
        self.constellation = constellation
        self.stars: dict[str, Star | None] = {}  # None: removed
        self.lines: dict[tuple[str, str], Line | None] = {}
        self.retried: list[str] = []
        self.skipped: dict[str, str] = {}
        self.superseded: dict[str, str] = {}
        # Dicts rather than sets, whose order is another in each process: replay must give the same.
        self.into: dict[str, dict[str, None]] = {}  # of touched targets, the sources
        self.out_of: dict[str, dict[str, None]] = {}

    # What is there, as the operations so far have left it.

    def size(self) -> int:
        courses = self.constellation.courses
        return len(courses) + sum((star is not None) - (star_id in courses) for star_id, star in self.stars.items())

    def star(self, star_id: str) -> Star | None:
        if star_id in self.stars:
            return self.stars[star_id]
        course = self.constellation.courses.get(star_id)
        return course.star if course else None

    def line(self, source: str, target: str) -> Line | None:
        if (source, target) in self.lines:
            return self.lines[source, target]
        return self.constellation.into.get(target, {}).get(source)

    def sources(self, target: str) -> dict[str, None]:
        if target not in self.into:
            self.into[target] = dict.fromkeys(self.constellation.into.get(target, ()))
        return self.into[target]

    def targets(self, source: str) -> dict[str, None]:
        if source not in self.out_of:
            self.out_of[source] = dict.fromkeys(self.constellation.out_of.get(source, ()))
        return self.out_of[source]

    # Changes.

    def put_line(self, line: Line) -> None:
        self.lines[line.source, line.target] = line
        self.sources(line.target)[line.source] = None
        self.targets(line.source)[line.target] = None

    def drop_line(self, source: str, target: str) -> None:
        self.lines[source, target] = None
        self.sources(target).pop(source, None)
        self.targets(source).pop(target, None)

    def put_star(self, star: Star) -> None:
        """Add or rewrite a star, with the lines that its bindings imply."""
        self.stars[star.id] = star
        bound = dict.fromkeys(binding.source for binding in star.bindings)
        for source in list(self.sources(star.id)):
            line = self.line(source, star.id)
            if line and line.implied and source not in bound:
                self.drop_line(source, star.id)
        for source in bound:
            if not self.line(source, star.id):
                self.put_line(Line(source, star.id, implied=True))

    def drop_star(self, star_id: str) -> None:
        self.stars[star_id] = None
        for source in list(self.sources(star_id)):
            self.drop_line(source, star_id)
        for target in list(self.targets(star_id)):
            self.drop_line(star_id, target)


def submission(stars: Iterable[Star], lines: Iterable[Line]) -> list[AnyOperation]:
    """Return the operations that make a whole constellation from nothing."""
    return [*map(AddStar, stars), *map(AddLine, lines)]


def drafted(constellation: "Constellation", operations: Iterable[AnyOperation]) -> Draft:
    """Return what the operations would make of the constellation; raise InvalidEdit and change nothing."""
    draft = Draft(constellation)
    for index, operation in enumerate(operations):
        try:
            _operate(draft, operation)
        except InvalidEdit as exc:
            raise type(exc)(str(exc), f"/operations/{index}{exc.place}") from None
    _require_whole(draft)
    require_acyclic(draft)
    return draft


def named(operation: AnyOperation) -> tuple[str, ...]:
    """Return the stars that must be as the edit's author saw them."""
    match operation:
        case AddStar():
            return ()
        case UpdateStar(star=star):
            return (star.id,)
        case AddLine(line=line) | UpdateLine(line=line):
            return (line.target,)
        case RemoveLine(target=target):
            return (target,)
        case RemoveStar(id=star_id) | Retry(id=star_id) | Skip(id=star_id) | Supersede(id=star_id):
            return (star_id,)
    assert_never(operation)


def unchanged_since(constellation: "Constellation", operations: Iterable[AnyOperation], base: int) -> None:
    """Raise InvalidEdit if a later revision than `base` has changed what an operation names, or a line to it."""
    for index, operation in enumerate(operations):
        # The lines out of a star go with it, and each belongs to the star behind it; or that one is skipped with it.
        behind = constellation.out_of.get(operation.id, ()) if isinstance(operation, RemoveStar | Skip) else ()
        for star_id in (*named(operation), *behind):
            course = constellation.courses.get(star_id)
            if course and course.revision > base:
                text = f"star {star_id} was changed by revision {course.revision}, after {base}"
                raise InvalidEdit(text, f"/operations/{index}")


def inverse(constellation: "Constellation", edit: Edit) -> Edit | None:
    """Return the edit that takes `edit` back, given the constellation as it was before it, or None where there is none.

    What was stopped, skipped or tried again cannot be taken back.
    """
    undo: list[AnyOperation] = []
    draft = Draft(constellation)
    for operation in edit.operations:
        match operation:
            case AddStar(star=star):
                undo.append(RemoveStar(star.id))
            case UpdateStar(star=star) if old := draft.star(star.id):
                if star.id in constellation.courses:  # else taking back its addition takes it all
                    undo.append(UpdateStar(old))
            case RemoveStar(id=star_id) if old := draft.star(star_id):
                lines = [draft.line(source, star_id) for source in sorted(draft.sources(star_id))]
                lines += [draft.line(star_id, target) for target in sorted(draft.targets(star_id))]
                undo += [*(AddLine(line) for line in reversed(lines) if line and not line.implied), AddStar(old)]
            case AddLine(line=line):
                undo.append(RemoveLine(line.source, line.target))
            case UpdateLine(line=line) if was := draft.line(line.source, line.target):
                undo.append(UpdateLine(was))
            case RemoveLine(source=source, target=target) if was := draft.line(source, target):
                undo.append(AddLine(was))
            case _:
                return None
        _operate(draft, operation)
    return Edit(tuple(reversed(undo)), f"undo: {edit.reason}" if edit.reason else "undo")


def _operate(draft: Draft, operation: AnyOperation) -> None:
    match operation:
        case AddStar(star=star):
            _require_new(draft, star)
            draft.put_star(star)
        case UpdateStar(star=star):
            _require_not_started(draft, star.id)
            _require_sound(star)
            draft.put_star(star)
        case RemoveStar(id=star_id):
            _require_not_started(draft, star_id)
            # Under the same name another star would count its attempts from 1 again, and late reports pass for its own.
            _require(not _was_tried(draft, star_id), star_id, "has been tried already: it can be skipped, not removed")
            draft.drop_star(star_id)
        case AddLine(line=line):
            was = draft.line(line.source, line.target)
            if was and not was.implied:
                raise InvalidEdit(f"line {line.source} -> {line.target} exists already", "/line")
            _put_line(draft, line)
        case UpdateLine(line=line):
            if not draft.line(line.source, line.target):
                raise InvalidEdit(f"no line {line.source} -> {line.target}", "/line")
            _put_line(draft, line)
        case RemoveLine(source=source, target=target):
            if not draft.line(source, target):
                raise InvalidEdit(f"no line {source} -> {target}")
            _require_not_started(draft, target)
            draft.drop_line(source, target)
            behind = draft.star(target)
            if behind and any(binding.source == source for binding in behind.bindings):
                draft.put_line(Line(source, target, implied=True))
        case Retry(id=star_id):
            _require(_may_retry(draft, star_id), star_id, "does not wait for another attempt")
            draft.retried.append(star_id)
        case Skip(id=star_id, reason=reason):
            _require_not_started(draft, star_id, verifying=True)
            draft.skipped[star_id] = reason
        case Supersede(id=star_id, star=star):
            _supersede(draft, star_id, star)
        case _:
            assert_never(operation)


def _supersede(draft: Draft, old_id: str, star: Star) -> None:
    course = draft.constellation.courses.get(old_id)
    failed = course is not None and course.failure_held
    runs = course is not None and course.state in HELD_BY_DEVICE and not course.stopping
    _require(runs or failed, old_id, "does not run")
    _require(old_id not in draft.superseded, old_id, "is superseded by the same edit")
    _require_new(draft, star)
    draft.superseded[old_id] = star.id
    draft.put_star(star)
    for target in sorted(draft.targets(old_id)):
        line, behind = draft.line(old_id, target), draft.star(target)
        assert line, "a target is at the end of a line"
        assert behind, "lines end in stars"
        if not _is_open(draft, target):
            continue
        if line.implied or any(binding.source == old_id for binding in behind.bindings):
            draft.put_star(draft.constellation.rebound(behind, {old_id: star.id}))
        draft.drop_line(old_id, target)
        if not line.implied:
            draft.put_line(Line(star.id, target, line.when, line.condition))
    draft.put_line(Line(old_id, star.id, When.FAILURE if failed else When.ALWAYS))


def _put_line(draft: Draft, line: Line) -> None:
    for end in (line.source, line.target):
        _require(draft.star(end) is not None, end, "does not exist", "/line")
    if line.source == line.target:
        raise InvalidEdit(f"cycle: {line.source} -> {line.target}", "/line")
    _require_not_started(draft, line.target)
    draft.put_line(line)


def _may_retry(draft: Draft, star_id: str) -> bool:
    course = draft.constellation.courses.get(star_id)
    return bool(course and course.state is READY and (course.failure_held or course.not_before))


def _was_tried(draft: Draft, star_id: str) -> bool:
    course = draft.constellation.courses.get(star_id)
    return bool(course and course.attempts)


def _is_open(draft: Draft, star_id: str) -> bool:
    """Whether the star is new, or has not started."""
    course = draft.constellation.courses.get(star_id)
    return course is None or course.state in NOT_STARTED


def _require_new(draft: Draft, star: Star) -> None:
    _require(draft.star(star.id) is None and star.id not in draft.constellation.courses, star.id, "exists already")
    if not NAME.fullmatch(star.id):
        raise InvalidEdit(f"{star.id!r} is not a name for a star", "/star/id")
    _require_sound(star)


def _require_sound(star: Star) -> None:
    """What could be sent to no device is not worth waiting for."""
    if (star.tool == INSTRUCT) != (star.instruction is not None):
        raise InvalidEdit(f"star {star.id}: an instruction is a call of {INSTRUCT}, and nothing else is", "/star/tool")
    of_verify = star.verify.arguments if star.verify else EMPTY
    for place, arguments in (("/star/arguments", star.arguments), ("/star/verify/arguments", of_verify)):
        if (size := len(bytes(arguments))) > ARGUMENTS_BYTES_MAX:
            raise InvalidEdit(f"star {star.id} has {size} bytes of arguments, at most {ARGUMENTS_BYTES_MAX}", place)


def _require_not_started(draft: Draft, star_id: str, *, verifying: bool = False) -> None:
    _require(draft.star(star_id) is not None, star_id, "does not exist")
    course = draft.constellation.courses.get(star_id)
    if course and course.state not in NOT_STARTED:
        raise InvalidEdit(f"star {star_id} is {course.state} already")
    if course and course.verifying and not verifying:
        raise InvalidEdit(f"star {star_id} is being verified: whether its effect happened is not known yet")
    _require(star_id not in draft.skipped, star_id, "is skipped by the same edit")


def _require(claim: bool, star_id: str, otherwise: str, place: str = "") -> None:
    if not claim:
        raise InvalidEdit(f"star {star_id} {otherwise}", place)


def _require_whole(draft: Draft) -> None:
    """Every line ends in stars, every binding has its star, and the whole is not too large."""
    for (source, target), line in draft.lines.items():
        if line and (draft.star(source) is None or draft.star(target) is None):
            missing = source if draft.star(source) is None else target
            what = f"star {target} binds to" if line.implied else f"line {source} -> {target}:"
            raise InvalidEdit(f"{what} {missing}, which does not exist")
    removed = [star_id for star_id, star in draft.stars.items() if star is None]
    behind = (target for star_id in removed for target in draft.constellation.out_of.get(star_id, ()))
    for star_id in (*behind, *draft.stars):
        star = draft.star(star_id)
        for binding in star.bindings if star else ():
            if draft.star(binding.source) is None:
                raise InvalidEdit(f"star {star_id} binds to {binding.source}, which would be gone")
    for star_id, by in draft.superseded.items():
        _require(draft.star(by) is not None, star_id, "is superseded by a star that the same edit removes")
    if draft.size() > STARS_MAX or len(draft.lines) > LINES_MAX:
        raise InvalidEdit(f"too large: at most {STARS_MAX} stars and {LINES_MAX} lines")
