"""What a damaged folder comes to: a refusal at start that names the file and the way out, with nothing written."""

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from galaxy.store import open_store
from galaxy.store.errors import StoreCorrupt
from tests.galaxy.store.facts import batch, rows
from tests.galaxy.store.test_sqlite import writer

pytestmark = pytest.mark.asyncio


def crashed(folder: Path) -> int:
    """Let a node die there with commits in its log; return how many events it had acknowledged."""
    with writer(folder) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(20)]
        process.kill()
        said += [number for number in process.stdout.readlines() if number.endswith("\n")]
    assert (folder / "galaxy.db-wal").stat().st_size > 0
    return int(said[-1])


def contents(folder: Path) -> dict[str, str]:
    """Return what must stay as it was."""
    files = [path for path in folder.iterdir() if path.name in ("galaxy.db", "galaxy.db-wal")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def refused(folder: Path, said: str) -> None:
    before = contents(folder)
    with pytest.raises(StoreCorrupt, match=said):
        await open_store(folder)
    assert contents(folder) == before, "something was written"


async def events_in(folder: Path) -> int:
    store = await open_store(folder)
    found = await store.events("c", 0, 1_000_000)
    await store.close()
    return len(found)


async def test_a_log_that_is_gone_after_a_crash_is_missed(tmp_path: Path):
    crashed(tmp_path)
    (tmp_path / "galaxy.db-wal").unlink()

    await refused(tmp_path, r"galaxy\.db-wal is missing, and Galaxy did not end cleanly.* remove .*galaxy\.open")
    (tmp_path / "galaxy.open").unlink()
    await events_in(tmp_path)


async def test_a_log_that_was_put_back_is_used(tmp_path: Path):
    acknowledged = crashed(tmp_path)
    log = tmp_path / "galaxy.db-wal"
    log.rename(tmp_path / "away")
    await refused(tmp_path, "is missing")
    (tmp_path / "away").rename(log)

    assert await events_in(tmp_path) >= acknowledged


async def test_a_log_of_another_database_is_not_let_near_this_one(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    crashed(here)
    crashed(there)
    shutil.copy(there / "galaxy.db-wal", here / "other")
    (here / "other").replace(here / "galaxy.db-wal")

    await refused(here, r"galaxy\.db-wal is not the file that it was")


async def test_a_copy_beside_the_log_of_the_database_that_it_replaced_is_refused_until_that_is_gone(tmp_path: Path):
    folder, copy = tmp_path / "node", tmp_path / "copy.db"
    store = await open_store(folder)
    await store.append(batch(*rows(1, 5)))
    await store.close()
    shutil.copy(folder / "galaxy.db", copy)
    (folder / "galaxy.db").unlink()
    crashed(folder)
    copy.replace(folder / "galaxy.db")

    await refused(folder, r"was written for another file than this .*galaxy\.db")
    (folder / "galaxy.db-wal").unlink()
    assert await events_in(folder) == 5


async def test_a_copy_of_the_whole_folder_of_a_crashed_node_is_the_node(tmp_path: Path):
    acknowledged = crashed(tmp_path / "node")
    shutil.copytree(tmp_path / "node", tmp_path / "copy")

    assert await events_in(tmp_path / "copy") >= acknowledged


async def test_a_node_that_was_killed_again_and_again_starts_each_time(tmp_path: Path):
    store = await open_store(tmp_path / "clean")
    await store.close()
    assert not (tmp_path / "clean" / "galaxy.open").exists()
    acknowledged = crashed(tmp_path)
    for _ in range(2):
        killed_at_once(tmp_path)

    assert await events_in(tmp_path) >= acknowledged


def killed_at_once(folder: Path) -> None:
    """Open the store, and die with nothing written."""
    code = "import asyncio, os, sys; from galaxy.store import open_store\n"
    code += "async def main():\n    await open_store(sys.argv[1]); os._exit(9)\nasyncio.run(main())"
    ended = subprocess.run([sys.executable, "-c", code, str(folder)], check=False, timeout=60)
    assert ended.returncode == 9


async def test_a_damaged_database_with_a_log_is_refused_without_writing_the_log_into_it(tmp_path: Path):
    store = await open_store(tmp_path)
    await store.append(batch(*rows(100_001, 102_000)))
    await store.close()
    crashed(tmp_path)
    path = tmp_path / "galaxy.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'snapshots'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)

    await refused(tmp_path, r"galaxy\.db is damaged.*Restore a copy")
