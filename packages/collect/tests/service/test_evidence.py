"""Submissions over real sockets: what is accepted is durable, and what is refused leaves nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
from typing import TYPE_CHECKING

import sqlalchemy as sa
from detector_collect.store import evidence as rows
from detector_collect.store.schema import contents, erased, evidence, work
from support.collect_service import DSSE, SERVICE_KEY, SUBMISSION, counted, sealed
from support.collect_stores import NOW

from detector.model import encode, json_text
from detector.outbox.receipt import PAYLOAD_TYPE as RECEIPT_TYPE
from detector.outbox.receipt import Receipt
from detector.outbox.submission import digest
from detector.trust.envelope import open_envelope, public_key_of

if TYPE_CHECKING:
    from support.collect_service import Running


async def test_a_submission_is_stored_and_answered_with_a_receipt(service: Running) -> None:
    """The receipt is signed by the service and names the digest, and the row is what was sent."""
    envelope = sealed()
    answer = await service.post(envelope)
    assert answer.status == 201
    assert answer.headers["content-type"] == DSSE
    opened = open_envelope(answer.body, payload_type=RECEIPT_TYPE, keys=[public_key_of(SERVICE_KEY)])
    receipt = json_text.decode(opened.payload, Receipt)
    async with service.store.connect() as connection:
        row = (await connection.execute(sa.select(evidence))).one()
        assert await connection.scalar(sa.select(contents.c.body)) == envelope
        assert await connection.scalar(sa.select(sa.func.count()).select_from(work)) == 1
    assert receipt == Receipt(digest=row.digest.hex(), institution="north", received=NOW)
    assert (row.kind, row.exam, row.student.hex(), row.state) == ("watch-event", "algebra", "ab" * 32, "waiting")


async def test_the_same_submission_again_has_the_same_receipt(service: Running) -> None:
    """A replay, compressed or not, is answered with 200 and the same bytes, and adds nothing."""
    first = await service.post(sealed())
    before = await counted(service.store)
    again = await service.post(sealed())
    compressed = await service.post(gzip.compress(sealed()), {"Content-Encoding": "gzip"})
    assert (again.status, again.body) == (compressed.status, compressed.body) == (200, first.body)
    assert await counted(service.store) == before


async def test_the_same_submission_at_the_same_time_is_one(service: Running) -> None:
    """Of many requests one is new, and all have the same receipt."""
    answers = await asyncio.gather(*(service.post(sealed()) for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [200] * 11 + [201]
    assert len({answer.body for answer in answers}) == 1
    assert (await counted(service.store))["evidence"] == 1


async def test_what_was_erased_does_not_return(service: Running) -> None:
    """A client that still has it is asked to delete it, and nothing of it is stored."""
    async with service.store.begin() as connection:
        mark = rows.mark(connection, bytes.fromhex(digest(encode(SUBMISSION))))
        await connection.execute(sa.insert(erased).values(mark=mark, until=NOW + dt.timedelta(days=40)))
    before = await counted(service.store)
    answer = await service.post(sealed())
    assert (answer.status, answer.refusal) == (410, "erased")
    assert await counted(service.store) == before
