"""Detects middleware that decrypts TLS between this machine and known endpoints.

    report = await detector.check()                       # shipped endpoints, this network
    report.raise_for_middleware()

    result = detector.examine(chain, host="exam.example.edu", at=moment)      # offline
    report = detector.sync.check()                        # without an event loop

Architecture: data flows one way, and each room imports only what stands left of it.

    model < trust < knowledge < judge | probe < pins < audit | locate | watch < session < bundle | history | report
        < exam | scan | witness < guard < sync < cli

`probe` is the only room that opens connections and assesses nothing; `trust`, `knowledge` and `judge` are pure.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from . import errors
from .errors import DetectorError, InputError, MiddlewareDetected
from .model import (
    Alternative,
    Assurance,
    Attribution,
    Category,
    Confidence,
    Endpoint,
    Finding,
    Observation,
    Outcome,
    Report,
    Result,
    Scope,
    Verdict,
)
from .session.session import Detector, check, examine
from .session.settings import Expectations, NetworkSettings
from .version import VERSION as __version__  # noqa: N811 - the name Python gives it
from .watch.events import WatchEvent, WatchKind

if TYPE_CHECKING:
    from . import exam, sync

__all__ = [
    "Alternative", "Assurance", "Attribution", "Category", "Confidence", "Detector", "DetectorError", "Endpoint",
    "Expectations", "Finding", "InputError", "MiddlewareDetected", "NetworkSettings", "Observation", "Outcome",
    "Report", "Result", "Scope", "Verdict", "WatchEvent", "WatchKind", "__version__", "check", "errors", "exam",
    "examine", "sync",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import `detector.exam` and `detector.sync` on first use (PEP 562): a check needs neither."""
    if name in {"exam", "sync"}:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
