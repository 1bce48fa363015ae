"""What the device must not forget, in one SQLite file: reports not yet acknowledged, and the journal of effects.

    intend(attempt)          before a call that may not be repeated: on disk when it returns
    keep(reports)            on disk when it returns; from then on a report survives this process
    begin_step, end_step     the same for a step of an attempt that runs tools of its own
    forget(attempts)         Galaxy has them
    unknown()                calls that were begun and never completed: a crash cut them off
    steps(attempt)           how far such a one had come, if it was one that goes in steps
    completed(attempt)       the report of a journalled call that was completed, also after Galaxy has acknowledged it
    journal                  names this file: another one knows nothing of what was begun before it

Each raises OutboxFailed when the file cannot be read or written; what was there before is still there then.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from protocol.messages import Report
from protocol.vocabulary import Outcome

from .desk import Steps

JOURNAL_KEPT_S = 7 * 24 * 3600.0
PRUNE_EVERY_S = 3600.0
FORGET_BATCH = 256  # acknowledged reports that may stay on disk until something else is written

_INTENT = "INSERT OR IGNORE INTO journal VALUES (?, ?, NULL)"
SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (attempt TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (attempt TEXT PRIMARY KEY, at REAL NOT NULL, report BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
    attempt TEXT, step INTEGER, tool TEXT NOT NULL, outcome TEXT NOT NULL, PRIMARY KEY (attempt, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (of TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
"""

_opened = partial(sqlite3.connect, isolation_level=None)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Report)


class OutboxFailed(Exception):
    """The file could not be read or written; the message says why."""


class Outbox:
    """The file. Its writes are small and local, so they run in the loop's own thread."""

    def __init__(
        self,
        path: Path,
        *,
        now: float,
        opened: Callable[[Path], sqlite3.Connection] = _opened,
        new_id: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._path = path
        self._forgotten: list[tuple[str]] = []
        self._prune_at = now + PRUNE_EVERY_S
        with self._told():
            self._db = opened(path)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA busy_timeout=5000")
                self._db.executescript(SCHEMA)
                self._db.execute("INSERT OR IGNORE INTO names VALUES ('journal', ?)", (new_id(8),))
                (self.journal,) = self._db.execute("SELECT name FROM names WHERE of = 'journal'").fetchone()
                self._prune(now)
            except BaseException:
                self._db.close()
                raise

    def reports(self) -> list[Report]:
        """Return the reports that Galaxy has not acknowledged."""
        gone = {attempt for (attempt,) in self._forgotten}
        with self._told():
            rows = self._db.execute("SELECT attempt, body FROM reports").fetchall()
            return [_decoder.decode(body) for attempt, body in rows if attempt not in gone]

    def intend(self, attempt: str, now: float, *, in_steps: bool = False) -> None:
        """Write down that a call is about to begin that may not be repeated. It survives a power cut.

        Of one in steps nothing has happened before `begin_step`.
        """
        with self._told():
            if now >= self._prune_at:
                self._prune(now)
        if in_steps:
            with self._written(survives_power_cut=True):
                self._db.execute(_INTENT, (attempt, now))
                self._db.execute("INSERT OR IGNORE INTO steps VALUES (?, 0, '', '')", (attempt,))
            return
        with self._told():
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_INTENT, (attempt, now))

    def begin_step(self, attempt: str, step: int, tool: str) -> None:
        """Write down that a step is about to begin that may not be repeated. It survives a power cut."""
        with self._told():
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("INSERT INTO steps VALUES (?, ?, ?, '')", (attempt, step, tool))

    def end_step(self, attempt: str, step: int, outcome: Outcome) -> None:
        """Write down how a step ended. It survives a power cut."""
        with self._told():
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("UPDATE steps SET outcome = ? WHERE attempt = ? AND step = ?", (outcome, attempt, step))

    def keep(self, reports: Sequence[tuple[Report, bool]]) -> None:
        """Write reports down; the flag says that the call was journalled, which makes the write survive a power cut."""
        rows = [(report.attempt, _encoder.encode(report)) for report, _ in reports]
        journalled = [(body, attempt) for (attempt, body), (_, flag) in zip(rows, reports, strict=True) if flag]
        with self._written(survives_power_cut=bool(journalled)):
            self._db.executemany("INSERT OR REPLACE INTO reports VALUES (?, ?)", rows)
            if journalled:
                self._db.executemany("UPDATE journal SET report = ? WHERE attempt = ?", journalled)
                self._db.executemany("DELETE FROM steps WHERE attempt = ?", [(attempt,) for _, attempt in journalled])

    def forget(self, attempts: Iterable[str]) -> None:
        """Drop reports that Galaxy has; on disk that may come a little later, saying one twice does no harm."""
        self._forgotten.extend((attempt,) for attempt in attempts)
        if len(self._forgotten) >= FORGET_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write down what was forgotten."""
        if self._forgotten:
            with self._written(survives_power_cut=False):
                pass

    def try_out(self) -> None:
        """Write something, and take it back: all that matters is whether it can be written."""
        with self._written(survives_power_cut=True):
            self._db.execute("INSERT OR REPLACE INTO steps VALUES ('', 0, '', '')")
            self._db.execute("DELETE FROM steps WHERE attempt = ''")

    def unknown(self) -> list[str]:
        """Return the attempts whose effect may or may not have happened."""
        with self._told():
            return [a for (a,) in self._db.execute("SELECT attempt FROM journal WHERE report IS NULL")]

    def steps(self, attempt: str) -> Steps | None:
        """Return the steps that were begun and may not be repeated, or None for a call that does not go in steps."""
        query = "SELECT step, tool, outcome FROM steps WHERE attempt = ? ORDER BY step"
        with self._told():
            found = [(step, tool, outcome) for step, tool, outcome in self._db.execute(query, (attempt,))]
        return tuple(found[1:]) if found else None

    def completed(self, attempt: str) -> Report | None:
        """Return how a journalled attempt ended, if it did."""
        with self._told():
            row = self._db.execute("SELECT report FROM journal WHERE attempt = ?", (attempt,)).fetchone()
            return _decoder.decode(row[0]) if row and row[0] is not None else None

    def close(self) -> None:
        """Write down what is left and let go of the file."""
        try:
            self.flush()
        finally:
            self._db.close()

    @contextmanager
    def _written(self, *, survives_power_cut: bool) -> Iterator[None]:
        """Write all of it or nothing. What was forgotten goes first: it may be kept anew."""
        with self._told():
            self._db.execute(f"PRAGMA synchronous={'FULL' if survives_power_cut else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("DELETE FROM reports WHERE attempt = ?", self._forgotten)
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # some errors have ended it already
                    self._db.execute("ROLLBACK")
                raise
        self._forgotten.clear()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, msgspec.DecodeError) as exc:
            raise OutboxFailed(f"{self._path}: {exc}") from exc

    def _prune(self, now: float) -> None:
        self._prune_at = now + PRUNE_EVERY_S
        self._db.execute("DELETE FROM journal WHERE at < ? AND report IS NOT NULL", (now - JOURNAL_KEPT_S,))
