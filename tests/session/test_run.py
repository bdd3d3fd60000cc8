"""The whole pipeline with several variants, over real sockets: QUIC besides TCP, a browser's hello besides ours."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import socket
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from detector_testing import Mode, serve_middlebox, serve_origin
from detector_testing.middlebox import looks_like_browser
from detector_testing.pki import generate_key
from detector_testing.quic import serve_datagrams, serve_quic

import detector
from detector import Detector, Endpoint, Outcome
from detector.errors import MissingExtraError
from detector.model import Hello, Observation, Route
from detector.probe import DirectDialer, mock
from detector.probe.mock import MockNetwork
from detector.probe.routes import ConnectionRecord, RouteError
from detector.probe.tls.fallback import ProbeOutcome
from detector.session.plan import ProbeSettings, variants
from detector.session.run import probe_all, run_variants
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from detector_testing import Issued, PrivatePKI
    from detector_testing.streams import Listener

    from detector.model import Result
    from detector.probe import Dialer
    from detector.probe.routes import ProtocolFactory

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"


def nothing(_: bytes) -> tuple[bytes, ...]:
    return ()


def reported(result: Result) -> tuple[str, str]:
    return result.reason, " ".join(filter(None, (result.verdict, result.confidence or result.assurance)))


def is_free_for_udp(port: int) -> bool:
    with contextlib.closing(socket.socket(type=socket.SOCK_DGRAM)) as udp:
        try:
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Host(NamedTuple):
    """What serves a host over TCP, on a port whose number is free for UDP, and its genuine certificate."""

    port: int
    genuine: Issued


@contextlib.asynccontextmanager
async def host_over_tcp(pki: PrivatePKI, *, forged: bool = False) -> AsyncIterator[Host]:
    """The genuine server, or a middlebox before it."""
    genuine = pki.issue([EXAM])
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(serve_origin(genuine))
        for _ in range(20):
            listener: Listener = origin
            if forged:
                listener = await stack.enter_async_context(
                    serve_middlebox(pki.private_ca("School CA"), mode=Mode.TRANSPARENT, upstream=origin.address)
                )
            elif not is_free_for_udp(origin.port):
                listener = await stack.enter_async_context(serve_origin(genuine))
            if is_free_for_udp(listener.port):
                break
        yield Host(listener.port, genuine)


async def check(settings: dict[str, Any], port: int, **endpoint: Any) -> Result:  # noqa: ANN401 - fields of Endpoint
    """Check the one endpoint behind this port."""
    target = Endpoint(host=EXAM, address=("127.0.0.1", port), **endpoint)
    async with Detector(**settings) as subject:
        report = await subject.check([target])
    assert detector.Report.from_json(report.to_json()) == report
    return report.results[0]


class TestQuic:
    async def test_an_honest_host(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The same host over both: clean, and both probes are in the report."""
        async with host_over_tcp(pki) as (port, genuine), serve_quic(genuine, port=port):
            result = await check(settings_of(quic=True), port)
        assert reported(result) == ("logged", "clean logged")
        [other] = result.other_observations
        assert (other.route, other.outcome, other.key_proved) == (Route.QUIC, Outcome.COMPLETE, True)
        assert other.address == result.observation.address
        assert [f.outcome for f in result.findings if f.check == "quic"] == ["same"]

    async def test_tcp_forged_and_quic_genuine_is_proof(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Without any pin the genuine server itself shows what the middlebox hides."""
        async with host_over_tcp(pki, forged=True) as (port, genuine), serve_quic(genuine, port=port):
            alone = await check(settings_of(), port)
            both = await check(settings_of(quic=True), port)
        assert reported(alone) == ("private-chain", "middleware possible")
        assert reported(both) == ("identity-substituted", "middleware proven")
        assert both.observation.route is Route.DIRECT

    async def test_quic_forged_and_tcp_genuine(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A firewall that decrypts QUIC alone is found by the same comparison."""
        forged = pki.private_ca("Firewall CA").issue([EXAM])
        async with host_over_tcp(pki) as (port, _), serve_quic(forged, port=port):
            result = await check(settings_of(quic=True), port)
        assert reported(result) == ("identity-substituted", "middleware proven")
        assert (result.observation.route, len(result.observation.chain)) == (Route.QUIC, 1)

    async def test_a_genuine_chain_without_its_key_proves_nothing(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Anyone who only replays the genuine chain over QUIC is no witness of anything."""
        async with host_over_tcp(pki) as (port, genuine), serve_quic(genuine, key=generate_key("ec"), port=port):
            result = await check(settings_of(quic=True), port)
        assert reported(result) == ("replayed-chain", "middleware probable")  # the replay itself, on the QUIC probe
        assert result.observation.route is Route.QUIC

    async def test_blocked_quic_is_no_evidence(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """UDP that nobody answers leaves a clean host clean, and says what is known."""
        async with host_over_tcp(pki) as (port, _), serve_datagrams(nothing, port=port):
            result = await check(settings_of(quic=True), port, quic=True)
        assert reported(result) == ("logged", "clean logged")
        assert [(f.outcome, f.says) for f in result.findings if f.check == "quic"] == [("blocked", "neutral")]

    async def test_a_host_without_quic(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """A closed UDP port is what most hosts have."""
        async with host_over_tcp(pki) as (port, _):
            result = await check(settings_of(quic=True), port)
        assert reported(result) == ("logged", "clean logged")
        assert result.other_observations[0].outcome is Outcome.CONNECT_REFUSED

    async def test_around_a_proxy(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """QUIC goes around a proxy, to the address that the proxy was asked for: what it shows there is compared."""
        async with host_over_tcp(pki) as (port, genuine), serve_quic(genuine, port=port):
            ca = pki.private_ca("School CA")
            async with serve_middlebox(ca, upstream={(EXAM, 443): ("127.0.0.1", port)}) as box:
                where = {(EXAM, 443): ("127.0.0.1", port)}
                async with Detector(**settings_of(proxy=box.url, quic=True, resolve=where)) as subject:
                    [result] = (await subject.check([EXAM])).results
        assert reported(result) == ("identity-substituted", "middleware proven")
        assert ("quic", "forged") in {(f.check, f.outcome) for f in result.findings}

    async def test_the_deadline_holds(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Silence over QUIC costs no more than the deadline, and what TCP showed is assessed."""
        async with host_over_tcp(pki) as (port, _), serve_datagrams(nothing, port=port):
            target = Endpoint(host=EXAM, address=("127.0.0.1", port))
            async with Detector(**settings_of(quic=True)) as subject:
                report = await subject.check([target], deadline=1.0)
        [result] = report.results
        assert reported(result) == ("logged", "clean logged")
        assert result.other_observations[0].outcome is Outcome.DEADLINE


@contextlib.asynccontextmanager
async def picky_middlebox(pki: PrivatePKI, *, browsers: bool) -> AsyncIterator[int]:
    """An interceptor that decrypts only browsers, or everything but browsers; gives its port."""

    def chosen(hello: Any) -> bool:  # noqa: ANN401 - the middlebox's ClientHello
        return looks_like_browser(hello) is browsers

    ca = pki.private_ca("School CA")
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(ca, mode=Mode.TRANSPARENT, upstream=origin.address, only_hellos=chosen) as box,
    ):
        yield box.port


class TestHello:
    async def test_an_honest_host(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Both hellos get the same certificate, and the report has both fingerprints."""
        async with serve_origin(pki.issue([EXAM])) as origin:
            result = await check(settings_of(hello="both"), origin.port)
        assert reported(result) == ("logged", "clean logged")
        [other] = result.other_observations
        assert (result.observation.hello, other.hello) == (Hello.BROWSER, Hello.OPENSSL)
        assert None not in {result.observation.ja4, other.ja4}
        assert result.observation.ja4 != other.ja4

    async def test_browsers_only_are_decrypted(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The default hello is a browser's, and decrypted; OpenSSL's alone is not. Both together prove it."""
        async with picky_middlebox(pki, browsers=True) as port:
            default = await check(settings_of(), port)
            openssl = await check(settings_of(hello="openssl"), port)
            both = await check(settings_of(hello="both"), port)
        assert reported(default) == ("private-chain", "middleware possible")
        assert reported(openssl) == ("logged", "clean logged")
        assert openssl.observation.hello is Hello.OPENSSL
        assert reported(both) == ("identity-substituted", "middleware proven")
        assert both.observation.hello is Hello.BROWSER
        assert "School CA" in (both.attribution.issuer or "") if both.attribution else False

    async def test_what_looks_like_a_scanner_is_exempt(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """The other way round: an interceptor that leaves browsers alone is found, too."""
        async with picky_middlebox(pki, browsers=False) as port:
            browser = await check(settings_of(hello="browser"), port)
            both = await check(settings_of(hello="both"), port)
        assert reported(browser) == ("logged", "clean logged")
        assert reported(both) == ("identity-substituted", "middleware proven")
        assert both.observation.hello is Hello.OPENSSL

    async def test_everything_at_once(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """Both hellos and QUIC, concurrently."""
        async with host_over_tcp(pki, forged=True) as (port, genuine), serve_quic(genuine, port=port):
            result = await check(settings_of(hello="both", quic=True), port)
        assert reported(result) == ("identity-substituted", "middleware proven")
        shown = {(o.route, o.hello) for o in (result.observation, *result.other_observations)}
        assert shown == {(Route.DIRECT, Hello.BROWSER), (Route.DIRECT, Hello.OPENSSL), (Route.QUIC, Hello.WIDEST)}

    async def test_a_stream_has_the_same_variants(self, pki: PrivatePKI, settings_of: Settings) -> None:
        """`scan` probes the same variants as `check`."""
        async with picky_middlebox(pki, browsers=True) as port:
            target = Endpoint(host=EXAM, address=("127.0.0.1", port))
            async with Detector(**settings_of(hello="both")) as subject:
                results = [result async for result in subject.scan([target])]
        assert [reported(result) for result in results] == [("identity-substituted", "middleware proven")]


class TestVariants:
    async def test_the_others_go_where_the_first_went(self, pki: PrivatePKI) -> None:
        """Neither a browser's hello nor QUIC asks a resolver again."""
        async with host_over_tcp(pki) as (port, genuine), serve_quic(genuine, port=port):
            dialer = DirectDialer({(EXAM, 443): ("localhost", port)})
            until = asyncio.get_running_loop().time() + 5
            probes = await run_variants(
                variants(Endpoint(host=EXAM), dialer, ProbeSettings(hello="both", quic=True)), until
            )
        assert {seen.address for seen in probes} == {probes[0].address}
        assert [seen.key_proved for seen in probes] == [True] * 3

    async def test_a_first_probe_that_fails_stops_no_other(self) -> None:
        """Where TCP is not answered, QUIC is still tried, by name."""
        network = MockNetwork({(EXAM, 443): mock.Fails(Outcome.CONNECT_REFUSED)})
        until = asyncio.get_running_loop().time() + 5
        endpoint = Endpoint(host="host.invalid")
        first, quic = await run_variants(variants(endpoint, network, ProbeSettings(quic=True)), until)
        assert (first.outcome, quic.outcome) == (Outcome.DNS_FAILURE, Outcome.DNS_FAILURE)

    async def test_cancelled_in_the_middle(self, pki: PrivatePKI) -> None:
        """Every task of a cancelled probe ends with it."""
        asked = asyncio.Event()

        def note(_: bytes) -> tuple[bytes, ...]:
            asked.set()
            return ()

        async with host_over_tcp(pki) as (port, _), serve_datagrams(note, port=port):
            until = asyncio.get_running_loop().time() + 30
            endpoint = Endpoint(host=EXAM, address=("127.0.0.1", port))
            before = asyncio.all_tasks()
            specs = variants(endpoint, DirectDialer(), ProbeSettings(quic=True))
            task = asyncio.create_task(run_variants(specs, until))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert {t for t in asyncio.all_tasks() - before if "probe" in repr(t) or "run_" in repr(t)} == set()


async def test_what_another_address_showed_besides_is_kept(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant that fails at the first address is made at the one that answered; its witness's chain is kept."""
    ours, forged = (
        tuple(Certificate.read(der).presented() for der in issued.chain)
        for issued in (pki.issue([EXAM]), pki.private_ca("School CA").issue([EXAM]))
    )
    answered = Observation(outcome=Outcome.COMPLETE, route=Route.DIRECT, address="127.0.0.2:443", chain=ours)
    failed, asked = Observation(outcome=Outcome.RESET), Observation(outcome=Outcome.COMPLETE, chain=forged)
    shown = [ProbeOutcome(answered), ProbeOutcome(failed, asked), ProbeOutcome(answered)]

    class Refusing:
        """A route on which every connection is refused, at one address."""

        route = Route.DIRECT

        async def dial(
            self,
            endpoint: Endpoint,  # noqa: ARG002 - the signature is that of `Dialer.dial`
            factory: ProtocolFactory,  # noqa: ARG002 - the signature is that of `Dialer.dial`
            record: ConnectionRecord,
        ) -> asyncio.Transport:
            record.address = "127.0.0.1:443"
            raise RouteError(Outcome.CONNECT_REFUSED)

    async def probe(endpoint: Endpoint, *, dialer: Dialer, **_: object) -> ProbeOutcome:
        with contextlib.suppress(RouteError):
            await dialer.dial(endpoint, asyncio.Protocol, ConnectionRecord())
        return shown.pop(0)

    monkeypatch.setattr("detector.probe.probe", probe)
    specs = variants(Endpoint(host=EXAM), Refusing(), ProbeSettings(hello="both"))
    seen = await run_variants(specs, asyncio.get_running_loop().time() + 5)
    assert [one.chain for one in seen] == [ours, ours, forged]


class TestExtras:
    def test_a_missing_extra_is_reported_at_once(self, settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is not installed is named, with what to install."""
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aioquic" else find(name))
        with pytest.raises(MissingExtraError, match="aioquic") as caught:
            Detector(**settings_of(quic=True))
        assert "Install the extra 'quic'" in caught.value.advice

    @pytest.mark.parametrize("hello", ["chrome", "widest", "readable", "default"])
    def test_an_unknown_hello(self, hello: str, settings_of: Settings) -> None:
        """A profile nobody has is refused when the detector is made; so is one that only a second try may send."""
        with pytest.raises(ValueError, match=hello):
            Detector(**settings_of(hello=hello))


async def test_command_line(pki: PrivatePKI, tmp_path: Path) -> None:
    """`--quic` and `--hello` reach the probe, and the JSON has every probe."""
    written = pki.write(tmp_path)
    async with host_over_tcp(pki, forged=True) as (port, genuine), serve_quic(genuine, port=port):
        arguments = [
            "check",
            f"{EXAM}:443",
            "--connect-to",
            f"{EXAM}:443:127.0.0.1:{port}",
            "--quic",
            "--hello",
            "both",
        ]
        arguments += ["--roots", str(written.roots), "--ct-logs", str(written.ct_logs)]
        arguments += ["--offline", "--proxy", "none", "--format", "json"]
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "detector", *arguments, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await command.communicate()
    report = detector.Report.from_json(output)
    assert command.returncode == 1
    assert reported(report.results[0]) == ("identity-substituted", "middleware proven")
    assert len(report.results[0].other_observations) == 2


async def test_a_timeout_of_a_probe_is_not_the_deadline() -> None:
    """Only the deadline ends a run early; a `TimeoutError` of a probe's own is raised, not taken for it."""

    async def broken(_: Endpoint) -> tuple[Observation, ...]:
        raise TimeoutError("a fault of the probe")

    until = asyncio.get_running_loop().time() + 30
    with pytest.raises(TimeoutError, match="a fault of the probe"):
        await probe_all([Endpoint(host="a.example")], broken, limit=1, until=until)
