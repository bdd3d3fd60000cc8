"""A thousand servers at once that only cost time: deadlines hold, and nothing is left open.

Bounds are about the deadline and twice it, because a machine may be busy and a hang is longer than that; how many
connections are made in that time is not the question.
"""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.tarpits import Tarpits, serve_tarpits

from detector import Detector, Endpoint
from detector.model import Outcome
from detector.scan import Target, scan
from detector.session.stream import StreamSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from detector.model import Result

    Settings = Callable[..., dict[str, Any]]

TARPITS = 1000
DEADLINE = 4.0
MANY = 100
"""Connections that any machine makes within the deadline: a tenth of all."""
LATE = frozenset({Outcome.DEADLINE, Outcome.CONNECT_TIMEOUT, Outcome.HANDSHAKE_TIMEOUT})


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """As many open files as this process may have: the usual limit is about the number of tarpits."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


@pytest.fixture(params=["silent", "drip"])
async def tarpits(request: pytest.FixtureRequest) -> AsyncIterator[Tarpits]:
    """Servers that say nothing, or a byte of a ServerHello every 50 ms, in another process."""
    async with serve_tarpits(request.param) as running:
        yield running


def endpoints(tarpits: Tarpits) -> list[Endpoint]:
    return [Endpoint(host=f"h{number}.example.edu", address=tarpits.address) for number in range(TARPITS)]


async def by_check(detector: Detector, tarpits: Tarpits) -> list[Result]:
    report = await detector.check(endpoints(tarpits), deadline=DEADLINE)
    assert report.verdict == "inconclusive"
    return list(report.results)


async def by_scan(detector: Detector, tarpits: Tarpits) -> list[Result]:
    return [result async for result in detector.scan(endpoints(tarpits), timeout=DEADLINE)]


async def by_command(detector: Detector, tarpits: Tarpits) -> list[Result]:
    targets = [Target(endpoint, "list") for endpoint in endpoints(tarpits)]
    settings = StreamSettings(concurrency=TARPITS, retries=0, timeout=DEADLINE)
    return [result async for result in scan(detector, targets, settings=settings)]


@pytest.mark.serial
@pytest.mark.parametrize("by", [by_check, by_scan, by_command])
async def test_a_thousand_cost_the_deadline(by: Any, tarpits: Tarpits, settings_of: Settings) -> None:  # noqa: ANN401 - one of the three above
    """A check keeps its deadline and a scan that of each target; all are reported, no task and no file is left."""
    loop, process = asyncio.get_running_loop(), psutil.Process()
    detector = Detector(**settings_of(concurrency=TARPITS))
    await detector.check([Endpoint(host="h.example.edu", address=("127.0.0.1", 1))])  # what is opened once, is open now
    files, tasks = process.num_fds(), len(asyncio.all_tasks())
    begun = loop.time()
    results = await by(detector, tarpits)
    took = loop.time() - begun
    assert len({result.endpoint.host for result in results}) == len(results) == TARPITS
    assert {result.observation.outcome for result in results} <= LATE
    assert {result.verdict for result in results} == {"inconclusive"}
    assert took < 2 * DEADLINE
    async with asyncio.timeout(30):  # far more than it takes: what was left open never ends
        assert (await tarpits.settled()).accepted >= MANY
    assert process.num_fds() <= files
    assert len(asyncio.all_tasks()) == tasks
