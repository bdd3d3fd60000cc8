"""A machine whose time and network are made up: an event loop in virtual time, clocks to set, lines to switch."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import selectors
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from detector.aio.tasks import THREAD_NAME
from detector.model import Endpoint, Route
from detector.probe.mock import MockNetwork, TLSServer
from detector.watch.runner import WatchEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from detector_testing import Issued

    from detector.probe import Dialer
    from detector.probe.routes import ConnectionRecord, ProtocolFactory

T = TypeVar("T")


class _SkippingSelector(selectors.SelectSelector):
    """Never waits: where the loop would, the time it would have waited has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if timeout == 0:  # there is something to do: perhaps what ends the work in a thread
            return found
        while not found and _works_in_thread():  # takes no time of this world, so time stands still until it ends
            found = super().select(0.001)
        found = found or super().select(0)  # what was reported last
        if not found:
            assert timeout is not None, "everything waits for something that will never happen"
            self.now += max(timeout, 0.0)
        return found


def _works_in_thread() -> bool:
    """Whether a worker thread has something to do; once it has not, the loop knows of all that it did."""
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self.skipping = _SkippingSelector()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.now


def simulate(scene: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scene())


class Machine:
    """Clocks and networks of a made-up machine, within a `VirtualTimeLoop`."""

    def __init__(self, start: dt.datetime, seed: int = 1) -> None:
        self.start = start
        self.networks = {"ipv4": "192.0.2.17"}
        self._slept = 0.0
        self._set_by = 0.0
        self.environment = WatchEnvironment(self.elapsed, lambda: self.networks, random.Random(seed))  # noqa: S311 - a test repeats itself

    @property
    def _loop(self) -> VirtualTimeLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return loop

    def elapsed(self) -> float:
        return self._loop.time() + self._slept

    def wall(self) -> dt.datetime:
        return self.start + dt.timedelta(seconds=self.elapsed() - 1000.0 + self._set_by)

    def sleep_as_linux_does(self, seconds: float) -> None:
        """The loop's clock stands still while the machine sleeps."""
        self._slept += seconds

    def sleep_as_windows_does(self, seconds: float) -> None:
        """The loop's clock goes on while the machine sleeps."""
        self._loop.skipping.now += seconds

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock on the wall."""
        self._set_by += seconds


class Switchboard:
    """A dialer that asks `choose(endpoint, number of this connection)` which way to take."""

    route = Route.DIRECT

    def __init__(self, choose: Callable[[Endpoint, int], Dialer]) -> None:
        self.choose = choose
        self.connections = 0

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        self.connections += 1
        return await self.choose(endpoint, self.connections).dial(endpoint, factory, record)


class Line(MockNetwork):
    """A network in memory that serves these certificates and forgets who called."""

    def __init__(self, issued: dict[str, Issued]) -> None:
        super().__init__({(host, 443): TLSServer(chain=one.chain, key=one.key) for host, one in issued.items()})

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        self.dialled.clear()
        return await super().dial(endpoint, factory, record)


def short(events: Iterable[Any]) -> list[str]:
    """Events as `kind host`, or `kind` alone where they are about all."""
    return [f"{event.kind} {event.endpoint.host}" if event.endpoint else str(event.kind) for event in events]
