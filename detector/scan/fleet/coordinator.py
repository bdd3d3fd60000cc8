"""Distributes a scan over a fleet, and assesses what comes back (`detector.session.stream`).

Room: fleet. Talks to Dask's scheduler; starts tasks and ends every one of them before it returns.

`every`: each vantage probes every target. `spread`: each target is probed once, from wherever there is room. A job
whose worker is lost goes to another that may run it, or to one of the same vantage that connects in time; where there
is none, its targets are reported as not probed, and never left out.

A worker of another version, or whose program has another source, gets no work: its observations could mean something
else. What a worker reports is verified where it can be: a chain counts as proved only when its handshake signature
verifies here again.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.tasks import cancel_and_wait
from detector.errors import DetectorError, MissingExtraError
from detector.scan import work
from detector.scan.runner import Numbered, Scanned, canary_targets, numbered_batches, row
from detector.session.settings import NetworkSettings
from detector.session.stream import Probed, StreamSettings, stream

try:
    import distributed

    from . import worker
except ImportError as error:
    raise MissingExtraError("A fleet needs Dask's distributed.", extra="fleet") from error

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from detector.model import Endpoint
    from detector.scan import BadLine, Target
    from detector.session.session import Detector

LOG: Final = logging.getLogger("detector.scan")

BATCH: Final = 32
"""Targets in one job: small enough that a lost worker loses a second of work, large enough that Dask's own cost per
job, a few milliseconds, does not show."""

JOBS_AHEAD: Final = 2
"""Jobs submitted for each thread of a worker before one of them is done: one to run, one to continue with."""

LOST_SECONDS: Final = 30.0
"""How long a vantage whose last worker is gone is waited for."""

REFRESH_SECONDS: Final = 1.0
"""Between two queries of which workers are connected."""

ANSWER_SECONDS: Final = 30.0
"""Within which a worker must identify itself; a busy one takes its time."""

RESOURCE_PREFIX: Final = "vantage:"
"""How a worker names its vantage, as a resource of Dask: this and the name."""

RESOURCE_AMOUNT: Final = 1_000_000
"""How much of that resource a worker has, practically unlimited: it is a label, not a limit."""

REPORTED_VERSION_MAX: Final = 40
"""Characters shown of the version that an unknown program reports."""

NO_VANTAGE: Final = "none"
"""The vantage of a target that no worker could probe and that was meant for no vantage in particular."""


class FleetError(DetectorError):
    """The fleet cannot be reached, or has no worker that can be used."""


class Mode(enum.StrEnum):
    """How targets are assigned to vantages."""

    EVERY = "every"
    SPREAD = "spread"


class Refused(NamedTuple):
    """A worker that gets no work, its name, and why."""

    address: str
    worker: str
    reason: str


class Workers(NamedTuple):
    """The addresses of verified workers by vantage, and the workers that were refused."""

    vantages: Mapping[str, tuple[str, ...]]
    refused: tuple[Refused, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of all verified workers."""
        return tuple(address for addresses in self.vantages.values() for address in addresses)


class FromVantage(NamedTuple):
    """A result, and where it was seen from."""

    vantage: str
    result: Scanned


class FleetSettings(NamedTuple):
    """How workers probe: the limits of one job, and how they connect.

    `lost_after` is how many seconds a vantage without worker is waited for.
    """

    probes: StreamSettings = StreamSettings(concurrency=BATCH)
    network: NetworkSettings = NetworkSettings(proxy="env", offline=True)
    lost_after: float = LOST_SECONDS


async def register_workers(client: distributed.Client, addresses: Collection[str] | None = None) -> Workers:
    """Ask every worker, or those at `addresses`, for its identity; those of another program are refused."""
    workers = (await client.scheduler.identity(n_workers=-1))["workers"]
    asked = [address for address in workers if addresses is None or address in addresses]
    answers = await asyncio.gather(*(_identity(client, address) for address in asked))
    expected = worker.Identity(source_sha256=await asyncio.to_thread(worker.source_hash))
    vantages: dict[str, tuple[str, ...]] = {}
    refused: list[Refused] = []
    for address, answer in zip(asked, answers, strict=True):
        resources = workers[address]["resources"]
        names = [name.removeprefix(RESOURCE_PREFIX) for name in resources if name.startswith(RESOURCE_PREFIX)]
        reason = _why_refused(answer, expected)
        if reason is not None or len(names) != 1:
            name = f"{', '.join(names)} at {address}" if names else address
            refused.append(Refused(address, name, reason or "it does not name the one vantage it probes from"))
        else:
            vantages[names[0]] = (*vantages.get(names[0], ()), address)
    return Workers(vantages, tuple(refused))


async def _identity(client: distributed.Client, address: str) -> object:
    """The answer of a worker that is asked for its identity; an exception where there is none."""
    asking = client.run(worker.identity, workers=[address], on_error="return")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await asking).get(address)
    except TimeoutError as error:
        return error


def _why_refused(answer: object, expected: worker.Identity) -> str | None:
    if not isinstance(answer, bytes):
        return "it could not identify itself: it is another program, or does not answer"
    try:
        found = msgspec.json.decode(answer, type=worker.Identity)
    except (msgspec.MsgspecError, ValueError):
        return "its identity cannot be read: it is another program"
    if (found.form, found.version) != (expected.form, expected.version):
        version = "".join(filter(str.isprintable, found.version[:REPORTED_VERSION_MAX]))
        return f"it runs version {version}, this is {expected.version}: install the same on both"
    if found.source_sha256 != expected.source_sha256:
        return "its program differs from this one: it was changed, or is another build; install the same on both"
    return None


class _Job(NamedTuple):
    """Targets to be probed by one worker, and the vantage they are for (None: any)."""

    vantage: str | None
    targets: tuple[Numbered, ...]


async def scan(  # noqa: PLR0913 - keyword-only past the source; each is one choice
    client: distributed.Client,
    detector: Detector,
    targets: Iterable[Target | BadLine],
    *,
    workers: Workers,
    mode: Mode,
    settings: FleetSettings | None = None,
    on_bad_line: Callable[[BadLine], None] | None = None,
    on_refused: Callable[[Refused], None] | None = None,
) -> AsyncGenerator[FromVantage, None]:
    """Have every target probed by workers, assess it with `detector`'s pins, roots and logs, and yield each result.

    Results come as they are ready, in no order; each vantage is a network of its own. A worker that connects later
    works for the vantages of `workers`; one that is refused then goes to `on_refused`.

    Raises:
        FleetError: there is no worker, or the connection to the scheduler was lost. Also raised is what `targets` and
            `on_bad_line` raise.
    """
    if not workers.vantages:
        why = "; ".join(f"{r.worker}: {r.reason}" for r in workers.refused) or "no worker is connected"
        raise FleetError(f"The fleet has no usable worker ({why}).", advice="Start `detector fleet worker`s.")
    coordinator = _Coordinator(client, detector, workers, settings or FleetSettings(), on_refused)
    canary_numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(-1, -1))

    async def source() -> AsyncIterator[_Job]:
        async for batch in numbered_batches(targets, size=BATCH, on_bad_line=on_bad_line):
            for vantage in workers.vantages if mode is Mode.EVERY else (None,):
                yield _Job(vantage, batch)

    def follow_up(vantage: str, canaries: Sequence[Endpoint]) -> tuple[_Job]:
        return (_Job(vantage, canary_targets(canaries, canary_numbers[vantage])),)

    await coordinator.refresh()
    try:
        results = stream(detector, source(), coordinator.run, follow_up=follow_up, limit=coordinator.jobs_max)
        async with contextlib.aclosing(results):
            async for label, result, previous, vantage in results:
                yield FromVantage(vantage, row(result, previous, label))
    finally:
        await coordinator.end()


@dataclass
class _Coordinator:
    """Submits the jobs of one scan to the verified workers of its vantages."""

    client: distributed.Client
    detector: Detector
    workers: Workers
    settings: FleetSettings
    on_refused: Callable[[Refused], None] | None

    def __post_init__(self) -> None:
        vantages = self.workers.vantages
        self._workers = {vantage: frozenset(addresses) for vantage, addresses in vantages.items()}
        self._vantages = {address: vantage for vantage, addresses in vantages.items() for address in addresses}
        self._known = frozenset(self._vantages) | {refused.address for refused in self.workers.refused}
        self._threads: Mapping[str, int] = {}
        self._missing_since: dict[str, float] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def jobs_max(self) -> int:
        """How many jobs may be in flight."""
        threads = sum(count for address, count in self._threads.items() if address in self._vantages)
        # Where no worker is left, each vantage still has jobs that wait for one, and are reported when none came.
        return JOBS_AHEAD * max(threads, len(self._workers))

    async def run(self, job: _Job) -> list[Probed[Numbered]]:
        """Have a job run by a worker that may, and again by others while workers are lost."""
        while not self._is_lost(job.vantage):
            workers = self._eligible(job.vantage)
            if not workers:
                await self._next_refresh()
            elif (answer := await self._submit(job, workers)) is not None:
                return self._probed(job, *answer)
            else:
                LOG.info("workers %s lost: submitting their %d targets again", ", ".join(workers), len(job.targets))
        LOG.info("vantage %s has no worker: %d targets are not probed", job.vantage or "any", len(job.targets))
        return self._probed(job)

    async def _submit(self, job: _Job, workers: frozenset[str]) -> tuple[str, bytes] | None:
        """The address of the worker that ran a job, with its answer; None where these workers are lost."""
        request = work.Request(
            endpoints=tuple(self.detector.expected(target.endpoint) for _, target in job.targets),
            config=work.WorkerConfig(network=self.settings.network),
            settings=self.settings.probes,
        )
        future = self.client.submit(
            worker.run,
            work.encode_request(request),
            pure=False,
            workers=list(workers),  # only verified workers receive jobs
            allow_other_workers=False,
            resources=None if job.vantage is None else {RESOURCE_PREFIX + job.vantage: 1},
        )
        ended = asyncio.ensure_future(_ended(future))
        try:
            while not ended.done():
                refreshing = self._next_refresh()
                await asyncio.wait({ended, refreshing}, return_when=asyncio.FIRST_COMPLETED)
                if refreshing.done():
                    refreshing.result()
                    if not workers & self._threads.keys():
                        return None
            return await self._answer(future)
        finally:
            if not ended.done():
                ended.cancel()
                if self.client.status == "running":
                    with contextlib.suppress(OSError):
                        await self.client.cancel([future])

    async def _answer(self, future: distributed.Future) -> tuple[str, bytes]:
        """What a job that ended returned; nothing where it failed."""
        if future.status in {"cancelled", "lost"}:
            raise _scheduler_lost()
        if future.status != "finished":
            LOG.info("a job failed: %s", future.status)
            return "", b""
        try:
            address, answer = await future
        except (OSError, asyncio.CancelledError) as error:
            if self.client.status == "running" and not isinstance(error, OSError):
                raise
            raise _scheduler_lost() from error
        return address, answer

    def _probed(self, job: _Job, address: str = "", answer: bytes = b"") -> list[Probed[Numbered]]:
        """The evidence in a worker's answer; inconclusive where there is none, and never left out."""
        vantage, response = self._vantages.get(address), work.decode_response(answer, expected=len(job.targets))
        probed: Sequence[work.ProbedEndpoint] = [work.NOT_PROBED] * len(job.targets)
        if vantage is None or not isinstance(response, work.Response) or job.vantage not in {vantage, None}:
            vantage = job.vantage or NO_VANTAGE
        else:
            probed = response.probed
        endpoints = (self.detector.expected(target.endpoint) for _, target in job.targets)
        return [
            Probed(numbered, work.evidence_of(self.detector, endpoint, one, place=vantage), vantage)
            for numbered, endpoint, one in zip(job.targets, endpoints, probed, strict=True)
        ]

    def _eligible(self, vantage: str | None) -> frozenset[str]:
        return frozenset(self._vantages) if vantage is None else self._workers[vantage]

    def _is_lost(self, vantage: str | None) -> bool:
        """Whether the vantage, or every one, has been without worker for too long."""
        now = asyncio.get_running_loop().time()
        vantages = self._workers if vantage is None else (vantage,)
        return all(now - self._missing_since.get(each, now) >= self.settings.lost_after for each in vantages)

    def _next_refresh(self) -> asyncio.Task[None]:
        """The next refresh, shared by all jobs in flight."""

        async def refresh() -> None:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(refresh())
        return self._refreshing

    async def refresh(self) -> None:
        """Query which workers are connected, and register new ones."""
        try:
            self._threads = await self.client.nthreads()
            present = frozenset(self._threads)
            if new := present - self._known:
                self._register(await register_workers(self.client, new))
                self._known |= new
        except (OSError, ValueError) as error:  # a closed client raises ValueError
            raise _scheduler_lost() from error
        for address in self._vantages.keys() - present:
            vantage = self._vantages.pop(address)
            self._workers[vantage] -= {address}
            LOG.info("worker %s of %s is lost", address, vantage)
        now = asyncio.get_running_loop().time()
        for vantage, workers in self._workers.items():
            if workers:
                self._missing_since.pop(vantage, None)
            else:
                self._missing_since.setdefault(vantage, now)

    def _register(self, found: Workers) -> None:
        for vantage, addresses in found.vantages.items():
            if vantage in self._workers:
                LOG.info("worker %s of %s connected", ", ".join(addresses), vantage)
                self._workers[vantage] |= frozenset(addresses)
                self._vantages |= dict.fromkeys(addresses, vantage)
        if self.on_refused is not None:
            for refused in found.refused:
                self.on_refused(refused)

    async def end(self) -> None:
        """Stop refreshing."""
        if self._refreshing is not None:
            await cancel_and_wait([self._refreshing])


def _scheduler_lost() -> FleetError:
    return FleetError(
        "The connection to the scheduler was lost: the scan is incomplete.",
        advice="What was written until now is valid; start the scheduler again, and the scan for the rest.",
    )


async def _ended(future: distributed.Future) -> None:
    """Wait until a job has ended, however it did."""
    try:
        await distributed.wait(future)
    except distributed.client.FuturesCancelledError:
        return
