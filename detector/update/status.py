"""What is installed and what serves: the parts with their ages and where each comes from.

Room: update. Pure. It needs no extra: `detector data show` says what a copy knows whether or not it can update it.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec resolves the annotations at run time
from typing import TYPE_CHECKING

from detector.knowledge.data_set import PARTS, SHIPPED
from detector.model import KnowledgeKind, Record
from detector.pins.load import VENDOR, load

if TYPE_CHECKING:
    from detector.knowledge.data_set import DataSet
    from detector.model import Knowledge


class PartStatus(Record, frozen=True, kw_only=True):
    """One part that serves. `origin` is `shipped`, `updated`, or `vendor:NAME` for the pins of a vendor.

    `age_days` counts from `date`; `is_old` says that the part is past its horizon.
    """

    kind: KnowledgeKind
    file: str
    origin: str
    version: str
    date: dt.date | None
    horizon: dt.date | None
    age_days: int | None
    is_old: bool


class Status(Record, frozen=True, kw_only=True):
    """What serves on this machine, and the installed set where there is one.

    `set`, `repository` and `installed_at` are those of the installed set; `left_out` says what of it is not used, and
    `warnings` what was found damaged.
    """

    folder: str
    set: str | None
    repository: str | None
    installed_at: dt.datetime | None
    parts: tuple[PartStatus, ...]
    left_out: dict[str, str]
    warnings: tuple[str, ...]


def status(data: DataSet, *, folder: str, at: dt.datetime) -> Status:
    """What serves at this moment."""
    stored = data.stored
    manifest = None if stored is None else stored.manifest
    parts = [
        _status(data.part(kind), file.name, "updated" if data.is_updated(kind) else SHIPPED, at)
        for kind, file in PARTS.items()
    ]
    for vendor in sorted(data.vendors):
        (pins,) = load(f"{VENDOR}{vendor}", root_labels=data.known_roots.labels, data=data).knowledge
        parts.append(_status(pins, f"pins/{vendor}/", pins.name, at))
    return Status(
        folder=folder,
        set=None if stored is None else stored.folder.name,
        repository=None if manifest is None else manifest.repository,
        installed_at=None if manifest is None else manifest.published,
        parts=tuple(parts),
        left_out={} if manifest is None else manifest.left_out,
        warnings=tuple(data.warnings),
    )


def _status(part: Knowledge, file: str, origin: str, at: dt.datetime) -> PartStatus:
    return PartStatus(
        kind=part.kind,
        file=file,
        origin=origin,
        version=part.version,
        date=part.date,
        horizon=part.horizon,
        age_days=None if part.date is None else (at.date() - part.date).days,
        is_old=part.is_past(at),
    )
