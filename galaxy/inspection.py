"""Reads all that a store holds and says what does not fit: gaps, what cannot be read or replayed, lost bytes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from .artifacts import Artifacts
from .core.constellation import Constellation
from .core.events import FLEET
from .core.fleet import Fleet
from .journal import artifacts_named, constellation_of, fleet_of, play, snapshot_of
from .store.contract import Recovered, Row, Store, Summary
from .store.errors import StoreCorrupt

PAGE_ROWS = 1_000
FINDINGS_MAX = 1_000


@dataclass(slots=True)
class Report:
    """What was read, and what is wrong with it."""

    streams: int = 0
    events: int = 0
    bytes: int = 0
    snapshots: int = 0
    artifacts: int = 0
    findings: list[tuple[str, str]] = field(default_factory=list)  # the stream, and what is wrong there


async def inspected(store: Store, artifacts: Artifacts) -> Report:
    """Return what there is and what is wrong with it. Nothing may write to the store meanwhile."""
    report, named, seen = Report(), set[str](), set[str]()
    async for stream in _streams(store):
        seen.add(stream)
        report.streams += 1
        report.findings += [(stream, wrong) async for wrong in _wrong_with(store, stream, report, named)]
        if len(report.findings) >= FINDINGS_MAX:
            return report
    async for line in _lines(store):
        if line.id not in seen:
            report.findings.append((line.id, "stands in the list, and has no events"))
    for name in sorted(named):
        row = await store.artifact(name)
        if row is None:
            continue  # it may never have come, or be no artifact at all
        report.artifacts += 1
        path = artifacts.path(name)
        if not path.exists() or path.stat().st_size != row.bytes:
            report.findings.append((name, f"is an artifact of {row.bytes} bytes, which are not all in {path}"))
    return report


async def _wrong_with(store: Store, stream: str, report: Report, named: set[str]) -> AsyncIterator[str]:
    line = None if stream == FLEET else await store.summary(stream)
    if stream != FLEET and line is None:
        if await store.forgotten_at(stream) is None:
            yield "has events, and does not stand in the list"
        return  # else it is being forgotten: a part of it may be gone
    kept = await store.kept_snapshot(stream)
    covered, body = kept or (0, b"")
    state: Constellation | Fleet = Fleet() if stream == FLEET else Constellation(stream)
    last = 0
    try:
        if stream == FLEET and kept and await _begins_after(store, stream, 1):
            state, last = fleet_of(Recovered(stream, body, covered, [])), covered  # its beginning was let go
        async for row in _rows(store, stream, last):
            if row.seq != last + 1:
                yield f"event {last + 1} is missing"
                return
            last = row.seq
            report.events += 1
            report.bytes += len(row.body)
            named |= artifacts_named(row.body)
            play(state, row)
            if row.seq == covered:
                report.snapshots += 1
                if snapshot_of(state) != snapshot_of(_restored(stream, covered, body)):
                    yield f"its snapshot of event {covered} is not what its events make"
    except StoreCorrupt as error:
        yield str(error)
        return
    if last < covered:
        yield f"events {last + 1} to {covered} are missing: its snapshot knows of them"
    if line and isinstance(state, Constellation) and (line.state, line.ended_at) != (state.state, state.ended_at):
        yield f"the list says {line.state}, its events make it {state.state}"


def _restored(stream: str, seq: int, body: bytes) -> Constellation | Fleet:
    recovered = Recovered(stream, body, seq, [])
    return fleet_of(recovered) if stream == FLEET else constellation_of(recovered)


async def _begins_after(store: Store, stream: str, seq: int) -> bool:
    first = await store.events(stream, 0, 1)
    return not first or first[0].seq > seq


async def _rows(store: Store, stream: str, after: int) -> AsyncIterator[Row]:
    while page := await store.events(stream, after, PAGE_ROWS):
        for row in page:
            yield row
        after = page[-1].seq


async def _streams(store: Store) -> AsyncIterator[str]:
    after = ""
    while page := await store.streams(after, PAGE_ROWS):
        for stream in page:
            yield stream
        after = page[-1]


async def _lines(store: Store) -> AsyncIterator[Summary]:
    before: tuple[float, str] | None = None
    while page := await store.summaries(state=None, before=before, limit=PAGE_ROWS):
        for line in page:
            yield line
        before = (page[-1].submitted_at, page[-1].id)
