"""Straight to an endpoint: name resolution, and addresses that race.

Room: probe. Opens sockets and starts resolver threads; judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import threading
from typing import TYPE_CHECKING, Final

from detector.model import Endpoint, Outcome, Route
from detector.probe import outcomes

from .dialing import PORT_MAX, Journal, RouteError, literal, mapped, normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dialing import ProtocolFactory, ResolveMap

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo = tuple[int, int, int, str, SocketAddress]
"""One answer of `socket.getaddrinfo`."""

HAPPY_EYEBALLS_DELAY_SECONDS: Final = 0.25
"""Connection Attempt Delay recommended by RFC 8305 section 5."""

ADDRESSES_MAX: Final = 16
"""Addresses tried for one name; a resolver on the way may answer with any number of them."""

LOOKUPS_MAX: Final = 64
"""Resolver threads at once. A thread that hangs cannot be stopped, only left behind; more of them would help nobody."""


class Family(enum.Enum):
    """Which addresses are taken."""

    ANY = socket.AF_UNSPEC
    IPV4 = socket.AF_INET
    IPV6 = socket.AF_INET6


_ROUTES: Final = {Family.ANY: Route.DIRECT, Family.IPV4: Route.DIRECT_IPV4, Family.IPV6: Route.DIRECT_IPV6}


class Resolver:
    """Name resolution by the system's own resolver, in one daemon thread for each lookup.

    Not in the event loop's executor: a resolver that hangs would keep `asyncio.run` from returning. One event loop
    uses one resolver.
    """

    def __init__(self, *, lookups_max: int = LOOKUPS_MAX) -> None:
        self._slots = asyncio.Semaphore(lookups_max)

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Addresses of `host`, at most `ADDRESSES_MAX` of each family. A literal address costs no thread.

        Raises `OSError` (`socket.gaierror` among them).
        """
        if (address := literal(host)) is not None:
            return _numeric(address, port)
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

        def work() -> None:
            found: Sequence[AddressInfo] = ()
            failure: OSError | None = None
            try:
                found = _look_up(host, port, 0)
            except OSError as error:
                failure = error
            # The loop may be gone by the time a hanging resolver answers: nobody is waiting then.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(deliver, found, failure)

        def deliver(found: Sequence[AddressInfo], failure: OSError | None) -> None:
            self._slots.release()
            if answer.done():
                return
            if failure is None:
                answer.set_result(found)
            else:
                answer.set_exception(failure)

        try:
            threading.Thread(target=work, name="detector-resolve", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise RouteError(Outcome.RESOURCES) from error
        return await answer


def _numeric(address: str, port: int) -> Sequence[AddressInfo]:
    """What the system's resolver says of an address; it is asked where there is a zone, whose number it knows."""
    if "%" in address or not 0 < port <= PORT_MAX:
        return _look_up(address, port, socket.AI_NUMERICHOST)
    if ":" in address:
        return ((socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)),)
    return ((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)),)


def _look_up(host: str, port: int, flags: int) -> Sequence[AddressInfo]:
    """Ask the system's resolver; blocks. A name or port that cannot be one is as unknown as any other."""
    if not 0 < port <= PORT_MAX:
        raise socket.gaierror(socket.EAI_SERVICE, "not a TCP port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    except ValueError as error:
        # UnicodeError: a label of more than 63 octets; ValueError: a null octet.
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    families = [[info for info in found if info[0] == family] for family in (socket.AF_INET6, socket.AF_INET)]
    kept = {info for family in families for info in family[:ADDRESSES_MAX]}
    return [info for info in found if info in kept]


class DirectDialer:
    """Straight to the endpoint, over IPv4 or IPv6, whichever answers first (RFC 8305), or over one of them only.

    `resolve` maps (host, port) to where to connect instead and goes before `Endpoint.address`. One event loop uses
    one dialer.
    """

    def __init__(
        self, resolve: ResolveMap | None = None, *, resolver: Resolver | None = None, family: Family = Family.ANY
    ) -> None:
        self._resolve = normalised(resolve)
        self._resolver = resolver or Resolver()
        self._family = family

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""
        return _ROUTES[self._family]

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        host, port = mapped(self._resolve, endpoint) or (endpoint.host, endpoint.port)
        return await open_connection(host, port, factory, journal, resolver=self._resolver, family=self._family)


async def addresses_of(host: str, port: int, *, resolver: Resolver, until: float) -> tuple[str, ...]:
    """Every address of `host`, without repetitions, as far as it is known before loop time `until`.

    Nothing when it does not resolve.
    """
    journal = Journal(deadline=until)
    try:
        async with journal.phase("resolve", journal.timeouts.resolve, Outcome.DNS_FAILURE):
            found = await resolver.resolve(host, port)
    except (RouteError, OSError):
        return ()
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


async def open_connection(  # noqa: PLR0913 - where, what, and how
    host: str,
    port: int,
    factory: ProtocolFactory,
    journal: Journal,
    *,
    resolver: Resolver,
    family: Family = Family.ANY,
) -> asyncio.Transport:
    """Resolve `host`, race its addresses of that family, and connect the protocol that `factory` makes.

    Raises `RouteError`; `NO_ADDRESS` where the name has addresses, but none of that family.
    """
    timeouts = journal.timeouts
    try:
        async with journal.phase("resolve", timeouts.resolve, Outcome.DNS_FAILURE):
            addresses = await resolver.resolve(host, port)
        if family is not Family.ANY:
            addresses = [info for info in addresses if info[0] == family.value]
        if not addresses:
            raise RouteError(Outcome.NO_ADDRESS)
        async with journal.phase("connect", timeouts.connect, Outcome.CONNECT_TIMEOUT):
            return await _race(addresses, factory, journal)
    except OSError as error:
        raise RouteError(outcomes.of_os_error(error)) from error


async def _race(addresses: Sequence[AddressInfo], factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
    try:
        connected = await (_connect(addresses[0]) if len(addresses) == 1 else _first_of(addresses))
    except RuntimeError as error:
        # uvloop reports some refusals of the operating system like this.
        raise RouteError(Outcome.UNREACHABLE) from error
    try:
        # The socket may be reset between connecting and being asked.
        with contextlib.suppress(OSError):
            journal.address = spell(*connected.getpeername()[:2])
        transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=connected)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connected.close()
        raise
    return transport


async def _first_of(addresses: Sequence[AddressInfo]) -> socket.socket:
    """Connect to whichever answers first. Raises `OSError`."""
    import aiohappyeyeballs  # noqa: PLC0415 - where addresses race

    return await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_SECONDS, interleave=1
    )


async def _connect(address: AddressInfo) -> socket.socket:
    """Connect to the one address there is. Raises `OSError`."""
    family, kind, protocol, _, where = address
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.settimeout(0)  # not blocking: what a loop wants
        await asyncio.get_running_loop().sock_connect(connecting, where)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connecting.close()
        raise
    return connecting


def spell(host: str, port: int) -> str:
    """Write a host and port as `host:port`, an IPv6 address in brackets."""
    bare = literal(host) or host
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
