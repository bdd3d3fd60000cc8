"""The base of a negotiation with a proxy, up to the tunnel, without I/O.

Room: probe. Pure: bytes in, bytes out; raises nothing for what a proxy sends. `connect` and `socks` implement it,
`proxied` carries it.
"""

from __future__ import annotations

import abc
from typing import Final

from detector.model import Outcome

from .dialing import RouteError

NAME_BYTES_MAX: Final = 255  # what SOCKS5 can carry (RFC 1928 section 5), more than DNS allows


class Negotiation(abc.ABC):
    """One negotiation: send `start`, then what `receive` returns, until `established` or `failure` is set.

    `leftover` are bytes after the proxy's answer: they belong to the tunnel. `status` is the number of the proxy's
    answer, `auth_schemes` are the authentication schemes it offered.
    """

    def __init__(self) -> None:
        self.established = False
        self.failure: Outcome | None = None
        self.leftover = b""
        self.status: int | None = None
        self.auth_schemes: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether it is over."""
        return self.established or self.failure is not None

    @abc.abstractmethod
    def start(self) -> bytes:
        """Return the client's first bytes."""

    @abc.abstractmethod
    def receive(self, data: bytes) -> bytes:
        """Take bytes of the proxy; return the bytes to send to it, possibly none."""

    def connection_closed(self) -> None:
        """Note that the proxy sends no more."""
        if not self.settled:
            self.failure = Outcome.PROXY_CLOSED


def encoded_host(host: str) -> bytes:
    """Encode a host for a request: ASCII, without anything that could end a line or a field.

    Raises `RouteError` DNS_FAILURE for what cannot be a host name: no proxy could resolve it either.
    """
    try:
        name = host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError as error:
        raise RouteError(Outcome.DNS_FAILURE) from error
    if not 0 < len(name) <= NAME_BYTES_MAX or any(not 0x21 <= byte <= 0x7E for byte in name):  # noqa: PLR2004 - VCHAR, RFC 5234 appendix B.1
        raise RouteError(Outcome.DNS_FAILURE)
    return name
