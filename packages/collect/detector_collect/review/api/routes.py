"""The routes of the API, and its description in OpenAPI.

Room: detector_collect.review.api. Reads the database through `queries`.
"""

from __future__ import annotations

import functools
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.exceptions import HTTPException, NotAuthorizedException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath, QueryParameter

from detector.model import Record
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations at run time
from detector.version import VERSION
from detector_collect.assessment.records import Detail, EndpointDetail
from detector_collect.review import queries
from detector_collect.review.access import records
from detector_collect.review.access.authorize import PURPOSE_MAX, PURPOSE_MIN
from detector_collect.review.access.chain import AccessRecord  # noqa: TC001 - msgspec reads the annotations at run time
from detector_collect.review.access.permissions import Permission, Person
from detector_collect.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.types import ExceptionHandlersMap

PREFIX: Final = "/api/v1"
PAGE_DEFAULT: Final = 50
PROBLEM_TYPE: Final = "application/problem+json"
"""Problem details (RFC 9457)."""
LOG: Final = logging.getLogger("detector_collect.review")

_ROW_MAX: Final = 2**63 - 1
"""The largest number of a row."""

T = TypeVar("T")
AnyRequest = Request[Person, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=queries.PAGE_MAX, description="Items of one page.")]
Number = Annotated[int | None, QueryParameter(ge=1, le=_ROW_MAX, description="From `next` of the page before.")]
Name = Annotated[str | None, QueryParameter(max_length=64, description="From `next` of the page before.")]
CaseOf = Annotated[
    int, QueryParameter(name="case", ge=1, le=_ROW_MAX, description="The case that evidence is read for.")
]
Purpose = Annotated[
    str,
    QueryParameter(
        min_length=PURPOSE_MIN,
        max_length=PURPOSE_MAX,
        description="What it is read for; it goes into the access record.",
    ),
]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items of a list, and the address of the next ones; None at the end."""

    items: tuple[T, ...]
    next: str | None


class Institution(Record, frozen=True, kw_only=True):
    """An institution with its numbers and its latest assessment."""

    id: str
    title: str
    numbers: queries.Summary
    latest: queries.Assessed | None


class Verification(Record, frozen=True, kw_only=True):
    """One assessment of a submission from its bytes."""

    at: Moment
    detector_version: str
    state: str
    endpoints: tuple[EndpointDetail, ...]


class Evidence(Record, frozen=True, kw_only=True):
    """A submission and its assessments, newest first. Its bytes leave through an export alone."""

    submission: queries.Evidence
    verifications: tuple[Verification, ...]


class Numbered(Record, frozen=True, kw_only=True):
    """An access record with its place in the chain."""

    number: int
    hash: str
    record: AccessRecord


@get("/institutions", opt={"permission": Permission.VIEW})
async def list_institutions(
    request: AnyRequest, limit: Limit = PAGE_DEFAULT, after: Name = None
) -> Page[queries.Institution]:
    """List the institutions that the token may see, by name."""
    async with request.app.state.store.connect() as connection:
        rows = await queries.overview(connection)
    allowed = request.user.institutions(Permission.VIEW, now=request.app.state.clock())
    visible = [row for row in rows if (allowed is None or row.id in allowed) and (after is None or row.id > after)]
    return _page(request, visible[: limit + 1], limit, "after", [row.id for row in visible])


@get("/institutions/{institution:str}", opt={"permission": Permission.VIEW})
async def show_institution(request: AnyRequest, institution: FromPath[str]) -> Institution:
    """Show an institution."""
    async with request.app.state.store.connect() as connection:
        title = _found(await queries.institution_title(connection, institution))
        numbers = await queries.summary(connection, institution, now=request.app.state.clock())
        assessed = await queries.assessed(connection, institution, limit=1)
    return Institution(id=institution, title=title, numbers=numbers, latest=assessed[0] if assessed else None)


@get("/institutions/{institution:str}/cases", opt={"permission": Permission.VIEW})
async def list_cases(
    request: AnyRequest, institution: FromPath[str], limit: Limit = PAGE_DEFAULT, before: Number = None
) -> Page[queries.Case]:
    """List the cases of an institution, newest first."""
    async with request.app.state.store.connect() as connection:
        rows = await queries.case_list(connection, institution, before=before, limit=limit + 1)
    return _page(request, rows, limit, "before", [row.id for row in rows])


@get("/institutions/{institution:str}/cases/{case:int}", opt={"permission": Permission.VIEW})
async def show_case(request: AnyRequest, institution: FromPath[str], case: FromPath[int]) -> queries.Case:
    """Show a case."""
    async with request.app.state.store.connect() as connection:
        return _found(await queries.case_of(connection, institution, case))


@get("/institutions/{institution:str}/cases/{case:int}/entries", opt={"permission": Permission.VIEW})
async def list_entries(
    request: AnyRequest,
    institution: FromPath[str],
    case: FromPath[int],
    limit: Limit = PAGE_DEFAULT,
    after: Number = None,
) -> Page[queries.Entry]:
    """List the entries of a case, oldest first."""
    async with request.app.state.store.connect() as connection:
        rows = await queries.entries(connection, institution, case, after=after or 0, limit=limit + 1)
    return _page(request, rows, limit, "after", [row.id for row in rows])


@get("/institutions/{institution:str}/evidence", opt={"permission": Permission.EVIDENCE})
async def list_evidence(  # noqa: PLR0913, PLR0917 - Litestar passes parameters of the query by name
    request: AnyRequest,
    institution: FromPath[str],
    of_case: CaseOf,
    purpose: Purpose,
    limit: Limit = PAGE_DEFAULT,
    before: Number = None,
) -> Page[queries.Evidence]:
    """List the submissions of an institution, newest first. The guard records the case and the purpose."""
    async with request.app.state.store.connect() as connection:
        rows = await queries.evidence_page(connection, institution, before=before, limit=limit + 1)
    more = {"case": of_case, "purpose": purpose}
    return _page(request, rows, limit, "before", [row.id for row in rows], **more)


@get("/institutions/{institution:str}/evidence/{digest:str}", opt={"permission": Permission.EVIDENCE})
async def show_evidence(
    request: AnyRequest,
    institution: FromPath[str],
    digest: FromPath[str],
    of_case: CaseOf,  # noqa: ARG001 - the guard reads it; named here for the description of the API
    purpose: Purpose,  # noqa: ARG001 - as above
) -> Evidence:
    """Show a submission. The guard records the case and the purpose."""
    async with request.app.state.store.connect() as connection:
        row = _found(await queries.evidence(connection, institution, digest))
        verifications = await queries.verification_list(connection, institution, digest)
    return Evidence(
        submission=row,
        verifications=tuple(
            Verification(
                at=one.at,
                detector_version=one.detector_version,
                state=one.state,
                endpoints=msgspec.json.decode(one.detail, type=Detail).endpoints,
            )
            for one in verifications
        ),
    )


@get("/access-records", opt={"permission": Permission.AUDIT})
async def list_access_records(
    request: AnyRequest, limit: Limit = PAGE_DEFAULT, before: Number = None
) -> Page[Numbered]:
    """List access records of the institutions that the token may audit, newest first."""
    allowed = request.user.institutions(Permission.AUDIT, now=request.app.state.clock())
    found = await records.listed(request.app.state.store, institutions=allowed, before=before, limit=limit + 1)
    rows = [Numbered(number=one.number, hash=one.hash.hex(), record=one.record) for one in found]
    return _page(request, rows, limit, "before", [row.number for row in rows])


@get("/openapi.json", opt={"permission": Permission.PUBLIC}, include_in_schema=False)
async def describe() -> Response[bytes]:
    """The description of this API (OpenAPI 3.1)."""
    return Response(description(), media_type="application/vnd.oai.openapi+json")


HANDLERS: Final = (
    list_institutions,
    show_institution,
    list_cases,
    show_case,
    list_entries,
    list_evidence,
    show_evidence,
    list_access_records,
)


def router() -> Router:
    """The API, with problem details for what goes wrong."""
    return Router(PREFIX, route_handlers=[*HANDLERS, describe], exception_handlers=_PROBLEMS)


@functools.cache
def description() -> bytes:
    """The description of this API in OpenAPI, as JSON."""
    token = SecurityScheme(type="http", scheme="bearer", description="From `detector-collect token issue`.")
    config = OpenAPIConfig(
        title="Review room",
        version=VERSION,
        components=Components(security_schemes={"token": token}),
        security=[{"token": []}],
    )
    described = Litestar([Router(PREFIX, route_handlers=[*HANDLERS])], openapi_config=config, logging_config=None)
    return msgspec.json.format(msgspec.json.encode(described.openapi_schema.to_schema(), order="sorted"))


def _page(
    request: AnyRequest, rows: Sequence[T], limit: int, name: str, keys: Sequence[object], **more: object
) -> Page[T]:
    """The first `limit` rows. Where there are more, `next` continues after the key of the last one that is shown."""
    if len(rows) <= limit:
        return Page(tuple(rows), None)
    query = urlencode({**more, "limit": limit, name: keys[limit - 1]})
    return Page(tuple(rows[:limit]), f"{request.url.path}?{query}")


def _found(found: T | None) -> T:
    if found is None:
        raise NotFoundException
    return found


# What goes wrong


def _problem(status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response[bytes]:
    content = {"title": HTTPStatus(status).phrase, "status": status, **({"detail": detail} if detail else {})}
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type=PROBLEM_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _on_http(_: AnyRequest, error: HTTPException) -> Response[bytes]:
    kept = {name: value for name, value in (error.headers or {}).items() if name.lower() in _HEADERS_KEPT}
    known = error.status_code in {HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    return _problem(error.status_code, error.detail if known else "", kept)


_HEADERS_KEPT: Final = frozenset({"www-authenticate", "retry-after", "allow"})


def _on_store(_: AnyRequest, __: StoreError) -> Response[bytes]:
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "60"})


def _on_fault(request: AnyRequest, error: Exception) -> Response[bytes]:
    LOG.error("fault", exc_info=error, extra={"fields": {"route": request.scope.get("path_template", "-")}})
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR)


_PROBLEMS: Final[ExceptionHandlersMap] = {
    NotAuthorizedException: _on_http,  # the application has another answer to it, for browsers
    HTTPException: _on_http,
    StoreError: _on_store,
    Exception: _on_fault,
}
