"""Whole exams in virtual time: the real runner, real TLS in memory, a made-up machine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.simulation import Line, Machine, Switchboard, short, simulate

from detector import Detector, Endpoint, Outcome, WatchKind
from detector.aio.tasks import THREAD_NAME
from detector.errors import InputError, TargetError
from detector.knowledge.operators import operator_of
from detector.probe.mock import Fails, MockNetwork, Script
from detector.trust import certificate, signature
from detector.trust.roots import from_der
from detector.watch.runner import EVENTS_WAITING_MAX, HEARTBEAT
from detector.watch.state import Watch, WatchSummary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from detector_testing import CA, PrivatePKI

    from detector import WatchEvent
    from detector.watch.runner import ProbeResult

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS, SEARCH, BANK = "exam.example.edu", "lms.example.org", "search.example.com", "bank.example.net"
HOSTS = (EXAM, LMS, SEARCH, BANK)
HOUR = 3600.0
GROWTH_MOST = 512 * 1024
"""Bytes by which memory may grow between the first and the eighth hour of an exam. Measured: 321 KiB, of which 265 KiB
are the catalogue of interceptors, loaded once, when the first one is met."""
STEADY_GROWTH_MOST = 64 * 1024
"""The same between the fifth and the eighth hour, when everything has happened. Measured: 5 KiB; 21 KiB where no leaf
is ever seen twice."""


class Building:
    """A made-up network with switches, and a detector in it."""

    def __init__(self, pki: PrivatePKI, settings_of: Settings, hosts: tuple[str, ...] = HOSTS) -> None:
        self.pki = pki
        self.machine = Machine(pki.now)
        self.honest = Line({host: pki.issue([host]) for host in hosts})
        self.dead = MockNetwork({(host, 443): Fails(Outcome.UNREACHABLE) for host in hosts})
        self.filters: dict[str, Line] = {}
        self.down: set[str] = set()
        self.switchboard = Switchboard(self.choose)
        self.probes: list[str] = []
        self.hosts = hosts
        # Of one host the public roots are stated, so that what takes its place is proven.
        roots = (pki.root_a.certificate, pki.root_b.certificate)
        stated = Endpoint(host=EXAM, roots=tuple(from_der(roots, name="stated").labels))
        self.detector = Detector(**settings_of(stated, dialer=self.switchboard, clock=self.machine.wall))

    def choose(self, endpoint: Endpoint, _number: int) -> MockNetwork:
        self.dead.dialled.clear()
        if endpoint.host in self.down:
            return self.dead
        return self.filters.get(endpoint.host, self.honest)

    def line(self, ca: CA, *hosts: str) -> Line:
        return Line({host: ca.issue([host]) for host in hosts})

    def filter(self, line: Line | None, *hosts: str) -> None:
        """Intercept these hosts from now on, or no longer."""
        for host in hosts:
            if line is None:
                self.filters.pop(host, None)
            else:
                self.filters[host] = line

    def watch(self, **options: Any) -> AsyncGenerator[WatchEvent, None]:  # noqa: ANN401 - arguments of Detector.watch
        return self.detector.watch(self.hosts, environment=self.machine.environment, **options)

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        """Do something at a virtual time."""
        asyncio.get_running_loop().call_later(seconds, what)


@pytest.fixture
def building(pki: PrivatePKI, settings_of: Settings) -> Building:
    return Building(pki, settings_of)


def test_an_exam_of_eight_hours(building: Building) -> None:
    """Everything that can happen, each reported once and in order, and memory that does not grow with time."""
    first, second = (building.pki.private_ca(name, one_leaf_key=True) for name in ("Morning CA", "Noon CA"))
    intercepted = (EXAM, LMS, SEARCH)
    morning, noon = building.line(first, *intercepted), building.line(second, *intercepted)
    sizes: list[int] = []
    pace = {"interval": 120.0, "duration": 8 * HOUR}

    def measure() -> None:
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])

    async def exam() -> list[WatchEvent]:
        for hour in range(1, 9):
            building.after(hour * HOUR - 1, measure)
        building.after(2 * HOUR, lambda: building.filter(morning, *intercepted))
        building.after(3 * HOUR, lambda: building.filter(noon, *intercepted))
        building.after(4 * HOUR, lambda: building.filter(None, *intercepted))
        building.after(5 * HOUR, lambda: building.down.update(HOSTS))
        building.after(5.1 * HOUR, building.down.clear)
        building.after(5.5 * HOUR, lambda: building.down.add(LMS))
        building.after(5.7 * HOUR, building.down.clear)
        building.after(6 * HOUR, lambda: building.machine.sleep_as_linux_does(1200))
        building.after(6.5 * HOUR, lambda: building.machine.set_clock(HOUR))
        building.after(6.8 * HOUR, lambda: building.machine.networks.update(ipv4="198.51.100.9"))
        # Without the evidence: what the reader keeps is not the watch's memory.
        return [msgspec.structs.replace(event, result=None) async for event in building.watch(**pace)]

    assert operator_of(EXAM) != operator_of(LMS)  # loads the suffix list, once and for ever
    tracemalloc.start()
    try:
        baseline, *events = simulate(exam)
    finally:
        tracemalloc.stop()
    assert (baseline.kind, baseline.network.clean) == ("baseline", len(HOSTS))
    story = [short(part) for part in _by_hour(events)]
    assert story[:2] == [[], []]
    assert sorted(e for e in story[2] if e.startswith("appeared")) == sorted(f"appeared {h}" for h in intercepted)
    assert {e.split()[0] for e in story[2]} <= {"appeared", "strengthened"}
    changed = [e for e in story[3] if e.startswith("changed-interceptor")]
    assert sorted(changed) == sorted(f"changed-interceptor {h}" for h in intercepted)
    assert {e.split()[0] for e in story[3]} <= {"changed-interceptor", "strengthened"}
    assert sorted(story[4]) == sorted(f"vanished {h}" for h in intercepted)
    assert story[5] == ["network-lost", "network-back", f"inconclusive {LMS}", f"recovered {LMS}"]
    assert story[6] == ["gap", "clock-step", "network-change"]
    assert story[7] == []
    assert story[8] == ["ended"]
    assert [e.network.verdict for e in events[-3:]] == ["clean"] * 3
    assert building.honest.open == morning.open == noon.open == 0
    probes = building.switchboard.connections
    assert 4 * 240 * 0.95 < probes < 4 * 240 * 1.25
    assert len(sizes) == 8
    assert sizes[7] - sizes[0] < GROWTH_MOST
    assert sizes[7] - sizes[4] < STEADY_GROWTH_MOST


def _by_hour(events: list[WatchEvent]) -> list[list[WatchEvent]]:
    """Events by the hour of waking time; sleep does not count."""
    hours: list[list[WatchEvent]] = [[] for _ in range(9)]
    slept = 0.0
    for event in events:
        if event.kind is WatchKind.GAP:
            slept = 1200
        hours[int((event.elapsed - slept) // HOUR)].append(event)
    return hours


def test_memory_with_a_new_leaf_for_every_connection(building: Building) -> None:
    """The worst interceptor for memory: no certificate is ever seen twice, for eight hours.

    The rooms below the watch remember some certificates and signatures, and forget them all now and then, which would
    say more of when it was measured than of what grows: that they are bounded is tested with them.
    """
    ca = building.pki.private_ca("Fresh CA")
    sizes: list[tuple[int, int]] = []

    def measure() -> None:
        certificate._CACHE.clear()
        signature._ANSWERS.clear()
        signature._load_key.cache_clear()
        gc.collect()
        sizes.append((tracemalloc.get_traced_memory()[0], building.switchboard.connections))

    async def exam() -> list[str]:
        building.switchboard.choose = lambda endpoint, _: building.line(ca, endpoint.host)
        building.after(HOUR, measure)
        building.after(8 * HOUR - 1, measure)
        return short([event async for event in building.watch(duration=8 * HOUR, interval=240.0)])

    tracemalloc.start()
    try:
        reported = simulate(exam)
    finally:
        tracemalloc.stop()
    assert len([e for e in reported if e.startswith("appeared")]) == len(HOSTS)
    assert {e.split()[0] for e in reported} <= {"appeared", "strengthened", "baseline", "ended"}
    (before, fewer), (after, more) = sizes
    assert more - fewer > 400
    assert after - before < STEADY_GROWTH_MOST


@pytest.mark.parametrize("kth", [2, 3, 5, 9])
def test_every_kth_connection(kth: int, building: Building) -> None:
    """An interceptor that decrypts every k-th connection is found, and soon no longer said to be gone in between."""
    line = building.line(building.pki.private_ca("Sampling CA"), *HOSTS)
    building.switchboard.choose = lambda _, number: building.honest if number % kth else line

    async def exam() -> list[WatchEvent]:
        return [event async for event in building.watch(duration=2 * HOUR)]

    events = simulate(exam)
    appeared = [e for e in events if e.kind is WatchKind.APPEARED]
    assert {e.endpoint.host for e in appeared if e.endpoint} == set(HOSTS)
    assert appeared[0].elapsed < kth * 60
    assert len([e for e in events if e.kind is WatchKind.VANISHED]) <= 5 * len(HOSTS)
    assert events[-1].network.verdict == "middleware"


@pytest.mark.parametrize("first", [4, 5, 40, 400])
def test_after_the_first_connections(first: int, building: Building) -> None:
    """An interceptor that lets the first N connections pass is reported at its first one, within three intervals."""
    line = building.line(building.pki.private_ca("Late CA"), *HOSTS)
    began: list[float] = []

    def choose(_: Endpoint, number: int) -> MockNetwork:
        if number <= first:
            return building.honest
        began.append(building.machine.elapsed())
        return line

    building.switchboard.choose = choose

    async def exam() -> list[WatchEvent]:
        begin = building.machine.elapsed()
        events = []
        async with contextlib.aclosing(building.watch(duration=4 * HOUR)) as stream:
            async for event in stream:
                events.append(event)
                if event.kind is WatchKind.APPEARED:
                    break
        assert events[0].kind is WatchKind.BASELINE
        assert -0.01 <= events[-1].elapsed - (began[0] - begin) <= 1.0  # reported when met
        return events

    assert len(simulate(exam)) == 2


@pytest.mark.parametrize("system", ["linux", "windows"])
def test_sleep_is_a_gap_and_everything_is_probed_again(system: str, building: Building) -> None:
    """After sleep: for how long nothing was seen, and within seconds a probe of everything."""
    line = building.line(building.pki.private_ca("Café CA"), *HOSTS)

    def sleep() -> None:
        building.filter(line, *HOSTS)
        getattr(building.machine, f"sleep_as_{system}_does")(900)

    async def exam() -> list[WatchEvent]:
        building.after(601, sleep)
        return [event async for event in building.watch(duration=HOUR)]

    _, gap, *appeared = [e for e in simulate(exam) if e.kind not in {WatchKind.STRENGTHENED, WatchKind.ENDED}]
    assert gap.kind is WatchKind.GAP
    assert gap.seconds == pytest.approx(900, abs=6)
    assert sorted(short(appeared)) == sorted(f"appeared {host}" for host in HOSTS)
    assert all(e.elapsed - gap.elapsed < 1 for e in appeared)


def test_probes_that_slept_are_dropped(building: Building) -> None:
    """What was under way when the machine fell asleep is not waited for, and not held against anybody."""
    silent = MockNetwork({(LMS, 443): Script()})
    probes: list[tuple[float, str]] = []

    def choose(endpoint: Endpoint, number: int) -> MockNetwork:
        if endpoint.host != LMS or number < 50 or silent.dialled:
            return building.honest
        building.after(1.0, lambda: building.machine.sleep_as_linux_does(900))
        return silent

    building.switchboard.choose = choose

    def note(probe: ProbeResult) -> None:
        if probe.result.endpoint.host == LMS:
            probes.append((building.machine.elapsed() - 1000.0, probe.result.observation.outcome))

    async def exam() -> list[WatchEvent]:
        return [event async for event in building.watch(duration=HOUR, on_probe=note)]

    _, gap, ended = simulate(exam)
    assert (gap.kind, ended.kind) == ("gap", "ended")
    assert silent.dialled
    assert {outcome for _, outcome in probes} == {"complete"}
    assert next(at for at, _ in probes if at >= gap.elapsed - 0.01) - gap.elapsed < 1.0


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 10 * 365 * 24 * HOUR, -10 * 365 * 24 * HOUR])
def test_clock_steps_accuse_nobody(seconds: float, pki: PrivatePKI, settings_of: Settings) -> None:
    """A clock that is set is reported with the difference; nothing is called middleware by the new time."""
    building = Building(pki, settings_of)
    pinned = pki.issue([EXAM])
    building.honest = Line({host: pki.issue([host]) if host != EXAM else pinned for host in HOSTS})
    endpoints: list[Endpoint | str] = [
        Endpoint(host=EXAM, pins=(pki.root_a.spki_sha256, pki.root_b.spki_sha256)),
        *HOSTS[1:],
    ]

    async def exam() -> list[WatchEvent]:
        building.after(HOUR / 2, lambda: building.machine.set_clock(seconds))
        stream = building.detector.watch(endpoints, environment=building.machine.environment, duration=HOUR)
        return [event async for event in stream]

    events = simulate(exam)
    (step,) = [e for e in events if e.kind is WatchKind.CLOCK_STEP]
    assert step.seconds == pytest.approx(seconds, abs=1)
    assert {e.kind for e in events} <= {"baseline", "clock-step", "inconclusive", "weakened", "ended"}
    assert all(e.network.middleware == 0 for e in events)
    if abs(seconds) <= 24 * HOUR:
        assert short(events) == ["baseline", "clock-step", "ended"]
        assert events[-1].network.verdict == "clean"


def test_everything_is_assessed_with_the_new_time(building: Building) -> None:
    """After a step every endpoint is probed again within seconds."""
    probed: list[tuple[float, str]] = []

    async def exam() -> list[WatchEvent]:
        building.after(1000.5, lambda: building.machine.set_clock(-HOUR))
        stream = building.watch(
            interval=500.0,
            duration=1010.0,
            on_probe=lambda probe: probed.append((building.machine.elapsed() - 1000.0, probe.result.endpoint.host)),
        )
        return [event async for event in stream]

    simulate(exam)
    assert {host for at, host in probed if at > 1000.5} == set(HOSTS)


def test_a_change_of_network_is_probed_at_once(building: Building) -> None:
    """Another network: reported without its addresses, and everything is probed again."""
    line = building.line(building.pki.private_ca("Hotspot CA"), *HOSTS)

    def move() -> None:
        building.machine.networks = {"ipv4": "203.0.113.77"}
        building.filter(line, *HOSTS)

    async def exam() -> list[WatchEvent]:
        building.after(1200, move)
        return [event async for event in building.watch(interval=600.0, duration=HOUR)]

    events = simulate(exam)
    change = next(e for e in events if e.kind is WatchKind.NETWORK_CHANGE)
    appeared = [e for e in events if e.kind is WatchKind.APPEARED]
    assert len(appeared) == len(HOSTS)
    assert change.elapsed - 1200 < 2 * HEARTBEAT
    assert all(0 <= e.elapsed - change.elapsed < 1 for e in appeared)
    assert b"203.0.113" not in b"".join(e.to_json() for e in events)


def test_short_outages_are_silent(building: Building) -> None:
    """A second without a network, again and again, is not reported."""

    async def exam() -> list[str]:
        for minute in range(1, 15):
            building.after(minute * 60, lambda: building.down.update(HOSTS))
            building.after(minute * 60 + 1, building.down.clear)
        return short([event async for event in building.watch(duration=HOUR / 4, interval=5.0)])

    assert simulate(exam) == ["baseline", "ended"]


def test_a_reader_who_is_busy_misses_nothing(building: Building) -> None:
    """Probing goes on while an event is being handled, and what happened meanwhile waits to be read."""
    line = building.line(building.pki.private_ca("Lunch CA"), *HOSTS)

    async def exam() -> list[WatchEvent]:
        building.after(600, lambda: building.filter(line, *HOSTS))
        events = []
        async for event in building.watch(duration=HOUR):
            events.append(event)
            if event.kind is WatchKind.BASELINE:
                await asyncio.sleep(1800)
        return events

    events = simulate(exam)
    assert WatchKind.GAP not in {e.kind for e in events}
    first = next(e for e in events if e.kind is WatchKind.APPEARED)
    assert first.elapsed < 600 + 180


def test_a_reader_who_is_gone_for_good_costs_bounded_memory(building: Building) -> None:
    """When too many events wait, probing pauses, and the pause is reported."""

    async def exam() -> list[WatchEvent]:
        building.switchboard.choose = lambda endpoint, number: building.line(
            building.pki.private_ca(f"CA {chr(65 + number % 26)}{chr(65 + number // 26 % 26)}"), endpoint.host
        )
        events = []
        async for event in building.watch(duration=3 * HOUR):
            events.append(event)
            if len(events) == 1:
                await asyncio.sleep(2 * HOUR)
        return events

    events = simulate(exam)
    gap = next(e for e in events if e.kind is WatchKind.GAP)
    assert gap.sequence <= EVENTS_WAITING_MAX + 20
    seen = WatchSummary()
    for event in events:
        seen.note(event)
    assert seen.verdict == "middleware"


def test_a_lost_probe_among_many_others_is_repeated_in_time(pki: PrivatePKI, settings_of: Settings) -> None:
    """However many are probed meanwhile, a server that is down is reported within seconds of a first try."""
    building = Building(pki, settings_of, (EXAM, *(f"host{number}.example.net" for number in range(30))))
    lost: list[float] = []

    def choose(endpoint: Endpoint, number: int) -> MockNetwork:
        if endpoint.host == EXAM and number > len(building.hosts):
            lost.append(building.machine.elapsed() - 1000.0)
            return building.dead
        return building.honest

    building.switchboard.choose = choose

    async def exam() -> list[WatchEvent]:
        return [event async for event in building.watch(duration=120, interval=20.0)]

    _, event, ended = simulate(exam)
    assert (event.kind, ended.kind) == ("inconclusive", "ended")
    assert event.elapsed - lost[0] == pytest.approx(2, abs=1)


def test_stop_ends_the_watch_with_an_event(building: Building) -> None:
    """Setting `stop` ends it in order, probes under way included."""

    async def exam() -> list[str]:
        stop = asyncio.Event()
        building.after(90, stop.set)
        return short([event async for event in building.watch(stop=stop)])

    assert simulate(exam) == ["baseline", "ended"]
    assert building.honest.open == 0


def test_cancellation_at_every_step_leaves_nothing(building: Building) -> None:
    """Wherever the reader is cancelled, no task and no connection stays."""

    async def exam(steps: int, pause: float) -> bool:
        async def read() -> None:
            async with contextlib.aclosing(building.watch(interval=2.0, duration=30)) as events:
                async for _ in events:
                    pass

        before = asyncio.all_tasks()
        task = asyncio.create_task(read())
        for _ in range(steps):
            await asyncio.sleep(pause)
        task.cancel()
        await asyncio.wait([task])
        assert asyncio.all_tasks() == before
        assert building.honest.open == 0
        return task.cancelled()

    assert all(simulate(partial(exam, steps, 0.0)) for steps in range(100))
    assert all(simulate(partial(exam, steps, 0.15)) for steps in range(1, 60, 3))
    assert not simulate(partial(exam, 1, 60.0))


def test_assessment_runs_in_a_thread(building: Building, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round is assessed in a thread of its own, one after the other, and the events are numbered as they come."""
    assess, threads, inside = Watch.add, [], threading.Lock()

    def noted(self: Watch, *cases: Any) -> list[WatchEvent]:  # noqa: ANN401 - arguments of Watch.add
        assert inside.acquire(blocking=False), "two rounds at once"
        threads.append(threading.current_thread().name)
        try:
            return assess(self, *cases)
        finally:
            inside.release()

    monkeypatch.setattr(Watch, "add", noted)
    line = building.line(building.pki.private_ca("Any CA"), *HOSTS)

    async def exam() -> list[WatchEvent]:
        building.after(200, lambda: building.filter(line, *HOSTS))
        return [event async for event in building.watch(duration=600)]

    events = simulate(exam)
    assert set(threads) == {THREAD_NAME}
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert short(events)[0] == "baseline"
    assert {f"appeared {host}" for host in HOSTS} <= set(short(events))


def test_closing_after_any_event_leaves_nothing(building: Building) -> None:
    """Leaving the stream early, after whichever event, ends what was under way."""
    line = building.line(building.pki.private_ca("Any CA"), *HOSTS)

    async def exam(count: int) -> int:
        building.switchboard.connections = 0
        building.switchboard.choose = lambda _, number: line if number > 6 else building.honest
        before = asyncio.all_tasks()
        read = 0
        async with contextlib.aclosing(building.watch(duration=600)) as events:
            async for _ in events:
                read += 1
                if read == count:
                    break
        assert asyncio.all_tasks() == before
        assert building.honest.open == line.open == 0
        return read

    whole = simulate(partial(exam, 1000))
    assert whole > len(HOSTS)
    assert [simulate(partial(exam, count)) for count in range(1, whole)] == list(range(1, whole))


def test_a_failure_of_ours_reaches_the_reader(building: Building) -> None:
    """A callback that raises ends the watch with its exception, and nothing stays."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    async def exam() -> None:
        before = asyncio.all_tasks()
        with pytest.raises(ZeroDivisionError):
            async for _ in building.watch(on_probe=fail):
                pass
        assert asyncio.all_tasks() == before

    simulate(exam)


def test_deadline_of_a_probe_is_kept(building: Building) -> None:
    """A server that says nothing costs its own probe the deadline and nobody else's."""
    silent = MockNetwork({(LMS, 443): Script()})
    building.switchboard.choose = lambda endpoint, _: silent if endpoint.host == LMS else building.honest
    took: dict[str, float] = {}

    async def exam() -> list[str]:
        return short(
            [
                event
                async for event in building.watch(
                    deadline=3.0,
                    duration=120,
                    on_probe=lambda probe: took.update({probe.result.endpoint.host: probe.seconds}),
                )
            ]
        )

    assert simulate(exam) == [f"inconclusive {LMS}", "baseline", "ended"]
    assert took[LMS] == pytest.approx(3.0, abs=0.3)
    assert silent.open == 0


async def test_bad_arguments_are_refused_at_once(settings_of: Settings) -> None:
    """Invalid times, no endpoints, and invalid targets: before anything is sent, and by name."""
    subject = Detector(**settings_of())
    for interval in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="interval"):
            subject.watch([EXAM], interval=interval)
    with pytest.raises(InputError, match="deadline"):
        subject.watch([EXAM], deadline=0.0)
    with pytest.raises(InputError, match="duration"):
        subject.watch([EXAM], duration=0.0)
    with pytest.raises(InputError, match="nothing to watch"):
        subject.watch()
    with pytest.raises(TargetError):
        subject.watch(["exam.example.edu:0"])
