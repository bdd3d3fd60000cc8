"""The queue of evidence to be assessed: each piece is claimed by one worker at a time, for as long as its lease.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.

A worker claims in a transaction of its own, assesses, and then stores (`findings.replace`) and finishes in one
transaction. If it dies, its rows are due again when the lease ends. `Claimed.attempt` counts the leases of a row, so
that a worker that lost one can neither finish nor fail.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from .database import insert, storable
from .errors import LeaseLostError, StoreError
from .schema import Utc, evidence, findings, handshakes, institutions, keys, verifications, work

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

ATTEMPTS: Final = 5
"""Leases before evidence is quarantined: enough to outlive restarts, and no more workers than that die of one piece."""
RETRY: Final = dt.timedelta(seconds=30)
"""Wait after the first failure; it doubles with each."""


DISREGARDED: Final = "key-disregarded"
"""Reason of evidence that was sent with a stolen key: it is not assessed again."""
REPEATED: Final = "repeated-evidence"
"""Reason of evidence whose handshakes other evidence showed first: `Why.REPEATED_EVIDENCE` of an assessment."""


class Claimed(NamedTuple):
    """A row of the queue, ours until `until`."""

    work: int
    evidence: int
    attempt: int
    until: dt.datetime


async def claim(connection: AsyncConnection, *, now: dt.datetime, lease: dt.timedelta, limit: int) -> list[Claimed]:
    """Claim up to `limit` rows that are due; none that another worker is claiming.

    The rows are shared out among up to `limit` institutions, drawn at random from all that have rows due: how much one
    of them sent makes no difference to the others. Of each the longest due come first. Rows whose leases all ended
    without a result are quarantined: their workers died.
    """
    await _give_up(connection, now)
    is_due = work.c.due <= now, work.c.attempts < ATTEMPTS
    has_due = sa.exists().where(work.c.institution == institutions.c.id, *is_due)
    drawn = sa.select(institutions.c.id).where(has_due).order_by(sa.func.random()).limit(limit)
    claimed: list[Claimed] = []
    waiting = list(await connection.scalars(drawn))
    for at, institution in enumerate(waiting):
        share = math.ceil((limit - len(claimed)) / (len(waiting) - at))
        claimed += await _claim(connection, work.c.institution == institution, *is_due, until=now + lease, limit=share)
    return claimed


async def _claim(
    connection: AsyncConnection, *wanted: sa.ColumnElement[bool], until: dt.datetime, limit: int
) -> list[Claimed]:
    due = (
        sa.select(work.c.id)
        .where(*wanted)
        .order_by(work.c.due, work.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claiming = (
        sa.update(work)
        .where(work.c.id == due.c.id)
        .values(due=until, attempts=work.c.attempts + 1)
        .returning(work.c.id, work.c.evidence, work.c.attempts)
    )
    return [Claimed(row.id, row.evidence, row.attempts, until) for row in await connection.execute(claiming)]


async def requeue(
    connection: AsyncConnection, *, knowledge: bytes, now: dt.datetime, after: int, limit: int
) -> int | None:
    """Put evidence back into the queue that was last assessed with other knowledge, from the row `after` on.

    Reads `limit` rows and returns the last one, to go on from; None at the end.
    """
    columns = [evidence.c[name] for name in ("id", "institution", "reason")]
    rows = sa.select(*columns).where(evidence.c.id > after).order_by(evidence.c.id).limit(limit).cte("rows")
    last = (
        sa.select(verifications.c.knowledge)
        .where(verifications.c.evidence == rows.c.id)
        .order_by(verifications.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    counts = rows.c.reason.is_distinct_from(DISREGARDED)
    outdated = sa.select(rows.c.id, rows.c.institution, sa.literal(now, Utc())).where(last != knowledge, counts)
    await _queue(connection, outdated)
    reached: int | None = await connection.scalar(sa.select(sa.func.max(rows.c.id)))
    return reached


async def disregard(
    connection: AsyncConnection, key: str, *, since: dt.datetime, until: dt.datetime, now: dt.datetime
) -> int:
    """Quarantine for good what was received with a key from `since` until `until`. Returns how much that was.

    Workers that are assessing some of it lose their leases. What was quarantined because this had shown the same
    handshakes first is queued again. Raises `StoreError` for an unknown key.
    """
    institution = await connection.scalar(sa.select(keys.c.institution).where(keys.c.id == key))
    if institution is None:
        raise StoreError(f"There is no key {key}.", advice="`detector-collect key list` shows them.")
    of_key = evidence.c.key == key, evidence.c.received >= since, evidence.c.received < until
    counting = evidence.c.reason.is_distinct_from(DISREGARDED)
    quarantined = sa.update(evidence).where(*of_key, counting).values(state="quarantined", reason=DISREGARDED)
    number = (await connection.execute(quarantined)).rowcount
    numbers = sa.select(evidence.c.id).where(*of_key)
    for table in (findings, handshakes, work):
        await connection.execute(sa.delete(table).where(table.c.evidence.in_(numbers)))
    repeated = evidence.c.institution == institution, evidence.c.state == "quarantined", evidence.c.reason == REPEATED
    await _queue(connection, sa.select(evidence.c.id, evidence.c.institution, sa.literal(now, Utc())).where(*repeated))
    return number


async def release(connection: AsyncConnection, *, now: dt.datetime) -> None:
    """End every lease. For a database of one process, when that starts."""
    await connection.execute(sa.update(work).where(work.c.due > now, work.c.attempts > 0).values(due=now))


async def finish(connection: AsyncConnection, claimed: Claimed) -> None:
    """Remove a row that is done. Raises `LeaseLostError`."""
    await _held(connection, sa.delete(work).where(*_is(claimed)))


async def fail(connection: AsyncConnection, claimed: Claimed, *, now: dt.datetime, reason: str) -> bool:
    """Make a row due again later, or quarantine its evidence after the last attempt. Returns whether it was the last.

    Raises `LeaseLostError`.
    """
    if claimed.attempt < ATTEMPTS:
        later = now + RETRY * 2 ** (claimed.attempt - 1)
        await _held(connection, sa.update(work).where(*_is(claimed)).values(due=later))
        return False
    await _quarantine(connection, [claimed.evidence], reason)
    await _held(connection, sa.delete(work).where(*_is(claimed)))
    return True


async def _queue(connection: AsyncConnection, rows: sa.Select[tuple[int, str, dt.datetime]]) -> None:
    """Queue evidence, of which `rows` has the number, the institution and the time; what is queued already stays."""
    adding = insert(connection, work).from_select(["evidence", "institution", "due"], rows)
    await connection.execute(adding.on_conflict_do_nothing(index_elements=["evidence"]))


async def _give_up(connection: AsyncConnection, now: dt.datetime) -> None:
    lost = work.c.due <= now, work.c.attempts >= ATTEMPTS
    numbers = list(await connection.scalars(sa.select(work.c.evidence).where(*lost).order_by(work.c.evidence)))
    if numbers:
        await _quarantine(connection, numbers, f"{ATTEMPTS} workers ended while they assessed it")
        await connection.execute(sa.delete(work).where(*lost, work.c.evidence.in_(numbers)))


async def _quarantine(connection: AsyncConnection, numbers: list[int], reason: str) -> None:
    quarantined = sa.update(evidence).where(evidence.c.id.in_(numbers))
    await connection.execute(quarantined.values(state="quarantined", reason=storable(reason)))
    await connection.execute(sa.delete(findings).where(findings.c.evidence.in_(numbers)))


def _is(claimed: Claimed) -> tuple[sa.ColumnElement[bool], ...]:
    return work.c.id == claimed.work, work.c.attempts == claimed.attempt


async def _held(connection: AsyncConnection, change: sa.Delete | sa.Update) -> None:
    if (await connection.execute(change)).rowcount == 0:
        raise LeaseLostError("The lease of this work has ended.", advice="Discard the result.")
