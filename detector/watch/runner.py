"""Conducts a watch: looks at endpoints again and again, at times nobody can foresee, and passes on what changed.

Room: session. It knows when (`pacing`) and what to tell (`watching`); how an endpoint is looked at is an argument. It
starts tasks and ends every one of them: when its events are closed, nothing is left.

Looking goes on while the reader of the events is busy. Only when `EVENTS_WAITING_MAX` events wait does it pause, and
then the pause is told as a gap.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.tasks import end, off_loop
from detector.errors import InputError

from .events import WatchKind
from .schedule import Attachment, Clocks, Schedule
from .state import Moment, Watch

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Result
    from detector.trust.budget import Budget

    from .events import WatchEvent

HEARTBEAT: Final = 5.0
"""Seconds after which clocks and networks are looked at even when nothing else happens."""
SETTLE: Final = 0.5
"""Seconds that looks in flight are waited for once one has ended, to be judged together: an interceptor that answers
for all is then told once and in full, and half a second is no delay to a person."""
RECONSIDER: Final = 2.0
"""Seconds before a look that was lost is repeated: moving between wireless access points takes about one."""
EVENTS_WAITING_MAX: Final = 256
"""Events that wait for a reader; each holds a chain of some kilobytes."""


def elapsed_seconds() -> float:
    """Seconds of a clock that nobody sets and that, where the system has one, goes on while the machine sleeps.

    Linux has it as CLOCK_BOOTTIME, macOS as CLOCK_MONOTONIC; on Windows the ordinary monotonic clock is that.
    """
    return time.monotonic() if _SLEEPLESS_CLOCK is None else time.clock_gettime(_SLEEPLESS_CLOCK)


_SLEEPLESS_CLOCK: Final[int | None] = (
    time.CLOCK_MONOTONIC if sys.platform == "darwin" else getattr(time, "CLOCK_BOOTTIME", None)
)


def no_networks() -> dict[str, str]:
    """For when there is nothing to notice about this machine's networks."""
    return {}


class Surroundings(NamedTuple):
    """What a watch asks the machine for: a sleepless clock, its networks (by address family), and chance.

    `chance` must not be predictable for who might want to know when the next look comes.
    """

    elapsed: Callable[[], float] = elapsed_seconds
    networks: Callable[[], Mapping[str, str]] = no_networks
    chance: random.Random = random.SystemRandom()


class Look(NamedTuple):
    """One look at one endpoint, whether or not it changed anything: what it showed, when, and how long it took."""

    result: Result
    at: dt.datetime
    seconds: float


class Pace(NamedTuple):
    """How a watch is run.

    `interval` is the mean time between two looks at one endpoint, `deadline` what one look may take, `duration` how
    long the watch goes on (all in seconds), `concurrency` how many looks there are at once.
    """

    interval: float
    deadline: float
    duration: float
    concurrency: int

    def checked(self) -> Pace:
        """This pace. Raises `InputError` when it cannot be kept."""
        for name, seconds in (("interval", self.interval), ("deadline", self.deadline), ("duration", self.duration)):
            if not seconds > 0 or (math.isinf(seconds) and name != "duration"):
                raise InputError(f"{name} {seconds}: not a time to wait.", advice="Give seconds, more than 0.")
        return self


class Watcher:
    """One watch over `endpoints`.

    `look` looks at one endpoint until a time of the event loop; what canaries showed meanwhile may follow it. `wall`
    gives the time in UTC, `stop` ends the watch when it is set, `on_look` is called after every look. `budget`, which
    the evidence is assessed with, is refilled for every round. `named` and `vantage` as in `Watch`.

    Raises `InputError` for a pace that cannot be kept or when there is nothing to watch.
    """

    def __init__(  # noqa: PLR0913 - keyword-only past the endpoints; each is one part of a watch
        self,
        endpoints: Sequence[Endpoint],
        *,
        look: Callable[[Endpoint, float], Awaitable[Sequence[EndpointEvidence]]],
        wall: Callable[[], dt.datetime],
        pace: Pace,
        surroundings: Surroundings,
        named: Collection[str] = (),
        vantage: str = "",
        stop: asyncio.Event | None = None,
        on_look: Callable[[Look], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        if not endpoints:
            raise InputError("There is nothing to watch.", advice="Name a host, or give a pin file with endpoints.")
        self._endpoints: Final = tuple(endpoints)
        self._index_of: Final = {endpoint.name: index for index, endpoint in enumerate(endpoints)}
        self._look: Final = look
        self._wall: Final = wall
        self._pace: Final = pace.checked()
        self._surroundings: Final = surroundings
        self._stop: Final = stop
        self._on_look: Final = on_look
        self._budget: Final = budget
        self._watch: Final = Watch(endpoints, named=named, vantage=vantage)
        self._schedule: Final = Schedule(len(endpoints), pace.interval, surroundings.chance)
        self._running: dict[asyncio.Task[tuple[Sequence[EndpointEvidence], float]], int] = {}
        self._waiting: Final[deque[WatchEvent]] = deque()
        self._news: Final = asyncio.Event()
        self._drained: Final = asyncio.Event()
        self._hurried = self._asked = -math.inf
        self._begun = 0.0

    async def events(self) -> AsyncGenerator[WatchEvent, None]:
        """The events, as they come. Closing this ends every task and connection."""
        conductor = asyncio.create_task(self._conduct())
        conductor.add_done_callback(lambda _: self._news.set())
        try:
            while not conductor.done() or self._waiting:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    yield self._waiting.popleft()
                    self._drained.set()
            conductor.result()
        finally:
            await end([conductor])

    async def _conduct(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._pace.duration
        stopping = asyncio.create_task((self._stop or asyncio.Event()).wait())
        self._begun = self._surroundings.elapsed()
        clocks = Clocks(self._wall(), self._begun)
        attachment = Attachment(self._surroundings.networks())
        self._hurry()
        try:
            while not stopping.done() and loop.time() < until:
                self._start_looks()
                planned = self._pause(until)
                await asyncio.wait({stopping, *self._running}, timeout=planned, return_when=asyncio.FIRST_COMPLETED)
                if any(task.done() for task in self._running) and not stopping.done():
                    await asyncio.wait(self._running, timeout=SETTLE)
                await self._notice(clocks, attachment, planned + SETTLE)
                await self._judge()
            await self._drop_looks()
            await self._tell([self._watch.end(self._moment())])
        finally:
            await end([stopping, *self._running])

    def _start_looks(self) -> None:
        """Begin the looks that are due, as far as there is room for them."""
        now = asyncio.get_running_loop().time()
        busy = set(self._running.values())
        for index in self._schedule.due(now, busy)[: self._pace.concurrency - len(busy)]:
            self._schedule.begun(index, now)
            self._running[asyncio.create_task(self._timed_look(self._endpoints[index]))] = index

    async def _timed_look(self, endpoint: Endpoint) -> tuple[Sequence[EndpointEvidence], float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        cases = await self._look(endpoint, begun + self._pace.deadline)
        return cases, loop.time() - begun

    async def _drop_looks(self) -> None:
        """End the looks that are under way."""
        unfinished = [task for task in self._running if not task.done()]
        await end(unfinished)
        for task in unfinished:
            del self._running[task]

    def _pause(self, until: float) -> float:
        """Seconds until something is to be done, if no look ends before."""
        now = asyncio.get_running_loop().time()
        busy = set(self._running.values())
        has_room = len(busy) < self._pace.concurrency
        due = self._schedule.next(busy) if has_room else math.inf
        return max(min(due - now, until - now, HEARTBEAT), 0.0)

    async def _notice(self, clocks: Clocks, attachment: Attachment, planned: float) -> None:
        """Tell what happened to clock and network since last time, and look at everything again if anything did."""
        passed = clocks.read(self._wall(), self._surroundings.elapsed(), planned)
        changed, returned = self._moved(attachment)
        if passed.gap is not None:
            # What was under way belongs to the time before: its connections may be dead, its deadlines over.
            await self._drop_looks()
            await self._tell([self._watch.passed(WatchKind.GAP, self._moment(), passed.gap)])
        if passed.step is not None:
            await self._tell([self._watch.passed(WatchKind.CLOCK_STEP, self._moment(), passed.step)])
        if changed:
            await self._tell([self._watch.passed(WatchKind.NETWORK_CHANGE, self._moment())])
        if changed or returned or passed != (None, None):
            self._hurry()

    def _moved(self, attachment: Attachment) -> tuple[bool, bool]:
        """As `Attachment.read`, asking the machine once a heartbeat at most."""
        now = asyncio.get_running_loop().time()
        if now - self._asked < HEARTBEAT:
            return False, False
        self._asked = now
        return attachment.read(self._surroundings.networks())

    async def _judge(self) -> None:
        """Judge the looks that have ended and tell what changed.

        Beside the loop, one round after the other. Whoever ends the watch meanwhile does not wait for it, and nobody
        reads its state any more.
        """
        ended = [task for task in self._running if task.done()]
        if not ended:
            return
        for task in ended:
            del self._running[task]
        results = [task.result() for task in ended]
        looks = [(cases[0], seconds) for cases, seconds in results]
        company = [canary for cases, _ in results for canary in cases[1:]]
        moment = self._moment()
        if self._budget is not None:
            self._budget.refill()
        events = await off_loop(lambda: self._watch.look([case for case, _ in looks], moment, company))
        for case, seconds in looks:
            result = self._watch.latest(case.endpoint)
            if self._on_look is not None and result is not None:
                self._on_look(Look(result, moment.at, seconds))
        await self._tell(events)
        self._look_again({self._index_of[case.endpoint.name] for case, _ in looks}, events)

    def _look_again(self, looked: AbstractSet[int], events: Iterable[WatchEvent]) -> None:
        """Look again soon where one of these looks was lost: at everything, at most once an interval, else at that.

        What was lost earlier has its time already and must not be put off again.
        """
        now = asyncio.get_running_loop().time()
        doubtful = looked & {self._index_of[endpoint.name] for endpoint in self._watch.doubtful}
        if any(event.kind is WatchKind.NETWORK_BACK for event in events):
            self._hurry()
        elif doubtful and now - self._hurried >= self._pace.interval:
            self._hurry(RECONSIDER)
        self._schedule.put(now + RECONSIDER, doubtful)

    def _hurry(self, after: float = 0.0) -> None:
        """Look at everything soon."""
        self._hurried = asyncio.get_running_loop().time()
        self._schedule.hurry(self._hurried + after)

    def _moment(self) -> Moment:
        return Moment(self._wall(), self._surroundings.elapsed() - self._begun)

    async def _tell(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            while len(self._waiting) >= EVENTS_WAITING_MAX:
                self._drained.clear()
                await self._drained.wait()
            self._waiting.append(event)
            self._news.set()
