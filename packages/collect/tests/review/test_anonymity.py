"""Room: tests of detector_collect.review.anonymity."""

from __future__ import annotations

import math

from detector_collect import exact
from detector_collect.responsibility import Assessment, Basis, Conclusion, Share
from detector_collect.review.anonymity import coarse, coarse_assessment
from hypothesis import assume, given
from hypothesis import strategies as st

ERROR = 0.0006


def _assessment(students: int, of: int, *, networks: int = 7) -> Assessment:
    here = Share(students, of, *exact.share_interval(students, of, error=ERROR))
    basis = Basis(
        conclusion=Conclusion.INSTITUTION,
        product=None,
        key="ab" * 32,
        here=here,
        elsewhere=None,
        networks=networks,
        p_value=min(2 * exact.binomial_tail(students, of, 0.5), 1.0),
        alternatives=(),
    )
    return Assessment(institution="north", conclusion=Conclusion.INSTITUTION, students=of, error=ERROR, bases=(basis,))


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_no_number_or_difference_is_about_fewer_than_five(first: int, second: int) -> None:
    """Shown numbers and their differences are multiples of five, and never above the exact number."""
    assert coarse(first) <= first < coarse(first) + 5
    assert (coarse(first) - coarse(second)) % 5 == 0


@given(st.integers(1, 400), st.data())
def test_neighbouring_exact_numbers_are_shown_alike(of: int, data: st.DataObject) -> None:
    """All exact numbers that round to the same ones give the same record: intervals and p-values betray none."""
    students = data.draw(st.integers(0, of))
    other_of = coarse(of) + data.draw(st.integers(0, 4))
    other_students = coarse(students) + data.draw(st.integers(0, 4))
    assume(other_students <= other_of and other_of > 0)
    assert coarse_assessment(_assessment(students, of)) == coarse_assessment(_assessment(other_students, other_of))


@given(st.integers(5, 300), st.data())
def test_shown_intervals_contain_the_exact_ones(of: int, data: st.DataObject) -> None:
    """Rounding makes an interval wider and never claims more than the exact one does."""
    exact_share = _assessment(data.draw(st.integers(0, of)), of)
    shown = coarse_assessment(exact_share).bases[0].here
    assert shown.low <= exact_share.bases[0].here.low
    assert shown.high >= exact_share.bases[0].here.high or math.isclose(shown.high, exact_share.bases[0].here.high)
