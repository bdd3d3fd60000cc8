"""Stores what an assessment of a piece of evidence said, in the place of what was said before.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from detector.model import Confidence

from .database import insert, storable
from .errors import LeaseLostError
from .schema import evidence, findings, handshakes, verifications

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Sequence

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
    Raises `LeaseLostError` where the evidence is gone.
    """
    row = sa.select(evidence.c.id).where(evidence.c.id == number).with_for_update()
    if await connection.scalar(row) is None:
        raise LeaseLostError("The evidence is gone.", advice="Discard the result.")
    await connection.execute(sa.delete(handshakes).where(handshakes.c.evidence == number))
    ordered = sorted(digests)  # so that two transactions never wait for each other
    for at in range(0, len(ordered), _DIGESTS_AT_ONCE):
        rows = [{"digest": one, "evidence": number} for one in ordered[at : at + _DIGESTS_AT_ONCE]]
        adding = insert(connection, handshakes).values(rows).on_conflict_do_nothing(index_elements=["digest"])
        if (await connection.execute(adding)).rowcount < len(rows):
            await connection.execute(sa.delete(handshakes).where(handshakes.c.evidence == number))
            return False
    return True


_DIGESTS_AT_ONCE: Final = 1000
"""Rows of one statement, each with two parameters: PostgreSQL and SQLite take 32,766."""


# What a period shows


class Exam(NamedTuple):
    """An exam of an institution."""

    institution: str
    exam: str


class Met(NamedTuple):
    """An interceptor that a student's device met in a network."""

    student: bytes
    network: bytes | None
    product: str | None
    ca_key: bytes | None


async def largest_exams(connection: AsyncConnection, since: dt.datetime, until: dt.datetime) -> list[Exam]:
    """Of each institution the exam with the most students; of two as large, the one whose name sorts first."""
    students_of = sa.func.count(findings.c.student.distinct())
    counting = (
        sa.select(findings.c.institution, findings.c.exam, students_of)
        .where(findings.c.at >= since, findings.c.at < until)
        .where(findings.c.exam.is_not(None), findings.c.student.is_not(None))
        .group_by(findings.c.institution, findings.c.exam)
    )
    largest: dict[str, tuple[int, str]] = {}
    for institution, exam, count in await connection.execute(counting):
        largest[institution] = min(largest.get(institution, (0, "")), (-count, exam))
    return [Exam(institution, exam) for institution, (_, exam) in sorted(largest.items())]


async def students(
    connection: AsyncConnection, exam: Exam, since: dt.datetime, until: dt.datetime
) -> AsyncIterator[bytes]:
    """The students of an exam of whom there are findings."""
    asked = sa.select(findings.c.student).where(*_of(exam, since, until)).distinct()
    async with connection.stream_scalars(asked) as rows:
        async for student in rows:
            yield student


async def interceptions(
    connection: AsyncConnection, exam: Exam, since: dt.datetime, until: dt.datetime
) -> AsyncIterator[Met]:
    """What the students of an exam met that is at least probable, each once."""
    asked = sa.select(*(findings.c[name] for name in Met._fields)).where(*_of(exam, since, until))
    certain = findings.c.confidence.in_([one.value for one in Confidence if one.reaches(Confidence.PROBABLE)])
    async with connection.stream(asked.where(certain).distinct()) as rows:
        async for row in rows:
            yield Met(*row)


def _of(exam: Exam, since: dt.datetime, until: dt.datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        findings.c.institution == exam.institution,
        findings.c.exam == exam.exam,
        findings.c.student.is_not(None),
        findings.c.at >= since,
        findings.c.at < until,
    )
