"""The application: every route, one guard, one form of errors.

Room: detector_collect.service. Opens nothing; the store is an argument.

Each handler says in `opt` what permission it needs, and the guard refuses a handler that says nothing. Litestar's own
documentation pages, sessions and logs are off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Litestar, Response, get, post
from litestar.datastructures import State
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from . import problems
from .bodies import AnyRequest  # noqa: TC001 - Litestar reads the annotations at run time
from .guard import Permission, authorize
from .ingest import ENVELOPE_TYPE, Ingest
from .metrics import Metrics

if TYPE_CHECKING:
    from litestar import Router

    from detector_collect.store.database import Store

    from .settings import ServiceSettings


@post("/v1/evidence", opt={"permission": Permission.SUBMIT}, request_max_body_size=None)
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


@get("/healthz", opt={"permission": Permission.PUBLIC}, media_type="text/plain")
async def healthz() -> str:
    """Answer while the process serves."""
    return "ok\n"


def create_app(store: Store, settings: ServiceSettings, *, review: Router | None = None) -> Litestar:
    """The application of one service: what receives, and the review pages where they are given."""
    metrics = Metrics()
    return Litestar(
        [submit, healthz, *([] if review is None else [review])],
        guards=[authorize],
        exception_handlers=problems.HANDLERS,
        state=State(
            {
                "store": store,
                "settings": settings,
                "clock": settings.clock,
                "metrics": metrics,
                "ingest": Ingest(store, settings, metrics),
            }
        ),
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
