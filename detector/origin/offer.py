"""What was seen of a ClientHello, whatever it was seen by: the whole message, lists in a log, or a JA4 fingerprint.

Room: origin. Pure: bytes, numbers and text in, a record out. Raises nothing but `OfferError`.

    Offer.of_hello(message)                            everything
    Offer.of_lists(cipher_suites=…, groups=…)          what a server's log has; None for what it has not
    Offer.of_ja4("t13d2812h2_a01be8c064b6_…")          counts, and the cipher suites where their hash is known
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from detector.errors import InputError
from detector.knowledge.data_set import shipped
from detector.model import Record
from detector.probe.tls.hello import GREASE, MESSAGE_HEADER_BYTES, ja4_hash, parse_client_hello
from detector.probe.tls.reader import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.knowledge.browser_offers import BrowserOffers

HELLO_BYTES_MAX: Final = 64 * 1024
"""Bytes of a ClientHello that is read; browsers' have 2 KiB."""

LIST_MAX: Final = 256
"""Numbers of a list that is read: OpenSSL with everything enabled offers under 200 cipher suites."""

QUIC_TRANSPORT_PARAMETERS: Final = 57
"""The extension that every ClientHello over QUIC has (RFC 9001 section 8.2)."""

_RECORD_HEADER: Final = 5  # type, version, length (RFC 8446 section 5.1)
_HANDSHAKE: Final = 22
_JA4_PARTS: Final = (10, 12, 12)  # characters of each part


class OfferError(InputError):
    """A ClientHello, list or fingerprint that cannot be read."""


class Offer(Record, frozen=True, kw_only=True):
    """What a client offered, each part None where it was not seen.

    Lists are in wire order, without reserved values (RFC
    8701).

    `reserved_cipher_suites`, `reserved_extensions` and `reserved_groups` say whether the list had reserved values; None
    where the list was not seen, or came without them. `cipher_suites_count` is their number where only that was seen.
    `is_cut` says that a list may miss its end: then nothing counts as missing. `is_quic`: it came over QUIC (or DTLS),
    where browsers send another ClientHello, to which no rule applies. `ja4` is the fingerprint where it was
    given or can be computed.
    """

    cipher_suites: tuple[int, ...] | None = None
    groups: tuple[int, ...] | None = None
    extensions: tuple[int, ...] | None = None
    signature_schemes: tuple[int, ...] | None = None
    versions: tuple[int, ...] | None = None
    alpn: tuple[str, ...] | None = None
    reserved_cipher_suites: bool | None = None
    reserved_extensions: bool | None = None
    reserved_groups: bool | None = None
    cipher_suites_count: int | None = None
    is_cut: bool = False
    is_quic: bool = False
    ja4: str | None = None

    @staticmethod
    def of_hello(data: bytes) -> Offer:
        """Read a ClientHello: the handshake message, or the TLS records it came in. Raises `OfferError`."""
        if len(data) > HELLO_BYTES_MAX:
            raise _unreadable(f"a ClientHello of {len(data)} bytes", f"at most {HELLO_BYTES_MAX} bytes")
        try:
            hello = parse_client_hello(_message(data) if data[:1] == bytes((_HANDSHAKE,)) else data)
        except WireError as error:
            raise _unreadable(f"a ClientHello that cannot be parsed ({error})", "the bytes the client sent") from None
        kinds = tuple(kind for kind, _ in hello.extensions)
        longest = max(map(len, (hello.cipher_suites, kinds, hello.groups, hello.signature_schemes, hello.alpn)))
        if longest > LIST_MAX:
            raise _unreadable(f"a ClientHello with a list of {longest}", f"one with at most {LIST_MAX} in each list")
        versions = _plain(hello.versions) or (hello.legacy_version,)
        suites, extensions, groups = _plain(hello.cipher_suites), _plain(kinds), _plain(hello.groups)
        schemes = _plain(hello.signature_schemes)
        return Offer(
            cipher_suites=suites,
            groups=groups,
            extensions=extensions,
            signature_schemes=schemes,
            versions=versions,
            alpn=hello.alpn,
            reserved_cipher_suites=len(suites) != len(hello.cipher_suites),
            reserved_extensions=len(extensions) != len(kinds),
            reserved_groups=len(groups) != len(hello.groups),
            is_quic=QUIC_TRANSPORT_PARAMETERS in kinds,
        )

    @staticmethod
    def of_lists(  # noqa: PLR0913 - the lists of a ClientHello, each optional, all by keyword
        *,
        cipher_suites: Iterable[int] | None = None,
        groups: Iterable[int] | None = None,
        extensions: Iterable[int] | None = None,
        signature_schemes: Iterable[int] | None = None,
        alpn: Iterable[str] | None = None,
        has_reserved: bool = True,
        is_cut: bool = False,
    ) -> Offer:
        """Take what a server saw of a ClientHello, reserved values included unless not `has_reserved`.

        Raises `OfferError` for a list that is too long.
        """
        suites, suites_reserved = _seen(cipher_suites, "cipher suites")
        kinds, kinds_reserved = _seen(extensions, "extensions")
        curves, curves_reserved = _seen(groups, "groups")
        return Offer(
            cipher_suites=suites,
            groups=curves,
            extensions=kinds,
            signature_schemes=_seen(signature_schemes, "signature schemes")[0],
            alpn=None if alpn is None else tuple(alpn),
            reserved_cipher_suites=suites_reserved if has_reserved else None,
            reserved_extensions=kinds_reserved if has_reserved else None,
            reserved_groups=curves_reserved if has_reserved else None,
            is_cut=is_cut,
            is_quic=kinds is not None and QUIC_TRANSPORT_PARAMETERS in kinds,
        )

    @staticmethod
    def of_ja4(fingerprint: str, *, data: BrowserOffers | None = None) -> Offer:
        """Read a JA4 fingerprint (of the client alone). Raises `OfferError`.

        JA4 leaves out reserved values, and hashes the lists: cipher suites are known where the hash is that of a set in
        `data`, which is what the package ships unless given.
        """
        parts = fingerprint.split("_", len(_JA4_PARTS)) if len(fingerprint) <= sum(_JA4_PARTS) + 2 else []
        if tuple(map(len, parts)) != _JA4_PARTS or not parts[0][4:8].isdecimal() or not fingerprint.isascii():
            shown = fingerprint[:50].encode("ascii", "backslashreplace").decode()
            raise _unreadable(f"{shown!r} as JA4", "a fingerprint like t13d1516h2_8daaf6152771_d8a2da3f94cd")
        known = _suites_by_hash(data or shipped().browser_offers)
        return Offer(
            cipher_suites=known.get(parts[1]),
            cipher_suites_count=int(parts[0][4:6]),
            is_quic=not parts[0].startswith("t"),
            ja4=fingerprint,
        )


@functools.lru_cache(maxsize=8)  # data sets in use at once: the shipped one and updates of it
def _suites_by_hash(data: BrowserOffers) -> dict[str, tuple[int, ...]]:
    """The known sets of cipher suites by the second part of JA4."""
    return {ja4_hash(",".join(sorted(f"{suite:04x}" for suite in suites))): suites for suites in data.cipher_sets}


def _plain(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return numbers if GREASE.isdisjoint(numbers) else tuple(one for one in numbers if one not in GREASE)


def _seen(numbers: Iterable[int] | None, what: str) -> tuple[tuple[int, ...] | None, bool | None]:
    """The list without reserved values, and whether it had any."""
    if numbers is None:
        return None, None
    given = tuple(numbers)
    if len(given) > LIST_MAX:
        raise _unreadable(f"a list of {len(given)} {what}", f"at most {LIST_MAX}")
    plain = _plain(given)
    return plain, len(plain) != len(given)


def _message(data: bytes) -> bytes:
    """Join the records that carry the first handshake message."""
    message, at = bytearray(), 0
    while len(message) < MESSAGE_HEADER_BYTES or len(message) < MESSAGE_HEADER_BYTES + int.from_bytes(message[1:4]):
        body = at + _RECORD_HEADER
        end = body + int.from_bytes(data[at + 3 : body])
        if data[at : at + 1] != bytes((_HANDSHAKE,)) or end > len(data) or end == body:
            raise _unreadable("TLS records without a whole ClientHello", "every record that carries it")
        message += data[body:end]
        at = end
    return bytes(message[: MESSAGE_HEADER_BYTES + int.from_bytes(message[1:4])])


def _unreadable(what: str, instead: str) -> OfferError:
    return OfferError(f"Cannot read {what}.", advice=f"Give {instead}.")
