"""Real chains through the pure pipeline: checks, table, attribution, report, for honest and forged worlds."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from detector.judge import assess
from detector.judge.evidence import EndpointEvidence
from detector.model import Outcome, Report, Result, Verdict
from detector.testing.pki import sct_list_of

if TYPE_CHECKING:
    from conftest import World

    from detector.testing import PrivatePKI

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
AIA = ("http://ca.example/issuing.der",)


def told(result: Result) -> tuple[int, str]:
    """Row and answer of a result."""
    return result.row, " ".join(filter(None, (result.verdict, result.confidence or result.assurance)))


def mitmproxy_name() -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "mitmproxy"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mitmproxy"),
        ]
    )


class TestGenuine:
    def test_public_and_logged(self, world: World, pki: PrivatePKI) -> None:
        """The ordinary web server, with ECDSA and RSA, with and without a cross-signed root."""
        for issue in ({}, {"key": "rsa"}, {"cross_signed": True}):
            assert told(world.one(EXAM, pki.issue([EXAM], **issue))) == (10, "clean logged")

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_misordered_and_crowded_chain(self, order: tuple[int, ...], world: World, pki: PrivatePKI) -> None:
        """Behind the leaf, order, strangers and duplicates do not matter."""
        issued = pki.issue([EXAM], cross_signed=True)
        stranger = pki.private_ca("Stranger").certificate
        rest = [issued.chain[1], issued.chain[2], stranger]
        chain = (issued.leaf, *(rest[i] for i in order), issued.chain[1])
        assert told(world.one(EXAM, chain)) == (10, "clean logged")

    def test_pinned_by_leaf_and_by_ca(self, world: World, pki: PrivatePKI) -> None:
        """Pins make the strongest offline assurance."""
        issued = pki.issue([EXAM])
        assert told(world.one(EXAM, issued, pins=(issued.spki_sha256,))) == (6, "clean pinned")
        assert told(world.one(EXAM, issued, pins=(pki.root_b.spki_sha256,))) == (6, "clean pinned")

    def test_benign_rotation(self, world: World, pki: PrivatePKI) -> None:
        """A new key under the same CA is possible at most with the old leaf pin, and clean with a pinned CA."""
        old, new = pki.issue([EXAM]), pki.issue([EXAM])
        rotated = world.one(EXAM, new, pins=(old.spki_sha256,))
        assert told(rotated) == (11, "middleware possible")
        assert "pin-rotation" in rotated.alternatives
        with_ca = world.one(EXAM, new, pins=(old.spki_sha256, pki.intermediate_ec.spki_sha256))
        assert told(with_ca) == (6, "clean pinned")

    def test_pinned_ca_does_not_bless_another_name(self, world: World, pki: PrivatePKI) -> None:
        """A certificate of the pinned CA for someone else's name is not clean."""
        other = pki.issue(["attacker.example.net"])
        assert told(world.one(EXAM, other, pins=(pki.root_b.spki_sha256,))) == (9, "middleware possible")

    def test_expired_genuine(self, world: World, pki: PrivatePKI) -> None:
        """A server that forgot to renew is no interceptor; with its leaf key pinned it stays pinned."""
        day = dt.timedelta(days=1)
        expired = pki.issue([EXAM], not_before=pki.now - 99 * day, not_after=pki.now - 9 * day)
        assert told(world.one(EXAM, expired)) == (10, "clean logged")
        assert told(world.one(EXAM, expired, pins=(expired.spki_sha256,))) == (6, "clean pinned")
        dates = next(f for f in world.one(EXAM, expired).findings if f.check == "dates")
        assert dates.outcome == "expired"

    def test_public_without_scts_is_possible(self, world: World, pki: PrivatePKI) -> None:
        """Unlogged under a public root is possible; with a pin mismatch or on unrelated operators probable."""
        unlogged = pki.issue([EXAM], scts=0)
        assert told(world.one(EXAM, unlogged)) == (13, "middleware possible")
        assert told(world.one(EXAM, unlogged, pins=(b"\1" * 32,))) == (12, "middleware probable")
        both = world.judge(*(world.case(host, pki.issue([host], scts=0)) for host in (EXAM, LMS)))
        assert [told(result) for result in both] == [(12, "middleware probable")] * 2

    def test_unknown_logs_are_no_evidence(self, world: World, pki: PrivatePKI) -> None:
        """Timestamps of logs nobody knows leave a public chain trusted."""
        foreign = pki.issue([EXAM], foreign_sct=True)
        assert told(world.one(EXAM, foreign)) == (14, "clean trusted")
        assert told(world.one(EXAM, foreign, pins=(b"\1" * 32,))) == (14, "middleware possible")

    def test_declared_private_pki(self, world: World, pki: PrivatePKI) -> None:
        """A campus server under its declared root is clean, even where that root is installed on the machine."""
        campus = pki.private_ca("Campus CA")
        case = {"private_roots": (campus.certificate,), "machine": (campus.certificate,)}
        both = [world.case(host, campus.issue([host]), **case) for host in (EXAM, LMS)]  # type: ignore[arg-type] # options
        assert [told(result) for result in world.judge(*both)] == [(7, "clean trusted")] * 2

    def test_gateway_below_the_declared_root(self, world: World, pki: PrivatePKI) -> None:
        """Who may sign under the declared root may be in the way: a failed comparison with pins is never clean."""
        campus = pki.private_ca("Campus CA")
        server, gateway = campus.issue([EXAM]), campus.issue([EXAM])
        declared = {"private_roots": (campus.certificate,), "pins": (server.spki_sha256,)}
        assert told(world.one(EXAM, server, **declared)) == (6, "clean pinned")
        result = world.one(EXAM, gateway, **declared)
        assert told(result) == (7, "middleware possible")
        assert result.alternatives == ("pin-rotation",)

    def test_self_signed_alone(self, world: World, pki: PrivatePKI) -> None:
        """A lone self-signed server is possible at most, with the innocent reading named."""
        result = world.one(EXAM, pki.self_signed([EXAM]))
        assert told(result) == (19, "middleware possible")
        assert result.alternatives == ("self-signed-origin",)

    def test_incomplete_chain(self, world: World, pki: PrivatePKI) -> None:
        """A forgotten intermediate is possible at most, on one endpoint and on several."""
        alone = world.one(EXAM, pki.issue([EXAM], aia=AIA).chain[:1])
        assert told(alone) == (16, "middleware possible")
        assert alone.alternatives == ("incomplete-chain",)
        several = [world.case(host, pki.issue([host], aia=AIA).chain[:1]) for host in (EXAM, LMS, SEARCH)]
        assert {told(result) for result in world.judge(*several)} == {(16, "middleware possible")}

    def test_fetched_issuer_completes_the_chain(self, world: World, pki: PrivatePKI) -> None:
        """With the forgotten intermediate fetched the chain is judged like any other; a stranger changes nothing."""
        alone = world.case(EXAM, pki.issue([EXAM], aia=AIA).chain[:1])

        def with_fetched(*issuers: bytes) -> tuple[int, str]:
            return told(world.judge(EndpointEvidence(alone.endpoint, alone.observation, alone.context, issuers))[0])

        assert with_fetched(pki.intermediate_ec.certificate) == (10, "clean logged")
        assert with_fetched(pki.private_ca("Stranger").certificate) == (16, "middleware possible")

    def test_fetched_issuer_ends_the_excuse(self, world: World, pki: PrivatePKI) -> None:
        """Copied timestamps and an omitted issuer buy nothing once the forger's own CA was fetched."""
        ca, genuine = pki.private_ca("Filter CA"), pki.issue([EXAM])
        forged = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf), aia=AIA)
        excused = world.case(EXAM, forged.chain[:1], pins=(genuine.spki_sha256,))
        assert told(world.judge(excused)[0]) == (16, "middleware possible")
        fetched = EndpointEvidence(excused.endpoint, excused.observation, excused.context, [ca.certificate])
        assert told(world.judge(fetched)[0]) == (17, "middleware proven")

    def test_wrong_clock(self, world: World, pki: PrivatePKI) -> None:
        """A laptop years off is told about its clock where dates would decide, and is never called intercepted."""
        campus = pki.private_ca("Campus CA")
        at = pki.now + dt.timedelta(days=3650)
        private = world.case(EXAM, campus.issue([EXAM]), at=at, private_roots=(campus.certificate,))
        public = [world.case(host, pki.issue([host]), at=at) for host in (LMS, SEARCH)]
        results = world.judge(private, *public)
        assert told(results[0]) == (8, "inconclusive")
        assert results[0].reason == "clock-skew"
        assert [told(result) for result in results[1:]] == [(10, "clean logged")] * 2


class TestForged:
    def test_pinned_endpoint(self, world: World, pki: PrivatePKI) -> None:
        """An unknown CA on a pinned endpoint is proven."""
        forged = pki.private_ca("Filter CA").issue([EXAM])
        assert told(world.one(EXAM, forged, pins=(pki.issue([EXAM]).spki_sha256,))) == (17, "middleware proven")

    def test_appended_genuine_chain(self, world: World, pki: PrivatePKI) -> None:
        """The genuine chain behind the forged leaf buys nothing."""
        genuine = pki.issue([EXAM])
        forged = pki.private_ca("Filter CA").issue(copy_from=genuine.leaf)
        chain = (*forged.chain, *genuine.chain)
        assert told(world.one(EXAM, chain, pins=(genuine.spki_sha256,))) == (17, "middleware proven")
        assert world.one(EXAM, chain).verdict is Verdict.MIDDLEWARE

    def test_same_dn_as_the_genuine_issuer(self, world: World, pki: PrivatePKI) -> None:
        """A CA with the byte-identical name of the genuine one signs nothing for it."""
        genuine = pki.issue([EXAM])
        forged = pki.private_ca(copy_from=pki.intermediate_ec.certificate).issue(copy_from=genuine.leaf)
        with_genuine_issuer = world.one(EXAM, (forged.leaf, *genuine.chain[1:]))
        assert told(with_genuine_issuer) == (15, "middleware proven")
        alone = world.one(EXAM, forged.chain, pins=(pki.intermediate_ec.spki_sha256,))
        assert told(alone) == (17, "middleware proven")

    def test_unrelated_operators_without_any_pins(self, world: World, pki: PrivatePKI) -> None:
        """One private CA on two operators needs no pins."""
        ca = pki.private_ca("Filter CA")
        results = world.judge(*(world.case(host, ca.issue([host])) for host in (EXAM, LMS)))
        assert [told(result) for result in results] == [(15, "middleware proven")] * 2

    def test_copied_scts_do_not_log(self, world: World, pki: PrivatePKI) -> None:
        """Timestamps lifted from the genuine certificate do not verify over the forged one."""
        genuine = pki.issue([EXAM])
        ca = pki.private_ca("Filter CA")
        forged = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf))
        result = world.one(EXAM, (forged.leaf, ca.certificate), pins=(genuine.spki_sha256,))
        assert told(result) == (17, "middleware proven")
        transparency = next(f for f in result.findings if f.check == "transparency")
        assert {sct["status"] for sct in transparency.data["scts"]} == {"invalid-signature"}

    def test_attributed_to_mitmproxy(self, world: World, pki: PrivatePKI) -> None:
        """A known mark names the product; unknown ones are told by their issuer."""
        known = world.one(EXAM, pki.private_ca(mitmproxy_name()).issue([EXAM]))
        assert told(known) == (15, "middleware proven")
        assert known.attribution is not None
        assert "mitmproxy" in str(known.attribution.product)
        unknown = world.one(EXAM, pki.private_ca("Nobody CA").issue([EXAM]))
        assert unknown.attribution is not None
        assert unknown.attribution.product is None
        assert unknown.attribution.issuer == "CN=Nobody CA"
        assert unknown.attribution.managed_by == "institution"

    def test_weak_mark_names_nobody(self, world: World, pki: PrivatePKI) -> None:
        """What only supports other evidence, or marks a developer's own CA, is told and attributes nothing."""
        mkcert = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mkcert development CA")])
        result = world.one(EXAM, pki.private_ca(mkcert).issue([EXAM]))
        assert ("catalogue", "weak") in {(f.check, f.outcome) for f in result.findings}
        assert result.attribution is not None
        assert (result.attribution.product, result.attribution.managed_by) == (None, "institution")
        assert "mkcert" in result.attribution.basis

    def test_replayed_chain(self, world: World, pki: PrivatePKI) -> None:
        """The genuine chain without its key is never clean, pinned or not."""
        genuine = pki.issue([EXAM])
        pins = {"pins": (genuine.spki_sha256,)}
        wrong = world.one(EXAM, genuine, key_proved=False, outcome=Outcome.SIGNATURE_WRONG, **pins)
        assert told(wrong) == (3, "middleware probable")
        cut = world.one(EXAM, genuine, key_proved=False, outcome=Outcome.RESET, **pins)
        assert told(cut) == (4, "inconclusive")
        assert cut.reason == "key-not-proved"

    def test_captive_portal(self, world: World, pki: PrivatePKI) -> None:
        """One wrong certificate for everybody is middleware of the category captive portal: sign in."""
        portal = pki.private_ca("Hotspot CA").issue(["hotspot.example.net"])
        results = world.judge(*(world.case(host, portal) for host in (EXAM, LMS)))
        for result in results:
            assert result.verdict is Verdict.MIDDLEWARE
            assert result.attribution is not None
            assert result.attribution.category == "captive-portal"
            assert "sign in" in result.advice

    def test_shape_of_an_accused_neighbour(self, world: World, pki: PrivatePKI) -> None:
        """A lone forged leaf whose issuer looks like the proven neighbour's is probable."""
        pinned = world.case(EXAM, pki.private_ca("Filter 1 CA").issue([EXAM]), pins=(b"\1" * 32,))
        lone = world.case("www.example.edu", pki.private_ca("Filter 2 CA").issue(["www.example.edu"]))
        assert [told(r) for r in world.judge(pinned, lone)] == [(17, "middleware proven"), (18, "middleware probable")]
        assert told(world.judge(lone)[0]) == (19, "middleware possible")

    @pytest.mark.parametrize("garbage", [b"", b"\x30", b"\x30\x80\0\0", b"\xff" * 64, b"\x30\x82\xff\xff" + b"\0" * 99])
    def test_unparsable_leaf_is_judged(self, garbage: bytes, world: World, pki: PrivatePKI) -> None:
        """A leaf that no library loads was presented all the same: never clean, and proven against a pin."""
        genuine = pki.issue([EXAM])
        chain = (garbage, *genuine.chain)
        assert told(world.one(EXAM, chain)) == (19, "middleware possible")
        assert told(world.one(EXAM, chain, pins=(genuine.spki_sha256,))) == (17, "middleware proven")


@pytest.fixture(scope="module")
def mixed(world: World) -> list[EndpointEvidence]:
    """A network with honest, forged and oddly pinned endpoints."""
    pki = world.pki
    ca, other = pki.private_ca("Filter CA"), pki.private_ca("Other CA")
    return [
        world.case(EXAM, pki.issue([EXAM])),
        world.case(LMS, ca.issue([LMS])),
        world.case(SEARCH, ca.issue([SEARCH])),
        world.case("a.example.net", other.issue(["a.example.net"]), pins=(b"\1" * 32,)),
        world.case("www.example.net", pki.issue(["www.example.net"])),
    ]


@given(order=st.permutations(range(5)))
def test_order_of_endpoints_does_not_matter(world: World, mixed: list[EndpointEvidence], order: list[int]) -> None:
    """Every endpoint gets the same verdict whatever the order of the list."""
    expected = {r.endpoint.name: told(r) for r in world.judge(*mixed)}
    assert {r.endpoint.name: told(r) for r in world.judge(*(mixed[i] for i in order))} == expected


class TestReport:
    def test_interceptors_and_json(self, world: World, pki: PrivatePKI) -> None:
        """The report groups endpoints by interceptor and survives JSON unchanged."""
        ca = pki.private_ca(mitmproxy_name())
        cases = [world.case(EXAM, pki.issue([EXAM])), *(world.case(h, ca.issue([h])) for h in (LMS, SEARCH))]
        report = assess.report(
            world.judge(*cases),
            world.context(),
            started=pki.now,
            finished=pki.now,
            vantage="test",
            version="0",
        )
        assert [i.endpoints for i in report.interceptors] == [(f"{LMS}:443", f"{SEARCH}:443")]
        assert (report.verdict, report.confidence, report.scope) == ("middleware", "proven", "selective")
        assert Report.from_json(report.to_json()) == report
