"""The checks that compare several looks at one endpoint: `quic` and `hello-difference`, every outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from detector.judge.checks import hello_difference, quic
from detector.judge.evidence import EndpointEvidence, NetworkEvidence
from detector.model import Hello, Outcome, Route

if TYPE_CHECKING:
    from conftest import World

    from detector.testing import PrivatePKI

EXAM = "exam.example.edu"
ADDRESS = "192.0.2.7:443"
GONE: dict[str, Any] = {"key_proved": False, "outcome": Outcome.CONNECT_TIMEOUT}
WAYS: dict[str, dict[str, Any]] = {
    "quic": {"route": Route.QUIC},
    "hello-difference": {"route": Route.DIRECT, "hello": Hello.BROWSER},
}


class Chains:
    """What a host may present."""

    def __init__(self, pki: PrivatePKI) -> None:
        ca = pki.private_ca("School CA")
        self.genuine = pki.issue([EXAM]).chain
        self.renewed = pki.issue([EXAM], key="rsa").chain
        self.forged = ca.issue([EXAM]).chain
        self.forged_again = ca.issue([EXAM]).chain


@pytest.fixture(scope="module")
def chains(pki: PrivatePKI) -> Chains:
    return Chains(pki)


def case_of(world: World, first: Any, other: Any, details: dict[str, Any], **expected: Any) -> EndpointEvidence:  # noqa: ANN401 - chains, and fields of Endpoint
    """Two looks at one endpoint: TCP with the default hello, and another."""
    one, two = (world.case(EXAM, chain, **expected) for chain in (first, other))
    observation = msgspec.structs.replace(one.observation, route=Route.DIRECT, address=ADDRESS)
    return EndpointEvidence(
        one.endpoint,
        observation,
        one.context,
        others=[msgspec.structs.replace(two.observation, **{"address": ADDRESS, **details})],
    )


def said(case: EndpointEvidence, check: str) -> list[tuple[str, str]]:
    module = {"quic": quic, "hello-difference": hello_difference}[check]
    return [(f.outcome, str(f.says)) for f in module.check(case, NetworkEvidence.of([case]))]


@pytest.mark.parametrize("check", list(WAYS))
class TestBoth:
    def test_every_comparison(self, check: str, world: World, chains: Chains) -> None:
        """The same, two vouched ones, a forged one here, there, and on both sides."""
        expected = {
            (chains.genuine, chains.genuine): ("same", "neutral"),
            (chains.genuine, chains.renewed): ("both-vouched", "neutral"),
            (chains.forged, chains.genuine): ("forged", "intercepted"),
            (chains.genuine, chains.forged): ("other-forged", "neutral"),
            (chains.forged, chains.forged_again): ("differs", "neutral"),
        }
        for (first, other), told in expected.items():
            assert said(case_of(world, first, other, WAYS[check]), check) == [told]

    def test_from_the_other_side(self, check: str, world: World, chains: Chains) -> None:
        """The look that is forged says so, whichever it is."""
        case = case_of(world, chains.genuine, chains.forged, WAYS[check])
        assert said(case.looks[0], check) == [("forged", "intercepted")]

    def test_another_address_is_a_hint_only(self, check: str, world: World, chains: Chains) -> None:
        """Split horizons send one host's clients to different servers."""
        case = case_of(world, chains.forged, chains.genuine, WAYS[check] | {"address": "198.51.100.9:443"})
        assert said(case, check) == [("genuine-elsewhere", "neutral")]

    def test_without_the_keys_proof_nothing_is_compared(self, check: str, world: World, chains: Chains) -> None:
        """A chain alone shows nothing: anybody can present the genuine one."""
        unproved = WAYS[check] | {"key_proved": False, "outcome": Outcome.SIGNATURE_WRONG}
        assert said(case_of(world, chains.forged, chains.genuine, unproved), check) == []

    def test_a_declared_root_is_no_forgery(self, check: str, world: World, pki: PrivatePKI, chains: Chains) -> None:
        """Where the institution declared its own CA for the host, its certificate beside a public one is expected."""
        ca = pki.private_ca("Campus CA")
        case = case_of(world, ca.issue([EXAM]), chains.genuine, WAYS[check], private_roots=(ca.certificate,))
        assert said(case, check) == [("differs", "neutral")]

    def test_one_look_says_nothing(self, check: str, world: World, chains: Chains) -> None:
        """Without another look there is no comparison."""
        assert said(world.case(EXAM, chains.genuine), check) == []


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
        """No QUIC where it is not known to be, blocked where it is: neutral both."""
        details = WAYS["quic"] | {"key_proved": False, "outcome": ended}
        case = case_of(world, chains.genuine, [], details, quic=known)
        assert said(case, "quic") == [(outcome, "neutral")]

    def test_tcp_without_a_certificate_is_not_compared(self, world: World, chains: Chains) -> None:
        """Nothing is said about QUIC where TCP itself was silent, and nothing about TCP from QUIC."""
        case = case_of(world, [], chains.genuine, WAYS["quic"])
        assert said(case, "quic") == said(case.looks[0], "quic") == []

    def test_another_hello_is_not_its_business(self, world: World, chains: Chains) -> None:
        """Two looks over TCP are compared elsewhere."""
        assert said(case_of(world, chains.forged, chains.genuine, WAYS["hello-difference"]), "quic") == []


class TestHelloDifference:
    def test_only_one_is_answered(self, world: World, chains: Chains) -> None:
        """A filter that resets what it does not like is told from both sides."""
        case = case_of(world, chains.genuine, [], WAYS["hello-difference"] | GONE)
        assert said(case, "hello-difference") == [("one-answered", "neutral")]
        assert said(case.looks[0], "hello-difference") == [("one-answered", "neutral")]

    def test_quic_and_other_routes_are_not_its_business(self, world: World, chains: Chains) -> None:
        """Only looks by the same route differ by their hello alone."""
        for details in (WAYS["quic"], WAYS["hello-difference"] | {"route": Route.HTTP_CONNECT}):
            assert said(case_of(world, chains.forged, chains.genuine, details), "hello-difference") == []

    def test_it_names_both_profiles_and_fingerprints(self, world: World, chains: Chains) -> None:
        """A report says which profile saw what, and what was really sent."""
        details = WAYS["hello-difference"] | {"ja3": "0" * 32}
        case = case_of(world, chains.forged, chains.genuine, details)
        [finding] = hello_difference.check(case, NetworkEvidence.of([case]))
        assert (finding.data["hello"], finding.data["other_hello"]) == ("default", "browser")
        assert (finding.data["ja3"], finding.data["other_ja3"]) == (None, "0" * 32)
        assert finding.summary.endswith("a browser's hello, and a private one the default hello.")
