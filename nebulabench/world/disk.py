"""The disks: the node's store and the devices' outboxes. They survive their processes, and fail when told to."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from galaxy.store.contract import Batch
from galaxy.store.errors import StoreUnavailable
from galaxy.store.memory import MemoryStore

from .history import History

COMMIT_S = 0.002  # at most, where the disk is well
WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT")


class Crash(StrEnum):
    """Where in a commit the node dies."""

    BEFORE = "before"
    AFTER = "after"


class SimStore(MemoryStore):
    """The node's store: one for all its incarnations, in memory, with the delays and troubles of a disk."""

    def __init__(self, history: History, random: Random) -> None:
        super().__init__()
        self.slow_s = 0.0
        self.fails = 0  # how many faults make it unavailable
        self.crash: Crash | None = None  # at the next commit
        self.on_crash: Callable[[], None] = lambda: None
        self._history = history
        self._random = random

    async def append(self, batch: Batch) -> None:
        before_s = self._random.uniform(0.0, COMMIT_S) + self._random.uniform(0.0, self.slow_s)
        await asyncio.sleep(before_s)
        if self.crash is Crash.BEFORE:
            await self._die()
        if self.fails and self._random.random() < 0.5:
            raise StoreUnavailable("the disk is full")
        await super().append(batch)
        self._history.record(batch.rows)
        if self.crash is Crash.AFTER:
            await self._die()
        if self.slow_s:
            await asyncio.sleep(self._random.uniform(0.0, self.slow_s))
        if self.fails:
            raise StoreUnavailable("the disk has not answered")

    async def _die(self) -> None:
        self.crash = None
        self.on_crash()
        await asyncio.get_running_loop().create_future()


class DeviceDisk(sqlite3.Connection):
    """The file of a device's outbox: a database in memory that outlives the processes that open it."""

    device = ""
    history: History | None = None
    full = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._survives_power_cut = False
        self._safe: bytes | None = None  # as it was when it last had to survive a power cut

    @classmethod
    def made(cls, device: str, history: History) -> "DeviceDisk":
        """Return an empty one."""
        disk = sqlite3.connect(":memory:", isolation_level=None, factory=cls)
        disk.device, disk.history = device, history
        return disk

    def opened(self, _: Path) -> sqlite3.Connection:
        return self

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._require_room(sql)
        found = super().execute(sql, *args)
        if sql.startswith("PRAGMA synchronous"):
            self._survives_power_cut = sql.endswith("FULL")
        elif self._survives_power_cut and sql.startswith(WRITES) and not self.in_transaction:
            self._safe = self.serialize()
        return found

    def executemany(self, sql: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        self._require_room(sql)
        if sql.startswith("DELETE FROM reports") and self.history:
            rows = list(rows)
            self.history.dropped += [(self.history.now(), self.device, attempt) for (attempt,) in rows]
        return super().executemany(sql, rows)

    def close(self) -> None:
        """Do nothing: the disk stays."""

    def lose_power(self) -> None:
        """Go back to what was written for good."""
        if self.in_transaction:
            super().execute("ROLLBACK")
        if self._safe is not None:
            self.deserialize(self._safe)

    def copied(self) -> "DeviceDisk":
        """Return another disk with the same on it."""
        assert self.history
        copy = DeviceDisk.made(self.device, self.history)
        self.backup(copy)
        return copy

    def reports(self) -> list[str]:
        """Return the attempts whose reports are kept."""
        return [attempt for (attempt,) in super().execute("SELECT attempt FROM reports ORDER BY attempt")]

    def discard(self) -> None:
        """Let go of it."""
        super().close()

    def _require_room(self, sql: str) -> None:
        if self.full and sql.startswith(WRITES):
            raise sqlite3.OperationalError("database or disk is full")
