"""The overview: sorting, filters and pages.

Room: tests. In memory.
"""

from __future__ import annotations

import pytest
from detector_collect.responsibility import Conclusion
from detector_collect.review.pages.overview import ORDERS, ROWS, listed
from detector_collect.review.queries import Change, Institution


def _row(number: int, **more: object) -> Institution:
    fields: dict[str, object] = {
        "id": f"i{number}",
        "title": f"University {number:03}",
        "conclusion": Conclusion.SINGLE_DEVICES,
        "previous": None,
        "students": 30,
        "intercepted": 0,
        "open_cases": 0,
        "last_visit": None,
        "changes": (),
    }
    return Institution(**(fields | more))  # type: ignore[arg-type] # fields by name


def _ids(shown: dict[str, object]) -> list[str]:
    return [row.id for row, _, _ in shown["rows"]]  # type: ignore[attr-defined] # rows of the template


def test_the_gravest_is_first() -> None:
    """By default the gravest conclusion leads, and what was not assessed comes last."""
    rows = [
        _row(at, conclusion=one) for at, one in enumerate((None, Conclusion.SINGLE_DEVICES, Conclusion.INSTITUTION))
    ]
    assert _ids(listed(rows, {})) == ["i2", "i1", "i0"]


@pytest.mark.parametrize(
    ("sort", "first"), [("title", "i0"), ("cases", "i3"), ("changes", "i2"), ("conclusion", "i1"), ("'; --", "i1")]
)
def test_orders(sort: str, first: str) -> None:
    """Each order has another row first; an unknown one is that of conclusions."""
    rows = [
        _row(3, open_cases=2),
        _row(2, changes=(Change.ANSWER,)),
        _row(1, conclusion=Conclusion.INSTITUTION),
        _row(0),
    ]
    assert _ids(listed(rows, {"sort": sort}))[0] == first
    assert set(ORDERS) == {"title", "cases", "changes", "conclusion"}


@pytest.mark.parametrize(
    ("show", "expected"),
    [("all", 3), ("changed", 1), ("open", 1), ("institution", 1), ("one-network", 0), ("<script>", 3)],
)
def test_filters(show: str, expected: int) -> None:
    """By change, open case and conclusion; an unknown filter shows all."""
    rows = [_row(0, conclusion=Conclusion.INSTITUTION), _row(1, changes=(Change.CASE,)), _row(2, open_cases=1)]
    shown = listed(rows, {"show": show})
    assert shown["total"] == expected
    assert shown["show"] in {show, "all"}


@pytest.mark.parametrize(
    ("page", "number"), [("1", 1), ("3", 3), ("99", 3), ("0", 1), ("-1", 1), ("\u0661", 1), ("9" * 50, 1)]
)
def test_pages(page: str, number: int) -> None:
    """Every row is on one page; a page that does not exist is the last or the first one."""
    rows = [_row(at) for at in range(2 * ROWS + 1)]
    assert listed(rows, {"page": page})["number"] == number
    seen = [name for at in (1, 2, 3) for name in _ids(listed(rows, {"page": str(at)}))]
    assert sorted(seen) == sorted(row.id for row in rows)


def test_changes_are_in_words() -> None:
    """A changed conclusion says what it was."""
    row = _row(0, conclusion=Conclusion.INSTITUTION, previous=Conclusion.ONE_NETWORK, changes=tuple(Change))
    ((_, words, changes),) = listed([row], {})["rows"]
    assert words.short == "very probably the institution"
    assert changes == ["was: one network, not known whose", "a new entry in a case", "an answer of the institution"]
