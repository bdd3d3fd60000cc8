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
_PRECISION: Final = 1e-17
"""Share of a sum below which a term changes no float."""


def at_least(hits: int, trials: int, chance: float) -> float:
    """The probability of `hits` or more in independent trials, each with this chance: the tail of the binomial.

    Sums the terms on the side of the mean on which they fall.
    """
    if hits <= 0 or chance >= 1:
        return 1.0
    if chance <= 0:
        return 0.0
    if hits < trials * chance:
        return 1 - at_least(trials - hits + 1, trials, 1 - chance)
    log_choices = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
    term = math.exp(log_choices + hits * math.log(chance) + (trials - hits) * math.log1p(-chance))
    total, number, odds = 0.0, hits, chance / (1 - chance)
    while term > total * _PRECISION:
        total += term
        term *= (trials - number) / (number + 1) * odds
        number += 1
    return total


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
