"""The tools that ask and change databases: those that `agent.toml` names, SQLite and PostgreSQL."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]  # it has no stubs
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import Context
from ..beneath import told
from ..blocking import Stop, unblocked
from ..tables import ROWS_MAX, RowsKept, TableResult, told_of
from .settings import DatabaseSettings

_CONNECT_S = 10.0
_BATCH_ROWS = 500
_STEPS_BETWEEN_LOOKS = 20_000
_CELL_BYTES_MAX = 16 << 20
_COLUMNS_MAX = 500
_SQLITE = "sqlite:///"
_HANDS_OFF = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}

# Who may do this reads and writes the files of the database's host, or runs its programs, within a question too.
_REACHES_OUT = """
SELECT count(*) FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER') AND (rolsuper OR rolname IN
    ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
"""

Databases = dict[str, DatabaseSettings]


class SqlArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which database, and what is said to it."""

    database: Annotated[str, Meta(max_length=100, description="One that the device's owner has named.")]
    sql: Annotated[str, Meta(min_length=1, max_length=50_000, description="One statement.")]
    parameters: Annotated[
        tuple[bool | int | float | str | None, ...],
        Meta(
            max_length=1_000,
            description="For ?, or in PostgreSQL $1 (with a cast where it is no text: $1::text::date).",
        ),
    ] = ()
    limit: Annotated[int, Meta(ge=1, le=5_000, description="Rows in the result; all are in the artifact.")] = 500
    timeout_s: Annotated[float, Meta(gt=0, le=3_600)] = 30


class SqlQuery:
    """Ask a database of the device (SQLite or PostgreSQL) with one statement that changes nothing."""

    name: ClassVar[str] = "sql.query"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"rows": ROWS_MAX}
    Arguments: ClassVar[type[Struct]] = SqlArguments
    Result: ClassVar[type[Struct]] = TableResult

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def probe(self, guard: Guard) -> None:
        _check_any(self._databases)

    async def run(self, arguments: SqlArguments, context: Context) -> TableResult:
        return await _said(arguments, _named(self._databases, arguments.database), context, write=False)


class SqlExecute:
    """Change a database of the device with one statement, in a transaction of its own. Its owner must allow it."""

    name: ClassVar[str] = "sql.execute"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {"rows": ROWS_MAX}
    Arguments: ClassVar[type[Struct]] = SqlArguments
    Result: ClassVar[type[Struct]] = TableResult

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def probe(self, guard: Guard) -> None:
        _check_any({name: each for name, each in self._databases.items() if each.write})

    async def run(self, arguments: SqlArguments, context: Context) -> TableResult:
        database = _named(self._databases, arguments.database)
        if not database.write:
            setting = f"server.databases.{arguments.database}.write = true in agent.toml"
            raise ToolFailed("denied", f"{arguments.database} may only be read; {setting} would allow it")
        return await _said(arguments, database, context, write=True)


def _check_any(databases: Databases) -> None:
    if not databases:
        raise ToolFailed("unavailable", "no database is named: a table [server.databases.NAME] in agent.toml does it")


def _named(databases: Databases, name: str) -> DatabaseSettings:
    if name not in databases:
        raise ToolFailed("denied", f"no database {name!r} is named; [server.databases.NAME] in agent.toml does it")
    return databases[name]


async def _said(arguments: SqlArguments, database: DatabaseSettings, context: Context, *, write: bool) -> TableResult:
    context.guard.check_timeout(arguments.timeout_s)
    if database.url.startswith(_SQLITE):
        kept, whole = await unblocked(lambda stop: _said_to_sqlite(arguments, database, context, write, stop))
    else:
        try:
            async with asyncio.timeout(arguments.timeout_s):
                kept, whole = await _said_to_postgres(arguments, database, context, write=write)
        except TimeoutError:
            raise _too_slow(arguments) from None
    return await told_of(kept, whole, context)


def _too_slow(arguments: SqlArguments) -> ToolFailed:
    return ToolFailed("timeout", f"the statement took more than {arguments.timeout_s:g} s", retryable=True)


def _may_too_much(arguments: SqlArguments) -> ToolFailed:
    table = f"server.databases.{arguments.database}"
    reason = f"the role in {table}.url is a superuser, or may read and write files of the database's host"
    return ToolFailed("denied", f"{reason}: name a plain one, or {table}.superuser = true in agent.toml would allow it")


def _rows_kept(columns: list[str], arguments: SqlArguments, context: Context) -> RowsKept:
    bytes_max = context.guard.limits.output_bytes
    return RowsKept(columns, context.scratch / "rows.csv", bytes_max=bytes_max, rows_inline_max=arguments.limit)


def _said_to_sqlite(
    arguments: SqlArguments, database: DatabaseSettings, context: Context, write: bool, stop: Stop
) -> tuple[RowsKept, Path | None]:
    ends = time.monotonic() + arguments.timeout_s
    path = os.path.expanduser(database.url.removeprefix(_SQLITE))
    mode = "rw" if write else "ro"
    with _told_by_sqlite(arguments, ends, stop):
        uri = f"file:{quote(path)}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=arguments.timeout_s)) as base:
            base.set_progress_handler(lambda: stop.is_set() or time.monotonic() > ends, _STEPS_BETWEEN_LOOKS)
            base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _CELL_BYTES_MAX)
            base.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, _COLUMNS_MAX)
            base.set_authorizer(_keeps_to_the_file)
            base.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            base.set_authorizer(_keeps_to_the_statement)
            rows = base.execute(arguments.sql, arguments.parameters)
            columns = [column[0] for column in rows.description or ()]
            kept = _rows_kept(columns, arguments, context)
            with told("the rows"):
                for row in rows:
                    stop.check()
                    kept.add(row)
                whole = kept.finish()
            if write:
                if not columns:
                    kept.count = max(rows.rowcount, 0)
                base.set_authorizer(None)
                base.execute("COMMIT")
            return kept, whole


@contextmanager
def _told_by_sqlite(arguments: SqlArguments, ends: float, stop: Stop) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as exc:
        stop.check()
        if time.monotonic() > ends:
            raise _too_slow(arguments) from exc
        raise _failed(exc, retryable="locked" in str(exc)) from exc


def _failed(exc: Exception, *, retryable: bool = False) -> ToolFailed:
    return ToolFailed("database_error", f"{type(exc).__name__}: {exc}"[:500], retryable=retryable)


def _keeps_to_the_file(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action in _HANDS_OFF else sqlite3.SQLITE_OK


def _keeps_to_the_statement(action: int, first: str | None, second: str | None, *_: object) -> int:
    ends_it = action in {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
    loads = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    return sqlite3.SQLITE_DENY if ends_it or loads or action in _HANDS_OFF else sqlite3.SQLITE_OK


async def _said_to_postgres(
    arguments: SqlArguments, database: DatabaseSettings, context: Context, *, write: bool
) -> tuple[RowsKept, Path | None]:
    async with _connected(database, arguments.timeout_s) as connection:
        if not database.superuser and await connection.fetchval(_REACHES_OUT):
            raise _may_too_much(arguments)
        transaction = connection.transaction(readonly=not write)
        await transaction.start()
        statement = await connection.prepare(arguments.sql)
        columns = [attribute.name for attribute in statement.get_attributes()]
        kept = _rows_kept(columns, arguments, context)
        if columns:
            cursor = await statement.cursor(*arguments.parameters)
            while batch := await cursor.fetch(_BATCH_ROWS):
                await unblocked(lambda stop, rows=batch: _kept(kept, rows, stop))  # type: ignore[misc]  # bound at once
        elif write:
            await statement.fetch(*arguments.parameters)
            kept.count = _count(statement.get_statusmsg())
        else:  # such as COPY TO PROGRAM, which a transaction that only reads does not refuse
            raise ToolFailed("bad_query", "the statement gives no rows, and sql.query takes only such as do")
        whole = await unblocked(lambda _: _finished(kept))
        await transaction.commit()
        return kept, whole


@asynccontextmanager
async def _connected(database: DatabaseSettings, timeout_s: float) -> AsyncIterator[Any]:
    """Yield a connection; what goes wrong on it is told without its URL, where a password may stand."""
    settings = {"statement_timeout": str(int(timeout_s * 1_000)), "application_name": "galaxy-agent"}
    try:
        connection = await asyncpg.connect(database.url, timeout=_CONNECT_S, server_settings=settings)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as exc:
        raise ToolFailed(
            "unavailable", f"the database cannot be reached: {type(exc).__name__}", retryable=True
        ) from exc
    try:
        yield connection
    except asyncpg.QueryCanceledError as exc:
        raise ToolFailed("timeout", f"the statement took more than {timeout_s:g} s", retryable=True) from exc
    except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as exc:
        raise _failed(exc, retryable=True) from exc
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.exceptions.DataError, ValueError) as exc:
        if connection.is_closed():  # perhaps in the middle of the commit
            raise ToolFailed("connection_lost", f"the connection to the database broke: {exc}"[:500]) from exc
        raise _failed(exc) from exc
    except OSError as exc:
        raise ToolFailed("connection_lost", f"the connection to the database broke: {exc}", retryable=True) from exc
    finally:
        connection.terminate()  # which rolls back what was not committed


def _kept(kept: RowsKept, rows: list[Any], stop: Stop) -> None:
    with told("the rows"):
        for row in rows:
            stop.check()
            kept.add(tuple(row))


def _finished(kept: RowsKept) -> Path | None:
    with told("the rows"):
        return kept.finish()


def _count(status: str) -> int:
    """Return how many rows a statement touched, as in "INSERT 0 3"."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0
