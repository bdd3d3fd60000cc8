"""Checks of what one handshake showed: `presented`, `key-possession`, `name`, `dates`, `location`, `resolution`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.worlds import DAY, EXAM, LMS, of_check, outcomes

from detector.judge.checks import dates, host_name, key_possession, presented, resolution, tls_location
from detector.model import (
    Hop,
    HopAnswer,
    HopsObservation,
    HopTrace,
    Outcome,
    ProbeKind,
    ResolutionObservation,
    ResolutionOutcome,
)
from detector.trust.certificate import ALTERNATIVE_NAMES_MAX

if TYPE_CHECKING:
    from conftest import World

    from detector.judge.evidence import EndpointEvidence


@pytest.fixture
def silent(world: World) -> EndpointEvidence:
    """A connection that showed no certificate."""
    return world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False)


class TestPresented:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """A certificate, bytes that are no certificate, and nothing at all."""
        genuine = world.pki.issue([EXAM])
        assert outcomes(presented, world.case(EXAM, genuine)) == [presented.Outcome.SEEN]
        for damage in (b"", b"\x30", b"not a certificate", b"\x30\x03\x02\x01\x00", genuine.leaf[:-20]):
            assert outcomes(presented, world.case(EXAM, [damage])) == [presented.Outcome.DAMAGED]
        assert outcomes(presented, silent) == [presented.Outcome.NONE]
        assert of_check(presented, silent)[0].data == {"outcome": "reset", "fault": "undetermined"}


class TestKeyPossession:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """The three results that a handshake can have for the presented key; without one there is nothing to prove."""
        genuine = world.pki.issue([EXAM])
        wrong = world.case(EXAM, genuine, key_proved=False, outcome=Outcome.SIGNATURE_WRONG)
        cut = world.case(EXAM, genuine, key_proved=False, outcome=Outcome.RESET)
        assert outcomes(key_possession, world.case(EXAM, genuine)) == [key_possession.Outcome.PROVED]
        assert outcomes(key_possession, wrong) == [key_possession.Outcome.WRONG]
        assert outcomes(key_possession, cut) == [key_possession.Outcome.NOT_PROVED]
        assert outcomes(key_possession, silent) == []

    def test_a_wrong_signature_outweighs_a_claim(self, world: World) -> None:
        """Where another key signed, nothing else that is said of the key counts."""
        both = world.case(EXAM, world.pki.issue([EXAM]), key_proved=True, outcome=Outcome.SIGNATURE_WRONG)
        assert outcomes(key_possession, both) == [key_possession.Outcome.WRONG]


class TestName:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """The host's name, only a common name, another name, and a list too long to be read."""
        ca = world.pki.private_ca("CA")
        many = [f"h{number}.example.org" for number in range(ALTERNATIVE_NAMES_MAX + 1)]
        presents = {
            host_name.Outcome.MATCH: ca.issue([EXAM]),
            host_name.Outcome.COMMON_NAME_ONLY: ca.issue([], subject_cn=EXAM),
            host_name.Outcome.MISMATCH: ca.issue([LMS]),
            host_name.Outcome.UNFINISHED: ca.issue([*many, EXAM], subject_cn="many"),
        }
        for outcome, issued in presents.items():
            assert outcomes(host_name, world.case(EXAM, issued)) == [outcome]
        assert set(presents) == set(host_name.Outcome)
        assert outcomes(host_name, silent) == []

    def test_a_common_name_counts_only_where_there_is_nothing_better(self, world: World) -> None:
        """A certificate with alternative names, for others, is not for the host in its subject."""
        issued = world.pki.private_ca("CA").issue([LMS], subject_cn=EXAM)
        assert outcomes(host_name, world.case(EXAM, issued)) == [host_name.Outcome.MISMATCH]


class TestDates:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """The moment lies within the leaf's validity, behind it or before it, or the validity cannot be read."""
        issued = world.pki.issue([EXAM])
        for days, outcome in ((0, "valid"), (-4000, "not-yet-valid"), (4000, "expired")):
            case = world.case(EXAM, issued, at=world.pki.now + days * DAY)
            assert outcomes(dates, case) == [outcome]
        assert outcomes(dates, world.case(EXAM, [b"\x30\x00"])) == ["unreadable"]
        assert outcomes(dates, silent) == []


def hops(*answers: tuple[int, int, str, str | None]) -> HopsObservation:
    """What packets to ports got: port, hop, answer and router."""
    traces = tuple(
        HopTrace(
            port=port,
            asked=ProbeKind.CONNECT,
            hops=tuple(Hop(number=n, answer=HopAnswer(a), router=r) for p, n, a, r in answers if p == port),
        )
        for port in (443, 80)
    )
    return HopsObservation(port=443, traces=traces, names_routers=True)


class TestLocation:
    ANSWERED_AT_2 = ((443, 1, "time-exceeded", "a"), (443, 2, "connected", None), (443, 2, "connected", None))
    CONTROL = ((80, 1, "time-exceeded", "a"), (80, 2, "time-exceeded", "b"), (80, 2, "time-exceeded", "b"))

    def test_every_outcome(self, world: World) -> None:
        """TLS answered early, next to the host, at the host, and nobody knows; untraced hops say nothing."""
        far = [(port, n, "time-exceeded", f"r{n}") for port in (443, 80) for n in range(1, 8)]
        traced = {
            tls_location.Outcome.ANSWERED_EARLY: hops(*self.ANSWERED_AT_2, *self.CONTROL, (80, 9, "connected", None)),
            tls_location.Outcome.BESIDE_THE_HOST: hops(
                *far,
                *((443, 8, "connected", None),) * 2,
                *((80, 8, "time-exceeded", "r8"),) * 2,
                (80, 9, "connected", None),
            ),
            tls_location.Outcome.SAME_HOP: hops(*self.ANSWERED_AT_2, (80, 2, "connected", None)),
            tls_location.Outcome.UNKNOWN: hops((443, 1, "silence", None)),
        }
        for outcome, observed in traced.items():
            case = world.case(EXAM, world.pki.issue([EXAM]), seen={"hops": observed})
            assert outcomes(tls_location, case) == [outcome]
        assert set(traced) == set(tls_location.Outcome)
        assert outcomes(tls_location, world.case(EXAM, world.pki.issue([EXAM]))) == []

    def test_says_where_and_never_whether(self, world: World) -> None:
        """The finding names the hop, and the verdict is what it is without it."""
        observed = hops(*self.ANSWERED_AT_2, *self.CONTROL, (80, 4, "connected", None))
        case = world.case(EXAM, world.pki.issue([EXAM]), seen={"hops": observed})
        (finding,) = of_check(tls_location, case)
        assert finding.summary == "Port 443 is answered at hop 2 (b), the host itself is at hop 4."
        assert (finding.data["hop"], finding.data["router"], finding.data["host_hop"]) == (2, "b", 4)
        assert world.judge(case)[0].verdict == "clean"


class TestResolution:
    @pytest.mark.parametrize(
        ("outcome", "system", "other", "expected"),
        [
            ("answered", ["93.184.216.34"], ["1.1.1.1", "93.184.216.34"], "same"),
            ("answered", ["93.184.216.34"], ["1.1.1.1"], "differs"),
            ("answered", ["10.0.0.1"], ["10.0.0.2"], "differs"),
            ("answered", ["10.0.0.1", "fe80::1%eth0"], ["1.1.1.1"], "private-here"),
            ("answered", [], ["1.1.1.1"], "unknown-here"),
            ("no-such-name", ["10.0.0.1"], [], "unknown-there"),
            ("no-such-name", [], [], "unknown"),
            ("no-answer", ["10.0.0.1"], [], "no-answer"),
            ("not-vouched", ["10.0.0.1"], [], "not-vouched"),
        ],
    )
    def test_every_outcome(
        self, outcome: str, system: list[str], other: list[str], expected: str, world: World
    ) -> None:
        """However the answers compare, the verdict is the chain's."""
        asked: dict[str, Any] = {
            "resolution": ResolutionObservation(
                resolver="https://resolver.example/q",
                outcome=ResolutionOutcome(outcome),
                system=tuple(system),
                other=tuple(other),
            )
        }
        case = world.case(EXAM, world.pki.issue([EXAM]), seen=asked)
        assert outcomes(resolution, case) == [resolution.Outcome(expected)]
        assert world.judge(case)[0].verdict == "clean"
        assert outcomes(resolution, world.case(EXAM, world.pki.issue([EXAM]))) == []
