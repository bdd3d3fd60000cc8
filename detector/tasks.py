"""Ending tasks: whoever starts one ends it.

Room: session, at its bottom.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it has."""
    unfinished = [task for task in tasks if not task.done()]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished)
