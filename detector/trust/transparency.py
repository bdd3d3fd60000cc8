"""Signed Certificate Timestamps embedded in a leaf, checked against known logs (RFC 6962 sections 3.2 and 3.3).

Room: trust. Pure; signature results are remembered in `signature`.

An SCT that is merely present says nothing (forgers mint and copy them); its signature does, because it covers the
precertificate and the issuer's key.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from . import der
from .certificate import OID_SCT_LIST
from .signature import Signed, verify_sct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .certificate import Certificate
    from .logs import LogList

SCTS_MAX: Final = 32
"""Timestamps of one leaf that are read; certificates carry two to five."""
LOGGED_LEAST: Final = 2
"""Valid timestamps from distinct logs that make a certificate logged: what Chrome and Apple ask for at least."""
LOGGING_SINCE: Final = dt.datetime(2018, 5, 1, tzinfo=dt.UTC)
"""Chrome asks for timestamps in every certificate issued from here on (its CT enforcement date, 2018-04-30)."""
LIST_HORIZON: Final = dt.timedelta(days=183)
"""How long after its date a log list still knows the logs of new certificates: measured, a list half a year older
than a certificate knew its logs in all cases, one of 18 months in two thirds."""

_SCT_VERSION_1: Final = 0
_PRECERT_ENTRY: Final = b"\x00\x01"
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class SCTStatus(enum.StrEnum):
    """What came of checking one timestamp."""

    VALID = "valid"
    INVALID_SIGNATURE = "invalid-signature"
    UNKNOWN_LOG = "unknown-log"
    NOT_CHECKABLE = "not-checkable"


class Logging(enum.StrEnum):
    """Whether a certificate was publicly logged."""

    LOGGED = "logged"
    UNLOGGED = "unlogged"
    UNKNOWN = "unknown"


class SCT(NamedTuple):
    """One timestamp as embedded. `extensions` and `signature` are raw octets; `scheme` is TLS's (hash, signature)."""

    log_id: bytes
    timestamp_ms: int
    extensions: bytes
    scheme: tuple[int, int]
    signature: bytes


class CheckedSCT(NamedTuple):
    """One timestamp with its status and, where known, its log."""

    status: SCTStatus
    log_id: bytes
    log: str | None
    operator: str | None
    timestamp: dt.datetime | None


def embedded(leaf: Certificate) -> tuple[SCT, ...] | None:
    """The timestamps in the leaf; empty when there is no list, None when there is one that cannot be read."""
    octets = leaf.extensions.get(OID_SCT_LIST)
    if octets is None:
        return ()
    try:
        content = der.value(octets, der.expect(octets, 0, len(octets), der.OCTET_STRING))
        return tuple(_read_list(content))
    except (der.DERError, IndexError):
        return None


def _read_list(data: bytes) -> Iterator[SCT]:
    """SignedCertificateTimestampList: TLS vectors within a TLS vector. Raises DERError or IndexError."""
    offset, end = 2, 2 + int.from_bytes(data[:2], "big")
    if end != len(data):
        raise der.DERError("timestamp list length")
    count = 0
    while offset < end:
        size = int.from_bytes(data[offset : offset + 2], "big")
        item = data[offset + 2 : offset + 2 + size]
        offset += 2 + size
        count += 1
        if count > SCTS_MAX or len(item) != size:
            raise der.DERError("timestamp list")
        if item[0] != _SCT_VERSION_1:
            continue
        extensions_end = 43 + int.from_bytes(item[41:43], "big")
        signature_size = int.from_bytes(item[extensions_end + 2 : extensions_end + 4], "big")
        signature = item[extensions_end + 4 :]
        if len(signature) != signature_size:
            raise der.DERError("timestamp signature length")
        yield SCT(
            log_id=item[1:33],
            timestamp_ms=int.from_bytes(item[33:41], "big"),
            extensions=item[43:extensions_end],
            scheme=(item[extensions_end], item[extensions_end + 1]),
            signature=signature,
        )


def check(leaf: Certificate, issuers: Sequence[Certificate], logs: LogList) -> tuple[CheckedSCT, ...]:
    """Check every embedded timestamp. `issuers` are certificates whose key is known to have signed the leaf.

    An SCT covers the hash of its issuer's key, so without an issuer it is `not-checkable`.
    """
    issuer_spkis = tuple(dict.fromkeys(c.spki for c in issuers if c.spki is not None))
    return tuple(_check_one(leaf, sct, issuer_spkis, logs) for sct in embedded(leaf) or ())


def _check_one(leaf: Certificate, sct: SCT, issuer_spkis: tuple[bytes, ...], logs: LogList) -> CheckedSCT:
    log = logs.find(sct.log_id)
    try:
        timestamp = _EPOCH + dt.timedelta(milliseconds=sct.timestamp_ms)
    except OverflowError:
        timestamp = None
    if log is None:
        return CheckedSCT(SCTStatus.UNKNOWN_LOG, sct.log_id, None, None, timestamp)
    tbs = leaf.tbs_without_scts
    if tbs is None or not issuer_spkis:
        return CheckedSCT(SCTStatus.NOT_CHECKABLE, sct.log_id, log.description, log.operator, timestamp)
    results = {verify_sct(log.key, sct.scheme, sct.signature, _signed_data(sct, spki, tbs)) for spki in issuer_spkis}
    if Signed.VALID in results:
        status = SCTStatus.VALID
    elif results != {Signed.INVALID}:  # some could not be verified
        status = SCTStatus.NOT_CHECKABLE
    else:
        status = SCTStatus.INVALID_SIGNATURE
    return CheckedSCT(status, sct.log_id, log.description, log.operator, timestamp)


def _signed_data(sct: SCT, issuer_spki: bytes, tbs: bytes) -> bytes:
    """RFC 6962 section 3.2: sct_version, signature_type, timestamp, entry type, issuer_key_hash, TBS, extensions."""
    return b"".join(
        (
            b"\x00\x00",
            sct.timestamp_ms.to_bytes(8, "big"),
            _PRECERT_ENTRY,
            hashlib.sha256(issuer_spki).digest(),
            len(tbs).to_bytes(3, "big"),
            tbs,
            len(sct.extensions).to_bytes(2, "big"),
            sct.extensions,
        )
    )


def logging(leaf: Certificate, checked: Sequence[CheckedSCT], logs: LogList) -> Logging:
    """Whether the leaf was logged: the rule of the decision table.

    Logged: at least two valid timestamps from distinct logs. Unlogged: none, although there should be and this list
    is young enough to know. An unknown log is never evidence, so one unknown or uncheckable timestamp leaves it open.
    """
    valid = {s.log_id for s in checked if s.status is SCTStatus.VALID}
    if len(valid) >= LOGGED_LEAST:
        return Logging.LOGGED
    if valid or leaf.not_before is None or leaf.not_before < LOGGING_SINCE:
        return Logging.UNKNOWN
    if logs.date is None or leaf.not_before.date() > logs.date + LIST_HORIZON:
        return Logging.UNKNOWN
    if any(s.status in {SCTStatus.UNKNOWN_LOG, SCTStatus.NOT_CHECKABLE} for s in checked):
        return Logging.UNKNOWN
    return Logging.UNLOGGED
