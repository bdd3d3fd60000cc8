"""Was this certificate publicly logged? Certificate Transparency as browsers enforce it (RFC 6962).

Room: trust. Pure; signature results are cached in `signature`.

The mere presence of a timestamp proves nothing, because forgers mint and copy them. A timestamp is *valid* when

1. its log's signature verifies over the leaf and the key that issued it,
2. a browser accepted that log at some time,
3. it is older than the log's retirement, if that retired,
4. the leaf ends inside the log's shard, if that has one, and
5. its time lies between a day before notBefore and a day after the assessed moment, and
6. where browsers take of the leaf's root only what was issued until some day, not more than a day after that. The CA
   dates the leaf, the log dates the timestamp: without this, an interceptor below such a root would date back.

A certificate issued past the list's horizon may come from logs the list cannot know. A timestamp of such a log is
*open* when it meets the last two conditions; nothing else about it can be checked, so open ones alone never clear.

Browsers require (Chrome's policy, which Firefox follows, and Apple's where they agree) timestamps of distinct logs: two
for a certificate with a lifetime of at most 180 days and three for others, or two where one came by TLS extension or
OCSP; and two operators among the logs. Apple and Chrome also require that one log has not retired by the moment of the
check, or serves RFC 6962; neither is required here, because an aging list would fail genuine certificates.

The operator of an unknown log is not known either. Each counts as an operator of its own: IDs cost a forger nothing, so
strictness would stop no forger and reject genuine certificates of new logs.
"""

from __future__ import annotations

import datetime as dt
import enum
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from . import der, sct
from .certificate import OID_SCT_LIST
from .signature import Signed, verify_sct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .certificate import Certificate
    from .ct_logs import Log, LogList
    from .sct import SCT

SHORT_LIFE: Final = dt.timedelta(days=180)
"""Longest lifetime for which `SCTS_SHORT` embedded timestamps are enough (Chrome's and Apple's policy)."""
SCTS_SHORT: Final = 2
"""Embedded timestamps required of a short-lived certificate, or of any when one came by TLS extension or OCSP."""
SCTS_LONG: Final = 3
"""Embedded timestamps required of any other certificate."""
OPERATORS_LEAST: Final = 2
"""Distinct operators of the logs (Chrome since April 2022, Apple since April 2021, Firefox)."""
CLOCK_ALLOWANCE: Final = dt.timedelta(days=1)
"""How far a timestamp may lie before notBefore or after the assessed moment. All 326 of 116 genuine chains lay after
notBefore, by at most 23.5 hours; the assessed moment is often the certificate's notBefore."""
CHECKED_MAX: Final = 128
"""Timestamps of one leaf that are checked, embedded ones first: each costs a hash over the leaf and a verification.
Every list may have `sct.SCTS_MAX`, and each observation of a leaf brings one or two lists."""
ISSUERS_MAX: Final = 8
"""Distinct issuer keys that are tried. More than one is rare: an RSA key in two encodings."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class SCTSource(enum.StrEnum):
    """How a timestamp was delivered (RFC 6962 section 3.3)."""

    EMBEDDED = "embedded"
    TLS_EXTENSION = "tls-extension"
    OCSP = "ocsp"


class SCTStatus(enum.StrEnum):
    """Status of one timestamp, the first that applies. Only `valid` and `open` count."""

    UNTRUSTED_LOG = "untrusted-log"  # a test log, or one that browsers never accepted
    UNKNOWN_LOG = "unknown-log"
    OPEN = "open"  # of an unknown log, past the list's horizon, at a possible time
    NOT_CHECKABLE = "not-checkable"  # no issuer, or a key or leaf that cannot be read
    INVALID_SIGNATURE = "invalid-signature"
    AFTER_RETIREMENT = "after-retirement"
    OUTSIDE_SHARD = "outside-shard"
    BEFORE_ISSUANCE = "before-issuance"
    AFTER_DISTRUST = "after-distrust"
    IN_THE_FUTURE = "in-the-future"
    VALID = "valid"


class Logging(enum.StrEnum):
    """Whether a certificate was publicly logged."""

    LOGGED = "logged"
    UNKNOWABLE = "unknowable"
    UNLOGGED = "unlogged"


class CheckedSCT(NamedTuple):
    """One timestamp with its status and, where known, its log and that log's operator at the time."""

    status: SCTStatus
    source: SCTSource
    log_id: bytes
    log: str | None
    operator: str | None
    timestamp: dt.datetime | None


class Assessment(NamedTuple):
    """Whether a leaf was logged, by its timestamps.

    `not_carried` says that this is unknowable because the leaf embeds no timestamps and the observation could not carry
    any outside it.
    """

    logging: Logging
    scts: tuple[CheckedSCT, ...]
    not_carried: bool = False


class _Assessor(NamedTuple):
    """What the timestamps of one leaf are checked against: its dates, the list, the assessed moment, the last day."""

    not_before: dt.datetime
    not_after: dt.datetime
    logs: LogList
    at: dt.datetime
    until: dt.date | None = None

    def check(self, source: SCTSource, one: SCT, signature_fault: Callable[[Log], SCTStatus | None]) -> CheckedSCT:
        try:
            timestamp = _EPOCH + dt.timedelta(milliseconds=one.timestamp_ms)
        except OverflowError:
            timestamp = None
        log = self.logs.logs.get(one.log_id)
        if log is None:
            return CheckedSCT(self._unlisted(one, timestamp), source, one.log_id, None, None, timestamp)
        status = signature_fault(log) or self._log_fault(log, timestamp) or self._time_fault(timestamp)
        operator = log.operator_at(timestamp or self.at)
        return CheckedSCT(status or SCTStatus.VALID, source, one.log_id, log.description, operator, timestamp)

    def _unlisted(self, one: SCT, timestamp: dt.datetime | None) -> SCTStatus:
        if one.log_id in self.logs.untrusted:
            return SCTStatus.UNTRUSTED_LOG
        may_be_new = self.logs.is_past_horizon(self.not_before) and self._time_fault(timestamp) is None
        return SCTStatus.OPEN if may_be_new else SCTStatus.UNKNOWN_LOG

    def _log_fault(self, log: Log, timestamp: dt.datetime | None) -> SCTStatus | None:
        """Why this log would not have accepted the leaf at that time."""
        if log.retired is not None and timestamp is not None and timestamp >= log.retired:
            return SCTStatus.AFTER_RETIREMENT
        return None if log.shard is None or log.shard.holds(self.not_after) else SCTStatus.OUTSIDE_SHARD

    def _time_fault(self, timestamp: dt.datetime | None) -> SCTStatus | None:
        """Why a timestamp of that time cannot belong to the leaf; None, past the year 9999, is the future."""
        if timestamp is None or timestamp - self.at > CLOCK_ALLOWANCE:
            return SCTStatus.IN_THE_FUTURE
        if self.until is not None and (timestamp - CLOCK_ALLOWANCE).date() > self.until:
            return SCTStatus.AFTER_DISTRUST
        return SCTStatus.BEFORE_ISSUANCE if self.not_before - timestamp > CLOCK_ALLOWANCE else None

    def suffices(self, scts: Iterable[CheckedSCT]) -> bool:
        """Whether the valid and open timestamps are as many as browsers require. Those of one log count once."""
        counted = [s for s in scts if s.status in {SCTStatus.VALID, SCTStatus.OPEN}]
        operators = {s.log_id: s.log_id if s.operator is None else s.operator for s in counted}
        outside = any(s.source is not SCTSource.EMBEDDED for s in counted)
        least = SCTS_SHORT if outside or self.not_after - self.not_before <= SHORT_LIFE else SCTS_LONG
        return len(operators) >= least and len(set(operators.values())) >= OPERATORS_LEAST


def assess(  # noqa: PLR0913 - what a verdict on logging depends on, the last three by keyword
    leaf: Certificate,
    issuers: Sequence[Certificate],
    logs: LogList,
    at: dt.datetime,
    *,
    outside: Sequence[tuple[SCTSource, bytes]] = (),
    carried: bool = True,
    until: dt.date | None = None,
) -> Assessment:
    """Whether `leaf` was publicly logged, assessed at the moment `at` (aware) by the list `logs`.

    `issuers` are certificates whose key signed the leaf on the accepted path: a timestamp is valid if it verifies over
    any of these keys. `outside` are raw lists from TLS extensions and OCSP responses of any observation of this leaf;
    the signature fails for those of another leaf. `carried` is False when no observation could have carried any (a
    pasted chain, a browser's report). `until` is the last day of issuance that browsers take of the leaf's root,
    None for any. Never raises, whatever the peer sent.
    """
    if (assessor := _assessor(leaf, logs, at, until)) is None:
        return Assessment(Logging.UNLOGGED, ())
    spkis = tuple(dict.fromkeys(c.spki for c in issuers if c.spki is not None))[:ISSUERS_MAX]

    def checked(source: SCTSource, one: SCT) -> CheckedSCT:
        keys = spkis if source is SCTSource.EMBEDDED else (None,)
        return assessor.check(source, one, lambda log: _signature_fault(log, one, leaf, keys))

    found = dict.fromkeys((*_embedded(leaf), *_outside(outside)))
    scts = tuple(checked(source, one) for source, one in islice(found, CHECKED_MAX))
    if assessor.suffices(scts):
        valid = any(s.status is SCTStatus.VALID for s in scts)
        return Assessment(Logging.LOGGED if valid else Logging.UNKNOWABLE, scts)
    not_carried = not carried and OID_SCT_LIST not in leaf.extensions
    return Assessment(Logging.UNKNOWABLE if not_carried else Logging.UNLOGGED, scts, not_carried)


def claims_logging(leaf: Certificate, logs: LogList, at: dt.datetime) -> bool:
    """Whether the leaf embeds timestamps as a logged certificate does, without verifying signatures.

    The conditions are those of `assess` except the first: known logs (past the horizon unknown ones too), possible
    times, the number browsers require. Nothing more is known of a leaf whose issuer is not available.
    """
    assessor = _assessor(leaf, logs, at)
    return assessor is not None and assessor.suffices(
        [assessor.check(source, one, lambda _: None) for source, one in _embedded(leaf)]
    )


def _assessor(leaf: Certificate, logs: LogList, at: dt.datetime, until: dt.date | None = None) -> _Assessor | None:
    """None when no timestamp can help the leaf: impossible dates, or extensions left unread."""
    if leaf.validity is None or leaf.validity[0] > leaf.validity[1] or not leaf.extensions_are_complete:
        return None
    return _Assessor(*leaf.validity, logs, at, until)


def _embedded(leaf: Certificate) -> Iterator[tuple[SCTSource, SCT]]:
    with suppress(der.DERError):  # an unreadable list is worth as much as none
        yield from ((SCTSource.EMBEDDED, one) for one in sct.embedded(leaf))


def _outside(carriers: Iterable[tuple[SCTSource, bytes]]) -> Iterator[tuple[SCTSource, SCT]]:
    for source, data in islice(carriers, CHECKED_MAX):
        with suppress(der.DERError):
            found = sct.of_ocsp(data) if source is SCTSource.OCSP else sct.of_tls_extension(data)
            yield from ((source, one) for one in found)


def _signature_fault(log: Log, one: SCT, leaf: Certificate, issuer_spkis: Sequence[bytes | None]) -> SCTStatus | None:
    """What is wrong with the signature. A key of None stands for timestamps that cover the leaf itself."""
    signed = (sct.signed_data(one, leaf, spki) for spki in issuer_spkis)
    results = {verify_sct(log.key, one.scheme, one.signature, data) for data in signed if data is not None}
    if Signed.VALID in results:
        return None
    return SCTStatus.INVALID_SIGNATURE if results == {Signed.INVALID} else SCTStatus.NOT_CHECKABLE
