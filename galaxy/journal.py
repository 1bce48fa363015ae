"""Events as they are kept: to rows of the store and back, and a stream's rows back to what they made."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter

import msgspec

from .core.constellation import Constellation
from .core.events import FLEET, AnyEvent, ConstellationEvent, Event
from .core.fleet import Fleet
from .core.orchestrator import Orchestrator
from .core.snapshot import FleetSnapshot, Snapshot, restored, taken
from .store.contract import Recovered, Row, Store

log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)
_snapshots = msgspec.json.Decoder(Snapshot)
_fleet_snapshots = msgspec.json.Decoder(FleetSnapshot)
_kinds: dict[type[Event], str] = {}


def row_of(event: Event, stream: str, seq: int) -> Row:
    """Return the row that records the event under its number."""
    kind = _kinds.get(type(event))
    if kind is None:
        kind = _kinds[type(event)] = str(type(event).__struct_config__.tag)
    return Row(stream, seq, kind, event.at, _encoder.encode(event))


def event_of(row: Row) -> AnyEvent:
    """Return the event that the row records."""
    event: AnyEvent = _decoder.decode(row.body)
    return event


def stream_of(event: Event) -> str:
    return event.constellation if isinstance(event, ConstellationEvent) else FLEET


def constellation_of(recovered: Recovered) -> Constellation:
    """Return the constellation that a stream made."""
    if recovered.snapshot is None:
        constellation = Constellation(recovered.stream)
    else:
        constellation = restored(_snapshots.decode(recovered.snapshot))
    replay(constellation, recovered.rows)
    return constellation


def replay(constellation: Constellation, rows: Iterable[Row]) -> None:
    """Apply what the rows record."""
    for row in rows:
        event = event_of(row)
        assert isinstance(event, ConstellationEvent)
        constellation.apply(event)


def fleet_of(recovered: Recovered) -> Fleet:
    """Return the fleet that its stream made."""
    fleet = Fleet() if recovered.snapshot is None else _fleet_snapshots.decode(recovered.snapshot).fleet
    for row in recovered.rows:
        fleet.apply(event_of(row))
    return fleet


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
