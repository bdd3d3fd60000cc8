"""When the next connection may be made: so many a second in all, and to one destination.

Room: scan. Waits on the running event loop's clock; opens nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

DESTINATIONS_KEPT: Final = 65536
"""Destinations whose next turn is remembered. Those whose turn has passed are forgotten first; only a scan that has
this many waiting at once would forget one early, and then asks it sooner than it should."""


class Pace:
    """Gives turns. `rate` and `per_destination` are connections a second; None does not limit."""

    def __init__(self, *, rate: float | None = None, per_destination: float | None = None) -> None:
        self._gap = 0.0 if rate is None else 1 / rate
        self._destination_gap = 0.0 if per_destination is None else 1 / per_destination
        self._next = 0.0
        self._next_of: dict[str, float] = {}

    async def turn(self, destination: str) -> None:
        """Wait for the next turn to connect to `destination`. Turns are given in the order they are asked for."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        when = now
        if self._destination_gap:
            when = max(when, self._next_of.pop(destination, 0.0))
            self._next_of[destination] = when + self._destination_gap
            if len(self._next_of) > DESTINATIONS_KEPT:
                self._forget(now)
        if self._gap:
            # A destination that has to wait does not hold up the others: it takes its turn in the common queue, and
            # waits for its own time besides.
            mine = max(now, self._next)
            self._next = mine + self._gap
            when = max(when, mine)
        if when > now:
            await asyncio.sleep(when - now)

    def _forget(self, now: float) -> None:
        self._next_of = {key: when for key, when in self._next_of.items() if when > now}
        while len(self._next_of) > DESTINATIONS_KEPT:
            self._next_of.pop(next(iter(self._next_of)))
