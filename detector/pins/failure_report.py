"""Reads reports of clients whose pins did not fit: RFC 7469 section 3, and TrustKit's, which follow it.

Room: pins. Pure; the moment is an argument.

A report is a claim: nobody signed it. Its chain is assessed like any other; what its client expected (known-pins) and
concluded is not read. A client compares pins before the handshake is over, so a report does not show that the server
had the key.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

import msgspec

from detector.errors import ChainError, TargetError
from detector.model.toml_files import shown
from detector.model.validate import HTTPS_PORT, PORT_MAX
from detector.trust import certificate_files
from detector.trust.certificate_files import CERTIFICATES_MAX

from .target import parse_host

EARLIEST: Final = dt.datetime(2015, 4, 1, tzinfo=dt.UTC)
"""When RFC 7469 was published; no report is older."""
CLOCK_ERROR: Final = dt.timedelta(days=1)
"""How far ahead a client's clock may be: a wrong time zone is less than a day."""

_ADVICE: Final = "Give the JSON of one report as the client sent it."
_TEXT_MAX: Final = 64
"""Characters of a time; RFC 3339 with nanoseconds and offset has 35."""


class FailureReport(NamedTuple):
    """What a report claims: an endpoint, a time, None where it gives none, and the chain, leaf first.

    `notes` are sentences on what rests on the client's word.
    """

    host: str
    port: int
    at: dt.datetime | None
    certificates: tuple[bytes, ...]
    notes: tuple[str, ...]


class _Report(msgspec.Struct, rename="kebab"):
    """The fields that are read; those with the client's opinion are not."""

    hostname: str
    port: int = 0
    date_time: str | None = None
    served_certificate_chain: list[str] | None = None
    validated_certificate_chain: list[str] | None = None


def read(data: bytes, *, now: dt.datetime, at: dt.datetime | None = None) -> FailureReport:
    """Read a report; `at` takes precedence over its time.

    Raises `ChainError`, which names the field and not the file: it is no report, has no chain, or its time is not
    between the publication of RFC 7469 and a day after `now`.
    """
    try:
        report = msgspec.json.decode(data, type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        words = str(error)[:200]
        raise ChainError(f"This is no report of a pin failure: {words}.", advice=_ADVICE) from None
    try:
        host = parse_host(report.hostname)
    except TargetError as error:
        raise ChainError(f"hostname: {error.message}", advice=_ADVICE) from None
    if not 0 <= report.port <= PORT_MAX:
        raise ChainError(f"port: {report.port} is out of range.", advice=_ADVICE)
    if at is None and report.date_time is not None:
        at = _moment(report.date_time, now)
    served = bool(report.served_certificate_chain)
    chain = report.served_certificate_chain or report.validated_certificate_chain or []
    notes = ["Host, time and chain are what the report claims: nobody signed it."]
    if not report.port:
        notes.append(f"The report gives no port; {HTTPS_PORT} is assumed.")
    if at is None:
        notes.append("The report gives no time (date-time); its chain is assessed as of now.")
    if not served:
        notes.append("The report has no chain as served; the one that its client built is assessed.")
    field = "served-certificate-chain" if served else "validated-certificate-chain"
    return FailureReport(host, report.port or HTTPS_PORT, at, _certificates(field, chain), tuple(notes))


def _certificates(field: str, chain: list[str]) -> tuple[bytes, ...]:
    """The certificates of a chain, one in each text. Raises `ChainError`."""
    if not chain:
        raise ChainError(f"{field}: holds no certificate.", advice=_ADVICE)
    if len(chain) > CERTIFICATES_MAX:
        raise ChainError(f"{field}: holds more than {CERTIFICATES_MAX} certificates.", advice=_ADVICE)
    found: list[bytes] = []
    for index, text in enumerate(chain):
        try:
            one = certificate_files.read(text.encode()).certificates
        except ChainError as error:
            raise ChainError(f"{field}[{index}]: {error.message}", advice=_ADVICE) from None
        if len(one) != 1:
            raise ChainError(f"{field}[{index}]: holds {len(one)} certificates instead of one.", advice=_ADVICE)
        found += one
    return tuple(found)


def _moment(text: str, now: dt.datetime) -> dt.datetime:
    """The time of a report. Raises `ChainError`."""
    try:
        moment = dt.datetime.fromisoformat(text if len(text) <= _TEXT_MAX else "")
    except ValueError:
        raise ChainError(f"date-time: {shown(text)} is not an RFC 3339 time.", advice=_ADVICE) from None
    if moment.tzinfo is None or not EARLIEST <= moment <= now + CLOCK_ERROR:
        raise ChainError(
            f"date-time: {shown(text)} has no offset, is before {EARLIEST:%Y-%m-%d} or after the present.",
            advice="If you know when the chain was served, give the time with --at.",
        )
    return moment.astimezone(dt.UTC)
