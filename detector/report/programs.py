"""Reports for programs: JSON, JSON Lines, Prometheus metrics, and the output of a monitoring plugin.

Room: report. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from detector.errors import MissingExtraError
from detector.model import Confidence, Verdict, encode
from detector.model.report import midnight

from . import sentences

if TYPE_CHECKING:
    from detector.model import Report

OK, WARNING, CRITICAL, UNKNOWN = range(4)
"""Exit codes of a plugin (Monitoring Plugins Development Guidelines)."""
_NAMES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def json(report: Report) -> str:
    """The whole report (docs/report.schema.json), indented, ending in a newline."""
    return msgspec.json.format(report.to_json(), indent=2).decode("utf-8") + "\n"


def jsonl(report: Report) -> str:
    """One line per endpoint: the same result as in `results` of the JSON report."""
    return "".join(encode(result).decode("utf-8") + "\n" for result in report.results)


def nagios_status(report: Report, fail_on: Confidence) -> int:
    """The exit code of a plugin: critical for middleware at `fail_on` or above, a warning below it."""
    if report.verdict is Verdict.CLEAN:
        return OK
    if report.verdict is Verdict.INCONCLUSIVE or report.confidence is None:
        return UNKNOWN
    return CRITICAL if report.confidence.reaches(fail_on) else WARNING


def nagios(report: Report, fail_on: Confidence) -> str:
    """One line with performance data; text from certificates cannot start these or another line."""
    counts = Counter(result.verdict for result in report.results)
    said = " ".join(sentences.headline(report).replace("|", "/").split())
    numbers = " ".join(f"{verdict}={counts[verdict]}" for verdict in Verdict)
    seconds = (report.finished - report.started).total_seconds()
    return f"TLS {_NAMES[nagios_status(report, fail_on)]} - {said} | {numbers} time={seconds:.3f}s\n"


def prometheus(report: Report) -> str:
    """The metrics of one run in text format, for node_exporter's textfile collector and for gateways.

    Raises `MissingExtraError`.
    """
    try:
        from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - the extra `metrics`
    except ImportError as error:
        raise MissingExtraError("Prometheus metrics need prometheus-client.", extra="metrics") from error
    registry, place = CollectorRegistry(), report.vantage

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"tls_detector_{name}", words, ("vantage", *labels), registry=registry)

    verdict = gauge("verdict", "1 for the verdict of the network, 0 for the others.", "verdict")
    for each in Verdict:
        verdict.labels(place, each.value).set(report.verdict is each)
    gauge("last_run_seconds", "When the run ended, Unix time.").labels(place).set(report.finished.timestamp())
    dated = gauge("knowledge_date_seconds", "The day up to which a part knows of changes, Unix time.", "part", "name")
    current = gauge("knowledge_horizon_seconds", "The last day on which a part is current, Unix time.", "part", "name")
    for part in report.knowledge:
        for day, metric in ((part.date, dated), (part.horizon, current)):
            if day is not None:
                metric.labels(place, part.kind.value, part.name).set(midnight(day).timestamp())
    endpoints = gauge("endpoint", "1 for the verdict of the endpoint.", "endpoint", "category", "verdict")
    sure = gauge("endpoint_confidence", "How sure: 1 possible, 2 probable, 3 proven; 0 not accused.", "endpoint")
    order = [None, *Confidence]
    for result in report.results:
        name = result.endpoint.name
        endpoints.labels(place, name, result.endpoint.category.value, result.verdict.value).set(1)
        sure.labels(place, name).set(order.index(result.confidence))
    return generate_latest(registry).decode("utf-8")
