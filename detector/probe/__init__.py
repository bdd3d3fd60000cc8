"""The only room that opens sockets: it connects, and captures what the wire showed.

Room: probe. Rules for all of it:

* The probe assesses nothing and calls nobody above it: it returns observations, and the caller decides. The one
  exception is `routes.ProxyTrust`, asked before credentials are sent to an HTTPS proxy.
* Nothing is verified during the handshake. A verifying TLS context hides the forged chain and turns interception into
  "network error"; here the chain is captured first, exactly as presented, and the handshake is always finished, because
  a presented chain proves nothing until its key has signed.
* What the peer sent is parsed from the bytes, never taken from a TLS library's error text or certificate parser.
* Network trouble is never an exception: `outcomes` maps every foreign one to the closed `Outcome` vocabulary.

`client` makes one connection (`probe`, `open_tls`); `mock` is a network without sockets. The rest is in sub-rooms:
`tls` (the engines of a handshake, which of them makes which hello, the parser, the transport after it), `quic` (the
same over QUIC), `routes` (dialers, resolvers, proxies) and `http` (the bounded client and what is requested with it).
"""

from __future__ import annotations

from .client import open_tls, probe
from .routes import Dialer, DirectDialer, Family, Proxy, ProxyDialer, Timeouts, parse_proxy, proxy_for
from .tls.fallback import Opened, ProbeOutcome

__all__ = [
    "Dialer", "DirectDialer", "Family", "Opened", "ProbeOutcome", "Proxy", "ProxyDialer", "Timeouts", "open_tls",
    "parse_proxy", "probe", "proxy_for",
]  # fmt: skip
