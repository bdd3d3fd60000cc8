"""What runs on a worker: it says who it is, and it looks at endpoints. Everything in and out is JSON.

Room: fleet. Called by the engine in a thread of the worker; opens connections through `Detector`, judges nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import Endpoint, Observation, Record
from detector.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

FORM: Final = 1
"""Version of what travels between the parts of a fleet; rises when a reader of the old form would misread the new."""


class Identity(Record, frozen=True, kw_only=True):
    """Which program a worker runs: the version it calls itself, and a hash over its source."""

    form: int = FORM
    version: str = VERSION
    source_sha256: str


class Job(Record, frozen=True, kw_only=True):
    """Endpoints to look at, all within `timeout` seconds each, `concurrency` at once."""

    endpoints: tuple[Endpoint, ...]
    timeout: float
    concurrency: int
    route: str = "env"


class Seen(Record, frozen=True, kw_only=True):
    """What one look brought. `machine_roots` are roots added to the worker's machine (DER) that end the chain."""

    observation: Observation
    machine_roots: tuple[bytes, ...] = ()


@cache
def source_hash() -> str:
    """SHA-256 over the names and contents of this package's modules, in order."""
    package = Path(__file__).resolve().parent.parent
    running = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        running.update(module.relative_to(package).as_posix().encode() + b"\0" + module.read_bytes() + b"\0")
    return running.hexdigest()


def identity() -> bytes:
    """Who this worker is, as JSON."""
    return msgspec.json.encode(Identity(source_sha256=source_hash()))


def look(job: bytes) -> bytes:
    """Do a `Job` and give the `Seen` of each of its endpoints, in order, as JSON."""
    return msgspec.json.encode(asyncio.run(_look(msgspec.json.decode(job, type=Job))))


async def _look(job: Job) -> Sequence[Seen]:
    from detector.pins import PinSet  # noqa: PLC0415 - loaded on the worker
    from detector.session import Detector  # noqa: PLC0415 - as above

    slots = asyncio.Semaphore(job.concurrency)
    detector = Detector(pins=PinSet(name="job", endpoints=()), route=job.route, offline=True)

    async def one(endpoint: Endpoint) -> Seen:
        async with slots:
            case = await detector.look(endpoint, timeout=job.timeout)
        anchors = {path.anchor.certificate.der for path in case.machine_paths if path.anchor is not None}
        return Seen(observation=case.observation, machine_roots=tuple(sorted(anchors)))

    return await asyncio.gather(*map(one, job.endpoints))
