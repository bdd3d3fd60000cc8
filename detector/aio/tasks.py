"""Ending tasks: whoever starts one ends it; and work that must not hold up the loop.

Room: session, at its bottom.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

T = TypeVar("T")

BESIDE: Final = "detector-beside-the-loop"
"""The name of threads that do what must not hold up a loop."""


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it has."""
    unfinished = [task for task in tasks if not task.done()]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished)


class Group(asyncio.TaskGroup):
    """A TaskGroup that raises what a task raised, and no group around it.

    How many tasks something takes is its own business: whoever awaits it catches the exceptions that it documents. Of
    several the first is raised.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all; the first failure ends the others."""
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            raise _first_of(group) from None


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


class Beside:
    """A thread that does one work after the other, so that the loop goes on, until the block ends.

    It is for who has work again and again: a thread of its own for each piece would cost more than a short piece
    itself, and starting one makes the loop wait. The thread is started by the first work; where the system gives none,
    work is done on the loop. Threads of the loop's executor would not do: they may all be waiting for a resolver that
    hangs, and a deadline must hold then, too.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody waits for the thread: it ends once the work that it has is done."""
        self._waiting.put(None)

    async def do(self, work: Callable[[], T]) -> T:
        """Do `work`, and raise what it raises. A cancelled caller does not wait for it: it must be short."""
        if self._thread is None:
            thread = threading.Thread(target=_do_all, args=(self._waiting,), name=BESIDE, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # "can't start new thread"
                return work()
            self._thread = thread
        working: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._waiting.put((working, work))
        return await asyncio.wrap_future(working)


_Work = tuple[concurrent.futures.Future[Any], "Callable[[], Any]"]


def _do_all(waiting: queue.SimpleQueue[_Work | None]) -> None:
    while (given := waiting.get()) is not None:
        working, work = given
        if not working.set_running_or_notify_cancel():
            continue
        try:
            working.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whatever it is: it is raised where the result is waited for
            working.set_exception(error)
        del given, working, work  # what is waited for next may be long in coming, and this need not be kept until then


async def off_loop(work: Callable[[], T]) -> T:
    """Do `work` in a thread that is started for it and ends with it; otherwise as `Beside.do`."""
    with Beside() as beside:
        return await beside.do(work)
