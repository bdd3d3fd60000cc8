"""Data sets on disk for tests, written as an update installs them. Room: tests; files only."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from detector.knowledge.data_set import DATA, PARTS, ROOT_CERTIFICATES, shipped
from detector.knowledge.store import CURRENT, MANIFEST, SETS, Current, Manifest, StoredFile
from detector.model import KnowledgeKind, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

REPOSITORY: Final = "test repository"
PUBLISHED: Final = dt.datetime(2027, 3, 1, tzinfo=dt.UTC)
NEWER: Final = dt.date(2027, 2, 28)
"""The day of parts that are newer than the shipped ones."""
VENDOR_FILE: Final = b"""
schema = 1
name = "Acme exams"
updated = 2027-02-01
expires = 2027-08-01

[[endpoint]]
host = "exam.acme.example"
category = "exam"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
"""
"""A pin file of a vendor."""


def part(kind: KnowledgeKind, *, date: dt.date = NEWER, **changed: Any) -> bytes:  # noqa: ANN401 - any fields
    """The shipped file of a part, released again on this day, with these fields changed."""
    content = json.loads((DATA / PARTS[kind].name).read_bytes())
    head = {"version": content["version"] + 1, "date": str(date), "horizon": str(date + dt.timedelta(days=900))}
    return json.dumps({**content, **head, **changed}).encode()


def certificates(*, date: dt.date = NEWER, **changed: Any) -> bytes:  # noqa: ANN401 - any fields
    """The shipped certificates of roots, for roots of this day."""
    content = json.loads((DATA / ROOT_CERTIFICATES).read_bytes())
    return json.dumps({**content, "date": str(date), "horizon": str(date), **changed}).encode()


def canaries(*, date: dt.date = NEWER, change: Callable[[str], str] = str) -> bytes:
    """The shipped pin file of canaries, released again on this day; `change` is done to its text."""
    text = shipped().canaries.data.decode()
    head, mark, tables = text.partition("[[endpoint]]")
    lines = [line for line in head.splitlines() if not line.startswith(("updated", "expires"))]
    return change("\n".join([*lines, f"updated = {date}", f"expires = {date}", "", mark]) + tables).encode()


def whole(*, date: dt.date = NEWER) -> dict[str, bytes]:
    """Every part, released again on this day."""
    parts = {PARTS[kind].name: part(kind, date=date) for kind in PARTS if kind is not KnowledgeKind.CANARIES}
    return {**parts, ROOT_CERTIFICATES: certificates(date=date), "canaries.toml": canaries(date=date)}


def write_set(folder: Path, files: Mapping[str, bytes], *, version: int = 7, published: dt.datetime = PUBLISHED) -> str:
    """Write a set below `folder`; return its name."""
    manifest = Manifest(
        repository=REPOSITORY,
        version=version,
        published=published,
        files={
            path: StoredFile(sha256=hashlib.sha256(data).hexdigest(), length=len(data)) for path, data in files.items()
        },
    )
    encoded = encode(manifest)
    name = f"{version}-{hashlib.sha256(encoded).hexdigest()[:8]}"
    for path, data in {**files, MANIFEST: encoded}.items():
        place = folder / SETS / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return name


def install(folder: Path, files: Mapping[str, bytes], *before: Mapping[str, bytes]) -> Path:
    """Install a set, and the one before it if any, in `folder`; return the set's own folder."""
    previous = write_set(folder, before[0], version=6) if before else None
    name = write_set(folder, files)
    (folder / CURRENT).write_bytes(encode(Current(set=name, previous=previous)))
    return folder / SETS / name
