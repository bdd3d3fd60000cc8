"""Runs the pipeline: probes endpoints, assesses what was observed, all within one deadline.

Room: session. Starts tasks and ends every one of them before it returns, cancelled or not. What is taken from the
machine comes through `seams`, what the caller chose through `settings`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import math
import time
from collections.abc import Collection, Container, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from detector import pins as pin_files
from detector.aio import descriptors
from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group, run_in_thread
from detector.errors import TimestampError
from detector.model import (
    Endpoint,
    Knowledge,
    KnowledgeKind,
    Observation,
    Outcome,
    Report,
    ResolutionObservation,
    Result,
)
from detector.model.validate import seconds
from detector.trust.budget import CHAIN_SECONDS, RUN_SECONDS, Budget
from detector.trust.certificate import Certificate
from detector.version import VERSION
from detector.watch.schedule import INTERVAL_DEFAULT

from . import preload, run
from .follow_up import Canaries, FollowUp
from .plan import Planner, read_route
from .seams import THIS_MACHINE, Seams, this_machine, utc_now
from .settings import Expectations, NetworkSettings, read_options

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Callable,
        Coroutine,
        Iterable,
        Sequence,
    )
    from types import TracebackType
    from typing import Self, TypeVar, Unpack

    from detector.judge import assess, evidence, network
    from detector.judge.evidence import Context, EndpointEvidence
    from detector.knowledge import age
    from detector.knowledge.client_hellos import HelloProfiles
    from detector.locate import locate
    from detector.locate.locate import Locating
    from detector.pins import PinSet
    from detector.probe import Dialer
    from detector.probe.http import timestamp as authorities
    from detector.probe.routes import pac
    from detector.probe.tls import client_hello
    from detector.trust import certificate_files
    from detector.trust import timestamp as timestamps
    from detector.trust.roots import Roots
    from detector.watch import runner
    from detector.watch.events import WatchEvent
    from detector.watch.runner import ProbeResult, WatchEnvironment

    from . import stream
    from .settings import DetectorOptions, TrustOptions
    from .stream import Probed

    Target = Endpoint | str
    Seen = TypeVar("Seen")
else:
    evidence = LazyModule("detector.judge.evidence")
    age = LazyModule("detector.knowledge.age")
    assess = LazyModule("detector.judge.assess")
    certificate_files = LazyModule("detector.trust.certificate_files")
    locate = LazyModule("detector.locate.locate")
    network = LazyModule("detector.judge.network")
    runner = LazyModule("detector.watch.runner")
    authorities = LazyModule("detector.probe.http.timestamp")
    client_hello = LazyModule("detector.probe.tls.client_hello")
    pac = LazyModule("detector.probe.routes.pac")
    stream = LazyModule("detector.session.stream")
    timestamps = LazyModule("detector.trust.timestamp")  # the extra `timestamp`

DEADLINE_DEFAULT: Final = 10.0
"""Seconds for one check. A slow interceptor needs a few seconds for its first certificate; people wait about ten."""
ASSESSMENT_RESERVE: Final = 0.5
"""Seconds of the deadline reserved for assessment and output. Measured: 0.05 s for a clean network, 0.3 s when a
private issuer appears (loading the suffix list), twice that on a machine whose cores are busy."""
RESERVE_SHARE: Final = 0.2
"""At most this share of a short deadline is reserved."""
BUDGET_SHARE: Final = 0.5
"""The share of the reserve that chains may take beyond their ordinary signatures (`trust.budget`)."""
CHAINS_EXCEEDING_LEAST: Final = 4
"""Chains that have exceeded their own share before others' are postponed, however short the deadline."""
LOADING_DELAY: Final = 0.005
"""Seconds before assessment is imported in the first probe: connecting goes first, and takes a millisecond or two."""


def run_budget(reserve: float | None = None) -> Budget:
    """Return the processor time for assessing one run: within the seconds reserved, or `trust.budget`'s default."""
    run_seconds = RUN_SECONDS if reserve is None else reserve * BUDGET_SHARE
    chain_seconds = min(CHAIN_SECONDS, run_seconds / (CHAINS_EXCEEDING_LEAST + 1))  # each takes a little more
    return Budget(time.thread_time, run_seconds=run_seconds, chain_seconds=chain_seconds)


class _Everything(Container[str]):
    """Contains every endpoint: the caller's own dialer decides where each is."""

    def __contains__(self, name: object) -> bool:
        return True


def assessment_context(expectations: Expectations, *, at: dt.datetime | None = None) -> Context:
    """Return what to assess a chain from elsewhere against, at `at` (UTC where it has no zone). No machine roots.

    Raises `RootsError`, `LogListError`.
    """
    if at is None:
        moment, roots = utc_now(), expectations.public_roots  # a clock that is wrong brings no former roots back
    else:
        moment = at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)
        roots = expectations.roots_at(moment.date())
    return evidence.Context(
        at=moment, data=expectations.data_set, roots=roots, logs=expectations.log_list, budget=run_budget()
    )


def examine(  # noqa: PLR0913 - keyword-only past the chain; each is one fact about it
    chain: Sequence[bytes] | bytes,
    *,
    host: str,
    port: int = 443,
    at: dt.datetime | None = None,
    key_proved: bool = True,
    password: str = "",
    **options: Unpack[TrustOptions],
) -> Result:
    """Assess a chain that was captured elsewhere. Offline; reads only the files that are named.

    Args:
        chain: DER certificates, leaf first, exactly as presented; or the content of a file of certificates in any of
            the formats of docs/examine.md.
        host: a DNS name or an address.
        port: the port, for pins.
        at: the moment to assess at (aware, UTC); now when None.
        key_proved: whether the chain comes from a completed handshake.
        password: the password of a PKCS #12 file.
        options: the fields of `Expectations`; without `pins` nothing is pinned.

    Raises:
        TargetError, PinFileError, RootsError, LogListError: never for anything in a chain of DER certificates.
        ChainError: for the content of a file without certificates, or with one that cannot be read.
    """
    host = pin_files.parse_host(host)
    if isinstance(chain, bytes):
        found = certificate_files.leaf_first(certificate_files.read(chain, password), host)
        chain, key_proved = found.certificates, key_proved and found.key_proved
    expectations = Expectations(**options)
    context = assessment_context(expectations, at=at)
    endpoint = Endpoint(host=host, port=port)
    if expectations.pins is not None:
        pin_set = expectations.pins_with(lambda: context.roots)
        context = context._replace(shared_pins=pin_files.shared_pins(pin_set.endpoints), vendor_pins=pin_set.knowledge)
        endpoint = _find(pin_set, host, port) or endpoint
    observation = Observation(
        outcome=Outcome.EXAMINED,
        key_proved=key_proved,
        chain=tuple(Certificate.read(der).presented() for der in chain),
    )
    return assess.assess_all([evidence.EndpointEvidence(endpoint, observation, context)], named={endpoint.name})[0]


def _find(pin_set: PinSet, host: str, port: int) -> Endpoint | None:
    return next((e for e in pin_set.endpoints if e.port == port and e.host == host), None)


class Detector:
    """Checks endpoints on this network. Use it as an async context manager; one detector may run many checks.

    Keyword arguments are the fields of `NetworkSettings` and `Expectations` (see there for the values and what they
    raise), or both as whole records: `network` and `expectations`. `locating` traces hops to what does not look
    genuine (docs/locate.md).

    Follow-up probes are made only where something was not cleared, and never with `offline`: issuers are fetched, HTTP
    dates and the control request for captive portals are requested, and canaries are probed.

    Raises:
        InputError: on construction, never later, for every setting and file that cannot be used.
    """

    def __init__(
        self,
        *,
        network: NetworkSettings | None = None,
        expectations: Expectations | None = None,
        locating: Locating | None = None,
        seams: Seams = THIS_MACHINE,
        **options: Unpack[DetectorOptions],
    ) -> None:
        network, expectations = read_options(options, network, expectations)
        self.network: Final = network
        self.expectations: Final = expectations
        self.data: Final = expectations.data_set
        if self.expectations.roots is not None or self.expectations.add_roots is not None:
            self.roots  # noqa: B018 - reads the files that were named: an error in them is raised here
        self.pins: Final = self.expectations.pin_set
        self.logs: Final = self.expectations.log_list
        self._seams: Final = seams
        self._usable_profiles: HelloProfiles | None = None
        self.locating: Final = locating
        rules, dialer = self.network.rules, seams.dialer
        given = frozenset(Endpoint(host=host, port=port).name for host, port in rules)
        self._given: Final[Container[str]] = given if dialer is None else _Everything()
        seen_before = self.expectations.seen_before
        self._seen_before: Final = seen_before if callable(seen_before) else frozenset(seen_before)
        self._planner: Final = Planner(
            read_route(self.network.route, self.network.proxy),
            rules,
            dialer,
            trusts=self._trusts,
            clock=seams.clock,
            resolver=seams.resolver,
            variants=self.network.variants,
            all_addresses=self.network.all_addresses,
            profiles=self._hello_profiles,
        )
        follow_up = FollowUp(
            self._planner.first_route,
            self._planner.issuer_route,
            rules,
            self.network.control,
            seams.clock,
            self._observe_one,
            self.canaries,
        )
        self._follow_up: Final = None if self.network.offline else follow_up

    @property
    def roots(self) -> Roots:
        """The public roots to assess by. Shipped ones are read when they are first needed: connecting goes first."""
        return self.expectations.public_roots

    @property
    def vantage(self) -> str:
        """The caller's name for the place this runs from."""
        return self.network.vantage

    @property
    def knowledge(self) -> tuple[Knowledge, ...]:
        """What chains are assessed with, and how old it is."""
        return age.used(self.roots, self.logs, self.data, self.pins.knowledge)

    @functools.cached_property
    def _shared_pins(self) -> Container[bytes]:
        return pin_files.shared_pins(self.pins.endpoints)

    def _hello_profiles(self) -> HelloProfiles:
        """Return what browsers send; that of an update only where hellos can be written from it."""
        kind, profiles = KnowledgeKind.CLIENT_HELLOS, self.data.client_hellos
        if profiles is not self._usable_profiles and self.data.is_updated(kind):
            reason = client_hello.unusable(profiles)
            if reason is not None and self.data.leave_out(kind, f"{self.data.path_of(kind)}: {reason}."):
                profiles = self.data.client_hellos
        self._usable_profiles = profiles
        return profiles

    def canaries(self) -> tuple[Endpoint, ...]:
        """Return the canaries that a follow-up probe chooses from; none with `offline`. May read files."""
        return () if self.network.offline else self.expectations.known_canaries()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: nothing outlives a call so far."""

    def endpoints(self, targets: Iterable[Target] | None) -> tuple[Endpoint, ...]:
        """Return the endpoints to check: the targets (with their pins), or all pinned ones. Raises `TargetError`."""
        if targets is None:
            return self.pins.endpoints
        if isinstance(targets, str):  # one target, not its letters
            targets = (targets,)
        return tuple(dict.fromkeys(self._endpoint(target) for target in targets))

    def _endpoint(self, target: Target) -> Endpoint:
        if isinstance(target, Endpoint):
            return target
        host, port = pin_files.parse_target(target)
        return _find(self.pins, host, port) or Endpoint(host=host, port=port)

    async def check(
        self,
        targets: Iterable[Target] | None = None,
        *,
        deadline: float = DEADLINE_DEFAULT,
    ) -> Report:
        """Probe every endpoint and assess them together: one report, within `deadline` seconds.

        `targets` are `HOST[:PORT]` or URLs, or `Endpoint` records; None checks every pinned endpoint. What could not be
        finished in time is inconclusive in the report. Never raises for network reasons. Raises `InputError` for
        targets and a deadline that cannot be used.
        """
        started = self._seams.clock()
        endpoints = None if targets is None else self.endpoints(targets)
        observed = await self._observe_run(endpoints, deadline)
        named = frozenset(endpoint.name for endpoint in endpoints or ())
        return await report_of(self, observed, started=started, named=named)

    async def _observe_run(
        self, targets: Iterable[Target] | None, deadline: float, repeats: run.Repeats | None = None
    ) -> tuple[EndpointEvidence, ...]:
        begin = asyncio.get_running_loop().time()
        deadline = seconds("deadline", deadline)
        endpoints = self.endpoints(targets)
        if not preload.is_probing_loaded():
            await run_in_thread(preload.probing)
        reserve = min(ASSESSMENT_RESERVE, deadline * RESERVE_SHARE)
        until = begin + max(deadline - reserve, 0.0)
        canaries = Canaries(self.canaries)
        observing = self._observe_all(endpoints, reserve, until, canaries)
        once, again = await self._repeatedly(observing, endpoints, repeats or self._repeats, until)
        if not again:
            return once
        observed = tuple(one.with_further(again.get(number, ())) for number, one in enumerate(once))
        if self._follow_up is None or not any(map(_shows_more, observed, once)):
            return observed
        return await self._follow_up(observed, until, canaries=canaries)

    async def _observe_all(
        self, endpoints: Sequence[Endpoint], reserve: float, until: float, canaries: Canaries
    ) -> tuple[EndpointEvidence, ...]:
        """Return the evidence of one probe of every endpoint, and what a follow-up and tracing add to it."""
        async with Group() as group:
            group.create_task(self._preload_assessment())
            observing = group.create_task(self._observe(endpoints, until))
            comparing = group.create_task(self._compare_resolvers(endpoints, until))
            recalling = group.create_task(self._recall(endpoints, until))
        observations, compared = observing.result(), comparing.result()
        context = self._context(endpoints)._replace(budget=run_budget(reserve), seen_before=recalling.result())
        observed = tuple(
            evidence.EndpointEvidence(endpoint, first, context, others=others)
            for endpoint, (first, *others) in zip(endpoints, observations, strict=True)
        )
        if compared is not None:
            observed = self._with_second_resolver(observed, context, *compared)
        if self._follow_up is not None:
            observed = await self._follow_up(observed, until, canaries=canaries)
        if self.locating is not None:
            observed = await locate.add_hops(observed, self.locating, until)
        return observed

    async def _repeatedly(
        self, observing: Coroutine[None, None, Seen], endpoints: Sequence[Endpoint], times: run.Repeats, until: float
    ) -> tuple[Seen, dict[int, tuple[Observation, ...]]]:
        """Return what `observing` gives, and what probing again showed of these endpoints, by their place."""
        again = [n for n, one in enumerate(endpoints) if times.names is None or one.name in times.names]
        if times.probes == 1 or not again:
            return await observing, {}
        chosen = [endpoints[number] for number in again]
        async with Group() as group:
            first = group.create_task(observing)
            repeating = group.create_task(
                run.repeat(lambda those: self._observe(those, until, further=False), chosen, first, times, until)
            )
        return first.result(), dict(zip(again, repeating.result(), strict=True))

    @property
    def _repeats(self) -> run.Repeats:
        return run.Repeats(self.network.probes or 1, self.network.spread)

    def _with_second_resolver(
        self,
        observed: tuple[EndpointEvidence, ...],
        context: Context,
        resolver: Endpoint,
        observation: Observation,
        answers: Mapping[str, ResolutionObservation],
    ) -> tuple[EndpointEvidence, ...]:
        """Add a second resolver's answers to the evidence, and the resolver as an endpoint of its own."""
        added = tuple(
            one.with_observation(msgspec.structs.replace(one.observation, resolution=answers.get(one.endpoint.host)))
            for one in observed
        )
        if any(one.endpoint.name == resolver.name for one in observed):
            return added
        endpoint = _find(self.pins, resolver.host, resolver.port) or resolver
        return (*added, evidence.EndpointEvidence(endpoint, observation, context))

    async def _recall(self, endpoints: Sequence[Endpoint], until: float) -> Collection[str]:
        """Return which of these endpoints were genuine before, as far as that is known by loop time `until`."""
        if not callable(self._seen_before):
            return self._seen_before
        try:
            async with asyncio.timeout_at(until):
                return await run_in_thread(lambda: self.remembered(endpoints)) or ()
        except TimeoutError:
            return ()

    def remembered(self, endpoints: Iterable[Endpoint]) -> Collection[str] | None:
        """Return which of these endpoints (`host:port`) were genuine in the history; None without a history.

        May read files: call it in a thread.
        """
        known = self._seen_before
        return known([endpoint.name for endpoint in endpoints]) if callable(known) else None

    async def scan(
        self,
        targets: Iterable[Target] | AsyncIterable[Target],
        *,
        timeout: float = DEADLINE_DEFAULT,  # noqa: ASYNC109 - per target, enforced by the probe itself
    ) -> AsyncGenerator[Result, None]:
        """Probe any number of targets and yield each result as it comes, at most `concurrency` in flight.

        Each target has `timeout` seconds. A result is assessed by what was seen up to then. Where later targets show
        more, it is yielded again and `amends` says so: it replaces the earlier one of the same endpoint. Where
        something was not cleared, canaries are probed once, and their results, of category `canary`, are among the
        others (see `Detector`). Results that wait for the reader count as in flight. Raises `TargetError`.
        """
        await self.prepare()
        settings = stream.StreamSettings(concurrency=self.network.concurrency, retries=0, timeout=timeout)
        prober = stream.Prober(self.probe, settings)

        async def probe(endpoint: Endpoint) -> tuple[Probed[Endpoint]]:
            first, *others = await prober(endpoint)
            seen = evidence.EndpointEvidence(endpoint, first, self._context(), others=others)
            return (stream.Probed(endpoint, seen, named=not endpoint.canary),)

        source = (self._endpoint(target) async for target in _asynchronously(targets))
        limit = descriptors.probes_at_once(settings.concurrency)
        results = stream.stream(self, source, probe, follow_up=lambda _, canaries: canaries, limit=limit)
        async with contextlib.aclosing(results):
            async for assessed in results:
                yield assessed.result

    async def prepare(self) -> None:
        """Import what probing and assessing need, and read the roots, in a thread, before the first of many probes."""
        if not (preload.is_probing_loaded() and preload.is_assessing_loaded()):
            await run_in_thread(preload.everything)
        await self._read_roots()

    def watch(  # noqa: PLR0913 - keyword-only past the targets; each is one choice a caller may make
        self,
        targets: Iterable[Target] | None = None,
        *,
        interval: float = INTERVAL_DEFAULT,
        deadline: float = DEADLINE_DEFAULT,
        duration: float = math.inf,
        stop: asyncio.Event | None = None,
        on_probe: Callable[[ProbeResult], None] | None = None,
        environment: WatchEnvironment | None = None,
        renewed: Callable[[], Detector] | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Probe every endpoint again and again, and yield an event whenever something changed (docs/watch.md).

        `targets` as in `check`. Each endpoint is probed once per `interval` seconds on average, on a fresh connection,
        at unpredictable times; one probe takes at most `deadline` seconds. The watch ends after `duration` seconds or
        when `stop` is set, with an event that says so, or when it is closed (`contextlib.aclosing`), which leaves no
        task and no connection. `on_probe` is called after every probe, changed or not. `environment` replaces this
        machine's clock, networks and randomness. `renewed` is called before each probe and returns the detector to
        probe with, this one or one with newer knowledge.

        Never raises for network reasons. Raises `TargetError`, and `InputError` for times that are not positive and
        when there is nothing to watch, at once.
        """
        endpoints = tuple({endpoint.name: endpoint for endpoint in self.endpoints(targets)}.values())
        budget, renewed = run_budget(), renewed or (lambda: self)
        canaries = Canaries(lambda: renewed().canaries(), again_after=interval)

        async def probe(endpoint: Endpoint, until: float) -> tuple[EndpointEvidence, ...]:
            current = renewed()
            return await current._watched(current.expected(endpoint), until, endpoints, canaries, budget)  # noqa: SLF001 - of the same class

        return runner.Watcher(
            endpoints=endpoints,
            probe=probe,
            budget=budget,
            wall=self._seams.clock,
            options=runner.WatchOptions(interval, deadline, duration, self.network.concurrency),
            environment=environment
            or runner.WatchEnvironment(networks=self._planner.local_networks() or runner.no_networks),
            named=() if targets is None else [endpoint.name for endpoint in endpoints],
            vantage=self.vantage,
            stop=stop,
            on_probe=on_probe,
        ).events()

    async def _watched(
        self, endpoint: Endpoint, until: float, watched: Sequence[Endpoint], canaries: Canaries, budget: Budget
    ) -> tuple[EndpointEvidence, ...]:
        """Return the evidence on one endpoint before loop time `until`, and on canaries that a follow-up probed."""
        first, *others = await self._probe_repeatedly(self._observe_one(endpoint, until), endpoint, until)
        await self._read_roots()
        known = await self._recall((endpoint,), until)
        context = self._context()._replace(budget=budget, seen_before=known)
        observed = (evidence.EndpointEvidence(endpoint, first, context, others=others),)
        if self._follow_up is None:
            return observed
        return await self._follow_up(observed, until, alongside=watched, canaries=canaries)

    def expected(self, endpoint: Endpoint) -> Endpoint:
        """Return the pinned endpoint of this host and port, at the address of `endpoint`; or `endpoint` itself.

        A canary is complete already.
        """
        pinned = None if endpoint.canary else _find(self.pins, endpoint.host, endpoint.port)
        if pinned is None:
            return endpoint
        return pinned if endpoint.address is None else msgspec.structs.replace(pinned, address=endpoint.address)

    async def probe(self, endpoint: Endpoint, *, timeout: float = DEADLINE_DEFAULT) -> tuple[Observation, ...]:  # noqa: ASYNC109 - see `scan`
        """Return what probing one endpoint within `timeout` seconds showed: the usual probe's observation comes first.

        Nothing is assessed, and no follow-up is made.
        """
        until = asyncio.get_running_loop().time() + seconds("timeout", timeout)
        return await self._probe_repeatedly(run.probe_endpoint(self._planner, endpoint, until), endpoint, until)

    async def timestamp(self, data: bytes, url: str, *, timeout: float = DEADLINE_DEFAULT) -> bytes:  # noqa: ASYNC109 - see `scan`
        """Return the answer of the time-stamping authority at `url` (http or https) over `data`, such as a manifest.

        The usual route is taken, within `timeout` seconds. Raises `TimestampError` where the authority cannot be asked,
        or its answer is not one to this request, and `MissingExtraError` without the extra `timestamp`.
        """
        until = asyncio.get_running_loop().time() + seconds("timeout", timeout)
        asked = timestamps.query(data)
        await self._planner.read_machine_settings()
        try:
            answer = await authorities.ask(url, asked.encoded, dialer_for=self._planner.first_route, deadline=until)
            timestamps.check_answer(answer, asked)
        except ValueError as error:
            advice = "Try again, or ask another time-stamping authority."
            raise TimestampError(f"{pac.shown(url)}: {error}.", advice=advice) from error
        return answer

    async def route_to(self, endpoint: Endpoint) -> Dialer:
        """Return the usual route to an endpoint, for connections that are no probes."""
        await self._planner.read_machine_settings()
        return self._planner.first_route(endpoint)

    async def _preload_assessment(self) -> None:
        """Import what assessment needs, and read the roots, in a thread while the network is waited for."""
        if not preload.is_assessing_loaded() or not self._has_roots:
            await asyncio.sleep(LOADING_DELAY)
            await run_in_thread(preload.assessing)
            await self._read_roots()

    async def _read_roots(self) -> None:
        """Read the roots in a thread."""
        if not self._has_roots:
            await run_in_thread(lambda: self.roots)

    @property
    def _has_roots(self) -> bool:
        return "public_roots" in vars(self.expectations)

    def _context(self, endpoints: Sequence[Endpoint] = ()) -> Context:
        pinned = self._shared_pins if not endpoints else pin_files.shared_pins((*self.pins.endpoints, *endpoints))
        machine = this_machine(self.data)
        return evidence.Context(
            at=self._seams.clock(),
            data=self.data,
            roots=self.roots,
            logs=self.logs,
            machine_roots=self._seams.machine_roots or machine.roots,
            installed_at=self._seams.installed_at or machine.installed_at,
            given=self._given,
            shared_pins=pinned,
            vendor_pins=self.pins.knowledge,
            seen_before=() if callable(self._seen_before) else self._seen_before,
            budget=run_budget(),
        )

    async def _observe(
        self, endpoints: Sequence[Endpoint], until: float, *, further: bool = True
    ) -> list[tuple[Observation, ...]]:
        """Return the observations of each endpoint; without `further`, those of its first probe."""
        planner, further = self._planner, further and self._planner.has_further
        return await run.probe_all(
            endpoints,
            functools.partial(run.probe_first, planner, until=until),
            limit=max(self.network.concurrency // self.network.variants.per_endpoint, 1),
            until=until,
            probe_further=functools.partial(run.probe_further, planner, until=until) if further else None,
        )

    async def _probe_repeatedly(
        self, probing: Coroutine[None, None, tuple[Observation, ...]], endpoint: Endpoint, until: float
    ) -> tuple[Observation, ...]:
        """Return the observations of one endpoint, probed as often as the settings say."""
        (first, *others), again = await self._repeatedly(probing, (endpoint,), self._repeats, until)
        return (first, *again.get(0, ()), *others)

    async def _observe_one(self, endpoint: Endpoint, until: float) -> tuple[Observation, ...]:
        return (await self._observe((endpoint,), until))[0]

    async def _compare_resolvers(
        self, endpoints: Sequence[Endpoint], until: float
    ) -> tuple[Endpoint, Observation, dict[str, ResolutionObservation]] | None:
        if self.network.doh is None:
            return None
        return await self._planner.compare_resolvers(self.network.doh, endpoints, until)

    def _trusts(self, host: str, port: int, observation: Observation) -> bool:
        """Return whether an ordinary client on this machine would accept this as `host`."""
        return evidence.EndpointEvidence(Endpoint(host=host, port=port), observation, self._context()).trusted_here


def context_of(detector: Detector, endpoints: Sequence[Endpoint] = ()) -> Context:
    """Return what to assess one run against, as of now. `endpoints` may have pins that the pin set lacks."""
    return detector._context(endpoints)  # noqa: SLF001 - for other rooms: a context is no public record


async def observe(
    detector: Detector,
    targets: Iterable[Target] | None = None,
    *,
    deadline: float = DEADLINE_DEFAULT,
    repeats: run.Repeats | None = None,
) -> tuple[EndpointEvidence, ...]:
    """Return the evidence that `Detector.check` assesses; for other rooms, as `report_of`.

    `repeats` takes precedence over `probes` and `spread` of the settings.
    """
    return await detector._observe_run(targets, deadline, repeats)  # noqa: SLF001 - evidence is no public record


async def report_of(
    detector: Detector, observed: Sequence[EndpointEvidence], *, started: dt.datetime, named: Collection[str] = ()
) -> Report:
    """Assess what `observe` returned. `started` is when that began, `named` as in `network.decide_network`.

    Done in a thread: verifying signatures takes milliseconds for each endpoint.
    """
    return await run_in_thread(
        lambda: network.report(
            assess.assess_all(observed, named=named),
            observed[0].context if observed else context_of(detector),
            started=started,
            finished=detector._seams.clock(),  # noqa: SLF001 - of this module
            vantage=detector.vantage,
            version=VERSION,
            named=named,
        )
    )


def _shows_more(after: EndpointEvidence, before: EndpointEvidence) -> bool:
    """Return whether there is a leaf among the observations that was not among those before."""
    leaves, known = (
        {seen.chain[0].sha256 for seen in (one.observation, *one.others) if seen.chain} for one in (after, before)
    )
    return not leaves <= known


async def _asynchronously(targets: Iterable[Target] | AsyncIterable[Target]) -> AsyncIterator[Target]:
    if hasattr(targets, "__aiter__"):
        async for target in targets:
            yield target
    else:
        for target in targets:
            yield target


async def check(
    targets: Iterable[Target] | None = None,
    *,
    deadline: float = DEADLINE_DEFAULT,
    **options: Unpack[DetectorOptions],
) -> Report:
    """Check this network once: `Detector(**options).check(targets, deadline=deadline)`."""
    async with await run_in_thread(lambda: Detector(**options)) as detector:
        return await detector.check(targets, deadline=deadline)
