"""What only a folder has: one process at a time, kill -9, damaged files, a full disk, a busy file, a log to empty."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from galaxy.store import Durability, checkpoints, open_store, sqlite, sqlite_check
from galaxy.store.contract import Store
from galaxy.store.errors import StoreCorrupt, StoreInUse, StoreUnavailable
from galaxy.store.sqlite import open_sqlite
from galaxy.store.sqlite_journal import Pace, SqliteJournal
from tests.galaxy.store.facts import batch, line, row, rows

pytestmark = pytest.mark.asyncio

MB = 1 << 20


@contextmanager
def writer(folder: Path, durability: Durability = "process") -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.galaxy.store.writer", str(folder), durability]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is writing by now
        try:
            yield process
        finally:
            process.kill()


async def test_a_second_process_is_refused_at_once_and_told_what_to_do(tmp_path: Path):
    with (
        writer(tmp_path) as first,
        pytest.raises(StoreInUse, match=rf"{tmp_path} is in use .*process {first.pid}\)\. Stop that one"),
    ):
        await open_store(tmp_path)


@pytest.mark.parametrize("durability", ["power", "process"])
async def test_kill_9_loses_nothing_that_was_acknowledged_and_frees_the_folder(tmp_path: Path, durability: Durability):
    with writer(tmp_path, durability) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(50)]
        process.kill()
        said += [number for number in process.stdout.readlines() if number.endswith("\n")]

    store = await open_store(tmp_path, durability)
    recorded = await store.events("c", 0, 1_000_000)
    await store.close()

    assert recorded == rows(1, len(recorded))
    assert len(recorded) >= int(said[-1])
    assert len(recorded) % 3 == 0  # a batch is there whole or not at all


async def test_two_folders_are_two_stores(tmp_path: Path):
    stores = [await open_store(tmp_path / name) for name in ("a", "b% c")]
    for store in stores:
        await store.append(batch(row(1)))

    assert [await store.events("c", 0, 10) for store in stores] == [[row(1)], [row(1)]]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1)])
async def test_durability_decides_whether_a_commit_waits_for_the_disk(
    tmp_path: Path, durability: Durability, synchronous: int
):
    store = await open_sqlite(tmp_path, durability)

    assert [setting_of(store, name) for name in ("synchronous", "journal_mode")] == [synchronous, "wal"]
    await store.close()


async def test_only_its_owner_can_read_the_folder_and_the_file(tmp_path: Path):
    await (await open_store(tmp_path / "own")).close()

    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "own", tmp_path / "own" / "galaxy.db")]
    assert modes == [0o700, 0o600]


@pytest.fixture(params=["checked whole", "checked where it hurts"])
def checking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "checked whole":
        monkeypatch.setattr(sqlite_check, "CHECKED_WHOLE_BYTES_MAX", 0)


@pytest.mark.usefixtures("checking")
@pytest.mark.parametrize("damage", ["cut off", "overwritten at its end", "overwritten at its start", "not a database"])
async def test_a_damaged_file_is_found_when_it_is_opened(tmp_path: Path, damage: str):
    store = await open_store(tmp_path)
    await store.append(batch(*rows(1, 1_000)))
    await store.close()
    path = tmp_path / "galaxy.db"
    content = path.read_bytes()
    match damage:
        case "cut off":
            path.write_bytes(content[: len(content) // 2])
        case "overwritten at its end":
            path.write_bytes(content[: -4 * 4096] + b"\xa5" * 4 * 4096)
        case "overwritten at its start":
            path.write_bytes(content[:100] + b"\xa5" * 4096 + content[4196:])
        case _:
            path.write_bytes(b"these are not the bytes you are looking for" * 1_000)

    with pytest.raises(StoreCorrupt, match=r"galaxy\.db .*Restore a copy"):
        await open_store(tmp_path)


@pytest.mark.usefixtures("checking")
async def test_a_sound_file_passes_either_check(tmp_path: Path):
    for first in (1, 501):
        store = await open_store(tmp_path)
        await store.append(batch(*rows(first, first + 499)))
        await store.close()


@pytest.mark.parametrize("quick_s", [1.0, 0.0])
async def test_a_full_disk_writes_nothing_and_the_same_batch_may_follow(tmp_path: Path, quick_s: float):
    store = await open_sqlite(tmp_path, "process", quick_s=quick_s)
    await store.append(batch(row(1)))
    large = batch(row(2, body=b"x" * MB), summaries=(line(),))

    with files_at_most(MB // 2), pytest.raises(StoreUnavailable, match="cannot be written now"):
        await store.append(large)
    assert await store.events("c", 0, 10) == [row(1)]
    await store.append(large)

    assert [event.seq for event in await store.events("c", 0, 10)] == [1, 2]
    await store.close()


async def test_a_file_that_another_program_keeps_locked_is_unavailable_until_it_lets_go(tmp_path: Path):
    store = await open_sqlite(tmp_path, "process", busy_s=0.05)
    with closing(sqlite3.connect(tmp_path / "galaxy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.append(batch(row(1)))
        other.execute("COMMIT")

    await store.append(batch(row(1)))

    assert await store.events("c", 0, 10) == [row(1)]
    await store.close()


async def test_a_short_lock_is_waited_for_without_stopping_the_loop(tmp_path: Path):
    store = await open_sqlite(tmp_path, "process")
    with closing(sqlite3.connect(tmp_path / "galaxy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.TaskGroup() as tasks:
            append = tasks.create_task(store.append(batch(row(1))))
            assert await store.events("c", 0, 10) == []
            assert not append.done()
            other.execute("COMMIT")

    assert await store.events("c", 0, 10) == [row(1)]
    await store.close()


async def test_commits_leave_the_loops_thread_when_the_disk_is_slow(tmp_path: Path):
    store = await open_sqlite(tmp_path, "process", quick_s=1e-9)
    threads: list[str] = []
    journal(store)._connection.set_trace_callback(lambda _statement: threads.append(threading.current_thread().name))

    for seq in range(1, 5):
        await store.append(batch(row(seq)))

    assert threads == ["MainThread", "MainThread", "MainThread", "galaxy-journal_0"]
    await store.close()


async def test_a_slow_disk_is_tried_again_now_and_then_and_trusted_once_it_is_quick():
    pace = Pace(quick_s=0.002)
    for _ in range(4):
        pace.took(0.010)

    tried = [pace.is_quick() for _ in range(64)]
    pace.took(0.010)
    tried += [pace.is_quick() for _ in range(64)]
    pace.took(0.001)

    assert tried == [*[False] * 63, True] * 2
    assert pace.is_quick()


async def test_a_hiccup_or_two_are_not_a_slow_disk():
    pace = Pace(quick_s=0.002)
    for seconds in (0.0001, 5.0, 0.0001, 5.0):
        pace.took(seconds)

    assert pace.is_quick()


async def test_the_write_ahead_log_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoints, "PAGES", 100)
    store = await open_store(tmp_path, "process")

    for seq in range(1, 101):
        await store.append(batch(row(seq, body=b"x" * 100_000)))
        await checkpoint_of(store)

    assert (tmp_path / "galaxy.db").stat().st_size > 9 * MB
    assert (tmp_path / "galaxy.db-wal").stat().st_size < 2 * MB
    await store.close()


def journal(store: Store) -> SqliteJournal:
    assert isinstance(store, sqlite.SqliteStore)
    assert isinstance(store._journal, SqliteJournal)
    return store._journal


async def checkpoint_of(store: Store) -> None:
    """Wait for a checkpoint that is going on, which a busy machine could otherwise outrun."""
    copying = journal(store)._checkpoints._copying
    if copying is not None:
        await asyncio.wrap_future(copying)


def setting_of(store: Store, name: str) -> object:
    return journal(store)._connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let the kernel refuse what would make a file larger, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
