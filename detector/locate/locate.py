"""Where TLS is answered: which address to trace, when, and what to keep of it.

Room: locate. Starts tasks and ends every one of them; reads no clock but the one it is given. What was traced is
assessed by `judge.hops`, for a check as for `detector locate`.
"""

from __future__ import annotations

import asyncio
import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group
from detector.judge import hops
from detector.judge.hops import Location  # noqa: TC001 - as `dt`
from detector.model import Category, EndpointName, HopsObservation, Record, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.probe import routes

    from . import tracing
else:
    routes = LazyModule("detector.probe.routes")
    tracing = LazyModule("detector.locate.tracing")

DIRECT: Final = frozenset(route for route in Route if route.startswith("direct"))
"""Routes whose address is the endpoint's, not a proxy's."""
LOCATED_MOST: Final = 3
"""Endpoints traced in one check: one interceptor answers for all of them at the same hop."""
WORTHWHILE: Final = 0.5
"""Seconds that must be left for a trace to start: a few round trips."""
KEPT_BACK: Final = 0.3
"""Seconds of a deadline in which connections are closed and the answer is written."""


class Locating(NamedTuple):
    """How hops are traced: which ports of the same address to compare with, and how far."""

    control_ports: tuple[int, ...] = (80,)
    hops_max: int = 30


class Located(Record, frozen=True, kw_only=True):
    """What `detector locate` found: the location, and the hops it rests on. `address` is the one that was traced."""

    detector_version: str
    started: dt.datetime
    finished: dt.datetime
    endpoint: EndpointName
    address: str | None = None
    location: Location
    hops: HopsObservation | None = None


async def add_hops(
    evidence: Sequence[EndpointEvidence], locating: Locating, until: float
) -> tuple[EndpointEvidence, ...]:
    """The same evidence; endpoints that do not look genuine, and were reached directly, have their hops traced.

    At most `LOCATED_MOST` addresses, and no later than loop time `until`. Their observations have labels in place of
    the routers' addresses (`hops.for_report`).
    """
    direct = [e for e in evidence if e.observation.route in DIRECT and e.leaf is not None and not e.is_genuine]
    suspects = {address: e for e in direct if (address := e.observation.peer) is not None}
    if not suspects or until - asyncio.get_running_loop().time() < WORTHWHILE:
        return tuple(evidence)
    async with Group() as group:
        tracing_of = {
            one.endpoint.name: group.create_task(
                tracing.trace_hops(one.endpoint.host, at, until=until, **locating._asdict())
            )
            for at, one in list(suspects.items())[:LOCATED_MOST]
        }
    traced = {name: hops.for_report(task.result()) for name, task in tracing_of.items()}
    return tuple(
        one.with_observation(msgspec.structs.replace(one.observation, hops=traced[one.endpoint.name]))
        if one.endpoint.name in traced
        else one
        for one in evidence
    )


async def locate(  # noqa: PLR0913 - keyword-only past host and port; each is one choice a caller may make
    host: str,
    port: int,
    *,
    clock: Callable[[], dt.datetime],
    version: str,
    deadline: float,
    connect_to: tuple[str, int] | None = None,
    ip_version: int | None = None,
    locating: Locating = Locating(),  # noqa: B008 - a constant
) -> Located:
    """Trace one host, within `deadline` seconds.

    `connect_to` is where to connect instead of resolving `host`, `ip_version` 4 or 6 takes the first such address.
    Raises nothing for reasons of the network.
    """
    started, until = clock(), asyncio.get_running_loop().time() + max(deadline - KEPT_BACK, 0.0)
    address = await _resolve(*(connect_to or (host, port)), ip_version, until)
    observed = None
    if address is not None:
        observed = await tracing.trace_hops(host, address, until=until, **locating._asdict())
    return Located(
        detector_version=version,
        started=started,
        finished=clock(),
        endpoint=EndpointName(host=host, port=port, category=Category.OTHER),
        address=None if address is None else address[0],
        location=hops.unresolved(port) if observed is None else hops.locate(observed),
        hops=observed,
    )


async def _resolve(host: str, port: int, ip_version: int | None, until: float) -> tuple[str, int] | None:
    try:
        async with asyncio.timeout_at(until):
            found = await routes.Resolver().resolve(host, port)
    except OSError:  # TimeoutError is one of them
        return None
    addresses = [str(address[0]) for *_, address in found]
    fitting = [a for a in addresses if ip_version in {None, ipaddress.ip_address(a.partition("%")[0]).version}]
    return (fitting[0], port) if fitting else None
