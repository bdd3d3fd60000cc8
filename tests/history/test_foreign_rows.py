"""A history is a file that others can write: whatever stands in a column, it is read or refused in one sentence.

Room: tests of history.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.json_values import FOREIGN, places
from support.profiles import examples

from detector.errors import HistoryError
from detector.history.difference import compare
from detector.history.dossier import Gathering, Item
from detector.history.schema import metadata
from detector.history.store import History
from detector.model import Report, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Report]

NOW = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
COLUMNS = [
    (table.name, column.name) for table in metadata.sorted_tables for column in table.columns if column.name != "id"
]
VALUES = (
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1.5,
    float("inf"),
    "",
    "x",
    "2026-01-01",
    "9999-12-31 23:59:59.999999",
    "0000-00-00 00:00:00",
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff",
    b"[" * 3000,
    b"{}",
    b"null",
)


@pytest.fixture
def place(tmp_path: Path, make_report: Make) -> Path:
    """A history with one run."""
    with History(tmp_path / "history.sqlite") as history:
        history.record(make_report("First"))
    return tmp_path / "history.sqlite"


def read_all(place: Path, asked: Report) -> None:
    """Read the history in every form there is, and use what was read; only `HistoryError` may be raised."""
    readers: tuple[Callable[[History], object], ...] = (
        lambda history: [msgspec.json.encode(run._asdict()) for run in history.runs()],
        lambda history: encode(history.load(1)),
        lambda history: compare(history.load(1), asked),
        lambda history: history.genuine(["exam.example.edu:443"]),
        _dossier,
    )
    with History(place) as history:
        for reader in readers:
            with contextlib.suppress(HistoryError):
                reader(history)


def _dossier(history: History) -> None:
    gathering = Gathering("library")
    for seen in history.occurrences():
        gathering.add(Item(seen.at, seen.vantage, seen.result, "run"))
        encode(seen.result)
    encode(gathering.dossier(made=NOW))


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_of_any_type(table: str, column: str, place: Path, make_report: Make) -> None:
    """SQLite stores any type in any column."""
    asked = make_report()
    with contextlib.closing(sqlite3.connect(place)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        (genuine,) = database.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names of the schema
        for value in VALUES:
            with contextlib.suppress(sqlite3.IntegrityError), database:
                database.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608 - names of the schema
            read_all(place, asked)
        with contextlib.suppress(sqlite3.IntegrityError), database:
            database.execute(f"UPDATE {table} SET {column} = ?", (genuine,))  # noqa: S608 - names of the schema


@given(draw=st.data(), column=st.sampled_from([("results", "detail"), ("runs", "head")]))
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_of_any_content(draw: st.DataObject, column: tuple[str, str], place: Path, make_report: Make) -> None:
    """A stored record in which one value is another one is refused, or can be used and written again."""
    table, name = column
    with contextlib.closing(sqlite3.connect(place)) as database:
        (data,) = database.execute(f"SELECT {name} FROM {table} ORDER BY 1 LIMIT 1").fetchone()  # noqa: S608 - of the schema
        content = json.loads(data)
        within, key = draw.draw(st.sampled_from(list(places(content))))
        within[key] = draw.draw(st.sampled_from(FOREIGN))
        with database:
            database.execute(f"UPDATE {table} SET {name} = ?", (json.dumps(content).encode(),))  # noqa: S608 - of the schema
        try:
            read_all(place, make_report())
        finally:
            with database:
                database.execute(f"UPDATE {table} SET {name} = ?", (data,))  # noqa: S608 - of the schema


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h:word/db",
        "postgresql://u:secret@h:word/db",
        "postgresql://[h/db",
        "postgresql://",
        "sqlite:///\0",
        "x://h:1:2/db",
        "://",
    ],
)
def test_a_url_that_cannot_be(url: str) -> None:
    """A URL with a word as its port, or no host, is refused in one sentence that repeats no password."""
    with pytest.raises(HistoryError) as caught:
        History(url)
    assert "secret" not in str(caught.value)
