"""Certificate Transparency logs and lists of them as values.

Room: trust. Pure. `detector.knowledge.ct_logs` loads the shipped list and lists that the user supplies.

Only a log that a browser accepted at some time proves that a certificate was issued in public. Test logs, and logs
that accept roots no browser trusts, sign whatever they are given: a forger can get a genuine timestamp there. So a
list has two halves, `logs` (count as evidence) and `untrusted` (known, count for nothing). Retired logs stay in `logs`
on purpose: certificates of their time carry their timestamps (RFC 6962 section 3.2). `Log.retired` and `Log.shard`,
which `transparency` enforces, keep their keys from signing for certificates of today.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated, Final, NamedTuple

import msgspec

from detector.model import Record
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations of records at run time

LIST_HORIZON: Final = dt.timedelta(days=70)
"""How long after its date a list is assumed to know every log that a certificate can have timestamps of.
Chromium calls its own list stale after the same ten weeks; between a log's first listing and its first timestamp in
116 genuine chains lay at least 118 days."""


_Text = Annotated[str, msgspec.Meta(max_length=1024)]
"""A name or a reason in a list, in characters; the longest shipped one has under 200."""
_KEY_BYTES_MAX: Final = 4096
"""Longest key of a log, in bytes: RSA of 16384 bits has 2 KiB, and no log has one."""
_FORMER_MAX: Final = 64
"""Former operators, or inferred fields, of one log; the most that one has are two."""


class LogKind(enum.StrEnum):
    """The interface a log serves. Signed timestamps are the same in both (RFC 6962 section 3.2)."""

    RFC6962 = "rfc6962"
    STATIC_CT = "static-ct"


class LogState(enum.StrEnum):
    """States of a log in Chrome's list (https://googlechrome.github.io/CertificateTransparency/log_states.html)."""

    PENDING = "pending"
    QUALIFIED = "qualified"
    USABLE = "usable"
    READONLY = "readonly"
    RETIRED = "retired"
    REJECTED = "rejected"


ACCEPTED_STATES: Final = frozenset({LogState.QUALIFIED, LogState.USABLE, LogState.READONLY, LogState.RETIRED})
"""States of a log that browsers accept or once accepted; `pending` and `rejected` logs never were."""


class Shard(NamedTuple):
    """The temporal interval of a log: it takes certificates whose notAfter is in `start` (inclusive) to `end`."""

    start: Moment
    end: Moment

    def holds(self, not_after: dt.datetime) -> bool:
        """Whether a certificate that ends at `not_after` belongs in this shard."""
        return self.start <= not_after < self.end


class FormerOperator(NamedTuple):
    """The operator of a log before `until`."""

    name: _Text
    until: Moment


class Log(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Certificate Transparency log.

    `log_id` is the 32-byte SHA-256 of `key`, and `key` the DER SubjectPublicKeyInfo (not parsed here: a list may
    contain key types this machine cannot use). `why` says why an untrusted log proves nothing, else it is empty.

    `states` maps the states that lists gave the log to the earliest moment they gave for each, None where they gave
    none. Only `retired` is a limit: a list says since when a log is in its present state, and that is not when it
    began, so a timestamp older than every state still counts. `retired` is the moment from which timestamps do not
    count, None while the log is not known to have retired; `shard` is None for logs that take any certificate.
    `former_operators` are in chronological order. `first_listed` and `last_listed` are the days of the oldest and the
    newest list in which the makers of the shipped list found the log, `inferred` the fields that no list gave.
    `monitoring_url` is where a static log serves its tiles, None where no list says.
    """

    log_id: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    key: Annotated[bytes, msgspec.Meta(max_length=_KEY_BYTES_MAX)]
    operator: _Text
    description: _Text
    kind: LogKind = LogKind.RFC6962
    why: _Text = ""
    states: dict[LogState, Moment | None] = {}  # noqa: RUF012 - msgspec copies defaults
    retired: Moment | None = None
    shard: Shard | None = None
    former_operators: Annotated[tuple[FormerOperator, ...], msgspec.Meta(max_length=_FORMER_MAX)] = ()
    first_listed: dt.date | None = None
    last_listed: dt.date | None = None
    inferred: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=_FORMER_MAX)] = ()
    monitoring_url: _Text | None = None

    @property
    def accepted(self) -> bool:
        """Whether a browser accepted this log at some time, so that its timestamps count as evidence."""
        return not self.why

    @property
    def first_known(self) -> dt.date | None:
        """The first day of which anything is known of this log: the oldest listing or the earliest state."""
        days = [moment.date() for moment in self.states.values() if moment is not None]
        return min([*days, self.first_listed] if self.first_listed else days, default=None)

    def operator_at(self, moment: dt.datetime) -> str:
        """The operator of this log at `moment`: what browsers compare when they require distinct operators."""
        return next((former.name for former in self.former_operators if moment < former.until), self.operator)


class LogList(Record, frozen=True, kw_only=True):
    """A dated list of logs by log ID: `logs` count as evidence of public issuance, `untrusted` do not.

    `date` is the day the list describes; None when a user's list does not say. `version` and `sha256` (hexadecimal) are
    those of a data set's file; empty for other lists.
    """

    name: str
    version: str = ""
    date: dt.date | None
    sha256: str = ""
    logs: dict[bytes, Log]
    untrusted: dict[bytes, Log]

    @property
    def horizon(self) -> dt.date | None:
        """The last day of issue for which this list knows every log (see `LIST_HORIZON`); None without a date."""
        return self.date and self.date + min(LIST_HORIZON, dt.date.max - self.date)

    def is_past_horizon(self, not_before: dt.datetime) -> bool:
        """Whether a certificate issued at `not_before` may have timestamps of logs this list cannot know.

        A list without a date counts as current, so that omitting the date does not make unknown logs count.
        """
        return self.horizon is not None and not_before.date() > self.horizon

    def as_of(self, day: dt.date) -> LogList:
        """This list as it could have been made on `day`: what a copy knows that was not updated since.

        A log is known from the first day on which a list names it or dates a state of it, and its retirement from
        that day. Logs without any such day stay. For measuring how lists age; no verdict uses it.
        """

        def known(half: dict[bytes, Log]) -> dict[bytes, Log]:
            return {
                log_id: msgspec.structs.replace(
                    log, retired=log.retired if log.retired and log.retired.date() <= day else None
                )
                for log_id, log in half.items()
                if log.first_known is None or log.first_known <= day
            }

        return LogList(name=self.name, date=day, logs=known(self.logs), untrusted=known(self.untrusted))
