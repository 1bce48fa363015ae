"""Where Galaxy remembers: `open_store` gives the store of a folder or of a database; `contract` says what it does."""

from pathlib import Path

from galaxy.store.contract import Store
from galaxy.store.postgres import open_postgres
from galaxy.store.sqlite import open_sqlite
from galaxy.store.sqlite_journal import Durability

__all__ = ["Durability", "open_store"]


async def open_store(where: str | Path, durability: Durability = "power") -> Store:
    """Open a folder (SQLite) or a URL such as postgresql://user@host/name; raise StoreError, saying what to do.

    `durability` is a folder's: what an acknowledged batch survives. A PostgreSQL server has its own setting, and by
    default survives a power cut.
    """
    if str(where).startswith(("postgresql:", "postgresql+asyncpg:", "postgres:")):
        return await open_postgres(str(where))
    return await open_sqlite(Path(where), durability)
