"""Reads a verified candidate as the set that would serve, and refuses what does not fit.

Room: update. Pure. A damaged or unreadable part of an installed set is left aside by those who read it; before a set is
installed it is a reason to refuse the whole of it. Only a form of a later package is left out, with a sentence.

A signature says who published a set, not that publishing it was right. So what would make this copy blind, or let it
accept more, without the offline role having said so, is held back:

* roots or CT logs that are no longer known, or no longer count, and that `removed` does not list. Real bundles lose up
  to a fifth between two releases, so a loss alone says nothing; what the offline role lists was meant.
* a part that is older than the one an update installed before.
* a catalogue with a mark or a hash that a public CA has: it would accuse every genuine chain below that CA.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Final

from detector.errors import DetectorError, HeldBackError, KnowledgeError, UnknownSchemaError
from detector.knowledge.catalogue import Names
from detector.knowledge.data_set import PARTS, ROOT_CERTIFICATES, DataSet, published_by
from detector.knowledge.known_roots import RootCertificates
from detector.knowledge.part import decode
from detector.knowledge.store import Manifest, StoredFile, StoredSet
from detector.model import KnowledgeKind, json_text, toml_files
from detector.model.record import encode
from detector.pins.load import SCHEMA as PINS_SCHEMA
from detector.pins.load import VENDOR, load, shipped
from detector.trust.certificate import Certificate

from .targets import STAYS, TELL, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from detector.model import Knowledge

    from .repository import Candidate, Removed

NAMED_MAX: Final = 3
"""Roots or logs that a message names; it says how many there are."""


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


def check(candidate: DataSet, in_use: DataSet, removed: Removed, left_out: Mapping[str, str]) -> None:
    """Raise `HeldBackError`, with every reason, when the candidate is not to replace the set in use.

    Both are what serves: part by part the newer of what is shipped and what is, or would be, installed. `left_out` says
    what this version does not take of the candidate.
    """
    lost = {
        "roots": (lost_roots(in_use, candidate), removed.roots),
        "CT logs": (lost_logs(in_use, candidate), removed.logs),
    }
    reasons = [*_older(candidate, in_use, left_out), *_accused_cas(candidate)]
    for kind, (missing, listed) in lost.items():
        unlisted = sorted(label for key, label in missing.items() if key not in listed)
        if unlisted:
            more = ", …" if len(unlisted) > NAMED_MAX else ""
            known = ", ".join(map(shown, unlisted[:NAMED_MAX]))
            reasons.append(f"{len(unlisted)} {kind} are lost and not listed as removed ({known}{more})")
    if reasons:
        raise HeldBackError(
            f"The set is held back: {'; '.join(reasons)}.",
            advice="The set in use stays. Update the package, and ask the publisher: what was removed "
            "on purpose is listed in the metadata that the offline role signs.",
        )


def _older(candidate: DataSet, in_use: DataSet, left_out: Mapping[str, str]) -> Iterator[str]:
    """Yield each part that would be older than now."""
    for kind, file in PARTS.items():
        now, then = in_use.part(kind), candidate.part(kind)
        if _age(then) < _age(now):
            why = left_out.get(file.name, "")
            yield f"{file.name} of {then.date} is older than that of {now.date} in use" + (f" ({why})" if why else "")


def _accused_cas(candidate: DataSet) -> Iterator[str]:
    """Yield each entry of the catalogue that a public root or intermediate matches."""
    for der in candidate.root_certificates:
        root = Certificate.read(der)
        names, text = (root.subject.attributes, root.subject.text) if root.subject else ((), root.sha256.hex())
        by_name = candidate.catalogue.match(Names(leaf_issuer=names, leaf_subject=names, ca_subjects=(names,)))
        by_hash = candidate.catalogue.match_digests({root.sha256, root.spki_sha256 or root.sha256})
        for hit in (*by_name, *by_hash):
            yield f"the catalogue's entry {shown(hit.entry.id)} matches the public root {shown(text)}"
    known = candidate.intermediates
    for hit in candidate.catalogue.match_digests({*known.certificates, *known.keys}):
        yield f"the catalogue's entry {shown(hit.entry.id)} matches an intermediate of a public CA"


def _age(part: Knowledge) -> tuple[dt.date, int]:
    """What decides which of two parts is newer, as in `detector.knowledge.data_set`."""
    return part.date or dt.date.min, int(part.version or 0)


def lost_roots(before: DataSet, after: DataSet) -> dict[str, str]:
    """The roots that count as public before and not after, by the SHA-256 of the certificate, with their labels.

    A root that is known as removed from the bundles still explains chains of its time, and new ones no longer: so it
    counts as lost, as does one that is not known at all.
    """
    current = {root.sha256 for root in after.known_roots.roots if root.removed is None}
    return {r.sha256: r.label for r in before.known_roots.roots if r.removed is None and r.sha256 not in current}


def lost_logs(before: DataSet, after: DataSet) -> dict[str, str]:
    """The logs whose timestamps count before and not after, by log ID in base64, with their descriptions.

    A retired log is not lost: its timestamps from before it retired still count.
    """
    return {
        base64.b64encode(log_id).decode(): log.description or log.operator
        for log_id, log in before.logs.logs.items()
        if log_id not in after.logs.logs
    }
