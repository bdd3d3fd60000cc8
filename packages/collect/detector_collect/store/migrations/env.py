"""Alembic's entry: runs the steps on the connection that the store hands in. Room: detector_collect.store."""

from alembic import context

from detector_collect.store.migrations import VERSION_TABLE
from detector_collect.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
