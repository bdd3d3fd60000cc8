"""Where a connection was going before this machine's packet filter turned it here.

Room: testing. Asks a socket one question; Linux only. In a `lab`, that is how a transparent interceptor finds its way.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .streams import Address

ORIGINAL_DST: Final = 80
"""SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h)."""
SOCKADDR_OCTETS: Final = 28
"""Octets of struct sockaddr_in6, the longer of the two answers."""


def original_destination(accepted: socket.socket) -> Address | None:
    """The address and port that the client of this connection asked for; None where nothing was redirected.

    Connection tracking remembers it. An IPv6 socket that also takes IPv4 cannot be asked: listen on each by itself.
    """
    ipv6 = accepted.family == socket.AF_INET6
    try:
        answer = accepted.getsockopt(socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP, ORIGINAL_DST, SOCKADDR_OCTETS)
    except OSError:
        return None
    # struct sockaddr_in is family, port, address; sockaddr_in6 has the flow label before its address.
    host = socket.inet_ntop(socket.AF_INET6, answer[8:24]) if ipv6 else socket.inet_ntop(socket.AF_INET, answer[4:8])
    port = int.from_bytes(answer[2:4], "big")
    return None if (host, port) == accepted.getsockname()[:2] else (host, port)
