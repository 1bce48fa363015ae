"""What the judge knows of a run: what was recorded, what clients were told, and what tools really did.

Kept by the simulated disks, network, tools and clients. What was recorded is kept as the bytes that were recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from galaxy.store.contract import Row

Event = dict[str, Any]


@dataclass(slots=True)
class Run:
    """One start of a tool."""

    attempt: str
    tool: str
    effect: str
    device: str
    process: str
    began_at: float
    ended_at: float | None = None  # None: it was cut off with its process


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that a tool did to the world."""

    at: float
    attempt: str
    star: str  # `constellation/star`
    effect: str
    device: str


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a client was told has happened."""

    at: float
    constellation: str
    kind: str
    by: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of the story that is in no record."""

    at: float
    text: str


@dataclass
class History:
    """Everything, in the order in which it happened; times are those of the simulated world."""

    now: Callable[[], float]
    commits: list[tuple[float, Row]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    dropped: list[tuple[float, str, str]] = field(default_factory=list)  # reports that a device keeps no longer
    heard: dict[str, list[float]] = field(default_factory=dict)  # device -> when a frame reached it
    asleep: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # device -> from when to when
    owed: dict[str, list[str]] = field(default_factory=dict)  # device -> reports that it still has at the end
    died: dict[str, float] = field(default_factory=dict)  # processes, and when they were killed
    moments: list[Moment] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # what no part may do, seen while it happened
    over: bool = False
    ended: int = 0  # constellations of which that is recorded
    _seen: set[tuple[str, int]] = field(default_factory=set)

    def record(self, rows: list[Row]) -> None:
        """Keep what a commit has recorded; the same again is nothing new."""
        at = self.now()
        for row in rows:
            if (row.stream, row.seq) not in self._seen:
                self._seen.add((row.stream, row.seq))
                self.commits.append((at, row))
                self.ended += row.kind == "constellation_ended"

    def tell(self, text: str) -> None:
        """Add a line to the story."""
        if not self.over:
            self.moments.append(Moment(self.now(), text))

    def fail(self, text: str) -> None:
        """Note what no part may do."""
        if not self.over:
            self.tell(f"!! {text}")
            self.errors.append(text)

    @cached_property
    def events(self) -> list[Event]:
        """What was recorded, decoded, each with its stream, its number and when it was committed."""
        return [
            {**msgspec.json.decode(row.body), "stream": row.stream, "seq": row.seq, "committed": at}
            for at, row in self.commits
        ]

    @cached_property
    def by_stream(self) -> dict[str, list[Event]]:
        """The same by stream."""
        streams: dict[str, list[Event]] = {}
        for event in self.events:
            streams.setdefault(event["stream"], []).append(event)
        return streams
