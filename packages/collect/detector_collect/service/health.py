"""Whether the process lives, whether it can do its work, and how much it does.

Room: detector_collect.service. Reads the database.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from litestar import Response, get

from detector_collect.review.access.permissions import Permission
from detector_collect.store import migrations
from detector_collect.store.errors import StoreError, StoreUnavailableError

from . import metrics
from .bodies import AnyRequest  # noqa: TC001 - Litestar reads the annotations at run time

if TYPE_CHECKING:
    from detector_collect.store.database import Store

READY_SECONDS: Final = 1.0
"""How long an answer of the database is repeated, so that asking more often costs no query."""
DATABASE_SECONDS: Final = 5.0
"""How long the database may take to answer before the service counts as not ready: those who ask wait for ten."""
_PLAIN: Final = "text/plain"
_HEADERS: Final = {"Cache-Control": "no-store"}


class Readiness:
    """Asks the database at most once a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._is_ready = False

    async def is_ready(self) -> bool:
        """Whether the database answers, and has the tables of this version."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= READY_SECONDS:
                self._is_ready = await self._ask()
                self._asked_at = time.monotonic()
        return self._is_ready

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(DATABASE_SECONDS), self._store.connect() as connection:
                return await connection.run_sync(migrations.revision) == migrations.REVISION
        except (StoreError, TimeoutError):
            return False


@get("/healthz", opt={"permission": Permission.PUBLIC})
async def healthz() -> Response[str]:
    """Answer while the process serves."""
    return Response("ok\n", media_type=_PLAIN, headers=_HEADERS)


@get("/readyz", opt={"permission": Permission.PUBLIC})
async def readyz(request: AnyRequest) -> Response[str]:
    """Answer 200 while submissions can be stored, else 503."""
    readiness: Readiness = request.app.state.readiness
    if not await readiness.is_ready():
        raise StoreUnavailableError("The database is not ready.", advice="Try again.")
    return Response("ready\n", media_type=_PLAIN, headers=_HEADERS)


@get("/metrics", opt={"permission": Permission.OPERATE})
async def show_metrics(request: AnyRequest) -> Response[bytes]:
    """Answer with the metrics of this process, and of the database."""
    state = request.app.state
    counted: metrics.Metrics = state.metrics
    body = await counted.exposition(state.store, now=state.clock())
    return Response(body, media_type=metrics.MEDIA_TYPE, headers=_HEADERS)
