"""Several looks at one endpoint: what they share, how they are compared, and which of them decides."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from detector.judge.evidence import OTHERS_MAX, Comparison, EndpointEvidence, NetworkEvidence, compare, difference
from detector.model import Hello, Observation, Outcome, Report, Result, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import World

    from detector.testing import Issued, PrivatePKI

EXAM, LMS = "exam.example.edu", "lms.example.org"
ADDRESS = "192.0.2.7:443"


@pytest.fixture
def looks(world: World) -> Callable[..., EndpointEvidence]:
    """Make one endpoint with several looks: each a chain, and what differs in its observation."""

    def make(
        *presented: tuple[Issued | Sequence[bytes], dict[str, Any]],
        host: str = EXAM,
        **expected: Any,  # noqa: ANN401 - of World.case
    ) -> EndpointEvidence:
        observations: list[Observation] = []
        for chain, details in presented:
            case = world.case(host, chain)
            observations.append(msgspec.structs.replace(case.observation, **{"address": ADDRESS, **details}))
        first = world.case(host, presented[0][0], **expected)
        return EndpointEvidence(first.endpoint, observations[0], first.context, others=observations[1:])

    return make


TCP: dict[str, Any] = {"route": Route.DIRECT}
QUIC: dict[str, Any] = {"route": Route.QUIC}
BROWSER: dict[str, Any] = {"route": Route.DIRECT, "hello": Hello.BROWSER}
ELSEWHERE = {"address": "198.51.100.9:443"}


def test_every_look_has_all_the_others(pki: PrivatePKI, looks: Callable[..., EndpointEvidence]) -> None:
    """From any look the rest can be seen, and nothing is derived twice."""
    case = looks((pki.issue([EXAM]), TCP), (pki.issue([EXAM]), QUIC), (pki.issue([EXAM]), BROWSER))
    group = {case, *case.looks}
    assert len(group) == 3
    assert all({look, *look.looks} == group for look in case.looks)
    assert [look.observation for look in case.looks] == list(case.others)
    assert case.looks[0].others == (case.observation, case.others[1])
    assert case.looks[0].paths is case.looks[1].looks[1].paths


def test_second_looks_keep_every_look(pki: PrivatePKI, looks: Callable[..., EndpointEvidence]) -> None:
    """What is fetched later is there for all looks, and none of them is lost."""
    issued = pki.issue([EXAM])
    case = looks((issued.chain[:1], TCP), (issued.chain[:1], QUIC))
    more = case.with_more(case.context, issued.chain[1:])
    assert more.others == case.others
    assert [bool(look.public_paths) for look in (*case.looks, more, *more.looks)] == [False, True, True]


def test_one_look_has_none(pki: PrivatePKI, world: World) -> None:
    """Without others there is nothing to compare."""
    assert world.case(EXAM, pki.issue([EXAM])).looks == ()


def test_looks_are_bounded(pki: PrivatePKI, world: World) -> None:
    """However many a caller gives, only so many are kept."""
    case = world.case(EXAM, pki.issue([EXAM]))
    many = EndpointEvidence(case.endpoint, case.observation, case.context, others=[case.observation] * (3 * OTHERS_MAX))
    assert len(many.looks) == len(many.others) == OTHERS_MAX


def test_what_two_looks_show_together(pki: PrivatePKI, world: World) -> None:
    """Every comparison, from both sides."""
    genuine, renewed = world.case(EXAM, pki.issue([EXAM])), world.case(EXAM, pki.issue([EXAM], key="rsa"))
    ca = pki.private_ca("School CA")
    forged, again = world.case(EXAM, ca.issue([EXAM])), world.case(EXAM, ca.issue([EXAM]))
    unlogged = world.case(EXAM, pki.issue([EXAM], scts=0))
    misnamed = world.case(EXAM, pki.issue([LMS]))
    unproved = world.case(EXAM, pki.issue([EXAM]), key_proved=False, outcome=Outcome.RESET)
    silent = world.case(EXAM, [], key_proved=False, outcome=Outcome.RESET)
    declared = world.case(EXAM, ca.issue([EXAM]), private_roots=(ca.certificate,))
    expected = {
        (genuine, genuine): Comparison.SAME,
        (genuine, renewed): Comparison.BOTH_VOUCHED,
        (forged, genuine): Comparison.PRIVATE_HERE,
        (genuine, forged): Comparison.PRIVATE_THERE,
        (forged, again): Comparison.UNDECIDED,
        (forged, unlogged): Comparison.UNDECIDED,
        (forged, misnamed): Comparison.UNDECIDED,
        (forged, unproved): Comparison.NOT_COMPARABLE,
        (silent, genuine): Comparison.NOT_COMPARABLE,
        (declared, genuine): Comparison.UNDECIDED,
    }
    assert {pair: compare(*pair) for pair in expected} == expected


def test_who_is_vouched_for_in_public(pki: PrivatePKI, world: World) -> None:
    """Logged, for this host, and its key proved; what is declared for one endpoint, or lacks its log, is not."""
    ca = pki.private_ca("Campus CA")
    assert world.case(EXAM, pki.issue([EXAM])).publicly_vouched
    assert not world.case(EXAM, pki.issue([EXAM]), key_proved=False).publicly_vouched
    assert not world.case(EXAM, pki.issue([LMS])).publicly_vouched
    assert not world.case(EXAM, pki.issue([EXAM], scts=0)).publicly_vouched
    assert not world.case(EXAM, ca.issue([EXAM]), private_roots=(ca.certificate,)).publicly_vouched


def test_a_difference_needs_one_address(pki: PrivatePKI, looks: Callable[..., EndpointEvidence]) -> None:
    """What another address presents may be another server: a resolver can have sent us there."""
    forged, genuine = pki.private_ca("School CA").issue([EXAM]), pki.issue([EXAM])
    same, other = looks((forged, TCP), (genuine, QUIC)), looks((forged, TCP), (genuine, QUIC | ELSEWHERE))
    assert difference(same, same.looks[0]) == "forged"
    assert difference(other, other.looks[0]) == "genuine-elsewhere"


class TestJudgement:
    """Which look decides, and by which row."""

    def told(self, result: Result) -> tuple[int, str]:
        return result.row, " ".join(filter(None, (result.verdict, result.confidence or result.assurance)))

    @pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
    def test_quic_proves_what_tcp_alone_leaves_open(
        self, order: tuple[int, int], pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """Without pins a private chain is `possible`; beside a genuine one over QUIC it is proven, in either order."""
        forged, genuine = (pki.private_ca("School CA").issue([EXAM]), TCP), (pki.issue([EXAM]), QUIC)
        both = (forged, genuine)
        [result] = world.judge(looks(*(both[i] for i in order)))
        assert self.told(result) == (15, "middleware proven")
        assert result.observation.route is Route.DIRECT
        assert [look.route for look in result.other_observations] == [Route.QUIC]
        assert self.told(world.judge(looks(forged))[0]) == (19, "middleware possible")

    def test_quic_decrypted_and_tcp_not(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """There are firewalls that decrypt QUIC; the same proof holds the other way round."""
        [result] = world.judge(looks((pki.issue([EXAM]), TCP), (pki.private_ca("School CA").issue([EXAM]), QUIC)))
        assert self.told(result) == (15, "middleware proven")
        assert result.observation.route is Route.QUIC

    @pytest.mark.parametrize(
        ("quic", "row"),
        [
            ("elsewhere", (19, "middleware possible")),
            ("unproved", (19, "middleware possible")),
            ("misnamed", (19, "middleware possible")),
            ("unlogged", (19, "middleware possible")),
            ("silent", (19, "middleware possible")),
        ],
    )
    def test_quic_that_proves_nothing(
        self, quic: str, row: tuple[int, str], pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """Another address, no proof of the key, another name, no log, silence: the private chain stays `possible`."""
        other = {
            "elsewhere": (pki.issue([EXAM]), QUIC | ELSEWHERE),
            "unproved": (pki.issue([EXAM]), QUIC | {"key_proved": False, "outcome": Outcome.HANDSHAKE_TIMEOUT}),
            "misnamed": (pki.issue([LMS]), QUIC),
            "unlogged": (pki.issue([EXAM], scts=0), QUIC),
            "silent": ([], QUIC | {"key_proved": False, "outcome": Outcome.CONNECT_TIMEOUT}),
        }[quic]
        [result] = world.judge(looks((pki.private_ca("School CA").issue([EXAM]), TCP), other))
        assert self.told(result) == row

    @pytest.mark.parametrize("innocent", ["self-signed", "misnamed", "issuer-forgotten"])
    def test_innocent_servers_beside_a_genuine_quic(
        self, innocent: str, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """A spare certificate, a portal or neighbour, a forgotten intermediate: not proven by the difference."""
        forgotten = pki.issue([EXAM], aia=("http://ca.example/issuing.der",)).chain[:1]
        chain = {
            "self-signed": pki.self_signed([EXAM]),
            "misnamed": pki.private_ca("Portal CA").issue(["portal.example.net"]),
            "issuer-forgotten": forgotten,
        }[innocent]
        [result] = world.judge(looks((chain, TCP), (pki.issue([EXAM], key="rsa"), QUIC)))
        assert (result.verdict, result.confidence) == ("middleware", "possible")

    def test_a_neighbour_on_the_udp_port_accuses_nobody(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """Another service on the same UDP port, under its own name, leaves a clean endpoint clean, pinned or not."""
        neighbour = (pki.self_signed(["vpn.example.net"]), QUIC)
        genuine = pki.issue([EXAM])
        for pins in ((), (genuine.spki_sha256,)):
            [result] = world.judge(looks((genuine, TCP), neighbour, pins=pins))
            assert result.verdict == "clean"
            assert result.observation.route is Route.DIRECT

    def test_two_certificates_of_a_cdn(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """RSA for one hello, ECDSA for the other, a third over QUIC: all vouched for, all clean."""
        [result] = world.judge(
            looks((pki.issue([EXAM]), TCP), (pki.issue([EXAM], key="rsa"), BROWSER), (pki.issue([EXAM]), QUIC))
        )
        assert self.told(result) == (10, "clean logged")
        assert {f.outcome for f in result.findings if f.check in {"quic", "hello-difference"}} == {"both-vouched"}

    @pytest.mark.parametrize("decrypted", [TCP, BROWSER])
    def test_only_one_hello_is_decrypted(
        self, decrypted: dict[str, Any], pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """Browsers only, or everything but browsers: strong evidence either way, and the look that shows it decides."""
        forged, genuine = pki.private_ca("School CA").issue([EXAM]), pki.issue([EXAM])
        [result] = world.judge(*[looks(*((forged if d is decrypted else genuine, d) for d in (TCP, BROWSER)))])
        assert self.told(result) == (20, "middleware probable")
        assert result.alternatives == ("private-pki",)
        assert result.observation.hello is decrypted.get("hello", Hello.DEFAULT)

    def test_a_pinned_look_does_not_clear_a_forged_one(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """The default hello is let through and matches its pin; the browser's is not, and that is what counts."""
        genuine = pki.issue([EXAM])
        forged = pki.private_ca("School CA").issue([EXAM])
        [result] = world.judge(looks((genuine, TCP), (forged, BROWSER), pins=(genuine.spki_sha256,)))
        assert result.verdict == "middleware"

    def test_a_look_that_failed_changes_nothing(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """A filter that only resets browsers, a network that only blocks QUIC: an outage is never middleware."""
        gone = {"key_proved": False, "outcome": Outcome.RESET}
        [result] = world.judge(looks((pki.issue([EXAM]), TCP), ([], BROWSER | gone), ([], QUIC | gone)))
        assert self.told(result) == (10, "clean logged")

    def test_a_genuine_look_does_not_clear_a_silent_one(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """What was asked first and not answered stays unknown, whatever QUIC shows."""
        gone = {"key_proved": False, "outcome": Outcome.CONNECT_TIMEOUT}
        [result] = world.judge(looks(([], TCP | gone), (pki.issue([EXAM]), QUIC)))
        assert self.told(result) == (1, "inconclusive")

    def test_looks_of_several_endpoints_are_one_network(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """One private issuer on the browser's looks of unrelated operators is as telling as on the first looks."""
        ca = pki.private_ca("School CA")
        cases = [
            looks((pki.issue([host]), TCP), (ca.issue([host]), BROWSER | ELSEWHERE), host=host) for host in (EXAM, LMS)
        ]
        assert [self.told(result) for result in world.judge(*cases)] == [(15, "middleware proven")] * 2

    def test_two_looks_at_one_host_are_not_two_operators(
        self, pki: PrivatePKI, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """The same private server seen twice shares its issuer with nobody."""
        issued = pki.private_ca("Campus CA").issue([EXAM])
        case = looks((issued, TCP), (issued, BROWSER))
        assert NetworkEvidence.of([case]).unrelated_with_issuer(case) == ()

    def test_the_report_keeps_every_look(
        self, pki: PrivatePKI, world: World, looks: Callable[..., EndpointEvidence]
    ) -> None:
        """Other looks go into the JSON and come back out of it."""
        [result] = world.judge(looks((pki.issue([EXAM]), TCP), (pki.issue([EXAM]), QUIC)))
        encoded = msgspec.json.encode(result)
        assert msgspec.json.decode(encoded, type=Result) == result
        assert "other_observations" in Result.__struct_fields__
        assert Report.__struct_fields__
