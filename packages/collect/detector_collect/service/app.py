"""The application: every route, one guard, one form of errors.

Room: detector_collect.service. Opens nothing; the store is an argument.

Each handler says in `opt` what permission it needs, and the one guard refuses a handler that says nothing. Litestar's
own documentation pages, sessions and logs are off.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from litestar import Litestar, Response, post
from litestar.datastructures import State
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from detector.aio.tasks import cancel_and_wait
from detector_collect.review.access import records
from detector_collect.review.access.authorize import Access, AccessPlugin
from detector_collect.review.access.oidc import IdentityProvider
from detector_collect.review.access.permissions import Permission

from . import health, problems
from .bodies import AnyRequest  # noqa: TC001 - Litestar reads the annotations at run time
from .description import SubmitOperation
from .ingest import ENVELOPE_TYPE, Ingest
from .metrics import FLUSH_SECONDS, Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from litestar.plugins import PluginProtocol
    from litestar.types import ControllerRouterHandler

    from detector_collect.store.database import Store

    from .settings import ServiceSettings


@post(
    "/v1/evidence",
    opt={"permission": Permission.SUBMIT},
    request_max_body_size=None,
    operation_class=SubmitOperation,
)
async def submit(request: AnyRequest) -> Response[bytes]:
    """Store one submission and answer with a signed receipt: 201 where it is new, 200 where it was known."""
    ingest: Ingest = request.app.state.ingest
    answer = await ingest.answer(request)
    return Response(
        answer.receipt,
        status_code=HTTP_201_CREATED if answer.is_new else HTTP_200_OK,
        media_type=ENVELOPE_TYPE,
        headers={"Cache-Control": "no-store"},
    )


OPERATE: Final = (health.healthz, health.readyz, health.show_metrics)
"""The routes that say how the service does."""
INGEST: Final = (submit, *OPERATE)
"""The routes of a service that receives."""


@contextlib.asynccontextmanager
async def _flushing(app: Litestar) -> AsyncIterator[None]:
    """Write counts while the application runs, and once more at its end."""
    metrics: Metrics = app.state.metrics
    store: Store = app.state.store

    ended = asyncio.Event()

    async def flush() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await ended.wait()
            await metrics.flush(store)

    task = asyncio.create_task(flush())
    try:
        yield
    finally:
        ended.set()  # and not cancelled: half a transaction would lose the counts, or write them twice
        await task


@contextlib.asynccontextmanager
async def _signing(app: Litestar) -> AsyncIterator[None]:
    """Sign the latest access record every day while the application runs."""
    settings: ServiceSettings = app.state.settings
    task = asyncio.create_task(records.sign_daily(app.state.store, settings.signing_key, settings.clock))
    try:
        yield
    finally:
        await cancel_and_wait([task])


def _access(store: Store, settings: ServiceSettings) -> Access:
    """Who may see what, by the settings. Raises `InputError`."""
    return Access(
        store,
        origin=settings.origin,
        clock=settings.clock,
        identity=None if settings.identity is None else IdentityProvider(settings.identity),
        demo_people=settings.demo_people,
        proxies=() if settings.certificates is None else settings.certificates.peers,
    )


def create_app(
    store: Store,
    settings: ServiceSettings,
    *,
    receives: bool = True,
    review: Sequence[ControllerRouterHandler] = (),
    plugins: Sequence[PluginProtocol] = (),
) -> Litestar:
    """The application of one service: what receives submissions unless `receives` is False, and the review pages.

    `review` are the routes of the review pages, `plugins` what they need. Raises `InputError` for the settings.
    """
    metrics = Metrics()
    state = {
        "store": store,
        "settings": settings,
        "clock": settings.clock,
        "metrics": metrics,
        "readiness": health.Readiness(store),
        "ingest": Ingest(store, settings, metrics),
    }
    return Litestar(
        [*(INGEST if receives else OPERATE), *review],
        exception_handlers=problems.HANDLERS,
        lifespan=[_flushing, *([_signing] if review else [])],
        state=State(state),
        plugins=[AccessPlugin(_access(store, settings)), *plugins],
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
