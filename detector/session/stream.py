"""The one stream: a source of work, bounded and rate-limited probes, and incremental assessment with amendments.

Room: session. Starts tasks and one thread, and ends them before it returns, however it ends.

`Detector.scan`, the command `detector scan` and the fleet differ in what a job is, where it is probed and how many run
at once. `check` and the watch bound their probes by the same map, and give the same `judge.assess.Assessor` all
endpoints in one batch, after their follow-up: what that brings (a portal, HTTP dates, issuers) belongs to the context
of every endpoint, so every result before it would be amended. What is kept is bounded, whatever the number of jobs:
those in flight, and what `Assessor` keeps of results that can still change.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random as random_numbers
from itertools import count
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

from detector.aio.bounded_map import BoundedMap
from detector.aio.tasks import WorkerThread
from detector.judge import network_evidence
from detector.judge.assess import Added, Assessor
from detector.model import Outcome, Record
from detector.model.validate import whole_number

from .follow_up import Canaries
from .settings import CONCURRENCY_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Observation, Result

    from .session import Detector

LOG: Final = logging.getLogger("detector.session")

TRANSIENT: Final = frozenset(
    {
        Outcome.RESET,
        Outcome.CLOSED,
        Outcome.CONNECT_TIMEOUT,
        Outcome.HANDSHAKE_TIMEOUT,
        Outcome.DNS_FAILURE,
        Outcome.UNREACHABLE,
        Outcome.RESOURCES,
    }
)
"""Outcomes that may differ the next time. A refusal, an alert or a certificate is an answer."""

BACKOFF_SECONDS: Final = 1.0
"""Before the first retry; it doubles for each further one, and is jittered by half in both directions."""

DESTINATIONS_MAX: Final = 65536
"""Destinations whose next turn is remembered. Those whose turn has passed are forgotten first; only with this many
waiting at once would one be forgotten early, and then be connected to too soon."""

Job = TypeVar("Job")
Label = TypeVar("Label")


class StreamSettings(Record, frozen=True, kw_only=True):
    """Limits of a stream: jobs at once, connections a second in all and to one host, retries, seconds per endpoint."""

    concurrency: int = 256
    rate: float | None = None
    rate_per_destination: float | None = None
    retries: int = 1
    timeout: float = 10.0

    def __post_init__(self) -> None:
        """Validate. Raises `InputError`: with no room for a job a stream would wait for ever."""
        whole_number("concurrency", self.concurrency, least=1, most=CONCURRENCY_MAX)


class Probe(Protocol):
    """Probes one endpoint: `Detector.probe`, or another process."""

    def __call__(self, endpoint: Endpoint, *, timeout: float) -> Awaitable[tuple[Observation, ...]]:
        """Probe `endpoint` within `timeout` seconds."""


class Probed(NamedTuple, Generic[Label]):
    """Evidence of an endpoint, the caller's label for it, and the network it was seen on; `named` as in `Result`."""

    label: Label
    evidence: EndpointEvidence
    network: str = ""
    named: bool = False


class Assessed(NamedTuple, Generic[Label]):
    """A result with its label; `previous` is the result that it amends, None in a first one."""

    label: Label
    result: Result
    previous: Result | None
    network: str


class RateLimiter:
    """Spaces out connections: at most `rate` per second in all, `per_destination` to each one; None is no limit."""

    def __init__(self, rate: float | None = None, per_destination: float | None = None) -> None:
        self._gap = 0.0 if rate is None else 1 / rate
        self._destination_gap = 0.0 if per_destination is None else 1 / per_destination
        self._next = 0.0
        self._next_of: dict[str, float] = {}

    async def wait(self, destination: str) -> None:
        """Wait for the next turn to connect to `destination`. Turns are given in the order of the calls."""
        now = asyncio.get_running_loop().time()
        when = now
        if self._destination_gap:
            when = max(when, self._next_of.pop(destination, 0.0))
            self._next_of[destination] = when + self._destination_gap
            if len(self._next_of) > DESTINATIONS_MAX:
                self._forget(now)
        if self._gap:
            # A destination that has to wait does not delay the others: it takes its turn in the common queue, and waits
            # for its own time as well.
            mine = max(now, self._next)
            self._next = mine + self._gap
            when = max(when, mine)
        if when > now:
            await asyncio.sleep(when - now)

    def _forget(self, now: float) -> None:
        self._next_of = {key: when for key, when in self._next_of.items() if when > now}
        while len(self._next_of) > DESTINATIONS_MAX:
            self._next_of.pop(next(iter(self._next_of)))


_JITTER: Final = random_numbers.Random()  # noqa: S311 - no secret


class Prober:
    """Probes endpoints within the limits of the settings: rate limits, and retries after transient failures.

    `random` jitters the time between retries.
    """

    def __init__(self, probe: Probe, settings: StreamSettings, random: random_numbers.Random | None = None) -> None:
        self._probe: Final = probe
        self._settings: Final = settings
        self._random: Final = random or _JITTER
        limits = settings.rate, settings.rate_per_destination
        self._limiter: Final = None if limits == (None, None) else RateLimiter(*limits)

    async def __call__(self, endpoint: Endpoint) -> tuple[Observation, ...]:
        """Probe an endpoint, and again while failures are transient and retries are left.

        What a failed probe showed to its other hellos, or on its other routes, still counts.
        """
        shown: list[Observation] = []
        for attempt in count():
            if self._limiter is not None:
                await self._limiter.wait(endpoint.address[0] if endpoint.address else endpoint.host)
            seen, *others = await self._probe(endpoint, timeout=self._settings.timeout)
            if seen.outcome not in TRANSIENT or seen.chain or attempt >= self._settings.retries:
                break
            LOG.debug("%s: %s, retrying", endpoint.name, seen.outcome)
            shown += (other for other in others if other.chain)
            await asyncio.sleep(BACKOFF_SECONDS * 2**attempt * self._random.uniform(0.5, 1.5))
        return (seen, *others, *shown)


class _Entry(Generic[Label]):
    """A label, and the latest result for it."""

    def __init__(self, label: Label) -> None:
        self.label: Final = label
        self.result: Result | None = None


class StreamAssessor(Generic[Label]):
    """Assesses evidence in the order in which it comes, each network for itself, and amends earlier results."""

    def __init__(self, detector: Detector) -> None:
        self._detector: Final = detector
        self._networks: Final[dict[str, tuple[Assessor[_Entry[Label]], Canaries]]] = {}

    def assess(self, probed: Sequence[Probed[Label]]) -> tuple[list[Assessed[Label]], dict[str, tuple[Endpoint, ...]]]:
        """The results of this evidence, each followed by those of earlier evidence that it changes.

        Also returns the canaries to probe because of it, by network. May read files.
        """
        known = self._detector.remembered(one.evidence.endpoint for one in probed)
        results: list[Assessed[Label]] = []
        by_network: dict[str, list[EndpointEvidence]] = {}
        for label, seen, network, named in probed:
            assessor, canaries = self._network(network)
            evidence = seen
            if known is not None:
                evidence = seen.with_more(seen.context._replace(seen_before=known), seen.fetched)
            by_network.setdefault(network, []).append(evidence)
            canaries.note((evidence,), 0)
            for entry, result in assessor.add([Added(evidence, _Entry(label), named)]):
                previous, entry.result = entry.result, result
                results.append(Assessed(entry.label, result, previous, network))
        return results, {name: self._network(name)[1].wanted(every, 0) for name, every in by_network.items()}

    def _network(self, name: str) -> tuple[Assessor[_Entry[Label]], Canaries]:
        if name not in self._networks:
            self._networks[name] = (
                Assessor(remembered=network_evidence.STREAM_REMEMBERS),
                Canaries(self._detector.canaries),
            )
        return self._networks[name]


async def stream(
    detector: Detector,
    source: AsyncIterator[Job],
    probe: Callable[[Job], Coroutine[None, None, Sequence[Probed[Label]]]],
    *,
    follow_up: Callable[[str, Sequence[Endpoint]], Iterable[Job]],
    limit: int | Callable[[], int],
) -> AsyncGenerator[Assessed[Label], None]:
    """Probe every job of the source, at most `limit` at once, and yield results as they come, with amendments.

    Where something was not cleared, canaries are probed once per network: `follow_up` makes jobs of them. Evidence that
    comes within `BATCH_SECONDS` is assessed together, in a thread; jobs that wait for it or for the reader count
    towards the limit. Closing the generator cancels all probes. Raises what `source` or `probe` raises.
    """
    await detector.prepare()
    assessor: StreamAssessor[Label] = StreamAssessor(detector)
    probing = BoundedMap(source, probe, limit=limit)

    with WorkerThread() as thread:
        async with contextlib.aclosing(probing.batches()) as batches:
            async for batch in batches:
                probed = [one for each in batch for one in each]
                results, wanted = await thread.run(functools.partial(assessor.assess, probed))
                for network, canaries in wanted.items():
                    if canaries:
                        LOG.debug("follow-up %s: probing canaries %s", network, [each.name for each in canaries])
                        probing.add(follow_up(network, canaries))
                for result in results:
                    yield result
