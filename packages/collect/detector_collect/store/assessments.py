"""Statements about institutions, as they were made (`detector_collect.responsibility`).

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from .database import insert
from .deliveries import Event, announce
from .errors import StoreError
from .schema import assessments, conclusions

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


class NewConclusion(NamedTuple):
    """The statement about one institution; see `schema.conclusions`."""

    institution: str
    conclusion: str
    detail: bytes


class Concluded(NamedTuple):
    """A statement about one institution, with the assessment that it is of and the results that it is about."""

    number: int
    at: dt.datetime
    since: dt.datetime
    until: dt.datetime
    institution: str
    conclusion: str
    detail: bytes


async def next_number(connection: AsyncConnection) -> int:
    """The number of the next assessment: they have no gaps, because each spends its part of the error."""
    return (await connection.scalar(sa.select(sa.func.max(assessments.c.number))) or 0) + 1


async def add(  # noqa: PLR0913 - one parameter per column
    connection: AsyncConnection,
    number: int,
    *,
    at: dt.datetime,
    since: dt.datetime,
    until: dt.datetime,
    new: Sequence[NewConclusion],
) -> None:
    """Add an assessment of what was seen from `since` until `until`, and announce each conclusion that changed.

    Raises `StoreError` if the number is taken.
    """
    before = {one.institution: one.conclusion for one in await latest(connection)}
    adding = insert(connection, assessments).values(number=number, at=at, since=since, until=until)
    if (await connection.execute(adding.on_conflict_do_nothing())).rowcount == 0:
        raise StoreError(f"Assessment {number} was made meanwhile.", advice="Make the next one.")
    if new:
        await connection.execute(sa.insert(conclusions), [{"number": number, **one._asdict()} for one in new])
    for one in new:
        if (previous := before.get(one.institution)) != one.conclusion:
            await announce(
                connection,
                Event.CONCLUSION_CHANGED,
                at=at,
                institution=one.institution,
                path=f"/institutions/{one.institution}",
                facts={"conclusion": one.conclusion, "previous": previous or "none", "assessment": number},
            )


async def latest(connection: AsyncConnection) -> list[Concluded]:
    """The statements of the last assessment, by institution."""
    last = sa.select(sa.func.max(assessments.c.number)).scalar_subquery()
    columns = [assessments.c[name] for name in ("number", "at", "since", "until")]
    wanted = (
        sa.select(*columns, conclusions.c.institution, conclusions.c.conclusion, conclusions.c.detail)
        .join(conclusions)
        .where(assessments.c.number == last)
        .order_by(conclusions.c.institution)
    )
    return [Concluded(**row) for row in (await connection.execute(wanted)).mappings()]
