"""What no careful client accepts, one certificate for each reason, and what clients accept although it is odd."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from support.crafting import (
    ANY_PURPOSE,
    CA,
    DAY,
    EMAIL_PROTECTION,
    EXAM,
    LEAF,
    NAME_CONSTRAINTS,
    NOW,
    P256,
    ROOT,
    SERVER_AUTH,
    SHA1_RSA,
    SHA224_ECDSA,
    SHA256_ECDSA,
    Draft,
    algorithm,
    alternative_names,
    basic_constraints,
    extension,
    integer,
    key_usage,
    name,
    name_constraints,
    oid,
    path,
    purposes,
    sequence,
    spki,
    validity,
)

from detector.knowledge import data_set
from detector.trust import acceptance, paths
from detector.trust import strict_parsing as strict
from detector.trust.acceptance import DATE_REFUSALS, Refusal, Refused, explain, refusals
from detector.trust.certificate import Certificate
from detector.trust.paths import Path
from detector.trust.revocations import Revocations
from detector.trust.roots import Limits, certificates_in_pem, from_der
from detector.trust.signature import read_key

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

OLD_ROOT = ROOT.but(version=b"", extensions=())
UNKNOWN = extension("1.3.6.1.4.1.55555.1", b"\x05\x00", critical=True)


def found(*drafts: Draft, at: dt.datetime = NOW, public: bool = True) -> list[tuple[str, int]]:
    """What is refused in a path of these certificates."""
    return [(refused.refusal.value, refused.depth) for refused in refusals(path(*drafts), at, public=public)]


def rsa_key(bits: int) -> bytes:
    """A key of this many bits, which need not be a product of two primes."""
    return spki(rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key())


def test_what_public_cas_issue() -> None:
    """A usual leaf, CA and root are accepted, as are a leaf right below a root and a root of version 1."""
    assert found(LEAF, CA, ROOT) == []
    assert found(LEAF, CA, OLD_ROOT) == []
    assert found(LEAF, ROOT) == []


def test_the_test_pki_is_accepted(pki: PrivatePKI) -> None:
    """Everything that stands for the public PKI in tests is accepted, cross-signed too."""
    roots = from_der([der for _, der in certificates_in_pem(pki.roots_pem())], name="test")
    for issued in (pki.issue([EXAM]), pki.issue([EXAM], key="rsa"), pki.issue([EXAM], cross_signed=True)):
        built = paths.build([Certificate.read(der) for der in issued.chain], (roots,)).ending_in(roots)
        assert built
        assert all(refusals(one, pki.now) == () for one in built)


def test_every_public_root_is_accepted() -> None:
    """No root that was public in recent years is refused as one: their forms are the oldest there are."""
    for root in from_der(data_set.shipped().root_certificates, name="known").roots:
        found_refusals = refusals(Path((LEAF.certificate, root.certificate), root), NOW)
        assert [one for one in found_refusals if one.depth == 1 and one.refusal not in DATE_REFUSALS] == []


@pytest.mark.parametrize(
    ("refusal", "depth", "drafts"),
    [
        (Refusal.MALFORMED, 0, (LEAF.but(trailing=b"\x00"), CA, ROOT)),
        (Refusal.MALFORMED, 1, (LEAF, CA.but(trailing=b"\x00"), ROOT)),
        (Refusal.MALFORMED, 2, (LEAF, CA, ROOT.but(trailing=b"\x00"))),
        (Refusal.EXCEEDS_LIMITS, 0, (LEAF.but(adds=[extension(f"1.2.3.{n}", b"") for n in range(80)]), CA, ROOT)),
        (Refusal.REPEATED_EXTENSION, 0, (LEAF.but(adds=[purposes(SERVER_AUTH)]), CA, ROOT)),
        (Refusal.REPEATED_EXTENSION, 2, (LEAF, CA, ROOT.but(adds=[key_usage(0x06)]))),
        (Refusal.EMPTY_NAME, 0, (LEAF.but(issuer=sequence()), CA, ROOT)),
        (Refusal.EMPTY_NAME, 0, (LEAF.but(subject=sequence()), CA, ROOT)),
        (Refusal.EMPTY_NAME, 1, (LEAF, CA.but(subject=sequence()), ROOT)),
        (Refusal.CRITICAL_EXTENSION, 0, (LEAF.but(adds=[UNKNOWN]), CA, ROOT)),
        (Refusal.CRITICAL_EXTENSION, 1, (LEAF, CA.but(adds=[UNKNOWN]), ROOT)),
        (Refusal.CRITICAL_EXTENSION, 2, (LEAF, CA, ROOT.but(adds=[UNKNOWN]))),
        (
            Refusal.CRITICAL_EXTENSION,
            0,
            (LEAF.but(adds=[extension("2.5.29.14", b"\x04\x01x", critical=True)]), CA, ROOT),
        ),
        (
            Refusal.CRITICAL_EXTENSION,
            0,
            (LEAF.but(adds=[extension("1.3.6.1.4.1.11129.2.4.3", b"\x05\x00", critical=True)]), CA, ROOT),
        ),
        (Refusal.ALGORITHM_MISMATCH, 0, (LEAF.but(inner_algorithm=algorithm("1.2.840.10045.4.3.3")), CA, ROOT)),
        (Refusal.ALGORITHM_MISMATCH, 2, (LEAF, CA, ROOT.but(inner_algorithm=algorithm("1.2.840.10045.4.3.3")))),
        (Refusal.BROKEN_HASH, 0, (LEAF.but(algorithm=algorithm(SHA1_RSA, b"\x05\x00")), CA, ROOT)),
        (Refusal.BROKEN_HASH, 1, (LEAF, CA.but(algorithm=algorithm("1.2.840.113549.1.1.4", b"\x05\x00")), ROOT)),
        (Refusal.SIGNATURE_ALGORITHM, 0, (LEAF.but(algorithm=algorithm(SHA224_ECDSA)), CA, ROOT)),
        (Refusal.SIGNATURE_ALGORITHM, 0, (LEAF.but(algorithm=algorithm(SHA256_ECDSA, b"\x05\x00")), CA, ROOT)),
        (
            Refusal.SIGNATURE_ALGORITHM,
            0,
            (LEAF.but(algorithm=algorithm("1.2.840.113549.1.1.10", sequence())), CA, ROOT),
        ),
        (Refusal.SIGNATURE_ALGORITHM, 1, (LEAF, CA.but(algorithm=algorithm("1.2.3.4")), ROOT)),
        (Refusal.WEAK_KEY, 0, (LEAF.but(spki=rsa_key(2040)), CA, ROOT)),
        (Refusal.WEAK_KEY, 1, (LEAF, CA.but(spki=rsa_key(1024)), ROOT)),
        (Refusal.WEAK_KEY, 2, (LEAF, CA, ROOT.but(spki=rsa_key(1024)))),
        (Refusal.KEY_KIND, 0, (LEAF.but(spki=rsa_key(2052)), CA, ROOT)),
        (Refusal.KEY_KIND, 0, (LEAF.but(spki=rsa_key(8200)), CA, ROOT)),
        (Refusal.NOT_A_CA, 1, (LEAF, CA.but(lacks=["2.5.29.19"]), ROOT)),
        (Refusal.NOT_A_CA, 1, (LEAF, CA.but(lacks=["2.5.29.19"], adds=[basic_constraints(ca=False)]), ROOT)),
        (Refusal.NOT_A_CA, 2, (LEAF, CA, ROOT.but(lacks=["2.5.29.19"]))),
        (Refusal.CA_KEY_USAGE, 1, (LEAF, CA.but(lacks=["2.5.29.15"], adds=[key_usage(0x80)]), ROOT)),
        (Refusal.CA_KEY_USAGE, 2, (LEAF, CA, ROOT.but(lacks=["2.5.29.15"], adds=[key_usage(0x02)]))),
        (Refusal.PATH_LENGTH, 2, (LEAF, CA.but(issuer=name(CN="Other CA")), CA.but(subject=name(CN="Other CA")), ROOT)),
        (
            Refusal.PATH_LENGTH,
            2,
            (LEAF, CA, ROOT.but(lacks=["2.5.29.19"], adds=[basic_constraints(ca=True, path_length=0)])),
        ),
        (Refusal.LEAF_IS_CA, 0, (LEAF.but(lacks=["2.5.29.19"], adds=[basic_constraints(ca=True)]), CA, ROOT)),
        (Refusal.LEAF_KEY_USAGE, 0, (LEAF.but(lacks=["2.5.29.15"], adds=[key_usage(0x02)]), CA, ROOT)),
        (Refusal.LEAF_KEY_USAGE, 0, (LEAF.but(lacks=["2.5.29.15"], adds=[key_usage(0x84)]), CA, ROOT)),
        (Refusal.LEAF_CONSTRAINS, 0, (LEAF.but(adds=[name_constraints(permitted=((0x82, b"edu"),))]), CA, ROOT)),
        (Refusal.NOT_FOR_SERVERS, 0, (LEAF.but(lacks=["2.5.29.37"], adds=[purposes(EMAIL_PROTECTION)]), CA, ROOT)),
        (Refusal.NOT_FOR_SERVERS, 1, (LEAF, CA.but(lacks=["2.5.29.37"], adds=[purposes(EMAIL_PROTECTION)]), ROOT)),
        (
            Refusal.NAME_NOT_PERMITTED,
            0,
            (LEAF, CA.but(adds=[name_constraints(permitted=((0x82, b"example.org"),))]), ROOT),
        ),
        (Refusal.NAME_NOT_PERMITTED, 0, (LEAF, CA, ROOT.but(adds=[name_constraints(excluded=((0x82, b"edu"),))]))),
        (
            Refusal.NAME_NOT_PERMITTED,
            1,
            (
                LEAF,
                CA.but(adds=[alternative_names("ca.test")]),
                ROOT.but(adds=[name_constraints(excluded=((0x82, b"test"),))]),
            ),
        ),
        (Refusal.LIFETIME, 0, (LEAF.but(validity=validity(NOW - DAY, NOW + 200 * DAY)), CA, ROOT)),
        (Refusal.NOT_YET_VALID, 0, (LEAF.but(validity=validity(NOW + DAY, NOW + 50 * DAY)), CA, ROOT)),
        (Refusal.EXPIRED, 0, (LEAF.but(validity=validity(NOW - 50 * DAY, NOW - DAY)), CA, ROOT)),
        (Refusal.EXPIRED, 1, (LEAF, CA.but(validity=validity(NOW - 50 * DAY, NOW - DAY)), ROOT)),
        (Refusal.EXPIRED, 2, (LEAF, CA, ROOT.but(validity=validity(NOW - 50 * DAY, NOW - DAY)))),
    ],
)
def test_refused(refusal: Refusal, depth: int, drafts: tuple[Draft, ...]) -> None:
    """One thing wrong with one certificate is that refusal at that place, and no other."""
    assert found(*drafts) == [(refusal.value, depth)]


@pytest.mark.parametrize(
    ("drafts", "expected"),
    [
        ((LEAF.but(version=b"", extensions=()), CA, ROOT), [("version", 0)]),
        ((LEAF, CA.but(version=b"", extensions=()), ROOT), [("version", 1), ("not-a-ca", 1)]),
        ((LEAF.but(lacks=["2.5.29.37"], adds=[purposes()]), CA, ROOT), [("malformed", 0), ("not-for-servers", 0)]),
    ],
)
def test_refused_for_two_reasons(drafts: tuple[Draft, ...], expected: list[tuple[str, int]]) -> None:
    """Version 1 has no extensions and so no CAs; an extended key usage of nothing is for nothing."""
    assert found(*drafts) == expected


def test_every_refusal_is_met_and_explained() -> None:
    """No reason is without a certificate here, and each has a sentence that says which certificate it is about."""
    parameters = test_refused.pytestmark[0].args[1]  # type: ignore[attr-defined] # as pytest keeps them
    elsewhere = {Refusal.VERSION, Refusal.NO_ANCHOR, Refusal.REVOKED, Refusal.DISTRUSTED, Refusal.NAME_OUTSIDE_ROOT}
    assert {refusal for refusal, _, _ in parameters} | elsewhere == set(Refusal)
    chain = path(LEAF, CA, ROOT)
    for refusal in Refusal:
        assert explain(Refused(refusal, 0), chain).startswith(("The certificate ", "No verified path"))
        assert refusal is Refusal.NO_ANCHOR or explain(Refused(refusal, 1), chain).startswith(
            "A certificate above it (Example CA) "
        )


def test_a_path_without_a_trusted_root() -> None:
    """A path that ends in no trusted root is refused for that, whatever else is right with it."""
    assert refusals(path(LEAF, CA, anchored=False), NOW) == (Refused(Refusal.NO_ANCHOR, 1),)


def test_all_reasons_are_given() -> None:
    """Several things wrong with several certificates are all there, from the leaf upwards."""
    leaf = LEAF.but(spki=rsa_key(1024), adds=[UNKNOWN], validity=validity(NOW - 900 * DAY, NOW - DAY))
    root = ROOT.but(validity=validity(NOW + DAY, NOW + 2 * DAY))
    assert found(leaf, CA.but(algorithm=algorithm(SHA1_RSA)), root) == [
        ("critical-extension", 0),
        ("weak-key", 0),
        ("lifetime", 0),
        ("expired", 0),
        ("broken-hash", 1),
        ("not-yet-valid", 2),
    ]


@pytest.mark.parametrize(
    "leaf",
    [
        LEAF.but(serial=integer(0)),
        LEAF.but(serial=integer(-5)),
        LEAF.but(serial=integer(1 << 200)),
        LEAF.but(lacks=["2.5.29.37"]),
        LEAF.but(lacks=["2.5.29.37"], adds=[purposes(ANY_PURPOSE)]),
        LEAF.but(lacks=["2.5.29.37"], adds=[extension("2.5.29.37", sequence(oid(SERVER_AUTH)), critical=True)]),
        LEAF.but(lacks=["2.5.29.15", "2.5.29.19"]),
        LEAF.but(lacks=["2.5.29.15"], adds=[key_usage(0x20)]),
        LEAF.but(lacks=["2.5.29.17"], adds=[alternative_names("a_b.example.edu", critical=True)]),
        LEAF.but(lacks=["2.5.29.17"], adds=[alternative_names(EXAM, critical=True)], subject=sequence()),
        LEAF.but(adds=[extension("2.5.29.32", sequence(sequence(oid("2.23.140.1.2.1"))), critical=True)]),
        LEAF.but(adds=[extension("1.3.6.1.4.1.311.21.10", sequence(sequence(oid(SERVER_AUTH))), critical=True)]),
        LEAF.but(adds=[extension("1.2.3.4", b"anything")]),
        LEAF.but(lacks=["2.5.29.19"], adds=[extension("2.5.29.19", sequence(b"\x01\x01\x00"))]),
        LEAF.but(subject=name(CN="somebody else")),
    ],
)
def test_forms_that_clients_take(leaf: Draft) -> None:
    """Odd serial numbers, key usages and names, and critical extensions that clients process, are accepted."""
    assert found(leaf, CA, ROOT) == []


@pytest.mark.parametrize(
    "ca",
    [
        CA.but(lacks=["2.5.29.37"]),
        CA.but(lacks=["2.5.29.37"], adds=[purposes(EMAIL_PROTECTION, ANY_PURPOSE)]),
        CA.but(lacks=["2.5.29.15"]),
        CA.but(lacks=["2.5.29.19"], adds=[extension("2.5.29.19", sequence(b"\x01\x01\xff"))]),
        CA.but(adds=[name_constraints(critical=False, permitted=((0x82, b".example.edu"),))]),
        CA.but(adds=[extension("2.5.29.35", sequence()), extension("2.5.29.36", sequence(b"\x80\x01\x00"))]),
    ],
)
def test_cas_that_clients_take(ca: Draft) -> None:
    """CAs without purposes or key usage, or with extensions that are not critical although they should be."""
    assert found(LEAF, ca, ROOT) == []


def test_what_a_root_says_of_its_purpose_binds_nobody() -> None:
    """Clients take a root's purposes from their store, and never verify a root's own signature."""
    assert found(LEAF, CA, ROOT.but(adds=[purposes(EMAIL_PROTECTION)], algorithm=algorithm(SHA1_RSA))) == []


def test_a_leaf_that_is_itself_trusted() -> None:
    """A self-signed server certificate that is declared needs no issuer and may call itself a CA, and must be right
    in everything else.
    """
    alone = LEAF.but(issuer=LEAF.subject, lacks=["2.5.29.19"], adds=[basic_constraints(ca=True)])
    assert found(alone) == []
    assert found(alone.but(algorithm=algorithm(SHA1_RSA))) == []
    assert found(alone.but(spki=rsa_key(1024)), at=NOW + 365 * DAY) == [("weak-key", 0), ("expired", 0)]


def test_self_issued_cas_do_not_count_for_the_path_length() -> None:
    """A CA that changed its key stands above itself, which no path length counts (RFC 5280 section 6.1.4 l)."""
    changed = CA.but(issuer=CA.subject)
    above = CA.but(lacks=["2.5.29.19"], adds=[basic_constraints(ca=True, path_length=0)])
    assert found(LEAF, changed, above, ROOT) == []


def test_constraints_and_self_issued_certificates() -> None:
    """Constraints do not bind a CA that changed its key, and always the leaf, whatever its issuer's name."""
    above = ROOT.but(adds=[name_constraints(excluded=((0x82, b"test"),))])
    changed = CA.but(issuer=CA.subject, adds=[alternative_names("ca.test")])
    assert found(LEAF, changed, above) == []
    leaf = LEAF.but(issuer=LEAF.subject, lacks=["2.5.29.17"], adds=[alternative_names("exam.test")])
    assert found(leaf, CA, above) == [("name-not-permitted", 0)]


# Keys and algorithms

CURVES = [(ec.SECP256R1(), True), (ec.SECP384R1(), True), (ec.SECP521R1(), True), (ec.SECP224R1(), False)]


@pytest.mark.parametrize(("curve", "taken"), [*CURVES, (ec.SECP256K1(), False), (ec.BrainpoolP256R1(), False)])
def test_curves(curve: ec.EllipticCurve, *, taken: bool) -> None:
    """The three curves of the web, and no others."""
    key = spki(ec.generate_private_key(curve).public_key())
    assert (found(LEAF.but(spki=key), CA, ROOT) == []) is taken


@pytest.mark.parametrize("bits", [2048, 3072, 4096, 8192])
def test_rsa_keys(bits: int) -> None:
    """RSA from 2048 to 8192 bits."""
    assert found(LEAF.but(spki=rsa_key(bits)), CA, ROOT) == []


def test_other_keys() -> None:
    """Ed25519 is accepted, as by Go, rustls and OpenSSL; Ed448 and DSA are not."""
    assert found(LEAF.but(spki=spki(ed25519.Ed25519PrivateKey.generate().public_key())), CA, ROOT) == []
    assert found(LEAF, CA.but(algorithm=algorithm("1.3.101.112")), ROOT) == []
    assert found(LEAF.but(spki=spki(ed448.Ed448PrivateKey.generate().public_key())), CA, ROOT) == [("key-kind", 0)]
    assert found(LEAF.but(algorithm=algorithm("1.3.101.113")), CA, ROOT) == [("signature-algorithm", 0)]
    numbers = dsa.DSAParameterNumbers((1 << 2047) | 1, (1 << 255) | 1, 2)
    key = dsa.DSAPublicNumbers(3, numbers).public_key()
    assert found(LEAF.but(spki=spki(key)), CA, ROOT) == [("key-kind", 0)]


def test_ml_dsa() -> None:
    """ML-DSA is taken, with its parameters absent."""
    header = "30820532300b06096086480165030403110382052100"  # RFC 9881 section 4: ML-DSA-44, 1312 bytes
    key = bytes.fromhex(header) + bytes(range(256)) * 5 + bytes(32)
    leaf = LEAF.but(spki=key, algorithm=algorithm("2.16.840.1.101.3.4.3.18"))
    assert found(leaf, CA, ROOT) == []
    with_parameters = leaf.but(spki=P256, algorithm=algorithm("2.16.840.1.101.3.4.3.18", b"\x05\x00"))
    assert found(with_parameters, CA, ROOT) == [("signature-algorithm", 0)]


def test_keys_are_written_in_one_way() -> None:
    """A compressed point, and an RSA key without the NULL of its algorithm, are read leniently and not accepted."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    half = bytes([2 + point.y % 2]) + point.x.to_bytes(32, "big")
    parts = algorithm("1.2.840.10045.2.1", oid("1.2.840.10045.3.1.7"))
    compressed = sequence(parts, b"\x03\x22\x00" + half)
    assert read_key(compressed).key is not None
    assert found(LEAF.but(spki=compressed), CA, ROOT) == [("key-kind", 0)]
    bare = rsa_key(2048).replace(algorithm("1.2.840.113549.1.1.1", b"\x05\x00"), algorithm("1.2.840.113549.1.1.1"))
    bare = sequence(bare[4:])
    assert read_key(bare).key is not None
    assert found(LEAF.but(spki=bare), CA, ROOT) == [("key-kind", 0)]


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_pss_as_libraries_write_it(digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512, pki: PrivatePKI) -> None:
    """RSASSA-PSS with one hash and a salt of its length is accepted as libraries write it; another salt is not."""
    key = rsa.generate_private_key(65537, 2048)
    written = {}
    for salt in (digest.digest_size, 20):
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([]),
            subject_name=x509.Name([]),
            public_key=key.public_key(),
            serial_number=1,
            not_valid_before=pki.now,
            not_valid_after=pki.now + DAY,
        )
        signed = builder.sign(key, digest, rsa_padding=padding.PSS(padding.MGF1(digest), salt))
        found_algorithm = Certificate.read(signed.public_bytes(Encoding.DER)).signature_algorithm
        assert found_algorithm is not None
        written[salt] = algorithm(found_algorithm.oid, found_algorithm.parameters)
    assert found(LEAF.but(algorithm=written[digest.digest_size]), CA, ROOT) == []
    assert found(LEAF.but(algorithm=written[20]), CA, ROOT) == [("signature-algorithm", 0)]


# Dates


def test_dates_are_inclusive_and_of_whole_seconds() -> None:
    """The first and the last second belong to a validity, with all their fractions."""
    begins, ends = NOW, NOW + 30 * DAY
    leaf = LEAF.but(validity=validity(begins, ends))
    second, fraction = dt.timedelta(seconds=1), dt.timedelta(milliseconds=999)
    assert found(leaf, CA, ROOT, at=begins - second + fraction) == [("not-yet-valid", 0)]
    assert found(leaf, CA, ROOT, at=begins) == found(leaf, CA, ROOT, at=ends + fraction) == []
    assert found(leaf, CA, ROOT, at=ends + second) == [("expired", 0)]
    assert found(leaf, CA.but(validity=leaf.validity), ROOT, at=ends) == []
    for other in (validity(begins - 9 * DAY, ends - DAY), validity(ends + DAY, ends + 9 * DAY)):
        assert {depth for _, depth in found(leaf, CA.but(validity=other), ROOT, at=ends)} == {1}
        assert {depth for _, depth in found(leaf, CA.but(validity=other), ROOT, at=begins)} <= {1}


def test_dates_are_asked_for_each_time() -> None:
    """Cached refusals do not apply to another moment or the other kind of root."""
    leaf = LEAF.but(serial=integer(77), validity=validity(NOW - DAY, NOW + 400 * DAY))
    for _ in range(2):
        assert found(leaf, CA, ROOT) == [("lifetime", 0)]
        assert found(leaf, CA, ROOT, public=False) == []
        assert found(leaf, CA, ROOT, at=NOW + 500 * DAY, public=False) == [("expired", 0)]
        assert found(leaf, CA, ROOT, at=NOW + 500 * DAY) == [("lifetime", 0), ("expired", 0)]
    assert {Refusal.EXPIRED, Refusal.NOT_YET_VALID} == DATE_REFUSALS


@pytest.mark.parametrize(
    ("begins", "days"),
    [
        (dt.datetime(2020, 8, 31, 23, 59, 59, tzinfo=dt.UTC), 825),
        (dt.datetime(2020, 9, 1, tzinfo=dt.UTC), 398),
        (dt.datetime(2026, 3, 14, 23, 59, 59, tzinfo=dt.UTC), 398),
        (dt.datetime(2026, 3, 15, tzinfo=dt.UTC), 200),
        (dt.datetime(2027, 3, 14, 23, 59, 59, tzinfo=dt.UTC), 200),
        (dt.datetime(2027, 3, 15, tzinfo=dt.UTC), 100),
        (dt.datetime(2029, 3, 14, 23, 59, 59, tzinfo=dt.UTC), 100),
        (dt.datetime(2029, 3, 15, tzinfo=dt.UTC), 47),
    ],
)
def test_lifetimes(begins: dt.datetime, days: int) -> None:
    """Public leaves live 825, 398, 200, 100, then 47 days, by when they become valid; private ones as they like."""
    above = [one.but(validity=validity(NOW - 5000 * DAY, NOW + 5000 * DAY)) for one in (CA, ROOT)]
    right = LEAF.but(validity=validity(begins, begins + days * DAY))
    wrong = LEAF.but(validity=validity(begins, begins + days * DAY + dt.timedelta(seconds=1)))
    assert found(right, *above, at=begins) == []
    assert found(wrong, *above, at=begins) == [("lifetime", 0)]
    assert found(wrong, *above, at=begins, public=False) == []


# What peers choose


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache stays below its limit, and every path keeps its answer."""
    monkeypatch.setattr(acceptance, "PATHS_CACHED_MAX", 3)
    monkeypatch.setattr(acceptance, "_CACHE", {})
    for number in range(10):
        for _ in range(2):
            assert found(LEAF.but(serial=integer(number)), CA, ROOT) == []
            assert found(LEAF.but(serial=integer(number), adds=[UNKNOWN]), CA, ROOT) == [("critical-extension", 0)]
            assert len(acceptance._CACHE) <= 3


def test_a_cached_path_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is parsed once, and the CAs of a new leaf are not parsed again."""
    read: list[bytes] = []
    parse = strict.parse

    def counted(certificate: Certificate) -> Any:  # noqa: ANN401 - as `parse`
        read.append(certificate.der)
        return parse(certificate)

    monkeypatch.setattr(strict, "parse", counted)
    first, second = (LEAF.but(serial=integer(number)) for number in (4711, 4712))
    ca, root = CA.but(serial=integer(4713)), ROOT.but(serial=integer(4714))
    kept = path(first, ca, root)
    for _ in range(3):
        assert refusals(kept, NOW) == ()
    assert read == [first.der, ca.der, root.der]
    assert found(second, ca, root) == []
    assert read[3:] == [second.der]


def test_names_that_are_not_read_are_held_against_constraints_only() -> None:
    """A longer list than is read makes no certificate another one; below a CA that constrains, it is not accepted."""
    many = LEAF.but(lacks=["2.5.29.17"], adds=[alternative_names(*["exam.example.edu"] * 2049)])
    constrained = CA.but(adds=[name_constraints(permitted=((0x82, b"example.edu"),))])
    assert refusals(path(many, CA, ROOT), NOW) == ()
    assert refusals(path(many, constrained, ROOT), NOW) == (Refused(Refusal.EXCEEDS_LIMITS, 0),)


@pytest.mark.parametrize("long", [(0x82, b"a" * 256), (0x81, b"a@" + b"a." * 160 + b"a")], ids=["host", "mailbox"])
def test_a_name_that_is_too_long_hides_no_other(long: tuple[int, bytes]) -> None:
    """One name that is not read leaves all unknown, so that none of them passes the constraints unseen."""
    names = LEAF.but(lacks=["2.5.29.17"], adds=[alternative_names("exam.example.edu", long)])
    constrained = CA.but(adds=[name_constraints(permitted=((0x82, b"other.example"),))])
    assert refusals(path(names, constrained, ROOT), NOW) == (Refused(Refusal.EXCEEDS_LIMITS, 0),)


def test_many_names_under_many_constraints_are_bounded() -> None:
    """More names than are compared are a refusal of their own; a hundred under one CA are not too many."""
    constrained = CA.but(adds=[name_constraints(permitted=((0x82, b"example.edu"),))])
    for count, expected in ((100, []), (1900, [("exceeds-limits", 0)])):
        names = alternative_names(*(f"student-{number}.example.edu" for number in range(count)))
        assert found(LEAF.but(lacks=["2.5.29.17"], adds=[names]), constrained, ROOT) == expected


def test_names_in_sentences_are_escaped_and_cut() -> None:
    """A CA's name is its maker's choice: control characters are escaped, and a long one is cut."""
    loud = path(LEAF, CA.but(subject=name(CN="\x1b[31m" + "x" * 500)), ROOT)
    sentence = explain(Refused(Refusal.EXPIRED, 1), loud)
    assert sentence.isprintable()
    assert len(sentence) < 200
    assert "(without a name)" in explain(Refused(Refusal.EMPTY_NAME, 1), path(LEAF, CA.but(subject=sequence()), ROOT))


BEGINS: Final = (NOW - 10 * DAY).date()
"""From when `LEAF` is valid."""


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(distrust_after=BEGINS), []),
        (Limits(distrust_after=BEGINS - DAY), [("distrusted", 0)]),
        (Limits(distrust_after=BEGINS - 900 * DAY), [("distrusted", 0)]),
        (Limits(permitted_names=("example.org", "example.edu")), []),
        (Limits(permitted_names=("exam.example.edu",)), []),
        (Limits(permitted_names=("example.org",)), [("name-outside-root", 0)]),
        (Limits(permitted_names=("ample.edu",)), [("name-outside-root", 0)]),
        (Limits(BEGINS - DAY, ("example.org",)), [("distrusted", 0), ("name-outside-root", 0)]),
    ],
)
def test_the_limits_of_a_root(limits: Limits, expected: list[tuple[str, int]]) -> None:
    """A leaf issued after browsers stopped, or for a name elsewhere, is refused; the root's own dates do not matter."""
    refused = refusals(path(LEAF, CA, ROOT, limits=limits), NOW)
    assert [(one.refusal.value, one.depth) for one in refused] == expected
    assert refusals(path(LEAF, CA, ROOT, limits=limits), NOW, public=False) == ()
    assert refusals(path(LEAF, CA, ROOT), NOW) == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.example.edu", "*.example.edu"), []),
        (("a.example.edu", "www.example.org"), [("name-outside-root", 0)]),
        (("*.edu",), [("name-outside-root", 0)]),
        (("a.example.edu", (0x87, bytes(4))), []),
        (tuple(f"student-{number}.example.edu" for number in range(1900)), [("exceeds-limits", 0)]),
        (("exam.example.edu",) * 2049, [("exceeds-limits", 0)]),
    ],
)
def test_every_name_is_held_to_the_limits_of_the_root(
    names: tuple[str | tuple[int, bytes], ...], expected: list[tuple[str, int]]
) -> None:
    """One name outside is enough; domains limit DNS names only; a list that is not read to its end is not accepted."""
    leaf = LEAF.but(lacks=["2.5.29.17"], adds=[alternative_names(*names)])
    limited = path(leaf, CA, ROOT, limits=Limits(permitted_names=("example.edu",)))
    assert [(one.refusal.value, one.depth) for one in refusals(limited, NOW)] == expected


CA_SERIAL: Final = 4720
REVOKED_CA: Final = CA.but(serial=integer(CA_SERIAL))


def revoking(since: dt.date, *drafts: Draft, by_key: bool = False) -> Revocations:
    """A list with these certificates, since that day."""
    read = [draft.certificate for draft in drafts]
    if by_key:
        keys = {(one.subject.der, one.spki_sha256): since for one in read if one.subject and one.spki_sha256}
        return Revocations(keys=keys)
    return Revocations(serials={one.issuer.der: {one.serial: since} for one in read if one.issuer and one.serial})


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize(("listed", "depth"), [(LEAF, 0), (REVOKED_CA, 1), (ROOT, 2)])
def test_a_revoked_certificate(listed: Draft, depth: int, *, by_key: bool, public: bool) -> None:
    """Whichever certificate of the path is listed, by its number or by its key, and below whatever root it is."""
    revoked = revoking(NOW.date(), listed, by_key=by_key)
    one = path(LEAF, REVOKED_CA, ROOT)
    assert refusals(one, NOW, public=public, revoked=revoked) == (Refused(Refusal.REVOKED, depth),)
    assert refusals(one, NOW, public=public) == ()


def test_the_same_certificate_in_other_bytes_is_revoked() -> None:
    """A signature can be made again by the holder of the key: the names and the number stay."""
    revoked = revoking(NOW.date(), REVOKED_CA)
    changed = REVOKED_CA.but(signature=b"\x03\x05\x00abcd")
    assert changed.certificate.sha256 != REVOKED_CA.certificate.sha256
    assert Refused(Refusal.REVOKED, 1) in refusals(path(LEAF, changed, ROOT), NOW, revoked=revoked)


def test_a_twin_is_not_revoked_by_number() -> None:
    """Another number, or the same one of another issuer, is another certificate; one listed by its key never is."""
    by_number, by_key = revoking(NOW.date(), REVOKED_CA), revoking(NOW.date(), REVOKED_CA, by_key=True)
    other_issuer = REVOKED_CA.but(issuer=name(CN="Other Root"))
    for twin in (REVOKED_CA.but(serial=integer(CA_SERIAL + 1)), other_issuer):
        assert refusals(path(LEAF, twin, ROOT), NOW, revoked=by_number) == ()
        assert refusals(path(LEAF, twin, ROOT), NOW, revoked=by_key) == (Refused(Refusal.REVOKED, 1),)


def test_a_revocation_has_a_beginning() -> None:
    """What was captured before a CA was revoked was good, and what expired before is expired: both accuse nobody."""
    revoked, ends = revoking(NOW.date(), REVOKED_CA), NOW + 80 * DAY
    usual, late = path(LEAF, REVOKED_CA, ROOT), revoking(ends.date() + DAY, REVOKED_CA)
    assert refusals(usual, NOW - DAY, revoked=revoked) == ()
    assert refusals(usual, ends + 2 * DAY, revoked=late) == (Refused(Refusal.EXPIRED, 0),)
    both = refusals(usual, ends + 2 * DAY, revoked=revoked)
    assert both == (Refused(Refusal.EXPIRED, 0), Refused(Refusal.REVOKED, 1))


def test_the_moment_of_distrust_in_sentences() -> None:
    """The sentence has both days, and names whose decision it is."""
    limited = path(LEAF, CA, ROOT, limits=Limits(distrust_after=(NOW - 99 * DAY).date()))
    assert explain(Refused(Refusal.DISTRUSTED, 0), limited) == (
        "The certificate is valid from 2026-05-22, and browsers take certificates of its root only if they are valid "
        "from 2026-02-22 or earlier."
    )
    assert explain(Refused(Refusal.REVOKED, 1), limited) == (
        "A certificate above it (Example CA) is on the browsers' list of revoked certificates."
    )


def test_dates_in_sentences() -> None:
    """A refused date is reported with the date, a lifetime with its days."""
    leaf = LEAF.but(validity=validity(NOW, NOW + 300 * DAY))
    assert explain(Refused(Refusal.EXPIRED, 0), path(leaf)) == (
        "The certificate has expired (valid until 2027-03-28 12:00 UTC)."
    )
    assert "valid from 2026-06-01 12:00 UTC" in explain(Refused(Refusal.NOT_YET_VALID, 0), path(leaf))
    assert "300 days" in explain(Refused(Refusal.LIFETIME, 0), path(leaf))


damage = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4)


@given(st.sampled_from([0, 1, 2]), damage, st.integers(0, 400), st.booleans())
def test_any_damage_is_assessed(which: int, changes: list[tuple[int, int]], cut: int, public: bool) -> None:  # noqa: FBT001 - drawn
    """Bytes changed anywhere, or missing at the end: no exception escapes, and each refusal has a sentence."""
    drafts = [
        LEAF.but(adds=[name_constraints(permitted=((0x82, b"edu"),))]),
        CA.but(adds=[name_constraints(permitted=((0x82, b"edu"), (0x87, bytes(8))), excluded=((0x81, b"a@b.c"),))]),
        ROOT,
    ]
    data = [bytearray(draft.der) for draft in drafts]
    for at, byte in changes:
        data[which][at % len(data[which])] = byte
    del data[which][len(data[which]) - cut % len(data[which]) :]
    certificates = tuple(Certificate(bytes(one)) for one in data)
    damaged = Path(certificates, from_der([bytes(data[-1])], name="damaged").roots[0])
    for refused in refusals(damaged, NOW, public=public):
        assert explain(refused, damaged)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_any_bytes_are_assessed(blobs: list[bytes]) -> None:
    """What is no certificate at all is malformed, and nothing escapes."""
    damaged = Path(tuple(map(Certificate, blobs)), None)
    assert {Refused(Refusal.MALFORMED, depth) for depth in range(len(blobs))} <= set(refusals(damaged, NOW))


def test_trailing_data_everywhere_is_malformed() -> None:
    """A byte behind any element of a certificate, inside it or at its end, is refused."""
    whole = LEAF.but(adds=[extension(NAME_CONSTRAINTS, sequence())]).der
    assert (Refusal.MALFORMED, 0) in refusals(Path((Certificate(whole + b"\x00"),), None), NOW)
    for field in ("version", "serial", "issuer", "validity", "subject", "spki", "signature"):
        longer = LEAF.but(**{field: getattr(LEAF, field) + b"\x05\x00"})
        assert ("malformed", 0) in found(longer, CA, ROOT), field
