"""The store on a database: reads by SQLAlchemy over a pool, writes by the journal of that database.

Reads never wait for a write: SQLite's WAL and PostgreSQL both give each reader the last committed state.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import UpdateBase
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from galaxy.store import forgetting, queries
from galaxy.store.contract import FLEET, Answered, ArtifactRow, Batch, Gone, Recovered, Summary
from galaxy.store.contract import Row as EventRow
from galaxy.store.errors import StoreCorrupt, StoreUnavailable
from galaxy.store.queries import Found, Reading

READ_S = 30.0  # a page is read in milliseconds: past this the disk or the server is gone
RECOVER_ROWS = 1_000  # read at a time when streams are replayed
READERS_MAX = 8

_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class Journal(Protocol):
    """How one database is written to; it has one owner."""

    async def append(self, batch: Batch) -> None:
        """Write a batch, as the store's contract says."""
        ...

    async def write(self, *statements: UpdateBase) -> int:
        """Execute statements in a transaction of their own; return how many rows the first one touched."""
        ...

    async def compact(self) -> None:
        """Give free room back to the disk."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the database."""
        ...


class DatabaseStore:
    """The one store for SQLite and PostgreSQL."""

    def __init__(self, readers: AsyncEngine, journal: Journal) -> None:
        self._readers = readers
        self._journal = journal
        self._insert = queries.INSERTS[readers.dialect.name]
        self.append = journal.append  # the hot path: no layer in between

    async def recover(self) -> AsyncIterator[Recovered]:
        yield queries.whole(await self._recovered(FLEET))
        async for recovered in self._going_on():
            yield queries.whole(recovered)

    async def events(self, stream: str, after: int, limit: int) -> list[EventRow]:
        return queries.to_events(await self._all(queries.events_after(stream, after, limit)))

    async def snapshot(self, stream: str, seq: int, body: bytes) -> None:
        await self._journal.write(queries.put_snapshot(self._insert, stream, seq, body))

    async def kept_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        row = await self._first(queries.snapshot_of(stream))
        return None if row is None else (row[0], row[1])

    async def summary(self, id: str) -> Summary | None:
        row = await self._first(queries.summary_of(id))
        return None if row is None else queries.to_summary(row)

    async def summaries(self, *, state: str | None, before: tuple[float, str] | None, limit: int) -> list[Summary]:
        return [queries.to_summary(row) for row in await self._all(queries.summaries_before(state, before, limit))]

    async def answered(self, key: str) -> Answered | None:
        row = await self._first(queries.answered_under(key))
        return None if row is None else queries.to_answered(row)

    async def forget_answered(self, before: float) -> int:
        forgotten = 0
        while some := await self._journal.write(queries.forget_answered(before)):
            forgotten += some
        return forgotten

    async def artifact(self, sha256: str) -> ArtifactRow | None:
        row = await self._first(queries.artifact_of(sha256))
        return None if row is None else ArtifactRow._make(row)

    async def add_artifact(self, row: ArtifactRow) -> None:
        await self._journal.write(queries.put_artifact(self._insert, row))

    async def touch_artifact(self, sha256: str, at: float) -> None:
        await self._journal.write(forgetting.touch_artifact(sha256, at))

    async def unused_artifacts(
        self, before: float, limit: int, *, ended_before: float | None = None
    ) -> list[ArtifactRow]:
        found = await self._all(forgetting.unused_artifacts(before, limit, ended_before))
        return [ArtifactRow._make(row) for row in found]

    async def forget_artifacts(self, names: list[str]) -> None:
        await self._journal.write(forgetting.forget_artifacts(names))

    async def forget_ended(self, before: float, at: float, limit: int) -> list[str]:
        ids = [row[0] for row in await self._all(forgetting.ended_ids(before, limit))]
        if ids:
            await self._journal.write(*forgetting.forget_constellations(self._insert, ids, at))
        return ids

    async def forget_events(self, at: float, limit: int) -> Gone | None:
        open_one = await self._first(forgetting.to_empty())
        if open_one is None:
            return None
        rows = await self._all(forgetting.sizes(open_one[0], limit))
        done = forgetting.emptied(open_one[0], at) if len(rows) < limit else []
        first = [forgetting.delete_up_to(open_one[0], rows[-1][0])] if rows else []
        await self._journal.write(*first, *done)
        return Gone(len(rows), sum(row[1] for row in rows))

    async def forget_fleet(self, before: float, limit: int) -> Gone:
        rows = await self._all(forgetting.sizes(FLEET, limit, before))
        if rows:
            await self._journal.write(forgetting.delete_up_to(FLEET, rows[-1][0]))
        return Gone(len(rows), sum(row[1] for row in rows))

    async def forgotten_at(self, id: str) -> float | None:
        row = await self._first(forgetting.forgotten_at(id))
        return None if row is None else float(row[0])

    async def forget_forgotten(self, before: float) -> None:
        await self._journal.write(forgetting.forget_forgotten(before))

    async def ended(self, before: float) -> tuple[Gone, Gone]:
        count, bytes, fleet, fleet_bytes = (await self._all(forgetting.ended(before)))[0]
        return Gone(count, int(bytes)), Gone(fleet, int(fleet_bytes))

    async def answers(self, before: float) -> Gone:
        count, bytes = (await self._all(forgetting.answers(before)))[0]
        return Gone(count, int(bytes))

    async def streams(self, after: str, limit: int) -> list[str]:
        return [row[0] for row in await self._all(queries.streams(after, limit))]

    async def setting(self, name: str) -> str | None:
        row = await self._first(queries.setting_of(name))
        return None if row is None else str(row[0])

    async def set_setting(self, name: str, value: str) -> None:
        await self._journal.write(queries.put_setting(self._insert, name, value))

    async def compact(self) -> None:
        await self._journal.compact()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(READ_S):
                await self._readers.dispose()
        finally:
            await self._journal.close()

    async def _all(self, statement: Reading) -> Sequence[Found]:
        with read_errors():
            async with asyncio.timeout(READ_S), self._readers.connect() as connection:
                return (await connection.execute(statement)).all()

    async def _first(self, statement: Reading) -> Found | None:
        rows = await self._all(statement)
        return rows[0] if rows else None

    async def _recovered(self, stream: str) -> Recovered:
        kept = await self._first(queries.snapshot_of(stream))
        seq, body = (0, None) if kept is None else kept
        recovered = Recovered(stream, body, seq, [])
        after = seq
        while page := await self.events(stream, after, RECOVER_ROWS):
            recovered.rows.extend(page)
            after = page[-1].seq
        return recovered

    async def _going_on(self) -> AsyncIterator[Recovered]:
        """Yield the constellations that have not ended, from one query that is read as it comes."""
        recovered: Recovered | None = None
        async for stream, covered, *event in self._streamed(queries.going_on()):
            if recovered is None or recovered.stream != stream:
                if recovered is not None:
                    yield recovered
                kept = await self._first(queries.snapshot_of(stream)) if covered else None
                recovered = Recovered(stream, None if kept is None else kept.body, covered, [])
            if event[0] is not None:
                recovered.rows.append(EventRow._make(event))
        if recovered is not None:
            yield recovered

    async def _streamed(self, statement: Reading) -> AsyncIterator[Found]:
        connection = self._readers.connect()
        try:
            with read_errors():
                async with asyncio.timeout(READ_S):
                    result = await (await connection.start()).stream(statement)
            while True:
                with read_errors():
                    async with asyncio.timeout(READ_S):
                        rows = await result.fetchmany(RECOVER_ROWS)
                if not rows:
                    return
                for row in rows:
                    yield row
        finally:
            await connection.close()


@contextmanager
def read_errors() -> Iterator[None]:
    """Tell a passing condition from damage, whichever driver speaks; mistakes of ours pass through."""
    try:
        yield
    except (ProgrammingError, IntegrityError, DataError):
        raise
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorname", "").startswith(_DAMAGED):
            raise StoreCorrupt("the store is damaged: stop Galaxy and restore a copy") from error
        raise StoreUnavailable(f"the store cannot be read now: {error.orig}") from error
    except (OSError, TimeoutError, PoolTimeout) as error:
        raise StoreUnavailable(f"the store cannot be read now: {error!r}") from error
