"""The list of checks: every file, once, each with outcomes of its own."""

from __future__ import annotations

import importlib
import pkgutil

from detector.judge import checks


def test_every_check_is_listed_once() -> None:
    """The list runs exactly the check files there are, each under its own id and with its own kind of outcome."""
    files = [name for _, name, _ in pkgutil.iter_modules(checks.__path__)]
    modules = {name: importlib.import_module(f"{checks.__name__}.{name}") for name in files}
    assert {module.ID: module.check for module in modules.values()} == dict(checks.CHECKS)
    assert len(checks.CHECKS) == len(checks.MODULES) == len(modules)
    assert [module.ID for module in checks.MODULES][:2] == ["presented", "key-possession"]
    assert all(module.Outcome.check == module.ID for module in checks.MODULES)
