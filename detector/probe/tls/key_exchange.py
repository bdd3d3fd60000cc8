"""Key exchange by group, as `native` speaks it: a key of ours, the peer's, and what both agree on.

Room: probe. Pure but for fresh keys.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .reader import malformed

if TYPE_CHECKING:
    from collections.abc import Callable

SECP256R1: Final = 0x0017
SECP384R1: Final = 0x0018
SECP521R1: Final = 0x0019
X25519: Final = 0x001D
X25519_MLKEM768: Final = 0x11EC

_MLKEM_CIPHERTEXT_BYTES: Final = 1088
"""ML-KEM-768 (FIPS 203 table 3); in a server's share it precedes the X25519 key (draft-ietf-tls-ecdhe-mlkem section
3.1.2)."""


@functools.cache
def has_ml_kem() -> bool:
    """Whether this machine's `cryptography` has ML-KEM: one built for OpenSSL before 3.5 has not."""
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


class X25519Exchange:
    """X25519 (RFC 7748 section 6.1)."""

    def __init__(self) -> None:
        self._key = X25519PrivateKey.generate()
        self.share = self._key.public_key().public_bytes_raw()

    def agree(self, peer: bytes) -> bytes:
        """Return the shared secret. Raises `ValueError` for what is no key, or one of small order."""
        return self._key.exchange(X25519PublicKey.from_public_bytes(peer))


class HybridExchange:
    """X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem section 3), with an X25519 key that may be another share's, too."""

    def __init__(self, x25519: X25519Exchange | None = None) -> None:
        self._x25519 = x25519 or X25519Exchange()
        self._mlkem = MLKEM768PrivateKey.generate()
        self.share = self._mlkem.public_key().public_bytes_raw() + self._x25519.share

    def agree(self, peer: bytes) -> bytes:
        """Return the shared secret. Raises `ValueError`."""
        sealed, public = peer[:_MLKEM_CIPHERTEXT_BYTES], peer[_MLKEM_CIPHERTEXT_BYTES:]
        point = self._x25519.agree(public)
        return self._mlkem.decapsulate(sealed) + point


class CurveExchange:
    """ECDH over a NIST curve, with uncompressed points (RFC 8446 section 4.2.8.2, RFC 8422 section 5.4)."""

    def __init__(self, curve: ec.EllipticCurve) -> None:
        self._key = ec.generate_private_key(curve)
        self.share = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def agree(self, peer: bytes) -> bytes:
        """Return the shared secret. Raises `ValueError` for what is no point of the curve in that form."""
        if len(peer) != len(self.share):
            raise ValueError("not an uncompressed point")
        return self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(self._key.curve, peer))


Exchange = X25519Exchange | HybridExchange | CurveExchange

_EXCHANGES: Final[dict[int, Callable[[], Exchange]]] = {
    X25519: X25519Exchange,
    X25519_MLKEM768: HybridExchange,
    SECP256R1: functools.partial(CurveExchange, ec.SECP256R1()),
    SECP384R1: functools.partial(CurveExchange, ec.SECP384R1()),
    SECP521R1: functools.partial(CurveExchange, ec.SECP521R1()),
}

GROUPS: Final = frozenset(_EXCHANGES)
"""The groups that a handshake can be finished with; X25519MLKEM768 where `has_ml_kem`."""


class KeyShares:
    """Our keys on one connection: one for each group that a share was sent of, or that the server chose."""

    def __init__(self, groups: tuple[int, ...], *, common_x25519: bool) -> None:
        self._exchanges: dict[int, Exchange] = {}
        for group in sorted(groups):  # X25519 before what may have its key
            x25519 = self._exchanges.get(X25519) if common_x25519 else None
            if group == X25519_MLKEM768 and isinstance(x25519, X25519Exchange):
                self._exchanges[group] = HybridExchange(x25519)
            else:
                self.add(group)

    @property
    def shares(self) -> dict[int, bytes]:
        """Our public keys by group."""
        return {group: exchange.share for group, exchange in self._exchanges.items()}

    def replace(self, group: int) -> bytes:
        """Return a new public key in this group, which alone counts from now on. Raises `WireError`."""
        self._exchanges.clear()
        return self.add(group)

    def add(self, group: int) -> bytes:
        """Return a new public key in this group. Raises `WireError` where there is none here."""
        make = _EXCHANGES.get(group)
        if make is None or (group == X25519_MLKEM768 and not has_ml_kem()):
            raise malformed(f"a key exchange in the group 0x{group:04x}, which is not available here")
        self._exchanges[group] = exchange = make()
        return exchange.share

    def agree(self, group: int | None, peer: bytes) -> bytes:
        """Return the secret shared with a server's public key. Raises `WireError` where there is none."""
        exchange = self._exchanges.get(group or 0)
        try:
            if exchange is not None:
                return exchange.agree(peer)
        except ValueError as error:  # not of the right size, not on the curve, or a point of small order
            raise malformed("the server's public key is not one of its group") from error
        raise malformed("the server's public key is of a group that we sent no key of")
