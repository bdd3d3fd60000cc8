"""A hostile TLS world on loopback: a private PKI, honest origins, forging middleboxes, servers that misbehave.

Room: testing. Public API for anybody who tests TLS clients; `detector demo` and this project's own tests run on it.
It knows bytes, keys and sockets only, imports nothing that judges, and names are loaded when they are first used, so
that importing the package (which pytest does in every run, for the plugin) costs next to nothing.

    pki = PrivatePKI.create()
    async with serve_origin(pki.issue(["exam.example.edu"])) as origin:
        upstream = {("exam.example.edu", 443): origin.address}
        async with serve_middlebox(pki.private_ca("School Proxy CA"), upstream=upstream) as box:
            ...  # a client that uses box.port as its HTTP proxy meets a forged certificate

Fixtures for pytest are in `detector_testing.plugin`, which is loaded by its entry point.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lab import Finished as Finished
    from .lab import Lab as Lab
    from .lab import LabError as LabError
    from .lab import Namespace as Namespace
    from .lab import network_lab as network_lab
    from .lab import serve_relay as serve_relay
    from .middlebox import Middlebox as Middlebox
    from .middlebox import Mode as Mode
    from .middlebox import serve_middlebox as serve_middlebox
    from .mitmproxy import Mitmproxy as Mitmproxy
    from .mitmproxy import MitmproxyError as MitmproxyError
    from .mitmproxy import fetch_mitmdump as fetch_mitmdump
    from .mitmproxy import run_mitmproxy as run_mitmproxy
    from .origin import Origin as Origin
    from .origin import Request as Request
    from .origin import Response as Response
    from .origin import serve_files as serve_files
    from .origin import serve_origin as serve_origin
    from .pki import CA as CA
    from .pki import CopiedField as CopiedField
    from .pki import CTLog as CTLog
    from .pki import Issued as Issued
    from .pki import PrivateKey as PrivateKey
    from .pki import PrivatePKI as PrivatePKI
    from .pki import generate_key as generate_key
    from .proxy import Lie as Lie
    from .proxy import Proxy as Proxy
    from .proxy import serve_proxy as serve_proxy
    from .proxy import serve_socks as serve_socks
    from .tls_server import Ending as Ending
    from .tls_server import Script as Script
    from .tls_server import ScriptedServer as ScriptedServer
    from .tls_server import Step as Step
    from .tls_server import serve_script as serve_script

__all__ = (  # noqa: RUF022 - grouped by module, in the order a reader meets them
    "PrivatePKI",
    "CA",
    "Issued",
    "CTLog",
    "CopiedField",
    "PrivateKey",
    "generate_key",
    "serve_origin",
    "serve_files",
    "Origin",
    "Request",
    "Response",
    "serve_script",
    "Script",
    "ScriptedServer",
    "Step",
    "Ending",
    "serve_middlebox",
    "Middlebox",
    "Mode",
    "serve_proxy",
    "serve_socks",
    "Proxy",
    "Lie",
    "run_mitmproxy",
    "Mitmproxy",
    "MitmproxyError",
    "fetch_mitmdump",
    "network_lab",
    "Lab",
    "LabError",
    "Namespace",
    "Finished",
    "serve_relay",
)

_HOME = {
    "PrivatePKI": "pki",
    "CA": "pki",
    "Issued": "pki",
    "CTLog": "pki",
    "CopiedField": "pki",
    "PrivateKey": "pki",
    "generate_key": "pki",
    "serve_origin": "origin",
    "serve_files": "origin",
    "Origin": "origin",
    "Request": "origin",
    "Response": "origin",
    "serve_script": "tls_server",
    "Script": "tls_server",
    "ScriptedServer": "tls_server",
    "Step": "tls_server",
    "Ending": "tls_server",
    "serve_middlebox": "middlebox",
    "Middlebox": "middlebox",
    "Mode": "middlebox",
    "serve_proxy": "proxy",
    "serve_socks": "proxy",
    "Proxy": "proxy",
    "Lie": "proxy",
    "run_mitmproxy": "mitmproxy",
    "Mitmproxy": "mitmproxy",
    "MitmproxyError": "mitmproxy",
    "fetch_mitmdump": "mitmproxy",
    "network_lab": "lab",
    "Lab": "lab",
    "LabError": "lab",
    "Namespace": "lab",
    "Finished": "lab",
    "serve_relay": "lab",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module at first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)
