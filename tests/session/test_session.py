"""The whole pipeline over real sockets on loopback: deadlines, partial results, routes, streams, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Script, serve_middlebox, serve_origin, serve_proxy, serve_script

import detector
from detector import Confidence, Detector, Endpoint, Outcome, Verdict, audit, exam
from detector.aio.tasks import THREAD_NAME
from detector.audit import InstalledRoot, Scanned
from detector.errors import ChainError, MiddlewareDetected, ProxyError, TargetError
from detector.judge import network_evidence
from detector.knowledge import data_set, roots
from detector.model import Report, RootOrigin
from detector.session.seams import MACHINE_WAIT, MachineTrust, this_machine
from detector.trust.certificate import to_pem
from detector.trust.roots import TrustedRoots, from_der

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI
    from detector_testing.pki import CA

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"


@contextlib.asynccontextmanager
async def origins(pki: PrivatePKI, *hosts: str) -> AsyncIterator[dict[tuple[str, int], tuple[str, int]]]:
    """Honest servers for these hosts; gives the map to where they are."""
    async with contextlib.AsyncExitStack() as stack:
        where = {}
        for host in hosts:
            origin = await stack.enter_async_context(serve_origin(pki.issue([host])))
            where[host, 443] = origin.address
        yield where


async def test_clean_network(pki: PrivatePKI, settings_of: Settings) -> None:
    """Honest servers make a clean report that names what it was assessed with."""
    async with origins(pki, EXAM, LMS) as where, Detector(**settings_of(resolve=where), vantage="lab") as subject:
        report = await subject.check([EXAM, LMS])
    assert (report.verdict, report.scope, report.vantage) == (Verdict.CLEAN, "none", "lab")
    assert [r.assurance for r in report.results] == ["logged", "logged"]
    assert all(r.observation.key_proved and r.observation.tls_version == "TLSv1.3" for r in report.results)
    report.raise_for_middleware(at_least=Confidence.POSSIBLE)


async def test_selective_middlebox(pki: PrivatePKI, settings_of: Settings) -> None:
    """A filter that leaves one host alone is reported with its scope, and the exception carries the report."""
    async with (
        origins(pki, EXAM, LMS, SEARCH) as where,
        serve_middlebox(pki.private_ca("Filter CA"), upstream=where, only_hosts={LMS, SEARCH}) as box,
    ):
        stated = [Endpoint(host=host, roots=("Exemplar Root A",)) for host in (EXAM, LMS, SEARCH)]
        async with Detector(**settings_of(*stated, proxy=f"http://127.0.0.1:{box.port}")) as subject:
            report = await subject.check([EXAM, LMS, SEARCH])
    assert [r.verdict for r in report.results] == ["clean", "middleware", "middleware"]
    assert (report.confidence, report.scope) == ("proven", "selective")
    with pytest.raises(MiddlewareDetected) as caught:
        report.raise_for_middleware()
    assert caught.value.report is report


async def test_module_level_check_reads_pin_files(
    pki: PrivatePKI,
    tmp_path: Path,
    settings_of: Settings,
) -> None:
    """The one-call form takes files, as a proctoring client has them."""
    written = pki.write(tmp_path)
    async with origins(pki, EXAM) as where:
        address, port = where[EXAM, 443]
        pins = tmp_path / "pins.toml"
        pins.write_text(
            f'schema = 1\nname = "t"\n[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\naddress = "{address}:{port}"\n'
        )
        report = await detector.check(pins=pins, roots=written.roots, logs=written.ct_logs, proxy="none")
    assert (report.verdict, len(report.results)) == (Verdict.CLEAN, 1)
    assert settings_of() is not None


@pytest.mark.serial
async def test_deadline_is_kept_with_partial_results(pki: PrivatePKI, settings_of: Settings) -> None:
    """A silent server costs the deadline and nobody else's answer."""
    async with origins(pki, EXAM) as where, serve_script(Script.silence()) as silent:
        where[LMS, 443] = silent.address
        async with Detector(**settings_of(resolve=where)) as subject:
            begin = time.monotonic()
            report = await subject.check([EXAM, LMS], deadline=2.0)
            took = time.monotonic() - begin
    assert took < 2.2  # a tenth more, as `detector check` is allowed
    assert [r.verdict for r in report.results] == ["clean", "inconclusive"]
    assert report.results[1].observation.outcome is Outcome.DEADLINE
    assert report.verdict is Verdict.INCONCLUSIVE


async def test_no_endpoints_is_inconclusive(settings_of: Settings) -> None:
    """Nothing checked is nothing cleared."""
    async with Detector(**settings_of()) as subject:
        assert (await subject.check()).verdict is Verdict.INCONCLUSIVE


async def test_same_target_twice_is_probed_once(pki: PrivatePKI, settings_of: Settings) -> None:
    """Targets are a set with an order."""
    async with origins(pki, EXAM) as where, Detector(**settings_of(resolve=where)) as subject:
        assert len((await subject.check([EXAM, f"{EXAM}:443"])).results) == 1


async def test_one_string_is_one_target(pki: PrivatePKI, settings_of: Settings) -> None:
    """A host given without a list around it is not taken for a list of letters."""
    async with origins(pki, EXAM) as where, Detector(**settings_of(resolve=where)) as subject:
        assert [r.endpoint.host for r in (await subject.check(EXAM)).results] == [EXAM]


def trust(*ders: bytes, origin: RootOrigin = RootOrigin.UNKNOWN, **times: dt.datetime) -> TrustedRoots:
    return TrustedRoots(from_der(ders, name="m", origin=origin), {name.encode(): time for name, time in times.items()})


@pytest.mark.serial
def test_trust_stores_are_not_waited_for_long(pki: PrivatePKI) -> None:
    """Stores that hang cost a fraction of a second once; what was had before counts, with origin unknown."""
    hanging = threading.Event()
    ca = pki.private_ca("Filter CA").certificate

    def read() -> Iterator[TrustedRoots]:
        yield trust(ca)
        hanging.wait()
        yield trust(ca, origin=RootOrigin.POLICY)

    machine = MachineTrust(read)
    begin = time.monotonic()
    assert [machine.installed_at(bytes([number])) for number in range(50)] == [None] * 50
    assert [root.origin for root in machine.roots().roots] == [RootOrigin.UNKNOWN]
    assert time.monotonic() - begin < MACHINE_WAIT * 5
    hanging.set()
    assert machine._reader is not None
    machine._reader.join()
    assert [root.origin for root in machine.roots().roots] == [RootOrigin.POLICY]


def test_trust_stores_are_read_once_and_not_before_they_are_needed(pki: PrivatePKI) -> None:
    """All that ask get what one thread of its own read."""
    moment, reads = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), []

    def read() -> Iterator[TrustedRoots]:
        reads.append(threading.current_thread())
        yield trust(pki.root_a.certificate, root=moment)

    machine = MachineTrust(read)
    assert reads == []
    assert len(machine.roots()) == 1
    assert (machine.installed_at(b"root"), machine.installed_at(b"other")) == (moment, None)
    assert len(reads) == 1
    assert reads[0] is not threading.current_thread()


def test_this_machine_trusts_no_root_that_was_ever_public() -> None:
    """Whatever this machine is: none of its roots beyond the public ones is known, and each has an origin."""
    machine = this_machine(data_set.DataSet(), wait=60.0)
    assert not machine.roots().keys & data_set.shipped().known_roots.keys
    assert all(isinstance(root.origin, RootOrigin) for root in machine.roots().roots)


@pytest.mark.parametrize("reported", [RootOrigin.ADDED, RootOrigin.UNKNOWN])
def test_programs_are_asked_only_for_an_origin_that_files_do_not_tell(
    reported: RootOrigin, pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every root of this machine has its origin, nothing slower is read."""
    asked = []
    ca = pki.private_ca("Filter CA").certificate

    def read_stores(_: frozenset[bytes]) -> Iterator[Scanned]:
        yield Scanned(roots=(InstalledRoot(der=ca, store="file", origin=reported),))
        asked.append(True)
        yield Scanned(roots=(InstalledRoot(der=ca, store="program", origin=RootOrigin.POLICY),))

    monkeypatch.setattr(audit.machine, "read_stores", read_stores)
    monkeypatch.setattr(roots, "machine_roots", lambda: from_der([ca], name="operating system"))
    (root,) = this_machine(data_set.DataSet(), wait=60.0).roots().roots
    assert (root.origin, bool(asked)) == (
        (RootOrigin.ADDED, False) if reported is RootOrigin.ADDED else (RootOrigin.POLICY, True)
    )


def test_a_root_named_by_the_environment_is_added(
    pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way from a store of this machine to a root with its origin."""
    bundle = tmp_path / "school.pem"
    ca = pki.private_ca("School Inspection CA")
    bundle.write_bytes(ca.pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    found = {root.certificate.der: root.origin for root in this_machine(data_set.DataSet(), wait=60.0).roots().roots}
    assert found[ca.certificate] is RootOrigin.ADDED


async def test_reports_say_how_old_their_knowledge_is(pki: PrivatePKI, settings_of: Settings) -> None:
    """Every part of the knowledge, each with date and horizon; the JSON reads back as it was."""
    async with Detector(**settings_of(clock=lambda: pki.now)) as subject:
        report = await subject.check([])
    assert [part.kind for part in report.knowledge] == list(data_set.PARTS)
    assert report.knowledge == subject.knowledge
    assert report.knowledge[1].horizon is not None
    assert Report.from_json(report.to_json()) == report


async def test_bad_target_is_refused_before_anything_is_sent(settings_of: Settings) -> None:
    """A target that cannot be one raises, naming it."""
    async with Detector(**settings_of()) as subject:
        with pytest.raises(TargetError, match="http"):
            await subject.check(["http://exam.example.edu/"])


async def test_route_through_a_proxy_and_its_refusals(pki: PrivatePKI, settings_of: Settings) -> None:
    """A plain proxy changes nothing; one that wants credentials or refuses is an outcome of its own."""
    async with origins(pki, EXAM) as where:
        async with serve_proxy(upstream=where) as proxy:
            async with Detector(**settings_of(proxy=f"http://127.0.0.1:{proxy.port}")) as subject:
                result = (await subject.check([EXAM])).results[0]
            assert (result.verdict, result.observation.route) == ("clean", "http-connect")
        async with serve_proxy(upstream=where, require_auth="student:secret") as proxy:
            async with Detector(**settings_of(proxy=f"http://127.0.0.1:{proxy.port}")) as subject:
                refused = (await subject.check([EXAM])).results[0]
            async with Detector(**settings_of(proxy=f"http://student:secret@127.0.0.1:{proxy.port}")) as subject:
                allowed = await subject.check([EXAM])
            assert refused.observation.outcome is Outcome.PROXY_AUTH_REQUIRED
            assert "secret" not in allowed.to_json().decode()
            assert allowed.verdict is Verdict.CLEAN


BROKEN_PROXY = "http://user:hunter2@[proxy"


async def gated(settings: dict[str, Any]) -> None:
    await exam.gate([EXAM], **settings)


async def checked(settings: dict[str, Any]) -> None:
    await Detector(**settings).check([EXAM, LMS])


async def scanned(settings: dict[str, Any]) -> None:
    async for _ in Detector(**settings).scan([EXAM, LMS]):
        pytest.fail("a result without a way to probe")


async def watched(settings: dict[str, Any]) -> None:
    async for _ in Detector(**settings).watch([EXAM], duration=20.0):
        pytest.fail("an event without a way to probe")


@pytest.mark.parametrize("probing", [gated, checked, scanned, watched])
@pytest.mark.parametrize("more", [{}, {"all_addresses": True}, {"hello": "both", "quic": True}])
async def test_a_broken_proxy_in_the_environment_is_reported_by_name(
    probing: Callable[[dict[str, Any]], Coroutine[None, None, None]],
    more: dict[str, Any],
    settings_of: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One ProxyError that names the variable, and no group of exceptions; the credentials in it are not repeated."""
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", BROKEN_PROXY)
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(ProxyError, match=r"HTTPS_PROXY in the environment: .* cannot be read") as reported:
        await probing(settings_of(proxy="env", **more))
    assert "hunter2" not in str(reported.value)


async def test_scan_streams_results(pki: PrivatePKI, settings_of: Settings) -> None:
    """Results come as a stream; one that a later target changes is given again, and says that it amends."""
    ca = pki.private_ca("Filter CA")
    async with behind(ca, EXAM, LMS, SEARCH) as where:
        stated = Endpoint(host=SEARCH, roots=("Exemplar Root A",))
        subject = Detector(**settings_of(stated, resolve=where), concurrency=1)

        async def targets() -> AsyncIterator[str | Endpoint]:
            for host in (EXAM, LMS, SEARCH):
                yield host

        results = [result async for result in subject.scan(targets())]
        again = [result async for result in subject.scan([EXAM])]
    first = [(r.endpoint.host, r.confidence) for r in results if not r.amends]
    assert first == [(EXAM, "possible"), (LMS, "possible"), (SEARCH, "proven")]
    assert {r.endpoint.host: r.confidence for r in results} == dict.fromkeys((EXAM, LMS, SEARCH), "proven")
    assert {r.endpoint.host for r in results if r.amends} == {EXAM, LMS}
    assert [r.confidence for r in again] == ["possible"]


@contextlib.asynccontextmanager
async def behind(ca: CA, *hosts: str) -> AsyncIterator[dict[tuple[str, int], tuple[str, int]]]:
    """Where these hosts are, all of them behind an interceptor that sends its own certificate, too."""
    async with contextlib.AsyncExitStack() as stack:
        where = {}
        for host in hosts:
            forged = ca.issue([host])
            origin = await stack.enter_async_context(serve_origin(forged.with_chain(forged.leaf, ca.certificate)))
            where[host, 443] = origin.address
        yield where


async def test_a_scan_forgets(pki: PrivatePKI, settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was met on one host only is forgotten when more has come than is kept: memory is bounded."""
    monkeypatch.setattr(network_evidence, "STREAM_REMEMBERS", 1)
    filters, others = pki.private_ca("Filter CA"), pki.private_ca("Another CA")
    async with behind(filters, EXAM, SEARCH) as where, behind(others, LMS) as elsewhere:
        subject = Detector(**settings_of(resolve=where | elsewhere), concurrency=1)
        near = [result.reason async for result in subject.scan([EXAM, SEARCH])]
        far = [result.reason async for result in subject.scan([EXAM, LMS, SEARCH])]
    assert near == ["private-chain", "one-private-signer", "one-private-signer"]
    assert far == ["private-chain"] * 3


async def test_a_hanging_executor_holds_up_no_check(pki: PrivatePKI, settings_of: Settings) -> None:
    """Threads of the loop's executor that all wait for a resolver which never answers cost a check nothing."""
    loop, release = asyncio.get_running_loop(), threading.Event()
    hanging = [loop.run_in_executor(None, release.wait) for _ in range(64)]
    try:
        async with serve_origin(pki.issue([EXAM])) as origin:
            detector = Detector(**settings_of(resolve={(EXAM, 443): origin.address}))
            async with asyncio.timeout(30), detector:
                report = await detector.check([EXAM], deadline=3.0)
    finally:
        release.set()
        await asyncio.gather(*hanging)
    assert report.verdict is Verdict.CLEAN


async def test_cancellation_leaves_nothing_behind(settings_of: Settings) -> None:
    """A cancelled check ends its connections and tasks before it returns."""
    before = asyncio.all_tasks()
    async with serve_script(Script.silence()) as silent:
        subject = Detector(**settings_of(resolve={(h, 443): silent.address for h in (EXAM, LMS)}))
        task = asyncio.create_task(subject.check([EXAM, LMS], deadline=30))
        while silent.connections < 2:  # noqa: ASYNC110 - the server counts, it does not signal
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asyncio.all_tasks() == before


async def test_breaking_off_a_scan_leaves_nothing_behind(pki: PrivatePKI, settings_of: Settings) -> None:
    """Leaving the stream early ends what was in flight."""
    before = asyncio.all_tasks()
    async with origins(pki, EXAM) as where, serve_script(Script.silence()) as silent:
        where[LMS, 443] = silent.address
        stream = Detector(**settings_of(resolve=where)).scan([EXAM, LMS], timeout=30)
        async with contextlib.aclosing(stream) as results:
            assert (await anext(results)).endpoint.host == EXAM
    assert {task for task in asyncio.all_tasks() if not task.done()} == before
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(20)
            assert not thread.is_alive()


def test_examine_reads_the_content_of_a_file(pki: PrivatePKI, world: World) -> None:
    """Bytes are a file in any format, put in order; a list of DER is assessed as it stands, whatever is in it."""
    chain = pki.issue([EXAM]).chain
    known: dict[str, Any] = {"roots": world.roots, "logs": world.logs}
    for content in (b"".join(chain), to_pem(reversed(chain)).encode("utf-16")):
        assert detector.examine(content, host=EXAM, at=pki.now, **known).verdict == "clean"
    assert detector.examine(chain[::-1], host=EXAM, at=pki.now, **known).verdict == "middleware"
    assert detector.examine([b"0"], host=EXAM, at=pki.now, **known).verdict == "middleware"
    with pytest.raises(ChainError, match="is text, and holds no certificate"):
        detector.examine(b"0", host=EXAM, **known)


def test_examine_is_offline_and_takes_der(pki: PrivatePKI, world: World) -> None:
    """The offline form assesses DER bytes, a naive time counting as UTC."""
    issued = pki.issue([EXAM])
    known: dict[str, Any] = {"roots": world.roots, "logs": world.logs}
    clean = detector.examine(issued.chain, host="EXAM.example.edu.", at=pki.now.replace(tzinfo=None), **known)
    assert (clean.verdict, clean.endpoint.host) == (Verdict.CLEAN, EXAM)
    unproved = detector.examine(issued.chain, host=EXAM, key_proved=False, **known)
    assert (unproved.verdict, unproved.reason) == (Verdict.INCONCLUSIVE, "key-not-proved")
    nothing = detector.examine([], host=EXAM, **known)
    assert (nothing.verdict, nothing.reason) == (Verdict.INCONCLUSIVE, "no-certificate")
