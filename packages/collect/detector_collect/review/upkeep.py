"""What the review room needs done meanwhile: numbers made again, notices sent.

Room: detector_collect.review. Runs until it is cancelled; uses the store and, with `outwards`, the network.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NoReturn

from detector.session.seams import utc_now
from detector_collect.store.errors import StoreUnavailableError

from .outwards.sender import deliver_due
from .queries import summarize_due

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from detector_collect.store.database import Store

    from .outwards.sender import Outwards

PAUSE_SECONDS: Final = 5.0
"""Between two rounds that find nothing: how late a notice may be."""
LOG: Final = logging.getLogger("detector_collect.review")


async def keep_summaries(store: Store, *, clock: Callable[[], dt.datetime] = utc_now) -> NoReturn:
    """Make the numbers of every institution again when they are old. A database that is away is waited for."""
    while True:
        try:
            await summarize_due(store, now=clock())
        except StoreUnavailableError as error:
            LOG.warning("waiting", extra={"fields": {"reason": str(error)}})
        await asyncio.sleep(PAUSE_SECONDS)


async def keep_delivering(store: Store, outwards: Outwards, *, clock: Callable[[], dt.datetime] = utc_now) -> NoReturn:
    """Send notices when they are due. A database that is away is waited for."""
    while True:
        sent = 0
        try:
            sent = await deliver_due(store, now=clock(), outwards=outwards)
        except StoreUnavailableError as error:
            LOG.warning("waiting", extra={"fields": {"reason": str(error)}})
        if not sent:
            await asyncio.sleep(PAUSE_SECONDS)
