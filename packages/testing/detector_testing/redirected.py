"""The original destination of a connection that this machine's packet filter redirected.

Room: testing. Linux only. In a `lab`, a transparent interceptor needs it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .streams import Address

ORIGINAL_DST: Final = 80
"""SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h)."""
SOCKADDR_BYTES: Final = 28
"""Size of struct sockaddr_in6, the longer of the two answers."""


def original_destination(accepted: socket.socket) -> Address | None:
    """Return the address and port that the client connected to; None if the connection was not redirected.

    This does not work on an IPv6 socket that also takes IPv4: listen on each separately.
    """
    ipv6 = accepted.family == socket.AF_INET6
    try:
        answer = accepted.getsockopt(socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP, ORIGINAL_DST, SOCKADDR_BYTES)
    except OSError:
        return None
    # struct sockaddr_in: family, port, address; sockaddr_in6: family, port, flow label, address.
    host = socket.inet_ntop(socket.AF_INET6, answer[8:24]) if ipv6 else socket.inet_ntop(socket.AF_INET, answer[4:8])
    port = int.from_bytes(answer[2:4], "big")
    return None if (host, port) == accepted.getsockname()[:2] else (host, port)
