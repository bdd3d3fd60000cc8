"""Path building: every way up is found, none is imagined, and a hostile chain cannot make it expensive."""

from __future__ import annotations

import datetime as dt
import gc
import weakref
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from detector.testing import generate_key
from detector.trust import paths
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_ROOTS, from_der
from detector.trust.signature import Signed, verify_issued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.testing import PrivatePKI
    from detector.trust.roots import Roots


def build(chain: Sequence[bytes], roots: Roots) -> paths.Paths:
    return paths.build([Certificate.read(octets) for octets in chain], (roots,))


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
    """A genuine certificate that is no CA, or does not say so, vouches for nothing (CVE-2002-0862)."""
    assert build(chain_under(pki, ca=True), both_roots).ending_in(both_roots)
    assert not build(chain_under(pki, ca=False), both_roots).ending_in(both_roots)
    assert not build(chain_under(pki, ca=None), both_roots).ending_in(both_roots)


def test_key_usage_and_path_length_bind(pki: PrivatePKI, both_roots: Roots) -> None:
    """A CA that may not sign certificates, or not this deep, vouches for nothing."""
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
    assert not build(chain_under(pki, ca=True, key_usage=usage), both_roots).ending_in(both_roots)
    root = x509.load_der_x509_certificate(pki.root_b.certificate)
    upper, upper_key = sign_as(root, pki.root_b.key, ca=True, name="Upper", path_length=0)
    lower, lower_key = sign_as(x509.load_der_x509_certificate(upper), upper_key, ca=True, name="Lower")
    leaf, _ = sign_as(x509.load_der_x509_certificate(lower), lower_key, ca=False)
    assert not build((leaf, lower, upper), both_roots).ending_in(both_roots)


def test_version_1_and_sha1_roots_are_anchors(pki: PrivatePKI) -> None:
    """Roots as old as they come vouch when trusted; a version 1 certificate in between does not."""
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
    crowd = [pki.private_ca(subject).certificate for _ in range(paths.SIGNATURES_MAX // 2)]
    found = build((issued.leaf, *crowd, *crowd[:20], issued.chain[1]), both_roots)
    assert found.exhausted or found.ending_in(both_roots)
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
    assert verify_issued(leaf, b"\x30\x00") is Signed.CANNOT_TELL


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
