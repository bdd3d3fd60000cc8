"""Plots: what is drawn adds up, fits, and never shows the number of fewer than five students.

Room: tests. In memory.
"""

from __future__ import annotations

import datetime as dt

from detector_collect.review.plots import HEIGHT, TONES, WEEKS_MOST, by_week, coverage, number
from detector_collect.review.queries import Cell, WeekCount
from hypothesis import given
from hypothesis import strategies as st

from detector.judge import wording
from detector.model import Confidence, Verdict

MONDAY = dt.date(2026, 8, 31)
KINDS = [
    (Verdict.CLEAN, None),
    (Verdict.INCONCLUSIVE, None),
    *((Verdict.MIDDLEWARE, confidence) for confidence in Confidence),
]
COUNTS = st.lists(
    st.builds(
        lambda week, kind, students: WeekCount(
            week=MONDAY + week * dt.timedelta(days=7), verdict=kind[0], confidence=kind[1], students=students
        ),
        st.integers(0, 80),
        st.sampled_from(KINDS),
        st.integers(0, 200).map(lambda fives: 5 * fives),
    )
)


@given(COUNTS)
def test_bars_stay_within_the_plot(counts: list[WeekCount]) -> None:
    """No bar is higher than the plot or wider than its week, and no more than a year is drawn."""
    plot = by_week(counts)
    assert (plot is None) == (not counts)
    if plot is None:
        return
    assert len(plot.bars) <= WEEKS_MOST
    for bar in plot.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= 100
        assert all(part.start >= 0 and part.start + part.size <= HEIGHT + 0.1 for part in bar.parts)
        assert {part.tone for part in bar.parts} == set(bar.words)


@given(COUNTS)
def test_below_probable_is_amber(counts: list[WeekCount]) -> None:
    """Red is drawn only in weeks with something that is probable or proven."""
    plot = by_week(counts)
    red = {count.week for count in counts if wording.tone(count.verdict, count.confidence) == "intercepted"}
    drawn = {bar.week for bar in plot.bars if "intercepted" in bar.words} if plot else set()
    assert drawn <= red
    assert set(TONES) == {"intercepted", "uncertain", "clean"}


def test_few_students_have_no_number() -> None:
    """What is rounded to zero is drawn as small as it gets, and named as fewer than five."""
    many = WeekCount(week=MONDAY, verdict=Verdict.CLEAN, confidence=None, students=100)
    few = WeekCount(week=MONDAY, verdict=Verdict.MIDDLEWARE, confidence=Confidence.PROVEN, students=0)
    plot = by_week([many, few])
    assert plot is not None
    assert plot.bars[0].words == {"intercepted": "fewer than 5", "clean": "at least 100"}
    sizes = {part.tone: part.size for part in plot.bars[0].parts}
    assert 0 < sizes["intercepted"] < sizes["clean"]
    assert (number(0), number(5)) == ("fewer than 5", "5 to 9")


def _cell(network: str | None, host: str, **students: int) -> Cell:
    numbers = {"students": 30, "intercepted": 0, "uncertain": 0, "clean": 30, **students}
    return Cell(exam="algebra", network=network, host=host, port=443, category="exam", **numbers)


def test_the_map_has_what_is_grave_first() -> None:
    """Endpoints with interception come first; networks that did not see one have an empty field there."""
    drawn = coverage(
        [
            _cell(None, "a.example"),
            _cell(None, "z.example", intercepted=15, clean=15),
            _cell("1" * 64, "z.example", intercepted=15, clean=0),
        ]
    )
    assert drawn.columns == ("All networks", "Network 11111111")
    assert [row.endpoint for row in drawn.rows] == ["z.example:443", "a.example:443"]
    assert drawn.rows[1].fields[1] is None
    both, one = drawn.rows[0].fields
    assert both is not None
    assert one is not None
    assert [(part.tone, part.size) for part in both.parts] == [("intercepted", 50.0), ("clean", 50.0)]
    assert one.words == {"intercepted": "15 to 19", "uncertain": "fewer than 5", "clean": "fewer than 5"}
