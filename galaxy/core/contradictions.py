"""What one edit may not say of one star: what would undo, or leave without effect, another thing that it says.

Two updates are no contradiction, as the later one sees what the earlier one did; an update and another try are none
either, and a star that is added and removed again was never there.
"""

from collections.abc import Iterable

from .edit import (
    AddLine,
    AnyOperation,
    RemoveStar,
    Retry,
    Skip,
    Supersede,
    UpdateLine,
    UpdateStar,
)
from .errors import InvalidEdit

RETRIED, SKIPPED, SUPERSEDED, REMOVED = "tried again", "skipped", "superseded", "removed"
REWRITTEN, PUT_BEHIND = "rewritten", "put behind another star"

CONTRADICTIONS = frozenset(
    map(
        frozenset,
        (
            (RETRIED, SKIPPED),
            (RETRIED, SUPERSEDED),
            (RETRIED, REMOVED),
            (SKIPPED, SUPERSEDED),
            (SKIPPED, REMOVED),
            (SKIPPED, REWRITTEN),
            (SUPERSEDED, REMOVED),
            (SUPERSEDED, REWRITTEN),
            (SUPERSEDED, PUT_BEHIND),
            (REMOVED, REWRITTEN),
        ),
    )
)


def require_consistent(operations: Iterable[AnyOperation]) -> None:
    """Raise InvalidEdit with the place of the first operation that contradicts one before it.

    This is asked of an edit before it is recorded, and not when it is applied: older logs hold edits that it refuses.
    """
    said: dict[str, list[str]] = {}
    for index, operation in enumerate(operations):
        star_id, done = _said_by(operation)
        for before in said.setdefault(star_id, []) if done else ():
            if frozenset((before, done)) in CONTRADICTIONS:
                text = f"star {star_id} cannot be {done}: by the same edit it is {before}"
                raise InvalidEdit(text, f"/operations/{index}")
        if done:
            said[star_id].append(done)


def _said_by(operation: AnyOperation) -> tuple[str, str]:
    """Return what an operation does with which star; nothing, if it goes with everything else."""
    match operation:
        case Retry(id=star_id):
            return star_id, RETRIED
        case Skip(id=star_id):
            return star_id, SKIPPED
        case Supersede(id=star_id):
            return star_id, SUPERSEDED
        case RemoveStar(id=star_id):
            return star_id, REMOVED
        case UpdateStar(star=star):
            return star.id, REWRITTEN
        case AddLine(line=line) | UpdateLine(line=line):
            return line.target, PUT_BEHIND
    return "", ""
