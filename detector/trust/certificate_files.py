"""Reads certificates from what people have: PEM in any wrapping, DER, PKCS #7, PKCS #12 (docs/examine.md).

Room: trust. Pure.

What is read here was copied, exported or sent by mail. It is not what a peer sent on the wire: a certificate that
cannot be read is an error in the file, which names the block, and a file without certificates is refused by what it
is. A file that is read has at least one certificate.

The order of certificates is evidence: a TLS server sends its own one first, and only that one is authenticated. So the
order is changed in two cases alone, where it cannot be what a server presented (`leaf_first`).

Text between certificates may come from the accused: `openssl s_client` prints the names in their certificates, and a
name can have the form of a block. So a block begins at the beginning of a line, where no name does. Other readings (as
JSON, HTML, a form or lines of a log) are tried only where there is no such block. They are refused where there are
names, and unless all certificates are one path: a name can be in any field, and one that has the form of a block gives
a second path.

Every step takes time linear in the length of the file.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import string
import urllib.parse
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.lazy import LazyModule
from detector.errors import ChainError

from . import der, file_kinds, signed_data
from .certificate import KEY_NOT_PROVED, Certificate
from .distinguished_name import escape
from .hostname import NameMatch, match
from .signature import Signed, verify_issued

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from . import pkcs12
else:
    pkcs12 = LazyModule("detector.trust.pkcs12")  # few files are one

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest file, in bytes: a hundred times the longest genuine chain, in UTF-16 with a log line around each line."""
CERTIFICATES_MAX: Final = 256
"""Certificates of one file: as many as a probe keeps of one connection."""
CERTIFICATES_BYTES_MAX: Final = 1024 * 1024
"""Bytes of all certificates of one file: as many as a probe reads of one connection. To compare all their names with
the host takes up to a second."""
SORTED_MAX: Final = 10
"""Certificates of a file that are put in order: as many as a path may have."""
NAMES_SHOWN: Final = 3
"""Names of a certificate that a message lists."""
NAME_CHARACTERS_MAX: Final = 253
"""Characters of one of them: those of the longest DNS name (RFC 1035 section 2.3.4)."""

_AGAIN: Final = "Copy or export it again, whole."

_ENCODINGS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte order marks (Unicode 16, section 23.8). Windows PowerShell 5 writes UTF-16 with one."""
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b"))
"""Bytes that text does not have; every certificate in DER has some."""
_CHARACTERS: Final = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),  # what word processors make of hyphens
        **dict.fromkeys("\u00a0\u2007\u202f\u3000", " "),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", None),  # invisible characters of web pages
    }
)
_JSON: Final = (
    *((b"\\\\", b"\x00"), (b'\\"', b"\x01"), (b'"', b"\n"), (b"\\r", b"\n"), (b"\\n", b"\n"), (b"\\t", b" ")),
    *((b"\\/", b"/"), (b"\\u000a", b"\n"), (b"\\u000A", b"\n"), (b"\\u000d", b"\n"), (b"\\u000D", b"\n")),
    *((b"\\u002f", b"/"), (b"\\u002F", b"/"), (b"\\u002b", b"+"), (b"\\u002B", b"+"), (b"\\u003d", b"=")),
    *((b"\\u003D", b"="), (b"\x01", b'"'), (b"\x00", b"\\")),
)
"""Escapes of JSON (RFC 8259 section 7) and of most programming languages, one level of them. What is within quotes
becomes lines of its own; an escaped quote or backslash stays a character."""
_HTML: Final = (
    *((b"&#10;", b"\n"), (b"&#13;", b"\n"), (b"&#xa;", b"\n"), (b"&#xA;", b"\n"), (b"&#xd;", b"\n"), (b"&#xD;", b"\n")),
    *((b"&#43;", b"+"), (b"&#x2b;", b"+"), (b"&#x2B;", b"+"), (b"&plus;", b"+"), (b"&#47;", b"/"), (b"&#x2f;", b"/")),
    *((b"&#x2F;", b"/"), (b"&#61;", b"="), (b"&#x3d;", b"="), (b"&#x3D;", b"="), (b"&#45;", b"-"), (b"&#x2d;", b"-")),
    *((b"&#x2D;", b"-"), (b"&nbsp;", b" "), (b"&gt;", b">"), (b"&lt;", b"<"), (b"&amp;", b"&")),
)
"""Character references of HTML and XML for what PEM has, one level of them."""

_MARK: Final = re.compile(rb"- ?(?P<edge>BEGIN|END) (?P<label>[A-Z0-9#./ ]{1,48}?) ?-")
"""The edges of a PEM block in capitals. Of its hyphens one suffices: word processors join them."""
_DECORATION: Final = string.whitespace.encode() + b">|\"'`,;*?"
"""What mail, tables, source text and unknown characters add to lines of base64."""
_BEFORE: Final = _DECORATION + b"-#\\"
"""What may be before BEGIN on its line, its own hyphens among it."""
_CERTIFICATE_LABELS: Final = frozenset(
    {"PKCS7", "PKCS #7", "PKCS #7 SIGNED DATA", "CMS", "CERTIFICATE CHAIN", "CERTIFICATE BUNDLE"}
)
"""Labels of blocks with certificates that do not end in CERTIFICATE (RFC 7468 sections 8 and 9, OpenSSL)."""
_WITH_AUXILIARY: Final = "TRUSTED CERTIFICATE"
"""OpenSSL's label of a certificate that its own data follow (x509 -trustout)."""
_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]{1,76}={0,2}")
"""A line of base64 (RFC 2045, section 6.8: at most 76 characters)."""
_LISTED: Final = re.compile(rb"^[ >]{0,16}(\d{1,3}) s:", re.MULTILINE)
"""A line of s_client's list of the presented certificates."""

_NAMES: Final = re.compile(rb"\b(?:[si] ?[:=]|subject|issuer|owner|common.?name)", re.IGNORECASE)
"""How OpenSSL and others begin the name of a certificate: `0 s:CN = exam.example.edu`, `"subject": "CN=..."`."""


class CertificateFile(NamedTuple):
    """The certificates of a file, in its order, and `notes` on what was left out, as sentences.

    `is_set` says that the file's format keeps no order, `key_proved` is False where the file says so of its handshake.
    """

    certificates: tuple[bytes, ...]
    notes: tuple[str, ...] = ()
    is_set: bool = False
    key_proved: bool = True


class _Block(NamedTuple):
    """A PEM block: its number in the file, its label, and what is between its lines, None where one is missing."""

    number: int
    label: str
    body: bytes | None

    @property
    def where(self) -> str:
        return f"Block {self.number}"

    @property
    def has_certificates(self) -> bool:
        return self.label.endswith("CERTIFICATE") or self.label in _CERTIFICATE_LABELS


def read(data: bytes, password: str = "") -> CertificateFile:
    """Read the certificates of a file with this content; `password` is that of a PKCS #12 file.

    Raises `ChainError` where there are none, where one cannot be read, or there are too many. Its message does not
    name the file.
    """
    if len(data) > FILE_BYTES_MAX:
        raise ChainError(
            f"This is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB.",
            advice="Give a file with one chain of certificates.",
        )
    kind = file_kinds.of_magic(data)
    if kind is not None:
        raise kind.refusal()
    text = _text_of(data)
    found = _of_binary(data, password) if text is None else _of_text(text, password)
    if sum(map(len, found.certificates)) > CERTIFICATES_BYTES_MAX:
        raise _too_many()
    return found


def _too_many() -> ChainError:
    return ChainError(
        f"This holds more than {CERTIFICATES_MAX} certificates, or {CERTIFICATES_BYTES_MAX // 1024} KiB of them.",
        advice="Give the certificates of one connection, not a bundle of roots.",
    )


# Text


def _text_of(data: bytes) -> bytes | None:
    """The file as ASCII text without escapes; None for a binary file."""
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return _plain(data[len(mark) :].decode(encoding, "replace"))
    zeros = tuple(not byte for byte in data[:4])
    if zeros in {(False, True) * 2, (True, False) * 2}:
        return _plain(data.decode("utf-16-be" if zeros[0] else "utf-16-le", "replace"))
    if len(data.translate(None, _CONTROLS)) != len(data) and b"-BEGIN " not in data:
        return None
    return _plain(data.decode("utf-8", "replace"))


def _plain(text: str) -> bytes:
    plain = text.translate(_CHARACTERS).encode("ascii", "replace")
    return _replaced(plain, ((b"\x00", b" "), (b"\x01", b" "), (b"\r\n", b"\n"), (b"\r", b"\n")))


def _replaced(text: bytes, replacements: Iterable[tuple[bytes, bytes]]) -> bytes:
    for old, new in replacements:
        text = text.replace(old, new)
    return text


def _unwrapped(text: bytes) -> Iterator[bytes]:
    """The text as it stands, then what it would be if it were JSON, JSON in JSON, HTML or a form."""
    yield text
    if b"\\" in text or b'"' in text:
        once = _replaced(text, _JSON)
        yield once
        yield _replaced(once, _JSON)
    if b"<" in text or b"&" in text:
        yield _replaced(_without_tags(text), _HTML)
    if b"%" in text or b"BEGIN+" in text:  # application/x-www-form-urlencoded: names and values become lines
        values = _replaced(text, ((b"&", b"\n"), (b"=", b"\n"), (b"+", b" ")))
        yield urllib.parse.unquote_to_bytes(values)


def _without_tags(text: bytes) -> bytes:
    """The text with a line break for each HTML tag. No tag has a line break: a quoted mail has > in front of lines."""
    first, *pieces = text.split(b"<")
    parts = (piece.partition(b">") for piece in pieces)
    return first + b"".join(
        b"\n" + rest if closing and b"\n" not in tag else b"<" + tag + closing + rest for tag, closing, rest in parts
    )


def _of_text(content: bytes, password: str) -> CertificateFile:
    text, blocks, is_as_it_stands = _text_with_blocks(content)
    wanted = [block for block in blocks if block.has_certificates]
    if wanted and not is_as_it_stands and _NAMES.search(text):
        raise _within_text()
    if len(wanted) > CERTIFICATES_MAX:
        raise _too_many()
    if wanted:
        found = [_of_block(block, password, is_first=block is wanted[0]) for block in wanted]
        certificates = tuple(certificate for one in found for certificate in one.certificates)
        if not is_as_it_stands and _as_path([*map(Certificate.read, dict.fromkeys(certificates))]) is None:
            raise _within_text()
        _require_listed(text, len(certificates))
        notes = [note for one in found for note in one.notes]
        if any(block.label.endswith("PRIVATE KEY") for block in blocks):
            notes.append("The file also holds a private key, which was not read: do not pass the file on.")
        key_proved = KEY_NOT_PROVED.encode() not in text[: text.find(b"-BEGIN ")].splitlines()
        if not key_proved:
            notes.append("The file says that the handshake did not prove the key, so nothing in it is clean.")
        is_set = len(found) == 1 and found[0].is_set
        return CertificateFile(certificates, tuple(notes), is_set=is_set, key_proved=key_proved)
    if blocks:
        raise file_kinds.of_label(blocks[0].label).refusal()
    if any(mark["label"].endswith(b"CERTIFICATE") for mark in _MARK.finditer(content.upper())):
        raise _within_text()
    decoded = _decoded(content)
    if decoded and decoded[:1] == b"\x30":
        return _of_der(decoded, "The base64 text", password)
    raise file_kinds.of_text(content).refusal()


def _within_text() -> ChainError:
    return ChainError(
        "The certificates are within lines of other text.",
        advice="Copy the certificates alone, with their line breaks.",
    )


def _text_with_blocks(content: bytes) -> tuple[bytes, list[_Block], bool]:
    """The first reading of a text whose blocks of certificates are base64, else the first that has blocks.

    The last value says whether the text is read as it stands. Raises `ChainError` where each reading would leave a
    certificate out.
    """
    damaged: list[tuple[bytes, list[_Block]]] = []
    others: list[tuple[bytes, list[_Block]]] = []
    left_out = False
    for text in _unwrapped(content):
        blocks, ignored = _blocks(text)
        wanted = [block for block in blocks if block.has_certificates]
        if wanted and ignored and not (text is content and _NAMES.search(text)):
            left_out = True
        elif wanted and all(block.body is not None and _decoded(block.body) is not None for block in wanted):
            return text, blocks, text is content
        elif blocks:
            (damaged if wanted else others).append((text, blocks))
    if damaged:
        return *damaged[0], damaged[0][0] is content
    if left_out:
        raise _within_text()
    in_columns = _blocks_in_columns(content)
    return (content, in_columns, False) if in_columns or not others else (*others[0], others[0][0] is content)


def _require_listed(text: bytes, count: int) -> None:
    """Refuse s_client's output that lists more certificates than it holds: the others were presented, too."""
    listed = {int(number[1]) for number in _LISTED.finditer(text)}
    if count < len(listed):
        raise ChainError(
            f"The server presented {len(listed)} certificates, and this output of openssl s_client holds {count}.",
            advice="Repeat it with -showcerts, which prints all of them.",
        )


def _blocks(text: bytes) -> tuple[list[_Block], int]:
    """The PEM blocks of a text that begin at the beginning of a line, or right behind another one.

    The number is that of certificates that begin elsewhere.
    """
    found: list[_Block] = []
    ignored = 0
    begun: re.Match[bytes] | None = None
    at_start, behind = True, 0  # whether nothing but decoration is before this place on its line
    for mark in _MARK.finditer(text.upper()):
        *breaks, gap = text[behind : mark.start()].rsplit(b"\n", 1)
        at_start = (at_start or bool(breaks)) and not gap.strip(_BEFORE)
        behind = mark.end()
        if mark["edge"] == b"BEGIN" and at_start:
            if begun is not None:
                found.append(_block(found, begun, None))
            begun, at_start = mark, False
        elif mark["edge"] == b"END" and begun is not None:
            found.append(_block(found, begun, text[begun.end() : mark.start()]))
            begun, at_start = None, True
        elif mark["edge"] == b"END" and at_start and mark["label"] == b"CERTIFICATE" and _ends_in_base64(breaks):
            found.append(_block(found, mark, None))  # its BEGIN line was not copied
        else:
            ignored += mark["edge"] == b"BEGIN" and mark["label"].endswith(b"CERTIFICATE")
            at_start = False
    if begun is not None:
        found.append(_block(found, begun, None))
    return found, ignored


def _ends_in_base64(lines: Sequence[bytes]) -> bool:
    last = b"".join(lines).rstrip().rsplit(b"\n", 1)[-1]
    return _BASE64_LINE.fullmatch(last.strip(_BEFORE)) is not None


def _block(found: Sequence[_Block], begun: re.Match[bytes], body: bytes | None) -> _Block:
    return _Block(len(found) + 1, begun["label"].decode("ascii"), None if body is None else body.strip(b"-"))


def _blocks_in_columns(text: bytes) -> list[_Block]:
    """The blocks of a text with something in front of every line, such as the time in a log.

    All edges are in one column, and nothing lists names: what s_client prints of names may have the form of a block.
    """
    lines = text.splitlines()
    marks = [(number, mark) for number, line in enumerate(lines) if (mark := _MARK.search(line.upper())) is not None]
    if len({mark.start() for _, mark in marks}) != 1 or _NAMES.search(text):
        return []
    found: list[_Block] = []
    for (first, begun), (last, end) in itertools.pairwise(marks):
        if begun["edge"] == b"BEGIN" and end["edge"] == b"END":
            words = (line.split()[-1:] for line in lines[first + 1 : last])
            found.append(_block(found, begun, b"".join(itertools.chain.from_iterable(words))))
    return found


def _of_block(block: _Block, password: str, *, is_first: bool) -> CertificateFile:
    if block.body is None:
        raise ChainError(f"{block.where} is cut off: its BEGIN or END line is missing.", advice=_AGAIN)
    decoded = _decoded(block.body)
    if decoded is None:
        raise ChainError(f"{block.where} is damaged: it is not base64.", advice=_AGAIN)
    if not decoded:
        raise ChainError(f"{block.where} is empty.", advice=_AGAIN)
    if block.label == _WITH_AUXILIARY and (length := _element_length(decoded)):
        decoded = decoded[:length]
    if not is_first and _is_whole(decoded) and file_kinds.of_der(decoded) is file_kinds.UNKNOWN_DER:
        note = f"{block.where} is not a certificate; it is assessed as a part of what the server presented."
        return CertificateFile((decoded,), (note,))
    return _of_der(decoded, block.where, password)


def _decoded(body: bytes) -> bytes | None:
    """What base64 stands for, whatever is around each of its lines; None where it is not base64."""
    joined = _replaced(body, ((b"=3D", b"="), (b"\\\n", b"\n")))  # mail (RFC 2045 section 6.7), shell
    bare = joined.translate(None, _DECORATION).rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return None


# DER


def _element_length(data: bytes) -> int:
    """Bytes of the first element; 0 where it is not whole."""
    try:
        return der.element(data, 0, len(data)).end
    except der.DERError:
        return 0


def _is_whole(data: bytes) -> bool:
    return _element_length(data) == len(data)


def _of_binary(data: bytes, password: str) -> CertificateFile:
    if data[:1] != b"\x30":
        raise file_kinds.NOT_DER.refusal()
    return _of_der(data, "The file", password)


def _of_der(data: bytes, where: str, password: str) -> CertificateFile:
    """The certificates of DER: one or several in a row, or a message that holds them."""
    kind = file_kinds.of_der(data)
    if kind is file_kinds.PKCS12:
        found = CertificateFile(pkcs12.certificates(data, password), is_set=True)
    elif kind is file_kinds.PKCS7:
        found = CertificateFile(_in_pkcs7(data), is_set=True)
    elif kind is file_kinds.CERTIFICATE:
        return CertificateFile(tuple(_in_a_row(data, where)))
    else:
        raise kind.refusal(where)
    if not found.certificates:
        raise ChainError(f"{where} is {kind.name} without certificates.", advice="Export the certificates themselves.")
    if len(found.certificates) > CERTIFICATES_MAX:
        raise _too_many()
    for number, certificate in enumerate(found.certificates, 1):
        _require_certificate(certificate, f"Certificate {number} of {kind.name}")
    return found


def _require_certificate(data: bytes, where: str) -> None:
    kind = file_kinds.of_der(data)
    if kind is not file_kinds.CERTIFICATE:
        raise kind.refusal(where)


def _in_a_row(data: bytes, where: str) -> Iterator[bytes]:
    """Certificates one after another; white space and zeros may follow the last."""
    rest, number = data, 1
    while rest:
        length = _element_length(rest)
        if not length:
            raise ChainError(f"{where}: what follows certificate {number - 1} is damaged or cut off.", advice=_AGAIN)
        _require_certificate(rest[:length], where if number == 1 else f"{where}: what follows certificate {number - 1}")
        if number > CERTIFICATES_MAX:
            raise _too_many()
        yield rest[:length]
        rest, number = rest[length:].lstrip(b"\x00 \t\r\n"), number + 1


def _in_pkcs7(data: bytes) -> tuple[bytes, ...]:
    """The certificates of a message, whose order says nothing. Raises `ChainError`."""
    try:
        return tuple(itertools.islice(signed_data.certificates(data), CERTIFICATES_MAX + 1))
    except der.DERError:
        raise ChainError("This PKCS #7 message is damaged or cut off.", advice=_AGAIN) from None


# Order


def leaf_first(found: CertificateFile, host: str) -> CertificateFile:
    """The certificates in the order in which a server presents them, where the file has another one.

    Two files are put in order. No server presents certificates in the order that they have there, so that putting them
    in order clears nothing that was intercepted:

    * exactly one path, each certificate signed by another one's key, which begins with another certificate than the
      leaf: a server that presents an issuer's certificate first would have to prove that it has the issuer's key;
    * a set with exactly one certificate for the host: a set has no order.

    Raises `ChainError` where the first certificate is not for the host and another one is: the first may be what the
    host presented, with a genuine certificate after it. So it does for a set with several certificates for the host.
    """
    chain = [Certificate.read(data) for data in found.certificates]
    distinct = list(dict.fromkeys(chain))
    named = [certificate for certificate in distinct if _is_for(certificate, host)]
    authorities = [one for one in distinct if one.is_ca and not one.has_alternative_names]
    if not named and len(authorities) == len(distinct) and not all(one.is_self_issued for one in distinct):
        raise ChainError(
            f"This holds certificates of CAs alone, and none of a server such as {host}.",
            advice="Give the server's own certificate, too, as `openssl s_client -showcerts` prints it first; or add "
            "--as-presented if the server presented these certificates.",
        )
    if found.is_set and len(named) > 1:
        raise ChainError(
            f"This has {len(named)} certificates for {host} in no order: which of them was presented is not known.",
            advice="Give the certificates as PEM, in the order in which the server presented them.",
        )
    if chain[0] in named:
        return found._replace(notes=(*found.notes, *_notes_on_others(distinct, host)))
    ordered = _as_path(distinct)
    if ordered is None and found.is_set and len(named) == 1:
        ordered = [*named, *(certificate for certificate in distinct if certificate is not named[0])]
    if ordered is not None:
        if ordered == distinct:
            return found
        note = f"Certificate {chain.index(ordered[0]) + 1} of the file is the server's own: it was put first."
        certificates = tuple(one.der for one in ordered)
        return found._replace(certificates=certificates, notes=(*found.notes, note), is_set=False)
    if named:
        raise ChainError(
            f"Certificate {chain.index(named[0]) + 1} is for {host} and the first one is not: not leaf first.",
            advice="Put the server's own certificate first, then those that signed it; "
            "or keep this order if the server presented it (--as-presented; in Python, a list of DER).",
        )
    return found._replace(notes=(*found.notes, *_notes_on_others(distinct, host)))


def names_of(certificate: bytes) -> str:
    """The first names of a certificate, for messages: they are its author's, so escaped and cut; empty without any."""
    read_one = Certificate.read(certificate)
    common_name = read_one.subject.get("CN") if read_one.subject else None
    names = dict.fromkeys((*read_one.dns_names, *read_one.ip_addresses)) or dict.fromkeys(filter(None, [common_name]))
    return ", ".join(escape(name[:NAME_CHARACTERS_MAX]) for name in [*names][:NAMES_SHOWN])


def _is_for(certificate: Certificate, host: str) -> bool:
    """Whether a certificate is for the host, or has more names than are read."""
    return match(certificate, host) is not NameMatch.MISMATCH


def _as_path(chain: Sequence[Certificate]) -> list[Certificate] | None:
    """All of these certificates as one path from its leaf upwards, each signature verified; None if they are not."""
    if len(chain) > SORTED_MAX:
        return None
    issuers = {one.issuer.canonical for one in chain if one.issuer is not None and not one.is_self_issued}
    leaves = [one for one in chain if one.subject is None or one.subject.canonical not in issuers]
    if len(leaves) != 1:
        return None
    path, rest = leaves, [one for one in chain if one is not leaves[0]]
    while rest:
        signers = [one for one in rest if _has_signed(one, path[-1])]
        if len(signers) != 1:
            return None
        path = [*path, *signers]
        rest.remove(signers[0])
    return path


def _has_signed(issuer: Certificate, child: Certificate) -> bool:
    if issuer.subject is None or child.issuer is None or issuer.spki is None:
        return False
    return issuer.subject.canonical == child.issuer.canonical and verify_issued(child, issuer.spki) is Signed.VALID


def _notes_on_others(chain: Sequence[Certificate], host: str) -> list[str]:
    """A note on certificates of other servers behind the first one."""
    servers = [one for one in chain[1:] if not one.is_ca and one.has_alternative_names and not _is_for(one, host)]
    if not servers:
        return []
    names = "; ".join(names_of(one.der) or "no name" for one in servers[:NAMES_SHOWN])
    return [f"The file also holds certificates of other servers ({names}). Give each chain in a file of its own."]
