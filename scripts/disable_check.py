"""A pytest plugin that switches one check of the detector off: the mutation behind `mutate_checks.py`.

Used as `DISABLE_CHECK=pin PYTHONPATH=scripts pytest -p disable_check`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from detector.judge import checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.model import Finding


def silent(*_: object) -> Iterator[Finding]:
    """Find nothing, whatever there is to find."""
    return iter(())


def pytest_configure() -> None:
    """Switch the check off before any test is collected. Raises KeyError for an id that no check has."""
    disabled = os.environ["DISABLE_CHECK"]
    modules = {module.ID: module for module in checks.MODULES}
    setattr(modules[disabled], "check", silent)  # noqa: B010 - a module has no such attribute for a type checker
    mutated = {**checks.CHECKS, disabled: silent}
    checks.CHECKS = mutated  # type: ignore[misc] # a mutation is what this is for
