"""Fixtures of the collector's database: an empty one and a migrated one, on SQLite and on a real PostgreSQL.

Room: tests. Starts PostgreSQL once for each process of tests.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import secrets
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from detector_collect.store import keys
from detector_collect.store.database import Store
from detector_collect.store.evidence import NewEvidence
from support.postgres import running_postgres

from detector.outbox.submission import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOW = dt.datetime(2026, 11, 30, 9, 30, 15, tzinfo=dt.UTC)
KEY = "ed25519/" + "A" * 43 + "="


@pytest.fixture(scope="session")
def collect_postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    with running_postgres() as url:
        yield url


def fresh_database(url: str) -> str:
    """The URL of a new, empty database of that server."""
    name = f"test_{secrets.token_hex(8)}"

    async def create() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    return f"{url.rpartition('/')[0]}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: of a file that does not exist, or of a new database of the server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/collect.sqlite"
    return fresh_database(request.getfixturevalue("collect_postgres"))


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """A migrated database with the institution `north` and its key."""
    async with await Store.open(database, migrate=True) as opened:
        async with opened.begin() as connection:
            await keys.add_institution(connection, keys.Institution("north", "North University", NOW))
            await keys.add_key(connection, keys.Key(KEY, "north", "signing", NOW, None, None, 600, 4 << 20))
        yield opened


def new_evidence(number: int = 0, **changes: Any) -> NewEvidence:  # noqa: ANN401 - any field
    """A submission; another number is another digest."""
    body = f"envelope {number}".encode()
    made = NewEvidence(
        digest=hashlib.sha256(body).digest(),
        institution="north",
        key=KEY,
        kind=Kind.BUNDLE,
        exam="algebra",
        student=hashlib.sha256(b"student").digest(),
        network=None,
        made=NOW,
        received=NOW,
        body=body,
    )
    return made._replace(**changes)
