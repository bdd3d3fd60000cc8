"""Ending tasks: whoever starts one ends it.

Room: session, at its bottom.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it has."""
    unfinished = [task for task in tasks if not task.done()]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished)


async def off_loop(work: Callable[[], T]) -> T:
    """Do `work` in a thread, so that the loop goes on; on the loop where the system gives no thread.

    Raises what `work` raises. A cancelled caller does not wait for it: what it does must be short and change nothing.
    """
    try:
        working = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:  # "can't start new thread"; also: the loop's executor is shut down
        return work()
    return await working
