"""Requests of exports in the database; each change with its access record, in one transaction.

Room: detector_collect.review.exports. Reads and writes through connections of the store; the rules are in `rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from detector_collect.review.access.people import load_person
from detector_collect.review.access.permissions import RuleError
from detector_collect.review.access.records import append, entry_of
from detector_collect.store.schema import approvals, case_entries, cases, evidence

from .rules import EXPORT_LIFE, Export, What, check_approval, check_request, check_use

if TYPE_CHECKING:
    import datetime as dt

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector_collect.review.access.permissions import Person

ACTION: Final = "export"
"""What stands in `approvals.action`."""
SUBMISSIONS_MAX: Final = 200
"""Submissions of one export."""
BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of these as they were sent: an export is made in memory."""
LISTED_MAX: Final = 100
"""Exports of one case that are listed, the newest first."""


class _Detail(msgspec.Struct, frozen=True):
    what: What
    submissions: tuple[int, ...]


async def request_export(  # noqa: PLR0913 - what a request consists of
    connection: AsyncConnection,
    *,
    by: Person,
    institution: str,
    case: int,
    what: What,
    purpose: str,
    now: dt.datetime,
) -> int:
    """Request an export of a case. Returns its number. Raises `RuleError`."""
    check_request(by, institution, now=now)
    await _check_case(connection, institution, case)
    found = await _submissions(connection, institution, case) if what is What.ARCHIVE else ()
    values = {
        "action": ACTION,
        "case": case,
        "detail": msgspec.json.encode(_Detail(what, found)),
        "requested_by": by.id,
        "requested": now,
        "purpose": purpose,
        "expires": now + EXPORT_LIFE,
    }
    added = await connection.execute(sa.insert(approvals).values(values).returning(approvals.c.id))
    number = int(added.scalar_one())
    export = await find(connection, institution, case, number)
    await _record(connection, by, "export-request", export, f"{what} of {len(found)} submissions", now=now)
    return number


async def approve(connection: AsyncConnection, export: Export, *, by: Person, now: dt.datetime) -> None:
    """Approve an export. Raises `RuleError`."""
    check_approval(by, export, now=now)
    of = (approvals.c.id == export.id, approvals.c.used.is_(None), approvals.c.expires > now)
    if export.first_by is None:
        change = sa.update(approvals).where(*of, approvals.c.first_by.is_(None)).values(first_by=by.id, first=now)
    else:
        different = (approvals.c.first_by != by.id, approvals.c.requested_by != by.id)
        change = sa.update(approvals).where(*of, approvals.c.second_by.is_(None), *different)
        change = change.values(second_by=by.id, second=now)
    if (await connection.execute(change)).rowcount != 1:
        raise RuleError("Somebody else decided about this export at the same time. Open the page again.")
    await _record(connection, by, "export-approval", export, "first" if export.first_by is None else "second", now=now)


async def decline(connection: AsyncConnection, export: Export, *, by: Person, now: dt.datetime) -> None:
    """Decline an export, which then has expired. Raises `RuleError`."""
    check_approval(by, export, now=now)
    await connection.execute(sa.update(approvals).where(approvals.c.id == export.id).values(expires=now))
    await _record(connection, by, "export-refusal", export, "declined", now=now)


async def check(connection: AsyncConnection, export: Export, *, by: Person, purpose: str, now: dt.datetime) -> None:
    """Check that `by` may use an export now, with everybody's present grants. Raises `RuleError`."""
    if export.first_by is None or export.second_by is None:
        raise RuleError("An export needs the approval of two other people.")
    first, second = [await load_person(connection, number) for number in (export.first_by, export.second_by)]
    check_use(by, export, first=first, second=second, purpose=purpose, now=now)


async def use(  # noqa: PLR0913 - keyword-only past the export; what its record says
    connection: AsyncConnection, export: Export, *, by: Person, sha256: str, size: int, now: dt.datetime
) -> None:
    """Mark an export that was checked as used; the record names the hash of its file. Raises `RuleError`."""
    once = sa.update(approvals).where(
        approvals.c.id == export.id, approvals.c.used.is_(None), approvals.c.expires > now
    )
    if (await connection.execute(once.values(used=now))).rowcount != 1:
        raise RuleError("This export was used already, and each counts once. Request another one.")
    await _record(connection, by, "export", export, f"{export.what} of {size} bytes, SHA-256 {sha256}", now=now)


async def find(connection: AsyncConnection, institution: str, case: int, number: int) -> Export:
    """An export of a case. Raises `RuleError` if that case has none of that number."""
    rows = await connection.execute(_exports(institution, case).where(approvals.c.id == number))
    if (row := rows.one_or_none()) is None:
        raise RuleError("This case has no such export.")
    return _export(row)


async def listed(connection: AsyncConnection, institution: str, case: int) -> tuple[Export, ...]:
    """The exports of a case, newest first."""
    rows = await connection.execute(_exports(institution, case).order_by(approvals.c.id.desc()).limit(LISTED_MAX))
    return tuple(_export(row) for row in rows)


async def _check_case(connection: AsyncConnection, institution: str, case: int) -> None:
    of = (cases.c.id == case, cases.c.institution == institution)
    if await connection.scalar(sa.select(cases.c.id).where(*of)) is None:
        raise RuleError("This institution has no such case.")


async def digests(connection: AsyncConnection, export: Export) -> tuple[str, ...]:
    """The digests of an export's submissions in hexadecimal, without those that were erased since."""
    wanted = sa.select(evidence.c.digest).where(evidence.c.id.in_(export.submissions)).order_by(evidence.c.id)
    return tuple(row.digest.hex() for row in await connection.execute(wanted))


async def _submissions(connection: AsyncConnection, institution: str, case: int) -> tuple[int, ...]:
    """The submissions that a case refers to. Raises `RuleError` for none, and for too many or too large ones."""
    wanted = (
        sa.select(evidence.c.id, evidence.c.size)
        .where(
            evidence.c.institution == institution,
            evidence.c.id.in_(sa.select(case_entries.c.evidence).where(case_entries.c.case == case)),
        )
        .order_by(evidence.c.id)
    )
    rows = (await connection.execute(wanted.limit(SUBMISSIONS_MAX + 1))).all()
    if not rows:
        raise RuleError("No entry of this case refers to a submission, so that there is nothing to export.")
    if len(rows) > SUBMISSIONS_MAX or sum(row.size for row in rows) > BYTES_MAX:
        raise RuleError(f"An export has at most {SUBMISSIONS_MAX} submissions of {BYTES_MAX >> 20} MiB in all.")
    return tuple(row.id for row in rows)


def _exports(institution: str, case: int) -> sa.Select[Any]:
    return (
        sa.select(approvals, cases.c.institution)
        .join(cases, cases.c.id == approvals.c.case)
        .where(cases.c.institution == institution, cases.c.id == case, approvals.c.action == ACTION)
    )


def _export(row: sa.Row[Any]) -> Export:
    detail = msgspec.json.decode(row.detail, type=_Detail)
    return Export(
        id=row.id,
        institution=row.institution,
        case=row.case,
        what=detail.what,
        submissions=detail.submissions,
        purpose=row.purpose,
        requested_by=row.requested_by,
        requested=row.requested,
        first_by=row.first_by,
        second_by=row.second_by,
        used=row.used,
        expires=row.expires,
    )


async def _record(  # noqa: PLR0913 - what a record says
    connection: AsyncConnection, by: Person, action: str, export: Export, subject: str, *, now: dt.datetime
) -> None:
    entry = entry_of(
        now=now,
        person=by,
        action=action,
        institution=export.institution,
        case=export.case,
        purpose=export.purpose,
        subject=f"export {export.id}: {subject}",
    )
    await append(connection, entry)
