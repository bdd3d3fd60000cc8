"""Distinguished names (RFC 5280 section 4.1.2.4) as presented: read whatever they contain, comparable, printable.

Room: trust. Pure. Every value in a name is attacker-controlled: it is bounded here and printed with RFC 4514
escapes, so that no control or direction character from a certificate reaches a terminal or a page.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Final, NamedTuple

from . import der

SHORT_NAMES: Final[dict[str, str]] = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
"""RFC 4514 section 3 descriptors, plus the few others common in issuers. Anything else prints as its dotted OID."""

_ENCODINGS: Final[dict[int, str]] = {
    0x0C: "utf-8",  # UTF8String
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString, in practice always written as Latin-1
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}

VALUE_BYTES_MAX: Final = 1024
"""Bytes of one attribute value that are read; RFC 5280 appendix A bounds the longest attribute at 32,768 but real
ones stay under 200, and a name is printed in one sentence."""
ATTRIBUTES_MAX: Final = 64
"""Attributes of one name that are read; real names have under 12."""
_CACHED_BYTES_MAX: Final = 256
"""Largest name whose reading is cached, so that a peer cannot fill the memory; usual ones have under 150 bytes."""
_ESCAPED: Final = re.compile(r'[,+"\\<>;=]')


class Name(NamedTuple):
    """A distinguished name.

    `attributes` are (short name or dotted OID, value) in the order of the DER; `canonical` is what RFC 5280 section
    7.1 compares (case and white space folded); `der` are the bytes as presented. `is_well_formed`: they are sets of
    pairs (section 4.1.2.4), every value is valid for its type, and nothing had to be skipped.
    """

    attributes: tuple[tuple[str, str], ...]
    canonical: tuple[tuple[str, str], ...]
    der: bytes
    is_well_formed: bool = True

    def get(self, short_name: str) -> str | None:
        """The last (most specific) value of an attribute, or None."""
        return next((value for name, value in reversed(self.attributes) if name == short_name), None)

    @property
    def text(self) -> str:
        """RFC 4514 string, most specific part first; everything not printable is escaped as hex pairs of UTF-8."""
        return ",".join(f"{name}={escape(value)}" for name, value in reversed(self.attributes))


def escape(value: str) -> str:
    """Escape one attribute value (RFC 4514 section 2.4), unprintable characters too."""
    escaped = _ESCAPED.sub(r"\\\g<0>", value)
    if not escaped.isprintable():
        escaped = "".join(one if one.isprintable() else _hexadecimal(one) for one in escaped)
    if escaped[:1] in {" ", "#"}:
        escaped = "\\" + escaped
    return escaped[:-1] + "\\ " if value[1:].endswith(" ") else escaped


def _hexadecimal(character: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def read(data: bytes, item: der.Element) -> Name:
    """Read a Name. Damaged values are replaced, not refused. Raises `der.DERError` when it is not an RDNSequence."""
    encoded = der.whole(data, item)
    return (_read if len(encoded) <= _CACHED_BYTES_MAX else _read.__wrapped__)(encoded)


@functools.lru_cache(maxsize=512)  # a CA's name is the issuer of many certificates
def _read(data: bytes) -> Name:
    item = der.element(data, 0, len(data))
    if item.tag != der.SEQUENCE:
        raise der.DERError("name")
    attributes: list[tuple[str, str]] = []
    canonical: list[tuple[str, str]] = []
    is_well_formed = True
    for relative in der.children(data, item):
        is_well_formed = is_well_formed and relative.tag == der.SET and relative.content < relative.end
        for pair in der.children(data, relative):
            identifier, text, is_whole = _attribute(data, pair)
            is_well_formed = is_well_formed and pair.tag == der.SEQUENCE and is_whole
            attributes.append((SHORT_NAMES.get(identifier, identifier), text))
            canonical.append((identifier, _fold(text)))
            if len(attributes) >= ATTRIBUTES_MAX:
                raise der.LimitError("too many attributes")
    return Name(tuple(attributes), tuple(canonical), data, is_well_formed)


RelativeNames = tuple[frozenset[tuple[str, str]], ...]
"""A Name as directoryName constraints compare it: a set of (dotted OID, folded value) for each relative name."""


def relative_names(data: bytes, item: der.Element) -> RelativeNames:
    """Read a Name strictly (RFC 5280 section 4.1.2.4). Raises `der.DERError`."""
    if not read(data, item).is_well_formed:
        raise der.DERError("name")
    return tuple(
        frozenset(
            (kind, _fold(text)) for kind, text, _ in (_attribute(data, pair) for pair in der.children(data, part))
        )
        for part in der.children(data, item)
    )


def _attribute(data: bytes, pair: der.Element) -> tuple[str, str, bool]:
    """Dotted OID and text of one attribute, and whether that is all of it."""
    kind = der.element(data, pair.content, pair.end)
    content = der.element(data, kind.end, pair.end)
    value = der.value(data, content)
    read = value[:VALUE_BYTES_MAX]
    is_whole = content.end == pair.end and len(read) == len(value)
    encoding = _ENCODINGS.get(content.tag)
    if encoding is None:
        return der.oid(data, kind), "#" + read.hex(), is_whole
    try:
        return der.oid(data, kind), read.decode(encoding), is_whole
    except UnicodeDecodeError:
        return der.oid(data, kind), read.decode(encoding, "replace"), False


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
