"""Ordinary certificate verification: what a TLS client does by itself, done here because the guard takes its place.

Room: guard. Pure but for OpenSSL on memory; the moment and the roots are arguments.

The detector's own rows ask who signed; a client must also not accept what careful clients refuse. OpenSSL's verifier
builds the path (RFC 5280 section 6: signatures, CAs, path lengths, name constraints, dates of every certificate). Two
things it leaves to TLS are added: purpose (RFC 5280 sections 4.2.1.3 and 4.2.1.12) and strength, as OpenSSL's security
level 2 has it, which is Python's default. Names are matched by RFC 9525: the common name does not count.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from OpenSSL import crypto

from detector.trust.certificate import Certificate
from detector.trust.hostname import NameMatch
from detector.trust.signature import load_key, weakly_hashed

if TYPE_CHECKING:
    import datetime as dt

    from detector.judge.evidence import EndpointEvidence
    from detector.trust.roots import Roots

RSA_BITS_LEAST: Final = 2048
EC_BITS_LEAST: Final = 224
"""112 bits of security (NIST SP 800-57 part 1, table 2), what OpenSSL's security level 2 asks for."""

NOT_YET_VALID, EXPIRED = 9, 10
NO_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
"""X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, and those that mean that the path ends in no trusted root
(OpenSSL, x509_vfy.h). Only numbers are looked at: the texts differ by version."""


class OrdinaryVerification:
    """Verifies presented chains against one set of roots. Safe to use from several threads."""

    def __init__(self, roots: Roots) -> None:
        self._store: Final = _store(roots)
        self._lock: Final = threading.Lock()

    def problem(self, case: EndpointEvidence) -> str | None:
        """Why the certificate must not be accepted for this endpoint at this moment, in a sentence; None when it may.

        The roots declared for the endpoint count as much as the public ones.
        """
        endpoint = case.endpoint
        if case.name_match is not NameMatch.MATCH:
            return f"The certificate is not for {endpoint.host}."
        problem = self._path_problem(self._store, case)
        if problem is not None and endpoint.private_roots:
            declared = self._path_problem(_store(case.declared_roots), case)
            # What is wrong with the path that was meant says more than that the other one is not there.
            return declared if declared is None or case.declared_paths else problem
        return problem

    def _path_problem(self, store: crypto.X509Store, case: EndpointEvidence) -> str | None:
        loaded = [_load(presented.der) for presented in case.observation.chain]
        if not loaded or loaded[0] is None:
            return "The certificate cannot be read."
        intermediates = [certificate for certificate in loaded[1:] if certificate is not None]
        with self._lock:
            store.set_time(case.context.at)
            try:
                verified = crypto.X509StoreContext(store, loaded[0], intermediates).get_verified_chain()
            except crypto.X509StoreContextError as error:
                return _explain(error.errors[0], error.errors[1], case.context.at)
        path = [Certificate.read(crypto.dump_certificate(crypto.FILETYPE_ASN1, one)) for one in verified]
        return _unfit(path)


def _store(roots: Roots) -> crypto.X509Store:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # a declared root may itself have an issuer
    for root in roots.roots:
        if (certificate := _load(root.certificate.der)) is not None:
            store.add_cert(certificate)
    return store


def _load(data: bytes) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, data)
    except crypto.Error:
        return None


def _explain(number: int, depth: int, at: dt.datetime) -> str:
    which = "The certificate" if depth == 0 else "A certificate above it"
    if number in NO_ISSUER:
        return "No verified path leads from the certificate to a trusted root."
    if number == EXPIRED:
        return f"{which} has expired (it is {at:%Y-%m-%d %H:%M} UTC)."
    if number == NOT_YET_VALID:
        return f"{which} is not valid yet (it is {at:%Y-%m-%d %H:%M} UTC)."
    return f"{which} does not pass verification (OpenSSL X509_V_ERR {number})."


def _unfit(path: list[Certificate]) -> str | None:
    """Say what OpenSSL leaves to TLS: purpose and strength. The last certificate of `path` is the trusted root."""
    below_root = path[:-1] or path
    if not path[0].may_serve_tls or not all(certificate.is_for_servers for certificate in below_root):
        return "The certificate, or one above it, is not meant for TLS servers."
    if any(weakly_hashed(c.signature_algorithm) for c in path[:-1]):
        return "The certificate, or one above it, is signed with a broken hash (MD5 or SHA-1)."
    if not all(_is_strong(certificate) for certificate in path):
        return "The certificate, or one above it, has a key that is too weak."
    return None


def _is_strong(certificate: Certificate) -> bool:
    key = None if certificate.spki is None else load_key(certificate.spki)
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= RSA_BITS_LEAST
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.key_size >= EC_BITS_LEAST
    return key is not None and not isinstance(key, dsa.DSAPublicKey)
