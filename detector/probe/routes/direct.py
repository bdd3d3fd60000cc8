"""The direct route: name resolution, addresses that race, and this machine's own networks.

Room: probe. Opens sockets and starts resolver threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import ipaddress
import itertools
import socket
import threading
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.model import Endpoint, Outcome, Route
from detector.model.validate import PORT_MAX
from detector.probe import outcomes

from .dialing import ConnectionRecord, RouteError, destination, host_port, literal, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import aiohappyeyeballs

    from .dialing import ProtocolFactory, ResolveMap
else:
    aiohappyeyeballs = LazyModule("aiohappyeyeballs")  # where addresses race

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo = tuple[int, int, int, str, SocketAddress]  # one answer of `socket.getaddrinfo`
HAPPY_EYEBALLS_DELAY_SECONDS: Final = 0.25  # Connection Attempt Delay, as recommended by RFC 8305 section 5
ADDRESSES_MAX: Final = 16  # of each family; a resolver on the path may answer with any number of them
LOOKUPS_MAX: Final = 64  # resolver threads at once; a thread that hangs cannot be stopped


_ELSEWHERE: Final = (("ipv4", socket.AF_INET, "192.0.2.1"), ("ipv6", socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses (RFC 5737, RFC 3849), for asking the system for a route to the outside."""
_DISCARD: Final = 9  # A UDP port to ask with; nothing is sent to it (RFC 863)
_IPV6_NETWORK_BITS: Final = 64  # temporary addresses (RFC 8981) come and go within one such network


class Family(enum.Enum):
    """Which addresses are used."""

    ANY = socket.AF_UNSPEC
    IPV4 = socket.AF_INET
    IPV6 = socket.AF_INET6


_ROUTES: Final = {Family.ANY: Route.DIRECT, Family.IPV4: Route.DIRECT_IPV4, Family.IPV6: Route.DIRECT_IPV6}


class Addresses(tuple[AddressInfo, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """The addresses of a name in the order in which they are tried; `left_out` is the number of those beyond bounds."""

    left_out: int = 0

    @classmethod
    def bounded(cls, found: Sequence[AddressInfo]) -> Addresses:
        """Return these addresses, their families alternating (RFC 8305 section 4), `ADDRESSES_MAX` of each at most."""
        families = dict.fromkeys(info[0] for info in found)
        kept = [[info for info in found if info[0] == family][:ADDRESSES_MAX] for family in families]
        addresses = cls(info for each in itertools.zip_longest(*kept) for info in each if info is not None)
        before = found.left_out if isinstance(found, Addresses) else 0
        addresses.left_out = before + len(found) - len(addresses)
        return addresses

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses alone, without repetitions."""
        return tuple(dict.fromkeys(str(info[4][0]) for info in self))

    def at_port(self, port: int) -> Addresses:
        """Return the same addresses with another port."""
        changed = Addresses((*info[:4], (info[4][0], port, *info[4][2:])) for info in self)
        changed.left_out = self.left_out
        return changed


class Resolver:
    """Name resolution by the system's resolver, in one daemon thread for each lookup.

    It does not use the event loop's executor: a resolver that hangs would keep `asyncio.run` from returning. One event
    loop uses one resolver.
    """

    def __init__(self, *, lookups_max: int = LOOKUPS_MAX) -> None:
        self._slots = asyncio.Semaphore(lookups_max)

    async def resolve(self, host: str, port: int) -> Addresses:
        """Return the addresses of `host`, at most `ADDRESSES_MAX` of each family. A literal address costs no thread.

        Raises `OSError`, such as `socket.gaierror`.
        """
        if (address := literal(host)) is not None:
            return _numeric(address, port)
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Addresses] = loop.create_future()

        def work() -> None:
            try:
                deliver = functools.partial(answer.set_result, _query(host, port, 0))
            except OSError as error:
                deliver = functools.partial(answer.set_exception, error)
            # The loop may be closed by the time a hanging resolver answers.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done, deliver)

        def done(deliver: Callable[[], None]) -> None:
            self._slots.release()
            if not answer.done():
                deliver()

        try:
            threading.Thread(target=work, name="detector-resolve", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise RouteError(Outcome.RESOURCES) from error
        return await answer


def _numeric(address: str, port: int) -> Addresses:
    """Return what the system's resolver says of an address; it is asked only for the number of a zone."""
    if "%" in address or not 0 < port <= PORT_MAX:
        return _query(address, port, socket.AI_NUMERICHOST)
    if ":" in address:
        return Addresses([(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))])
    return Addresses([(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))])


def _query(host: str, port: int, flags: int) -> Addresses:
    """Ask the system's resolver; blocks. An impossible name or port is as unknown as any other."""
    if not 0 < port <= PORT_MAX:
        raise socket.gaierror(socket.EAI_SERVICE, "not a TCP port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    except ValueError as error:
        # UnicodeError: a label of more than 63 bytes; ValueError: a null byte.
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return Addresses.bounded(found)


class DirectDialer:
    """Directly to the endpoint, over IPv4 or IPv6, whichever answers first (RFC 8305), or over one of them only.

    `resolve` maps (host, port) to where to connect instead; it takes precedence over `Endpoint.address`. One event loop
    uses one dialer.
    """

    def __init__(
        self, resolve: ResolveMap | None = None, *, resolver: Resolver | None = None, family: Family = Family.ANY
    ) -> None:
        self._resolve = normalised(resolve)
        self._resolver = resolver or Resolver()
        self._family = family
        self.route: Final = _ROUTES[family]

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        host, port = destination(self._resolve, endpoint)
        return await open_connection(host, port, factory, record, resolver=self._resolver, family=self._family)


async def addresses_of(host: str, port: int, *, resolver: Resolver, until: float) -> tuple[str, ...]:
    """Return every address of `host` known by loop time `until`, without repetitions; none if it does not resolve."""
    return (await lookup(host, port, resolver=resolver, until=until)).hosts


async def lookup(host: str, port: int, *, resolver: Resolver, until: float) -> Addresses:
    """Resolve `host` by loop time `until`; no addresses if it does not resolve."""
    record = ConnectionRecord(deadline=until)
    try:
        async with record.phase("resolve", record.timeouts.resolve, Outcome.DNS_FAILURE):
            return Addresses.bounded(await resolver.resolve(host, port))
    except (RouteError, OSError):
        return Addresses()


async def open_connection(  # noqa: PLR0913 - where, what, and how
    host: str,
    port: int,
    factory: ProtocolFactory,
    record: ConnectionRecord,
    *,
    resolver: Resolver,
    family: Family = Family.ANY,
) -> asyncio.Transport:
    """Resolve `host`, race its addresses of that family, and connect the protocol that `factory` makes.

    Raises `RouteError`; `NO_ADDRESS` where the name has addresses, but none of that family.
    """
    timeouts = record.timeouts
    try:
        async with record.phase("resolve", timeouts.resolve, Outcome.DNS_FAILURE):
            addresses: Sequence[AddressInfo] = await resolver.resolve(host, port)
        if family is not Family.ANY:
            addresses = [info for info in addresses if info[0] == family.value]
        if not addresses:
            raise RouteError(Outcome.NO_ADDRESS)
        if (order := record.order) is not None:
            addresses = sorted(addresses, key=lambda info: order(host_port(str(info[4][0]), port)))
        async with record.phase("connect", timeouts.connect, Outcome.CONNECT_TIMEOUT):
            return await _race(addresses, factory, record)
    except OSError as error:
        raise RouteError(outcomes.of_os_error(error)) from error


async def _race(
    addresses: Sequence[AddressInfo], factory: ProtocolFactory, record: ConnectionRecord
) -> asyncio.Transport:
    try:
        if len(addresses) == 1:
            connected = await _connect(addresses[0])
        else:
            connected = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_SECONDS, interleave=1
            )
    except RuntimeError as error:
        # uvloop reports some refusals of the operating system like this.
        raise RouteError(Outcome.UNREACHABLE) from error
    try:
        record.address = None
        # The socket may be reset between connecting and being asked.
        with contextlib.suppress(OSError):
            record.address = host_port(*connected.getpeername()[:2])
        transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=connected)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connected.close()
        raise
    return transport


async def _connect(address: AddressInfo) -> socket.socket:
    """Connect to the only address. Raises `OSError`."""
    family, kind, protocol, _, where = address
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.settimeout(0)  # not blocking: what a loop wants
        await asyncio.get_running_loop().sock_connect(connecting, where)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connecting.close()
        raise
    return connecting


def source_addresses() -> dict[str, str]:
    """Return the source address of outbound traffic by address family; families without a route are left out.

    Connecting a UDP socket only makes the system choose route and source address; nothing is sent.
    """
    found = {}
    for name, family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probing:
                probing.connect((elsewhere, _DISCARD))
                found[name] = probing.getsockname()[0].partition("%")[0]
        except OSError:  # no route, or no such family on this machine
            continue
    return found


def local_networks() -> dict[str, str]:
    """Return the source address of outbound traffic by address family, of IPv6 only the network.

    The result is for comparison within one run: it goes into no record, report or metric.
    """
    found = source_addresses()
    if (source := found.get("ipv6")) is not None:
        found["ipv6"] = str(ipaddress.ip_network((source, _IPV6_NETWORK_BITS), strict=False))
    return found
