"""Runs a watch: probes endpoints again and again at unpredictable times, and yields events for what changed.

Room: watch. `schedule` says when, `state` what to report; how an endpoint is probed is an argument. Starts tasks and
ends every one of them: when its events are closed, nothing is left.

Probing continues while the reader of the events is busy. Only when `EVENTS_WAITING_MAX` events wait does it pause, and
then the pause is reported as a gap.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.tasks import cancel_and_wait, run_in_thread
from detector.errors import InputError

from .events import WatchKind
from .schedule import ClockPair, LocalNetworks, Passed, Schedule
from .state import Moment, Watch

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Result
    from detector.trust.budget import Budget

    from .events import WatchEvent

LOG: Final = logging.getLogger("detector.watch")

HEARTBEAT: Final = 5.0
"""Seconds after which clocks and networks are checked even when nothing else happens."""
SETTLE: Final = 0.5
"""Seconds for which probes in flight are awaited once one has ended, to be assessed together: an interceptor of
everything is then reported once and in full, and half a second is no delay to a person."""
RECONSIDER: Final = 2.0
"""Seconds before a failed probe is repeated: moving between wireless access points takes about one."""
EVENTS_WAITING_MAX: Final = 256
"""Events that wait for the reader; each holds a chain of some kilobytes."""


def elapsed_seconds() -> float:
    """Seconds of a clock that cannot be set and that, where the system has one, continues while the machine sleeps.

    Linux has it as CLOCK_BOOTTIME, macOS as CLOCK_MONOTONIC; on Windows the ordinary monotonic clock is that.
    """
    return time.monotonic() if _SLEEPLESS_CLOCK is None else time.clock_gettime(_SLEEPLESS_CLOCK)


_SLEEPLESS_CLOCK: Final[int | None] = (
    time.CLOCK_MONOTONIC if sys.platform == "darwin" else getattr(time, "CLOCK_BOOTTIME", None)
)


def no_networks() -> dict[str, str]:
    """The networks of a machine whose networks are not to be watched."""
    return {}


class WatchEnvironment(NamedTuple):
    """What a watch asks the machine for: a sleepless clock, its networks (by address family), and randomness.

    `random` must not be predictable for an observer who wants to know when the next probe comes.
    """

    elapsed: Callable[[], float] = elapsed_seconds
    networks: Callable[[], Mapping[str, str]] = no_networks
    random: random.Random = random.SystemRandom()


class ProbeResult(NamedTuple):
    """One probe of one endpoint, whether or not it changed anything: its result, when, and how long it took."""

    result: Result
    at: dt.datetime
    seconds: float


class WatchOptions(NamedTuple):
    """How a watch is run.

    `interval` is the mean time between two probes of one endpoint, `deadline` what one probe may take, `duration` how
    long the watch runs (all in seconds), `concurrency` how many probes run at once.
    """

    interval: float
    deadline: float
    duration: float
    concurrency: int

    def check(self) -> None:
        """Raise `InputError` for a time that is not positive, or infinite."""
        for name, seconds in (("interval", self.interval), ("deadline", self.deadline), ("duration", self.duration)):
            if not seconds > 0 or (math.isinf(seconds) and name != "duration"):
                raise InputError(f"{name} {seconds}: not a time to wait.", advice="Give seconds, more than 0.")


@dataclass(kw_only=True)
class Watcher:
    """One watch over `endpoints`.

    `probe` probes one endpoint until a time of the event loop; the evidence of canaries may follow the endpoint's.
    `wall` gives the time in UTC, `stop` ends the watch when it is set, `on_probe` is called after every probe.
    `budget`, which the evidence is assessed with, is refilled for every round. `named` and `vantage` as in `Watch`.

    Raises `InputError` for times that are not positive or when there is nothing to watch.
    """

    endpoints: Sequence[Endpoint]
    probe: Callable[[Endpoint, float], Awaitable[Sequence[EndpointEvidence]]]
    wall: Callable[[], dt.datetime]
    options: WatchOptions
    environment: WatchEnvironment
    named: Collection[str] = ()
    vantage: str = ""
    stop: asyncio.Event | None = None
    on_probe: Callable[[ProbeResult], None] | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if not self.endpoints:
            raise InputError("There is nothing to watch.", advice="Name a host, or give a pin file with endpoints.")
        self.options.check()
        self._index_of = {endpoint.name: index for index, endpoint in enumerate(self.endpoints)}
        self._watch = Watch(self.endpoints, named=self.named, vantage=self.vantage)
        self._schedule = Schedule(len(self.endpoints), self.options.interval, self.environment.random)
        self._running: dict[asyncio.Task[tuple[Sequence[EndpointEvidence], float]], int] = {}
        self._waiting: deque[WatchEvent] = deque()
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._hurried = self._networks_read = -math.inf
        self._begun = 0.0

    async def events(self) -> AsyncGenerator[WatchEvent, None]:
        """The events, as they come. Closing this ends every task and connection."""
        running = asyncio.create_task(self._run())
        running.add_done_callback(lambda _: self._changed.set())
        try:
            while not running.done() or self._waiting:
                await self._changed.wait()
                self._changed.clear()
                while self._waiting:
                    yield self._waiting.popleft()
                    self._drained.set()
            running.result()
        finally:
            await cancel_and_wait([running])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.options.duration
        stopping = asyncio.create_task((self.stop or asyncio.Event()).wait())
        self._begun = self.environment.elapsed()
        clocks = ClockPair(self.wall(), self._begun)
        networks = LocalNetworks(self.environment.networks())
        self._hurry()
        try:
            while not stopping.done() and loop.time() < until:
                self._start_probes()
                planned = self._pause(until)
                await asyncio.wait({stopping, *self._running}, timeout=planned, return_when=asyncio.FIRST_COMPLETED)
                if any(task.done() for task in self._running) and not stopping.done():
                    await asyncio.wait(self._running, timeout=SETTLE)
                await self._check_surroundings(clocks, networks, planned + SETTLE)
                await self._assess()
            await self._drop_probes()
            await self._report([self._watch.end(self._moment())])
        finally:
            await cancel_and_wait([stopping, *self._running])

    def _start_probes(self) -> None:
        """Start the probes that are due, as far as there is room for them."""
        now = asyncio.get_running_loop().time()
        busy = set(self._running.values())
        for index in self._schedule.due(now, busy)[: self.options.concurrency - len(busy)]:
            self._schedule.begun(index, now)
            self._running[asyncio.create_task(self._timed_probe(self.endpoints[index]))] = index

    async def _timed_probe(self, endpoint: Endpoint) -> tuple[Sequence[EndpointEvidence], float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        return await self.probe(endpoint, begun + self.options.deadline), loop.time() - begun

    async def _drop_probes(self) -> None:
        """Cancel the probes in flight."""
        unfinished = [task for task in self._running if not task.done()]
        await cancel_and_wait(unfinished)
        for task in unfinished:
            del self._running[task]

    def _pause(self, until: float) -> float:
        """Seconds until something is to be done, if no probe ends before."""
        now = asyncio.get_running_loop().time()
        busy = set(self._running.values())
        due = self._schedule.next(busy) if len(busy) < self.options.concurrency else math.inf
        return max(min(due - now, until - now, HEARTBEAT), 0.0)

    async def _check_surroundings(self, clocks: ClockPair, networks: LocalNetworks, planned: float) -> None:
        """Report what happened to clock and network since last time, and probe everything again if anything did."""
        passed = clocks.read(self.wall(), self.environment.elapsed(), planned)
        changed = returned = False
        now = asyncio.get_running_loop().time()
        if now - self._networks_read >= HEARTBEAT:
            self._networks_read = now
            changed, returned = networks.read(self.environment.networks())
        if passed.gap is not None:
            # The probes in flight belong to the time before: their connections may be dead, their deadlines over.
            await self._drop_probes()
            await self._report([self._watch.passed(WatchKind.GAP, self._moment(), passed.gap)])
        if passed.step is not None:
            await self._report([self._watch.passed(WatchKind.CLOCK_STEP, self._moment(), passed.step)])
        if changed:
            await self._report([self._watch.passed(WatchKind.NETWORK_CHANGE, self._moment())])
        if changed or returned or passed != Passed():
            LOG.info("network changed: %s, returned: %s, %s: probing everything again", changed, returned, passed)
            self._hurry()

    async def _assess(self) -> None:
        """Assess the probes that have ended and report what changed.

        Done in a thread, one round after the other. Ending the watch meanwhile does not wait for it, and nothing reads
        its state any more.
        """
        ended = [task for task in self._running if task.done()]
        if not ended:
            return
        for task in ended:
            del self._running[task]
        results = [task.result() for task in ended]
        canaries = [canary for evidence, _ in results for canary in evidence[1:]]
        moment = self._moment()
        if self.budget is not None:
            self.budget.refill()
        events = await run_in_thread(lambda: self._watch.add([each[0] for each, _ in results], moment, canaries))
        for evidence, seconds in results:
            result = self._watch.latest(evidence[0].endpoint)
            if self.on_probe is not None and result is not None:
                self.on_probe(ProbeResult(result, moment.at, seconds))
        await self._report(events)
        self._repeat_failed({self._index_of[evidence[0].endpoint.name] for evidence, _ in results}, events)

    def _repeat_failed(self, probed: AbstractSet[int], events: Iterable[WatchEvent]) -> None:
        """Probe again soon where one of these probes failed: everything, at most once an interval, else those.

        What failed earlier has its time already and must not be put off again.
        """
        now = asyncio.get_running_loop().time()
        doubtful = probed & {self._index_of[endpoint.name] for endpoint in self._watch.doubtful}
        if any(event.kind is WatchKind.NETWORK_BACK for event in events):
            self._hurry()
        elif doubtful and now - self._hurried >= self.options.interval:
            self._hurry(RECONSIDER)
        self._schedule.put(now + RECONSIDER, doubtful)

    def _hurry(self, after: float = 0.0) -> None:
        """Probe everything soon."""
        self._hurried = asyncio.get_running_loop().time()
        self._schedule.hurry(self._hurried + after)

    def _moment(self) -> Moment:
        return Moment(self.wall(), self.environment.elapsed() - self._begun)

    async def _report(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            while len(self._waiting) >= EVENTS_WAITING_MAX:
                self._drained.clear()
                await self._drained.wait()
            self._waiting.append(event)
            self._changed.set()
