"""Fixtures of the history: SQLite and a real PostgreSQL, and reports to keep."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from support.postgres import running_postgres

from detector.history.store import History
from detector.judge import network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import World

    from detector.model import Report

NOW = dt.datetime(2026, 11, 25, 9, 30, 15, tzinfo=dt.UTC)
EXAM, LMS = "exam.example.edu", "lms.example.org"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty history can be: a new file, or a database emptied for this test."""
    if request.param == "sqlite":
        return str(tmp_path / "history.sqlite")
    url: str = request.getfixturevalue("postgres")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def history(place: str) -> Iterator[History]:
    with History(place) as kept:
        yield kept


@pytest.fixture(scope="session")
def make_report(world: World) -> Callable[..., Report]:
    """A report on two endpoints of known public roots: `exam` and `lms` say which certificates they present."""
    genuine = {host: world.pki.issue([host]) for host in (EXAM, LMS)}
    cas = {name: world.pki.private_ca(f"{name} Filter CA") for name in ("First", "Second")}

    def make(exam: str = "genuine", lms: str = "genuine", *, at: dt.datetime = NOW, vantage: str = "library") -> Report:
        cases = [
            world.case(
                host,
                genuine[host] if what == "genuine" else [] if what == "down" else cas[what].issue([host]),
                roots=tuple(world.roots.labels),
            )
            for host, what in ((EXAM, exam), (LMS, lms))
        ]
        results = world.judge(*cases)
        return network.report(
            results, world.context(), started=at, finished=at + dt.timedelta(seconds=1), vantage=vantage, version="0"
        )

    return make
