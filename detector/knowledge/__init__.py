"""What a judgement rests on besides the evidence, and how old it is.

Room: knowledge, between what loads each part (`trust.roots`, `trust.logs`, `catalogue`) and those that judge with it or
report on it. Pure: the day is an argument.
"""

from .age import HORIZONS, describe, of_roots, used, warning

__all__ = ["HORIZONS", "describe", "of_roots", "used", "warning"]
