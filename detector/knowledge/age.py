"""The parts of the knowledge with name, version, date and horizon, as every report and bundle states them.

Room: knowledge. Pure; the day is an argument.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from detector.model import Knowledge, KnowledgeKind

from .data_set import PARTS
from .part import horizon_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from detector.trust.ct_logs import LogList
    from detector.trust.roots import Roots

    from .data_set import DataSet

_NOUNS: Final = {
    KnowledgeKind.ROOTS: "public roots",
    KnowledgeKind.LOGS: "CT logs",
    KnowledgeKind.INTERMEDIATES: "intermediates",
    KnowledgeKind.REVOCATIONS: "revocations",
    KnowledgeKind.CATALOGUE: "catalogue",
    KnowledgeKind.CLIENT_HELLOS: "browsers' hellos",
    KnowledgeKind.BROWSER_OFFERS: "browsers' offers",
    KnowledgeKind.CANARIES: "canaries",
    KnowledgeKind.PINS: "pins",
}


CHANGES: Final = {
    KnowledgeKind.ROOTS: "which chains are public, retired or private",
    KnowledgeKind.LOGS: "which timestamps count",
    KnowledgeKind.INTERMEDIATES: "which missing issuers are publicly known",
    KnowledgeKind.REVOCATIONS: "which chains no client accepts",
    KnowledgeKind.CATALOGUE: "which products and keys are recognized",
}
"""What another edition of a part changes when recorded evidence is assessed again. The other parts change nothing
there: what was sent and what was expected is recorded."""

_ALWAYS_SHOWN: Final = frozenset({KnowledgeKind.ROOTS, KnowledgeKind.LOGS, KnowledgeKind.CATALOGUE, KnowledgeKind.PINS})
"""What the short form of a report names; the parts of one data set seldom differ in age."""


def used(roots: Roots, logs: LogList, data: DataSet, pins: tuple[Knowledge, ...] = ()) -> tuple[Knowledge, ...]:
    """The parts used for an assessment: these roots and logs, everything else from the data set, and vendors' `pins`.

    The hash of logs that a user gave is over the sorted log IDs, each with 1 where its timestamps count as evidence,
    else with 0.
    """
    log_ids = [log_id + b"\1" for log_id in logs.logs] + [log_id + b"\0" for log_id in logs.untrusted]
    digest = hashlib.sha256(b"".join(sorted(log_ids))).hexdigest()
    own = {
        KnowledgeKind.ROOTS: None if roots.sha256 else of_roots(roots),
        KnowledgeKind.LOGS: None if logs.sha256 else _part(KnowledgeKind.LOGS, logs.name, logs.date, digest),
    }
    return (*(own.get(kind) or data.part(kind) for kind in PARTS), *pins)


def of_roots(roots: Roots) -> Knowledge:
    """Identify these public roots. The hash of a user's own is over the sorted SHA-256 of each certificate."""
    digest = roots.sha256 or hashlib.sha256(b"".join(sorted(roots.by_sha256))).hexdigest()
    return _part(KnowledgeKind.ROOTS, roots.name, roots.date, digest, roots.version)


def _part(kind: KnowledgeKind, name: str, date: dt.date | None, sha256: str, version: str = "") -> Knowledge:
    horizon = None if date is None else horizon_of(kind, date)
    return Knowledge(kind=kind, name=_base_name(name), version=version, date=date, horizon=horizon, sha256=sha256)


def _base_name(name: str) -> str:
    """Remove the folders of a file name: they can name a person, and the hash identifies the file."""
    return " + ".join(PureWindowsPath(PurePosixPath(part).name).name for part in name.split(" + "))


def describe(knowledge: Iterable[Knowledge]) -> str:
    """Describe the parts in one phrase for people; a name that is that of the part before is not repeated."""
    said, before = [], ""
    for part in knowledge:
        name = "" if part.name == before else part.name
        dated = f"of {part.date}" if part.date else ""
        said.append(" ".join(filter(None, (_NOUNS[part.kind], name, part.version, dated))))
        before = part.name
    return ", ".join(said)


def dates(knowledge: Iterable[Knowledge]) -> str:
    """The dates of the main parts, or of all where none of them was used, in one phrase; names where they have none."""
    known = tuple(knowledge)
    shown = [part for part in known if part.kind in _ALWAYS_SHOWN] or known
    return ", ".join(f"{_NOUNS[part.kind]} {f'of {part.date}' if part.date else part.name}" for part in shown)


def differing(kinds: Iterable[KnowledgeKind]) -> str:
    """Say that other editions of these parts were used, and what that can change in recorded evidence."""
    changing = [f"{_NOUNS[kind]} ({CHANGES[kind]})" for kind in kinds if kind in CHANGES]
    nothing = [_NOUNS[kind] for kind in kinds if kind not in CHANGES]
    said = (
        f"other {' and '.join(changing)}" if changing else "",
        f"other {' and '.join(nothing)}, which changes nothing of what was recorded" if nothing else "",
    )
    return "; ".join(filter(None, said)) or "the same"


def warning(knowledge: Iterable[Knowledge], at: dt.datetime) -> str | None:
    """One sentence on the parts that are past their horizon at this moment; None when there are none."""
    old = [part for part in knowledge if part.is_past(at)]
    if not old:
        return None
    return f"What is known here is old ({describe(old)}): run `detector data update`, or update this package."
