"""Runs the planned probes of endpoints, concurrently and within one deadline.

Room: session. Starts tasks and ends every one of them before it returns, cancelled or not. Assesses nothing.

A second hello and QUIC go to the address that the first probe found, so that a difference between them cannot come
from a resolver; they wait for that address, and go by the name when there is none.

An interceptor may let the first connection of a client, or to a name, pass. `repeat` therefore probes again, after
everything else of a run or distributed over its time.

A chain in a form that is not verified here is probed once more, by the same route at the same address, with a hello
that offers only what is (`Hello.READABLE`): a genuine server then sends that.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.aio.bounded_map import for_each
from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group
from detector.model import Address, Endpoint, Hello, Observation, Outcome, Route
from detector.trust.certificate import Certificate

from .plan import DIRECT_ROUTES, ProbeSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Sequence

    from detector import probe
    from detector.probe import Dialer
    from detector.probe.quic import client as quic
    from detector.probe.routes import ConnectionRecord, ProtocolFactory
    from detector.trust import signature

    from .plan import Planner
else:
    probe = LazyModule("detector.probe")
    quic = LazyModule("detector.probe.quic.client")
    signature = LazyModule("detector.trust.signature")

LOG: Final = logging.getLogger("detector.session")

AT_ONCE: Final = 4
"""Further probes of one endpoint at once. A silent server is connected to by up to three connections of one probe: with
64 probes at once, that stays below the 256 open files that are a usual limit."""

OVERRUN: Final = 0.2
"""Seconds after which a probe that did not end by itself at its deadline is cancelled."""

DROPPED_PAUSE: Final = 1.0
"""Seconds before a later probe whose connections were dropped at once is made again, at most half of what is left.
Limits on new connections of an address, which a school may share, are mostly stated per second."""
_DROPPED: Final = frozenset({Outcome.RESET, Outcome.CLOSED, Outcome.TLS_ALERT})  # a refusal is an answer

Observations = tuple[Observation, ...]


class FurtherProbes(NamedTuple):
    """What the further probes of an endpoint showed, and the number of those that were left out."""

    seen: Observations = ()
    left_out: int = 0


class Repeats(NamedTuple):
    """How often endpoints are probed in a run, those of `names` (`host:port`) or all; `spread` over its deadline."""

    probes: int = 1
    spread: bool = False
    names: Container[str] | None = None


async def probe_all(
    endpoints: Sequence[Endpoint],
    probe_one: Callable[[Endpoint], Awaitable[Observations]],
    *,
    limit: int,
    until: float,
    probe_further: Callable[[Endpoint, Awaitable[Observations]], Awaitable[FurtherProbes]] | None = None,
) -> list[Observations]:
    """The observations of every endpoint, in order, no later than loop time `until`, at most `limit` probes at once.

    `probe_further` gets an endpoint and the observations of its first probe. It begins when the first probe of every
    endpoint has begun, so that no endpoint goes without one because another has many addresses. An endpoint that is not
    finished by then has one observation, with the outcome `deadline`.
    """
    loop = asyncio.get_running_loop()
    found: list[Observations] = [(Observation(outcome=Outcome.DEADLINE, attempts=0),)] * len(endpoints)
    more: list[FurtherProbes] = [FurtherProbes()] * len(endpoints)
    firsts: list[asyncio.Future[Observations]] = [loop.create_future() for _ in endpoints if probe_further is not None]
    waiting, running, all_begun = len(endpoints), 0, asyncio.Event()

    async def first(number: int) -> None:
        nonlocal waiting, running
        waiting, running = waiting - 1, running + 1
        if not waiting:
            all_begun.set()
        found[number] = await probe_one(endpoints[number])
        running -= 1
        if firsts:
            firsts[number].set_result(found[number])

    async def further(number: int) -> None:
        if probe_further is not None:
            more[number] = await probe_further(endpoints[number], firsts[number])

    async def run_further() -> None:
        end = loop.call_at(until, all_begun.set)
        try:
            await all_begun.wait()
        finally:
            end.cancel()
        await for_each(range(len(firsts)), further, limit=lambda: max((limit - running) // AT_ONCE, 1))

    overdue = max(until, loop.time()) + OVERRUN
    try:
        async with asyncio.timeout_at(overdue) as scope:
            if firsts:
                async with Group() as group:
                    group.create_task(for_each(range(len(endpoints)), first, limit=limit))
                    group.create_task(run_further())
            else:
                await for_each(range(len(endpoints)), first, limit=limit)
    except TimeoutError:
        if not scope.expired():  # a probe's own
            raise
    return [_with_further(seen, added) for seen, added in zip(found, more, strict=True)]


def _with_further(seen: Observations, added: FurtherProbes) -> Observations:
    if not added.left_out:
        return (*seen, *added.seen)
    return (msgspec.structs.replace(seen[0], left_out=added.left_out), *seen[1:], *added.seen)


async def probe_endpoint(planner: Planner, endpoint: Endpoint, until: float) -> Observations:
    """Every observation of an endpoint that is asked for, no later than loop time `until`; at least one, the first.

    Raises nothing for reasons of network, proxy or peer.
    """
    if not planner.has_further:
        return await probe_first(planner, endpoint, until)
    async with Group() as group:
        first = group.create_task(probe_first(planner, endpoint, until))
        further = group.create_task(probe_further(planner, endpoint, first, until))
    return _with_further(first.result(), further.result())


async def probe_first(planner: Planner, endpoint: Endpoint, until: float) -> Observations:
    """The observations of an endpoint's first probe and of its variants at the same address; at least one."""
    await planner.read_machine_settings()
    return await run_variants(_split(planner, endpoint)[0], until)


async def probe_further(
    planner: Planner, endpoint: Endpoint, first: Awaitable[Observations], until: float
) -> FurtherProbes:
    """Make the further probes of an endpoint: by other routes, to all of its addresses, and to compare what differs."""
    await planner.read_machine_settings()
    specs = _split(planner, endpoint)[1]
    if asyncio.get_running_loop().time() >= until:
        return FurtherProbes(left_out=len(specs))
    addresses = await planner.plan_addresses(endpoint, until)
    seen = await run_each((*specs, *addresses.specs), until)
    comparisons = planner.plan_comparisons(endpoint, ((await first)[0], *seen))
    return FurtherProbes((*seen, *await run_each(comparisons, until)), addresses.left_out)


def _split(planner: Planner, endpoint: Endpoint) -> tuple[Sequence[ProbeSpec], Sequence[ProbeSpec]]:
    """The first probe of an endpoint with its variants at the same address, and the further probes."""
    specs = planner.plan(endpoint)
    main = (specs[0], *takewhile(lambda spec: spec.same_address, specs[1:]))
    return main, specs[len(main) :]


async def repeat(
    probe_round: Callable[[Sequence[Endpoint]], Awaitable[Sequence[Observations]]],
    endpoints: Sequence[Endpoint],
    first: asyncio.Task[Any],
    times: Repeats,
    until: float,
) -> list[Observations]:
    """Probe `endpoints` again, and return what that showed of each.

    A round begins when `first` is done, so that its connections are the last ones of the run. Where that takes long, it
    begins at its share of the time to loop time `until`, so that the last one has two shares: on a slow network a
    connection alone takes half of a short deadline. With `spread` it always begins at its share, and the last has one.
    An endpoint that drops the connections of a round is probed once more in it, after a pause: servers limit how often
    one address may connect.
    """
    begin = asyncio.get_running_loop().time()
    share = max(until - begin, 0.0) / (times.probes if times.spread else times.probes + 1)

    async def run_round(number: int) -> list[Observations]:
        if times.spread:
            await asyncio.sleep(number * share)
        else:
            await asyncio.wait((first,), timeout=number * share)
        found = list(await probe_round(endpoints))
        if dropped := [at for at, seen in enumerate(found) if _is_dropped(seen)]:
            await asyncio.sleep(min(DROPPED_PAUSE, max(until - asyncio.get_running_loop().time(), 0.0) / 2))
            again = await probe_round([endpoints[at] for at in dropped])
            for at, (one, *others) in zip(dropped, again, strict=True):
                if any(each.chain for each in (one, *others)):  # else what happened first says more
                    attempts = one.attempts + found[at][0].attempts
                    found[at] = (msgspec.structs.replace(one, attempts=attempts), *others)
        return [tuple(msgspec.structs.replace(one, repeat=number) for one in seen) for seen in found]

    async with Group() as group:
        rounds = [group.create_task(run_round(number)) for number in range(1, times.probes)]
    return [sum(seen, ()) for seen in zip(*(task.result() for task in rounds), strict=True)]


def _is_dropped(seen: Observations) -> bool:
    return bool(seen) and seen[0].outcome in _DROPPED and not any(one.chain for one in seen)


async def run_variants(specs: Sequence[ProbeSpec], until: float) -> Observations:
    """Run the first probe of an endpoint, and its variants at the address that it finds."""
    first, *others = specs
    if not others:
        return await _run_first(first, until)
    noting = _AddressNoting(first.dialer)
    async with Group() as group:
        main = group.create_task(_run_first(first._replace(dialer=noting), until))
        tasks = [main, *(group.create_task(_run_at_address(spec, noting, main, until)) for spec in others)]
    return tuple(observation for task in tasks for observation in task.result())


async def _run_first(spec: ProbeSpec, until: float) -> Observations:
    """Run one probe, and once more where its chain cannot be verified here."""
    outcome = await probe.probe(
        spec.endpoint, dialer=spec.dialer, deadline=until, hello=spec.hello, profiles=spec.profiles
    )
    seen = outcome.observations
    return (*seen, *await _probe_readable(spec, seen, until))


async def _run_at_address(
    spec: ProbeSpec, noting: _AddressNoting, first: asyncio.Task[Observations], until: float
) -> Observations:
    """Run a variant at the address of the first connection; where that shows nothing, at the one that answered.

    What else the first address showed, as to the question for a witness, still counts.
    """
    address = await noting.wait(until)
    seen = await _run_variant(spec, address, until)
    if address is None or seen[0].chain or asyncio.get_running_loop().time() >= until:
        return seen
    answered = (await first)[0]
    if not answered.chain or answered.peer in {address, None} or answered.route not in DIRECT_ROUTES:
        return seen
    return (*await _run_variant(spec, answered.peer, until), *(one for one in seen if one.chain))


async def _run_variant(spec: ProbeSpec, address: Address | None, until: float) -> Observations:
    if spec.quic:
        return (await quic.probe_quic(spec.endpoint, address=address or spec.mapped, deadline=until),)
    return await _run_first(spec._replace(dialer=_dialer_to(address, spec)), until)


async def run_each(specs: Sequence[ProbeSpec], until: float) -> Observations:
    """Run probes, a few at once, and return an observation of each in order, followed by what else they showed."""
    found: dict[int, Observation] = {}
    repeated: dict[int, Observations] = {}

    async def run(number: int) -> None:
        spec = specs[number]
        outcome = await probe.probe(
            spec.endpoint,
            dialer=spec.dialer,
            deadline=until,
            hello=spec.hello,
            key_kind=spec.key_kind,
            profiles=spec.profiles,
        )
        found[number], *others = outcome.observations
        repeated[number] = (*others, *await _probe_readable(spec, outcome.observations, until))

    await for_each(range(len(specs)), run, limit=AT_ONCE)
    return (*(found[n] for n in range(len(specs))), *(again for n in range(len(specs)) for again in repeated[n]))


async def _probe_readable(spec: ProbeSpec, seen: Iterable[Observation], until: float) -> Observations:
    """Probe again where a chain among those `seen` cannot be verified here; else return nothing."""
    unreadable = next((one for one in seen if one.chain and not _is_readable(one)), None)
    if unreadable is None:
        return ()
    if asyncio.get_running_loop().time() >= until:
        LOG.debug("%s: chain is unreadable, and no time is left to probe again", spec.endpoint.name)
        return ()
    LOG.debug("%s: chain is unreadable, probing again with a hello for readable ones", spec.endpoint.name)
    again = await probe.probe(
        msgspec.structs.replace(spec.endpoint, witness=()),  # a witness is asked about the first session
        dialer=_dialer_to(unreadable.peer if unreadable.route in DIRECT_ROUTES else None, spec),
        deadline=until,
        hello=Hello.READABLE,
        profiles=spec.profiles,
    )
    return (again.single,)


def _is_readable(observed: Observation) -> bool:
    return signature.is_readable(Certificate.read(presented.der) for presented in observed.chain)


def _dialer_to(address: Address | None, spec: ProbeSpec) -> Dialer:
    """A dialer to this address; that of the spec where it goes through something else."""
    dialer = spec.dialer.inner if isinstance(spec.dialer, _AddressNoting) else spec.dialer
    if address is not None and isinstance(dialer, probe.DirectDialer):
        return probe.DirectDialer({(spec.endpoint.host, spec.endpoint.port): address})
    return dialer


class _AddressNoting:
    """A dialer that notes the address of its first connection; None when there is none, or it is a proxy's."""

    def __init__(self, inner: Dialer) -> None:
        self.inner: Final = inner
        self._address: Final[asyncio.Future[Address | None]] = asyncio.get_running_loop().create_future()

    @property
    def route(self) -> Route:
        """The route of the inner dialer."""
        return self.inner.route

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as the inner dialer does."""
        try:
            return await self.inner.dial(endpoint, factory, record)
        finally:
            if not self._address.done():
                self._address.set_result(Address.parse(record.address) if self.route in DIRECT_ROUTES else None)

    async def wait(self, until: float) -> Address | None:
        """The address, or None where it is not known by loop time `until`."""
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(self._address)
        except TimeoutError:
            return None
