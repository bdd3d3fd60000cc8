"""When a watch looks at what, and what happened to time in between.

Room: watching, below session. Pure: times and randomness are arguments.

Looks at one endpoint are a Poisson process, as RFC 2330 section 11.1.1 recommends for measurements that must neither
be anticipated nor fall into step with what they measure: the time to the next look says nothing about the one before,
so whoever sees our connections is never told that there is time to decrypt unseen. Gaps are cut at
`GAP_MOST_INTERVALS`, after which a look comes in any case.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping
    from random import Random

INTERVAL_DEFAULT: Final = 60.0
"""Seconds between two looks at one endpoint, on average: an exam of hours is covered closely, and the shipped endpoints
cost less than one connection a second."""
GAP_MOST_INTERVALS: Final = 3.0
"""Longest time between two looks at one endpoint, in intervals. One gap in twenty is cut; the mean is 0.95."""
GAP_LEAST: Final = 30.0
"""Seconds beyond what was planned from which time without looks is told. A busy machine stalls for a few."""
STEP_LEAST: Final = 60.0
"""Seconds by which the clock must be set before that is told. Certificates are dated with margins of minutes and more;
NTP sets in steps of far less once it runs."""


class Schedule:
    """When each of `count` endpoints is due. Times are seconds of one clock; `chance` should not be predictable."""

    def __init__(self, count: int, interval: float, chance: Random) -> None:
        self._interval: Final = interval
        self._chance: Final = chance
        self._due: Final = [math.inf] * count

    def hurry(self, now: float, which: Iterable[int] | None = None) -> None:
        """Make some endpoints, or all, due at once."""
        for index in range(len(self._due)) if which is None else which:
            self._due[index] = min(now, self._due[index])

    def put(self, at: float, which: Iterable[int]) -> None:
        """Make some endpoints due then, neither sooner nor later."""
        for index in which:
            self._due[index] = at

    def due(self, now: float, busy: Collection[int] = ()) -> list[int]:
        """The endpoints that are due and not `busy`, in random order."""
        found = [index for index, at in enumerate(self._due) if at <= now and index not in busy]
        self._chance.shuffle(found)
        return found

    def begun(self, index: int, now: float) -> None:
        """Take note that an endpoint is being looked at, and draw the time of the next look."""
        gap = self._chance.expovariate(1.0 / self._interval)
        self._due[index] = now + min(gap, GAP_MOST_INTERVALS * self._interval)

    def next(self, busy: Collection[int] = ()) -> float:
        """When the next endpoint that is not `busy` is due; infinity when there is none."""
        return min((at for index, at in enumerate(self._due) if index not in busy), default=math.inf)


class Passed(NamedTuple):
    """What happened to time: seconds in which nothing was looked at, seconds by which the clock was set."""

    gap: float | None = None
    step: float | None = None


class Clocks:
    """Tells sleep from clock steps by two clocks that are read together.

    `wall` is the time in UTC, which can be set; `elapsed` are seconds of a clock that nobody sets and that goes on
    during sleep.
    """

    def __init__(self, wall: dt.datetime, elapsed: float) -> None:
        self._wall = wall
        self._elapsed = elapsed

    def read(self, wall: dt.datetime, elapsed: float, planned: float) -> Passed:
        """What happened since the last reading, between which `planned` seconds were to pass at most."""
        passed = elapsed - self._elapsed
        step = (wall - self._wall).total_seconds() - passed
        self._wall, self._elapsed = wall, elapsed
        return Passed(
            gap=passed if passed - planned > GAP_LEAST else None, step=step if abs(step) > STEP_LEAST else None
        )


class Attachment:
    """Remembers by which networks this machine reaches others, and tells when that changes.

    A network is whatever tells one from another, by address family. Being without one for a while, or getting one in
    another family, is no change of network.
    """

    def __init__(self, networks: Mapping[str, str]) -> None:
        self._networks: Final = dict(networks)
        self._present = frozenset(networks)

    def read(self, networks: Mapping[str, str]) -> tuple[bool, bool]:
        """Whether the network is another one now, and whether one is there again."""
        changed = any(self._networks.get(family, network) != network for family, network in networks.items())
        returned = not self._present.issuperset(networks)
        self._networks.update(networks)
        self._present = frozenset(networks)
        return changed, returned
