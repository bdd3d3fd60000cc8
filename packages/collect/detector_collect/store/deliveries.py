"""Outbox of notices for receivers outside: written with the change that they are about, claimed by the sender.

Room: detector_collect.store. Reads and writes the database; sends nothing.

A notice says what happened where, as a path of the review room and a few words of closed sets or counts. It has no
evidence and nothing about a student: who receives it must sign in to read more.

Each receiver gets its notices one after another: while one waits to be tried again, later ones wait too. So a receiver
can refuse a number that is not greater than the last, as repeated or reordered.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from detector.model import Record, encode

from .schema import deliveries, receivers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

DIGEST_DELAY: Final = dt.timedelta(minutes=15)
"""How long the first notice for a mail receiver waits for others: one mail for what happens together."""
DIGEST_MAX: Final = 100
"""Notices in one mail; the others follow in the next."""
RETRIES: Final = tuple(
    dt.timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Pauses before each further attempt: the schedule that the Standard Webhooks specification proposes (section on
delivery), three days in all. After the last attempt a notice is given up."""
ATTEMPTS_MAX: Final = len(RETRIES) + 1
LOCK: Final = int.from_bytes(hashlib.sha256(b"detector_collect deliveries").digest()[:8], "big", signed=True)
"""PostgreSQL's advisory lock of transactions that announce. They take turns until they commit: otherwise a number
could appear after a greater one was delivered, and its receiver would refuse it as reordered."""
KEPT: Final = dt.timedelta(days=30)
"""How long delivered notices and those given up are kept, for questions about what was sent."""


class Event(enum.StrEnum):
    """What receivers can subscribe to."""

    CONCLUSION_CHANGED = "conclusion-changed"
    CASE_OPENED = "case-opened"
    CASE_CHANGED = "case-changed"
    ANSWER_ARRIVED = "answer-arrived"
    QUARANTINE_RISING = "quarantine-rising"
    HEAD_MADE = "head-made"
    GRANT_REQUESTED = "grant-requested"


class ReceiverKind(enum.StrEnum):
    """How a receiver is reached."""

    WEBHOOK = "webhook"
    MAIL = "mail"


class Notice(Record, frozen=True, kw_only=True):
    """One event. `path` is the page that shows it; `facts` are words of closed sets, or counts."""

    event: Event
    at: dt.datetime
    institution: str | None
    path: str
    facts: dict[str, str | int]


class Receiver(NamedTuple):
    """Who gets notices of these events, of one institution or of all."""

    id: int
    kind: ReceiverKind
    target: str
    events: frozenset[Event]
    institution: str | None
    is_private: bool


class Delivery(NamedTuple):
    """One notice for one receiver. `id` grows with time."""

    id: int
    notice: Notice
    attempts: int


class Claimed(NamedTuple):
    """What to send to one receiver now: one notice for a webhook, several for a mail."""

    receiver: Receiver
    deliveries: tuple[Delivery, ...]


class Backlog(NamedTuple):
    """A receiver, and how many of its notices wait, and were given up."""

    receiver: Receiver
    waiting: int
    given_up: int


async def announce(  # noqa: PLR0913 - what a notice consists of
    connection: AsyncConnection,
    event: Event,
    *,
    at: dt.datetime,
    institution: str | None,
    path: str,
    facts: Mapping[str, str | int] | None = None,
) -> None:
    """Write a notice for each receiver of the event, in the transaction of what it is about."""
    wanted: sa.ColumnElement[bool] = receivers.c.institution.is_(None)
    if institution is not None:
        wanted = sa.or_(wanted, receivers.c.institution == institution)
    body = encode(Notice(event=event, at=at, institution=institution, path=path, facts=dict(facts or {})))
    rows = [
        {
            "receiver": receiver.id,
            "event": event.value,
            "body": body,
            "created": at,
            "due": at + DIGEST_DELAY if receiver.kind is ReceiverKind.MAIL else at,
        }
        for receiver in map(_receiver, await connection.execute(sa.select(receivers).where(wanted)))
        if event in receiver.events
    ]
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    await connection.execute(sa.insert(deliveries), rows)


async def claim(
    connection: AsyncConnection, *, now: dt.datetime, lease: dt.timedelta, limit: int
) -> tuple[Claimed, ...]:
    """The first waiting notices of up to `limit` receivers, for this sender alone until the lease ends.

    One attempt is counted. A sender that dies is replaced after the lease: what it had claimed is sent again.
    """
    first = sa.select(sa.func.min(deliveries.c.id)).where(_WAITING).group_by(deliveries.c.receiver)
    found = await connection.execute(
        sa.select(deliveries.c.id.label("number"), receivers)
        .join(receivers, receivers.c.id == deliveries.c.receiver)
        .where(deliveries.c.id.in_(first), deliveries.c.due <= now, _WAITING)
        .order_by(deliveries.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    return tuple([await _claim_of(connection, row.number, _receiver(row), now + lease) for row in found.all()])


async def finish(connection: AsyncConnection, claimed: Claimed, *, now: dt.datetime) -> None:
    """Mark what was claimed as delivered."""
    await connection.execute(sa.update(deliveries).where(_of(claimed)).values(delivered=now))


async def postpone(connection: AsyncConnection, claimed: Claimed, *, now: dt.datetime) -> None:
    """Try what was claimed again later."""
    attempts = max(delivery.attempts for delivery in claimed.deliveries)
    pause = RETRIES[min(attempts, len(RETRIES)) - 1]
    await connection.execute(sa.update(deliveries).where(_of(claimed)).values(due=now + pause))


async def forget(connection: AsyncConnection, *, now: dt.datetime) -> None:
    """Delete what was delivered or given up long ago."""
    await connection.execute(sa.delete(deliveries).where(~_WAITING, deliveries.c.created < now - KEPT))


async def add_receiver(  # noqa: PLR0913 - what a receiver consists of
    connection: AsyncConnection,
    *,
    kind: ReceiverKind,
    target: str,
    events: Collection[Event],
    institution: str | None,
    is_private: bool,
    now: dt.datetime,
) -> int:
    """Add a receiver. Returns its number."""
    values = {
        "kind": kind.value,
        "target": target,
        "events": " ".join(sorted(events)),
        "institution": institution,
        "private": is_private,
        "created": now,
    }
    added = await connection.execute(sa.insert(receivers).values(values).returning(receivers.c.id))
    return int(added.scalar_one())


async def remove_receiver(connection: AsyncConnection, number: int) -> bool:
    """Remove a receiver and its notices. Returns whether there was one."""
    removed = await connection.execute(sa.delete(receivers).where(receivers.c.id == number))
    return removed.rowcount == 1


async def backlogs(connection: AsyncConnection) -> tuple[Backlog, ...]:
    """Every receiver with its backlog."""
    waiting = sa.func.count(sa.case((_WAITING, 1)))
    given_up = sa.func.count(sa.case((sa.and_(deliveries.c.delivered.is_(None), ~_WAITING), 1)))
    rows = await connection.execute(
        sa.select(receivers, waiting.label("waiting"), given_up.label("given_up"))
        .outerjoin(deliveries, deliveries.c.receiver == receivers.c.id)
        .group_by(*receivers.c)
        .order_by(receivers.c.id)
    )
    return tuple(Backlog(_receiver(row), row.waiting, row.given_up) for row in rows)


_WAITING: Final = sa.and_(deliveries.c.delivered.is_(None), deliveries.c.attempts < ATTEMPTS_MAX)


async def _claim_of(connection: AsyncConnection, first: int, receiver: Receiver, until: dt.datetime) -> Claimed:
    most = DIGEST_MAX if receiver.kind is ReceiverKind.MAIL else 1
    rows = await connection.execute(
        sa.select(deliveries.c.id, deliveries.c.body, deliveries.c.attempts)
        .where(deliveries.c.receiver == receiver.id, deliveries.c.id >= first, _WAITING)
        .order_by(deliveries.c.id)
        .limit(most)
    )
    claimed = Claimed(
        receiver,
        tuple(Delivery(row.id, msgspec.json.decode(row.body, type=Notice), row.attempts + 1) for row in rows),
    )
    await connection.execute(
        sa.update(deliveries).where(_of(claimed)).values(due=until, attempts=deliveries.c.attempts + 1)
    )
    return claimed


def _of(claimed: Claimed) -> sa.ColumnElement[bool]:
    return deliveries.c.id.in_([delivery.id for delivery in claimed.deliveries])


def _receiver(row: sa.Row[tuple[object, ...]]) -> Receiver:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    return Receiver(
        id=values["id"],
        kind=ReceiverKind(values["kind"]),
        target=values["target"],
        events=frozenset(map(Event, values["events"].split())),
        institution=values["institution"],
        is_private=values["private"],
    )
