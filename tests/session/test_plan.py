"""Routes to an endpoint: how they are named, which of them apply, and what probes by several of them show."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_files, serve_middlebox, serve_origin, serve_proxy, serve_socks

from detector import Detector, Endpoint, Outcome, Verdict
from detector.errors import ProxyError
from detector.model import KeyKind, Route
from detector.probe import routes
from detector.probe.http import client
from detector.probe.mock import MockNetwork, TLSServer
from detector.probe.routes.system import SystemProxies
from detector.session import machine_proxy, plan
from detector.session.plan import DIRECT4, DIRECT6, PROXY, USUAL, Planner, RouteSettings, read_route

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from detector_testing import Issued, PrivatePKI

    from detector.model import Report
    from detector.probe.routes import ConnectionRecord, ProtocolFactory

EXAM = "exam.example.edu"
LOCALHOST = "localhost"
PLACE = "93.184.216.34:443"


def routes_of(report: Report) -> dict[Route, Outcome]:
    """Every observation of the one endpoint of a report."""
    (result,) = report.results
    probes = (result.observation, *result.other_observations)
    return {probe.route: probe.outcome for probe in probes}


@pytest.mark.parametrize(
    ("route", "proxy", "settings"),
    [
        ("usual", "env", RouteSettings((USUAL,), "env")),
        ("all", "system", RouteSettings((USUAL, DIRECT4, DIRECT6, PROXY), "system")),
        ("all", "socks5://p:1", RouteSettings((USUAL, DIRECT4, DIRECT6, PROXY), "socks5://p:1")),
        ("Direct4, proxy", "http://p:1", RouteSettings((DIRECT4, PROXY), "http://p:1")),
        ("direct6", "none", RouteSettings((DIRECT6,), "none")),
    ],
)
def test_routes_and_proxy_settings(route: str, proxy: str, settings: RouteSettings) -> None:
    """Routes are given by name; the proxy setting is passed on."""
    assert read_route(route, proxy) == settings


@pytest.mark.parametrize(("route", "proxy"), [("proxy", "none"), ("direct5", "system"), ("", "env"), ("env", "env")])
def test_routes_that_cannot_be(route: str, proxy: str) -> None:
    """An unknown route, or a proxy route without proxy, is refused at once."""
    with pytest.raises(ProxyError) as caught:
        read_route(route, proxy)
    assert caught.value.advice


async def test_side_by_side(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """Every route that applies is taken; a family without address is reported and changes no verdict."""
    issued = pki.issue([EXAM])
    async with serve_origin(issued) as origin, serve_socks(upstream={(EXAM, 443): origin.address}) as proxy:
        where = {(EXAM, 443): origin.address}
        settings = settings_of(route="all", proxy=proxy.url, resolve=where)
        async with Detector(**settings) as subject:
            report = await subject.check([EXAM])
    assert report.verdict is Verdict.CLEAN
    assert routes_of(report) == {
        Route.SOCKS5: Outcome.COMPLETE,
        Route.DIRECT_IPV4: Outcome.COMPLETE,
        Route.DIRECT_IPV6: Outcome.NO_ADDRESS,
    }
    compared = [f.outcome for f in report.results[0].findings if f.check == "route-difference"]
    assert compared == ["same"]


async def test_decrypted_only_through_the_proxy(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """The intercepted route decides, whichever is first; both lead to the address that the caller gave."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        upstream = {(EXAM, 443): origin.address, (LOCALHOST, origin.port): origin.address}
        async with serve_middlebox(pki.private_ca("School Proxy CA"), upstream=upstream) as box:
            for routes in ("all", "direct4,proxy", "proxy,direct"):
                settings = settings_of(
                    route=routes, proxy=f"http://127.0.0.1:{box.port}", resolve={(EXAM, 443): origin.address}
                )
                async with Detector(**settings) as subject:
                    report = await subject.check([EXAM])
                (result,) = report.results
                assert (result.confidence, result.reason) == ("proven", "identity-substituted"), routes
                assert result.observation.route is Route.HTTP_CONNECT
                assert result.attribution is not None
                assert result.attribution.locality == "this-device"


class FixedRoute(MockNetwork):
    """A route to the exam host that notes where it led, as the real ones do: `by_address` at its public address."""

    def __init__(self, route: Route, by_name: Issued, by_address: Issued) -> None:
        super().__init__({}, route=route)
        self._ends = {
            name: MockNetwork({(EXAM, 443): TLSServer(chain=issued.chain, key=issued.key)}, route=route)
            for name, issued in (("name", by_name), ("address", by_address))
        }

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        end = self._ends["name" if endpoint.address is None else "address"]
        transport = await end.dial(endpoint, factory, record)
        record.address = PLACE if self.route is Route.DIRECT else "192.0.2.3:3128"
        if self.route is not Route.DIRECT:
            target = f"{EXAM}:443" if endpoint.address is None else f"{endpoint.address[0]}:{endpoint.address[1]}"
            record.asked_for = target
        return transport


@pytest.mark.parametrize(("at_the_address", "confidence"), [("forged", "proven"), ("genuine", "possible")])
async def test_the_proxy_is_asked_for_the_address_that_was_seen(
    at_the_address: str,
    confidence: str,
    pki: PrivatePKI,
    settings_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it then shows decides between decryption and names that are resolved apart."""
    chains = {"genuine": pki.issue([EXAM]), "forged": pki.private_ca("School Proxy CA").issue([EXAM])}
    direct = FixedRoute(Route.DIRECT, chains["genuine"], chains["genuine"])
    proxied = FixedRoute(Route.HTTP_CONNECT, chains["forged"], chains[at_the_address])
    monkeypatch.setattr(Planner, "routes_to", lambda *_: (direct, proxied))
    async with Detector(**settings_of(route="direct,proxy", proxy="env")) as subject:
        report = await subject.check([EXAM])
    (result,) = report.results
    assert (result.reason, result.confidence) == ("identity-substituted", confidence)
    assert ("split-horizon" in result.alternatives) is (confidence == "possible")
    probes = (result.observation, *result.other_observations)
    assert {probe.asked_for for probe in probes if probe.asked_for is not None} == {f"{EXAM}:443", PLACE}


async def test_a_clean_other_way_clears_nothing(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """When the usual route shows nothing, the endpoint is inconclusive, however clean the others are."""
    async with serve_origin(pki.issue([EXAM])) as origin, serve_proxy(refuse=403) as proxy:
        settings = settings_of(route="all", proxy=proxy.url, resolve={(EXAM, 443): origin.address})
        async with Detector(**settings) as subject:
            report = await subject.check([EXAM])
    (result,) = report.results
    assert (result.verdict, result.observation.outcome) == (Verdict.INCONCLUSIVE, Outcome.PROXY_REFUSED)
    assert report.verdict is Verdict.INCONCLUSIVE


@pytest.mark.usefixtures("no_proxy_in_the_environment")
async def test_only_a_proxy_and_none_is_set(settings_of: Callable[..., dict[str, Any]]) -> None:
    """Where the route asked for does not exist, no other one is taken silently."""
    async with Detector(**settings_of(route="proxy", proxy="env")) as subject:
        report = await subject.check([EXAM])
    (result,) = report.results
    assert (result.verdict, result.observation.outcome) == (Verdict.INCONCLUSIVE, Outcome.NO_ROUTE)
    assert "no proxy is set" in result.advice


@pytest.mark.parametrize(("family", "way"), [(socket.AF_INET, DIRECT4), (socket.AF_INET6, DIRECT6)])
async def test_one_family_only(
    family: int, way: str, pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with both kinds of addresses is reached by the one asked for, and by no other."""
    both: list[Any] = []
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    async with serve_origin(pki.issue([EXAM]), host=address) as origin:
        for each, kind in (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)):
            both += socket.getaddrinfo(each, origin.port, type=socket.SOCK_STREAM, family=kind)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        async with Detector(**settings_of(route=way)) as subject:
            report = await subject.check([f"{EXAM}:{origin.port}"])
    (result,) = report.results
    assert (result.verdict, result.observation.route) == ("clean", Route(f"direct-ipv{way[-1]}"))
    assert result.observation.address == (f"[::1]:{origin.port}" if way == DIRECT6 else f"127.0.0.1:{origin.port}")


async def test_every_address(
    pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One forged address among several is found, although another one answers first."""
    genuine, forged = pki.issue([EXAM]), pki.private_ca("Filter CA").issue([EXAM])
    async with serve_origin(genuine) as origin, serve_origin(forged, host="127.0.0.2", port=origin.port):
        answers = [
            info
            for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3")
            for info in socket.getaddrinfo(address, origin.port, type=socket.SOCK_STREAM)
        ]
        system = socket.getaddrinfo

        def look_up(host: str, *args: Any, **options: Any) -> list[Any]:  # noqa: ANN401 - as the original
            return answers if host == EXAM else list(system(host, *args, **options))

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        endpoint = Endpoint(host=EXAM, port=origin.port, pins=(genuine.spki_sha256,))
        async with Detector(**settings_of(all_addresses=True)) as subject:
            whole = await subject.check([endpoint])
        async with Detector(**settings_of()) as subject:
            usual = await subject.check([endpoint])
    assert usual.verdict is Verdict.CLEAN
    (result,) = whole.results
    assert (result.verdict, result.observation.address) == ("middleware", f"127.0.0.2:{origin.port}")
    outcomes = {probe.address: probe.outcome for probe in result.other_observations if probe.key_kind is None}
    assert outcomes[f"127.0.0.1:{origin.port}"] is Outcome.COMPLETE
    assert Outcome.CONNECT_REFUSED in {probe.outcome for probe in result.other_observations}


async def test_both_kinds_of_keys(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """A server with an RSA and an ECDSA certificate shows both, and is assessed by both."""
    rsa, ecdsa = pki.issue([EXAM], key="rsa"), pki.issue([EXAM], key="ec")
    async with serve_origin(rsa, also=[ecdsa]) as origin:
        settings = settings_of(all_addresses=True, resolve={(EXAM, 443): origin.address})
        async with Detector(**settings) as subject:
            report = await subject.check([EXAM])
    (result,) = report.results
    leaves = {probe.key_kind: probe.chain[0].der for probe in (result.observation, *result.other_observations)}
    assert leaves[KeyKind.RSA] == rsa.leaf
    assert leaves[KeyKind.ECDSA] == ecdsa.leaf
    assert [f.outcome for f in result.findings if f.check == "several-certificates"] == ["genuine"]


async def test_one_kind_of_key_is_no_failure(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """A server with one certificate, or without TLS 1.2, is as clean as before."""
    for least in (None, ssl.TLSVersion.TLSv1_3):
        async with serve_origin(pki.issue([EXAM]), min_version=least) as origin:
            settings = settings_of(all_addresses=True, resolve={(EXAM, 443): origin.address})
            async with Detector(**settings) as subject:
                report = await subject.check([EXAM])
        assert report.verdict is Verdict.CLEAN
        assert Outcome.TLS_ALERT in {probe.outcome for probe in report.results[0].other_observations}


@pytest.mark.usefixtures("no_proxy_in_the_environment")
async def test_this_machines_settings_are_read_once_and_again_when_old(
    pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many probes read them together; a detector that runs on follows a change, as a laptop's between networks."""
    hosts = [f"host{number}.example.edu" for number in range(20)]
    reads: list[SystemProxies] = []
    async with serve_origin(pki.issue(hosts)) as origin:
        where = {(host, 443): origin.address for host in hosts}
        async with serve_proxy(upstream=where) as proxy:
            found = [SystemProxies(), SystemProxies(proxy=proxy.url)]

            def read() -> SystemProxies:
                reads.append(found[0])
                return found[0]

            monkeypatch.setattr(machine_proxy, "read_system_proxies", read)
            async with Detector(**settings_of(proxy="system", resolve=where)) as subject:
                reports = [await subject.check(hosts), await subject.check(hosts[:1])]
                assert len(reads) == 1
                del found[0]
                reports.append(await subject.check(hosts[:1]))
                monkeypatch.setattr(plan, "SETTINGS_SECONDS", 0.0)
                subject._planner._read_again = 0.0
                reports.append(await subject.check(hosts[:1]))
    routes = [{result.observation.route for result in report.results} for report in reports]
    assert routes == [{Route.DIRECT}, {Route.DIRECT}, {Route.DIRECT}, {Route.HTTP_CONNECT}]


@pytest.mark.parametrize("setting", ["none", "pac", "faulty"])
async def test_issuers_are_fetched_directly_from_public_addresses_alone(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate must not send us into the local network, also where a proxy file chooses the direct route."""
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL() { return 'DIRECT' }" if setting == "pac" else "throw 1")
    monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: SystemProxies(file=str(file)))
    planner = Planner(
        read_route("usual", "none" if setting == "none" else "system"),
        {},
        None,
        trusts=lambda *_: False,
        clock=lambda: dt.datetime.now(dt.UTC),
    )
    async with serve_files({"/issuer.crt": b"0"}) as files:
        endpoint = Endpoint(host=files.host, port=files.port)
        patient = client.Limits(seconds=60.0)
        url = f"http://{files.host}:{files.port}/issuer.crt"
        usual = await client.fetch(url, dialer=planner.first_route(endpoint), limits=patient)
        limited = await client.fetch(url, dialer=planner.issuer_route(endpoint), limits=patient)
        assert len(files.requests) == 1
    assert (usual.outcome, limited.outcome) == (client.FetchOutcome.ANSWERED, client.FetchOutcome.UNREACHABLE)


async def test_another_network_is_detected_again(
    settings_of: Callable[..., dict[str, Any]], pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that moves asks the new network for its proxy file at once, and each network only once."""
    monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: SystemProxies(detect=True))
    networks = {"ipv4": "10.0.0.7"}
    monkeypatch.setattr(routes, "local_networks", lambda: dict(networks))
    monkeypatch.setattr(plan, "SETTINGS_SECONDS", 0.0)
    async with serve_origin(pki.issue([EXAM])) as origin, serve_files({}) as files:
        where = {(EXAM, 443): origin.address, ("wpad", 80): (files.host, files.port)}
        async with Detector(**settings_of(proxy="system", resolve=where)) as subject:
            for address in ("10.0.0.7", "10.0.0.7", "192.168.1.7", "192.168.1.7"):
                networks["ipv4"] = address
                report = await subject.check([EXAM])
                assert report.results[0].observation.outcome is Outcome.COMPLETE
        assert len(files.requests) == 2
