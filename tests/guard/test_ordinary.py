"""Ordinary verification: what a careful TLS client refuses, whatever the detector says about middleware."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from detector.guard.ordinary import OrdinaryVerification
from detector.testing import generate_key

if TYPE_CHECKING:
    from conftest import World

    from detector.testing import CA, PrivatePKI

EXAM = "exam.example.edu"
DAY = dt.timedelta(days=1)


def problem(world: World, presented: Any, **details: Any) -> str | None:  # noqa: ANN401 - arguments of World.case
    """What ordinary verification says of a chain for the exam host."""
    return OrdinaryVerification(world.roots).problem(world.case(EXAM, presented, **details))


def special_leaf(ca: CA, extension: x509.ExtensionType, *, critical: bool = False) -> list[bytes]:
    """A leaf for the exam host with this extension and no others but its name, and the chain above it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(generate_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.now - DAY)
        .not_valid_after(ca.now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(EXAM)]), critical=True)
        .add_extension(extension, critical=critical)
    )
    return [builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER), *ca.chain]


@pytest.mark.parametrize("key", ["ec", "ec384", "rsa", "rsa3072"])
def test_honest_certificates_pass(world: World, key: Any) -> None:  # noqa: ANN401 - a kind of key
    """What the PKI issues passes, with each kind of key, and cross-signed."""
    assert problem(world, world.pki.issue([EXAM], key=key)) is None
    assert problem(world, world.pki.issue([EXAM], key=key, cross_signed=True)) is None


def test_dates(world: World) -> None:
    """Expired and not yet valid are told apart, and the moment is the case's own."""
    pki = world.pki
    old = pki.issue([EXAM], not_before=pki.now - 90 * DAY, not_after=pki.now - DAY)
    young = pki.issue([EXAM], not_before=pki.now + DAY)
    assert "expired" in str(problem(world, old))
    assert "not valid yet" in str(problem(world, young))
    assert problem(world, old, at=pki.now - 2 * DAY) is None


def test_dates_above_the_leaf(world: World) -> None:
    """An intermediate's dates count: a leaf that outlives it is refused."""
    pki = world.pki
    after = pki.now + dt.timedelta(days=4 * 365)
    issued = pki.issue([EXAM], not_before=pki.now, not_after=after + DAY)
    assert "above it has expired" in str(problem(world, issued, at=after))


def test_name(world: World) -> None:
    """A certificate for another host, and one that names the host as its common name only, are refused."""
    assert "not for" in str(problem(world, world.pki.issue(["other.example.edu"])))
    no_names = world.pki.intermediate_ec.issue((), subject_cn=EXAM)
    assert "not for" in str(problem(world, no_names))


def test_no_public_path(world: World, pki: PrivatePKI) -> None:
    """Private, self-signed and incomplete chains are refused; a declared root makes the first right."""
    ca = pki.private_ca("Campus CA")
    issued = ca.issue([EXAM])
    assert "trusted root" in str(problem(world, issued))
    assert "trusted root" in str(problem(world, pki.self_signed([EXAM])))
    assert "trusted root" in str(problem(world, list(pki.issue([EXAM]).chain[:1])))
    assert problem(world, issued, private_roots=(ca.certificate,)) is None
    assert "trusted root" in str(problem(world, issued, private_roots=(pki.private_ca("Other CA").certificate,)))


def test_declared_root_that_is_no_self_signed_one(world: World, pki: PrivatePKI) -> None:
    """A declared root may be an intermediate of somebody else's PKI."""
    below = pki.private_ca("Campus CA").subordinate("Department CA")
    assert problem(world, below.issue([EXAM]), private_roots=(below.certificate,)) is None


def test_a_declared_path_tells_its_own_problem(world: World, pki: PrivatePKI) -> None:
    """What is wrong with the path that was meant is told, not that there is no public one."""
    ca = pki.private_ca("Campus CA")
    old = ca.issue([EXAM], not_before=pki.now - 90 * DAY, not_after=pki.now - DAY)
    assert "expired" in str(problem(world, old, private_roots=(ca.certificate,)))


def test_leaf_that_issues(world: World, pki: PrivatePKI) -> None:
    """A leaf of a public CA is no CA, whatever it signs (CVE-2002-0862)."""
    leaf = pki.issue(["attacker.example.org"])
    below = dataclasses.replace(
        pki.intermediate_ec,
        certificate=leaf.leaf,
        key=leaf.key,
        subject=x509.load_der_x509_certificate(leaf.leaf).subject,
        key_identifier=None,
        chain=leaf.chain,
    )
    assert problem(world, below.issue([EXAM])) is not None


@pytest.mark.parametrize(
    ("extension", "passes"),
    [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.37"), b"\x30\x82\xff"), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x03\x02\x01\x06"), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
    ],
)
def test_purpose(world: World, pki: PrivatePKI, extension: x509.ExtensionType, *, passes: bool) -> None:
    """A certificate for something else than serving TLS is refused, and an extension nobody knows is not in the way."""
    assert (problem(world, special_leaf(pki.intermediate_ec, extension)) is None) is passes


def test_critical_extension_nobody_knows(world: World, pki: PrivatePKI) -> None:
    """RFC 5280 section 4.2: an unknown critical extension refuses the certificate."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert problem(world, special_leaf(pki.intermediate_ec, unknown, critical=True)) is not None


def test_weak_keys_and_hashes(world: World, pki: PrivatePKI) -> None:
    """RSA-1024 and SHA-1 are refused, as by Python's own TLS."""
    assert "weak" in str(problem(world, pki.issue([EXAM], key="rsa1024")))
    sha1 = pki.private_ca("Old CA", key="rsa", signature_hash="sha1")
    assert "SHA-1" in str(problem(world, sha1.issue([EXAM]), private_roots=(sha1.certificate,)))


def test_unreadable_certificates(world: World, pki: PrivatePKI) -> None:
    """Garbage as the leaf is refused; garbage above it is passed over."""
    issued = pki.issue([EXAM])
    assert problem(world, [b"\x30\x03nonsense", *issued.chain[1:]]) is not None
    assert problem(world, [issued.leaf, b"nonsense", *issued.chain[1:]]) is None
    assert problem(world, []) is not None
