"""Where captured chains are, for tests that measure with them. Room: tests. Reads folders, writes nothing.

`DETECTOR_CORPORA` names the folder; without it `shared/corpora` next to the clone is tried.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def folder(name: str) -> Path:
    """One corpus. Skips the test, saying so, where it is not there."""
    clone = Path(__file__).resolve().parents[2]
    found = Path(os.environ.get("DETECTOR_CORPORA") or clone.parent / "shared" / "corpora") / name
    if not found.is_dir():
        pytest.skip(f"no corpus {name}: set DETECTOR_CORPORA to the folder that holds it")
    return found
