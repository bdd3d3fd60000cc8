"""Many gates in one process: they take turns, and one that cannot be in time says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_origin

from detector import Detector, exam
from detector.errors import BusyError
from detector.exam.turns import Turns
from detector.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import PrivatePKI

LATER = 3600.0


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_no_more_than_may_run_at_a_time() -> None:
    """Everyone gets a turn, a few at a time."""
    turns, running, most = Turns(3), 0, 0

    async def work() -> None:
        nonlocal running, most
        async with turns.take(in_seconds(LATER)):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert (running, most) == (0, 3)


async def test_too_late_for_a_turn() -> None:
    """Without experience a gate waits as long as its deadline allows, and fails then."""
    turns = Turns(1)
    async with turns.take(in_seconds(LATER)):
        with pytest.raises(BusyError, match="cannot be in time"):
            async with turns.take(in_seconds(0.01)):
                raise AssertionError
    async with turns.take(in_seconds(LATER)):
        pass


async def test_known_to_be_too_late() -> None:
    """With turns of a minute behind it, a process does not let a gate of three seconds wait; a free place is taken."""
    turns = Turns(1)
    turns.seconds = 60.0
    async with turns.take(in_seconds(LATER)):
        task = asyncio.ensure_future(turns.take(in_seconds(3.0)).__aenter__())
        await asyncio.sleep(0)
        assert isinstance(task.exception(), BusyError)


async def test_a_failure_gives_the_place_back() -> None:
    """A gate that fails or is cancelled leaves nothing behind."""
    turns = Turns(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"):
            async with turns.take(in_seconds(LATER)):
                raise ValueError("x")
    async with turns.take(in_seconds(LATER)):
        waiting = asyncio.ensure_future(turns.take(in_seconds(LATER)).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
    async with turns.take(in_seconds(LATER)):
        pass


async def test_two_hundred_gates(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """Each is decided in its turn."""
    async with serve_origin(pki.issue(["exam.example.edu"])) as origin:
        endpoint = Endpoint(host="exam.example.edu", address=origin.address)
        detector = Detector(**settings_of(endpoint))
        decisions = await asyncio.gather(*(exam.gate(detector=detector, deadline=60) for _ in range(200)))
    assert {decision.action for decision in decisions} == {"allow"}
