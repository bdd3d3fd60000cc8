"""The parts of the knowledge with name, version, date and horizon, as every report and bundle states them.

Room: knowledge. Reads the head of the package's own catalogue; the day is an argument.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from detector.knowledge import catalogue
from detector.model import Knowledge, KnowledgeKind
from detector.trust.ct_logs import LIST_HORIZON
from detector.trust.roots import ROOTS_HORIZON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.trust.ct_logs import LogList
    from detector.trust.roots import Roots

HORIZONS: Final = {
    KnowledgeKind.ROOTS: ROOTS_HORIZON,
    KnowledgeKind.LOGS: LIST_HORIZON,
    KnowledgeKind.CATALOGUE: dt.timedelta(days=365),
}
"""The age at which each part counts as old. Catalogue: a year, in which a product releases its next version; no verdict
depends on it, because what it does not know only leaves an interceptor without name and mark."""

_NOUNS: Final = {
    KnowledgeKind.ROOTS: "public roots",
    KnowledgeKind.LOGS: "CT logs",
    KnowledgeKind.CATALOGUE: "catalogue",
}


def used(roots: Roots, logs: LogList) -> tuple[Knowledge, ...]:
    """The parts used for an assessment: these roots and logs, and the shipped catalogue.

    The hash of the logs is over the sorted log IDs, each with 1 where its timestamps count as evidence, else with 0.
    """
    edition = catalogue.edition()
    log_ids = [log_id + b"\1" for log_id in logs.logs] + [log_id + b"\0" for log_id in logs.untrusted]
    digest = hashlib.sha256(b"".join(sorted(log_ids))).hexdigest()
    return (
        of_roots(roots),
        _part(KnowledgeKind.LOGS, logs.name, logs.date, digest),
        _part(KnowledgeKind.CATALOGUE, "shipped", edition.date, edition.sha256),
    )


def of_roots(roots: Roots) -> Knowledge:
    """Identify these public roots. The hash is over the sorted SHA-256 of every certificate."""
    digest = hashlib.sha256(b"".join(sorted(roots.by_sha256))).hexdigest()
    return _part(KnowledgeKind.ROOTS, roots.name, roots.date, digest, roots.version)


def _part(kind: KnowledgeKind, name: str, date: dt.date | None, sha256: str, version: str = "") -> Knowledge:
    horizon = None if date is None else date + min(HORIZONS[kind], dt.date.max - date)
    return Knowledge(kind=kind, name=_base_name(name), version=version, date=date, horizon=horizon, sha256=sha256)


def _base_name(name: str) -> str:
    """Remove the folders of a file name: they can name a person, and the hash identifies the file."""
    return " + ".join(PureWindowsPath(PurePosixPath(part).name).name for part in name.split(" + "))


def describe(knowledge: Iterable[Knowledge]) -> str:
    """Describe the parts in one phrase for people."""
    return ", ".join(
        " ".join(filter(None, (_NOUNS[part.kind], part.name, part.version, f"of {part.date}" if part.date else "")))
        for part in knowledge
    )


def dates(knowledge: Iterable[Knowledge]) -> str:
    """The date of each part in one phrase for people, or its name where it has none."""
    return ", ".join(f"{_NOUNS[part.kind]} {f'of {part.date}' if part.date else part.name}" for part in knowledge)


def warning(knowledge: Iterable[Knowledge], at: dt.datetime) -> str | None:
    """One sentence on the parts that are past their horizon at this moment; None when there are none."""
    old = [part for part in knowledge if part.is_past(at)]
    if not old:
        return None
    return f"What is known here is old ({describe(old)}): update this package, or give newer roots and logs."
