"""Ending tasks, and work in threads that must not block the event loop.

Room: aio. The function that starts a task ends it.
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

THREAD_NAME: Final = "detector-worker"
"""Name of the threads of `WorkerThread`."""


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks that are not done, and wait until they are."""
    unfinished = [task for task in tasks if not task.done()]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished)


async def reap(process: asyncio.subprocess.Process) -> None:
    """Wait until a process that was killed has ended, however often this is cancelled meanwhile.

    A killed process ends within milliseconds. A loop that closes before would leave its pipes open and never ask for
    its exit code. The last cancellation is raised afterwards.
    """
    cancelled: asyncio.CancelledError | None = None
    while process.returncode is None:
        try:
            await process.wait()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


class Group(asyncio.TaskGroup):
    """A TaskGroup that raises the first exception of its tasks itself, not wrapped in an exception group.

    So a function may use tasks, and its callers still catch the exceptions that it documents.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all tasks; the first failure cancels the others."""
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:  # cancellation and Ctrl-C too: one of its members is raised below
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None


class WorkerThread:
    """A thread that runs functions one after the other until the `with` block ends, so that the loop stays responsive.

    For callers with work again and again: a thread per function would cost more than a short function itself. The
    thread starts with the first function; where the system refuses a thread, functions run on the loop. The loop's
    executor will not do: all its threads may be waiting for a resolver that hangs, and deadlines must hold then, too.

    With `never_on_loop`, for functions that may wait for ever, RuntimeError is raised where a thread is refused.
    """

    def __init__(self, *, never_on_loop: bool = False) -> None:
        self._never_on_loop: Final = never_on_loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the thread end after its current function, without waiting for it."""
        self._jobs.put(None)

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function`; returns or raises what it does. Cancelling the caller does not stop it: keep it short."""
        if self._thread is None:
            thread = threading.Thread(target=_run_jobs, args=(self._jobs,), name=THREAD_NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # "can't start new thread"
                if self._never_on_loop:
                    raise
                return function()
            self._thread = thread
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((future, function))
        return await asyncio.wrap_future(future)


_Job = tuple[concurrent.futures.Future[Any], "Callable[[], Any]"]


def _run_jobs(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, function = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised in the caller, which awaits the future
            future.set_exception(error)
        del job, future, function  # the next job may be long in coming, and need not keep these alive until then


async def run_in_thread(function: Callable[[], T]) -> T:
    """Run `function` in a thread of its own; otherwise as `WorkerThread.run`."""
    with WorkerThread() as thread:
        return await thread.run(function)
