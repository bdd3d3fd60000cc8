"""Path building: every path is found, no other one, and a hostile chain cannot make it expensive."""

from __future__ import annotations

import datetime as dt
import gc
import weakref
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from detector_testing import generate_key
from support.odd_keys import (
    ECDSA_SHA256,
    GOST_2012,
    GOST_SPKI,
    SECP224K1,
    SM2_CURVE,
    SM2_SM3,
    dsa_spki,
    ec_spki,
    ml_dsa_key,
    rewritten,
    rsa_spki,
    withhold_ml_dsa,
)

from detector.trust import paths
from detector.trust import signature as signatures
from detector.trust.budget import SIGNATURES_MAX, SIGNATURES_ORDINARY, Budget
from detector.trust.certificate import CERTIFICATE_BYTES_MAX, Certificate
from detector.trust.roots import NO_ROOTS, from_der
from detector.trust.signature import Signed, verify_issued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector_testing import PrivatePKI

    from detector.trust.roots import Roots


def build(chain: Sequence[bytes], *stores: Roots, budget: Budget | None = None) -> paths.Paths:
    return paths.build([Certificate.read(data) for data in chain], stores, budget=budget)


def reasons(found: paths.Paths) -> tuple[bool, bool, bool]:
    """What says why no path may have been found."""
    return found.unreadable, found.exceeded, found.postponed


NO_REASON = (False, False, False)
UNREADABLE, EXCEEDED, POSTPONED = (True, False, False), (False, True, False), (False, False, True)


@pytest.fixture
def both_roots(pki: PrivatePKI) -> Roots:
    return from_der([pki.root_a.certificate, pki.root_b.certificate], name="both")


def test_cross_signed_root_gives_every_path(pki: PrivatePKI, both_roots: Roots) -> None:
    """With the cross-signed root presented there is a path to each root; either root alone suffices."""
    issued = pki.issue(["exam.example.edu"], cross_signed=True)
    found = build(issued.chain, both_roots).ending_in(both_roots)
    assert {path.anchor.label for path in found if path.anchor} == {"Exemplar Root R1", "Exemplar Root X2"}
    for root in (pki.root_a, pki.root_b):
        alone = from_der([root.certificate], name="one")
        assert build(issued.chain, alone).ending_in(alone)


def test_only_paths_from_the_leaf_count(pki: PrivatePKI, both_roots: Roots) -> None:
    """A genuine chain behind a stranger's leaf gives the stranger no path."""
    genuine = pki.issue(["exam.example.edu"])
    forged = pki.private_ca("Filter CA").issue(["exam.example.edu"])
    assert not build((*forged.chain, *genuine.chain), both_roots).ending_in(both_roots)


def sign_as(
    issuer: x509.Certificate | None, key: object, *, ca: bool | None, **options: object
) -> tuple[bytes, object]:
    """A certificate for a new key, signed by `key` in the name of `issuer`."""
    own = generate_key("ec")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(options.get("name", "child")))])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=900))
    )
    if ca is not None:
        length = options.get("path_length") if ca else None
        builder = builder.add_extension(x509.BasicConstraints(ca, length), critical=True)  # type: ignore[arg-type] # int or None
    if "key_usage" in options:
        builder = builder.add_extension(options["key_usage"], critical=True)  # type: ignore[arg-type] # a KeyUsage
    signed = builder.sign(key or own, hashes.SHA256())  # type: ignore[arg-type] # a private key
    return signed.public_bytes(serialization.Encoding.DER), own


def chain_under(pki: PrivatePKI, **intermediate: object) -> tuple[bytes, ...]:
    """A leaf under an intermediate with these properties, under root B."""
    root = x509.load_der_x509_certificate(pki.root_b.certificate)
    middle, key = sign_as(root, pki.root_b.key, name="Middle", **intermediate)  # type: ignore[arg-type] # as declared
    leaf, _ = sign_as(x509.load_der_x509_certificate(middle), key, ca=False)
    return leaf, middle


def test_a_leaf_cannot_issue(pki: PrivatePKI, both_roots: Roots) -> None:
    """A genuine certificate that is not a CA, or does not say so, issues nothing (CVE-2002-0862)."""
    assert build(chain_under(pki, ca=True), both_roots).ending_in(both_roots)
    assert not build(chain_under(pki, ca=False), both_roots).ending_in(both_roots)
    assert not build(chain_under(pki, ca=None), both_roots).ending_in(both_roots)


def test_key_usage_and_path_length_hide_nobody(pki: PrivatePKI, both_roots: Roots) -> None:
    """A CA that may not sign certificates, or not this deep, has signed; `acceptance` says what that is worth."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    assert build(chain_under(pki, ca=True, key_usage=usage), both_roots).ending_in(both_roots)
    root = x509.load_der_x509_certificate(pki.root_b.certificate)
    upper, upper_key = sign_as(root, pki.root_b.key, ca=True, name="Upper", path_length=0)
    lower, lower_key = sign_as(x509.load_der_x509_certificate(upper), upper_key, ca=True, name="Lower")
    leaf, _ = sign_as(x509.load_der_x509_certificate(lower), lower_key, ca=False)
    assert build((leaf, lower, upper), both_roots).ending_in(both_roots)


def test_version_1_and_sha1_roots_are_anchors(pki: PrivatePKI) -> None:
    """Version 1 roots may issue when trusted; a version 1 intermediate may not."""
    for options in ({"version": 1, "key": "rsa"}, {"signature_hash": "sha1", "key": "rsa"}):
        ca = pki.private_ca("Old Root", **options)
        roots = from_der([ca.certificate], name="old")
        issued = ca.issue(["exam.example.edu"])
        assert build(issued.chain, roots).ending_in(roots)
        assert not build((*issued.chain, ca.certificate), NO_ROOTS).ending_in(roots)


def test_crowded_chain_is_bounded(pki: PrivatePKI, both_roots: Roots) -> None:
    """Two hundred CAs of the issuer's name cost a bounded number of signatures and hide no root."""
    issued = pki.issue(["exam.example.edu"])
    subject = pki.intermediate_ec.subject
    crowd = [pki.private_ca(subject).certificate for _ in range(SIGNATURES_MAX // 2)]
    found = build((issued.leaf, *crowd, *crowd[:20], issued.chain[1]), both_roots)
    assert found.exceeded or found.ending_in(both_roots)
    anchored = from_der([pki.intermediate_ec.certificate], name="anchored")
    assert build((issued.leaf, *crowd), anchored).ending_in(anchored)


def test_circles_end(pki: PrivatePKI) -> None:
    """Two CAs that sign each other give finite paths."""
    one_key, other_key = generate_key("ec"), generate_key("ec")
    one = pki.private_ca("One", key=one_key)
    other = pki.private_ca("Other", key=other_key)
    by_other = other.subordinate("One", key=one_key)
    by_one = one.subordinate("Other", key=other_key)
    leaf = one.issue(["exam.example.edu"]).leaf
    found = build((leaf, by_other.certificate, by_one.certificate, one.certificate, other.certificate), NO_ROOTS)
    assert found.paths
    assert all(len(path.certificates) <= paths.PATH_LENGTH_MAX for path in found.paths)


def test_unreadable_certificates_are_stepped_over(pki: PrivatePKI, both_roots: Roots) -> None:
    """Garbage among the presented certificates changes nothing for a genuine leaf."""
    issued = pki.issue(["exam.example.edu"])
    assert build((issued.leaf, b"", b"\x30\x03", b"\xff" * 40, *issued.chain[1:]), both_roots).ending_in(both_roots)


def test_verify_issued_says_who_signed(pki: PrivatePKI) -> None:
    """Valid for the issuer's key, invalid for another of the same or another kind, undecided for garbage."""
    leaf = Certificate.read(pki.issue(["exam.example.edu"]).leaf)
    issuer, other, rsa = (
        Certificate.read(ca.certificate) for ca in (pki.intermediate_ec, pki.root_b, pki.intermediate_rsa)
    )
    assert issuer.spki
    assert other.spki
    assert rsa.spki
    assert verify_issued(leaf, issuer.spki) is Signed.VALID
    assert verify_issued(leaf, other.spki) is Signed.INVALID
    assert verify_issued(leaf, rsa.spki) is Signed.INVALID
    assert verify_issued(leaf, b"\x30\x00") is Signed.UNREADABLE


def test_paths_are_remembered_as_long_as_the_roots_are_there(pki: PrivatePKI, both_roots: Roots) -> None:
    """The same chain under the same roots is worked out once; other roots have an answer of their own, and go."""
    issued = pki.issue(["exam.example.edu"])
    first = build(issued.chain, both_roots)
    assert build(issued.chain, both_roots) is first
    assert first.ending_in(both_roots)
    other = from_der([pki.root_b.certificate], name="other")
    assert build(issued.chain, other) is not first
    assert build(issued.chain, other) is build(issued.chain, other)
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None


def test_a_chain_without_a_root_is_not_remembered(pki: PrivatePKI, both_roots: Roots) -> None:
    """An interceptor makes a leaf for every connection; none of them stays."""
    chain = pki.private_ca("Filter CA").issue(["exam.example.edu"]).chain
    assert build(chain, both_roots) is not build(chain, both_roots)


def test_a_large_chain_is_not_remembered(pki: PrivatePKI, both_roots: Roots) -> None:
    """What a peer can make large does not stay in memory."""
    chain = (*pki.issue(["exam.example.edu"]).chain, *(bytes((number,)) * 4096 for number in range(1, 5)))
    first = build(chain, both_roots)
    assert first.ending_in(both_roots)
    assert build(chain, both_roots) is not first


def test_a_genuine_and_a_private_chain_explain_themselves(pki: PrivatePKI, both_roots: Roots) -> None:
    """Signatures that were verified, to a root or to none, leave no question open; nor does a missing issuer."""
    genuine, private = pki.issue(["exam.example.edu"]), pki.private_ca("Filter CA")
    leaf = private.issue(["exam.example.edu"]).leaf
    for chain in (genuine.chain, (leaf, private.certificate), (leaf,), (genuine.leaf,), (b"",), (b"\x30\x00",)):
        assert reasons(build(chain, both_roots)) == NO_REASON


@pytest.mark.parametrize("algorithm", [SM2_SM3, GOST_2012, bytes.fromhex("06032a0304")])
def test_an_unknown_algorithm_is_unreadable(pki: PrivatePKI, both_roots: Roots, algorithm: bytes) -> None:
    """On the leaf, or on the last certificate that anybody is known to have signed: a known root may be above it."""
    issued = pki.issue(["exam.example.edu"])
    leaf, middle = issued.chain[:2]
    assert reasons(build((rewritten(leaf, algorithm=algorithm), middle), both_roots)) == UNREADABLE
    assert reasons(build((rewritten(leaf, algorithm=algorithm),), NO_ROOTS)) == UNREADABLE
    found = build((leaf, rewritten(middle, algorithm=algorithm)), both_roots)
    assert reasons(found) == UNREADABLE
    assert len(found.paths[0].certificates) == 2
    assert not found.ending_in(both_roots)


def test_what_leads_to_a_root_is_not_unreadable(pki: PrivatePKI, both_roots: Roots) -> None:
    """An unreadable twin does not affect an existing path."""
    issued = pki.issue(["exam.example.edu"])
    twin = rewritten(issued.chain[1], algorithm=SM2_SM3)
    found = build((*issued.chain, twin), both_roots)
    assert found.ending_in(both_roots)
    assert reasons(found) == NO_REASON


@pytest.mark.parametrize("key", [ec_spki(SM2_CURVE), ec_spki(SECP224K1), GOST_SPKI])
def test_an_issuer_whose_key_cannot_be_read(pki: PrivatePKI, both_roots: Roots, key: bytes) -> None:
    """By a known algorithm, but perhaps by a key on a curve that is not known here."""
    ca = pki.private_ca("National CA")
    leaf = ca.issue(["exam.example.edu"]).leaf
    unreadable = rewritten(ca.certificate, key=key)
    assert reasons(build((leaf, unreadable), both_roots)) == UNREADABLE
    assert reasons(build((leaf,), from_der([unreadable], name="national"))) == UNREADABLE
    assert reasons(build((leaf, rewritten(leaf, key=key)), both_roots)) == NO_REASON  # not of the issuer's name


def test_what_is_added_makes_no_signed_leaf_unreadable(pki: PrivatePKI, both_roots: Roots) -> None:
    """Once an available key verifies the signature, unreadable extra certificates change nothing."""
    ca = pki.private_ca("Filter CA")
    issued = ca.issue(["exam.example.edu"])
    junk = [rewritten(ca.certificate, key=key) for key in (ec_spki(SM2_CURVE), ec_spki(SM2_CURVE, bytes(9000)))]
    found = build((issued.leaf, *junk, ca.certificate), both_roots)
    assert [c.der for c in found.issuers] == [ca.certificate]
    assert reasons(found) == NO_REASON
    no_ca = pki.private_ca("Root").issue(subject=ca.subject, names=["ca.example.edu"], key=ca.key).leaf
    signed = build((issued.leaf, *junk, no_ca), both_roots)
    assert [c.der for c in signed.issuers] == [no_ca]
    assert reasons(signed) == NO_REASON


def test_only_a_ca_can_be_the_issuer_that_cannot_be_read(pki: PrivatePKI, both_roots: Roots) -> None:
    """A leaf that happens to have the issuer's name and an odd key is not an issuer."""
    ca = pki.private_ca("Filter CA")
    leaf = ca.issue(["exam.example.edu"]).leaf
    namesake = pki.private_ca("Other CA").issue(subject=ca.subject, names=["other.example.edu"]).leaf
    assert reasons(build((leaf, rewritten(namesake, key=ec_spki(SM2_CURVE))), both_roots)) == NO_REASON


def test_a_self_issued_end_is_not_unreadable(pki: PrivatePKI, both_roots: Roots) -> None:
    """A CA that names itself as issuer, with any signature, has no public CA above it."""
    ca = pki.private_ca("Filter CA")
    leaf = ca.issue(["exam.example.edu"]).leaf
    assert reasons(build((leaf, rewritten(ca.certificate, algorithm=SM2_SM3)), both_roots)) == NO_REASON
    assert reasons(build((rewritten(ca.certificate, algorithm=SM2_SM3),), both_roots)) == NO_REASON


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa_spki((1 << 16384) + 1, 65537), bytes.fromhex("06092a864886f70d01010b")),
        (rsa_spki((1 << 2047) + 1, (1 << 33) + 1), bytes.fromhex("06092a864886f70d01010b")),
        (dsa_spki(3073, 256), bytes.fromhex("0609608648016503040302")),
        (ec_spki(SECP224K1, bytes(9000)), ECDSA_SHA256),
    ],
)
def test_an_issuer_beyond_the_limits_is_exceeded(
    pki: PrivatePKI, both_roots: Roots, key: bytes, algorithm: bytes
) -> None:
    """Size is the sender's choice and no matter of form."""
    ca = pki.private_ca("Filter CA")
    leaf = rewritten(ca.issue(["exam.example.edu"]).leaf, algorithm=algorithm)
    assert reasons(build((leaf, rewritten(ca.certificate, key=key)), both_roots)) == EXCEEDED


def test_a_leaf_that_is_too_large_is_exceeded(both_roots: Roots) -> None:
    """It is not read, so its signer is unknown: the sender's doing."""
    assert reasons(build((bytes(CERTIFICATE_BYTES_MAX + 1),), both_roots)) == EXCEEDED


@pytest.mark.parametrize("number", [44, 65, 87])
def test_ml_dsa_chains_are_verified(pki: PrivatePKI, number: int) -> None:
    """A root, a CA and a leaf of ML-DSA make a path like any other (RFC 9881)."""
    root = pki.private_ca("ML-DSA Root", key=ml_dsa_key(number))
    issued = root.subordinate("ML-DSA CA", key=ml_dsa_key(number)).issue(["exam.example.edu"])
    roots = from_der([root.certificate], name="ML-DSA")
    found = build(issued.chain, roots)
    assert [len(path.certificates) for path in found.ending_in(roots)] == [3]
    assert reasons(found) == NO_REASON
    assert reasons(build(issued.chain, NO_ROOTS)) == NO_REASON


def test_ml_dsa_chains_are_unreadable_without_ml_dsa(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `cryptography` built without it cannot verify the signature, whether the issuer was sent or not."""
    root = pki.private_ca("ML-DSA Root", key=ml_dsa_key(65))
    issued = root.subordinate("ML-DSA CA", key=ml_dsa_key(65)).issue(["exam.example.edu"])
    withhold_ml_dsa(monkeypatch)
    roots = from_der([root.certificate], name="ML-DSA")
    for chain in (issued.chain, issued.chain[:1], (issued.leaf, root.certificate)):
        assert reasons(build(chain, roots)) == UNREADABLE


class Clock:
    """Processor time that passes with each signature that is verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, each: float) -> None:
        self.now = 0.0
        self.verified = 0
        self.each = each
        monkeypatch.setattr(paths, "verify_issued", self._verify)

    def __call__(self) -> float:
        return self.now

    def _verify(self, child: Certificate, issuer_spki: bytes) -> Signed:
        self.now += self.each
        self.verified += 1
        return verify_issued(child, issuer_spki)


def crowded(pki: PrivatePKI, others: int) -> tuple[bytes, ...]:
    """A private leaf among so many CAs of its issuer's name, and the issuer behind them."""
    ca = pki.private_ca("Filter CA")
    return (
        ca.issue(["exam.example.edu"]).leaf,
        *(pki.private_ca("Filter CA").certificate for _ in range(others)),
        ca.certificate,
    )


def test_keys_that_would_take_long_are_not_computed_with(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty-four forged chains of twenty-two DSA issuers of 10000 bits each cost no signature at all."""
    computed: list[object] = []
    monkeypatch.setattr(signatures, "_verify", lambda *arguments: computed.append(arguments))
    ca = pki.private_ca("Filter CA")
    dsa = bytes.fromhex("0609608648016503040302")
    budget = Budget(lambda: 0.0)
    for host in range(24):
        leaf = rewritten(ca.issue([f"host{host}.example.edu"]).leaf, algorithm=dsa)
        issuers = [rewritten(ca.certificate, key=dsa_spki(10000, 256, 22 * host + serial)) for serial in range(22)]
        assert reasons(build((leaf, *issuers), NO_ROOTS, budget=budget)) == EXCEEDED
    assert not computed


def test_slow_chains_take_the_seconds_of_one_run(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with keys as slow as the limits allow: each has its share, all have the run's, the rest is postponed."""
    clock = Clock(monkeypatch, each=0.04)
    budget = Budget(clock, run_seconds=1.0, chain_seconds=0.1)
    found = [reasons(build(crowded(pki, 21), NO_ROOTS, budget=budget)) for _ in range(24)]
    slow = found.index(POSTPONED)
    assert found == [EXCEEDED] * slow + [POSTPONED] * (24 - slow)
    assert 0 < slow <= 10
    assert clock.verified <= 24 * SIGNATURES_ORDINARY + 1.0 / clock.each + 1


def test_what_others_spent_keeps_no_ordinary_chain_waiting(pki: PrivatePKI, both_roots: Roots) -> None:
    """Genuine chains and usual interceptors are found out about to the end in a run that has nothing left."""
    budget = Budget(lambda: 0.0, run_seconds=0.0)
    genuine = build(pki.issue(["exam.example.edu"], cross_signed=True).chain, both_roots, NO_ROOTS, budget=budget)
    assert len(genuine.ending_in(both_roots)) == 2
    private = build(crowded(pki, 3), both_roots, budget=budget)
    assert [len(path.certificates) for path in private.paths] == [2]
    assert reasons(genuine) == reasons(private) == NO_REASON


@pytest.mark.parametrize("found_first", [True, False])
def test_what_was_not_finished_is_not_remembered(
    pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch, *, found_first: bool
) -> None:
    """A chain postponed in one run is completed in the next, also where its root was found before."""
    leaf, *others, ca = crowded(pki, SIGNATURES_ORDINARY + 4)
    anchors = [ca, *others[:8]] if found_first else [*others[:8], ca]
    roots = from_der(anchors, name="crowd")
    clock = Clock(monkeypatch, each=0.04)
    for _ in range(2):
        waiting = build((leaf, *others), roots, budget=Budget(clock, run_seconds=0.0))
        assert reasons(waiting) == POSTPONED
        slow = build((leaf, *others), roots, budget=Budget(clock, chain_seconds=0.01))
        assert reasons(slow) == EXCEEDED
        assert bool(waiting.ending_in(roots)) is found_first
    finished = build((leaf, *others), roots, budget=Budget(clock, chain_seconds=10.0, run_seconds=10.0))
    assert reasons(finished) == NO_REASON
    assert finished.ending_in(roots)
    assert build((leaf, *others), roots, budget=Budget(clock, run_seconds=0.0)) is finished


@pytest.mark.parametrize(("cas", "reason"), [(4, NO_REASON), (8, EXCEEDED)])
def test_a_thicket_of_cross_signs_is_bounded(
    pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch, cas: int, reason: tuple[bool, bool, bool]
) -> None:
    """CAs that all sign one another: each signature is asked about once, and so many of them in all."""
    keys = [generate_key("ec") for _ in range(cas)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"CA {number}")]) for number in range(cas)]
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    chain = [pki.private_ca("CA 0", key=keys[0]).issue(["exam.example.edu"]).leaf]
    for subject in range(cas):
        for issuer in range(cas):
            builder = x509.CertificateBuilder().subject_name(names[subject]).issuer_name(names[issuer])
            builder = builder.public_key(keys[subject].public_key()).serial_number(1 + issuer)
            builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=900))
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            if issuer != subject:
                signed = builder.sign(keys[issuer], hashes.SHA256())
                chain.append(signed.public_bytes(serialization.Encoding.DER))
    clock = Clock(monkeypatch, each=0.0)
    found = build(chain, NO_ROOTS)
    assert clock.verified == min((cas * (cas - 1) + 1) * (cas - 1), SIGNATURES_MAX)
    assert len(found.paths) <= paths.PATHS_MAX
    assert reasons(found) == reason


def test_more_paths_than_are_kept_exceed(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not gone through may have led somewhere, and that is said."""
    monkeypatch.setattr(paths, "PATHS_MAX", 1)
    ca = pki.private_ca("Filter CA")
    twins = [pki.private_ca(f"Above {number}").subordinate("Filter CA", key=ca.key).certificate for number in range(3)]
    found = build((ca.issue(["exam.example.edu"]).leaf, *twins), NO_ROOTS)
    assert len(found.issuers) == 3
    assert len(found.paths) == 1
    assert reasons(found) == EXCEEDED
