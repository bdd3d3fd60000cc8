"""Writer of browsers' ClientHellos, byte for byte as the recorded profiles of `knowledge.client_hellos` say.

Room: probe. Pure: key shares go in, handshake messages come out; no sockets, no clock. Draws randomness.

Interceptors choose by the ClientHello what they decrypt, so a probe must not differ from the browser it stands for in
anything that a middlebox can read. What a browser draws for each connection is drawn here in the same manner, from one
call for randomness: random, session id, the reserved values of RFC 8701, the order of the extensions, and the ECH
extension of a client without a configuration (RFC 9849 section 6.2). The second ClientHello repeats all of it (RFC 8446
section 4.1.2).

Example::

    writer = ClientHelloWriter(Hello.BROWSER, b"www.example.org")
    message = writer.first({group: share_of(group) for group in writer.shared_groups})
"""

from __future__ import annotations

import functools
import secrets
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from detector.knowledge import data_set
from detector.model import Hello
from detector.trust.handshake_signature import SIGNATURE_SCHEMES
from detector.trust.signature import KeyType

from .codepoints import ExtensionType, HandshakeType
from .framing import frame_message
from .hello import GREASE, RANDOM_BYTES, SESSION_ID_BYTES_MAX, parse_client_hello
from .key_exchange import GROUPS, X25519_MLKEM768
from .reader import Reader, too_large

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.knowledge.client_hellos import EchGrease, HelloProfile, HelloProfiles

_ML_DSA: Final = frozenset({KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87})
"""Keys that not every supported `cryptography` verifies."""
_READABLE: Final = frozenset(code for code, scheme in SIGNATURE_SCHEMES.items() if scheme.key_type not in _ML_DSA)
"""The schemes that `Hello.READABLE` may offer."""

_GREASE_BYTES: Final = 2  # of one reserved value
_RESERVED: Final = tuple(value.to_bytes(_GREASE_BYTES, "big") for value in sorted(GREASE))
_GREASE_DRAWN_BYTES: Final = 3  # for the cipher suites and the extensions at both ends; a greased list takes one more
_GREASE_SHARE: Final = b"\x00\x01\x00"  # length and content of the reserved group's key share
_FIRST_GREASE_BODY: Final = b"\x00\x00"
_LAST_GREASE_BODY: Final = b"\x00\x01\x00"
"""Length and content of the extensions at both ends. The last has content, since some servers refuse an empty one."""

_ECH_OUTER_SHA256: Final = b"\x00\x00\x01"  # ECHClientHelloType outer, KDF HKDF-SHA256 (RFC 9849 section 5)
_ECH_KEY_BYTES: Final = 32  # of an encapsulated key of DHKEM(X25519, HKDF-SHA256) (RFC 9180 section 7.1)
_ECH_DRAWN_BYTES: Final = 3 + _ECH_KEY_BYTES  # AEAD, length of the payload, config id, and a key that is not one
_OF_EACH_HELLO: Final = frozenset({ExtensionType.KEY_SHARE, ExtensionType.ENCRYPTED_CLIENT_HELLO})
"""Extensions with content of their own in each hello, reserved values apart."""
_INDISPENSABLE: Final = frozenset(
    {
        ExtensionType.SERVER_NAME,
        ExtensionType.SUPPORTED_GROUPS,
        ExtensionType.SIGNATURE_ALGORITHMS,
        ExtensionType.SUPPORTED_VERSIONS,
        ExtensionType.KEY_SHARE,
    }
)
"""Extensions without which TLS 1.3 fails (RFC 8446 section 9.2), or meets another host's certificate."""
_ORDER_BYTES: Final = 4  # of randomness for the place of one extension: two that draw the same are rare enough
_BLOCK_BYTES_MAX: Final = 0xFFFF  # of all extensions (RFC 8446 section 4.1.2)


class _Greased(NamedTuple):
    """An extension whose list begins with a reserved value: what precedes and what follows the value."""

    kind: int
    head: bytes
    tail: bytes


class _Offer(NamedTuple):
    """What is the same in every hello of a profile and its variation. `constant` are encoded extensions by kind."""

    profile: HelloProfile
    suites: bytes
    shared_groups: tuple[int, ...]
    alpn: tuple[bytes, ...]
    extensions: frozenset[int]
    constant: dict[int, bytes]
    greased: tuple[_Greased, ...]
    drawn_bytes: int


class ClientHelloWriter:
    """The ClientHellos of one connection: the first, and the second after a HelloRetryRequest.

    `profiles` are what browsers send, by default the shipped ones. `name` is the server name, None for none. `alpn`
    replaces the protocols of the profile; without h2 there is no ALPS, as in Chrome's hello for a WebSocket. `small`
    leaves ML-KEM out, so that the hello fits into one segment.

    The engine supplies key shares for `shared_groups`, and for both X25519 ones from a single key where
    `common_x25519`. `extensions` are the kinds of those in the first hello, without reserved values.
    """

    def __init__(
        self,
        hello: Hello,
        name: bytes | None,
        *,
        alpn: Sequence[bytes] | None = None,
        small: bool = False,
        profiles: HelloProfiles | None = None,
    ) -> None:
        offer = _offer(
            profiles or data_set.shipped().client_hellos, hello, None if alpn is None else tuple(alpn), small
        )
        profile = offer.profile
        self.shared_groups: Final = offer.shared_groups
        self.common_x25519: Final = profile.common_x25519
        self.alpn: Final = offer.alpn
        drawn = Reader(secrets.token_bytes(offer.drawn_bytes), "randomness")
        self._random = drawn.take(RANDOM_BYTES)
        self.session_id: Final = drawn.take(SESSION_ID_BYTES_MAX)
        self._order = _shuffled(profile.extensions, drawn) if profile.shuffled else profile.extensions
        self._parts = parts = offer.constant.copy()
        parts[ExtensionType.ENCRYPTED_CLIENT_HELLO] = _ech_grease(profile.ech, drawn)
        if name is not None:
            host_name = _vector(2, b"\x00" + _vector(2, name))  # RFC 6066 section 3
            parts[ExtensionType.SERVER_NAME] = _encode(ExtensionType.SERVER_NAME, host_name)
        self.extensions: Final = offer.extensions if name is None else offer.extensions | {ExtensionType.SERVER_NAME}
        self._suites = offer.suites
        self._share = self._first = self._last = b""
        if offer.greased:
            self._suites = _reserved(drawn) + self._suites
            for kind, head, tail in offer.greased:
                parts[kind] = head + (value := _reserved(drawn)) + tail
                if kind == ExtensionType.SUPPORTED_GROUPS:
                    self._share = value + _GREASE_SHARE
            first, last = drawn.number(1) >> 4, drawn.number(1) >> 4
            self._first = _RESERVED[first] + _FIRST_GREASE_BODY
            self._last = _RESERVED[last ^ 1 if last == first else last] + _LAST_GREASE_BODY  # as BoringSSL does

    def first(self, shares: Mapping[int, bytes]) -> bytes:
        """Return the first ClientHello, a handshake message with its header. `shares` are keys by group."""
        self._put_shares(self._share + b"".join(_encode(group, shares[group]) for group in self.shared_groups))
        return self._message()

    def second(self, group: int | None, share: bytes | None, cookie: bytes | None) -> bytes:
        """Return the ClientHello that answers a HelloRetryRequest (RFC 8446 section 4.1.2).

        `group` and `share` are what it requests, both None where it only has a cookie. Raises WireError for a cookie
        that leaves no room for a hello.
        """
        if group is not None and share is not None:
            self._put_shares(_encode(group, share))
        if cookie is not None:
            self._parts[ExtensionType.COOKIE] = _encode(ExtensionType.COOKIE, _vector(2, cookie))
        return self._message()

    def _put_shares(self, shares: bytes) -> None:
        self._parts[ExtensionType.KEY_SHARE] = _encode(ExtensionType.KEY_SHARE, _vector(2, shares))

    def _message(self) -> bytes:
        """Return the handshake message (RFC 8446 section 4.1.2)."""
        parts = self._parts
        block = self._first + b"".join([parts[kind] for kind in self._order if kind in parts]) + self._last
        if len(block) > _BLOCK_BYTES_MAX:
            raise too_large("the cookie of the HelloRetryRequest leaves no room for a ClientHello")
        body = b"".join(
            (
                b"\x03\x03",
                self._random,
                _vector(1, self.session_id),
                _vector(2, self._suites),
                b"\x01\x00",  # no compression
                _vector(2, block),
            )
        )
        return frame_message(HandshakeType.CLIENT_HELLO, body)


def unusable(profiles: HelloProfiles) -> str | None:
    """Why no hello can be written, or finished, from these profiles; None where all can."""
    for hello in (Hello.BROWSER, Hello.FIREFOX, Hello.READABLE):
        try:
            writer = ClientHelloWriter(hello, b"www.example", profiles=profiles)
            parse_client_hello(writer.first(dict.fromkeys(writer.shared_groups, b"\0")))
        except (KeyError, ValueError, ArithmeticError, struct.error) as error:
            return f"the hello of {hello} cannot be written: {type(error).__name__} {error}"
        named = frozenset(profiles.of(hello).extensions)
        if empty := named - writer.extensions - {ExtensionType.COOKIE}:
            return f"the hello of {hello} names the extension {min(empty)} without content"
        if absent := _INDISPENSABLE - named:
            return f"the hello of {hello} lacks the extension {min(absent)}"
        if lacking := set(writer.shared_groups) - GROUPS:
            return f"the hello of {hello} has a key share of a group that is not available here: {min(lacking):#06x}"
    return None


@functools.lru_cache(maxsize=32)  # two profiles, their variations, and the few lists of protocols that callers have
def _offer(
    profiles: HelloProfiles,
    hello: Hello,
    alpn: tuple[bytes, ...] | None,
    small: bool,  # noqa: FBT001 - a cache's key
) -> _Offer:
    """Work out what is the same in every hello of this kind. Raises KeyError for a hello without a profile."""
    profile = profiles.of(hello)
    protocols = tuple(name.encode("ascii") for name in profile.alpn) if alpn is None else alpn
    unwanted = {X25519_MLKEM768} if small else set[int]()
    groups = tuple(group for group in profile.groups if group not in unwanted)
    schemes = profile.signature_schemes
    if hello is Hello.READABLE:
        schemes = tuple(scheme for scheme in schemes if scheme in _READABLE)
    lists: dict[int, tuple[int, bytes]] = {
        ExtensionType.SUPPORTED_GROUPS: (2, _packed(groups)),
        ExtensionType.SIGNATURE_ALGORITHMS: (2, _packed(schemes)),
        ExtensionType.SUPPORTED_VERSIONS: (1, _packed(profile.versions)),
        ExtensionType.COMPRESS_CERTIFICATE: (1, _packed(profile.certificate_compression)),
        ExtensionType.ALPN: (2, b"".join(_vector(1, protocol) for protocol in protocols)),
    }
    bodies = {kind: bytes.fromhex(body) for kind, body in profile.bodies.items()}
    bodies |= {kind: _vector(size, content) for kind, (size, content) in lists.items() if kind not in profile.grease}
    if not protocols:
        del bodies[ExtensionType.ALPN]
    if b"h2" not in protocols:  # the settings are those of HTTP/2 (draft-vvv-tls-alps section 3)
        bodies.pop(ExtensionType.APPLICATION_SETTINGS, None)
    greased = []
    for kind in profile.grease:
        size, content = lists[kind]
        encoded = _encode(kind, _vector(size, bytes(_GREASE_BYTES) + content))
        greased.append(_Greased(kind, encoded[: -len(content) - _GREASE_BYTES], content))
    return _Offer(
        profile=profile,
        suites=_packed(profile.cipher_suites),
        shared_groups=tuple(group for group in profile.key_shares if group not in unwanted),
        alpn=protocols,
        extensions=_OF_EACH_HELLO.union(bodies, profile.grease),
        constant={kind: _encode(kind, body) for kind, body in bodies.items()},
        greased=tuple(greased),
        drawn_bytes=RANDOM_BYTES
        + SESSION_ID_BYTES_MAX
        + _ORDER_BYTES * len(profile.extensions)
        + _ECH_DRAWN_BYTES
        + max(profile.ech.payload_bytes)
        + _GREASE_DRAWN_BYTES
        + len(greased),
    )


def _ech_grease(ech: EchGrease, drawn: Reader) -> bytes:
    """Return what a client without an ECHConfig sends (RFC 9849 section 6.2)."""
    aead = ech.aeads[drawn.number(1) % len(ech.aeads)]
    payload_bytes = ech.payload_bytes[drawn.number(1) % len(ech.payload_bytes)]
    config_id, random = drawn.take(1), drawn.take(_ECH_KEY_BYTES)
    key = X25519PrivateKey.generate().public_key().public_bytes_raw() if ech.is_key else random
    body = _ECH_OUTER_SHA256 + aead.to_bytes(2, "big") + config_id + _vector(2, key)
    return _encode(ExtensionType.ENCRYPTED_CLIENT_HELLO, body + _vector(2, drawn.take(payload_bytes)))


def _shuffled(kinds: tuple[int, ...], drawn: Reader) -> list[int]:
    """Draw one of all orders, each as likely as any other."""
    places = struct.unpack(f">{len(kinds)}I", drawn.take(_ORDER_BYTES * len(kinds)))
    return [kind for _, kind in sorted(zip(places, kinds, strict=True))]


def _reserved(drawn: Reader) -> bytes:
    return _RESERVED[drawn.number(1) >> 4]


def _packed(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def _vector(length_size: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_size, "big") + content


def _encode(number: int, content: bytes) -> bytes:
    """Return an extension or a key share, each a number with a vector."""
    return number.to_bytes(2, "big") + _vector(2, content)
