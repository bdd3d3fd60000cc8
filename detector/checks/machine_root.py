"""Check `machine-root`: does the chain lead to a root that is installed on this machine but is not public?

Room: checks. Pure. Feeds row 15 of the decision table. That is how institution middleware keeps browsers quiet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.evidence import Case, Network

ID: Final = "machine-root"


def check(case: Case, network: Network) -> Iterator[Finding]:
    """`path`; silent otherwise, and where the chain leads to a root declared for this endpoint."""
    if case.declared_paths:
        return
    for path in case.machine_paths:
        if path.anchor is None:
            continue
        root = path.anchor.certificate
        yield Finding(
            check=ID,
            outcome="path",
            says=Says.INTERCEPTED,
            summary=f"The chain leads to {path.anchor.label}, a root that was added to this machine and is not public.",
            data={"root": path.anchor.label, "sha256": root.sha256.hex()},
        )
        return
