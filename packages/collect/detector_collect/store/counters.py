"""Counts of what was refused or quarantined, and of what is there.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from .database import insert
from .schema import counters, evidence, work

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection


REFRESH_FAILED: Final = "refresh-failed"
"""Counter of the times that a worker could not read its knowledge again, of no institution."""


class Queue(NamedTuple):
    """How much waits to be assessed, and since when the first of it is due; None where nothing waits.

    What a worker has claimed is due when its lease ends.
    """

    depth: int
    oldest: dt.datetime | None


async def increase(connection: AsyncConnection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to counters; each is an institution (empty where unknown) and a name."""
    for (institution, name), value in sorted(counts.items()):  # one order, so that processes do not wait in a circle
        adding = insert(connection, counters).values(institution=institution, name=name, value=value)
        new = counters.c.value + adding.excluded.value
        await connection.execute(
            adding.on_conflict_do_update(index_elements=["institution", "name"], set_={"value": new})
        )


async def read(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """Every counter."""
    rows = await connection.execute(sa.select(counters.c.institution, counters.c.name, counters.c.value))
    return {(institution, name): value for institution, name, value in rows}


async def refreshes_failed(connection: AsyncConnection) -> int:
    """How often a worker could not read its knowledge again."""
    of_workers = counters.c.institution == "", counters.c.name == REFRESH_FAILED
    return await connection.scalar(sa.select(counters.c.value).where(*of_workers)) or 0


async def queue(connection: AsyncConnection) -> Queue:
    """The state of the queue."""
    asked = sa.select(sa.func.count(), sa.func.min(work.c.due))
    return Queue(*(await connection.execute(asked)).one())


async def states(connection: AsyncConnection) -> dict[str, int]:
    """The number of submissions in each state. Counts every row, within the index."""
    rows = await connection.execute(sa.select(evidence.c.state, sa.func.count()).group_by(evidence.c.state))
    return {state: number for state, number in rows}  # noqa: C416 - a Row is no pair of these types
