"""Events as they are kept: to rows of the store and back, and a stream's rows back to what they made."""

from collections.abc import Iterable

import msgspec

from .core.constellation import Constellation
from .core.events import FLEET, AnyEvent, ConstellationEvent, Event
from .core.fleet import Fleet
from .core.snapshot import FleetSnapshot, Snapshot, restored, taken
from .store.contract import Recovered, Row

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
