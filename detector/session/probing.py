"""Looks: every way one endpoint is looked at, side by side within one deadline.

Room: session. Starts tasks and ends every one of them before it returns, cancelled or not. Nothing is judged here.

The first look is the one that was always made: TCP, by the configured route. The others are made only when they are
asked for. QUIC and a browser's hello go to the address that the first look found, so that a difference between them
cannot come from a resolver; they wait for that address, and go by the name when there is none.

Where a chain comes in a form that is not verified here, the endpoint is probed once more with a hello that offers only
what is (`Hello.READABLE`): a genuine server sends that then. It takes the same route, to the same address.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.tasks import Group
from detector.errors import MissingExtraError
from detector.model import Endpoint, Engine, Hello, Observation, Route
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from detector.probe import Dialer
    from detector.probe.routes import Address, ConnectionRecord, ProtocolFactory, ResolveMap

HELLO_CHOICES: Final = ("default", "browser", "both")
"""How to say hello: as one profile, or as both, one after the other."""

_DIRECT: Final = frozenset(route for route in Route if route.value.startswith("direct"))
"""The routes on which the address in an observation is the endpoint's own, not a proxy's."""

_NEEDED: Final = {"quic": ("aioquic", "Looking over QUIC"), "browser": ("utls", "A browser's hello")}
"""The library behind each extra, and what needs it."""


class Ways(NamedTuple):
    """The ways to look at each endpoint: with which hello (`HELLO_CHOICES`) and engine, and whether over QUIC too."""

    hello: str = "default"
    quic: bool = False
    engine: Engine = Engine.AUTO

    @property
    def first(self) -> Hello:
        """The hello of the first look."""
        return Hello.BROWSER if self.hello == "browser" else Hello.DEFAULT

    def check(self) -> None:
        """See that what is asked for can be done.

        Raises `MissingExtraError` when the library for it is not installed, and `ValueError` for an unknown hello.
        """
        if self.hello not in HELLO_CHOICES:
            raise ValueError(f"hello={self.hello!r} is none; choose one of {', '.join(HELLO_CHOICES)}.")
        wanted = {"quic": self.quic, "browser": self.hello != "default"}
        for extra, (module, what) in _NEEDED.items():
            if wanted[extra] and importlib.util.find_spec(module) is None:
                raise MissingExtraError(f"{what} needs the package {module}, which is not installed.", extra=extra)


async def look_at(
    endpoint: Endpoint, *, dialer: Dialer, ways: Ways, until: float, mapped: ResolveMap | None = None
) -> tuple[Observation, ...]:
    """Look at `endpoint` by all `ways` before loop time `until`: one observation each, the first look first.

    `mapped` says where to go instead, by (host, port), for a look that does not take the dialer's way.
    """
    if not ways.quic and ways.hello != "both":
        return await _first(endpoint, dialer, ways, until)
    noting = _Noting(dialer)
    looks: list[Coroutine[None, None, tuple[Observation, ...]]] = [_first(endpoint, noting, ways, until)]
    if ways.hello == "both":
        looks.append(_again_as_browser(endpoint, dialer, noting, until))
    if ways.quic:
        there = (mapped or {}).get((endpoint.host, endpoint.port))
        looks.append(_over_quic(endpoint, noting, there, until))
    async with Group() as group:
        tasks = [group.create_task(each) for each in looks]
    return tuple(look for task in tasks for look in task.result())


async def _first(endpoint: Endpoint, dialer: Dialer, ways: Ways, until: float) -> tuple[Observation, ...]:
    from detector.probe import probe  # noqa: PLC0415 - what connects is loaded when first used, not to judge files

    outcome = await probe(endpoint, dialer=dialer, deadline=until, hello=ways.first, engine=ways.engine)
    seen = outcome.observations
    return (*seen, *await ask_readable(endpoint, seen, dialer=dialer, until=until, engine=ways.engine))


async def ask_readable(
    endpoint: Endpoint,
    seen: Iterable[Observation],
    *,
    dialer: Dialer,
    until: float,
    engine: Engine = Engine.AUTO,
) -> tuple[Observation, ...]:
    """A further observation where one of those `seen` through `dialer` has a chain that is not readable; else none.

    A browser's hello offers nothing else in the first place. Arguments as `look_at`.
    """
    odd = next((one for one in seen if one.hello is Hello.DEFAULT and one.chain and not _is_readable(one)), None)
    if odd is None or asyncio.get_running_loop().time() >= until:
        return ()
    from detector.probe import probe  # noqa: PLC0415 - as above

    again = await probe(
        msgspec.structs.replace(endpoint, witness=()),  # it is asked about the first session
        dialer=_to_the_same(dialer, endpoint, place_of(odd)),
        deadline=until,
        hello=Hello.READABLE,
        engine=engine,
    )
    return (again.single,)


def _is_readable(observed: Observation) -> bool:
    from detector.trust.signature import is_readable  # noqa: PLC0415 - as above: what made a handshake has loaded it

    return is_readable(Certificate.read(presented.der) for presented in observed.chain)


def place_of(observed: Observation) -> Address | None:
    """The endpoint's own address and port in an observation; None where it is a proxy's, or none is known."""
    return _place(observed.address) if observed.route in _DIRECT and observed.address else None


def _to_the_same(dialer: Dialer, endpoint: Endpoint, place: Address | None) -> Dialer:
    """A dialer to the address that was found; the given one where that goes through something else."""
    from detector.probe import DirectDialer  # noqa: PLC0415 - as above

    dialer = dialer.inside if isinstance(dialer, _Noting) else dialer
    if place is not None and isinstance(dialer, DirectDialer):
        return DirectDialer({(endpoint.host, endpoint.port): place})
    return dialer


class _Noting:
    """A dialer that tells where its first connection went: `place` is set once, None when there is none."""

    def __init__(self, dialer: Dialer) -> None:
        self.inside: Final = dialer
        self.place: asyncio.Future[Address | None] = asyncio.get_running_loop().create_future()

    @property
    def route(self) -> Route:
        """The route of the dialer inside."""
        return self.inside.route

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as the dialer inside does."""
        try:
            return await self.inside.dial(endpoint, factory, record)
        finally:
            if not self.place.done():
                direct = self.route in _DIRECT and record.address is not None
                self.place.set_result(_place(record.address) if direct and record.address else None)


def _place(address: str) -> Address:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def _place_of(noting: _Noting, until: float) -> Address | None:
    try:
        async with asyncio.timeout_at(until):
            return await asyncio.shield(noting.place)
    except TimeoutError:
        return None


async def _again_as_browser(
    endpoint: Endpoint, dialer: Dialer, noting: _Noting, until: float
) -> tuple[Observation, ...]:
    """Look with a browser's hello, by the same route and at the same address."""
    from detector.probe import probe  # noqa: PLC0415 - as above

    dialer = _to_the_same(dialer, endpoint, await _place_of(noting, until))
    return (await probe(endpoint, dialer=dialer, deadline=until, hello=Hello.BROWSER)).observations


async def _over_quic(
    endpoint: Endpoint, noting: _Noting, mapped: Address | None, until: float
) -> tuple[Observation, ...]:
    """Look over QUIC, at the same address."""
    from detector.probe.quic.client import probe_quic  # noqa: PLC0415 - an extra, loaded when it is asked for

    place = await _place_of(noting, until)
    return (await probe_quic(endpoint, address=place or mapped, deadline=until),)
