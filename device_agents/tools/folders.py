"""A walk through a folder, and the tool that lists what is in one."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from ..guard import Guard, Place
from .base import Context
from .beneath import EntryKind, folder, kind_of, shown, told
from .blocking import Stop, unblocked
from .files import PathText
from .spool import INLINE_BYTES_MAX

ENTRIES_MAX = 1_000
VISITED_MAX = 200_000  # entries that one call looks at

Glob = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="A pattern for names (`*.py`), or, with a slash, for the whole way from the folder (`src/*.py`).",
    ),
]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder, with the way to it from where the walk began."""

    parts: tuple[str, ...]
    status: os.stat_result

    @property
    def kind(self) -> EntryKind:
        return kind_of(self.status.st_mode)

    def matches(self, glob: str) -> bool:
        return fnmatchcase("/".join(self.parts) if "/" in glob else self.parts[-1], glob)


@dataclass(slots=True)
class Walk:
    """A way through a folder, parents before what is in them, by name; links are seen and not followed."""

    place: Place
    recursive: bool
    stop: Stop = field(default_factory=Stop)
    visits_max: int = VISITED_MAX
    visited: int = 0
    unreadable: int = 0
    truncated: bool = False  # there was more than it may visit

    def entries(self) -> Iterator[Entry]:
        """Yield them; raise ToolFailed if the folder itself cannot be read."""
        waiting: list[tuple[str, ...]] = [()]
        while waiting and not self.truncated:
            parts = waiting.pop()
            try:
                found = self._within(parts)
            except ToolFailed:
                if not parts:
                    raise
                self.unreadable += 1
                continue
            yield from found
            if self.recursive:
                waiting += [entry.parts for entry in reversed(found) if entry.kind == "folder"]

    def _within(self, parts: tuple[str, ...]) -> list[Entry]:
        place = self.place.below(*parts)
        with told(place.path), folder(place) as opened, os.scandir(opened) as listing:
            names = [entry.name for entry in itertools.islice(listing, self.visits_max - self.visited + 1)]
            self.visited += len(names)
            if self.visited > self.visits_max:
                self.truncated = True
            self.stop.check()
            return [Entry((*parts, name), found) for name in sorted(names) if (found := _status(name, opened))]


def _status(name: str, around: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=around, follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone since


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which folder, and what of it."""

    path: PathText = "."
    glob: Glob = "*"
    recursive: bool = False
    limit: Annotated[int, Meta(ge=1, le=ENTRIES_MAX)] = 200


class Listed(Struct, frozen=True):
    """One thing in a folder."""

    path: Annotated[str, Meta(description="From the folder that was asked for.")]
    kind: EntryKind
    bytes: int
    modified: Annotated[float, Meta(description="Seconds since 1970.")]


class ListResult(Struct, frozen=True):
    """What is there."""

    entries: list[Listed]
    truncated: Annotated[bool, Meta(description="Whether there is more than this.")]
    unreadable: Annotated[int, Meta(description="How many folders could not be read.")]


class FileList:
    """List what is in a folder, by name."""

    name: ClassVar[str] = "file.list"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"entries": ENTRIES_MAX, "visited": VISITED_MAX}
    Arguments: ClassVar[type[Struct]] = ListArguments
    Result: ClassVar[type[Struct]] = ListResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders())

    async def run(self, arguments: ListArguments, context: Context) -> ListResult:
        place = context.guard.readable(arguments.path)
        return await unblocked(lambda stop: self._listed(arguments, Walk(place, arguments.recursive, stop)))

    def _listed(self, arguments: ListArguments, walk: Walk) -> ListResult:
        entries: list[Listed] = []
        room = INLINE_BYTES_MAX
        for entry in walk.entries():
            if entry.matches(arguments.glob):
                path = shown("/".join(entry.parts))
                listed = Listed(path, entry.kind, entry.status.st_size, entry.status.st_mtime)
                room -= len(msgspec.json.encode(listed)) + 1
                if len(entries) == arguments.limit or room < 0:
                    return ListResult(entries, True, walk.unreadable)
                entries.append(listed)
        return ListResult(entries, walk.truncated, walk.unreadable)
