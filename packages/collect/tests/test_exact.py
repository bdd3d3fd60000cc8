"""The statistics are exact: held against enumeration, against published values, and against what they promise.

Room: tests. Pure.
"""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from detector_collect import exact
from hypothesis import given
from hypothesis import strategies as st

COUNTS = st.integers(0, 40).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))
"""A count, and of how many."""


def tail(count: int, of: int, share: Fraction) -> Fraction:
    """The binomial tail, by enumeration with exact fractions."""
    return sum(
        (math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(max(count, 0), of + 1)), Fraction(0)
    )


@given(COUNTS, st.fractions(0, 1, max_denominator=1000))
def test_the_tail_is_that_of_enumeration(counts: tuple[int, int], share: Fraction) -> None:
    """Every term of the binomial distribution is counted once."""
    count, of = counts
    assert exact.binomial_tail(count, of, float(share)) == pytest.approx(float(tail(count, of, share)), abs=1e-12)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (5, 20, 0.0866, 0.4910), (10, 10, 0.6915, 1.0), (1, 1000, 0.0000253, 0.0055589)],
)
def test_published_intervals(count: int, of: int, low: float, high: float) -> None:
    """Intervals of 95 % as tables of Clopper and Pearson have them."""
    assert exact.share_interval(count, of, error=0.05) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("of", [1, 2, 7, 12, 25])
def test_the_interval_misses_no_more_than_it_says(of: int) -> None:
    """For every true share, the counts whose interval misses it are together no more probable than the error."""
    intervals = [exact.share_interval(count, of, error=0.1) for count in range(of + 1)]
    for hundredths in range(1, 100):
        share = Fraction(hundredths, 100)
        missed = sum(
            (
                math.comb(of, count) * share**count * (1 - share) ** (of - count)
                for count, (low, high) in enumerate(intervals)
                if not low <= share <= high
            ),
            Fraction(0),
        )
        assert missed <= Fraction(1, 10)


@pytest.mark.parametrize(("count", "of", "error"), [(3, 2, 0.1), (-1, 2, 0.1), (0, 0, 0.1), (1, 2, 0.0), (1, 2, 1.0)])
def test_an_interval_of_nothing(count: int, of: int, error: float) -> None:
    """Counts and errors that make no sense are refused."""
    with pytest.raises(ValueError, match=f"{count} of {of}"):
        exact.share_interval(count, of, error=error)


@given(COUNTS, COUNTS)
def test_equal_odds_are_fishers_test(here: tuple[int, int], elsewhere: tuple[int, int]) -> None:
    """With equal odds the p-value is the tail of the hypergeometric distribution, by enumeration."""
    (hit, of), (hit_elsewhere, of_elsewhere) = here, elsewhere
    total = hit + hit_elsewhere
    pairs = sum(math.comb(of, k) * math.comb(of_elsewhere, total - k) for k in range(hit, min(of, total) + 1))
    assert exact.excess(here, elsewhere, odds=1) == pytest.approx(pairs / math.comb(of + of_elsewhere, total))


@given(COUNTS, COUNTS, st.floats(1, 10), st.floats(1, 10))
def test_larger_odds_are_harder_to_exceed(
    here: tuple[int, int], elsewhere: tuple[int, int], odds: float, factor: float
) -> None:
    """The p-value grows with the factor that places may differ by."""
    smaller, larger = (exact.excess(here, elsewhere, odds=each) for each in (odds, odds * factor))
    assert smaller <= larger + 1e-12


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_the_test_keeps_its_error(share: float) -> None:
    """Two groups at exactly the odds allowed: all results with a p-value up to 5 % are together at most as probable."""
    of, of_elsewhere, odds = 15, 25, 3.0
    here_share = odds * share / (1 - share + odds * share)

    def mass(count: int, n: int, p: float) -> float:
        return math.comb(n, count) * p**count * (1 - p) ** (n - count)

    rejected = sum(
        mass(hit, of, here_share) * mass(other, of_elsewhere, share)
        for hit in range(of + 1)
        for other in range(of_elsewhere + 1)
        if exact.excess((hit, of), (other, of_elsewhere), odds=odds) <= 0.05
    )
    assert rejected <= 0.05


def test_adjusted_for_their_number() -> None:
    """Holm's own rule: the smallest times their number, the next times one less, and never falling."""
    assert exact.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert exact.holm([]) == ()
    assert exact.holm([0.9, 0.8]) == pytest.approx((1.0, 1.0))


def test_the_error_is_spent_once() -> None:
    """A hundred thousand assessments spend nearly all of it, and never more."""
    total = math.fsum(exact.spent(0.01, number) for number in range(1, 100_001))
    assert 0.00999 < total < 0.01
    with pytest.raises(ValueError, match="from 1, not 0"):
        exact.spent(0.01, 0)
