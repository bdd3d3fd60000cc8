"""What a guarded client refuses because no careful TLS client takes the certificate, and what it says.

Reasons have their tests in tests/trust/test_acceptance.py; here is which path decides, and what is said.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from detector_testing import generate_key
from support.guarding import guard_of

from detector.exam import OnUnconfirmed, Policy

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import CA, PrivatePKI

EXAM = "exam.example.edu"
DAY = dt.timedelta(days=1)


def problem(world: World, presented: Any, **details: Any) -> str | None:  # noqa: ANN401 - arguments of World.case
    """What a guarded client says to a chain for the exam host, under a policy that lets pass what any client takes."""
    at = details.pop("at", world.pki.now)
    case = world.case(EXAM, presented, **details)
    policy = Policy(on_unconfirmed=OnUnconfirmed.WARN)
    assessed = guard_of(world, case.endpoint, policy=policy, clock=lambda: at).assess(case.endpoint, case.observation)
    assert assessed.refused in {None, "certificate"}
    assert assessed.refused is None or assessed.message.endswith("Nothing of the request was sent.")
    return None if assessed.refused is None else assessed.message


def special_leaf(ca: CA, extension: x509.ExtensionType, *, names: int = 0) -> list[bytes]:
    """A leaf with this extension behind `names` others and the exam host, and the chain above it."""
    names_of = [x509.DNSName(name) for name in (*(f"host{n}.example.org" for n in range(names)), EXAM)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(generate_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.now - DAY)
        .not_valid_after(ca.now + DAY)
        .add_extension(x509.SubjectAlternativeName(names_of), critical=True)
        .add_extension(extension, critical=False)
    )
    return [builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER), *ca.chain]


@pytest.mark.parametrize("key", ["ec", "ec384", "rsa", "rsa3072", "ed25519"])
def test_honest_certificates_pass(world: World, key: Any) -> None:  # noqa: ANN401 - a kind of key
    """What the PKI issues passes, with each kind of key, and cross-signed."""
    assert problem(world, world.pki.issue([EXAM], key=key)) is None
    assert problem(world, world.pki.issue([EXAM], key=key, cross_signed=True)) is None


def test_dates(world: World) -> None:
    """Expired and not yet valid are distinguished, with the date and what the clock says, at the evidence's moment."""
    pki = world.pki
    old = pki.issue([EXAM], not_before=pki.now - 90 * DAY, not_after=pki.now - DAY)
    said = str(problem(world, old))
    assert f"has expired (valid until {pki.now - DAY:%Y-%m-%d %H:%M} UTC)" in said
    assert f"clock says {pki.now:%Y-%m-%d %H:%M} UTC" in said
    assert "not valid yet" in str(problem(world, pki.issue([EXAM], not_before=pki.now + DAY)))
    assert problem(world, old, at=pki.now - 2 * DAY) is None


def test_dates_above_the_leaf(world: World) -> None:
    """An intermediate's dates count: a leaf that outlives it is refused, and the CA is named."""
    pki = world.pki
    after = pki.now + dt.timedelta(days=4 * 365)
    issued = pki.issue([EXAM], not_before=after - DAY, not_after=after + DAY)
    said = str(problem(world, issued, at=after))
    assert "A certificate above it (Exemplar ECDSA Issuing CA" in said
    assert "has expired" in said


def test_names(world: World) -> None:
    """A certificate for another host, and one that names the host as its common name only, are refused."""
    assert "for another name" in str(problem(world, world.pki.issue(["other.example.edu"])))
    by_common_name = world.pki.intermediate_ec.issue((), subject_cn=EXAM)
    assert "Only the certificate's common name is exam" in str(problem(world, by_common_name))


def test_more_names_than_are_read(world: World, pki: PrivatePKI) -> None:
    """A name that stands behind two thousand others was not read, which is no mismatch, and clears nothing."""
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    said = problem(world, special_leaf(pki.intermediate_ec, server, names=2048))
    assert "more names than are read" in str(said)


def test_no_trusted_path(world: World, pki: PrivatePKI) -> None:
    """Private, self-signed, incomplete and absent chains are refused; a declared root makes the first right."""
    ca = pki.private_ca("Campus CA")
    issued = ca.issue([EXAM])
    assert "not lead to a known root" in str(problem(world, issued))
    assert "not lead to a known root" in str(problem(world, pki.self_signed([EXAM])))
    assert "issuer's certificate is missing" in str(problem(world, list(pki.issue([EXAM]).chain[:1])))
    assert "not lead to a known root" in str(
        problem(world, issued, private_roots=(pki.private_ca("Other CA").certificate,))
    )
    assert problem(world, issued, private_roots=(ca.certificate,)) is None
    assert problem(world, []) is not None
    assert problem(world, [b"\x30\x03nonsense", *pki.issue([EXAM]).chain[1:]]) is not None
    assert problem(world, [pki.issue([EXAM]).leaf, b"nonsense", *pki.issue([EXAM]).chain[1:]]) is None


def test_declared_root_that_is_no_self_signed_one(world: World, pki: PrivatePKI) -> None:
    """A declared root may be an intermediate of somebody else's PKI, or the server's own certificate."""
    below = pki.private_ca("Campus CA").subordinate("Department CA")
    assert problem(world, below.issue([EXAM]), private_roots=(below.certificate,)) is None
    own = pki.self_signed([EXAM])
    assert problem(world, own, private_roots=(own.leaf,)) is None


def test_a_declared_path_reports_its_own_problem(world: World, pki: PrivatePKI) -> None:
    """What is wrong with the path that was meant is reported, not that there is no public one."""
    ca = pki.private_ca("Campus CA")
    old = ca.issue([EXAM], not_before=pki.now - 90 * DAY, not_after=pki.now - DAY)
    assert "expired" in str(problem(world, old, private_roots=(ca.certificate,)))


def test_lifetimes_bind_public_leaves_only(world: World, pki: PrivatePKI) -> None:
    """Two years are too long under a public root, and fine under a declared one."""
    ca = pki.private_ca("Campus CA")
    begins, ends = pki.now - DAY, pki.now + 729 * DAY
    assert "730 days" in str(problem(world, pki.issue([EXAM], not_before=begins, not_after=ends)))
    private = ca.issue([EXAM], not_before=begins, not_after=ends)
    assert problem(world, private, private_roots=(ca.certificate,)) is None


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


def test_a_ca_is_named_only_where_nobody_is_in_doubt(world: World, pki: PrivatePKI) -> None:
    """What is wrong above the leaf of a doubtful chain is said without the name that a certificate gives itself."""
    below = pki.intermediate_ec.subordinate("School Filter CA", key="rsa1024")
    said = str(problem(world, below.issue([EXAM])))
    assert "(defective-chain)" in said
    assert "No client accepts a certificate above it (weak-key)." in said
    assert "School Filter" not in said


def test_several_reasons(world: World, pki: PrivatePKI) -> None:
    """What is wrong is said, up to three things; an unknown extension that is not critical is not one of them."""
    weak = pki.issue([EXAM], key="rsa1024", not_before=pki.now - 90 * DAY, not_after=pki.now - DAY)
    said = str(problem(world, weak))
    assert "too weak" in said
    assert "has expired" in said
    sha1 = pki.private_ca("Old CA", key="rsa", signature_hash="sha1")
    assert "SHA-1" in str(problem(world, sha1.issue([EXAM]), private_roots=(sha1.certificate,)))
    mail = special_leaf(pki.intermediate_ec, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]))
    assert "The certificate is not meant for TLS servers." in str(problem(world, mail))
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert problem(world, special_leaf(pki.intermediate_ec, unknown)) is None
