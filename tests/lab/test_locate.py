"""Where TLS ends, in a real network: `detector locate` and `check --locate`, without any capability of root's.

Hop 1 is `near`, hop 2 `box`, hop 3 `far` and hop 4 the origin. Each test asks a process in the client's namespace.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_middlebox, serve_relay
from support.interceptors import EXAM, HOSTS, PORT, run_sslsplit

from detector.judge.hops import locate
from detector.locate.tracing import NoErrorQueue, trace_hops
from detector.model import Report

if TYPE_CHECKING:
    import pathlib

    from support.interceptors import Campus

    from detector.model import HopsObservation

pytestmark = pytest.mark.lab


async def located(campus: Campus, *arguments: str, family: int = 4, code: int = 0) -> dict[str, Any]:
    """What `detector locate` says as JSON, and that it exits as it should."""
    address = campus.lab.origin.address(family)
    rule = f"{EXAM}:443:{f'[{address}]' if family == 6 else address}:443"
    done = await campus.detector("locate", EXAM, "--connect-to", rule, "--format", "json", *arguments)
    assert done.code == code, done
    reported: dict[str, Any] = json.loads(done.output)
    return reported


def conclusion(reported: dict[str, Any]) -> tuple[str, str | None, int | None, str | None, int | None]:
    """Where, why not, hop, router, and the host's own hop."""
    location = reported["location"]
    return location["where"], location["doubt"], location["hop"], location["router"], location["host_hop"]


def routers(reported: dict[str, Any], port: int) -> list[str | None]:
    """Which routers on the path to a port named themselves, by hop."""
    (hops,) = [t["hops"] for t in reported["hops"]["traces"] if (t["port"], t["asked"]) == (port, "connect")]
    return [hop["router"] for hop in hops if hop["answer"] == "time-exceeded"]


@pytest.mark.parametrize("family", [4, 6])
async def test_with_nobody_in_between(campus: Campus, family: int) -> None:
    """Both ports are answered at hop 4 and every router before it has named itself."""
    reported = await located(campus, family=family)
    assert conclusion(reported) == ("same-hop", None, 4, None, None)
    way = [campus.lab.near, campus.lab.box, campus.lab.far]
    assert routers(reported, 443) == routers(reported, 80) == [hop.address(family) for hop in way]
    assert reported["hops"]["names_routers"] is True


@pytest.mark.parametrize("family", [4, 6])
async def test_an_interceptor_at_hop_two(campus: Campus, tmp_path: pathlib.Path, family: int) -> None:
    """SSLsplit answers at hop 2 while the host is at hop 4; a check says so, and names no other router and not us."""
    lab = campus.lab
    ca = campus.pki.private_ca("Campus Gateway CA")
    async with lab.box.inside(run_sslsplit(ca, lab.box, tmp_path)):
        await lab.redirect(443, to=PORT)
        reported = await located(campus, family=family)
        report = await campus.check("--locate", family=family, hosts=(EXAM,))
    box = lab.box.address(family)
    assert conclusion(reported) == ("answered-early", None, 2, box, 4)
    assert reported["location"]["summary"] == f"Port 443 is answered at hop 2 ({box}), the host itself is at hop 4."
    (result,) = report.results
    assert (result.verdict, result.confidence, report.scope) == ("middleware", "proven", "all")
    (finding,) = [f for f in result.findings if f.check == "location"]
    assert (finding.outcome, finding.says, finding.data["host_hop"]) == ("answered-early", "neutral", 4)
    assert result.attribution is not None
    assert result.attribution.locality == "network"
    assert "the host itself is at hop 4" in result.attribution.basis
    reported_others = report.to_json().decode()
    assert box in reported_others
    for hop in (lab.client, lab.near, lab.far):
        assert hop.address(family) not in reported_others
    assert Report.from_json(reported_others) == report


async def test_a_relay_that_decrypts_nothing_is_located_and_not_accused(campus: Campus) -> None:
    """It ends TCP at hop 2, late; the certificates are genuine, so the network is clean, whatever the hops say."""
    async with campus.lab.box.inside(serve_relay(delay=0.2, port=PORT)):
        await campus.lab.redirect(443, to=PORT)
        reported = await located(campus)
        report = await campus.check("--locate")
    assert conclusion(reported) == ("answered-early", None, 2, campus.lab.box.ipv4, 4)
    assert reported["location"]["slow_answer"] is True
    assert (report.verdict, report.scope) == ("clean", "none")
    assert {result.reason for result in report.results} == {"pinned"}
    assert all(result.observation.hops is None for result in report.results)
    assert len(report.results) == len(HOSTS)


async def test_an_interceptor_that_takes_the_control_port_too(campus: Campus) -> None:
    """Port 80 is taken as well, so it says nothing; another port of the same address does."""
    lab, pki = campus.lab, campus.pki
    async with lab.box.inside(serve_middlebox(pki.private_ca(), mode="transparent-like", host="", port=PORT)):
        await lab.redirect(443, to=PORT)
        await lab.box.nft(
            f"table inet also {{ chain c {{ type nat hook prerouting priority -90; tcp dport 80 redirect to :{PORT}",
            "}; }",
        )
        same = await located(campus)
        other = await located(campus, "--control-port", "80", "--control-port", "22")
    assert conclusion(same) == ("same-hop", None, 2, None, None)
    assert conclusion(other) == ("answered-early", None, 2, lab.box.ipv4, None)
    assert (other["location"]["control_port"], other["location"]["host_beyond"]) == (22, 3)


async def test_a_front_of_the_host_is_not_called_early(campus: Campus) -> None:
    """One hop before the host, where load balancers stand, a difference is reported as what it may be."""
    async with campus.lab.far.inside(serve_relay(port=PORT)):
        await campus.lab.far.nft(
            "table inet front { chain c { type nat hook prerouting priority dstnat",
            f"tcp dport 443 redirect to :{PORT}",
            "}; }",
        )
        reported = await located(campus)
    assert conclusion(reported) == ("beside-the-host", None, 3, campus.lab.far.ipv4, 4)


async def test_routers_that_keep_silent(campus: Campus) -> None:
    """Where no router sends ICMP the hop numbers are reported, and nothing is concluded from them."""
    for hop in (campus.lab.near, campus.lab.box, campus.lab.far):
        await hop.nft(
            "table inet mute { chain c { type filter hook output priority filter; icmp type time-exceeded drop",
            "icmpv6 type time-exceeded drop",
            "}; }",
        )
    async with campus.lab.box.inside(serve_relay(port=PORT)):
        await campus.lab.redirect(443, to=PORT)
        reported = await located(campus, code=3)
    assert conclusion(reported) == ("unknown", "routes-untold", 2, None, 4)


async def test_a_control_port_that_is_answered_before(campus: Campus) -> None:
    """Where a portal takes port 80 at hop 1, where the host is stays unknown."""
    async with campus.lab.near.inside(serve_relay(port=PORT)):
        await campus.lab.near.nft(
            "table inet portal { chain c { type nat hook prerouting priority dstnat",
            f"tcp dport 80 redirect to :{PORT}",
            "}; }",
        )
        reported = await located(campus, code=3)
    assert conclusion(reported) == ("unknown", "control-earlier", 4, None, None)


async def test_a_firewall_that_drops_the_control_port(campus: Campus) -> None:
    """The control port is never answered, but its packets are seen to pass the hop that answers TLS."""
    await campus.lab.far.nft(
        "table inet wall { chain c { type filter hook forward priority filter; tcp dport 80 drop", "}; }"
    )
    async with campus.lab.box.inside(serve_relay(port=PORT)):
        await campus.lab.redirect(443, to=PORT)
        reported = await located(campus, "--max-hops", "6")
    assert conclusion(reported) == ("answered-early", None, 2, campus.lab.box.ipv4, None)
    assert reported["location"]["summary"].endswith("the host itself is beyond hop 3.")


async def test_nobody_answers(campus: Campus) -> None:
    """A port that a router bars is not answered, and the trace ends where it was barred."""
    await campus.lab.box.nft(
        "table inet wall { chain c { type filter hook forward priority filter; tcp dport 443 reject", "}; }"
    )
    reported = await located(campus, code=3)
    assert conclusion(reported)[:2] == ("unknown", "not-answered")
    (hops,) = [t["hops"] for t in reported["hops"]["traces"] if t["port"] == 443]
    barred = [(hop["number"], hop["router"]) for hop in hops if hop["answer"] == "unreachable"]
    assert barred[0] == (3, campus.lab.box.ipv4)


async def traced_elsewhere(address: str) -> HopsObservation:
    """A trace as systems make it that tell nothing about routers."""
    until = asyncio.get_running_loop().time() + 20
    return await trace_hops(EXAM, (address, 443), until=until, hops_max=6, errors=NoErrorQueue())


@pytest.mark.parametrize("family", [4, 6])
async def test_on_a_system_that_names_no_routers(campus: Campus, family: int) -> None:
    """With connections alone the same hop numbers come out, no router, and no conclusion that would need one."""
    async with campus.lab.box.inside(serve_relay(port=PORT)):
        clean = locate(await campus.lab.client.call(traced_elsewhere, campus.lab.origin.address(family)))
        await campus.lab.redirect(443, to=PORT)
        observed = await campus.lab.client.call(traced_elsewhere, campus.lab.origin.address(family))
    early = locate(observed)
    assert (clean.where, clean.hop, clean.host_hop) == ("same-hop", 4, None)
    assert (early.where, early.doubt, early.hop, early.host_hop) == ("unknown", "routes-untold", 2, 4)
    assert not observed.names_routers
    assert all(hop.router is None for trace in observed.traces for hop in trace.hops)
