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
    from collections.abc import Callable, Iterable

    from detector.model import Report, Result

_OF_RESULT: Final[dict[str, Callable[[Result], object]]] = {
    "host": lambda result: result.endpoint.host,
    "port": lambda result: result.endpoint.port,
    "category": lambda result: result.endpoint.category,
    "verdict": lambda result: result.verdict,
    "confidence": lambda result: result.confidence,
    "assurance": lambda result: result.assurance,
    "reason": lambda result: result.reason,
    "why": wording.why,
    "alternatives": lambda result: " ".join(result.alternatives),
    "product": lambda result: result.attribution and result.attribution.product,
    "vendor": lambda result: result.attribution and result.attribution.vendor,
    "managed_by": lambda result: result.attribution and result.attribution.managed_by,
    "locality": lambda result: result.attribution and result.attribution.locality,
    "issuer": lambda result: result.attribution and result.attribution.issuer,
    "outcome": lambda result: result.observation.outcome,
    "route": lambda result: result.observation.route,
    "address": lambda result: result.observation.address,
    "tls_version": lambda result: result.observation.tls_version,
    # A self-signed certificate's subject is its issuer, which an uncertain result does not name.
    "leaf_subject": lambda result: None if wording.is_uncertain(result) else _of_leaf(result, "subject"),
    "leaf_sha256": lambda result: _of_leaf(result, "sha256"),
    "leaf_spki_sha256": lambda result: _of_leaf(result, "spki_sha256"),
    "evidence": lambda result: " ".join(wording.summary(finding, result) for finding in result.findings),
}
"""What a column says of a result."""
COLUMNS: Final = ("time", "vantage", *_OF_RESULT)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def render(report: Report) -> str:
    """The header and one line per endpoint (RFC 4180, except for line ends, which are LF)."""
    return header() + "".join(line(result, at=report.finished, vantage=report.vantage) for result in report.results)


def header() -> str:
    """The header line."""
    return _line(COLUMNS)


def line(result: Result, *, at: dt.datetime, vantage: str) -> str:
    """The line of one endpoint, assessed `at` (UTC) from `vantage`."""
    return _line((f"{at:%Y-%m-%dT%H:%M:%SZ}", vantage, *(value(result) for value in _OF_RESULT.values())))


def _of_leaf(result: Result, field: str) -> object:
    return getattr(result.observation.chain[0], field) if result.observation.chain else None


def _line(values: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow([_text(value) for value in values])
    return stream.getvalue()


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
