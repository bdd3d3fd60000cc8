"""The report for monitoring systems: one line with performance data, and an exit code.

Room: report. Pure. Monitoring Plugins Development Guidelines: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; the text before
`|` is for people, performance data follow it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from detector.model import Confidence, Verdict

from . import sentences

if TYPE_CHECKING:
    from detector.model import Report

OK: Final = 0
WARNING: Final = 1
CRITICAL: Final = 2
UNKNOWN: Final = 3
NAMES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def status(report: Report, fail_on: Confidence) -> int:
    """The plugin's exit code: critical for middleware at `fail_on` or above, a warning below it."""
    if report.verdict is Verdict.CLEAN:
        return OK
    if report.verdict is Verdict.INCONCLUSIVE or report.confidence is None:
        return UNKNOWN
    return CRITICAL if report.confidence.reaches(fail_on) else WARNING


def render(report: Report, fail_on: Confidence) -> str:
    """One line, in which text from certificates cannot start the performance data or another line."""
    counts = Counter(result.verdict for result in report.results)
    said = " ".join(sentences.headline(report).replace("|", "/").split())
    numbers = " ".join(f"{verdict}={counts[verdict]}" for verdict in Verdict)
    seconds = (report.finished - report.started).total_seconds()
    return f"TLS {NAMES[status(report, fail_on)]} - {said} | {numbers} time={seconds:.3f}s\n"
