"""An institution: its conclusion with what it rests on, its cases, and its plots.

Room: detector_collect.review.pages. Reads through `queries`; notes the visit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath  # noqa: TC002 - Litestar reads the annotations at run time

from detector_collect.review import plots, queries, wording
from detector_collect.review.access.permissions import Permission, Person

from .rendering import now_of, page_of, respond

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

BASES_MOST: Final = 10
"""Bases on one page, the gravest first; of what is not the institution's there can be hundreds."""
CASES_MOST: Final = 20


@get("/institutions/{institution:str}", opt={"permission": Permission.VIEW})
async def show(request: Request[Person, Any, Any], institution: FromPath[str]) -> Response[str]:
    """Show an institution."""
    now, before = now_of(request), whole(request.query_params.get("before"))
    store = request.app.state.store
    async with store.connect() as connection:
        title = await title_of(connection, institution)
        assessed = await queries.assessed(connection, institution)
        numbers = await queries.summary(connection, institution, now=now)
        cases = await queries.case_list(connection, institution, before=before, limit=CASES_MOST + 1)
    if request.user.id is not None:
        async with store.begin() as connection:
            await queries.visit(connection, person=request.user.id, institution=institution, now=now)
    latest = assessed[0] if assessed else None
    return respond(
        "institution",
        page_of(request, title, crumbs=[("/", "Institutions")], place="/", institution=institution),
        institution=institution,
        words=wording.conclusion(latest.assessment if latest else None),
        latest=latest,
        earlier=assessed[1:],
        bases_most=BASES_MOST,
        numbers=numbers,
        weeks=plots.by_week(numbers.weeks),
        map=plots.coverage(numbers.cells),
        cases=cases[:CASES_MOST],
        older=cases[CASES_MOST - 1].id if len(cases) > CASES_MOST else None,
    )


async def title_of(connection: AsyncConnection, institution: str) -> str:
    """The title of an institution. Raises `NotFoundException` for one that does not exist."""
    title = await queries.institution_title(connection, institution)
    if title is None:
        raise NotFoundException
    return title


DIGITS_MAX: Final = 18
"""Digits of a row number: what a BIGINT holds in any case."""


def whole(text: str | None) -> int | None:
    """The row number in a query; None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else None
