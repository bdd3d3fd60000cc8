"""Certificate Transparency logs: the shipped list, and lists the user brings (Google's log list v3 JSON).

Room: trust. Pure apart from reading the list it is pointed to: no sockets, no clock.

Only a log that a browser accepted at some time proves that a certificate was issued in public. Test logs, and logs
that accept roots no browser trusts, sign whatever they are handed: a forger can get a genuine timestamp there. So a
list has two halves, `logs` (count as evidence) and `untrusted` (known, count for nothing). Retired logs stay in
`logs` on purpose: certificates of their time carry their timestamps (RFC 6962 section 3.2). What keeps their keys
from signing for certificates of today is `Log.retired` and `Log.shard`, which `transparency` holds every timestamp to.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from detector.errors import LogListError
from detector.model import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 4 * 1024 * 1024
"""Largest log list read, in bytes. Google's complete list is about 0.3 MB (2026); ten times that leaves room."""

LOG_ID_BYTES: Final = 32
"""Length of a log ID in bytes: SHA-256 of the log's SubjectPublicKeyInfo (RFC 6962 section 3.2)."""

LIST_HORIZON: Final = dt.timedelta(days=70)
"""How long after its date a list is held to know every log a certificate can have timestamps of.
Chromium calls its own list stale after the same ten weeks; between a log's first listing and its first timestamp in
116 genuine chains lay at least 118 days."""

_ADVICE: Final = "Give a Certificate Transparency log list in Google's v3 JSON format (log_list.json)."


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

    start: dt.datetime
    end: dt.datetime

    def holds(self, not_after: dt.datetime) -> bool:
        """Whether a certificate that ends at `not_after` belongs into this shard."""
        return self.start <= not_after < self.end


class FormerOperator(NamedTuple):
    """Who operated a log before `until`."""

    name: str
    until: dt.datetime


class Log(Record, frozen=True, kw_only=True):
    """One Certificate Transparency log.

    `log_id` is the 32-byte SHA-256 of `key`, and `key` the DER SubjectPublicKeyInfo (not parsed here: a list may
    name key types this machine cannot use). `why` says why an untrusted log proves nothing, else it is empty.

    `states` maps the states that lists gave the log to the earliest moment they gave for each, None where they gave
    none. Only `retired` bounds anything: a list says since when a log is in its present state, and that is no
    beginning, so a timestamp older than every state still counts. `retired` is the moment from which timestamps do
    not count, None while the log is not known to have retired; `shard` is None for logs that take any certificate.
    `former_operators` are in order of time. `first_listed` and `last_listed` are the days of the oldest and the newest
    list in which the makers of the shipped list found the log.
    """

    log_id: bytes
    key: bytes
    operator: str
    description: str
    kind: LogKind = LogKind.RFC6962
    why: str = ""
    states: dict[LogState, dt.datetime | None] = {}  # noqa: RUF012 - msgspec copies defaults
    retired: dt.datetime | None = None
    shard: Shard | None = None
    former_operators: tuple[FormerOperator, ...] = ()
    first_listed: dt.date | None = None
    last_listed: dt.date | None = None

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
        """Who operated this log at `moment`: what browsers compare when they ask for distinct operators."""
        return next((former.name for former in self.former_operators if moment < former.until), self.operator)


class LogList(Record, frozen=True, kw_only=True):
    """A dated list of logs by log ID: `logs` count as evidence of public issuance, `untrusted` do not.

    `date` is the day the list describes; None when a list the user brought does not say.
    """

    name: str
    date: dt.date | None
    logs: dict[bytes, Log]
    untrusted: dict[bytes, Log]

    @property
    def horizon(self) -> dt.date | None:
        """The last day of issue for which this list knows every log (see `LIST_HORIZON`); None without a date."""
        return self.date and self.date + min(LIST_HORIZON, dt.date.max - self.date)

    def find(self, log_id: bytes) -> Log | None:
        """Give the log with this 32-byte ID if its timestamps count as evidence, else None."""
        return self.logs.get(log_id)

    def as_of(self, day: dt.date) -> LogList:
        """Give this list as it could have been made on `day`: what a copy knows that was not updated since.

        A log is known from the first day on which a list names it or dates a state of it, and its retirement from
        that day. Logs without any such day stay. For measuring how lists age; nothing is judged by it.
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

    def is_past_horizon(self, not_before: dt.datetime) -> bool:
        """Whether a certificate issued at `not_before` may have timestamps of logs this list cannot know.

        A list without a date is held to be current: what it does not know is then unknown for good, so that leaving
        the date out opens nothing.
        """
        return self.horizon is not None and not_before.date() > self.horizon


_Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with its offset, as both formats have it: moments without one could not be compared with others."""


class _ShippedLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator: str
    description: str
    kind: LogKind
    public: bool
    log_id: bytes
    key: bytes
    first_listed: dt.date
    last_listed: dt.date
    why: str = ""
    states: dict[LogState, _Moment] = {}
    shard: tuple[_Moment, _Moment] | None = None
    retired: _Moment | None = None
    inferred: tuple[str, ...] = ()


class _ShippedList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    name: str
    date: dt.date
    sources: tuple[str, ...]
    logs: tuple[_ShippedLog, ...]


class _State(msgspec.Struct, frozen=True):
    timestamp: _Moment | None = None


class _Interval(msgspec.Struct, frozen=True):
    start_inclusive: _Moment
    end_exclusive: _Moment


class _PreviousOperator(msgspec.Struct, frozen=True):
    name: str
    end_time: _Moment


class _GoogleLog(msgspec.Struct, frozen=True):
    log_id: bytes
    key: bytes
    description: str = ""
    log_type: str = "prod"
    state: dict[str, _State] = {}
    temporal_interval: _Interval | None = None
    previous_operators: tuple[_PreviousOperator, ...] = ()


class _GoogleOperator(msgspec.Struct, frozen=True):
    name: str
    logs: tuple[_GoogleLog, ...] = ()
    tiled_logs: tuple[_GoogleLog, ...] = ()


class _GoogleList(msgspec.Struct, frozen=True):
    operators: tuple[_GoogleOperator, ...]
    version: str = ""
    log_list_timestamp: _Moment | None = None


_GOOGLE: Final = msgspec.json.Decoder(_GoogleList)
_STATES: Final = frozenset(LogState)
"""Names of states this module knows; a state of another name is kept out of `Log.states` and accepts nothing."""


@functools.cache
def shipped() -> LogList:
    """Give the list that comes with the package: every log ever listed for browsers, test logs set apart."""
    data = Path(__file__).with_name("data").joinpath("ct_logs.json").read_bytes()
    listed = msgspec.json.decode(data, type=_ShippedList)
    logs: dict[bytes, Log] = {}
    untrusted: dict[bytes, Log] = {}
    for entry in listed.logs:
        half = logs if entry.public else untrusted
        half[entry.log_id] = Log(
            log_id=entry.log_id,
            key=entry.key,
            operator=entry.operator,
            description=entry.description,
            kind=entry.kind,
            why=entry.why,
            states=dict(entry.states),
            retired=entry.retired or entry.states.get(LogState.RETIRED),
            shard=Shard(*entry.shard) if entry.shard else None,
            first_listed=entry.first_listed,
            last_listed=entry.last_listed,
        )
    return LogList(name=listed.name, date=listed.date, logs=logs, untrusted=untrusted)


def load(path: str | Path) -> LogList:
    """Read a log list in Google's v3 JSON format from a file.

    Raises `LogListError` naming the file and, where one is at fault, the field.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LogListError(f"{path}: the log list cannot be read: {reason}.", advice=_ADVICE) from error
    read = parse(data, name=str(path))
    # A report says which list by the file's own name: the folders above it are the reader's, and may name them.
    return msgspec.structs.replace(read, name=Path(path).name)


def parse(data: bytes, *, name: str) -> LogList:
    """Read a log list in Google's v3 JSON format; `name` is what messages and reports call it.

    Logs of type `test`, logs in the states `pending` and `rejected`, and logs the shipped list knows to be no
    evidence, go to `untrusted`. The format leaves the state optional: a log without one counts, because the person
    who brings a list vouches for what it names. Where `log_list_timestamp` is missing, the newest state change
    dates the list. A log that is listed as retired without a moment retired no later than the list's date.

    Raises `LogListError` for data that is too large, not JSON, not of that format, or whose `log_id` is not the
    SHA-256 of its `key` (RFC 6962 section 3.2).
    """
    if len(data) > MAX_BYTES:
        raise LogListError(f"{name}: larger than {MAX_BYTES} bytes, which no log list is.", advice=_ADVICE)
    try:
        listed = _GOOGLE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogListError(f"{name}: not a v3 log list: {error}.", advice=_ADVICE) from error
    dated = listed.log_list_timestamp or max(_state_changes(listed), default=None)
    logs: dict[bytes, Log] = {}
    untrusted: dict[bytes, Log] = {}
    for number, operator in enumerate(listed.operators):
        families = (("logs", operator.logs, LogKind.RFC6962), ("tiled_logs", operator.tiled_logs, LogKind.STATIC_CT))
        for family, entries, kind in families:
            for index, entry in enumerate(entries):
                field = f"operators[{number}].{family}[{index}].log_id"
                _check_id(entry, name=name, field=field)
                if entry.log_id in logs or entry.log_id in untrusted:
                    raise LogListError(f"{name}: {field}: the same log is listed twice.", advice="Remove one of them.")
                log = _google_log(entry, operator.name, kind, dated)
                (logs if log.accepted else untrusted)[entry.log_id] = log
    return LogList(name=name, date=dated.date() if dated else None, logs=logs, untrusted=untrusted)


def _state_changes(listed: _GoogleList) -> Iterator[dt.datetime]:
    for operator in listed.operators:
        for entry in (*operator.logs, *operator.tiled_logs):
            yield from (state.timestamp for state in entry.state.values() if state.timestamp)


def _google_log(entry: _GoogleLog, operator: str, kind: LogKind, dated: dt.datetime | None) -> Log:
    states = {LogState(state): change.timestamp for state, change in entry.state.items() if state in _STATES}
    interval = entry.temporal_interval
    retired = (states[LogState.RETIRED] or dated) if LogState.RETIRED in states else None
    return Log(
        log_id=entry.log_id,
        key=entry.key,
        operator=operator,
        description=entry.description,
        kind=kind,
        why=_distrust(entry, retired),
        states=states,
        retired=retired,
        shard=Shard(interval.start_inclusive, interval.end_exclusive) if interval else None,
        former_operators=tuple(
            sorted((FormerOperator(p.name, p.end_time) for p in entry.previous_operators), key=lambda p: p.until)
        ),
    )


def _check_id(entry: _GoogleLog, *, name: str, field: str) -> None:
    """Refuse a log ID that is not the hash of the key it comes with: one of the two would be silently useless."""
    if entry.log_id != hashlib.sha256(entry.key).digest():
        raise LogListError(
            f"{name}: {field}: not the SHA-256 of the log's key ({entry.description or 'no description'}).",
            advice="Take log_id and key from the same published list.",
        )


def _distrust(entry: _GoogleLog, retired: dt.datetime | None) -> str:
    """Why timestamps of this log prove nothing; empty when they count."""
    known = shipped().untrusted.get(entry.log_id)
    if known is not None:
        return known.why
    if entry.log_type != "prod":
        return f"log type {entry.log_type}"
    if entry.state and not ACCEPTED_STATES.intersection(entry.state):
        return f"state {', '.join(sorted(entry.state))}"
    if LogState.RETIRED in entry.state and retired is None:
        return "retired, and the list does not say when"
    return ""
