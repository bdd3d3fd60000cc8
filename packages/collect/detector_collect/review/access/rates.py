"""Limits how often one person or address may ask.

Room: detector_collect.review.access. Pure: the time is an argument. Each process of the service counts for itself, and
nothing is stored: addresses are forgotten once their bucket is full again.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import datetime as dt

KEYS_MAX: Final = 10_000
"""Buckets kept at once: a few megabytes. Beyond them the one longest unused is dropped: its owner starts over."""


class Answer(enum.Enum):
    """Whether a request may go on. `FIRST_REFUSED` is the refusal that is worth a record."""

    ALLOWED = enum.auto()
    FIRST_REFUSED = enum.auto()
    REFUSED = enum.auto()


class _Bucket(NamedTuple):
    left: float
    at: dt.datetime
    refused: bool


class Limiter:
    """Token buckets by key: `burst` requests at once, `per_minute` of them in the long run."""

    def __init__(self, *, per_minute: float, burst: float) -> None:
        self._per_second: Final = per_minute / 60
        self._burst: Final = burst
        self._buckets: dict[object, _Bucket] = {}

    def take(self, key: object, *, now: dt.datetime) -> Answer:
        """Count a request of `key`."""
        bucket = self._buckets.pop(key, _Bucket(self._burst, now, refused=False))
        left = min(self._burst, bucket.left + max(0.0, (now - bucket.at).total_seconds()) * self._per_second)
        allowed = left >= 1
        self._buckets[key] = _Bucket(left - 1 if allowed else left, now, refused=not allowed)
        if len(self._buckets) > KEYS_MAX:
            del self._buckets[next(iter(self._buckets))]
        if allowed:
            return Answer.ALLOWED
        return Answer.REFUSED if bucket.refused else Answer.FIRST_REFUSED
