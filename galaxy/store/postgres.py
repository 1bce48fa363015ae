"""The store in a PostgreSQL database, named by its URL."""

from functools import partial

import asyncpg  # type: ignore[import-untyped]  # it has no stubs
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from galaxy.store.database import READERS_MAX, DatabaseStore, read_errors
from galaxy.store.postgres_journal import CONNECT_S, PostgresJournal
from galaxy.store.revision import bring_up_to_date

# A machine that vanished keeps its lock only until the server has asked it this often.
KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


async def open_postgres(url: str) -> DatabaseStore:
    """Open the store of a database; the URL may carry libpq's parameters, such as sslmode.

    The lock belongs to a session of the server: a pooler in between must pool sessions, not transactions.
    """
    parsed = make_url(url)
    name = parsed.render_as_string(hide_password=True)
    dsn = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = {"application_name": "galaxy", **KEEPALIVE}
    connect = partial(asyncpg.connect, dsn, timeout=CONNECT_S, server_settings=settings)
    readers = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=READERS_MAX,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_pre_ping=True,  # so that a restart of the server is not felt by whoever reads next
    )
    journal = PostgresJournal(connect, readers, name)
    try:
        await journal.connected()
        await _migrate(readers, name)
    except BaseException:
        await readers.dispose()
        await journal.close()
        raise
    return DatabaseStore(readers, journal)


async def _migrate(readers: AsyncEngine, name: str) -> None:
    with read_errors():
        async with readers.begin() as connection:
            await connection.run_sync(bring_up_to_date, name)
