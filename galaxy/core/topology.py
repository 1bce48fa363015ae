"""A topological order that is kept: each star has a level above its sources', with room in between for later ones."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .constellation import Constellation

LEVEL_GAP = 1 << 16


def lift(c: "Constellation", touched: Iterable[str]) -> None:
    """Raise levels until each star is above its sources again. A new end gets a gap, so that later ones fit between."""
    low = [star_id for star_id in touched if c.levels.get(star_id, -1) <= _floor(c, star_id)]
    for star_id in _sources_first(c, _liftable(c, low)):
        floor = _floor(c, star_id)
        if c.levels.get(star_id, -1) <= floor:
            leads_on = any(target in c.levels for target in c.out_of.get(star_id, ()))
            c.levels[star_id] = floor + (1 if leads_on or star_id in c.levels else LEVEL_GAP)


def _floor(c: "Constellation", star_id: str) -> int:
    return max((c.levels.get(source, 0) for source in c.into.get(star_id, ())), default=-1)


def _liftable(c: "Constellation", low: Iterable[str]) -> dict[str, None]:
    """Return the stars that are too low, and those behind them that could be reached however the lifting goes."""
    found = dict.fromkeys(low)
    highest = max((_floor(c, star_id) for star_id in found), default=0) + len(found) * LEVEL_GAP + len(c.courses)
    pending = list(found)
    while pending:
        for target in c.out_of.get(pending.pop(), ()):
            if target not in found and c.levels.get(target, 0) <= highest:
                found[target] = None
                pending.append(target)
    return found


def _sources_first(c: "Constellation", star_ids: Iterable[str]) -> Iterator[str]:
    waiting = dict.fromkeys(star_ids, 0)
    for star_id in waiting:
        waiting[star_id] = sum(1 for source in c.into.get(star_id, ()) if source in waiting)
    free = [star_id for star_id, sources in waiting.items() if not sources]
    while free:
        yield (star_id := free.pop())
        for target in c.out_of.get(star_id, ()):
            if target in waiting:
                waiting[target] -= 1
                if not waiting[target]:
                    free.append(target)
