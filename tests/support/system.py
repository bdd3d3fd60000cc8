"""Programs that come from the system's packages, which `pip` and `uv` cannot install.

Outside CI a machine without one of them skips the tests that need it. In CI `.ci/run` installs them, and a missing one
fails.
"""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program of the system."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is missing: .ci/run must install {package}")
    pytest.skip(f"needs {name}: install {package}")  # never in CI: see the top of this file
