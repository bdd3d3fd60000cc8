"""Verifies an installed set again: signatures and hashes, from the bootstrap root on.

Room: update. Pure apart from reading the metadata that was kept with the set. That metadata has expired since it was
verified is its age and no failure: a set does not become wrong by lying on a disk.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec resolves the annotations at run time
from typing import TYPE_CHECKING, Final, TypeVar

from tuf.api.exceptions import BadVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from detector.errors import UpdateError
from detector.model import Record
from detector.model.files import open_regular, reason_of

from .repository import CONFIG, refused
from .targets import PARTS, check_vendor, delegated_vendors, is_vendor_file

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Signed, TargetFile

    from detector.knowledge.store import StoredSet


T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


class VerifiedRole(Record, frozen=True, kw_only=True):
    """One file of metadata whose signatures are right: its role, its version, and until when it was to be used."""

    role: str
    version: int
    expires: dt.datetime


class Verification(Record, frozen=True, kw_only=True):
    """An installed set that was verified from the bootstrap root on: who signed it, and which files it has."""

    set: str
    repository: str
    version: int
    roles: tuple[VerifiedRole, ...]
    files: tuple[str, ...]


def verify(stored: StoredSet, metadata: Path, root: bytes) -> Verification:
    """Verify the set with the metadata kept for it, beginning with this root. Raises `UpdateError`."""
    with refused(str(metadata)):
        chain = _Chain(metadata, root)
        listed = chain.listed()
        for path, data in stored.files.items():
            if path not in listed:
                raise UpdateError(f"{stored.folder / path}: signed by nobody who may.", advice=_AGAIN)
            listed[path].verify_length_and_hashes(data)
    return Verification(
        set=stored.folder.name,
        repository=stored.manifest.repository,
        version=chain.snapshot.version,
        roles=tuple(chain.roles),
        files=tuple(sorted(stored.files)),
    )


_AGAIN: Final = (
    "Run `detector data update`, or remove the folder of the set: the one before it, or the shipped one, serves."
)


class _Chain:
    """Every file of the metadata, each verified by the one before it. Raises TUF's errors and `UpdateError`."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self._folder: Final = folder
        self.roles: Final[list[VerifiedRole]] = []
        trusted = self._newest_root(root)
        timestamp = self._verified(Timestamp, trusted, "timestamp", "timestamp.json")
        version = timestamp.snapshot_meta.version
        self.snapshot: Final = self._verified(Snapshot, trusted, "snapshot", f"{version}.snapshot.json", version)
        self._targets: Final = self._of_snapshot(trusted, "targets")

    def listed(self) -> dict[str, TargetFile]:
        """The files that the offline role and the vendors sign, each within what it may sign."""
        found = {path: target for path, target in self._targets.targets.items() if path in PARTS}
        for name in delegated_vendors(self._targets):
            if f"{name}.json" in self.snapshot.meta and (self._folder / self._file(name)).is_file():
                check_vendor(name, self._targets)
                signed = self._of_snapshot(self._targets, name).targets
                found |= {path: target for path, target in signed.items() if is_vendor_file(path, name)}
        return found

    def _file(self, role: str) -> str:
        return f"{self.snapshot.meta[f'{role}.json'].version}.{role}.json"

    def _newest_root(self, data: bytes) -> Root:
        """The newest root that was kept, each signed by the keys of the one before it and by its own."""
        root = _read(Root, data)
        root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
        while (path := self._folder / f"{root.signed.version + 1}.root.json").is_file():
            following = _read(Root, _content(path))
            for delegator in (root.signed, following.signed):
                delegator.verify_delegate("root", following.signed_bytes, following.signatures)
            _check_version(path, following.signed, root.signed.version + 1)
            root = following
        self._note("root", root.signed)
        return root.signed

    def _of_snapshot(self, delegator: Root | Targets, role: str) -> Targets:
        listed = self.snapshot.meta[f"{role}.json"]
        listed.verify_length_and_hashes(_content(self._folder / self._file(role)))
        return self._verified(Targets, delegator, role, self._file(role), listed.version)

    def _verified(self, kind: type[T], delegator: Root | Targets, role: str, name: str, version: int = 0) -> T:
        path = self._folder / name
        metadata = _read(kind, _content(path))
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        if version:
            _check_version(path, metadata.signed, version)
        self._note(role, metadata.signed)
        return metadata.signed

    def _note(self, role: str, signed: Signed) -> None:
        self.roles.append(VerifiedRole(role=role, version=signed.version, expires=signed.expires))


def _read(kind: type[T], data: bytes) -> Metadata[T]:
    """Metadata whose signed part is of this kind. Raises TUF's errors."""
    metadata = Metadata[T].from_bytes(data)
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"metadata of the type {metadata.signed.type} in place of {kind.type}")
    return metadata


def _content(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(CONFIG.targets_max_length)
    except OSError as error:
        raise UpdateError(
            f"{path}: the metadata of the set cannot be read ({reason_of(error)}).", advice=_AGAIN
        ) from error


def _check_version(path: Path, signed: Signed, expected: int) -> None:
    if signed.version != expected:
        raise BadVersionNumberError(f"{path}: version {signed.version}, not {expected}")
