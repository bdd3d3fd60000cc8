"""Check `machine-root`: does the chain lead to a root of this machine that is not public, and who put it there?

Room: judge. Pure. Says where such a root comes from; that the chain leads to it is reported by the check `chain`. Feeds
`added-root` through the class, and locality: software that filters its own device makes its own CA on it.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning
from detector.trust.classes import ADDED_BY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "machine-root"

BACKDATED_MOST: Final = dt.timedelta(days=2)
"""How long before its installation a root made on this machine may claim to be valid: generators backdate by up to two
days (mitmproxy does) so that clocks that are behind accept it. An institution's root is older when it is rolled out."""
CLOCK_SLACK: Final = dt.timedelta(minutes=5)
"""How long after its installation it may begin, for file systems with coarse times."""


class Outcome(enum.StrEnum):
    """Who put the root there; `made-here` in addition where it was made when it was installed."""

    ADDED = "added"
    UNFAMILIAR = "unfamiliar"
    MADE_HERE = "made-here"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for the first such root, and `made-here` for one that was added."""
    anchors = [path.anchor for path in evidence.machine_paths if path.anchor is not None]
    anchor = next((a for a in anchors if a.origin in ADDED_BY), anchors[0] if anchors else None)
    if anchor is None:
        return
    root, added = anchor.certificate, anchor.origin in ADDED_BY
    installed_at = evidence.context.installed_at(root.sha256)
    data = {
        "root": anchor.label,
        "sha256": root.sha256.hex(),
        "origin": anchor.origin,
        "not_before": root.not_before.isoformat() if root.not_before else None,
        "installed_at": installed_at.isoformat() if installed_at else None,
    }
    yield Finding(
        check=ID,
        outcome=Outcome.ADDED if added else Outcome.UNFAMILIAR,
        says=Meaning.INTERCEPTED if added else Meaning.NEUTRAL,
        summary=f"{anchor.label} was put on this machine by "
        f"{'a policy' if anchor.origin == 'policy' else 'a person or a program'}."
        if added
        else f"Who put {anchor.label} on this machine is not known.",
        data=data,
    )
    if added and _made_here(root.not_before, installed_at):
        summary = f"{anchor.label} was made when it came to this machine, as software makes it that filters its device."
        yield Finding(check=ID, outcome=Outcome.MADE_HERE, says=Meaning.INTERCEPTED, summary=summary)


def _made_here(not_before: dt.datetime | None, installed_at: dt.datetime | None) -> bool:
    """Whether the root came to this machine when it was made."""
    if not_before is None or installed_at is None:
        return False
    return -BACKDATED_MOST <= not_before - installed_at <= CLOCK_SLACK
