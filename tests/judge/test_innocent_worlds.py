"""Innocent worlds that resemble interception: nobody is accused of more than an innocent reading leaves open."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from detector_testing.der import SEQUENCE, children, encode
from detector_testing.pki import encode_tls_scts
from support.odd_keys import GOST_2012, GOST_SPKI, SM2_SM3, ml_dsa_key, rewritten
from support.worlds import (
    DAY,
    EXAM,
    LMS,
    SEARCH,
    below,
    dated,
    edited,
    in_name_of,
    logged,
    named,
    said,
    sent,
    with_extension,
    without,
)

from detector.model import Alternative, Hello, PortalObservation, PortalOutcome, RecordedIdentity, RootOrigin, Route
from detector.trust.roots import Roots, from_der

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import CA, Issued

    from detector.judge.evidence import Context
    from detector.model import Result

HOSTS: Final = (EXAM, LMS, SEARCH)
PUBLIC: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": "93.184.216.34:443"}
PRIVATE: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": "10.20.0.1:443"}
POSSIBLE: Final = "possible"


def sure(result: Result) -> str:
    """How sure a result is, or on what it rests."""
    return said(result)[0]


class TestOldCopies:
    """A genuine site and an honest network, seen by a copy that was not updated."""

    def context(self, world: World, months: int, *, roots: str, logs: str, store: RootOrigin | None) -> Context:
        """A copy of this age: its roots may lack the site's, its logs may lack all of today's; an updated system."""
        pki, days = world.pki, 30 * months
        known = world.roots if roots == "known" else Roots([world.roots.roots[0]], name="old", version="")
        date, listed = (pki.now - days * DAY).date(), world.logs.logs if logs == "known" else {}
        aged = msgspec.structs.replace(world.logs, date=date, logs=listed)
        machine: dict[str, Any] = {"machine": (pki.root_b.certificate,), "origin": store} if store else {}
        return world.context(roots=dated(known, days, pki), logs=aged, **machine)

    @pytest.mark.parametrize("store", [None, RootOrigin.SHIPPED, RootOrigin.UNKNOWN])
    @pytest.mark.parametrize("months", [1, 3, 6, 9, 12, 24])
    @pytest.mark.parametrize(("roots", "logs"), [("known", "unknown"), ("new", "known"), ("new", "unknown")])
    def test_never_probable_and_old_copies_say_so(
        self, months: int, roots: str, logs: str, store: RootOrigin | None, world: World
    ) -> None:
        """At most possible for a month-old leaf alone; past the horizons it is the copy that is too old."""
        context = self.context(world, months, roots=roots, logs=logs, store=store)
        result = world.judge(world.case(EXAM, world.pki.issue([EXAM]), context=context))[0]
        past_logs, past_roots = 30 * months - 30 > 70, 30 * months - 30 > 180
        if roots == "known":
            assert said(result) == (("inconclusive", "stale-knowledge") if past_logs else (POSSIBLE, "public-unlogged"))
        elif past_roots:
            assert said(result) == ("inconclusive", "stale-knowledge")
        else:
            assert said(result) == (POSSIBLE, "unfamiliar-root" if store else "private-chain")

    @pytest.mark.parametrize("months", [9, 12, 24])
    @pytest.mark.parametrize("logs", ["known", "unknown"])
    def test_a_new_root_above_well_known_sites(self, months: int, logs: str, world: World) -> None:
        """Three operators, one of them a canary, below a root that the copy cannot know: stale, all of them."""
        context = self.context(world, months, roots="new", logs=logs, store=None)
        cases = [world.case(host, world.pki.issue([host]), context=context) for host in HOSTS]
        cases.append(
            world.case("canary.example.net", world.pki.issue(["canary.example.net"]), context=context, canary=True)
        )
        assert {said(result) for result in world.judge(*cases)} == {("inconclusive", "stale-knowledge")}

    def test_a_root_that_a_newer_list_dropped(self, world: World) -> None:
        """A site that still has its certificate of a former root, also with pins: retired, and possible by its pins."""
        context = world.context(roots=without(world.roots, world.pki.root_b))
        genuine = world.pki.issue([EXAM])
        assert said(world.one(EXAM, genuine, context=context, canary=True)) == ("inconclusive", "retired")
        stale = world.one(EXAM, genuine, context=context, pins=(b"\1" * 32,))
        assert said(stale) == (POSSIBLE, "pin-mismatch")


class TestOwnPages:
    """Appliances' own pages, default certificates and sign-in pages: servers of somebody, for another name."""

    FORTINET: Final[dict[str, str]] = {"C": "US", "O": "Fortinet"}
    PAGES: Final[dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
        "stock FortiManager": ({**FORTINET, "OU": "FortiManager", "CN": "FMG-VM0000123456"}, ()),
        "FortiGate admin page": ({**FORTINET, "OU": "FortiGate", "CN": "FGT60FTK20001234"}, ()),
        "SonicWall management": (
            {"O": "HTTPS Management Certificate for SonicWALL (self-signed)", "CN": "192.168.168.168"},
            (),
        ),
        "UniFi console": ({"O": "Ubiquiti Inc.", "OU": "UniFi", "CN": "UniFi"}, ()),
        "Sophos page": ({"C": "GB", "O": "Sophos", "CN": "Appliance_Certificate"}, ()),
        "WatchGuard VPN page": ({"O": "WatchGuard", "OU": "Fireware", "CN": "Fireware SSLVPN Server"}, ()),
        "Blue Coat console": ({"O": "Blue Coat SG210 Series", "OU": "1234567890", "CN": "192.0.2.1"}, ()),
        "NetScaler default": ({"O": "Citrix ANG", "OU": "NS Internal", "CN": "default ABCDEF"}, ()),
        "Traefik default": ({"CN": "TRAEFIK DEFAULT CERT"}, ("0123.traefik.default",)),
        "Kubernetes ingress": (
            {"O": "Acme Co", "CN": "Kubernetes Ingress Controller Fake Certificate"},
            ("ingress.local",),
        ),
        "Plesk default": ({"C": "CH", "O": "Plesk", "CN": "Plesk"}, ()),
        "hotel gateway": ({"CN": "portal.hotel.local"}, ("portal.hotel.local",)),
        "snakeoil": ({"CN": "localhost.localdomain"}, ()),
    }

    def page(self, world: World, name: str) -> Issued:
        """A self-signed certificate of that appliance, with a key of its own."""
        attributes, names = self.PAGES[name]
        own = dataclasses.replace(world.pki.private_ca(named(**attributes)), key_identifier=None)
        return own.issue(names, key=own.key, subject=own.subject)

    @pytest.mark.parametrize("name", PAGES)
    def test_one_page(self, name: str, world: World) -> None:
        """At most possible, whatever is known or pinned; nobody is named, and no product's owner asked for anything."""
        page = self.page(world, name)
        learned: dict[str, Any] = {"pins": (b"\1" * 32,), "identity": RecordedIdentity.PUBLIC}
        for known in ({}, {"canary": True}, learned):
            result = world.one(EXAM, page, seen=PUBLIC, **known)
            assert said(result) == (POSSIBLE, "wrong-name")
            assert result.attribution is None
            assert Alternative.CAPTIVE_PORTAL in result.alternatives
            assert "sign-in page" in result.advice

    @pytest.mark.parametrize("name", ["Kubernetes ingress", "Plesk default", "snakeoil", "hotel gateway"])
    def test_the_same_page_everywhere(self, name: str, world: World) -> None:
        """Unrelated hosts with one software's default, each with its own key or all with one, canaries among them."""
        shared = self.page(world, name)
        for pages in ([self.page(world, name) for _ in HOSTS], [shared] * 3):
            cases = [
                world.case(host, page, seen=PUBLIC, canary=host == SEARCH)
                for host, page in zip(HOSTS, pages, strict=True)
            ]
            assert {said(result) for result in world.judge(*cases)} == {(POSSIBLE, "wrong-name")}

    @pytest.mark.parametrize("outcome", [PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.OPEN, None])
    @pytest.mark.parametrize("public", [False, True])
    def test_a_portal_in_front_of_a_pinned_exam(
        self,
        outcome: PortalOutcome | None,
        public: bool,  # noqa: FBT001 - a parameter of a table of cases
        world: World,
    ) -> None:
        """With a certificate of its own or a public one for its own name: sign in first, where that is known."""
        context = world.context(
            portal=None if outcome is None else PortalObservation(outcome=outcome, url="http://check.example/204")
        )
        page = world.pki.issue(["securelogin.example.com"]) if public else self.page(world, "hotel gateway")
        learned: dict[str, Any] = {"pins": (b"\1" * 32,), "identity": RecordedIdentity.PUBLIC}
        result = world.one(EXAM, page, context=context, seen=PUBLIC, **learned)
        assert said(result) == (POSSIBLE, "wrong-name")
        assert result.alternatives[0] is Alternative.CAPTIVE_PORTAL
        proved = outcome in {PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED}
        first = "Open a browser and sign in" if proved else "If this network has a sign-in page"
        assert result.advice.startswith(first)

    def test_a_portal_that_answers_for_everybody(self, world: World) -> None:
        """One certificate for three operators proves the portal without any control request."""
        page = self.page(world, "hotel gateway")
        for result in world.judge(*(world.case(host, page, seen=PUBLIC) for host in HOSTS)):
            assert said(result) == (POSSIBLE, "wrong-name")
            assert result.advice.startswith("Open a browser and sign in")

    def test_a_page_for_the_right_name(self, world: World) -> None:
        """A server that bears a maker's name, for its own host: its own subject is no mark of interception."""
        maker = named(O="Zscaler Inc.", CN=EXAM)
        own = dataclasses.replace(world.pki.private_ca(maker), key_identifier=None)
        result = world.one(EXAM, own.issue([EXAM], key=own.key, subject=own.subject))
        assert said(result) == (POSSIBLE, "private-chain")
        assert (result.attribution, result.alternatives) == (None, (Alternative.SELF_SIGNED_ORIGIN,))


class TestPrivatePki:
    """Institutions with CAs of their own, developers' machines, and one institution with many names."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("shop.test", "blog.test"),
            ("dc1.ads.intra", "web.www.intra"),
            ("sso.uni-x.dom", "lms.campus.dom"),
            ("131.159.0.10", "131.159.0.11"),
            ("2a01:4f8:1::10", "2a01:4f8:1::11"),
            ("lms.uni.example.edu", "lms.uni-example.org"),
            ("a.s3.example.internal", "b.lan"),
            ("srv.localdomain", "nas.home"),
            ("alice.github.io", "bob.github.io"),
            ("vm1.azurewebsites.net", "vm2.azurewebsites.net"),
            ("x.invalid", "y.invalid"),
            ("nas", "printer"),
        ],
    )
    def test_one_institution_with_many_names(self, one: str, other: str, world: World) -> None:
        """Alone it is possible, whatever its names; among clean canaries as well."""
        ca = world.pki.private_ca("Example University Server CA")
        canary = world.case("canary.example.net", world.pki.issue(["canary.example.net"]), seen=PUBLIC, canary=True)
        cases = [world.case(host, sent(ca, host), seen=PUBLIC) for host in (one, other)]
        assert {sure(result) for result in world.judge(*cases, canary)[:2]} == {POSSIBLE}

    @pytest.mark.parametrize("host", ["exam.internal", "exam.test", "10.20.0.1"])
    def test_private_names_are_alone_in_any_company(self, host: str, world: World) -> None:
        """Where a canary is intercepted, a private name or address stays possible: it has servers of its own."""
        ca, other = world.pki.private_ca("Campus CA"), world.pki.private_ca("Filter CA")
        canary = world.case("canary.example.net", sent(other, "canary.example.net"), seen=PUBLIC, canary=True)
        cases = [world.case(host, sent(ca, host), seen=PRIVATE), world.case("lms.internal", sent(ca, "lms.internal"))]
        assert {sure(result) for result in world.judge(*cases, canary)[:2]} == {POSSIBLE}

    def test_split_horizon_of_two_domains(self, world: World) -> None:
        """Two domains of one institution at private addresses, below one CA that its policy installed, or did not."""
        ca = world.pki.private_ca(named(O="Alpha University", CN="Alpha University Internal Issuing CA 2"))
        for machine in ((), (ca.certificate,)):
            cases = [
                world.case(host, sent(ca, host), seen=PRIVATE, machine=machine)
                for host in ("lms.alphauni.edu", "portal.alphahospital.org")
            ]
            results = world.judge(*cases)
            assert {sure(result) for result in results} == {POSSIBLE}
            assert all(Alternative.PRIVATE_PKI in result.alternatives for result in results)
            assert "private_roots" in str(results[0].advice_for)

    def test_a_policys_ca_with_clean_canaries(self, world: World) -> None:
        """A university's own CA that its policy installed, on unrelated domains, while every canary is clean."""
        ca = world.pki.private_ca("Campus CA")
        context = world.context(machine=(ca.certificate,), origin=RootOrigin.POLICY)
        canaries = [
            world.case(host, world.pki.issue([host]), seen=PUBLIC, canary=True)
            for host in ("a.example.net", "b.example.org")
        ]
        cases = [world.case(host, sent(ca, host), seen=PUBLIC, context=context) for host in (EXAM, LMS)]
        assert {said(result) for result in world.judge(*cases, *canaries)[:2]} == {(POSSIBLE, "added-root")}

    def test_a_developers_machine(self, world: World) -> None:
        """mkcert's root is installed and signs two sites of the developer's; Charles's is installed and signs none."""
        mkcert = world.pki.private_ca(named(O="mkcert development CA", CN="mkcert dev@laptop"))
        charles = world.pki.private_ca("Charles Proxy CA (1 Jan 2026, laptop)")
        roots = (mkcert.certificate, charles.certificate)
        results = world.judge(
            world.case("shop.test", sent(mkcert, "shop.test"), machine=roots),
            world.case("www.example.edu", sent(mkcert, "www.example.edu"), machine=roots),
            world.case(EXAM, world.pki.issue([EXAM]), machine=roots),
        )
        assert [said(result) for result in results] == [(POSSIBLE, "added-root")] * 2 + [("logged", "logged")]
        assert all(result.attribution is None for result in results)
        assert Alternative.DEVELOPMENT_CA in results[0].alternatives

    def test_a_renewed_self_signed_server(self, world: World) -> None:
        """A Moodle whose pinned self-signed certificate was renewed is possible, and its pins are named."""
        result = world.one(EXAM, world.pki.self_signed([EXAM]), seen=PUBLIC, pins=(b"\1" * 32,))
        assert said(result) == (POSSIBLE, "pin-mismatch")
        assert result.alternatives == (Alternative.PIN_ROTATION, Alternative.SELF_SIGNED_ORIGIN)

    @pytest.mark.parametrize("sends_ca", [True, False])
    @pytest.mark.parametrize("with_identifier", [True, False])
    def test_cas_of_one_generic_name(self, sends_ca: bool, with_identifier: bool, world: World) -> None:  # noqa: FBT001 - a parameter of a table of cases
        """Every host with an 'Easy-RSA CA' of its own has a signer of its own: a name is no signer."""
        cases = []
        for host in HOSTS:
            ca = world.pki.private_ca("Easy-RSA CA", authority_key_identifier=with_identifier)
            cases.append(world.case(host, sent(ca, host) if sends_ca else ca.issue([host]), seen=PUBLIC))
        assert {said(result) for result in world.judge(*cases)} == {(POSSIBLE, "private-chain")}

    def test_one_private_ca_for_three_operators_is_possible_alone(self, world: World) -> None:
        """A consortium is seen like that; only in the company of an intercepted canary is it probable."""
        ca = world.pki.private_ca("Consortium CA")
        cases = [world.case(host, sent(ca, host), seen=PUBLIC) for host in HOSTS]
        assert {said(result) for result in world.judge(*cases)} == {(POSSIBLE, "one-private-signer")}


class TestRotations:
    """Operators change CAs and keys; pins of the old ones are stale."""

    def test_what_each_change_of_a_chain_is(self, world: World) -> None:
        """Another CA, another key, another root, a cross-sign that came, expired or is the only path."""
        pki = world.pki
        genuine, other = pki.issue([EXAM]), pki.issue([EXAM], key="rsa")
        crossed = pki.issue([EXAM], cross_signed=True)
        old_cross = in_name_of(pki.root_b, pki.root_a, days=(-2000, -900)).certificate
        ca, root = pki.intermediate_ec.spki_sha256, pki.root_b.spki_sha256
        only = {name: Roots([one], name=name, version="") for name, one in zip("ab", world.roots.roots, strict=True)}
        yesterday = (pki.now - DAY).date()
        worlds: list[tuple[tuple[str, str], Result]] = [
            ((POSSIBLE, "pin-mismatch"), world.one(EXAM, other, pins=(ca, root))),
            ((POSSIBLE, "pin-mismatch"), world.one(EXAM, pki.issue([EXAM]), pins=(genuine.spki_sha256,))),
            (("logged", "logged"), world.one(EXAM, other, pins=(ca, root), expires=yesterday)),
            (("logged", "logged"), world.one(EXAM, genuine, pins=(b"\2" * 32, root))),
            (("pinned", "pinned-ca"), world.one(EXAM, pki.issue([EXAM]), pins=(genuine.spki_sha256, ca))),
            (("logged", "logged"), world.one(EXAM, crossed, context=world.context(roots=only["a"]))),
            (("logged", "logged"), world.one(EXAM, crossed, context=world.context(roots=only["b"]))),
            (
                ("logged", "logged"),
                world.one(EXAM, (*genuine.chain, old_cross), context=world.context(roots=only["b"])),
            ),
            (
                ("inconclusive", "expired"),
                world.one(EXAM, (*genuine.chain, old_cross), context=world.context(roots=only["a"])),
            ),
        ]
        assert [said(result) for _, result in worlds] == [expected for expected, _ in worlds]

    def test_stale_pins_are_called_that(self, world: World) -> None:
        """The first explanation is the rotation, nobody is named, and the pin file's keeper is asked to update it."""
        result = world.one(EXAM, world.pki.issue([EXAM]), pins=(b"\1" * 32,))
        assert result.alternatives[0] is Alternative.PIN_ROTATION
        assert result.attribution is None
        assert "out of date" in str(result.advice_for)

    def test_an_edge_with_several_certificates(self, world: World) -> None:
        """A CDN's other certificate, logged, next to one that fits the pins is excused, on any route or hello."""
        pinned, other = world.pki.issue([EXAM]), world.pki.issue([EXAM], key="ec384")
        for facts in ({"route": Route.QUIC}, {"hello": Hello.OPENSSL}, {"address": "1.1.1.1:443"}):
            others = [world.observed(pinned, **{**PUBLIC, **facts})]
            result = world.one(EXAM, other, seen=PUBLIC, others=others, pins=(pinned.spki_sha256,))
            assert said(result) == ("logged", "logged")


class TestUnreadable:
    """Chains in algorithms that cannot be verified here."""

    def chain(self, kind: str, host: str, world: World) -> tuple[bytes, ...]:
        genuine = world.pki.issue([host])
        odd = {"GOST": GOST_2012, "SM2": SM2_SM3}
        if kind in odd:
            issuer = rewritten(world.pki.intermediate_ec.certificate, algorithm=odd[kind])
            return (rewritten(genuine.leaf, algorithm=odd[kind]), issuer)
        return (genuine.leaf, rewritten(world.pki.intermediate_ec.certificate, key=GOST_SPKI))

    @pytest.mark.parametrize("kind", ["GOST", "SM2", "another key"])
    def test_cannot_tell_is_no_accusation(self, kind: str, world: World) -> None:
        """Inconclusive alone and on two operators; with pins, or known to be public, possible at most."""
        chains = {host: self.chain(kind, host, world) for host in HOSTS}
        cases = [world.case(host, chains[host], context=world.context(roots=_nobody())) for host in HOSTS]
        assert {said(result) for result in world.judge(*cases)} == {("inconclusive", "unreadable")}
        known = world.case(EXAM, chains[EXAM], context=world.context(roots=_nobody()), canary=True)
        assert said(world.judge(known)[0]) == (POSSIBLE, "unreadable-persists")

    def test_ml_dsa_is_verified(self, world: World) -> None:
        """A genuine chain below an ML-DSA root, with timestamps, is clean; without them it is what any other is."""
        pki = world.pki
        root = dataclasses.replace(pki.private_ca("Example ML-DSA Root"), key=ml_dsa_key(65))
        root = _self_signed_again(root)
        ca = below(root, "Example ML-DSA CA", key=ml_dsa_key(65))
        roots = Roots(
            (*world.roots.roots, *from_der([root.certificate], name="root").roots), name="with ML-DSA", version=""
        )
        context = world.context(roots=roots)
        assert said(world.one(EXAM, logged(pki, ca, EXAM), context=context)) == ("logged", "logged")
        unlogged = [world.case(host, ca.issue([host]), context=context) for host in (EXAM, LMS)]
        assert said(world.judge(unlogged[0])[0]) == (POSSIBLE, "public-unlogged")

    @pytest.mark.parametrize("mask", [hashes.SHA1(), hashes.SHA256(), hashes.SHA512()], ids=lambda mask: mask.name)  # noqa: S303 - what RFC 4055 has as default
    def test_rsa_pss_with_any_mask(self, mask: hashes.HashAlgorithm, world: World) -> None:
        """A private CA that signs with RSA-PSS is a private CA, whichever hash its MGF1 has."""
        ca = world.pki.private_ca("Ministry PSS CA", key="rsa")
        leaf = x509.load_der_x509_certificate(ca.issue([EXAM]).leaf)
        builder = (
            x509.CertificateBuilder()
            .subject_name(leaf.subject)
            .issuer_name(leaf.issuer)
            .public_key(leaf.public_key())
            .serial_number(7)
            .not_valid_before(leaf.not_valid_before_utc)
            .not_valid_after(leaf.not_valid_after_utc)
        )
        for extension in leaf.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        signed = builder.sign(ca.key, hashes.SHA256(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32))
        der = signed.public_bytes(serialization.Encoding.DER)
        chain = (der if mask.name == "sha256" else _with_mask(ca, der, mask), ca.certificate)
        assert said(world.one(EXAM, chain)) == (POSSIBLE, "private-chain")
        declared = world.one(EXAM, chain, private_roots=(ca.certificate,))
        assert said(declared)[1] in {"declared", "declared-not-accepted"}


def _with_mask(ca: CA, certificate: bytes, mask: hashes.HashAlgorithm) -> bytes:
    """An RSA-PSS certificate signed again with another mask generation function (RFC 4055 section 3.1)."""
    identifiers = {
        "sha1": "300906052b0e03021a0500",
        "sha512": "300d06096086480165030402030500",
        "sha256": "300d06096086480165030402010500",
    }
    digest = bytes.fromhex(identifiers["sha256"])
    mgf = encode(SEQUENCE, bytes.fromhex("06092a864886f70d010108"), bytes.fromhex(identifiers[mask.name]))
    parameters = encode(SEQUENCE, encode(0xA0, digest), encode(0xA1, mgf), encode(0xA2, b"\x02\x01\x20"))
    algorithm = encode(SEQUENCE, bytes.fromhex("06092a864886f70d01010a"), parameters)
    fields = children(children(certificate)[0])
    fields[2] = algorithm
    tbs = encode(SEQUENCE, *fields)
    signature = ca.key.sign(tbs, padding.PSS(padding.MGF1(mask), 32), hashes.SHA256())  # type: ignore[call-arg,arg-type] # RSA
    return encode(SEQUENCE, tbs, algorithm, encode(0x03, b"\0", signature))


def _nobody() -> Roots:
    return Roots((), name="nobody", version="")


def _self_signed_again(ca: CA) -> CA:
    """This CA with a certificate of its new key."""
    return dataclasses.replace(below(ca, ca.subject, key=ca.key), chain=())


class TestOtherForms:
    """Genuine servers in forms that are rare."""

    def test_timestamps_outside_the_certificate(self, world: World) -> None:
        """A CA that hands them over in the TLS extension only, for two of its customers."""
        cases = []
        for host in (EXAM, LMS):
            issued = world.pki.issue([host], scts=0)
            scts = encode_tls_scts(world.pki.scts_of(issued.leaf))
            cases.append(world.case(host, issued, seen={**PUBLIC, "sct_list": scts}))
        assert {said(result) for result in world.judge(*cases)} == {("logged", "logged")}

    def test_a_pasted_chain_of_such_a_server(self, world: World) -> None:
        """What could not be seen is said, and accuses nobody, on one operator and on two."""
        cases = [world.case(h, world.pki.issue([h], scts=0), seen={"scts_carried": False}) for h in (EXAM, LMS)]
        assert {said(result) for result in world.judge(*cases)} == {("inconclusive", "scts-not-carried")}

    @pytest.mark.parametrize("days", [-1095, -60, 8 * 365, -20000])
    def test_a_wrong_clock(self, days: int, world: World) -> None:
        """Years off on either side: the clock is named, and neither sites nor canaries are accused."""
        at = world.pki.now + days * DAY
        cases = [world.case(host, world.pki.issue([host]), at=at, canary=host == LMS) for host in (EXAM, LMS)]
        results = world.judge(*cases)
        assert {said(result) for result in results} == {("inconclusive", "clock-wrong")}
        assert "date and time" in results[0].advice

    def test_short_lived_and_wildcard_certificates(self, world: World) -> None:
        """Six days of life, and a wildcard over a name in another script."""
        pki = world.pki
        brief = pki.issue([EXAM], not_before=pki.now - DAY, not_after=pki.now + 5 * DAY)
        assert said(world.one(EXAM, brief)) == ("logged", "logged")
        wild = pki.issue(["*.example.edu"])
        assert said(world.one("xn--prfung-kva.example.edu", wild)) == ("logged", "logged")

    CLEAN: Final[dict[str, Callable[[list[bytes]], None]]] = {
        "negative serial number": lambda fields: fields.__setitem__(1, b"\x02\x02\xff\x01"),
        "serial number zero": lambda fields: fields.__setitem__(1, b"\x02\x01\x00"),
        "serial number of 40 bytes": lambda fields: fields.__setitem__(1, b"\x02\x28" + b"\x7f" * 40),
        "subject in T61": lambda fields: fields.__setitem__(5, _name(0x14, "Prüfung".encode("latin-1"))),
        "subject in BMP": lambda fields: fields.__setitem__(5, _name(0x1E, "Prüfung".encode("utf-16-be"))),
        "subject of 400 characters": lambda fields: fields.__setitem__(5, _name(0x0C, b"a" * 400)),
        "an unknown extension": with_extension("1.2.3.4.5", b"\x05\x00"),
    }
    NOT_TAKEN: Final[dict[str, Callable[[list[bytes]], None]]] = {
        "a serial number that is no DER": lambda fields: fields.__setitem__(1, b"\x02\x03\x00\x00\x01"),
        "an empty serial number": lambda fields: fields.__setitem__(1, b"\x02\x00"),
        "version 4": lambda fields: fields.__setitem__(0, b"\xa0\x03\x02\x01\x03"),
        "an unknown critical extension": with_extension("1.2.3.4.5", b"\x05\x00", critical=True),
        "a second name list": with_extension("2.5.29.17", b"\x30\x0f\x82\x0dwww.other.net"),
        "a time with an offset": lambda fields: fields.__setitem__(
            4, encode(SEQUENCE, b"\x17\x11261001000000+0100", children(fields[4])[1])
        ),
    }

    @pytest.mark.parametrize("form", CLEAN)
    def test_odd_forms_that_clients_take(self, form: str, world: World) -> None:
        """A public CA's logged leaf is clean, however oddly it is written."""
        ca = world.pki.intermediate_ec
        leaf = edited(ca, ca.issue([EXAM]).leaf, self.CLEAN[form], world.pki.ct_logs[:2])
        assert said(world.one(EXAM, (leaf, *ca.chain))) == ("logged", "logged")

    @pytest.mark.parametrize("form", NOT_TAKEN)
    def test_odd_forms_that_no_client_takes(self, form: str, world: World) -> None:
        """A defective server is possible, and probable where its identity is public: no client would be on it."""
        ca = world.pki.intermediate_ec
        leaf = edited(ca, ca.issue([EXAM]).leaf, self.NOT_TAKEN[form], world.pki.ct_logs[:2])
        for known, confidence in (({}, POSSIBLE), ({"canary": True}, "probable")):
            result = world.one(EXAM, (leaf, *ca.chain), **known)
            assert said(result) in {(confidence, "defective-chain"), (POSSIBLE, "wrong-name")}

    @pytest.mark.parametrize(
        ("names", "host", "right"),
        [
            ([EXAM.upper()], EXAM, True),
            (["*.example.edu"], EXAM, True),
            (["my_exam.example.edu"], "my_exam.example.edu", True),
            (["93.184.216.34"], "93.184.216.34", True),
            (["2606:2800:220:1::1"], "2606:2800:220:1::1", True),
            (["e*.example.edu"], EXAM, False),
            (["*.edu"], "example.edu", False),
            (["*.example.edu"], "a.exam.example.edu", False),
            (["*"], EXAM, False),
        ],
    )
    def test_names(self, names: list[str], host: str, right: bool, world: World) -> None:  # noqa: FBT001 - a parameter of a table of cases
        """Names as browsers match them; what does not match is a wrong name, and no more."""
        expected = ("logged", "logged") if right else (POSSIBLE, "wrong-name")
        assert said(world.one(host, world.pki.issue(names))) == expected

    def test_more_names_than_are_read(self, world: World) -> None:
        """A list that could not be finished makes no genuine chain another one: whom it names is not confirmed."""
        many = [f"h{number}.example.org" for number in range(3000)]
        issued = logged(world.pki, world.pki.intermediate_ec, many[0], names=[*many, EXAM])
        for known in ({}, {"canary": True}):
            assert said(world.one(EXAM, issued, **known)) == ("inconclusive", "name-not-confirmed")
        assert said(world.one(many[7], issued)) == ("logged", "logged")

    @pytest.mark.parametrize("shape", ["intermediate twice", "roots sent", "forty strangers", "a loop", "junk"])
    def test_odd_chains(self, shape: str, world: World) -> None:
        """Whatever else is sent, in whatever order, a genuine chain is genuine."""
        pki, issued = world.pki, world.pki.issue([EXAM])
        more = {
            "intermediate twice": issued.chain[1:],
            "roots sent": (pki.root_b.certificate,) * 3,
            "forty strangers": (pki.intermediate_rsa.certificate,) * 40,
            "a loop": (pki.root_b_cross, pki.root_a.certificate, pki.root_b.certificate),
            "junk": (b"\x30\x03\x02\x01\x01", b""),
        }[shape]
        for chain in ((*issued.chain, *more), (issued.leaf, *more, *issued.chain[1:])):
            assert said(world.one(EXAM, chain)) == ("logged", "logged")


def _name(tag: int, value: bytes) -> bytes:
    """A Name of one common name in this string type."""
    return encode(SEQUENCE, encode(0x31, encode(SEQUENCE, bytes.fromhex("0603550403"), encode(tag, value))))
