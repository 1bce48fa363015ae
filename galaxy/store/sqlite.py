"""The store in a folder: `galaxy.db` in SQLite, and beside it the lock that keeps a second Galaxy out."""

import os
import sqlite3
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import URL, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from galaxy.store.database import READERS_MAX, DatabaseStore, read_errors
from galaxy.store.folder_lock import lock_folder
from galaxy.store.revision import bring_up_to_date, revision_of
from galaxy.store.schema import REVISION
from galaxy.store.sqlite_check import LogMark, check
from galaxy.store.sqlite_journal import BUSY_S, QUICK_S, Durability, SqliteJournal, sqlite_errors


class SqliteStore(DatabaseStore):
    """A folder's store, which is its own as long as it is open."""

    def __init__(self, readers: AsyncEngine, journal: SqliteJournal, lock: BinaryIO, mark: LogMark) -> None:
        super().__init__(readers, journal)
        self._mark = mark
        self._lock = lock

    async def close(self) -> None:
        try:
            await super().close()
            self._mark.remove_if_clean()
        finally:
            self._lock.close()


async def open_sqlite(
    folder: Path, durability: Durability, *, quick_s: float = QUICK_S, busy_s: float = BUSY_S
) -> SqliteStore:
    """Open the store of a folder, which is made if it is missing. Nothing else runs at start, so this may block."""
    lock = lock_folder(folder)
    path = folder / "galaxy.db"
    mark = LogMark(path)
    try:
        with sqlite_errors():
            mark.require_own()
            check(path, mark)
            prepare(path)
            journal = SqliteJournal(path, durability, quick_s=quick_s, busy_s=busy_s)
            mark.set()
    except BaseException:
        lock.close()
        raise
    return SqliteStore(_readers(path), journal, lock, mark)


def prepare(path: Path) -> None:
    """Set what the file itself remembers, and bring its tables up to date, all of it or nothing."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        os.chmod(path, 0o600)
        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=NullPool)
        with read_errors(), engine.connect() as migrated:
            if revision_of(migrated) != REVISION:  # else nothing is written: a full disk is for the runner to wait for
                migrated.exec_driver_sql("BEGIN IMMEDIATE")
                bring_up_to_date(migrated, str(path))
                migrated.commit()
    finally:
        connection.close()


def _readers(path: Path) -> AsyncEngine:
    existing = {"mode": "rw", "uri": "true"}  # one that was lost is not made anew
    url = URL.create("sqlite+aiosqlite", database=path.absolute().as_uri(), query=existing)
    readers = create_async_engine(url, pool_size=READERS_MAX, max_overflow=0, pool_timeout=BUSY_S)

    @event.listens_for(readers.sync_engine, "connect")
    def only_read(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    return readers
