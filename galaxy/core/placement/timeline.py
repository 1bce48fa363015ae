"""When each device frees a slot, as far as is known, together with what one round of placement has promised on it."""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

OVERDUE = 1.0  # a run that takes longer than expected is taken to need as long again as it has run


class Under(NamedTuple):
    """A run that is under way."""

    since: float
    expected_s: float

    def left_s(self, now: float) -> float:
        """Return how long it may still take. What has overrun is likely to go on: the longer it has, the longer."""
        ran_s = max(0.0, now - self.since)
        return self.expected_s - ran_s if ran_s < self.expected_s else OVERDUE * ran_s


class Timeline:
    """The slots of devices over time, in seconds from `now`."""

    def __init__(self, now: float, under: Callable[[str], Iterable[Under]], slots: Callable[[str], int]) -> None:
        self.now = now
        self._under = under
        self._slots = slots
        self._frees: dict[str, list[float]] = {}

    def starts_in_s(self, device: str) -> float:
        """Return when the device could begin one more; it has at least one slot."""
        return self._of(device)[0]

    def promise(self, device: str, runs_s: float) -> None:
        """Fill the slot that is free first for so long."""
        frees = self._of(device)
        heappush(frees, heappop(frees) + runs_s)

    def leased(self, device: str, runs_s: float) -> None:
        """Fill a slot that was just leased; whoever has not been asked about yet is seen with it then."""
        if device in self._frees:
            self.promise(device, runs_s)

    def _of(self, device: str) -> list[float]:
        if (frees := self._frees.get(device)) is None:
            held = sorted((run.left_s(self.now) for run in self._under(device)), reverse=True)
            free = max(0, self._slots(device) - len(held))
            # A device that holds more than it has slots frees none before the excess has ended.
            frees = self._frees[device] = [0.0] * free + held[: self._slots(device)]
            heapify(frees)
        return frees
