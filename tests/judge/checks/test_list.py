"""The list of checks: every file, once, each with outcomes of its own."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from support.worlds import EXAM, LMS, sent

from detector.judge import checks

if TYPE_CHECKING:
    from conftest import World

    from detector.judge.network_evidence import NetworkEvidence


def test_every_check_is_listed_once() -> None:
    """The list runs exactly the check files there are, each under its own id and with its own kind of outcome."""
    files = [name for _, name, _ in pkgutil.iter_modules(checks.__path__)]
    modules = {name: importlib.import_module(f"{checks.__name__}.{name}") for name in files}
    assert {module.ID: module.check for module in modules.values()} == dict(checks.CHECKS)
    assert len(checks.CHECKS) == len(checks.MODULES) == len(modules)
    assert [module.ID for module in checks.MODULES][:2] == ["presented", "key-possession"]
    assert all(module.Outcome.check == module.ID for module in checks.MODULES)


def test_only_marked_checks_ask_the_network(world: World) -> None:
    """All other checks do without it, so that what they found holds in every pass over a network."""
    ca = world.pki.private_ca("Filter CA")
    others = [world.observed(sent(ca, LMS)), world.observed(world.pki.issue([EXAM]))]
    evidence = world.case(EXAM, sent(ca, EXAM), canary=True, pins=(b"x" * 32,), others=others)
    for module in checks.MODULES:
        if not getattr(module, "USES_NETWORK", False):
            list(module.check(evidence, cast("NetworkEvidence", None)))
