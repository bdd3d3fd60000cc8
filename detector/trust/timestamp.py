"""Timestamps by others: what a time-stamping authority (TSA) answers, and what its answer shows (RFC 3161).

Room: trust. Pure: the bytes and the authority's roots are arguments. Needs the extra `timestamp` (rfc3161-client).

A token shows one thing: the holder of the authority's key had the hash of this data at that time, so the data existed
by then. It says nothing about when the data was made, and anyone can have a copy stamped at any later time.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from detector.errors import MissingExtraError

from .certificate import Certificate

try:
    import rfc3161_client
    from rfc3161_client.tsp import PKIStatus
except ImportError as error:
    raise MissingExtraError("A timestamp needs rfc3161-client.", extra="timestamp") from error

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from .roots import Roots

RESPONSE_BYTES_MAX: Final = 64 * 1024
"""Bytes of an answer. One with its authority's chain has 2 to 7 KiB; a hostile one could send anything."""

CERTIFICATES_MAX: Final = 16
"""Certificates in an answer: the authority's chain, with a margin. Each is parsed."""

_REFUSALS: Final = (ValueError, KeyError, x509.InvalidVersion)
"""What cryptography raises for a certificate that it cannot read: KeyError for a kind of text that it does not know."""

_SHA256: Final = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")  # RFC 5754 section 2.2


class Query(NamedTuple):
    """A request for a timestamp over `data`: its bytes, and the nonce that the answer must have."""

    data: bytes
    encoded: bytes
    nonce: int


class Timestamp(NamedTuple):
    """A time, and the name of the authority (RFC 4514) that says that the data existed by then."""

    time: dt.datetime
    authority: str


class NoTimestampError(ValueError):
    """An answer that does not show what it should; the text is one clause."""


def query(data: bytes) -> Query:
    """Make a request for a timestamp over `data`, which is not empty."""
    request = (
        rfc3161_client.TimestampRequestBuilder().data(data).hash_algorithm(rfc3161_client.HashAlgorithm.SHA256).build()
    )
    if request.nonce is None:
        raise AssertionError("the builder adds a nonce by default")
    return Query(data, request.as_bytes(), request.nonce)


def check_answer(response: bytes, asked: Query) -> None:
    """Refuse what is no granted answer to this request. Raises `NoTimestampError`.

    Who signed it is not checked: the caller need not know the authority's root. That is for `examine`.
    """
    if _read(response, asked.data).tst_info.nonce != asked.nonce:
        raise NoTimestampError("it answers another request")


def examine(response: bytes, data: bytes, roots: Roots) -> Timestamp:
    """Return what an answer shows of `data`, where time-stamping authorities below `roots` are believed.

    The authority's certificate must be valid at the token's time, not now, and made for time-stamping alone (RFC 3161
    section 2.3). Raises `NoTimestampError`.
    """
    read = _read(response, data)
    signer = _signer(read)
    verifier = rfc3161_client.VerifierBuilder()
    for root in roots.by_sha256.values():
        verifier = verifier.add_root_certificate(_loaded(root.certificate.der))
    try:
        verifier.build().verify_message(read, data)
    except (rfc3161_client.VerificationError, *_REFUSALS) as error:
        raise NoTimestampError("no authority below the roots given signed it") from error
    return Timestamp(read.tst_info.gen_time, signer.subject.rfc4514_string())


def _read(response: bytes, data: bytes) -> rfc3161_client.TimeStampResponse:
    """Decode an answer that is granted and over `data`. Raises `NoTimestampError`."""
    if len(response) > RESPONSE_BYTES_MAX:
        raise NoTimestampError(f"it has more than {RESPONSE_BYTES_MAX // 1024} KiB")
    try:
        read = rfc3161_client.decode_timestamp_response(response)
        granted = read.status == PKIStatus.GRANTED
        imprint = read.tst_info.message_imprint if granted else None
    except ValueError as error:
        raise NoTimestampError("it is not the answer of a time-stamping authority") from error
    if imprint is None:
        raise NoTimestampError(f"the authority refused (status {read.status}, RFC 3161 section 2.4.2)")
    if imprint.hash_algorithm != _SHA256 or imprint.message != hashlib.sha256(data).digest():
        raise NoTimestampError("it is over other data")
    return read


def _signer(read: rfc3161_client.TimeStampResponse) -> x509.Certificate:
    """The one certificate in the answer that its signer can have. Raises `NoTimestampError`.

    Of two with one issuer and serial number, one could be verified and the other's purpose be read.
    """
    try:
        signers, found = read.signed_data.signer_infos, read.signed_data.certificates
    except ValueError as error:
        raise NoTimestampError("its signature cannot be read") from error
    if len(signers) != 1 or len(found) > CERTIFICATES_MAX:
        raise NoTimestampError("it has not exactly one signer, or too many certificates")
    (named,) = signers
    certificates = [_loaded(der) for der in found]
    try:
        fitting = [c for c in certificates if (c.issuer, c.serial_number) == (named.issuer, named.serial_number)]
    except _REFUSALS as error:
        raise NoTimestampError("its certificates cannot be read") from error
    if len(fitting) != 1:
        raise NoTimestampError("it has not exactly one certificate of its signer")
    if list(_purposes(fitting[0])) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise NoTimestampError("its signer's certificate is not made for time-stamping alone")
    return fitting[0]


def _loaded(der: bytes) -> x509.Certificate:
    """Load a certificate. Raises `NoTimestampError`, also for a serial number of which cryptography only warns."""
    if (Certificate.read(der).serial or 0) <= 0:
        raise NoTimestampError("a certificate has no valid serial number (RFC 5280 section 4.1.2.2)")
    try:
        return x509.load_der_x509_certificate(der)
    except _REFUSALS as error:
        raise NoTimestampError("a certificate cannot be read") from error


def _purposes(certificate: x509.Certificate) -> Iterable[x509.ObjectIdentifier]:
    """The purposes in a certificate's extended key usage; none without one. Raises `NoTimestampError`."""
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ()
    except _REFUSALS as error:
        raise NoTimestampError("its certificates cannot be read") from error
