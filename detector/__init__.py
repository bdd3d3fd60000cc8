"""Detects middleware that decrypts TLS on the way to known endpoints.

    report = await detector.check()                       # shipped endpoints, this network
    report.raise_for_middleware()

    result = detector.examine(chain, host="exam.example.edu", at=moment)      # offline

Architecture, data flowing one way, each room importing only what stands left of it:

    model, errors > trust > evidence > probe | pins | catalogue > checks > verdict > judgement > session > report > cli

`probe` is the only room that opens sockets and it judges nothing; everything from `trust` to `judgement` is pure.
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
from .version import VERSION as __version__  # noqa: N811 - the name Python gives it
from .watch.events import WatchEvent, WatchKind

if TYPE_CHECKING:
    from . import exam

__all__ = [
    "Alternative", "Assurance", "Attribution", "Category", "Confidence", "Detector", "DetectorError",
    "Endpoint", "Finding", "InputError", "MiddlewareDetected", "Observation", "Outcome", "Report", "Result",
    "Scope", "Verdict", "WatchEvent", "WatchKind", "__version__", "check", "errors",
    "exam", "examine",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load `detector.exam` when it is first used (PEP 562): who only checks should not wait for it."""
    if name == "exam":
        return importlib.import_module(".exam", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
