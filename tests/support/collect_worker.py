"""A store with submissions to assess, for the tests of the worker. Room: tests of the collector.

As a program it is a worker with a short lease, to be killed: `python -m support.collect_worker URL CONFIG`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from detector_collect.store import evidence
from detector_collect.store import keys as key_rows
from detector_collect.store.database import Store
from detector_collect.worker import MaterialConfig, Worker, WorkerSettings
from support.bundle_recordings import KEY, PUBLIC
from support.collect_evidence import recorder

from detector.model import encode
from detector.outbox.submission import PAYLOAD_TYPE
from detector.trust import envelope

if TYPE_CHECKING:
    from detector.outbox.submission import Submission

NOW = recorder().now + dt.timedelta(minutes=1)
NAME = envelope.key_identifier(PUBLIC)


def config() -> MaterialConfig:
    """What the worker assesses with: what `recorder` knows."""
    return MaterialConfig(data="shipped", endpoints=recorder().material.endpoints)


def settings(**changes: Any) -> WorkerSettings:  # noqa: ANN401 - fields of WorkerSettings
    """Settings of a worker whose clock stands still."""
    return WorkerSettings(clock=lambda: NOW)._replace(**changes)


async def open_institutions(store: Store, *names: str) -> None:
    """Register institutions, all with the same key."""
    async with store.begin() as connection:
        for name in names:
            await key_rows.add_institution(connection, key_rows.Institution(name, f"{name} (simulated)", NOW))
        await key_rows.add_key(connection, key_rows.Key(NAME, names[0], "signing", NOW, None, None, 600, 4 << 20))


async def receive(store: Store, submission: Submission, *, received: dt.datetime = NOW) -> int:
    """Store a submission as the service does; returns its number."""
    payload = encode(submission)
    body = envelope.seal(payload, payload_type=PAYLOAD_TYPE, keys=[KEY])
    new = evidence.NewEvidence(
        digest=hashlib.sha256(payload).digest(),
        institution=submission.institution,
        key=NAME,
        kind=submission.kind,
        exam=submission.exam,
        student=None if submission.student is None else bytes.fromhex(submission.student),
        network=None if submission.network is None else bytes.fromhex(submission.network),
        made=submission.made,
        received=received,
        body=body,
    )
    async with store.begin() as connection:
        return (await evidence.add(connection, new)).id


LEASE = dt.timedelta(seconds=2)
"""Short enough to wait for, long enough for four submissions."""


def later() -> dt.datetime:
    """A clock by which everything that was received is due."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)


async def work(url: str, known: MaterialConfig) -> None:
    """Work until killed."""
    async with await Store.open(url) as store, Worker(store, known, WorkerSettings(lease=LEASE, clock=later)) as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], msgspec.json.decode(sys.argv[2], type=MaterialConfig)))
