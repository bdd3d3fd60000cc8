"""Was this certificate publicly logged? Certificate Transparency as browsers enforce it (RFC 6962).

Room: trust. Pure; signature results are remembered in `signature`.

A timestamp that is merely there says nothing, because forgers mint and copy them. One counts as *valid* when

1. its log's signature verifies over the leaf and the key that issued it,
2. a browser accepted that log at some time,
3. it is older than the log's retirement, if that retired,
4. the leaf ends inside the log's shard, if that has one, and
5. its time lies between a day before notBefore and a day after the judged moment.

A certificate issued past the list's horizon may come from logs the list cannot know. A timestamp of such a log is
*open* when it passes the fifth limit; nothing else about it can be checked, so open ones alone never clear.

What browsers ask for (Chrome's policy, held to by Firefox, and Apple's where they agree): timestamps of distinct
logs, two for a certificate that lives at most 180 days and three for others, or two where one of them came by TLS
extension or OCSP; and among the logs two operators. Apple and Chrome ask besides that one log has not retired by the
moment of the check, or serves RFC 6962; neither is asked for here: a list that ages would fail genuine certificates.

Who operates an unknown log is not known either. Each counts as an operator of its own: IDs cost a forger nothing, so
being strict about them would stop no forger and cost genuine certificates of new logs.
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
"""Longest life of a certificate for which `SCTS_SHORT` embedded timestamps are enough (Chrome's and Apple's policy)."""
SCTS_SHORT: Final = 2
"""Embedded timestamps of a short-lived certificate; also what is asked for when one came by TLS extension or OCSP."""
SCTS_LONG: Final = 3
"""Embedded timestamps of any other certificate."""
OPERATORS_LEAST: Final = 2
"""Operators that the logs must have between them (Chrome since April 2022, Apple since April 2021, Firefox)."""
CLOCK_ALLOWANCE: Final = dt.timedelta(days=1)
"""How far a timestamp may lie before notBefore or after the judged moment. Of 326 in 116 genuine chains all lay after
notBefore, by at most 23.5 hours; a judged moment is often the certificate's notBefore."""
CHECKED_MAX: Final = 128
"""Timestamps of one leaf that are checked, in the order embedded, then as given: each costs a hash over the leaf and a
verification. Every list may have `sct.SCTS_MAX`, and several observations of a leaf bring one or two lists each."""
ISSUERS_MAX: Final = 8
"""Distinct keys of issuers that are tried. More than one is a curiosity: an RSA key encoded in two forms."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class SCTSource(enum.StrEnum):
    """How a timestamp came (RFC 6962 section 3.3)."""

    EMBEDDED = "embedded"
    TLS_EXTENSION = "tls-extension"
    OCSP = "ocsp"


class SCTStatus(enum.StrEnum):
    """What came of checking one timestamp. The first that fits; only `valid` and `open` count for anything."""

    UNTRUSTED_LOG = "untrusted-log"  # a test log, or one that browsers never accepted
    UNKNOWN_LOG = "unknown-log"
    OPEN = "open"  # of an unknown log, past the list's horizon, at a possible time
    NOT_CHECKABLE = "not-checkable"  # no issuer, or a key or leaf that cannot be read
    INVALID_SIGNATURE = "invalid-signature"
    AFTER_RETIREMENT = "after-retirement"
    OUTSIDE_SHARD = "outside-shard"
    BEFORE_ISSUANCE = "before-issuance"
    IN_THE_FUTURE = "in-the-future"
    VALID = "valid"


class Logging(enum.StrEnum):
    """Whether a certificate was publicly logged."""

    LOGGED = "logged"
    UNKNOWABLE = "unknowable"
    UNLOGGED = "unlogged"


class CheckedSCT(NamedTuple):
    """One timestamp with its status and, where known, its log and who operated that at the time."""

    status: SCTStatus
    source: SCTSource
    log_id: bytes
    log: str | None
    operator: str | None
    timestamp: dt.datetime | None


class Assessment(NamedTuple):
    """What the timestamps of a leaf come to.

    `not_carried` says that it is unknowable because the leaf embeds no timestamps and the observation could not carry
    any outside it.
    """

    logging: Logging
    scts: tuple[CheckedSCT, ...]
    not_carried: bool = False


class _Limits(NamedTuple):
    """What the timestamps of one leaf are held to: its dates, the list and the judged moment."""

    not_before: dt.datetime
    not_after: dt.datetime
    logs: LogList
    at: dt.datetime


def assess(  # noqa: PLR0913 - what a verdict on logging depends on, the last two by keyword
    leaf: Certificate,
    issuers: Sequence[Certificate],
    logs: LogList,
    at: dt.datetime,
    *,
    outside: Sequence[tuple[SCTSource, bytes]] = (),
    carried: bool = True,
) -> Assessment:
    """Whether `leaf` was publicly logged, judged at the moment `at` (aware) by the list `logs`.

    `issuers` are certificates whose key signed the leaf on the accepted path: a timestamp that verifies over any of
    these keys verifies. `outside` are lists of the TLS extension and OCSP responses, raw, of any observation of this
    leaf; what is not about it fails by its signature. `carried` is False when no observation could have carried any
    (a pasted chain, a browser's word). Never raises for anything the peer wrote.
    """
    if (limits := _limits(leaf, logs, at)) is None:
        return Assessment(Logging.UNLOGGED, ())
    spkis = tuple(dict.fromkeys(c.spki for c in issuers if c.spki is not None))[:ISSUERS_MAX]

    def checked(source: SCTSource, one: SCT) -> CheckedSCT:
        keys = spkis if source is SCTSource.EMBEDDED else (None,)
        return _check(source, one, limits, lambda log: _signature_fault(log, one, leaf, keys))

    found = dict.fromkeys((*_embedded(leaf), *_outside(outside)))
    scts = tuple(checked(source, one) for source, one in islice(found, CHECKED_MAX))
    if _reach(scts, limits):
        valid = any(s.status is SCTStatus.VALID for s in scts)
        return Assessment(Logging.LOGGED if valid else Logging.UNKNOWABLE, scts)
    not_carried = not carried and OID_SCT_LIST not in leaf.extensions
    return Assessment(Logging.UNKNOWABLE if not_carried else Logging.UNLOGGED, scts, not_carried)


def claims_logging(leaf: Certificate, logs: LogList, at: dt.datetime) -> bool:
    """Whether the leaf embeds timestamps as a logged certificate does, signatures not checked.

    The limits are those of `assess` without the first: known logs (past the horizon unknown ones too), at possible
    times, in the number browsers ask for. It is all that can be said of a leaf whose issuer is not available.
    """
    limits = _limits(leaf, logs, at)
    return limits is not None and _reach(
        [_check(source, one, limits, lambda _: None) for source, one in _embedded(leaf)], limits
    )


def _limits(leaf: Certificate, logs: LogList, at: dt.datetime) -> _Limits | None:
    """None when no timestamp can help the leaf: dates that cannot be, or extensions left unread."""
    if leaf.validity is None or leaf.validity[0] > leaf.validity[1] or not leaf.extensions_are_complete:
        return None
    return _Limits(*leaf.validity, logs, at)


def _embedded(leaf: Certificate) -> Iterator[tuple[SCTSource, SCT]]:
    with suppress(der.DERError):  # a list that cannot be read is worth as much as none
        yield from ((SCTSource.EMBEDDED, one) for one in sct.embedded(leaf))


def _outside(carriers: Iterable[tuple[SCTSource, bytes]]) -> Iterator[tuple[SCTSource, SCT]]:
    for source, data in islice(carriers, CHECKED_MAX):
        with suppress(der.DERError):
            found = sct.of_ocsp(data) if source is SCTSource.OCSP else sct.of_tls_extension(data)
            yield from ((source, one) for one in found)


def _check(
    source: SCTSource, one: SCT, limits: _Limits, signature_fault: Callable[[Log], SCTStatus | None]
) -> CheckedSCT:
    try:
        timestamp = _EPOCH + dt.timedelta(milliseconds=one.timestamp_ms)
    except OverflowError:
        timestamp = None
    log = limits.logs.logs.get(one.log_id)
    if log is None:
        return CheckedSCT(_unlisted(one, timestamp, limits), source, one.log_id, None, None, timestamp)
    fault = signature_fault(log) or _log_fault(log, timestamp, limits) or _time_fault(timestamp, limits)
    operator = log.operator_at(timestamp or limits.at)
    return CheckedSCT(fault or SCTStatus.VALID, source, one.log_id, log.description, operator, timestamp)


def _unlisted(one: SCT, timestamp: dt.datetime | None, limits: _Limits) -> SCTStatus:
    """What a timestamp is whose log is not among those that count."""
    if one.log_id in limits.logs.untrusted:
        return SCTStatus.UNTRUSTED_LOG
    past = limits.logs.is_past_horizon(limits.not_before)
    return SCTStatus.OPEN if past and _time_fault(timestamp, limits) is None else SCTStatus.UNKNOWN_LOG


def _signature_fault(log: Log, one: SCT, leaf: Certificate, issuer_spkis: Sequence[bytes | None]) -> SCTStatus | None:
    """What is wrong with the signature; a key of None is for timestamps that cover the leaf itself."""
    signed = (sct.signed_data(one, leaf, spki) for spki in issuer_spkis)
    results = {verify_sct(log.key, one.scheme, one.signature, data) for data in signed if data is not None}
    if Signed.VALID in results:
        return None
    return SCTStatus.INVALID_SIGNATURE if results == {Signed.INVALID} else SCTStatus.NOT_CHECKABLE


def _log_fault(log: Log, timestamp: dt.datetime | None, limits: _Limits) -> SCTStatus | None:
    """Whether this log could still, and would have, taken the leaf at that time."""
    if log.retired is not None and timestamp is not None and timestamp >= log.retired:
        return SCTStatus.AFTER_RETIREMENT
    if log.shard is not None and not log.shard.holds(limits.not_after):
        return SCTStatus.OUTSIDE_SHARD
    return None


def _time_fault(timestamp: dt.datetime | None, limits: _Limits) -> SCTStatus | None:
    """Whether a timestamp of that time can belong to the leaf; None, past the year 9999, is the future."""
    if timestamp is None or timestamp - limits.at > CLOCK_ALLOWANCE:
        return SCTStatus.IN_THE_FUTURE
    return SCTStatus.BEFORE_ISSUANCE if limits.not_before - timestamp > CLOCK_ALLOWANCE else None


def _reach(scts: Iterable[CheckedSCT], limits: _Limits) -> bool:
    """Whether the valid and open timestamps are as many as browsers ask for. Those of one log count once."""
    counted = [s for s in scts if s.status in {SCTStatus.VALID, SCTStatus.OPEN}]
    operators = {s.log_id: s.log_id if s.operator is None else s.operator for s in counted}
    outside = any(s.source is not SCTSource.EMBEDDED for s in counted)
    least = SCTS_SHORT if outside or limits.not_after - limits.not_before <= SHORT_LIFE else SCTS_LONG
    return len(operators) >= least and len(set(operators.values())) >= OPERATORS_LEAST
