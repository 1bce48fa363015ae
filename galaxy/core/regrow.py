"""Trying again what has failed for good: a terminal state never changes, so the star grows anew beside the old one."""

import msgspec

from .constellation import Constellation
from .edit import AddLine, AddStar, AnyOperation
from .star import Line
from .states import SKIPPED


def regrown(constellation: Constellation, star_id: str) -> tuple[AnyOperation, ...]:
    """Return the operations that add a copy of a failed star, and of all that was skipped behind it."""
    old = [star_id]
    for one in old:
        behind = constellation.out_of.get(one, ())
        old += [t for t in behind if constellation.courses[t].state is SKIPPED and t not in old]
    names = {one: _free_name(constellation, one) for one in old}
    operations: list[AnyOperation] = []
    for one in old:
        star = constellation.rebound(constellation.courses[one].star, names)
        operations.append(AddStar(msgspec.structs.replace(star, id=names[one])))
    for one in old:
        for source, line in constellation.into.get(one, {}).items():
            if not line.implied:
                operations.append(AddLine(Line(names.get(source, source), names[one], line.when, line.condition)))
    return tuple(operations)


def _free_name(constellation: Constellation, star_id: str) -> str:
    stem, number = star_id.partition("~")[0], 2
    while f"{stem}~{number}" in constellation.courses:
        number += 1
    return f"{stem}~{number}"
