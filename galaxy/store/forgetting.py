"""The statements by which old things go: each touches a bounded number of rows, so that no append waits for long."""

from sqlalchemy import UpdateBase, delete, exists, func, select, update

from galaxy.store import schema
from galaxy.store.contract import FLEET
from galaxy.store.queries import Insert, Reading


def touch_artifact(sha256: str, at: float) -> UpdateBase:
    table = schema.artifacts
    return update(table).where(table.c.sha256 == sha256, table.c.at < at).values(at=at)


def unused_artifacts(before: float, limit: int, ended_before: float | None) -> Reading:
    table, uses, lines = schema.artifacts, schema.uses, schema.constellations
    used = exists().where(uses.c.sha256 == table.c.sha256)
    if ended_before is not None:
        used = used.where(uses.c.stream.not_in(select(lines.c.id).where(lines.c.ended_at < ended_before)))
    return select(table).where(table.c.at < before, ~used).order_by(table.c.sha256).limit(limit)


def forget_artifacts(names: list[str]) -> UpdateBase:
    table, uses = schema.artifacts, schema.uses
    used = exists().where(uses.c.sha256 == table.c.sha256)
    return delete(table).where(table.c.sha256.in_(names), ~used)


def ended_ids(before: float, limit: int) -> Reading:
    table = schema.constellations
    return select(table.c.id).where(table.c.ended_at < before).order_by(table.c.ended_at).limit(limit)


def forget_constellations(insert: Insert, ids: list[str], at: float) -> list[UpdateBase]:
    """Return what takes them off the list and notes that they are forgotten."""
    table = schema.constellations
    noted = insert(schema.forgotten).values([{"id": id, "at": at, "emptied_at": None} for id in ids])
    return [delete(table).where(table.c.id.in_(ids)), noted.on_conflict_do_nothing()]


def to_empty() -> Reading:
    table = schema.forgotten
    return select(table.c.id).where(table.c.emptied_at.is_(None)).order_by(table.c.at, table.c.id).limit(1)


def sizes(stream: str, limit: int, before: float | None = None) -> Reading:
    """Select (seq, bytes) of the stream's first events; with `before`, of those that are older and in the snapshot."""
    table, snapshots = schema.events, schema.snapshots
    page = select(table.c.seq, func.length(table.c.body)).where(table.c.stream == stream)
    if before is not None:
        covered = select(snapshots.c.seq).where(snapshots.c.stream == stream).scalar_subquery()
        page = page.where(table.c.at < before, table.c.seq <= covered)
    return page.order_by(table.c.seq).limit(limit)


def delete_up_to(stream: str, seq: int) -> UpdateBase:
    table = schema.events
    return delete(table).where(table.c.stream == stream, table.c.seq <= seq)


def emptied(id: str, at: float) -> list[UpdateBase]:
    """Return what deletes the rest of a constellation that has no events any more."""
    table = schema.forgotten
    return [
        delete(schema.snapshots).where(schema.snapshots.c.stream == id),
        delete(schema.uses).where(schema.uses.c.stream == id),
        update(table).where(table.c.id == id).values(emptied_at=at),
    ]


def forgotten_at(id: str) -> Reading:
    return select(schema.forgotten.c.at).where(schema.forgotten.c.id == id)


def forget_forgotten(before: float) -> UpdateBase:
    return delete(schema.forgotten).where(schema.forgotten.c.emptied_at < before)


def ended(before: float) -> Reading:
    """Select (constellations, their bytes, events of the fleet, their bytes)."""
    lines, events = schema.constellations, schema.events
    fleet = sizes(FLEET, -1, before).limit(None).subquery()
    old = select(lines.c.id).where(lines.c.ended_at < before)
    size = func.coalesce(func.sum(func.length(events.c.body)), 0)
    return select(
        select(func.count()).select_from(old.subquery()).scalar_subquery(),
        select(size).where(events.c.stream.in_(old)).scalar_subquery(),
        select(func.count()).select_from(fleet).scalar_subquery(),
        select(func.coalesce(func.sum(fleet.c[1]), 0)).scalar_subquery(),
    )


def answers(before: float) -> Reading:
    table = schema.answered
    size = func.coalesce(func.sum(func.length(table.c.answer)), 0)
    return select(func.count(), size).where(table.c.at < before)
