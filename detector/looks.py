"""Looks: every way one endpoint is looked at, side by side within one deadline.

Room: session. Starts tasks and ends every one of them before it returns, cancelled or not. Nothing is judged here.

The first look is the one that was always made: TCP, by the configured route. The others are made only when they are
asked for. QUIC and a browser's hello go to the address that the first look found, so that a difference between them
cannot come from a resolver; they wait for that address, and go by the name when there is none.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import MissingExtraError
from .model import Endpoint, Engine, Hello, Observation, Route
from .tasks import Group

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .probe import Dialer
    from .probe.routes import Address, Journal, ProtocolFactory, ResolveMap

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
    from .probe import probe_each  # noqa: PLC0415 - what connects is loaded when first used, not to judge files

    first = ways.first
    if not ways.quic and ways.hello != "both":
        return await probe_each(endpoint, dialer=dialer, deadline=until, hello=first, engine=ways.engine)
    noting = _Noting(dialer)
    looks: list[Coroutine[None, None, tuple[Observation, ...]]] = [
        probe_each(endpoint, dialer=noting, deadline=until, hello=first, engine=ways.engine),
    ]
    if ways.hello == "both":
        looks.append(_again_as_browser(endpoint, dialer, noting, until))
    if ways.quic:
        there = (mapped or {}).get((endpoint.host, endpoint.port))
        looks.append(_over_quic(endpoint, noting, there, until))
    async with Group() as group:
        tasks = [group.create_task(each) for each in looks]
    return tuple(look for task in tasks for look in task.result())


class _Noting:
    """A dialer that tells where its first connection went: `place` is set once, None when there is none."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self.place: asyncio.Future[Address | None] = asyncio.get_running_loop().create_future()

    @property
    def route(self) -> Route:
        """The route of the dialer inside."""
        return self._dialer.route

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect as the dialer inside does."""
        try:
            return await self._dialer.dial(endpoint, factory, journal)
        finally:
            if not self.place.done():
                direct = self.route in _DIRECT and journal.address is not None
                self.place.set_result(_place(journal.address) if direct and journal.address else None)


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
    from .probe import DirectDialer, probe_each  # noqa: PLC0415 - as above

    place = await _place_of(noting, until)
    if place is not None and isinstance(dialer, DirectDialer):
        dialer = DirectDialer({(endpoint.host, endpoint.port): place})
    return await probe_each(endpoint, dialer=dialer, deadline=until, hello=Hello.BROWSER)


async def _over_quic(
    endpoint: Endpoint, noting: _Noting, mapped: Address | None, until: float
) -> tuple[Observation, ...]:
    """Look over QUIC, at the same address."""
    from .probe.quic import probe_quic  # noqa: PLC0415 - an extra, loaded when it is asked for

    place = await _place_of(noting, until)
    return (await probe_quic(endpoint, address=place or mapped, deadline=until),)
