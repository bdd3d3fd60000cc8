"""The report as Prometheus metrics in text format, for node_exporter's textfile collector and for gateways.

Room: report. Pure: writes a separate registry as text; nothing is served here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.errors import MissingExtraError
from detector.model import Confidence, Verdict

if TYPE_CHECKING:
    from detector.model import Report


def render(report: Report) -> str:
    """The metrics of one run (Prometheus text exposition format). Raises `MissingExtraError`."""
    try:
        from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - the extra `metrics`
    except ImportError as error:
        raise MissingExtraError("Prometheus metrics need prometheus-client.", extra="metrics") from error
    registry = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"tls_detector_{name}", words, labels, registry=registry)

    verdict = gauge("verdict", "1 for the verdict of the network, 0 for the others.", "vantage", "verdict")
    for each in Verdict:
        verdict.labels(report.vantage, each.value).set(report.verdict is each)
    gauge("last_run_seconds", "When the run ended, Unix time.", "vantage").labels(report.vantage).set(
        report.finished.timestamp()
    )
    endpoints = gauge("endpoint", "1 for the verdict of the endpoint.", "vantage", "endpoint", "category", "verdict")
    sure = gauge(
        "endpoint_confidence", "How sure: 1 possible, 2 probable, 3 proven; 0 not accused.", "vantage", "endpoint"
    )
    for result in report.results:
        name = result.endpoint.name
        endpoints.labels(report.vantage, name, result.endpoint.category.value, result.verdict.value).set(1)
        level = 0 if result.confidence is None else list(Confidence).index(result.confidence) + 1
        sure.labels(report.vantage, name).set(level)
    return generate_latest(registry).decode("utf-8")
