"""The only room that opens sockets: it connects, captures what the wire showed, and judges nothing.

Room: probe. Rules that hold everywhere in it:

* Nothing is verified during the handshake. A verifying TLS context hides the forged chain and turns interception
  into "network error"; here the chain is captured first, exactly as presented, and the handshake is always finished,
  because a presented chain proves nothing until its key has signed.
* What the peer sent is read from the bytes by `wire`, never from a TLS library's error text or certificate parser.
* Network trouble is never an exception: `outcomes` turns every foreign one into the closed `Outcome` vocabulary.

From the bytes up: `codepoints` (tables), `wire` (parser), `hello` (the two hellos and their fingerprints), `keyproof`
(signature checks), `handshake` (all of them around one OpenSSL connection on memory BIOs), `browser` (the same with a
browser's ClientHello), `transport` (what comes after the handshake), `routes` (direct and through proxies), `witness`
(asks one), `client` (`probe`, `open_tls`), `quic_wire` and `quic` (parser and connection over QUIC), `mock` (a network
without sockets).
"""

from __future__ import annotations

from .client import Opened, open_tls, probe, with_witness
from .handshake import strict_context
from .mock import MockNetwork
from .routes import ConnectDialer, Dialer, DirectDialer, Family, Proxy, ProxyDialer, Timeouts, parse_proxy, proxy_for

__all__ = [
    "ConnectDialer",
    "Dialer",
    "DirectDialer",
    "Family",
    "MockNetwork",
    "Opened",
    "Proxy",
    "ProxyDialer",
    "Timeouts",
    "open_tls",
    "parse_proxy",
    "probe",
    "proxy_for",
    "strict_context",
    "with_witness",
]
