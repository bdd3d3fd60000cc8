"""Lists of Certificate Transparency logs: a data set's, and the user's in Google's log list v3 format (JSON).

Room: knowledge. Pure apart from reading the list that is named.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from detector.errors import LogListError
from detector.model import json_text
from detector.model.files import read_file
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations at run time
from detector.trust.ct_logs import ACCEPTED_STATES, FormerOperator, Log, LogKind, LogList, LogState, Shard

from .part import Head, Sources

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping

    from detector.model import Knowledge

LIST_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest log list read, in bytes. Google's complete list is about 0.3 MB (2026); ten times that leaves room."""
_ADVICE: Final = "Give a Certificate Transparency log list in Google's v3 JSON format (log_list.json)."

_LOGS_MAX: Final = 8192
"""Logs of one list; the shipped one has 250, of twelve years."""


class LogsFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ct_logs.json: every log ever listed for browsers, test logs set apart."""

    sources: Sources
    logs: Annotated[tuple[Log, ...], msgspec.Meta(max_length=_LOGS_MAX)]

    def __post_init__(self) -> None:
        for number, log in enumerate(self.logs):
            if log.log_id != hashlib.sha256(log.key).digest():  # RFC 6962 section 3.2
                raise ValueError(f"`logs[{number}].log_id` is not the SHA-256 of the log's key")
        if len({log.log_id for log in self.logs}) != len(self.logs):
            raise ValueError("`logs` has a log twice")

    def listed(self, part: Knowledge) -> LogList:
        """The list, with the name, the version and the hash of the part."""

        def dated(log: Log) -> Log:
            at = log.states.get(LogState.RETIRED)
            return log if at is None or log.retired else msgspec.structs.replace(log, retired=at)

        found = _log_list(map(dated, self.logs), name=part.name, date=self.date)
        return msgspec.structs.replace(found, version=part.version, sha256=part.sha256)


class _State(msgspec.Struct, frozen=True):
    timestamp: Moment | None = None


class _Interval(msgspec.Struct, frozen=True):
    start_inclusive: Moment
    end_exclusive: Moment


class _PreviousOperator(msgspec.Struct, frozen=True):
    name: str
    end_time: Moment


class _GoogleLog(msgspec.Struct, frozen=True):
    log_id: bytes
    key: bytes
    description: str = ""
    log_type: str = "prod"
    state: dict[str, _State] = {}
    temporal_interval: _Interval | None = None
    previous_operators: tuple[_PreviousOperator, ...] = ()
    monitoring_url: str | None = None


class _GoogleOperator(msgspec.Struct, frozen=True):
    name: str
    logs: tuple[_GoogleLog, ...] = ()
    tiled_logs: tuple[_GoogleLog, ...] = ()


class _GoogleList(msgspec.Struct, frozen=True):
    operators: tuple[_GoogleOperator, ...]
    version: str = ""
    log_list_timestamp: Moment | None = None

    def entries(self) -> Iterator[tuple[str, str, LogKind, _GoogleLog]]:
        """Every log with its place in the list, its operator's name and its kind."""
        for number, operator in enumerate(self.operators):
            families = (
                ("logs", operator.logs, LogKind.RFC6962),
                ("tiled_logs", operator.tiled_logs, LogKind.STATIC_CT),
            )
            for family, logs, kind in families:
                for index, log in enumerate(logs):
                    yield f"operators[{number}].{family}[{index}].log_id", operator.name, kind, log


def load(path: str | Path, *, known: LogList | None = None) -> LogList:
    """The log list in a file; `known` as in `parse`.

    Raises `LogListError` that names the file and, where one is at fault, the field.
    """
    data = read_file(path, most=LIST_BYTES_MAX, kind="log list", error=LogListError)
    # Reports show the file's own name only: the folders above it may contain a person's name.
    return msgspec.structs.replace(parse(data, name=str(path), known=known), name=Path(path).name)


def parse(data: bytes, *, name: str, known: LogList | None = None) -> LogList:
    """Parse a log list; `name` is used in messages and reports.

    Logs of type `test`, logs in the states `pending` and `rejected`, and logs that `known` (a data set's list)
    distrusts go to `untrusted`. The format makes the state optional: a log without one counts, because the user who
    supplies a list trusts what it names. Where `log_list_timestamp` is missing, the newest state change dates the list.
    A log that is listed as retired without a moment retired no later than the list's date.

    Raises `LogListError` for data that is too large, not JSON, not of that format, or whose `log_id` is not the
    SHA-256 of its `key` (RFC 6962 section 3.2).
    """
    if len(data) > LIST_BYTES_MAX:
        raise LogListError(f"{name}: larger than {LIST_BYTES_MAX} bytes, which no log list is.", advice=_ADVICE)
    try:
        listed = json_text.decode(data, _GoogleList)
    except json_text.MalformedError as error:
        raise LogListError(f"{name}: not a v3 log list: {error}.", advice=_ADVICE) from error
    changes = (state.timestamp for *_, log in listed.entries() for state in log.state.values() if state.timestamp)
    dated = listed.log_list_timestamp or max(changes, default=None)
    distrusted = {} if known is None else known.untrusted
    found: dict[bytes, Log] = {}
    for field, operator, kind, entry in listed.entries():
        if entry.log_id != hashlib.sha256(entry.key).digest():  # one of the two would be silently useless
            raise LogListError(
                f"{name}: {field}: not the SHA-256 of the log's key ({entry.description or 'no description'}).",
                advice="Take log_id and key from the same published list.",
            )
        if entry.log_id in found:
            raise LogListError(f"{name}: {field}: the same log is listed twice.", advice="Remove one of them.")
        found[entry.log_id] = _google_log(entry, operator, kind, dated, distrusted)
    return _log_list(found.values(), name=name, date=dated.date() if dated else None)


def _log_list(logs: Iterable[Log], *, name: str, date: dt.date | None) -> LogList:
    by_id = {log.log_id: log for log in logs}
    return LogList(
        name=name,
        date=date,
        logs={log_id: log for log_id, log in by_id.items() if log.accepted},
        untrusted={log_id: log for log_id, log in by_id.items() if not log.accepted},
    )


def _google_log(
    entry: _GoogleLog, operator: str, kind: LogKind, dated: dt.datetime | None, distrusted: Mapping[bytes, Log]
) -> Log:
    known_states = frozenset(LogState)  # a state of another name accepts nothing
    states = {LogState(state): change.timestamp for state, change in entry.state.items() if state in known_states}
    interval = entry.temporal_interval
    retired = (states[LogState.RETIRED] or dated) if LogState.RETIRED in states else None
    former = (FormerOperator(previous.name, previous.end_time) for previous in entry.previous_operators)
    return Log(
        log_id=entry.log_id,
        key=entry.key,
        operator=operator,
        description=entry.description,
        kind=kind,
        why=_why_untrusted(entry, retired, distrusted.get(entry.log_id)),
        states=states,
        retired=retired,
        shard=Shard(interval.start_inclusive, interval.end_exclusive) if interval else None,
        former_operators=tuple(sorted(former, key=lambda operator: operator.until)),
        monitoring_url=entry.monitoring_url,
    )


def _why_untrusted(entry: _GoogleLog, retired: dt.datetime | None, known: Log | None) -> str:
    """Why timestamps of this log prove nothing, empty when they count. `known` is the distrusted log of this ID."""
    if known is not None:
        return known.why
    if entry.log_type != "prod":
        return f"log type {entry.log_type}"
    if entry.state and not ACCEPTED_STATES.intersection(entry.state):
        return f"state {', '.join(sorted(entry.state))}"
    if LogState.RETIRED in entry.state and retired is None:
        return "retired, and the list does not say when"
    return ""
