"""Runs a scan: a few workers, one shared source, results as they come.

Room: scan. Starts tasks and ends every one of them before it returns, however it ends.

What is kept is bounded, whatever the number of targets: those in flight, a short queue of results, and what `judging`
keeps.
"""

from __future__ import annotations

import asyncio
import functools
import random as random_numbers
from collections import deque
from itertools import count, islice
from typing import TYPE_CHECKING, Final, Protocol

from detector.aio.tasks import Group, off_loop
from detector.model import Outcome, Record

from .judging import Judging
from .rate_limit import Pace
from .targets import BadLine, Target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint
    from detector.session.session import Detector

    from .judging import Scanned

TRANSIENT: Final = frozenset(
    {
        Outcome.RESET,
        Outcome.CLOSED,
        Outcome.CONNECT_TIMEOUT,
        Outcome.HANDSHAKE_TIMEOUT,
        Outcome.DNS_FAILURE,
        Outcome.UNREACHABLE,
        Outcome.RESOURCES,
    }
)
"""Endings that may be otherwise the next time. A refusal, an alert or a certificate is an answer."""

BATCH: Final = 256
"""Targets read at once, in a thread: a pipe may keep its reader waiting."""

BACKOFF_SECONDS: Final = 1.0
"""Before the first retry; it doubles for each further one, and half to one and a half times of it are waited."""


class ScanSettings(Record, frozen=True, kw_only=True):
    """How a scan goes: connections at once, connections a second in all and to one host, retries, seconds a target."""

    concurrency: int = 256
    rate: float | None = None
    rate_per_destination: float | None = None
    retries: int = 1
    timeout: float = 10.0


class Look(Protocol):
    """Whatever looks at one endpoint: `Detector.look`, or other processes."""

    def __call__(self, endpoint: Endpoint, *, timeout: float) -> Awaitable[EndpointEvidence]:
        """Look at `endpoint`, within `timeout` seconds."""


async def scan(  # noqa: PLR0913 - keyword-only past the source; each is one choice
    detector: Detector,
    targets: Iterable[Target | BadLine],
    *,
    settings: ScanSettings | None = None,
    done: Container[int] = (),
    on_bad_line: Callable[[BadLine], None] | None = None,
    random: random_numbers.Random | None = None,
    look: Look | None = None,
) -> AsyncGenerator[Scanned, None]:
    """Probe and judge every target, at most `settings.concurrency` at once, and give each result as it comes.

    Where something was not cleared, canaries are probed as well, once (`Detector.canaries`).

    `targets` are taken in a thread, no faster than they are used; those whose number is in `done` are passed over. A
    `BadLine` among them goes to `on_bad_line` and has no number. `random` jitters retries, `look` replaces
    `detector.look`. Closing the generator ends every connection. Raises what `targets` or `on_bad_line` raises, and
    nothing for reasons of network or peers.
    """
    jitter = random or random_numbers.Random()  # noqa: S311 - jitter, no secret
    scanning = _Scan(detector, targets, settings or ScanSettings(), done, on_bad_line, jitter, look or detector.look)
    working = asyncio.create_task(scanning.run())
    try:
        while (found := await scanning.results.get()) is not None:
            yield found
        await working
    finally:
        working.cancel()
        await asyncio.wait([working])


class _Scan:
    """What the workers of one scan share."""

    def __init__(  # noqa: PLR0913, PLR0917 - as `scan`
        self,
        detector: Detector,
        targets: Iterable[Target | BadLine],
        settings: ScanSettings,
        done: Container[int],
        on_bad_line: Callable[[BadLine], None] | None,
        random: random_numbers.Random,
        look: Look,
    ) -> None:
        self.settings: Final = settings
        self.results: Final = _Results(settings.concurrency)
        self._detector = detector
        self._look = look
        self._source = _Source(targets, done, on_bad_line)
        self._pace = Pace(rate=settings.rate, per_destination=settings.rate_per_destination)
        self._random = random
        self._judging = Judging(detector.canaries)

    async def run(self) -> None:
        """Let the workers work until all is done or one of them fails, and tell the reader that it is over."""
        workers = [asyncio.create_task(self._work()) for _ in range(self.settings.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
            self.results.end()

    async def _work(self) -> None:
        """Take targets until there are none."""
        while (taken := await self._source.take()) is not None:
            case = await self._assess(*taken)
            if self._judging.may_need_follow_up(case):
                async with Group() as group:
                    for number, canary in await off_loop(functools.partial(self._judging.follow_up, case)):
                        group.create_task(self._assess(number, canary))

    async def _assess(self, number: int, target: Target) -> EndpointEvidence:
        """Probe one target and assess it; gives its evidence."""
        case = await self._detector.recalled(await self._probe(target))
        for found in self._judging.judge(number, target, case):
            await self.results.put(found)
        return case

    async def _probe(self, target: Target) -> EndpointEvidence:
        endpoint = self._detector.expected(target.endpoint)
        return await look_patiently(
            self._look,
            endpoint,
            timeout=self.settings.timeout,
            retries=self.settings.retries,
            random=self._random,
            turn=lambda: self._pace.turn(endpoint.address[0] if endpoint.address else endpoint.host),
        )


async def look_patiently(  # noqa: PLR0913 - keyword-only past the endpoint; each is one choice
    look: Look,
    endpoint: Endpoint,
    *,
    timeout: float,  # noqa: ASYNC109 - for one try, enforced by `look`
    retries: int,
    random: random_numbers.Random,
    turn: Callable[[], Awaitable[None]] | None = None,
) -> EndpointEvidence:
    """Look at an endpoint, and up to `retries` times again after failures that pass. `turn` is waited for each time."""
    for attempt in count():
        if turn is not None:
            await turn()
        case = await look(endpoint, timeout=timeout)
        if case.observation.outcome not in TRANSIENT or case.observation.chain or attempt >= retries:
            break
        await asyncio.sleep(BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5))
    return case


class _Results:
    """Results that nobody has taken yet: at most `room`, so that a slow reader slows the scan, and then the end."""

    def __init__(self, room: int) -> None:
        self._room = asyncio.Semaphore(room)
        self._queue: asyncio.Queue[Scanned | None] = asyncio.Queue()

    async def put(self, result: Scanned) -> None:
        """Give a result once there is room."""
        await self._room.acquire()
        self._queue.put_nowait(result)

    def end(self) -> None:
        """Say that no more come."""
        self._queue.put_nowait(None)

    async def get(self) -> Scanned | None:
        """The next result; None at the end."""
        found = await self._queue.get()
        self._room.release()
        return found


class _Source:
    """Numbers the targets, passes over those that are done, and reads ahead in a thread."""

    def __init__(
        self,
        targets: Iterable[Target | BadLine],
        done: Container[int],
        on_bad_line: Callable[[BadLine], None] | None,
    ) -> None:
        self._iterator = iter(targets)
        self._done = done
        self._on_bad_line = on_bad_line
        self._ready: deque[tuple[int, Target]] = deque()
        self._next_number = 0
        self._exhausted = False
        self._reading = asyncio.Lock()

    async def take(self) -> tuple[int, Target] | None:
        """The next target and its number; None when there are no more."""
        if not self._ready:
            async with self._reading:
                while not self._ready and not self._exhausted:
                    self._fill(await asyncio.to_thread(self._read))
        return self._ready.popleft() if self._ready else None

    def _read(self) -> list[Target | BadLine]:
        return list(islice(self._iterator, BATCH))

    def _fill(self, batch: list[Target | BadLine]) -> None:
        self._exhausted = len(batch) < BATCH
        for item in batch:
            if isinstance(item, BadLine):
                if self._on_bad_line is not None:
                    self._on_bad_line(item)
                continue
            number = self._next_number
            self._next_number += 1
            if number not in self._done:
                self._ready.append((number, item))
