"""Counts what the service does, for `/metrics` and for the database.

Room: detector_collect.service. Counts in memory; `flush` writes to the database.

Refusals are counted in memory and written together every few seconds, so that a flood of garbage costs no transaction
for each piece. What was counted since the last time is lost when the process is killed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from detector_collect.submissions import Refusal

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Bounds of the histogram: a submission takes 5 to 50 ms, and a client waits for a minute."""


class Metrics:
    """Counters of one process, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._accepted = PrometheusCounter(
            "detector_collect_accepted", "Submissions answered with a receipt.", ["new"], registry=self.registry
        )
        self._refused = PrometheusCounter(
            "detector_collect_refused", "Submissions refused, by reason.", ["refusal"], registry=self.registry
        )
        self._seconds = Histogram(
            "detector_collect_receive_seconds",
            "Time from the head of a submission to its receipt.",
            registry=self.registry,
            buckets=SECONDS,
        )
        self._unwritten: Counter[tuple[str, str]] = Counter()

    def accepted(self, is_new: bool, seconds: float) -> None:  # noqa: FBT001 - a label
        """Count a receipt."""
        self._accepted.labels("yes" if is_new else "no").inc()
        self._seconds.observe(seconds)

    def refused(self, refusal: Refusal, institution: str) -> None:
        """Count a refusal; `institution` is empty where the sender did not prove to be one."""
        self._refused.labels(refusal.value).inc()
        self._unwritten[institution, f"refused-{refusal}"] += 1

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
