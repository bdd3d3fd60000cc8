"""Assessments of a period: what is counted, and under which number. Room: tests."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from detector_collect.responsibility import Conclusion
from detector_collect.store import assessments
from detector_collect.store.database import Store
from detector_collect.store.errors import StoreError
from detector_collect.store.schema import assessments as assessment_rows
from detector_collect.store.schema import conclusions, evidence, findings
from detector_collect.worker import assess_period
from support.collect_evidence import recorder
from support.collect_worker import NAME, NOW, open_institutions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_collect.responsibility import Assessment

SINCE = NOW - dt.timedelta(days=100)
CA_KEY = bytes(range(32))


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """A store with two institutions."""
    async with await Store.open(database, migrate=True) as opened:
        await open_institutions(opened, "college", "school")
        yield opened


def hashed(text: str) -> bytes:
    """A hash of 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


async def found(store: Store, *rows: dict[str, Any]) -> None:
    """Findings, each of a piece of evidence of its own."""
    async with store.begin() as connection:
        for row in rows:
            whose = {"institution": "college", "exam": "algebra", "network": None} | row
            digest = hashed(repr(sorted(whose.items(), key=str)))
            of = {name: whose[name] for name in ("institution", "exam", "student", "network")}
            adding = sa.insert(evidence).values(
                digest=digest, key=NAME, kind="bundle", made=NOW, received=NOW, size=1, state="verified", **of
            )
            number = (await connection.execute(adding.returning(evidence.c.id))).scalar_one()
            finding = {
                "number": 0,
                "at": NOW - dt.timedelta(days=1),
                "host": "search.example.com",
                "port": 443,
                "category": "search",
                "verdict": "clean",
                "confidence": None,
                "reason": "pinned",
                "product": None,
                "ca_key": None,
            }
            await connection.execute(sa.insert(findings).values(evidence=number, **(finding | whose)))


def met(number: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - columns of findings
    """A student whose device met one CA, each in a network of its own."""
    accused = {"verdict": "middleware", "confidence": "proven", "ca_key": CA_KEY}
    return {"student": hashed(f"student {number}"), "network": hashed(f"network {number}")} | accused | changes


async def assess(store: Store) -> dict[str, Assessment]:
    """The assessments by institution."""
    material = recorder().material
    return {one.institution: one for one in await assess_period(store, material, since=SINCE, until=NOW, now=NOW)}


async def test_students_are_counted_once_and_possible_is_no_interception(store: Store) -> None:
    """Several findings of a student, several devices, uncertain ones, others' exams, and what has no student."""
    await found(
        store,
        *(met(number) for number in range(6)),
        *(met(number, host="exam.example.org") for number in range(6)),
        *(met(number, confidence="possible", product="Uncertain") for number in range(6, 20)),
        *({"student": hashed(f"student {number}"), "host": "clean.example"} for number in range(15, 30)),
        met(50, student=None),
        met(51, exam=None),
        met(52, exam="smaller"),
        met(53, at=SINCE - dt.timedelta(seconds=1)),
        *({"institution": "school", "student": hashed(f"pupil {number}")} for number in range(10)),
    )
    assessed = await assess(store)
    [basis] = assessed["college"].bases
    assert assessed["college"].students == 30
    assert (basis.key, basis.here[:2], basis.networks) == (CA_KEY.hex(), (6, 30), 6)
    assert assessed["college"].conclusion is Conclusion.SHARED_OPERATOR
    assert assessed["school"].conclusion is Conclusion.SINGLE_DEVICES


async def test_unknown_networks_are_one(store: Store) -> None:
    """Clients that do not say where they are show no operator in several networks."""
    await found(store, *(met(number, network=None) for number in range(6)))
    assert (await assess(store))["college"].conclusion is not Conclusion.SHARED_OPERATOR


async def test_every_assessment_has_a_number_of_its_own(store: Store) -> None:
    """Numbers rise; one that failed before it was stored was not made, and nothing of it is left."""
    await found(store, *(met(number) for number in range(6)))
    first, second = await assess(store), await assess(store)
    assert second["college"].error < first["college"].error

    async def store_third(*new: assessments.NewConclusion) -> None:
        async with store.begin() as connection:
            await assessments.add(connection, 3, at=NOW, since=SINCE, until=NOW, new=new)

    await store_third()
    with pytest.raises(StoreError, match="made meanwhile"):
        await store_third(assessments.NewConclusion("college", "institution", b"{}"))
    async with store.connect() as connection:
        assert list(await connection.scalars(sa.select(assessment_rows.c.number).order_by("number"))) == [1, 2, 3]
        assert list(await connection.scalars(sa.select(conclusions.c.number).order_by("number"))) == [1, 2]
