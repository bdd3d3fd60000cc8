"""A repository of the knowledge that a test publishes, changes and damages: TUF's own records, keys in memory."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from detector.knowledge.data_set import DATA, PARTS, ROOT_CERTIFICATES, canaries_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


_NOTHING: Mapping[str, object] = MappingProxyType({})
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
ROLES = ("root", "timestamp", "snapshot", "targets")
DAY = dt.timedelta(days=1)
PINS = b"""schema = 1
name = "Acme"
updated = 2026-11-01
expires = 2027-11-01

[[endpoint]]
host = "exam.acme.example"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
"""


def unpublished(kind: type[S], **fields: Any) -> S:  # noqa: ANN401 - fields of the signed part
    """The signed part of a role before its first version, which a constructor does not take."""
    signed = kind(**fields)
    signed.version = 0
    return signed


class Vendor:
    """A vendor with a key of its own and its pin files."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        self.name = name
        self.signer = CryptoSigner.generate_ed25519()
        self.files = dict(files)
        self.paths = [f"pins/{name}/*.toml"]
        self.terminating = True
        self.signed = unpublished(Targets)


class DataRepository:
    """A repository: `files` are what its server holds, by path. Nothing there changes but by `publish`.

    Root is signed by two of three keys, every other role by one. `expires` is how long what is signed then holds.
    """

    def __init__(self, parts: Mapping[str, bytes], *, expires: dt.timedelta = 30 * DAY) -> None:
        self.parts = dict(parts)
        self.custom: dict[str, dict[str, Any]] = {}
        self.vendors: dict[str, Vendor] = {}
        self.expires = expires
        self.files: dict[str, bytes] = {}
        self.signers = {role: [CryptoSigner.generate_ed25519() for _ in range(count)] for role, count in _KEYS.items()}
        self.root = unpublished(Root, consistent_snapshot=True)
        self.targets = unpublished(Targets)
        self.snapshot = unpublished(Snapshot)
        self.timestamp = unpublished(Timestamp)
        self.publish_root()
        self.publish()

    @property
    def first_root(self) -> bytes:
        """The root that clients begin with."""
        return self.files["metadata/1.root.json"]

    def add_vendor(self, name: str, files: Mapping[str, bytes]) -> Vendor:
        """Delegate the folder of a vendor to a key of its own."""
        self.vendors[name] = Vendor(name, files)
        return self.vendors[name]

    def rotate(self, *roles: str) -> None:
        """Publish a next root, with new keys of these roles; of the root itself too, signed by its old and new keys."""
        before = self.signers["root"]
        for role in roles:
            self.signers[role] = [CryptoSigner.generate_ed25519() for _ in self.signers[role]]
        self.publish_root(also=before if "root" in roles else ())

    def publish_root(self, *, also: Iterable[CryptoSigner] = (), fields: Mapping[str, object] = _NOTHING) -> None:
        """Publish the next root, with the keys of now and these fields; `also` sign it, too."""
        for role in ROLES:
            self.root.roles[role].keyids.clear()
            self.root.roles[role].threshold = 2 if role == "root" else 1
        self.root.keys.clear()
        for role, signers in self.signers.items():
            for signer in signers:
                self.root.add_key(signer.public_key, role)
        self.root.unrecognized_fields.update(fields)
        data = self.sign(self.root, [*self.signers["root"], *also])
        self.files[f"metadata/{self.root.version}.root.json"] = data

    def publish(self) -> None:
        """Publish the parts and the vendors' pins of now: targets, snapshot and timestamp, each in its next version."""
        self.publish_targets()
        self.publish_snapshot()
        self.publish_timestamp()

    def publish_targets(self) -> None:
        """Sign the parts and each vendor's files; a snapshot has to name them before a client takes them."""
        roles: dict[str, DelegatedRole] = {}
        keys: dict[str, Key] = {}
        for vendor in self.vendors.values():
            key = vendor.signer.public_key
            keys[key.keyid] = key
            roles[vendor.name] = DelegatedRole(
                vendor.name, [key.keyid], 1, terminating=vendor.terminating, paths=vendor.paths
            )
            self.publish_vendor(vendor.name)
        self.targets.delegations = Delegations(keys, roles=roles) if roles else None
        self._sign_files(self.targets, self.parts, self.signers["targets"], "targets")

    def publish_vendor(self, name: str) -> None:
        """Sign the files of one vendor."""
        vendor = self.vendors[name]
        self._sign_files(vendor.signed, vendor.files, [vendor.signer], name)

    def _sign_files(self, signed: Targets, files: Mapping[str, bytes], signers: list[CryptoSigner], role: str) -> None:
        signed.targets = {path: self._target(path, data) for path, data in files.items()}
        data = self.sign(signed, signers)
        self.files[f"metadata/{signed.version}.{role}.json"] = data

    def _target(self, path: str, data: bytes) -> TargetFile:
        target = TargetFile.from_data(path, data, ["sha256"])
        if path in self.custom:
            target.unrecognized_fields["custom"] = self.custom[path]
        folder, _, name = path.rpartition("/")
        self.files["/".join(filter(None, ("targets", folder, f"{hashlib.sha256(data).hexdigest()}.{name}")))] = data
        return target

    def publish_snapshot(self) -> None:
        """Sign the versions of targets and of every vendor."""
        self.snapshot.meta = {
            "targets.json": MetaFile(self.targets.version),
            **{f"{vendor.name}.json": MetaFile(vendor.signed.version) for vendor in self.vendors.values()},
        }
        data = self.sign(self.snapshot, self.signers["snapshot"])
        self.files[f"metadata/{self.snapshot.version}.snapshot.json"] = data

    def publish_timestamp(self) -> None:
        """Sign the version of the snapshot."""
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.files["metadata/timestamp.json"] = self.sign(self.timestamp, self.signers["timestamp"])

    def sign(self, signed: S, signers: Iterable[CryptoSigner]) -> bytes:
        """The next version of this, signed by these keys."""
        signed.version += 1
        signed.expires = dt.datetime.now(dt.UTC).replace(microsecond=0) + self.expires
        metadata: Metadata[S] = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def write(self, folder: Path) -> Path:
        """Write what the server holds into a folder."""
        for path, data in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder


_KEYS = {"root": 3, "timestamp": 1, "snapshot": 1, "targets": 1}


def edited(part: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A part with other fields at its top level."""
    return json.dumps({**json.loads(part), **fields}).encode()


def shipped_parts() -> dict[str, bytes]:
    """The parts that come with the package, by the names of their files."""
    folder = canaries_folder()
    names = [*(part.name for part in PARTS.values()), ROOT_CERTIFICATES]
    return {name: (folder if name.endswith(".toml") else DATA).joinpath(name).read_bytes() for name in names}


def newer(parts: Mapping[str, bytes], *names: str, days: int = 0, version: int = 2) -> dict[str, bytes]:
    """The parts, these of them in another version that is dated so many days before today."""
    date = str(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days))
    return {**parts, **{name: edited(parts[name], version=version, date=date) for name in names}}
