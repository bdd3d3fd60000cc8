"""A line on standard error that says what a command waits for, while a person waits for it on a terminal.

Room: cli. Imports nothing that a command would not import anyway: it must cost an exam start nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .stderr import show_line

if TYPE_CHECKING:
    from collections.abc import Callable

DELAY: Final = 1.0
"""Seconds before the line appears: people take shorter ones for an immediate answer (Nielsen, 1993: 1 s)."""
TICK: Final = 0.2
"""Seconds between two changes of the line."""


async def show(sentence: Callable[[int], str]) -> None:
    """Show this sentence, which gets the whole seconds so far, until the task is canceled; then remove it."""
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(DELAY)
    try:
        while True:
            show_line(sentence(int(asyncio.get_running_loop().time() - begun)))
            await asyncio.sleep(TICK)
    finally:
        show_line("")
