"""Runs the migrations on the connection that `open_store` hands over, inside its transaction."""

from alembic import context

from apilens.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
