"""What the publisher's own tool writes is what this room installs: sets, vendors, removals and rotated roots."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import data_repository as publisher
import pytest
from securesystemslib.signer import CryptoSigner
from support.data_repository import PINS, newer, shipped_parts

from detector.errors import InputError
from detector.knowledge import data_set
from detector.model import KnowledgeKind
from detector.update import TestRoot, Update, bootstrap, update, verify

if TYPE_CHECKING:
    from pathlib import Path


class Ceremony:
    """A publisher with the keys of every role, and a client of its repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self.people = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.targets, self.snapshot, self.timestamp = (CryptoSigner.generate_ed25519() for _ in range(3))
        self.repository = publisher.Repository(folder / "repository")
        keys = {"targets": self.targets, "snapshot": self.snapshot, "timestamp": self.timestamp}
        public = {role: [signer.public_key] for role, signer in keys.items()}
        public["root"] = [person.public_key for person in self.people]
        staged = publisher.Staged(folder / "root")
        staged.add("root", publisher.first_root(public, at=self.at))
        self._sign_root(staged)
        self._publish(staged)
        (folder / "root.json").write_bytes((self.repository.folder / "metadata" / "1.root.json").read_bytes())

    def _sign_root(self, staged: publisher.Staged) -> None:
        for person in self.people[:2]:
            staged.sign("root", person)

    def _publish(self, staged: publisher.Staged) -> None:
        keys = {"snapshot_key": self.snapshot, "timestamp_key": self.timestamp}
        publisher.publish(self.repository, staged, **keys, at=self.at)

    def put(self, name: str, parts: dict[str, bytes], removed: publisher.Removed | None = None) -> None:
        """Publish a set."""
        staged = publisher.Staged(self.folder / name)
        what = publisher.next_targets(self.repository, parts, at=self.at, removed=removed or publisher.Removed())
        staged.add("targets", what, parts)
        staged.sign("targets", self.targets)
        self._publish(staged)

    def add_vendor(self, name: str, files: dict[str, bytes]) -> None:
        """Publish a vendor with its pins."""
        key = CryptoSigner.generate_ed25519()
        staged = publisher.Staged(self.folder / name)
        staged.add("targets", publisher.with_vendor(self.repository, name, [key.public_key], at=self.at))
        staged.sign("targets", self.targets)
        pins = publisher.vendor_targets(self.repository, name, files, at=self.at)
        staged.add(name, pins, publisher.vendor_paths(name, files))
        staged.sign(name, key)
        self._publish(staged)

    def rotate_timestamp(self) -> None:
        """Publish a next root with another timestamp key."""
        old, self.timestamp = self.timestamp, CryptoSigner.generate_ed25519()
        staged = publisher.Staged(self.folder / "rotated")
        root = publisher.next_root(
            self.repository,
            at=self.at,
            add=[("timestamp", self.timestamp.public_key)],
            revoke=[("timestamp", old.public_key.keyid)],
        )
        staged.add("root", root)
        self._sign_root(staged)
        self._publish(staged)

    def update(self, *vendors: str) -> Update:
        """What a client gets."""
        return update(
            str(self.repository.folder),
            folder=self.folder / "knowledge",
            root=self.folder / "root.json",
            vendors=vendors,
        )


def test_a_set_with_everything(tmp_path: Path) -> None:
    """A first set, a vendor, a rotated key and a set that lost a log on purpose are each installed and verify."""
    parts = shipped_parts()
    retired = {root["sha256"] for root in json.loads(parts["roots.json"])["roots"] if root.get("removed")}
    ceremony = Ceremony(tmp_path)
    ceremony.put("first", parts, publisher.Removed(roots=frozenset(retired)))
    assert ceremony.update().installed
    ceremony.add_vendor("acme", {"exam.toml": PINS})
    assert ceremony.update("acme").vendors == ("acme",)
    ceremony.rotate_timestamp()
    logs = json.loads(parts["ct_logs.json"])
    lost = next(log["log_id"] for log in logs["logs"] if not log.get("why"))
    logs["logs"] = [log for log in logs["logs"] if log["log_id"] != lost]
    parts = newer({**parts, "ct_logs.json": json.dumps(logs).encode()}, "ct_logs.json")
    ceremony.put("second", parts, publisher.Removed(logs=frozenset({lost})))
    done = ceremony.update()
    assert (done.vendors, done.changed) == (("acme",), ("ct_logs.json",))
    serving = data_set.installed(tmp_path / "knowledge")
    assert serving.part(KnowledgeKind.LOGS).version == "2"
    assert [file.data for file in serving.pins_of("acme")] == [PINS]
    verified = verify(tmp_path / "knowledge", root=tmp_path / "root.json")
    assert {role.role: role.version for role in verified.roles}["root"] == 2


def test_the_shipped_root() -> None:
    """The root that comes with the package is a root, and is refused unless asked for."""
    with pytest.raises(InputError, match="made for tests"):
        bootstrap.read(None, TestRoot.REFUSE)
    assert bootstrap.read(None, TestRoot.ALLOW) == bootstrap.SHIPPED.read_bytes()
