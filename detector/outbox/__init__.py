"""Reports evidence to a collector: signed, kept on disk until it is received, never in the way of a decision.

Room: outbox, above the guard, through which it sends. `submission` and `receipt` are the forms of what goes and comes,
`contents` what is sent of each kind; a collector uses them too. `reporter` is for programs: it makes submissions, keeps
them in the outbox (`store`) and sends them (`sender`).

    settings = ReportSettings(to="https://collect.example.org", institution="example-university", key="report.key",
                              receipt_key=("ed25519/...",))
    with Reporter(settings) as reporter:
        decision = await detector.exam.gate(policy="exam-policy.toml")
        show(decision.message)
        reporter.decision(decision)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .keys import ReportKeys as ReportKeys
    from .reporter import Reporter as Reporter
    from .sender import Connectors as Connectors
    from .settings import ReportSettings as ReportSettings
    from .settings import ThroughInterceptor as ThroughInterceptor
    from .store import Outbox as Outbox

__all__ = ["Connectors", "Outbox", "ReportKeys", "ReportSettings", "Reporter", "ThroughInterceptor"]

_MODULES: Final = {
    "Connectors": "sender",
    "Outbox": "store",
    "ReportKeys": "keys",
    "ReportSettings": "settings",
    "Reporter": "reporter",
    "ThroughInterceptor": "settings",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
