"""The timeline: runs in the order of time, and dates on its axis that are round, few and true."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.model import Confidence, Verdict
from detector.report.timeline import MARGIN, TICKS_MOST, Timeline, TimelineEntry, plot

FIRST = dt.datetime(2026, 11, 25, 9, 30, 15, tzinfo=dt.UTC)
MOMENTS = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9999, 12, 31), timezones=st.just(dt.UTC))  # noqa: DTZ001 - with the zone given


def plotted(*moments: dt.datetime, vantage: str = "library") -> Timeline:
    drawn = plot([TimelineEntry(moment, vantage, Verdict.CLEAN) for moment in moments])
    assert drawn is not None
    return drawn


def test_nothing_is_no_plot() -> None:
    """Without runs there is nothing to draw."""
    assert plot([]) is None


@pytest.mark.parametrize(
    ("span", "texts"),
    [
        (dt.timedelta(0), ["2026-11-25 09:30"]),
        (dt.timedelta(seconds=20), ["2026-11-25 09:30"]),
        (dt.timedelta(minutes=4), ["11-25 09:31", "11-25 09:32", "11-25 09:33", "11-25 09:34"]),
        (dt.timedelta(hours=13), ["11-25 12:00", "11-25 15:00", "11-25 18:00", "11-25 21:00"]),
        (dt.timedelta(days=3), ["2026-11-26", "2026-11-27", "2026-11-28"]),
        (dt.timedelta(days=30), ["2026-12-02", "2026-12-09", "2026-12-16", "2026-12-23"]),
        (dt.timedelta(days=120), ["2026-12", "2027-01", "2027-02", "2027-03"]),
        (dt.timedelta(days=4000), ["2030-01", "2035-01"]),
    ],
)
def test_dates_on_the_axis(span: dt.timedelta, texts: list[str]) -> None:
    """The axis has round moments between the first and the last run, at a distance that fits the span."""
    found = [text for _, text in plotted(FIRST, FIRST + span).ticks]
    assert found == texts


@given(st.lists(MOMENTS, min_size=1, max_size=8))
def test_any_moments(moments: list[dt.datetime]) -> None:
    """Whatever the clock said, marks and dates are on the plot, in the order of time, and dates are few and differ."""
    drawn = plotted(*moments)
    assert [entry.at for entry in drawn.entries] == sorted(moments)
    places = [mark.x for mark in drawn.rows[0].marks]
    assert places == sorted(places)
    assert 1 <= len(drawn.ticks) <= TICKS_MOST
    assert len({text for _, text in drawn.ticks}) == len(drawn.ticks)
    assert all(MARGIN <= x <= 100 - MARGIN for x in (*places, *(x for x, _ in drawn.ticks)))


def test_rows_and_tones() -> None:
    """A vantage has a row, and a run the tone of its verdict: what is only possible is uncertain."""
    drawn = plot(
        [
            TimelineEntry(FIRST, "hall", Verdict.MIDDLEWARE, Confidence.POSSIBLE),
            TimelineEntry(FIRST + dt.timedelta(days=1), "library", Verdict.CLEAN),
            TimelineEntry(FIRST + dt.timedelta(days=2), "hall", Verdict.MIDDLEWARE, Confidence.PROBABLE),
        ]
    )
    assert drawn is not None
    assert {row.vantage: [mark.tone for mark in row.marks] for row in drawn.rows} == {
        "hall": ["uncertain", "intercepted"],
        "library": ["clean"],
    }
    assert drawn.tones == {"clean", "intercepted", "uncertain"}
