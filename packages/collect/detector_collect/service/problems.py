"""Answers of the service when something is wrong: problem details (RFC 9457), in words of this package alone.

Room: detector_collect.service. Nothing that was sent is repeated, in no header and in no body.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.response import Redirect

from detector_collect.review.access.authorize import SIGN_IN_PATH
from detector_collect.store.errors import StoreFullError, StoreUnavailableError
from detector_collect.submissions import ANSWERS, Refusal, RefusedError

from .bodies import AnyRequest, DisconnectedError

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

MEDIA_TYPE: Final = "application/problem+json"
REFUSAL_TYPE: Final = "urn:tls-interception:refusal:"
"""Prefix of `type`, before a `Refusal`."""
ABOUT_BLANK: Final = "about:blank"
"""`type` of a problem that its status describes (RFC 9457 section 4.2.1)."""

RETRY_SECONDS: Final = 30
"""What Retry-After says where nothing more exact is known: a database that restarts takes some seconds."""

LOG: Final = logging.getLogger("detector_collect.service")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457 section 3.1)."""

    type: str
    title: str
    status: int
    detail: str = ""


def response(problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    """The response with these details, which nobody stores."""
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _about_blank(status: HTTPStatus, detail: str = "") -> Problem:
    return Problem(type=ABOUT_BLANK, title=status.phrase, status=status, detail=detail)


def encoded(status: int) -> bytes:
    """The body of `of_status`, for where there is no application."""
    return msgspec.json.encode(_about_blank(HTTPStatus(status)))


def of_refusal(error: RefusedError) -> Response[bytes]:
    """The response to a refused submission."""
    answer = ANSWERS[error.refusal]
    headers = {}
    if answer.is_temporary:
        headers["Retry-After"] = str(error.retry_after or RETRY_SECONDS)
    if error.refusal in _BODY_UNREAD:
        headers["Connection"] = "close"
    detail = " ".join(part for part in (error.detail, answer.advice) if part)
    return response(
        Problem(type=REFUSAL_TYPE + error.refusal, title=answer.title, status=answer.status, detail=detail), headers
    )


_BODY_UNREAD: Final = frozenset({Refusal.TOO_LARGE, Refusal.TOO_SLOW, Refusal.BUSY})
"""What may be answered before the whole body has arrived: the rest would be read as the next request."""


def of_status(status: int, headers: dict[str, str] | None = None, detail: str = "") -> Response[bytes]:
    """The response that a status describes."""
    known = HTTPStatus(status) if status in _STATUSES else HTTPStatus.INTERNAL_SERVER_ERROR
    return response(_about_blank(known, detail), headers)


_STATUSES: Final = frozenset(HTTPStatus)
_OWN_DETAILS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses of which the guard writes the details. Those of others are the framework's, and repeat what was sent."""
_HEADERS_KEPT: Final = frozenset({"allow", "retry-after", "www-authenticate"})


def _on_disconnected(_: AnyRequest, __: DisconnectedError) -> Response[bytes]:
    return of_status(HTTPStatus.BAD_REQUEST)


def _on_refused(_: AnyRequest, error: RefusedError) -> Response[bytes]:
    return of_refusal(error)


def _on_http(_: AnyRequest, error: HTTPException) -> Response[bytes]:
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in _HEADERS_KEPT}
    return of_status(error.status_code, headers, error.detail if error.status_code in _OWN_DETAILS else "")


def _on_stranger(request: AnyRequest, error: NotAuthorizedException) -> Response[Any]:
    """Send a browser that opens a page to the sign-in."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return Redirect(SIGN_IN_PATH, status_code=303)
    return _on_http(request, error)


def _on_unavailable(_: AnyRequest, __: StoreUnavailableError) -> Response[bytes]:
    return of_refusal(RefusedError(Refusal.UNAVAILABLE))


def _on_full(_: AnyRequest, __: StoreFullError) -> Response[bytes]:
    return of_refusal(RefusedError(Refusal.FULL))


def _on_fault(request: AnyRequest, error: Exception) -> Response[bytes]:
    LOG.error("fault", exc_info=error, extra={"fields": {"route": request.scope.get("path_template", "-")}})
    return of_status(HTTPStatus.INTERNAL_SERVER_ERROR)


HANDLERS: Final[ExceptionHandlersMap] = {
    RefusedError: _on_refused,
    DisconnectedError: _on_disconnected,
    NotAuthorizedException: _on_stranger,
    HTTPException: _on_http,
    StoreUnavailableError: _on_unavailable,
    StoreFullError: _on_full,
    Exception: _on_fault,
}
