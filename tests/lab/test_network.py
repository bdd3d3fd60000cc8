"""Real interceptors in a real network, five hops in namespaces: what the command says in the client.

Every test asks a `detector check` of its own process, in the client's namespace, for verdict, reason, scope and map.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest
from detector_testing import fetch_mitmdump, run_mitmproxy, serve_middlebox
from detector_testing.middlebox import looks_like_browser
from detector_testing.quic import serve_quic
from support.interceptors import BANK, EXAM, HOSTS, LMS, PORT, SEARCH, run_sslsplit

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator

    from detector_testing import Lab, Mitmproxy
    from support.interceptors import Campus

    from detector import Report

pytestmark = pytest.mark.lab

CLEAR = dict.fromkeys(("exam", "lms", "search", "bank"), "clear")
DECRYPTED = dict.fromkeys(CLEAR, "decrypted")


@contextlib.asynccontextmanager
async def mitmproxy_on_the_box(lab: Lab, mode: str, **options: str) -> AsyncIterator[Mitmproxy]:
    """The real mitmproxy, going on to the lab's origin, by the address a client gave or by name."""
    where = {(lab.origin.address(family), 443): (lab.origin.address(family), 443) for family in (4, 6)}
    named = {(host, 443): (lab.origin.ipv4, 443) for host in HOSTS}
    command = await fetch_mitmdump()
    running = run_mitmproxy(
        mode, command=command, upstream_hosts=where | named, listen_host="", port=PORT, options=options
    )
    async with lab.box.inside(running) as mitm:
        yield mitm


def assert_clean(report: Report) -> None:
    """Nothing decrypted, every host pinned."""
    assert (report.verdict, report.scope, report.coverage) == ("clean", "none", CLEAR)
    assert [(r.verdict, r.reason, r.assurance) for r in report.results] == [("clean", "pinned", "pinned")] * len(HOSTS)
    assert report.interceptors == ()


def assert_decrypted(report: Report) -> None:
    """Everything decrypted and proven, by one interceptor."""
    assert (report.verdict, report.confidence, report.scope) == ("middleware", "proven", "all")
    assert report.coverage == DECRYPTED
    reported = [(r.verdict, r.reason, r.confidence) for r in report.results]
    assert reported == [("middleware", "identity-substituted", "proven")] * len(HOSTS)
    (interceptor,) = report.interceptors
    assert interceptor.endpoints == tuple(f"{host}:443" for host in HOSTS)


async def test_a_network_of_routers_is_clean(campus: Campus) -> None:
    """With nobody in between, both IP versions are clean and pinned."""
    for family in (4, 6):
        assert_clean(await campus.check(family=family))
    await campus.origin.settled()
    assert campus.origin.handshakes == 2 * len(HOSTS)


@pytest.mark.parametrize(("decrypted", "clear"), [(4, 6), (6, 4)])
async def test_mitmproxy_on_one_ip_version(campus: Campus, decrypted: int, clear: int) -> None:
    """Redirected on one IP version only, the real mitmproxy is proven on that one, and the other is clean."""
    async with mitmproxy_on_the_box(campus.lab, "transparent"):
        await campus.lab.redirect(443, to=PORT, families=[decrypted])
        seen = await campus.check(family=decrypted)
        other = await campus.check(family=clear)
    assert_decrypted(seen)
    assert str(seen.interceptors[0].product).startswith("mitmproxy")
    assert_clean(other)


async def test_mitmproxy_for_listed_names_only(campus: Campus) -> None:
    """A list of server names is decrypted, the exam and the bank are not: selective, with the map that says which."""
    listed = "|".join(re.escape(host) for host in (LMS, SEARCH))
    async with mitmproxy_on_the_box(campus.lab, "transparent", allow_hosts=listed):
        await campus.lab.redirect(443, to=PORT)
        report = await campus.check()
    assert (report.verdict, report.confidence, report.scope) == ("middleware", "proven", "selective")
    assert report.coverage == {"exam": "clear", "lms": "decrypted", "search": "decrypted", "bank": "clear"}
    reported = {result.endpoint.host: (result.verdict, result.reason) for result in report.results}
    assert reported == {
        EXAM: ("clean", "pinned"),
        LMS: ("middleware", "identity-substituted"),
        SEARCH: ("middleware", "identity-substituted"),
        BANK: ("clean", "pinned"),
    }


async def test_mitmproxy_behind_an_explicit_proxy_only(campus: Campus) -> None:
    """The direct route is clean; through the network's proxy everything is decrypted, and the report says so."""
    async with mitmproxy_on_the_box(campus.lab, "regular"):
        direct = await campus.check()
        proxied = await campus.check("--proxy", f"http://{campus.lab.box.ipv4}:{PORT}")
    assert_clean(direct)
    assert_decrypted(proxied)
    assert proxied.interceptors[0].locality == "configured-proxy"


async def test_sslsplit(campus: Campus, tmp_path: pathlib.Path) -> None:
    """The real SSLsplit is proven on both IP versions; the network stays nameless, the issuer is as presented."""
    ca = campus.pki.private_ca("Campus Gateway CA")
    async with campus.lab.box.inside(run_sslsplit(ca, campus.lab.box, tmp_path)):
        await campus.lab.redirect(443, to=PORT)
        for family in (4, 6):
            report = await campus.check(family=family)
            assert_decrypted(report)
            assert report.interceptors[0].issuer == "CN=Campus Gateway CA"
        await campus.lab.pass_everything()
        assert_clean(await campus.check())


@pytest.mark.parametrize("family", [4, 6])
async def test_only_what_looks_like_a_browser(campus: Campus, family: int) -> None:
    """A box that decrypts hellos with GREASE only is found by the default hello; OpenSSL's shows where it decrypts."""
    ca = campus.pki.private_ca("Browser Filter CA")
    box = serve_middlebox(ca, mode="transparent-like", only_hellos=looks_like_browser, host="", port=PORT)
    async with campus.lab.box.inside(box) as running:
        await campus.lab.redirect(443, to=PORT)
        assert_clean(await campus.check("--hello", "openssl", family=family))
        assert sorted(running.passed) == sorted(HOSTS)
        assert running.intercepted == []
        assert_decrypted(await campus.check(family=family))
        assert sorted(running.intercepted) == sorted(HOSTS)
        both = await campus.check("--hello", "both", family=family)
    assert_decrypted(both)
    for result in both.results:
        assert ("hello-difference", "forged") in {(f.check, f.outcome) for f in result.findings}
        assert result.observation.hello == "browser"
        assert [other.hello for other in result.other_observations] == ["openssl"]


@pytest.mark.parametrize("family", [4, 6])
async def test_quic_blocked(campus: Campus, family: int) -> None:
    """QUIC answers like TCP; where the box rejects or drops UDP 443, that is reported and accuses nobody."""
    lab, address = campus.lab, campus.lab.origin.address(family)
    issued = campus.issued[EXAM]
    reported = []
    async with lab.origin.inside(serve_quic(issued, host=address, port=443)):
        for block in (lab.pass_everything(), lab.block_quic(how="reject"), lab.block_quic(how="drop")):
            await block
            report = await campus.check("--quic", family=family, hosts=(EXAM,))
            assert (report.verdict, report.scope, report.coverage) == ("clean", "none", {"exam": "clear"})
            (result,) = report.results
            assert (result.reason, result.assurance) == ("pinned", "pinned")
            reported += [(f.outcome, f.data["other_outcome"]) for f in result.findings if f.check == "quic"]
    assert reported == [("same", "complete"), ("blocked", "connect-refused"), ("blocked", "connect-timeout")]


async def test_quic_next_to_an_interceptor_of_tcp(campus: Campus) -> None:
    """TCP is decrypted and QUIC, at the same address, is the genuine host: proof without any pin."""
    lab, issued = campus.lab, campus.issued[EXAM]
    box = serve_middlebox(campus.pki.private_ca("TCP Filter CA"), mode="transparent-like", host="", port=PORT)
    async with lab.origin.inside(serve_quic(issued, host=lab.origin.ipv4, port=443)), lab.box.inside(box):
        await lab.redirect(443, to=PORT)
        report = await campus.check("--quic", hosts=(EXAM,), pinned=False)
    assert (report.verdict, report.confidence, report.scope) == ("middleware", "proven", "all")
    assert report.coverage == {"other": "decrypted"}
    (result,) = report.results
    assert result.reason == "identity-substituted"
    assert ("quic", "forged") in {(f.check, f.outcome) for f in result.findings}
