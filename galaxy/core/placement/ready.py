"""The ready stars, in the order in which they are served: by priority, then first come, within each demand."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from .demand import Demand

SLACK = 1_000  # lapsed places that are not worth a sweep


class Place(NamedTuple):
    """A star's place in the queue; smaller is served earlier."""

    rank: int  # the star's priority, negated
    ready_at: float
    ticket: int  # first come, first served among equals
    constellation: str
    star: str


class ReadyQueue:
    """Stars by what they demand. A place that is no longer valid is dropped when it is met, or with many others."""

    def __init__(self, valid: Callable[[Place], bool]) -> None:
        self._valid = valid
        self._queues: dict[Demand, list[Place]] = {}
        self._tickets: dict[tuple[str, str], int] = {}
        self._ticket = 0
        self._places = 0  # valid or not

    def put(self, demand: Demand, constellation: str, star: str, priority: int, ready_at: float) -> None:
        """Queue a star, at the end among its equals; an earlier place of the same star lapses."""
        if self._places > 2 * len(self._tickets) + SLACK:
            self._sweep()
        self._ticket += 1
        self._places += 1
        self._tickets[constellation, star] = self._ticket
        heappush(self._queues.setdefault(demand, []), Place(-priority, ready_at, self._ticket, constellation, star))

    def forget(self, constellation: str, star: str) -> None:
        """Let the star's place lapse."""
        self._tickets.pop((constellation, star), None)

    def round(self) -> "Round":
        """Return the heads of all queues, to be served in order."""
        return Round(self)

    def head(self, demand: Demand) -> Place | None:
        """Return the first valid place for the demand."""
        queue = self._queues.get(demand)
        while queue:
            place = queue[0]
            if self._is_current(place) and self._valid(place):
                return place
            heappop(queue)
            self._places -= 1
        self._queues.pop(demand, None)
        return None

    def take(self, demand: Demand) -> Place:
        """Remove and return the head, which is there."""
        place = heappop(self._queues[demand])
        self._places -= 1
        del self._tickets[place.constellation, place.star]
        return place

    def demands(self) -> list[Demand]:
        return list(self._queues)

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, star: tuple[str, str]) -> bool:
        return star in self._tickets

    def _is_current(self, place: Place) -> bool:
        return self._tickets.get((place.constellation, place.star)) == place.ticket

    def _sweep(self) -> None:
        queues, self._queues, self._places = self._queues, {}, 0
        for demand, places in queues.items():
            if kept := [place for place in places if self._is_current(place)]:
                heapify(kept)
                self._queues[demand] = kept
                self._places += len(kept)


class Round:
    """One pass over the demands, always the one whose head comes first. A demand that nobody can meet now drops out."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        self._heads = [(place, demand) for demand in queue.demands() if (place := queue.head(demand))]
        heapify(self._heads)

    def next(self) -> tuple[Place, Demand] | None:
        """Return the place to serve next; it stays in the queue until it is taken."""
        while self._heads:
            place, demand = heappop(self._heads)
            if self._queue.head(demand) is place:
                return place, demand
            self.again(demand)  # what was served before it has let another one go first
        return None

    def again(self, demand: Demand) -> None:
        """After a place was taken, let the demand's next one take part."""
        if place := self._queue.head(demand):
            heappush(self._heads, (place, demand))
