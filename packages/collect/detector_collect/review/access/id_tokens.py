"""Verifies ID tokens of identity providers and learning platforms.

Room: detector_collect.review.access. Pure: tokens, key sets and time are arguments.

Everything that OpenID Connect Core 1.0 (section 3.1.3.7) and the 1EdTech Security Framework (section 5.1.3) ask for is
checked, whatever an issuer calls optional. The algorithm is chosen from a list of signatures with public keys, never by
the token alone: a token that is not signed, or signed with the public key as a shared secret, verifies with none.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from detector.model import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

ALGORITHMS: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "ES384": "EC", "Ed25519": "OKP"}
"""Signatures that are taken, and the type of their keys (RFC 7518 section 3.1, RFC 9864). RS256 is what every provider
and platform has; all of them are of public keys."""

TOKEN_BYTES_MAX: Final = 32 * 1024
"""Bytes of a token: with the roles and contexts of a large platform some have 8 KiB."""

KEYS_MAX: Final = 64
"""Keys of a set that are read: two or three while one is rotated, with a margin for platforms with a key per tenant."""

RSA_BITS: Final = (2048, 8192)
"""Sizes of RSA keys: smaller ones are weak (RFC 7518 section 3.3), larger ones cost too much to verify with."""

SKEW: Final = dt.timedelta(seconds=60)
"""How far the clocks of an issuer and this machine may differ."""

AGE_MAX: Final = dt.timedelta(minutes=10)
"""The oldest token: it is made while its user waits."""


class TokenError(ValueError):
    """Why a token or an answer of an identity provider is not taken, in words for the access record."""


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """The public members of a JSON Web Key (RFC 7517)."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: msgspec.UnsetType | msgspec.Raw = msgspec.UNSET


Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[^\0]*\Z")]
"""An identifier: OpenID Connect bounds `sub` so (section 2). PostgreSQL takes no NUL."""


class Claims(msgspec.Struct, frozen=True):
    """What every ID token says."""

    iss: str
    sub: Text
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str
    azp: str | None = None
    nbf: float | None = None
    name: str | None = None


C = TypeVar("C", bound=Claims)


def read_keys(content: bytes) -> tuple[Key, ...]:
    """The keys of a key set that can be read; others are left out (RFC 7517 section 5). Raises `TokenError`."""
    try:
        raw = json_text.decode(content, _KeySet).keys
    except ValueError:
        raise TokenError("the key set cannot be read") from None
    return tuple(key for one in raw[:KEYS_MAX] if (key := _key(one)) is not None)


def key_named(token: str) -> str | None:
    """The key that a token names, before anything of it is verified. Raises `TokenError`."""
    return _header(token).kid


def read_token(  # noqa: PLR0913 - what a token is held against
    token: str, keys: Sequence[Key], kind: type[C], *, issuer: str, client: str, nonce: str, now: dt.datetime
) -> C:
    """Verify an ID token for `client` by `issuer`. Raises `TokenError`."""
    payload = _verified(token, keys)
    try:
        claims = json_text.decode_unambiguous(payload, kind)
    except ValueError:
        raise TokenError("the token's claims cannot be read") from None
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if claims.iss != issuer:
        raise TokenError("the token is of another issuer")
    if client not in audiences:
        raise TokenError("the token is for another client")
    if claims.azp not in ({client} if len(audiences) > 1 else {client, None}):
        raise TokenError("the token was issued to another client")
    if not hmac.compare_digest(claims.nonce.encode("utf-8", "replace"), nonce.encode("ascii")):
        raise TokenError("the token is of another sign-in")
    expires, issued, begins = (_time(one) for one in (claims.exp, claims.iat, claims.nbf or claims.iat))
    if now - SKEW >= expires:
        raise TokenError("the token has expired")
    if not now - AGE_MAX - SKEW <= issued <= now + SKEW or begins > now + SKEW:
        raise TokenError("the token is too old, or of the future")
    return claims


def _verified(token: str, keys: Sequence[Key]) -> bytes:
    """The payload of a token that one of the keys signed."""
    header = _header(token)
    kty = ALGORITHMS.get(header.alg)
    if kty is None:
        raise TokenError("the token's algorithm is not taken")
    if header.crit is not msgspec.UNSET:
        raise TokenError("the token has critical extensions")
    fitting = [key for key in keys if key.kty == kty and key.use in {None, "sig"} and key.alg in {None, header.alg}]
    if header.kid is not None:
        fitting = [key for key in fitting if key.kid == header.kid]
    elif len(fitting) > 1:
        raise TokenError("the token does not name its key")
    registry = jws.JWSRegistry(algorithms=[header.alg], strict_check_header=False)
    for key in fitting:
        try:
            return jws.deserialize_compact(
                token, JWKRegistry.import_key(msgspec.to_builtins(key)), registry=registry
            ).payload
        except (JoseError, ValueError, TypeError):  # TypeError: joserfc, for header parameters of other types
            continue
    raise TokenError("no key of the issuer signed the token")


def _header(token: str) -> _Header:
    if len(token) > TOKEN_BYTES_MAX or not token.isascii() or token.count(".") != 2:  # noqa: PLR2004 - header, payload, signature
        raise TokenError("the token cannot be read")
    encoded = token.partition(".")[0]
    try:
        return json_text.decode_unambiguous(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), _Header)
    except ValueError:
        raise TokenError("the token's header cannot be read") from None


def _key(raw: msgspec.Raw) -> Key | None:
    """A key that may verify signatures; None for any other."""
    try:
        key = json_text.decode(bytes(raw), Key)
        bits = 0 if key.n is None else int.from_bytes(base64.urlsafe_b64decode(key.n + "==")).bit_length()
    except ValueError:
        return None
    if key.kty not in ALGORITHMS.values():
        return None
    return None if key.kty == "RSA" and not RSA_BITS[0] <= bits <= RSA_BITS[1] else key


def _time(seconds: float) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise TokenError("the token has an impossible time") from None
