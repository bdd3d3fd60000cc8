"""Turns: how many gates of one process probe at a time, so that too many at once do not all miss their deadlines.

Room: exam. Waits; the clock is the event loop's.

A process that serves a whole hall is limited by its processor: 500 gates that share it finish none of their probes in
three seconds, 64 finish all of theirs in one. The others wait. One whose turn would come too late fails at once where
earlier gates show how long a turn takes, else as soon as that is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Final

from detector.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GATES_MAX: Final = 64
"""Gates that probe at a time. With one endpoint each takes 13 ms of processor time, so that a turn takes a second."""

RECENT: Final = 0.2
"""Weight of the latest turn in the running average of their durations."""


class Turns:
    """The turns of one event loop."""

    def __init__(self, most: int = GATES_MAX) -> None:
        self._most: Final = most
        self._places: Final = asyncio.Semaphore(most)
        self._waiting = 0
        self.seconds = 0.0

    @contextlib.asynccontextmanager
    async def take(self, until: float) -> AsyncIterator[None]:
        """Wait for a turn that can end before loop time `until`. Raises `BusyError` where there is none."""
        loop = asyncio.get_running_loop()
        if self._places.locked():
            rounds = (self._waiting + 1) / self._most
            if loop.time() + (rounds + 1) * self.seconds > until:
                raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until - self.seconds):
                await self._places.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1
        begun = loop.time()
        try:
            yield
        finally:
            self._places.release()
            taken = loop.time() - begun
            self.seconds += RECENT * (taken - self.seconds)

    def _busy(self) -> BusyError:
        return BusyError(
            f"{self._most} gates run in this process and others wait: this one cannot be in time.",
            advice="Try again, allow a longer deadline, or spread the gates over more processes.",
        )


_BY_LOOP: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turns]] = weakref.WeakKeyDictionary()


def turns() -> Turns:
    """The turns of the running event loop."""
    return _BY_LOOP.setdefault(asyncio.get_running_loop(), Turns())
