"""Adds submissions, each once, and reads them.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from .database import erasure_key, insert
from .errors import ErasedError
from .schema import contents, erased, evidence, work

if TYPE_CHECKING:
    import datetime as dt

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector.outbox.submission import Kind


class NewEvidence(NamedTuple):
    """A submission that is accepted.

    `digest`, `student` and `network` have 32 bytes; `body` is the envelope as it was received, `encoding` how
    (`identity` or `gzip`).
    """

    digest: bytes
    institution: str
    key: str
    kind: Kind
    exam: str | None
    student: bytes | None
    network: bytes | None
    made: dt.datetime
    received: dt.datetime
    body: bytes
    encoding: str = "identity"


class Added(NamedTuple):
    """The row of a submission, and when it was first received. `is_new` is False for one that was known."""

    id: int
    received: dt.datetime
    is_new: bool


class Content(NamedTuple):
    """A submission's bytes, with what its row says of them."""

    id: int
    digest: bytes
    institution: str
    kind: str
    received: dt.datetime
    body: bytes
    encoding: str


async def add(connection: AsyncConnection, new: NewEvidence) -> Added:
    """Add a submission and its work, or find it: the digest decides, also where others add it at the same time.

    Raises `ErasedError` where it was erased; nothing of it is in the transaction then.
    """
    row = {
        **{name: getattr(new, name) for name in ("digest", "institution", "key", "exam", "student", "network")},
        "kind": new.kind.value,
        "made": new.made,
        "received": new.received,
        "size": len(new.body),
        "state": "waiting",
    }
    adding = insert(connection, evidence).values(row).on_conflict_do_nothing(index_elements=["digest"])
    number = await connection.scalar(adding.returning(evidence.c.id))
    # Looked up after the insertion, which waits for an erasure that is under way.
    marked = sa.select(erased.c.mark).where(
        erased.c.mark == mark(connection, new.digest), erased.c.until >= new.received
    )
    if await connection.scalar(marked) is not None:
        await connection.execute(sa.delete(evidence).where(evidence.c.id == number))
        raise ErasedError("This submission was erased.", advice="Do not send it again.")
    if number is None:
        known = sa.select(evidence.c.id, evidence.c.received).where(evidence.c.digest == new.digest)
        found = (await connection.execute(known)).one()
        return Added(found.id, found.received, is_new=False)
    await connection.execute(sa.insert(contents).values(evidence=number, encoding=new.encoding, body=new.body))
    await connection.execute(sa.insert(work).values(evidence=number, due=new.received))
    return Added(number, new.received, is_new=True)


async def content(connection: AsyncConnection, number: int) -> Content | None:
    """The bytes of a submission; None where it is gone."""
    columns = [evidence.c[name] for name in ("id", "digest", "institution", "kind", "received")]
    asked = sa.select(*columns, contents.c.body, contents.c.encoding).join(contents).where(evidence.c.id == number)
    found = (await connection.execute(asked)).mappings().one_or_none()
    return None if found is None else Content(**found)


def mark(connection: AsyncConnection, digest: bytes) -> bytes:
    """What remains of an erased submission: only who has it can tell that it was here."""
    return hmac.digest(erasure_key(connection), digest, hashlib.sha256)
