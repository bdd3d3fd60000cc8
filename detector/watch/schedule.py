"""When a watch probes which endpoint, and what happened to time and network in between.

Room: watch. Pure: times and randomness are arguments.

The probes of one endpoint are a Poisson process, as RFC 2330 section 11.1.1 recommends for measurements that must be
neither predictable nor synchronized with what they measure: the time to the next probe is independent of the past, so
an observer of our connections never knows when it is safe to decrypt. Intervals are cut at `GAP_MOST_INTERVALS`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping
    from random import Random

INTERVAL_DEFAULT: Final = 60.0
"""Seconds between two probes of one endpoint, on average: an exam of hours is covered closely, and the shipped
endpoints cost less than one connection a second."""
GAP_MOST_INTERVALS: Final = 3.0
"""Longest time between two probes of one endpoint, in intervals. One gap in twenty is cut; the mean is 0.95."""
GAP_LEAST: Final = 30.0
"""Seconds without probes, beyond what was planned, that are reported. A busy machine stalls for a few."""
STEP_LEAST: Final = 60.0
"""Seconds by which the clock must be set to be reported. Certificates are dated with margins of minutes and more; NTP
sets in steps of far less once it runs."""


class Schedule:
    """When each of `count` endpoints is due. Times are seconds of one clock; `random` should not be predictable."""

    def __init__(self, count: int, interval: float, random: Random) -> None:
        self._interval: Final = interval
        self._random: Final = random
        self._due: Final = [math.inf] * count

    def hurry(self, now: float) -> None:
        """Make every endpoint due at this time at the latest."""
        self._due[:] = (min(now, at) for at in self._due)

    def put(self, at: float, which: Iterable[int]) -> None:
        """Make some endpoints due at exactly this time."""
        for index in which:
            self._due[index] = at

    def due(self, now: float, busy: Collection[int] = ()) -> list[int]:
        """The endpoints that are due and not `busy`, in random order."""
        found = [index for index, at in enumerate(self._due) if at <= now and index not in busy]
        self._random.shuffle(found)
        return found

    def begun(self, index: int, now: float) -> None:
        """Draw the time of an endpoint's next probe, because this one begins."""
        gap = self._random.expovariate(1.0 / self._interval)
        self._due[index] = now + min(gap, GAP_MOST_INTERVALS * self._interval)

    def next(self, busy: Collection[int] = ()) -> float:
        """When the next endpoint that is not `busy` is due; infinity when there is none."""
        return min((at for index, at in enumerate(self._due) if index not in busy), default=math.inf)


class Passed(NamedTuple):
    """What happened to time: seconds without probes, seconds by which the clock was set."""

    gap: float | None = None
    step: float | None = None


class ClockPair:
    """Distinguishes sleep from clock steps by two clocks that are read together.

    `wall` is the time in UTC, which can be set; `elapsed` are seconds of a clock that cannot be set and that continues
    during sleep.
    """

    def __init__(self, wall: dt.datetime, elapsed: float) -> None:
        self._wall = wall
        self._elapsed = elapsed

    def read(self, wall: dt.datetime, elapsed: float, planned: float) -> Passed:
        """What happened since the last reading, which was to be at most `planned` seconds ago."""
        passed = elapsed - self._elapsed
        step = (wall - self._wall).total_seconds() - passed
        self._wall, self._elapsed = wall, elapsed
        return Passed(
            gap=passed if passed - planned > GAP_LEAST else None, step=step if abs(step) > STEP_LEAST else None
        )


class LocalNetworks:
    """Remembers this machine's networks by address family, and detects when they change.

    Being without a network for a while, or getting one in another family, is no change of network.
    """

    def __init__(self, networks: Mapping[str, str]) -> None:
        self._networks: Final = dict(networks)
        self._present = frozenset(networks)

    def read(self, networks: Mapping[str, str]) -> tuple[bool, bool]:
        """Whether the network is another one now, and whether one is present again."""
        changed = any(self._networks.get(family, network) != network for family, network in networks.items())
        returned = not self._present.issuperset(networks)
        self._networks.update(networks)
        self._present = frozenset(networks)
        return changed, returned
