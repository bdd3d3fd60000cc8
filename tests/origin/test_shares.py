"""Exact intervals and binomial tails, against exact fractions and published tables."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.origin.shares import at_least, interval


@given(st.integers(0, 400), st.data(), st.floats(0.0005, 0.9995))
def test_the_tail_is_exact(trials: int, data: st.DataObject, chance: float) -> None:
    """The probability of so many or more is that of adding up the binomial distribution in fractions."""
    hits = data.draw(st.integers(0, trials))
    p = Fraction(chance)
    exact = sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits, trials + 1))
    assert at_least(hits, trials, chance) == pytest.approx(float(exact), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [  # Documenta Geigy, Scientific Tables, 7th edition: confidence limits of the binomial distribution, 95 %
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (1, 20, 0.0013, 0.2487),
        (15, 20, 0.5090, 0.9134),
        (2, 50, 0.0049, 0.1371),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_the_interval_is_that_of_the_tables(hits: int, trials: int, low: float, high: float) -> None:
    """The limits agree with published tables to their four digits."""
    assert interval(hits, trials) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 100_000), st.data())
def test_an_interval_holds_its_share(trials: int, data: st.DataObject) -> None:
    """The share itself lies inside, whatever the numbers."""
    hits = data.draw(st.integers(0, trials))
    low, high = interval(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1
