"""How bytes get to an endpoint: directly, or through a proxy.

Room: probe. Opens sockets and starts resolver threads; judges nothing. Nothing here reads the environment: `proxy_for`
gets it as an argument.

From the bottom up: `dialing` (what every way has in common), `direct`, `proxies` (a proxy and its URL), `exchange`,
`connect` and `socks` (what is said to a proxy, without I/O), `proxied` (carries it), `settings` (which proxy is meant).
"""

from __future__ import annotations

from .connect import INTERIM_RESPONSES_MAX, PROXY_HEAD_OCTETS_MAX
from .dialing import (
    HTTP_PORT,
    PORT_MAX,
    Address,
    Dialer,
    Journal,
    NoWay,
    ProtocolFactory,
    ResolveMap,
    RouteError,
    Timeouts,
    literal,
)
from .direct import (
    ADDRESSES_MAX,
    LOOKUPS_MAX,
    AddressInfo,
    DirectDialer,
    Family,
    Resolver,
    addresses_of,
    open_connection,
)
from .proxied import ConnectDialer, ProxyDialer
from .proxies import HTTPS_PORT, Proxy, parse_proxy
from .settings import proxy_for

__all__ = [
    "ADDRESSES_MAX",
    "HTTPS_PORT",
    "HTTP_PORT",
    "INTERIM_RESPONSES_MAX",
    "LOOKUPS_MAX",
    "PORT_MAX",
    "PROXY_HEAD_OCTETS_MAX",
    "Address",
    "AddressInfo",
    "ConnectDialer",
    "Dialer",
    "DirectDialer",
    "Family",
    "Journal",
    "NoWay",
    "ProtocolFactory",
    "Proxy",
    "ProxyDialer",
    "ResolveMap",
    "Resolver",
    "RouteError",
    "Timeouts",
    "addresses_of",
    "literal",
    "open_connection",
    "parse_proxy",
    "proxy_for",
]
