"""Names what a file is that somebody gave in place of certificates, and says what to give instead.

Room: trust. Pure.

Nothing of the content is quoted: it may be a private key. `of_der` reads the outermost elements alone; the other
functions compare the first bytes, a PEM label or a few words. Each takes time linear in the length, and never raises.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, NamedTuple

from detector.errors import ChainError

from . import der

TEXT_READ: Final = 64 * 1024
"""Bytes of a text without certificates in which its kind is searched."""

CHILDREN_READ: Final = 10
"""Outermost elements of DER that are compared: an RSA private key has the most, nine (RFC 8017 appendix A.1.2)."""

_CHAIN: Final = "Give the certificates that the server presented, as `openssl s_client -showcerts` prints them."
_PUBLIC_PART: Final = f"Keep it to yourself. {_CHAIN}"


class Kind(NamedTuple):
    """A kind of content: what it is, as a noun, and what to give instead."""

    name: str
    advice: str

    def refusal(self, where: str = "") -> ChainError:
        """The error for content of this kind; `where` is the part of a file that has it."""
        return ChainError(f"{where or 'This'} is {self.name}, and holds no certificate.", advice=self.advice)


CERTIFICATE: Final = Kind("a certificate", "")
PKCS7: Final = Kind("a PKCS #7 message", "Give a PKCS #7 file of certificates alone, or PEM.")
PKCS12: Final = Kind("a PKCS #12 file", "Give the file itself, not its content as PEM.")
PRIVATE_KEY: Final = Kind("a private key", _PUBLIC_PART)
ENCRYPTED_KEY: Final = Kind("an encrypted private key", _PUBLIC_PART)
PUBLIC_KEY: Final = Kind("a public key", _CHAIN)
REQUEST: Final = Kind("a certificate signing request", "Give the certificate that was issued for it, and its chain.")
REVOCATION_LIST: Final = Kind("a certificate revocation list", _CHAIN)
OCSP: Final = Kind("an OCSP response", _CHAIN)
UNKNOWN_DER: Final = Kind("DER of an unknown kind", _CHAIN)
BER: Final = Kind("BER with indefinite lengths", "Convert it: openssl pkcs7 -inform DER -in FILE -print_certs.")
DAMAGED_DER: Final = Kind("damaged or cut-off DER", "Copy or export it again, to its last byte.")
NOT_DER: Final = Kind("binary data of an unknown kind", f"{_CHAIN} PEM, DER, PKCS #7 and PKCS #12 are read.")
EMPTY: Final = Kind("empty", _CHAIN)
TEXT: Final = Kind("text", f"{_CHAIN} They are between BEGIN CERTIFICATE and END CERTIFICATE.")
REPORT: Final = Kind("a report of this program", "Give the evidence bundle of that run to `detector verify`.")
BUNDLE: Final = Kind("an evidence bundle of this program", "Give it to `detector verify`.")
HAR: Final = Kind("a HAR file", "Export the certificates from the browser's certificate viewer as PEM.")
KEY_LOG: Final = Kind("a TLS key log (SSLKEYLOGFILE)", f"It decrypts recorded traffic. {_PUBLIC_PART}")
CAPTURE: Final = Kind(
    "a packet capture", "Export each certificate of the handshake from Wireshark (Export Packet Bytes), the leaf first."
)
SSH: Final = Kind("an SSH key", "SSH does not use TLS certificates.")
PGP: Final = Kind("an OpenPGP message or key", "Decrypt it, and give the certificates that are in it.")
WEB_PAGE: Final = Kind(
    "a web page", "Sign in if it is the sign-in page of a network or a site, and download the certificates again."
)
PRINTED: Final = Kind("a certificate printed as text", "Print it as PEM: openssl x509 without -noout.")
S_CLIENT: Final = Kind("output of openssl s_client", "Repeat it with -showcerts.")
CURL: Final = Kind("output of curl -v", "Use openssl s_client -showcerts.")
KEYSTORE: Final = Kind("a Java keystore", "Print its certificates: keytool -list -rfc -keystore FILE.")
ARCHIVE: Final = Kind("an archive", "Unpack it and give the file of certificates in it.")
PICTURE: Final = Kind("a picture", "Copy the certificates as text, or export them.")
DATABASE: Final = Kind("a database", "Export the certificates: certutil -L -d FOLDER -n NAME -a.")
PDF: Final = Kind("a PDF document", "Copy the certificates from it as text.")

_MAGIC: Final = (
    (b"PK\x03\x04", ARCHIVE),
    (b"\x1f\x8b", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"Rar!\x1a\x07", ARCHIVE),
    (b"\xfe\xed\xfe\xed", KEYSTORE),  # JKS
    (b"\xce\xce\xce\xce", KEYSTORE),  # JCEKS
    (b"\xd4\xc3\xb2\xa1", CAPTURE),  # pcap, in either order of bytes, in micro- and nanoseconds
    (b"\xa1\xb2\xc3\xd4", CAPTURE),
    (b"\x4d\x3c\xb2\xa1", CAPTURE),
    (b"\xa1\xb2\x3c\x4d", CAPTURE),
    (b"\x0a\x0d\x0d\x0a", CAPTURE),  # pcapng
    (b"\x89PNG\r\n\x1a\n", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"SQLite format 3\x00", DATABASE),
    (b"%PDF-", PDF),
)
"""First bytes of files that are neither text nor DER."""

_TAG_CONTENT: Final = 0xA0
_FORMS: Final[tuple[tuple[tuple[int, ...], Kind], ...]] = (
    ((der.OBJECT_IDENTIFIER, _TAG_CONTENT), PKCS7),  # RFC 5652 section 3
    ((der.INTEGER, der.SEQUENCE, der.OCTET_STRING), PRIVATE_KEY),  # RFC 5958
    ((der.INTEGER, der.OCTET_STRING), PRIVATE_KEY),  # RFC 5915
    ((der.INTEGER,) * 6, PRIVATE_KEY),  # RFC 8017 appendix A.1.2; DSA as OpenSSL writes it
    ((der.INTEGER, der.SEQUENCE), PKCS12),  # RFC 7292 section 4
    ((der.SEQUENCE, der.OCTET_STRING), ENCRYPTED_KEY),  # RFC 5958 section 3
    ((der.SEQUENCE, der.BIT_STRING), PUBLIC_KEY),  # RFC 5280 section 4.1
    ((der.INTEGER, der.INTEGER), PUBLIC_KEY),  # RFC 8017 appendix A.1.1
    ((der.ENUMERATED, _TAG_CONTENT), OCSP),  # RFC 6960 section 4.2.1
)
"""First tags in a sequence, of which the first that fit say its kind."""
_SIGNED: Final = (der.SEQUENCE, der.SEQUENCE, der.BIT_STRING)
"""Certificates, requests and revocation lists: what is signed, the algorithm, the signature."""
_CERTIFICATE_FIELDS: Final = (der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE)
"""Mandatory fields of TBSCertificate after the version (RFC 5280 section 4.1)."""
_TIMES: Final = frozenset({der.UTC_TIME, der.GENERALIZED_TIME})


def of_magic(data: bytes) -> Kind | None:
    """The kind of a file with these first bytes; None where they say nothing."""
    if not data.strip(b"\x00 \t\r\n"):
        return EMPTY if not data.strip(b" \t\r\n") else NOT_DER
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def of_der(data: bytes) -> Kind:
    """The kind of one whole DER element. What has the outer form of a certificate is one, however broken the rest."""
    try:
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        tags = _tags(data, outer)
        if tags == _SIGNED:
            return _of_signed(data, der.element(data, outer.content, outer.end))
    except der.DERError:
        if data[1:2] == b"\x80":
            return BER
        return DAMAGED_DER if data[:1] == b"\x30" else UNKNOWN_DER
    return next((kind for form, kind in _FORMS if tags[: len(form)] == form), UNKNOWN_DER)


def _of_signed(data: bytes, signed: der.Element) -> Kind:
    tags = _tags(data, signed)
    if tags[:1] == (_TAG_CONTENT,):
        tags = tags[1:]
    if tags[: len(_CERTIFICATE_FIELDS)] == _CERTIFICATE_FIELDS:
        return CERTIFICATE
    if tags[:3] == (der.INTEGER, der.SEQUENCE, der.SEQUENCE) and tags[3:] in {(), (_TAG_CONTENT,)}:
        return REQUEST
    return REVOCATION_LIST if _TIMES.intersection(tags) else UNKNOWN_DER


def _tags(data: bytes, parent: der.Element) -> tuple[int, ...]:
    return tuple(child.tag for child in islice(der.children(data, parent), CHILDREN_READ))


def of_label(label: str) -> Kind:
    """The kind of a PEM block with this label (RFC 7468), which is not one of certificates."""
    if label.startswith("PGP "):
        return PGP
    if label.startswith(("OPENSSH ", "SSH2 ")):
        return SSH
    if label.endswith("PRIVATE KEY"):
        return ENCRYPTED_KEY if label.startswith("ENCRYPTED") else PRIVATE_KEY
    if label.endswith("CERTIFICATE REQUEST"):
        return REQUEST
    return {"X509 CRL": REVOCATION_LIST, "PUBLIC KEY": PUBLIC_KEY, "RSA PUBLIC KEY": PUBLIC_KEY}.get(
        label, Kind(f"a PEM block of another kind ({label.lower()})", _CHAIN)
    )


_KEY_LOG_LINES: Final = (
    *(b"CLIENT_RANDOM ", b"CLIENT_EARLY_TRAFFIC_SECRET ", b"CLIENT_HANDSHAKE_TRAFFIC_SECRET ", b"EXPORTER_SECRET "),
    *(b"SERVER_HANDSHAKE_TRAFFIC_SECRET ", b"CLIENT_TRAFFIC_SECRET_0 ", b"SERVER_TRAFFIC_SECRET_0 ", b"RSA "),
)
"""First words of lines in a key log (RFC 9850, and the older RSA)."""
_WEB_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<body")
_SSH_LINES: Final = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")
"""Beginnings of an OpenSSH public key (RFC 4253 section 6.6)."""


_LINES: Final = (
    (_KEY_LOG_LINES, KEY_LOG),
    ((b"* Server certificate",), CURL),
    ((b"CONNECTED(", b"Certificate chain", b"Server certificate"), S_CLIENT),
    ((b"Certificate:",), PRINTED),
)
"""Beginnings of lines, of which the first that occur say the kind of a text."""


def of_text(text: bytes) -> Kind:
    """The kind of a text without PEM."""
    read = text[:TEXT_READ].strip()
    if not read:
        return EMPTY
    for beginnings, kind in ((_WEB_PAGES, WEB_PAGE), (_SSH_LINES, SSH)):
        if read[: max(map(len, beginnings))].lower().startswith(beginnings):
            return kind
    if read.startswith(b"{"):
        return _of_json(read)
    lines = [line.strip() for line in read.splitlines()]
    return next((kind for words, kind in _LINES if any(line.startswith(words) for line in lines)), TEXT)


def _of_json(text: bytes) -> Kind:
    if b'"envelope"' in text and b'"format"' in text:
        return BUNDLE
    if b'"schema_version"' in text:
        return REPORT
    return HAR if b'"log"' in text and b'"entries"' in text else TEXT
