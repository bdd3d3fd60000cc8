"""The queue of evidence to be assessed: each piece is claimed by one worker at a time, for as long as its lease.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.

A worker claims in a transaction of its own, assesses, and then stores (`findings.replace`) and finishes in one
transaction. If it dies, its rows are due again when the lease ends. `Claimed.attempt` counts the leases of a row, so
that a worker that lost one can neither finish nor fail.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from .database import insert, storable
from .errors import LeaseLostError
from .schema import Utc, evidence, findings, verifications, work

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

ATTEMPTS: Final = 5
"""Leases before evidence is quarantined: enough to outlive restarts, and no more workers than that die of one piece."""
RETRY: Final = dt.timedelta(seconds=30)
"""Wait after the first failure; it doubles with each."""


class Claimed(NamedTuple):
    """A row of the queue, ours until `until`."""

    work: int
    evidence: int
    attempt: int
    until: dt.datetime


async def claim(connection: AsyncConnection, *, now: dt.datetime, lease: dt.timedelta, limit: int) -> list[Claimed]:
    """Claim up to `limit` rows that are due, the longest due first; none that another worker is claiming.

    Rows whose leases all ended without a result are quarantined: their workers died.
    """
    await _give_up(connection, now)
    due = (
        sa.select(work.c.id)
        .where(work.c.due <= now, work.c.attempts < ATTEMPTS)
        .order_by(work.c.due, work.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claiming = (
        sa.update(work)
        .where(work.c.id == due.c.id)
        .values(due=now + lease, attempts=work.c.attempts + 1)
        .returning(work.c.id, work.c.evidence, work.c.attempts)
    )
    return [Claimed(row.id, row.evidence, row.attempts, now + lease) for row in await connection.execute(claiming)]


async def requeue(
    connection: AsyncConnection, *, knowledge: bytes, now: dt.datetime, after: int, limit: int
) -> int | None:
    """Put evidence back into the queue that was last assessed with other knowledge, from the row `after` on.

    Reads `limit` rows and returns the last one, to go on from; None at the end.
    """
    rows = sa.select(evidence.c.id).where(evidence.c.id > after).order_by(evidence.c.id).limit(limit).cte("rows")
    last = (
        sa.select(verifications.c.knowledge)
        .where(verifications.c.evidence == rows.c.id)
        .order_by(verifications.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    outdated = sa.select(rows.c.id, sa.literal(now, Utc())).where(last != knowledge)
    adding = insert(connection, work).from_select(["evidence", "due"], outdated)
    await connection.execute(adding.on_conflict_do_nothing(index_elements=["evidence"]))
    reached: int | None = await connection.scalar(sa.select(sa.func.max(rows.c.id)))
    return reached


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
