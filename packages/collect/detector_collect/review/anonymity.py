"""Numbers of persons as they may be shown: no number, and no difference of two, is about fewer than five.

Room: detector_collect.review. Pure.

Suppressing small cells is not enough: a total less the other cells is the suppressed one, and an exam, a week and a
network count the same persons in forms that no table of one page knows of. So every number of persons is rounded
down to a multiple of five, whatever it is subtracted from: a difference of two then says nothing nearer than five
persons. What is computed from an exact number (an interval, a p-value) would give it back, and is computed from
the rounded ones or replaced by its limit.
"""

from __future__ import annotations

import functools
from typing import Final

import msgspec

from detector_collect import exact
from detector_collect.responsibility import STUDENTS_LEAST, Assessment, Basis, Share

BASES_MAX: Final = 50
"""Bases that are shown of one assessment, the gravest first. Of those that are nobody's fault there can be hundreds."""


def coarse(number: int) -> int:
    """Round a number of persons down to a multiple of `STUDENTS_LEAST`: 0 stands for fewer than five."""
    return number - number % STUDENTS_LEAST


def coarse_assessment(assessment: Assessment) -> Assessment:
    """What may be shown of an assessment: no exact number of persons can be calculated from it.

    Intervals are the widest of all numbers that round to the ones shown. A p-value becomes the limit that it passed.
    """
    return msgspec.structs.replace(
        assessment,
        students=coarse(assessment.students),
        bases=tuple(_basis(basis, assessment.error) for basis in assessment.bases[:BASES_MAX]),
    )


def _basis(basis: Basis, error: float) -> Basis:
    return msgspec.structs.replace(
        basis,
        here=_share(basis.here, error),
        elsewhere=None if basis.elsewhere is None else _share(basis.elsewhere, error),
        networks=basis.networks if basis.networks < STUDENTS_LEAST else coarse(basis.networks),
        p_value=None if basis.p_value is None else error,
    )


def _share(share: Share, error: float) -> Share:
    return _interval(coarse(share.students), coarse(share.of), error)


@functools.lru_cache(maxsize=4096)  # each takes a millisecond, and pages repeat the same ones
def _interval(students: int, of: int, error: float) -> Share:
    if of == 0:
        return Share(0, 0, 0.0, 1.0)
    rest = STUDENTS_LEAST - 1
    low, _ = exact.share_interval(students, of + rest, error=error)
    _, high = exact.share_interval(min(students + rest, of), of, error=error)
    return Share(students, of, low, high)
