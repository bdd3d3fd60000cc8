"""Shares of a few: exact confidence intervals, and how likely chance alone gives so many.

Room: origin. Pure. Own code because the binomial tail is all that is needed, and the libraries that have it are larger
than this package.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIDENCE: Final = 0.95
"""Coverage of an interval, which tables of both sides use by convention."""
_STEPS: Final = 60
"""Halvings of the unit interval: more than the 53 bits of a float distinguish nothing."""
_TERMS_MAX: Final = 10_000
"""Terms of the continued fraction; it needs about the square root of the number of trials, so this is for 10**7."""
_TINY: Final = 1e-300
_PRECISION: Final = 1e-15


def at_least(hits: int, trials: int, chance: float) -> float:
    """The probability of `hits` or more in independent trials, each with this chance.

    This is the regularized incomplete beta function I_p(k, n - k + 1) (DLMF 8.17.5).
    """
    return 1.0 if hits <= 0 else _beta(chance, hits, trials - hits + 1)


def interval(hits: int, trials: int) -> tuple[float, float]:
    """The exact confidence interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    alpha = (1 - CONFIDENCE) / 2
    lowest = 0.0 if hits == 0 else _solve(lambda share: at_least(hits, trials, share) - alpha)
    highest = 1.0 if hits == trials else _solve(lambda share: at_least(hits + 1, trials, share) - (1 - alpha))
    return lowest, highest


def _solve(rising: Callable[[float], float]) -> float:
    """The share at which a function that rises with it is zero."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _beta(x: float, a: int, b: int) -> float:
    """I_x(a, b) by its continued fraction, on the side of the mean on which that converges fast (DLMF 8.17.22)."""
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    log_factor = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_factor) / (a * _fraction(x, a, b))


def _fraction(x: float, a: int, b: int) -> float:
    """The continued fraction by the modified method of Lentz (Thompson and Barnett 1986)."""
    value, upper, lower = 1.0, 1.0, 0.0
    for number in range(1, _TERMS_MAX):
        m = number // 2
        if number % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / ((1 + term * lower) or _TINY)
        upper = (1 + term / upper) or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < _PRECISION:
            break
    return value
