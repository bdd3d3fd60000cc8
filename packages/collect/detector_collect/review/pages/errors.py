"""Pages for what goes wrong: what it means in plain words, and what to do.

Room: detector_collect.review.pages. Nothing that was sent is repeated.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, Response, get
from litestar.exceptions import HTTPException, NotAuthorizedException, NotFoundException
from litestar.exceptions.responses import create_exception_response
from litestar.params import FromPath  # noqa: TC002 - Litestar reads the annotations at run time
from litestar.response import Redirect

from detector_collect.review.access.authorize import SIGN_IN_PATH
from detector_collect.review.access.permissions import Permission, Person
from detector_collect.store.errors import StoreError

from .rendering import Page, now_of, respond, viewer_of

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

LOG: Final = logging.getLogger("detector_collect.review")

_PAGES: Final[dict[int, tuple[str, str, str]]] = {
    400: (
        "This cannot be read",
        "The request is not one that these pages send.",
        "Go back, and use the page's own form.",
    ),
    403: (
        "Not for you",
        "You have no access to this, or it does not exist. The request was recorded.",
        "Ask an administrator for a role at this institution. If you came here by a form, open its page again.",
    ),
    404: ("Not found", "There is no such page.", "Check the address, or begin at the overview."),
    405: ("Not possible", "This address does not take such a request.", "Go back, and use the page's own form."),
    413: ("Too large", "What was sent is larger than any form of these pages.", "Shorten the text, and send it again."),
    429: ("Too many requests", "You sent more requests than a person can read.", "Wait a minute, then try again."),
    500: (
        "A fault",
        "The server made an error. Nothing was entered.",
        "Try again; if it stays, tell the operator when it was.",
    ),
    503: ("Not available", "The database cannot be reached. Nothing was entered.", "Try again in a minute."),
}


def page(request: Request[Any, Any, Any], status: int, *, message: str = "") -> Response[str]:
    """The page for a status."""
    status = status if status in _PAGES else 400 if status < 500 else 500  # noqa: PLR2004 - of the client or of the server (RFC 9110, 15)
    title, says, advice = _PAGES[status]
    person = request.scope.get("user")
    viewer = viewer_of(person, now=now_of(request)) if isinstance(person, Person) else None
    csrf = person.csrf if isinstance(person, Person) else ""
    response = respond("error", Page(title, viewer, csrf=csrf), status=status, message=message or says, advice=advice)
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        response.headers["Retry-After"] = "60"
    return response


@get("/{missing:path}", opt={"permission": Permission.PUBLIC})
async def missing(request: Request[Any, Any, Any], missing: FromPath[str]) -> Response[str]:  # noqa: ARG001 - whatever it is
    """Say that there is no such page; programs get problem details, as everywhere else."""
    if _is_browser(request):
        return page(request, HTTPStatus.NOT_FOUND)
    raise NotFoundException


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    return page(request, error.status_code)


def _on_stranger(request: Request[Any, Any, Any], error: NotAuthorizedException) -> Response[Any]:
    if _is_browser(request):
        return Redirect(SIGN_IN_PATH, status_code=303)
    return create_exception_response(request, error)


def _is_browser(request: Request[Any, Any, Any]) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _on_store(request: Request[Any, Any, Any], _: StoreError) -> Response[str]:
    return page(request, HTTPStatus.SERVICE_UNAVAILABLE)


def _on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    LOG.error("fault", exc_info=error, extra={"fields": {"route": request.scope.get("path_template", "-")}})
    return page(request, HTTPStatus.INTERNAL_SERVER_ERROR)


HANDLERS: Final[ExceptionHandlersMap] = {
    NotAuthorizedException: _on_stranger,
    HTTPException: _on_http,
    StoreError: _on_store,
    Exception: _on_fault,
}
"""Of the review pages; what programs call answers with problem details."""
