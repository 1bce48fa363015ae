"""How PostgreSQL is written to: one connection of the node's own, one statement a batch, under a lock of the session.

The statement is the transaction, so a batch costs one round trip. When the connection is lost on the way, nobody knows
whether it was committed; the caller appends the batch again, and rows that are there already are compared, not written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no stubs
from sqlalchemy import UpdateBase
from sqlalchemy.ext.asyncio import AsyncEngine

from galaxy.store.contract import Batch
from galaxy.store.database import read_errors
from galaxy.store.errors import MISTAKE, StoreConflict, StoreCorrupt, StoreInUse, StoreRefused, StoreUnavailable
from galaxy.store.queries import summary_values

CONNECT_S = 10.0
APPEND_S = 30.0
LOCK = int.from_bytes(b"galaxy")  # the same for every Galaxy; each database has its own space of locks

_PASSING = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server is stopping, starting, or was told to end this session
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.TransactionRollbackError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # the other half of a failover that is going on
    asyncpg.InvalidAuthorizationSpecificationError,  # a person can put this right while Galaxy waits, and the next too
    asyncpg.InvalidCatalogNameError,
    OSError,
    TimeoutError,
)
_DAMAGED = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError)

_ROWS = """
INSERT INTO events (stream, seq, kind, at, body)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::float8[], $5::bytea[])
"""
_ANSWERED = """
INSERT INTO answered (key, digest, answer, at)
SELECT * FROM unnest($6::text[], $7::text[], $8::bytea[], $9::float8[])
"""
_SUMMARIES = """
INSERT INTO constellations (id, name, state, stars, submitted_at, ended_at, body)
SELECT * FROM unnest(
    $10::text[], $11::text[], $12::text[], $13::integer[], $14::float8[], $15::float8[], $16::bytea[])
ON CONFLICT (id) DO UPDATE SET (name, state, stars, submitted_at, ended_at, body) =
    (excluded.name, excluded.state, excluded.stars, excluded.submitted_at, excluded.ended_at, excluded.body)
"""
_USES = "INSERT INTO uses (sha256, stream) SELECT * FROM unnest($17::text[], $18::text[]) ON CONFLICT DO NOTHING"
_ALL = f"WITH answers AS ({_ANSWERED}), lines AS ({_SUMMARIES}), used AS ({_USES}) {_ROWS}"
_MISSING = (
    f"WITH answers AS ({_ANSWERED} ON CONFLICT DO NOTHING), lines AS ({_SUMMARIES}), used AS ({_USES}) "
    f"{_ROWS} ON CONFLICT DO NOTHING"
)
_DIFFERENT_ROW = """
SELECT new.stream, new.seq
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::float8[], $5::bytea[]) AS new (stream, seq, kind, at, body)
JOIN events USING (stream, seq)
WHERE (events.kind, events.at, events.body) IS DISTINCT FROM (new.kind, new.at, new.body)
LIMIT 1
"""
_DIFFERENT_ANSWERED = """
SELECT new.key
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::float8[]) AS new (key, digest, answer, at)
JOIN answered USING (key)
WHERE (answered.digest, answered.answer, answered.at) IS DISTINCT FROM (new.digest, new.answer, new.at)
LIMIT 1
"""
_BACKEND = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END_BACKEND = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"

Connect = Callable[[], Awaitable[Any]]


class PostgresJournal:
    """The one writer of a database, while it holds the lock. A lost connection is made again by the next append."""

    def __init__(self, connect: Connect, pool: AsyncEngine, name: str) -> None:
        self._connect = connect
        self._pool = pool
        self._name = name
        self._connection: Any = None
        self._backend: tuple[Any, Any] | None = None  # the server's process for the connection that was

    async def append(self, batch: Batch) -> None:
        connection = await self.connected()
        rows = _columns(batch.rows, 5)
        try:
            with self._errors():
                async with asyncio.timeout(APPEND_S):
                    if batch.summaries or batch.answered or batch.uses:
                        await connection.execute(_ALL, *rows, *_others(batch))
                    else:
                        await connection.execute(_ROWS, *rows)
        except asyncpg.UniqueViolationError:
            with self._errors():
                async with asyncio.timeout(APPEND_S):
                    await self._repeat(connection, batch)

    async def write(self, *statements: UpdateBase) -> int:
        with read_errors():
            async with asyncio.timeout(APPEND_S), self._pool.begin() as connection:
                touched, *_ = [int((await connection.execute(statement)).rowcount) for statement in statements]
            return touched

    async def compact(self) -> None:
        """The server does it by itself."""

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await connection.close()
            except (*_PASSING, asyncpg.InterfaceError):
                connection.terminate()

    async def connected(self) -> Any:
        """Return the connection that holds the lock; make it if there is none. Raise StoreInUse without the lock."""
        if self._connection is None or self._connection.is_closed():
            with self._errors():
                async with asyncio.timeout(CONNECT_S):
                    self._connection = await self._connect()
                    await self._take_lock(self._connection)
        return self._connection

    async def _take_lock(self, connection: Any) -> None:
        if self._backend is not None:  # the server may not have noticed that we are gone, and still be committing
            await connection.fetch(_END_BACKEND, *self._backend)
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            await self.close()
            raise StoreInUse(
                f"{self._name} is in use by another Galaxy. Stop that one, or give this one its own database. "
                "After a crash of the other's machine the server needs up to half a minute to notice."
            )
        self._backend = await connection.fetchrow(_BACKEND)

    async def _repeat(self, connection: Any, batch: Batch) -> None:
        """Write what is missing of a batch that met itself, or raise StoreConflict."""
        rows, others = _columns(batch.rows, 5), _others(batch)
        async with connection.transaction():
            await connection.execute(_MISSING, *rows, *others)
            if row := await connection.fetchrow(_DIFFERENT_ROW, *rows):
                raise StoreConflict(f"event {row[1]} of {row[0]} is recorded already, and differs")
            if answer := await connection.fetchrow(_DIFFERENT_ANSWERED, *others[:4]):
                raise StoreConflict(f"the key {answer[0]} is answered already, and differs")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell a passing condition from damage, and drop a connection whose state nobody knows."""
        try:
            yield
        except _PASSING as error:
            self._drop()
            raise StoreUnavailable(f"{self._name} cannot be written now: {error!r}") from error
        except asyncpg.InterfaceError as error:
            if self._connection is None or not self._connection.is_closed():
                raise  # a mistake of ours
            self._drop()
            raise StoreUnavailable(f"{self._name} cannot be written now: {error!r}") from error
        except _DAMAGED as error:
            raise StoreCorrupt(f"{self._name} is damaged: {error}. Stop Galaxy and restore a copy.") from error
        except asyncpg.UniqueViolationError:
            raise  # what is recorded already is looked at
        except asyncpg.PostgresError as error:
            raise StoreRefused(f"{self._name} refuses what Galaxy writes: {error}. {MISTAKE}") from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _columns(rows: list[Any], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) or [()] * width


def _others(batch: Batch) -> list[tuple[Any, ...]]:
    newest = {summary.id: summary for summary in batch.summaries}  # one statement may touch a row only once
    lines = list(map(summary_values, newest.values()))
    return [*_columns(batch.answered, 4), *_columns(lines, 7), *_columns(batch.uses, 2)]
