"""Writes sets into the folder that `detector.knowledge.store` reads, one writer at a time, whole or not at all.

Room: update. Writes the folder of the knowledge and nothing else.

A set is written to a folder of another name, synchronized, renamed, and only then named by `current.json`, which is
replaced in one step: whatever ends the process, at any moment, `current.json` names a set that is complete. What a
process that was killed left behind is removed by the next one that holds the lock.

    metadata/trusted/       what TUF has verified, kept so that nothing older is taken again
    metadata/sets/<set>/    the metadata that verified this set, as a repository has it: `data verify`, `export`
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from typing import TYPE_CHECKING, Final

import filelock

from detector.errors import KnowledgeError, UpdateError
from detector.knowledge.store import CURRENT, MANIFEST, SET_NAME, SETS, Current, read_current
from detector.model.files import writing
from detector.model.private_files import replace_private, synchronize, write_private
from detector.model.record import encode

from .repository import CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from detector.knowledge.store import StoredSet

LOCK: Final = "lock"
METADATA: Final = "metadata"
TRUSTED: Final = "trusted"
UNFINISHED: Final = ".new-"
"""What the names of files and folders that are not complete begin with."""
_UNFINISHED: Final = re.compile(r"\.new-[0-9a-f]{16}", re.ASCII)
_SET: Final = re.compile(SET_NAME)
_FOLDER_MODE: Final = 0o700
"""Permissions that let the owner alone enter: which vendors somebody uses is nobody else's business."""
_HASH_DIGITS: Final = 8
_TEMPORARY: Final = (".download-", "tmp")
"""What the names of unfinished files among the trusted metadata begin with: downloads, and files of TUF's updater."""
_ROOTS: Final = "root_history"
"""The folder of earlier roots among the trusted metadata."""


def metadata_of(stored: StoredSet) -> Path:
    """The folder of the metadata that verified an installed set."""
    return stored.folder.parent.parent / METADATA / SETS / stored.folder.name


class Installer:
    """The one writer of a folder, as a context manager that holds its lock.

    Raises `UpdateError` when another process holds it, `OutputError` when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.trusted: Final = folder / METADATA / TRUSTED
        self._lock: Final = filelock.FileLock(folder / LOCK, timeout=0, mode=0o600)

    def __enter__(self) -> Self:
        with self._writing():
            for folder in (
                self.folder,
                self.folder / SETS,
                self.trusted.parent,
                self.trusted,
                self.trusted.parent / SETS,
            ):
                folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except filelock.Timeout as error:
                raise UpdateError(
                    f"{self.folder}: another update is running.",
                    advice="Wait until it has ended; it installs the same set. The set in use stays.",
                ) from error
        try:
            with self._writing():
                self._remove_unfinished()
        except BaseException:  # interruption too: the lock must not outlive this call; nothing is swallowed
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(str(self.folder), "Make the folder writable for you, or name another one: --data DIR.")

    def current(self) -> Current | None:
        """What serves, as far as it can be read: a damaged file is replaced by the next set."""
        try:
            return read_current(self.folder)
        except KnowledgeError:
            return None

    def install(self, new: StoredSet, metadata: Mapping[str, bytes]) -> Path:
        """Put this set in the place of the current one, which becomes the previous one; older ones are removed."""
        manifest = encode(new.manifest)
        name = f"{new.manifest.version}-{hashlib.sha256(manifest).hexdigest()[:_HASH_DIGITS]}"
        before = self.current()
        previous = None if before is None or before.set == name else before.set
        with self._writing():
            self._write_folder(self.folder / METADATA / SETS, name, metadata)
            self._write_folder(self.folder / SETS, name, {**new.files, MANIFEST: manifest})
            _replace(self.folder / CURRENT, encode(Current(set=name, previous=previous)))
            self._remove_older({name, previous})
        return self.folder / SETS / name

    def refresh(self, name: str, metadata: Mapping[str, bytes]) -> None:
        """Keep newer metadata that verified the same set: a mirror of it is then as fresh as this copy."""
        folder = self.folder / METADATA / SETS / name
        with self._writing():
            if not folder.is_dir():
                self._write_folder(folder.parent, name, metadata)
                return
            for file, data in metadata.items():
                if not (folder / file).is_file() or (folder / file).read_bytes() != data:
                    _replace(folder / file, data)

    def _write_folder(self, parent: Path, name: str, files: Mapping[str, bytes]) -> None:
        """Write a folder with these files; it has its name only once all of it is on the disk."""
        unfinished = _unfinished(parent)
        try:
            unfinished.mkdir(mode=_FOLDER_MODE)
            for path, data in files.items():
                file = unfinished / path
                file.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
                write_private(file, data)
            for folder in sorted({(unfinished / path).parent for path in files}, reverse=True):
                synchronize(folder)
            if (parent / name).exists():  # a damaged one, or one that was written and never became current
                shutil.rmtree(parent / name)
            unfinished.replace(parent / name)
        finally:  # a device that is full is not left so
            shutil.rmtree(unfinished, ignore_errors=True)
        synchronize(parent)

    def _remove_unfinished(self) -> None:
        """Remove what a process that was killed left behind, and nothing else: a folder may have been named amiss."""
        for place in (self.folder, self.folder / SETS, self.folder / METADATA / SETS):
            for entry in place.iterdir():
                if _UNFINISHED.fullmatch(entry.name):
                    _remove(entry)
        for entry in (*self.trusted.iterdir(), *(self.trusted / _ROOTS).glob("*")):
            if entry.name.startswith(_TEMPORARY) or not _is_metadata(entry):
                _remove(entry)

    def _remove_older(self, kept: set[str | None]) -> None:
        for place in (self.folder / SETS, self.folder / METADATA / SETS):
            for entry in place.iterdir():
                if _SET.match(entry.name) and entry.name not in kept:
                    with contextlib.suppress(OSError):  # the new set serves already; the next update tries again
                        _remove(entry)


def _is_metadata(entry: Path) -> bool:
    """Whether TUF's updater, which reads all of what it finds, may have kept this: no pipe, device or endless file."""
    try:
        status = entry.stat()
    except OSError:
        return False
    if entry.name == _ROOTS:
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISREG(status.st_mode) and status.st_size <= CONFIG.targets_max_length


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _unfinished(folder: Path) -> Path:
    return folder / f"{UNFINISHED}{os.urandom(8).hex()}"


def _replace(path: Path, data: bytes) -> None:
    replace_private(path, data, unfinished=_unfinished(path.parent))
