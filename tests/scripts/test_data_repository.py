"""Tests of scripts/data_repository.py: ceremonies, vendors, rotation, revocation, and what is refused.

Room: tests; writes into temporary directories. A client of python-tuf reads what is published.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.api.metadata import Delegations, Metadata, Root, Targets
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from detector.knowledge import data_set
from detector.update.bootstrap import TEST_MARK
from detector.update.targets import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))  # scripts are run from their own folder, and not installed

import data_repository as publisher  # noqa: E402 - after the path

NOW: Final = dt.datetime.now(dt.UTC).replace(microsecond=0)
"""python-tuf's client reads the clock, so metadata is dated from today."""
PASSPHRASE: Final = "correct horse battery staple"  # noqa: S105 - of keys that live for one test
PIN_FILE: Final = b'schema = 1\nname = "acme"\n'


def parts(*, roots: dict[str, str | None], logs: dict[str, str]) -> dict[str, bytes]:
    """The parts with roots (SHA-256 to day of removal) and logs (log ID to why it is not trusted)."""
    return {
        "roots.json": json.dumps({"roots": [{"sha256": s, "removed": r} for s, r in roots.items()]}).encode(),
        "ct_logs.json": json.dumps({"logs": [{"log_id": i, "why": w} for i, w in logs.items()]}).encode(),
    }


FIRST: Final = parts(roots={"aa": None, "bb": None, "cc": "2025-01-01"}, logs={"l1": "", "l2": "", "l3": "test log"})
RETIRED: Final = publisher.Removed(roots=frozenset({"cc"}))
"""What the first set lists as removed: the roots that were public before it."""


class Files(FetcherInterface):
    """Fetches from a folder."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield Path(url).read_bytes()
        except OSError as error:
            raise DownloadHTTPError(str(error), 404) from error


class World:
    """A publisher with its keys, its repository, and a client that trusts its first root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.people = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.targets, self.snapshot, self.timestamp = (CryptoSigner.generate_ed25519() for _ in range(3))
        self.repository = publisher.Repository(folder / "repository")
        self._staged = 0

    def stage(self) -> publisher.Staged:
        """A new staging folder."""
        self._staged += 1
        return publisher.Staged(self.folder / f"staged{self._staged}")

    def publish(self, staged: publisher.Staged) -> None:
        """Publish with the online keys."""
        publisher.publish(self.repository, staged, snapshot_key=self.snapshot, timestamp_key=self.timestamp, at=NOW)

    def begin(self, *, purpose: str = "") -> None:
        """Publish the first root."""
        keys = {
            "root": [person.public_key for person in self.people],
            "targets": [self.targets.public_key],
            "snapshot": [self.snapshot.public_key],
            "timestamp": [self.timestamp.public_key],
        }
        staged = self.stage()
        staged.add("root", publisher.first_root(keys, at=NOW, purpose=purpose))
        for person in self.people[:2]:
            staged.sign("root", person)
        self.publish(staged)

    def put(self, files: dict[str, bytes], removed: publisher.Removed = publisher.Removed()) -> None:  # noqa: B008 - a frozen record
        """Publish a set."""
        staged = self.stage()
        staged.add("targets", publisher.next_targets(self.repository, files, at=NOW, removed=removed), files)
        staged.sign("targets", self.targets)
        self.publish(staged)

    def vendor(self, name: str, *keys: CryptoSigner, files: dict[str, bytes] | None = None) -> None:
        """Publish a vendor with its first pins."""
        staged = self.stage()
        public = [key.public_key for key in keys]
        staged.add("targets", publisher.with_vendor(self.repository, name, public, at=NOW))
        staged.sign("targets", self.targets)
        self.pins(name, keys[0], files or {"exam.toml": PIN_FILE}, staged)

    def pins(
        self, name: str, key: CryptoSigner, files: dict[str, bytes], staged: publisher.Staged | None = None
    ) -> None:
        """Publish pins of a vendor."""
        staged = staged or self.stage()
        staged.add(
            name,
            publisher.vendor_targets(self.repository, name, files, at=NOW),
            publisher.vendor_paths(name, files),
        )
        staged.sign(name, key)
        self.publish(staged)

    def fetch(self, path: str, *, client: str = "client") -> bytes | None:
        """What a client gets for a path, from the trust it has, which begins with the first root."""
        folder, served = self.folder / client, self.repository.folder
        folder.mkdir(exist_ok=True)
        updater = Updater(
            str(folder),
            f"{served / 'metadata'}/",
            str(folder),
            f"{served / 'targets'}/",
            Files(),
            bootstrap=(served / "metadata" / "1.root.json").read_bytes(),
        )
        updater.refresh()
        info = updater.get_targetinfo(path)
        return None if info is None else Path(updater.download_target(info)).read_bytes()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A publisher who has published a root and a set."""
    world = World(tmp_path)
    world.begin()
    world.put(FIRST, RETIRED)
    return world


def test_a_client_reads_what_is_published(world: World) -> None:
    """The metadata is TUF's: its own client verifies and fetches the parts, and then the next version of them."""
    assert world.fetch("roots.json") == FIRST["roots.json"]
    newer = {**FIRST, "roots.json": FIRST["roots.json"] + b" "}
    world.put(newer)
    assert world.fetch("roots.json") == newer["roots.json"]


def test_one_signature_is_no_root(tmp_path: Path) -> None:
    """Two of three people sign a root, and the message says who still can."""
    world = World(tmp_path)
    world.people[1] = world.people[0]
    with pytest.raises(publisher.PublishingError, match="3 keys or more"):
        world.begin()
    world.people[1] = CryptoSigner.generate_ed25519()
    staged = world.stage()
    keys = {
        "root": [person.public_key for person in world.people],
        **{role: [getattr(world, role).public_key] for role in ("targets", "snapshot", "timestamp")},
    }
    staged.add("root", publisher.first_root(keys, at=NOW))
    staged.sign("root", world.people[2])
    with pytest.raises(publisher.PublishingError, match="1 of the 2 keys") as caught:
        world.publish(staged)
    assert world.people[0].public_key.keyid in str(caught.value)
    assert not world.repository.exists


def test_online_keys_are_no_offline_ones(tmp_path: Path) -> None:
    """The key of the timestamp is not the one of targets."""
    world = World(tmp_path)
    world.timestamp = world.targets
    with pytest.raises(publisher.PublishingError, match="online"):
        world.begin()


def test_what_is_lost_must_be_reviewed(world: World) -> None:
    """A set without a root or a log that counted is refused until a person lists exactly these; the list grows."""
    fewer = parts(roots={"aa": None, "bb": "2026-11-01"}, logs={"l1": "", "l2": "rejected"})
    with pytest.raises(publisher.PublishingError, match='"bb"') as caught:
        publisher.next_targets(world.repository, fewer, at=NOW)
    assert '"l2"' in str(caught.value)
    reviewed = publisher.Removed(frozenset({"bb"}), frozenset({"l2"}))
    for wrong in (publisher.Removed(frozenset({"bb"})), publisher.Removed(frozenset({"bb", "aa"}), frozenset({"l2"}))):
        with pytest.raises(publisher.PublishingError, match="lost"):
            publisher.next_targets(world.repository, fewer, at=NOW, removed=wrong)
    world.put(fewer, reviewed)
    listed = world.repository.targets
    assert listed is not None
    assert listed.signed.targets["roots.json"].custom == {"removed": {"roots": ["bb", "cc"]}}
    assert listed.signed.targets["ct_logs.json"].custom == {"removed": {"logs": ["l2"]}}
    world.put(FIRST)  # both count again
    assert world.repository.removed == RETIRED


def test_a_part_never_disappears(world: World) -> None:
    """A set has every part that was published before, and no other file."""
    with pytest.raises(publisher.PublishingError, match=r"ct_logs\.json: published before"):
        publisher.next_targets(world.repository, {"roots.json": FIRST["roots.json"]}, at=NOW)
    with pytest.raises(publisher.PublishingError, match=r"setup\.py: no part"):
        publisher.next_targets(world.repository, {**FIRST, "setup.py": b""}, at=NOW)


def test_a_vendor_signs_its_own_pins(world: World) -> None:
    """Its key signs its folder, and the next pins need nobody else's key but the online ones."""
    acme = CryptoSigner.generate_ed25519()
    world.vendor("acme", acme)
    assert world.fetch("pins/acme/exam.toml") == PIN_FILE
    world.pins("acme", acme, {"exam.toml": b"new", "second.toml": PIN_FILE})
    assert world.fetch("pins/acme/exam.toml") == b"new"
    role = publisher.vendors_of(world.repository.targets)["acme"]
    assert (role.paths, role.terminating, role.threshold) == (["pins/acme/*.toml"], True, 1)


def test_a_vendor_signs_nothing_else(world: World) -> None:
    """Not another vendor's pins, not a part, not a folder below its own."""
    acme, other = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    world.vendor("acme", acme)
    world.vendor("other", other)
    with pytest.raises(publisher.PublishingError, match=r"other\.json: signed by 0 of the 1"):
        world.pins("other", acme, {"exam.toml": PIN_FILE})
    for path in ("pins/other/exam.toml", "roots.json", "pins/acme/deep/exam.toml", "pins/acme/../exam.toml"):
        staged = world.stage()
        metadata = publisher.vendor_targets(world.repository, "acme", {"exam.toml": PIN_FILE}, at=NOW)
        metadata.signed.targets[path] = metadata.signed.targets.pop("pins/acme/exam.toml")
        staged.add("acme", metadata)
        staged.sign("acme", acme)
        with pytest.raises(publisher.PublishingError, match="not its own"):
            world.publish(staged)


def test_a_vendor_delegates_to_nobody(world: World) -> None:
    """Its role is the end: nobody else's key signs below it."""
    acme = CryptoSigner.generate_ed25519()
    world.vendor("acme", acme)
    staged = world.stage()
    metadata = publisher.vendor_targets(world.repository, "acme", {}, at=NOW)
    metadata.signed.delegations = Delegations({}, {})
    staged.add("acme", metadata)
    staged.sign("acme", acme)
    with pytest.raises(publisher.PublishingError, match="delegates to nobody"):
        world.publish(staged)


def test_pins_that_readers_would_refuse_are_not_published(world: World, tmp_path: Path) -> None:
    """A vendor may sign anything; the command checks it before the online keys do."""
    acme = CryptoSigner.generate_ed25519()
    world.vendor("acme", acme)
    staged = world.stage()
    files = {"exam.toml": b"schema = 9"}
    staged.add(
        "acme",
        publisher.vendor_targets(world.repository, "acme", files, at=NOW),
        publisher.vendor_paths("acme", files),
    )
    staged.sign("acme", acme)
    unused = tmp_path / "no-key"
    with pytest.raises(SystemExit, match=r"exam\.toml"):
        publisher.main(
            [
                *("publish", str(world.repository.folder), str(staged.folder)),
                *("--snapshot-key", str(unused), "--timestamp-key", str(unused)),
            ]
        )


@pytest.mark.parametrize("name", ["root", "targets", "Acme", "a/b", "..", "", "-a", "a" * 65, "acme\n"])
def test_names_of_vendors(world: World, name: str) -> None:
    """A vendor's name is a folder's and no role's."""
    with pytest.raises(publisher.PublishingError, match="vendor's name"):
        publisher.with_vendor(world.repository, name, [world.people[0].public_key], at=NOW)


def test_a_vendor_gets_another_key(world: World) -> None:
    """The new key must have signed its pins in the same step; afterwards the old one signs nothing."""
    old, new = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    world.vendor("acme", old)
    staged = world.stage()
    staged.add("targets", publisher.with_vendor(world.repository, "acme", [new.public_key], at=NOW))
    staged.sign("targets", world.targets)
    with pytest.raises(publisher.PublishingError, match=r"acme\.json: signed by 0"):
        world.publish(staged)
    world.pins("acme", new, {"exam.toml": b"by the new key"}, staged)
    assert world.fetch("pins/acme/exam.toml") == b"by the new key"
    with pytest.raises(publisher.PublishingError, match="signed by 0"):
        world.pins("acme", old, {"exam.toml": PIN_FILE})


def test_a_vendor_leaves(world: World) -> None:
    """Its pins are no target any more, clients that knew it go on, and its key signs nothing."""
    acme = CryptoSigner.generate_ed25519()
    world.vendor("acme", acme)
    world.fetch("pins/acme/exam.toml")
    staged = world.stage()
    staged.add("targets", publisher.without_vendor(world.repository, "acme", at=NOW))
    staged.sign("targets", world.targets)
    world.publish(staged)
    assert world.fetch("pins/acme/exam.toml") is None
    assert world.fetch("roots.json") == FIRST["roots.json"]
    with pytest.raises(publisher.PublishingError, match="no vendor that targets delegates to"):
        world.pins("acme", acme, {"exam.toml": PIN_FILE})
    with pytest.raises(publisher.PublishingError, match="no vendor of this repository"):
        publisher.without_vendor(world.repository, "acme", at=NOW)


def test_roots_rotate_over_three_versions(world: World) -> None:
    """Each time one person is replaced; a client that saw only the first root follows, and one of every version."""
    world.fetch("roots.json")
    for number in range(3):
        leaving, joining = world.people[0], CryptoSigner.generate_ed25519()
        staged = world.stage()
        staged.add(
            "root",
            publisher.next_root(
                world.repository,
                at=NOW,
                add=[("root", joining.public_key)],
                revoke=[("root", leaving.public_key.keyid)],
            ),
        )
        staged.sign("root", world.people[1])
        with pytest.raises(publisher.PublishingError, match="1 of the 2"):
            world.publish(staged)
        staged.sign("root", world.people[2])
        world.publish(staged)
        world.people = [*world.people[1:], joining]
        assert world.fetch("roots.json") == FIRST["roots.json"]
        assert world.fetch("roots.json", client=f"new{number}") == FIRST["roots.json"]
    assert world.repository.root.signed.version == 4


def test_revoked_people_do_not_sign_the_root_after(world: World) -> None:
    """Two people of the old root cannot sign the root that follows the one that revoked them."""
    old = world.people[:2]
    joining = [CryptoSigner.generate_ed25519() for _ in old]
    staged = world.stage()
    root = publisher.next_root(
        world.repository,
        at=NOW,
        add=[("root", key.public_key) for key in joining],
        revoke=[("root", key.public_key.keyid) for key in old],
    )
    staged.add("root", root)
    for key in (*old, *joining):
        staged.sign("root", key)
    world.publish(staged)
    staged = world.stage()
    staged.add("root", publisher.next_root(world.repository, at=NOW))
    for key in old:
        staged.sign("root", key)
    with pytest.raises(publisher.PublishingError, match="0 of the 2"):
        world.publish(staged)


def test_a_stolen_timestamp_key_is_revoked(world: World) -> None:
    """The old key is refused by the publisher, and what it signed ahead of time by every client that sees the root."""
    stolen, world.timestamp = world.timestamp, CryptoSigner.generate_ed25519()
    staged = world.stage()
    staged.add(
        "root",
        publisher.next_root(
            world.repository,
            at=NOW,
            add=[("timestamp", world.timestamp.public_key)],
            revoke=[("timestamp", stolen.public_key.keyid)],
        ),
    )
    for person in world.people[:2]:
        staged.sign("root", person)
    with pytest.raises(publisher.PublishingError, match="no key of timestamp"):
        publisher.publish(world.repository, staged, snapshot_key=world.snapshot, timestamp_key=stolen, at=NOW)
    # The thief publishes a timestamp of the far future before the key is revoked, and a client takes it.
    forged = world.repository.timestamp
    assert forged is not None
    honest = (world.repository.folder / "metadata" / "timestamp.json").read_bytes()
    forged.signed.version = 1000
    forged.sign(stolen)
    forged.to_file(str(world.repository.folder / "metadata" / "timestamp.json"))
    assert world.fetch("roots.json") == FIRST["roots.json"]
    (world.repository.folder / "metadata" / "timestamp.json").write_bytes(honest)
    with pytest.raises(RepositoryError):
        world.fetch("roots.json")  # a rollback, as far as this client knows
    world.publish(staged)
    assert world.fetch("roots.json") == FIRST["roots.json"]  # the new root made it forget what the old key signed


def test_the_last_key_of_a_role_is_not_revoked(world: World) -> None:
    """Revoking a key needs another one in its place, and a key ID that exists."""
    with pytest.raises(publisher.PublishingError, match="fewer keys"):
        publisher.next_root(world.repository, at=NOW, revoke=[("timestamp", world.timestamp.public_key.keyid)])
    with pytest.raises(publisher.PublishingError, match="no key of root"):
        publisher.next_root(world.repository, at=NOW, revoke=[("root", "00" * 32)])


def test_another_key_of_targets_signs_the_set_again(world: World) -> None:
    """A root that revokes the key of targets is refused until the set is signed by the new one."""
    old, world.targets = world.targets, CryptoSigner.generate_ed25519()
    staged = world.stage()
    root = publisher.next_root(
        world.repository,
        at=NOW,
        add=[("targets", world.targets.public_key)],
        revoke=[("targets", old.public_key.keyid)],
    )
    staged.add("root", root)
    for person in world.people[:2]:
        staged.sign("root", person)
    with pytest.raises(publisher.PublishingError, match=r"targets\.json: signed by 0"):
        world.publish(staged)
    staged.add("targets", publisher.next_targets(world.repository, FIRST, at=NOW))
    staged.sign("targets", world.targets)
    world.publish(staged)
    assert world.fetch("roots.json") == FIRST["roots.json"]


def test_the_timestamp_is_renewed_and_the_snapshot_when_it_is_due(world: World) -> None:
    """A daily job signs a timestamp of two weeks; the snapshot follows in the second half of its time."""
    keys = {"snapshot_key": world.snapshot, "timestamp_key": world.timestamp}
    for number, (days, snapshot) in enumerate([(1, 1), (29, 1), (31, 2), (32, 2)], start=2):
        at = NOW + dt.timedelta(days=days)
        publisher.renew(world.repository, **keys, at=at)
        timestamp, newest = world.repository.timestamp, world.repository.snapshot
        assert timestamp is not None
        assert newest is not None
        assert (timestamp.signed.version, timestamp.signed.expires) == (number, at + dt.timedelta(days=14))
        assert newest.signed.version == snapshot
    assert world.fetch("roots.json") == FIRST["roots.json"]


def test_the_timestamp_is_signed_by_its_own_key(world: World) -> None:
    """A timer with a key that was revoked, or with another role's, breaks nothing."""
    before = (world.repository.folder / "metadata" / "timestamp.json").read_bytes()
    with pytest.raises(publisher.PublishingError, match="no key of timestamp"):
        publisher.renew(world.repository, snapshot_key=world.snapshot, timestamp_key=world.snapshot, at=NOW)
    assert (world.repository.folder / "metadata" / "timestamp.json").read_bytes() == before


def test_people_are_reminded_before_their_signatures_end(world: World) -> None:
    """Two months before: first of the set, then of the root, too."""
    world.vendor("acme", CryptoSigner.generate_ed25519())
    for days, roles in ((1, []), (341, ["targets", "acme"]), (671, ["root", "targets", "acme"])):
        lines = publisher.ending(world.repository, NOW + dt.timedelta(days=days))
        assert [line.split(":")[0] for line in lines] == roles


def test_a_staged_change_is_taken_whole_or_not_at_all(world: World) -> None:
    """A file that is not the signed one, a version that is not next or an expired one: nothing is written."""
    before = {path: path.read_bytes() for path in sorted(world.repository.folder.rglob("*")) if path.is_file()}
    newer = {**FIRST, "ct_logs.json": FIRST["ct_logs.json"] + b" "}

    def staged(at: dt.datetime = NOW) -> publisher.Staged:
        folder = world.stage()
        folder.add("targets", publisher.next_targets(world.repository, newer, at=at), newer)
        folder.sign("targets", world.targets)
        return folder

    changed = staged()
    next(changed.folder.rglob("*ct_logs.json")).write_bytes(b"{}")
    expired = staged(NOW - dt.timedelta(days=500))
    skipped = staged()
    metadata = skipped.targets()["targets"]
    metadata.signed.version = 7
    metadata.sign(world.targets)
    metadata.to_file(str(next(skipped.folder.rglob("2.targets.json"))))
    for wrong, message in ((changed, "not the file"), (expired, "expired"), (skipped, "version 7 is staged")):
        with pytest.raises(publisher.PublishingError, match=message):
            world.publish(wrong)
    assert {p: p.read_bytes() for p in sorted(world.repository.folder.rglob("*")) if p.is_file()} == before


def test_nothing_is_staged_over_what_may_be_signed(world: World) -> None:
    """A second change for the same role waits for the first."""
    staged = world.stage()
    metadata = publisher.next_targets(world.repository, FIRST, at=NOW)
    staged.add("targets", metadata, FIRST)
    with pytest.raises(publisher.PublishingError, match="staged already"):
        staged.add("targets", metadata, FIRST)


def test_a_test_root_says_so(tmp_path: Path) -> None:
    """The mark is in what people sign, and stays in the roots that follow."""
    world = World(tmp_path)
    world.begin(purpose="tests of this package")
    assert world.repository.root.signed.unrecognized_fields == {"x-test-root": {"purpose": "tests of this package"}}
    assert publisher.next_root(world.repository, at=NOW).signed.unrecognized_fields


def test_the_shipped_root_is_a_test_root() -> None:
    """It is marked, two of its three people signed it, and it does not end before a real one takes its place."""
    root = Metadata[Root].from_file(str(ROOT / "detector" / "update" / "data" / "root.json"))
    root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
    publisher.check_root(root.signed)
    assert TEST_MARK in root.signed.unrecognized_fields
    assert root.signed.expires > dt.datetime(2040, 1, 1, tzinfo=dt.UTC)


def test_keys_are_encrypted_and_never_overwritten(tmp_path: Path) -> None:
    """A key file opens with its passphrase alone, is readable by its owner alone, and stays what it is."""
    signer = publisher.create_key(tmp_path / "key", PASSPHRASE)
    assert (tmp_path / "key").read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert (tmp_path / "key").stat().st_mode & 0o77 == 0
    assert publisher.load_key(tmp_path / "key", PASSPHRASE).public_key == signer.public_key
    assert publisher.load_public_key(tmp_path / "key.pub") == signer.public_key
    for wrong in ("", "another passphrase"):
        with pytest.raises(publisher.PublishingError, match="no key that this passphrase opens"):
            publisher.load_key(tmp_path / "key", wrong)
    with pytest.raises(publisher.PublishingError, match="never overwritten"):
        publisher.create_key(tmp_path / "key", PASSPHRASE)
    with pytest.raises(publisher.PublishingError, match="12 characters"):
        publisher.create_key(tmp_path / "short", "elevenchars")
    assert not (tmp_path / "short").exists()


def test_keys_stay_out_of_version_control(tmp_path: Path) -> None:
    """A folder of a repository, at any depth and behind a link, is refused before a key is made."""
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    (tmp_path / "clone" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "clone" / "deep")
    for place in (tmp_path / "clone" / "key", tmp_path / "clone" / "deep" / "key", tmp_path / "link" / "key"):
        with pytest.raises(publisher.PublishingError, match="version control"):
            publisher.create_key(place, PASSPHRASE)
        assert not place.exists()


PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40}")
OF_TESTS: Final = ROOT / "tests" / "golden" / "given"
"""Keys of servers on loopback, whose certificates the golden files hold."""


def test_no_private_key_is_in_the_tree() -> None:
    """No folder that is published holds a private key, encrypted or not, but those of the golden files' servers."""
    folders = ("detector", "docs", "evaluation", "packages", "pins", "scripts", "share", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert len(files) > 500
    found = {path.parent for path in files if PRIVATE_KEY.search(path.read_bytes())}
    assert found == {OF_TESTS}


def test_the_search_finds_what_the_tool_writes(tmp_path: Path) -> None:
    """The pattern of the test above matches a key file of this tool."""
    publisher.create_key(tmp_path / "key", PASSPHRASE)
    assert PRIVATE_KEY.search((tmp_path / "key").read_bytes())


def test_what_vendors_sign_is_read_by_python_tuf(world: World) -> None:
    """Every file in the repository reads back as it was written."""
    world.vendor("acme", CryptoSigner.generate_ed25519())
    every = sorted((world.repository.folder / "metadata").glob("*.json"))
    assert [path.name for path in every] == [
        *("1.acme.json", "1.root.json", "1.snapshot.json", "1.targets.json"),
        *("2.snapshot.json", "2.targets.json", "timestamp.json"),
    ]
    for path in every:
        assert Metadata.from_file(str(path)).to_bytes() == path.read_bytes()
    assert isinstance(Metadata[Targets].from_file(str(every[0])).signed, Targets)


# docs/knowledge.md

PAGE: Final = (ROOT / "docs" / "knowledge.md").read_text("utf-8")
COMMAND: Final = "python scripts/data_repository.py "


def table(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, without its head."""
    text = PAGE.split(heading, 1)[1]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    found = itertools.takewhile(lambda row: len(row) == len(rows[0]), rows)
    return [[cell.strip() for cell in row] for row in list(found)[2:]]


def test_the_ceremony_of_the_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command, in the page's order, with the shipped data: at its end a client reads the shipped parts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("getpass.getpass", lambda _: PASSPHRASE)
    (tmp_path / "keys").mkdir()
    (tmp_path / "pins-of-acme").mkdir()
    (tmp_path / "pins-of-acme" / "exam.toml").write_text(
        'schema = 1\n\n[[endpoint]]\nhost = "exam.example.edu"\ncategory = "exam"\npins = ["sha256/'
        + "A" * 43
        + '="]\n'
    )
    lines = [line for block in re.findall(r"(?m)^```sh\n(.*?)^```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(lines) > 50
    for line in lines:
        assert line.startswith(COMMAND)
        publisher.main(shlex.split(line.removeprefix(COMMAND)))
        if line.endswith("staged/acme-2 --snapshot-key keys/snapshot --timestamp-key keys/timestamp"):
            assert served(tmp_path).fetch("pins/acme/exam.toml", client="acme")
    shown = capsys.readouterr().out
    assert "roots.json: added" in shown
    assert "staged root: version 1" in shown
    world = served(tmp_path)
    assert world.repository.root.signed.version == 4
    assert world.fetch("pins/acme/exam.toml") is None
    assert world.fetch("ct_logs.json") == (data_set.DATA / "ct_logs.json").read_bytes()
    assert world.repository.removed.roots == {
        root.sha256 for root in data_set.shipped().known_roots.roots if root.removed is not None
    }


def served(folder: Path) -> World:
    """A client's view of the repository that the page's commands made."""
    world = World(folder)
    world.repository = publisher.Repository(folder / "repository")
    return world


def test_the_page_names_every_part_and_command() -> None:
    """The table of parts is that of the code, and so are the commands and the time that a signature counts."""
    named = [row[0].strip("`") for row in table("## The parts")]
    assert set(named) == {*PARTS, "pins/<vendor>/*.toml"}
    days = {row[0].strip("`"): row[-1] for row in table("## Who signs what")}
    vendor = days.pop("a vendor")
    assert days == {role: f"{time.days} days" for role, time in publisher.LIFETIMES.items()}
    assert vendor == days["targets"]
    used = set(re.findall(rf"(?m)^{re.escape(COMMAND)}([a-z-]+)", PAGE))
    assert used == publisher._COMMANDS.keys()


def test_a_set_that_fails_its_checks_is_not_staged(world: World, tmp_path: Path) -> None:
    """The checks of build_data.py are made again, against what is published, and the message names the file."""
    folder = tmp_path / "parts"
    shutil.copytree(data_set.DATA, folder)
    changed = json.loads((folder / "ct_logs.json").read_bytes())
    changed["logs"][0]["key"] = "AAAA"
    (folder / "ct_logs.json").write_text(json.dumps(changed))
    arguments = ["stage-set", str(world.repository.folder), str(tmp_path / "set"), "--parts", str(folder)]
    with pytest.raises(SystemExit, match=r"ct_logs\.json: `logs\[0\]\.log_id`"):
        publisher.main(arguments)
    assert not (tmp_path / "set").exists()


def test_pins_of_a_vendor_name_no_files(world: World, tmp_path: Path) -> None:
    """A vendor's pin file is read on machines that have none of its files."""
    (tmp_path / "pins").mkdir()
    (tmp_path / "pins" / "a.toml").write_text(
        'schema = 1\n\n[[endpoint]]\nhost = "exam.example.edu"\ncategory = "exam"\nprivate_roots = ["root.pem"]\n'
    )
    arguments = ["stage-pins", str(world.repository.folder), str(tmp_path / "staged"), "acme", str(tmp_path / "pins")]
    with pytest.raises(SystemExit, match="name no files"):
        publisher.main(arguments)


def test_what_readers_hold_back_is_not_published(world: World) -> None:
    """More files than a set has of one role."""
    acme = CryptoSigner.generate_ed25519()
    files = {f"f{number}.toml": PIN_FILE for number in range(65)}
    with pytest.raises(publisher.PublishingError, match=r"hold this back: .* lists 65 files"):
        world.vendor("acme", acme, files=files)


def test_damaged_files_are_named(world: World, tmp_path: Path) -> None:
    """What was carried between machines and lost bytes, a review that is no JSON, and a folder that does not exist."""
    staged = world.stage()
    staged.add("targets", publisher.next_targets(world.repository, FIRST, at=NOW), FIRST)
    path = next(staged.folder.rglob("2.targets.json"))
    path.write_bytes(path.read_bytes()[:-9])
    (tmp_path / "review.json").write_text("{")
    for arguments, message in (
        (["show", str(world.repository.folder), str(staged.folder)], r"2\.targets\.json: damaged"),
        (
            [
                "stage-set",
                str(world.repository.folder),
                str(tmp_path / "s"),
                "--removed",
                str(tmp_path / "review.json"),
            ],
            r"review\.json: not what the command `lost` writes",
        ),
        (["sign", str(staged.folder), "targets", "--key", str(tmp_path / "none")], "no key that this passphrase opens"),
    ):
        (tmp_path / "passphrase").write_text(PASSPHRASE)
        with pytest.raises(SystemExit, match=message):
            publisher.main(["--passphrase-file", str(tmp_path / "passphrase"), *arguments])
