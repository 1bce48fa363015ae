"""The ready stars, in the order in which they are served.

Within a constellation who has waited longest goes first, where each level of priority counts as five minutes. Between
constellations their shares decide; but every sixteenth turn goes by waiting alone, so that nothing starves.
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from .demand import Demand
from .shares import LEVELS, Shares

SLACK = 1_000  # lapsed places that are not worth a sweep
AGE_EVERY = 16  # turns
LEVEL_S = 300.0  # of waiting, for each level of priority


class Place(NamedTuple):
    """A star's place in the queue. The smaller has waited longer."""

    since: float  # when it became ready, less what its priority counts for
    ticket: int  # first come, first served among equals
    priority: int
    constellation: str
    star: str


class Waiting:
    """The stars with one demand: each constellation's own, and the first of each, by its share and by its waiting.

    What was the first and is not any more is dropped when it is met.
    """

    def __init__(self, places: Iterable[Place] = (), tags: dict[str, float] | None = None) -> None:
        self.own: dict[str, list[Place]] = {}
        for place in places:
            self.own.setdefault(place.constellation, []).append(place)
        for own in self.own.values():
            heapify(own)
        self.ages = [own[0] for own in self.own.values()]
        self.firsts = [((tags or {}).get(place.constellation, 0.0), place) for place in self.ages]
        heapify(self.ages)
        heapify(self.firsts)


class ReadyQueue:
    """Stars by what they demand. A place that is no longer valid is dropped when it is met, or with many others."""

    def __init__(self, valid: Callable[[Place], bool]) -> None:
        self.changes = 0
        self._valid = valid
        self._shares = Shares()
        self._queues: dict[Demand, Waiting] = {}
        self._tickets: dict[tuple[str, str], int] = {}
        self._ticket = 0
        self._places = 0  # valid or not
        self._turn = 0

    def put(self, demand: Demand, constellation: str, star: str, priority: int, ready_at: float) -> None:
        """Queue a star, at the end among its equals; an earlier place of the same star lapses."""
        if self._places > 2 * len(self._tickets) + SLACK:
            self._sweep()
        self.changes += 1
        self._ticket += 1
        self._places += 1
        self._tickets[constellation, star] = self._ticket
        since = ready_at - LEVEL_S * max(-LEVELS, min(priority, LEVELS)) if priority else ready_at
        place = Place(since, self._ticket, priority, constellation, star)
        self._stand(demand, place)

    def forget(self, constellation: str, star: str) -> None:
        """Let the star's place lapse."""
        if self._tickets.pop((constellation, star), None):
            self.changes += 1

    def round(self) -> "Round":
        """Return the heads of all queues, to be served in order."""
        return Round(self)

    def head(self, demand: Demand) -> tuple[float, Place] | None:
        """Return the first of the constellation whose turn it is among those with this demand, and its tag."""
        waiting = self._queues.get(demand)
        if waiting is None:
            return None
        firsts, tags = waiting.firsts, self._shares.tags
        while firsts:
            entry = firsts[0]
            tag, place = entry
            if not self._stands(waiting, place):
                heappop(firsts)
            elif (later := tags.get(place.constellation, 0.0)) > tag:
                heapreplace(firsts, (later, place))
            else:
                return entry
        del self._queues[demand]
        return None

    def oldest(self, demand: Demand) -> Place | None:
        """Return who has waited longest with this demand."""
        waiting = self._queues.get(demand)
        ages = waiting.ages if waiting else []
        while waiting and ages and not self._stands(waiting, ages[0]):
            heappop(ages)
        return ages[0] if ages else None

    def take(self, demand: Demand, place: Place) -> None:
        """Serve this place, the first or the oldest of the demand's, which lapses with that."""
        self.changes += 1
        self._turn += 1
        del self._tickets[place.constellation, place.star]
        self._shares.charge(place.constellation, place.priority)
        waiting = self._queues[demand]
        own = waiting.own[place.constellation]
        if waiting.firsts[0][1] is place:
            heappop(waiting.firsts)
        self._drop_first(waiting, own)

    def lift(self, demand: Demand, place: Place) -> None:
        """Take this place out, the first or the oldest of the demand's, until it is put back. Its turn is not over."""
        waiting = self._queues[demand]
        if waiting.firsts[0][1] is place:
            heappop(waiting.firsts)
        self._drop_first(waiting, waiting.own[place.constellation])

    def put_back(self, demand: Demand, place: Place) -> None:
        """Let a place that was lifted stand again, unless it has lapsed."""
        if self._tickets.get((place.constellation, place.star)) == place.ticket:
            self.changes += 1
            self._places += 1
            self._stand(demand, place)

    @property
    def goes_by_age(self) -> bool:
        """Whether the next turn goes to who has waited longest."""
        return self._turn % AGE_EVERY == AGE_EVERY - 1

    def demands(self) -> list[Demand]:
        return list(self._queues)

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, star: tuple[str, str]) -> bool:
        return star in self._tickets

    def _stand(self, demand: Demand, place: Place) -> None:
        if (waiting := self._queues.get(demand)) is None:
            waiting = self._queues[demand] = Waiting()
        if (own := waiting.own.get(place.constellation)) is None:
            own = waiting.own[place.constellation] = []
        heappush(own, place)
        if own[0] is place:
            heappush(waiting.ages, place)
            heappush(waiting.firsts, (self._shares.tags.get(place.constellation, 0.0), place))

    def _stands(self, waiting: Waiting, place: Place) -> bool:
        """Return whether this is the first of its constellation. If it has lapsed, the next one stands for it."""
        own = waiting.own.get(place.constellation)
        if not own or own[0] is not place:
            return False
        if self._tickets.get((place.constellation, place.star)) == place.ticket and self._valid(place):
            return True
        self._drop_first(waiting, own)
        return False

    def _drop_first(self, waiting: Waiting, own: list[Place]) -> None:
        constellation = heappop(own).constellation
        self._places -= 1
        if own:
            heappush(waiting.ages, own[0])
            heappush(waiting.firsts, (self._shares.tags.get(constellation, 0.0), own[0]))
        else:
            del waiting.own[constellation]

    def _sweep(self) -> None:
        queues, self._queues, self._places = self._queues, {}, 0
        for demand, waiting in queues.items():
            places = (place for own in waiting.own.values() for place in own)
            kept = [p for p in places if self._tickets.get((p.constellation, p.star)) == p.ticket]
            if kept:
                self._queues[demand] = Waiting(kept, self._shares.tags)
                self._places += len(kept)


class Round:
    """One pass over the demands. A demand that nobody can meet now drops out until it is put back."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        self._heads = [(*head, demand) for demand in queue.demands() if (head := queue.head(demand))]
        heapify(self._heads)
        self._ages: list[tuple[Place, Demand]] | None = None  # made when it is asked for
        self._inside = {demand: None for *_, demand in self._heads}
        self._seen = queue.changes  # when the heads were right
        self._aside: list[tuple[Demand, Place]] = []

    @property
    def aside(self) -> int:
        """How many were set aside."""
        return len(self._aside)

    def set_aside(self, demand: Demand, place: Place) -> None:
        """Let the demand's next one take part before this one, which keeps its place; `end` puts it back."""
        self._aside.append((demand, place))
        self._queue.lift(demand, place)
        self.again(demand)

    def end(self) -> None:
        """Put back what was set aside."""
        for demand, place in self._aside:
            self._queue.put_back(demand, place)
        self._aside.clear()

    def next(self) -> tuple[Place, Demand] | None:
        """Return the place to serve next; it stays in the queue until it is taken."""
        found = self._oldest() if self._queue.goes_by_age else self._first()
        if found:
            del self._inside[found[1]]
        return found

    def again(self, demand: Demand) -> None:
        """After a place was taken, let the demand's next one take part."""
        head = self._queue.head(demand)
        if head is None:
            return
        self._inside[demand] = None
        heappush(self._heads, (*head, demand))
        if len(self._heads) == 1:
            self._seen = self._queue.changes
        self._ages = None

    def _first(self) -> tuple[Place, Demand] | None:
        while self._heads:
            tag, place, demand = heappop(self._heads)
            if demand not in self._inside:
                continue
            head = (tag, place) if self._seen == self._queue.changes else self._queue.head(demand)
            if head == (tag, place):
                return place, demand
            if head:  # what was served before it has let another one go first
                heappush(self._heads, (*head, demand))
            else:
                del self._inside[demand]
        return None

    def _oldest(self) -> tuple[Place, Demand] | None:
        if self._ages is None:
            found = ((self._queue.oldest(demand), demand) for demand in self._inside)
            self._ages = [(oldest, demand) for oldest, demand in found if oldest]
            heapify(self._ages)
        while self._ages:
            place, demand = heappop(self._ages)
            if demand in self._inside and self._queue.oldest(demand) is place:
                return place, demand
        return None
