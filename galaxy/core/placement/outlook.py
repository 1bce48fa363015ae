"""What is behind each star of a constellation, in seconds: wherever it runs (its upward rank), and from a given device.

    rank(star)           = mean(star) + max over what is behind it of rank
    behind(star, device) = max over what is behind it of
                           min over devices of (behind(next, other) + run(next, other) + move, if it is another)

The first is HEFT's upward rank without transfers, the second the optimistic cost table of PEFT. Both are worked out
anew when the constellation is another, and when twice as many runs are known as the last time; never for each star.
"""

from collections.abc import Callable, Iterable
from math import inf

from msgspec import Struct

from ..constellation import Constellation
from ..course import Course
from ..states import TERMINAL
from .durations import Durations

RANKED_STARS_MAX = 2_000  # of a larger constellation, the stars go in the order in which they became ready
TABLED_STARS_MAX, TABLED_DEVICES_MAX = 500, 32  # and of a larger one, or a larger fleet, nobody looks ahead by device
RANK_S_MAX = 3_600.0  # so that nobody waits for ever behind stars with much behind them
KEPT_MAX = 1_000


class Seen(Struct):
    """What was worked out for one constellation, and of what."""

    revision: int
    runs: int
    ranks: dict[str, float]
    table: dict[str, dict[str, float]] | None = None


Able = Callable[[Constellation, Course], tuple[str, ...]]


class Outlook:
    """What is behind stars, by what is known of durations and of the time that results take to move."""

    def __init__(self, durations: Durations, able: Able, moved_s: Callable[[str, str], float]) -> None:
        self._durations = durations
        self._moved_s = moved_s
        self._able = able
        self._seen: dict[str, Seen] = {}

    def fleet_changed(self) -> None:
        """Forget what was worked out by device."""
        for seen in self._seen.values():
            seen.table = None

    def forget(self, constellation: str) -> None:
        """The constellation has ended."""
        self._seen.pop(constellation, None)

    def rank_s(self, c: Constellation, star: str) -> float:
        """Return how long the star and the longest way behind it take."""
        return min(self._of(c).ranks.get(star, 0.0), RANK_S_MAX)

    def behind_s(self, c: Constellation, star: str, devices: int) -> dict[str, float]:
        """Return how long what is behind the star takes at best, from each device.

        It is empty where the constellation, or the number of devices, is too large for that.
        """
        if len(c.courses) > TABLED_STARS_MAX or devices > TABLED_DEVICES_MAX:
            return {}
        seen = self._of(c)
        if seen.table is None:
            seen.table = self._tabled(c)
        return seen.table.get(star, {})

    def _of(self, c: Constellation) -> Seen:
        seen = self._seen.get(c.id)
        if seen and seen.revision == c.revision and self._durations.runs <= 2 * seen.runs:
            return seen
        if len(self._seen) > KEPT_MAX:
            self._seen.clear()
        ranks = self._ranked(c) if len(c.courses) <= RANKED_STARS_MAX else {}
        seen = self._seen[c.id] = Seen(c.revision, max(self._durations.runs, len(c.courses) // 4, 8), ranks)
        return seen

    def _ranked(self, c: Constellation) -> dict[str, float]:
        ranks: dict[str, float] = {}
        for star in _last_first(c):
            behind = max((ranks[target] for target in c.out_of.get(star, ()) if target in ranks), default=0.0)
            ranks[star] = behind + self._durations.mean_s(c.courses[star].star.tool)
        return ranks

    def _tabled(self, c: Constellation) -> dict[str, dict[str, float]]:
        table: dict[str, dict[str, float]] = {}
        onward: dict[str, dict[str, float]] = {}  # a star's own run and what is behind it, by device
        for star in _last_first(c):
            ways = [onward[target] for target in c.out_of.get(star, ()) if onward.get(target)]
            course = c.courses[star]
            moved = {device: self._moved_s(course.star.tool, device) for way in ways for device in way}
            bests = [min(cost + moved[device] for device, cost in way.items()) for way in ways]
            table[star], onward[star] = {}, {}
            for device in self._able(c, course):
                there = max((min(w.get(device, inf), b) for w, b in zip(ways, bests, strict=True)), default=0.0)
                table[star][device] = there
                onward[star][device] = there + self._durations.expected_s(course.star.tool, device)
        return table


def _last_first(c: Constellation) -> Iterable[str]:
    """Return what has not ended, each star after all that are behind it."""
    unfinished = [star for star, course in c.courses.items() if course.state not in TERMINAL]
    return sorted(unfinished, key=lambda star: c.levels[star], reverse=True)
