"""Pages of exports: their list, the forms to request and approve them, and the one answer that has the file.

Room: detector_collect.review.exports. Handlers read and write through `requests`; the guard has recorded each request.
The file is made first; then one transaction marks the export as used and records it with the hash of the file; only
then does the answer begin. A crash in between costs another request, never an export without its record.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath  # noqa: TC002 - Litestar reads the annotations at run time
from litestar.response import Redirect

from detector.aio.lazy import LazyModule
from detector.aio.tasks import run_in_thread
from detector.errors import MissingExtraError
from detector_collect.review import dossiers, queries
from detector_collect.review.access import records
from detector_collect.review.access.authorize import PURPOSE_MAX, PURPOSE_MIN, is_purpose, record_refusal
from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.people import accounts
from detector_collect.review.access.permissions import Permission, Person, RuleError
from detector_collect.review.pages import errors
from detector_collect.review.pages.institution import title_of
from detector_collect.review.pages.rendering import now_of, page_of, respond

from . import archive, requests
from .rules import Export, State, What

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from . import dossier_lines, pdf
else:  # pydyf is an extra
    dossier_lines = LazyModule("detector_collect.review.exports.dossier_lines")
    pdf = LazyModule("detector_collect.review.exports.pdf")

RECORDS_MAX: Final = 100_000
"""Access records of an institution that are searched for those of a case, the newest first."""
_SEE_OTHER: Final = 303
_FORBIDDEN: Final = 403
_OF_CASE: Final = "/institutions/{institution:str}/cases/{case:int}/exports"

_WHAT: Final = {
    What.ARCHIVE: "the submissions that this case refers to, as they were signed",
    What.DOSSIER: "the dossier of the institution, as PDF",
}
_STATES: Final = {
    State.REQUESTED: "waits for two approvals",
    State.APPROVED_ONCE: "waits for its second approval",
    State.APPROVED: "approved: who requested it may use it once",
    State.USED: "used",
    State.EXPIRED: "expired or declined",
}


class Row(NamedTuple):
    """One export as the page lists it: what it is, and which forms it has for this person."""

    id: int
    what: str
    size: int
    purpose: str
    requested_by: str
    approved_by: str
    state: str
    expires: dt.datetime
    may_approve: bool
    may_use: bool


@get(_OF_CASE, opt={"permission": Permission.REVIEW})
async def show(request: Request[Person, Any, Any], institution: FromPath[str], case: FromPath[int]) -> Response[str]:
    """List the exports of a case."""
    return await _shown(request, institution, case)


@post(_OF_CASE, opt={"permission": Permission.REVIEW})
async def request_one(
    request: Request[Person, Any, Any], institution: FromPath[str], case: FromPath[int]
) -> Response[Any]:
    """Request an export."""
    form = await request.form()
    try:
        async with request.app.state.store.begin() as connection:
            await requests.request_export(
                connection,
                by=request.user,
                institution=institution,
                case=case,
                what=_what(str(form.get("what", ""))),
                purpose=_purpose(str(form.get("purpose", ""))),
                now=now_of(request),
            )
    except RuleError as error:
        return await _shown(request, institution, case, problem=str(error))
    return Redirect(request.url.path, status_code=_SEE_OTHER)


@post(f"{_OF_CASE}/{{export:int}}", opt={"permission": Permission.REVIEW})
async def decide(
    request: Request[Person, Any, Any], institution: FromPath[str], case: FromPath[int], export: FromPath[int]
) -> Response[Any]:
    """Approve or decline an export."""
    form = await request.form()
    decide = requests.approve if form.get("decision") == "approve" else requests.decline
    try:
        async with request.app.state.store.begin() as connection:
            found = await requests.find(connection, institution, case, export)
            await decide(connection, found, by=request.user, now=now_of(request))
    except RuleError as error:
        return await _shown(request, institution, case, problem=str(error))
    return Redirect(f"/institutions/{institution}/cases/{case}/exports", status_code=_SEE_OTHER)


@post(f"{_OF_CASE}/{{export:int}}/file", opt={"permission": Permission.EVIDENCE})
async def use(
    request: Request[Person, Any, Any], institution: FromPath[str], case: FromPath[int], export: FromPath[int]
) -> Response[Any]:
    """Use an export: the file, once."""
    store, now = request.app.state.store, now_of(request)
    purpose = request.query_params["purpose"]
    try:
        async with store.connect() as connection:
            found = await requests.find(connection, institution, case, export)
            await requests.check(connection, found, by=request.user, purpose=purpose, now=now)
        content = await _file(request, found)
        digest = hashlib.sha256(content).hexdigest()
        async with store.begin() as connection:
            await requests.check(connection, found, by=request.user, purpose=purpose, now=now)
            await requests.use(connection, found, by=request.user, sha256=digest, size=len(content), now=now)
    except RuleError as error:
        return await _shown(request, institution, case, problem=str(error))
    except MissingExtraError as error:
        return await _shown(request, institution, case, problem=error.message)
    name = f"export-{found.id}.{'tar' if found.what is What.ARCHIVE else 'pdf'}"
    kind = "application/x-tar" if found.what is What.ARCHIVE else "application/pdf"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type=kind, headers=headers, status_code=200)


def router() -> Router:
    """The routes of exports."""
    return Router("/", route_handlers=[show, request_one, decide, use], exception_handlers=errors.HANDLERS)


async def _shown(
    request: Request[Person, Any, Any], institution: str, case: int, *, problem: str = ""
) -> Response[str]:
    now, me = now_of(request), request.user.id
    if problem:
        await record_refusal(request, Outcome.RULE, subject=problem)
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, institution)
        exports = await requests.listed(connection, institution, case)
        names = {one.id: one.name for one in await accounts(connection)}
    return respond(
        "exports/list",
        page_of(
            request,
            f"Exports of case {case}",
            crumbs=[
                ("/", "Institutions"),
                (f"/institutions/{institution}", title),
                (f"/institutions/{institution}/cases/{case}", f"Case {case}"),
            ],
            place="/",
            institution=institution,
        ),
        status=_FORBIDDEN if problem else 200,
        institution=institution,
        case=case,
        problem=problem,
        rows=[_row(one, names, me, now) for one in exports],
        kinds=list(_WHAT.items()),
        purpose_least=PURPOSE_MIN,
        purpose_most=PURPOSE_MAX,
    )


def _row(export: Export, names: Mapping[int, str], me: int | None, now: dt.datetime) -> Row:
    state = export.state(now)
    waits = state in {State.REQUESTED, State.APPROVED_ONCE}
    return Row(
        id=export.id,
        what=_WHAT[export.what],
        size=len(export.submissions),
        purpose=export.purpose,
        requested_by=names.get(export.requested_by, "?"),
        approved_by=", ".join(names.get(one, "?") for one in (export.first_by, export.second_by) if one is not None),
        state=_STATES[state],
        expires=export.expires,
        may_approve=waits and me not in {export.requested_by, export.first_by},
        may_use=state is State.APPROVED and me == export.requested_by,
    )


def _purpose(text: str) -> str:
    if not is_purpose(text):
        raise RuleError("Say in a few words for what the export is.")
    return text


def _what(text: str) -> What:
    try:
        return What(text)
    except ValueError:
        raise RuleError("Choose what is exported.") from None


# The file


async def _file(request: Request[Person, Any, Any], export: Export) -> bytes:
    store, now = request.app.state.store, now_of(request)
    async with store.connect() as connection:
        names = {one.id: f"{one.name} (person {one.id})" for one in await accounts(connection)}
    approvers = tuple(names[one] for one in (export.first_by, export.second_by) if one is not None)
    if export.what is What.DOSSIER:
        return await _dossier(request, export, approvers)
    head = archive.Manifest(
        export=export.id,
        institution=export.institution,
        case=export.case,
        purpose=export.purpose,
        requested_by=names[export.requested_by],
        approved_by=approvers,
        made=now,
    )
    files = await _files(request, export)
    key = request.app.state.settings.signing_key
    return await run_in_thread(functools.partial(archive.pack, head, files, key=key))


async def _files(request: Request[Person, Any, Any], export: Export) -> dict[str, bytes]:
    """The submissions, their assessments, the case, and the access records of the case."""
    store = request.app.state.store
    files: dict[str, bytes] = {}
    async with store.connect() as connection:
        for digest in await requests.digests(connection, export):
            body = await queries.content(connection, export.institution, digest)
            if body is None:
                continue  # erased meanwhile: the list of files shows that it is missing
            files[f"evidence/{digest}.json"] = body
            verifications = await queries.verification_list(connection, export.institution, digest)
            files[f"assessments/{digest}.json"] = msgspec.json.encode(verifications)
        case = await queries.case_of(connection, export.institution, export.case)
        entries: list[queries.Entry] = []
        while further := await queries.entries(
            connection, export.institution, export.case, after=entries[-1].id if entries else 0
        ):
            entries.extend(further)
    files["case.json"] = msgspec.json.encode({"case": case, "entries": entries})
    found = await records.listed(store, institutions=[export.institution], limit=RECORDS_MAX)
    of_case = [one for one in reversed(found) if one.record.case == export.case]
    files["access-records.json"] = msgspec.json.encode(
        [{"number": one.number, "hash": one.hash.hex(), "record": one.record} for one in of_case]
    )
    return files


async def _dossier(request: Request[Person, Any, Any], export: Export, approvers: tuple[str, ...]) -> bytes:
    async with request.app.state.store.connect() as connection:
        title = await title_of(connection, export.institution)
        sources = await dossiers.sources(connection, export.institution)
        assessed = await queries.assessed(connection, export.institution, limit=1)
    mark = f"case {export.case}, export {export.id}, approved by {' and '.join(approvers)}"

    def make() -> bytes:
        dossier = dossiers.gather(sources, made=now_of(request))
        written = dossier_lines.lines(title, dossier, assessed[0] if assessed else None)
        return pdf.write(written, title=f"TLS interception: {title}", watermark=mark)

    return await run_in_thread(make)
