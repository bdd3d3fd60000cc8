"""Room: tests of detector_collect.review.access.records and chain: what somebody could change in them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect.review.access import records
from detector_collect.review.access.chain import (
    GENESIS,
    AccessRecord,
    Head,
    Outcome,
    Row,
    Verifier,
    link,
    open_head,
    seal_head,
)
from detector_collect.review.access.permissions import Kind, Person
from detector_collect.store.database import Store
from detector_collect.store.errors import StoreError
from detector_collect.store.schema import access_records, chain_heads
from hypothesis import given, settings
from hypothesis import strategies as st
from support.collect_access import START
from support.collect_stores import fresh_database

from detector.model import encode
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.collect_access import Room

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = public_key_of(KEY)
RITA = Person(id=7, name="Rita", kind=Kind.OIDC)


def _chain(count: int) -> list[Row]:
    """A good chain of records."""
    rows, previous = [], GENESIS
    for number in range(1, count + 1):
        at = START + dt.timedelta(seconds=number)
        record = encode(AccessRecord(at=at, person=number % 3, action="evidence", case=number, outcome=Outcome.ALLOWED))
        digest = link(number, previous, record)
        rows.append(Row(number, at, record, previous, digest))
        previous = digest
    return rows


def _verify(rows: list[Row], *heads: Head) -> tuple[int, int | None]:
    verifier = Verifier(heads)
    verifier.add(rows)
    broken = verifier.finish()
    return verifier.number, None if broken is None else broken.number


def _head(rows: list[Row], number: int) -> Head:
    digest = rows[number - 1].hash
    assert isinstance(digest, bytes)
    return Head(number=number, hash=digest.hex(), at=START)


CHAIN = _chain(12)
_OTHER: dict[str, st.SearchStrategy[Any]] = {
    "number": st.one_of(st.integers(-(2**40), 2**40), st.none()),
    "at": st.one_of(st.datetimes(timezones=st.just(dt.UTC)), st.datetimes().map(str), st.text(), st.none()),
    "record": st.one_of(st.binary(max_size=200), st.text(), st.none(), st.sampled_from([row.record for row in CHAIN])),
    "previous": st.one_of(st.binary(max_size=40), st.text(), st.none(), st.sampled_from([row.hash for row in CHAIN])),
    "hash": st.one_of(st.binary(max_size=40), st.text(), st.none(), st.sampled_from([row.hash for row in CHAIN])),
}  # fmt: skip


@given(st.data())
def test_every_change_of_one_row_is_found_and_named(data: st.DataObject) -> None:
    """Whatever is written into one column of one row, that row is named as the first that is not what it was."""
    index = data.draw(st.integers(0, len(CHAIN) - 1))
    column = data.draw(st.sampled_from(Row._fields))
    value = data.draw(_OTHER[column].filter(lambda value: value != getattr(CHAIN[index], column)))
    rows = [*CHAIN[:index], CHAIN[index]._replace(**{column: value}), *CHAIN[index + 1 :]]
    assert _verify(rows) == (index, index + 1)


@given(st.integers(0, 11), st.integers(0, 7), st.sampled_from(["record", "previous", "hash"]), st.data())
def test_every_changed_bit_is_found(index: int, bit: int, column: str, data: st.DataObject) -> None:
    """One bit of a record or a hash that is another names that row."""
    value = bytearray(getattr(CHAIN[index], column))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << bit
    rows = [*CHAIN[:index], CHAIN[index]._replace(**{column: bytes(value)}), *CHAIN[index + 1 :]]
    assert _verify(rows) == (index, index + 1)


@given(st.integers(0, 10))
def test_a_row_that_is_removed_is_named(index: int) -> None:
    """The number of a removed row is the first that is missing."""
    assert _verify([*CHAIN[:index], *CHAIN[index + 1 :]]) == (index, index + 1)


@given(st.integers(0, 11), st.integers(0, 11))
def test_rows_that_trade_places_are_found(one: int, other: int) -> None:
    """Two records that are exchanged, with or without their hashes, are found at the first of them."""
    if one == other:
        return
    first, second = sorted((one, other))
    for columns in (("record", "at"), ("record", "at", "hash"), ("record", "at", "hash", "previous"), Row._fields):
        rows = list(CHAIN)
        rows[first] = CHAIN[first]._replace(**{name: getattr(CHAIN[second], name) for name in columns})
        rows[second] = CHAIN[second]._replace(**{name: getattr(CHAIN[first], name) for name in columns})
        assert _verify(rows) == (first, first + 1)


@given(st.integers(0, 11), st.integers(1, 12))
def test_records_that_are_cut_off_are_found_with_a_head(kept: int, signed: int) -> None:
    """A head that was kept elsewhere shows that records up to it are missing at the end, and none without it."""
    assert _verify(CHAIN[:kept]) == (kept, None)
    assert _verify(CHAIN[:kept], _head(CHAIN, signed)) == (kept, kept + 1 if signed > kept else None)


@given(st.integers(1, 12), st.integers(1, 12))
def test_a_chain_that_was_made_up_again_is_found_with_a_head(changed: int, signed: int) -> None:
    """Who changes a record and recomputes every later hash is found by a head of that or a later record."""
    rows, previous = list(CHAIN[: changed - 1]), CHAIN[changed - 2].hash if changed > 1 else GENESIS
    for row in CHAIN[changed - 1 :]:
        assert isinstance(row.record, bytes)
        assert isinstance(previous, bytes)
        record = row.record.replace(b"evidence", b"view") if row.number == changed else row.record
        assert isinstance(row.number, int)
        digest = link(row.number, previous, record)
        rows.append(Row(row.number, row.at, record, previous, digest))
        previous = digest
    assert _verify(rows) == (12, None)
    assert _verify(rows, _head(CHAIN, signed))[1] == (signed if signed >= changed else None)


@given(st.lists(st.sampled_from(range(12)), min_size=1, unique=True), st.integers(1, 5))
def test_batches_change_nothing(heads: list[int], size: int) -> None:
    """A chain is good however its rows are split, with any of its heads."""
    verifier = Verifier([_head(CHAIN, one + 1) for one in heads])
    for start in range(0, len(CHAIN), size):
        assert verifier.add(CHAIN[start : start + size])
    assert verifier.finish() is None


@given(st.binary(max_size=300))
def test_heads_are_signed(envelope: bytes) -> None:
    """What the key did not sign as a head is refused; what it did comes back."""
    head = _head(CHAIN, 5)
    assert open_head(seal_head(head, KEY), [PUBLIC]) == head
    with pytest.raises(ValueError, match="unreadable"):
        open_head(envelope, [PUBLIC])
    with pytest.raises(ValueError, match="unknown-key"):
        open_head(seal_head(head, KEY), [bytes(32)])


class _UndoneError(Exception):
    """Undoes a transaction."""


async def _fill(store: Store, count: int) -> None:
    for number in range(count):
        await records.record(store, now=START, person=RITA, action="evidence", case=number, purpose="a purpose")


async def test_records_are_numbered_without_gaps_by_writers_at_once(store: Store) -> None:
    """Writers that append at once, some of which fail, leave one chain without gaps."""

    async def write(number: int) -> None:
        if number % 4 == 0:
            with contextlib.suppress(_UndoneError):
                async with store.begin() as connection:
                    await records.append(connection, records.entry_of(now=START, person=RITA, action="undone"))
                    raise _UndoneError
        await records.record(store, now=START, person=RITA, action="evidence", subject=str(number))

    await asyncio.gather(*(write(number) for number in range(24)))
    found = await records.verify(store)
    assert (found.number, found.broken) == (24, None)
    listed = await records.listed(store, limit=50)
    assert {one.record.subject for one in listed} == {str(number) for number in range(24)}
    assert "undone" not in {one.record.action for one in listed}


async def test_two_stores_append_to_one_chain(database: str, store: Store) -> None:
    """Two processes on one database, here two stores, append to one chain."""
    async with await Store.open(database) as other:
        await asyncio.gather(*(_fill(one, 8) for one in (store, other)))
        assert (await records.verify(other)).number == 16


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE access_records SET at = at WHERE number = 2",
        "DELETE FROM access_records WHERE number = 2",
        "DELETE FROM access_records",
    ],
)
async def test_the_database_refuses_to_change_records(store: Store, statement: str) -> None:
    """A statement that changes or deletes records fails, as long as nobody removes the triggers."""
    await _fill(store, 3)
    with pytest.raises((sa.exc.DBAPIError, StoreError)):
        async with store.begin() as connection:
            await connection.exec_driver_sql(statement)
    assert (await records.verify(store)).number == 3


async def _without_triggers(store: Store) -> None:
    """What an administrator of the database can do first."""
    statements = (
        ("ALTER TABLE access_records DISABLE TRIGGER ALL",)
        if store.is_postgres
        else ("DROP TRIGGER access_records_no_update", "DROP TRIGGER access_records_no_delete")
    )
    async with store.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


def _set(**values: object) -> sa.Update:
    return sa.update(access_records).where(access_records.c.number == 4).values(**values)


TAMPERING: dict[str, tuple[Callable[[], sa.Executable], int]] = {
    "deletes": (lambda: sa.delete(access_records).where(access_records.c.number == 4), 4),
    "truncates": (lambda: sa.delete(access_records).where(access_records.c.number > 6), 7),
    "deletes everything": (lambda: sa.delete(access_records), 1),
    "changes the record": (
        lambda: _set(record=b'{"at":"2026-11-30T09:00:00Z","action":"view","outcome":"allowed"}'),
        4,
    ),
    "changes the time": (lambda: _set(at=START + dt.timedelta(seconds=1)), 4),
    "changes the hash": (lambda: _set(hash=bytes(32)), 4),
    "changes the hash before": (lambda: _set(previous=bytes(32)), 4),
    "renumbers": (lambda: _set(number=400), 4),
    "empties": (lambda: _set(record=b""), 4),
}


@pytest.mark.parametrize("name", TAMPERING)
async def test_an_administrator_of_the_database_is_found_out(store: Store, name: str) -> None:
    """Who deletes, edits, renumbers or cuts off records is found, with the number of the first."""
    statement, first = TAMPERING[name]
    await _fill(store, 9)
    envelope = await records.sign_head(store, KEY, now=START)
    assert envelope is not None
    head = open_head(envelope, [PUBLIC])
    assert (await records.verify(store, [head])).broken is None
    await _without_triggers(store)
    async with store.begin() as connection:
        await connection.execute(statement())
        await connection.execute(sa.delete(chain_heads))
    broken = (await records.verify(store, [head])).broken
    assert broken is not None
    assert broken.number == first


async def test_a_head_is_signed_once_for_each_record(store: Store) -> None:
    """Without new records a head is not signed again, and there is none without records."""
    assert await records.sign_head(store, KEY, now=START) is None
    await _fill(store, 2)
    first = await records.sign_head(store, KEY, now=START)
    again = await records.sign_head(store, KEY, now=START + dt.timedelta(days=1))
    await _fill(store, 1)
    later = await records.sign_head(store, KEY, now=START + dt.timedelta(days=1))
    assert first == again != later
    assert [head.number for head in await records.stored_heads(store, [PUBLIC])] == [2, 3]
    assert await records.heads(store, since=2) == [later]


async def test_a_head_is_signed_every_day(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service signs once for each day of its clock."""
    monkeypatch.setattr(records, "SIGN_POLL_SECONDS", 0.001)
    await _fill(room.store, 1)
    task = asyncio.create_task(records.sign_daily(room.store, KEY, room.clock))
    for day in range(1, 4):
        while len(await records.stored_heads(room.store, [PUBLIC])) < day:
            assert not task.done()
            await asyncio.sleep(0.001)
        await _fill(room.store, 1)
        room.clock.turn(days=1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [head.number for head in await records.stored_heads(room.store, [PUBLIC])][:3] == [1, 2, 3]


async def test_records_are_listed_by_institution(room: Room) -> None:
    """An auditor of one institution gets its records alone, newest first, page by page."""
    for number in range(30):
        at = ("north", "south", None)[number % 3]
        await records.record(room.store, now=START, person=RITA, action="view", institution=at)
    first = await records.listed(room.store, institutions=["north"], limit=4)
    second = await records.listed(room.store, institutions=["north"], before=first[-1].number, limit=20)
    assert [one.number for one in first + second] == list(range(28, 0, -3))
    assert await records.listed(room.store, institutions=[], limit=4) == []


@settings(max_examples=30)
@given(st.text(max_size=20), st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=800))
def test_any_text_can_be_recorded(purpose: str, subject: str) -> None:
    """Whatever text somebody sends makes a bounded record that can be read."""
    entry = records.entry_of(now=START, person=RITA, action="view", purpose=purpose, subject=subject)
    assert len(encode(entry)) < 10_000


async def test_the_account_of_the_service_cannot_change_records(collect_postgres: str) -> None:
    """With the privileges that the page for operators lists, the service appends records and changes none."""
    url = await asyncio.to_thread(fresh_database, collect_postgres)
    page = (Path(__file__).parents[5] / "docs" / "review-access.md").read_text("utf-8")
    statements = re.search(r"```sql\n(.*?)```", page, re.DOTALL)
    assert statements is not None
    async with await Store.open(url, migrate=True) as owner:
        async with owner.begin() as connection:
            await connection.exec_driver_sql(
                "DO $$ BEGIN CREATE ROLE collector_service LOGIN PASSWORD 'service'; "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
            for statement in statements[1].strip().split(";")[:-1]:
                await connection.exec_driver_sql(statement)
        await _fill(owner, 2)
        service = re.sub(r"//[^@]*@", "//collector_service:service@", url)
        async with await Store.open(service) as store:
            await _fill(store, 2)
            for statement in (
                "UPDATE access_records SET at = at",
                "DELETE FROM access_records",
                "TRUNCATE access_records",
            ):
                with pytest.raises((sa.exc.DBAPIError, StoreError)):
                    async with store.begin() as connection:
                        await connection.exec_driver_sql(statement)
            assert (await records.verify(store)).number == 4
