"""The parts of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), and whether two share a curve point.

Room: trust. Pure. Loads no key: one that no library loads still has an algorithm, parameters and a point.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from . import der

_EC_KEYS: Final = frozenset({"1.2.840.10045.2.1", "1.3.132.1.12", "1.3.132.1.13"})
"""id-ecPublicKey, id-ecDH and id-ecMQV: one key format under three identifiers (RFC 5480 section 2.1)."""

_STANDARD_CURVES: Final = {
    "952f3dd4ea24d8e102baa2ac7e86ed6f7dbd2786af8c9908e0fff6bfadcd18d8": "1.2.840.10045.3.1.7",
    "062961b971873d097a024a1cda6fa735b8d596acf8d8fdad585016f77127c419": "1.3.132.0.34",
    "70343fa974b17951df0575df982cb7589df05b9ca3659c601b46f0950f186296": "1.3.132.0.35",
}
"""OIDs of the public CAs' curves (RFC 5480 section 2.1.1.1) by `_fingerprint` of their explicit parameters: P-256,
P-384 and P-521 (FIPS 186-4 appendix D.1.2)."""


class PublicKeyInfo(NamedTuple):
    """Algorithm as a dotted OID, its parameters in DER (empty when absent), and the key's own bytes."""

    algorithm: str
    parameters: bytes
    key: bytes


def read(spki: bytes) -> PublicKeyInfo:
    """Parse a SubjectPublicKeyInfo. Raises `der.DERError`."""
    outer = der.expect(spki, 0, len(spki), der.SEQUENCE)
    algorithm = der.expect(spki, outer.content, outer.end, der.SEQUENCE)
    kind = der.element(spki, algorithm.content, algorithm.end)
    key = der.expect(spki, algorithm.end, outer.end, der.BIT_STRING)
    return PublicKeyInfo(der.oid(spki, kind), spki[kind.end : algorithm.end], der.value(spki, key)[1:])


def same_point_other_parameters(spki: bytes, known: bytes) -> bool:
    """Whether an elliptic-curve key has the point of a `known` key on another curve (CVE-2020-0601). Never raises.

    Both are DER SubjectPublicKeyInfo. A forger free to choose the parameters finds some for which he knows the private
    key of a CA's point, and deceives a verifier that identifies CAs by the point alone. No honest key is like that.
    Explicit standard parameters are the same curve as their OID.
    """
    try:
        one, other = read(spki), read(known)
        if {one.algorithm, other.algorithm} <= _EC_KEYS and one.parameters != other.parameters:
            return _abscissa(one.key) == _abscissa(other.key) and _curve(one.parameters) != _curve(other.parameters)
    except der.DERError:
        return False  # not a point
    return False


def _abscissa(point: bytes) -> bytes:
    """The x coordinate of a point, compressed or not (SEC 1 section 2.3.3): it identifies a key except for the sign."""
    if point[:1] in {b"\x02", b"\x03"}:
        return point[1:]
    if point[:1] in {b"\x04", b"\x06", b"\x07"}:
        return point[1 : 1 + (len(point) - 1) // 2]
    raise der.DERError("elliptic curve point")


def _curve(parameters: bytes) -> str:
    """The OID of a curve, also of explicit standard parameters; else those parameters themselves."""
    try:
        item = der.element(parameters, 0, len(parameters))
        if item.tag == der.OBJECT_IDENTIFIER:
            return der.oid(parameters, item)
        return _STANDARD_CURVES[_fingerprint(parameters, item)]
    except (ValueError, KeyError):  # DERError is a ValueError, and so are fields that are too few or too many
        return parameters.hex()


def _fingerprint(parameters: bytes, item: der.Element) -> str:
    """SHA-256 of prime, a, b, the point's x and order (ECParameters, RFC 3279 section 2.3.5). Raises ValueError."""
    _, field, curve, base, order, *_ = der.children(parameters, item)
    _, prime = der.children(parameters, field)
    a, b, *_ = der.children(parameters, curve)
    values = [der.value(parameters, number) for number in (prime, a, b, base, order)]
    values[3] = _abscissa(values[3])
    return hashlib.sha256(b",".join(value.lstrip(b"\0").hex().encode() for value in values)).hexdigest()
