"""The watch over real sockets on loopback: middleboxes that come, go and change, endpoints that go down and up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Script, run_mitmproxy, serve_middlebox, serve_origin, serve_script
from support.simulation import Switchboard, short

from detector import Detector, WatchKind
from detector.model import Endpoint
from detector.probe import DirectDialer, ProxyDialer, parse_proxy
from detector.watch import schedule

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from conftest import World
    from detector_testing import PrivatePKI, Serving

    from detector import WatchEvent
    from detector.watch.runner import ProbeResult

    Settings = Callable[..., dict[str, Any]]
    Where = dict[tuple[str, int], tuple[str, int]]

EXAM, LMS = "exam.example.edu", "lms.example.org"
QUICK = 0.2
"""Seconds between two probes: fast enough for a test, on loopback."""
PATIENCE = 30.0
"""Seconds after which a test gives up on an event."""


@pytest.fixture
async def where(pki: PrivatePKI) -> AsyncIterator[Where]:
    """Two honest servers."""
    async with serve_origin(pki.issue([EXAM])) as exam, serve_origin(pki.issue([LMS])) as lms:
        yield {(EXAM, 443): exam.address, (LMS, 443): lms.address}


@pytest.fixture
def stated(world: World, settings_of: Settings) -> Settings:
    """Settings that state the public roots of both servers."""
    roots = tuple(world.roots.labels)
    endpoints = [Endpoint(host=host, roots=roots) for host in (EXAM, LMS)]
    return lambda **more: settings_of(*endpoints, **more)


async def read_until(events: AsyncGenerator[WatchEvent, None], *kinds: str) -> list[WatchEvent]:
    """Read until an event of each of these kinds has come."""
    read: list[WatchEvent] = []
    missing = set(kinds)
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            read.append(event)
            missing.discard(event.kind)
            if not missing:
                return read
    raise AssertionError(f"the watch ended without {missing}")


async def test_middlebox_that_wakes_up_later(pki: PrivatePKI, stated: Settings, where: Where) -> None:
    """A middlebox that lets the first connections pass, as if it knew of checks, is reported when it intercepts."""
    async with serve_middlebox(pki.private_ca("Late Filter CA"), upstream=where, pass_first=7) as box:
        subject = Detector(**stated(proxy=box.url))
        assert (await subject.check([EXAM, LMS])).verdict == "clean"
        async with contextlib.aclosing(subject.watch([EXAM, LMS], interval=QUICK)) as events:
            reported = await read_until(events, WatchKind.APPEARED)
        assert box.intercepted
    assert short(reported)[0] == "baseline"
    assert [event.kind for event in reported[1:]] == ["appeared"]
    assert reported[-1].after is not None
    assert reported[-1].after.issuer == "CN=Late Filter CA"
    assert reported[-1].result is not None
    assert reported[-1].result.observation.key_proved


async def test_middlebox_that_goes_and_one_that_changes(pki: PrivatePKI, stated: Settings, where: Where) -> None:
    """Appeared, changed to another CA, gone: each by real connections through real middleboxes."""
    direct = DirectDialer(where)
    async with (
        serve_middlebox(pki.private_ca("Day CA"), upstream=where) as day,
        serve_middlebox(pki.private_ca("Night CA"), upstream=where) as night,
    ):
        through = {box: ProxyDialer(parse_proxy(box.url), where) for box in (day, night)}
        switchboard = Switchboard(lambda _, __: direct)
        subject = Detector(**stated(dialer=switchboard))
        async with contextlib.aclosing(subject.watch([EXAM, LMS], interval=QUICK)) as events:
            assert short(await read_until(events, WatchKind.BASELINE)) == ["baseline"]
            switchboard.choose = lambda _, __: through[day]
            await read_until(events, WatchKind.APPEARED)
            switchboard.choose = lambda _, __: through[night]
            changed = await read_until(events, WatchKind.CHANGED_INTERCEPTOR)
            switchboard.choose = lambda _, __: direct
            gone = await read_until(events, WatchKind.VANISHED)
    assert changed[-1].before is not None
    assert changed[-1].after is not None
    assert (changed[-1].before.issuer, changed[-1].after.issuer) == ("CN=Day CA", "CN=Night CA")
    assert gone[-1].after is not None
    assert gone[-1].after.verdict == "clean"


@pytest.mark.lab
async def test_real_mitmproxy(stated: Settings, where: Where, tls_serving: Serving) -> None:
    """The real mitmproxy is named when the route begins to lead through it."""
    running = tls_serving(run_mitmproxy(upstream_hosts=where))
    direct, through = DirectDialer(where), ProxyDialer(parse_proxy(f"http://127.0.0.1:{running.port}"))
    switchboard = Switchboard(lambda _, __: direct)
    async with contextlib.aclosing(Detector(**stated(dialer=switchboard)).watch([EXAM, LMS], interval=QUICK)) as events:
        await read_until(events, WatchKind.BASELINE)
        switchboard.choose = lambda _, __: through
        reported = await read_until(events, WatchKind.APPEARED)
    assert reported[-1].after is not None
    assert str(reported[-1].after.product).startswith("mitmproxy")
    assert reported[-1].after.confidence == "proven"


async def test_endpoint_goes_down_and_up(pki: PrivatePKI, settings_of: Settings, where: Where) -> None:
    """A server that stops is reported after the second failure, its return at once; the other one is not mentioned."""
    subject = Detector(**settings_of(resolve=where))
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        issued = pki.issue(["stops.example.net"])
        origin = await first.enter_async_context(serve_origin(issued))
        where["stops.example.net", 443] = origin.address
        subject = Detector(**settings_of(resolve=where))
        events = await stack.enter_async_context(
            contextlib.aclosing(subject.watch([EXAM, "stops.example.net"], interval=QUICK))
        )
        reported = await read_until(events, WatchKind.BASELINE)
        await first.aclose()
        reported += await read_until(events, WatchKind.INCONCLUSIVE)
        await stack.enter_async_context(serve_origin(issued, port=origin.port))
        reported += await read_until(events, WatchKind.RECOVERED)
    assert short(reported) == ["baseline", "inconclusive stops.example.net", "recovered stops.example.net"]
    assert reported[1].result is not None
    assert reported[1].result.observation.outcome == "connect-refused"


async def test_every_probe_is_a_fresh_connection(pki: PrivatePKI, settings_of: Settings) -> None:
    """One TCP connection and one whole handshake a probe; the last one may be cut by the end of the watch anywhere."""
    probes: list[ProbeResult] = []
    async with serve_origin(pki.issue([EXAM])) as origin:
        subject = Detector(**settings_of(resolve={(EXAM, 443): origin.address}))
        async for _ in subject.watch([EXAM], interval=0.05, duration=1.0, on_probe=probes.append):
            pass
        await origin.settled()
        assert len(probes) > 3
        assert len(probes) <= origin.handshakes <= origin.connections <= len(probes) + 1


async def test_process_that_was_stopped_reports_a_gap(pki: PrivatePKI, settings_of: Settings) -> None:
    """A loop that stood still (here: blocked) past the bound reports a gap, and probes again at once."""

    async with serve_origin(pki.issue([EXAM])) as origin:
        subject = Detector(**settings_of(resolve={(EXAM, 443): origin.address}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schedule, "GAP_LEAST", 0.5)
            async with contextlib.aclosing(subject.watch([EXAM], interval=60.0)) as events:
                await read_until(events, WatchKind.BASELINE)
                time.sleep(7.0)  # noqa: ASYNC251 - what is tested: nothing runs meanwhile; longer than a heartbeat
                (gap,) = await read_until(events, WatchKind.GAP)
    assert gap.seconds is not None
    assert gap.seconds > 5


async def test_cancellation_leaves_no_task_and_no_socket(settings_of: Settings) -> None:
    """Cancelled amid handshakes that hang, everything ends before the reader's task does."""
    before = asyncio.all_tasks()
    async with serve_script(Script.silence()) as silent:
        subject = Detector(**settings_of(resolve={(host, 443): silent.address for host in (EXAM, LMS)}))

        async def read() -> None:
            async with contextlib.aclosing(subject.watch([EXAM, LMS], deadline=30)) as events:
                async for _ in events:
                    pass

        task = asyncio.create_task(read())
        while silent.connections < 2:  # noqa: ASYNC110 - the server counts, it does not signal
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(silent.settled(), PATIENCE)
    assert asyncio.all_tasks() == before


async def test_a_watch_follows_up(pki: PrivatePKI, settings_of: Settings) -> None:
    """For what is open, canaries are probed too, no more often than it is probed itself."""
    names = [f"{name}.example.net" for name in ("one", "two")]
    canaries = [Endpoint(host=host, operator=host, canary=True, runs_ca=True, roots=("A",)) for host in names]
    probes: list[ProbeResult] = []
    async with serve_origin({host: pki.issue([host]) for host in (EXAM, *names)}) as origin:
        where = {(host, 443): origin.address for host in (EXAM, *names)}
        async with serve_middlebox(pki.private_ca("Filter CA", one_leaf_key=True), upstream=where) as box:
            settings = settings_of(proxy=box.url, offline=False, control=None, canaries=canaries)
            watching = Detector(**settings).watch([EXAM], interval=0.3, duration=2.0, on_probe=probes.append)
            events = [event async for event in watching]
            asked = Counter(host for host in box.intercepted if host in names)
    (appeared,) = [event for event in events if event.kind is WatchKind.APPEARED]
    assert (appeared.after and appeared.after.reason, appeared.network.confidence) == (
        "signer-substitutes-elsewhere",
        "proven",
    )
    assert set(asked) == set(names)
    assert max(asked.values()) <= len(probes) + 1
    assert {event.endpoint.host for event in events if event.endpoint} == {EXAM}
