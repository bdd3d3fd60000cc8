"""Routes to an endpoint: directly, or through a proxy.

Room: probe. Opens sockets and starts resolver threads. Nothing here reads the environment: it is an argument.

From the bottom up: `dialing` (the `Dialer` interface and the connection record), `direct` (name resolution and racing
addresses), `resolving` (cached resolvers for scans), `proxies` (a proxy, its URL, which one applies), `system` (proxy
settings of operating systems), `negotiation`, `connect` and `socks` (negotiating a tunnel, without I/O), `proxied`
(carries a negotiation), `pac` and `pac_worker` (proxy auto-configuration).
"""

from __future__ import annotations

from .connect import INTERIM_RESPONSES_MAX
from .dialing import (
    HTTP_PORT,
    Address,
    ConnectionRecord,
    Dialer,
    NoRoute,
    ProtocolFactory,
    RemainingRoute,
    ResolveMap,
    RouteError,
    Timeouts,
    host_port,
    literal,
)
from .direct import Addresses, AddressInfo, DirectDialer, Family, Resolver, addresses_of, local_networks, lookup
from .proxied import ProxyDialer, ProxyTrust
from .proxies import Proxy, parse_proxy, proxy_for

__all__ = [
    "HTTP_PORT", "INTERIM_RESPONSES_MAX", "Address", "AddressInfo", "Addresses", "ConnectionRecord", "Dialer",
    "DirectDialer", "Family", "NoRoute", "ProtocolFactory", "Proxy", "ProxyDialer", "ProxyTrust", "RemainingRoute",
    "ResolveMap", "Resolver", "RouteError", "Timeouts", "addresses_of", "host_port", "literal", "local_networks",
    "lookup", "parse_proxy", "proxy_for",
]  # fmt: skip
