"""Every kind of store, opened by its name and closed after the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from galaxy.store.contract import Store
from galaxy.store.memory import MemoryStore
from galaxy.store.postgres import open_postgres
from galaxy.store.sqlite import open_sqlite
from tests.servers import PostgresServer

Reopen = Callable[[], Awaitable[Store]]


async def _memory() -> Store:
    return MemoryStore()


@pytest_asyncio.fixture(params=["memory", "sqlite", "sqlite-in-its-thread", "postgres"])
async def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """How to open one store of each kind, again and again."""
    match request.param:
        case "memory":
            return _memory
        case "sqlite":
            return partial(open_sqlite, tmp_path, "power")
        case "sqlite-in-its-thread":
            return partial(open_sqlite, tmp_path, "process", quick_s=0)
        case _:
            server: PostgresServer = request.getfixturevalue("postgres")
            return partial(open_postgres, await server.new_database())


@pytest_asyncio.fixture
async def store(opening: Reopen) -> AsyncIterator[Store]:
    async with AsyncExitStack() as closing:
        store = await opening()
        closing.push_async_callback(store.close)
        yield store


@pytest_asyncio.fixture
async def reopening(opening: Reopen) -> Reopen:
    """How to open a store whose contents outlive it."""
    if opening is _memory:
        pytest.skip("memory forgets")
    return opening
