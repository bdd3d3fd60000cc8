"""Counts what the service does, for `/metrics`, for the database and for the log.

Room: detector_collect.service. Counts in memory; `flush` writes to the database, `exposition` reads it.

Refusals are counted in memory and written together every few seconds, as is the line in the log, so that a flood of
garbage costs no transaction and no line for each piece. What was counted since the last time is lost when the process
is killed. No label and no line names a student, a digest or an address.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import prometheus_client
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from detector_collect.store import counters
from detector_collect.store.errors import StoreError

if TYPE_CHECKING:
    import datetime as dt

    from detector_collect.store.database import Store
    from detector_collect.submissions import Refusal

FLUSH_SECONDS: Final = 10.0
"""How often counts are written: as much of them as is lost with a process."""
STATES_SECONDS: Final = 60.0
"""How often submissions are counted by state. That reads the whole index: 0.04 s for a million rows of SQLite."""
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Bounds of the histogram in seconds: a small submission takes some milliseconds, and a client waits for a minute."""
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

LOG: Final = logging.getLogger("detector_collect.service")


class Metrics:
    """The counters of one process, with a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = prometheus_client.CollectorRegistry()
        self._accepted = prometheus_client.Counter(
            "detector_collect_accepted", "Submissions answered with a receipt.", ["new"], registry=registry
        )
        self._refused = prometheus_client.Counter(
            "detector_collect_refused", "Submissions refused, by reason.", ["refusal"], registry=registry
        )
        self._seconds = prometheus_client.Histogram(
            "detector_collect_receive_seconds",
            "Time from the head of a submission to its receipt.",
            registry=registry,
            buckets=BUCKETS,
        )
        self._reachable = prometheus_client.Gauge(
            "detector_collect_database_reachable", "Whether the database answered.", registry=registry
        )
        self._depth = prometheus_client.Gauge(
            "detector_collect_queue_depth", "Submissions to be assessed.", registry=registry
        )
        self._age = prometheus_client.Gauge(
            "detector_collect_queue_age_seconds", "How long the oldest of them has waited.", registry=registry
        )
        self._states = prometheus_client.Gauge(
            "detector_collect_submissions", "Submissions, by state.", ["state"], registry=registry
        )
        self._stale = prometheus_client.Gauge(
            "detector_collect_refreshes_failed",
            "How often a worker could not read its knowledge again, and kept the last.",
            registry=registry,
        )
        self._states_at = float("-inf")
        self._to_store: Counter[tuple[str, str]] = Counter()
        self._to_log: Counter[str] = Counter()

    def accepted(self, seconds: float, *, is_new: bool) -> None:
        """Count a receipt."""
        self._accepted.labels("yes" if is_new else "no").inc()
        self._seconds.observe(seconds)
        self._to_log["accepted" if is_new else "known"] += 1

    def refused(self, refusal: Refusal, institution: str) -> None:
        """Count a refusal; `institution` is empty where the sender did not prove to be one."""
        self._refused.labels(refusal.value).inc()
        self._to_store[institution, f"refused-{refusal}"] += 1
        self._to_log[f"refused-{refusal}"] += 1

    async def flush(self, store: Store) -> None:
        """Write what was counted since the last time; what the database does not take is kept for the next."""
        if self._to_log:
            LOG.info("received", extra={"fields": dict(self._to_log)})
            self._to_log.clear()
        if not self._to_store:
            return
        counts = self._to_store
        self._to_store = Counter()
        try:
            async with store.begin() as connection:
                await counters.increase(connection, counts)
        except StoreError as error:
            self._to_store.update(counts)
            LOG.warning("counters not written", exc_info=error)

    async def exposition(self, store: Store, *, now: dt.datetime) -> bytes:
        """The text that Prometheus reads."""
        try:
            async with store.connect() as connection:
                queue = await counters.queue(connection)
                self._stale.set(await counters.refreshes_failed(connection))
                if time.monotonic() - self._states_at >= STATES_SECONDS:
                    for state, number in (await counters.states(connection)).items():
                        self._states.labels(state).set(number)
                    self._states_at = time.monotonic()
        except StoreError:
            self._reachable.set(0)
        else:
            self._reachable.set(1)
            self._depth.set(queue.depth)
            self._age.set(0.0 if queue.oldest is None else max((now - queue.oldest).total_seconds(), 0.0))
        return generate_latest(self._registry)
