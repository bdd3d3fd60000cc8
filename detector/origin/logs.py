r"""Server logs: one line each in, what the client offered and claimed out.

Room: origin. Pure: chunks of bytes in, entries out; opens no file, reads no clock, keeps nothing about a line.

A line is one JSON object, as docs/examples/nginx.conf and docs/examples/haproxy.cfg have the servers write it, or in
the form of docs/origin-logs.md. What a client chooses (User-Agent, client hints) stands in strings that the
server escapes, so it can end neither its field nor its line:

* nginx, `escape=json`: JSON's own escapes; bytes that are not UTF-8 are written unchanged, and read as U+FFFD.
* nginx, the default: every byte outside ASCII's printable ones, `"` and `\` as `\xHH` (no JSON, but exact).
* HAProxy, `json(utf8s)`: JSON's own escapes; it drops what is not UTF-8, and writes `-` for what is absent.

What precedes the object (the prefix of a syslog daemon) is skipped. A list that the server did not record, cut off, or
wrote in a form that is not known here counts as not seen, never as absent: no rule may accuse by it.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import re
import struct
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.knowledge.browser_offers import Family  # noqa: TC001 - msgspec reads the annotations at run time
from detector.model import encode

from .claims import Claims
from .offer import LIST_MAX, Offer, OfferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Codes = tuple[int, ...] | None

LINE_BYTES_MAX: Final = 1 << 16
"""Longest line that is read: nginx takes 8 KiB of one header by default, of which JSON makes six times as much."""
PREFIX_BYTES_MAX: Final = 256
"""What a syslog daemon puts in front of a line: priority, time, host (RFC 1123: 255 characters at most) and tag."""
FAULTS_NAMED: Final = 10
"""Lines that are named because they cannot be read; the rest is only counted."""
CODES_MAX: Final = LIST_MAX + 1
"""Entries that are read of one list: one more shows that it is longer than a browser's."""
FULL_BYTES_MIN: Final = 256
"""A HAProxy buffer of this size is filled by no browser, whose lists have about 80 bytes (Chromium 156)."""
OFFER_ID_BYTES: Final = 8
"""Bytes that identify an offer: a chance of 1 in 10**7 that two of a million different ones are taken for one."""
CACHED: Final = 1 << 13
"""Texts of lists that are kept in parsed form: a browser's list has 16 forms, one for each GREASE value (RFC 8701)."""
REMEMBERED_TEXT_MAX: Final = 4096
"""Characters of the lists of a line that are kept in parsed form: OpenSSL's longest, with 110 names, have 2,700. Longer
ones are parsed each time, so that a hostile log costs time, and not memory."""
REMEMBERED_CODES_MAX: Final = 192
"""Code points, and characters of other fields, of an offer that is kept: browsers' have under 100, OpenSSL's longest
lists 160."""
ABSENT: Final = frozenset({"", "-"})
"""What servers write where there is nothing."""
GREASE: Final = 0x0A0A
"""Stands for all 16 reserved values (RFC 8701), so that hellos that differ in them alone are the same."""
_GREASE_VALUES: Final = dict.fromkeys(range(0x0A0A, 0x10000, 0x1010), GREASE)
CODE_MAX: Final = 0xFFFF
"""Largest code point of TLS's registries: they have two bytes."""
_DEFAULT_ESCAPE: Final = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_CODE: Final = re.compile("0x[0-9A-Fa-f]{4}", re.ASCII)


class LogFormat(enum.StrEnum):
    """Whose log it is."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    JSONL = "jsonl"


class Unreadable(enum.StrEnum):
    """Why a line is not read."""

    TOO_LONG = "longer than 64 KiB"
    NOT_JSON = "no JSON object"
    FIELDS = "a field is missing, or of another type"
    HELLO = "what was recorded of the ClientHello is malformed"


class Recorded(NamedTuple):
    """What a line says of one ClientHello: its lists with reserved values, or all of it; None for what was not seen.

    `is_cut` says that a list may miss its end, `is_oversized` that there is more than a browser sends.
    """

    cipher_suites: Codes = None
    extensions: Codes = None
    groups: Codes = None
    signature_schemes: Codes = None
    alpn: tuple[str, ...] | None = None
    is_cut: bool = False
    is_oversized: bool = False
    ja4: str | None = None
    client_hello: bytes | None = None


class Entry(NamedTuple):
    """One line that says what a client offered and claimed. `offer_id` is equal where the offers are.

    `engine` is what the application knows of the browser's engine by a script in its page (`detector.origin.engine`).
    """

    offer: Offer
    offer_id: bytes
    claims: Claims
    address: str
    account: str
    time: str
    engine: Family | None = None


class _Line(msgspec.Struct):
    """What every form of a line has. Fields that are not named here are skipped."""

    user_agent: str
    address: str = ""
    account: str = ""
    sec_ch_ua: str = ""
    time: str = ""


class _NginxLine(_Line, kw_only=True):
    ciphers: str
    curves: str = ""


class _HaproxyLine(_Line, kw_only=True):
    ciphers: str
    extensions: str
    groups: str
    formats: str = ""
    capture: int


class _JsonLine(_Line, kw_only=True):
    cipher_suites: list[int] | None = None
    extensions: list[int] | None = None
    groups: list[int] | None = None
    signature_schemes: list[int] | None = None
    alpn: list[str] | None = None
    ja4: str | None = None
    client_hello: str | None = None
    engine: Family | None = None


class _MalformedListError(ValueError):
    """A recorded list is in no form that the server writes."""


class LogReader:
    """Reads a log in one pass and constant memory, and counts what it does not read.

    `lines` is the number of all lines, `without_hello` of those of connections without TLS, `unreadable` of those that
    cannot be read; `faults` names the first of these by their number.
    """

    def __init__(self, form: LogFormat) -> None:
        self._decoder, self._read = _FORMS[form]
        self.lines = 0
        self.without_hello = 0
        self.unreadable = 0
        self.faults: list[tuple[int, Unreadable]] = []

    def entries(self, chunks: Iterable[bytes]) -> Iterator[Entry]:
        """Yield what the lines say. `chunks` are of any size; a line may go over several."""
        decode, read = self._decoder.decode, self._read
        for line in lines(chunks):
            self.lines += 1
            if line is None:
                self._fault(Unreadable.TOO_LONG)
                continue
            if not line.startswith(b"{"):
                start = line.find(b"{", 0, PREFIX_BYTES_MAX)
                if start < 0:
                    if line and not line.isspace():
                        self._fault(Unreadable.NOT_JSON)
                    continue
                line = line[start:]  # noqa: PLW2901 - without its prefix
            try:
                fields = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                fields = self._otherwise(line)
                if fields is None:
                    continue
            try:
                recorded = read(fields)
                if recorded is None:
                    self.without_hello += 1
                    continue
                offer, offer_id = (_offer if _is_kept(recorded) else _parse)(recorded)
            except (_MalformedListError, OfferError):
                self._fault(Unreadable.HELLO)
                continue
            account = "" if fields.account in ABSENT else fields.account
            claims = Claims.of(fields.user_agent, fields.sec_ch_ua)
            engine = fields.engine if isinstance(fields, _JsonLine) else None
            yield Entry(offer, offer_id, claims, fields.address, account, fields.time, engine)

    def _otherwise(self, line: bytes) -> _Line | None:
        """Decode a line with bytes that are not UTF-8, or with nginx's default escapes; None where neither fits."""
        for form in (_as_utf8(line), _from_default_escapes(line)):
            try:
                decoded: _Line = self._decoder.decode(form)
            except msgspec.ValidationError:  # JSON, but other fields: no other way of reading gives those
                self._fault(Unreadable.FIELDS)
                return None
            except (msgspec.DecodeError, RecursionError):
                continue
            return decoded
        self._fault(Unreadable.NOT_JSON)
        return None

    def _fault(self, why: Unreadable) -> None:
        self.unreadable += 1
        if len(self.faults) < FAULTS_NAMED:
            self.faults.append((self.lines, why))


def _parse(recorded: Recorded) -> tuple[Offer, bytes]:
    """The offer and its identifier, for which the order of extensions does not count. Raises `OfferError`."""
    if recorded.client_hello is not None:
        offer = Offer.of_hello(recorded.client_hello)
    elif recorded.ja4 is not None and recorded.cipher_suites is None:
        offer = Offer.of_ja4(recorded.ja4)
    else:
        offer = Offer.of_lists(
            cipher_suites=recorded.cipher_suites,
            groups=recorded.groups,
            extensions=recorded.extensions,
            signature_schemes=recorded.signature_schemes,
            alpn=recorded.alpn,
            is_cut=recorded.is_cut,
            is_malformed=recorded.is_oversized,
        )
    if offer.extensions is not None:
        offer = msgspec.structs.replace(offer, extensions=tuple(sorted(offer.extensions)))
    return offer, hashlib.blake2b(encode(offer), digest_size=OFFER_ID_BYTES).digest()


_offer: Final = functools.lru_cache(maxsize=CACHED)(_parse)
"""As `_parse`, for what repeats: every whole ClientHello has random values of its own."""


def _is_kept(recorded: Recorded) -> bool:
    if recorded.client_hello is not None:
        return False
    lists = (recorded.cipher_suites, recorded.extensions, recorded.groups, recorded.signature_schemes, recorded.ja4)
    size = sum([len(one) for one in lists if one])
    if recorded.alpn:
        size += sum(map(len, recorded.alpn))
    return size <= REMEMBERED_CODES_MAX


def lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Split chunks into lines; None for one that is too long, of which no more than a chunk is kept."""
    rest, skipping = b"", False
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and skipping:
            del whole[0]
            skipping = False
            yield None
        for line in whole:
            yield line if len(line) <= LINE_BYTES_MAX else None
        if skipping or len(rest) > LINE_BYTES_MAX:
            rest, skipping = b"", True
    if skipping or rest:
        yield None if skipping else rest


def _from_default_escapes(line: bytes) -> bytes:
    r"""A line with nginx's default escapes as JSON: `\xHH` is its only one, and a backslash itself is `\x5C`."""
    if line.count(b"\\") != len(_DEFAULT_ESCAPE.findall(line)):
        return b""
    return _as_utf8(_DEFAULT_ESCAPE.sub(_unescape, line))


def _as_utf8(line: bytes) -> bytes:
    """The line with U+FFFD in place of what is not UTF-8."""
    return line.decode("utf-8", "replace").encode()


def _unescape(found: re.Match[bytes]) -> bytes:
    """One byte as JSON has it inside a string; those above ASCII are parts of UTF-8 and stand for themselves."""
    byte = bytes.fromhex(found[1].decode("ascii"))
    return byte if byte >= b"\x80" else b"\\u00" + found[1]


# nginx


def _nginx(line: _NginxLine) -> Recorded | None:
    """The lists of an nginx line; None where there is no TLS.

    Those of a resumed session are those of its own ClientHello. Before TLS 1.3 it has no groups.
    """
    if line.ciphers in ABSENT:
        return None
    is_kept = (
        len(line.ciphers) + len(line.curves) <= REMEMBERED_TEXT_MAX
        and line.ciphers.count(":") + line.curves.count(":") < REMEMBERED_CODES_MAX
    )
    return (_nginx_lists if is_kept else _nginx_lists.__wrapped__)(line.ciphers, line.curves)


@functools.lru_cache(maxsize=CACHED)
def _nginx_lists(ciphers: str, curves: str) -> Recorded:
    suites, groups = _named_codes(ciphers, _names()[0]), _named_codes(curves, _names()[1])
    if suites is None:
        raise _MalformedListError
    return Recorded(cipher_suites=suites, groups=groups)


def _named_codes(text: str, codes: dict[str, int]) -> Codes:
    """A list of OpenSSL's names and of code points in hexadecimal; None where it is absent or has an unknown name.

    nginx writes the name of what its OpenSSL knows, and the code point of what it does not. A name that is not known
    here comes from another library; which suite it means would be a guess.
    """
    if text in ABSENT:
        return None
    names = text.split(":", CODES_MAX)[:CODES_MAX]
    found = [int(name, 16) if _CODE.fullmatch(name) else codes.get(name, -1) for name in names]
    return None if -1 in found else _canonical(found)


@functools.cache
def _names() -> tuple[dict[str, int], dict[str, int]]:
    """The code points of cipher suites and of groups by the names that OpenSSL 1.0.2 to 4.0 has for them."""
    data = json.loads((resources.files(__package__) / "data" / "openssl_names.json").read_bytes())
    ciphers, groups = ({name: int(code, 16) for name, code in data[kind].items()} for kind in ("ciphers", "groups"))
    return ciphers, groups


# HAProxy


def _haproxy(line: _HaproxyLine) -> Recorded | None:
    """The lists of a HAProxy line; None where there is no TLS.

    HAProxy stores cipher suites, extensions, groups and point formats one after the other in a buffer of the size that
    the line names. Where that is full, the last list that it has may be cut off, and the others are missing; a client
    that fills a buffer of `FULL_BYTES_MIN` or more is no browser.
    """
    if line.ciphers in ABSENT:
        return None
    lists = (line.ciphers, line.extensions, line.groups, line.formats)
    stored = sum(len(text) for text in lists if text not in ABSENT) // 2
    is_full = stored >= line.capture - 1  # a value of two bytes leaves one byte free
    codes = _hex_codes if stored <= REMEMBERED_TEXT_MAX // 8 else _hex_codes.__wrapped__
    return Recorded(
        cipher_suites=codes(line.ciphers),
        extensions=_extensions(line.extensions),
        groups=codes(line.groups),
        is_cut=is_full,
        is_oversized=is_full and stored >= FULL_BYTES_MIN - 1,
    )


@functools.lru_cache(maxsize=CACHED)
def _hex_codes(text: str) -> Codes:
    """A list of two-byte values in hexadecimal; None where it is absent."""
    if text in ABSENT:
        return None
    if len(text) % 4:
        raise _MalformedListError
    text = text[: 4 * CODES_MAX]
    try:
        values = struct.unpack(f">{len(text) // 4}H", bytes.fromhex(text))
    except (ValueError, struct.error):  # the latter: bytes.fromhex skips spaces
        raise _MalformedListError from None
    return _canonical(values)


def _extensions(text: str) -> Codes:
    """Extensions in order of their numbers: browsers shuffle them, so texts repeat too rarely to be kept."""
    codes = _hex_codes.__wrapped__(text)
    return None if codes is None else tuple(sorted(codes))


# JSON Lines


def _jsonl(line: _JsonLine) -> Recorded | None:
    """The lists of a line in the form of docs/origin-logs.md; None where it has none."""
    if line.client_hello is not None:
        try:
            return Recorded(client_hello=bytes.fromhex(line.client_hello))
        except ValueError:
            raise _MalformedListError from None
    recorded = Recorded(
        cipher_suites=_checked(line.cipher_suites),
        extensions=_checked(line.extensions),
        groups=_checked(line.groups),
        signature_schemes=_checked(line.signature_schemes),
        alpn=None if line.alpn is None else tuple(line.alpn),
        ja4=line.ja4,
    )
    return None if recorded == Recorded() else recorded


def _checked(codes: list[int] | None) -> Codes:
    if codes is None:
        return None
    if not all(0 <= code <= CODE_MAX for code in codes):
        raise _MalformedListError
    return _canonical(codes[:CODES_MAX])


def _canonical(codes: Iterable[int]) -> tuple[int, ...]:
    """The codes with one GREASE value for all of them."""
    return tuple([_GREASE_VALUES.get(code, code) for code in codes])


_FORMS: Final[dict[LogFormat, tuple[msgspec.json.Decoder[Any], Callable[[Any], Recorded | None]]]] = {
    LogFormat.NGINX: (msgspec.json.Decoder(_NginxLine), _nginx),
    LogFormat.HAPROXY: (msgspec.json.Decoder(_HaproxyLine), _haproxy),
    LogFormat.JSONL: (msgspec.json.Decoder(_JsonLine), _jsonl),
}
