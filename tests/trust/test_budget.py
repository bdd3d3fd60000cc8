"""Processor time: what a chain may take of it, what a run may, and who has to bear it."""

from __future__ import annotations

import pytest

from detector.trust.budget import SIGNATURES_MAX, SIGNATURES_ORDINARY, Budget, Share


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.read = 0

    def __call__(self) -> float:
        self.read += 1
        return self.now


def taken(share: Share, clock: Clock, *, each: float, wanted: int) -> int:
    """How many of the wanted signatures are granted, when each takes so many seconds."""
    granted = 0
    for _ in range(wanted):
        if share.grants():
            granted += 1
            clock.now += each
    share.close()
    return granted


def test_without_a_budget_signatures_are_counted() -> None:
    """The number alone bounds a chain then."""
    share = Share(None)
    assert sum(share.grants() for _ in range(200)) == SIGNATURES_MAX
    assert (share.exceeded, share.postponed) == (True, False)


@pytest.mark.parametrize("wanted", [SIGNATURES_ORDINARY, SIGNATURES_MAX])
def test_exactly_as_many_as_there_may_be_exceed_nothing(wanted: int) -> None:
    """A limit is exceeded by the one that is too many."""
    clock = Clock()
    share = Share(Budget(clock))
    assert taken(share, clock, each=0.0, wanted=wanted) == wanted
    assert (share.exceeded, share.postponed) == (False, False)


def test_an_ordinary_chain_costs_nothing_and_is_never_kept_waiting() -> None:
    """However little is left, and without a glance at the clock."""
    clock = Clock()
    budget = Budget(clock, run_seconds=0.0)
    for _ in range(1000):
        share = Share(budget)
        assert taken(share, clock, each=0.5, wanted=SIGNATURES_ORDINARY) == SIGNATURES_ORDINARY
        assert (share.exceeded, share.postponed) == (False, False)
    assert (clock.read, budget.seconds_left) == (0, 0.0)


def test_a_slow_chain_exceeds_its_own_share() -> None:
    """Past the ordinary signatures it has its seconds, and is charged what it took of them."""
    clock = Clock()
    budget = Budget(clock, run_seconds=10.0, chain_seconds=1.0)
    share = Share(budget)
    assert taken(share, clock, each=0.25, wanted=50) == SIGNATURES_ORDINARY + 4
    assert (share.exceeded, share.postponed) == (True, False)
    assert budget.seconds_left == 9.0


def test_what_others_spent_postpones() -> None:
    """When the run's seconds are gone, a chain that wants more than is ordinary is not finished, and not guilty."""
    clock = Clock()
    budget = Budget(clock, run_seconds=2.0, chain_seconds=1.0)
    outcomes = []
    for _ in range(5):
        share = Share(budget)
        granted = taken(share, clock, each=0.25, wanted=50)
        outcomes.append((granted - SIGNATURES_ORDINARY, share.exceeded, share.postponed))
    assert outcomes == [(4, True, False), (4, True, False), (0, False, True), (0, False, True), (0, False, True)]
    assert budget.seconds_left == 0.0


def test_a_chain_may_end_the_run() -> None:
    """Within its own share but past what the run has left: that is the run's end, not the chain's."""
    clock = Clock()
    share = Share(Budget(clock, run_seconds=0.5, chain_seconds=1.0))
    assert taken(share, clock, each=0.25, wanted=50) == SIGNATURES_ORDINARY + 2
    assert (share.exceeded, share.postponed) == (False, True)
