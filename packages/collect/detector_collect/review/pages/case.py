"""A case: its entries, what says for and against the finding, and the next step.

Room: detector_collect.review.pages. Reads through `queries`, writes through `case_log`.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath  # noqa: TC002 - Litestar reads the annotations at run time
from litestar.response import Redirect

from detector_collect.review import case_log, queries, wording
from detector_collect.review.access.authorize import PURPOSE_MAX, PURPOSE_MIN
from detector_collect.review.access.permissions import Permission, Person
from detector_collect.review.cases import RULES, ChangedError, State, Step, StepError, steps

from .institution import title_of, whole
from .rendering import now_of, page_of, respond

ENTRIES_MOST: Final = 100
"""Entries on one page; a case has a few dozen."""
_SEE_OTHER: Final = 303
_CONFLICT: Final = 409
_UNPROCESSABLE: Final = 422


@get("/institutions/{institution:str}/cases/{case:int}", opt={"permission": Permission.VIEW})
async def show(request: Request[Person, Any, Any], institution: FromPath[str], case: FromPath[int]) -> Response[str]:
    """Show a case."""
    return await _shown(request, institution, case)


@post("/institutions/{institution:str}/cases", opt={"permission": Permission.REVIEW})
async def open_case(request: Request[Person, Any, Any], institution: FromPath[str]) -> Response[Any]:
    """Open a case."""
    form, now = await request.form(), now_of(request)
    try:
        async with request.app.state.store.begin() as connection:
            case = await case_log.open_case(
                connection,
                institution,
                person=_author(request),
                title=str(form.get("title", "")),
                text=str(form.get("text", "")),
                now=now,
            )
    except StepError as error:
        return respond(
            "error",
            page_of(request, "The case was not opened", crumbs=_crumbs(institution, institution)),
            status=_UNPROCESSABLE,
            message=error.message,
            advice=error.advice,
        )
    return Redirect(f"/institutions/{institution}/cases/{case}", status_code=_SEE_OTHER)


@post("/institutions/{institution:str}/cases/{case:int}", opt={"permission": Permission.REVIEW})
async def take_step(
    request: Request[Person, Any, Any], institution: FromPath[str], case: FromPath[int]
) -> Response[Any]:
    """Take a step of a case."""
    form = await request.form()
    chosen, text = str(form.get("step", "")), str(form.get("text", ""))
    try:
        async with request.app.state.store.begin() as connection:
            await case_log.take_step(
                connection,
                institution,
                case,
                _step(chosen),
                read=whole(str(form.get("read", ""))) or 0,
                person=_author(request),
                text=text,
                digest=str(form.get("evidence", "")),
                now=now_of(request),
            )
    except StepError as error:
        status = _CONFLICT if isinstance(error, ChangedError) else _UNPROCESSABLE
        return await _shown(request, institution, case, status=status, problem=str(error), draft=text, chosen=chosen)
    return Redirect(f"/institutions/{institution}/cases/{case}", status_code=_SEE_OTHER)


async def _shown(  # noqa: PLR0913 - keyword-only past the case; what a refused step leaves on the page
    request: Request[Person, Any, Any],
    institution: str,
    case: int,
    *,
    status: int = 200,
    problem: str = "",
    draft: str = "",
    chosen: str = "",
) -> Response[str]:
    after = whole(request.query_params.get("after")) or 0
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, institution)
        found = await queries.case_of(connection, institution, case)
        if found is None:
            raise NotFoundException
        entries = await queries.entries(connection, institution, case, after=after, limit=ENTRIES_MOST + 1)
        assessed = await queries.assessed(connection, institution, limit=1)
    shown = entries[:ENTRIES_MOST]
    assessment = assessed[0].assessment if assessed else None
    bases = assessment.bases[:3] if assessment else ()
    possible = steps(State(found.state or State.OPEN))
    return respond(
        "case",
        page_of(
            request,
            f"Case {found.id}: {found.title}",
            crumbs=_crumbs(institution, title),
            place="/",
            institution=institution,
        ),
        status=status,
        institution=institution,
        case=found,
        words=wording.conclusion(assessment),
        bases=bases,
        alternatives=dict.fromkeys(itertools.chain.from_iterable(basis.alternatives for basis in bases)),
        entries=shown,
        next=shown[-1].id if len(entries) > ENTRIES_MOST else None,
        read=shown[-1].id if shown else after,
        steps=[(step.value, RULES[step]) for step in possible],
        problem=problem,
        draft=draft,
        chosen=chosen,
        purpose_least=PURPOSE_MIN,
        purpose_most=PURPOSE_MAX,
    )


def _crumbs(institution: str, title: str) -> list[tuple[str, str]]:
    return [("/", "Institutions"), (f"/institutions/{institution}", title)]


def _step(chosen: str) -> Step:
    try:
        return Step(chosen)
    except ValueError:
        raise StepError("step: none was chosen.", advice="Choose what you enter.") from None


def _author(request: Request[Person, Any, Any]) -> int:
    if request.user.id is None:
        raise StepError("Only a person writes to a case.", advice="Sign in.")
    return request.user.id
