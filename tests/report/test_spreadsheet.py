"""CSV: one line an endpoint, and nothing in it that a spreadsheet would run."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import TYPE_CHECKING

import msgspec
import pytest

from detector.judge import assess
from detector.report import csv as as_csv
from detector.report.spreadsheet import COLUMNS

if TYPE_CHECKING:
    from conftest import World

    from detector.model import Report

NOW = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)


@pytest.fixture
def network(world: World) -> Report:
    """One endpoint decrypted, one not, one not reached."""
    results = world.judge(
        world.case(
            "exam.example.edu", world.pki.private_ca("Filter CA").issue(["exam.example.edu"]), pins=(b"p" * 32,)
        ),
        world.case("lms.example.org", world.pki.issue(["lms.example.org"])),
        world.case("down.example.com", []),
    )
    return assess.report(results, world.context(), started=NOW, finished=NOW, vantage="lab", version="0.0")


def test_one_line_an_endpoint(network: Report) -> None:
    """Every endpoint has a line with a value under each heading."""
    rows = list(csv.DictReader(io.StringIO(as_csv(network), newline="")))
    assert [(r["host"], r["verdict"], r["confidence"], r["row"]) for r in rows] == [
        ("exam.example.edu", "middleware", "proven", "17"),
        ("lms.example.org", "clean", "", "10"),
        ("down.example.com", "inconclusive", "", "1"),
    ]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[0]["issuer"] == "CN=Filter CA"
    assert rows[0]["time"] == "2026-11-25T09:00:00Z"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_formulas_are_text(start: str, network: Report) -> None:
    """A field that a spreadsheet would take for a formula is marked as text, quotes and line ends included."""
    formula = f'{start}HYPERLINK("http://x","y")\n'
    named = msgspec.structs.replace(network, vantage=formula)
    rows = list(csv.DictReader(io.StringIO(as_csv(named), newline="")))
    assert len(rows) == 3
    assert rows[0]["vantage"] == f"'{formula}"
