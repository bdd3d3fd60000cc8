"""Spreads a scan over a fleet and judges what comes back.

Room: fleet. Talks to the engine's scheduler; starts tasks and ends every one of them before it returns.

`every`: each vantage looks at every target. `spread`: each target is looked at once, from wherever there is room. A job
whose worker is lost goes to another that may do it, or to one of the same vantage that comes in time; where there is
none, its targets are told as not looked at, and never left out.

A worker of another version, or whose program has another source, gets no work: its observations could mean something
else. What a worker says is checked where it can be: a chain counts as proved only when its handshake signature verifies
here again.
"""

from __future__ import annotations

import asyncio
import enum
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.tasks import off_loop
from detector.errors import DetectorError, MissingExtraError
from detector.scan import BadLine, Target, work
from detector.scan.judging import Judging

try:
    import distributed

    from . import work as remote
except ImportError as error:
    raise MissingExtraError("A fleet needs Dask's distributed.", extra="fleet") from error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping

    from detector.judge.evidence import EndpointEvidence
    from detector.scan import Scanned
    from detector.session.session import Detector
    from detector.session.settings import NetworkSettings

BATCH: Final = 32
"""Targets in one job: small enough that a lost worker loses a second of work, large enough that the engine's own cost
per job, a few milliseconds, does not show."""

JOBS_AHEAD: Final = 2
"""Jobs given to the engine for each thread of a worker before one of them is done: one to do, one to go on with."""

LOST_SECONDS: Final = 30.0
"""How long a vantage whose last worker is gone is waited for."""

ROLL_CALL_SECONDS: Final = 1.0
"""Between two looks at who is there."""

ANSWER_SECONDS: Final = 30.0
"""Within which a worker must say who it is; a busy one takes its time."""

RESOURCE_PREFIX: Final = "vantage:"
"""How a worker says from which vantage it looks, as a resource of the engine: this and the name."""

RESOURCE_AMOUNT: Final = 1_000_000
"""Of that resource a worker has as good as any amount: it is a label, not a limit."""

TOLD_VERSION_MAX: Final = 40
"""Characters told of a version that a stranger calls itself."""

NOWHERE: Final = "none"
"""The vantage of a target that nobody could look at and that was given to no vantage in particular."""


class FleetError(DetectorError):
    """The fleet cannot be reached, or has nobody who can work."""


class Mode(enum.StrEnum):
    """How targets and vantages go together."""

    EVERY = "every"
    SPREAD = "spread"


class Refused(NamedTuple):
    """A worker that gets no work, what it is called, and why."""

    address: str
    worker: str
    reason: str


class Crew(NamedTuple):
    """Who can work: addresses of workers by vantage; and who was refused."""

    vantages: Mapping[str, tuple[str, ...]]
    refused: tuple[Refused, ...] = ()

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of all who can."""
        return tuple(address for addresses in self.vantages.values() for address in addresses)


class FromVantage(NamedTuple):
    """A result, and where it was seen from."""

    vantage: str
    result: Scanned


class Looks(NamedTuple):
    """How the looks are made on the workers: seconds for a try, looks of one job at once, and how they connect.

    `lost_after` is how many seconds a vantage without worker is waited for.
    """

    timeout: float = 10.0
    concurrency: int = BATCH
    network: NetworkSettings = work.FROM_ELSEWHERE
    retries: int = 1
    lost_after: float = LOST_SECONDS


async def muster(client: distributed.Client, addresses: Collection[str] | None = None) -> Crew:
    """Ask every worker, or those at `addresses`, who it is; who does not answer rightly is refused."""
    workers = (await client.scheduler.identity(n_workers=-1))["workers"]
    asked = [address for address in workers if addresses is None or address in addresses]
    answers = await asyncio.gather(*(_answer(client, address) for address in asked))
    expected = remote.Identity(source_sha256=await asyncio.to_thread(remote.source_hash))
    vantages: dict[str, tuple[str, ...]] = {}
    refused: list[Refused] = []
    for address, answer in zip(asked, answers, strict=True):
        resources = workers[address]["resources"]
        names = [name.removeprefix(RESOURCE_PREFIX) for name in resources if name.startswith(RESOURCE_PREFIX)]
        reason = _why_not(answer, expected)
        if reason is not None or len(names) != 1:
            told = f"{', '.join(names)} at {address}" if names else address
            refused.append(Refused(address, told, reason or "it does not say from which one vantage it looks"))
        else:
            vantages[names[0]] = (*vantages.get(names[0], ()), address)
    return Crew(vantages, tuple(refused))


async def _answer(client: distributed.Client, address: str) -> object:
    """What a worker says of itself; an exception where it says nothing."""
    asking = client.run(remote.identity, workers=[address], on_error="return")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await asking).get(address)
    except TimeoutError as error:
        return error


def _why_not(answer: object, expected: remote.Identity) -> str | None:
    if not isinstance(answer, bytes):
        return "it could not say who it is: it is another program, or does not answer"
    try:
        found = msgspec.json.decode(answer, type=remote.Identity)
    except (msgspec.MsgspecError, ValueError):
        return "what it says of itself cannot be read: it is another program"
    if (found.form, found.version) != (expected.form, expected.version):
        told = "".join(filter(str.isprintable, found.version[:TOLD_VERSION_MAX]))
        return f"it runs version {told}, this is {expected.version}: install the same on both"
    if found.source_sha256 != expected.source_sha256:
        return "its program differs from this one: it was changed, or is another build; install the same on both"
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
    on_refused: Callable[[Refused], None] | None = None,
) -> AsyncGenerator[FromVantage, None]:
    """Have every target looked at, judge what comes back with `detector`'s pins, roots and logs, and give each result.

    Results come as they are ready, in no order. What is held is bounded by the jobs in flight. A worker that comes
    later works for the vantages of `crew`; one that is refused then goes to `on_refused`. Raises `FleetError` when the
    crew has nobody and when the scheduler is lost, and what `targets` and `on_bad_line` raise.
    """
    if not crew.vantages:
        told = "; ".join(f"{r.worker}: {r.reason}" for r in crew.refused) or "no worker is connected"
        raise FleetError(f"The fleet has nobody who can work ({told}).", advice="Start `detector fleet worker`s.")
    spreading = _Spreading(client, detector, crew, mode, looks or Looks(), on_refused)
    try:
        async for found in spreading.run(_Source(targets, on_bad_line)):
            yield found
    finally:
        await spreading.end()


class _Given(NamedTuple):
    """A job: its targets, the vantage it was given to (None: any), and the workers that may do it."""

    vantage: str | None
    numbered: tuple[tuple[int, Target], ...]
    workers: frozenset[str]


class _Spreading:
    """One scan over a fleet."""

    def __init__(  # noqa: PLR0913, PLR0917 - as `scan`
        self,
        client: distributed.Client,
        detector: Detector,
        crew: Crew,
        mode: Mode,
        looks: Looks,
        on_refused: Callable[[Refused], None] | None,
    ) -> None:
        self._client = client
        self._detector = detector
        self._mode = mode
        self._looks = looks
        self._on_refused = on_refused
        self._workers = {vantage: frozenset(addresses) for vantage, addresses in crew.vantages.items()}
        self._home = {address: vantage for vantage, addresses in crew.vantages.items() for address in addresses}
        self._known = frozenset(self._home) | {refused.address for refused in crew.refused}
        self._threads: Mapping[str, int] = {}
        self._missing_since: dict[str, float] = {}
        self._flying: dict[asyncio.Task[object], tuple[distributed.Future, _Given]] = {}
        self._judging: dict[str, Judging] = {}

    async def run(self, source: _Source) -> AsyncGenerator[FromVantage, None]:
        """Give jobs and take what they bring until all is done."""
        loop = asyncio.get_running_loop()
        await self._roll_call()  # nothing is flying yet
        roll_call = loop.time() + ROLL_CALL_SECONDS
        while True:
            while len(self._flying) < self._room and (batch := await source.take()):
                for vantage in self._workers if self._mode is Mode.EVERY else (None,):
                    self._give(batch, vantage)
            if not self._flying:
                return
            left = max(roll_call - loop.time(), 0.0)
            done, _ = await asyncio.wait(self._flying, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                for found in await self._taken(*self._flying.pop(task)):
                    yield found
            if loop.time() >= roll_call:
                for given in await self._roll_call():
                    for found in self._not_looked(given):
                        yield found
                roll_call = loop.time() + ROLL_CALL_SECONDS

    @property
    def _room(self) -> int:
        """How many jobs may be in flight before more are given."""
        threads = sum(count for address, count in self._threads.items() if address in self._home)
        # Where no worker is left, each vantage still has jobs that wait for one, and are told when none came.
        return JOBS_AHEAD * max(threads, len(self._workers))

    def _give(self, batch: tuple[tuple[int, Target], ...], vantage: str | None) -> None:
        endpoints = tuple(work.bare(self._detector.expected(target.endpoint)) for _, target in batch)
        looks = self._looks
        job = work.Job(
            endpoints=endpoints,
            timeout=looks.timeout,
            concurrency=looks.concurrency,
            retries=looks.retries,
            network=looks.network,
        )
        workers = self._may(vantage)
        future = self._client.submit(
            remote.look,
            msgspec.json.encode(job),
            pure=False,
            # Those that were mustered, and no others: who was refused, or nobody has looked at yet, gets no work.
            workers=list(workers),
            allow_other_workers=False,
            resources=None if vantage is None else {RESOURCE_PREFIX + vantage: 1},
        )
        self._flying[asyncio.ensure_future(_ended(future))] = (future, _Given(vantage, batch, workers))

    def _may(self, vantage: str | None) -> frozenset[str]:
        return frozenset(self._home) if vantage is None else self._workers[vantage]

    async def _taken(self, future: distributed.Future, given: _Given) -> list[FromVantage]:
        """Judge what a job brought; a job that failed has its targets told as not looked at."""
        if future.status in {"cancelled", "lost"}:
            raise self._scheduler_lost()
        if future.status != "finished":
            return list(self._not_looked(given))
        try:
            address, answer = await future
        except (OSError, asyncio.CancelledError) as error:
            if self._client.status == "running" and not isinstance(error, OSError):
                raise
            raise self._scheduler_lost() from error
        vantage, seen = self._home.get(address), work.read_seen(answer, expected=len(given.numbered))
        if vantage is None or seen is None or given.vantage not in {vantage, None}:
            return list(self._not_looked(given))
        found: list[FromVantage] = []
        for (number, target), look in zip(given.numbered, seen, strict=True):
            case = work.case_of(self._detector, self._detector.expected(target.endpoint), look, where=vantage)
            found += self._judged(number, target, case, vantage)
            judging = self._judging[vantage]
            if judging.may_need_follow_up(case) and (canaries := await off_loop(partial(judging.follow_up, case))):
                self._give(canaries, vantage)
        return found

    def _judged(self, number: int, target: Target, case: EndpointEvidence, vantage: str) -> Iterator[FromVantage]:
        judging = self._judging.setdefault(vantage, Judging(self._detector.canaries))
        return (FromVantage(vantage, result) for result in judging.judge(number, target, case))

    def _not_looked(self, given: _Given) -> Iterator[FromVantage]:
        """Results for targets that nobody looked at: inconclusive, never left out."""
        where = given.vantage or NOWHERE
        for number, target in given.numbered:
            case = work.case_of(self._detector, self._detector.expected(target.endpoint), work.NOT_LOOKED, where=where)
            yield from self._judged(number, target, case, where)

    async def _roll_call(self) -> list[_Given]:
        """See who is there: take in who is new, give jobs of lost workers again; gives those nobody is left for."""
        try:
            self._threads = await self._client.nthreads()
            present = frozenset(self._threads)
            if new := present - self._known:
                self._take_in(await muster(self._client, new))
                self._known |= new
        except (OSError, ValueError) as error:  # a closed client calls itself a wrong value
            raise self._scheduler_lost() from error
        for address in self._home.keys() - present:
            vantage = self._home.pop(address)
            self._workers[vantage] -= {address}
        now = asyncio.get_running_loop().time()
        for vantage, workers in self._workers.items():
            if workers:
                self._missing_since.pop(vantage, None)
            else:
                self._missing_since.setdefault(vantage, now)
        return [given for task, given in self._stranded(present) if await self._moved(task, given, now)]

    def _take_in(self, crew: Crew) -> None:
        for vantage, addresses in crew.vantages.items():
            if vantage in self._workers:
                self._workers[vantage] |= frozenset(addresses)
                self._home |= dict.fromkeys(addresses, vantage)
        if self._on_refused is not None:
            for refused in crew.refused:
                self._on_refused(refused)

    def _stranded(self, present: frozenset[str]) -> list[tuple[asyncio.Task[object], _Given]]:
        return [(task, given) for task, (_, given) in self._flying.items() if not given.workers & present]

    async def _moved(self, task: asyncio.Task[object], given: _Given, now: float) -> bool:
        """Give a job whose workers are all gone to others; whether there are none, and were none for too long."""
        others = self._may(given.vantage)
        vantages = self._workers if given.vantage is None else (given.vantage,)
        gone = not others and all(
            now - self._missing_since.get(vantage, now) >= self._looks.lost_after for vantage in vantages
        )
        if not (others or gone):
            return False
        future, _ = self._flying.pop(task)
        task.cancel()
        await self._client.cancel([future])
        if others:
            self._give(given.numbered, given.vantage)
        return gone

    def _scheduler_lost(self) -> FleetError:
        return FleetError(
            "The connection to the scheduler was lost: the scan is not whole.",
            advice="What was written until now holds; start the scheduler again, and the scan for the rest.",
        )

    async def end(self) -> None:
        """Give up what is still in flight."""
        futures = [future for future, _ in self._flying.values()]
        for task in self._flying:
            task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)
        self._flying.clear()
        if futures and self._client.status == "running":
            await self._client.cancel(futures)


async def _ended(future: distributed.Future) -> None:
    """Wait until a job has ended, however it did."""
    try:
        await distributed.wait(future)
    except distributed.client.FuturesCancelledError:
        return


class _Source:
    """Numbers the targets and takes them in batches, in a thread: a pipe may keep its reader waiting."""

    def __init__(self, targets: Iterable[Target | BadLine], on_bad_line: Callable[[BadLine], None] | None) -> None:
        self._iterator = iter(targets)
        self._on_bad_line = on_bad_line
        self._next_number = 0

    async def take(self) -> tuple[tuple[int, Target], ...]:
        """The next targets with their numbers; none at the end."""
        while lines := await asyncio.to_thread(lambda: list(islice(self._iterator, BATCH))):
            if numbered := tuple(self._numbered(lines)):
                return numbered
        return ()

    def _numbered(self, lines: list[Target | BadLine]) -> Iterator[tuple[int, Target]]:
        for line in lines:
            if isinstance(line, BadLine):
                if self._on_bad_line is not None:
                    self._on_bad_line(line)
            else:
                yield self._next_number, line
                self._next_number += 1
