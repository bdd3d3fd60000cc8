"""Alembic's entry: runs the steps on the connection that the store hands in. Room: history."""

from alembic import context

from detector.history.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
