"""Modules that are imported in a thread while the network is waited for, in the order they are needed.

Room: session. `import detector` loads neither a TLS library nor anything that assesses (docs/adr/0008-exam-start.md):
what connects is imported by the first probe, what assesses a moment later, alongside the first connections.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Final

ASSESSING: Final = ("detector.judge.assess", "detector.trust.hostname")


@functools.cache
def probing() -> None:
    """Import what connecting needs, and do what only a first handshake takes time for: once in a process."""
    importlib.import_module("detector.probe.tls.native").prepare()


def is_probing_loaded() -> bool:
    """Return whether `probing` has nothing left to do."""
    return probing.cache_info().currsize > 0


def assessing() -> None:
    """Import what assessment needs, and what it reads at first."""
    for name in ASSESSING:
        importlib.import_module(name)
    sys.modules["detector.trust.hostname"].load()


def is_assessing_loaded() -> bool:
    """Return whether what assesses is imported."""
    return ASSESSING[0] in sys.modules


def everything() -> None:
    """Import all of it, before the first of very many probes: a single one is not worth waiting for."""
    probing()
    assessing()
