"""Signed updates of the knowledge: fetches a set from a TUF repository and puts it in the place of the one in use.

Room: update, above guard. The only room that fetches knowledge, and only when it is called: `detector data update`,
`detector watch --update` and callers of `update`. Checks, the gate and the guard read what is installed
(`detector.knowledge.store`) and connect to no repository.

    repository --transport--> repository.fetch --> candidate --> install.Installer --> knowledge/sets/...

`transport` brings bytes through the guarded connector or from a directory, `repository` verifies them by The Update
Framework (TUF) and gives a candidate, `candidate` says what speaks against it, `install` writes it so that a crash at
any moment leaves the old one, `verification` checks an installed set again, and `mirror` makes a repository of it.
`run` puts them together. The extra `update` installs what this needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from detector.errors import HeldBackError, MissingExtraError, UpdateError

if TYPE_CHECKING:
    from .bootstrap import TestRoot as TestRoot
    from .run import Update as Update
    from .run import export as export
    from .run import update as update
    from .run import verify as verify
    from .verification import Verification as Verification

__all__ = ["HeldBackError", "TestRoot", "Update", "UpdateError", "Verification", "export", "update", "verify"]


_NOT_IN_RUN: Final = {"TestRoot": "bootstrap", "Verification": "verification"}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562): TUF takes 0.2 s to import, and is an extra."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_NOT_IN_RUN.get(name, 'run')}", __name__)
    except ModuleNotFoundError as error:
        if error.name == "tuf":
            raise MissingExtraError("Updates of the knowledge need python-tuf.", extra="update") from error
        raise
    return getattr(module, name)
