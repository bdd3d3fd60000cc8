"""Reads a verified candidate as the set that would serve, and refuses what does not fit.

Room: update. Pure. A damaged or unreadable part of an installed set is left aside by those who read it; before a set is
installed it is a reason to refuse the whole of it. Only a form of a later package is left out, with a sentence.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Final

from detector.errors import DetectorError, HeldBackError, KnowledgeError, UnknownSchemaError
from detector.knowledge.data_set import PARTS, ROOT_CERTIFICATES, DataSet, published_by
from detector.knowledge.known_roots import RootCertificates
from detector.knowledge.part import decode
from detector.knowledge.store import Manifest, StoredFile, StoredSet
from detector.model import KnowledgeKind, json_text, toml_files
from detector.model.record import encode
from detector.pins.load import SCHEMA as PINS_SCHEMA
from detector.pins.load import VENDOR, load, shipped

from .targets import STAYS, TELL, shown

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from .repository import Candidate


def stored(candidate: Candidate, *, folder: Path, repository: str, at: dt.datetime) -> StoredSet:
    """The candidate as the set that would be installed in `folder` at `at`, without files in an unknown form.

    Raises `HeldBackError` for a file that is not what its name says.
    """
    files = dict(candidate.files)
    left_out = {path: shown(why) for path, why in candidate.left_out.items()}
    for path, data in candidate.files.items():
        try:
            _check(path, data, at)
        except UnknownSchemaError as error:
            left_out[path] = f"{error.message} Update the package to use it."
            del files[path]
        except (KnowledgeError, ValueError, RecursionError) as error:
            raise _misfit(path, str(error)) from error
    if not files.keys() >= _ROOTS:  # the one is nothing without the other
        files = {path: data for path, data in files.items() if path not in _ROOTS}
    manifest = Manifest(
        repository=repository,
        version=candidate.version,
        published=at,
        files={
            path: StoredFile(sha256=hashlib.sha256(data).hexdigest(), length=len(data))
            for path, data in sorted(files.items())
        },
        left_out=left_out,
    )
    try:
        json_text.decode(encode(manifest), Manifest)
    except json_text.MalformedError as error:
        raise HeldBackError(f"The set cannot be stored: {error}.", advice=TELL) from error
    return StoredSet(folder, manifest, files)


_ROOTS: Final = {PARTS[KnowledgeKind.ROOTS].name, ROOT_CERTIFICATES}
_PARTS: Final = {part.name: part for part in PARTS.values()}


def _check(path: str, data: bytes, at: dt.datetime) -> None:
    """Raise `UnknownSchemaError` for a form that is not known, `KnowledgeError` or ValueError for what is no part.

    Raises `HeldBackError` for a part of a day to come.
    """
    part = _PARTS.get(path)
    if path == ROOT_CERTIFICATES:
        decode(data, RootCertificates, name=path, schema=PARTS[KnowledgeKind.ROOTS].schema)
    elif part is not None and part.form is not None:
        date = decode(data, part.form(), name=path, schema=part.schema).date
        if date > published_by(at):
            raise HeldBackError(
                f"{path}: is of {date}, and this machine's clock says {at:%Y-%m-%d}.",
                advice=f"Set the clock. If it is right, tell the publisher of the repository. {STAYS}",
            )
    else:
        schema = toml_files.decode(data).get("schema")
        if isinstance(schema, int) and schema != PINS_SCHEMA:
            raise UnknownSchemaError(f"{path}: `schema` is {schema}, and this version reads {PINS_SCHEMA}.", advice="")


def read(new: StoredSet) -> DataSet:
    """What would serve with this set installed: part by part the newer of it and of what is shipped.

    Raises `HeldBackError` for a part or a pin file that does not fit.
    """
    data = DataSet(new)
    try:
        for name, attribute in vars(DataSet).items():  # what is read on demand: nobody is to find it damaged later
            if isinstance(attribute, cached_property):
                getattr(data, name)
        labels = data.known_roots.labels
        data.public_roots()
        data.parts()
        shipped(data, root_labels=labels)
        for vendor in sorted(data.vendors):
            load(f"{VENDOR}{vendor}", root_labels=labels, data=data)
    except DetectorError as error:
        raise _misfit("The set", error.message) from error
    if data.warnings:
        raise _misfit("The set", data.warnings[0])
    return data


def _misfit(name: str, why: str) -> HeldBackError:
    return HeldBackError(f"{name}: does not fit: {why.rstrip('.')}.", advice=TELL)
