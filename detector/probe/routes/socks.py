"""SOCKS4a and SOCKS5 clients (RFC 1928, RFC 1929); the proxy resolves names.

Room: probe. Pure: see `negotiation`. Requests and answers have fixed, small sizes; only names and credentials need a
limit. GSSAPI (RFC 1961) is not supported; a proxy that accepts nothing else has an outcome of its own.
"""

from __future__ import annotations

import abc
import ipaddress
from collections.abc import Generator
from typing import Final

from detector.model import Outcome
from detector.model.validate import PORT_MAX

from .dialing import RouteError, literal
from .negotiation import Negotiation, encoded_host

SOCKS5, SOCKS4 = 5, 4
CONNECT: Final = 1  # the command, the same in both (RFC 1928 section 4)

NO_AUTHENTICATION, USERNAME_PASSWORD, NO_ACCEPTABLE_METHOD = 0, 2, 0xFF  # methods (RFC 1928 section 3)
IPV4, DOMAIN_NAME, IPV6 = 1, 3, 4  # address types (RFC 1928 section 5)

_ADDRESS_BYTES: Final = {IPV4: 4, IPV6: 16}
_PASSWORD_VERSION: Final = 1  # version of the username/password subnegotiation (RFC 1929 section 2)
_GRANTED4: Final = 90
_REPLIES4: Final = range(90, 94)
_IDENTITY_REFUSED4: Final = frozenset({92, 93})  # SOCKS4 result codes; the last two reject the user id
_NAME_FOLLOWS: Final = bytes((0, 0, 0, 1))  # the address 0.0.0.x with x not zero, after which SOCKS4a has a name
_OTHER_PROTOCOLS: Final = frozenset(b"H<\x15\x16")  # first bytes of an HTTP answer, a page, a TLS alert or handshake

Steps = Generator[tuple[bytes, int], bytes, None]
"""A conversation: each step sends bytes and receives exactly the number of bytes it asks for."""


class _Conversation(Negotiation):
    """Runs the steps of either version, however the bytes are chunked."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = self._talk()
        self._unread = bytearray()
        self._wanted = 0

    @abc.abstractmethod
    def _talk(self) -> Steps: ...

    def start(self) -> bytes:
        """Return the first message."""
        message, self._wanted = next(self._steps)
        return message

    def receive(self, data: bytes) -> bytes:
        """Parse the messages of the proxy that are complete."""
        if self.settled:
            return b""
        self._unread += data
        to_send = b""
        try:
            while len(self._unread) >= self._wanted:
                part = bytes(self._unread[: self._wanted])
                del self._unread[: self._wanted]
                message, self._wanted = self._steps.send(part)
                to_send += message
        except StopIteration:
            self.established = True
            self.leftover = bytes(self._unread)
        except RouteError as failed:
            self.failure = failed.outcome
        return to_send


class Socks5Negotiation(_Conversation):
    """Requests a tunnel to `host` and `port` (RFC 1928); `credentials` are user name and password (RFC 1929).

    Raises `RouteError` DNS_FAILURE on construction for what cannot be a host name and port.
    """

    def __init__(self, host: str, port: int, credentials: tuple[str, str] | None) -> None:
        super().__init__()
        self._destination = _destination5(host) + _port(port)
        self._credentials = credentials

    def _talk(self) -> Steps:
        methods = [NO_AUTHENTICATION] if self._credentials is None else [NO_AUTHENTICATION, USERNAME_PASSWORD]
        version, method = yield bytes((SOCKS5, len(methods), *methods)), 2
        if version == 0 and method in _REPLIES4:
            raise RouteError(Outcome.PROXY_OTHER_KIND)
        _expect(version, SOCKS5)
        if method == NO_ACCEPTABLE_METHOD:
            raise RouteError(
                Outcome.PROXY_AUTH_REQUIRED if self._credentials is None else Outcome.PROXY_AUTH_UNSUPPORTED
            )
        if method not in methods:
            raise RouteError(Outcome.PROXY_PROTOCOL)
        if method == USERNAME_PASSWORD and self._credentials is not None:
            name, password = (part.encode() for part in self._credentials)
            asked = bytes((_PASSWORD_VERSION, len(name))) + name + bytes((len(password),)) + password
            version, status = yield asked, 2
            if version != _PASSWORD_VERSION:
                raise RouteError(Outcome.PROXY_PROTOCOL)
            if status != 0:
                raise RouteError(Outcome.PROXY_AUTH_REJECTED)
        yield from self._connect()

    def _connect(self) -> Steps:
        version, reply = yield bytes((SOCKS5, CONNECT, 0)) + self._destination, 2
        _expect(version, SOCKS5)
        self.status = reply
        if reply != 0:
            raise RouteError(Outcome.PROXY_REFUSED)
        _, address_type = yield b"", 2
        if address_type == DOMAIN_NAME:
            (length,) = yield b"", 1
        elif (known := _ADDRESS_BYTES.get(address_type)) is not None:
            length = known
        else:
            raise RouteError(Outcome.PROXY_PROTOCOL)
        yield b"", length + 2  # BND.ADDR and BND.PORT, which say nothing about the endpoint


class Socks4aNegotiation(_Conversation):
    """Requests a tunnel to `host` and `port` with SOCKS4, by name where `host` is one (SOCKS4a).

    Raises `RouteError` on construction: DNS_FAILURE for what cannot be a host name and port, NO_ADDRESS for an IPv6
    address, which this version cannot carry.
    """

    def __init__(self, host: str, port: int, user_id: str) -> None:
        super().__init__()
        ip = _address(host)
        if isinstance(ip, ipaddress.IPv6Address):
            raise RouteError(Outcome.NO_ADDRESS)
        address, name = (_NAME_FOLLOWS, encoded_host(host) + b"\0") if ip is None else (ip.packed, b"")
        user = user_id.encode()
        self._request = bytes((SOCKS4, CONNECT)) + _port(port) + address + user + b"\0" + name

    def _talk(self) -> Steps:
        version, reply = yield self._request, 2
        if version == SOCKS5:
            raise RouteError(Outcome.PROXY_OTHER_KIND)
        _expect(version, 0)
        if reply not in _REPLIES4:
            raise RouteError(Outcome.PROXY_PROTOCOL)
        self.status = reply
        if reply in _IDENTITY_REFUSED4:
            raise RouteError(Outcome.PROXY_AUTH_REJECTED)
        if reply != _GRANTED4:
            raise RouteError(Outcome.PROXY_REFUSED)
        yield b"", 6  # a port and an address, which say nothing about the endpoint


def _expect(version: int, expected: int) -> None:
    if version in _OTHER_PROTOCOLS:
        raise RouteError(Outcome.PROXY_OTHER_KIND)
    if version != expected:
        raise RouteError(Outcome.PROXY_PROTOCOL)


def _destination5(host: str) -> bytes:
    """ATYP and DST.ADDR (RFC 1928 section 5)."""
    if (address := _address(host)) is None:
        name = encoded_host(host)
        return bytes((DOMAIN_NAME, len(name))) + name
    return bytes((IPV4 if address.version == 4 else IPV6,)) + address.packed  # noqa: PLR2004 - the version's name


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    bare = literal(host)
    return None if bare is None else ipaddress.ip_address(bare.partition("%")[0])


def _port(port: int) -> bytes:
    if not 0 < port <= PORT_MAX:
        raise RouteError(Outcome.DNS_FAILURE)
    return port.to_bytes(2, "big")
