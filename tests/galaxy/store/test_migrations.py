"""The schema in the code, the migrations and the database on disk agree, or Galaxy says what to do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from galaxy.store import open_store
from galaxy.store.contract import Store
from galaxy.store.errors import StoreTooNew
from galaxy.store.migrate import known_revisions, migrate
from galaxy.store.revision import revision_of
from galaxy.store.schema import REVISION, metadata
from tests.galaxy.store.facts import batch, row
from tests.servers import PostgresServer


class Database(NamedTuple):
    """An empty database, and how Galaxy opens it."""

    engine: AsyncEngine
    open: Callable[[], Awaitable[Store]]

    async def run(self, work: Callable[..., Any], *arguments: object) -> Any:
        async with self.engine.begin() as connection:
            return await connection.run_sync(work, *arguments)


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        where = str(tmp_path)
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/galaxy.db")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        where = await server.new_empty_database()
        engine = create_async_engine(where.replace("postgresql:", "postgresql+asyncpg:"))
    async with AsyncExitStack() as closing:
        closing.push_async_callback(engine.dispose)
        yield Database(engine, partial(open_store, where))


def differences(connection: Connection) -> list[Any]:
    return compare_metadata(MigrationContext.configure(connection), metadata)


def test_the_code_names_the_newest_migration():
    assert known_revisions()[-1] == REVISION


@pytest.mark.asyncio
@pytest.mark.parametrize("revision", known_revisions())
async def test_a_database_of_each_older_version_is_migrated_when_it_is_opened(database: Database, revision: str):
    await database.run(migrate, revision)

    store = await database.open()
    await store.append(batch(row(1)))

    assert await store.events("c", 0, 10) == [row(1)]
    await store.close()
    assert await database.run(revision_of) == REVISION


@pytest.mark.asyncio
async def test_the_migrations_make_the_tables_that_the_code_describes(database: Database):
    await (await database.open()).close()

    assert await database.run(differences) == []


@pytest.mark.asyncio
async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database):
    await (await database.open()).close()
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreTooNew, match=r"schema 9999; this version knows up to \d+.* Start the newer version"):
        await database.open()

    assert await database.run(revision_of) == "9999"


@pytest.mark.asyncio
async def test_what_older_events_name_counts_as_used_after_the_migration(database: Database):
    named, unnamed = "ab" * 32, "cd" * 32
    await database.run(migrate, "0002")
    async with database.engine.begin() as connection:
        for name in (named, unnamed):
            await connection.execute(text(f"INSERT INTO artifacts VALUES ('{name}', 1, 'text/plain', 1.0)"))  # noqa: S608
        insert = text("INSERT INTO events VALUES ('c', 1, 'k', 1.0, :body)")
        await connection.execute(insert, {"body": f'{{"x":{{"$artifact":"{named}"}},"y":"{"ef" * 32}"}}'.encode()})

    store = await database.open()
    unused = await store.unused_artifacts(2.0, 10)
    await store.close()

    assert [row.sha256 for row in unused] == [unnamed]
