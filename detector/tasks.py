"""Ending tasks: whoever starts one ends it; and work that must not hold up the loop.

Room: session, at its bottom.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


async def off_loop(work: Callable[[], T]) -> T:
    """Do `work` in a thread, so that the loop goes on; on the loop where the system gives no thread.

    The thread is its own: those of the loop's executor may all be waiting for a resolver that hangs, and a deadline
    must hold then, too. Raises what `work` raises. A cancelled caller does not wait for it: what it does must be short
    and change nothing.
    """
    working: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        if not working.set_running_or_notify_cancel():
            return
        try:
            working.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whatever it is: it is raised where the result is waited for
            working.set_exception(error)

    try:
        threading.Thread(target=run, name=BESIDE, daemon=True).start()
    except RuntimeError:  # "can't start new thread"
        return work()
    return await asyncio.wrap_future(working)
