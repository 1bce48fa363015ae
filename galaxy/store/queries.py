"""Every statement but the append path's own, for both databases, and what its rows mean."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Raw, structs
from sqlalchemy import Row, Select, UpdateBase, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from galaxy.store import schema
from galaxy.store.contract import Answered, ArtifactRow, Recovered, Summary
from galaxy.store.contract import Row as EventRow
from galaxy.store.errors import StoreCorrupt

# Both dialects write an upsert alike but each compiles only its own class.
Insert = Callable[..., "sqlite.Insert | postgresql.Insert"]
INSERTS: dict[str, Insert] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

Reading = Select[*tuple[Any, ...]]
Found = Row[*tuple[Any, ...]]

FORGOTTEN_ROWS_MAX = 1_000  # of one delete: a longer one would hold up the next append


def events_after(stream: str, after: int, limit: int) -> Reading:
    table = schema.events
    wanted = (table.c.stream == stream) & (table.c.seq > after)
    return select(table).where(wanted).order_by(table.c.seq).limit(limit)


def streams(after: str, limit: int) -> Reading:
    table = schema.events
    return (
        select(table.c.stream)
        .where(table.c.stream > after)
        .group_by(table.c.stream)
        .order_by(table.c.stream)
        .limit(limit)
    )


def going_on() -> Reading:
    """Select (id, snapshot's seq or 0, event or nulls) of each constellation to replay, in the order of replay."""
    lines, snapshots, events = schema.constellations, schema.snapshots, schema.events
    covered = func.coalesce(snapshots.c.seq, 0)
    tail = (events.c.stream == lines.c.id) & (events.c.seq > covered)
    return (
        select(lines.c.id, covered, events)
        .select_from(
            lines.outerjoin(snapshots, snapshots.c.stream == lines.c.id).outerjoin(events, tail),
        )
        .where(lines.c.ended_at.is_(None))
        .order_by(lines.c.submitted_at, lines.c.id, events.c.seq)
    )


def snapshot_of(stream: str) -> Reading:
    table = schema.snapshots
    return select(table.c.seq, table.c.body).where(table.c.stream == stream)


def put_snapshot(insert: Insert, stream: str, seq: int, body: bytes) -> UpdateBase:
    table = schema.snapshots
    new = insert(table).values(stream=stream, seq=seq, body=body)
    return new.on_conflict_do_update(
        index_elements=[table.c.stream],
        set_={"seq": new.excluded.seq, "body": new.excluded.body},
        where=new.excluded.seq > table.c.seq,
    )


def summary_of(id: str) -> Reading:
    return select(schema.constellations).where(schema.constellations.c.id == id)


def summaries_before(state: str | None, before: tuple[float, str] | None, limit: int) -> Reading:
    table = schema.constellations
    page = select(table).order_by(table.c.submitted_at.desc(), table.c.id.desc()).limit(limit)
    if state is not None:
        page = page.where(table.c.state == state)
    if before is not None:
        page = page.where(tuple_(table.c.submitted_at, table.c.id) < tuple_(*before))
    return page


def answered_under(key: str) -> Reading:
    return select(schema.answered).where(schema.answered.c.key == key)


def forget_answered(before: float) -> UpdateBase:
    table = schema.answered
    old = select(table.c.key).where(table.c.at < before).limit(FORGOTTEN_ROWS_MAX)
    return delete(table).where(table.c.key.in_(old))


def artifact_of(sha256: str) -> Reading:
    return select(schema.artifacts).where(schema.artifacts.c.sha256 == sha256)


def put_artifact(insert: Insert, row: ArtifactRow) -> UpdateBase:
    return insert(schema.artifacts).values(tuple(row)).on_conflict_do_nothing()


def setting_of(name: str) -> Reading:
    return select(schema.settings.c.value).where(schema.settings.c.name == name)


def put_setting(insert: Insert, name: str, value: str) -> UpdateBase:
    new = insert(schema.settings).values(name=name, value=value)
    return new.on_conflict_do_update(index_elements=[schema.settings.c.name], set_={"value": new.excluded.value})


def put_summaries(insert: Insert) -> UpdateBase:
    """Return the upsert with one parameter a column, in the order of `summary_values`."""
    table = schema.constellations
    new = insert(table)
    changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
    return new.on_conflict_do_update(index_elements=[table.c.id], set_=changed)


def summary_values(summary: Summary) -> tuple[Any, ...]:
    values = structs.astuple(summary)
    return (*values[:-1], bytes(summary.body))


def to_summary(row: Found) -> Summary:
    *values, body = row
    return Summary(**dict(zip(Summary.__struct_fields__, values, strict=False)), body=Raw(body))


def to_answered(row: Found) -> Answered:
    return Answered._make(row)


def whole(recovered: Recovered) -> Recovered:
    """Return it unless its rows have a gap: replay would build a state that never was."""
    for expected, row in enumerate(recovered.rows, recovered.snapshot_seq + 1):
        if row.seq != expected:
            raise StoreCorrupt(
                f"event {expected} of {recovered.stream} is missing: the log has a gap. Restore a copy of the store."
            )
    return recovered


def to_events(rows: Iterable[Found]) -> list[EventRow]:
    return [EventRow._make(row) for row in rows]
