"""Publish data sets: keep the repository of signed metadata that `detector data update` reads (docs/knowledge.md).

Room: scripts. Reads and writes the repository, the staging folder and the key files named on the command line.

The metadata is that of The Update Framework (TUF), written with its reference implementation. Five kinds of keys sign:

    root       offline, at least 2 of 3 people: says which keys the other roles have
    targets    offline: lists the parts of a set, what was removed from them, and the vendors
    a vendor   the vendor's own, offline: lists its pin files, `pins/<vendor>/*.toml` and nothing else
    snapshot   online: says which versions belong together
    timestamp  online: says which snapshot is the newest, for two weeks

Every change takes three steps, so that the holder of an offline key carries one folder to the machine with the key and
back, and the repository never meets that key:

    stage-…  REPOSITORY STAGED …     writes what is to be signed
    sign     STAGED --key KEY        shows it, and adds one person's signature
    publish  REPOSITORY STAGED --snapshot-key KEY --timestamp-key KEY

`publish` takes a change whole or not at all: every signature, version, file and date is checked before anything is
written. A key file is encrypted with a passphrase and never created within a version-controlled folder.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

import data_checks
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from detector.errors import DetectorError, HeldBackError
from detector.knowledge import data_set
from detector.knowledge.store import Manifest, StoredSet
from detector.model.private_files import create_private
from detector.pins.load import VENDOR, load
from detector.update import targets as readers
from detector.update.bootstrap import TEST_MARK
from detector.update.targets import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LIFETIMES: Final = {
    Root.type: dt.timedelta(days=730),
    Targets.type: dt.timedelta(days=400),
    Snapshot.type: dt.timedelta(days=60),
    Timestamp.type: dt.timedelta(days=14),
}
"""How long each role's metadata counts. Root and targets need people and offline machines: two years, and a year with a
month to spare; a vendor's as targets. A copy that is kept from newer sets notices when the timestamp ends."""

NOTICE: Final = dt.timedelta(days=60)
"""How long before people must sign again `renew` says so, every day: two months find everybody."""

ROOT_KEYS_MIN: Final = 3
ROOT_THRESHOLD_MIN: Final = 2
"""Two of three people sign a root: one lost key locks nobody out, and one stolen key signs nothing."""
PASSPHRASE_MIN: Final = 12
"""Characters of a passphrase: what is shorter is guessed where a key file gets lost."""
_HASHES: Final = ["sha256"]
_METADATA: Final = "metadata"
_TARGETS: Final = "targets"

Signed = Metadata[Root] | Metadata[Targets]
"""What people sign."""


class PublishingError(Exception):
    """What was asked for would break the repository or its rules; says what to do."""


# Keys


def create_key(path: Path, passphrase: str) -> CryptoSigner:
    """Create an Ed25519 key pair: the private key in `path` (PEM, PKCS #8, encrypted), the public one in `path`.pub.

    Raises `PublishingError` for a place within a version-controlled folder, a file that exists, and a short passphrase.
    """
    refuse_version_control(path)
    if len(passphrase) < PASSPHRASE_MIN:
        raise PublishingError(f"The passphrase needs at least {PASSPHRASE_MIN} characters.")
    key = Ed25519PrivateKey.generate()
    signer = CryptoSigner(key)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))
    try:
        descriptor = create_private(path)
    except FileExistsError:
        raise PublishingError(f"{path}: exists, and a key is never overwritten.") from None
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(encrypted)
    write_public_key(public_path(path), signer.public_key)
    return signer


def public_path(path: Path) -> Path:
    """Where the public key of a private key's file is."""
    return path.with_name(f"{path.name}.pub")


def write_public_key(path: Path, key: SSlibKey) -> None:
    """Write a public key as metadata has it, with its key ID."""
    path.write_text(json.dumps({"keyid": key.keyid, **key.to_dict()}, indent=1) + "\n", "utf-8")


def load_key(path: Path, passphrase: str) -> CryptoSigner:
    """Decrypt a private key. Raises `PublishingError`."""
    try:
        key = load_pem_private_key(path.read_bytes(), passphrase.encode())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PublishingError(f"{path}: no key that this passphrase opens ({type(error).__name__}).") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise PublishingError(f"{path}: not an Ed25519 key.")
    return CryptoSigner(key)


def load_public_key(path: Path) -> SSlibKey:
    """Read a public key's file. Raises `PublishingError`."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        return SSlibKey.from_dict(content.pop("keyid"), content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublishingError(f"{path}: no public key of this tool ({type(error).__name__}).") from None


def refuse_version_control(path: Path) -> None:
    """Raise `PublishingError` for a path within a work tree of Git, or of another system like it."""
    for folder in path.absolute().resolve().parents:
        if any((folder / name).exists() for name in (".git", ".hg", ".svn", ".jj")):
            raise PublishingError(f"{path}: within {folder}, which is under version control. Keep keys elsewhere.")


# The repository


class Removed(NamedTuple):
    """Public roots (SHA-256 in hexadecimal) and accepted logs (log IDs in base64) that a set no longer has."""

    roots: frozenset[str] = frozenset()
    logs: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Removed:
        """Read a file as `lost` writes it. Raises `PublishingError`."""
        try:
            data = json.loads(path.read_bytes())
            return cls(frozenset(data["roots"]), frozenset(data["logs"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PublishingError(f"{path}: not what the command `lost` writes ({error}).") from error

    def as_json(self) -> dict[str, list[str]]:
        """For a file that `read` reads, sorted."""
        return {"roots": sorted(self.roots), "logs": sorted(self.logs)}


_NOTHING: Final = Removed()


class Repository:
    """The repository in a folder: `metadata/` and `targets/`, as a server offers them."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    @property
    def root(self) -> Metadata[Root]:
        """The newest root."""
        versions = [int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json")]
        if not versions:
            raise PublishingError(f"{self.folder}: no repository yet: stage, sign and publish a root first.")
        return Metadata[Root].from_file(str(self._metadata / f"{max(versions)}.root.json"))

    @property
    def exists(self) -> bool:
        """Whether there is a root."""
        return any(self._metadata.glob("*.root.json"))

    @property
    def timestamp(self) -> Metadata[Timestamp] | None:
        """The timestamp; None before the first set."""
        path = self._metadata / "timestamp.json"
        return Metadata[Timestamp].from_file(str(path)) if path.exists() else None

    @property
    def snapshot(self) -> Metadata[Snapshot] | None:
        """The newest snapshot; None before the first set."""
        if self.timestamp is None:
            return None
        version = self.timestamp.signed.snapshot_meta.version
        return Metadata[Snapshot].from_file(str(self._metadata / f"{version}.snapshot.json"))

    def role(self, name: str) -> Metadata[Targets] | None:
        """What `targets` or a vendor signed last; None before it signed anything."""
        meta = self.snapshot.signed.meta.get(f"{name}.json") if self.snapshot else None
        return Metadata[Targets].from_file(str(self._metadata / f"{meta.version}.{name}.json")) if meta else None

    @property
    def targets(self) -> Metadata[Targets] | None:
        """What `targets` signed last; None before the first set."""
        return self.role(Targets.type)

    def parts(self) -> dict[str, bytes]:
        """The published files of `targets`, by their path in a set."""
        listed = self.targets.signed.targets if self.targets else {}
        return {
            path: (self.folder / _TARGETS / target.get_prefixed_paths()[0]).read_bytes()
            for path, target in listed.items()
        }

    @property
    def _metadata(self) -> Path:
        return self.folder / _METADATA

    @property
    def removed(self) -> Removed:
        """Everything that was ever removed, as the newest set lists it."""
        listed = [
            target.custom.get("removed", {})
            for target in (self.targets.signed.targets.values() if self.targets else ())
            if target.custom
        ]
        return Removed(
            frozenset(text for one in listed for text in one.get("roots", ())),
            frozenset(text for one in listed for text in one.get("logs", ())),
        )


class Staged:
    """What is to be published, in a folder: the metadata that people sign, and the files that it lists."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def add(self, role: str, metadata: Signed, files: Mapping[str, bytes] | None = None) -> None:
        """Write metadata of a role, and the files that it lists by their path in a set.

        Raises `PublishingError` where the role has something staged already, which may be signed.
        """
        path = self._path(role, metadata.signed.version)
        if path.exists():
            raise PublishingError(f"{path}: staged already. Publish it, or delete the folder, and stage again.")
        if isinstance(metadata.signed, Targets):
            for name, data in (files or {}).items():
                _write(self.folder / _TARGETS / metadata.signed.targets[name].get_prefixed_paths()[0], data)
        _write(path, metadata.to_bytes())

    def sign(self, role: str, signer: CryptoSigner) -> None:
        """Add this key's signature to a role's metadata. Raises `PublishingError` when none is staged."""
        found = [metadata for name, metadata in self.metadata() if name == role]
        if not found:
            raise PublishingError(f"{self.folder}: nothing of {role} is staged.")
        for metadata in found:
            metadata.sign(signer, append=True)
            _write(self._path(role, metadata.signed.version), metadata.to_bytes())

    def _path(self, role: str, version: int) -> Path:
        return self.folder / _METADATA / f"{version}.{role}.json"

    def metadata(self) -> list[tuple[str, Signed]]:
        """Every staged metadata with its role: roots in their order, then `targets`, then vendors."""
        found = []
        for path in (self.folder / _METADATA).glob("*.json"):
            version, role, _ = path.name.split(".")
            found.append((role != Root.type, role != Targets.type, int(version), role, path))
        return [(role, _read_signed(path)) for *_, role, path in sorted(found)]

    def roots(self) -> list[Metadata[Root]]:
        """The staged roots, oldest first."""
        return [one for _, one in self.metadata() if _is_root(one)]

    def targets(self) -> dict[str, Metadata[Targets]]:
        """What is staged for `targets` and vendors."""
        return {role: one for role, one in self.metadata() if _is_targets(one)}

    def files(self, role: str) -> dict[str, bytes]:
        """The staged files that `targets` or a vendor lists, by their path in a set."""
        listed = self.targets()[role].signed.targets.items()
        places = {path: self.folder / _TARGETS / target.get_prefixed_paths()[0] for path, target in listed}
        return {path: place.read_bytes() for path, place in places.items() if place.is_file()}


def _read_signed(path: Path) -> Signed:
    try:
        metadata = Metadata.from_file(str(path))
    except TufError as error:
        raise PublishingError(f"{path}: damaged: {error}. Stage it again.") from error
    if not isinstance(metadata.signed, Root | Targets):
        raise PublishingError(f"{path}: neither a root nor targets.")
    return metadata


def _is_root(metadata: Signed) -> TypeGuard[Metadata[Root]]:
    return isinstance(metadata.signed, Root)


def _is_targets(metadata: Signed) -> TypeGuard[Metadata[Targets]]:
    return isinstance(metadata.signed, Targets)


def _write(path: Path, data: bytes) -> None:
    """Replace a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)


# What people sign


def first_root(
    keys: Mapping[str, Sequence[SSlibKey]], *, at: dt.datetime, threshold: int = ROOT_THRESHOLD_MIN, purpose: str = ""
) -> Metadata[Root]:
    """The first root, unsigned, with the public keys of `root`, `targets`, `snapshot` and `timestamp`.

    `threshold` is how many root keys sign; of each other role one key does. A `purpose` marks a root for tests, which
    `detector data update` refuses unless asked. Raises `PublishingError` for keys that do not fit the rules.
    """
    root = Root(expires=_after(at, Root.type), consistent_snapshot=True)
    if purpose:
        root.unrecognized_fields[TEST_MARK] = {"purpose": purpose}
    for role in sorted(TOP_LEVEL_ROLE_NAMES):
        for key in keys[role]:
            root.add_key(key, role)
    root.roles[Root.type].threshold = threshold
    check_root(root)
    return Metadata(root)


def next_root(
    repository: Repository,
    *,
    at: dt.datetime,
    add: Iterable[tuple[str, SSlibKey]] = (),
    revoke: Iterable[tuple[str, str]] = (),
) -> Metadata[Root]:
    """The root after the newest one, unsigned: with more keys of roles, and without revoked ones (role, key ID).

    Both this root's keys and those of the one before must sign it. Raises `PublishingError` for keys that do not fit.
    """
    root = copy.deepcopy(repository.root.signed)
    root.version += 1
    root.expires = _after(at, Root.type)
    for role, key in add:
        root.add_key(key, role)
    for role, keyid in revoke:
        if keyid not in root.roles[role].keyids:
            raise PublishingError(f"{keyid} is no key of {role}.")
        root.revoke_key(keyid, role)
    check_root(root)
    return Metadata(root)


def check_root(root: Root) -> None:
    """Raise `PublishingError` unless several people sign it, and no online key is one of theirs."""
    people = root.roles[Root.type]
    if len(people.keyids) < ROOT_KEYS_MIN or people.threshold < ROOT_THRESHOLD_MIN:
        raise PublishingError(f"A root needs {ROOT_KEYS_MIN} keys or more, {ROOT_THRESHOLD_MIN} of which sign it.")
    if people.threshold >= len(people.keyids):
        raise PublishingError("With one root key lost, nobody could sign the next root: name more keys than must sign.")
    for name, role in root.roles.items():
        if len(role.keyids) < role.threshold:
            raise PublishingError(f"{name} has fewer keys than must sign.")
    offline = {*people.keyids, *root.roles[Targets.type].keyids}
    if offline & {*root.roles[Snapshot.type].keyids, *root.roles[Timestamp.type].keyids}:
        raise PublishingError("A key of root or targets is online as one of snapshot or timestamp: use another.")


def next_targets(
    repository: Repository, parts: Mapping[str, bytes], *, at: dt.datetime, removed: Removed = _NOTHING
) -> Metadata[Targets]:
    """What `targets` lists next, unsigned: these parts of a set, and the vendors unchanged.

    `removed` is what a person reviewed of that which `lost` finds: exactly this is listed, together with what was
    removed before, so that copies which skipped releases read it, too. Raises `PublishingError` when the two differ.
    """
    if unknown := sorted(parts.keys() - set(PARTS)):
        raise PublishingError(f"{unknown[0]}: no part of a set.")
    before = repository.parts()
    if missing := sorted(before.keys() - parts.keys()):
        raise PublishingError(f"{missing[0]}: published before, and not among the parts.")
    found = lost(before, parts)
    if found != removed:
        raise PublishingError(
            f"These roots and logs are lost, or no longer count: {json.dumps(found.as_json())}. Check each of them, "
            "write this into a file, and name it with --removed."
            if any(found)
            else "Nothing is lost: leave out --removed."
        )
    targets = _following(repository.targets, at)
    listed = removed_so_far(repository.removed, removed, parts)
    targets.targets = {path: TargetFile.from_data(path, data, _HASHES) for path, data in sorted(parts.items())}
    for path, name in (("roots.json", "roots"), ("ct_logs.json", "logs")):
        if path in targets.targets:
            targets.targets[path].unrecognized_fields["custom"] = {"removed": {name: listed.as_json()[name]}}
    return Metadata(targets)


def current(parts: Mapping[str, bytes]) -> Removed:
    """The public roots and accepted logs of a set, in the form of what can be removed."""
    roots = json.loads(parts["roots.json"])["roots"] if "roots.json" in parts else ()
    logs = json.loads(parts["ct_logs.json"])["logs"] if "ct_logs.json" in parts else ()
    return Removed(
        frozenset(root["sha256"] for root in roots if root.get("removed") is None),
        frozenset(log["log_id"] for log in logs if not log.get("why")),
    )


def lost(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Removed:
    """What counts in one set and not in the next. Before the first set, every root counts that ever was public."""
    counted, counts = current(before), current(after)
    roots = counted.roots
    if "roots.json" in after and "roots.json" not in before:
        roots = frozenset(root["sha256"] for root in json.loads(after["roots.json"])["roots"])
    return Removed(roots - counts.roots, counted.logs - counts.logs)


def removed_so_far(before: Removed, now: Removed, parts: Mapping[str, bytes]) -> Removed:
    """Everything removed, without what counts again."""
    counts = current(parts)
    return Removed((before.roots | now.roots) - counts.roots, (before.logs | now.logs) - counts.logs)


def with_vendor(
    repository: Repository, vendor: str, keys: Sequence[SSlibKey], *, at: dt.datetime, threshold: int = 1
) -> Metadata[Targets]:
    """What `targets` lists next, unsigned: as before, with these keys for a vendor, new or not.

    Raises `PublishingError` for a name that no vendor has, and for fewer keys than must sign.
    """
    if not readers.is_vendor(vendor) or vendor in TOP_LEVEL_ROLE_NAMES:
        raise PublishingError(f"{vendor}: a vendor's name has lower-case letters, digits and hyphens, at most 64.")
    if not 1 <= threshold <= len(keys):
        raise PublishingError(f"{vendor}: {threshold} of {len(keys)} keys cannot sign.")
    metadata = _without(repository, vendor, at)
    delegations = metadata.signed.delegations
    role = DelegatedRole(vendor, [], threshold, terminating=True, paths=[pattern_of(vendor)])
    if delegations is None or delegations.roles is None:
        delegations = metadata.signed.delegations = Delegations({}, {})
    delegations.roles = {**(delegations.roles or {}), vendor: role}
    for key in keys:
        metadata.signed.add_key(key, vendor)
    return metadata


def without_vendor(repository: Repository, vendor: str, *, at: dt.datetime) -> Metadata[Targets]:
    """What `targets` lists next, unsigned: as before, without a vendor. Raises `PublishingError` for an unknown one."""
    if vendor not in vendors_of(repository.targets):
        raise PublishingError(f"{vendor}: no vendor of this repository.")
    return _without(repository, vendor, at)


def _without(repository: Repository, vendor: str, at: dt.datetime) -> Metadata[Targets]:
    if repository.targets is None:
        raise PublishingError(f"{repository.folder}: publish a set before its vendors.")
    targets = _following(repository.targets, at)
    role = vendors_of(repository.targets).get(vendor)
    if role is not None and targets.delegations and targets.delegations.roles:
        for keyid in role.keyids:
            targets.revoke_key(keyid, vendor)
        del targets.delegations.roles[vendor]
    return Metadata(targets)


def vendors_of(targets: Metadata[Targets] | None) -> dict[str, DelegatedRole]:
    """The vendors that `targets` delegates to, by name."""
    delegations = targets.signed.delegations if targets else None
    return dict(delegations.roles or {}) if delegations else {}


def pattern_of(vendor: str) -> str:
    """The paths that a vendor signs."""
    return f"pins/{vendor}/*.toml"


def vendor_targets(
    repository: Repository, vendor: str, files: Mapping[str, bytes], *, at: dt.datetime
) -> Metadata[Targets]:
    """What a vendor lists next, unsigned: these pin files, by name."""
    for name in files:
        if not readers.is_vendor_file(f"pins/{vendor}/{name}", vendor):
            raise PublishingError(
                f"{name}: a pin file's name has lower-case letters, digits, - and _, and ends in .toml."
            )
    targets = _following(repository.role(vendor), at)
    listed = sorted(vendor_paths(vendor, files).items())
    targets.targets = {path: TargetFile.from_data(path, data, _HASHES) for path, data in listed}
    return Metadata(targets)


def vendor_paths(vendor: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A vendor's files by their path in a set."""
    return {f"pins/{vendor}/{name}": data for name, data in files.items()}


def _following(before: Metadata[Targets] | None, at: dt.datetime) -> Targets:
    """A copy with the next version and a new end; the first version where there is none before."""
    targets = copy.deepcopy(before.signed) if before else Targets()
    targets.version += 1 if before else 0
    targets.expires = _after(at, Targets.type)
    return targets


def _after(at: dt.datetime, role: str) -> dt.datetime:
    return (at + LIFETIMES[role]).replace(microsecond=0)


# What the online keys sign


def publish(
    repository: Repository,
    staged: Staged,
    *,
    snapshot_key: CryptoSigner,
    timestamp_key: CryptoSigner,
    at: dt.datetime,
) -> None:
    """Check everything that is staged, then put it into the repository with a new snapshot and timestamp.

    Raises `PublishingError` before anything is written.
    """
    roots = staged.roots()
    root = _check_roots(repository, roots, at)
    roles = staged.targets()
    targets = roles.get(Targets.type) or repository.targets
    if targets is None:
        if roles:
            raise PublishingError("The first set needs the role targets.")
        _write_metadata(repository, [(Root.type, one) for one in roots])
        return
    _check_online(root, snapshot_key, timestamp_key)
    files = _check_targets(repository, staged, root, targets, at)
    for role in roles.keys() - {Targets.type} - vendors_of(targets).keys():
        raise PublishingError(f"{role}: staged, and no vendor that targets delegates to.")
    for path, data in files.items():
        _write(repository.folder / _TARGETS / path, data)
    _write_metadata(repository, [*((Root.type, one) for one in roots), *roles.items()])
    versions = {role: one.signed.version for role, one in roles.items()}
    _sign_timestamp(repository, _sign_snapshot(repository, versions, snapshot_key, at), timestamp_key, at)


def renew(repository: Repository, *, snapshot_key: CryptoSigner, timestamp_key: CryptoSigner, at: dt.datetime) -> None:
    """Sign the timestamp again, and the snapshot where half of its time is over. For a daily timer."""
    snapshot = repository.snapshot
    if snapshot is None:
        raise PublishingError(f"{repository.folder}: publish a set first.")
    _check_online(repository.root.signed, snapshot_key, timestamp_key)
    if snapshot.signed.expires - at < LIFETIMES[Snapshot.type] / 2:
        snapshot = _sign_snapshot(repository, {}, snapshot_key, at)
    _sign_timestamp(repository, snapshot, timestamp_key, at)


def _check_online(root: Root, snapshot_key: CryptoSigner, timestamp_key: CryptoSigner) -> None:
    for role, key in ((Snapshot.type, snapshot_key), (Timestamp.type, timestamp_key)):
        if key.public_key.keyid not in root.roles[role].keyids:
            raise PublishingError(f"{key.public_key.keyid} is no key of {role}.")


def _check_roots(repository: Repository, roots: Sequence[Metadata[Root]], at: dt.datetime) -> Root:
    trusted = repository.root.signed if repository.exists else None
    for metadata in roots:
        root = metadata.signed
        _check_version(Root.type, root, trusted.version if trusted else 0, at)
        check_root(root)
        for by in filter(None, (trusted, root)):
            _check_signed(Root.type, metadata, by)
        trusted = root
    if trusted is None:
        raise PublishingError(f"{repository.folder}: no root, and none is staged.")
    return trusted


def _check_targets(
    repository: Repository, staged: Staged, root: Root, targets: Metadata[Targets], at: dt.datetime
) -> dict[str, bytes]:
    """Check what people sign as it will be published; return the files to write, by their path in `targets/`."""
    found = staged.targets()
    files: dict[str, bytes] = {}
    roles: list[tuple[str, Metadata[Targets] | None, Root | Targets]] = [(Targets.type, targets, root)]
    for vendor, role in vendors_of(targets).items():
        if not readers.is_vendor(vendor) or role.paths != [pattern_of(vendor)] or not role.terminating:
            raise PublishingError(f"{vendor}: delegated more or other than {pattern_of(vendor)}.")
        roles.append((vendor, found.get(vendor) or repository.role(vendor), targets.signed))
    for name, metadata, by in roles:
        if metadata is None:
            raise PublishingError(f"{name}: delegated, and has signed nothing: stage its pins, too.")
        _check_signed(name, metadata, by)
        if name in found:
            before = repository.role(name)
            _check_version(name, metadata.signed, before.signed.version if before else 0, at)
            files |= _check_files(repository, staged, name, metadata.signed)
    return files


def _check_files(repository: Repository, staged: Staged, role: str, targets: Targets) -> dict[str, bytes]:
    if role != Targets.type and targets.delegations is not None:
        raise PublishingError(f"{role}: a vendor signs its pins itself, and delegates to nobody.")
    try:
        lengths, _ = readers.parts_of(targets) if role == Targets.type else readers.pins_of(role, targets)
        readers.check_total(lengths)
    except HeldBackError as error:
        raise PublishingError(f"Readers would hold this back: {error.message}") from error
    files = {}
    for path, target in targets.targets.items():
        is_own = path in PARTS if role == Targets.type else readers.is_vendor_file(path, role)
        if not is_own:
            raise PublishingError(f"{role}: lists {path}, which is not its own.")
        stored = target.get_prefixed_paths()[0]
        places = (folder / _TARGETS / stored for folder in (staged.folder, repository.folder))
        place = next((place for place in places if place.exists()), None)
        if place is None:
            raise PublishingError(f"{role}: lists {path}, and {stored} is neither staged nor published.")
        files[stored] = place.read_bytes()
        try:
            target.verify_length_and_hashes(files[stored])
        except TufError as error:
            raise PublishingError(f"{place}: not the file that {role} signed ({error}).") from error
    return files


def _check_signed(role: str, metadata: Signed, by: Root | Targets) -> None:
    """Raise `PublishingError` unless enough of the keys that `by` names for the role signed the metadata."""
    result = by.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    if not result:
        able = ", ".join(sorted(result.unsigned)) or "none is left"
        raise PublishingError(
            f"{metadata.signed.version}.{role}.json: signed by {len(result.signed)} of the {result.threshold} keys "
            f"that version {by.version} of {by.type} asks for. Keys that can still sign: {able}."
        )


def _check_version(role: str, signed: Root | Targets, before: int, at: dt.datetime) -> None:
    if signed.version != before + 1:
        raise PublishingError(f"{role}: version {signed.version} is staged, and {before + 1} is next: stage it again.")
    if signed.is_expired(at):
        raise PublishingError(f"{role}: what is staged has expired: stage it again.")


def _sign_snapshot(
    repository: Repository, versions: Mapping[str, int], key: CryptoSigner, at: dt.datetime
) -> Metadata[Snapshot]:
    """Sign the next snapshot. What was ever in one stays, because clients refuse a snapshot that lost an entry."""
    before = repository.snapshot.signed if repository.snapshot else None
    meta = dict(before.meta) if before else {}
    for role, version in versions.items():
        data = (repository.folder / _METADATA / f"{version}.{role}.json").read_bytes()
        meta[f"{role}.json"] = MetaFile.from_data(version, data, _HASHES)
    snapshot = Snapshot((before.version if before else 0) + 1, expires=_after(at, Snapshot.type), meta=meta)
    metadata = Metadata(snapshot)
    metadata.sign(key)
    _write(repository.folder / _METADATA / f"{snapshot.version}.snapshot.json", metadata.to_bytes())
    return metadata


def _sign_timestamp(repository: Repository, snapshot: Metadata[Snapshot], key: CryptoSigner, at: dt.datetime) -> None:
    before = repository.timestamp.signed.version if repository.timestamp else 0
    version = snapshot.signed.version
    data = (repository.folder / _METADATA / f"{version}.snapshot.json").read_bytes()
    meta = MetaFile.from_data(version, data, _HASHES)
    metadata = Metadata(Timestamp(before + 1, expires=_after(at, Timestamp.type), snapshot_meta=meta))
    metadata.sign(key)
    _write(repository.folder / _METADATA / "timestamp.json", metadata.to_bytes())


def _write_metadata(repository: Repository, every: Iterable[tuple[str, Signed]]) -> None:
    for role, metadata in every:
        _write(repository.folder / _METADATA / f"{metadata.signed.version}.{role}.json", metadata.to_bytes())


# Command line


_PARTS_HELP: Final = "where the files of the set are (default: this clone's data)"


def read_parts(folders: Iterable[Path]) -> dict[str, bytes]:
    """The files of a set, each from the first of these folders that has it."""
    places = [(name, folder / name) for name in PARTS for folder in folders]
    return {name: place.read_bytes() for name, place in reversed(places) if place.is_file()}


def read_pins(folder: Path) -> dict[str, bytes]:
    """The pin files in a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.toml"))}


def check_pins(vendor: str, files: Mapping[str, bytes], *, at: dt.datetime) -> None:
    """Raise `PublishingError` for a pin file, by its path in a set, that the vendor's readers would refuse."""
    manifest = Manifest(repository="staged", version=1, published=at, files={})
    staged = data_set.DataSet(StoredSet(Path(), manifest, dict(files)))
    try:
        load(f"{VENDOR}{vendor}", root_labels=data_set.shipped().known_roots.labels, data=staged)
    except DetectorError as error:
        raise PublishingError(str(error)) from error


def ending(repository: Repository, at: dt.datetime) -> Iterator[str]:
    """Yield a sentence for each role whose people must sign again within `NOTICE`."""
    roles: dict[str, Metadata[Root] | Metadata[Targets] | None] = {Root.type: repository.root}
    roles |= {role: repository.role(role) for role in (Targets.type, *vendors_of(repository.targets))}
    for role, metadata in roles.items():
        if metadata is not None and metadata.signed.expires - at < NOTICE:
            yield f"{role}: ends on {metadata.signed.expires:%Y-%m-%d}. Stage it again, and have it signed."


def describe(repository: Repository, staged: Staged | None) -> Iterator[str]:
    """The state of the repository, and of what is staged, one line each: for people who check before they sign."""
    published: list[tuple[str, Metadata[Any] | None]] = [(Root.type, repository.root if repository.exists else None)]
    published += [(Timestamp.type, repository.timestamp), (Snapshot.type, repository.snapshot)]
    published += [(role, repository.role(role)) for role in (Targets.type, *vendors_of(repository.targets))]
    for role, metadata in published:
        if metadata is not None:
            yield f"{role}: version {metadata.signed.version}, until {metadata.signed.expires:%Y-%m-%d}"
            yield from _keys_in(metadata.signed)
    for role, metadata in staged.metadata() if staged else ():
        signers = ", ".join(sorted(metadata.signatures)) or "nobody"
        yield f"staged {role}: version {metadata.signed.version}, until {metadata.signed.expires:%Y-%m-%d}"
        yield f"  signed by {signers}"
        yield from _keys_in(metadata.signed)
        if isinstance(metadata.signed, Targets):
            for path, target in metadata.signed.targets.items():
                yield f"  {path}: {target.length} bytes, SHA-256 {target.hashes['sha256']}"
                yield from (f"    {name}: {json.dumps(value)}" for name, value in (target.custom or {}).items())


def _keys_in(signed: Root | Targets | Snapshot | Timestamp) -> Iterator[str]:
    """The keys that metadata gives to roles."""
    delegations = signed.delegations if isinstance(signed, Targets) else None
    roles = signed.roles if isinstance(signed, Root) else (delegations.roles or {}) if delegations else {}
    for name, role in roles.items():
        yield f"  {name}: {role.threshold} of {', '.join(role.keyids)}"


def _pair(text: str) -> tuple[str, str]:
    role, equals, value = text.partition("=")
    if not equals or role not in TOP_LEVEL_ROLE_NAMES:
        raise argparse.ArgumentTypeError(
            f"{text}: write ROLE=VALUE, with one of {', '.join(sorted(TOP_LEVEL_ROLE_NAMES))}"
        )
    return role, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Publish data sets (docs/knowledge.md).")
    parser.add_argument("--passphrase-file", type=Path, help="first line: the passphrase of every key (default: ask)")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, *, places: Sequence[str]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        for place in places:
            added.add_argument(place, type=Path)
        return added

    both = ("repository", "staged")
    command("key", "Create a key pair: FILE and FILE.pub.", places=["file"])
    added = command("stage-root", "Stage the first root.", places=both)
    for role in sorted(TOP_LEVEL_ROLE_NAMES):
        added.add_argument(f"--{role}-key", type=Path, action="append", required=True, metavar="PUB")
    added.add_argument("--threshold", type=int, default=ROOT_THRESHOLD_MIN, help="root keys that must sign")
    added.add_argument("--test", default="", metavar="PURPOSE", help="mark the root as made for tests")
    added = command("change-root", "Stage the next root: renewed, with keys added or revoked.", places=both)
    added.add_argument("--add", type=_pair, action="append", default=[], metavar="ROLE=PUB")
    added.add_argument("--revoke", type=_pair, action="append", default=[], metavar="ROLE=PUB", help="or ROLE=KEYID")
    added = command("lost", "Write the roots and logs that a set loses, for review.", places=["repository", "file"])
    added.add_argument("--parts", type=Path, action="append", metavar="FOLDER", help=_PARTS_HELP)
    added = command("stage-set", "Stage a set.", places=both)
    added.add_argument("--parts", type=Path, action="append", metavar="FOLDER", help=_PARTS_HELP)
    added.add_argument("--removed", type=Path, metavar="FILE", help="the reviewed roots and logs that are lost")
    added = command("stage-vendor", "Stage a vendor, new or with other keys.", places=both)
    added.add_argument("vendor")
    added.add_argument("--key", type=Path, action="append", required=True, metavar="PUB")
    added.add_argument("--threshold", type=int, default=1)
    command("remove-vendor", "Stage the removal of a vendor.", places=both).add_argument("vendor")
    added = command("stage-pins", "Stage a vendor's pin files.", places=both)
    added.add_argument("vendor")
    added.add_argument("folder", type=Path)
    added = command("sign", "Sign what is staged for a role.", places=["staged"])
    added.add_argument("role")
    added.add_argument("--key", type=Path, required=True)
    for name, text, places in (
        ("publish", "Check what is staged, and put it into the repository.", both),
        ("renew", "Sign the timestamp again, and the snapshot when it is due.", both[:1]),
    ):
        added = command(name, text, places=places)
        added.add_argument("--snapshot-key", type=Path, required=True)
        added.add_argument("--timestamp-key", type=Path, required=True)
    command("show", "Show versions, keys and signatures.", places=both[:1]).add_argument("staged", type=Path, nargs="?")
    return parser


def run(arguments: argparse.Namespace, at: dt.datetime) -> None:
    """Run one command. Raises `PublishingError`."""
    _COMMANDS[arguments.command](arguments, at)


def _passphrase(arguments: argparse.Namespace, path: Path) -> str:
    if arguments.passphrase_file is None:
        return getpass.getpass(f"Passphrase of {path}: ")
    return str(arguments.passphrase_file.read_text("utf-8").partition("\n")[0])


def _signer(arguments: argparse.Namespace, path: Path) -> CryptoSigner:
    return load_key(path, _passphrase(arguments, path))


def _key(arguments: argparse.Namespace, _: dt.datetime) -> None:
    print(create_key(arguments.file, _passphrase(arguments, arguments.file)).public_key.keyid)


def _stage_root(arguments: argparse.Namespace, at: dt.datetime) -> None:
    if Repository(arguments.repository).exists:
        raise PublishingError(f"{arguments.repository}: has a root. Stage the next one with change-root.")
    keys = {
        role: [load_public_key(path) for path in getattr(arguments, f"{role}_key")] for role in TOP_LEVEL_ROLE_NAMES
    }
    root = first_root(keys, at=at, threshold=arguments.threshold, purpose=arguments.test)
    Staged(arguments.staged).add(Root.type, root)


def _change_root(arguments: argparse.Namespace, at: dt.datetime) -> None:
    add = [(role, load_public_key(Path(path))) for role, path in arguments.add]
    revoke = [
        (role, load_public_key(Path(key)).keyid if Path(key).is_file() else key) for role, key in arguments.revoke
    ]
    root = next_root(Repository(arguments.repository), at=at, add=add, revoke=revoke)
    Staged(arguments.staged).add(Root.type, root)


def _lost(arguments: argparse.Namespace, _: dt.datetime) -> None:
    found = lost(Repository(arguments.repository).parts(), _parts(arguments))
    arguments.file.write_text(json.dumps(found.as_json(), indent=1) + "\n", "utf-8")
    print(f"{arguments.file}: {len(found.roots)} roots, {len(found.logs)} logs. Check each of them.")


def _parts(arguments: argparse.Namespace) -> dict[str, bytes]:
    return read_parts(arguments.parts or [data_set.DATA, data_set.canaries_folder()])


def _stage_set(arguments: argparse.Namespace, at: dt.datetime) -> None:
    repository = Repository(arguments.repository)
    removed = Removed.read(arguments.removed) if arguments.removed else _NOTHING
    parts, before = _parts(arguments), repository.parts()
    print("\n".join(data_checks.changes(parts, before)))
    if problems := list(data_checks.problems(parts, before)):
        raise PublishingError("\n".join(["nothing is staged:", *problems]))
    staged = next_targets(repository, parts, at=at, removed=removed)
    Staged(arguments.staged).add(Targets.type, staged, parts)


def _stage_vendor(arguments: argparse.Namespace, at: dt.datetime) -> None:
    keys = [load_public_key(path) for path in arguments.key]
    repository = Repository(arguments.repository)
    staged = with_vendor(repository, arguments.vendor, keys, at=at, threshold=arguments.threshold)
    Staged(arguments.staged).add(Targets.type, staged)


def _remove_vendor(arguments: argparse.Namespace, at: dt.datetime) -> None:
    staged = without_vendor(Repository(arguments.repository), arguments.vendor, at=at)
    Staged(arguments.staged).add(Targets.type, staged)


def _stage_pins(arguments: argparse.Namespace, at: dt.datetime) -> None:
    files = read_pins(arguments.folder)
    check_pins(arguments.vendor, vendor_paths(arguments.vendor, files), at=at)
    staged = vendor_targets(Repository(arguments.repository), arguments.vendor, files, at=at)
    Staged(arguments.staged).add(arguments.vendor, staged, vendor_paths(arguments.vendor, files))


def _sign(arguments: argparse.Namespace, _: dt.datetime) -> None:
    Staged(arguments.staged).sign(arguments.role, _signer(arguments, arguments.key))


def _publish(arguments: argparse.Namespace, at: dt.datetime) -> None:
    staged = Staged(arguments.staged)
    for vendor in staged.targets().keys() - {Targets.type}:
        check_pins(vendor, staged.files(vendor), at=at)
    publish(Repository(arguments.repository), staged, **_online(arguments), at=at)


def _renew(arguments: argparse.Namespace, at: dt.datetime) -> None:
    repository = Repository(arguments.repository)
    renew(repository, **_online(arguments), at=at)
    for line in ending(repository, at):
        print(line, file=sys.stderr)


def _online(arguments: argparse.Namespace) -> dict[str, CryptoSigner]:
    return {name: _signer(arguments, getattr(arguments, name)) for name in ("snapshot_key", "timestamp_key")}


def _show(arguments: argparse.Namespace, _: dt.datetime) -> None:
    staged = Staged(arguments.staged) if arguments.staged else None
    print("\n".join(describe(Repository(arguments.repository), staged)))


_COMMANDS: Final = {
    "key": _key,
    "stage-root": _stage_root,
    "change-root": _change_root,
    "lost": _lost,
    "stage-set": _stage_set,
    "stage-vendor": _stage_vendor,
    "remove-vendor": _remove_vendor,
    "stage-pins": _stage_pins,
    "sign": _sign,
    "publish": _publish,
    "renew": _renew,
    "show": _show,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    try:
        run(_parser().parse_args(argv), dt.datetime.now(dt.UTC))
    except (PublishingError, TufError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
