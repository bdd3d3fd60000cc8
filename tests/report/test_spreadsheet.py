"""CSV: one line an endpoint, and nothing in it that a spreadsheet would run."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.results import clean, intercepted, possible, report, silent

from detector.report import csv as as_csv
from detector.report.spreadsheet import COLUMNS

if TYPE_CHECKING:
    from detector.model import Report

NOW = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)


@pytest.fixture
def network() -> Report:
    """One endpoint intercepted, one uncertain, one clean, one not reached."""
    made = report(
        intercepted("exam.example.edu"),
        possible("search.example.com"),
        clean("lms.example.org"),
        silent("down.example.com"),
    )
    return msgspec.structs.replace(made, finished=NOW)


def test_one_line_an_endpoint(network: Report) -> None:
    """Every endpoint has a line with a value under each heading."""
    rows = list(csv.DictReader(io.StringIO(as_csv(network), newline="")))
    assert [(r["host"], r["verdict"], r["confidence"], r["reason"]) for r in rows] == [
        ("exam.example.edu", "middleware", "proven", "identity-substituted"),
        ("search.example.com", "middleware", "possible", "private-chain"),
        ("lms.example.org", "clean", "", "logged"),
        ("down.example.com", "inconclusive", "", "no-certificate"),
    ]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert all(row["why"].endswith(".") for row in rows)
    assert [row["issuer"] for row in rows] == ["CN=Campus Filter CA", "", "", ""]
    assert [row["leaf_subject"] for row in rows] == ["CN=exam.example.edu", "", "CN=lms.example.org", ""]
    assert rows[0]["time"] == "2026-11-25T09:00:00Z"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_formulas_are_text(start: str, network: Report) -> None:
    """A field that a spreadsheet would take for a formula is marked as text, quotes and line ends included."""
    formula = f'{start}HYPERLINK("http://x","y")\n'
    named = msgspec.structs.replace(network, vantage=formula)
    rows = list(csv.DictReader(io.StringIO(as_csv(named), newline="")))
    assert len(rows) == 4
    assert rows[0]["vantage"] == f"'{formula}"
