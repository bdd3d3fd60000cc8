"""The migrations create what the program expects, once, and refuse what they do not know. Room: tests."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.runtime.migration import MigrationContext
from detector_collect.store import migrations
from detector_collect.store.database import Store
from detector_collect.store.errors import StoreError
from detector_collect.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence


def differences(connection: sa.Connection) -> Sequence[Any]:
    """What Alembic would write into a next migration."""
    options = {"version_table": migrations.VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    found: Sequence[Any] = autogenerate.compare_metadata(context, metadata)
    return found


async def test_the_migrated_database_is_the_described_one(database: str) -> None:
    """By Alembic's own comparison of tables, columns, types, indexes and constraints."""
    async with await Store.open(database, migrate=True) as store, store.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_difference_would_be_found(database: str) -> None:
    """The comparison above sees a missing column and a missing index."""
    async with await Store.open(database, migrate=True) as store, store.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE work DROP COLUMN attempts")
        await connection.exec_driver_sql("DROP INDEX ix_findings_student")
        kinds = [difference[0] for difference in await connection.run_sync(differences)]
    assert sorted(kinds) == ["add_column", "add_index"]


async def test_programs_that_start_at_once_migrate_once(database: str) -> None:
    """Four open an empty database at the same time: all of them can use it, and it has one secret."""
    opened = await asyncio.gather(*(Store.open(database, migrate=True) for _ in range(4)))
    async with opened[0].connect() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM settings")) == 1
    for store in opened:
        await store.close()


async def test_a_newer_database_is_refused(database: str) -> None:
    """A program that does not know the tables does not touch them."""
    async with await Store.open(database, migrate=True) as store, store.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - a constant
    for migrate in (True, False):
        with pytest.raises(StoreError, match="newer version"):
            await Store.open(database, migrate=migrate)


def test_an_empty_database_is_refused_until_it_is_migrated(database: str, tmp_path: Path) -> None:
    """The message says what to run, and no file is left."""
    with pytest.raises(StoreError, match="detector-collect migrate"):
        asyncio.run(Store.open(database))
    assert list(tmp_path.iterdir()) == []


def test_the_latest_step_is_the_one_that_the_program_expects() -> None:
    """A step that is added to the directory is also named in the code."""
    steps = (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
    assert max(re.findall(r"^\d{4}", step.name)[0] for step in steps) == migrations.REVISION
