"""What this machine trusts: certificates of HTTPS proxies, resolvers and PAC servers are assessed as clients do it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from detector_testing import generate_key

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import CA, PrivatePKI

PROXY = "proxy.example.edu"
DAY = dt.timedelta(days=1)


def leaf_for(ca: CA, purpose: x509.ObjectIdentifier, *, days: int = 90) -> list[bytes]:
    """A leaf of a CA for one purpose, and the chain above it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(generate_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.now - DAY)
        .not_valid_after(ca.now + (days - 1) * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(PROXY)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    return [builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER), *ca.chain]


def test_public_and_machine_roots(world: World, pki: PrivatePKI) -> None:
    """A public path is believed, and one to a root of this machine; a private one is not."""
    ca = pki.private_ca("Campus CA")
    assert world.case(PROXY, pki.issue([PROXY])).trusted_here
    assert world.case(PROXY, ca.issue([PROXY]), machine=[ca.certificate]).trusted_here
    assert not world.case(PROXY, ca.issue([PROXY])).trusted_here


def test_key_and_name(world: World, pki: PrivatePKI) -> None:
    """Neither a key that was not proved, nor another name, nor one that stands in the common name alone."""
    assert not world.case(PROXY, pki.issue([PROXY]), key_proved=False).trusted_here
    assert not world.case(PROXY, pki.issue(["other.example.edu"])).trusted_here
    assert not world.case(PROXY, pki.intermediate_ec.issue((), subject_cn=PROXY)).trusted_here


def test_purpose(world: World, pki: PrivatePKI) -> None:
    """A certificate for e-mail is not trusted for a server, whatever its issuer."""
    ca = pki.private_ca("Campus CA")
    for purpose, believed in ((ExtendedKeyUsageOID.SERVER_AUTH, True), (ExtendedKeyUsageOID.EMAIL_PROTECTION, False)):
        assert world.case(PROXY, leaf_for(pki.intermediate_ec, purpose)).trusted_here is believed
        assert world.case(PROXY, leaf_for(ca, purpose), machine=[ca.certificate]).trusted_here is believed


@pytest.mark.parametrize("days", [-1, 400])
def test_dates(world: World, pki: PrivatePKI, days: int) -> None:
    """An expired certificate and one from the future are not believed."""
    end = pki.now + dt.timedelta(days=days)
    assert not world.case(PROXY, pki.issue([PROXY], not_before=end - 90 * DAY, not_after=end)).trusted_here


def test_lifetimes_bind_public_roots_only(world: World, pki: PrivatePKI) -> None:
    """Five years are too long for a public leaf, not for one of a campus."""
    ca = pki.private_ca("Campus CA")
    server = ExtendedKeyUsageOID.SERVER_AUTH
    assert not world.case(PROXY, leaf_for(pki.intermediate_ec, server, days=1800)).trusted_here
    assert world.case(PROXY, leaf_for(ca, server, days=1800), machine=[ca.certificate]).trusted_here


def test_broken_hash(world: World, pki: PrivatePKI) -> None:
    """A SHA-1 signature is not trusted, below this machine's root either."""
    sha1 = pki.private_ca("Old CA", key="rsa", signature_hash="sha1")
    assert not world.case(PROXY, sha1.issue([PROXY]), machine=[sha1.certificate]).trusted_here
