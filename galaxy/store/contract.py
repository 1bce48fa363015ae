"""What the runner and the views need of a store: one contract, kept by memory, SQLite and PostgreSQL.

To the store an event is opaque bytes with a place: its stream and its number there. Recording is append-only, and
`append` is the one write that must be fast; everything else is read by pages or written rarely.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Raw, Struct

FLEET = "~fleet"  # the stream of devices; every other stream is a constellation's id


class Row(NamedTuple):
    """One event, as recorded."""

    stream: str
    seq: int  # 1, 2, 3... without a gap in its stream
    kind: str
    at: float
    body: bytes  # the whole event as JSON


class Summary(Struct, frozen=True, kw_only=True):
    """A constellation's line in a list."""

    id: str
    name: str
    state: str
    stars: int
    submitted_at: float
    ended_at: float | None = None  # None: it is replayed at the next start
    body: Raw = Raw(b"{}")  # JSON: what the end said


class Answered(NamedTuple):
    """An answer kept under the key by which a caller may ask again."""

    key: str  # scope and the caller's own key
    digest: str  # of the request: the same key with another request is refused
    answer: bytes  # JSON
    at: float


@dataclass(slots=True)
class Batch:
    """What one commit writes, all or nothing."""

    rows: list[Row] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)  # each replaces the one before it
    answered: list[Answered] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)  # artifact's SHA-256, and the stream that names it


class Recovered(NamedTuple):
    """One stream as it must be replayed at start."""

    stream: str
    snapshot: bytes | None
    snapshot_seq: int  # 0 when there is no snapshot
    rows: list[Row]  # those after the snapshot, in order


class ArtifactRow(NamedTuple):
    """What is known of an artifact; its bytes are elsewhere."""

    sha256: str
    bytes: int
    media_type: str
    at: float


class Gone(NamedTuple):
    """How much was deleted, or would be."""

    amount: int
    bytes: int


class Store(Protocol):
    """Where Galaxy remembers. Any method may raise StoreUnavailable; all but `append` may be called side by side."""

    async def append(self, batch: Batch) -> None:
        """Return when the whole batch is durable; one call at a time, for the log has one owner.

        After StoreUnavailable the same batch is appended again: what turns out to be recorded already is accepted
        when it is identical, and raises StoreConflict when it is not. StoreInUse means that another Galaxy took over.
        """
        ...

    def recover(self) -> AsyncIterator[Recovered]:
        """Yield the fleet's stream, even when it is empty, then each constellation that has not ended, oldest first.

        Raise StoreCorrupt where a stream has a gap.
        """
        ...

    async def events(self, stream: str, after: int, limit: int) -> list[Row]:
        """Return up to `limit` rows with a larger number than `after`, in order."""
        ...

    async def snapshot(self, stream: str, seq: int, body: bytes) -> None:
        """Keep the stream's state as of `seq`, in place of an older one; a newer one stays."""
        ...

    async def kept_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        """Return the number and the bytes of the stream's snapshot, or None."""
        ...

    async def summary(self, id: str) -> Summary | None:
        """Return a constellation's line, or None if there never was one."""
        ...

    async def summaries(self, *, state: str | None, before: tuple[float, str] | None, limit: int) -> list[Summary]:
        """Return a page, newest first; `before` is the last line's (submitted_at, id), `state` narrows."""
        ...

    async def answered(self, key: str) -> Answered | None:
        """Return what was answered under this key, if it is still kept."""
        ...

    async def forget_answered(self, before: float) -> int:
        """Drop the answers older than this; return how many there were."""
        ...

    async def artifact(self, sha256: str) -> ArtifactRow | None:
        """Return what is known of these bytes."""
        ...

    async def add_artifact(self, row: ArtifactRow) -> None:
        """Remember an artifact; the first description of the same bytes stays."""
        ...

    async def touch_artifact(self, sha256: str, at: float) -> None:
        """Let its time begin anew: somebody means to use it."""
        ...

    async def unused_artifacts(
        self, before: float, limit: int, *, ended_before: float | None = None
    ) -> list[ArtifactRow]:
        """Return artifacts older than this that no stream names; `ended_before` leaves out constellations, too."""
        ...

    async def forget_artifacts(self, names: list[str]) -> None:
        """Drop the rows of those that no stream names."""
        ...

    async def forget_ended(self, before: float, at: float, limit: int) -> list[str]:
        """Take constellations that ended before this off the list, the oldest first; return their ids.

        Their events are still there, for `forget_events` to delete piece by piece.
        """
        ...

    async def forget_events(self, at: float, limit: int) -> Gone | None:
        """Delete up to so many events of one forgotten constellation; None when nothing is left of any."""
        ...

    async def forget_fleet(self, before: float, limit: int) -> Gone:
        """Delete up to so many of the fleet's events, older than this, that its snapshot stands for."""
        ...

    async def forgotten_at(self, id: str) -> float | None:
        """Return when a constellation was forgotten, or None."""
        ...

    async def forget_forgotten(self, before: float) -> None:
        """Drop what is known of constellations that were forgotten before this."""
        ...

    async def ended(self, before: float) -> tuple[Gone, Gone]:
        """Return the constellations that ended before this, with their bytes; and the fleet's, for a look ahead."""
        ...

    async def answers(self, before: float) -> Gone:
        """Return the answers older than this, for a look ahead."""
        ...

    async def streams(self, after: str, limit: int) -> list[str]:
        """Return the names of streams that have events, in order, after a name."""
        ...

    async def setting(self, name: str) -> str | None:
        """Return a value of this galaxy's own, such as its id."""
        ...

    async def set_setting(self, name: str, value: str) -> None:
        """Set a value of this galaxy's own."""
        ...

    async def compact(self) -> None:
        """Give room that is free back to the disk. It takes long: only while nothing else goes on."""
        ...

    async def close(self) -> None:
        """Let go of everything; what was acknowledged stays."""
        ...
