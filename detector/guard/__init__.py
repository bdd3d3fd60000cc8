"""HTTP clients that send nothing to a middlebox: every TLS connection is assessed before it carries a request.

Room: guard, above session and exam. Connections are made by `probe`, or by the guarded library; they are assessed like
any others, with pins, roots, logs and checks.

    guard = Guard(policy="exam-policy.toml")

    async with aiohttp.ClientSession(connector=GuardedConnector(guard)) as session: ...     # aiohttp
    urllib3.PoolManager(ssl_context=guarded_context(guard))                                 # urllib3, requests
    httpx.Client(verify=guarded_context(guard))                                             # httpx, sync and async

A connection passes where the gate would let an exam start, by the same policy. A guarded client is never weaker than
one that verifies certificates the ordinary way. docs/guard.md says what each integration can and cannot check.

`guard` decides, `connector` is for aiohttp, `context` for everything that takes an `ssl.SSLContext`. Each is imported
on first use: aiohttp is not always needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from detector.errors import CertificateError, MiddlewareDetected, PlaintextError, UnconfirmedError

if TYPE_CHECKING:
    from .connector import GuardedConnector as GuardedConnector
    from .context import GuardedContext as GuardedContext
    from .context import guarded_context as guarded_context
    from .context import refusal_behind as refusal_behind
    from .guard import Assessment as Assessment
    from .guard import Guard as Guard

__all__ = [
    "Assessment", "CertificateError", "Guard", "GuardedConnector", "GuardedContext", "MiddlewareDetected",
    "PlaintextError", "UnconfirmedError", "guarded_context", "refusal_behind",
]  # fmt: skip

_MODULES: Final = {
    "Assessment": "guard",
    "Guard": "guard",
    "GuardedConnector": "connector",
    "GuardedContext": "context",
    "guarded_context": "context",
    "refusal_behind": "context",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
