"""Connections that break, devices that fill up, and steps that are taken while others write. Room: tests."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import sqlalchemy as sa
from detector_collect.store import database as databases
from detector_collect.store import evidence, keys, migrations, schema
from detector_collect.store.database import Store
from detector_collect.store.errors import StoreError, StoreFullError, StoreUnavailableError
from support.collect_stores import KEY, NOW, new_evidence
from support.postgres import running_server
from support.small_disk import small_disk

from detector.errors import NoRoomError

if TYPE_CHECKING:
    from collections.abc import Callable


async def prepare(store: Store) -> None:
    async with store.begin() as connection:
        await keys.add_institution(connection, keys.Institution("north", "North University", NOW))
        await keys.add_key(connection, keys.Key(KEY, "north", "signing", NOW, None, None, 600, 4 << 20))


async def add(store: Store, number: int) -> None:
    async with store.begin() as connection:
        await evidence.add(connection, new_evidence(number))


async def execute(store: Store, statement: str) -> None:
    async with store.begin() as connection:
        await connection.exec_driver_sql(statement)


async def count(store: Store) -> int:
    async with store.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(schema.evidence)) or 0


async def test_a_server_that_was_killed_is_used_again_once_it_runs() -> None:
    """Every request while it is away gets a typed error that says no password; the first one afterwards works."""
    with running_server() as server:
        async with await Store.open(server.url, migrate=True) as store:
            await prepare(store)
            await asyncio.gather(*(add(store, number) for number in range(10)))
            server.kill()
            for number in range(20):
                with pytest.raises(StoreUnavailableError) as caught:
                    await add(store, number)
                assert server.url.split(":")[2].split("@")[0] not in str(caught.value)
            server.start()
            await asyncio.gather(*(add(store, number) for number in range(12)))
            assert await count(store) == 12


async def test_a_server_that_dies_within_a_transaction_ends_it() -> None:
    """The transaction fails with a typed error, and nothing of it is there."""
    with running_server() as server:
        async with await Store.open(server.url, migrate=True) as store:
            await prepare(store)

            async def add_and_die() -> None:
                async with store.begin() as connection:
                    await evidence.add(connection, new_evidence(1))
                    server.kill()
                    await evidence.add(connection, new_evidence(2))

            with pytest.raises(StoreUnavailableError):
                await add_and_die()
            server.start()
            assert await count(store) == 0


async def test_a_server_that_does_not_answer_holds_nobody_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped server is away as well: statements and connecting have an end, and then it is used again."""
    monkeypatch.setattr(databases, "COMMAND_SECONDS", 3.0)
    monkeypatch.setattr(databases, "CONNECT_SECONDS", 3.0)
    with running_server() as server:
        async with await Store.open(server.url, migrate=True) as store:
            await prepare(store)
            await asyncio.gather(*(add(store, number) for number in range(3)))
            family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
            for process in family:
                process.suspend()
            try:
                for number in range(3):
                    with pytest.raises(StoreUnavailableError):
                        await asyncio.wait_for(add(store, number), 30)
            finally:
                for process in reversed(family):
                    process.resume()
            assert await count(store) == 3


CODES = {
    "53100": StoreFullError,  # disk_full
    "40P01": StoreUnavailableError,  # deadlock_detected
    "40001": StoreUnavailableError,  # serialization_failure
    "53300": StoreUnavailableError,  # too_many_connections
    "55P03": StoreUnavailableError,  # lock_not_available
    "57P01": StoreUnavailableError,  # admin_shutdown
    "58030": StoreUnavailableError,  # io_error
    "42501": StoreError,  # insufficient_privilege
    "23505": StoreError,  # unique_violation
}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_errors_of_a_server_by_their_code(store: Store) -> None:
    """What passes, what needs room, and what needs a person."""
    for code, expected in CODES.items():
        failing = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
        with pytest.raises(StoreError) as caught:
            await execute(store, failing)
        assert type(caught.value) is expected
        assert isinstance(caught.value, NoRoomError) == (code == "53100")
    assert await count(store) == 0


def test_a_full_device_loses_nothing_that_was_stored() -> None:
    """SQLite on a filesystem without room: exit code 74 and a sentence; then, with room, everything works."""
    with small_disk(8) as disk:
        command = [sys.executable, "-m", "detector_collect", "institution"]
        named = ["--database", f"sqlite:///{disk.path}/collect.sqlite"]

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*command, *words, *named], capture_output=True, text=True, check=False)  # noqa: S603 - no shell; this interpreter

        command[-1] = "migrate"
        assert run().returncode == 0
        command[-1] = "institution"
        assert run("add", "north", "North University").returncode == 0
        disk.fill()
        done = run("add", "south", "South University" * 5000)
        assert (done.returncode, "Make room" in done.stderr) == (74, True)
        disk.free()
        assert run("add", "south", "South University").returncode == 0
        assert [line.split()[0] for line in run("list").stdout.splitlines()] == ["north", "south"]


@pytest.mark.parametrize("migrate", [False, True])
async def test_what_is_no_database_is_refused(tmp_path: Path, migrate: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """A directory, a place that cannot be, another file, and a damaged one: a sentence that names it."""
    other = tmp_path / "other"
    other.write_bytes(b"no database" * 1000)
    for place in (tmp_path, tmp_path / "none" / "collect.sqlite", other, other / "collect.sqlite"):
        with pytest.raises(StoreError, match=str(place)) as caught:
            await Store.open(f"sqlite:///{place}", migrate=migrate)
        assert type(caught.value) is StoreError


async def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The file and what SQLite puts next to it; and what has been committed is on the disk."""
    async with await Store.open(f"sqlite:///{tmp_path}/collect.sqlite", migrate=True) as store:
        await prepare(store)
        async with store.begin() as connection:
            await evidence.add(connection, new_evidence())
            files = [Path(tmp_path, f"collect.sqlite{suffix}") for suffix in ("", "-wal", "-shm")]
            assert [stat.S_IMODE(os.stat(file).st_mode) for file in files] == [0o600] * 3  # noqa: PTH116 - of Path, ruff takes it for slow
            for pragma, value in (
                ("synchronous", 2),
                ("foreign_keys", 1),
                ("secure_delete", 1),
                ("journal_mode", "wal"),
            ):
                assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one() == value


def write(url: str, start: int, ready: Callable[[], object]) -> None:
    """A process that adds twenty submissions, half of which another one adds too."""

    async def work() -> None:
        async with await Store.open(url) as store:
            ready()
            await asyncio.gather(*(add(store, start + number) for number in range(20)))

    asyncio.run(work())


def test_processes_that_write_at_once(database: str) -> None:
    """Three processes with twenty tasks each, on either database: each submission once."""

    async def begin() -> None:
        async with await Store.open(database, migrate=True) as store:
            await prepare(store)

    async def end() -> int:
        async with await Store.open(database) as store:
            return await count(store)

    asyncio.run(begin())
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=write, args=(database, start, barrier.wait)) for start in (0, 10, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert asyncio.run(end()) == 40


def with_a_step(folder: Path, *operations: str) -> Path:
    """The migrations, with a later one of these operations."""
    steps = folder / "steps"
    shutil.copytree(Path(migrations.__file__).parent, steps)
    lines = ["import sqlalchemy as sa", "from alembic import op", "revision = '9999'"]
    lines += [f"down_revision = {migrations.REVISION!r}", "def upgrade():", *(f"    {each}" for each in operations)]
    (steps / "versions" / "9999_test.py").write_text("\n".join(lines))
    return steps


async def test_a_step_while_others_write_loses_nothing(
    store: Store, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version adds a column while the service of this one writes and reads: no request fails, all is there."""
    adding = "op.add_column('evidence', sa.Column('later', sa.Text, nullable=False, server_default='x'))"
    indexing = "op.create_index('ix_evidence_later', 'evidence', ['later'])"
    monkeypatch.setattr(migrations, "_FOLDER", with_a_step(tmp_path, adding, indexing))
    is_busy, is_done = asyncio.Event(), asyncio.Event()

    async def write_on(writer: int) -> int:
        number = 0
        while not is_done.is_set():
            await add(store, 1000 * writer + number)
            if await count(store) > 20:
                is_busy.set()
            number += 1
        return number

    writers = [asyncio.create_task(write_on(writer)) for writer in range(6)]
    await asyncio.wait_for(is_busy.wait(), 60)
    monkeypatch.setattr(migrations, "REVISION", "9999")
    newer = await Store.open(database, migrate=True)
    is_done.set()
    added = sum(await asyncio.gather(*writers))
    async with newer, newer.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT later, count(*) FROM evidence GROUP BY later")
        assert [tuple(row) for row in rows] == [("x", added)]


async def test_a_step_that_fails_leaves_everything(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first half is undone, and the database is of the version that it was."""
    async with await Store.open(database, migrate=True) as store:
        await prepare(store)
    steps = with_a_step(tmp_path, "op.drop_table('visits')", "op.execute('SELECT 1 FROM missing')")
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "_FOLDER", steps)
        patched.setattr(migrations, "REVISION", "9999")
        with pytest.raises(StoreError):
            await Store.open(database, migrate=True)
    async with await Store.open(database) as store, store.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.visits)) == 0
