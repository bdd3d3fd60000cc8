"""The commands of docs/collect-operate.md do what the page says, with a real PostgreSQL. Room: tests."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa
from detector_collect.store import evidence, findings, keys, retention, schema
from detector_collect.store.database import Store
from detector_collect.store.findings import NewFinding, NewVerification
from support.collect_stores import NOW, new_evidence
from support.command import clean_environment
from support.postgres import PASSWORD, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE = Path(__file__).parents[4] / "docs" / "collect-operate.md"
STUDENT = bytes.fromhex("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")


def sections() -> dict[str, list[str]]:
    """The commands of each section of the page."""
    parts = re.split(r"^## (.*)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    blocks = {
        title: re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    return {title: found for title, found in blocks.items() if found}


async def fill(url: str) -> None:
    """Evidence of two students in two months, assessed."""
    async with await Store.open(url) as store:
        async with store.connect() as connection:
            key = (await keys.list_keys(connection, "north"))[0].id
        for number in range(6):
            async with store.begin() as connection:
                student = STUDENT if number < 2 else bytes(32)
                new = new_evidence(number, key=key, exam="algebra" if number < 4 else "logic", student=student)
                added = await evidence.add(connection, new)
                finding = NewFinding(NOW, "a.example", 443, "exam", "clean", None, "pinned", None, None)
                verification = NewVerification(NOW, "0.1.0", bytes(32), b"{}")
                await findings.replace(connection, added.id, verification, [finding, finding], "verified")


async def tables(url: str) -> Mapping[str, list[str]]:
    """Every row of every table that has any."""
    async with await Store.open(url) as store, store.connect() as connection:
        found = {}
        for table in schema.metadata.sorted_tables:
            if rows := sorted(map(repr, await connection.execute(sa.select(table)))):
                found[table.name] = rows
        return found


class Operator:
    """Runs commands of the page as they stand, but for the server's address, in a folder of its own."""

    def __init__(self, server: str, folder: Path) -> None:
        port = str(urlsplit(server).port)
        self.url = f"postgresql://collector:{PASSWORD}@127.0.0.1:{port}/collector"
        self._folder = folder
        self._exports: list[str] = []
        path = f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"
        self._environment = clean_environment() | {"PATH": path, "PGPASSWORD": PASSWORD, "PGPORT": port}

    def run(self, block: str) -> str:
        lines = block.replace("db.example.com", "127.0.0.1")
        script = "\n".join(["set -eu", *self._exports, lines])
        done = subprocess.run(  # noqa: S603 - the page's commands
            ["/bin/bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        self._exports.extend(line for line in lines.splitlines() if line.startswith("export "))
        return done.stdout

    def rows(self) -> Mapping[str, list[str]]:
        return asyncio.run(tables(self.url))


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """Somebody with an account that may create databases, and no other right."""
    with running_server() as server:

        async def create_role() -> None:
            connection = await asyncpg.connect(server.url)
            await connection.execute(f"CREATE ROLE collector LOGIN CREATEDB PASSWORD '{PASSWORD}'")
            await connection.close()

        asyncio.run(create_role())
        yield Operator(server.url, tmp_path)


def test_the_page_does_what_it_says(operator: Operator, tmp_path: Path) -> None:
    """Set up, keys, dump, restore, migrate, retention, holds, erasure and partitions, in the order of the page."""
    page = iter(sections().items())
    run = operator.run
    title, (set_up,) = next(page)
    assert (title, "has version" in run(set_up)) == ("The database", True)
    title, (add, rotate) = next(page)
    assert (title, "north  signing" in run(add), run(rotate)) == ("Keys", True, "")
    asyncio.run(fill(operator.url))
    before = operator.rows()
    assert {"evidence", "contents", "findings", "keys", "settings", "work"} <= before.keys()
    title, (dump, restore, sqlite) = next(page)
    assert (title, run(dump)) == ("Back up and restore", "")
    assert (tmp_path / "collector.dump").stat().st_mode & 0o077 == 0
    assert "North University" in run(restore)
    assert operator.rows() == before
    run(sqlite)
    copy, original = (f"sqlite:///{tmp_path}/{name}.sqlite" for name in ("collect-copy", "collect"))
    assert asyncio.run(tables(copy)) == asyncio.run(tables(original))
    title, (migrate,) = next(page)
    assert (title, "has version" in run(migrate), operator.rows()) == ("A new version", True, before)
    title, (keep, hold, erase) = next(page)
    assert (title, "watch-event  90" in run(keep)) == ("How long evidence is kept", True)
    assert run(hold).startswith("Hold 1: 4 pieces of evidence.")
    assert run(erase) == "Erased: 2. Kept under a hold: 0.\n"
    title, (partitions,) = next(page)
    indexes, left = asyncio.run(index_names(operator.url)), operator.rows()["findings"]
    run(partitions)
    assert (title, operator.rows()["findings"], len(left)) == ("Growth", left, 8)
    assert asyncio.run(index_names(operator.url)) == indexes
    assert asyncio.run(erase_other(operator.url)) == 4
    assert "findings" not in operator.rows()
    assert next(page, None) is None


async def index_names(url: str) -> set[str]:
    asked = "SELECT indexname FROM pg_indexes WHERE tablename = 'findings'"
    async with await Store.open(url) as store, store.connect() as connection:
        return set((await connection.exec_driver_sql(asked)).scalars())


async def erase_other(url: str) -> int:
    async with await Store.open(url) as store, store.begin() as connection:
        return (await retention.erase(connection, bytes(32))).erased
