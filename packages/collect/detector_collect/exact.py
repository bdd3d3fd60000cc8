"""Exact tests and intervals for small counts: nothing here is an approximation that needs many students.

Room: detector_collect. Pure arithmetic on the standard library; SciPy has the same and costs a hundred megabytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BISECTIONS: Final = 60
"""Halvings of the unit interval: 2**-60 is below what a float of that size can tell apart."""


_NEGLIGIBLE: Final = 1e-17
"""Of a sum, what a float cannot add to it any more."""


class Interval(NamedTuple):
    """The lower and upper limit of a share."""

    low: float
    high: float


def share_interval(count: int, of: int, *, error: float) -> Interval:
    """The exact interval of Clopper and Pearson (Biometrika 26, 1934) that misses the true share with at most `error`.

    `count` of `of` were seen, 0 <= `count` <= `of`; both sides miss with half of `error`. Raises `ValueError` for
    counts or an error outside those limits.
    """
    if not (0 <= count <= of and of > 0 and 0 < error < 1):
        raise ValueError(f"no interval for {count} of {of} with an error of {error}")
    half = error / 2
    low = 0.0 if count == 0 else _root(lambda share: binomial_tail(count, of, share) - half)
    high = 1.0 if count == of else _root(lambda share: binomial_tail(count + 1, of, share) - (1 - half))
    return Interval(low, high)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def binomial_tail(count: int, of: int, share: float) -> float:
    """The probability that at least `count` of `of` independent ones are hit, each with probability `share`."""
    if count <= 0 or share >= 1:
        return 1.0
    if share <= 0 or count > of:
        return 0.0
    if count <= of * share:  # the other tail has fewer and smaller terms
        return 1.0 - binomial_tail(of - count + 1, of, 1.0 - share)
    term = math.exp(log_choose(of, count) + count * math.log(share) + (of - count) * math.log1p(-share))
    total, odds = 0.0, share / (1.0 - share)
    for k in range(count, of + 1):
        total += term
        term *= (of - k) / (k + 1) * odds
        if term < total * _NEGLIGIBLE:  # terms above the mean fall ever faster
            break
    return min(total, 1.0)


def excess(here: tuple[int, int], elsewhere: tuple[int, int], *, odds: float) -> float:
    """The p-value of "the odds here are at most `odds` times those elsewhere", by Fisher's conditional exact test.

    Both arguments are (hit, of). Given the number hit in both, the number hit here has Fisher's noncentral
    hypergeometric distribution; the p-value is the probability of at least as many (Agresti, Statistical Science 7,
    1992). It holds for any common share, however small. 1 where a group is empty.
    """
    (hit, of), (hit_elsewhere, of_elsewhere) = here, elsewhere
    total = hit + hit_elsewhere
    least, most = max(0, total - of_elsewhere), min(of, total)
    if least == most:
        return 1.0
    log_odds = math.log(odds)
    weights = [log_choose(of, k) + log_choose(of_elsewhere, total - k) + k * log_odds for k in range(least, most + 1)]
    largest = max(weights)
    scaled = [math.exp(weight - largest) for weight in weights]
    return min(math.fsum(scaled[hit - least :]) / math.fsum(scaled), 1.0)


def log_choose(of: int, count: int) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979), in the same order.

    Rejecting those at or below alpha rejects any true hypothesis with a probability of at most alpha, however the tests
    depend on each other.
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min((len(p_values) - rank) * p_values[at], 1.0))
        adjusted[at] = running
    return tuple(adjusted)


def spent(alpha: float, number: int) -> float:
    """The part of `alpha` that the assessment number `number` (from 1) may spend: alpha * 6 / (pi * number)**2.

    The parts of all assessments, however many follow, add up to alpha (Euler's sum of 1 / n**2).
    """
    if number < 1:
        raise ValueError(f"assessments are counted from 1, not {number}")
    return alpha * 6 / (math.pi * number) ** 2
