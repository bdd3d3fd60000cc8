"""Fills the collector's tables with findings, as a worker would have left them.

Room: tests of the collector. Writes to the given connection.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from detector_collect.store.schema import contents, evidence, findings
from support.collect_stores import KEY, NOW

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Found(NamedTuple):
    """One endpoint's result of one student, as a test describes it; `student` and `network` are any short texts."""

    student: str | None = "s"
    exam: str = "algebra"
    network: str = "home"
    intercepted: bool = False
    host: str = "exam.example.org"
    days_ago: int = 0
    institution: str = "north"


def digest_of(text: str) -> bytes:
    """The hash that stands for a student, a network or a submission."""
    return hashlib.sha256(text.encode()).digest()


async def fill(connection: AsyncConnection, results: list[Found], *, first: int = 1) -> None:
    """Store each result as the only one of a submission of its own, numbered from `first`."""
    for number, one in enumerate(results, start=first):
        student = None if one.student is None else digest_of(one.student)
        at = NOW - dt.timedelta(days=one.days_ago)
        shared = {
            "institution": one.institution,
            "exam": one.exam,
            "student": student,
            "network": digest_of(one.network),
        }
        await connection.execute(
            sa.insert(evidence).values(
                id=number,
                digest=digest_of(f"submission {number}"),
                key=KEY,
                kind="bundle",
                made=at,
                received=at,
                size=10,
                state="verified",
                **shared,
            )
        )
        body = f"envelope {number}".encode()
        await connection.execute(sa.insert(contents).values(evidence=number, encoding="identity", body=body))
        await connection.execute(
            sa.insert(findings).values(
                evidence=number,
                number=0,
                at=at,
                host=one.host,
                port=443,
                category="exam",
                verdict="middleware" if one.intercepted else "clean",
                confidence="proven" if one.intercepted else None,
                reason="identity-substituted" if one.intercepted else "accepted",
                ca_key=digest_of("ca") if one.intercepted else None,
                **shared,
            )
        )
