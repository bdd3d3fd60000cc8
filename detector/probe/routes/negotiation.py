"""What is said to a proxy before the tunnel stands: the part without I/O.

Room: probe. Pure: octets in, octets out; raises nothing for what a proxy sends. `connect` and `socks` implement it,
`proxied` carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.model import Outcome

from .dialing import RouteError

if TYPE_CHECKING:
    from typing import Final

NAME_OCTETS_MAX: Final = 255
"""Longest host name that is asked for: what SOCKS5 can carry (RFC 1928 section 5), more than DNS allows."""


class Exchange:
    """One exchange: send `start`, then what `receive` returns, until `established` or `failure` is set.

    `leftover` are octets behind the proxy's answer: they belong to the tunnel. `status` is the number of the proxy's
    answer, `auth_schemes` the kinds of authentication it offered.
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

    def start(self) -> bytes:
        """What the client sends first."""
        raise NotImplementedError

    def receive(self, data: bytes) -> bytes:
        """Take octets of the proxy; return the octets to send to it (perhaps none)."""
        raise NotImplementedError

    def ended(self) -> None:
        """Take note that the proxy sends no more."""
        if not self.settled:
            self.failure = Outcome.PROXY_CLOSED


def host_octets(host: str) -> bytes:
    """`host` as it is asked for: ASCII, without anything that could end a line or a field.

    Raises `RouteError` DNS_FAILURE for what no host name can be: no proxy could resolve it either.
    """
    try:
        name = host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError as error:
        raise RouteError(Outcome.DNS_FAILURE) from error
    if not 0 < len(name) <= NAME_OCTETS_MAX or any(not 0x21 <= octet <= 0x7E for octet in name):  # noqa: PLR2004 - VCHAR, RFC 5234 appendix B.1
        raise RouteError(Outcome.DNS_FAILURE)
    return name
