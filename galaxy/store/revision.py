"""Which schema a database has: this version's, an older one that is migrated, or a newer one that is refused."""

from sqlalchemy import Connection, column, inspect, select, table

from galaxy.store.errors import StoreTooNew
from galaxy.store.schema import REVISION

_VERSION = table("alembic_version", column("version_num"))  # Alembic's own


def bring_up_to_date(connection: Connection, name: str) -> None:
    """Migrate within the transaction of `connection`; raise StoreTooNew for a database of a newer Galaxy."""
    found = revision_of(connection)
    if found == REVISION:
        return
    from galaxy.store.migrate import known_revisions, migrate  # Alembic costs a start 0.3 s, which is seldom needed

    if found is not None and found not in known_revisions():
        raise StoreTooNew(
            f"{name} was written by a newer Galaxy (schema {found}; this version knows up to {REVISION}). "
            "Start the newer version again, or restore a copy made before it ran."
        )
    migrate(connection, "head")


def revision_of(connection: Connection) -> str | None:
    """Return the revision that the database says it has, None when it is empty."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
