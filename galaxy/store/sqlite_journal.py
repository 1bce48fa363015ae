"""How SQLite is written to: one connection, no layer in between, in the loop's own thread while that is quick.

A commit that only copies into the page cache takes 20 us, one that waits for a good SSD 0.2 ms. Handing either to a
thread costs more than that, and up to 5 ms when the loop is busy, for the thread must win the interpreter's lock back.
Only a disk that is slower than that is worth a thread. Which it is shows by itself: commits are timed.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeVar

from sqlalchemy import UpdateBase, insert
from sqlalchemy.dialects import sqlite

from galaxy.store import schema
from galaxy.store.checkpoints import Checkpoints, copy_log
from galaxy.store.contract import Batch, Row
from galaxy.store.errors import MISTAKE, StoreConflict, StoreCorrupt, StoreRefused, StoreUnavailable
from galaxy.store.queries import INSERTS, put_summaries, summary_values

Durability = Literal["power", "process"]  # what an acknowledged batch survives: a power cut, or kill -9 only
SYNCHRONOUS: dict[Durability, str] = {"power": "FULL", "process": "NORMAL"}

QUICK_S = 0.002  # a commit that takes longer belongs in the thread; the interpreter's lock changes hands in 5 ms
INLINE_ROWS_MAX = 1_024  # about as long as QUICK_S
TRIED_AGAIN_COMMITS = 64
BUSY_S = 5.0  # for somebody's sqlite3 shell or backup to let go
COMMIT_S = 30.0
CHUNK_ROWS = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # a step of SQLite's each: 256 rows in one step cost half of 256 steps

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

T = TypeVar("T")


class Pace:
    """Whether commits are quick enough of late for the loop's own thread, which alone is timed.

    In the other thread a commit also waits for the interpreter's lock, which says nothing of the disk; so while commits
    are slow, one of some is tried in the loop's thread.
    """

    def __init__(self, quick_s: float) -> None:
        self._quick_s = quick_s
        self._typical_s = 0.0
        self._since_tried = 0

    def is_quick(self) -> bool:
        if self._typical_s < self._quick_s:
            return True
        self._since_tried += 1
        return self._since_tried >= TRIED_AGAIN_COMMITS

    def took(self, seconds: float) -> None:
        if self._since_tried:
            self._since_tried = 0
            self._typical_s = seconds
        else:
            seconds = min(seconds, 4 * self._quick_s)  # a hiccup or two are not a slow disk
            self._typical_s += (seconds - self._typical_s) / 8


class SqliteJournal:
    """The one writer of a folder's database. `quick_s` = 0 sends every commit to the thread."""

    def __init__(self, path: Path, durability: Durability, *, quick_s: float = QUICK_S, busy_s: float = BUSY_S) -> None:
        self._path = path
        self._file = os.stat(path)
        self._busy_s = busy_s
        self._pace = Pace(quick_s)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        self._connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        self._connection.execute("PRAGMA fullfsync = ON")  # macOS leaves data in the disk's own cache without it
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute("PRAGMA busy_timeout = 0")  # waiting is for the thread
        self._connection.execute("SELECT count(*) FROM settings").fetchone()  # the log is there from now on
        self._thread = ThreadPoolExecutor(1, "galaxy-journal")
        self._last: Future[Any] = Future()  # of the thread's work; when it is done, the connection is free
        self._last.set_result(None)
        self._checkpoints = Checkpoints(path, self._finish_checkpoint)

    async def append(self, batch: Batch) -> None:
        inline = self._last.done() and len(batch.rows) <= INLINE_ROWS_MAX and self._pace.is_quick()
        if not (inline and self._commit_unless_busy(batch)):
            await self._in_thread(lambda: self._patiently(lambda: self._commit(batch)))
        self._require_in_place()
        self._checkpoints.written(batch)

    async def write(self, *statements: UpdateBase) -> int:
        return await self._in_thread(lambda: self._patiently(lambda: self._execute_all(statements)))

    async def compact(self) -> None:
        work = self._thread.submit(lambda: self._patiently(lambda: self._connection.execute("VACUUM")))
        await asyncio.wrap_future(work)  # it writes the whole file anew, however long that takes

    async def close(self) -> None:
        try:
            self._checkpoints.close()
            await self._in_thread(self._connection.close)
        finally:
            self._thread.shutdown()

    def _require_in_place(self) -> None:
        """Raise unless what was written is where the next start looks for it: SQLite goes on writing to a lost file."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path} was moved or removed: put it back, or stop Galaxy and restore a copy"
            ) from error
        if not os.path.samestat(found, self._file):
            raise StoreConflict(f"another file has taken the place of {self._path} while Galaxy wrote to it")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        self._last = future = self._thread.submit(work)
        try:
            async with asyncio.timeout(COMMIT_S):
                return await asyncio.shield(asyncio.wrap_future(future))  # what the thread has begun it also ends
        except TimeoutError as error:
            raise StoreUnavailable(f"the disk has not answered for {COMMIT_S:.0f} s") from error

    def _commit_unless_busy(self, batch: Batch) -> bool:
        started = perf_counter()
        with sqlite_errors():
            try:
                self._commit(batch)
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                return False
        self._pace.took(perf_counter() - started)
        return True

    def _patiently(self, work: Callable[[], T]) -> T:
        """Work, and wait for another process that has the database for the moment. Never in the loop's thread."""
        with sqlite_errors():
            try:
                return work()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
            self._connection.execute(f"PRAGMA busy_timeout = {self._busy_s * 1000:.0f}")
            try:
                return work()
            finally:
                self._connection.execute("PRAGMA busy_timeout = 0")

    def _commit(self, batch: Batch) -> None:
        try:
            self._insert(batch)
        except sqlite3.IntegrityError:
            self._repeat(batch)

    def _insert(self, batch: Batch) -> None:
        rows = batch.rows
        if not (batch.summaries or batch.answered or batch.uses) and len(rows) in CHUNK_ROWS:
            self._connection.execute(_insert_rows(len(rows)), tuple(chain.from_iterable(rows)))
            return
        with self._transaction():
            for part in _chunks(rows):
                self._connection.execute(_insert_rows(len(part)), tuple(chain.from_iterable(part)))
            self._connection.executemany(_INSERT_ANSWERED, batch.answered)
            self._put_others(batch)

    def _repeat(self, batch: Batch) -> None:
        """Write what is missing of a batch that met itself, or raise StoreConflict."""
        with self._transaction():
            for row in batch.rows:
                self._connection.execute(_REPEAT_ROW, row)
                if self._connection.execute(_SAME_ROW, row).fetchone() is None:
                    raise StoreConflict(f"event {row.seq} of {row.stream} is recorded already, and differs")
            for answer in batch.answered:
                self._connection.execute(_REPEAT_ANSWERED, answer)
                if self._connection.execute(_SAME_ANSWERED, answer).fetchone() is None:
                    raise StoreConflict(f"the key {answer.key} is answered already, and differs")
            self._put_others(batch)

    def _put_others(self, batch: Batch) -> None:
        self._connection.executemany(_PUT_SUMMARIES, map(summary_values, batch.summaries))
        self._connection.executemany(_PUT_USES, batch.uses)

    def _execute_all(self, statements: Sequence[UpdateBase]) -> int:
        with self._transaction():
            touched, *_ = [self._execute(statement) for statement in statements]
            return touched

    def _execute(self, statement: UpdateBase) -> int:
        compiled = statement.compile(dialect=_NAMED, compile_kwargs={"render_postcompile": True})
        return self._connection.execute(str(compiled), compiled.params).rowcount

    def _finish_checkpoint(self) -> None:
        self._last = self._thread.submit(self._empty_log)

    def _empty_log(self) -> None:
        if copy_log(self._connection):
            # The next write begins the log anew and syncs its header: let it be this one, which nobody waits for.
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA user_version = 1")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself ends it when the disk is full
                self._connection.execute("ROLLBACK")
            raise


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """Tell a passing condition from damage, and both from what can never be written."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = _primary(error)
        if code in _PASSING:
            raise StoreUnavailable(f"the store cannot be written now: {error}") from error
        if code in _DAMAGED:
            raise StoreCorrupt(f"the store is damaged: {error}. Stop Galaxy and restore a copy.") from error
        raise StoreRefused(f"SQLite refuses what Galaxy writes: {error}. {MISTAKE}") from error


def _is_busy(error: sqlite3.Error) -> bool:
    return _primary(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _primary(error: sqlite3.Error) -> int:
    """Return SQLite's code without its finer distinctions; 0 if the error is the driver's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for size in CHUNK_ROWS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _text(statement: UpdateBase) -> str:
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))


@cache
def _insert_rows(count: int) -> str:
    one = _text(insert(schema.events))
    return one + (", " + one[one.rindex("(") :]) * (count - 1)


_NAMED = sqlite.dialect(paramstyle="named")
_INSERT = INSERTS["sqlite"]
_INSERT_ANSWERED = _text(_INSERT(schema.answered))
_PUT_SUMMARIES = _text(put_summaries(_INSERT))
_PUT_USES = _text(_INSERT(schema.uses).on_conflict_do_nothing())
_REPEAT_ROW = _text(_INSERT(schema.events).on_conflict_do_nothing())
_REPEAT_ANSWERED = _text(_INSERT(schema.answered).on_conflict_do_nothing())
_SAME_ROW = "SELECT 1 FROM events WHERE stream = ? AND seq = ? AND kind = ? AND at = ? AND body = ?"
_SAME_ANSWERED = "SELECT 1 FROM answered WHERE key = ? AND digest = ? AND answer = ? AND at = ?"
