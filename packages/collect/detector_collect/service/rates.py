"""How fast a key may send: one token bucket per key, in this process.

Room: detector_collect.service. Pure: the time is an argument.

A service of several processes allows each key the rate in every one of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from detector_collect.submissions import Key

SECONDS: Final = 60.0
"""What a rate counts in: submissions per minute. A bucket holds those of one minute, so that an outbox that was offline
sends them at once."""


class _Bucket(NamedTuple):
    tokens: float
    at: float


class Rates:
    """The buckets of all keys. Only keys whose signature was verified have one, so their number is that of the keys."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, key: Key, *, now: float) -> int:
        """Take a token of the key's bucket; the seconds until there is one where there is none, else 0.

        `now` is in seconds of a clock that does not go back.
        """
        bucket = self._buckets.get(key.id, _Bucket(key.rate, now))
        tokens = min(bucket.tokens + (now - bucket.at) * key.rate / SECONDS, key.rate)
        allowed = tokens >= 1.0
        self._buckets[key.id] = _Bucket(tokens - 1.0 if allowed else tokens, now)
        if allowed:
            return 0
        return math.ceil((1.0 - tokens) * SECONDS / key.rate) if key.rate else int(SECONDS)
