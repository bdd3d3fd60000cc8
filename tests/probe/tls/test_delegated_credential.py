"""Delegated credentials: an honest server with one is never accused, and only a valid one proves anything."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from detector_testing import tls_wire
from detector_testing.tls_server import CLIENT_SIGNATURE_CONTEXT, Script, ScriptedHandshake
from hypothesis import given
from hypothesis import strategies as st
from support.conversations import HOST, pki

from detector.model import Hello, Outcome
from detector.probe.tls import delegated_credential
from detector.probe.tls.codepoints import ExtensionType
from detector.probe.tls.native import NativeHandshake
from detector.probe.tls.reader import WireError
from detector.trust.certificate import OID_DELEGATION_USAGE

if TYPE_CHECKING:
    from detector_testing import Issued

    from detector.model import Observation

ECDSA: Final = 0x0403
USAGE: Final = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID_DELEGATION_USAGE), b"\x05\x00")


def delegating(*, allowed: bool = True) -> Issued:
    """A leaf that may delegate, or one that may not. Who signed it does not matter here."""
    issued = pki().issue([HOST])
    old = x509.load_der_x509_certificate(issued.leaf)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .public_key(old.public_key())
    )
    if allowed:
        builder = builder.add_extension(USAGE, critical=False)
    assert isinstance(issued.key, ec.EllipticCurvePrivateKey)
    leaf = builder.sign(issued.key, hashes.SHA256()).public_bytes(Encoding.DER)
    return dataclasses.replace(issued, chain=(leaf, *issued.chain[1:]))


def credential(
    leaf: Issued,
    key: ec.EllipticCurvePrivateKey,
    *,
    hours: float = 24.0,
    signer: ec.EllipticCurvePrivateKey | None = None,
    scheme: int = ECDSA,
) -> bytes:
    """A DelegatedCredential (RFC 9345 section 4) that ends so many hours from now."""
    certificate = x509.load_der_x509_certificate(leaf.leaf)
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours) - certificate.not_valid_before_utc
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signed = int(ends.total_seconds()).to_bytes(4, "big") + scheme.to_bytes(2, "big") + tls_wire.vector(spki, 3)
    signed += ECDSA.to_bytes(2, "big")
    content = b" " * 64 + b"TLS, server delegated credentials\x00" + leaf.leaf + signed
    signs = signer or leaf.key
    assert isinstance(signs, ec.EllipticCurvePrivateKey)
    signature = signs.sign(content, ec.ECDSA(hashes.SHA256()))
    return signed + tls_wire.vector(signature, 2)


def meet(leaf: Issued, body: bytes, key: Any, hello: Hello = Hello.FIREFOX) -> Observation:  # noqa: ANN401 - a private key
    """Let the engine meet a server that sends a credential and signs with this key."""
    script = Script.genuine(leaf)
    extension = tls_wire.extension(ExtensionType.DELEGATED_CREDENTIAL, body)
    server = ScriptedHandshake(dataclasses.replace(script, key=key, entry_extensions=(extension,)))
    engine = NativeHandshake(HOST, hello=hello, now=dt.datetime.now(dt.UTC))
    engine.receive(b"".join(server.receive(engine.start())))
    engine.connection_closed(Outcome.CLOSED)
    return engine.observation()


def test_a_valid_one_proves_the_key() -> None:
    """The leaf's key signed for the key that signed. No signature is recorded: it is not the leaf's own."""
    leaf, key = delegating(), ec.generate_private_key(ec.SECP256R1())
    seen = meet(leaf, credential(leaf, key), key)
    assert (seen.outcome, seen.key_proved, seen.handshake_signature) == (Outcome.COMPLETE, True, None)


@pytest.mark.parametrize("fault", ["expired", "valid for too long", "not allowed", "another scheme", "no time"])
def test_what_must_not_be_used_proves_nothing(fault: str) -> None:
    """And accuses nobody: signed properly it is, so no signature is another key's (RFC 9345 section 4.1.3)."""
    leaf, key = delegating(allowed=fault != "not allowed"), ec.generate_private_key(ec.SECP256R1())
    hours = {"expired": -1.0, "valid for too long": 24.0 * 8}.get(fault, 24.0)
    body = credential(leaf, key, hours=hours, scheme=0x0503 if fault == "another scheme" else ECDSA)
    if fault == "no time":
        server = ScriptedHandshake(
            dataclasses.replace(
                Script.genuine(leaf),
                key=key,
                entry_extensions=(tls_wire.extension(ExtensionType.DELEGATED_CREDENTIAL, body),),
            )
        )
        engine = NativeHandshake(HOST, hello=Hello.FIREFOX)
        engine.receive(b"".join(server.receive(engine.start())))
        seen = engine.observation()
    else:
        seen = meet(leaf, body, key)
    assert (seen.outcome, seen.key_proved, len(seen.chain)) == (Outcome.TLS_FAILURE, False, 2)


def test_somebody_elses_is_a_wrong_signature() -> None:
    """Who replays a chain cannot delegate for its leaf; nor does a stolen credential sign without its key."""
    leaf, key, other = delegating(), ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    for body, signs in ((credential(leaf, key, signer=other), key), (credential(leaf, key), other)):
        seen = meet(leaf, body, signs)
        assert (seen.outcome, seen.key_proved, len(seen.chain)) == (Outcome.SIGNATURE_WRONG, False, 2)


def test_chrome_does_not_offer_it() -> None:
    """A server that sends one all the same is refused, and its key is checked by the leaf's own."""
    leaf, key = delegating(), ec.generate_private_key(ec.SECP256R1())
    seen = meet(leaf, credential(leaf, key), leaf.key, Hello.BROWSER)
    assert (seen.outcome, seen.key_proved) == (Outcome.TLS_FAILURE, True)


@given(st.binary(max_size=200))
def test_only_wire_errors_escape(body: bytes) -> None:
    """Whatever the extension holds."""
    try:
        found = delegated_credential.parse(body)
    except WireError:
        return
    assert found.signed in body


def test_the_context_is_not_that_of_a_handshake() -> None:
    """A signature over a handshake is no delegation, nor the other way round."""
    assert delegated_credential._CONTEXT != CLIENT_SIGNATURE_CONTEXT
