"""When a device's silence means something, and how often a fleet of this size is to give signs of life.

The detector is that of N. Hayashibara, X. Défago, R. Yared and T. Katayama, "The phi accrual failure detector" (2004).
From how late a device's signs of life have been, it reckons how likely it is that one which has been silent for so long
will still speak. Phi is minus the decimal logarithm of that likelihood, with lateness taken for normally distributed.

    watch.add(watched, now) the device is connected
    watch.heard(watched)    a frame has come                 -> whether it was suspected until then
    watch.remove(watched)   its link is over
    watch.due(now)          let time pass                    -> whom to suspect from here on
    watch.next()            when `due` is next due

Nothing here reads a clock. To hear a frame costs the same in a fleet of any size, and no look goes over all of it.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from protocol.session import SILENCES_MAX, Session
from protocol.vocabulary import Kind

from .core.timers import Timers

PHI = 8.0  # once in a hundred million heartbeats a suspicion is wrong
DEVIATIONS = 5.612  # of a normal distribution, beyond which lies a share of 10 ** -PHI
WINDOW = 64  # heartbeats that a rhythm is learned from
CHATTER = 0.8  # of a heartbeat: what is said sooner after the last word tells nothing of how late heartbeats are
HEARTBEATS_MAX = SILENCES_MAX - 0.25  # of silence, whatever was learned: a link that has none for longer is closed
LATE_S = 0.5  # a look that comes so late tells that this node was held up, and has yet to read what was said meanwhile
LISTEN_S = 1.0  # for that

HEARTBEATS_PER_S = 200  # that all devices together are to send; one takes this node some 0.1 ms
HEARTBEAT_MAX_S = 15.0  # three of them, which end a link, are still less than a lease lasts by default
ROOM = 1.2  # so that not every arrival changes the pace, and
SLACK = 0.7  # not every departure


@dataclass(frozen=True, slots=True)
class Patience:
    """What is to be expected of a kind of device before anything is learned of one: it widens what is learned."""

    deviation_s: float  # of its lateness, at least
    pause_s: float  # by which it may be late without a reason


PATIENCE = {
    Kind.SERVER: Patience(0.5, 0.0),
    Kind.DESKTOP: Patience(0.6, 1.0),
    Kind.EDGE: Patience(0.8, 1.5),  # small processors, and links by radio
    Kind.MOBILE: Patience(1.0, 3.0),  # its radio sleeps between two words, its system holds processes back
}


class Rhythm:
    """How late one device's signs of life have been, on one link."""

    __slots__ = ("_late", "_patience", "_squares", "_sum", "heard_at")

    def __init__(self, kind: Kind, now: float) -> None:
        self.heard_at = now
        self._patience = PATIENCE[kind]
        self._late: deque[float] = deque()
        self._sum = self._squares = 0.0

    def heard(self, at: float, heartbeat_s: float) -> None:
        """Learn from a sign of life, the heartbeat having been so long until then.

        What is kept is by how much a heartbeat was late, not how long it was: so the rhythm holds for another pace.
        """
        gap = at - self.heard_at
        self.heard_at = at
        if gap < CHATTER * heartbeat_s:
            return
        late = gap - heartbeat_s
        if len(self._late) >= WINDOW:
            oldest = self._late.popleft()
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._late.append(late)
        self._sum += late
        self._squares += late * late

    def suspect_at(self, heartbeat_s: float) -> float:
        """Return when a silence since the last sign of life is suspect."""
        expected_s, deviation_s = self._expected(heartbeat_s)
        return self.heard_at + min(expected_s + DEVIATIONS * deviation_s, HEARTBEATS_MAX * heartbeat_s)

    def phi(self, now: float, heartbeat_s: float) -> float:
        """Return how suspect the silence is."""
        expected_s, deviation_s = self._expected(heartbeat_s)
        deviations = (now - self.heard_at - expected_s) / deviation_s
        return -math.log10(max(math.erfc(deviations / math.sqrt(2.0)) / 2.0, 1e-300))

    def _expected(self, heartbeat_s: float) -> tuple[float, float]:
        """Return how long a silence is expected to last, and the deviation from that."""
        count = len(self._late) or 1
        mean = self._sum / count
        deviation = math.sqrt(max(0.0, self._squares / count - mean * mean))
        patience = self._patience
        return heartbeat_s + max(0.0, mean) + patience.pause_s, max(deviation, patience.deviation_s)


class Watched:
    """One connected device, on one link."""

    __slots__ = ("device", "lease_s", "rhythm", "session", "suspected")

    def __init__(self, device: str, kind: Kind, session: Session, now: float, lease_s: float = math.inf) -> None:
        self.device = device
        self.session = session
        self.lease_s = lease_s  # the shortest that it may hold
        self.rhythm = Rhythm(kind, now)
        self.suspected = False

    @property
    def suspect_at(self) -> float:
        return self.rhythm.suspect_at(self.session.heartbeat_s)

    def phi(self, now: float) -> float:
        return self.rhythm.phi(now, self.session.heartbeat_s)


class Watch:
    """All connected devices, and whose silence is to be looked at next.

    Each device has one deadline, which is not moved when a frame comes: when it has passed, it is set anew.
    """

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._deadlines: Timers[str] = Timers()

    def __len__(self) -> int:
        return len(self._watched)

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._watched.values())

    def add(self, watched: Watched, now: float) -> None:
        """Watch a device from here on, in place of an earlier link of it."""
        watched.rhythm.heard_at = now
        self._watched[watched.device] = watched
        self._deadlines.set(watched.device, watched.suspect_at)

    def remove(self, watched: Watched) -> None:
        """Watch a link no more, if it is watched."""
        watched.suspected = False
        if self._watched.get(watched.device) is watched:
            del self._watched[watched.device]
            self._deadlines.clear(watched.device)

    def heard(self, watched: Watched) -> bool:
        """Note that the device's session has just heard something; return whether the device was suspected."""
        watched.rhythm.heard(watched.session.heard_at, watched.session.heartbeat_s)
        if not watched.suspected:
            return False
        watched.suspected = False
        self._deadlines.set(watched.device, watched.suspect_at)
        return True

    def next(self) -> float | None:
        """Return when somebody's silence is to be looked at."""
        return self._deadlines.next()

    def due(self, now: float) -> list[Watched]:
        """Return those who are suspected from here on. Nobody is while this node may have been unable to hear them."""
        first, found = self._deadlines.next(), []
        not_before = now + LISTEN_S if first is not None and now - first > LATE_S else now
        while (device := self._deadlines.pop_due(now)) is not None:
            watched = self._watched[device]
            at = max(watched.suspect_at, not_before)
            if at > now:
                self._deadlines.set(device, at)
            else:
                watched.suspected = True
                found.append(watched)
        return found


def heartbeat_for(devices: int, least_s: float, told_s: float) -> float:
    """Return the heartbeat for so many devices that are told one of `told_s`; it is seldom another."""
    wanted_s = devices / HEARTBEATS_PER_S
    if SLACK * told_s <= wanted_s <= told_s:
        return told_s
    return min(max(least_s, ROOM * wanted_s), max(least_s, HEARTBEAT_MAX_S))
