"""Readings on the disk: they outlive the agent, and wait there in their order until somebody asks."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import ToolFailed
from ..blocking import unblocked

STORE_FILE = "series.db"  # beside the device's key, where no file tool reaches
_PRUNE_EVERY = 1_000
_OPENING = threading.Lock()  # who opens the file while the last one closes it is told that it is locked, at once
_HOW = {"mean": "AVG", "min": "MIN", "max": "MAX", "sum": "SUM", "count": "COUNT"}

_MADE = """
CREATE TABLE IF NOT EXISTS readings (
    number INTEGER PRIMARY KEY AUTOINCREMENT, series TEXT NOT NULL, at REAL NOT NULL, value REAL NOT NULL,
    good INTEGER NOT NULL, UNIQUE (series, at)
);
CREATE INDEX IF NOT EXISTS readings_as_kept ON readings (series, number);
"""
_PUT = (
    "INSERT INTO readings (series, at, value, good) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (series, at) DO UPDATE SET value = excluded.value, good = excluded.good"
)


class Reading(NamedTuple):
    """One value of a series. `number` counts through all series in the order in which they were kept."""

    series: str
    at: float  # seconds since 1970
    value: float
    good: bool = True
    number: int = 0


class Span(NamedTuple):
    """Which readings of a series are meant."""

    series: str
    since: float = 0.0
    until: float = 1e12
    after: int = 0
    good_only: bool = True


class SeriesStore:
    """The readings of one device. Said once more, a reading of the same series and time replaces the first."""

    def __init__(self, readings_max: int) -> None:
        self._readings_max = readings_max
        self._waiting: set[asyncio.Future[None]] = set()
        self._since_pruned = _PRUNE_EVERY  # nobody knows what the agent before has left

    async def add(self, folder: Path, readings: Sequence[Reading]) -> None:
        """Keep them; raise ToolFailed disk_full, io_failed. They are on the disk when this returns."""
        await unblocked(lambda _: self._add(folder, readings))
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def changed(self) -> None:
        """Return when something was added."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    async def last(self, folder: Path, series: str) -> Reading | None:
        """Return the reading that was kept last. Its time need not be the latest: clocks are set back."""
        asked = "SELECT series, at, value, good, number FROM readings WHERE series = ? ORDER BY number DESC LIMIT 1"
        rows = await unblocked(lambda _: self._asked(folder, asked, (series,)))
        return Reading(*rows[0]) if rows else None

    async def readings(self, folder: Path, span: Span, limit: int) -> list[Reading]:
        """Return the readings in the order in which they were kept."""
        where, values = _where(span)
        asked = f"SELECT series, at, value, good, number FROM readings {where} ORDER BY number LIMIT ?"  # noqa: S608
        rows = await unblocked(lambda _: self._asked(folder, asked, (*values, limit)))
        return [Reading(*row) for row in rows]

    async def coarser(
        self, folder: Path, span: Span, every_s: float, how: str, limit: int
    ) -> list[tuple[float, float]]:
        """Return one point for each `every_s`, at its beginning, in the order of time."""
        where, values = _where(span)
        start = "CAST(at / ? AS INTEGER)"
        asked = (
            f"SELECT {start} * ?, {_HOW[how]}(value) FROM readings {where} "  # noqa: S608  # words of this file
            f"GROUP BY {start} ORDER BY 1 LIMIT ?"
        )
        rows = await unblocked(lambda _: self._asked(folder, asked, (every_s, every_s, *values, every_s, limit)))
        return [(float(row[0]), float(row[1])) for row in rows]

    def _add(self, folder: Path, readings: Sequence[Reading]) -> None:
        with _opened(folder) as base, base:
            base.executemany(_PUT, [reading[:4] for reading in readings])
            self._since_pruned += len(readings)
            if self._since_pruned >= min(_PRUNE_EVERY, self._readings_max):
                oldest = "(SELECT MAX(number) FROM readings) - ?"
                base.execute(f"DELETE FROM readings WHERE number <= {oldest}", (self._readings_max,))  # noqa: S608
                self._since_pruned = 0

    def _asked(self, folder: Path, sql: str, values: tuple[object, ...]) -> list[Any]:
        with _opened(folder) as base:
            return base.execute(sql, values).fetchall()


def _where(span: Span) -> tuple[str, tuple[object, ...]]:
    good = " AND good = 1" if span.good_only else ""
    values = (span.series, span.since, span.until, span.after)
    return f"WHERE series = ? AND at >= ? AND at < ? AND number > ?{good}", values


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / STORE_FILE
    try:
        with _OPENING:
            base = _ready(path)
        try:
            yield base
        finally:
            with _OPENING:
                base.close()
    except sqlite3.Error as exc:
        code = "disk_full" if "full" in str(exc) else "io_failed"
        raise ToolFailed(code, f"{path}: {exc}", retryable=True) from exc


def _ready(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=10)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.executescript(_MADE)
    except sqlite3.Error:
        base.close()
        raise
    return base
