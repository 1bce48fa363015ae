"""Run by Alembic: migrates the connection that it is handed, in the transaction that its owner began."""

from alembic import context

from galaxy.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can too, though Alembic assumes that it cannot
)
context.run_migrations()
