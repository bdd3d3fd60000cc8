"""Updates again and again in the background of something that goes on whatever becomes of them.

Room: update. Starts no task of its own; waiting and randomness are arguments.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from detector.aio.tasks import run_in_thread
from detector.errors import DetectorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .run import Update

LOG: Final = logging.getLogger("detector.update")

INTERVAL_DEFAULT: Final = 86400.0
"""Seconds: a day. Lists of roots and logs change every few weeks, and a timestamp of a repository holds for days."""
FIRST_SHARE: Final = 0.1
"""The part of the interval within which the first update comes: machines that start an exam together spread over it."""
JITTER: Final = 0.25
"""The part of the interval by which each wait is longer or shorter."""


async def keep_updated(  # noqa: PLR0913 - keyword-only past the update; what it does, and three seams
    update: Callable[[], Update],
    *,
    renewed: Callable[[Update], None],
    say: Callable[[str], None],
    interval: float = INTERVAL_DEFAULT,
    chance: random.Random | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Update about once per `interval` seconds until cancelled.

    `renewed` is called, in the thread of the update, after each one that installed a set. One that fails is a sentence
    for `say`, and the next comes in its time: the set in use stays.
    """

    def once() -> None:
        done = update()
        if done.installed:
            renewed(done)

    chance = chance or random.SystemRandom()
    await sleep(interval * FIRST_SHARE * chance.random())
    while True:
        try:
            await run_in_thread(once)
        except DetectorError as error:
            LOG.info("update failed", exc_info=error)
            say(f"The update of what is known failed: {error}")
        await sleep(interval * chance.uniform(1 - JITTER, 1 + JITTER))
