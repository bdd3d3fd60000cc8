"""Lays out the plots of an institution: students by week, and what was seen at which endpoint, exam and network.

Room: detector_collect.review. Pure: counts in, coordinates and texts out; the templates draw them as SVG.

Every number is rounded as `anonymity` says: 0 stands for fewer than five students, and is shown without a size. Every
state has a symbol and a place of its own besides its color, and every plot a table with the same content.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge import wording
from detector_collect.responsibility import STUDENTS_LEAST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .queries import Cell, WeekCount

WEEK: Final = dt.timedelta(days=7)
WEEKS_MOST: Final = 52
"""Bars of one plot: a year, each still wider than a few pixels on a phone."""
TICKS_MOST: Final = 4
"""Dates on the axis: as many as fit a screen of 320 CSS pixels."""
HEIGHT: Final = 160
"""Of the bars, in CSS pixels."""
SPARSE: Final = 4
"""Height of a bar for fewer than five students, in CSS pixels: seen, and shorter than any number."""
BAR_WIDTH: Final = 0.7
"""The part of a week's place that its bar takes."""


class Tone(NamedTuple):
    """What one color stands for: its symbol and its name."""

    symbol: str
    title: str


TONES: Final[Mapping[str, Tone]] = {
    "intercepted": Tone("✗", "TLS interception, proven or probable"),
    "uncertain": Tone("?", "uncertain: possible interception, or not assessed"),
    "clean": Tone("✓", "clean"),
}
"""In the order of the bars, from the bottom up. All below probable has one color, whatever its verdict."""


def number(students: int) -> str:
    """A rounded number of students in words."""
    return f"{students} to {students + STUDENTS_LEAST - 1}" if students else f"fewer than {STUDENTS_LEAST}"


def at_least(students: int) -> str:
    """The same where several groups may be the same students: the number is a least one."""
    return f"at least {students}" if students else f"fewer than {STUDENTS_LEAST}"


class Part(NamedTuple):
    """One part of a bar: its place and size, in pixels from the top (upright) or in percent from the left (lying)."""

    tone: str
    start: float
    size: float


class Bar(NamedTuple):
    """One week: its place in percent from the left, its parts, and its numbers in words by tone."""

    week: dt.date
    x: float
    width: float
    parts: tuple[Part, ...]
    words: Mapping[str, str]


class WeekPlot(NamedTuple):
    """Bars over an axis: `most` is the number at the top. `earlier` weeks are not in it."""

    bars: tuple[Bar, ...]
    most: int
    ticks: tuple[tuple[float, str], ...]
    earlier: int
    words: str


def by_week(counts: Iterable[WeekCount]) -> WeekPlot | None:
    """The plot of students by week, of the last year; None without findings."""
    found: dict[dt.date, dict[str, int]] = defaultdict(dict)
    for count in counts:
        tones, tone = found[count.week], wording.tone(count.verdict, count.confidence)
        # Of several confidences the students may be the same ones: the largest number is the least there can be.
        tones[tone] = max(tones.get(tone, 0), count.students)
    if not found:
        return None
    first, last = min(found), max(found)
    weeks = [first + at * WEEK for at in range((last - first) // WEEK + 1)][-WEEKS_MOST:]
    most = max(sum(found[week].values()) for week in weeks if week in found)
    place = 100 / len(weeks)
    bars = tuple(
        Bar(
            week,
            round((at + (1 - BAR_WIDTH) / 2) * place, 3),
            round(place * BAR_WIDTH, 3),
            tuple(_upright(found.get(week, {}), most)),
            {tone: at_least(found[week][tone]) for tone in TONES if week in found and tone in found[week]},
        )
        for at, week in enumerate(weeks)
    )
    step = -(-len(weeks) // TICKS_MOST)
    return WeekPlot(
        bars=bars,
        most=most,
        ticks=tuple((bar.x, f"{bar.week:%Y-%m-%d}") for bar in bars[::step]),
        earlier=sum(week < weeks[0] for week in found),
        words=f"Students by state, from the week of {weeks[0]:%Y-%m-%d} to that of {weeks[-1]:%Y-%m-%d}. The table "
        "below has the numbers.",
    )


def _upright(students: Mapping[str, int], most: int) -> Iterator[Part]:
    bottom = float(HEIGHT)
    for tone in TONES:
        if tone in students:
            size = (HEIGHT - len(TONES) * SPARSE) * students[tone] / most if students[tone] else SPARSE
            bottom -= size
            yield Part(tone, round(bottom, 2), round(size, 2))


class Field(NamedTuple):
    """What one network showed at one endpoint in one exam: numbers in words by tone, and the parts of its bar."""

    words: Mapping[str, str]
    parts: tuple[Part, ...]


class MapRow(NamedTuple):
    """One endpoint in one exam: a field for each column, None where fewer students were checked than may be shown."""

    exam: str | None
    endpoint: str
    fields: tuple[Field | None, ...]


class CoverageMap(NamedTuple):
    """`columns` are all networks together, then those with the most students."""

    columns: tuple[str, ...]
    rows: tuple[MapRow, ...]


NETWORKS_MOST: Final = 3
"""Columns of single networks: as many as fit a page with their numbers."""
ALL_NETWORKS: Final = "All networks"


def coverage(cells: Sequence[Cell]) -> CoverageMap:
    """The map of what was seen where; endpoints with interception first."""
    students: dict[str, int] = defaultdict(int)
    for cell in cells:
        if cell.network is not None:
            students[cell.network] = max(students[cell.network], cell.students)
    networks = sorted(students, key=lambda network: (-students[network], network))[:NETWORKS_MOST]
    names: dict[str | None, str] = {None: ALL_NETWORKS, **{network: f"Network {network[:8]}" for network in networks}}
    rows: dict[tuple[str, str], dict[str | None, Cell]] = defaultdict(dict)
    for cell in cells:
        rows[cell.exam or "", f"{cell.host}:{cell.port}"][cell.network] = cell

    def gravity(row: tuple[str, str]) -> tuple[int, int, tuple[str, str]]:
        shown = rows[row].values()
        return -max(cell.intercepted for cell in shown), -max(cell.uncertain for cell in shown), row

    return CoverageMap(
        tuple(names.values()),
        tuple(
            MapRow(row[0] or None, row[1], tuple(_field(rows[row].get(network)) for network in names))
            for row in sorted(rows, key=gravity)
        ),
    )


def _field(cell: Cell | None) -> Field | None:
    if cell is None:
        return None
    students = {"intercepted": cell.intercepted, "uncertain": cell.uncertain, "clean": cell.clean}
    total, start, parts = sum(students.values()), 0.0, []
    for tone in TONES:
        if students[tone]:
            size = 100 * students[tone] / total
            parts.append(Part(tone, round(start, 2), round(size, 2)))
            start += size
    return Field({tone: number(students[tone]) for tone in TONES}, tuple(parts))
