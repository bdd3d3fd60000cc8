"""Conducts the pipeline: endpoints to probe, observations to judge, under one deadline.

Room: session. The only room that reads the clock and the machine's settings for the others; it starts tasks and ends
every one of them before it returns, cancelled or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import math
import sys
import threading
import time
from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from detector import pins as pin_files
from detector.aio.lazy import LazyModule
from detector.aio.tasks import Beside, Group, end, off_loop
from detector.model import (
    Endpoint,
    Engine,
    Knowledge,
    Observation,
    Outcome,
    Report,
    ResolutionObservation,
    Result,
    RootOrigin,
)
from detector.trust import logs as ct_logs
from detector.trust import roots as trusted
from detector.trust.budget import CHAIN_SECONDS, RUN_SECONDS, Budget
from detector.trust.certificate import Certificate
from detector.trust.known_roots import known_labels, known_root_keys
from detector.version import VERSION
from detector.watch.schedule import INTERVAL_DEFAULT

from .follow_up import CANARIES_LEAST, DEFAULT_CONTROL, Canaries, Control, FollowUp, known_canaries, one_per_operator
from .plan import MACHINE, Routing, read_resolver, read_route
from .probing import Ways

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from detector import knowledge
    from detector.aio import bounded_map
    from detector.judge import assess, evidence, network, network_evidence
    from detector.judge.evidence import Context, EndpointEvidence
    from detector.locate.locate import Locating
    from detector.pins import PinSet
    from detector.probe import Dialer
    from detector.probe.routes import Resolver
    from detector.trust.logs import LogList
    from detector.trust.roots import Roots, TrustedRoots
    from detector.watch import runner
    from detector.watch.events import WatchEvent
    from detector.watch.runner import Look, Surroundings

    PinSource = PinSet | str | Path | Sequence[str | Path | Endpoint]
    RootSource = Roots | str | Path
    ResolveRules = Mapping[tuple[str, int], tuple[str, int]] | Iterable[str]
    LogSource = LogList | str | Path
    Target = Endpoint | str
    SeenBefore = Collection[str] | Callable[[Collection[str]], Collection[str]]

if not TYPE_CHECKING:
    bounded_map = LazyModule("detector.aio.bounded_map")
    evidence = LazyModule("detector.judge.evidence")
    knowledge = LazyModule("detector.knowledge")
    assess = LazyModule("detector.judge.assess")
    network = LazyModule("detector.judge.network")
    network_evidence = LazyModule("detector.judge.network_evidence")
    runner = LazyModule("detector.watch.runner")

DEADLINE_DEFAULT: Final = 10.0
"""Seconds for one check. A slow interceptor needs a few seconds for its first certificate; people wait about ten."""
CONCURRENCY_DEFAULT: Final = 64
"""Connections at once: below the usual limit of 256 open files, enough for every shipped endpoint in one go."""
JUDGING_RESERVE: Final = 0.5
"""Seconds kept back from the deadline for judging and writing. Measured: 0.05 s for a clean network, 0.3 s when a
private issuer appears (loading the suffix list), twice that on a machine whose cores are busy."""
RESERVE_SHARE: Final = 0.2
"""At most this share of a short deadline is kept back."""
BUDGET_SHARE: Final = 0.5
"""The share of what is kept back that chains may take beyond their ordinary signatures (`trust.budget`)."""
CHAINS_EXCEEDING_LEAST: Final = 4
"""Chains that have exceeded their own share before others' are postponed, however short the deadline."""
MACHINE_WAIT: Final = 0.2
"""Seconds that judging waits, once, for the trust stores of this machine. On Linux the files among them are read in
0.05, with imports in 0.15; a program that has to be asked takes as long again. With the 0.3 that judging takes where
somebody's own CA appears, it is what `JUDGING_RESERVE` keeps back."""
LOADING_DELAY: Final = 0.005
"""Seconds before judging is imported at the first look: connecting goes first, and takes a millisecond or two."""
OVERRUN: Final = 0.2
"""Seconds after which a probe that did not end by itself at its deadline is cancelled."""


def utc_now() -> dt.datetime:
    """The time, in UTC: the one place where the clock on the wall is read."""
    return dt.datetime.now(dt.UTC)


def _read_machine_trust() -> Iterator[TrustedRoots]:
    """What this machine trusts: at first only which roots, then with what its stores say about each."""
    listed = trusted.machine_roots()
    yield trusted.TrustedRoots(listed.without(known_root_keys()), {})
    listed = listed.with_added(trusted.certifi_bundle().added)
    from detector.audit.machine import read_stores  # noqa: PLC0415 - readers that are needed only behind a machine root
    from detector.audit.trusted import merge  # noqa: PLC0415 - as above

    for scanned in read_stores():
        known = merge(listed, scanned)
        yield known
        if all(root.origin is not RootOrigin.UNKNOWN for root in known.roots.roots):
            return  # so no program of the system has to be asked


class MachineTrust:
    """The roots that this machine trusts and that were never public: how each came there, and when.

    The stores are read once, by a thread that is started when they are first needed: programs of the operating system
    can take seconds. No verdict waits for it longer than `wait` seconds in all. A root whose origin was not read by
    then has an unknown one, which accuses mildly; what was read meanwhile counts from then on.

    `read` runs in that thread and yields what is known, each time more.
    """

    def __init__(
        self, read: Callable[[], Iterator[TrustedRoots]] = _read_machine_trust, *, wait: float = MACHINE_WAIT
    ) -> None:
        self._read = read
        self._wait = wait
        self._known: TrustedRoots | None = None
        self._reader: threading.Thread | None = None
        self._until = 0.0
        self._starting = threading.Lock()

    def _start(self) -> None:
        with self._starting:
            if self._reader is None:
                self._until = time.monotonic() + self._wait
                self._reader = threading.Thread(target=self._keep, name="trust stores", daemon=True)
                self._reader.start()

    def roots(self) -> Roots:
        """The roots, each with its origin."""
        known = self._now()
        return trusted.NO_ROOTS if known is None else known.roots

    def installed_at(self, sha256: bytes) -> dt.datetime | None:
        """When the root with this hash came to this machine, or None."""
        known = self._now()
        return None if known is None else known.installed_at.get(sha256)

    def _now(self) -> TrustedRoots | None:
        self._start()
        if self._reader is not None:
            self._reader.join(max(self._until - time.monotonic(), 0.0))
        return self._known

    def _keep(self) -> None:
        for known in self._read():
            self._known = known


this_machine: Final = MachineTrust()


def resolve_roots(
    roots: RootSource | None, add_roots: RootSource | None = None, *, at: dt.datetime | None = None
) -> Roots:
    """The public roots to judge by: those given, as they are; else those of the knowledge, as of `at`.

    Raises `RootsError`.
    """
    public = trusted.public_roots(None if at is None else at.date()) if roots is None else _roots(roots)
    return public if add_roots is None else public.with_added(_roots(add_roots))


def _roots(source: RootSource) -> Roots:
    return trusted.load(source) if isinstance(source, str | Path) else source


def resolve_logs(logs: LogSource | None) -> LogList:
    """The CT logs to judge by. Raises `LogListError`."""
    if logs is None:
        return ct_logs.shipped()
    return ct_logs.load(logs) if isinstance(logs, str | Path) else logs


class _Labels(Collection[str]):
    """What public roots are called: known ones, and those that `roots` gives, asked only for a name nobody knows."""

    def __init__(self, roots: Callable[[], Roots]) -> None:
        self._roots = roots

    def __contains__(self, label: object) -> bool:
        return label in known_labels() or label in self._roots().labels

    def __iter__(self) -> Iterator[str]:
        return iter(known_labels() | self._roots().labels)

    def __len__(self) -> int:
        return len(known_labels() | self._roots().labels)


def resolve_pins(pins: PinSource | None, roots: Callable[[], Roots]) -> PinSet:
    """The pins to judge by: a set, files or directories, endpoints, or (when None) the shipped files.

    `roots` gives the public roots, where a pin file names one that certifi never had. Raises `PinFileError`.
    """
    labels = _Labels(roots)
    if pins is None:
        return pin_files.shipped(root_labels=labels)
    if isinstance(pins, pin_files.PinSet):
        return pins
    if isinstance(pins, str | Path):
        return pin_files.load(pins, root_labels=labels)
    endpoints = tuple(source for source in pins if isinstance(source, Endpoint))
    paths = [source for source in pins if not isinstance(source, Endpoint)]
    if not paths:
        return pin_files.PinSet(name="given", endpoints=endpoints)
    loaded = pin_files.load(paths, root_labels=labels)
    return msgspec.structs.replace(loaded, endpoints=(*endpoints, *loaded.endpoints))


def resolve_rules(rules: ResolveRules | None) -> dict[tuple[str, int], tuple[str, int]]:
    """Where to connect instead of resolving: a mapping, or rules spelled HOST:PORT:ADDRESS:PORT.

    Raises `TargetError`.
    """
    if rules is None:
        return {}
    if isinstance(rules, Mapping):
        return dict(rules)
    return dict(pin_files.parse_rule(rule) for rule in rules)


def run_budget(kept_back: float | None = None) -> Budget:
    """Processor time for judging one run: by default what `trust.budget` says, else within the seconds kept back."""
    seconds = RUN_SECONDS if kept_back is None else kept_back * BUDGET_SHARE
    chain_seconds = min(CHAIN_SECONDS, seconds / (CHAINS_EXCEEDING_LEAST + 1))  # each takes a little more
    return Budget(time.thread_time, run_seconds=seconds, chain_seconds=chain_seconds)


class _Everything(Container[str]):
    """Contains every endpoint: where a caller's own dialer leads is where the caller says."""

    def __contains__(self, name: object) -> bool:
        return True


def judging_context(
    *,
    at: dt.datetime | None = None,
    roots: RootSource | None = None,
    add_roots: RootSource | None = None,
    logs: LogSource | None = None,
) -> Context:
    """What to judge a chain from elsewhere against. This machine's own roots have no say in it.

    Raises `RootsError`, `LogListError`.
    """
    moment = _aware(at)
    past = None if at is None else moment  # a clock that is wrong brings no roots of the past back
    return evidence.Context(
        at=moment, roots=resolve_roots(roots, add_roots, at=past), logs=resolve_logs(logs), budget=run_budget()
    )


def examine(  # noqa: PLR0913 - keyword-only past the chain; each is one fact about where the chain came from
    chain: Sequence[bytes],
    *,
    host: str,
    port: int = 443,
    at: dt.datetime | None = None,
    pins: PinSource | None = None,
    roots: RootSource | None = None,
    add_roots: RootSource | None = None,
    logs: LogSource | None = None,
    key_proved: bool = True,
) -> Result:
    """Judge a chain that was captured elsewhere. Offline and pure, but for reading the files that are named.

    `chain`: DER certificates, leaf first, exactly as presented. `host` is a DNS name or an address. `at` is the
    moment to judge at (aware, UTC; now when None). `pins` are pin files, a directory or a `PinSet`; without them
    nothing is pinned. The chain is taken as coming from a completed handshake unless `key_proved` is False.

    Raises `TargetError`, `PinFileError`, `RootsError`, `LogListError`; never for anything in the chain.
    """
    host = pin_files.parse_host(host)
    context = judging_context(at=at, roots=roots, add_roots=add_roots, logs=logs)
    endpoint = Endpoint(host=host, port=port)
    if pins is not None:
        pin_set = resolve_pins(pins, lambda: context.roots)
        context = context._replace(shared_pins=pin_files.shared_pins(pin_set.endpoints))
        endpoint = _find(pin_set, host, port) or endpoint
    observation = Observation(
        outcome=Outcome.EXAMINED,
        key_proved=key_proved,
        chain=tuple(Certificate.read(der).presented() for der in chain),
    )
    return assess.assess_all([evidence.EndpointEvidence(endpoint, observation, context)])[0]


def _aware(at: dt.datetime | None) -> dt.datetime:
    if at is None:
        return utc_now()
    return at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)


def _find(pin_set: PinSet, host: str, port: int) -> Endpoint | None:
    return next((e for e in pin_set.endpoints if e.port == port and e.host == host), None)


class Detector:
    """Checks endpoints on this network. Use as an async context manager; one detector may run many checks.

    `pins`, `roots`, `add_roots`, `logs` as in `examine`, but `pins=None` means the shipped endpoints. `route` says what
    ways to take: `all`, or several of `direct`, `direct4`, `direct6` and `proxy` with commas between them; or just a
    proxy setting. `proxy` is that setting otherwise: `system` (the default: the machine's settings, else those of the
    environment), `env` (the environment's), a proxy URL, `pac:` with the URL or path of a proxy file, or `none`.
    `all_addresses` looks at every address of a host, and at its RSA and its ECDSA certificate; `doh` is the https URL
    of a second resolver (docs/routes.md).
    `resolve` maps (host, port) to (address, port), or is a list of rules HOST:PORT:ADDRESS:PORT, as curl's
    --connect-to. `vantage` names where this runs, in the caller's words; it goes into the report. `quic` looks at each
    endpoint over QUIC too (extra `quic`), `hello` says with which ClientHello: `default`, `browser`, or `both` (extra
    `browser`), `engine` what makes the handshakes (`detector.model.Engine`). `machine_roots` gives roots that
    were never public, with their origins, and is called only when a chain has no accepted path; `installed_at` says
    when one of them came there. `dialer` replaces the network (see `detector.probe.mock.MockNetwork`), `resolver` name
    resolution (`probe.routes.resolving`). An address that `resolve` or a `dialer` gives counts as the caller's.

    Follow-up probes are made only where something was not cleared, and never with `offline`: issuers are fetched, HTTP
    dates asked for, `control`, the control request for captive portals, is made, and canaries are probed. `canaries`
    are those to choose from: of each operator that runs a CA of its own, one; by default those among the `pins`, or
    else the shipped ones. `seen_before` are endpoints (`host:port`) that are known to have been genuine, or a function
    that says which of some names are; it is called in a thread. `locating` has hops traced to what does not look
    genuine (docs/locate.md). `clock` gives the time.

    Raises `PinFileError`, `RootsError`, `LogListError`, `ProxyError`, `MissingExtraError` on construction: never later.
    """

    def __init__(  # noqa: PLR0913 - keyword-only; each is one choice a caller may make
        self,
        *,
        pins: PinSource | None = None,
        roots: RootSource | None = None,
        add_roots: RootSource | None = None,
        logs: LogSource | None = None,
        route: str = MACHINE,
        proxy: str | None = None,
        all_addresses: bool = False,
        doh: str | None = None,
        resolve: ResolveRules | None = None,
        vantage: str = "",
        quic: bool = False,
        hello: str = "default",
        engine: str = Engine.AUTO,
        concurrency: int = CONCURRENCY_DEFAULT,
        machine_roots: Callable[[], Roots] = this_machine.roots,
        installed_at: Callable[[bytes], dt.datetime | None] = this_machine.installed_at,
        dialer: Dialer | None = None,
        resolver: Resolver | None = None,
        offline: bool = False,
        control: Control | None = DEFAULT_CONTROL,
        canaries: Sequence[Endpoint] | None = None,
        seen_before: SeenBefore = (),
        locating: Locating | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self._root_sources: Final = (roots, add_roots)
        if self._root_sources != (None, None):
            self.roots  # noqa: B018 - reads the files that were named: what is wrong with them is told here
        self.pins: Final = resolve_pins(pins, lambda: self.roots)
        self.logs: Final = resolve_logs(logs)
        self.vantage: Final = vantage
        self._doh: Final = None if doh is None else read_resolver(doh)
        ways = Ways(hello=hello, quic=quic, engine=Engine(engine))
        ways.check()
        self._concurrency: Final = concurrency
        self._machine_roots: Final = machine_roots
        self._installed_at: Final = installed_at
        self._clock: Final = clock
        self._locating: Final = locating
        self._rules: Final = resolve_rules(resolve)
        rules = frozenset(Endpoint(host=host, port=port).name for host, port in self._rules)
        self._given: Final[Container[str]] = rules if dialer is None else _Everything()
        self._seen_before: Final = seen_before if callable(seen_before) else frozenset(seen_before)
        self._canaries: Final[Sequence[Endpoint] | None] = () if offline else canaries
        self._routing: Final = Routing(
            read_route(route, proxy),
            self._rules,
            dialer,
            trusts=self._trusts,
            clock=clock,
            resolver=resolver,
            ways=ways,
            all_addresses=all_addresses,
        )
        follow_up = FollowUp(
            self._routing.for_endpoint,
            self._routing.for_issuer,
            self._rules,
            control,
            clock,
            self._observe_one,
            self.canaries,
        )
        self._follow_up: Final = None if offline else follow_up

    @functools.cached_property
    def roots(self) -> Roots:
        """The public roots to judge by. Shipped ones are read when they are first needed: connecting goes first."""
        return resolve_roots(*self._root_sources)

    @property
    def knowledge(self) -> tuple[Knowledge, ...]:
        """What is judged with, and how old it is."""
        return knowledge.used(self.roots, self.logs)

    @functools.cached_property
    def _shared_pins(self) -> Container[bytes]:
        return pin_files.shared_pins(self.pins.endpoints)

    def canaries(self) -> tuple[Endpoint, ...]:
        """The canaries that a follow-up chooses from; none with `offline`. May read files: ask in a thread."""
        if self._canaries is not None:
            return one_per_operator(self._canaries)
        own = one_per_operator(self.pins.endpoints)
        return own if len(own) >= CANARIES_LEAST else one_per_operator((*self.pins.endpoints, *known_canaries()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing outlives a call, so there is nothing to close; the form is the contract for what may come."""

    def endpoints(self, targets: Iterable[Target] | None) -> tuple[Endpoint, ...]:
        """The endpoints to check: those named (with what is pinned for them), or all pinned ones.

        Raises `TargetError`.
        """
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
        """Probe every endpoint and judge them together: one report, within `deadline` seconds.

        `targets` are `HOST[:PORT]` strings or `Endpoint` records; None checks every pinned endpoint. What could not
        be finished in time is in the report as inconclusive. Never raises for network reasons. Raises `TargetError`.
        """
        started = self._clock()
        endpoints = None if targets is None else self.endpoints(targets)
        cases = await self.observe(endpoints, deadline=deadline)
        named = frozenset(endpoint.name for endpoint in endpoints or ())
        return await self.judged(cases, started=started, named=named)

    async def judged(
        self, cases: Sequence[EndpointEvidence], *, started: dt.datetime, named: Collection[str] = ()
    ) -> Report:
        """Judge as `judge` does, beside the event loop: signatures take milliseconds for each endpoint."""
        return await off_loop(lambda: self.judge(cases, started=started, named=named))

    def judge(self, cases: Sequence[EndpointEvidence], *, started: dt.datetime, named: Collection[str] = ()) -> Report:
        """Judge what `observe` saw. `started` is when that began, `named` as in `network.decide_network`."""
        return network.report(
            assess.assess_all(cases),
            cases[0].context if cases else self.context(),
            started=started,
            finished=self._clock(),
            vantage=self.vantage,
            version=VERSION,
            named=named,
        )

    async def observe(
        self,
        targets: Iterable[Target] | None = None,
        *,
        deadline: float = DEADLINE_DEFAULT,
    ) -> tuple[EndpointEvidence, ...]:
        """Probe every endpoint without judging; what `check` judges and `detector pins learn` learns from.

        Arguments and what is raised are those of `check`.
        """
        begin = asyncio.get_running_loop().time()
        endpoints = self.endpoints(targets)
        if not _prepare_probing.cache_info().currsize:
            await off_loop(_prepare_probing)
        kept_back = min(JUDGING_RESERVE, deadline * RESERVE_SHARE)
        until = begin + max(deadline - kept_back, 0.0)
        async with Group() as group:
            group.create_task(self._load_judging())
            observing = group.create_task(self._observe(endpoints, until))
            comparing = group.create_task(self._compare_resolvers(endpoints, until))
            recalling = group.create_task(self._recall(endpoints, until))
        observations, compared = observing.result(), comparing.result()
        context = self.context(endpoints)._replace(budget=run_budget(kept_back), seen_before=recalling.result())
        cases = tuple(
            evidence.EndpointEvidence(endpoint, looks[0], context, others=looks[1:])
            for endpoint, looks in zip(endpoints, observations, strict=True)
        )
        if compared is not None:
            resolver, seen, answers = compared
            cases = tuple(_with_resolution(case, answers) for case in cases)
            if all(endpoint.name != resolver.name for endpoint in endpoints):
                cases = (
                    *cases,
                    evidence.EndpointEvidence(
                        _find(self.pins, resolver.host, resolver.port) or resolver, seen, context
                    ),
                )
        if self._follow_up is not None:
            cases = await self._follow_up(cases, until)
        if self._locating is not None:
            from detector.locate.locate import add_hops  # noqa: PLC0415 - loaded when asked for

            cases = await add_hops(cases, self._locating, until)
        return cases

    async def _recall(self, endpoints: Sequence[Endpoint], until: float) -> Collection[str]:
        """Which of these endpoints were genuine before, as far as that is known by loop time `until`."""
        if not callable(self._seen_before):
            return self._seen_before
        try:
            async with asyncio.timeout_at(until):
                return await off_loop(lambda: self.genuine_before(endpoints))
        except TimeoutError:
            return ()

    def genuine_before(self, endpoints: Iterable[Endpoint]) -> Collection[str]:
        """Which of these endpoints (`host:port`) are known to have been genuine. May read files: ask in a thread."""
        known = self._seen_before
        return known([endpoint.name for endpoint in endpoints]) if callable(known) else known

    async def scan(
        self,
        targets: Iterable[Target] | AsyncIterable[Target],
        *,
        timeout: float = DEADLINE_DEFAULT,  # noqa: ASYNC109 - per target, enforced by the probe itself
    ) -> AsyncGenerator[Result, None]:
        """Probe any number of targets and yield each result as it comes, at most `concurrency` in flight.

        Looks that end within a hundredth of a second are judged together; while the results of these are read, further
        looks go on, and those that end and wait count as in flight. Each target has `timeout` seconds. A result is
        judged by what was seen up to then. Where later targets show more, it is yielded again and `amends` says so: it
        takes the place of the earlier one of the same endpoint. Where something was not cleared, canaries are probed
        once, and their results, of category `canary`, are among the others (see `Detector`). Raises `TargetError`.
        """
        await off_loop(_prepare_judging_too)
        await self._read_roots()
        assessor = assess.Assessor[None](remembered=network_evidence.STREAM_REMEMBERS)
        canaries, loop = Canaries(self.canaries), asyncio.get_running_loop()
        following: list[asyncio.Task[tuple[EndpointEvidence, ...]]] = []
        looks = bounded_map.batches(
            _asynchronously(targets),
            lambda target: self.look(self._endpoint(target), timeout=timeout),
            most=self._concurrency,
        )
        with Beside() as beside:

            async def assessed(cases: Sequence[EndpointEvidence]) -> list[Result]:
                results, wanted = await beside.do(lambda: self._assess_in_turn(cases, assessor, canaries, loop.time()))
                if wanted:
                    following.append(asyncio.create_task(self._evidence_of_each(wanted, timeout=timeout)))
                return results

            try:
                async with contextlib.aclosing(looks):
                    async for cases in looks:
                        for result in await assessed(cases):
                            yield result
                        while following and following[0].done():
                            for result in await assessed(following.pop(0).result()):
                                yield result
                while following:
                    for result in await assessed(await following.pop(0)):
                        yield result
            finally:
                await end(following)

    def _assess_in_turn(
        self, cases: Sequence[EndpointEvidence], assessor: assess.Assessor[None], canaries: Canaries, now: float
    ) -> tuple[list[Result], tuple[Endpoint, ...]]:
        """Assess endpoints one after the other, and again what later ones change; with the canaries they ask for."""
        if callable(self._seen_before):
            known = self.genuine_before(case.endpoint for case in cases)
            cases = [case.with_more(case.context._replace(seen_before=known)) for case in cases]
        results = [result for case in cases for _, result in assessor.add(case, None)]
        canaries.note(cases, now)
        return results, canaries.wanted(cases, now)

    async def _evidence_of_each(self, endpoints: Sequence[Endpoint], *, timeout: float) -> tuple[EndpointEvidence, ...]:  # noqa: ASYNC109 - see `scan`
        async with Group() as group:
            looks = [group.create_task(self.look(endpoint, timeout=timeout)) for endpoint in endpoints]
        return tuple(look.result() for look in looks)

    def watch(  # noqa: PLR0913 - keyword-only past the targets; each is one choice a caller may make
        self,
        targets: Iterable[Target] | None = None,
        *,
        interval: float = INTERVAL_DEFAULT,
        deadline: float = DEADLINE_DEFAULT,
        duration: float = math.inf,
        stop: asyncio.Event | None = None,
        on_look: Callable[[Look], None] | None = None,
        surroundings: Surroundings | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Look at every endpoint again and again, and yield an event whenever something changed (docs/watch.md).

        `targets` as in `check`. Each endpoint is looked at once per `interval` seconds on average, on a fresh
        connection, at times that cannot be foreseen; one look takes at most `deadline` seconds. The watch ends after
        `duration` seconds or when `stop` is set, with an event that says so, or when it is closed
        (`contextlib.aclosing`), which leaves no task and no connection. `on_look` is called after every look, changed
        or not. `surroundings` replaces this machine's clock, networks and chance.

        Never raises for network reasons. Raises `TargetError`, and `InputError` for times that are none and when there
        is nothing to watch, at once.
        """
        endpoints = tuple({endpoint.name: endpoint for endpoint in self.endpoints(targets)}.values())
        canaries, budget = Canaries(self.canaries, again_after=interval), run_budget()
        watching = runner.Watcher(
            endpoints,
            look=lambda endpoint, until: self._watched(endpoint, until, endpoints, canaries, budget),
            budget=budget,
            wall=self._clock,
            pace=runner.Pace(interval, deadline, duration, self._concurrency),
            surroundings=surroundings or runner.Surroundings(networks=self._routing.networks() or runner.no_networks),
            named=() if targets is None else [endpoint.name for endpoint in endpoints],
            vantage=self.vantage,
            stop=stop,
            on_look=on_look,
        )
        return watching.events()

    async def _watched(
        self, endpoint: Endpoint, until: float, watched: Sequence[Endpoint], canaries: Canaries, budget: Budget
    ) -> tuple[EndpointEvidence, ...]:
        """One endpoint as `observe` sees it, no later than loop time `until`, and canaries that a follow-up probed."""
        looks = await self._observe_one(endpoint, until)
        await self._read_roots()
        known = await self._recall((endpoint,), until)
        context = self.context()._replace(budget=budget, seen_before=known)
        cases = (evidence.EndpointEvidence(endpoint, looks[0], context, others=looks[1:]),)
        if self._follow_up is None:
            return cases
        return await self._follow_up(cases, until, alongside=watched, canaries=canaries)

    def expected(self, endpoint: Endpoint) -> Endpoint:
        """What is pinned for this host and port, connected to where `endpoint` says; or `endpoint` itself.

        A canary comes with all that is known of it.
        """
        pinned = None if endpoint.canary else _find(self.pins, endpoint.host, endpoint.port)
        if pinned is None:
            return endpoint
        return pinned if endpoint.address is None else msgspec.structs.replace(pinned, address=endpoint.address)

    async def look(self, endpoint: Endpoint, *, timeout: float = DEADLINE_DEFAULT) -> EndpointEvidence:  # noqa: ASYNC109 - see `scan`
        """Probe one endpoint, taking at most `timeout` seconds, and judge nothing yet."""
        looks = await self._look(endpoint, asyncio.get_running_loop().time() + timeout)
        await self._read_roots()
        return evidence.EndpointEvidence(endpoint, looks[0], self.context(), others=looks[1:])

    async def recalled(self, case: EndpointEvidence) -> EndpointEvidence:
        """The same evidence, with whether its endpoint is known to have been genuine before."""
        if not callable(self._seen_before):
            return case
        known = await off_loop(lambda: self.genuine_before((case.endpoint,)))
        return case.with_more(case.context._replace(seen_before=known), case.fetched)

    async def _load_judging(self) -> None:
        """Import what judging needs, and read the roots, while the network is waited for, beside the loop."""
        if "detector.judge.assess" not in sys.modules or "roots" not in vars(self):
            await asyncio.sleep(LOADING_DELAY)
            await off_loop(_import_judging)
            await self._read_roots()

    async def _read_roots(self) -> None:
        """Have the roots, without holding up the loop."""
        if "roots" not in vars(self):
            await off_loop(lambda: self.roots)

    def context(self, endpoints: Sequence[Endpoint] = ()) -> Context:
        """What to judge one run against, as of now. `endpoints` may have pins besides those of the pin set."""
        pinned = self._shared_pins if not endpoints else pin_files.shared_pins((*self.pins.endpoints, *endpoints))
        return evidence.Context(
            at=self._clock(),
            roots=self.roots,
            logs=self.logs,
            machine_roots=self._machine_roots,
            installed_at=self._installed_at,
            given=self._given,
            shared_pins=pinned,
            seen_before=() if callable(self._seen_before) else self._seen_before,
            budget=run_budget(),
        )

    async def _observe(self, endpoints: Sequence[Endpoint], until: float) -> list[tuple[Observation, ...]]:
        """The looks at each endpoint, in order, no later than loop time `until`."""
        slots = asyncio.Semaphore(self._concurrency)

        async def one(endpoint: Endpoint) -> tuple[Observation, ...]:
            async with slots:
                return await self._look(endpoint, until)

        tasks = [asyncio.create_task(one(endpoint)) for endpoint in endpoints]
        try:
            if tasks:
                remaining = max(until - asyncio.get_running_loop().time(), 0.0)
                await asyncio.wait(tasks, timeout=remaining + OVERRUN)
            if failures := [why for task in tasks if task.done() and (why := task.exception()) is not None]:
                raise failures[0]  # what makes one look impossible makes all of them so
            return [
                task.result() if task.done() else (Observation(outcome=Outcome.DEADLINE, attempts=0),) for task in tasks
            ]
        finally:
            await end(tasks)

    async def _observe_one(self, endpoint: Endpoint, until: float) -> tuple[Observation, ...]:
        return (await self._observe((endpoint,), until))[0]

    async def _compare_resolvers(
        self, endpoints: Sequence[Endpoint], until: float
    ) -> tuple[Endpoint, Observation, dict[str, ResolutionObservation]] | None:
        if self._doh is None:
            return None
        return await self._routing.compare_resolvers(self._doh, endpoints, until)

    async def _look(self, endpoint: Endpoint, until: float) -> tuple[Observation, ...]:
        return await self._routing.look(endpoint, until)

    def _trusts(self, host: str, port: int, observation: Observation) -> bool:
        """Whether an ordinary client on this machine would believe that this is `host`."""
        return evidence.EndpointEvidence(Endpoint(host=host, port=port), observation, self.context()).trusted_here


@functools.cache
def _prepare_probing() -> None:
    """Import what connecting needs, and do what only a first handshake takes time for: once in a process."""
    from detector.probe.tls import native  # noqa: PLC0415 - the first look loads the room

    native.prepare()


def _prepare_judging_too() -> None:
    """What looks and their judging need, before the first of very many: nobody waits for that one alone."""
    _prepare_probing()
    _import_judging()


def _import_judging() -> None:
    from detector.judge import assess  # noqa: F401, PLC0415 - to have it
    from detector.trust import hostname  # noqa: PLC0415 - as above

    hostname.load()


def _with_resolution(case: EndpointEvidence, answers: Mapping[str, ResolutionObservation]) -> EndpointEvidence:
    """The case with what the second resolver said about its host."""
    answer = answers.get(case.endpoint.host)
    return case.with_observation(msgspec.structs.replace(case.observation, resolution=answer))


async def _asynchronously(targets: Iterable[Target] | AsyncIterable[Target]) -> AsyncIterator[Target]:
    if hasattr(targets, "__aiter__"):
        async for target in targets:
            yield target
    else:
        for target in targets:
            yield target


async def check(  # noqa: PLR0913 - keyword-only past the targets, as `Detector`
    targets: Iterable[Target] | None = None,
    *,
    pins: PinSource | None = None,
    roots: RootSource | None = None,
    add_roots: RootSource | None = None,
    logs: LogSource | None = None,
    route: str = MACHINE,
    proxy: str | None = None,
    all_addresses: bool = False,
    doh: str | None = None,
    resolve: ResolveRules | None = None,
    vantage: str = "",
    quic: bool = False,
    hello: str = "default",
    engine: str = Engine.AUTO,
    offline: bool = False,
    deadline: float = DEADLINE_DEFAULT,
) -> Report:
    """Check this network once: `Detector(...).check(targets)`. See there for the arguments and what is raised."""
    making = functools.partial(
        Detector,
        pins=pins,
        roots=roots,
        add_roots=add_roots,
        logs=logs,
        route=route,
        proxy=proxy,
        all_addresses=all_addresses,
        doh=doh,
        resolve=resolve,
        vantage=vantage,
        quic=quic,
        hello=hello,
        engine=engine,
        offline=offline,
    )
    async with await off_loop(making) as detector:
        return await detector.check(targets, deadline=deadline)
