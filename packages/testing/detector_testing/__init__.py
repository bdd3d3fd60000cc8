"""A hostile TLS world on loopback: a private PKI, honest origins, forging middleboxes, servers that misbehave.

Room: testing. Public API for tests of any TLS client; `detector demo` and this project's own tests use it. It assesses
nothing. Names are loaded on first use, because pytest imports this package in every run, for its plugin.

    pki = PrivatePKI.create()
    async with serve_origin(pki.issue(["exam.example.edu"])) as origin:
        upstream = {("exam.example.edu", 443): origin.address}
        async with serve_middlebox(pki.private_ca("School Proxy CA"), upstream=upstream) as box:
            ...  # a client that uses box.port as its HTTP proxy gets a forged certificate

In synchronous code, `with serving(serve_origin(...)) as origin` runs a server in a thread. The pytest fixtures are in
`detector_testing.plugin`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .lab import Finished, Lab, LabError, Namespace, Relay, network_lab, serve_relay
    from .middlebox import Middlebox, Mode, serve_middlebox
    from .mitmproxy import Mitmproxy, MitmproxyError, fetch_mitmdump, run_mitmproxy
    from .origin import Origin, Request, Response, serve_files, serve_origin
    from .pki import CA, CopiedField, CTLog, Issued, KeyKind, PrivateKey, PrivatePKI, WrittenPKI, generate_key
    from .proxy import Lie, Proxy, serve_proxy, serve_socks
    from .quic import serve_datagrams, serve_quic
    from .static_ct import StaticLog
    from .threads import Serving, serving
    from .timestamps import TimeStampingAuthority, serve_tsa
    from .tls_server import Ending, Script, ScriptedServer, Step, serve_script

__all__ = (
    "CA",
    "CTLog",
    "CopiedField",
    "Ending",
    "Finished",
    "Issued",
    "KeyKind",
    "Lab",
    "LabError",
    "Lie",
    "Middlebox",
    "Mitmproxy",
    "MitmproxyError",
    "Mode",
    "Namespace",
    "Origin",
    "PrivateKey",
    "PrivatePKI",
    "Proxy",
    "Relay",
    "Request",
    "Response",
    "Script",
    "ScriptedServer",
    "Serving",
    "StaticLog",
    "Step",
    "TimeStampingAuthority",
    "WrittenPKI",
    "fetch_mitmdump",
    "generate_key",
    "network_lab",
    "run_mitmproxy",
    "serve_datagrams",
    "serve_files",
    "serve_middlebox",
    "serve_origin",
    "serve_proxy",
    "serve_quic",
    "serve_relay",
    "serve_script",
    "serve_socks",
    "serve_tsa",
    "serving",
)

_MODULES: Final = {
    "lab": "Finished Lab LabError Namespace Relay network_lab serve_relay",
    "middlebox": "Middlebox Mode serve_middlebox",
    "mitmproxy": "Mitmproxy MitmproxyError fetch_mitmdump run_mitmproxy",
    "origin": "Origin Request Response serve_files serve_origin",
    "pki": "CA CTLog CopiedField Issued KeyKind PrivateKey PrivatePKI WrittenPKI generate_key",
    "proxy": "Lie Proxy serve_proxy serve_socks",
    "quic": "serve_datagrams serve_quic",
    "static_ct": "StaticLog",
    "threads": "Serving serving",
    "timestamps": "TimeStampingAuthority serve_tsa",
    "tls_server": "Ending Script ScriptedServer Step serve_script",
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
