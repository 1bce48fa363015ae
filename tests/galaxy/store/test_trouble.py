"""The runner over real stores that fail: nothing is released before its commit, and afterwards nothing is missing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from galaxy import runner as loop
from galaxy.core.events import ConstellationSubmitted
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.star import Star
from galaxy.metrics import Metrics
from galaxy.runner import Runner
from galaxy.store import open_store
from galaxy.store.contract import Store
from galaxy.store.errors import StoreConflict, StoreError, StoreRefused
from tests.galaxy.api.helpers import Clock
from tests.galaxy.store.test_postgres import Wire, wire_to
from tests.galaxy.store.test_sqlite import journal
from tests.servers import PostgresServer, postgres_server

pytestmark = pytest.mark.asyncio

FAILING = (
    "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE='{}'; END $$"
)
TRIGGER = "CREATE TRIGGER failing BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION fail()"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STORE_RETRY_S", (0.001, 0.01))


class Rig:
    """A runner over a store, and the loop that runs it."""

    def __init__(self, store: Store) -> None:
        self.store, self.metrics, self.clock = store, Metrics(), Clock()
        self.runner = Runner(Orchestrator(), store, self.clock, self.metrics)
        self.running = asyncio.create_task(self.runner.run())
        self.telling: asyncio.Task[None] | None = None

    def submit(self, name: str, pad: int = 0) -> asyncio.Task[None]:
        event = ConstellationSubmitted(at=self.clock(), constellation=name, name="x" * pad, stars=(Star("a", "work"),))
        self.telling = asyncio.create_task(self.runner.tell(event))
        return self.telling

    async def in_trouble(self, failures: int = 3) -> None:
        """Return when the commit under way has failed so often."""
        async with asyncio.timeout(10.0):
            while self.failures < failures or not self.runner.store_trouble:
                await asyncio.wait([self.running], timeout=0.005)

    @property
    def failures(self) -> float:
        return float(self.metrics.registry.get_sample_value("galaxy_store_failures_total") or 0)

    async def recorded(self, name: str) -> list[str]:
        return [row.kind for row in await self.store.events(name, 0, 99)]


@asynccontextmanager
async def rig_over(store: Store) -> AsyncIterator[Rig]:
    rig = Rig(store)
    try:
        yield rig
    finally:
        tasks = [task for task in (rig.running, rig.telling) if task]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await store.close()


async def goes_on(rig: Rig, telling: "asyncio.Task[None]") -> None:
    """Assert that what was told is there once, and that the next thing is too."""
    async with asyncio.timeout(10.0):
        await telling
        await rig.submit("later")
    assert rig.runner.store_trouble == ""
    assert (await rig.recorded("c"), await rig.recorded("later")) == (
        ["constellation_submitted"],
        ["constellation_submitted"],
    )


async def ended_with(rig: Rig, error: type[StoreError], said: str) -> None:
    """Assert that the runner ends with this error instead of trying for ever."""
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.timeout(10.0):
            await rig.running
    (found,) = group.value.exceptions
    assert isinstance(found, error)
    assert said in str(found)


async def test_a_full_sqlite_holds_everything_back_and_lets_it_go_on_when_there_is_room(tmp_path: Path):
    store = await open_store(tmp_path)
    async with rig_over(store) as rig:
        connection = journal(store)._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        telling = rig.submit("c", pad=50_000)
        await rig.in_trouble()

        assert not telling.done()
        assert "full" in rig.runner.store_trouble
        assert await rig.recorded("c") == []
        connection.execute("PRAGMA max_page_count = 1000000")
        await goes_on(rig, telling)


async def test_a_sqlite_file_that_was_moved_is_not_written_on_and_is_found_again(tmp_path: Path):
    store = await open_store(tmp_path)
    path, away = tmp_path / "galaxy.db", tmp_path / "away.db"
    async with rig_over(store) as rig:
        path.rename(away)
        telling = rig.submit("c")
        await rig.in_trouble()

        assert not telling.done()
        assert "galaxy.db was moved or removed: put it back" in rig.runner.store_trouble
        assert not path.exists(), "no empty one was made in its place"
        away.rename(path)
        await goes_on(rig, telling)


async def test_another_file_in_the_place_of_the_database_ends_the_node(tmp_path: Path):
    store = await open_store(tmp_path)
    async with rig_over(store) as rig:
        (tmp_path / "galaxy.db").rename(tmp_path / "away.db")
        (tmp_path / "galaxy.db").write_bytes(b"")
        rig.submit("c")
        await ended_with(rig, StoreConflict, "another file has taken the place")


async def test_a_writer_that_is_not_this_node_ends_it_on_sqlite(tmp_path: Path):
    store = await open_store(tmp_path)
    async with rig_over(store) as rig:
        with closing(sqlite3.connect(tmp_path / "galaxy.db")) as other, other:
            other.execute("INSERT INTO events VALUES ('c', 1, 'k', 1.0, x'7b7d')")
        rig.submit("c")
        await ended_with(rig, StoreConflict, "event 1 of c is recorded already, and differs")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE events RENAME COLUMN body TO content",
        "DROP TABLE constellations",
        "CREATE TRIGGER no BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
    ],
)
async def test_tables_that_somebody_changed_end_the_node_on_sqlite(tmp_path: Path, change: str):
    store = await open_store(tmp_path)
    async with rig_over(store) as rig:
        with closing(sqlite3.connect(tmp_path / "galaxy.db")) as other, other:
            other.execute(change)
        rig.submit("c")
        await ended_with(rig, StoreRefused, "SQLite refuses what Galaxy writes")


async def test_a_postgres_that_was_killed_is_waited_for_and_gone_on_with():
    with postgres_server() as server:
        async with rig_over(await open_store(await server.new_database())) as rig:
            server.kill()
            telling = rig.submit("c")
            await rig.in_trouble()

            assert not telling.done()
            server.start()
            await goes_on(rig, telling)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "53100", "57P03"])
async def test_a_serialization_failure_a_deadlock_or_a_full_disk_of_postgres_passes(
    postgres: PostgresServer, sqlstate: str
):
    url = await postgres.new_database()
    async with rig_over(await open_store(url)) as rig:
        await executed(url, FAILING.format(sqlstate), TRIGGER)
        telling = rig.submit("c")
        await rig.in_trouble()

        assert not telling.done()
        await executed(url, "DROP TRIGGER failing ON events")
        await goes_on(rig, telling)


async def test_a_commit_of_postgres_whose_answer_was_lost_is_not_made_twice(postgres: PostgresServer):
    url = await postgres.new_database()
    async with (
        wire_to(postgres) as wire,
        rig_over(await open_store(url.replace(str(postgres.port), str(wire.port)))) as rig,
    ):
        await rig.submit("before")  # from here on such a batch is one question, one answer
        telling = losing_answer(rig, wire)
        await goes_on(rig, telling)

        assert rig.failures == 1


def losing_answer(rig: Rig, wire: Wire) -> "asyncio.Task[None]":
    wire.loses_next_answer = True
    return rig.submit("c")


@pytest.mark.parametrize(
    "change", ["ALTER TABLE events ADD CHECK (seq > 5)", "ALTER TABLE events RENAME COLUMN body TO content"]
)
async def test_tables_that_somebody_changed_end_the_node_on_postgres(postgres: PostgresServer, change: str):
    url = await postgres.new_database()
    async with rig_over(await open_store(url)) as rig:
        await executed(url, change)
        rig.submit("c")
        await ended_with(rig, StoreRefused, "refuses what Galaxy writes")


async def executed(url: str, *statements: str) -> None:
    connection: Any = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
