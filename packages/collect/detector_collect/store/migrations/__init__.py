"""Creates and migrates the tables, one program at a time, each step in the caller's transaction.

Room: detector_collect.store. The caller's connection, and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from detector.aio.lazy import LazyModule

if TYPE_CHECKING:
    from alembic import command as alembic_command
    from alembic import config as alembic_config
else:  # half a second, for migrations alone
    alembic_command = LazyModule("alembic.command")
    alembic_config = LazyModule("alembic.config")

REVISION: Final = "0002"
"""The latest step: what this version of the program reads and writes."""
VERSION_TABLE: Final = "detector_collect_version"
"""Not Alembic's own name: a history of `detector` may be in the same database."""

TABLE_LOCK_SECONDS: Final = 10
"""Wait of a step for a table that others use. Clients of the service wait for a minute."""

_LOCK: Final = 0x746C732E
"""Any number that no other program uses as an advisory lock of this database."""
_FOLDER: Final = Path(__file__).parent


def lock(connection: sa.Connection) -> None:
    """Let one program migrate at a time, until the transaction ends. On SQLite the transaction is a lock already.

    While a step waits for a table, everybody else waits behind it: it gives up rather than hold up the service.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TABLE_LOCK_SECONDS}s'")


def revision(connection: sa.Connection) -> str | None:
    """The step that the database is at; None for an empty one."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one_or_none()  # noqa: S608 - a constant
    return found


def upgrade(connection: sa.Connection) -> None:
    """Run the steps that are missing."""
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(_FOLDER))
    settings.attributes["connection"] = connection
    alembic_command.upgrade(settings, REVISION)
