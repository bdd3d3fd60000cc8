"""Work on any number of things, several at once, and what is done within a moment given together.

Room: session. Starts tasks and ends every one of them before it returns. Knows nothing of endpoints.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from .tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

Thing = TypeVar("Thing")
Done = TypeVar("Done")

TOGETHER: Final = 0.01
"""Seconds within which what is done is given together, and new work begun together. Doing the same several times in a
row is cheaper than in between other things. Measured: 0.80 of the CPU of a scan."""


async def batches(
    things: AsyncIterator[Thing], work: Callable[[Thing], Awaitable[Done]], *, most: int
) -> AsyncGenerator[list[Done], None]:
    """Await `work` of all `things`, of at most `most` at once, and give what is done as it comes, in lists.

    No list is empty, and nothing waits for longer than `TOGETHER` but for the reader. What waits for the next list
    counts among the `most`, what was given does not. A source that takes its time holds up no result. Raises what
    `things` or `work` raises, and then nothing more is given. Closing it ends all work.
    """
    crew = _Crew(things, work, most)
    loop, taken = asyncio.get_running_loop(), -math.inf
    try:
        crew.hire()
        while True:
            await crew.news.wait()
            if (early := taken + TOGETHER - loop.time()) > 0 and crew.at_work:
                await asyncio.sleep(early)
            if crew.failure is not None:
                raise crew.failure
            taken = loop.time()
            if done := crew.take():
                yield done
            elif not crew.workers:
                return
    finally:
        await end(crew.workers)


class _Crew(Generic[Thing, Done]):
    """The workers of one call. There is at most one more of them than there are things."""

    def __init__(self, things: AsyncIterator[Thing], work: Callable[[Thing], Awaitable[Done]], most: int) -> None:
        self._things = things
        self._work = work
        self._most = most
        self._reading = asyncio.Lock()
        self._exhausted = False
        self._done: list[Done] = []
        self._taken = asyncio.Event()
        self.workers: set[asyncio.Task[None]] = set()
        self.at_work = 0
        self.failure: BaseException | None = None
        self.news = asyncio.Event()
        """Set when something is done, and when there is nothing left to wait for."""

    def hire(self) -> None:
        """One worker more."""
        worker = asyncio.create_task(self._go_on())
        self.workers.add(worker)
        worker.add_done_callback(self._left)

    def take(self) -> list[Done]:
        """What was done since the last time; who did it goes on."""
        done, self._done = self._done, []
        taken, self._taken = self._taken, asyncio.Event()
        taken.set()
        if self.workers:
            self.news.clear()
        return done

    def _left(self, worker: asyncio.Task[None]) -> None:
        self.workers.discard(worker)
        if self.failure is None:
            self.failure = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        if self.failure is not None or not self.workers:
            self.news.set()

    async def _go_on(self) -> None:
        """Take things until there are none."""
        while not self._exhausted:
            async with self._reading:
                try:
                    thing = await anext(self._things)
                except StopAsyncIteration:
                    self._exhausted = True
                    return
            if len(self.workers) < self._most:
                self.hire()
            self.at_work += 1
            done = await self._work(thing)
            self.at_work -= 1
            self._done.append(done)
            self.news.set()
            await self._taken.wait()
