"""Distributes a scan over a fleet, and assesses what comes back (`detector.session.stream`).

Room: fleet. Talks to the scheduler over the connection it is given; starts tasks and ends every one of them before it
returns.

`every`: each vantage probes every target. `spread`: each target is probed once, from wherever there is room. A job
whose worker is lost goes to another that may run it, or to one of the same vantage that connects in time; where there
is none, its targets are reported as not probed, and never left out.

A worker of another version, or whose program has another source, gets no work: its observations could mean something
else. A worker that does not answer in time, or sends what is no answer, gets no more. What a worker reports is verified
where it can be: a chain counts as proved only when its handshake signature verifies here again.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import math
from collections import Counter, defaultdict
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import WSMsgType

from detector.aio.tasks import cancel_and_wait
from detector.model import json_text
from detector.scan import work
from detector.scan.runner import Numbered, Scanned, canary_targets, numbered_batches, row
from detector.session.settings import NetworkSettings
from detector.session.stream import BACKOFF_SECONDS, Probed, StreamSettings, stream

from .certificates import CLIENT
from .connection import FleetError, connected
from .messages import Identity, Listed, Parcel, Roster, own_identity

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    import aiohttp

    from detector.model import Endpoint
    from detector.scan import BadLine, Target
    from detector.session.session import Detector

LOG: Final = logging.getLogger("detector.scan")

BATCH: Final = 32
"""Targets in one job: small enough that a lost worker loses a second of work, large enough that the cost per job does
not show."""

JOBS_AHEAD: Final = 2
"""Jobs submitted for each thread of a worker before one of them is done: one to run, one to continue with."""

LOST_SECONDS: Final = 30.0
"""How long a vantage whose last worker is gone is waited for."""

LOST_WORKERS_MAX: Final = 16
"""Workers that may be lost with the same job, before its targets are reported as not probed: they may be the reason."""

REFRESH_SECONDS: Final = 1.0
"""Between two tries of a job that no worker has room for."""

GRACE_SECONDS: Final = 30.0
"""Beyond the time that a job's probes may take until its worker counts as lost; a busy machine takes its time."""

REPORTED_VERSION_MAX: Final = 40
"""Characters shown of the version that an unknown program reports."""

NO_VANTAGE: Final = "none"
"""The vantage of a target that no worker could probe and that was meant for no vantage in particular."""


class Mode(enum.StrEnum):
    """How targets are assigned to vantages."""

    EVERY = "every"
    SPREAD = "spread"


class Refused(NamedTuple):
    """A worker that gets no work, its name, and why."""

    number: int
    worker: str
    reason: str


class Workers(NamedTuple):
    """The numbers of verified workers by vantage, and the workers that were refused."""

    vantages: Mapping[str, tuple[int, ...]]
    refused: tuple[Refused, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all verified workers."""
        return tuple(number for numbers in self.vantages.values() for number in numbers)


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


class Connection:
    """A client's connection to the scheduler: who is connected, and the jobs in flight."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket: Final = socket
        self._numbers: Final = count(1)
        self._waiting: Final[dict[int, tuple[int, asyncio.Future[bytes | None]]]] = {}
        self._changed: Final = asyncio.Condition()
        self._lost = False
        self.workers: Mapping[int, Listed] = {}

    async def read(self) -> None:
        """Take the scheduler's messages until the connection ends."""
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._update(json_text.decode(message.data, Roster))
                elif message.type is WSMsgType.BINARY and (parcel := Parcel.decode(message.data)) is not None:
                    self._settle(parcel.job, parcel.content)
        except json_text.MalformedError:
            LOG.info("the scheduler sent something else than a roster")
        finally:
            self._lost = True
            async with self._changed:
                self._changed.notify_all()
            for job in list(self._waiting):
                self._settle(job, None)

    async def change(self, seconds: float) -> None:
        """Wait until workers come or go, but no longer than this. Raises `FleetError`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                if not self._lost:
                    await self._changed.wait()
        self._check()

    async def submit(self, worker: int, request: bytes, seconds: float) -> bytes | None:
        """Have a worker run a request and return the response, empty where it was not run.

        None where the worker was lost or did not answer within `seconds`. Raises `FleetError`.
        """
        job, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[job] = worker, answer
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._socket.send_bytes(Parcel(job, worker, request).encode())
                if worker not in self.workers:
                    return None
                found: bytes | None = await answer
        except TimeoutError:
            if not limit.expired():
                raise
            found = None
        except ConnectionError as error:
            raise _scheduler_lost() from error
        finally:
            if self._waiting.pop(job, None) is not None and not self._socket.closed:  # cancelled, or too late
                with contextlib.suppress(ConnectionError):
                    await self._socket.send_bytes(Parcel(job, worker, b"").encode())
        self._check()
        return found

    async def _update(self, roster: Roster) -> None:
        self.workers = {listed.number: listed for listed in roster.workers}
        for job, (worker, _) in list(self._waiting.items()):
            if worker not in self.workers:
                self._settle(job, None)
        async with self._changed:
            self._changed.notify_all()

    def _settle(self, job: int, answer: bytes | None) -> None:
        _, future = self._waiting.pop(job, (0, None))
        if future is not None and not future.done():
            future.set_result(answer)

    def _check(self) -> None:
        if self._lost:
            raise _scheduler_lost()


@contextlib.asynccontextmanager
async def connect(scheduler: str, context: ssl.SSLContext) -> AsyncIterator[Connection]:
    """Connect to a scheduler as a client, and read who is connected. Raises `InputError`, `FleetError`."""
    async with connected(scheduler, CLIENT, context) as socket:
        connection = Connection(socket)
        reading = asyncio.create_task(connection.read())
        try:
            await connection.change(LOST_SECONDS)
            yield connection
        finally:
            await cancel_and_wait([reading])


def register_workers(listed: Iterable[Listed]) -> Workers:
    """Verify the programs of workers; those of another program are refused."""
    expected = own_identity()
    vantages: dict[str, tuple[int, ...]] = {}
    refused: list[Refused] = []
    for one in listed:
        registration = one.registration
        reason = _why_refused(registration.identity, expected)
        if reason is None:
            vantages[registration.vantage] = (*vantages.get(registration.vantage, ()), one.number)
        else:
            refused.append(_refused(one, reason))
    return Workers(vantages, tuple(refused))


def _refused(worker: Listed, reason: str) -> Refused:
    return Refused(worker.number, f"{worker.registration.vantage} at {worker.address}", reason)


def _why_refused(found: Identity, expected: Identity) -> str | None:
    if (found.form, found.version) != (expected.form, expected.version):
        version = found.version[:REPORTED_VERSION_MAX]
        return f"it runs version {version}, this is {expected.version}: install the same on both"
    if found.source_sha256 != expected.source_sha256:
        return "its program differs from this one: it was changed, or is another build; install the same on both"
    return None


class _Job(NamedTuple):
    """Targets to be probed by one worker, and the vantage they are for (None: any)."""

    vantage: str | None
    targets: tuple[Numbered, ...]


async def scan(  # noqa: PLR0913 - keyword-only past the source; each is one choice
    connection: Connection,
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
    coordinator = _Coordinator(connection, detector, workers, settings or FleetSettings(), on_refused)
    canary_numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(-1, -1))

    async def source() -> AsyncIterator[_Job]:
        async for batch in numbered_batches(targets, size=BATCH, on_bad_line=on_bad_line):
            for vantage in workers.vantages if mode is Mode.EVERY else (None,):
                yield _Job(vantage, batch)

    def follow_up(vantage: str, canaries: Sequence[Endpoint]) -> tuple[_Job]:
        return (_Job(vantage, canary_targets(canaries, canary_numbers[vantage])),)

    results = stream(detector, source(), coordinator.run, follow_up=follow_up, limit=coordinator.jobs_max)
    async with contextlib.aclosing(results):
        async for label, result, previous, vantage in results:
            yield FromVantage(vantage, row(result, previous, label))


class _Coordinator:
    """Submits the jobs of one scan to the verified workers of its vantages."""

    def __init__(
        self,
        connection: Connection,
        detector: Detector,
        workers: Workers,
        settings: FleetSettings,
        on_refused: Callable[[Refused], None] | None,
    ) -> None:
        self._connection: Final = connection
        self._detector: Final = detector
        self._settings: Final = settings
        self._on_refused: Final = on_refused
        self._vantages: Final = frozenset(workers.vantages)
        self._workers = {number: name for name, numbers in workers.vantages.items() for number in numbers}
        self._known = {*self._workers, *(refused.number for refused in workers.refused)}
        self._roster: Mapping[int, Listed] = {}
        self._busy: Final[Counter[int]] = Counter()
        self._missing_since: Final[dict[str, float]] = {}

    def jobs_max(self) -> int:
        """How many jobs may be in flight."""
        threads = sum(self._threads(number) for number in self._workers)
        # Where no worker is left, each vantage still has jobs that wait for one, and are reported when none came.
        return JOBS_AHEAD * max(threads, len(self._vantages))

    async def run(self, job: _Job) -> list[Probed[Numbered]]:
        """Have a job run by a worker that may, and again by others while workers are lost."""
        request = work.encode_request(
            work.Request(
                endpoints=tuple(self._detector.expected(target.endpoint) for _, target in job.targets),
                config=work.WorkerConfig(network=self._settings.network),
                settings=self._settings.probes,
            )
        )
        lost = 0
        while lost < LOST_WORKERS_MAX and not self._is_lost(job.vantage):
            worker = self._least_busy(job.vantage)
            if worker is None:
                await self._connection.change(REFRESH_SECONDS)
                continue
            self._busy[worker] += 1
            try:
                answer = await self._connection.submit(worker, request, self._seconds(len(job.targets)))
            finally:
                self._busy[worker] -= 1
            found = self._probed(job, worker, answer)
            if found is not None:
                return found
            lost += 1
            LOG.info("worker %d did not run %d targets: submitting them again", worker, len(job.targets))
        LOG.info("vantage %s has no worker: %d targets are not probed", job.vantage or "any", len(job.targets))
        return self._evidence(job, job.vantage or NO_VANTAGE, [work.NOT_PROBED] * len(job.targets))

    def _probed(self, job: _Job, worker: int, answer: bytes | None) -> list[Probed[Numbered]] | None:
        """The evidence in a worker's answer; None where the job has to be run again."""
        listed, vantage = self._roster.get(worker), self._workers.get(worker)
        if answer is None and listed is not None and worker in self._connection.workers:
            self._refuse(listed, "it does not answer in time")
        if not answer or vantage is None:
            return None
        response = work.decode_response(answer, expected=len(job.targets))
        if response is None:
            if listed is not None:
                self._refuse(listed, "it sent something else than an answer")
            return None
        if isinstance(response, work.ErrorResponse):
            LOG.info("worker %d: %s", worker, response.message)
            return self._evidence(job, vantage, [work.NOT_PROBED] * len(job.targets))
        return self._evidence(job, vantage, response.probed)

    def _evidence(self, job: _Job, vantage: str, probed: Sequence[work.ProbedEndpoint]) -> list[Probed[Numbered]]:
        endpoints = (self._detector.expected(target.endpoint) for _, target in job.targets)
        return [
            Probed(
                numbered,
                work.evidence_of(self._detector, endpoint, one, place=vantage),
                vantage,
                named=numbered.target.named,
            )
            for numbered, endpoint, one in zip(job.targets, endpoints, probed, strict=True)
        ]

    def _seconds(self, targets: int) -> float:
        """The seconds within which a worker must have answered a job of so many targets."""
        probes = self._settings.probes
        backoff = 1.5 * BACKOFF_SECONDS * (2**probes.retries - 1)  # jittered by half at most
        one = (probes.retries + 1) * probes.timeout + backoff
        return float(JOBS_AHEAD * math.ceil(targets / probes.concurrency) * one + GRACE_SECONDS)

    def _least_busy(self, vantage: str | None) -> int | None:
        """The verified worker with the most room for a job of this vantage (None: any); None where none has room."""
        self._synchronize()
        eligible = [
            number
            for number, name in self._workers.items()
            if vantage in {name, None} and self._busy[number] < JOBS_AHEAD * self._threads(number)
        ]
        return min(eligible, key=lambda number: self._busy[number] / self._threads(number), default=None)

    def _threads(self, number: int) -> int:
        listed = self._roster.get(number)
        return 1 if listed is None else listed.registration.threads

    def _synchronize(self) -> None:
        """Take note of the workers that came and went."""
        if self._roster is self._connection.workers:
            return
        self._roster = roster = self._connection.workers
        new = register_workers(listed for number, listed in roster.items() if number not in self._known)
        self._known.update(roster)
        joined = {number: name for name, numbers in new.vantages.items() for number in numbers}
        self._workers = {
            number: name
            for number, name in (self._workers | joined).items()
            if number in roster and name in self._vantages
        }
        for refused in new.refused:
            self._report(refused)
        self._note_missing()

    def _refuse(self, listed: Listed, reason: str) -> None:
        """Give a worker no more work."""
        if self._workers.pop(listed.number, None) is not None:
            self._report(_refused(listed, reason))
            self._note_missing()

    def _report(self, refused: Refused) -> None:
        LOG.info("refused %s: %s", refused.worker, refused.reason)
        if self._on_refused is not None:
            self._on_refused(refused)

    def _note_missing(self) -> None:
        now, present = asyncio.get_running_loop().time(), set(self._workers.values())
        for vantage in self._vantages:
            if vantage in present:
                self._missing_since.pop(vantage, None)
            else:
                self._missing_since.setdefault(vantage, now)

    def _is_lost(self, vantage: str | None) -> bool:
        """Whether the vantage, or every one, has been without worker for too long."""
        self._synchronize()
        now = asyncio.get_running_loop().time()
        vantages = self._vantages if vantage is None else (vantage,)
        return all(now - self._missing_since.get(each, now) >= self._settings.lost_after for each in vantages)


def _scheduler_lost() -> FleetError:
    return FleetError(
        "The connection to the scheduler was lost: the scan is incomplete.",
        advice="What was written until now is valid; start the scheduler again, and the scan for the rest.",
    )
