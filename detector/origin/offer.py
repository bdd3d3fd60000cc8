"""What was seen of a ClientHello, whatever it was seen by: the whole message, lists in a log, or a JA4 fingerprint.

Room: origin. Pure: bytes, numbers and text in, a record out. Raises nothing but `OfferError`.

    Offer.of_hello(message)                            everything
    Offer.of_lists(cipher_suites=…, groups=…)          what a server's log has; None for what it has not
    Offer.of_ja4("t13d2812h2_a01be8c064b6_…")          counts, and the cipher suites where their hash is known
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import msgspec

from detector.errors import InputError
from detector.knowledge.data_set import shipped
from detector.model import Record
from detector.probe.tls.codepoints import ContentType, ExtensionType, HandshakeType
from detector.probe.tls.hello import GREASE, MESSAGE_HEADER_BYTES, ja4_hash, parse_client_hello
from detector.probe.tls.reader import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.knowledge.browser_offers import BrowserOffers

HELLO_BYTES_MAX: Final = 8 * 1024
"""Bytes of a ClientHello that is read: Chromium 156 sends under 2 KiB (measured), OpenSSL accepts 128 KiB. A longer one
is no browser's (`is_malformed`)."""

LIST_MAX: Final = 256
"""Numbers of a list that is read: browsers send under 30, OpenSSL with everything enabled under 200 cipher suites. A
longer list is no browser's (`is_malformed`)."""

QUIC_TRANSPORT_PARAMETERS: Final = 57
"""The extension that every ClientHello over QUIC has (RFC 9001 section 8.2)."""

_RECORD_HEADER: Final = 5  # type, version, length (RFC 8446 section 5.1)
_HANDSHAKE: Final = bytes((ContentType.HANDSHAKE,))
_JA4_PARTS: Final = (10, 12, 12)  # characters of each part


class OfferError(InputError):
    """A ClientHello, list or fingerprint that cannot be read."""


class Offer(Record, frozen=True, kw_only=True):
    """What a client offered, each part None where it was not seen.

    Lists are in wire order, without reserved values (RFC 8701).

    `reserved_cipher_suites`, `reserved_extensions` and `reserved_groups` say whether the list had reserved values; None
    where the list was not seen, or came without them. `cipher_suites_count` is their number where only that was seen.
    `is_cut` says that a list may miss its end: then nothing counts as missing. `is_malformed`: it is longer than
    `HELLO_BYTES_MAX`, a list longer than `LIST_MAX`, or an extension breaks its format. `is_quic`: it
    came over QUIC (or DTLS), where browsers send another ClientHello, to which no rule applies. `ja4` is the
    fingerprint where it was given or can be computed.
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
    is_malformed: bool = False
    is_quic: bool = False
    ja4: str | None = None

    @staticmethod
    def of_hello(data: bytes) -> Offer:
        """Read a ClientHello: the handshake message, or the TLS records it came in. Raises `OfferError`."""
        message = _message(data) if data[:1] == _HANDSHAKE else data
        if is_oversized(message):
            return Offer(is_malformed=True)
        damaged = set[int]()
        try:
            hello = parse_client_hello(message, damaged=damaged)
        except WireError as error:
            raise _unreadable(f"a ClientHello that cannot be parsed ({error})", "the bytes the client sent") from None
        kinds = tuple(kind for kind, _ in hello.extensions)
        is_groups = ExtensionType.SUPPORTED_GROUPS not in damaged
        is_schemes = ExtensionType.SIGNATURE_ALGORITHMS not in damaged
        offer = Offer.of_lists(
            cipher_suites=hello.cipher_suites,
            groups=hello.groups if is_groups else None,
            extensions=kinds,
            signature_schemes=hello.signature_schemes if is_schemes else None,
            alpn=hello.alpn if ExtensionType.ALPN not in damaged else None,
            is_malformed=bool(damaged) or len(hello.versions) > LIST_MAX,
        )
        versions = _plain(hello.versions[:LIST_MAX]) or (hello.legacy_version,)
        return msgspec.structs.replace(offer, versions=versions)

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
        is_malformed: bool = False,
    ) -> Offer:
        """Take what a server saw of a ClientHello, reserved values included unless not `has_reserved`."""
        given = [None if one is None else tuple(one) for one in (cipher_suites, extensions, groups, signature_schemes)]
        protocols = None if alpn is None else tuple(alpn)
        is_long = any(one is not None and len(one) > LIST_MAX for one in (*given, protocols))
        (suites, suites_reserved), (kinds, kinds_reserved), (curves, curves_reserved), (schemes, _) = map(_seen, given)
        return Offer(
            cipher_suites=suites,
            groups=curves,
            extensions=kinds,
            signature_schemes=schemes,
            alpn=None if protocols is None else protocols[:LIST_MAX],
            reserved_cipher_suites=suites_reserved if has_reserved else None,
            reserved_extensions=kinds_reserved if has_reserved else None,
            reserved_groups=curves_reserved if has_reserved else None,
            is_cut=is_cut or is_long,
            is_malformed=is_malformed or is_long,
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


def _seen(numbers: tuple[int, ...] | None) -> tuple[tuple[int, ...] | None, bool | None]:
    """What is read of the list, without reserved values, and whether it had any."""
    if numbers is None:
        return None, None
    given = numbers[:LIST_MAX]
    plain = _plain(given)
    return plain, len(plain) != len(given)


def is_oversized(message: bytes | bytearray) -> bool:
    """Whether a ClientHello, a handshake message with its header, is longer than what is read."""
    length = int.from_bytes(message[1:MESSAGE_HEADER_BYTES])
    return message[:1] == bytes((HandshakeType.CLIENT_HELLO,)) and length > HELLO_BYTES_MAX - MESSAGE_HEADER_BYTES


def _message(data: bytes) -> bytes:
    """Join the records that carry the first handshake message."""
    message, at = bytearray(), 0
    while len(message) < MESSAGE_HEADER_BYTES or len(message) < MESSAGE_HEADER_BYTES + int.from_bytes(message[1:4]):
        body = at + _RECORD_HEADER
        end = body + int.from_bytes(data[at + 3 : body])
        if data[at : at + 1] != _HANDSHAKE or end > len(data) or end == body:
            raise _unreadable("TLS records without a whole ClientHello", "every record that carries it")
        message += data[body:end]
        at = end
        if len(message) >= MESSAGE_HEADER_BYTES and is_oversized(message):
            break
    return bytes(message[: MESSAGE_HEADER_BYTES + int.from_bytes(message[1:4])])


def _unreadable(what: str, instead: str) -> OfferError:
    return OfferError(f"Cannot read {what}.", advice=f"Give {instead}.")
