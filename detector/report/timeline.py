"""Layout of the timeline: runs in the order of time, one row for each vantage, over an axis with dates.

Room: report. Pure: runs in, places and texts out; the template draws them as SVG. Places from left to right are in
percent of the plot, so that it is as wide as the page while its text keeps its size, on a phone and on paper.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge import wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.model import Confidence, Verdict

MARGIN: Final = 5.0
"""Percent left free at both ends: room for half a mark and half a date."""
TICKS_MOST: Final = 5
"""Dates on the axis: as many as fit a screen of 320 pixels."""
_DAY: Final = dt.timedelta(days=1)
_STEPS: Final = (
    *(dt.timedelta(minutes=minutes) for minutes in (1, 5, 15, 30)),
    *(dt.timedelta(hours=hours) for hours in (1, 3, 6, 12)),
    *(dt.timedelta(days=days) for days in (1, 2, 7, 14)),
)
"""Distances between dates, up to where months are counted instead; all divide a day or are whole days."""
_MONTHS: Final = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000)
"""The same in months, up to what a date can hold: a clock may be wrong."""
_MONTHS_A_YEAR: Final = 12


class TimelineEntry(NamedTuple):
    """One earlier run: when, from where, and its verdict. `detail` is a sentence for closer inspection."""

    at: dt.datetime
    vantage: str
    verdict: Verdict
    confidence: Confidence | None = None
    detail: str = ""


class Mark(NamedTuple):
    """One run: its place in percent from the left, and the tone of its verdict."""

    x: float
    tone: str
    entry: TimelineEntry


class Row(NamedTuple):
    """The runs of one vantage."""

    vantage: str
    marks: tuple[Mark, ...]


class Timeline(NamedTuple):
    """The plot: its rows, dates on the axis (place in percent, text), tones that occur, and the runs in order."""

    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    tones: frozenset[str]
    entries: tuple[TimelineEntry, ...]


def plot(entries: Sequence[TimelineEntry]) -> Timeline | None:
    """The plot of these runs, given in any order; None without runs."""
    if not entries:
        return None
    ordered = sorted(entries, key=lambda entry: entry.at)
    first, last = ordered[0].at, ordered[-1].at
    rows: dict[str, list[Mark]] = {}
    for entry in ordered:
        tone = wording.tone(entry.verdict, entry.confidence)
        rows.setdefault(entry.vantage, []).append(Mark(_place(entry.at, first, last), tone, entry))
    return Timeline(
        rows=tuple(Row(vantage, tuple(marks)) for vantage, marks in rows.items()),
        ticks=tuple((_place(at, first, last), text) for at, text in _ticks(first, last)),
        tones=frozenset(mark.tone for marks in rows.values() for mark in marks),
        entries=tuple(ordered),
    )


def _place(at: dt.datetime, first: dt.datetime, last: dt.datetime) -> float:
    span = (last - first).total_seconds()
    share = (at - first).total_seconds() / span if span else 0.5
    return round(MARGIN + share * (100 - 2 * MARGIN), 2)


def _ticks(first: dt.datetime, last: dt.datetime) -> list[tuple[dt.datetime, str]]:
    """Round moments between two, with their texts: the closest together of which not too many fit."""
    step = next((step for step in _STEPS if (last - first) / step < TICKS_MOST), None)
    if step is None:
        return [(at, f"{at:%Y-%m}") for at in _months(first, last)]
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    number = -((midnight - first) // step)  # of the first one that is not before `first`
    form = "%Y-%m-%d" if step >= _DAY else "%m-%d %H:%M"
    ticks = []
    while (at := midnight + number * step) <= last:
        ticks.append((at, f"{at:{form}}"))
        number += 1
    return ticks or [(first, f"{first:%Y-%m-%d %H:%M}")]


def _months(first: dt.datetime, last: dt.datetime) -> Iterator[dt.datetime]:
    """The first days of months, counted from the year 0."""
    begin, end = (moment.year * _MONTHS_A_YEAR + moment.month - 1 for moment in (first, last))
    step = next(step for step in _MONTHS if (end - begin) / step < TICKS_MOST)
    for month in range(-(-(begin + 1) // step) * step, end + 1, step):
        yield dt.datetime(month // _MONTHS_A_YEAR, month % _MONTHS_A_YEAR + 1, 1, tzinfo=dt.UTC)
