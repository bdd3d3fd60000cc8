"""How far packets to an address get with a limited number of hops: for any user, without raw sockets.

Room: locate. Opens TCP connections to the address and the ports it is given, and to nothing else; assesses nothing.

The hop limit of a TCP socket's packets can be set (IP_TTL; IPV6_UNICAST_HOPS, RFC 3493 section 5.1). The router where
a SYN exceeds it reports that (ICMP time-exceeded, RFC 792; RFC 4443 section 3.3), and Linux passes the router's address
to a socket that enables it (IP_RECVERR, ip(7); IPV6_RECVERR, ipv6(7)). Once connected, the limit can be set again: then
the ClientHello exceeds it, which Linux reports to the socket without the router. Other systems report neither; there a
connection succeeds with a number of hops, or does not. The error queue is the one seam of this module.

Everything is bounded: hops, sockets at once, seconds for each packet, seconds in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.aio.tasks import cancel_and_wait
from detector.judge.hops import FINAL, OWN_NETWORK
from detector.model import Hop, HopAnswer, HopsObservation, HopTrace, Outcome, ProbeKind
from detector.probe import outcomes
from detector.probe.tls.openssl import OpenSSLHandshake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable

    from detector.probe.routes import Address

    Ask = Callable[[int], Coroutine[Any, Any, Hop | None]]
    """Sends one packet with this hop limit; None when it could not be sent at all."""

CONTROL_PORT: Final = 80
"""A port that a server with an open port 443 most likely has open, too."""
HOPS_MAX: Final = 30
"""Hops tried, as many as traceroute(8) does; the path to a public server usually has 8 to 20."""
PARALLEL: Final = 8
"""Packets to one port at once. More would find the far end no sooner and open connections that are not needed."""
WAIT_SECONDS: Final = 2.0
"""Timeout of one packet. The system sends a lost SYN again after one second (RFC 6298 section 2)."""
CONFIRMING: Final = 2
"""More packets at the hop that answered: changing routes must not be mistaken for an answer."""
OWN_NETWORK_BITS: Final = {4: 24, 6: 48}
"""How many bits of a public address identify the network of a household or school (RFC 6177 section 2 for IPv6)."""

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
"""Options of Linux that Python has no names for (linux/in.h, linux/in6.h)."""
_MSG_ERRQUEUE: Final = 0x2000
_PACKET_BYTES: Final = 512
_ANCILLARY_BYTES: Final = 512
"""Room for the packet that was dropped, which is ignored, and for the report about it."""
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
"""struct sock_extended_err (linux/errqueue.h): errno, origin, type, code, padding, info, data; an address follows."""
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3
_KIND_OF_ICMP: Final = {
    (_ORIGIN_ICMP, 11): HopAnswer.TIME_EXCEEDED,
    (_ORIGIN_ICMP, 3): HopAnswer.UNREACHABLE,
    (_ORIGIN_ICMP6, 3): HopAnswer.TIME_EXCEEDED,
    (_ORIGIN_ICMP6, 1): HopAnswer.UNREACHABLE,
}
"""ICMP types (RFC 792; RFC 4443 sections 3.1 and 3.3)."""
_SOCKADDR: Final[dict[int, slice]] = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}
"""Where struct sockaddr_in and sockaddr_in6 have their address."""
_LINGER_ZERO: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""Ends a connection with a reset: unacknowledged data is not sent again (RFC 9293 section 3.6.1)."""
_READ_BYTES: Final = 1024


class RouterReport(NamedTuple):
    """What a router reported about a packet, and its address."""

    answer: HopAnswer
    router: str


class NoErrorQueue:
    """A system that passes on no reports of routers: a connection succeeds with a hop limit, or does not."""

    names_routers = False

    def prepare(self, sock: socket.socket) -> None:
        """Enable reports, before anything is sent."""

    def read(self, sock: socket.socket) -> RouterReport | None:  # noqa: ARG002 - there are none here
        """The next report, if there is one; never waits."""
        return None


class LinuxErrorQueue(NoErrorQueue):
    """IP_RECVERR and MSG_ERRQUEUE."""

    names_routers = True

    def prepare(self, sock: socket.socket) -> None:
        """Enable reports, before anything is sent."""
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)

    def read(self, sock: socket.socket) -> RouterReport | None:
        """The next report, if there is one; never waits."""
        try:
            _, messages, _, _ = sock.recvmsg(_PACKET_BYTES, _ANCILLARY_BYTES, _MSG_ERRQUEUE)
        except OSError:
            return None
        return next((report for message in messages if (report := read_extended_error(*message)) is not None), None)


def read_extended_error(level: int, kind: int, data: bytes) -> RouterReport | None:
    """Parse one ancillary message of an error queue; None for anything but a router's report. Never raises."""
    if (level, kind) not in {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}:
        return None
    if len(data) < _EXTENDED_ERROR.size + 2:
        return None
    _, origin, icmp_type, _, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
    answer = _KIND_OF_ICMP.get((origin, icmp_type))
    offender = data[_EXTENDED_ERROR.size :]
    where = _SOCKADDR.get(int.from_bytes(offender[:2], sys.byteorder))
    if answer is None or where is None or len(offender) < where.stop:
        return None
    return RouterReport(answer, str(ipaddress.ip_address(offender[where])))


async def trace_hops(  # noqa: PLR0913 - keyword-only past the address; each is one bound or one seam
    host: str,
    address: Address,
    *,
    until: float,
    control_ports: Collection[int] = (CONTROL_PORT,),
    hops_max: int = HOPS_MAX,
    errors: NoErrorQueue | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> HopsObservation:
    """Trace how far packets to `address` get, on its own port and on `control_ports` of the same address.

    `address` is a literal IP address and the port of TLS, `host` the server name of the ClientHello. Returns by loop
    time `until` with what is known by then. Raises nothing for reasons of the network, and ValueError for an address
    that is not one.
    """
    errors = errors or (LinuxErrorQueue() if sys.platform == "linux" else NoErrorQueue())
    tracer = _Tracer(host, address, until, errors, clock)
    ports = list(dict.fromkeys((address[1], *control_ports)))
    async with asyncio.TaskGroup() as group:
        walks = {port: group.create_task(_walk(tracer.connecting(port), hops_max, tracer.in_time)) for port in ports}
    found = {(port, ProbeKind.CONNECT): walk.result() for port, walk in walks.items()}
    hop = _first(found[address[1], ProbeKind.CONNECT], HopAnswer.CONNECTED)
    if hop is not None:
        asked = found[address[1], ProbeKind.CLIENT_HELLO] = await _walk(tracer.greet, hops_max, tracer.in_time)
        await _confirm(tracer, found, {hop, _first(asked, HopAnswer.ANSWERED) or hop})
    connect_ms, answer_ms = (None, None) if hop is None else await tracer.measure()
    return HopsObservation(
        port=address[1],
        traces=tuple(HopTrace(port=port, asked=asked, hops=tuple(hops)) for (port, asked), hops in found.items()),
        names_routers=tracer.names_routers,
        connect_ms=connect_ms,
        answer_ms=answer_ms,
    )


async def _confirm(tracer: _Tracer, found: dict[tuple[int, ProbeKind], list[Hop]], numbers: Iterable[int]) -> None:
    """Send more packets, each a flow of its own, at the hops that matter, and add their hops to those found."""
    async with asyncio.TaskGroup() as group:
        again = [
            (hops, group.create_task(ask(number)))
            for (port, asked), hops in found.items()
            for ask in (tracer.connecting(port) if asked is ProbeKind.CONNECT else tracer.greet,)
            for number in numbers
            for _ in range(CONFIRMING)
        ]
    for hops, task in again:
        if (hop := task.result()) is not None:
            hops.append(hop)


def _first(hops: Iterable[Hop], answer: HopAnswer) -> int | None:
    return min((hop.number for hop in hops if hop.answer is answer), default=None)


async def _walk(ask: Ask, hops_max: int, in_time: Callable[[], bool]) -> list[Hop]:
    """Try one hop, two hops, and so on, a few at once, until the far end answers one and all before have ended."""
    found: list[Hop] = []
    running: dict[asyncio.Task[Hop | None], int] = {}
    last, number = hops_max, 0
    try:
        while True:
            while number < last and len(running) < PARALLEL and in_time():
                number += 1
                running[asyncio.create_task(ask(number))] = number
            if not any(at <= last for at in running.values()):
                return sorted(found, key=lambda hop: hop.number)
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del running[task]
                if (hop := task.result()) is not None:
                    found.append(hop)
                    barred = hop.answer is HopAnswer.UNREACHABLE and hop.router is not None  # no packet gets past
                    last = min(last, hop.number) if hop.answer in FINAL or barred else last
    finally:
        await cancel_and_wait(running)


class _Tracer:
    """One trace's settings, and the packets themselves."""

    def __init__(
        self, host: str, address: Address, until: float, errors: NoErrorQueue, clock: Callable[[], float]
    ) -> None:
        self._until = until
        self._errors = errors
        self._clock = clock
        literal = ipaddress.ip_address(address[0].partition("%")[0])
        self._family = socket.AF_INET6 if literal.version == 6 else socket.AF_INET  # noqa: PLR2004 - the IP version
        self._address = address
        self._own = _own_address(self._family, address)
        self._hello = OpenSSLHandshake(host).start()
        self._labels: dict[str, str] = {}
        self.names_routers = errors.names_routers

    def in_time(self) -> bool:
        """Whether there is time for another packet."""
        return asyncio.get_running_loop().time() < self._until

    def connecting(self, port: int) -> Ask:
        """The function that sends the SYN of a connection to `port` with a hop limit."""

        async def ask(number: int) -> Hop | None:
            try:
                with self._open() as sock:
                    self._limit(sock, number)
                    return await self._answered(sock, number, self._connect(sock, port), HopAnswer.CONNECTED)
            except OSError:
                return None  # out of sockets, or no such hop limit here: nothing was sent

        return ask

    async def greet(self, number: int) -> Hop | None:
        """Send a ClientHello with a hop limit on a connection that was made without one."""
        try:
            with self._open() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
                unlimited = self._limit_of(sock)
                async with asyncio.timeout_at(self._deadline()):
                    await self._connect(sock, self._address[1])
                self._limit(sock, number)
                try:
                    return await self._answered(sock, number, self._exchange(sock), HopAnswer.ANSWERED)
                finally:
                    self._limit(sock, unlimited)  # so that the reset arrives
        except OSError:
            return None  # no connection, no ClientHello; TimeoutError is one of them

    async def measure(self) -> tuple[float | None, float | None]:
        """Milliseconds to connect, and to the answer to a ClientHello, without hop limit or other packets."""
        connect_ms = answer_ms = None
        with contextlib.suppress(OSError), self._open() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            begun = self._clock()
            async with asyncio.timeout_at(self._deadline()):
                await self._connect(sock, self._address[1])
                connect_ms, begun = self._since(begun), self._clock()
                await self._exchange(sock)
                answer_ms = self._since(begun)
        return connect_ms, answer_ms

    async def _answered(self, sock: socket.socket, number: int, sending: Awaitable[Any], success: HopAnswer) -> Hop:
        """Wait for the answer to a packet."""
        begun = self._clock()
        report: RouterReport | None = None
        try:
            async with asyncio.timeout_at(self._deadline()):
                await sending
            answer = success
        except TimeoutError:
            report = self._errors.read(sock)
            answer = HopAnswer.SILENCE if report is None else report.answer
        except OSError as error:
            report = self._errors.read(sock)
            answer = _of_error(error, success, self.names_routers) if report is None else report.answer
        took = None if answer is HopAnswer.SILENCE else self._since(begun)
        router = None if report is None else self._label(report.router)
        return Hop(number=number, answer=answer, router=router, round_trip_ms=took)

    async def _connect(self, sock: socket.socket, port: int) -> None:
        host, _, zone = self._address[0].partition("%")
        if self._family == socket.AF_INET6:
            scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone) if zone else 0
            await asyncio.get_running_loop().sock_connect(sock, (host, port, 0, scope))
        else:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))

    async def _exchange(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, self._hello)
        if not await loop.sock_recv(sock, _READ_BYTES):
            raise ConnectionResetError

    def _open(self) -> socket.socket:
        """A socket that receives reports of routers. Raises OSError."""
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the socket's own interface
            self._errors.prepare(sock)
        except OSError:
            sock.close()
            raise
        return sock

    def _limit(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(*_hop_limit(self._family), number)

    def _limit_of(self, sock: socket.socket) -> int:
        return sock.getsockopt(*_hop_limit(self._family))

    def _deadline(self) -> float:
        return min(asyncio.get_running_loop().time() + WAIT_SECONDS, self._until)

    def _since(self, begun: float) -> float:
        return round((self._clock() - begun) * 1000, 3)

    def _label(self, router: str) -> str:
        """The router's address, or a label where it would reveal this machine's own."""
        if not is_own_network(router, self._own):
            return router
        return self._labels.setdefault(router, f"{OWN_NETWORK}{len(self._labels) + 1}")


def is_own_network(router: str, own: str | None) -> bool:
    """Whether a router's address would reveal the address or the network of a machine with the address `own`.

    Link-local addresses reveal the router's hardware (RFC 4291 appendix A). Other private ones are used everywhere.
    """
    address = ipaddress.ip_address(router)
    if address.is_link_local or router == own:
        return True
    if own is None or not address.is_global or ipaddress.ip_address(own).version != address.version:
        return False
    return address in ipaddress.ip_network(f"{own}/{OWN_NETWORK_BITS[address.version]}", strict=False)


def _own_address(family: socket.AddressFamily, address: Address) -> str | None:
    """The address of this machine towards another; connecting a datagram socket sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(address)
            return str(asking.getsockname()[0]).partition("%")[0]
        except OSError:
            return None


def _hop_limit(family: socket.AddressFamily) -> tuple[int, int]:
    """The socket option for the hop limit."""
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
    return socket.IPPROTO_IP, socket.IP_TTL


_ANSWER_BY_OUTCOME: Final = {Outcome.CONNECT_REFUSED: HopAnswer.REFUSED, Outcome.RESET: HopAnswer.CLOSED}


def _of_error(error: OSError, success: HopAnswer, names_routers: bool) -> HopAnswer:  # noqa: FBT001 - a fact, not a choice
    """What an error without a router's report means.

    On an established connection, unreachable means that the hop limit was exceeded. Where this system names routers and
    none was named, it was reported by this machine itself; elsewhere it can be either.
    """
    outcome = outcomes.of_os_error(error)
    if outcome in _ANSWER_BY_OUTCOME:
        return _ANSWER_BY_OUTCOME[outcome]
    if outcome is Outcome.UNREACHABLE and success is HopAnswer.ANSWERED:
        return HopAnswer.TIME_EXCEEDED
    return HopAnswer.UNREACHABLE if outcome is Outcome.UNREACHABLE and names_routers else HopAnswer.SILENCE
