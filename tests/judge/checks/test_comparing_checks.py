"""Checks that compare the observations of one endpoint: `quic`, `hello-difference`, routes, certificates, proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from support.worlds import DAY, EXAM, of_check, outcomes, said

from detector.judge.checks import hello_difference, proxy_certificate, quic, route_difference, several_certificates
from detector.model import Hello, KeyKind, Outcome, ProxyObservation, ProxyScheme, Route

if TYPE_CHECKING:
    from types import ModuleType

    from conftest import World
    from detector_testing import PrivatePKI
    from support.worlds import Chain

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Observation

ADDRESS: Final = "93.184.216.34:443"
OTHER_ADDRESS: Final = "[2606:2800:220:1::1]:443"
NAME: Final = f"{EXAM}:443"
GONE: Final[dict[str, Any]] = {"key_proved": False, "outcome": Outcome.CONNECT_TIMEOUT}
VARIANTS: Final[dict[str, tuple[ModuleType, dict[str, Any]]]] = {
    "quic": (quic, {"route": Route.QUIC}),
    "hello": (hello_difference, {"route": Route.DIRECT, "hello": Hello.OPENSSL}),
}


class Chains:
    """What a host may present."""

    def __init__(self, pki: PrivatePKI) -> None:
        ca = pki.private_ca("School CA")
        self.genuine = pki.issue([EXAM]).chain
        self.renewed = pki.issue([EXAM], key="ec384").chain
        self.forged = ca.issue([EXAM]).chain
        self.forged_again = ca.issue([EXAM]).chain
        self.campus = ca


@pytest.fixture(scope="module")
def chains(pki: PrivatePKI) -> Chains:
    return Chains(pki)


def probed(
    world: World,
    first: Chain,
    other: Chain,
    details: dict[str, Any],
    **expected: Any,  # noqa: ANN401 - fields of Endpoint
) -> EndpointEvidence:
    """One endpoint probed over TCP with the default hello, and by another variant."""
    return world.case(
        EXAM,
        first,
        seen={"route": Route.DIRECT, "address": ADDRESS},
        others=[world.observed(other, **{"address": ADDRESS, **details})],
        **expected,
    )


@pytest.mark.parametrize("variant", list(VARIANTS))
class TestBothVariants:
    def test_every_comparison(self, variant: str, world: World, chains: Chains) -> None:
        """The same, two genuine ones, a forged one here, at another address, there, and on both sides."""
        module, details = VARIANTS[variant]
        elsewhere = {**details, "address": OTHER_ADDRESS}
        c = chains
        worlds: list[tuple[str, Any, Any, dict[str, Any]]] = [
            ("same", c.genuine, c.genuine, details),
            ("both-genuine", c.genuine, c.renewed, details),
            ("forged", c.forged, c.genuine, details),
            ("genuine-elsewhere", c.forged, c.genuine, elsewhere),
            ("other-forged", c.genuine, c.forged, details),
            ("differs", c.forged, c.forged_again, details),
        ]
        for expected, first, other, how in worlds:
            assert outcomes(module, probed(world, first, other, how)) == [expected]
        silence = {"blocked", "no-quic"} if variant == "quic" else {"one-answered"}
        assert {str(outcome) for outcome in module.Outcome} == {expected for expected, *_ in worlds} | silence

    def test_from_the_other_side(self, variant: str, world: World, chains: Chains) -> None:
        """The observation that is forged says so, whichever it is."""
        module, details = VARIANTS[variant]
        case = probed(world, chains.genuine, chains.forged, details)
        assert outcomes(module, case.siblings[0]) == ["forged"]

    def test_without_the_keys_proof_nothing_is_compared(self, variant: str, world: World, chains: Chains) -> None:
        """A chain alone shows nothing: anybody can present the genuine one."""
        module, details = VARIANTS[variant]
        unproved = {**details, "key_proved": False, "outcome": Outcome.SIGNATURE_WRONG}
        assert outcomes(module, probed(world, chains.forged, chains.genuine, unproved)) == []

    def test_a_declared_root_is_no_forgery(self, variant: str, world: World, chains: Chains) -> None:
        """Where the institution declared its CA for the host, its certificate next to a public one is expected."""
        module, details = VARIANTS[variant]
        root = (chains.campus.certificate,)
        assert outcomes(module, probed(world, chains.forged, chains.genuine, details, private_roots=root)) == [
            "differs"
        ]

    def test_one_observation_says_nothing(self, variant: str, world: World, chains: Chains) -> None:
        """Without another probe there is no comparison."""
        assert outcomes(VARIANTS[variant][0], world.case(EXAM, chains.genuine)) == []


class TestQuic:
    @pytest.mark.parametrize(("known", "outcome"), [(False, "no-quic"), (True, "blocked")])
    @pytest.mark.parametrize("ended", [Outcome.CONNECT_TIMEOUT, Outcome.CONNECT_REFUSED, Outcome.NOT_TLS])
    def test_silence_is_a_hint_at_most(
        self,
        known: bool,  # noqa: FBT001 - a parameter of the test
        outcome: str,
        ended: Outcome,
        world: World,
        chains: Chains,
    ) -> None:
        """No QUIC where it is not known to be, blocked where it is; the verdict is that of TCP."""
        silent = {"route": Route.QUIC, "key_proved": False, "outcome": ended}
        case = probed(world, chains.genuine, [], silent, quic=known)
        assert outcomes(quic, case) == [outcome]
        assert said(world.judge(case)[0]) == ("logged", "logged")

    def test_tcp_without_a_certificate_is_not_compared(self, world: World, chains: Chains) -> None:
        """Nothing is said of QUIC where TCP itself was silent, and nothing of TCP from QUIC."""
        case = probed(world, [], chains.genuine, {"route": Route.QUIC})
        assert outcomes(quic, case) == outcomes(quic, case.siblings[0]) == []

    def test_another_hello_is_not_its_business(self, world: World, chains: Chains) -> None:
        """Two observations over TCP are compared elsewhere."""
        assert outcomes(quic, probed(world, chains.forged, chains.genuine, VARIANTS["hello"][1])) == []


class TestHelloDifference:
    def test_only_one_is_answered(self, world: World, chains: Chains) -> None:
        """A filter that resets what it does not like is seen from both sides."""
        case = probed(world, chains.genuine, [], {**VARIANTS["hello"][1], **GONE})
        for one in (case, case.siblings[0]):
            assert outcomes(hello_difference, one) == [hello_difference.Outcome.ONE_ANSWERED]

    def test_quic_and_other_routes_are_not_its_business(self, world: World, chains: Chains) -> None:
        """Only observations on one route differ by their hello alone."""
        for details in ({"route": Route.QUIC}, {**VARIANTS["hello"][1], "route": Route.HTTP_CONNECT}):
            assert outcomes(hello_difference, probed(world, chains.forged, chains.genuine, details)) == []

    def test_it_names_both_hellos_and_fingerprints(self, world: World, chains: Chains) -> None:
        """A report says which hello saw what, and what was really sent."""
        details = {**VARIANTS["hello"][1], "ja4": "0" * 32}
        (finding,) = of_check(hello_difference, probed(world, chains.forged, chains.genuine, details))
        assert (finding.data["hello"], finding.data["other_hello"]) == ("browser", "openssl")
        assert (finding.data["ja4"], finding.data["other_ja4"]) == (None, "0" * 32)
        assert finding.summary.endswith("OpenSSL's hello, and a private one Chrome's hello.")


def by(world: World, presented: Any, route: Route, place: str, **more: Any) -> Observation:  # noqa: ANN401 - a chain, and fields
    """An observation on a route; of a proxied one, `place` is what the proxy was asked for."""
    if route in {Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6, Route.QUIC}:
        return world.observed(presented, route=route, address=place, **more)
    return world.observed(presented, route=route, address="192.0.2.3:3128", asked_for=place, **more)


def on_routes(world: World, *observations: Observation, **expected: Any) -> EndpointEvidence:  # noqa: ANN401 - fields of Endpoint
    case = world.case(EXAM, [], others=observations[1:], **expected).with_observation(observations[0])
    assert case.siblings or len(observations) == 1
    return case


def of_each(module: ModuleType, case: EndpointEvidence) -> list[str]:
    """What a check finds on each observation, the first one first."""
    return [outcome for one in (case, *case.siblings) for outcome in outcomes(module, one)]


class TestRouteDifference:
    def test_every_outcome(self, world: World, chains: Chains) -> None:
        """One address or another, private here or there, two private ones, two genuine ones, and one everywhere."""
        c, proxy, direct = chains, Route.HTTP_CONNECT, Route.DIRECT
        worlds = [
            (["forged", "private-there"], by(world, c.forged, proxy, ADDRESS), by(world, c.genuine, direct, ADDRESS)),
            (
                ["private-here", "private-there"],
                by(world, c.forged, proxy, NAME),
                by(world, c.genuine, direct, ADDRESS),
            ),
            (
                ["genuine-elsewhere", "private-there"],
                by(world, c.forged, Route.DIRECT_IPV6, OTHER_ADDRESS),
                by(world, c.genuine, Route.DIRECT_IPV4, ADDRESS),
            ),
            (["differs"] * 2, by(world, c.forged, direct, ADDRESS), by(world, c.forged_again, proxy, ADDRESS)),
            (["both-genuine"] * 2, by(world, c.genuine, direct, ADDRESS), by(world, c.renewed, proxy, NAME)),
            (["same"] * 2, by(world, c.genuine, direct, ADDRESS), by(world, c.genuine, proxy, NAME)),
        ]
        for expected, *observations in worlds:
            assert of_each(route_difference, on_routes(world, *observations)) == expected
        found = {outcome for expected, *_ in worlds for outcome in expected}
        assert found == {str(outcome) for outcome in route_difference.Outcome}
        assert of_each(route_difference, on_routes(world, by(world, c.forged, direct, ADDRESS))) == []

    def test_the_public_address_asked_of_the_proxy_settles_it(self, world: World, chains: Chains) -> None:
        """The proxy, asked for the public address, shows the genuine chain: it had been given another address."""
        c = chains
        case = on_routes(
            world,
            by(world, c.forged, Route.HTTP_CONNECT, NAME),
            by(world, c.genuine, Route.DIRECT, ADDRESS),
            by(world, c.genuine, Route.HTTP_CONNECT, ADDRESS),
        )
        assert outcomes(route_difference, case) == ["genuine-elsewhere"]

    def test_a_private_server_is_private_for_everybody(self, world: World, chains: Chains) -> None:
        """Directly and through the proxy one address presents one private chain: that is the server's own."""
        c = chains
        case = on_routes(
            world,
            by(world, c.forged, Route.DIRECT, ADDRESS),
            by(world, c.genuine, Route.HTTP_CONNECT, NAME),
            by(world, c.forged, Route.HTTP_CONNECT, ADDRESS),
        )
        assert outcomes(route_difference, case) == ["genuine-elsewhere"]

    def test_an_address_of_a_private_network_is_no_place(self, world: World, chains: Chains) -> None:
        """10.1.2.3 is another machine for the proxy than for this one."""
        private = "10.1.2.3:443"
        case = on_routes(
            world,
            by(world, chains.forged, Route.DIRECT, private),
            by(world, chains.genuine, Route.HTTP_CONNECT, private),
        )
        assert of_each(route_difference, case) == ["private-here", "private-there"]

    def test_where_it_is_decrypted_is_said(self, world: World, chains: Chains) -> None:
        """The sentence says on which route, from both sides."""
        genuine = by(world, chains.genuine, Route.DIRECT, ADDRESS)
        (forged,) = of_check(
            route_difference, on_routes(world, by(world, chains.forged, Route.HTTP_CONNECT, ADDRESS), genuine)
        )
        assert "only through the proxy" in forged.summary
        assert [other["comparison"] for other in forged.data["others"]] == ["private-here"]

    def test_only_comparable_observations(self, world: World, chains: Chains) -> None:
        """Other hellos, QUIC, restricted keys, unproved keys, and the same route again are the business of others."""
        first = by(world, chains.forged, Route.DIRECT, ADDRESS)
        for other in (
            by(world, chains.genuine, Route.HTTP_CONNECT, ADDRESS, hello=Hello.OPENSSL),
            by(world, chains.genuine, Route.HTTP_CONNECT, ADDRESS, key_kind=KeyKind.RSA),
            by(world, chains.genuine, Route.HTTP_CONNECT, ADDRESS, key_proved=False),
            by(world, chains.genuine, Route.QUIC, ADDRESS),
            by(world, chains.genuine, Route.DIRECT, ADDRESS),
        ):
            assert outcomes(route_difference, on_routes(world, first, other)) == []


class TestSeveralCertificates:
    def test_every_outcome(self, world: World, chains: Chains) -> None:
        """One certificate, several that are genuine, and another one; silent on a single observation."""
        c = chains
        worlds = [
            (several_certificates.Outcome.ONE, c.genuine),
            (several_certificates.Outcome.GENUINE, c.renewed),
            (several_certificates.Outcome.OTHER, c.forged),
        ]
        first = by(world, c.genuine, Route.DIRECT, ADDRESS)
        for expected, other in worlds:
            case = on_routes(world, first, by(world, other, Route.DIRECT, OTHER_ADDRESS))
            assert of_each(several_certificates, case) == [expected] * 2
        assert {expected for expected, _ in worlds} == {*several_certificates.Outcome} - {"left-out"}
        assert outcomes(several_certificates, on_routes(world, first)) == []
        unproved = by(world, c.forged, Route.DIRECT, OTHER_ADDRESS, key_proved=False)
        assert outcomes(several_certificates, on_routes(world, first, unproved)) == []

    def test_each_certificate_is_listed_once(self, world: World, chains: Chains) -> None:
        """The data has every certificate with its roots and where it was met."""
        case = on_routes(
            world,
            by(world, chains.genuine, Route.DIRECT, ADDRESS),
            by(world, chains.genuine, Route.DIRECT, OTHER_ADDRESS),
            by(world, chains.renewed, Route.DIRECT, OTHER_ADDRESS, key_kind=KeyKind.ECDSA),
        )
        (finding,) = of_check(several_certificates, case)
        assert finding.data["probes"] == 3
        listed = [(one["roots"], one["address"], one["key_kind"]) for one in finding.data["certificates"]]
        assert listed == [(["Exemplar Root X2"], ADDRESS, None), (["Exemplar Root X2"], OTHER_ADDRESS, "ecdsa")]


class TestProxyCertificate:
    PROXY = "proxy.example.edu"

    def outcome(self, world: World, tls: Observation, **context: Any) -> list[str]:  # noqa: ANN401 - as `World.context`
        proxy = ProxyObservation(scheme=ProxyScheme.HTTPS, host=self.PROXY, port=443, tls=tls)
        seen = {"route": Route.HTTPS_CONNECT, "proxy": proxy}
        case = world.case(EXAM, world.pki.issue([EXAM]), seen=seen, context=world.context(**context))
        assert said(world.judge(case)[0]) == ("logged", "logged")  # whatever the proxy shows
        return outcomes(proxy_certificate, case)

    def test_every_outcome(self, world: World) -> None:
        """What the proxy shows of itself; an institution's proxy has the institution's CA, and accuses nobody."""
        pki, campus = world.pki, world.pki.private_ca("Campus CA")
        good, own = world.observed(pki.issue([self.PROXY])), world.observed(campus.issue([self.PROXY]))
        old = pki.issue([self.PROXY], not_before=pki.now - 99 * DAY, not_after=pki.now - DAY)
        weak = world.observed(campus.issue([self.PROXY], key="rsa1024"))
        P = proxy_certificate.Outcome  # noqa: N806 - as the checks are called elsewhere
        worlds = [
            (P.PUBLIC, good, {}),
            (P.TRUSTED_HERE, own, {"machine": (campus.certificate,)}),
            (P.NOT_TRUSTED, own, {}),
            (P.NOT_TRUSTED, weak, {"machine": (campus.certificate,)}),
            (P.NOT_TRUSTED, world.observed(old), {}),
            (P.WRONG_NAME, world.observed(pki.issue(["other.example"])), {}),
            (P.NOT_PROVED, world.observed(pki.issue([self.PROXY]), key_proved=False), {}),
            (P.NOT_PROVED, world.observed([], key_proved=False, outcome=Outcome.RESET), {}),
        ]
        for expected, tls, context in worlds:
            assert self.outcome(world, tls, **context) == [expected]
        assert {expected for expected, *_ in worlds} == set(P)
        assert outcomes(proxy_certificate, world.case(EXAM, pki.issue([EXAM]))) == []
