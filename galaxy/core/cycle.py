"""No edit closes a circle."""

from typing import TYPE_CHECKING

from .errors import InvalidEdit

if TYPE_CHECKING:
    from .edit import Draft


def require_acyclic(draft: "Draft") -> None:
    """Search forward from each new line, but never past the last level from which a new line starts.

    Each star has a level above those of its sources, so a way back to a new line's source runs below that source.
    """
    levels = draft.constellation.levels
    added = [(s, t) for (s, t), line in draft.lines.items() if line and not draft.constellation.into.get(t, {}).get(s)]
    highest = max((levels.get(source, -1) for source, _ in added), default=-1)
    finished: set[str] = set()
    for _, start in added:
        trail: dict[str, None] = {}
        pending: list[tuple[str, bool]] = [(start, True)]
        while pending:
            star_id, entering = pending.pop()
            if not entering:
                del trail[star_id]
                finished.add(star_id)
                continue
            if star_id in trail:
                cycle = [*trail][[*trail].index(star_id) :]
                raise InvalidEdit(
                    "cycle: " + " -> ".join([*cycle[:12], *(["..."] if len(cycle) > 12 else []), star_id])
                )
            if star_id in finished or levels.get(star_id, -1) > highest:
                continue
            trail[star_id] = None
            pending.append((star_id, False))
            pending.extend((target, True) for target in draft.targets(star_id))
