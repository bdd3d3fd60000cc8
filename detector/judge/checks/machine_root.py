"""Check `machine-root`: whether the chain leads to a root of this machine that is not public, and who put it there.

Room: judge. Pure. Reports where such a root comes from; that the chain leads to it is part of the check `chain`. Feeds
`added-root` through the class, and locality: software that filters its own device makes its own CA on it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.classes import ADDED_BY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.judge.evidence import EndpointEvidence

ID: Final = "machine-root"
QUESTION: Final = "Does it lead to a root of the machine that is not public, and how did that come there?"

BACKDATED_MOST: Final = dt.timedelta(days=2)
"""How long before its installation a root made on this machine may claim to be valid: generators backdate by up to two
days (mitmproxy does) so that clocks that are behind accept it. An institution's root is older when it is rolled out."""
CLOCK_SLACK: Final = dt.timedelta(minutes=5)
"""How long after its installation it may begin, for file systems with coarse times."""


class Outcome(CheckOutcome, check=ID):
    """Who put the root there; `made-here` in addition where it was made when it was installed."""

    ADDED = (
        "added",
        (
            "A person, a program or a policy put the root above this chain on this machine. Institutions, security "
            "software and developers do that."
        ),
    )
    UNFAMILIAR = (
        "unfamiliar",
        "The trust store does not record who put the root on this machine. It may have come with the system.",
    )
    MADE_HERE = (
        "made-here",
        (
            "The root was made at the moment when it came to this machine. Software that filters its own device makes "
            "its root like that; so does a development CA."
        ),
    )


UNNAMED: Final[Mapping[CheckOutcome, str]] = {
    Outcome.ADDED: "The root was put on this machine by a person, program or policy.",
    Outcome.UNFAMILIAR: "Who put the root on this machine is not known.",
    Outcome.MADE_HERE: "The root was made when it came to this machine.",
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for the first such root, and `made-here` for one that was added."""
    anchors = [path.anchor for path in evidence.machine_paths if path.anchor is not None]
    anchor = next((a for a in anchors if a.origin in ADDED_BY), anchors[0] if anchors else None)
    if anchor is None:
        return
    root, added = anchor.certificate, anchor.origin in ADDED_BY
    installed_at = evidence.context.installed_at(root.sha256)
    data: dict[str, Any] = {
        "root": anchor.label,
        "sha256": root.sha256.hex(),
        "origin": anchor.origin,
        "not_before": root.not_before.isoformat() if root.not_before else None,
        "installed_at": installed_at.isoformat() if installed_at else None,
    }
    if not added:
        yield Outcome.UNFAMILIAR.found(f"Who put {anchor.label} on this machine is not known.", **data)
        return
    by = "a policy" if anchor.origin == "policy" else "a person or a program"
    yield Outcome.ADDED.found(f"{anchor.label} was put on this machine by {by}.", Meaning.INTERCEPTED, **data)
    if root.not_before is None or installed_at is None:
        return
    if -BACKDATED_MOST <= root.not_before - installed_at <= CLOCK_SLACK:
        summary = f"{anchor.label} was made when it came to this machine, as software makes it that filters its device."
        yield Outcome.MADE_HERE.found(summary, Meaning.INTERCEPTED)
