"""Check `machine-root`: does the chain lead to a root that is installed on this machine but is not public?

Room: checks. Pure. Feeds row 15 of the decision table. That is how institution middleware keeps browsers quiet.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "machine-root"
BACKDATED_MOST: Final = dt.timedelta(days=2)
"""How long before its installation a root made on this machine may claim to be valid: generators backdate by up to two
days (mitmproxy does) so that clocks that are behind accept it. An institution's root is older when it is rolled out."""
CLOCK_SLACK: Final = dt.timedelta(minutes=5)
"""How long after its installation it may begin, for file systems with coarse times."""


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`path`; silent otherwise, and where the chain leads to a root declared for this endpoint."""
    if case.declared_paths:
        return
    for path in case.machine_paths:
        if path.anchor is None:
            continue
        root = path.anchor.certificate
        installed_at = case.context.installed_at(root.sha256)
        yield Finding(
            check=ID,
            outcome="path",
            says=Says.INTERCEPTED,
            summary=f"The chain leads to {path.anchor.label}, a root that was added to this machine and is not public.",
            data={
                "root": path.anchor.label,
                "sha256": root.sha256.hex(),
                "not_before": root.not_before.isoformat() if root.not_before else None,
                "installed_at": installed_at.isoformat() if installed_at else None,
                "made_here": _made_here(root.not_before, installed_at),
            },
        )
        return


def _made_here(not_before: dt.datetime | None, installed_at: dt.datetime | None) -> bool:
    """Whether the root came to this machine when it was made: software that filters its own device makes its own CA."""
    if not_before is None or installed_at is None:
        return False
    return -BACKDATED_MOST <= not_before - installed_at <= CLOCK_SLACK
