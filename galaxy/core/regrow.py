"""Trying again what has failed for good: a terminal state never changes, so the star grows anew beside the old one."""

import msgspec

from .constellation import Constellation
from .edit import AddLine, AddStar, AnyOperation
from .star import Line, Star, When
from .states import FAILED, SKIPPED

STEM_CHARS_MAX = 72  # a name has 80


def regrown(constellation: Constellation, star_id: str) -> tuple[AnyOperation, ...]:
    """Return the operations that add a copy of a failed star, and of all that was skipped behind it.

    A failure line leads to the copy: if that succeeds, it has made up for the failure.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    old = [star_id]
    for one in old:
        if one not in names:
            names[one] = _free_name(constellation, one, taken)
            taken.add(names[one])
            old += [t for t in constellation.out_of.get(one, ()) if constellation.courses[t].state is SKIPPED]
    operations: list[AnyOperation] = []
    for one in names:
        star = constellation.rebound(constellation.courses[one].star, names)
        operations.append(AddStar(msgspec.structs.replace(star, id=names[one])))
    if constellation.courses[star_id].state is FAILED:
        operations.append(AddLine(Line(star_id, names[star_id], When.FAILURE)))
    for one in names:
        for source, line in constellation.into.get(one, {}).items():
            if not line.implied:
                operations.append(AddLine(Line(names.get(source, source), names[one], line.when, line.condition)))
    return tuple(operations)


def stem_of(star_id: str) -> str:
    """Return what the name of a star has in common with those of its copies."""
    return star_id.partition("~")[0][:STEM_CHARS_MAX]


def as_written(constellation: Constellation, star: Star) -> Star:
    """Return the star with every name cut down to its stem: a star and its copies are then the same."""
    names = {binding.source: stem_of(binding.source) for binding in star.bindings}
    return msgspec.structs.replace(constellation.rebound(star, names), id=stem_of(star.id))


def _free_name(constellation: Constellation, star_id: str, taken: set[str]) -> str:
    stem, number = stem_of(star_id), 2
    while (name := f"{stem}~{number}") in constellation.courses or name in taken:
        number += 1
    return name
