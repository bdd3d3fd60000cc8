"""Certificate Transparency logs: the shipped list, and lists the user brings (Google's log list v3 JSON).

Room: trust. Pure apart from reading the list it is pointed to: no sockets, no clock.

Only a log that a browser accepted at some time proves that a certificate was issued in public. Test logs, and logs
that accept roots nobody trusts, sign whatever they are handed: a forger can get a genuine timestamp there. So a
list has two halves, `logs` (count as evidence) and `untrusted` (known, count for nothing). Retired logs stay in
`logs` on purpose: certificates that are still valid carry their timestamps (RFC 6962 section 3.2).
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
import functools
import hashlib
from pathlib import Path
from typing import Final

import msgspec

from detector.errors import LogListError
from detector.model import Record

MAX_BYTES: Final = 4 * 1024 * 1024
"""Largest log list read, in bytes. Google's complete list is about 0.3 MB (2026); ten times that leaves room."""

LOG_ID_BYTES: Final = 32
"""Length of a log ID in bytes: SHA-256 of the log's SubjectPublicKeyInfo (RFC 6962 section 3.2)."""

_ACCEPTED_STATES: Final = frozenset({"qualified", "usable", "readonly", "retired"})
"""States of a log that browsers accept or once accepted (Chrome's log states; `pending` and `rejected` never were)."""

_ADVICE: Final = "Give a Certificate Transparency log list in Google's v3 JSON format (log_list.json)."


class LogKind(enum.StrEnum):
    """The interface a log serves. Signed timestamps are the same in both (RFC 6962 section 3.2)."""

    RFC6962 = "rfc6962"
    STATIC_CT = "static-ct"


class Log(Record, frozen=True, kw_only=True):
    """One Certificate Transparency log.

    `log_id` is the 32-byte SHA-256 of `key`, and `key` the DER SubjectPublicKeyInfo (not parsed here: a list may
    name key types this machine cannot use). `why` says why an untrusted log proves nothing, else it is empty.
    """

    log_id: bytes
    key: bytes
    operator: str
    description: str
    kind: LogKind = LogKind.RFC6962
    why: str = ""


class LogList(Record, frozen=True, kw_only=True):
    """A dated list of logs by log ID: `logs` count as evidence of public issuance, `untrusted` do not.

    `date` is the day the list describes; None when a list the user brought does not tell. A certificate issued
    after it may carry timestamps of logs the list cannot know.
    """

    name: str
    date: dt.date | None
    logs: dict[bytes, Log]
    untrusted: dict[bytes, Log]

    def find(self, log_id: bytes) -> Log | None:
        """Give the log with this 32-byte ID if its timestamps count as evidence, else None."""
        return self.logs.get(log_id)


class _ShippedLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator: str
    description: str
    kind: LogKind
    public: bool
    log_id: bytes
    key: bytes
    why: str = ""


class _ShippedList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    name: str
    date: dt.date
    sources: tuple[str, ...]
    logs: tuple[_ShippedLog, ...]


class _State(msgspec.Struct, frozen=True):
    timestamp: dt.datetime | None = None


class _GoogleLog(msgspec.Struct, frozen=True):
    log_id: bytes
    key: bytes
    description: str = ""
    log_type: str = "prod"
    state: dict[str, _State] = {}


class _GoogleOperator(msgspec.Struct, frozen=True):
    name: str
    logs: tuple[_GoogleLog, ...] = ()
    tiled_logs: tuple[_GoogleLog, ...] = ()


class _GoogleList(msgspec.Struct, frozen=True):
    operators: tuple[_GoogleOperator, ...]
    version: str = ""
    log_list_timestamp: dt.datetime | None = None


_GOOGLE: Final = msgspec.json.Decoder(_GoogleList)


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
    return LogList(name=Path(path).name, date=read.date, logs=read.logs, untrusted=read.untrusted)


def parse(data: bytes, *, name: str) -> LogList:
    """Read a log list in Google's v3 JSON format; `name` is what messages and reports call it.

    Logs of type `test`, logs in the states `pending` and `rejected`, and logs the shipped list knows to be no
    evidence, go to `untrusted`. The format leaves the state optional: a log without one counts, because whoever
    brings a list vouches for what it names. Where `log_list_timestamp` is missing, the newest state change
    dates the list.

    Raises `LogListError` for data that is too large, not JSON, not of that format, or whose `log_id` is not the
    SHA-256 of its `key` (RFC 6962 section 3.2).
    """
    if len(data) > MAX_BYTES:
        raise LogListError(f"{name}: larger than {MAX_BYTES} bytes, which no log list is.", advice=_ADVICE)
    try:
        listed = _GOOGLE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogListError(f"{name}: not a v3 log list: {error}.", advice=_ADVICE) from error
    logs: dict[bytes, Log] = {}
    untrusted: dict[bytes, Log] = {}
    newest: dt.datetime | None = listed.log_list_timestamp
    times: list[dt.date] = []
    for number, operator in enumerate(listed.operators):
        families = (("logs", operator.logs, LogKind.RFC6962), ("tiled_logs", operator.tiled_logs, LogKind.STATIC_CT))
        for family, entries, kind in families:
            for index, entry in enumerate(entries):
                field = f"operators[{number}].{family}[{index}].log_id"
                _check_id(entry, name=name, field=field)
                if entry.log_id in logs or entry.log_id in untrusted:
                    raise LogListError(f"{name}: {field}: the same log is listed twice.", advice="Remove one of them.")
                why = _distrust(entry)
                log = Log(
                    log_id=entry.log_id,
                    key=entry.key,
                    operator=operator.name,
                    description=entry.description,
                    kind=kind,
                    why=why,
                )
                (untrusted if why else logs)[entry.log_id] = log
                times.extend(state.timestamp.date() for state in entry.state.values() if state.timestamp)
    date = newest.date() if newest else max(times, default=None)
    return LogList(name=name, date=date, logs=logs, untrusted=untrusted)


def _check_id(entry: _GoogleLog, *, name: str, field: str) -> None:
    """Refuse a log ID that is not the hash of the key beside it: one of the two would be silently useless."""
    if entry.log_id != hashlib.sha256(entry.key).digest():
        raise LogListError(
            f"{name}: {field}: not the SHA-256 of the log's key ({entry.description or 'no description'}).",
            advice="Take log_id and key from the same published list.",
        )


def _distrust(entry: _GoogleLog) -> str:
    """Why timestamps of this log prove nothing; empty when they count."""
    known = shipped().untrusted.get(entry.log_id)
    if known is not None:
        return known.why
    if entry.log_type != "prod":
        return f"log type {entry.log_type}"
    if entry.state and not _ACCEPTED_STATES.intersection(entry.state):
        return f"state {', '.join(sorted(entry.state))}"
    return ""
