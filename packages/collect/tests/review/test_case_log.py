"""Cases in the database: they only grow, and two reviewers at once do not overwrite each other.

Room: tests. SQLite and a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from detector_collect.review import case_log, queries
from detector_collect.review.access import people
from detector_collect.review.cases import ChangedError, State, Step, StepError
from detector_collect.store import evidence
from detector_collect.store.schema import case_entries
from support.collect_stores import NOW, new_evidence

if TYPE_CHECKING:
    from detector_collect.store.database import Store


async def _opened(store: Store) -> tuple[int, int, int]:
    """A case with its author and its last entry."""
    async with store.begin() as connection:
        person = await people.add_person(connection, issuer="i", subject="s", name="Rita", now=NOW)
        case = await case_log.open_case(connection, "north", person=person, title="Filter", text="why", now=NOW)
        (entry,) = await queries.entries(connection, "north", case)
    return person, case, entry.id


async def _take(  # noqa: PLR0913 - keyword-only past the step; what its form has
    store: Store, case: int, step: Step, *, read: int, person: int, digest: str = ""
) -> None:
    async with store.begin() as connection:
        await case_log.take_step(
            connection, "north", case, step, read=read, person=person, text=str(step), digest=digest, now=NOW
        )


async def test_a_case_grows(store: Store) -> None:
    """An answer to a question makes two entries, and the case is answered; what was there before stays."""
    person, case, last = await _opened(store)
    for step in (Step.ASK, Step.ANSWER, Step.REVIEW_RIGHTS, Step.RESOLVE, Step.REOPEN):
        await _take(store, case, step, read=last, person=person)
        async with store.connect() as connection:
            entries = await queries.entries(connection, "north", case)
        assert entries[-1].id > last
        last = entries[-1].id
    async with store.connect() as connection:
        found = await queries.case_of(connection, "north", case)
    assert [(entry.entry, entry.state) for entry in entries] == [
        ("state", "open"),
        ("state", "asked"),
        ("answer", None),
        ("state", "answered"),
        ("state", "rights-under-review"),
        ("state", "resolved"),
        ("state", "open"),
    ]
    assert found is not None
    assert found.state == State.OPEN


async def test_of_two_at_once_one_is_refused(store: Store) -> None:
    """Ten reviewers who have read the same entry write at once: one entry is made, nine are refused."""
    person, case, last = await _opened(store)
    steps = [_take(store, case, Step.NOTE, read=last, person=person) for _ in range(10)]
    results = await asyncio.gather(*steps, return_exceptions=True)
    assert sorted(map(type, results), key=str) == sorted([type(None), *[ChangedError] * 9], key=str)
    async with store.connect() as connection:
        assert len(await queries.entries(connection, "north", case)) == 2


async def test_a_measurement_names_its_submission(store: Store) -> None:
    """The institution's own evidence is referred to by digest; another institution's, or none, is refused."""
    person, case, last = await _opened(store)
    new = new_evidence()
    async with store.begin() as connection:
        await evidence.add(connection, new)
    for digest in ("00" * 32, "no digest", "'; DROP TABLE cases; --"):
        with pytest.raises(StepError, match="sent no submission"):
            await _take(store, case, Step.MEASURE, read=last, person=person, digest=digest)
    with pytest.raises(StepError, match="only a measurement"):
        await _take(store, case, Step.NOTE, read=last, person=person, digest=new.digest.hex())
    await _take(store, case, Step.MEASURE, read=last, person=person, digest=new.digest.hex())
    async with store.connect() as connection:
        entries = await queries.entries(connection, "north", case)
    assert [entry.evidence for entry in entries] == [None, new.digest.hex()]


async def test_a_refused_step_enters_nothing(store: Store) -> None:
    """A step that the state does not allow, or of another institution's case, leaves no entry."""
    person, case, last = await _opened(store)
    with pytest.raises(StepError, match="not possible while the case is open"):
        await _take(store, case, Step.REVIEW_RIGHTS, read=last, person=person)
    with pytest.raises(StepError, match="none of that number"):
        await _take(store, case + 1, Step.NOTE, read=last, person=person)
    async with store.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(case_entries)) == 1
        assert (await queries.entries(connection, "north", case))[0].at == NOW.astimezone(dt.UTC)
