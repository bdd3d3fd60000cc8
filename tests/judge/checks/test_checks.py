"""Each check by itself: a case that makes it speak, one that keeps it silent, and what it must not be fooled by."""

from __future__ import annotations

import datetime as dt
import pkgutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from detector import catalogue
from detector.judge import checks
from detector.judge.checks import (
    ca_key_reuse,
    captive_portal,
    clock,
    dates,
    declared_root,
    expected_root,
    host_name,
    issuer_impersonation,
    issuer_shape,
    key_possession,
    known_interceptor,
    machine_root,
    missing_issuer,
    pin,
    presented,
    private_origin,
    public_path,
    shared_issuer,
    shared_leaf_key,
    tls_location,
    transparency,
)
from detector.judge.evidence import EndpointEvidence, NetworkEvidence
from detector.model import (
    Asked,
    Endpoint,
    Hop,
    HopAnswer,
    HopsObservation,
    HopTrace,
    Outcome,
    PortalObservation,
    PortalOutcome,
    ServerDate,
)
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.testing import PrivatePKI

    Run = Callable[..., list[tuple[str, str]]]

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"


def outcomes(run: list[tuple[str, str]]) -> list[str]:
    return [outcome for outcome, _ in run]


class TestPresented:
    def test_seen(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A readable certificate is seen."""
        assert run_check(presented, world.case(EXAM, pki.issue([EXAM]))) == [("seen", "neutral")]

    def test_none(self, world: World, run_check: Run) -> None:
        """Without a certificate the outcome of the connection is told."""
        case = world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False)
        assert run_check(presented, case) == [("none", "neutral")]

    @pytest.mark.parametrize("damage", [b"", b"\x30", b"not a certificate", b"\x30\x03\x02\x01\x00"])
    def test_unreadable_is_still_presented(self, damage: bytes, world: World, run_check: Run) -> None:
        """Bytes that are no certificate were still presented as one."""
        assert run_check(presented, world.case(EXAM, [damage])) == [("unreadable", "neutral")]


class TestKeyPossession:
    def test_proved_wrong_and_not_proved(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """The three ways a handshake can end for the presented key."""
        issued = pki.issue([EXAM])
        assert outcomes(run_check(key_possession, world.case(EXAM, issued))) == ["proved"]
        wrong = world.case(EXAM, issued, key_proved=False, outcome=Outcome.SIGNATURE_WRONG)
        assert run_check(key_possession, wrong) == [("wrong", "intercepted")]
        cut = world.case(EXAM, issued, key_proved=False, outcome=Outcome.RESET)
        assert run_check(key_possession, cut) == [("not-proved", "neutral")]

    def test_silent_without_certificate(self, world: World, run_check: Run) -> None:
        """Nothing presented, nothing to prove."""
        assert run_check(key_possession, world.case(EXAM, [], key_proved=False, outcome=Outcome.CLOSED)) == []


class TestPin:
    def test_leaf_backup_and_certificate(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """The leaf matches by key, by backup pin and by its whole-certificate fingerprint."""
        issued = pki.issue([EXAM])
        fingerprint = world.case(EXAM, issued).presented[0].sha256
        spellings: tuple[dict[str, Any], ...] = (
            {"pins": (issued.spki_sha256,)},
            {"backup_pins": (issued.spki_sha256,)},
            {"certificates": (fingerprint,)},
        )
        for expected in spellings:
            assert run_check(pin, world.case(EXAM, issued, **expected)) == [("leaf", "genuine")]

    def test_ca_on_the_verified_path(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A pinned intermediate or root above the leaf matches, the root although it is not presented."""
        issued = pki.issue([EXAM])
        for ca in (pki.intermediate_ec, pki.root_b):
            case = world.case(EXAM, issued, pins=(ca.spki_sha256,))
            assert run_check(pin, case) == [("path", "genuine")]

    def test_appended_genuine_chain_matches_nothing(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A genuine chain behind a forged leaf is not on a path from it (CVE-2016-2402)."""
        genuine = pki.issue([EXAM])
        forged = pki.private_ca("Filter CA").issue([EXAM])
        case = world.case(EXAM, (*forged.chain, *genuine.chain), pins=(genuine.spki_sha256,))
        assert run_check(pin, case) == [("mismatch", "intercepted")]

    def test_expired_pins_are_not_evaluated(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """On the last day pins count, the day after they are not looked at."""
        today = pki.now.date()
        expected: dict[str, Any] = {"pins": (b"\0" * 32,)}
        last_day = world.case(EXAM, pki.issue([EXAM]), expires=today, **expected)
        day_after = world.case(EXAM, pki.issue([EXAM]), expires=today - dt.timedelta(days=1), **expected)
        assert outcomes(run_check(pin, last_day)) == ["mismatch"]
        assert outcomes(run_check(pin, day_after)) == ["expired"]

    def test_nothing_pinned(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """No pins is an outcome of its own, never a mismatch."""
        assert run_check(pin, world.case(EXAM, pki.issue([EXAM]))) == [("none", "neutral")]


class TestDeclaredRoot:
    def test_path_and_no_path(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A declared private root vouches for what it signed and for nothing else."""
        campus = pki.private_ca("Campus CA")
        issued = campus.issue([EXAM])
        assert run_check(declared_root, world.case(EXAM, issued, private_roots=(campus.certificate,))) == [
            ("path", "genuine")
        ]
        other = pki.private_ca("Other CA")
        assert outcomes(run_check(declared_root, world.case(EXAM, issued, private_roots=(other.certificate,)))) == [
            "no-path"
        ]
        assert run_check(declared_root, world.case(EXAM, issued)) == []

    def test_self_signed_server_certificate_can_be_declared(
        self, world: World, pki: PrivatePKI, run_check: Run
    ) -> None:
        """A self-signed leaf that is itself the declared root has its path."""
        issued = pki.self_signed([EXAM])
        case = world.case(EXAM, issued, private_roots=(issued.leaf,))
        assert outcomes(run_check(declared_root, case)) == ["path"]


class TestPublicPath:
    def test_found_and_none(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A path from the leaf to a public root is found, a private one is not one."""
        assert run_check(public_path, world.case(EXAM, pki.issue([EXAM]))) == [("found", "genuine")]
        forged = pki.private_ca("Filter CA").issue([EXAM])
        assert run_check(public_path, world.case(EXAM, forged)) == [("none", "intercepted")]


class TestExpectedRoot:
    def test_expected_other_and_silent(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Another public root is told but never accuses."""
        issued = pki.issue([EXAM])
        assert run_check(expected_root, world.case(EXAM, issued, roots=("Exemplar Root X2",))) == [
            ("expected", "genuine")
        ]
        assert run_check(expected_root, world.case(EXAM, issued, roots=("Some Other Root",))) == [
            ("other-public-root", "neutral")
        ]
        assert run_check(expected_root, world.case(EXAM, issued)) == []


class TestTransparency:
    def test_logged_unlogged_unknown(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Two valid timestamps make logged, none unlogged; one, or unknown logs, leave it open."""

        def outcome(**issue: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - options of PrivatePKI.issue
            return run_check(transparency, world.case(EXAM, pki.issue([EXAM], **issue)))

        assert outcome(scts=2) == [("logged", "genuine")]
        assert outcome(scts=0) == [("unlogged", "intercepted")]
        assert outcome(scts=2, bad_sct_signature=True) == [("unlogged", "intercepted")]
        assert outcome(scts=1) == [("unknown", "neutral")]
        assert outcome(scts=2, foreign_sct=True) == [("unknown", "neutral")]


class TestName:
    def test_match_and_mismatch(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """The certificate is for the host, or for another."""
        assert run_check(host_name, world.case(EXAM, pki.issue([EXAM]))) == [("match", "neutral")]
        assert run_check(host_name, world.case(EXAM, pki.issue([LMS]))) == [("mismatch", "intercepted")]


class TestDates:
    def test_every_outcome(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Dates are told and never accuse."""
        issued = pki.issue([EXAM])
        for days, outcome in ((0, "valid"), (-4000, "not-yet-valid"), (4000, "expired")):
            case = world.case(EXAM, issued, at=pki.now + dt.timedelta(days=days))
            assert run_check(dates, case) == [(outcome, "neutral")]
        assert run_check(dates, world.case(EXAM, [b"\x30\x00"])) == [("unreadable", "neutral")]


class TestClock:
    def test_clock_ahead_and_behind(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Two operators' public certificates all off on the same side mean the clock is."""
        for days in (-3000, 3000):
            at = pki.now + dt.timedelta(days=days)
            first, second = (world.case(host, pki.issue([host]), at=at) for host in (EXAM, LMS))
            assert run_check(clock, first, second) == [("wrong", "explains")]

    def test_timestamp_from_the_future(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A valid CT timestamp later than now proves that now is wrong, even for one endpoint."""
        case = world.case(EXAM, pki.issue([EXAM]), at=pki.now - dt.timedelta(days=60))
        assert outcomes(run_check(clock, case)) == ["wrong"]

    def test_a_right_server_behind_very_many_wrong_ones(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """However many have been met, one certificate in date says that the clock may be right."""
        old: dict[str, Any] = {
            "not_before": pki.now - dt.timedelta(days=90),
            "not_after": pki.now - dt.timedelta(days=1),
        }
        hosts = [f"www.host{number}.org" for number in range(70)]
        cases = [world.case(host, pki.issue([host], **old)) for host in hosts]
        assert run_check(clock, *cases) == [("wrong", "explains")]
        assert run_check(clock, *cases, world.case(SEARCH, pki.issue([SEARCH]))) == []

    def test_one_expired_server_is_not_the_clock(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """One forgotten renewal, or two of one operator, leave the clock alone; so does a right one beside them."""
        old: dict[str, Any] = {
            "not_before": pki.now - dt.timedelta(days=90),
            "not_after": pki.now - dt.timedelta(days=1),
        }
        expired = world.case(EXAM, pki.issue([EXAM], **old))
        assert run_check(clock, expired) == []
        sibling = world.case("www.example.edu", pki.issue(["www.example.edu"], **old))
        assert run_check(clock, expired, sibling) == []
        other = world.case(LMS, pki.issue([LMS], **old))
        right = world.case(SEARCH, pki.issue([SEARCH]))
        assert run_check(clock, expired, other, right) == []

    def test_forged_certificates_have_no_say(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """An interceptor that writes odd dates cannot pass as a wrong clock."""
        ca = pki.private_ca("Filter CA")
        future: dict[str, Any] = {
            "not_before": pki.now + dt.timedelta(days=5),
            "not_after": pki.now + dt.timedelta(days=9),
        }
        cases = [world.case(host, ca.issue([host], **future)) for host in (EXAM, LMS, SEARCH)]
        assert run_check(clock, *cases) == []

    def test_http_dates_of_two_operators(self, world: World, pki: PrivatePKI) -> None:
        """Date headers of unrelated servers that agree tell the offset; one, or two that disagree, tell nothing."""
        day = dt.timedelta(days=1)

        def said(*dates: tuple[str, dt.timedelta]) -> list[Any]:
            answers = tuple(ServerDate(host=host, said=pki.now + off, ours=pki.now) for host, off in dates)
            context = world.context()._replace(dates=answers)
            case = EndpointEvidence(Endpoint(host=EXAM), world.case(EXAM, pki.issue([EXAM])).observation, context)
            return [f.data for f in clock.check(case, NetworkEvidence.of([case]))]

        (data,) = said((EXAM, 3 * day), (LMS, 3 * day + dt.timedelta(seconds=20)))
        assert data["basis"] == "http-dates"
        assert said((EXAM, 3 * day)) == []
        assert said((EXAM, 3 * day), ("www.example.edu", 3 * day)) == []
        assert said((EXAM, 3 * day), (LMS, 9 * day)) == []
        assert said((EXAM, dt.timedelta(minutes=2)), (LMS, dt.timedelta(minutes=2))) == []


class TestCaptivePortal:
    def test_one_wrong_certificate_for_all(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """The same certificate, for neither host, is how a portal answers for everybody."""
        portal = pki.issue(["portal.example.net"])
        cases = [world.case(host, portal) for host in (EXAM, LMS)]
        assert run_check(captive_portal, *cases) == [("one-certificate", "explains")]
        named = pki.issue([EXAM, LMS])
        assert run_check(captive_portal, *(world.case(host, named) for host in (EXAM, LMS))) == []

    def test_key_of_a_known_portal(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A wrong-name certificate with the key of a known portal is that portal's; for its own name it is not."""
        known = next(
            fact.value
            for entry in catalogue.shipped().entries
            if entry.category == "captive-portal"
            for fact in entry.facts
            if fact.field == "spki_sha256"
        )
        case = world.case(EXAM, pki.issue(["portal.example.net"]))
        leaf = case.presented[0]
        leaf.__dict__["spki_sha256"] = bytes.fromhex(known)  # nobody here has the key; only its hash is looked at
        assert outcomes(run_check(captive_portal, case)) == ["known-key"]
        own = world.case("portal.example.net", pki.issue(["portal.example.net"]))
        own.presented[0].__dict__["spki_sha256"] = bytes.fromhex(known)
        assert run_check(captive_portal, own) == []

    def test_answered_control_request(self, world: World, pki: PrivatePKI) -> None:
        """A control request that somebody else answered explains what looks forged, and nothing that is genuine."""
        for outcome, told in (("redirected", True), ("captive", True), ("open", False), ("unreachable", False)):
            portal = PortalObservation(outcome=PortalOutcome(outcome), url="http://check.example/204")
            context = world.context()._replace(portal=portal)
            forged = world.case(EXAM, pki.private_ca("Portal CA").issue(["login.example.net"])).observation
            case = EndpointEvidence(Endpoint(host=EXAM), forged, context)
            assert bool(list(captive_portal.check(case, NetworkEvidence.of([case])))) == told
            genuine = EndpointEvidence(Endpoint(host=EXAM), world.case(EXAM, pki.issue([EXAM])).observation, context)
            assert not list(captive_portal.check(genuine, NetworkEvidence.of([genuine])))


class TestLocation:
    def test_says_where_and_never_whether(self, world: World, pki: PrivatePKI) -> None:
        """Hops that were traced are told in one neutral finding; where none were, there is none."""
        case = world.case(EXAM, pki.private_ca().issue([EXAM]))
        assert not list(tls_location.check(case, NetworkEvidence.of([case])))
        packets = [(1, "time-exceeded", "a"), (2, "connected", None), (2, "connected", None)]
        control = [
            (1, "time-exceeded", "a"),
            (2, "time-exceeded", "b"),
            (2, "time-exceeded", "b"),
            (4, "connected", None),
        ]
        traces = tuple(
            HopTrace(
                port=port,
                asked=Asked.CONNECT,
                hops=tuple(Hop(number=n, answer=HopAnswer(answer), router=router) for n, answer, router in sent),
            )
            for port, sent in ((443, packets), (80, control))
        )
        hops = HopsObservation(port=443, traces=traces, names_routers=True)
        traced = case.with_observation(msgspec.structs.replace(case.observation, hops=hops))
        (finding,) = tls_location.check(traced, NetworkEvidence.of([traced]))
        assert (finding.outcome, finding.says) == ("answered-early", "neutral")
        assert finding.summary == "Port 443 is answered at hop 2 (b), the host itself is at hop 4."
        assert (finding.data["hop"], finding.data["router"], finding.data["host_hop"]) == (2, "b", 4)
        assert world.judge(traced)[0].row == world.judge(case)[0].row


class TestMachineRoot:
    def test_installed_root(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A path to a root added to this machine is told; public, declared and absent ones are not."""
        ca = pki.private_ca("Filter CA")
        forged = ca.issue([EXAM])
        installed: dict[str, Any] = {"machine": (ca.certificate,)}
        assert run_check(machine_root, world.case(EXAM, forged, **installed)) == [("path", "intercepted")]
        assert run_check(machine_root, world.case(EXAM, forged)) == []
        assert run_check(machine_root, world.case(EXAM, forged, private_roots=(ca.certificate,), **installed)) == []
        public: dict[str, Any] = {"machine": (pki.root_a.certificate, pki.root_b.certificate)}
        assert run_check(machine_root, world.case(EXAM, pki.issue([EXAM]), **public)) == []

    def test_root_made_when_it_was_installed(self, world: World, pki: PrivatePKI) -> None:
        """A root installed within days of its making was made here; one rolled out years later was not."""
        day = dt.timedelta(days=1)
        ca = pki.private_ca("Filter CA", not_before=pki.now - 30 * day)
        for after, expected in ((0, True), (1, True), (30, False), (-9, False), (None, False)):
            installed = None if after is None else pki.now - 30 * day + after * day
            observed = world.case(EXAM, ca.issue([EXAM]), machine=(ca.certificate,))
            known = {Certificate.read(ca.certificate).sha256: installed}
            context = observed.context._replace(installed_at=known.get)
            case = EndpointEvidence(observed.endpoint, observed.observation, context)
            (finding,) = machine_root.check(case, NetworkEvidence.of([case]))
            assert finding.data["made_here"] is expected


class TestCAKeyReuse:
    def test_leaf_key_is_the_ca_key(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """The leaf was signed by its own key under another name, with or without the CA's certificate at hand."""
        forged = pki.private_ca("Proxy CA", leaf_key_is_ca_key=True).issue([EXAM])
        assert run_check(ca_key_reuse, world.case(EXAM, forged)) == [("reused", "intercepted")]
        assert run_check(ca_key_reuse, world.case(EXAM, forged.chain[:1])) == [("reused", "intercepted")]

    def test_self_signed_is_not_meant(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """One name and one key is an ordinary self-signed certificate."""
        assert run_check(ca_key_reuse, world.case(EXAM, pki.self_signed([EXAM]))) == []
        assert run_check(ca_key_reuse, world.case(EXAM, pki.private_ca("CA").issue([EXAM]))) == []


class TestIssuerImpersonation:
    def test_same_name_and_key_identifier_other_key(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A CA that copies a genuine issuer's name and key identifier is found out by the genuine certificate."""
        genuine = pki.issue([EXAM])
        copy = pki.private_ca(copy_from=pki.intermediate_ec.certificate)
        forged = copy.issue([EXAM])
        case = world.case(EXAM, (forged.leaf, genuine.chain[1]))
        assert run_check(issuer_impersonation, case) == [("impersonated", "intercepted")]

    def test_name_alone_is_no_impersonation(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Without the key identifier a re-keyed CA of the same name is an innocent reading."""
        genuine = pki.issue([EXAM])
        subject = pki.intermediate_ec.subject
        forged = pki.private_ca(subject).issue([EXAM])
        assert run_check(issuer_impersonation, world.case(EXAM, (forged.leaf, genuine.chain[1]))) == []
        assert run_check(issuer_impersonation, world.case(EXAM, genuine)) == []


class TestSharedIssuer:
    def test_private_issuer_on_unrelated_operators(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """One private CA on two operators accuses, with its certificate presented or not."""
        ca = pki.private_ca("Filter CA")
        for take in (slice(None), slice(1)):
            one, other = (world.case(host, ca.issue([host]).chain[take]) for host in (EXAM, LMS))
            assert run_check(shared_issuer, one, other) == [("private", "intercepted")]

    def test_issuer_known_by_name_only(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Forged leaves without key identifier and without the CA are recognised by the issuer's name."""
        ca = pki.private_ca("Filter CA", authority_key_identifier=False)
        one, other = (world.case(host, ca.issue([host]).chain[:1]) for host in (EXAM, LMS))
        assert run_check(shared_issuer, one, other) == [("private", "intercepted")]

    def test_one_operator_may_have_a_private_ca(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Hosts of one registrable domain, of one declared operator, or of this network are not unrelated."""
        ca = pki.private_ca("Campus CA")
        same_domain = [world.case(host, ca.issue([host])) for host in (EXAM, "www.example.edu")]
        assert run_check(shared_issuer, *same_domain) == []
        declared = [world.case(host, ca.issue([host]), operator="Campus") for host in (EXAM, LMS)]
        assert run_check(shared_issuer, *declared) == []
        private_names = [world.case(host, ca.issue([host])) for host in ("a.internal", "b.internal", "intranet")]
        assert run_check(shared_issuer, *private_names) == []

    def test_same_name_other_key_is_not_shared(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Two private CAs that merely have the same name are two CAs."""
        one, other = (world.case(host, pki.private_ca("Test CA").issue([host])) for host in (EXAM, LMS))
        assert run_check(shared_issuer, one, other) == []

    def test_incomplete_public_chains_share_nothing(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Two servers that forgot the same public intermediate are not accused by it."""
        aia = ("http://ca.example/intermediate.der",)
        one, other = (world.case(host, pki.issue([host], aia=aia).chain[:1]) for host in (EXAM, LMS))
        assert run_check(shared_issuer, one, other) == []

    def test_public_but_unlogged(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A CA under a public root that signs unlogged leaves for unrelated operators is told apart."""
        one, other = (world.case(host, pki.issue([host], scts=0)) for host in (EXAM, LMS))
        assert run_check(shared_issuer, one, other) == [("public-unlogged", "intercepted")]
        logged = [world.case(host, pki.issue([host])) for host in (EXAM, LMS)]
        assert run_check(shared_issuer, *logged) == []


class TestSharedLeafKey:
    def test_one_key_for_unrelated_operators(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """The same server key under different issuers accuses; under a public path it is a CDN."""
        key = pki.issue([EXAM]).key
        one = world.case(EXAM, pki.private_ca("CA one").issue([EXAM], key=key))
        other = world.case(LMS, pki.private_ca("CA two").issue([LMS], key=key))
        assert run_check(shared_leaf_key, one, other) == [("shared", "intercepted")]
        cdn = [world.case(host, pki.issue([host], key=key)) for host in (EXAM, LMS)]
        assert run_check(shared_leaf_key, *cdn) == []

    def test_one_certificate_of_a_forgetful_cdn(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """One incomplete public certificate for two operators accuses nobody; two certificates with one key do."""
        aia = ("http://ca.example/intermediate.der",)
        both = pki.issue([EXAM, LMS], aia=aia)
        cdn = [world.case(host, both.chain[:1]) for host in (EXAM, LMS)]
        assert run_check(shared_leaf_key, *cdn) == []
        copies = [world.case(host, pki.issue([host], aia=aia, key=both.key).chain[:1]) for host in (EXAM, LMS)]
        assert run_check(shared_leaf_key, *copies) == [("shared", "intercepted")]


class TestCatalogue:
    def test_strong_hit_and_public_path(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A product's name in a private chain is a mark; in a publicly vouched one it is ignored."""
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "mitmproxy"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mitmproxy"),
            ]
        )
        marked = world.case(EXAM, pki.private_ca(name).issue([EXAM]))
        assert outcomes(run_check(known_interceptor, marked)) == ["strong"]
        assert run_check(known_interceptor, world.case(EXAM, pki.private_ca("Nobody CA").issue([EXAM]))) == []
        public = pki.issue([EXAM], subject_cn="mitmproxy")
        assert run_check(known_interceptor, world.case(EXAM, public)) == []


class TestMissingIssuer:
    def test_forgotten_intermediate(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A logged-looking leaf whose issuer is nowhere to be had may be a forgetful server."""
        aia = ("http://ca.example/intermediate.der",)
        assert run_check(missing_issuer, world.case(EXAM, pki.issue([EXAM], aia=aia).chain[:1])) == [
            ("possible", "explains")
        ]

    def test_not_without_scts_or_with_the_issuer(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """No timestamps of known logs, no address to fetch from, or an issuer at hand: no such excuse."""
        aia = ("http://ca.example/intermediate.der",)
        assert run_check(missing_issuer, world.case(EXAM, pki.issue([EXAM], aia=aia, scts=0).chain[:1])) == []
        assert run_check(missing_issuer, world.case(EXAM, pki.issue([EXAM]).chain[:1])) == []
        assert run_check(missing_issuer, world.case(EXAM, pki.issue([EXAM], aia=aia))) == []
        foreign = pki.issue([EXAM], aia=aia, foreign_sct=True)
        assert run_check(missing_issuer, world.case(EXAM, foreign.chain[:1])) == []


class TestIssuerShape:
    def test_shape_of_an_accused_issuer(self, world: World, pki: PrivatePKI) -> None:
        """Names that differ only in numbers and host names have one shape."""
        case = world.case(EXAM, pki.private_ca("Filter 4711 CA for exam.example.edu").issue([EXAM]))
        twin = world.case(LMS, pki.private_ca("Filter 12 CA for lms.example.org").issue([LMS]))
        network = NetworkEvidence.of([case, twin])
        assert list(issuer_shape.check(case, network)) == []
        assert twin.issuer_shape is not None
        network.accused_shapes = frozenset({twin.issuer_shape})
        assert [finding.outcome for finding in issuer_shape.check(case, network)] == ["as-intercepted"]
        stranger = world.case(SEARCH, pki.private_ca("Campus CA").issue([SEARCH]))
        assert list(issuer_shape.check(stranger, network)) == []


class TestPrivateOrigin:
    def test_kinds_of_private_servers(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """Which innocent reading fits is told for each shape of private chain."""
        campus = pki.private_ca("Campus CA")
        private = (campus.issue([EXAM]).leaf, campus.certificate)
        assert run_check(private_origin, world.case(EXAM, pki.self_signed([EXAM]))) == [("self-signed", "explains")]
        assert run_check(private_origin, world.case(EXAM, private)) == [("private-ca", "explains")]
        assert run_check(private_origin, world.case(EXAM, private[:1])) == [("issuer-absent", "explains")]
        assert run_check(private_origin, world.case(EXAM, pki.issue([EXAM]))) == []

    def test_retired_root(self, world: World, pki: PrivatePKI, run_check: Run) -> None:
        """A chain towards a root that public bundles once had may only meet a bundle that is too new."""
        retired = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Digital Signature Trust Co."),
                x509.NameAttribute(NameOID.COMMON_NAME, "DST Root CA X3"),
            ]
        )
        root = pki.private_ca(retired)
        issuing = root.subordinate("Some Issuing CA")
        case = world.case(EXAM, issuing.issue([EXAM]).chain[:2])
        assert run_check(private_origin, case) == [("retired-root", "explains")]


def test_every_check_is_listed_once() -> None:
    """The list runs exactly the check files there are, each under its own id."""
    assert len(checks.CHECKS) == len(list(pkgutil.iter_modules(checks.__path__)))
