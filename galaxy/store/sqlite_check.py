"""Whether a folder's database is whole, found out before anything is written to it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from galaxy.store.errors import StoreCorrupt

CHECKED_WHOLE_BYTES_MAX = 256 << 20  # a second for a disk, a quarter of one when it is cached
NEWEST_ROWS = 10_000
RESTORE = "Restore a copy: docs/operations.md says how."


class LogMark:
    """A file that is there while the database is open: it names the database and the write-ahead log by their inodes.

    SQLite believes any log that lies beside a database, and misses none. After a crash, a log that is gone takes
    acknowledged commits with it, and one that belongs to another database destroys this one; the mark tells of both.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._mark = path.with_name("galaxy.open")

    def require_own(self) -> None:
        """Raise StoreCorrupt unless database and log are a pair, as far as the mark knows."""
        try:
            database, log = self._mark.read_text("ascii").split()
        except (FileNotFoundError, ValueError):
            return  # it ended cleanly, or was made by a copy of single files
        same_database = _inode(self._path) == database
        same_log = _inode(self._log) == log
        if same_database == same_log:
            return  # both as they were, or both from elsewhere: a copy of the folder
        if not same_database and not self._log.exists():
            return  # a copy was put in its place, and the old log taken away
        escape = f"If all that is as you want it, remove {self._mark} and start again."
        if same_database:
            state = "is not the file that it was" if self._log.exists() else "is missing"
            raise StoreCorrupt(
                f"{self._log} {state}, and Galaxy did not end cleanly: commits that it had acknowledged were in it. "
                f"Put it back, or restore a copy. {escape}"
            )
        raise StoreCorrupt(
            f"{self._log} was written for another file than this {self._path}, and would destroy it. If this one is a "
            f"copy that you have put here, move the log away; or put back what was here. {escape}"
        )

    def set(self) -> None:
        self._mark.write_text(f"{_inode(self._path)} {_inode(self._log)}\n", "ascii")

    def remove(self) -> None:
        self._mark.unlink(missing_ok=True)

    def remove_if_clean(self) -> None:
        """Remove it once all of the log is in the database; SQLite then deletes the log."""
        if not self._log.exists():
            self.remove()


def check(path: Path, mark: LogMark) -> None:
    """Raise StoreCorrupt for a file that is damaged; then empty its log into it.

    SQLite's own check reads 1 GB a second from the cache, so a common file is checked whole. A larger one is checked
    where damage is likely or hurts at once: its length, its schema, and the newest rows by way of table and index.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        _check_reading(path)
        mark.remove()  # the log is emptied, and another one made
        _empty_log(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise StoreCorrupt(f"{path} is damaged: {error}. {RESTORE}") from error


def _check_reading(path: Path) -> None:
    """Look at the database as its log makes it, and write to neither."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        if path.stat().st_size <= CHECKED_WHOLE_BYTES_MAX:
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0].replace("\n", " ")
        else:
            damage = _damage_in_newest(connection)
    if damage != "ok":
        raise StoreCorrupt(f"{path} is damaged: {damage}. {RESTORE}")


def _empty_log(path: Path) -> None:
    """Copy the log into the file, whose length is then what its header says."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        pages, page_bytes = (connection.execute(f"PRAGMA {of}").fetchone()[0] for of in ("page_count", "page_size"))
    length = path.stat().st_size
    if length < pages * page_bytes:
        raise StoreCorrupt(f"{path} was cut off: {length} of {pages * page_bytes} bytes. {RESTORE}")


def _damage_in_newest(connection: sqlite3.Connection) -> str:
    newest = "SELECT rowid AS place, stream, seq FROM events ORDER BY rowid DESC LIMIT ?"
    missing = connection.execute(
        f"SELECT count(*) FROM ({newest}) AS new LEFT JOIN events AS found "  # noqa: S608 - both halves stand here
        "ON found.stream = new.stream AND found.seq = new.seq WHERE found.rowid IS NOT new.place",
        (NEWEST_ROWS,),
    ).fetchone()[0]
    return f"{missing} of the newest events are not in the index" if missing else "ok"


def _inode(path: Path) -> str:
    try:
        return str(os.stat(path).st_ino)
    except FileNotFoundError:
        return "none"
