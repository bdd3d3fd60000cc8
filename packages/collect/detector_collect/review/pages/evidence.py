"""Evidence: the list of submissions, one of them chain by chain, and the dossier; each for a case and a purpose.

Room: detector_collect.review.pages. Reads through `queries`. The guard has committed the access record before any of
these handlers runs, so that nothing is read without one.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath  # noqa: TC002 - Litestar reads the annotations at run time

from detector.aio.tasks import run_in_thread
from detector.model import Verdict
from detector.report.html import dossier_content, evidence_content
from detector_collect.review import dossiers, queries, wording
from detector_collect.review.access.people import NAME_MAX
from detector_collect.review.access.permissions import Permission, Person
from detector_collect.review.presented import detail_of, present
from detector_collect.review.withholding import withhold
from detector_collect.store.evidence import mark

from .institution import title_of, whole
from .rendering import now_of, page_of, respond

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector_collect.review.queries import Evidence, Verification

ROWS: Final = 50
_VERDICTS: Final = {
    "": "everything",
    Verdict.MIDDLEWARE.value: "with TLS interception, of any confidence",
    Verdict.CLEAN.value: "with a clean endpoint",
    Verdict.INCONCLUSIVE.value: "with an endpoint that could not be assessed",
}
_STATES: Final = {
    "waiting": "Waiting for its assessment: no finding yet.",
    "verified": "Verified: assessed again from its bytes.",
    "claimed": "Claimed: it holds nothing to assess again, so it is no finding.",
    "quarantined": "Quarantined: it does not verify, so it is no finding.",
}


@get("/institutions/{institution:str}/evidence", opt={"permission": Permission.EVIDENCE})
async def listing(request: Request[Person, Any, Any], institution: FromPath[str]) -> Response[str]:
    """List the submissions of an institution."""
    query = request.query_params
    verdict = query.get("verdict", "")
    verdict = verdict if verdict in _VERDICTS else ""
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, institution)
        rows = await queries.evidence_page(
            connection,
            institution,
            before=whole(query.get("before")),
            limit=ROWS + 1,
            verdict=Verdict(verdict) if verdict else None,
        )
    return _respond(
        request,
        institution,
        title,
        "evidence-list",
        "Evidence",
        rows=rows[:ROWS],
        next=rows[ROWS - 1].id if len(rows) > ROWS else None,
        filters=list(_VERDICTS.items()),
        verdict=verdict,
    )


@get("/institutions/{institution:str}/evidence/{digest:str}", opt={"permission": Permission.EVIDENCE})
async def show(request: Request[Person, Any, Any], institution: FromPath[str], digest: FromPath[str]) -> Response[str]:
    """Show one submission, chain by chain, without the names in its certificates."""
    return await _shown(request, institution, digest, is_named=False)


@get("/institutions/{institution:str}/evidence/{digest:str}/names", opt={"permission": Permission.EVIDENCE})
async def show_names(
    request: Request[Person, Any, Any], institution: FromPath[str], digest: FromPath[str]
) -> Response[str]:
    """Show the same with the names as they were presented: by a path of its own, which is in the access record."""
    return await _shown(request, institution, digest, is_named=True)


async def _shown(request: Request[Person, Any, Any], institution: str, digest: str, *, is_named: bool) -> Response[str]:
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, institution)
        row = await queries.evidence(connection, institution, digest)
        body = await queries.content(connection, institution, digest)
        verifications = await queries.verification_list(connection, institution, digest)
        named = mark(connection, bytes.fromhex(digest)).hex()
    if row is None or body is None:
        raise NotFoundException
    content = await run_in_thread(functools.partial(_content, row, body, verifications, is_named=is_named))
    return _respond(
        request,
        institution,
        title,
        "evidence-page",
        f"Submission {digest[:16]}…",
        row=row,
        reference=named,
        state_sentence=_STATES.get(row.state, row.state),
        verifications=verifications,
        is_named=is_named,
        **content,
    )


def _content(row: Evidence, body: bytes, verifications: Sequence[Verification], *, is_named: bool) -> dict[str, Any]:
    """The chains, for the template."""
    presented = present(body, digest_hex=row.digest, detail=detail_of(verifications))
    if presented.report is None or presented.problem:
        return {"endpoints": [], "nothing": presented.problem, "explained": ()}
    report = presented.report if is_named else withhold(presented.report)
    return {**evidence_content([report]), "with_pem": False, "nothing": ""}


@get("/institutions/{institution:str}/dossier", opt={"permission": Permission.EVIDENCE})
async def dossier(request: Request[Person, Any, Any], institution: FromPath[str]) -> Response[str]:
    """Show the dossier of an institution."""
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, institution)
        assessed = await queries.assessed(connection, institution, limit=1)
        sources = await dossiers.sources(connection, institution)
    made = await run_in_thread(functools.partial(dossiers.gather, sources, made=now_of(request)))
    return _respond(
        request,
        institution,
        title,
        "dossier-page",
        f"Dossier: {title}",
        words=wording.conclusion(assessed[0].assessment if assessed else None),
        is_part=len(sources) == dossiers.SOURCES_MOST,
        sources_most=dossiers.SOURCES_MOST,
        **dossier_content(made),
    )


def _respond(
    request: Request[Person, Any, Any],
    institution: str,
    title: str,
    template: str,
    heading: str,
    **content: Any,  # noqa: ANN401 - what the template shows
) -> Response[str]:
    """A page with the viewer's name, case and time on it."""
    case, purpose = request.state.case, request.query_params["purpose"]
    reader = f"{request.user.name[:NAME_MAX]} ({request.user.id})"  # names are the provider's, and not unique
    at = f"/institutions/{institution}"
    crumbs = [("/", "Institutions"), (at, title), (f"{at}/cases/{case}", f"Case {case}")]
    if template == "evidence-page":
        crumbs.append((f"{at}/evidence?case={case}&purpose={quote(purpose)}", "Evidence"))
    return respond(
        template,
        page_of(request, heading, crumbs=crumbs, place="/", institution=institution),
        watermark=f"{reader}, case {case}, {now_of(request):%Y-%m-%d %H:%M} UTC",
        institution=institution,
        case=case,
        purpose=purpose,
        **content,
    )
