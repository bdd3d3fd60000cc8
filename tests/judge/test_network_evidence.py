"""What endpoints show together: what is remembered and forgotten, and what reports a change to a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import generate_key
from support.worlds import DAY, EXAM, LMS, SEARCH, below, sent

from detector.judge.network_evidence import (
    CLOCK,
    OCCURRENCES_MAX,
    Concluded,
    NetworkEvidence,
    Occurrence,
    Shared,
    http_offset,
    missing_issuer,
    tags_of,
)
from detector.judge.table import Decision
from detector.model import Confidence, Reason, RecordedIdentity, Route, ServerDate, Verdict

if TYPE_CHECKING:
    from conftest import World

    from detector.judge.evidence import EndpointEvidence

PROVEN = Decision(
    Reason.IDENTITY_SUBSTITUTED,
    Verdict.MIDDLEWARE,
    Confidence.PROVEN,
    fired=((Reason.IDENTITY_SUBSTITUTED, Confidence.PROVEN),),
)
POSSIBLE = Decision(
    Reason.PRIVATE_CHAIN, Verdict.MIDDLEWARE, Confidence.POSSIBLE, fired=((Reason.PRIVATE_CHAIN, Confidence.POSSIBLE),)
)
CLEAN = Decision(Reason.LOGGED, Verdict.CLEAN)


def conclude(network: NetworkEvidence, evidence: EndpointEvidence, decision: Decision) -> None:
    """Add a decision, as assessing does."""
    network.conclude(
        evidence,
        decision.verdict,
        is_substituted=decision.proves_substitution,
        is_company=decision.rule.is_company,
    )


def names(*hosts: str) -> tuple[str, ...]:
    return tuple(f"{host}:443" for host in hosts)


class TestRelations:
    def occurrence(self, host: str, operator: str | None, declared: str | None = None) -> Occurrence:
        return Occurrence(f"{host}:443", operator or host, declared, host.encode(), None)

    def test_unrelated(self) -> None:
        """Declared operators decide where both are declared, else where the hosts are registered; nobody is its own."""
        one = self.occurrence("a", "example.edu")
        assert not one.is_unrelated_to(one)
        assert not one.is_unrelated_to(self.occurrence("b", "example.edu"))
        assert one.is_unrelated_to(self.occurrence("b", "example.org"))
        assert one.is_unrelated_to(self.occurrence("b", "example.org", "Campus"))
        declared = self.occurrence("a", "example.edu", "Campus")
        assert not declared.is_unrelated_to(self.occurrence("b", "example.org", "Campus"))
        assert declared.is_unrelated_to(self.occurrence("b", "example.edu", "Hospital"))

    def test_one_certificate_lacks_its_issuer_once(self) -> None:
        """That two operators lack an intermediate says something where each has a certificate of its own."""
        one, other = self.occurrence("a", "example.edu"), self.occurrence("b", "example.org")
        lacking = Shared.MISSING_ISSUER
        assert one.differs_from(other, lacking)
        assert not one.differs_from(other._replace(certificate=one.certificate), lacking)
        assert one.differs_from(other._replace(certificate=one.certificate), Shared.LEAF_KEY)
        assert not one.differs_from(self.occurrence("b", "example.edu"), lacking)

    def test_a_missing_issuer_is_known_by_name_and_key_identifier(self, world: World) -> None:
        """Two CAs of one name that have two key identifiers are two issuers."""
        ca, other = world.pki.private_ca("CA"), world.pki.private_ca("CA")
        leaves = [world.case(host, issuer.issue([host])).presented[0] for issuer, host in ((ca, EXAM), (ca, LMS))]
        assert missing_issuer(leaves[0]) == missing_issuer(leaves[1])
        assert missing_issuer(world.case(EXAM, other.issue([EXAM])).presented[0]) != missing_issuer(leaves[0])
        assert missing_issuer(world.case(EXAM, [b"\x30\x00"]).presented[0]) is None


class TestMemory:
    def endpoint(self, world: World, host: str, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
        ca = self.ca = getattr(self, "ca", None) or world.pki.private_ca("Filter CA")
        return world.case(host, sent(ca, host, key=more.pop("key", None)), **more)

    def test_a_crowd_of_one_operator_hides_no_other(self, world: World) -> None:
        """However many names of one institution were met before, the first of another operator is kept and seen."""
        network = NetworkEvidence()
        crowd = [self.endpoint(world, f"h{number}.example.edu") for number in range(OCCURRENCES_MAX + 2)]
        for one in crowd:
            network.add(one)
        network.changed()
        stranger = self.endpoint(world, LMS)
        network.add(stranger)
        assert ("direct", self.ca.spki_sha256) in network.changed()
        assert {network.unrelated_with(Shared.PRIVATE_SIGNER, one) for one in crowd} == {names(LMS)}
        assert len(network.unrelated_with(Shared.PRIVATE_SIGNER, stranger)) == OCCURRENCES_MAX
        network.add(self.endpoint(world, SEARCH))
        assert network.unrelated_with(Shared.PRIVATE_SIGNER, crowd[0]) == names(LMS)

    def test_what_a_stream_remembers_is_bounded(self, world: World) -> None:
        """Of the keys met on one endpoint only, the one met longest ago goes first; one that is evidence stays."""
        network = NetworkEvidence(remembered=3)
        shared = [self.endpoint(world, host) for host in (EXAM, LMS)]
        for one in shared:
            network.add(one)
        lonely = [world.pki.private_ca(f"CA {number}") for number in range(6)]
        for number, ca in enumerate(lonely):
            network.add(world.case(f"www.example{number}.org", sent(ca, f"www.example{number}.org")))
        assert len(network._met[Shared.PRIVATE_SIGNER]) == 3
        assert network.unrelated_with(Shared.PRIVATE_SIGNER, shared[0]) == names(LMS)
        known = [
            bool(network.unrelated_with(Shared.PRIVATE_SIGNER, world.case(SEARCH, sent(ca, SEARCH)))) for ca in lonely
        ]
        assert known == [False, False, False, False, True, True]

    def test_where_every_key_was_met_twice_the_oldest_goes(self, world: World) -> None:
        """The bound holds also where nothing is lonely."""
        network = NetworkEvidence(remembered=2)
        for number in range(4):
            ca = world.pki.private_ca(f"CA {number}")
            for host in (EXAM, LMS):
                network.add(world.case(host, sent(ca, host)))
        assert len(network._met[Shared.PRIVATE_SIGNER]) == 2

    def test_a_wrong_name_and_silence_are_not_remembered_as_signers(self, world: World) -> None:
        """A page for another host is kept as that, and nothing as nothing."""
        network = NetworkEvidence.of(
            [world.case(EXAM, sent(world.pki.private_ca("CA"), LMS)), world.case(EXAM, [], key_proved=False)]
        )
        assert (
            len(network._met[Shared.PRIVATE_SIGNER]),
            len(network._met[Shared.LEAF_KEY]),
            len(network._met[Shared.WRONG_CERTIFICATE]),
        ) == (0, 0, 1)


class TestChanges:
    """Which tags say that an earlier result may be another now."""

    def changes(self, *endpoints: EndpointEvidence) -> set[Any]:
        """What the last of these changes for the others."""
        network = NetworkEvidence.of(endpoints[:-1])
        network.changed()
        network.add(endpoints[-1])
        return {tag for tag in network.changed() if any(tag in tags_of(one) for one in endpoints[:-1])}

    @pytest.mark.parametrize("kind", ["signer", "leaf key", "unlogged", "missing", "misnamed", "rivals"])
    @pytest.mark.parametrize("related", [1, 3])
    def test_the_first_unrelated_one_changes_every_earlier_one(self, kind: str, related: int, world: World) -> None:
        """Also where several of one operator were there before; a further one of that operator changes nothing."""
        pki, key = world.pki, generate_key("ec")
        ca, box = pki.private_ca("Filter CA"), below(pki.root_b, "Other Customer CA")
        page = pki.self_signed(["page.example.net"])

        def endpoint(host: str, operator: str) -> EndpointEvidence:
            rival: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": operator}
            return {
                "signer": lambda: world.case(host, sent(ca, host)),
                "leaf key": lambda: world.case(host, pki.private_ca(host).issue([host], key=key)),
                "unlogged": lambda: world.case(host, box.issue([host])),
                "missing": lambda: world.case(host, pki.issue([host]).chain[:1]),
                "misnamed": lambda: world.case(host, page),
                "rivals": lambda: world.case(host, pki.issue([host], key=key), **rival),
            }[kind]()

        campus = [endpoint(f"h{number}.example.edu", "Campus") for number in range(related)]
        assert self.changes(*campus, endpoint("www.example.edu", "Campus")) == set()
        assert self.changes(*campus, endpoint(LMS, "Other"))
        known = [*campus, endpoint(LMS, "Other")]
        assert self.changes(*known, endpoint(SEARCH, "Third")) == set()

    def test_a_second_certificate_after_many_copies_of_one(self, world: World) -> None:
        """A forgetful CDN's one certificate on many hosts, then another leaf that lacks the same issuer."""
        hosts = [f"www.example{number}.org" for number in range(5)]
        one = world.pki.issue(hosts).chain[:1]
        copies = [world.case(host, one) for host in hosts]
        assert self.changes(*copies) == set()
        assert self.changes(*copies, world.case(EXAM, world.pki.issue([EXAM]).chain[:1]))

    def test_what_says_more_about_the_clock(self, world: World) -> None:
        """A second operator that is out of date, one that is not, and a timestamp later than all before."""
        pki = world.pki
        old: dict[str, Any] = {"not_before": pki.now - 99 * DAY, "not_after": pki.now - 9 * DAY}
        expired = [world.case(host, pki.issue([host], **old)) for host in (EXAM, LMS)]
        assert self.changes(*expired) == {CLOCK}
        assert self.changes(*expired, world.case(SEARCH, pki.issue([SEARCH]))) == {CLOCK}
        assert CLOCK not in tags_of(world.case(SEARCH, pki.issue([SEARCH])))

    def test_a_conclusion_changes_what_shares_a_route_a_key_or_a_root(self, world: World) -> None:
        """Each of the first two conclusions may change others: nobody is its own neighbour."""
        ca = world.pki.private_ca("Filter Root")
        network = NetworkEvidence()
        root: dict[str, Any] = {"machine": (ca.certificate,)}
        for number, changes in enumerate((True, True, False)):
            host = f"canary.example{number}.net"
            canary = world.case(host, sent(ca, host, key=ca.key), canary=True, **root)
            conclude(network, canary, PROVEN)
            added = next(iter(canary.added_roots))
            tags = {("direct", b""), ("direct", ca.spki_sha256), ("direct", added)}
            assert network.changed() == (tags if changes else set())


class TestConclusions:
    def test_what_each_conclusion_says_of_others(self, world: World) -> None:
        """A proven substitution is known by its keys, any accusation of a canary as company; clean is neither."""
        ca = world.pki.private_ca("Filter Root")
        canary = world.case("canary.example.net", sent(ca, "canary.example.net"), canary=True)
        exam = world.case(EXAM, sent(ca, EXAM))
        for decision, substituted, company in ((PROVEN, True, True), (POSSIBLE, False, True), (CLEAN, False, False)):
            network = NetworkEvidence.of([exam, canary])
            conclude(network, canary, decision)
            assert network.concluded is company
            assert bool(network.others(Concluded.BY_KEY, exam)) is substituted
            assert bool(network.others(Concluded.SUBSTITUTED, exam)) is substituted
            assert bool(network.others(Concluded.CANARY_SUBSTITUTED, exam)) is substituted
            assert bool(network.others(Concluded.CANARY_ACCUSED, exam)) is company
            assert not network.others(Concluded.CANARY_ACCUSED, canary)
            assert not network.others(Concluded.SUBSTITUTED, canary)

    def test_an_endpoint_that_is_no_canary(self, world: World) -> None:
        """It is substituted, and nobody's company."""
        ca = world.pki.private_ca("Filter Root")
        pinned = world.case(LMS, sent(ca, LMS), pins=(b"\1" * 32,), identity=RecordedIdentity.PUBLIC)
        exam = world.case(EXAM, sent(ca, EXAM))
        network = NetworkEvidence.of([exam, pinned])
        conclude(network, pinned, PROVEN)
        assert network.others(Concluded.SUBSTITUTED, exam)
        assert not network.others(Concluded.CANARY_SUBSTITUTED, exam)
        assert not network.others(Concluded.CANARY_ACCUSED, exam)

    def test_a_canary_among_very_many_substituted_endpoints(self, world: World) -> None:
        """However many others were substituted before, that a canary is too is not lost."""
        ca, network = world.pki.private_ca("Filter Root"), NetworkEvidence()
        chain = sent(ca, EXAM)
        for number in range(OCCURRENCES_MAX + 1):
            conclude(network, world.case(EXAM, chain, port=1000 + number), PROVEN)
        exam = world.case(EXAM, chain)
        assert not network.others(Concluded.CANARY_SUBSTITUTED, exam)
        conclude(network, world.case(EXAM, chain, port=8443, canary=True), PROVEN)
        assert network.others(Concluded.CANARY_SUBSTITUTED, exam)

    def test_a_wrong_name_and_what_is_unreadable_are_no_company(self, world: World) -> None:
        """What comes out middleware by its name, or by its form alone, says nothing of others."""
        page = world.case("canary.example.net", world.pki.self_signed([LMS]), canary=True)
        exam = world.case(EXAM, world.pki.self_signed([EXAM]))
        right = world.case("canary.example.net", world.pki.self_signed(["canary.example.net"]), canary=True)
        network = NetworkEvidence()
        conclude(network, page, POSSIBLE)
        conclude(network, right, POSSIBLE._replace(reason=Reason.UNREADABLE_PERSISTS))
        assert not network.others(Concluded.CANARY_ACCUSED, exam)

    def test_how_long_connections_to_clean_endpoints_take(self, world: World) -> None:
        """The median of what was measured; nothing without a clean endpoint."""
        network = NetworkEvidence()
        assert network.typical_connect_ms() is None
        for connect in (1.0, 50.0, 20.0):
            case = world.case(EXAM, world.pki.issue([EXAM]), seen={"timings_ms": {"connect": connect}})
            conclude(network, case, CLEAN)
        conclude(network, world.case(EXAM, world.pki.issue([EXAM])), CLEAN)
        assert network.typical_connect_ms() == 20.0


class TestRoutes:
    def test_everything_is_kept_by_route(self, world: World) -> None:
        """A proxy is another network than the direct route; IPv4, IPv6 and QUIC are the same one."""
        ca = world.pki.private_ca("Filter CA")
        routes = (Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6, Route.QUIC, Route.HTTP_CONNECT, Route.SOCKS5)
        for one in routes:
            for other in routes:
                cases = [
                    world.case(host, sent(ca, host), seen={"route": route})
                    for host, route in ((EXAM, one), (LMS, other))
                ]
                network = NetworkEvidence.of(cases)
                same = one is other or not {one, other} & {Route.HTTP_CONNECT, Route.SOCKS5}
                assert bool(network.unrelated_with(Shared.PRIVATE_SIGNER, cases[0])) is same


class TestDates:
    @pytest.mark.parametrize(
        ("offsets", "expected"),
        [
            ({EXAM: 3600 * 5, LMS: 3600 * 5 + 20}, 3600 * 5 + 20),
            ({EXAM: -86400, LMS: -86400}, -86400),
            ({EXAM: 3600 * 5}, None),
            ({EXAM: 3600 * 5, "www.example.edu": 3600 * 5}, None),
            ({EXAM: 3600 * 5, LMS: 3600 * 9}, None),
            ({EXAM: 3600 * 5, LMS: 3600 * 5, SEARCH: 0}, None),
            ({EXAM: 60, LMS: 60}, None),
            ({}, None),
        ],
    )
    def test_http_offset(self, offsets: dict[str, int], expected: int | None, world: World) -> None:
        """Two operators that agree on more than an hour; one that disagrees takes it back."""
        now = world.pki.now
        dates = [ServerDate(host=host, said=now + seconds * DAY / 86400, ours=now) for host, seconds in offsets.items()]
        found = http_offset(dates)
        assert (None if found is None else found.total_seconds()) == expected
