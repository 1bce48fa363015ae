"""Deadlines by key: one each, cheap to set, move and clear."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLACK = 1_000  # dead entries that are not worth a compaction


class Timers(Generic[K]):
    """A dict of deadlines beside a heap whose dead entries are dropped when met, and swept when they are the most."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._entries = 0  # breaks ties, so that keys are never compared

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def set(self, key: K, at: float) -> None:
        """Set or move the key's deadline."""
        if self._at.get(key) == at:
            return
        self._at[key] = at
        self._entries += 1
        heappush(self._heap, (at, self._entries, key))
        if len(self._heap) > 2 * len(self._at) + SLACK:
            self._heap = [(at, n, key) for n, (key, at) in enumerate(self._at.items())]
            heapify(self._heap)

    def clear(self, key: K) -> None:
        """Forget the key's deadline, if it has one."""
        self._at.pop(key, None)

    def next(self) -> float | None:
        """Return the earliest deadline."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._at.get(key) == at:
                return at
            heappop(self._heap)
        return None

    def pop_due(self, now: float) -> K | None:
        """Return a key whose deadline has come, the earliest first, and forget the deadline."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, key = heappop(heap)
            if self._at.get(key) == at:
                del self._at[key]
                return key
        return None
