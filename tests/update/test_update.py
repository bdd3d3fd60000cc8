"""An update from start to end: what is installed, what is held back, and that nothing but a whole set ever serves."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.data_repository import PINS, DataRepository, edited, newer, shipped_parts

from detector.errors import HeldBackError, InputError, NoRoomError, OutputError, UpdateError
from detector.knowledge import data_set, store
from detector.model import KnowledgeKind, private_files
from detector.update import TestRoot, Update, export, install, update, verify
from detector.update.bootstrap import TEST_MARK
from detector.update.install import Installer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


class Place:
    """A repository served from a directory, and the folder of one client."""

    def __init__(self, folder: Path, repository: DataRepository) -> None:
        self.repository = repository
        self.served = folder / "served"
        self.folder = folder / "knowledge"
        self.root = folder / "root.json"
        self.root.write_bytes(repository.first_root)

    def update(self, **options: Any) -> Update:  # noqa: ANN401 - arguments of `update`
        """Publish nothing, serve what is published, and update from it."""
        self.repository.write(self.served)
        return update(str(self.served), **{"folder": self.folder, "root": self.root, **options})

    def publish(self, *names: str, **how: int) -> None:
        """Publish newer parts of these names."""
        self.repository.parts = newer(self.repository.parts, *names, **how)
        self.repository.publish()

    def serving(self) -> data_set.DataSet:
        """What serves, read from the disk."""
        return data_set.installed(self.folder)


@pytest.fixture(scope="module")
def parts() -> dict[str, bytes]:
    return shipped_parts()


@pytest.fixture
def place(parts: dict[str, bytes], tmp_path: Path) -> Place:
    return Place(tmp_path, DataRepository(parts))


def without(part: bytes, key: str, chosen: Callable[[dict[str, Any]], bool]) -> bytes:
    """A part without the entries of one of its lists that are chosen."""
    content = json.loads(part)
    return json.dumps({**content, key: [entry for entry in content[key] if not chosen(entry)]}).encode()


# Installing


def test_an_update_is_used_from_then_on(place: Place) -> None:
    """Newer parts than the shipped ones serve once the update has ended; of the others the shipped ones serve."""
    place.publish("ct_logs.json")
    done = place.update()
    assert done.installed
    assert done.set == store.read_current(place.folder).set  # type: ignore[union-attr] # there is one
    parts = {part.kind: (part.name, part.version) for part in place.serving().parts()}
    assert parts[KnowledgeKind.LOGS] == ("directory", "2")
    assert parts[KnowledgeKind.ROOTS] == ("shipped", "1")


def test_nothing_changes_without_a_newer_set(place: Place) -> None:
    """A second update says that the set is the newest, writes no set, and keeps the newer signatures for a mirror."""
    first = place.update()
    before = {path: path.stat().st_mtime_ns for path in (place.folder / "sets").rglob("*")}
    place.repository.publish_timestamp()
    again = place.update()
    assert (again.installed, again.set, again.changed) == (False, first.set, ())
    assert {path: path.stat().st_mtime_ns for path in (place.folder / "sets").rglob("*")} == before
    kept = (place.folder / "metadata" / "sets" / first.set / "timestamp.json").read_bytes()
    assert kept == place.repository.files["metadata/timestamp.json"]


def test_two_sets_are_kept(place: Place) -> None:
    """The set in use and the one before it stay on the disk, with the metadata of each, and nothing else."""
    names = []
    for version in (2, 3, 4):
        place.publish("ct_logs.json", version=version)
        names.append(place.update().set)
    current = store.read_current(place.folder)
    assert current is not None
    assert (current.set, current.previous) == (names[2], names[1])
    for kind in ("sets", "metadata/sets"):
        assert sorted(path.name for path in (place.folder / kind).iterdir()) == sorted(names[1:])


def test_only_what_changed_is_fetched(place: Place) -> None:
    """A file that the set in use has is not fetched again."""
    place.update()
    place.publish("ct_logs.json")
    place.repository.write(place.served)
    for path in (place.served / "targets").iterdir():
        if not path.name.endswith("ct_logs.json"):
            path.unlink()
    assert update(str(place.served), folder=place.folder, root=place.root).changed == ("ct_logs.json",)


def test_what_is_written_is_private(place: Place) -> None:
    """No other user of the machine can read which sets and whose pins are installed."""
    place.update()
    folders = [place.folder, *(path for path in place.folder.rglob("*") if path.is_dir())]
    ours = [folder for folder in folders if folder.name != "root_history"]  # TUF makes that one, below ours
    assert {folder.stat().st_mode & 0o077 for folder in ours} == {0}
    files = [path for folder in folders for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_a_damaged_set_is_repaired(place: Place) -> None:
    """Where the set in use is damaged, the same version is installed again."""
    damaged = place.folder / "sets" / place.update().set / "ct_logs.json"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert place.serving().warnings
    assert place.update().installed
    assert place.serving().warnings == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 50_000, None])
def test_damaged_metadata(place: Place, content: bytes | None) -> None:
    """Whatever became of the metadata that was verified before, the next update fetches what it needs again."""
    place.update()
    trusted = place.folder / "metadata" / "trusted"
    place.publish("ct_logs.json")
    for path in sorted(trusted.rglob("*.json")):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    assert place.update().changed == ("ct_logs.json",)
    verify(place.folder, root=place.root)


# Vendors


def test_vendors_are_remembered(place: Place) -> None:
    """A vendor's pins come with every later update until it is forgotten, and those of others never do."""
    place.repository.add_vendor("acme", {"pins/acme/exam.toml": PINS})
    place.repository.add_vendor("other", {"pins/other/exam.toml": PINS.replace(b"acme", b"other")})
    place.repository.publish()
    assert place.update().vendors == ()
    assert place.update(vendors=["acme"]).vendors == ("acme",)
    place.publish("ct_logs.json")
    assert place.update().vendors == ("acme",)
    assert [file.data for file in place.serving().pins_of("acme")] == [PINS]
    assert place.serving().vendors == {"acme"}
    assert place.update(forget=["acme"]).vendors == ()


@pytest.mark.parametrize("name", ["nobody", "roots", "../acme", "ACME", "con", "a" * 65])
def test_vendors_that_are_not_there(place: Place, name: str) -> None:
    """A vendor that the repository does not have is a wrong argument, and nothing is installed."""
    with pytest.raises(InputError):
        place.update(vendors=[name])
    assert store.read_current(place.folder) is None


@pytest.mark.parametrize(
    "pins",
    [
        b"not toml",
        PINS.replace(b"schema = 1", b""),
        PINS + b"canary = true\n",
        PINS + b'private_roots = ["../../../../../../../etc/ssl/certs/ca-certificates.crt"]\n',
    ],
)
def test_pin_files_that_are_not_data(place: Place, pins: bytes) -> None:
    """A vendor's pin file that says what none may, or names files of this machine, refuses the whole set."""
    place.repository.add_vendor("acme", {"pins/acme/exam.toml": pins})
    place.repository.publish()
    with pytest.raises(HeldBackError, match="does not fit"):
        place.update(vendors=["acme"])
    assert store.read_current(place.folder) is None
    assert place.update().installed  # for those who did not ask for this vendor


# What does not fit, and what is held back


def misfits(parts: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Sets of which one part is not what its name says."""
    future = str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30))
    return {
        "not JSON": {"ct_logs.json": b"{"},
        "another part": {"ct_logs.json": parts["interceptors.json"]},
        "unknown field": {"roots.json": edited(parts["roots.json"], surprise=1)},
        "no head": {"interceptors.json": b"{}"},
        "certificates of other roots": {
            "root_certificates.json": edited(parts["root_certificates.json"], certificates=[])
        },
        "from the future": {"ct_logs.json": edited(parts["ct_logs.json"], date=future)},
        "deeply nested": {"ct_logs.json": b"[" * 200_000},
        "canaries without endpoints": {"canaries.toml": b"schema = 1\nupdated = 2026-11-29\nexpires = 2027-01-01\n"},
    }


@pytest.mark.parametrize("name", list(misfits(shipped_parts())))
def test_a_part_that_does_not_fit(place: Place, parts: dict[str, bytes], name: str) -> None:
    """A part that is signed and is not what its name says refuses the whole set; the set in use stays."""
    place.publish("ct_logs.json", days=1)
    before = place.update().set
    place.repository.parts |= {
        **newer(parts, "roots.json", "ct_logs.json", version=3),
        **misfits(newer(parts, "roots.json", "ct_logs.json", version=3))[name],
    }
    place.repository.publish()
    with pytest.raises(HeldBackError):
        place.update()
    current = store.read_current(place.folder)
    assert current is not None
    assert current.set == before
    assert place.serving().warnings == []


def test_an_unknown_form_is_left_out(place: Place, parts: dict[str, bytes]) -> None:
    """A part in a form of a later package is left out with a sentence, the others are taken, the shipped one serves."""
    place.repository.parts["interceptors.json"] = edited(parts["interceptors.json"], schema=99, surprise=True)
    place.publish("ct_logs.json")
    done = place.update()
    assert list(done.left_out) == ["interceptors.json"]
    assert "`schema` is 99" in done.left_out["interceptors.json"]
    assert place.serving().part(KnowledgeKind.CATALOGUE).name == "shipped"
    assert place.serving().part(KnowledgeKind.LOGS).version == "2"
    assert not place.update().installed


@pytest.mark.parametrize("name", ["roots.json", "root_certificates.json", "canaries.toml", "pins/acme/exam.toml"])
def test_unknown_forms_of_other_files(place: Place, parts: dict[str, bytes], name: str) -> None:
    """Each file in a later form is left out alone, but for the two files of roots, which go together."""
    pins = {"pins/acme/exam.toml": PINS, "pins/acme/later.toml": PINS.replace(b"schema = 1", b"schema = 2")}
    place.repository.add_vendor("acme", pins)
    later = parts.get(name, b"")
    if name in parts:
        later = later.replace(b"schema = 1", b"schema = 2") if name.endswith("toml") else edited(later, schema=99)
        place.repository.parts[name] = later
    place.repository.publish()
    done = place.update(vendors=["acme"])
    assert set(done.left_out) == {"pins/acme/later.toml", name} - {"pins/acme/exam.toml"}
    assert place.serving().warnings == []
    assert [file.data for file in place.serving().pins_of("acme")] == [PINS]


def test_an_unknown_form_takes_nothing_away(place: Place) -> None:
    """Where the installed part is newer than the shipped one, a set without it is held back: the package is too old."""
    place.publish("roots.json")
    place.update()
    place.repository.parts["roots.json"] = edited(place.repository.parts["roots.json"], schema=99)
    place.repository.publish()
    with pytest.raises(HeldBackError, match=r"roots.json of .* is older .* Update the package"):
        place.update()


def test_a_part_older_than_the_one_in_use(place: Place) -> None:
    """A next set, rightly signed, with an older part than the installed one is held back."""
    place.publish("ct_logs.json", version=5)
    place.update()
    place.publish("ct_logs.json", version=4)
    with pytest.raises(HeldBackError, match=r"ct_logs.json of .* is older"):
        place.update()
    assert place.serving().part(KnowledgeKind.LOGS).version == "5"


def test_a_set_older_than_the_package(place: Place, parts: dict[str, bytes]) -> None:
    """A mirror that is behind the package can be installed, and what the package ships serves: newest wins."""
    place.repository.parts["ct_logs.json"] = edited(parts["ct_logs.json"], date="2025-01-01")
    place.repository.publish()
    assert place.update().installed
    assert place.serving().part(KnowledgeKind.LOGS).name == "shipped"


def test_roots_that_nobody_removed(place: Place, parts: dict[str, bytes]) -> None:
    """A set that calls a root removed which counts now is held back unless the offline role lists it."""
    content = json.loads(parts["roots.json"])
    lost = next(root for root in content["roots"] if "removed" not in root)
    lost["removed"] = "2026-11-20"
    place.repository.parts["roots.json"] = json.dumps(content).encode()
    place.publish("roots.json")
    with pytest.raises(HeldBackError, match=r"1 roots are lost and not listed as removed"):
        place.update()
    place.repository.custom["roots.json"] = {"removed": {"roots": ["00" * 32, lost["sha256"]]}}
    place.repository.publish()
    assert place.update().installed


def test_roots_that_are_forgotten(place: Place, parts: dict[str, bytes]) -> None:
    """A set that does not know a root any more is refused, listed or not: its chains would pass for a private CA's."""
    content, certificates = json.loads(parts["roots.json"]), json.loads(parts["root_certificates.json"])
    lost = content["roots"].pop(0)
    certificates["certificates"].pop(0)
    place.repository.parts |= {
        "roots.json": json.dumps(content).encode(),
        "root_certificates.json": json.dumps(certificates).encode(),
    }
    place.repository.custom["roots.json"] = {"removed": {"roots": [lost["sha256"]]}}
    place.publish("roots.json")
    with pytest.raises(HeldBackError, match="lacks 1 of the roots"):
        place.update()


def test_a_fifth_of_the_logs(place: Place, parts: dict[str, bytes]) -> None:
    """A list without a fifth of the logs is held back unless the offline role lists every one of them."""
    logs = [log["log_id"] for log in json.loads(parts["ct_logs.json"])["logs"] if not log.get("why")]
    lost = set(logs[::5])
    place.repository.parts["ct_logs.json"] = without(parts["ct_logs.json"], "logs", lambda log: log["log_id"] in lost)
    place.publish("ct_logs.json")
    place.repository.custom["ct_logs.json"] = {"removed": {"logs": sorted(lost)[1:]}}
    place.repository.publish()
    with pytest.raises(HeldBackError, match=r"1 CT logs are lost"):
        place.update()
    place.repository.custom["ct_logs.json"] = {"removed": {"logs": sorted(lost)}}
    place.repository.publish()
    assert place.update().installed


@pytest.mark.parametrize(
    "custom",
    [None, [], {"removed": None}, {"removed": {"roots": "all"}}, {"removed": {"roots": [1, None]}}, {"removed": []}],
)
def test_lists_of_removed_roots_that_are_none(place: Place, parts: dict[str, bytes], custom: Any) -> None:  # noqa: ANN401 - any JSON
    """What is no list of hashes removes nothing, and is no error of its own."""
    place.repository.parts["ct_logs.json"] = without(parts["ct_logs.json"], "logs", lambda log: not log.get("why"))
    place.publish("ct_logs.json")
    place.repository.custom["ct_logs.json"] = custom
    place.repository.publish()
    with pytest.raises(HeldBackError, match="CT logs are lost"):
        place.update()


@pytest.mark.parametrize(("field", "key"), [("spki_sha256", "spki_sha256"), ("sha256", "sha256"), ("CN", "label")])
def test_a_catalogue_that_accuses_a_public_root(place: Place, parts: dict[str, bytes], field: str, key: str) -> None:
    """A catalogue that calls a public root an interceptor's is held back: every genuine chain below it would accuse."""
    catalogue, roots = json.loads(parts["interceptors.json"]), json.loads(parts["roots.json"])["roots"]
    root = next(root for root in roots if root["label"] == "ISRG Root X1")
    catalogue["entries"][0]["facts"].append({"field": field, "match": "exact", "value": root[key]})
    place.repository.parts["interceptors.json"] = json.dumps(catalogue).encode()
    place.publish("interceptors.json")
    with pytest.raises(HeldBackError, match=r"fortinet.* matches the public root .*CN=ISRG Root X1"):
        place.update()


def test_a_catalogue_that_accuses_a_public_intermediate(place: Place, parts: dict[str, bytes]) -> None:
    """The same with the hash of an intermediate that browsers know."""
    catalogue = json.loads(parts["interceptors.json"])
    known = max(data_set.shipped().intermediates.certificates).hex()
    catalogue["entries"][0]["facts"].append({"field": "sha256", "match": "exact", "value": known})
    place.repository.parts["interceptors.json"] = json.dumps(catalogue).encode()
    place.publish("interceptors.json")
    with pytest.raises(HeldBackError, match="matches an intermediate of a public CA"):
        place.update()


# The root to begin with


def test_a_test_root_is_refused(place: Place) -> None:
    """A root that is marked as made for tests is used only by those who ask for it."""
    repository = DataRepository(place.repository.parts)
    repository.publish_root(fields={TEST_MARK: {"purpose": "tests"}})
    place.root.write_bytes(repository.files["metadata/2.root.json"])
    place.repository = repository
    with pytest.raises(InputError, match="made for tests"):
        place.update()
    assert place.update(test_root=TestRoot.ALLOW).installed


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 50_000, b"\xff", b'{"signed": {"_type": "snapshot"}}'])
def test_roots_that_are_none(place: Place, content: bytes) -> None:
    """A file that is no root metadata is a wrong argument."""
    place.root.write_bytes(content)
    with pytest.raises(InputError, match="not the root metadata"):
        place.update()


# Verifying and exporting


def test_verify(place: Place) -> None:
    """An installed set is verified from the first root on, also when its metadata has expired meanwhile."""
    place.repository.add_vendor("acme", {"pins/acme/exam.toml": PINS})
    place.repository.rotate("root", "targets")
    place.repository.publish()
    done = place.update(vendors=["acme"])
    verified = verify(place.folder, root=place.root)
    assert (verified.set, verified.version) == (done.set, done.version)
    assert [role.role for role in verified.roles] == ["root", "timestamp", "snapshot", "targets", "acme"]
    assert "pins/acme/exam.toml" in verified.files


def test_verify_reports_damage(place: Place) -> None:
    """A file, the manifest or the metadata that somebody changed is named, whether or not the manifest fits it."""
    folder = place.folder / "sets" / place.update().set
    metadata = place.folder / "metadata" / "sets" / folder.name
    changed = edited((folder / "ct_logs.json").read_bytes(), version=9)
    for path, content in (
        (folder / "ct_logs.json", changed),
        (folder / "surplus.json", b"{}"),
        (folder / "manifest.json", b"{}"),
        (metadata / "1.targets.json", b"{}"),
        (metadata / "timestamp.json", DataRepository({}).files["metadata/timestamp.json"]),
    ):
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        with pytest.raises(UpdateError):
            verify(place.folder, root=place.root)
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    verify(place.folder, root=place.root)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "ct_logs.json").write_bytes(changed)
    manifest["files"]["ct_logs.json"] = {"sha256": hashlib.sha256(changed).hexdigest(), "length": len(changed)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert place.serving().warnings == []  # the manifest protects against damage, the signatures against others
    with pytest.raises(UpdateError, match="not the one that was signed"):
        verify(place.folder, root=place.root)


def test_verify_with_another_root(place: Place) -> None:
    """A set that another repository signed does not verify from this root."""
    place.update()
    place.root.write_bytes(DataRepository({}).first_root)
    with pytest.raises(UpdateError, match="not signed by enough"):
        verify(place.folder, root=place.root)


def test_nothing_to_verify(place: Place) -> None:
    """Without an installed set there is nothing to verify or export."""
    with pytest.raises(InputError, match="no set is installed"):
        verify(place.folder, root=place.root)


def test_an_export_is_a_repository(place: Place, tmp_path: Path) -> None:
    """A closed network installs an exported directory as it would the repository, and can export it in turn."""
    place.repository.add_vendor("acme", {"pins/acme/exam.toml": PINS})
    place.repository.rotate("root", "snapshot")
    place.publish("ct_logs.json")
    place.update(vendors=["acme"])
    exported, again = tmp_path / "usb", tmp_path / "again"
    export(exported, place.folder, root=place.root)
    closed = tmp_path / "closed"
    done = update(str(exported), folder=closed, root=place.root, vendors=["acme"])
    assert data_set.installed(closed).part(KnowledgeKind.LOGS).version == "2"
    assert done.vendors == ("acme",)
    export(again, closed, root=place.root)
    assert _content(again) == _content(exported)
    place.publish("ct_logs.json", version=3)
    place.update()
    export(exported, place.folder, root=place.root)
    assert update(exported.as_uri(), folder=closed, root=place.root).changed == ("ct_logs.json",)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_replaces_nothing_else(place: Place, tmp_path: Path) -> None:
    """A directory with anything else in it stays."""
    place.update()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        export(tmp_path / "mine", place.folder, root=place.root)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_export_into_the_current_directory(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The empty directory in which one stands becomes the repository; the top of the file system does not."""
    place.update()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    export(Path(), place.folder, root=place.root)
    assert update(str(here), folder=tmp_path / "closed", root=place.root).installed
    with pytest.raises(OutputError, match="below it"):
        export(Path("/"), place.folder, root=place.root)


@pytest.mark.parametrize(
    "name", ["root.json", "timestamp.json", "targets.json", "acme.json", "root_history/2.root.json"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "endless"])
def test_what_is_no_metadata_among_the_trusted(place: Place, name: str, kind: str) -> None:
    """TUF's updater reads all of what it finds: what would block it or fill the memory is removed first."""
    place.repository.add_vendor("acme", {"pins/acme/exam.toml": PINS})
    place.repository.rotate("timestamp")
    place.publish("ct_logs.json")
    place.update(vendors=["acme"])
    file = place.folder / "metadata" / "trusted" / name
    file.unlink()
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case "endless":
            with file.open("wb") as sparse:
                sparse.truncate(1 << 40)
    place.publish("ct_logs.json", version=3)
    assert place.update().installed


def test_an_export_to_a_full_disk(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that there is no room, and leaves nothing."""
    place.update()

    def copy(_: Path, to: Path) -> None:
        to.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", copy)
    there = sorted(tmp_path.iterdir())
    with pytest.raises(NoRoomError, match="No space left"):
        export(tmp_path / "usb", place.folder, root=place.root)
    assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize("year", [1, 1970, 2026])
def test_a_clock_that_is_behind(place: Place, year: int) -> None:
    """The sentence names the clock, and accuses no publisher before it is right."""
    place.publish("ct_logs.json")
    with pytest.raises(HeldBackError, match="clock") as caught:
        place.update(clock=lambda: dt.datetime(year, 1, 1, tzinfo=dt.UTC))
    assert caught.value.advice.startswith("Set the clock.")


def test_an_update_removes_nothing_of_others(place: Place) -> None:
    """In a folder that was named amiss, what only resembles unfinished files or sets stays."""
    others = [place.folder / name for name in ("tmp/x", "tmpfile", ".new-mail/x", "sets/list/x", "metadata/sets/tmp/x")]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("x")
    place.update()
    place.publish("ct_logs.json")
    place.update()
    assert all(other.is_file() for other in others)


# One writer, whole or not at all


def test_one_writer(place: Place) -> None:
    """While another update runs, a second one says so and changes nothing."""
    place.update()
    place.publish("ct_logs.json")
    with Installer(place.folder), pytest.raises(UpdateError, match="another update is running"):
        place.update()
    assert place.update().installed


def test_writers_at_once(place: Place) -> None:
    """Of several updates at once each one installs, finds the newest set, or says that another runs."""
    place.publish("ct_logs.json")
    place.repository.write(place.served)
    said: list[object] = []

    def run() -> None:
        try:
            said.append(update(str(place.served), folder=place.folder, root=place.root).installed)
        except UpdateError as error:
            said.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count(True) == 1
    assert all(one in {True, False} or "another update is running" in str(one) for one in said)
    assert place.serving().part(KnowledgeKind.LOGS).version == "2"


def test_a_full_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whichever file the disk is full, the old set stays, and nothing of the new one takes room."""
    place.update()
    before = place.serving().parts()
    for failing in itertools.count():
        place.publish("ct_logs.json", version=failing + 2)
        written = _fail_at(monkeypatch, failing, errno.ENOSPC)
        with contextlib.suppress(NoRoomError):
            place.update()
        monkeypatch.undo()
        assert place.serving().warnings == []
        if len(written) <= failing:
            break
        assert place.serving().parts() == before
        assert list(place.folder.rglob(f"{install.UNFINISHED}*")) == []
    assert failing > len(place.repository.parts)
    assert place.serving().part(KnowledgeKind.LOGS).version == str(failing + 2)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_takes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A folder that may not be written is named with what to do."""
    _fail_at(monkeypatch, 0, code)
    with pytest.raises(OutputError, match=str(place.folder)):
        place.update()


def _fail_at(monkeypatch: pytest.MonkeyPatch, failing: int, code: int) -> list[Path]:
    """Make the write of this number fail, and those after it; the list given gets every file that is written."""
    real = private_files.write_private
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) > failing:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(code, os.strerror(code), str(path))
        real(path, data)

    monkeypatch.setattr(private_files, "write_private", write)
    monkeypatch.setattr(install, "write_private", write)
    return written


KILLS = 30
_UPDATER = """
import os, sys
from pathlib import Path
from detector.update import update
place, folder, root = sys.argv[1:]
for line in sys.stdin:
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        update(place, folder=Path(folder), root=root)
        print("done", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


class Updater:
    """A process that forks another one for each update, which has imported everything and can be killed."""

    def __init__(self, place: Place, served: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, on code written here
            [sys.executable, "-c", _UPDATER, str(served), str(place.folder), str(place.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self) -> Self:
        self.run(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def run(self, kill_after: float | None) -> bool:
        """Update once; kill the process that does after so many seconds, if it has not ended before."""
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        sink.write(b"\n")
        pid = int(source.readline())
        if kill_after is not None and not select.select([source], [], [], kill_after)[0]:
            os.kill(pid, signal.SIGKILL)
        lines = [source.readline()]
        if lines != [b"ended\n"]:
            lines.append(source.readline())
        return b"done\n" in lines


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process that was forked")
def test_kill_at_any_moment(place: Place, tmp_path: Path) -> None:
    """A process that is killed at any of thirty moments of an update leaves a whole set, the old or the new one."""
    place.publish("ct_logs.json", version=2)
    place.update()
    shutil.copytree(place.folder, tmp_path / "before", symlinks=True)
    place.publish("ct_logs.json", version=3)
    place.repository.write(place.served)
    moments = random.Random(18)  # noqa: S311 - the same moments in each run
    served: list[str] = []
    with Updater(place, place.served) as updater:
        _restore(place, tmp_path)
        started = time.monotonic()
        assert updater.run(None)
        longest = time.monotonic() - started
        while len(served) < KILLS:
            _restore(place, tmp_path)
            moment = moments.uniform(0, longest)
            if updater.run(moment):  # it was faster than the one that was measured
                longest *= 0.95
                continue
            opened = store.open_installed(place.folder)
            assert opened.warnings == ()
            served.append(data_set.DataSet(*opened).part(KnowledgeKind.LOGS).version)
            verify(place.folder, root=place.root)
            assert place.update().vendors == ()
            assert place.serving().part(KnowledgeKind.LOGS).version == "3"
            left = [path for path in place.folder.rglob("*") if path.name.startswith((".new-", ".download-", "tmp"))]
            assert left == []
    print(f"killed {KILLS} updates within {longest:.3f} s; the old set served {served.count('2')} times")  # noqa: T201 - for -rP
    assert {"2"} <= set(served) <= {"2", "3"}


def _restore(place: Place, folder: Path) -> None:
    shutil.rmtree(place.folder)
    shutil.copytree(folder / "before", place.folder, symlinks=True)
