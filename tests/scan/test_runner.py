"""A scan as a whole: every target once, bounded whatever happens, nothing left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_middlebox, serve_origin

from detector import Detector
from detector.judge.network_evidence import NetworkEvidence, Shared
from detector.model import Confidence, Endpoint, Outcome, Verdict
from detector.probe import mock
from detector.probe.mock import MockNetwork
from detector.scan import BadLine, Replaced, Scanned, Target, runner, scan
from detector.session import stream
from detector.session.stream import StreamSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from conftest import World
    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"
QUICK = StreamSettings(concurrency=4, retries=0, timeout=5.0)


def targets(*hosts: str) -> list[Target]:
    return [Target(Endpoint(host=host), f"list:{at}") for at, host in enumerate(hosts, 1)]


async def collect(detector: Detector, what: Any, **how: Any) -> list[Scanned]:  # noqa: ANN401 - arguments of scan
    return [found async for found in scan(detector, what, **{"settings": QUICK, **how})]


async def test_every_target_once(pki: PrivatePKI, settings_of: Settings) -> None:
    """Each target has one result with its number and place, whatever it is."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        detector = Detector(**settings_of(resolve={(EXAM, 443): origin.address}))
        closed = Target(Endpoint(host="127.0.0.1", port=1), "list:2")
        found = await collect(detector, [*targets(EXAM), closed])
    by_number = {f.number: f for f in found}
    assert sorted(by_number) == [0, 1]
    assert (by_number[0].verdict, by_number[0].where) == (Verdict.CLEAN, "list:1")
    assert by_number[1].observation.outcome is Outcome.CONNECT_REFUSED


async def test_done_are_skipped_and_bad_lines_reported(settings_of: Settings) -> None:
    """Numbers that are done are not probed; lines that are no target have no number."""
    network = MockNetwork({(f"h{n}.example", 443): mock.Fails(Outcome.CONNECT_REFUSED) for n in range(5)})
    bad: list[BadLine] = []
    source = [*targets("h0.example", "h1.example"), BadLine("list:3", "no"), *targets("h2.example", "h3.example")]
    found = await collect(Detector(**settings_of(dialer=network)), source, done={0, 2}, on_bad_line=bad.append)
    assert sorted((f.number, f.endpoint.host) for f in found) == [(1, "h1.example"), (3, "h3.example")]
    assert sorted(network.dialled) == ["h1.example:443", "h3.example:443"]
    assert [b.where for b in bad] == ["list:3"]


async def test_passing_failures_are_tried_again(settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset may be otherwise the next time; a refusal is an answer."""
    monkeypatch.setattr(stream, "BACKOFF_SECONDS", 0.0)
    network = MockNetwork(
        {
            ("flaky.example", 443): [mock.Fails(Outcome.UNREACHABLE), mock.Fails(Outcome.CONNECT_REFUSED)],
            ("down.example", 443): mock.Fails(Outcome.CONNECT_REFUSED),
        }
    )
    settings = StreamSettings(concurrency=1, retries=2)
    await collect(Detector(**settings_of(dialer=network)), targets("flaky.example", "down.example"), settings=settings)
    assert network.dialled == ["flaky.example:443", "flaky.example:443", "down.example:443"]


async def test_first_host_behind_an_interceptor_is_amended(
    world: World, pki: PrivatePKI, settings_of: Settings
) -> None:
    """What could only be possible at first is given again, proven, once its key substitutes a stated identity.

    The second result says what it replaces, so that a count needs no memory.
    """
    hosts = (EXAM, "lms.example.org", "search.example.com")
    stated = Endpoint(host=hosts[1], roots=tuple(world.roots.labels))
    async with serve_origin([pki.issue([host]) for host in hosts]) as origin:
        upstream = {(host, 443): origin.address for host in hosts}
        ca = pki.private_ca("Filter CA", one_leaf_key=True)
        async with serve_middlebox(ca, upstream=upstream) as box:
            detector = Detector(**settings_of(stated, proxy=f"http://127.0.0.1:{box.port}"))
            found = await collect(detector, targets(*hosts), settings=StreamSettings(concurrency=1))
    last = {f.number: f for f in found}
    assert [(f.number, f.confidence, f.amends) for f in found][:1] == [(0, Confidence.POSSIBLE, False)]
    assert all(f.confidence is Confidence.PROVEN for f in last.values())
    assert [(f.number, f.replaces) for f in found if f.amends] == [
        (0, Replaced(verdict=Verdict.MIDDLEWARE, confidence=Confidence.POSSIBLE))
    ]
    assert all(f.amends is (f.replaces is not None) for f in found)
    assert all(f.named for f in found)


CANARIES = tuple(
    Endpoint(host=f"{name}.example.net", operator=name, canary=True, runs_ca=True, roots=("Exemplar Root A",))
    for name in ("one", "two")
)


@pytest.mark.parametrize("offline", [False, True])
async def test_canaries_are_probed_once(offline: bool, pki: PrivatePKI, settings_of: Settings) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """Where something is open, two canaries are results of the scan, numbered apart; not with `offline`."""
    hosts = [EXAM, "lms.example.org", *(endpoint.host for endpoint in CANARIES)]
    async with serve_origin([pki.issue([host]) for host in hosts]) as origin:
        upstream = {(host, 443): origin.address for host in hosts}
        async with serve_middlebox(pki.private_ca("Filter CA", one_leaf_key=True), upstream=upstream) as box:
            settings = settings_of(proxy=f"http://127.0.0.1:{box.port}", offline=offline, canaries=CANARIES)
            found = await collect(Detector(**settings), targets(*hosts[:2]), settings=StreamSettings(concurrency=2))
    last = {f.number: f for f in found}
    if offline:
        assert sorted(last) == [0, 1]
        return
    assert {(f.number, f.where, f.named, f.endpoint.category) for f in last.values() if f.number < 0} == {
        (-1, "follow-up", False, "canary"),
        (-2, "follow-up", False, "canary"),
    }
    assert {last[number].endpoint.host for number in (-1, -2)} == {endpoint.host for endpoint in CANARIES}
    assert {f.confidence for f in last.values()} == {Confidence.PROVEN}
    assert all(last[number].replaces for number in (0, 1))


async def test_a_slow_reader_gets_consistent_amendments(world: World, pki: PrivatePKI, settings_of: Settings) -> None:
    """Results that wait for room are not overtaken by what others change meanwhile: each one replaces the last."""
    hosts = [f"exam{number}.example{number}.edu" for number in range(12)]
    stated = [Endpoint(host=host, roots=tuple(world.roots.labels)) for host in hosts[6:]]
    ca = pki.private_ca("Filter CA", one_leaf_key=True)
    async with serve_middlebox(ca) as box:
        detector = Detector(**settings_of(*stated, proxy=f"http://127.0.0.1:{box.port}"))
        found = []
        async for one in scan(detector, targets(*hosts), settings=StreamSettings(concurrency=2, retries=0)):
            await asyncio.sleep(0.01)
            found.append(one)
    latest: dict[int, Scanned] = {}
    for one in found:
        before = latest.get(one.number)
        replaces = None if before is None else Replaced(verdict=before.verdict, confidence=before.confidence)
        assert one.replaces == replaces
        latest[one.number] = one
    assert {one.confidence for one in latest.values()} == {Confidence.PROVEN}


async def test_what_was_genuine_before_is_known(pki: PrivatePKI, settings_of: Settings) -> None:
    """A history says of each target whether it had a genuine certificate; a scan asks it as a check does."""
    asked: list[str] = []

    def known(names: Collection[str]) -> set[str]:
        asked.extend(names)
        return {f"{EXAM}:443"} & set(names)

    ca = pki.private_ca("Filter CA")
    hosts = (EXAM, "lms.example.org")
    async with serve_middlebox(ca) as box:
        settings = settings_of(proxy=f"http://127.0.0.1:{box.port}", seen_before=known)
        found = await collect(Detector(**settings), targets(*hosts))
        streamed = [result async for result in Detector(**settings).scan(hosts)]
        checked = (await Detector(**settings).check(hosts)).results
    reasons = {EXAM: "identity-substituted", "lms.example.org": "one-private-signer"}
    for results in (found, streamed, checked):
        assert {result.endpoint.host: result.reason for result in results} == reasons
    assert sorted(asked) == sorted([f"{host}:443" for host in hosts] * 3)


async def test_never_more_at_once_than_allowed(settings_of: Settings) -> None:
    """At most `concurrency` targets are in flight, and reading does not run far ahead of a slow reader."""
    taken = 0
    inside = most = 0

    class Watched(Detector):
        async def probe(self, endpoint: Endpoint, *, timeout: float = 1.0) -> Any:  # noqa: ANN401, ASYNC109 - as Detector
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            case = await super().probe(endpoint, timeout=timeout)
            inside -= 1
            return case

    def endless() -> Iterator[Target]:
        nonlocal taken
        while True:
            taken += 1
            yield Target(Endpoint(host="h.example"), "x")

    network = MockNetwork({("h.example", 443): mock.Fails(Outcome.CONNECT_REFUSED)})
    results = scan(Watched(**settings_of(dialer=network)), endless(), settings=QUICK)
    for _ in range(100):
        await anext(results)
    await results.aclose()
    assert most == 4
    assert taken <= 100 + 2 * runner.BATCH


async def test_breaking_off_leaves_nothing_running(settings_of: Settings) -> None:
    """Closing the generator ends every connection and every task."""
    reached = asyncio.Event()

    class Silent(mock.Script):
        def begin(self) -> Any:  # noqa: ANN401 - as Script
            if network.open == QUICK.concurrency - 1:
                reached.set()
            return super().begin()

    network = MockNetwork({("silent.example", 443): Silent()})
    results = scan(Detector(**settings_of(dialer=network)), targets(*["silent.example"] * 20), settings=QUICK)
    waiting = asyncio.ensure_future(anext(results))
    await reached.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await results.aclose()
    assert network.open == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failing_source_ends_the_scan(settings_of: Settings) -> None:
    """What the source raises comes out, after the results that were there."""

    def failing() -> Iterator[Target]:
        yield from targets("h.example")
        raise ValueError("the disk is gone")

    network = MockNetwork({("h.example", 443): mock.Fails(Outcome.CONNECT_REFUSED)})
    with pytest.raises(ValueError, match="the disk is gone"):
        await collect(Detector(**settings_of(dialer=network)), failing())


def test_statistics_forget_what_was_met_once(world: World) -> None:
    """With a bound, issuers met on one host are forgotten, and one met on many is kept."""
    network = NetworkEvidence(remembered=8)
    shared = world.pki.private_ca("Shared Filter CA", one_leaf_key=True)
    first = world.case(EXAM, shared.issue([EXAM]))
    network.add(first)
    network.add(world.case("lms.example.org", shared.issue(["lms.example.org"])))
    for number in range(40):
        ca = world.pki.private_ca(f"Lonely {chr(65 + number % 26)}{number} CA")
        network.add(world.case(f"h{number}.example.net", ca.issue([f"h{number}.example.net"])))
    assert len(network._met[Shared.PRIVATE_SIGNER]) <= 8
    assert len(network._met[Shared.LEAF_KEY]) <= 8
    assert network.unrelated_with(Shared.LEAF_KEY, first) == ("lms.example.org:443",)
