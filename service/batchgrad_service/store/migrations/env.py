# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Alembic's entry point: run the migrations on the store's connection, in its transaction."""

from alembic import context

from batchgrad_service.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
