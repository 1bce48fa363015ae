"""Events as they are kept: to rows of the store and back, and a stream's rows back to what they made."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter

import msgspec

from .core.constellation import Constellation
from .core.errors import Refused
from .core.events import FLEET, AnyEvent, ConstellationEvent, Event
from .core.fleet import Fleet
from .core.orchestrator import Orchestrator
from .core.snapshot import FleetSnapshot, Snapshot, restored, taken
from .store.contract import Recovered, Row, Store
from .store.errors import StoreCorrupt

log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)
_snapshots = msgspec.json.Decoder(Snapshot)
_fleet_snapshots = msgspec.json.Decoder(FleetSnapshot)
_NAMED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_kinds: dict[type[Event], str] = {}


def row_of(event: Event, stream: str, seq: int) -> Row:
    """Return the row that records the event under its number."""
    kind = _kinds.get(type(event))
    if kind is None:
        kind = _kinds[type(event)] = str(type(event).__struct_config__.tag)
    return Row(stream, seq, kind, event.at, _encoder.encode(event))


def artifacts_named(body: bytes) -> set[str]:
    """Return the artifacts that an event's JSON may name; what only looks like one does no harm."""
    if b"\\u00" in body:  # a device may write its letters so; what it said stands as it said it
        with suppress(msgspec.DecodeError):
            body = msgspec.json.encode(msgspec.json.decode(body))
    if b"artifact" not in body:
        return set()
    return {name.decode() for name in _NAMED.findall(body)}


def event_of(row: Row) -> AnyEvent:
    """Return the event that the row records."""
    try:
        event: AnyEvent = _decoder.decode(row.body)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(
            f"event {row.seq} of {row.stream} cannot be read: {error}. `galaxy check` lists all such; restore a copy."
        ) from error
    return event


def stream_of(event: Event) -> str:
    return event.constellation if isinstance(event, ConstellationEvent) else FLEET


def constellation_of(recovered: Recovered) -> Constellation:
    """Return the constellation that a stream made."""
    if recovered.snapshot is None:
        constellation = Constellation(recovered.stream)
    else:
        with _readable(recovered.stream):
            constellation = restored(_snapshots.decode(recovered.snapshot))
    replay(constellation, recovered.rows)
    return constellation


def replay(constellation: Constellation, rows: Iterable[Row]) -> None:
    """Apply what the rows record."""
    for row in rows:
        play(constellation, row)


def play(state: Constellation | Fleet, row: Row) -> None:
    """Apply what the row records; raise StoreCorrupt if that cannot have happened."""
    event = event_of(row)
    try:
        if isinstance(state, Fleet):
            state.apply(event)
        else:
            assert isinstance(event, ConstellationEvent)
            state.apply(event)
    except (AssertionError, LookupError, ValueError, TypeError, AttributeError, Refused) as error:
        raise StoreCorrupt(
            f"event {row.seq} of {row.stream} ({row.kind}) does not follow from those before it: {error!r}. "
            "`galaxy check` lists all such; restore a copy."
        ) from error


def fleet_of(recovered: Recovered) -> Fleet:
    """Return the fleet that its stream made."""
    fleet = Fleet()
    if recovered.snapshot is not None:
        with _readable(recovered.stream):
            fleet = _fleet_snapshots.decode(recovered.snapshot).fleet
    for row in recovered.rows:
        play(fleet, row)
    return fleet


@contextmanager
def _readable(stream: str) -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, LookupError) as error:
        raise StoreCorrupt(f"the snapshot of {stream} cannot be read: {error}. Restore a copy.") from error


def snapshot_of(state: Constellation | Fleet) -> bytes:
    """Return the state's bytes, as they are now."""
    return _encoder.encode(FleetSnapshot(state) if isinstance(state, Fleet) else taken(state))


@dataclass(slots=True)
class Recorded:
    """The galaxy as it was recorded."""

    core: Orchestrator = field(default_factory=Orchestrator)
    seqs: dict[str, int] = field(default_factory=dict)  # the number of each open stream's last event
    snapshots_at: dict[str, int] = field(default_factory=dict)  # and that of its snapshot
    last_at: float = 0.0


async def recovered(store: Store) -> Recorded:
    """Return what replay gives back."""
    found, began = Recorded(), perf_counter()
    async for stream in store.recover():
        if stream.stream != FLEET and not stream.rows and stream.snapshot is None:
            raise StoreCorrupt(f"{stream.stream} stands in the list and has no events. Restore a copy of the store.")
        if stream.stream == FLEET:
            found.core.fleet = fleet_of(stream)
        else:
            found.core.constellations[stream.stream] = constellation_of(stream)
        found.snapshots_at[stream.stream] = stream.snapshot_seq
        found.seqs[stream.stream] = stream.rows[-1].seq if stream.rows else stream.snapshot_seq
        found.last_at = max(found.last_at, stream.rows[-1].at if stream.rows else 0.0)
    facts = {"constellations": len(found.core.constellations), "took_s": round(perf_counter() - began, 3)}
    log.info("recovered", extra=facts)
    return found
