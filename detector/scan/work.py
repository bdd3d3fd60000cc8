"""Work that a scan gives to other processes, on this machine or elsewhere: endpoints to probe, and what was seen.

Room: scan. JSON in, JSON out, both validated. A worker opens connections through `Detector` and assesses nothing; what
comes back is assessed where the scan was started, with the pins, roots and logs that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from detector.aio.bounded_map import for_each
from detector.aio.tasks import run_in_thread
from detector.errors import DetectorError
from detector.judge.evidence import OTHERS_MAX, EndpointEvidence
from detector.judge.recorded import believed
from detector.model import Endpoint, MachineRoot, Observation, Outcome, Record, json_text
from detector.pins import PinSet
from detector.probe.tls.wire import CERTIFICATES_MAX
from detector.session.seams import Seams
from detector.session.session import Detector, context_of
from detector.session.settings import NetworkSettings
from detector.session.stream import Prober, StreamSettings
from detector.trust.certificate import Certificate
from detector.trust.roots import from_recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.probe.routes import Resolver


class WorkerConfig(Record, frozen=True, kw_only=True):
    """How a worker connects and resolves names. Follow-up probes are the coordinator's business."""

    network: NetworkSettings = NetworkSettings(proxy="env", offline=True)
    c_ares: bool = False


class Request(Record, frozen=True, kw_only=True):
    """Endpoints to probe within the limits of `settings`.

    `number` is returned with the response. `machine_roots` asks for the roots of the worker's machine that end a chain.
    """

    number: int = 0
    endpoints: tuple[Endpoint, ...]
    config: WorkerConfig
    settings: StreamSettings
    machine_roots: bool = True


class ProbedEndpoint(Record, frozen=True, kw_only=True):
    """What probing an endpoint showed. `machine_roots` are roots of the worker's machine that end a chain."""

    observation: Observation
    others: Annotated[tuple[Observation, ...], msgspec.Meta(max_length=OTHERS_MAX)] = ()
    machine_roots: Annotated[tuple[MachineRoot, ...], msgspec.Meta(max_length=CERTIFICATES_MAX)] = ()


class Response(Record, frozen=True, kw_only=True, tag="response"):
    """What was seen of the endpoints of a request, in order."""

    number: int = 0
    probed: tuple[ProbedEndpoint, ...]


class ErrorResponse(Record, frozen=True, kw_only=True, tag="error"):
    """Why nothing can be probed with this configuration, as with a proxy that cannot be used."""

    number: int = 0
    message: str
    advice: str


BEAT: Final = b"\n"
"""What a worker process of this machine writes as its sign of life."""
BEAT_SECONDS: Final = 1.0
"""Between two of them."""

NOT_PROBED: Final = ProbedEndpoint(observation=Observation(outcome=Outcome.RESOURCES, attempts=0))
"""For a target that no worker could probe: inconclusive, and never left out."""


def encode_request(request: Request) -> bytes:
    """Encode a request. Of the endpoints it keeps only what probing needs: where they are, and their witness."""
    bare = tuple(Endpoint(host=e.host, port=e.port, address=e.address, witness=e.witness) for e in request.endpoints)
    return msgspec.json.encode(msgspec.structs.replace(request, endpoints=bare))


def decode_response(answer: bytes, *, expected: int) -> Response | ErrorResponse | None:
    """Decode the answer to a request for `expected` endpoints; None when it is something else."""
    try:
        found: Response | ErrorResponse = json_text.decode(answer, Response | ErrorResponse)  # type: ignore[arg-type] # mypy takes no union for a type[T]
    except json_text.MalformedError:
        return None
    if isinstance(found, Response):
        chains = (seen.chain for one in found.probed for seen in (one.observation, *one.others))
        if len(found.probed) != expected or any(len(chain) > CERTIFICATES_MAX for chain in chains):
            return None
    return found


def make_detector(config: WorkerConfig, resolver: Resolver | None = None) -> Detector:
    """Return the detector of a worker. Raises `InputError`."""
    return Detector(pins=PinSet(name="worker", endpoints=()), network=config.network, seams=Seams(resolver=resolver))


async def run(job: bytes, detector_for: Callable[[WorkerConfig], Detector] = make_detector) -> bytes:
    """Run an encoded `Request` and return an encoded `Response` or `ErrorResponse`."""
    answer: Response | ErrorResponse
    try:
        request = json_text.decode(job, Request)
    except json_text.MalformedError:
        return msgspec.json.encode(
            ErrorResponse(message="The request cannot be read.", advice="Install the same version on both sides.")
        )
    found: dict[int, ProbedEndpoint] = {}
    try:
        detector = detector_for(request.config)
        if request.machine_roots:
            await run_in_thread(lambda: detector.roots)  # reads files
        prober = Prober(detector.probe, request.settings)

        async def probe(number: int) -> None:
            endpoint = request.endpoints[number]
            seen, *others = await prober(endpoint)
            roots: tuple[MachineRoot, ...] = ()
            if request.machine_roots:
                roots = machine_roots(EndpointEvidence(endpoint, seen, context_of(detector), others=others))
            found[number] = ProbedEndpoint(observation=seen, others=tuple(others[:OTHERS_MAX]), machine_roots=roots)

        await for_each(range(len(request.endpoints)), probe, limit=request.settings.concurrency)
        answer = Response(number=request.number, probed=tuple(found[n] for n in range(len(request.endpoints))))
    except DetectorError as error:
        answer = ErrorResponse(number=request.number, message=error.message, advice=error.advice)
    return msgspec.json.encode(answer)


def machine_roots(evidence: EndpointEvidence) -> tuple[MachineRoot, ...]:
    """The roots of this machine that end a chain; building paths for them costs as much as assessing it."""
    paths = (path for one in (evidence, *evidence.siblings) for path in one.machine_paths)
    anchors = {path.anchor.certificate.der: path.anchor.origin for path in paths if path.anchor is not None}
    return tuple(MachineRoot(der=der, origin=origin) for der, origin in sorted(anchors.items()))


def evidence_of(detector: Detector, endpoint: Endpoint, probed: ProbedEndpoint, *, place: str) -> EndpointEvidence:
    """What was seen on another machine, to be assessed here; `place` is its name for people.

    The key of a chain counts as proved only when the recorded handshake signature verifies here again.
    """
    added = from_recorded(probed.machine_roots, name=f"added at {place}")
    context = context_of(detector)._replace(machine_roots=lambda: added)
    seen, *others = (believed(_reread(each)) for each in (probed.observation, *probed.others))
    return EndpointEvidence(endpoint, seen, context, others=tuple(others))


def _reread(observation: Observation) -> Observation:
    """Return an observation whose certificates are what their DER says, and not what else was claimed of them."""
    proxy = observation.proxy
    if proxy is not None and proxy.tls is not None:
        # A connection to a proxy has no proxy itself.
        tls = _reread(msgspec.structs.replace(proxy.tls, proxy=None))
        proxy = msgspec.structs.replace(proxy, tls=tls)
    chain = tuple(Certificate.read(presented.der).presented() for presented in observation.chain)
    return msgspec.structs.replace(observation, chain=chain, proxy=proxy)
