"""Access records in the database: appended before the answer, listed, verified, their heads signed.

Room: detector_collect.review.access. Writes `access_records` and `chain_heads` through the store; the rules are
in `chain`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from detector.model import encode
from detector_collect.store.deliveries import Event, announce
from detector_collect.store.errors import StoreUnavailableError
from detector_collect.store.schema import access_records, chain_heads

from .chain import GENESIS, AccessRecord, Head, Outcome, Row, Verifier, decode, link, open_head, seal_head

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector_collect.store.database import Store

    from .chain import Break
    from .permissions import Person

LOCK: Final = int.from_bytes(hashlib.sha256(b"detector_collect access records").digest()[:8], "big", signed=True)
"""PostgreSQL's advisory lock of those who append. Any fixed 64-bit number would do (PostgreSQL, 13.3.5)."""

BATCH: Final = 10_000
"""Rows read at once while verifying: some megabytes."""

SIGN_POLL_SECONDS: Final = 60.0
"""How often the date is compared, and a database that was away asked again."""

TEXT_MAX: Final = 500
"""Characters of a purpose or subject that a record keeps. What a stranger requests must not fill the database."""


class Numbered(NamedTuple):
    """A record with its number and hash."""

    number: int
    hash: bytes
    record: AccessRecord


async def record(  # noqa: PLR0913 - the fields of a record
    store: Store,
    *,
    now: dt.datetime,
    person: Person | None,
    action: str,
    institution: str | None = None,
    case: int | None = None,
    purpose: str | None = None,
    subject: str | None = None,
    outcome: Outcome = Outcome.ALLOWED,
) -> Numbered:
    """Append a record in a transaction of its own: it is durable when this returns. Raises `StoreError`."""
    entry = entry_of(
        now=now,
        person=person,
        action=action,
        institution=institution,
        case=case,
        purpose=purpose,
        subject=subject,
        outcome=outcome,
    )
    async with store.begin() as connection:
        return await append(connection, entry)


def entry_of(  # noqa: PLR0913 - the fields of a record
    *,
    now: dt.datetime,
    person: Person | None,
    action: str,
    institution: str | None = None,
    case: int | None = None,
    purpose: str | None = None,
    subject: str | None = None,
    outcome: Outcome = Outcome.ALLOWED,
) -> AccessRecord:
    """A record about `person`, for `append`. Texts are cut to `TEXT_MAX` characters."""
    return AccessRecord(
        at=now,
        person=None if person is None else person.id,
        kind=None if person is None else person.kind.value,
        action=action,
        institution=_bounded(institution),
        case=case,
        purpose=_bounded(purpose),
        subject=_bounded(subject),
        outcome=outcome,
    )


async def append(connection: AsyncConnection, entry: AccessRecord) -> Numbered:
    """Append a record in the transaction of `connection`, which must be one of `Store.begin`.

    Writers take turns until their transactions end, so that numbers have no gaps and no order is lost.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    columns = access_records.c
    latest = sa.select(columns.number, columns.hash).order_by(columns.number.desc()).limit(1)
    last = (await connection.execute(latest)).first()
    number, previous = (1, GENESIS) if last is None else (last.number + 1, last.hash)
    content = encode(entry)
    digest = link(number, previous, content)
    await connection.execute(
        sa.insert(access_records).values(number=number, at=entry.at, record=content, previous=previous, hash=digest)
    )
    return Numbered(number, digest, entry)


async def listed(
    store: Store, *, institutions: Collection[str] | None = None, before: int | None = None, limit: int = 100
) -> list[Numbered]:
    """The latest records, newest first: of `institutions` alone where they are given, with numbers under `before`."""
    columns = access_records.c
    found: list[Numbered] = []
    async with store.connect() as connection:
        while len(found) < limit:
            wanted = sa.select(columns.number, columns.hash, columns.record).order_by(columns.number.desc())
            if before is not None:
                wanted = wanted.where(columns.number < before)
            rows = (await connection.execute(wanted.limit(BATCH if institutions is not None else limit))).all()
            if not rows:
                break
            read = (Numbered(row.number, row.hash, decode(row.record)) for row in rows)
            found.extend(one for one in read if institutions is None or one.record.institution in institutions)
            before = rows[-1].number
    return found[:limit]


async def rows(store: Store) -> AsyncGenerator[list[Row], None]:
    """Every row, unmodified, in order, in batches."""
    columns = access_records.c
    wanted = sa.select(
        columns.number,
        sa.type_coerce(columns.at, sa.String),
        sa.type_coerce(columns.record, sa.types.NullType),
        sa.type_coerce(columns.previous, sa.types.NullType),
        sa.type_coerce(columns.hash, sa.types.NullType),
    ).order_by(columns.number)
    last: int | None = None
    async with store.connect() as connection:
        while True:
            further = wanted if last is None else wanted.where(columns.number > last)
            batch = [Row(*row) for row in (await connection.execute(further.limit(BATCH))).all()]
            if not batch:
                return
            yield batch
            last = int(str(batch[-1].number))


class Verification(NamedTuple):
    """How many records are good, the hash of the last of them, and the first that is not."""

    number: int
    hash: bytes
    broken: Break | None


async def verify(store: Store, heads: Iterable[Head] = ()) -> Verification:
    """Verify every record, and that `heads`, which were kept elsewhere, are of this chain. Raises `StoreError`."""
    verifier = Verifier(heads)
    async with contextlib.aclosing(rows(store)) as batches:
        async for batch in batches:
            if not verifier.add(batch):
                break
    return Verification(verifier.number, verifier.hash, verifier.finish())


async def sign_head(store: Store, key: Ed25519PrivateKey, *, now: dt.datetime) -> bytes | None:
    """Sign the hash of the latest record, store and return it; None where there are no records."""
    columns = access_records.c
    async with store.begin() as connection:
        latest = sa.select(columns.number, columns.hash).order_by(columns.number.desc()).limit(1)
        last = (await connection.execute(latest)).first()
        if last is None:
            return None
        known = sa.select(chain_heads.c.envelope).where(chain_heads.c.number == last.number)
        existing: bytes | None = await connection.scalar(known)
        if existing is not None:
            return existing
        envelope = seal_head(Head(number=last.number, hash=last.hash.hex(), at=now), key)
        await connection.execute(sa.insert(chain_heads).values(number=last.number, envelope=envelope))
        facts = {"record": last.number, "hash": last.hash.hex()}
        await announce(connection, Event.HEAD_MADE, at=now, institution=None, path="/audit", facts=facts)
        return envelope


async def sign_daily(store: Store, key: Ed25519PrivateKey, clock: Callable[[], dt.datetime]) -> None:
    """Sign the latest record once a day, until cancelled. A database that is away is asked again."""
    signed: dt.date | None = None
    while True:
        now = clock()
        if now.date() != signed:
            with contextlib.suppress(StoreUnavailableError):
                await sign_head(store, key, now=now)
                signed = now.date()
        await asyncio.sleep(SIGN_POLL_SECONDS)


async def heads(store: Store, *, since: int = 0) -> list[bytes]:
    """The signed heads of records after `since`, in order."""
    async with store.connect() as connection:
        wanted = sa.select(chain_heads.c.envelope).where(chain_heads.c.number > since).order_by(chain_heads.c.number)
        return [row.envelope for row in (await connection.execute(wanted)).all()]


async def stored_heads(store: Store, keys: Sequence[bytes]) -> list[Head]:
    """The heads in the database, verified. Raises `ValueError` for one that none of `keys` signed."""
    return [open_head(envelope, keys) for envelope in await heads(store)]


def _bounded(text: str | None) -> str | None:
    """The text, cut; what is not Unicode is replaced."""
    return None if text is None else text[:TEXT_MAX].encode("utf-8", "replace").decode("utf-8")
