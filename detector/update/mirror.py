"""Writes the installed set as a repository: a directory that closed networks carry, and that any mirror may serve.

Room: update. Writes the directory that is named. What it writes is what was verified, byte for byte: it needs no
key, anybody may copy it, and nobody can change it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.errors import OutputError
from detector.model.files import writing

from .repository import METADATA, TARGETS

if TYPE_CHECKING:
    from detector.knowledge.store import StoredSet


def write(stored: StoredSet, metadata: Path, destination: Path) -> None:
    """Write the set, which has been verified, into a directory; a repository that is there already is replaced.

    Raises `OutputError` for any other directory that is not empty, and `NoRoomError`.
    """
    destination = _named(destination)
    unfinished = destination.with_name(f".{destination.name}.{os.urandom(8).hex()}.part")
    new, old = unfinished / "new", unfinished / "old"
    try:
        with writing(str(destination), _ADVICE):
            there = _repository_in(destination)
            (new / METADATA).mkdir(parents=True)
            for file in metadata.iterdir():
                shutil.copyfile(file, new / METADATA / file.name)
            for path, data in stored.files.items():
                name = Path(path)
                to = new / TARGETS / name.with_name(f"{stored.manifest.files[path].sha256}.{name.name}")
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(data)
            if there:
                destination.replace(old)
            elif destination.exists():
                destination.rmdir()  # Windows replaces no directory, not even an empty one
            new.replace(destination)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


_ADVICE: Final = "Name a directory in a place you may write to."


def _named(destination: Path) -> Path:
    """The directory by its own name, which `.` has not. Raises `OutputError` where it has none."""
    with writing(str(destination), _ADVICE):  # the current directory may be gone
        named = Path(os.path.abspath(destination))  # noqa: PTH100 - `resolve` would follow a link
    if not named.name:
        raise OutputError(f"{named}: cannot be replaced.", advice="Name a directory below it.")
    return named


def _repository_in(destination: Path) -> bool:
    """Whether a repository is there already. Raises `OutputError` for anything else, and OSError."""
    there = {entry.name for entry in destination.iterdir()} if destination.exists() else set()
    if there and there != {METADATA, TARGETS}:
        raise OutputError(f"{destination}: not empty, and not a repository.", advice="Name a new directory.")
    return bool(there)
