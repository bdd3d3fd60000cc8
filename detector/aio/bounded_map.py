"""Bounded concurrent map over an async source; yields results in small batches.

Room: aio. Starts one task per item and ends every one of them before it returns. Knows nothing of endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from .tasks import cancel_and_wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable

Item = TypeVar("Item")
Done = TypeVar("Done")

BATCH_SECONDS: Final = 0.01
"""Seconds within which results are batched and new work is begun together. Doing the same thing several times in a row
is cheaper than interleaving it with others: measured, 0.80 of the CPU of a scan."""
STARTS_MAX: Final = 32
"""Tasks started in one callback of the loop: more would delay the connections that are already open."""


class BoundedMap(Generic[Item, Done]):
    """Awaits `work` for every item of `source`, for at most `limit` items at once.

    An item counts towards the limit from its start until its result is taken by the reader, so a slow reader slows the
    work down. `limit` may be a function when it changes over time. `add` queues items besides those of the source.
    """

    def __init__(
        self,
        source: AsyncIterator[Item],
        work: Callable[[Item], Coroutine[None, None, Done]],
        *,
        limit: int | Callable[[], int],
    ) -> None:
        self._source: Final = source
        self._work: Final = work
        self._limit: Final = limit
        self._added: Final[deque[Item]] = deque()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._done: list[Done] = []
        self._failure: BaseException | None = None
        self._changed: Final = asyncio.Event()
        self._has_room: Final = asyncio.Event()
        self._idle: Final = asyncio.Event()

    def add(self, items: Iterable[Item]) -> None:
        """Queue further items, which take precedence over the source's. For the reader, between two batches."""
        self._added.extend(items)
        self._start_added()

    async def batches(self) -> AsyncGenerator[list[Done], None]:
        """Yield non-empty lists of results in order of completion, each at most `BATCH_SECONDS` after its first result.

        Raises what `source` or `work` raises, after the results that were complete by then. Closing the generator
        cancels all work.
        """
        loop, taken = asyncio.get_running_loop(), -math.inf
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(self._ended)
        try:
            while not reading.done() or self._tasks or self._done:
                await self._changed.wait()
                if (early := taken + BATCH_SECONDS - loop.time()) > 0 and self._failure is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(early):
                            await self._idle.wait()
                self._changed.clear()
                taken = loop.time()
                if done := self._take():
                    yield done
                if self._failure is not None:
                    break
            if self._failure is not None:
                raise self._failure
            await reading  # raises the source's failure where this was resumed before the callback could note it
        finally:
            await cancel_and_wait((reading, *self._tasks))

    @property
    def _is_full(self) -> bool:
        limit = self._limit if isinstance(self._limit, int) else self._limit()
        return len(self._tasks) + len(self._done) >= limit

    async def _read(self) -> None:
        """Start work on the source's items as room allows."""
        started = 0
        while await self._room():
            try:
                item = await anext(self._source)
            except StopAsyncIteration:
                return
            await self._room()  # `add` may have used it meanwhile
            self._start(item)
            started += 1
            if started % STARTS_MAX == 0:
                await asyncio.sleep(0)

    async def _room(self) -> bool:
        while self._is_full:
            self._has_room.clear()
            await self._has_room.wait()
        return True

    def _start(self, item: Item) -> None:
        self._tasks.add(asyncio.create_task(self._run(item)))
        self._idle.clear()

    def _start_added(self) -> None:
        while self._added and not self._is_full:
            self._start(self._added.popleft())

    async def _run(self, item: Item) -> None:
        task, is_done = asyncio.current_task(), False
        assert task is not None  # noqa: S101 - a coroutine runs in a task, which the type of current_task does not say
        try:
            done = await self._work(item)  # `_done` may be another list by then
            self._done.append(done)
            is_done = True
        finally:
            if is_done:  # the usual case, without the cost of a callback
                self._leave(task)
            else:
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Note that reading has ended or work has failed."""
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()  # or asyncio reports it
        if self._failure is None:
            self._failure = failure
        self._leave(task)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        self._changed.set()

    def _take(self) -> list[Done]:
        done, self._done = self._done, []
        self._start_added()
        self._has_room.set()
        return done


async def for_each(
    items: Iterable[Item], work: Callable[[Item], Coroutine[None, None, None]], *, limit: int | Callable[[], int]
) -> None:
    """Await `work` for every item, for at most `limit` at once; otherwise as `BoundedMap`."""

    async def source() -> AsyncGenerator[Item, None]:
        for item in items:
            yield item

    async with contextlib.aclosing(BoundedMap(source(), work, limit=limit).batches()) as batches:
        async for _ in batches:
            continue
