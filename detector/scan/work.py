"""Work that a scan gives to other processes, on this machine or elsewhere: endpoints to look at, and what was seen.

Room: scan. JSON in, JSON out. `look` opens connections through `Detector` and judges nothing; what came back is judged
where the scan was asked for, with the pins, roots and logs that are there.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import msgspec

from detector.judge.evidence import EndpointEvidence
from detector.judge.recorded import believed
from detector.model import Endpoint, MachineRoot, Observation, Outcome, Record
from detector.pins import PinSet
from detector.session.session import Detector
from detector.session.settings import NetworkSettings
from detector.trust.roots import from_recorded

from .runner import look_patiently

if TYPE_CHECKING:
    from collections.abc import Sequence


FROM_ELSEWHERE: Final = NetworkSettings(proxy="env", offline=True)
"""How another process makes connections: follow-up probes are the coordinator's business."""


class Job(Record, frozen=True, kw_only=True):
    """Endpoints to look at, `concurrency` at once, each within `timeout` seconds for a try.

    `retries` are further tries after failures that pass.
    """

    endpoints: tuple[Endpoint, ...]
    timeout: float
    concurrency: int
    retries: int = 0
    network: NetworkSettings = FROM_ELSEWHERE


class Seen(Record, frozen=True, kw_only=True):
    """What looking at an endpoint brought. `machine_roots` are roots of that machine that end the chain."""

    observation: Observation
    others: tuple[Observation, ...] = ()
    machine_roots: tuple[MachineRoot, ...] = ()


NOT_LOOKED: Final = Seen(observation=Observation(outcome=Outcome.RESOURCES, attempts=0))
"""Of a target that nobody could look at: inconclusive, and never left out."""


def bare(endpoint: Endpoint) -> Endpoint:
    """What must be known of an endpoint to look at it: where it is, and whether a witness is to be asked."""
    return Endpoint(host=endpoint.host, port=endpoint.port, address=endpoint.address, witness=endpoint.witness)


async def look(job: bytes) -> bytes:
    """Do a `Job` and give the `Seen` of each of its endpoints, in order, as JSON. Raises `InputError`."""
    return msgspec.json.encode(await _look(msgspec.json.decode(job, type=Job)))


def read_seen(answer: bytes, *, expected: int) -> list[Seen] | None:
    """Read what `look` gave for so many endpoints; None when it is something else."""
    try:
        seen = msgspec.json.decode(answer, type=list[Seen])
    except (msgspec.MsgspecError, ValueError):
        return None
    return seen if len(seen) == expected else None


def case_of(detector: Detector, endpoint: Endpoint, seen: Seen, *, where: str) -> EndpointEvidence:
    """What was seen elsewhere, to be judged here; `where` names the place for people.

    The key of a chain counts as proved only when the recorded handshake signature verifies here again.
    """
    added = from_recorded(seen.machine_roots, name=f"added at {where}")
    context = detector.context()._replace(machine_roots=lambda: added)
    return EndpointEvidence(endpoint, believed(seen.observation), context, others=tuple(map(believed, seen.others)))


async def _look(job: Job) -> Sequence[Seen]:
    slots = asyncio.Semaphore(job.concurrency)
    jitter = random.Random()  # noqa: S311 - jitter, no secret
    detector = Detector(pins=PinSet(name="job", endpoints=()), network=job.network)

    async def one(endpoint: Endpoint) -> Seen:
        async with slots:
            case = await look_patiently(
                detector.look, endpoint, timeout=job.timeout, retries=job.retries, random=jitter
            )
        return seen_in(case)

    return await asyncio.gather(*map(one, job.endpoints))


def seen_in(case: EndpointEvidence) -> Seen:
    """What travels of a case."""
    paths = (path for seen in (case, *case.siblings) for path in seen.machine_paths)
    anchors = {path.anchor.certificate.der: path.anchor.origin for path in paths if path.anchor is not None}
    roots = tuple(MachineRoot(der=der, origin=origin) for der, origin in sorted(anchors.items()))
    return Seen(observation=case.observation, others=case.others, machine_roots=roots)
