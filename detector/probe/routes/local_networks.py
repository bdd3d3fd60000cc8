"""By which networks this machine reaches others, to notice when that changes.

Room: probe. Opens a UDP socket for a moment and sends nothing; judges nothing. What it gives is for comparing within
one run: it goes into no record, no report and no metric.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

_ELSEWHERE: Final = (("ipv4", socket.AF_INET, "192.0.2.1"), ("ipv6", socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses (RFC 5737, RFC 3849): they stand for "elsewhere" when the system is asked for a route."""
_DISCARD: Final = 9
"""A UDP port is needed to ask; nothing is sent to it (RFC 863)."""
_IPV6_NETWORK_BITS: Final = 64
"""Temporary addresses (RFC 8981) come and go within one such network."""


def networks() -> dict[str, str]:
    """The source address towards elsewhere by address family (of IPv6 only the network); families without a route miss.

    Connecting a UDP socket only makes the system choose route and source address.
    """
    found = {}
    for name, family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((elsewhere, _DISCARD))
                source = asking.getsockname()[0].partition("%")[0]
        except OSError:  # no route, or no such family on this machine: both mean "not that way"
            continue
        found[name] = source if family == socket.AF_INET else _network_of(source)
    return found


def _network_of(address: str) -> str:
    return str(ipaddress.IPv6Network((address, _IPV6_NETWORK_BITS), strict=False))
