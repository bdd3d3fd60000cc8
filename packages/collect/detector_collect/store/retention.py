"""How long evidence is kept: expiry by kind, erasure by the hash of a student, legal holds.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.

What is under a hold is neither erased nor expires, until the hold is released. On PostgreSQL, erasing and expiring keep
new holds waiting until they are done, so that what is under a hold when `place` has returned is there until `release`.

Deleting a piece of evidence deletes its content, verifications, findings and work. An erased piece leaves a mark
(`evidence.mark`) for as long as a client may still send it. `Store.clean` then removes what the database itself keeps
of deleted rows.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from detector.outbox.submission import Kind
from detector_collect.submissions import AGE_MAX

from .database import insert
from .errors import StoreError
from .evidence import mark
from .keys import require_institution
from .schema import erased, evidence, holds, retention

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

DAYS_DEFAULT: Final = 365
"""Days that each kind is kept unless it is set: an academic year, in which results are disputed. What a dispute needs
longer is put under a hold."""
BATCH: Final = 500
"""Rows that one transaction deletes: with 0.5 MB each, a quarter of a gigabyte of log, and some seconds."""

_HELD: Final = sa.exists().where(
    holds.c.released.is_(None),
    holds.c.institution == evidence.c.institution,
    sa.or_(holds.c.exam.is_(None), holds.c.exam == evidence.c.exam),
)


class Hold(NamedTuple):
    """A legal hold on the evidence of an institution, or of one of its exams; see `schema.holds`."""

    id: int
    institution: str
    exam: str | None
    reason: str
    placed: dt.datetime
    released: dt.datetime | None


class Erased(NamedTuple):
    """Pieces of evidence that were erased, and those that a hold keeps."""

    erased: int
    held: int


# Expiry


async def days_kept(connection: AsyncConnection) -> Mapping[Kind, int]:
    """Days that each kind is kept."""
    found = await connection.execute(sa.select(retention.c.kind, retention.c.days))
    stored = {row.kind: row.days for row in found}
    return {kind: stored.get(kind.value, DAYS_DEFAULT) for kind in Kind}


async def keep(connection: AsyncConnection, kind: Kind, days: int) -> None:
    """Keep a kind for so many days, from its next expiry on."""
    setting = insert(connection, retention).values(kind=kind.value, days=days)
    await connection.execute(setting.on_conflict_do_update(index_elements=["kind"], set_={"days": days}))


async def expire(connection: AsyncConnection, *, now: dt.datetime, limit: int = BATCH) -> int:
    """Delete up to `limit` pieces of evidence that are kept no longer, and marks that are due. Returns the pieces.

    Call it until it returns less than `limit`, each time in a transaction of its own.
    """
    await _keep_holds_waiting(connection)
    gone = 0
    for kind, days in (await days_kept(connection)).items():
        old = (
            sa.select(evidence.c.id)
            .where(evidence.c.kind == kind.value, evidence.c.received < now - dt.timedelta(days=days), ~_HELD)
            .order_by(evidence.c.received, evidence.c.id)
            .limit(limit - gone)
        )
        gone += await _delete(connection, list(await connection.scalars(old)))
    await connection.execute(sa.delete(erased).where(erased.c.until < now))
    return gone


# Erasure


async def erase(connection: AsyncConnection, student: bytes, *, limit: int = BATCH) -> Erased:
    """Erase up to `limit` pieces of evidence of a student, whose hash has 32 bytes.

    Call it until it returns less than `limit`, each time in a transaction of its own. A mark refuses each piece until
    it is too old to be accepted.
    """
    await _keep_holds_waiting(connection)
    whose = evidence.c.student == student
    held = await connection.scalar(sa.select(sa.func.count()).select_from(evidence).where(whose, _HELD))
    wanted = sa.select(evidence.c.id, evidence.c.digest, evidence.c.made).where(whose, ~_HELD)
    rows = (await connection.execute(wanted.order_by(evidence.c.id).limit(limit))).all()
    if rows:
        marks = [{"mark": mark(connection, row.digest), "until": row.made + AGE_MAX} for row in rows]
        await connection.execute(insert(connection, erased).on_conflict_do_nothing(), marks)
    return Erased(await _delete(connection, [row.id for row in rows]), held or 0)


# Holds


async def place(
    connection: AsyncConnection, institution: str, exam: str | None, *, reason: str, now: dt.datetime
) -> tuple[int, int]:
    """Place a hold. Returns its number and the pieces of evidence under it. Raises `StoreError`."""
    await require_institution(connection, institution)
    placing = sa.insert(holds).values(institution=institution, exam=exam, reason=reason, placed=now)
    number = (await connection.execute(placing.returning(holds.c.id))).scalar_one()
    under = sa.select(sa.func.count()).select_from(evidence).where(evidence.c.institution == institution)
    if exam is not None:
        under = under.where(evidence.c.exam == exam)
    return number, await connection.scalar(under) or 0


async def release(connection: AsyncConnection, number: int, *, now: dt.datetime) -> None:
    """Release a hold. Raises `StoreError` where there is none of that number, or it is released already."""
    releasing = sa.update(holds).where(holds.c.id == number, holds.c.released.is_(None)).values(released=now)
    if (await connection.execute(releasing)).rowcount == 0:
        raise StoreError(f"There is no hold {number} in force.", advice="`detector-collect hold list` shows them.")


async def list_holds(connection: AsyncConnection) -> list[Hold]:
    """All holds, released ones too, by number."""
    columns = [holds.c[name] for name in Hold._fields]
    return [Hold(*row) for row in await connection.execute(sa.select(*columns).order_by(holds.c.id))]


async def _keep_holds_waiting(connection: AsyncConnection) -> None:
    """Let no hold be placed until the transaction ends. On SQLite the transaction is a lock already."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql("LOCK TABLE holds IN SHARE MODE")


async def _delete(connection: AsyncConnection, numbers: list[int]) -> int:
    if not numbers:
        return 0
    # Two programs that expire at once find the same rows: each row counts for the one that deletes it.
    return (await connection.execute(sa.delete(evidence).where(evidence.c.id.in_(numbers)))).rowcount
