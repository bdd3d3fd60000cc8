"""Stores what an assessment of a piece of evidence said, in the place of what was said before.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from .database import insert, storable
from .errors import LeaseLostError
from .schema import evidence, findings, handshakes, verifications

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


class NewVerification(NamedTuple):
    """One assessment; see `schema.verifications`."""

    at: dt.datetime
    detector_version: str
    knowledge: bytes
    detail: bytes


class NewFinding(NamedTuple):
    """One endpoint's conclusion; see `schema.findings`. The evidence says of whom it is."""

    at: dt.datetime
    host: str
    port: int
    category: str
    verdict: str
    confidence: str | None
    reason: str
    product: str | None
    ca_key: bytes | None


async def replace(  # noqa: PLR0913, PLR0917 - one piece of evidence and all that is said of it
    connection: AsyncConnection,
    number: int,
    verification: NewVerification,
    new: Sequence[NewFinding],
    state: str,
    reason: str | None = None,
) -> None:
    """Add a verification, and replace the findings and the state of evidence `number`.

    Call it before `queue.finish`: erasing locks in the same order. Raises `LeaseLostError` where the evidence is gone.
    """
    whose = evidence.c.institution, evidence.c.exam, evidence.c.student, evidence.c.network
    changed = sa.update(evidence).where(evidence.c.id == number).values(state=state, reason=storable(reason))
    row = (await connection.execute(changed.returning(*whose))).mappings().one_or_none()
    if row is None:
        raise LeaseLostError("The evidence is gone.", advice="Discard the result.")
    await connection.execute(sa.insert(verifications).values(evidence=number, state=state, **verification._asdict()))
    await connection.execute(sa.delete(findings).where(findings.c.evidence == number))
    rows = [
        {
            "evidence": number,
            "number": at,
            **row,
            **one._asdict(),
            "host": storable(one.host),
            "product": storable(one.product),
        }
        for at, one in enumerate(new)
    ]
    if rows:
        await connection.execute(sa.insert(findings), rows)


async def own_handshakes(connection: AsyncConnection, number: int, digests: Sequence[bytes]) -> bool:
    """Record that evidence `number` shows these handshakes; False, and nothing recorded, where other evidence has one.

    Who shows a handshake first owns it, also of two that are stored at the same time: the second waits for the first.
    """
    await connection.execute(sa.delete(handshakes).where(handshakes.c.evidence == number))
    for at in range(0, len(digests), _DIGESTS_AT_ONCE):
        # In one order, so that two transactions never wait for each other.
        rows = [{"digest": one, "evidence": number} for one in sorted(digests)[at : at + _DIGESTS_AT_ONCE]]
        adding = insert(connection, handshakes).values(rows).on_conflict_do_nothing(index_elements=["digest"])
        if (await connection.execute(adding)).rowcount < len(rows):
            await connection.execute(sa.delete(handshakes).where(handshakes.c.evidence == number))
            return False
    return True


_DIGESTS_AT_ONCE: Final = 1000
"""Rows of one statement, each with two parameters: PostgreSQL and SQLite take 32,766."""
