"""What is kept, what expires, and that nothing is left of what is erased. Room: tests."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import sqlalchemy as sa
from detector_collect.store import counters, evidence, findings, retention, schema
from detector_collect.store.errors import ErasedError, StoreError
from detector_collect.store.findings import NewFinding, NewVerification
from detector_collect.store.schema import metadata
from detector_collect.submissions import AGE_MAX
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.collect_stores import NOW, new_evidence
from support.system import program

from detector.outbox.submission import Kind

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.evidence import NewEvidence

DAY = dt.timedelta(days=1)


def student(number: int) -> bytes:
    return hashlib.sha256(f"student {number}".encode()).digest()


def secret_body(number: int) -> bytes:
    """A content of several pages of SQLite that nothing else has."""
    return b"".join(hashlib.sha256(f"{number} {line}".encode()).digest() for line in range(700))


def traces(new: NewEvidence) -> list[bytes]:
    """What may be left of nothing: hash, digest, and the content at any place, raw and in hexadecimal."""
    assert new.student is not None
    found = [new.student, new.digest, *(new.body[at : at + 24] for at in range(0, len(new.body), 997))]
    return [*found, *(one.hex().encode() for one in found)]


async def fill(store: Store, count: int, *, students: int) -> list[NewEvidence]:
    """Evidence of several students, every second piece assessed, so that every table has rows of it."""
    made = [
        new_evidence(
            number,
            student=student(number % students),
            digest=hashlib.sha256(secret_body(number)).digest(),
            body=secret_body(number),
            exam=f"exam-{number % 3}",
        )
        for number in range(count)
    ]
    for number, new in enumerate(made):
        async with store.begin() as connection:
            added = await evidence.add(connection, new)
            if number % 2:
                verification = NewVerification(NOW, "0.1.0", bytes(32), b"[" + new.body[:50].hex().encode() + b"]")
                finding = NewFinding(NOW, "a.example", 443, "exam", "middleware", "proven", "pinned", None, new.digest)
                await findings.replace(connection, added.id, verification, [finding], "verified")
    return made


async def erase(store: Store, whose: bytes, *, limit: int = 3) -> retention.Erased:
    erased = 0
    while True:
        async with store.begin() as connection:
            done = await retention.erase(connection, whose, limit=limit)
        erased += done.erased
        if done.erased < limit:
            await store.clean()
            return done._replace(erased=erased)


def everything(url: str) -> bytes:
    """All that the database holds: SQLite's files, byte by byte, or a dump of PostgreSQL."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    return subprocess.run([program("pg_dump"), url], check=True, capture_output=True).stdout  # noqa: S603 - pg_dump, by its path


async def test_an_erased_student_leaves_no_trace(store: Store, database: str) -> None:
    """No byte of hash, digest or content is found, of no table; others' evidence stays; a replay is refused."""
    made = await fill(store, 25, students=5)
    mine = [new for new in made if new.student == student(1)]
    before = everything(database)
    assert all(any(trace in before for trace in traces(new)) for new in made)
    assert await erase(store, student(1)) == (5, 0)
    after = everything(database)
    assert [trace for new in mine for trace in traces(new) if trace in after] == []
    assert all(any(trace in after for trace in traces(new)) for new in made if new not in mine)
    with pytest.raises(ErasedError):
        async with store.begin() as connection:
            await evidence.add(connection, mine[0]._replace(received=NOW + AGE_MAX))
    async with store.begin() as connection:
        assert await counters.states(connection) == {"waiting": 11, "verified": 9}


async def test_what_is_held_is_neither_erased_nor_expires(store: Store) -> None:
    """The answer says how much a hold keeps; once it is released, the same request erases it."""
    await fill(store, 12, students=2)  # six pieces of each student, two of them in each exam
    async with store.begin() as connection:
        number, pieces = await retention.place(connection, "north", "exam-1", reason="case 7", now=NOW)
    assert pieces == 4
    assert await erase(store, student(0)) == (4, 2)
    async with store.begin() as connection:
        assert await retention.expire(connection, now=NOW + 1000 * DAY) == 4
    async with store.begin() as connection:
        await retention.release(connection, number, now=NOW)
    with pytest.raises(StoreError, match="no hold"):
        async with store.begin() as connection:
            await retention.release(connection, number, now=NOW)
    assert await erase(store, student(0)) == (2, 0)
    async with store.begin() as connection:
        assert await retention.expire(connection, now=NOW + 1000 * DAY) == 2


async def test_a_hold_that_is_placed_while_erasing_waits(store: Store) -> None:
    """What is there when the hold has been placed is there until it is released."""
    await fill(store, 2, students=1)

    async def place() -> int:
        async with store.begin() as connection:
            return (await retention.place(connection, "north", None, reason="case", now=NOW))[1]

    async with store.begin() as connection:
        assert await retention.erase(connection, student(0), limit=1) == (1, 0)
        placing = asyncio.create_task(place())
        done, _ = await asyncio.wait([placing], timeout=0.2)
        assert not done
    assert await placing == 1
    assert await erase(store, student(0)) == (0, 1)


class Piece(NamedTuple):
    """A piece of evidence of the model: its kind, exam, age in days and student."""

    kind: Kind
    exam: int
    age: int
    whose: int


PIECES = st.lists(
    st.builds(Piece, st.sampled_from(list(Kind)[:3]), st.integers(0, 2), st.integers(0, 30), st.integers(0, 2)),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    PIECES,
    st.dictionaries(st.sampled_from(list(Kind)[:3]), st.integers(1, 30)),
    st.sets(st.integers(0, 2)),
    st.integers(0, 2),
    st.integers(1, 5),
)
async def test_deletion_does_what_a_model_says(  # noqa: PLR0913, PLR0917 - the parts of one generated world
    store: Store, pieces: list[Piece], days: dict[Kind, int], held: set[int], erased: int, limit: int
) -> None:
    """Any evidence, retention, holds, and one erased student: exactly what is left by the rules is left."""
    async with store.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name in {"evidence", "work", "contents", "holds", "erased", "retention"}:
                await connection.execute(sa.delete(table))
        for number, piece in enumerate(pieces):
            new = new_evidence(
                number,
                kind=piece.kind,
                exam=f"e{piece.exam}",
                student=student(piece.whose),
                received=NOW - piece.age * DAY,
            )
            await evidence.add(connection, new)
        for kind, kept in days.items():
            await retention.keep(connection, kind, kept)
        for exam in held:
            await retention.place(connection, "north", f"e{exam}", reason="case", now=NOW)
    expired = 0
    while True:
        async with store.begin() as connection:
            expired += (batch := await retention.expire(connection, now=NOW, limit=limit))
        assert batch <= limit
        if batch < limit:
            break
    fresh = [p for p in pieces if p.exam in held or p.age <= days.get(p.kind, retention.DAYS_DEFAULT)]
    assert expired == len(pieces) - len(fresh)
    left = [p for p in fresh if p.exam in held or p.whose != erased]
    kept_by_hold = sum(p.exam in held and p.whose == erased for p in fresh)
    assert await erase(store, student(erased), limit=limit) == (len(fresh) - len(left), kept_by_hold)
    async with store.connect() as connection:
        rows = await connection.execute(sa.select(schema.evidence.c.exam, schema.evidence.c.student))
        assert sorted(map(tuple, rows)) == sorted((f"e{p.exam}", student(p.whose)) for p in left)
        assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.contents)) == len(left)


async def test_marks_go_when_the_age_limit_refuses_the_submission(store: Store) -> None:
    """A mark lasts as long as its submission would be accepted, and no longer."""
    (new,) = await fill(store, 1, students=1)
    await erase(store, student(0))
    for later, marks in ((AGE_MAX, 1), (AGE_MAX + DAY, 0)):
        async with store.begin() as connection:
            await retention.expire(connection, now=new.made + later)
            assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.erased)) == marks
