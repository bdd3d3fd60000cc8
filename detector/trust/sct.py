"""Signed Certificate Timestamps as bytes: where they travel, how they are encoded, what they sign (RFC 6962).

Room: trust. Pure. Assesses nothing: `transparency` does.

A server has three channels for timestamps (RFC 6962 section 3.3): embedded in the certificate by its CA, in the TLS
extension `signed_certificate_timestamp`, and in a stapled OCSP response, always as the same kind of list. An embedded
timestamp signs the precertificate and the issuer's key, any other the certificate itself (section 3.2).

The peer chose everything read here. A malformed list raises `DERError`, which never leaves `trust`; an item inside it
that is not a timestamp of version 1 is skipped.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from . import der
from .certificate import EXTENSIONS_MAX, OID_SCT_LIST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .certificate import Certificate

SCTS_MAX: Final = 32
"""Timestamps of one list that are read; certificates carry two to five, servers that collect them about ten."""
OCSP_BYTES_MAX: Final = 64 * 1024
"""Largest OCSP response read, in bytes. One with a responder's certificate and a timestamp list has about 3 KiB."""
RESPONSES_MAX: Final = 32
"""Single responses read of one OCSP response; a stapled one is about one certificate (RFC 6961 section 2.2)."""

OID_OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
"""id-pkix-ocsp-basic, the only response type there is (RFC 6960 section 4.2.1)."""
OID_OCSP_SCT_LIST: Final = "1.3.6.1.4.1.11129.2.4.5"
"""The extension of a single response that holds a timestamp list (RFC 6962 section 3.3)."""

_VERSION_1: Final = 0
_SCT_BYTES_MIN: Final = 47
"""Version, log ID, time, length of extensions, algorithm, length of signature: 1 + 32 + 8 + 2 + 2 + 2 bytes."""
_X509_ENTRY: Final = b"\x00\x00"
_PRECERT_ENTRY: Final = b"\x00\x01"
_EXPLICIT_0: Final = 0xA0
_EXPLICIT_1: Final = 0xA1
"""Tags [0] and [1] of explicitly tagged fields (RFC 6960 section 4.2.1)."""


class SCT(NamedTuple):
    """One timestamp as sent. `extensions` and `signature` are raw; `scheme` is TLS's (hash, signature) pair."""

    log_id: bytes
    timestamp_ms: int
    extensions: bytes
    scheme: tuple[int, int]
    signature: bytes


def embedded(leaf: Certificate) -> tuple[SCT, ...]:
    """The timestamps in the leaf; empty when it has no list. Raises `DERError` for an unreadable list."""
    value = leaf.extensions.get(OID_SCT_LIST)
    return () if value is None else _wrapped_list(value)


def of_tls_extension(data: bytes) -> tuple[SCT, ...]:
    """The timestamps in the TLS extension, a SignedCertificateTimestampList. Raises `DERError`."""
    return tuple(_read_list(data))


def of_ocsp(data: bytes) -> tuple[SCT, ...]:
    """The timestamps in the single responses of an OCSPResponse in DER (RFC 6960 section 4.2.1). Raises `DERError`.

    Neither the responder's signature nor the certificate's identity needs checking: a log's signature covers the leaf.
    """
    return tuple(_of_ocsp(data))


def signed_data(sct: SCT, leaf: Certificate, issuer_spki: bytes | None) -> bytes | None:
    """What the log signed (RFC 6962 section 3.2, digitally-signed struct); None when the leaf cannot be parsed.

    With an issuer's SubjectPublicKeyInfo the entry is the leaf's precertificate, without one the leaf itself.
    """
    if issuer_spki is None:
        kind, issuer_key_hash, entry = _X509_ENTRY, b"", leaf.der if leaf.tbs else None
    else:
        kind, issuer_key_hash, entry = _PRECERT_ENTRY, hashlib.sha256(issuer_spki).digest(), leaf.tbs_without_scts
    if entry is None:
        return None
    return b"".join(
        (
            b"\x00\x00",  # sct_version v1, signature_type certificate_timestamp
            sct.timestamp_ms.to_bytes(8, "big"),
            kind,
            issuer_key_hash,
            len(entry).to_bytes(3, "big"),
            entry,
            len(sct.extensions).to_bytes(2, "big"),
            sct.extensions,
        )
    )


def _wrapped_list(value: bytes) -> tuple[SCT, ...]:
    """The value of both X.509 extensions: a list inside an OCTET STRING (RFC 6962 section 3.3)."""
    return tuple(_read_list(der.value(value, der.expect(value, 0, len(value), der.OCTET_STRING))))


def _read_list(data: bytes) -> Iterator[SCT]:
    """SignedCertificateTimestampList: TLS vectors within a TLS vector. Raises `DERError`."""
    offset, end = 2, 2 + int.from_bytes(data[:2], "big")
    if end != len(data):
        raise der.DERError("timestamp list length")
    for _ in range(SCTS_MAX):
        if offset >= end:
            return
        size = int.from_bytes(data[offset : offset + 2], "big")
        item = data[offset + 2 : offset + 2 + size]
        offset += 2 + size
        if offset > end:
            raise der.DERError("timestamp runs past its list")
        if (sct := _read(item)) is not None:
            yield sct


def _read(item: bytes) -> SCT | None:
    """SignedCertificateTimestamp of version 1, or None when it is something else."""
    if len(item) < _SCT_BYTES_MIN or item[0] != _VERSION_1:
        return None
    algorithm = 43 + int.from_bytes(item[41:43], "big")
    signature = item[algorithm + 4 :]
    if len(item) < algorithm + 4 or len(signature) != int.from_bytes(item[algorithm + 2 : algorithm + 4], "big"):
        return None
    return SCT(
        log_id=item[1:33],
        timestamp_ms=int.from_bytes(item[33:41], "big"),
        extensions=item[43:algorithm],
        scheme=(item[algorithm], item[algorithm + 1]),
        signature=signature,
    )


def _of_ocsp(data: bytes) -> Iterator[SCT]:
    if len(data) > OCSP_BYTES_MAX:
        raise der.DERError("OCSP response is too large")
    outer = der.expect(data, 0, len(data), der.SEQUENCE)
    status = der.element(data, outer.content, outer.end)
    explicit = der.expect(data, status.end, outer.end, _EXPLICIT_0)
    response_bytes = der.expect(data, explicit.content, explicit.end, der.SEQUENCE)
    kind = der.element(data, response_bytes.content, response_bytes.end)
    if der.oid(data, kind) != OID_OCSP_BASIC:
        raise der.DERError("type of OCSP response")
    content = der.expect(data, kind.end, response_bytes.end, der.OCTET_STRING)
    basic = der.expect(data, content.content, content.end, der.SEQUENCE)
    produced = der.expect(data, basic.content, basic.end, der.SEQUENCE)
    fields = islice(der.children(data, produced), 4)  # version, responderID, producedAt, responses
    responses = next((field for field in fields if field.tag == der.SEQUENCE), None)
    if responses is None:
        raise der.DERError("OCSP response without responses")
    for single in islice(der.children(data, responses), RESPONSES_MAX):
        # certID and certStatus come first; a revoked status has the same tag as singleExtensions.
        for field in islice(der.children(data, single), 2, 5):
            if field.tag == _EXPLICIT_1 and (value := _sct_extension(data, field)) is not None:
                yield from _wrapped_list(value)


def _sct_extension(data: bytes, wrapper: der.Element) -> bytes | None:
    """The value of the timestamp extension among singleExtensions (Extensions of RFC 5280). Raises `DERError`."""
    extensions = der.children(data, der.expect(data, wrapper.content, wrapper.end, der.SEQUENCE))
    for extension in islice(extensions, EXTENSIONS_MAX):
        identifier = der.element(data, extension.content, extension.end)
        if der.oid(data, identifier) == OID_OCSP_SCT_LIST:
            value = der.element(data, identifier.end, extension.end)
            if value.tag == der.BOOLEAN:  # critical
                value = der.element(data, value.end, extension.end)
            return der.value(data, value)
    return None
