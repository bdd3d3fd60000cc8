"""Room: testing. The private PKI, checked by code that shares nothing with it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import struct
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.ocsp import OCSPCertStatus, load_der_ocsp_response
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from detector_testing import CA, CopiedField, Issued, PrivatePKI, generate_key
from detector_testing.pki import distinguished_name, sct_list_of

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing.pki import KeyKind

EXAM = "exam.example.edu"


def load(certificate: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate)


def verify(pki: PrivatePKI, issued: Issued, *roots: CA, name: x509.GeneralName | None = None) -> None:
    store = Store([load(root.certificate) for root in roots or (pki.root_a, pki.root_b)])
    subject = name or x509.DNSName(EXAM)
    verifier = PolicyBuilder().store(store).time(pki.now).build_server_verifier(subject)  # type: ignore[arg-type] # DNS, IP
    leaf, *others = (load(certificate) for certificate in issued.chain)
    verifier.verify(leaf, others)


def known_logs(pki: PrivatePKI) -> dict[bytes, bytes]:
    """Log id to public key, out of the JSON a client would read."""
    listing = json.loads(pki.ct_log_list_json())
    return {
        base64.b64decode(log["log_id"]): base64.b64decode(log["key"])
        for operator in listing["operators"]
        for log in operator["logs"]
    }


def valid_scts(pki: PrivatePKI, issued: Issued) -> int:
    """Count SCTs of known logs whose signature is right (RFC 6962 section 3.2)."""
    leaf, issuer = load(issued.chain[0]), load(issued.chain[1])
    issuer_spki = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    scts = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    tbs, logs, valid = leaf.tbs_precertificate_bytes, known_logs(pki), 0
    for sct in scts:
        if sct.log_id not in logs:
            continue
        stamp = round(sct.timestamp.replace(tzinfo=dt.UTC).timestamp() * 1000)
        signed = struct.pack(">BBQH", 0, 0, stamp, 1) + hashlib.sha256(issuer_spki).digest()
        signed += struct.pack(">I", len(tbs))[1:] + tbs + b"\x00\x00"
        key = serialization.load_der_public_key(logs[sct.log_id])
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(sct.signature, signed, ec.ECDSA(hashes.SHA256()))
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(sct.signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            continue
        valid += 1
    return valid


@pytest.mark.parametrize("key", ["ec", "rsa", "ec384"])
def test_public_leaves_validate(tls_pki: PrivatePKI, key: KeyKind) -> None:
    """A strict path validator accepts a leaf of either intermediate."""
    verify(tls_pki, tls_pki.issue([EXAM], key=key))


def test_a_cross_signed_chain_validates_with_the_older_root_alone(tls_pki: PrivatePKI) -> None:
    """With root B as signed by root A, a client that knows only root A gets there; without it does not."""
    verify(tls_pki, tls_pki.issue([EXAM], cross_signed=True), tls_pki.root_a)
    with pytest.raises(VerificationError):
        verify(tls_pki, tls_pki.issue([EXAM]), tls_pki.root_a)


def test_addresses_are_names_too(tls_pki: PrivatePKI) -> None:
    """An IP address among the names becomes an iPAddress of SubjectAltName."""
    address = ipaddress.ip_address("127.0.0.1")
    verify(tls_pki, tls_pki.issue([EXAM, "127.0.0.1"]), name=x509.IPAddress(address))


def test_a_private_ca_is_not_public(tls_pki: PrivatePKI) -> None:
    """Leaves of a private CA do not validate against the public-like roots."""
    with pytest.raises(VerificationError):
        verify(tls_pki, tls_pki.private_ca().issue([EXAM]))


def test_an_expired_leaf_fails_on_its_dates_only(tls_pki: PrivatePKI) -> None:
    """Dates given are the dates in the certificate, and its SCTs are still right."""
    start = tls_pki.now - dt.timedelta(days=400)
    issued = tls_pki.issue([EXAM], not_before=start, not_after=start + dt.timedelta(days=90))
    assert load(issued.leaf).not_valid_before_utc == start
    assert valid_scts(tls_pki, issued) == 2
    with pytest.raises(VerificationError):
        verify(tls_pki, issued)


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_scts_verify(tls_pki: PrivatePKI, key: KeyKind, count: int) -> None:
    """As many SCTs as asked for, every one right, of EC logs and of the RSA log."""
    assert valid_scts(tls_pki, tls_pki.issue([EXAM], key=key, scts=count)) == count


def test_spoiled_and_foreign_scts_do_not_count(tls_pki: PrivatePKI) -> None:
    """SCTs with a wrong signature or of an unlisted log are there and worth nothing."""
    for issued in (tls_pki.issue([EXAM], bad_sct_signature=True), tls_pki.issue([EXAM], foreign_sct=True)):
        assert sct_list_of(issued.leaf) is not None
        assert valid_scts(tls_pki, issued) == 0


def test_copied_scts_do_not_count(tls_pki: PrivatePKI) -> None:
    """A forger that copies the genuine SCTs into its own leaf gets no valid one."""
    genuine = tls_pki.issue([EXAM])
    ca = tls_pki.private_ca()
    forged = ca.issue(copy_from=genuine.leaf, sct_list=sct_list_of(genuine.leaf))
    assert valid_scts(tls_pki, forged.with_chain(forged.leaf, ca.certificate)) == 0


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("status", list(OCSPCertStatus)[:2])
def test_ocsp_responses_load_and_carry_scts(tls_pki: PrivatePKI, key: KeyKind, status: OCSPCertStatus) -> None:
    """A response is signed by the CA, about the certificate, with exactly the SCTs it was given in its one answer."""
    issuer = tls_pki.intermediate_rsa if key == "rsa" else tls_pki.intermediate_ec
    issued = tls_pki.issue([EXAM], key=key, scts=0)
    scts = tls_pki.scts_of(issued.leaf)
    response = load_der_ocsp_response(issuer.ocsp_response(issued.leaf, scts=scts, status=status))
    assert response.certificate_status is status
    assert response.serial_number == x509.load_der_x509_certificate(issued.leaf).serial_number
    [extension] = response.single_extensions
    assert isinstance(extension.value, x509.SignedCertificateTimestamps)
    assert [sct.log_id for sct in extension.value] == [log.log_id for log in tls_pki.ct_logs[:2]]
    algorithm, public = response.signature_hash_algorithm, issuer.key.public_key()
    assert algorithm is not None
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
    assert not load_der_ocsp_response(issuer.ocsp_response(issued.leaf)).single_extensions


def test_no_scts_means_no_extension(tls_pki: PrivatePKI) -> None:
    """Asking for no SCTs leaves the extension out, and the leaf still validates."""
    issued = tls_pki.issue([EXAM], scts=0)
    assert sct_list_of(issued.leaf) is None
    verify(tls_pki, issued)


def test_more_scts_than_logs_are_refused(tls_pki: PrivatePKI) -> None:
    """There are four logs; five SCTs are an error that says so."""
    with pytest.raises(ValueError, match="request fewer"):
        tls_pki.issue([EXAM], scts=5)


def test_the_log_list_is_consistent(tls_pki: PrivatePKI) -> None:
    """Log ids are hashes of keys, operators differ, and the unlisted log is not listed."""
    listing = json.loads(tls_pki.ct_log_list_json())
    logs = known_logs(tls_pki)
    assert all(hashlib.sha256(key).digest() == log_id for log_id, key in logs.items())
    assert len({operator["name"] for operator in listing["operators"]}) == len(logs) == 4
    assert not {log.log_id for log in tls_pki.unknown_logs} & logs.keys()


def test_files_hold_what_the_methods_give(tls_pki: PrivatePKI, tmp_path: Path) -> None:
    """Written roots load as the two roots, the written list is the list."""
    written = tls_pki.write(tmp_path)
    roots = x509.load_pem_x509_certificates(written.roots.read_bytes())
    assert [root.subject for root in roots] == [tls_pki.root_a.subject, tls_pki.root_b.subject]
    assert written.ct_logs.read_bytes() == tls_pki.ct_log_list_json()


def test_an_issued_certificate_fits_its_key(tls_pki: PrivatePKI) -> None:
    """PEM of chain and key load again, and the pin is the hash of the leaf's public key."""
    issued = tls_pki.issue([EXAM])
    leaf = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    key = serialization.load_pem_private_key(issued.key_pem, None)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert leaf.public_key().public_bytes(*spki) == key.public_key().public_bytes(*spki)
    assert hashlib.sha256(leaf.public_key().public_bytes(*spki)).digest() == issued.spki_sha256


def test_fresh_keys_every_time() -> None:
    """Two PKIs have the same shape and no key in common."""
    one, other = PrivatePKI.create(), PrivatePKI.create()
    assert one.root_a.subject == other.root_a.subject
    assert one.root_a.spki_sha256 != other.root_a.spki_sha256


def test_a_self_signed_certificate_signed_itself(tls_pki: PrivatePKI) -> None:
    """Issuer, subject and signer are one."""
    leaf = load(tls_pki.self_signed([EXAM]).leaf)
    leaf.verify_directly_issued_by(leaf)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_forger_copies_the_fields_asked_for(tls_pki: PrivatePKI) -> None:
    """By default subject, names, serial and dates of the genuine leaf are taken over; its key cannot be."""
    genuine = tls_pki.issue([EXAM, "www.example.edu"])
    forged, original = load(tls_pki.private_ca().issue(copy_from=genuine.leaf).leaf), load(genuine.leaf)
    san = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
    assert forged.subject == original.subject
    assert forged.extensions.get_extension_for_oid(san).value == original.extensions.get_extension_for_oid(san).value
    assert forged.serial_number == original.serial_number
    assert forged.not_valid_before_utc == original.not_valid_before_utc
    assert forged.not_valid_after_utc == original.not_valid_after_utc
    assert forged.public_key() != original.public_key()


def test_a_forger_copies_nothing_else(tls_pki: PrivatePKI) -> None:
    """With only the names to copy, serial and dates are the forger's own."""
    start = tls_pki.now - dt.timedelta(days=7)
    original = load(tls_pki.issue([EXAM], not_before=start).leaf)
    forged = tls_pki.private_ca().issue(
        copy_from=original.public_bytes(serialization.Encoding.DER), copies=[CopiedField.NAMES]
    )
    assert load(forged.leaf).serial_number != original.serial_number
    assert load(forged.leaf).not_valid_before_utc != start


@pytest.mark.parametrize("shared", [True, False])
def test_leaf_keys_are_shared_on_request(tls_pki: PrivatePKI, shared: bool) -> None:  # noqa: FBT001 - the parameter
    """One leaf key for every host, or one each."""
    ca = tls_pki.private_ca(one_leaf_key=shared)
    assert (ca.issue(["a.example"]).spki_sha256 == ca.issue(["b.example"]).spki_sha256) is shared


def test_the_leaf_key_can_be_the_ca_key(tls_pki: PrivatePKI) -> None:
    """As in mitmproxy, squid and hudsucker."""
    ca = tls_pki.private_ca(leaf_key_is_ca_key=True)
    assert ca.issue([EXAM]).spki_sha256 == ca.spki_sha256


def test_the_authority_key_identifier_can_be_left_out(tls_pki: PrivatePKI) -> None:
    """A CA made so issues leaves without the extension."""
    leaf = load(tls_pki.private_ca(authority_key_identifier=False).issue([EXAM]).leaf)
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)


def test_sha1_signatures_are_real(tls_pki: PrivatePKI) -> None:
    """Both certificates say SHA-1 with RSA, and the CA's key made both signatures."""
    ca = tls_pki.private_ca(key="rsa", signature_hash="sha1")
    key = ca.key.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    for certificate in (load(ca.certificate), load(ca.issue([EXAM]).leaf)):
        assert certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSA_WITH_SHA1
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - what was asked for


def test_sha1_needs_rsa(tls_pki: PrivatePKI) -> None:
    """Asking for SHA-1 with another key is refused with what to do."""
    with pytest.raises(ValueError, match='key="rsa"'):
        tls_pki.private_ca(signature_hash="sha1")


@pytest.mark.parametrize("key", ["rsa", "ec", "ed25519"])
def test_a_version_1_root_signs(tls_pki: PrivatePKI, key: KeyKind) -> None:
    """A version 1 root has no extensions, signed itself and signs its leaves."""
    ca = tls_pki.private_ca(key=key, version=1)
    root = load(ca.certificate)
    assert root.version is x509.Version.v1
    assert not list(root.extensions)
    root.verify_directly_issued_by(root)
    load(ca.issue([EXAM]).leaf).verify_directly_issued_by(root)


@pytest.mark.parametrize("which", ["intermediate_ec", "intermediate_rsa", "root_a"])
def test_an_impersonator_has_the_genuine_name_and_identifier(tls_pki: PrivatePKI, which: str) -> None:
    """Name and key identifier are byte-identical with the genuine issuer's, the key is not."""
    genuine = load(getattr(tls_pki, which).certificate)
    fake = load(tls_pki.private_ca(copy_from=getattr(tls_pki, which).certificate).certificate)
    identifier = x509.SubjectKeyIdentifier
    assert fake.subject.public_bytes() == genuine.subject.public_bytes()
    assert fake.extensions.get_extension_for_class(identifier) == genuine.extensions.get_extension_for_class(identifier)
    assert fake.public_key() != genuine.public_key()


def test_intermediates_of_a_private_ca_are_sent_along(tls_pki: PrivatePKI) -> None:
    """A subordinate presents itself behind its leaf, and the signatures go up to the root."""
    root = tls_pki.private_ca(distinguished_name("Campus Root", "Campus", "DE"))
    leaf, intermediate = (load(one) for one in root.subordinate("Campus Proxy").issue([EXAM]).chain)
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(load(root.certificate))


def test_a_name_too_long_for_a_subject_stays_out_of_it(tls_pki: PrivatePKI) -> None:
    """A host name over 64 characters leaves the subject empty and makes the names critical (RFC 5280)."""
    host = ".".join(["a" * 40] * 3)
    leaf = load(tls_pki.issue([host]).leaf)
    assert not list(leaf.subject)
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@pytest.mark.parametrize("key", ["ec", "rsa", "ed25519"])
def test_an_ocsp_response_is_the_cas_own(tls_pki: PrivatePKI, key: KeyKind) -> None:
    """It names the leaf, says that it is good, and the issuing CA's key verifies it."""
    ca = tls_pki.private_ca(key=key)
    leaf = ca.issue([EXAM]).leaf
    response = load_der_ocsp_response(ca.ocsp_response(leaf))
    assert response.certificate_status is OCSPCertStatus.GOOD
    assert response.serial_number == load(leaf).serial_number
    signed, signature = response.tbs_response_bytes, response.signature
    if isinstance(ca.key, ed25519.Ed25519PrivateKey):
        ca.key.public_key().verify(signature, signed)
    elif isinstance(ca.key, rsa.RSAPrivateKey):
        ca.key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        ca.key.public_key().verify(signature, signed, ec.ECDSA(hashes.SHA256()))


def test_urls_are_written_only_on_request(tls_pki: PrivatePKI) -> None:
    """caIssuers is what was given; without it the leaf points nowhere."""
    oid = ExtensionOID.AUTHORITY_INFORMATION_ACCESS
    url = "http://127.0.0.1:1/issuer.crt"
    access = load(tls_pki.issue([EXAM], aia=[url]).leaf).extensions.get_extension_for_oid(oid).value
    assert isinstance(access, x509.AuthorityInformationAccess)
    assert [one.access_location.value for one in access] == [url]
    with pytest.raises(x509.ExtensionNotFound):
        load(tls_pki.issue([EXAM]).leaf).extensions.get_extension_for_oid(oid)


@pytest.mark.parametrize(("kind", "bits"), [("rsa", 2048), ("rsa1024", 1024), ("rsa3072", 3072)])
def test_rsa_keys_have_the_size_asked_for(kind: KeyKind, bits: int) -> None:
    """The number in the kind is the modulus; plain `rsa` is 2048 bits."""
    key = generate_key(kind)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == bits


def test_an_unknown_kind_of_key_is_refused() -> None:
    """The error lists the kinds there are."""
    with pytest.raises(ValueError, match="rsa1024"):
        generate_key("dsa")  # type: ignore[arg-type] # the mistake under test
