"""Runs the planned probes of endpoints, concurrently and within one deadline.

Room: session. Starts tasks and ends every one of them before it returns, cancelled or not. Assesses nothing.

A browser's hello and QUIC go to the address that the first probe found, so that a difference between them cannot come
from a resolver; they wait for that address, and go by the name when there is none.

A chain in a form that is not verified here is probed once more, by the same route at the same address, with a hello
that offers only what is (`Hello.READABLE`): a genuine server then sends that.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import takewhile
from typing import TYPE_CHECKING, Final

import msgspec

from detector.aio.bounded_map import for_each
from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group
from detector.model import Address, Endpoint, Hello, Observation, Outcome, Route
from detector.trust.certificate import Certificate

from .plan import DIRECT_ROUTES, ProbeSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

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
"""Connections to one endpoint at once: with 64 endpoints at once, below the 256 open files that are a usual limit."""

OVERRUN: Final = 0.2
"""Seconds after which a probe that did not end by itself at its deadline is cancelled."""

Observations = tuple[Observation, ...]


async def probe_all(
    endpoints: Sequence[Endpoint], probe_one: Callable[[Endpoint], Awaitable[Observations]], *, limit: int, until: float
) -> list[Observations]:
    """The observations of every endpoint, in order, no later than loop time `until`, at most `limit` endpoints at once.

    An endpoint that is not finished by then has one observation, with the outcome `deadline`.
    """
    found: list[Observations] = [(Observation(outcome=Outcome.DEADLINE, attempts=0),)] * len(endpoints)

    async def note(number: int) -> None:
        found[number] = await probe_one(endpoints[number])

    overdue = max(until, asyncio.get_running_loop().time()) + OVERRUN
    try:
        async with asyncio.timeout_at(overdue) as scope:
            await for_each(range(len(endpoints)), note, limit=limit)
    except TimeoutError:
        if not scope.expired():  # a probe's own
            raise
    return found


async def probe_endpoint(planner: Planner, endpoint: Endpoint, until: float) -> Observations:
    """Every observation of an endpoint that is asked for, no later than loop time `until`; at least one, the first.

    Raises nothing for reasons of network, proxy or peer.
    """
    await planner.read_machine_settings()
    specs = planner.plan(endpoint)
    main = (specs[0], *takewhile(lambda spec: spec.same_address, specs[1:]))
    if len(main) == len(specs) and not planner.all_addresses:
        return await run_variants(main, until)
    async with Group() as group:
        first = group.create_task(run_variants(main, until))
        further = group.create_task(_run_further(planner, endpoint, specs[len(main) :], until))
    seen = further.result()
    comparisons = planner.plan_comparisons(endpoint, (first.result()[0], *seen))
    return (*first.result(), *seen, *await run_each(comparisons, until))


async def _run_further(planner: Planner, endpoint: Endpoint, specs: Sequence[ProbeSpec], until: float) -> Observations:
    return await run_each((*specs, *await planner.plan_addresses(endpoint, until)), until)


async def run_variants(specs: Sequence[ProbeSpec], until: float) -> Observations:
    """Run the first probe of an endpoint, and its variants at the address that it finds."""
    first, *others = specs
    if not others:
        return await _run_first(first, until)
    noting = _AddressNoting(first.dialer)
    async with Group() as group:
        tasks = [group.create_task(_run_first(first._replace(dialer=noting), until))]
        tasks += [group.create_task(_run_at_address(spec, noting, until)) for spec in others]
    return tuple(observation for task in tasks for observation in task.result())


async def _run_first(spec: ProbeSpec, until: float) -> Observations:
    outcome = await probe.probe(spec.endpoint, dialer=spec.dialer, deadline=until, hello=spec.hello)
    seen = outcome.observations
    return (*seen, *await _probe_readable(spec, seen, until))


async def _run_at_address(spec: ProbeSpec, first: _AddressNoting, until: float) -> Observations:
    address = await first.wait(until)
    if spec.quic:
        return (await quic.probe_quic(spec.endpoint, address=address or spec.mapped, deadline=until),)
    dialer = _dialer_to(address, spec)
    return (await probe.probe(spec.endpoint, dialer=dialer, deadline=until, hello=spec.hello)).observations


async def run_each(specs: Sequence[ProbeSpec], until: float) -> Observations:
    """Run probes, a few at once, and return their observations in order, and behind them those of repeated probes."""
    found: dict[int, Observation] = {}
    repeated: dict[int, Observations] = {}

    async def run(number: int) -> None:
        spec = specs[number]
        outcome = await probe.probe(
            spec.endpoint, dialer=spec.dialer, deadline=until, hello=spec.hello, key_kind=spec.key_kind
        )
        seen = outcome.single
        found[number], repeated[number] = seen, await _probe_readable(spec, (seen,), until)

    await for_each(range(len(specs)), run, limit=AT_ONCE)
    return (*(found[n] for n in range(len(specs))), *(again for n in range(len(specs)) for again in repeated[n]))


async def _probe_readable(spec: ProbeSpec, seen: Iterable[Observation], until: float) -> Observations:
    """Probe again where a chain among those `seen` cannot be verified here; else return nothing.

    A browser's hello offers nothing else in the first place.
    """
    unreadable = next((one for one in seen if one.hello is Hello.WIDEST and one.chain and not _is_readable(one)), None)
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
