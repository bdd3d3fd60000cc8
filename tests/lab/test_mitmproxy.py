"""The real mitmproxy, in an environment of its own, in the path of the whole pipeline."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import run_mitmproxy, serve_origin

from detector import Detector, Endpoint, Report, Verdict
from detector.model import Engine, Hello, RootOrigin
from detector.probe import ProxyDialer, parse_proxy, probe
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS = "exam.example.edu", "lms.example.org"
pytestmark = pytest.mark.lab


@contextlib.asynccontextmanager
async def lab(pki: PrivatePKI) -> AsyncIterator[tuple[tuple[Endpoint, ...], dict[tuple[str, int], tuple[str, int]]]]:
    """Two honest origins of unrelated operators: endpoints with pins and stated roots, and where they are."""
    stated = tuple(sorted(from_der([pki.root_a.certificate, pki.root_b.certificate], name="lab").labels))
    async with contextlib.AsyncExitStack() as stack:
        endpoints, where = [], {}
        for host in (EXAM, LMS):
            issued = pki.issue([host])
            origin = await stack.enter_async_context(serve_origin(issued))
            endpoints.append(Endpoint(host=host, pins=(issued.spki_sha256,), roots=stated))
            where[host, 443] = origin.address
        yield tuple(endpoints), where


def assert_mitmproxy(report: Report, confidence: str = "proven") -> None:
    """Everything decrypted, proven unless said otherwise, by mitmproxy."""
    assert (report.verdict, report.confidence, report.scope) == ("middleware", confidence, "all")
    for result in report.results:
        assert (result.verdict, result.confidence) == ("middleware", confidence)
        assert result.observation.key_proved
    (interceptor,) = report.interceptors
    assert str(interceptor.product).startswith("mitmproxy")
    assert interceptor.managed_by == "developer"


async def test_regular_proxy(pki: PrivatePKI, settings_of: Settings) -> None:
    """Direct is clean and pinned; through the CONNECT proxy it is proven, probable where no identity is known."""
    async with lab(pki) as (endpoints, where), run_mitmproxy(upstream_hosts=where) as mitm:
        route = f"http://127.0.0.1:{mitm.port}"
        async with Detector(**settings_of(*endpoints, resolve=where)) as direct:
            honest = await direct.check()
        async with Detector(**settings_of(*endpoints, proxy=route)) as pinned:
            assert_mitmproxy(await pinned.check())
        async with Detector(**settings_of(proxy=route)) as unpinned:
            bare = await unpinned.check([EXAM, LMS])
    assert [(r.verdict, r.assurance) for r in honest.results] == [("clean", "pinned")] * 2
    assert_mitmproxy(bare, "probable")
    for result in bare.results:
        shared = {f.outcome for f in result.findings if f.check == "shared-signer"}
        assert shared >= {"private-signer", "leaf-key"}


async def test_appended_upstream_chain(pki: PrivatePKI, settings_of: Settings) -> None:
    """The genuine chain that mitmproxy appends is presented, and clears nothing."""
    async with (
        lab(pki) as (endpoints, where),
        run_mitmproxy(upstream_hosts=where, append_upstream_chain=True) as mitm,
        Detector(**settings_of(*endpoints, proxy=f"http://127.0.0.1:{mitm.port}")) as subject,
    ):
        report = await subject.check()
    assert_mitmproxy(report)
    pinned = {endpoint.pins[0].hex() for endpoint in endpoints}
    assert all(pinned & {c.spki_sha256 for c in r.observation.chain[1:]} for r in report.results)


async def test_reverse_proxy(pki: PrivatePKI, settings_of: Settings) -> None:
    """In reverse mode, where the client connects straight to it, it is found all the same."""
    async with lab(pki) as (endpoints, where):
        address, port = where[EXAM, 443]
        async with run_mitmproxy(f"reverse:https://{address}:{port}") as mitm:
            there = {(EXAM, 443): ("127.0.0.1", mitm.port)}
            async with Detector(**settings_of(endpoints[0], resolve=there)) as subject:
                report = await subject.check()
    assert_mitmproxy(report)
    assert report.results[0].verdict is Verdict.MIDDLEWARE


async def test_ca_installed_on_the_machine(pki: PrivatePKI, settings_of: Settings) -> None:
    """With its root installed, as institutions do, the root is reported and the verdict is the same."""
    async with lab(pki) as (endpoints, where), run_mitmproxy(upstream_hosts=where) as mitm:
        installed = from_der([mitm.ca_certificate], name="machine", origin=RootOrigin.ADDED)
        route = f"http://127.0.0.1:{mitm.port}"
        async with Detector(**settings_of(endpoints[0], proxy=route, machine_roots=lambda: installed)) as subject:
            report = await subject.check([EXAM])
    assert_mitmproxy(report)
    assert "machine-root" in {finding.check for finding in report.results[0].findings}


async def test_both_engines_see_the_same(pki: PrivatePKI) -> None:
    """With a browser's hello and with OpenSSL's: the same chain, and the key proved."""
    async with lab(pki) as (endpoints, where), run_mitmproxy(upstream_hosts=where) as mitm:
        dialer = ProxyDialer(parse_proxy(f"http://127.0.0.1:{mitm.port}"))
        seen = [
            (await probe(endpoints[0], dialer=dialer, hello=hello)).single for hello in (Hello.BROWSER, Hello.WIDEST)
        ]
    native, reference = seen
    assert (native.engine, reference.engine) == (Engine.NATIVE, Engine.OPENSSL)
    for name in ("outcome", "key_proved", "tls_version", "alpn", "alert", "chain", "attempts"):
        assert getattr(native, name) == getattr(reference, name)
    assert native.key_proved
