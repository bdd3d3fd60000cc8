"""What a watch does, as Prometheus metrics, and the small server for them.

Room: watch. Needs the extra `metrics` (`prometheus-client`), imported when a `WatchMetrics` is made. Metrics
live in a registry of their own and speak of endpoints and outcomes only: no address and no name of the machine or user.

Cardinality is bounded: labels are endpoints (at most `ENDPOINTS_MAX`, chosen before the watch begins) and members of
closed vocabularies. Nothing a network sends becomes a label.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Any, Final

import h11

from detector.aio.accepting import Accepting, listen
from detector.aio.tasks import cancel_and_wait
from detector.errors import InputError, MissingExtraError
from detector.model import Confidence, Outcome, Verdict
from detector.model.files import reason_of
from detector.model.report import midnight
from detector.pins import parse_address

from .events import WatchKind

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterable, Sequence

    from detector.model import Endpoint, Knowledge

    from .events import WatchEvent
    from .runner import ProbeResult

ENDPOINTS_MAX: Final = 256
"""Endpoints with series of their own; of others only the totals are counted. The shipped pin files have fewer."""
PROBE_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of the time a probe takes: from one network's round trip to the default deadline."""
PATH: Final = b"/metrics"
"""Where Prometheus scrapes by default."""
LOOPBACK: Final = "127.0.0.1"
"""Where metrics are served by default: not to other machines."""
SCRAPE_SECONDS: Final = 10.0
"""Seconds for one request and its answer: Prometheus's own default for scrape_timeout."""
SCRAPES_DEFAULT: Final = 16
"""Connections served at once: a few Prometheus servers and a person. Others wait until one of these ends."""
REQUEST_BYTES_MAX: Final = 16 * 1024
"""Bytes of a request head; h11's own default."""


class WatchMetrics:
    """Metrics of one watch over `endpoints`. `probed` and `reported` count, `text` is the exposition.

    Raises `MissingExtraError` where prometheus-client is not installed.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        try:
            self._prometheus: Any = importlib.import_module("prometheus_client")
        except ImportError as error:
            raise MissingExtraError("Metrics need prometheus-client.", extra="metrics") from error
        client, self._registry = self._prometheus, self._prometheus.CollectorRegistry()
        ours = {"namespace": "tls_detector", "registry": self._registry}
        self._names: Final = frozenset(endpoint.name for endpoint in endpoints[:ENDPOINTS_MAX])
        self._verdict = client.Gauge(
            "endpoint_verdict", "1 for the verdict of the latest probe.", ["endpoint", "verdict"], **ours
        )
        self._confidence = client.Gauge(
            "endpoint_confidence",
            "Confidence that the latest probe met middleware: 0 none, 1 possible, 2 probable, 3 proven.",
            ["endpoint"],
            **ours,
        )
        self._last = client.Gauge(
            "last_probe_timestamp_seconds", "When the endpoint was last probed, Unix time.", ["endpoint"], **ours
        )
        self._network = client.Gauge(
            "network_verdict", "1 for the verdict of the network as of the latest event.", ["verdict"], **ours
        )
        self._probes = client.Counter("probes", "Probes of endpoints by outcome.", ["outcome"], **ours)
        self._events = client.Counter("events", "Events reported by kind.", ["kind"], **ours)
        self._seconds = client.Histogram("probe_seconds", "Time a probe took.", buckets=PROBE_SECONDS, **ours)
        self._held = client.Counter("held_scrapes", "Requests for metrics that had to wait for others to end.", **ours)
        self._refused = client.Counter(
            "refused_scrapes", "Requests for metrics that the system had no room for.", **ours
        )
        self._dated = client.Gauge(
            "knowledge_date_seconds",
            "The day up to which a part knows of changes, Unix time.",
            ["part", "name"],
            **ours,
        )
        self._current = client.Gauge(
            "knowledge_horizon_seconds", "The last day on which a part is current, Unix time.", ["part", "name"], **ours
        )
        for outcome in Outcome:
            self._probes.labels(outcome.value)
        for kind in WatchKind:
            self._events.labels(kind.value)

    @property
    def content_type(self) -> str:
        """Media type of `text`."""
        return str(self._prometheus.CONTENT_TYPE_LATEST)

    def text(self) -> bytes:
        """Everything in the text exposition format."""
        return bytes(self._prometheus.generate_latest(self._registry))

    def probed(self, probe: ProbeResult) -> None:
        """Count one probe; for `on_probe` of `Detector.watch`."""
        result = probe.result
        self._probes.labels(result.observation.outcome.value).inc()
        self._seconds.observe(probe.seconds)
        name = result.endpoint.name
        if name not in self._names:
            return
        for verdict in Verdict:
            self._verdict.labels(name, verdict.value).set(verdict is result.verdict)
        order = [None, *Confidence]
        self._confidence.labels(name).set(order.index(result.confidence))
        self._last.labels(name).set(probe.at.timestamp())

    def knows(self, knowledge: Iterable[Knowledge]) -> None:
        """Show how old the knowledge is that probes are assessed with from now on."""
        self._dated.clear()
        self._current.clear()
        for part in knowledge:
            for day, metric in ((part.date, self._dated), (part.horizon, self._current)):
                if day is not None:
                    metric.labels(part.kind.value, part.name).set(midnight(day).timestamp())

    def held(self) -> None:
        """Count a connection to `serve` that has to wait for another one to end."""
        self._held.inc()

    def refused(self) -> None:
        """Count a connection to `serve` that the system could not accept."""
        self._refused.inc()

    def reported(self, event: WatchEvent) -> None:
        """Count one event."""
        self._events.labels(event.kind.value).inc()
        for verdict in Verdict:
            self._network.labels(verdict.value).set(verdict is event.network.verdict)


def parse_place(text: str) -> tuple[str, int]:
    """Where to serve: PORT on loopback, or HOST:PORT. Raises `InputError`."""
    host, port = parse_address(f"{LOOPBACK}:{text}" if text.isdigit() else text, port=0)
    if not port:
        raise InputError(
            f"{text} names no port to serve at.", advice=f"Give PORT, or HOST:PORT such as {LOOPBACK}:9469."
        )
    return host, port


@contextlib.asynccontextmanager
async def serve(
    metrics: WatchMetrics, host: str = LOOPBACK, port: int = 0, *, connections: int = SCRAPES_DEFAULT
) -> AsyncIterator[tuple[str, int]]:
    """Hand out `metrics` at `PATH` over HTTP until the block ends, on so many connections at once.

    Gives the address served at. Raises `InputError` where that cannot be listened on.
    """
    serving: set[asyncio.Task[None]] = set()
    places = asyncio.Semaphore(connections)

    async def serve_scrape(connection: socket.socket) -> None:
        if places.locked():
            metrics.held()
        await places.acquire()
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=REQUEST_BYTES_MAX)
        except OSError:
            places.release()
            raise
        task = asyncio.get_running_loop().create_task(_answer(metrics, reader, writer))
        serving.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            serving.discard(task)
            writer.transport.abort()
            places.release()

        task.add_done_callback(ended)

    try:
        listening = await listen(host, port)
    except OSError as error:
        raise InputError(
            f"Metrics cannot be served at {host}:{port} ({reason_of(error)}).",
            advice="Give another address or port.",
        ) from error
    accepting = Accepting(listening, serve_scrape, refused=metrics.refused)
    try:
        yield listening[0].getsockname()[:2]
    finally:
        await accepting.stop()
        await cancel_and_wait(serving)


async def _answer(metrics: WatchMetrics, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request and close. A peer that is slow, gone or speaks something else gets nothing."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES_MAX)
    with contextlib.suppress(TimeoutError, OSError, h11.RemoteProtocolError):
        async with asyncio.timeout(SCRAPE_SECONDS):
            while (request := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(REQUEST_BYTES_MAX))
            if not isinstance(request, h11.Request):  # the peer has closed
                return
            status, kind, body = _respond(metrics, request)
            headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
            head = http.send(h11.Response(status_code=status, headers=headers))
            writer.write((head or b"") + (b"" if request.method == b"HEAD" else body))
            writer.close()
            await writer.wait_closed()


def _respond(metrics: WatchMetrics, request: h11.Request) -> tuple[int, str, bytes]:
    """Status, media type and body."""
    if request.method not in {b"GET", b"HEAD"}:
        return 405, "text/plain", b"Only GET and HEAD.\n"
    if request.target.partition(b"?")[0] != PATH:
        return 404, "text/plain", b"Metrics are at " + PATH + b".\n"
    return 200, metrics.content_type, metrics.text()
