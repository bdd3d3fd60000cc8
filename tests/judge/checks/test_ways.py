"""Checks that compare looks by several ways: what they say, and what must not be taken for evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from detector.judge import assess
from detector.judge.checks import proxy_certificate, resolution, route_difference, several_certificates
from detector.judge.evidence import EndpointEvidence, NetworkEvidence
from detector.model import (
    Endpoint,
    Hello,
    KeyKind,
    ProxyObservation,
    ProxyScheme,
    ResolutionObservation,
    ResolutionOutcome,
    Route,
    Says,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import World

    from detector.model import Observation
    from detector.testing import Issued, PrivatePKI

EXAM = "exam.example.edu"
HERE, THERE = "198.51.100.7:443", "[2001:db8::7]:443"
PUBLIC_HERE, PUBLIC_THERE = "93.184.216.34:443", "[2606:2800:220:1::1]:443"


def seen(world: World, presented: Issued | Sequence[bytes], route: Route, address: str, **more: Any) -> Observation:  # noqa: ANN401 - fields
    """A look by a route; for a proxied one `address` is what the proxy was asked for."""
    observed = world.case(EXAM, presented).observation
    if route in {Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6}:
        return msgspec.structs.replace(observed, route=route, address=address, **more)
    return msgspec.structs.replace(observed, route=route, address="192.0.2.3:3128", asked_for=address, **more)


def case_of(world: World, first: Observation, *others: Observation, **expected: Any) -> EndpointEvidence:  # noqa: ANN401 - fields of Endpoint
    return EndpointEvidence(Endpoint(host=EXAM, **expected), first, world.context(), others=others)


def outcomes(module: Any, case: EndpointEvidence) -> list[str]:  # noqa: ANN401 - a check module
    """What a check says on each look, the first one first."""
    network = NetworkEvidence.of([case])
    return [finding.outcome for look in (case, *case.looks) for finding in module.check(look, network)]


class TestRouteDifference:
    def test_one_address_two_answers(self, world: World, pki: PrivatePKI) -> None:
        """Through the proxy a private chain, directly the genuine one, both at one public address."""
        genuine, forged = pki.issue([EXAM]), pki.private_ca("Filter CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, forged, Route.HTTP_CONNECT, f"{EXAM}:443"),
            seen(world, genuine, Route.DIRECT_IPV4, PUBLIC_HERE),
            seen(world, forged, Route.HTTP_CONNECT, PUBLIC_HERE),
        )
        assert outcomes(route_difference, case) == ["private-here", "private-there", "forged"]
        result = assess.assess_all([case])[0]
        assert (result.row, result.confidence) == (21, "probable")
        assert result.observation.route is Route.HTTP_CONNECT
        told = next(f for f in result.findings if f.check == "route-difference")
        assert "only through the proxy" in told.summary
        assert result.attribution is not None
        assert result.attribution.locality == "configured-proxy"

    def test_direct_is_decrypted_and_the_proxy_is_not(self, world: World, pki: PrivatePKI) -> None:
        """The other way round it is as much evidence."""
        genuine, forged = pki.issue([EXAM]), pki.private_ca("Filter CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, forged, Route.DIRECT_IPV4, PUBLIC_HERE),
            seen(world, genuine, Route.SOCKS5, PUBLIC_HERE),
        )
        assert outcomes(route_difference, case) == ["forged", "private-there"]

    def test_names_resolved_apart_accuse_nobody(self, world: World, pki: PrivatePKI) -> None:
        """Where the proxy was asked for the name only, a server of the institution's own is an explanation."""
        genuine, private = pki.issue([EXAM]), pki.private_ca("Campus CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, genuine, Route.DIRECT, PUBLIC_HERE),
            seen(world, private, Route.HTTP_CONNECT, f"{EXAM}:443"),
        )
        result = assess.assess_all([case])[0]
        assert (result.row, result.confidence) == (19, "possible")
        assert "split-horizon" in result.alternatives

    def test_split_horizon_is_found_out(self, world: World, pki: PrivatePKI) -> None:
        """The proxy, asked for the public address, shows the genuine chain: it had only been told another address."""
        genuine, private = pki.issue([EXAM]), pki.private_ca("Campus CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, private, Route.HTTP_CONNECT, f"{EXAM}:443"),
            seen(world, genuine, Route.DIRECT, PUBLIC_HERE),
            seen(world, genuine, Route.HTTP_CONNECT, PUBLIC_HERE),
        )
        assert outcomes(route_difference, case)[0] == "genuine-elsewhere"
        result = assess.assess_all([case])[0]
        assert (result.row, result.confidence) == (19, "possible")
        assert {"split-horizon", "wrong-server"} <= set(result.alternatives)

    def test_a_private_server_is_so_for_everybody(self, world: World, pki: PrivatePKI) -> None:
        """Directly and through the proxy one address presents one private chain: that is the server's own."""
        genuine, private = pki.issue([EXAM]), pki.private_ca("Campus CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, private, Route.DIRECT, PUBLIC_HERE),
            seen(world, genuine, Route.HTTP_CONNECT, f"{EXAM}:443"),
            seen(world, private, Route.HTTP_CONNECT, PUBLIC_HERE),
        )
        assert outcomes(route_difference, case)[0] == "genuine-elsewhere"

    def test_an_address_of_a_private_network_is_no_place(self, world: World, pki: PrivatePKI) -> None:
        """10.1.2.3 is another machine for the proxy than for this one."""
        genuine, private = pki.issue([EXAM]), pki.private_ca("Campus CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, private, Route.DIRECT, "10.1.2.3:443"),
            seen(world, genuine, Route.HTTP_CONNECT, "10.1.2.3:443"),
        )
        assert outcomes(route_difference, case) == ["private-here", "private-there"]

    def test_a_forgotten_ipv6_machine_accuses_nobody(self, world: World, pki: PrivatePKI) -> None:
        """IPv4 and IPv6 are two machines; what one of them presents is at most possible, with its innocent readings."""
        genuine, private = pki.issue([EXAM]), pki.private_ca("Origin CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, genuine, Route.DIRECT_IPV4, PUBLIC_HERE),
            seen(world, private, Route.DIRECT_IPV6, PUBLIC_THERE),
        )
        assert outcomes(route_difference, case) == ["private-there", "genuine-elsewhere"]
        result = assess.assess_all([case])[0]
        assert (result.row, result.confidence) == (19, "possible")
        assert "wrong-server" in result.alternatives

    @pytest.mark.parametrize("address", [PUBLIC_HERE, HERE])
    def test_innocent_chains_at_one_address(self, address: str, world: World, pki: PrivatePKI) -> None:
        """Self-signed, for another name, without its intermediate: never more than possible by this check."""
        genuine = pki.issue([EXAM])
        aia = ("http://ca.example/intermediate.der",)
        for innocent in (
            pki.self_signed([EXAM]),
            pki.private_ca("Block page CA").issue(["block.example"]),
            pki.issue([EXAM], aia=aia).chain[:1],
        ):
            case = case_of(
                world,
                seen(world, genuine, Route.DIRECT, address),
                seen(world, innocent, Route.HTTP_CONNECT, address),
            )
            result = assess.assess_all([case])[0]
            assert result.confidence == "possible"

    def test_certificates_of_a_cdn_differ(self, world: World, pki: PrivatePKI) -> None:
        """Two certificates that are both vouched for mean nothing."""
        case = case_of(
            world,
            seen(world, pki.issue([EXAM]), Route.DIRECT_IPV4, PUBLIC_HERE),
            seen(world, pki.issue([EXAM]), Route.DIRECT_IPV6, PUBLIC_THERE),
            seen(world, pki.issue([EXAM]), Route.HTTP_CONNECT, f"{EXAM}:443"),
        )
        assert outcomes(route_difference, case) == ["both-vouched"] * 3
        assert assess.assess_all([case])[0].verdict == "clean"

    def test_same_and_undecided(self, world: World, pki: PrivatePKI) -> None:
        """One certificate everywhere; two private ones, of which nobody can say whose is right."""
        genuine = pki.issue([EXAM])
        same = case_of(
            world, seen(world, genuine, Route.DIRECT_IPV4, HERE), seen(world, genuine, Route.DIRECT_IPV6, THERE)
        )
        assert outcomes(route_difference, same) == ["same", "same"]
        one, other = pki.private_ca("A").issue([EXAM]), pki.private_ca("B").issue([EXAM])
        case = case_of(world, seen(world, one, Route.DIRECT_IPV4, HERE), seen(world, other, Route.HTTP_CONNECT, HERE))
        assert outcomes(route_difference, case) == ["differs", "differs"]

    def test_only_comparable_looks(self, world: World, pki: PrivatePKI) -> None:
        """Other hellos, QUIC, restricted keys, looks without proof, and the same way again are others' business."""
        genuine, private = pki.issue([EXAM]), pki.private_ca("A").issue([EXAM])
        first = seen(world, private, Route.DIRECT, PUBLIC_HERE)
        for other in (
            seen(world, genuine, Route.HTTP_CONNECT, PUBLIC_HERE, hello=Hello.BROWSER),
            seen(world, genuine, Route.HTTP_CONNECT, PUBLIC_HERE, key_kind=KeyKind.RSA),
            seen(world, genuine, Route.HTTP_CONNECT, PUBLIC_HERE, key_proved=False),
            seen(world, genuine, Route.QUIC, PUBLIC_HERE),
            seen(world, genuine, Route.DIRECT, PUBLIC_HERE),
        ):
            assert list(route_difference.check(case_of(world, first, other), NetworkEvidence())) == []


class TestSeveralCertificates:
    def test_another_certificate_of_a_pinned_host(self, world: World, pki: PrivatePKI) -> None:
        """The ECDSA certificate is pinned, the RSA one is not; both lead to one public root."""
        pinned, other = pki.issue([EXAM]), pki.issue([EXAM])
        case = case_of(
            world,
            seen(world, pinned, Route.DIRECT, HERE),
            seen(world, other, Route.DIRECT, HERE, key_kind=KeyKind.RSA),
            pins=(pinned.spki_sha256,),
        )
        assert outcomes(several_certificates, case) == ["vouched", "same-root-as-pinned"]
        result = assess.assess_all([case])[0]
        assert result.verdict == "clean"

    @pytest.mark.parametrize(
        ("route", "more"),
        [
            (Route.HTTP_CONNECT, {}),
            (Route.QUIC, {}),
            (Route.DIRECT, {"hello": Hello.BROWSER}),
            (Route.DIRECT, {}),
        ],
        ids=["through the proxy", "over QUIC", "to a browser", "at the same place"],
    )
    def test_another_way_is_no_excuse(self, route: Route, more: dict[str, Any], world: World, pki: PrivatePKI) -> None:
        """A mismatch on one way only is what a middlebox on that way looks like, not another certificate of a CDN."""
        pinned, other = pki.issue([EXAM]), pki.issue([EXAM])
        case = case_of(
            world,
            seen(world, pinned, Route.DIRECT, HERE),
            seen(world, other, route, HERE, **more),
            pins=(pinned.spki_sha256,),
        )
        assert outcomes(several_certificates, case) == ["vouched", "vouched"]
        result = assess.assess_all([case])[0]
        assert (result.verdict, result.row) == ("middleware", 11)

    def test_other_addresses_of_either_version_excuse(self, world: World, pki: PrivatePKI) -> None:
        """IPv4 and IPv6 addresses reached directly are places of one host, each with its own certificate."""
        pinned, other = pki.issue([EXAM]), pki.issue([EXAM])
        case = case_of(
            world,
            seen(world, pinned, Route.DIRECT_IPV4, HERE),
            seen(world, other, Route.DIRECT_IPV6, THERE),
            pins=(pinned.spki_sha256,),
        )
        assert outcomes(several_certificates, case) == ["vouched", "same-root-as-pinned"]
        assert assess.assess_all([case])[0].verdict == "clean"

    def test_not_under_another_root(self, world: World, pki: PrivatePKI) -> None:
        """A logged certificate under another public root keeps its pin mismatch."""
        pinned = pki.issue([EXAM])
        other = pki.issue([EXAM], key="rsa")  # whose issuer stands under the other root
        case = case_of(
            world,
            seen(world, pinned, Route.DIRECT, HERE),
            seen(world, other, Route.DIRECT, THERE),
            pins=(pinned.spki_sha256,),
        )
        assert outcomes(several_certificates, case) == ["vouched", "vouched"]
        assert assess.assess_all([case])[0].row == 11

    def test_a_private_chain_is_never_excused(self, world: World, pki: PrivatePKI) -> None:
        """Pins next door do not make a private chain any better."""
        pinned, forged = pki.issue([EXAM]), pki.private_ca("Filter CA").issue([EXAM])
        case = case_of(
            world,
            seen(world, pinned, Route.DIRECT, HERE),
            seen(world, forged, Route.DIRECT, THERE),
            pins=(pinned.spki_sha256,),
        )
        assert outcomes(several_certificates, case) == ["other", "other"]
        result = assess.assess_all([case])[0]
        assert (result.row, result.confidence) == (17, "proven")

    def test_one_certificate_and_one_look(self, world: World, pki: PrivatePKI) -> None:
        """Nothing to tell of a single look; one certificate is told as one."""
        genuine = pki.issue([EXAM])
        first = seen(world, genuine, Route.DIRECT, HERE)
        assert outcomes(several_certificates, case_of(world, first)) == []
        assert (
            outcomes(several_certificates, case_of(world, first, seen(world, genuine, Route.DIRECT, THERE)))
            == ["one"] * 2
        )


class TestProxyCertificate:
    def outcome(self, world: World, tls: Observation, **context: Any) -> list[tuple[str, Says]]:  # noqa: ANN401 - as `World.context`
        proxy = ProxyObservation(scheme=ProxyScheme.HTTPS, host="proxy.example.edu", port=443, tls=tls)
        observation = msgspec.structs.replace(tls, proxy=proxy)
        case = EndpointEvidence(Endpoint(host=EXAM), observation, world.context(**context))
        return [(f.outcome, f.says) for f in proxy_certificate.check(case, NetworkEvidence())]

    def test_every_outcome(self, world: World, pki: PrivatePKI) -> None:
        """What the proxy showed is told and never accuses: an institution's proxy has the institution's CA."""
        name, campus = "proxy.example.edu", pki.private_ca("Campus CA")
        good, own = world.case(name, pki.issue([name])).observation, world.case(name, campus.issue([name])).observation
        wrong = world.case(name, pki.issue(["other.example"])).observation
        unproved = msgspec.structs.replace(good, key_proved=False)
        assert self.outcome(world, good) == [("public", Says.NEUTRAL)]
        assert self.outcome(world, own) == [("not-trusted", Says.NEUTRAL)]
        assert self.outcome(world, own, machine=[campus.certificate]) == [("trusted-here", Says.NEUTRAL)]
        assert self.outcome(world, wrong) == [("wrong-name", Says.NEUTRAL)]
        assert self.outcome(world, unproved) == [("not-proved", Says.NEUTRAL)]
        later = good.chain[0].not_after
        assert later is not None
        assert self.outcome(world, good, at=later.replace(year=later.year + 1)) == [("not-valid-now", Says.NEUTRAL)]

    def test_silent_without_tls_to_a_proxy(self, world: World, pki: PrivatePKI) -> None:
        """Most ways have no such proxy."""
        assert list(proxy_certificate.check(world.case(EXAM, pki.issue([EXAM])), NetworkEvidence())) == []


class TestResolution:
    @pytest.mark.parametrize(
        ("outcome", "system", "other", "expected"),
        [
            ("answered", ["93.184.216.34"], ["93.184.216.34", "1.1.1.1"], "same"),
            ("answered", ["93.184.216.34"], ["1.1.1.1"], "differs"),
            ("answered", ["10.0.0.1", "fe80::1%eth0"], ["1.1.1.1"], "private-here"),
            ("answered", [], ["1.1.1.1"], "unknown-here"),
            ("no-such-name", ["10.0.0.1"], [], "unknown-there"),
            ("no-such-name", [], [], "unknown"),
            ("no-answer", ["10.0.0.1"], [], "no-answer"),
            ("not-vouched", ["10.0.0.1"], [], "not-vouched"),
        ],
    )
    def test_every_outcome(  # noqa: PLR0913, PLR0917 - two fixtures and an example
        self, outcome: str, system: list[str], other: list[str], expected: str, world: World, pki: PrivatePKI
    ) -> None:
        """However the answers compare, it is told and never accuses."""
        seen_there = ResolutionObservation(
            resolver="https://resolver.example/q",
            outcome=ResolutionOutcome(outcome),
            system=tuple(system),
            other=tuple(other),
        )
        case = world.case(EXAM, pki.issue([EXAM]))
        assert list(resolution.check(case, NetworkEvidence())) == []
        observation = msgspec.structs.replace(case.observation, resolution=seen_there)
        asked = EndpointEvidence(case.endpoint, observation, case.context)
        assert [(f.outcome, f.says) for f in resolution.check(asked, NetworkEvidence())] == [(expected, Says.NEUTRAL)]
        assert assess.assess_all([asked])[0].verdict == "clean"
