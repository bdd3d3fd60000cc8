"""When probes come, and what two clocks say: statistics with fixed seeds, and properties over all seeds."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
import statistics
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.probe.routes import local_networks
from detector.watch.runner import elapsed_seconds
from detector.watch.schedule import (
    GAP_LEAST,
    GAP_MOST_INTERVALS,
    STEP_LEAST,
    ClockPair,
    LocalNetworks,
    Passed,
    Schedule,
)

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
INTERVAL = 60.0


def run(count: int, hours: float, seed: int) -> list[tuple[float, int]]:
    """Every probe of a watch that takes no time: (when, at which endpoint), in order."""
    schedule = Schedule(count, INTERVAL, random.Random(seed))  # noqa: S311 - a test repeats itself
    schedule.hurry(0.0)
    probes = []
    now = 0.0
    while now < hours * 3600:
        for index in schedule.due(now):
            schedule.begun(index, now)
            probes.append((now, index))
        now = schedule.next()
    return probes


def gaps_of(probes: list[tuple[float, int]]) -> list[float]:
    """Times between two probes of the same endpoint."""
    last: dict[int, float] = {}
    gaps = []
    for at, index in probes:
        if index in last:
            gaps.append(at - last[index])
        last[index] = at
    return gaps


@given(seed=st.integers(), count=st.integers(1, 12))
def test_no_endpoint_is_forgotten_or_hammered(seed: int, count: int) -> None:
    """Whatever chance does: no gap is longer than three intervals, and probes come about once per interval."""
    probes = run(count, 2, seed)
    gaps = gaps_of(probes)
    assert max(gaps) <= GAP_MOST_INTERVALS * INTERVAL + 1e-6
    assert len(probes) < count * 120 * 1.6
    assert {index for at, index in probes if at == 0.0} == set(range(count))


def test_gaps_are_memoryless() -> None:
    """The time to the next probe is exponential below the cut, so having waited says nothing about what comes."""
    gaps = gaps_of(run(20, 24, seed=7))
    assert len(gaps) > 25_000
    assert statistics.fmean(gaps) / INTERVAL == pytest.approx(1 - math.exp(-GAP_MOST_INTERVALS), rel=0.02)
    for waited in (0.0, 0.5, 1.0, 2.0):  # of those that waited so long, as many are over half an interval later
        waiting = [gap for gap in gaps if gap > waited * INTERVAL]
        soon = sum(gap <= (waited + 0.5) * INTERVAL for gap in waiting) / len(waiting)
        assert soon == pytest.approx(1 - math.exp(-0.5), abs=0.02)


def test_gaps_do_not_depend_on_each_other() -> None:
    """A long gap is followed by a long one no more often than chance has it."""
    by_endpoint = defaultdict(list)
    last: dict[int, float] = {}
    for at, index in run(10, 24, seed=11):
        by_endpoint[index].append(at - last.get(index, at))
        last[index] = at
    pairs = [pair for gaps in by_endpoint.values() for pair in itertools.pairwise(gaps[1:])]
    first, second = zip(*pairs, strict=True)
    assert abs(statistics.correlation(first, second)) < 0.02


def test_order_is_random() -> None:
    """After one endpoint any other may be next, each as often; the first round is in random order as well."""
    follows: dict[tuple[int, int], int] = defaultdict(int)
    probes = run(4, 24, seed=3)
    for (_, before), (_, after) in itertools.pairwise(probes):
        follows[before, after] += 1
    assert len(follows) == 16
    expected = len(probes) / 16
    assert all(0.8 * expected < times < 1.2 * expected for times in follows.values())
    firsts = {tuple(index for at, index in run(4, 0.001, seed) if at == 0.0) for seed in range(200)}
    assert len(firsts) == math.factorial(4)


def test_probes_are_spread_over_the_interval() -> None:
    """No second of the minute is busier than chance has it: probes do not fall into step."""
    counted = [0] * 12
    probes = [at for at, _ in run(20, 24, seed=5) if at > 0]
    for at in probes:
        counted[int(at % INTERVAL / 5)] += 1
    assert all(0.9 < times / (len(probes) / 12) < 1.1 for times in counted)


def test_hurry_and_busy() -> None:
    """What is hurried is due at once and never later than it was; what is being probed waits its turn."""
    schedule = Schedule(3, INTERVAL, random.Random(1))  # noqa: S311 - a test repeats itself
    assert schedule.due(math.inf) == schedule.due(math.inf) or schedule.next() == math.inf
    schedule.hurry(10.0)
    schedule.hurry(20.0)
    assert sorted(schedule.due(10.0)) == [0, 1, 2]
    assert sorted(schedule.due(10.0, busy={1})) == [0, 2]
    for index in range(3):
        schedule.begun(index, 10.0)
    assert schedule.due(10.0) == []
    schedule.put(11.0, [2])
    assert schedule.due(11.0) == [2]
    assert schedule.next() == 11.0
    assert schedule.next(busy={0, 1, 2}) == math.inf


@given(
    slept=st.floats(0, 1e6),
    set_by=st.floats(-1e6, 1e6),
    planned=st.floats(0, 10),
    ran=st.floats(0, 1),
)
def test_sleep_and_clock_steps_are_distinguished(slept: float, set_by: float, planned: float, ran: float) -> None:
    """Sleep moves both clocks, setting moves one; both at once are both reported."""
    clocks = ClockPair(NOON, 100.0)
    passed = planned * ran + slept
    reported = clocks.read(NOON + dt.timedelta(seconds=passed + set_by), 100.0 + passed, planned)
    assert reported.gap is None or reported.gap == pytest.approx(passed)
    assert (reported.gap is not None) == (passed - planned > GAP_LEAST) or abs(passed - planned - GAP_LEAST) < 1e-3
    assert (reported.step is not None) == (abs(set_by) > STEP_LEAST) or abs(abs(set_by) - STEP_LEAST) < 1e-3
    later = NOON + dt.timedelta(seconds=passed + set_by + 1)
    assert clocks.read(later, 101.0 + passed, 5.0) == Passed()


def test_attachment() -> None:
    """Another network is a change; none for a while, or one more family, is not; coming back is told apart."""
    attachment = LocalNetworks({"ipv4": "192.0.2.17"})
    assert attachment.read({"ipv4": "192.0.2.17"}) == (False, False)
    assert attachment.read({}) == (False, False)
    assert attachment.read({"ipv4": "192.0.2.17"}) == (False, True)
    assert attachment.read({"ipv4": "192.0.2.17", "ipv6": "2001:db8::/64"}) == (False, True)
    assert attachment.read({"ipv4": "198.51.100.4", "ipv6": "2001:db8::/64"}) == (True, False)
    assert attachment.read({}) == (False, False)
    assert attachment.read({"ipv4": "192.0.2.17"}) == (True, True)


def test_this_machine_can_be_asked() -> None:
    """The real seams: networks are the same twice in a row, and the sleepless clock goes forward."""
    assert local_networks() == local_networks()
    assert set(local_networks()) <= {"ipv4", "ipv6"}
    before = elapsed_seconds()
    assert elapsed_seconds() >= before
