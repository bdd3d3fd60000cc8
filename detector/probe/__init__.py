"""The only room that opens sockets: it connects, captures what the wire showed, and judges nothing.

Room: probe. Rules that hold everywhere in it:

* Nothing is verified during the handshake. A verifying TLS context hides the forged chain and turns interception
  into "network error"; here the chain is captured first, exactly as presented, and the handshake is always finished,
  because a presented chain proves nothing until its key has signed.
* What the peer sent is read from the bytes by `wire`, never from a TLS library's error text or certificate parser.
* Network trouble is never an exception: `outcomes` turns every foreign one into the closed `Outcome` vocabulary.

From the bytes up: `codepoints` (tables), `wire` (parser), `hello` (the two hellos and their fingerprints), `keyproof`
(signature checks), `engine` (what every TLS engine gives), `handshake` (the reference: OpenSSL on memory BIOs),
`native` (the fast one, TLS 1.3 without a library), `browser` (with a browser's ClientHello), `transport` (what comes
after the handshake), `routes` (direct and through proxies), `witness` (asks one), `client` (`probe`, `open_tls`),
`quic_wire` and `quic` (parser and connection over QUIC), `mock` (a network without sockets).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from .client import Opened, open_tls, probe, probe_each, with_witness
from .routes import ConnectDialer, Dialer, DirectDialer, Family, Proxy, ProxyDialer, Timeouts, parse_proxy, proxy_for

if TYPE_CHECKING:
    from .mock import MockNetwork
    from .tls.handshake import strict_context

_LATER: Final = {"strict_context": ".tls.handshake", "MockNetwork": ".mock"}
"""What needs OpenSSL, by its module: loaded when it is asked for, because a look with the native engine needs none."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


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
    "probe_each",
    "proxy_for",
    "strict_context",
    "with_witness",
]
