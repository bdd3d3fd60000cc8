"""Certificates and handshake signatures of the simulated term, made on the spot.

Room: detector_collect.demo. Makes keys; pure otherwise. Not for anything but demonstrations: the CAs are named like
products, so that the collector recognizes them by the marks of its catalogue.
"""

from __future__ import annotations

import datetime as dt
import functools
import secrets
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from detector.model import HandshakeSignature
from detector.trust.handshake_signature import signed_content

if TYPE_CHECKING:
    from collections.abc import Iterable

ECDSA_SECP256R1_SHA256: Final = 0x0403
"""Scheme of the signatures (RFC 8446 section 4.2.3)."""
_LEAF_LIFE: Final = dt.timedelta(days=90)
_CA_LIFE: Final = dt.timedelta(days=3650)
_BEFORE: Final = dt.timedelta(days=45)
"""Leaves are in the middle of their life, CAs as old as leaves."""
_TYPES: Final = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "C": NameOID.COUNTRY_NAME,
}


class Server:
    """Ends TLS for one host with one key: the genuine server, or an interceptor in its place."""

    def __init__(self, chain: tuple[bytes, ...], key: ec.EllipticCurvePrivateKey) -> None:
        self.chain: Final = chain
        self._key = key

    def handshake(self) -> HandshakeSignature:
        """What the server signs in a TLS 1.3 handshake; each has another transcript."""
        signed = signed_content(secrets.token_bytes(32))
        signature = self._key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return HandshakeSignature(scheme=ECDSA_SECP256R1_SHA256, signed=signed, signature=signature)


class Authority:
    """A CA that signs for any host."""

    def __init__(self, name: Iterable[tuple[str, str]], now: dt.datetime) -> None:
        attributes = [x509.NameAttribute(_TYPES[kind], value) for kind, value in name if kind in _TYPES]
        self._name = x509.Name(attributes)
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        unlimited = x509.BasicConstraints(ca=True, path_length=None)
        usage = _usage(signs_certificates=True)
        builder = self._builder(self._name, self._key, _CA_LIFE)
        self._certificate = self._sign(
            builder.add_extension(unlimited, critical=True).add_extension(usage, critical=True)
        )
        self.server: Final = functools.cache(self._server)

    def _server(self, host: str) -> Server:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key, _LEAF_LIFE)
        for extension, critical in (
            (x509.SubjectAlternativeName([x509.DNSName(host)]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return Server((self._sign(builder), self._certificate), key)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BEFORE)
            .not_valid_after(self._now - _BEFORE + life)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Key usage of a CA, or of a TLS server (RFC 5280 section 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
