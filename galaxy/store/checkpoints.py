"""Copy SQLite's write-ahead log back into the database while the journal goes on writing.

SQLite would do it inside whichever commit crosses a limit, which then takes milliseconds and, with it, the event loop.
Here a thread with a connection of its own copies the bulk, which hinders no writer. What was written meanwhile is
little, and the journal's own thread copies it, for only between two commits can the log be emptied.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path

from galaxy.store.contract import Batch

PAGES = 4_000  # 16 MB of log: rare enough to copy a page once for many changes, and read again in 10 ms after a crash
PAGE_BYTES = 4_096

log = logging.getLogger(__name__)

_body = attrgetter("body")


class Checkpoints:
    """When to copy, and the thread that copies. `finish` is called in the loop when the bulk is done."""

    def __init__(self, path: Path, finish: Callable[[], object]) -> None:
        self._path = path
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._pages = 0
        self._thread = ThreadPoolExecutor(1, "galaxy-checkpoint")
        self._copying: Future[None] | None = None

    def written(self, batch: Batch) -> None:
        """Count what a commit added to the log, by an estimate: rows of many streams touch up to four times as much."""
        rows = batch.rows
        self._pages += 2 + len(rows) // 8 + sum(map(len, map(_body, rows))) // PAGE_BYTES
        if self._pages >= PAGES and (self._copying is None or self._copying.done()):
            self._pages = 0
            self._copying = self._thread.submit(self._copy)

    def close(self) -> None:
        self._thread.shutdown()

    def _copy(self) -> None:
        try:
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True)  # never make a new one
        except sqlite3.OperationalError as error:
            log.warning("checkpoint failed", extra={"reason": str(error)})
            return
        try:
            connection.execute("PRAGMA fullfsync = ON")  # see the journal
            copy_log(connection)
            copy_log(connection)  # what was written meanwhile; what is written during this is a few pages
        finally:
            connection.close()
        self._loop.call_soon_threadsafe(self._finish)


def copy_log(connection: sqlite3.Connection) -> bool:
    """Return whether all of the log is in the database now. What is not will be copied the next time."""
    try:
        busy, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.OperationalError as error:
        log.warning("checkpoint failed", extra={"reason": str(error)})
        return False
    return not busy and pages == copied
