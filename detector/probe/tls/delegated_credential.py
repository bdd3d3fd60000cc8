"""Delegated credentials: a short-lived key that the leaf's key signed, and that signs the handshake in its place.

Room: probe. Pure: no clock; the time is an argument. RFC 9345; Firefox offers them.

A handshake signed by such a key is not signed by the leaf's. Without this module an honest server that uses one would
be reported as a replayed chain.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.trust.certificate import OID_DELEGATION_USAGE
from detector.trust.handshake_signature import KeyProof, check_signature

from .reader import Reader

if TYPE_CHECKING:
    from detector.model import HandshakeSignature
    from detector.trust.certificate import Certificate

VALID_MAX: Final = dt.timedelta(days=7)  # the longest time a credential may still be valid (RFC 9345 section 4.1.3)
_CONTEXT: Final = b" " * 64 + b"TLS, server delegated credentials" + b"\x00"  # RFC 9345 section 4
_WHAT: Final = "a delegated credential"


class DelegatedCredential(NamedTuple):
    """A DelegatedCredential (RFC 9345 section 4).

    `valid_time` is the time after the leaf's notBefore at which it ends. `scheme` is that of its key `spki`,
    `algorithm` and `signature` are the leaf's, `signed` is what the leaf signs after its own DER.
    """

    valid_time: dt.timedelta
    scheme: int
    spki: bytes
    algorithm: int
    signature: bytes
    signed: bytes


def parse(body: bytes) -> DelegatedCredential:
    """Parse the extension of a certificate entry. Raises `WireError`."""
    reader = Reader(body, _WHAT)
    seconds, scheme, spki = reader.number(4), reader.number(2), reader.vector(3)
    algorithm = reader.number(2)
    signed = body[: reader.at]
    signature = reader.vector(2)
    reader.end()
    return DelegatedCredential(dt.timedelta(seconds=seconds), scheme, spki, algorithm, signature, signed)


def proof(
    credential: DelegatedCredential, leaf: Certificate, signature: HandshakeSignature, now: dt.datetime | None
) -> KeyProof:
    """Whether the leaf's key delegated to the key that made this handshake signature.

    NOT_CHECKABLE where the credential must not be used (RFC 9345 section 4.1.3) or where the time is not known: it
    proves nothing then. INVALID where one of the two signatures is another key's.
    """
    if OID_DELEGATION_USAGE not in leaf.extensions or leaf.not_before is None or now is None:
        return KeyProof.NOT_CHECKABLE
    left = leaf.not_before + credential.valid_time - now
    if not dt.timedelta(0) < left <= VALID_MAX or signature.scheme != credential.scheme:
        return KeyProof.NOT_CHECKABLE
    delegated = check_signature(
        leaf.spki, credential.algorithm, credential.signature, _CONTEXT + leaf.der + credential.signed
    )
    if delegated is not KeyProof.VALID:
        return delegated
    return check_signature(credential.spki, signature.scheme, signature.signature, signature.signed)
