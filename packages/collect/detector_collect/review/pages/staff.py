"""Pages about people: access records for auditors, grants for administrators.

Room: detector_collect.review.pages. Reads and writes through `access`, whose rules decide; grants are changed by POST
alone, with the token of the session.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litestar import Request, Response, get, post
from litestar.response import Redirect

from detector_collect.review.access import people, records
from detector_collect.review.access.authorize import record_refusal
from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.permissions import GRANT_LIFE_MAX, Permission, Person, Role, RuleError, in_force

from .institution import whole
from .rendering import now_of, page_of, respond

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector_collect.review.access.people import Account
    from detector_collect.review.access.permissions import Grant

ROWS: Final = 100
_SEE_OTHER: Final = 303
_FORBIDDEN: Final = 403


class AuditRow(NamedTuple):
    """One access record in words."""

    number: int
    at: dt.datetime
    who: str
    action: str
    subject: str
    institution: str
    case: str
    purpose: str
    outcome: str
    hash: str


@get("/audit", opt={"permission": Permission.AUDIT})
async def audit(request: Request[Person, Any, Any]) -> Response[str]:
    """List access records of the institutions that an auditor is responsible for."""
    store, now = request.app.state.store, now_of(request)
    found = await records.listed(
        store,
        institutions=request.user.institutions(Permission.AUDIT, now=now),
        before=whole(request.query_params.get("before")),
        limit=ROWS + 1,
    )
    async with store.connect() as connection:
        names = _names(await people.accounts(connection))
    return respond(
        "audit",
        page_of(request, "Access records", place="/audit"),
        rows=[_audit_row(one, names) for one in found[:ROWS]],
        next=found[ROWS - 1].number if len(found) > ROWS else None,
    )


def _names(accounts: list[Account]) -> dict[int, str]:
    return {account.id: account.name for account in accounts}


def _audit_row(one: records.Numbered, names: Mapping[int, str]) -> AuditRow:
    record = one.record
    who = "nobody signed in" if record.person is None else f"{names.get(record.person, '?')} ({record.person})"
    return AuditRow(
        number=one.number,
        at=record.at,
        who=f"{who}, {record.kind}" if record.kind else who,
        action=record.action,
        subject=record.subject or "",
        institution=record.institution or "",
        case="" if record.case is None else str(record.case),
        purpose=record.purpose or "",
        outcome=record.outcome.value,
        hash=one.hash.hex(),
    )


class GrantRow(NamedTuple):
    """One grant in words; `waits` for an approval, `counts` now, or has ended."""

    id: int
    person: str
    role: str
    institution: str
    requested: str
    approved: str
    expires: dt.datetime
    state: str
    waits: bool
    ended: bool


@get("/grants", opt={"permission": Permission.ADMINISTER})
async def grants(request: Request[Person, Any, Any]) -> Response[str]:
    """List the grants that an administrator decides about, and offer to request, approve and revoke them."""
    return await _grants(request)


@post("/grants", opt={"permission": Permission.ADMINISTER})
async def change_grants(request: Request[Person, Any, Any]) -> Response[Any]:
    """Request, approve or revoke a grant."""
    form, now = await request.form(), now_of(request)
    what, number = str(form.get("what", "")), whole(str(form.get("grant", ""))) or 0
    try:
        async with request.app.state.store.begin() as connection:
            match what:
                case "request":
                    await people.request_grant(
                        connection,
                        by=request.user,
                        person=whole(str(form.get("person", ""))) or 0,
                        role=_role(str(form.get("role", ""))),
                        institution=str(form.get("institution", "")).strip() or None,
                        expires=_day(str(form.get("expires", ""))),
                        now=now,
                    )
                case "approve":
                    await people.approve_grant(connection, by=request.user, grant=number, now=now)
                case "revoke":
                    await people.revoke_grant(connection, by=request.user, grant=number, now=now)
                case _:
                    raise RuleError("Choose what to do with a grant.")  # noqa: TRY301 - undoes the transaction
    except RuleError as error:
        await record_refusal(request, Outcome.RULE, subject=str(error))
        return await _grants(request, status=_FORBIDDEN, problem=str(error))
    return Redirect("/grants", status_code=_SEE_OTHER)


async def _grants(request: Request[Person, Any, Any], *, status: int = 200, problem: str = "") -> Response[str]:
    now = now_of(request)
    allowed = request.user.institutions(Permission.ADMINISTER, now=now)
    async with request.app.state.store.connect() as connection:
        accounts = await people.accounts(connection)
        found = await people.grants_of(connection)
    names = _names(accounts)
    return respond(
        "grants",
        page_of(request, "Grants", place="/grants"),
        status=status,
        problem=problem,
        rows=[_grant_row(one, names, now) for one in found if allowed is None or one.institution in allowed],
        accounts=accounts,
        roles=list(Role),
        least=(now + dt.timedelta(days=1)).date(),
        most=(now + GRANT_LIFE_MAX).date(),
    )


def _grant_row(grant: Grant, names: Mapping[int, str], now: dt.datetime) -> GrantRow:
    ended = grant.revoked is not None or grant.expires <= now
    waits = not ended and grant.approved is None
    state = "revoked" if grant.revoked else "expired" if ended else "waits for approval" if waits else "counts"
    if not ended and not waits and not in_force(grant, now=now):
        state = "does not count"
    return GrantRow(
        id=grant.id,
        person=f"{names.get(grant.person, '?')} ({grant.person})",
        role=grant.role.value,
        institution=grant.institution or "all institutions",
        requested=f"{names.get(grant.requested_by, '?')}, {grant.requested:%Y-%m-%d}",
        approved=""
        if grant.approved is None
        else f"{names.get(grant.approved_by or 0, '?')}, {grant.approved:%Y-%m-%d}",
        expires=grant.expires,
        state=state,
        waits=waits,
        ended=ended,
    )


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise RuleError(f"Choose a role: {', '.join(Role)}.") from None


def _day(text: str) -> dt.datetime:
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
    except ValueError:
        raise RuleError("Write the day on which the grant ends as YYYY-MM-DD.") from None
