"""Reads a verified candidate as the set that would serve, and refuses what does not fit.

Room: update. Pure. A damaged or unreadable part of an installed set is left aside by those who read it; before a set is
installed it is a reason to refuse the whole of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from detector.errors import DetectorError, HeldBackError
from detector.knowledge.data_set import PARTS, ROOT_CERTIFICATES, DataSet
from detector.knowledge.store import Manifest, StoredFile, StoredSet
from detector.model import KnowledgeKind, json_text
from detector.model.record import encode
from detector.pins.load import of_vendor, shipped

from .targets import shown

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from .repository import Candidate

_STAYS: Final = "The set in use stays. Tell the publisher of the repository."


class _Schema(msgspec.Struct, frozen=True):
    """The version of a part's form, which is read before anything else of it."""

    schema: int


def stored(candidate: Candidate, *, folder: Path, repository: str, at: dt.datetime) -> StoredSet:
    """The candidate as the set that would be installed in `folder`, without the parts in a form that is unknown here.

    Raises `HeldBackError` for a part that is not what its name says, or that is dated after `at`.
    """
    files = dict(candidate.files)
    left_out = {path: shown(why) for path, why in candidate.left_out.items()}
    for part in PARTS.values():
        data = files.get(part.name)
        if data is not None and part.form is not None and (form := _schema(part.name, data)) != part.schema:
            left_out[part.name] = (
                f"Its form has the version {form}, and this package reads version {part.schema}. Update the package."
            )
            del files[part.name]
    if PARTS[KnowledgeKind.ROOTS].name in left_out:
        files.pop(ROOT_CERTIFICATES, None)
    manifest = Manifest(
        repository=repository,
        version=candidate.version,
        published=at,
        files={path: _file(data) for path, data in sorted(files.items())},
        left_out=left_out,
    )
    try:
        json_text.decode(encode(manifest), Manifest)
    except json_text.MalformedError as error:
        raise HeldBackError(f"The set cannot be stored: {error}.", advice=_STAYS) from error
    return StoredSet(folder, manifest, files)


def read(new: StoredSet) -> DataSet:
    """What would serve with this set installed: part by part the newer of it and of what is shipped.

    Raises `HeldBackError` for a part or a pin file that does not fit.
    """
    for part in PARTS.values():
        data, form = new.files.get(part.name), part.form
        if data is not None and form is not None:
            try:
                json_text.decode(data, form())
            except json_text.MalformedError as error:
                raise _misfit(part.name, str(error)) from error
    set_ = DataSet(new)
    try:
        for name in _READ:
            getattr(set_, name)
        set_.public_roots()
        shipped(set_, root_labels=set_.known_roots.labels)
        for kind in PARTS:
            set_.part(kind)
        for vendor in sorted(set_.vendors):
            of_vendor(set_, vendor, root_labels=set_.known_roots.labels)
    except DetectorError as error:
        raise _misfit("The set", error.message) from error
    if set_.warnings:
        raise _misfit("The set", set_.warnings[0])
    return set_


_READ: Final = ("known_roots", "logs", "intermediates", "revocations", "catalogue", "client_hellos", "canaries")
"""What `DataSet` reads on demand, read here once so that nobody finds it damaged later."""


def _misfit(name: str, why: str) -> HeldBackError:
    return HeldBackError(f"{name}: does not fit: {why.rstrip('.')}.", advice=_STAYS)


def _file(data: bytes) -> StoredFile:
    return StoredFile(sha256=hashlib.sha256(data).hexdigest(), length=len(data))


def _schema(name: str, data: bytes) -> int:
    try:
        return json_text.decode(data, _Schema).schema
    except json_text.MalformedError as error:
        raise HeldBackError(f"{name}: not a part of the knowledge: {error}.", advice=_STAYS) from error
