"""Check a data set before it is released: what would accuse the innocent or blind its readers, and what changed.

Room: scripts. Pure: the bytes of the files in, sentences out.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detector.errors import DetectorError
from detector.knowledge import data_set
from detector.knowledge.catalogue import Catalogue, CatalogueFile, Entry, Names
from detector.knowledge.intermediates import IntermediatesFile
from detector.knowledge.known_roots import KnownRoots, RootCertificates
from detector.knowledge.part import Head, decode
from detector.pins.load import of_knowledge
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

ROOTS: Final = "roots.json"
CERTIFICATES: Final = data_set.ROOT_CERTIFICATES
CATALOGUE: Final = "interceptors.json"
CANARIES: Final = "canaries.toml"

_KINDS: Final = {part.name: kind for kind, part in data_set.PARTS.items()}
_HEAD: Final = frozenset(Head.__struct_fields__)
_IDENTITY: Final = ("log_id", "sha256", "id", "issuer", "hello", "host", "family", "ja4", "name")
"""The fields that identify an entry of a list, the first that it has."""
SHOWN_MAX: Final = 40
"""Entries of each kind of change that are listed; the rest are counted."""
SHOWN_CHARACTERS_MAX: Final = 160
"""Characters of a value that are shown."""


def problems(parts: Mapping[str, bytes], before: Mapping[str, bytes]) -> Iterator[str]:
    """Yield everything that keeps these files from being released after those `before`."""
    read: dict[str, Head] = {}
    for name, data in parts.items():
        try:
            if (part := _read(name, data)) is not None:
                read[name] = part
        except DetectorError as error:
            yield error.message
    for name, part in read.items():
        kind = _KINDS.get(name)
        if kind is not None and part.horizon > part.current_until(kind):
            most = part.current_until(kind)
            yield f"{name}: `horizon` is {part.horizon}, and no file of this kind counts longer than {most}."
        yield from _not_newer(name, parts[name], before.get(name))
    yield from _forgotten(parts, before)
    if CANARIES in parts:
        yield from _canaries(parts[CANARIES], before.get(CANARIES), read.get(ROOTS))
    yield from _roots(read.get(ROOTS), read.get(CERTIFICATES))
    yield from _catalogue(read)


def _read(name: str, data: bytes) -> Head | None:
    """Decode a file as a data set does; None for one that has another head."""
    if name == CERTIFICATES:
        return decode(data, RootCertificates, name=name, schema=data_set.PARTS[_KINDS[ROOTS]].schema)
    part = data_set.PARTS.get(_KINDS.get(name))  # type: ignore[arg-type]  # None is no kind
    return None if part is None or part.form is None else decode(data, part.form(), name=name, schema=part.schema)


def _not_newer(name: str, data: bytes, before: bytes | None) -> Iterator[str]:
    """A changed file has a greater version, and no earlier day."""
    if before is None or data == before:
        return
    new, old = json.loads(data), json.loads(before)
    if new["version"] <= old.get("version", 0):
        yield f"{name}: changed, and `version` is still {new['version']}."
    if new["date"] < old.get("date", ""):
        yield f"{name}: `date` is {new['date']}, before {old['date']} of the one before."


def _forgotten(parts: Mapping[str, bytes], before: Mapping[str, bytes]) -> Iterator[str]:
    """Roots and logs of the past stay known: without them, chains of their time would be taken for private ones."""
    for name, field, identity in ((ROOTS, "roots", "sha256"), ("ct_logs.json", "logs", "log_id")):
        if name in parts and name in before:
            known = {entry.get(identity) for entry in _entries(parts[name], field)}
            lost = [_label(entry) for entry in _entries(before[name], field) if entry.get(identity) not in known]
            if lost:
                yield f"{name}: {', '.join(lost)}: known before, and not in it. What was removed stays, as removed."


def _entries(data: bytes, field: str) -> list[dict[str, Any]]:
    """A list of a file; empty where it has none, which its form says elsewhere."""
    try:
        return [entry for entry in json.loads(data)[field] if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError):
        return []


def _canaries(data: bytes, before: bytes | None, known: Head | None) -> Iterator[str]:
    roots = known if isinstance(known, KnownRoots) else data_set.shipped().known_roots
    try:
        new = of_knowledge(Path(CANARIES), data, root_labels=roots.labels)
    except DetectorError as error:
        yield error.message
        return
    if before is not None and data != before:
        old = of_knowledge(Path(CANARIES), before, root_labels=roots.labels)
        if new.updated is None or (old.updated is not None and new.updated <= old.updated):
            yield f"{CANARIES}: changed, and `updated` is not later than {old.updated}."


def _roots(known: Head | None, certificates: Head | None) -> Iterator[str]:
    if not isinstance(known, KnownRoots) or not isinstance(certificates, RootCertificates):
        return
    if (known.version, known.date) != (certificates.version, certificates.date):
        yield f"{ROOTS}: another version or day than {CERTIFICATES}."
    found = [hashlib.sha256(der).hexdigest() for der in certificates.certificates]
    if missing := sorted({root.label for root in known.roots if root.sha256 not in found}):
        yield f"{CERTIFICATES}: no certificate of {', '.join(missing)}."
    elif found != [root.sha256 for root in known.roots]:
        yield f"{CERTIFICATES}: not the certificates of {ROOTS}, in their order."
    for der in certificates.certificates:
        if Certificate.read(der).spki_sha256 is None:
            yield f"{CERTIFICATES}: {hashlib.sha256(der).hexdigest()} is no certificate."


def _catalogue(read: Mapping[str, Head]) -> Iterator[str]:
    file, certificates, known = (read.get(name) for name in (CATALOGUE, CERTIFICATES, "intermediates.json"))
    if not isinstance(file, CatalogueFile):
        return
    catalogue = Catalogue(file.entries)
    ids = [entry.id for entry in file.entries]
    if repeated := sorted({one for one in ids if ids.count(one) > 1}):
        yield f"{CATALOGUE}: {', '.join(repeated)} more than once."
    for entry in file.entries:
        if unknown := sorted(set(entry.supersedes) - set(ids)):
            yield f"{CATALOGUE}: {entry.id} supersedes {', '.join(unknown)}, which is not in it."
        yield from _examples(entry, catalogue)
    for der in certificates.certificates if isinstance(certificates, RootCertificates) else ():
        root = Certificate.read(der)
        names = root.subject.attributes if root.subject else ()
        hits = (
            *catalogue.match(Names(leaf_issuer=names, leaf_subject=names, ca_subjects=(names,))),
            *catalogue.match_digests({root.sha256, root.spki_sha256 or root.sha256}),
        )
        for hit in hits:
            yield f"{CATALOGUE}: {hit.entry.id} hits a public root, {root.subject and root.subject.text}: {hit.fact}."
    if isinstance(known, IntermediatesFile):
        for hit in catalogue.match_digests({*known.certificates, *known.keys}):
            yield f"{CATALOGUE}: {hit.entry.id} hits an intermediate of a public CA: {hit.fact}."


def _examples(entry: Entry, catalogue: Catalogue) -> Iterator[str]:
    """Each example hits its own entry first, and strongly no other one but those that it supersedes."""
    for number, example in enumerate(entry.examples):
        hits = catalogue.match(Names(leaf_issuer=example))
        others = [hit.entry.id for hit in hits if hit.strong and hit.entry.id not in (entry.id, *entry.supersedes)]
        if not hits or hits[0].entry.id != entry.id or others:
            found = ", ".join(others or [hit.entry.id for hit in hits]) or "nothing"
            yield f"{CATALOGUE}: example {number} of {entry.id} hits {found}."


# What changed


def changes(parts: Mapping[str, bytes], before: Mapping[str, bytes]) -> Iterator[str]:
    """Yield what a person reviews: per file its head, and the entries that were added, removed and changed."""
    for name in sorted({*parts, *before}):
        new, old = parts.get(name), before.get(name)
        if new == old:
            continue
        if new is None or old is None:
            yield f"{name}: {'added' if old is None else 'removed'}"
            continue
        yield f"{name}: changed"
        if name != CANARIES:
            yield from _changed_fields(json.loads(new), json.loads(old))


def _changed_fields(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    for field in sorted({*new, *old}):
        now, then = new.get(field), old.get(field)
        if now == then:
            continue
        if field in _HEAD or not isinstance(now, list) or not isinstance(then, list):
            yield f"  {field}: {_short(then)} -> {_short(now)}"
            continue
        entries, known = _by_identity(now), _by_identity(then)
        yield from _listed(field, "added", {key: entries[key] for key in entries if key not in known})
        yield from _listed(field, "removed", {key: known[key] for key in known if key not in entries})
        both = (key for key in entries if key in known and entries[key] != known[key])
        yield from _listed(field, "changed", {key: _difference(known[key], entries[key]) for key in both})


def _by_identity(entries: list[Any]) -> dict[Hashable, Any]:
    return {_identity(entry): entry for entry in entries}


def _identity(entry: object) -> Hashable:
    if isinstance(entry, dict):
        return next((entry[field] for field in _IDENTITY if field in entry), json.dumps(entry, sort_keys=True))
    return json.dumps(entry)


def _difference(old: object, new: object) -> object:
    """The fields of an entry that differ, with its label."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    fields = [field for field in {**old, **new} if old.get(field) != new.get(field)]
    return {_label(new): {field: [old.get(field), new.get(field)] for field in fields}}


def _label(entry: dict[str, Any]) -> str:
    return str(next((entry[field] for field in ("label", "description", *_IDENTITY) if field in entry), ""))


def _listed(field: str, change: str, entries: Mapping[Hashable, object]) -> Iterator[str]:
    if entries:
        yield f"  {field}: {len(entries)} {change}"
    for entry in list(entries.values())[:SHOWN_MAX]:
        yield f"    {_short(_label(entry) if isinstance(entry, dict) and change != 'changed' else entry)}"
    if len(entries) > SHOWN_MAX:
        yield f"    and {len(entries) - SHOWN_MAX} more"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"
