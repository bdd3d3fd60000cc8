"""The report as CSV: one line per endpoint, for spreadsheets and for SIEMs without JSON.

Room: report. Pure.

Spreadsheets execute what looks like a formula, and the subject of a certificate is arbitrary text: a field that begins
like a formula is prefixed with an apostrophe, which marks text in spreadsheets (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from detector.judge import wording

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from detector.model import Report, Result

COLUMNS: Final = (
    "time",
    "vantage",
    "host",
    "port",
    "category",
    "verdict",
    "confidence",
    "assurance",
    "reason",
    "why",
    "alternatives",
    "product",
    "vendor",
    "managed_by",
    "locality",
    "issuer",
    "outcome",
    "route",
    "address",
    "tls_version",
    "leaf_subject",
    "leaf_sha256",
    "leaf_spki_sha256",
    "evidence",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def render(report: Report) -> str:
    """The header and one line per endpoint (RFC 4180, except for line ends, which are LF)."""
    return header() + "".join(line(result, at=report.finished, vantage=report.vantage) for result in report.results)


def header() -> str:
    """The header line."""
    return _line(COLUMNS)


def line(result: Result, *, at: dt.datetime, vantage: str) -> str:
    """The line of one endpoint, assessed `at` (UTC) from `vantage`."""
    return _line(_values(result, at, vantage))


def _line(values: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow([_text(value) for value in values])
    return stream.getvalue()


def _values(result: Result, at: dt.datetime, vantage: str) -> Iterable[object]:
    seen, who = result.observation, result.attribution
    leaf = seen.chain[0] if seen.chain else None
    yield f"{at:%Y-%m-%dT%H:%M:%SZ}"
    yield vantage
    yield result.endpoint.host
    yield result.endpoint.port
    yield result.endpoint.category
    yield result.verdict
    yield result.confidence
    yield result.assurance
    yield result.reason
    yield wording.why(result)
    yield " ".join(result.alternatives)
    yield from (None,) * 5 if who is None else (who.product, who.vendor, who.managed_by, who.locality, who.issuer)
    yield seen.outcome
    yield seen.route
    yield seen.address
    yield seen.tls_version
    # A self-signed certificate's subject is its issuer, which an uncertain result does not name.
    yield None if leaf is None or wording.is_uncertain(result) else leaf.subject
    yield from (None, None) if leaf is None else (leaf.sha256, leaf.spki_sha256)
    yield " ".join(wording.summary(finding, result) for finding in result.findings)


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
