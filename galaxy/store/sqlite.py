"""The store in a folder: `galaxy.db` in SQLite, and beside it the lock that keeps a second Galaxy out."""

import os
import sqlite3
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import URL, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from galaxy.store.database import READERS_MAX, DatabaseStore
from galaxy.store.errors import StoreCorrupt
from galaxy.store.folder_lock import lock_folder
from galaxy.store.revision import bring_up_to_date
from galaxy.store.sqlite_journal import BUSY_S, QUICK_S, Durability, SqliteJournal, sqlite_errors

CHECKED_WHOLE_BYTES_MAX = 256 << 20  # a second for a disk, a quarter of one when it is cached
NEWEST_ROWS = 10_000


class SqliteStore(DatabaseStore):
    """A folder's store, which is its own as long as it is open."""

    def __init__(self, readers: AsyncEngine, journal: SqliteJournal, lock: BinaryIO) -> None:
        super().__init__(readers, journal)
        self._lock = lock

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            self._lock.close()


async def open_sqlite(
    folder: Path, durability: Durability, *, quick_s: float = QUICK_S, busy_s: float = BUSY_S
) -> SqliteStore:
    """Open the store of a folder, which is made if it is missing. Nothing else runs at start, so this may block."""
    lock = lock_folder(folder)
    path = folder / "galaxy.db"
    try:
        with sqlite_errors():
            check(path)
            prepare(path)
            journal = SqliteJournal(path, durability, quick_s=quick_s, busy_s=busy_s)
    except BaseException:
        lock.close()
        raise
    return SqliteStore(_readers(path), journal, lock)


def check(path: Path) -> None:
    """Raise StoreCorrupt for a file that is damaged.

    SQLite's own check reads 1 GB a second from the cache, so a common file is checked whole. A larger one is checked
    where damage is likely or hurts at once: its length, its schema, and the newest rows by way of table and index.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    connection = sqlite3.connect(path)
    try:
        # The log is emptied first, so that the file's length is what its header says.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        pages, page_bytes = (connection.execute(f"PRAGMA {of}").fetchone()[0] for of in ("page_count", "page_size"))
        length = path.stat().st_size
        if length < pages * page_bytes:
            raise StoreCorrupt(f"{path} was cut off: {length} of {pages * page_bytes} bytes. Restore a copy.")
        if length <= CHECKED_WHOLE_BYTES_MAX:
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0].replace("\n", " ")
        else:
            damage = _damage_in_newest(connection)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise StoreCorrupt(f"{path} is damaged: {error}. Restore a copy.") from error
    finally:
        connection.close()
    if damage != "ok":
        raise StoreCorrupt(f"{path} is damaged: {damage}. Restore a copy.")


def prepare(path: Path) -> None:
    """Set what the file itself remembers, and bring its tables up to date, all of it or nothing."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        os.chmod(path, 0o600)
        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=NullPool)
        with engine.connect() as migrated:
            migrated.exec_driver_sql("BEGIN IMMEDIATE")
            bring_up_to_date(migrated, str(path))
            migrated.commit()
    finally:
        connection.close()


def _damage_in_newest(connection: sqlite3.Connection) -> str:
    newest = "SELECT rowid AS place, stream, seq FROM events ORDER BY rowid DESC LIMIT ?"
    missing = connection.execute(
        f"SELECT count(*) FROM ({newest}) AS new LEFT JOIN events AS found "  # noqa: S608 - both halves stand here
        "ON found.stream = new.stream AND found.seq = new.seq WHERE found.rowid IS NOT new.place",
        (NEWEST_ROWS,),
    ).fetchone()[0]
    return f"{missing} of the newest events are not in the index" if missing else "ok"


def _readers(path: Path) -> AsyncEngine:
    existing = {"mode": "rw", "uri": "true"}  # one that was lost is not made anew
    url = URL.create("sqlite+aiosqlite", database=path.absolute().as_uri(), query=existing)
    readers = create_async_engine(url, pool_size=READERS_MAX, max_overflow=0, pool_timeout=BUSY_S)

    @event.listens_for(readers.sync_engine, "connect")
    def only_read(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    return readers
