"""docs/collect-ingest.md and the OpenAPI description are what the code says. Room: tests."""

from __future__ import annotations

import re

import build_collect_ingest as script
from detector_collect.service.settings import DEFAULT_LIMITS
from detector_collect.submissions import AGE_MAX, FUTURE_MAX

TEXT = script.PAGE.read_text("utf-8")


def test_the_table_of_refusals_is_up_to_date() -> None:
    """`python scripts/build_collect_ingest.py` writes it."""
    assert script.page(TEXT) == TEXT


def test_the_description_is_up_to_date() -> None:
    """`python scripts/build_collect_ingest.py` writes it."""
    assert script.OPENAPI.read_text("utf-8") == script.description()


def test_the_limits_are_those_of_the_code() -> None:
    """Each number on the page is the default."""
    limits = dict(re.findall(r"^\| ([^|`]+?) \| ([^|]+?) \|$", TEXT, re.MULTILINE))
    assert limits["time for the head of a request"] == f"{DEFAULT_LIMITS.head_seconds:g} s"
    assert limits["an idle connection"] == f"{DEFAULT_LIMITS.idle_seconds:g} s"
    assert limits["a client that does not read its answer"] == f"{DEFAULT_LIMITS.stall_seconds:g} s"
    assert limits["submissions that one process decodes at once"] == str(DEFAULT_LIMITS.reading)
    assert limits["connections of one process"].startswith(f"{DEFAULT_LIMITS.connections:,};")
    assert limits["bodies that one process holds at once"].startswith(f"{DEFAULT_LIMITS.bodies_bytes >> 20} MiB,")
    more = f"one second more for each {DEFAULT_LIMITS.body_bytes_per_second >> 10} KiB"
    assert limits["time for a body"].startswith(f"{DEFAULT_LIMITS.body_seconds:g} s, and {more}")
    assert (AGE_MAX.days, FUTURE_MAX.total_seconds() / 60) == (31, 5)
    assert "at most five minutes ahead of the collector's clock, and at most 31 days old" in TEXT
