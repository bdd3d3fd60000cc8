"""HTTP clients that send nothing to a middlebox: every TLS connection is judged before it carries a request.

Room: guard, above session. Connections are made by `probe`, or by the library that is guarded; what they showed is
judged as everything else is, with pins, roots, logs and checks.

    guard = Guard(policy="exam-policy.toml")

    async with aiohttp.ClientSession(connector=GuardedConnector(guard)) as session: ...     # aiohttp
    urllib3.PoolManager(ssl_context=guarded_context(guard))                                 # urllib3, requests
    httpx.Client(verify=guarded_context(guard))                                             # httpx, sync and async

What passes is what the gate at exam start lets an exam begin with, by the same policy. A guarded
client is never weaker than one that verifies certificates the ordinary way. docs/guard.md says what each integration
can and cannot check.

From the judgement up: `guard` (what is refused), `connector` (aiohttp), `context` (everything that takes an
`ssl.SSLContext`). Each is loaded when it is first used: nobody loads aiohttp in vain.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connector import CertificateError as CertificateError
    from .connector import GuardedConnector as GuardedConnector
    from .connector import MiddlewareDetected as MiddlewareDetected
    from .connector import PlaintextError as PlaintextError
    from .connector import UnconfirmedError as UnconfirmedError
    from .context import GuardedContext as GuardedContext
    from .context import guarded_context as guarded_context
    from .context import refusal_behind as refusal_behind
    from .guard import Guard as Guard
    from .guard import Judged as Judged

__all__ = (
    "CertificateError",
    "Guard",
    "GuardedConnector",
    "GuardedContext",
    "Judged",
    "MiddlewareDetected",
    "PlaintextError",
    "UnconfirmedError",
    "guarded_context",
    "refusal_behind",
)

_HOME = {
    "CertificateError": "connector",
    "Guard": "guard",
    "GuardedConnector": "connector",
    "GuardedContext": "context",
    "Judged": "guard",
    "MiddlewareDetected": "connector",
    "PlaintextError": "connector",
    "UnconfirmedError": "connector",
    "guarded_context": "context",
    "refusal_behind": "context",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module at first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)
