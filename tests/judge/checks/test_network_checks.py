"""Checks of what several endpoints show together: signers, neighbours, the clock, portals, known products."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import generate_key
from support.data_sets import with_parts
from support.odd_keys import GOST_2012, rewritten
from support.worlds import (
    DAY,
    EXAM,
    LMS,
    SEARCH,
    below,
    dated,
    in_name_of,
    know_key,
    logged,
    named,
    of_check,
    outcomes,
    said,
    sent,
)

from detector.judge.checks import captive_portal, clock, known_interceptor, neighbours, shared_signer
from detector.knowledge import data_set
from detector.knowledge.catalogue.entries import ProductCategory
from detector.model import Outcome, PortalObservation, PortalOutcome, RecordedIdentity, Route, ServerDate
from detector.trust.certificate import Certificate
from detector.trust.intermediates import Intermediates

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import CA
    from support.worlds import Chain

    from detector.judge.evidence import Context, EndpointEvidence

S, N, K = shared_signer.Outcome, neighbours.Outcome, known_interceptor.Outcome
GOOGLE: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Google"}
AMAZON: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Amazon"}
BOUGHT: dict[str, Any] = {"canary": True, "operator": "Example News"}
"""A canary of an operator that buys its certificates."""


@pytest.fixture
def silent(world: World) -> EndpointEvidence:
    """A connection that showed no certificate."""
    return world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False)


class TestSharedSigner:
    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """One key for rivals, one private signer, one leaf key, one unlogged public signer, one missing issuer."""
        pki, ca = world.pki, world.pki.private_ca("Filter CA")
        key = generate_key("ec")
        box = below(pki.root_b, "Other Customer CA")
        one, other = pki.private_ca("CA one"), pki.private_ca("CA two")
        worlds: list[tuple[list[str], EndpointEvidence, dict[str, Any], Chain]] = [
            ([S.RIVALS, S.PRIVATE_SIGNER], world.case(EXAM, sent(ca, EXAM), **GOOGLE), AMAZON, sent(ca, LMS)),
            ([S.PRIVATE_SIGNER], world.case(EXAM, sent(ca, EXAM)), {}, sent(ca, LMS)),
            ([S.LEAF_KEY], world.case(EXAM, one.issue([EXAM], key=key)), {}, other.issue([LMS], key=key)),
            ([S.UNLOGGED_SIGNER], world.case(EXAM, box.issue([EXAM])), {}, box.issue([LMS])),
            ([S.MISSING_ISSUER], world.case(EXAM, pki.issue([EXAM]).chain[:1]), {}, pki.issue([LMS]).chain[:1]),
            ([], world.case(EXAM, pki.issue([EXAM])), {}, pki.issue([LMS])),
            ([], world.case(EXAM, pki.private_ca("CA").issue([EXAM])), {}, pki.private_ca("CA").issue([LMS])),
        ]
        for expected, case, operator, issued in worlds:
            assert outcomes(shared_signer, case, world.case(LMS, issued, **operator)) == expected
        assert {outcome for expected, *_ in worlds for outcome in expected} == set(S)
        assert outcomes(shared_signer, silent) == []

    def test_an_intermediate_that_is_known_can_be_forgotten_twice(self, world: World) -> None:
        """Both name an intermediate that the knowledge has; where the roots are stated, the name excuses nothing."""
        alone = {host: world.pki.issue([host]).chain[:1] for host in (EXAM, LMS)}
        issuer = Certificate.read(alone[EXAM][0]).issuer
        assert issuer is not None
        named = Intermediates(names=frozenset({hashlib.sha256(issuer.der).digest()}))
        context = world.context(data=with_parts(intermediates=named))
        for expected, roots in (([], ()), ([S.MISSING_ISSUER], ("Exemplar Root X2",))):
            cases = [world.case(host, chain, context=context, roots=roots) for host, chain in alone.items()]
            assert outcomes(shared_signer, *cases) == expected
            by_hash = Intermediates(certificates=named.names, keys=named.names)
            other = world.context(data=with_parts(intermediates=by_hash))
            cases = [world.case(host, chain, context=other, roots=roots) for host, chain in alone.items()]
            assert outcomes(shared_signer, *cases) == [S.MISSING_ISSUER]

    def test_a_known_name_clears_nothing(self, world: World) -> None:
        """A leaf that names a known intermediate is as possible as any without its issuer."""
        leaf = world.pki.issue([EXAM]).chain[:1]
        issuer = Certificate.read(leaf[0]).issuer
        assert issuer is not None
        named = Intermediates(names=frozenset({hashlib.sha256(issuer.der).digest()}))
        for data in (data_set.shipped(), with_parts(intermediates=named)):
            (result,) = world.judge(world.case(EXAM, leaf, context=world.context(data=data)))
            assert said(result) == ("possible", "incomplete-chain")

    def test_a_signer_is_a_key_whether_its_certificate_is_sent_or_not(self, world: World) -> None:
        """The leaf's own key that signed it is found, and a CA that is sent; a name is no signer."""
        ca, own = world.pki.private_ca("Filter CA"), world.pki.private_ca("Proxy CA", leaf_key_is_ca_key=True)
        reused = [world.case(host, own.issue([host])) for host in (EXAM, LMS)]
        assert outcomes(shared_signer, *reused) == [S.PRIVATE_SIGNER, S.LEAF_KEY]
        known = [world.case(host, sent(ca, host)) for host in (EXAM, LMS)]
        assert outcomes(shared_signer, *known) == [S.PRIVATE_SIGNER]
        unknown = [world.case(host, ca.issue([host])) for host in (EXAM, LMS)]
        assert outcomes(shared_signer, *unknown) == []

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (EXAM, "www.example.edu"),
            ("shop.test", "blog.test"),
            ("dc1.ads.intra", "web.www.intra"),
            ("a.example.internal", "b.lan"),
            ("131.159.0.10", "8.8.8.8"),
            ("2a01:4f8:1::10", "2606:2800:220:1::1"),
            ("alice.github.io", "bob.github.io"),
            ("nas", "printer"),
        ],
    )
    def test_one_institution_with_many_names(self, one: str, other: str, world: World) -> None:
        """Names of one registrable domain, of one hoster, of this network, and addresses are not unrelated."""
        ca = world.pki.private_ca("Campus CA")
        cases = [world.case(host, sent(ca, host)) for host in (one, other)]
        assert outcomes(shared_signer, *cases) == []

    def test_declared_operators_decide(self, world: World) -> None:
        """Two domains of one declared operator are related, two operators of one domain are not."""
        ca = world.pki.private_ca("Campus CA")

        def found(hosts: tuple[str, str], operators: tuple[str | None, str | None]) -> list[str]:
            pairs = zip(hosts, operators, strict=True)
            cases = [world.case(h, sent(ca, h), operator=who) for h, who in pairs]
            return outcomes(shared_signer, *cases)

        assert found((EXAM, LMS), ("Campus", "Campus")) == []
        assert found((EXAM, "www.example.edu"), ("Campus", "Hospital")) == [S.PRIVATE_SIGNER]
        assert found((EXAM, LMS), ("Campus", None)) == [S.PRIVATE_SIGNER]

    def test_private_addresses_are_one_network(self, world: World) -> None:
        """A campus with two domains on private addresses shares its CA with nobody; a canary is never made related."""
        ca = world.pki.private_ca("Campus CA")

        def found(**expected: Any) -> list[str]:  # noqa: ANN401 - fields of Endpoint
            cases = [
                world.case(
                    host,
                    sent(ca, host),
                    seen={"route": Route.DIRECT, "address": "10.20.0.1:443"},
                    **expected,
                )
                for host in (EXAM, LMS)
            ]
            return outcomes(shared_signer, *cases)

        assert found() == []
        assert found(canary=True) == [S.PRIVATE_SIGNER]

    def test_another_route_is_another_network(self, world: World) -> None:
        """What a proxy presents for one host says nothing of what another host presents directly."""
        ca = world.pki.private_ca("Filter CA")
        chains = {host: sent(ca, host) for host in (EXAM, LMS)}
        direct = world.case(EXAM, chains[EXAM], seen={"route": Route.DIRECT})
        proxied = world.case(LMS, chains[LMS], seen={"route": Route.HTTP_CONNECT})
        assert outcomes(shared_signer, direct, proxied) == []

    def test_two_observations_of_one_host_are_not_two_operators(self, world: World) -> None:
        """The same private server seen twice shares its signer with nobody."""
        ca = world.pki.private_ca("Campus CA")
        chain = sent(ca, EXAM)
        assert outcomes(shared_signer, world.case(EXAM, chain, others=[world.observed(chain)])) == []

    def test_rivals_need_two_operators_that_run_cas(self, world: World) -> None:
        """Two canaries of one operator, or one that buys its certificates, are no rivals; a leaf key counts always."""
        ca, key = world.pki.private_ca("Filter CA"), generate_key("ec")

        def found(one: dict[str, Any], other: dict[str, Any]) -> bool:
            chains = {host: sent(ca, host) for host in (EXAM, LMS)}
            cases = [world.case(EXAM, chains[EXAM], **one), world.case(LMS, chains[LMS], **other)]
            return S.RIVALS in outcomes(shared_signer, *cases)

        assert found(GOOGLE, AMAZON)
        assert not found(GOOGLE, GOOGLE)
        assert not found(GOOGLE, BOUGHT)
        assert not found(GOOGLE, {"runs_ca": True, "operator": "Amazon"})
        public = [
            world.case(host, world.pki.issue([host], key=key), **who) for host, who in ((EXAM, GOOGLE), (LMS, AMAZON))
        ]
        assert outcomes(shared_signer, *public) == [S.RIVALS]
        unlogged = [
            world.case(host, world.pki.issue([host], scts=0), **who) for host, who in ((EXAM, GOOGLE), (LMS, AMAZON))
        ]
        assert outcomes(shared_signer, *unlogged) == [S.UNLOGGED_SIGNER]  # one public CA issues for both

    def test_a_wrong_name_shares_nothing(self, world: World) -> None:
        """One appliance's page for two hosts is a portal's business."""
        ca = world.pki.private_ca("Appliance CA")
        page = (ca.issue(["appliance.example.net"]).leaf, ca.certificate)
        assert outcomes(shared_signer, world.case(EXAM, page, **GOOGLE), world.case(LMS, page, **AMAZON)) == []

    def test_a_forgetful_cdn(self, world: World) -> None:
        """One certificate for two operators lacks its issuer once; two certificates of one issuer do so twice."""
        both = world.pki.issue([EXAM, LMS]).chain[:1]
        assert outcomes(shared_signer, world.case(EXAM, both), world.case(LMS, both)) == []

    def test_logged_leaves_of_one_public_ca_are_usual(self, world: World) -> None:
        """A CA below a public root that logs what it issues is a CA."""
        box = below(world.pki.root_b, "Other Customer CA")
        cases = [world.case(host, logged(world.pki, box, host)) for host in (EXAM, LMS)]
        assert outcomes(shared_signer, *cases) == []


class TestNeighbours:
    def substituted(self, world: World, ca: CA, host: str = "canary.example.net", **more: Any) -> EndpointEvidence:  # noqa: ANN401 - as `World.case`
        """A canary that this CA substitutes."""
        return world.case(host, sent(ca, host), **{"canary": True, **more})

    def test_every_outcome(self, world: World, silent: EndpointEvidence) -> None:
        """The same signer, only the same added root, a canary, any endpoint, and a canary that is accused at all."""
        pki, ca = world.pki, world.pki.private_ca("Filter Root")
        forged = sent(ca, EXAM)
        stranger = pki.private_ca("Campus CA").issue([EXAM])
        root: dict[str, Any] = {"machine": (ca.certificate,)}
        issuing = [below(ca, f"Issuing CA {number}") for number in (1, 2)]
        canary = self.substituted(world, ca)
        everything = [N.SIGNER_SUBSTITUTES, N.CANARY_SUBSTITUTED, N.ENDPOINT_SUBSTITUTED, N.COMPANY]
        below_root = self.substituted(world, issuing[0], **root)
        pinned = self.substituted(world, ca, LMS, canary=False, pins=(b"\1" * 32,), identity=RecordedIdentity.PUBLIC)
        possible = world.case(SEARCH, pki.issue([SEARCH], scts=0), canary=True)
        worlds = [
            (everything, world.case(EXAM, forged), canary),
            (everything[1:], world.case(EXAM, stranger), canary),
            (
                [N.ROOT_SUBSTITUTES, *everything[1:]],
                world.case(EXAM, issuing[1].issue([EXAM]).chain, **root),
                below_root,
            ),
            ([N.SIGNER_SUBSTITUTES, N.ENDPOINT_SUBSTITUTED], world.case(EXAM, forged), pinned),
            ([N.COMPANY], world.case(EXAM, forged), possible),
            ([], world.case(EXAM, forged), world.case(LMS, sent(ca, LMS))),
            ([], world.case(EXAM, forged), world.case(SEARCH, pki.issue([SEARCH]), canary=True)),
        ]
        for expected, case, other in worlds:
            assert outcomes(neighbours, case, other) == expected
        assert {outcome for expected, *_ in worlds for outcome in expected} == set(N)
        assert outcomes(neighbours, silent, canary) == []

    def test_nobody_is_its_own_neighbour(self, world: World) -> None:
        """A substituted canary alone, seen twice, has no company."""
        ca = world.pki.private_ca("Filter Root")
        canary = self.substituted(world, ca, others=[world.observed(ca.issue(["canary.example.net"]))])
        assert outcomes(neighbours, canary) == []

    @pytest.mark.parametrize(
        "canary", ["unproved", "wrong name", "retired", "stale", "unreached", "unreadable", "clean"]
    )
    def test_what_is_no_company(self, canary: str, world: World) -> None:
        """A canary that came out otherwise than as middleware with a right name; what is not proven is company only."""
        pki, ca, host = world.pki, world.pki.private_ca("Filter Root"), "canary.example.net"
        forged = sent(ca, host)
        other = {
            "unproved": world.case(host, forged, canary=True, key_proved=False, outcome=Outcome.RESET),
            "wrong name": world.case(host, (ca.issue(["portal.example.net"]).leaf, ca.certificate), canary=True),
            "retired": world.case(
                host, pki.issue([host], not_before=pki.now - 99 * DAY, not_after=pki.now - DAY), canary=True
            ),
            "stale": world.case(host, (logged(pki, ca, host).leaf, ca.certificate), canary=True, context=_stale(world)),
            "unreached": world.case(host, [], canary=True, key_proved=False, outcome=Outcome.RESET),
            "unreadable": world.case(host, _unreadable(world, host), canary=True),
            "clean": world.case(host, pki.issue([host]), canary=True),
        }[canary]
        found = outcomes(neighbours, world.case(EXAM, sent(ca, EXAM)), other)
        assert found == ([N.COMPANY] if canary == "unproved" else [])

    def test_another_route_is_another_network(self, world: World) -> None:
        """A canary that a proxy decrypts is no company of what is reached directly."""
        ca = world.pki.private_ca("Filter Root")
        canary = self.substituted(world, ca, seen={"route": Route.HTTP_CONNECT})
        direct = world.case(EXAM, sent(ca, EXAM), seen={"route": Route.DIRECT})
        assert outcomes(neighbours, direct, canary) == []

    def test_a_declared_root_that_intercepts(self, world: World) -> None:
        """Any key above a declared chain's leaf that signs for a substituted endpoint counts."""
        root = world.pki.private_ca("Campus Root")
        servers, filter_ca = below(root, "Server CA"), below(root, "Filter CA")
        declared = world.case(EXAM, (*servers.issue([EXAM]).chain, root.certificate), private_roots=(root.certificate,))
        canary = world.case(LMS, (*filter_ca.issue([LMS]).chain, root.certificate), canary=True)
        assert N.ROOT_SUBSTITUTES in outcomes(neighbours, declared, canary)
        plain = world.case(EXAM, (*servers.issue([EXAM]).chain, root.certificate))
        assert N.ROOT_SUBSTITUTES not in outcomes(neighbours, plain, canary)


def _stale(world: World) -> Context:
    return world.context(roots=dated(world.roots, 300, world.pki))


def _unreadable(world: World, host: str) -> tuple[bytes, ...]:
    genuine = world.pki.issue([host])
    return (rewritten(genuine.leaf, algorithm=GOST_2012), *genuine.chain[1:])


class TestClock:
    OLD = (-90, -1)

    def case(self, world: World, host: str, days: tuple[int, int], ca: CA | None = None) -> EndpointEvidence:
        """A host whose certificate is valid over these days from now."""
        dates = {"not_before": world.pki.now + days[0] * DAY, "not_after": world.pki.now + days[1] * DAY}
        return world.case(host, world.pki.issue([host], **dates) if ca is None else ca.issue([host], **dates))  # type: ignore[arg-type] # dates

    @pytest.mark.parametrize("days", [-3000, 3000])
    def test_wrong_on_either_side(self, days: int, world: World) -> None:
        """Two operators' certificates all off on one side mean that the clock is."""
        at = world.pki.now + days * DAY
        cases = [world.case(host, world.pki.issue([host]), at=at) for host in (EXAM, LMS)]
        assert outcomes(clock, *cases) == [clock.Outcome.WRONG]
        (finding,) = of_check(clock, *cases)
        assert finding.data["basis"] == "certificates"
        assert ("behind" if days < 0 else "ahead") in finding.summary

    def test_one_forgetful_operator_is_not_the_clock(self, world: World) -> None:
        """One renewal that was forgotten, two of one operator, or a right certificate next to wrong ones."""
        expired = self.case(world, EXAM, self.OLD)
        assert outcomes(clock, expired) == []
        assert outcomes(clock, expired, self.case(world, "www.example.edu", self.OLD)) == []
        assert outcomes(clock, expired, self.case(world, LMS, self.OLD)) == [clock.Outcome.WRONG]
        right = world.case(SEARCH, world.pki.issue([SEARCH]))
        assert outcomes(clock, expired, self.case(world, LMS, self.OLD), right) == []

    def test_no_one_correction(self, world: World) -> None:
        """Certificates that no common moment would put right say nothing of the clock."""
        cases = [self.case(world, EXAM, (-90, -50)), self.case(world, LMS, (-30, -1))]
        assert outcomes(clock, *cases) == []

    def test_a_right_server_after_very_many_wrong_ones(self, world: World) -> None:
        """However many have been met, one certificate in date says that the clock may be right."""
        cases = [self.case(world, f"www.host{number}.org", self.OLD) for number in range(70)]
        assert outcomes(clock, *cases[:2]) == [clock.Outcome.WRONG]
        assert outcomes(clock, cases[0], *cases[1:], world.case(SEARCH, world.pki.issue([SEARCH]))) == []

    def test_forged_certificates_have_no_say(self, world: World) -> None:
        """An interceptor that writes odd dates cannot pass for a wrong clock."""
        ca = world.pki.private_ca("Filter CA")
        assert outcomes(clock, *(self.case(world, host, (5, 9), ca) for host in (EXAM, LMS, SEARCH))) == []
        box = below(world.pki.root_b, "Mail CA", path_length=0)
        deeper = in_name_of(ca, box)
        assert outcomes(clock, *(self.case(world, host, (5, 9), deeper) for host in (EXAM, LMS, SEARCH))) == []

    def test_a_timestamp_from_the_future(self, world: World) -> None:
        """A valid timestamp of a log that is hours later than now is enough, from one endpoint."""
        issued = world.pki.issue([EXAM])  # its timestamps are an hour later than its beginning
        at = world.pki.now - 30 * DAY + DAY / 48
        assert outcomes(clock, world.case(EXAM, issued, at=at)) == []
        early = world.pki.intermediate_ec.issue(
            [EXAM],
            sct_list=lambda tbs, key: [log.sct(tbs, key, at=world.pki.now) for log in world.pki.ct_logs[:2]],
        )
        hours = world.case(EXAM, early, at=world.pki.now - DAY / 8)
        assert outcomes(clock, hours) == [clock.Outcome.WRONG]
        assert world.judge(hours)[0].verdict == "clean"  # it explains dates, and nothing else

    def test_dates_of_two_operators(self, world: World) -> None:
        """HTTP dates of unrelated servers that agree say how far the clock is off; fewer, or others, say nothing."""

        def found(*dates: tuple[str, float]) -> list[str]:
            now = world.pki.now
            said = tuple(ServerDate(host=host, said=now + days * DAY, ours=now) for host, days in dates)
            case = world.case(EXAM, world.pki.issue([EXAM]), context=world.context(dates=said))
            return [finding.data["basis"] for finding in of_check(clock, case)]

        assert found((EXAM, 3), (LMS, 3.0002)) == ["http-dates"]
        assert found((EXAM, 3)) == []
        assert found((EXAM, 3), ("www.example.edu", 3)) == []
        assert found((EXAM, 3), (LMS, 9)) == []
        assert found((EXAM, 0.001), (LMS, 0.001)) == []


class TestCaptivePortal:
    def test_every_outcome(self, world: World, silent: EndpointEvidence, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answered control request, one certificate for everybody, and the key of a known portal."""
        page = world.pki.issue(["portal.example.net"])
        alone = world.case(EXAM, page)
        assert outcomes(captive_portal, alone) == []
        answered = world.case(EXAM, page, context=_portal(world, PortalOutcome.REDIRECTED))
        assert outcomes(captive_portal, answered) == [captive_portal.Outcome.CONTROL_REQUEST]
        both = [world.case(host, page) for host in (EXAM, LMS)]
        assert outcomes(captive_portal, *both) == [captive_portal.Outcome.ONE_CERTIFICATE]
        know_key(monkeypatch, page.spki_sha256, ProductCategory.CAPTIVE_PORTAL)
        assert outcomes(captive_portal, alone) == [captive_portal.Outcome.KNOWN_KEY]
        assert outcomes(captive_portal, world.case("portal.example.net", page)) == []
        assert outcomes(captive_portal, silent) == []

    @pytest.mark.parametrize("outcome", list(PortalOutcome))
    def test_which_answers_are_somebody_elses(self, outcome: PortalOutcome, world: World) -> None:
        """Only an answer that the control server would not give points to a portal."""
        case = world.case(EXAM, world.pki.self_signed([EXAM]), context=_portal(world, outcome))
        expected = outcome in {PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.CONTENT_MISMATCH}
        assert bool(outcomes(captive_portal, case)) == expected

    def test_no_control_request_counts_against_a_known_chain(self, world: World) -> None:
        """What is accepted or declared for this host is not a portal's; a portal's public certificate is."""
        ca, context = world.pki.private_ca("Campus CA"), _portal(world, PortalOutcome.CAPTIVE)
        root = (ca.certificate,)
        assert outcomes(captive_portal, world.case(EXAM, world.pki.issue([EXAM]), context=context)) == []
        assert outcomes(captive_portal, world.case(EXAM, ca.issue([EXAM]), context=context, private_roots=root)) == []
        elsewhere = world.case(EXAM, world.pki.issue(["login.example.net"]), context=context)
        assert outcomes(captive_portal, elsewhere) == [captive_portal.Outcome.CONTROL_REQUEST]

    def test_one_certificate_for_its_own_hosts(self, world: World) -> None:
        """A certificate that names both hosts is theirs, and two hosts of one operator are no sign."""
        named_both = world.pki.issue([EXAM, LMS])
        assert outcomes(captive_portal, *(world.case(host, named_both) for host in (EXAM, LMS))) == []
        page = world.pki.issue(["portal.example.net"])
        assert outcomes(captive_portal, *(world.case(host, page) for host in (EXAM, "www.example.edu"))) == []


def _portal(world: World, outcome: PortalOutcome) -> Context:
    return world.context(portal=PortalObservation(outcome=outcome, url="http://check.example/204"))


class TestCatalogue:
    PRODUCT = named(O="mitmproxy", CN="mitmproxy")
    WEAK = named(O="mkcert development CA")

    def test_every_outcome(self, world: World, silent: EndpointEvidence, monkeypatch: pytest.MonkeyPatch) -> None:
        """A product's key, a product's name, and what names nobody by itself."""
        ca = world.pki.private_ca(self.PRODUCT)
        other = world.pki.private_ca(self.WEAK)
        assert outcomes(known_interceptor, world.case(EXAM, ca.issue([EXAM]))) == [K.PRODUCT]
        assert outcomes(known_interceptor, world.case(EXAM, other.issue([EXAM]))) == [K.WEAK]
        assert outcomes(known_interceptor, world.case(EXAM, world.pki.private_ca("CA").issue([EXAM]))) == []
        know_key(monkeypatch, ca.spki_sha256, ProductCategory.NETWORK_APPLIANCE)
        chain = sent(ca, EXAM)
        assert outcomes(known_interceptor, world.case(EXAM, chain)) == [K.KEY]
        assert outcomes(known_interceptor, silent) == []

    @pytest.mark.parametrize("place", ["leaf", "intermediate", "root"])
    def test_a_key_is_found_on_a_public_path(self, place: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sub-CA that a public CA had signed is what the catalogue knows best, wherever it stands."""
        issued = world.pki.issue([EXAM])
        keys = {
            "leaf": issued.spki_sha256,
            "intermediate": world.pki.intermediate_ec.spki_sha256,
            "root": world.pki.root_b.spki_sha256,
        }
        know_key(monkeypatch, keys[place], ProductCategory.CLOUD_PROXY)
        assert outcomes(known_interceptor, world.case(EXAM, issued)) == [K.KEY]

    def test_a_key_that_is_merely_present(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Anybody can append a certificate; what is on no path from the leaf is not meant."""
        box = world.pki.private_ca("Box CA")
        know_key(monkeypatch, box.spki_sha256, ProductCategory.NETWORK_APPLIANCE)
        assert outcomes(known_interceptor, world.case(EXAM, (*world.pki.issue([EXAM]).chain, box.certificate))) == []

    @pytest.mark.parametrize("category", [ProductCategory.CAPTIVE_PORTAL, ProductCategory.LOCAL_DEV_CA])
    def test_keys_that_accuse_nobody(
        self, category: ProductCategory, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A sign-in page's key and one machine's development CA are weak marks."""
        ca = world.pki.private_ca("Some CA")
        know_key(monkeypatch, ca.spki_sha256, category)
        assert outcomes(known_interceptor, world.case(EXAM, sent(ca, EXAM))) == [K.WEAK]

    def test_names_count_only_where_something_else_issued_the_leaf(self, world: World) -> None:
        """An appliance's own page bears its maker's name, and so may a certificate that clients take."""
        maker = named(C="US", O="Fortinet", OU="Certificate Authority", CN="FortiGate CA")
        assert outcomes(known_interceptor, world.case(EXAM, world.pki.private_ca(maker).issue([EXAM]))) == [K.PRODUCT]
        own = world.pki.private_ca(maker)
        assert outcomes(known_interceptor, world.case(EXAM, [own.certificate])) == []
        assert outcomes(known_interceptor, world.case(EXAM, world.pki.issue([EXAM], subject_cn="mitmproxy"))) == []

    def test_the_finding_carries_the_entry(self, world: World) -> None:
        """The attribution is made from the finding's data."""
        (finding,) = of_check(known_interceptor, world.case(EXAM, world.pki.private_ca(self.PRODUCT).issue([EXAM])))
        wanted = {"id", "product", "vendor", "category", "managed_by", "fact", "remediation"}
        assert set(finding.data) == wanted
        assert "mitmproxy" in finding.data["product"]


def test_nothing_here_depends_on_the_order_of_endpoints(world: World) -> None:
    """What a check finds on one endpoint is the same wherever the others stand."""
    pki, ca = world.pki, world.pki.private_ca("Filter Root")
    hosts: dict[str, dict[str, Any]] = {EXAM: {}, LMS: {}, "www.google.com": GOOGLE, "aws.amazon.com": AMAZON}
    cases = [world.case(host, sent(ca, host), **who) for host, who in hosts.items()]
    cases.append(world.case(SEARCH, pki.issue([SEARCH])))
    for module in (shared_signer, neighbours):
        found = {tuple(outcomes(module, cases[0], *others)) for others in itertools.permutations(cases[1:])}
        assert len(found) == 1
