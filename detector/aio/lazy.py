"""Lazy imports: a module that is imported on first use, not when the program starts.

Room: aio (below all others). A proctoring client waits for its verdict from the moment its process begins, so what only
the assessment needs is imported while the network is waited for (docs/adr/0008-exam-start.md). Use it in this form,
which type checkers and readers see as a plain import:

    if TYPE_CHECKING:
        from detector.judge import assess
    else:
        assess = LazyModule("detector.judge.assess")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


class LazyModule:
    """Stands for the module `name`; the first attribute that is read imports it.

    Raises:
        ImportError: on first use, as an import statement would.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> object:
        """Return the module's attribute; AttributeError as the module raises it."""
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)
