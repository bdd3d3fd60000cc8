"""Turns to connect: never more than so many a second, and one slow destination does not hold up the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from detector.session import stream
from detector.session.stream import RateLimiter


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("detector.session.stream.asyncio.get_running_loop", lambda: clock)
    monkeypatch.setattr("detector.session.stream.asyncio.sleep", clock.sleep)
    return clock


async def test_rate(clock: Clock) -> None:
    """At ten a second the turns lie a tenth of a second apart."""
    limiter = RateLimiter(rate=10)
    for number in range(5):
        await limiter.wait(f"host{number}")
    assert clock.slept == pytest.approx([0.1, 0.2, 0.3, 0.4])


async def test_idle_time_is_not_saved_up(clock: Clock) -> None:
    """After a pause there is one turn at once, not a burst."""
    limiter = RateLimiter(rate=10)
    await limiter.wait("a")
    clock.now = 100.0
    for _ in range(3):
        await limiter.wait("a")
    assert clock.slept == pytest.approx([0.1, 0.2])


async def test_per_destination(clock: Clock) -> None:
    """One host waits for itself, others do not."""
    limiter = RateLimiter(per_destination=2)
    for host in ("a", "a", "b", "a"):
        await limiter.wait(host)
    assert clock.slept == pytest.approx([0.5, 1.0])


async def test_destinations_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of hosts cost no memory: past turns are forgotten."""
    monkeypatch.setattr(stream, "DESTINATIONS_MAX", 10)
    limiter = RateLimiter(per_destination=1)
    for number in range(1000):
        clock.now = float(number)
        await limiter.wait(f"host{number}")
        assert len(limiter._next_of) <= 11


async def test_without_limits_nobody_waits(clock: Clock) -> None:
    """No limit, no waiting."""
    limiter: Any = RateLimiter()
    await asyncio.gather(*(limiter.wait("a") for _ in range(10)))
    assert clock.slept == []
