"""Spreads a scan over a fleet and judges what comes back.

Room: fleet. Talks to the engine's scheduler; starts tasks and ends every one of them before it returns.

`every`: each vantage looks at every target; a target that a vantage could not look at, because its last worker was lost
and none came back in time, is told as such and never left out. `spread`: each target is looked at once, from wherever
there is room; a worker that is lost gives its targets back.

A worker of another version, or whose program has another source, gets no work: its observations could mean something
else. What a worker says is checked where it can be: a chain counts as proved only when its handshake signature verifies
here again.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector import judgement
from detector.errors import DetectorError, MissingExtraError
from detector.evidence import Case, Context, Network
from detector.model import Endpoint, Observation, Outcome
from detector.scan import BadLine, Scanned, Target
from detector.scan.conduct import IDENTITIES_MAX, scanned
from detector.trust.certificate import Certificate
from detector.trust.keyproof import KeyProof, check_signature
from detector.trust.roots import from_der

from . import work

try:
    import distributed
except ImportError as error:
    raise MissingExtraError("A fleet needs Dask's distributed.", extra="fleet") from error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping

    from detector.session import Detector

BATCH: Final = 32
"""Targets in one job: small enough that a lost worker loses a second of work, large enough that the engine's own cost
per job, about a millisecond, does not show."""

JOBS_AHEAD: Final = 4
"""Jobs given to the engine for each worker before one of them is done."""

LOST_SECONDS: Final = 30.0
"""How long a vantage whose last worker is gone is waited for."""

RESOURCE: Final = "vantage:{}"
"""How a worker says from which vantage it looks, as a resource of the engine."""

RESOURCE_AMOUNT: Final = 1_000_000
"""Of that resource a worker has as good as any amount: it is a label, not a limit."""


_JOB_FAILURES: Final = (msgspec.MsgspecError, TypeError, distributed.KilledWorker, OSError, RuntimeError)
"""What a job may end with that is no answer: workers lost too often, one that fails, or one that answers nonsense."""


class FleetError(DetectorError):
    """The fleet cannot be reached, or has nobody who can work."""


class Mode(enum.StrEnum):
    """How targets and vantages go together."""

    EVERY = "every"
    SPREAD = "spread"


class Refused(NamedTuple):
    """A worker that gets no work, and why."""

    worker: str
    reason: str


class Crew(NamedTuple):
    """Who can work: addresses of workers by vantage; and who was refused."""

    vantages: Mapping[str, tuple[str, ...]]
    refused: tuple[Refused, ...]

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of all who can."""
        return tuple(address for addresses in self.vantages.values() for address in addresses)


class FromVantage(NamedTuple):
    """A result, and where it was seen from."""

    vantage: str
    result: Scanned


class Looks(NamedTuple):
    """How the looks are made on the workers."""

    timeout: float = 10.0
    concurrency: int = 32
    route: str = "env"
    lost_after: float = LOST_SECONDS


async def muster(client: distributed.Client) -> Crew:
    """Ask every worker who it is. Raises nothing of a worker's doing: who does not answer rightly is refused."""
    info = client.scheduler_info(n_workers=-1)["workers"]
    answers = await client.run(work.identity, on_error="return")
    expected = work.Identity(source_sha256=work.source_hash())
    vantages: dict[str, tuple[str, ...]] = {}
    refused: list[Refused] = []
    for address, answer in answers.items():
        worker = info.get(address, {})
        name = str(worker.get("name", address))
        reason = _why_not(answer, expected)
        names = [r.removeprefix("vantage:") for r in worker.get("resources", {}) if r.startswith("vantage:")]
        if reason is not None or len(names) != 1:
            refused.append(Refused(name, reason or "it does not say from which one vantage it looks"))
        else:
            vantages[names[0]] = (*vantages.get(names[0], ()), address)
    return Crew(vantages, tuple(refused))


def _why_not(answer: object, expected: work.Identity) -> str | None:
    if not isinstance(answer, bytes):
        return f"it could not say who it is ({type(answer).__name__})"
    try:
        found = msgspec.json.decode(answer, type=work.Identity)
    except msgspec.MsgspecError:
        return "what it says of itself cannot be read"
    if (found.form, found.version) != (expected.form, expected.version):
        return f"it runs version {found.version[:40]}, this is {expected.version}"
    if found.source_sha256 != expected.source_sha256:
        return "its program differs from this one: it was changed, or is another build"
    return None


async def scan(  # noqa: PLR0913 - keyword-only past the source; each is one choice
    client: distributed.Client,
    detector: Detector,
    targets: Iterable[Target | BadLine],
    *,
    crew: Crew,
    mode: Mode,
    looks: Looks | None = None,
    on_bad_line: Callable[[BadLine], None] | None = None,
) -> AsyncGenerator[FromVantage, None]:
    """Have every target looked at, judge what comes back with `detector`'s pins, roots and logs, and give each result.

    Results come as they are ready, in no order. What is held is bounded by the jobs in flight. Raises `FleetError` when
    the crew has nobody.
    """
    if not crew.vantages:
        told = "; ".join(f"{r.worker}: {r.reason}" for r in crew.refused) or "no worker is connected"
        raise FleetError(f"The fleet has nobody who can work ({told}).", advice="Start `detector fleet worker`s.")
    spreading = _Spreading(client, detector, crew, mode, looks or Looks())
    try:
        async for found in spreading.run(_numbered(targets, on_bad_line)):
            yield found
    finally:
        await spreading.end()


class _Given(NamedTuple):
    """A job in flight: its targets, and the vantage it was given to (None: any)."""

    vantage: str | None
    numbered: tuple[tuple[int, Target], ...]


class _Spreading:
    """One scan over a fleet."""

    def __init__(self, client: distributed.Client, detector: Detector, crew: Crew, mode: Mode, looks: Looks) -> None:
        self._client = client
        self._detector = detector
        self._crew = crew
        self._mode = mode
        self._looks = looks
        self._flying: dict[distributed.Future, _Given] = {}
        self._waiting: dict[asyncio.Task[None], distributed.Future] = {}
        self._networks: dict[str, Network] = {}
        self._missing_since: dict[str, float] = {}

    async def run(self, numbered: Iterator[tuple[int, Target]]) -> AsyncGenerator[FromVantage, None]:
        room = JOBS_AHEAD * max(len(self._crew.workers), 1)
        exhausted = False
        while self._flying or not exhausted:
            while not exhausted and len(self._flying) < room:
                batch = tuple(islice(numbered, BATCH))
                exhausted = len(batch) < BATCH
                if batch:
                    self._give(batch)
            if not self._flying:
                break
            done, _ = await asyncio.wait(
                self._waiting, timeout=min(self._looks.lost_after / 4, 1.0), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                future = self._waiting.pop(task)
                given = self._flying.pop(future)
                for found in await self._taken(future, given):
                    yield found
            for future in self._lost():
                given = self._flying.pop(future)
                task = next(t for t, f in self._waiting.items() if f is future)
                del self._waiting[task]
                task.cancel()
                await future.cancel()
                for found in self._not_looked(given):
                    yield found

    def _give(self, batch: tuple[tuple[int, Target], ...]) -> None:
        endpoints = tuple(_bare(self._detector.expected(target.endpoint)) for _, target in batch)
        looks = self._looks
        job = msgspec.json.encode(
            work.Job(endpoints=endpoints, timeout=looks.timeout, concurrency=looks.concurrency, route=looks.route)
        )
        for vantage in self._crew.vantages if self._mode is Mode.EVERY else (None,):
            # Not by address: a worker of the same vantage that comes later can do it as well. Who was refused has no
            # vantage in the crew, so that `spread` names those who have.
            where = (
                {"workers": list(self._crew.workers), "allow_other_workers": False}
                if vantage is None
                else {"resources": {RESOURCE.format(vantage): 1}, "workers": list(self._crew.vantages[vantage])}
            )
            future = self._client.submit(work.look, job, pure=False, retries=2, **where)
            self._flying[future] = _Given(vantage, batch)
            self._waiting[asyncio.ensure_future(distributed.wait(future))] = future

    async def _taken(self, future: distributed.Future, given: _Given) -> list[FromVantage]:
        """Judge what a job brought; a job that failed has its targets told as not looked at."""
        vantage = given.vantage or await self._vantage_of(future)
        try:
            answer = await future
            seen = msgspec.json.decode(answer, type=list[work.Seen])
        except _JOB_FAILURES:
            return list(self._not_looked(given))
        if len(seen) != len(given.numbered):
            return list(self._not_looked(given))
        return [
            FromVantage(vantage, self._judged(number, target, look, vantage))
            for (number, target), look in zip(given.numbered, seen, strict=True)
        ]

    async def _vantage_of(self, future: distributed.Future) -> str:
        who = await self._client.who_has([future])
        holders = next(iter(who.values()), ())
        return next((v for v, addresses in self._crew.vantages.items() if set(addresses) & set(holders)), "unknown")

    def _judged(self, number: int, target: Target, seen: work.Seen, vantage: str) -> Scanned:
        endpoint = self._detector.expected(target.endpoint)
        installed = from_der(seen.machine_roots, name=f"added at {vantage}")
        context: Context = self._detector.context()._replace(machine_roots=lambda: installed)
        case = Case(endpoint, _checked(seen.observation), context)
        network = self._networks.setdefault(vantage, Network(remembered=IDENTITIES_MAX))
        network.add(case)
        return scanned(judgement.judge(case, network), number, target.where)

    def _not_looked(self, given: _Given) -> Iterator[FromVantage]:
        """Results for targets that nobody looked at: inconclusive, never left out."""
        for number, target in given.numbered:
            seen = work.Seen(observation=Observation(outcome=Outcome.RESOURCES, attempts=0))
            vantage = given.vantage or "unknown"
            yield FromVantage(vantage, self._judged(number, target, seen, vantage))

    def _lost(self) -> list[distributed.Future]:
        """Jobs of vantages that have had no worker for too long."""
        present = Counter(address for address in self._client.scheduler_info(n_workers=-1)["workers"])
        now = asyncio.get_running_loop().time()
        gone: set[str | None] = set()
        for vantage, addresses in self._crew.vantages.items():
            if any(present[address] for address in addresses):
                self._missing_since.pop(vantage, None)
            elif now - self._missing_since.setdefault(vantage, now) >= self._looks.lost_after:
                gone.add(vantage)
        if len(gone) == len(self._crew.vantages):
            gone.add(None)
        return [future for future, given in self._flying.items() if given.vantage in gone]

    async def end(self) -> None:
        """Give up what is still in flight."""
        for task in self._waiting:
            task.cancel()
        if self._flying:
            await self._client.cancel(list(self._flying))
        await asyncio.gather(*self._waiting, return_exceptions=True)


def _bare(endpoint: Endpoint) -> Endpoint:
    """What a worker must know of an endpoint: where it is and whether a witness is to be asked."""
    return Endpoint(host=endpoint.host, port=endpoint.port, address=endpoint.address, witness=endpoint.witness)


def _checked(observation: Observation) -> Observation:
    """The observation with the key proved only if its own handshake signature says so here again."""
    if not observation.key_proved or not observation.chain or observation.handshake_signature is None:
        # Plain RSA key exchange signs nothing: there the worker's word is all there is (docs/fleet.md).
        return observation
    spki, made = Certificate.read(observation.chain[0].der).spki, observation.handshake_signature
    if check_signature(spki, made.scheme, made.signature, made.signed) is KeyProof.INVALID:
        return msgspec.structs.replace(observation, key_proved=False, outcome=Outcome.SIGNATURE_WRONG)
    return observation


def _numbered(
    targets: Iterable[Target | BadLine], on_bad_line: Callable[[BadLine], None] | None
) -> Iterator[tuple[int, Target]]:
    number = 0
    for item in targets:
        if isinstance(item, BadLine):
            if on_bad_line is not None:
                on_bad_line(item)
        else:
            yield number, item
            number += 1
