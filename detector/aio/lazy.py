"""Modules that are imported when something of them is first asked for, not when a program starts.

Room: below all. A proctoring client waits for its verdict from the moment its process begins; what only judging needs
is imported while the network is waited for (docs/adr/0008-exam-start.md).
"""

from __future__ import annotations

import importlib


class Later:
    """Stands for the module `name`. What it is asked for is the module's; asking imports it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        """Give what the module has under this name. Raises AttributeError as the module does."""
        return getattr(importlib.import_module(self._name), attribute)
