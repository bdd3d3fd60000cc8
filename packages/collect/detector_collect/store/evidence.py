"""Adds submissions, each once, and reads them.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from .database import erasure_key, insert
from .errors import ErasedError
from .schema import contents, erased, evidence, work

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

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
    (added,) = await add_all(connection, [new])
    if added is None:
        raise ErasedError("This submission was erased.", advice="Do not send it again.")
    return added


async def add_all(connection: AsyncConnection, new: Sequence[NewEvidence]) -> list[Added | None]:
    """Add submissions and their work, or find them, as `add` does for one. None for each that was erased."""
    # Always in the same order: two transactions that add the same ones would wait for each other.
    rows = {one.digest: _row(one) for one in sorted(new, key=lambda one: one.digest)}
    adding = insert(connection, evidence).on_conflict_do_nothing(index_elements=["digest"])
    added = await connection.execute(adding.returning(evidence.c.digest, evidence.c.id), list(rows.values()))
    numbers: dict[bytes, int] = {row.digest: row.id for row in added}
    # Looked up after the insertion, which waits for an erasure that is under way.
    gone = await _erased(connection, new)
    if lost := [numbers.pop(digest) for digest in gone & numbers.keys()]:
        await connection.execute(sa.delete(evidence).where(evidence.c.id.in_(lost)))
    found = await _find(connection, rows.keys() - numbers.keys() - gone)
    new_ones = [one for one in {one.digest: one for one in reversed(new)}.values() if one.digest in numbers]
    if new_ones:
        bodies = [{"evidence": numbers[one.digest], "encoding": one.encoding, "body": one.body} for one in new_ones]
        await connection.execute(sa.insert(contents), bodies)
        due = [
            {"evidence": numbers[one.digest], "institution": one.institution, "due": one.received} for one in new_ones
        ]
        await connection.execute(sa.insert(work), due)
    answers: list[Added | None] = []
    for one in new:
        if (number := numbers.pop(one.digest, None)) is not None:
            found[one.digest] = Added(number, one.received, is_new=False)
            answers.append(Added(number, one.received, is_new=True))
        else:
            answers.append(found.get(one.digest))
    return answers


def _row(new: NewEvidence) -> dict[str, Any]:
    return {
        **{name: getattr(new, name) for name in ("digest", "institution", "key", "exam", "student", "network")},
        "kind": new.kind.value,
        "made": new.made,
        "received": new.received,
        "size": len(new.body),
        "state": "waiting",
    }


async def _erased(connection: AsyncConnection, new: Sequence[NewEvidence]) -> set[bytes]:
    """The digests of those that were erased, and may not return yet."""
    marks = {mark(connection, one.digest): one for one in new}
    marked = sa.select(erased.c.mark, erased.c.until).where(erased.c.mark.in_(list(marks)))
    return {marks[row.mark].digest for row in await connection.execute(marked) if row.until >= marks[row.mark].received}


async def _find(connection: AsyncConnection, digests: AbstractSet[bytes]) -> dict[bytes, Added]:
    """Those that were known before, by digest."""
    if not digests:
        return {}
    known = sa.select(evidence.c.digest, evidence.c.id, evidence.c.received)
    rows = await connection.execute(known.where(evidence.c.digest.in_(list(digests))))
    return {row.digest: Added(row.id, row.received, is_new=False) for row in rows}


async def content(connection: AsyncConnection, number: int) -> Content | None:
    """The bytes of a submission; None where it is gone."""
    columns = [evidence.c[name] for name in ("id", "digest", "institution", "kind", "received")]
    asked = sa.select(*columns, contents.c.body, contents.c.encoding).join(contents).where(evidence.c.id == number)
    found = (await connection.execute(asked)).mappings().one_or_none()
    return None if found is None else Content(**found)


def mark(connection: AsyncConnection, digest: bytes) -> bytes:
    """What remains of an erased submission: only who has it can tell that it was here."""
    return hmac.digest(erasure_key(connection), digest, hashlib.sha256)
