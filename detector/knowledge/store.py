"""Data sets on disk: their records, and opening the set that serves, verified.

Room: knowledge. Reads the folder that a caller names, or the user's own; `detector.update` writes it.

    knowledge/
      current.json                  which set serves, and which served before (`Current`), replaced in one step
      sets/<version>-<8 hex>/       one set: manifest.json (`Manifest`), its parts, pins/<vendor>/<name>.toml
      metadata/, lock               of the update alone

A set is taken whole or not at all. Each file of its manifest is hashed when the set is opened; a set with a damaged,
missing or surplus file is named in a warning and left aside, and the set before it serves, else what the package ships.
Hashes protect against damage; the signatures that protect against others are verified before a set is installed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path  # noqa: TC003 - the annotation of a NamedTuple
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from detector.errors import KnowledgeError
from detector.model import Record, json_text
from detector.model.files import open_regular, reason_of
from detector.model.folders import user_folder
from detector.model.record import Count, Moment  # noqa: TC001 - msgspec resolves the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterator


CURRENT: Final = "current.json"
SETS: Final = "sets"
MANIFEST: Final = "manifest.json"
SCHEMA: Final = 1
"""Version of the forms of `Current` and `Manifest` that this reader knows."""
SET_BYTES_MAX: Final = 16 * 1024 * 1024
"""Most bytes of a set that are read: ten times a whole set of 2026."""
FILES_MAX: Final = 1024
"""Most files of a set: the parts, and a few pin files each of some hundred vendors."""
RECORD_BYTES_MAX: Final = 1024 * 1024
"""Largest manifest read, in bytes: `FILES_MAX` entries of at most 300 bytes, and as much for what was left out."""
_ADVICE: Final = "Run `detector data update`, or remove the folder: what the package ships serves without it."

SET_NAME: Final = r"^[0-9]{1,19}-[0-9a-f]{8}\Z"
SetName = Annotated[str, msgspec.Meta(pattern=SET_NAME)]
"""The name of a set's folder: the snapshot's version, and eight hexadecimal digits of the hash of its manifest."""
FilePath = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([a-z0-9_]{1,64}\.(json|toml)|pins/[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?/[a-z0-9][a-z0-9_.-]{0,63}\.toml)\Z"
    ),
]
"""The path of a file in a set, with slashes: it stays inside the set, and is written the same on every system."""


class StoredFile(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a set: its SHA-256 (hexadecimal) and its length in bytes."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    length: Annotated[int, msgspec.Meta(ge=0, le=SET_BYTES_MAX)]


class Manifest(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a set consists of.

    `repository` is the name of where it was published, `version` that of its snapshot, `published` the moment of it.
    `left_out` says of each target that was not taken, by its path, why.
    """

    schema: Annotated[int, msgspec.Meta(ge=SCHEMA, le=SCHEMA)] = SCHEMA
    repository: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    version: Count
    published: Moment
    files: Annotated[dict[FilePath, StoredFile], msgspec.Meta(max_length=FILES_MAX)]
    left_out: Annotated[dict[str, str], msgspec.Meta(max_length=FILES_MAX)] = {}  # noqa: RUF012 - msgspec copies defaults


class Current(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which set serves, and which one served before it."""

    schema: Annotated[int, msgspec.Meta(ge=SCHEMA, le=SCHEMA)] = SCHEMA
    set: SetName
    previous: SetName | None = None


class StoredSet(NamedTuple):
    """A set that was opened: every file of it has the hash that its manifest gives."""

    folder: Path
    manifest: Manifest
    files: dict[str, bytes]


class Opened(NamedTuple):
    """The set that serves, None where none does, and a sentence on each one that was left aside."""

    serving: StoredSet | None
    warnings: tuple[str, ...]


def default_folder() -> Path | None:
    """Where sets are installed unless a folder is named; None without a home directory."""
    folder = user_folder("data")
    return None if folder is None else folder / "knowledge"


def open_installed(folder: Path) -> Opened:
    """The set that serves in this folder. An empty folder, or none, has no set."""
    try:
        current = read_current(folder)
    except KnowledgeError as error:
        return Opened(None, (str(error),))
    warnings: list[str] = []
    for name in () if current is None else (current.set, current.previous):
        if name is not None:
            try:
                return Opened(open_set(folder / SETS / name), tuple(warnings))
            except KnowledgeError as error:
                warnings.append(str(error))
    return Opened(None, tuple(warnings))


def read_current(folder: Path) -> Current | None:
    """What current.json says; None where there is none. Raises `KnowledgeError`."""
    path = folder / CURRENT
    return _record(path, Current) if os.path.lexists(path) else None


def open_set(folder: Path) -> StoredSet:
    """Read a set, and verify every file of it. Raises `KnowledgeError`, which names the file that is at fault."""
    manifest = _record(folder / MANIFEST, Manifest)
    length = sum(file.length for file in manifest.files.values())
    if length > SET_BYTES_MAX:
        raise KnowledgeError(f"{folder}: {length} bytes; a set has at most {SET_BYTES_MAX}.", advice=_ADVICE)
    _refuse_surplus(folder, manifest)
    return StoredSet(folder, manifest, {path: _verified(folder, path, file) for path, file in manifest.files.items()})


def _record(path: Path, kind: type[json_text.T]) -> json_text.T:
    data = _read(path, RECORD_BYTES_MAX)
    try:
        return json_text.decode(data, kind)
    except json_text.MalformedError as error:
        raise KnowledgeError(f"{path}: damaged: {error}.", advice=_ADVICE) from error


def _verified(folder: Path, path: str, expected: StoredFile) -> bytes:
    file = folder / path
    data = _read(file, expected.length)
    if len(data) != expected.length or hashlib.sha256(data).hexdigest() != expected.sha256:
        raise KnowledgeError(f"{file}: damaged: not the file that the set's manifest describes.", advice=_ADVICE)
    return data


def _read(path: Path, most: int) -> bytes:
    """The content of a file, and a byte more where it is larger. Raises `KnowledgeError`."""
    try:
        with open_regular(path) as file:
            return file.read(most + 1)
    except OSError as error:
        raise KnowledgeError(f"{path}: cannot be read: {reason_of(error)}.", advice=_ADVICE) from error


def _refuse_surplus(folder: Path, manifest: Manifest) -> None:
    """Refuse a file that the manifest does not know: somebody, or a half-done copy, put it there."""
    for path in _files(folder):
        if path != MANIFEST and path not in manifest.files:
            raise KnowledgeError(f"{folder / path}: surplus: the set's manifest does not know it.", advice=_ADVICE)


def _files(folder: Path) -> Iterator[str]:
    """Every entry below a folder that is no real directory, with slashes; the caller stops at the first surplus one."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(folder / prefix) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{prefix}{entry.name}/")
                    else:
                        yield f"{prefix}{entry.name}"
        except OSError as error:
            raise KnowledgeError(f"{folder / prefix}: cannot be read: {reason_of(error)}.", advice=_ADVICE) from error
