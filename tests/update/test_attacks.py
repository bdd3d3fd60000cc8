"""What somebody without the right keys can do to a repository, a mirror or a network: deny an update, and nothing else.

The attacks are those that The Update Framework names (specification section 1.5.2), and what stolen keys add.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_repository import DAY, DataRepository, Vendor

from detector.errors import HeldBackError, UpdateError
from detector.update.repository import Repository
from detector.update.targets import FILE_BYTES_MAX, PIN_FILE_BYTES_MAX, TARGETS_MAX
from detector.update.transport import FILES_MAX, DirectoryFetcher

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from detector.update.repository import Candidate

PARTS = {"roots.json": b'{"schema": 3}', "ct_logs.json": b'{"schema": 4}'}
NEWER = {"roots.json": b'{"schema": 3, "version": 2}', "ct_logs.json": b'{"schema": 4, "version": 2}'}


class Client:
    """A client with the metadata it trusts, and a folder in which a repository's files are put for it."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder = folder
        self.root = root
        self.served = folder / "served"
        self.trusted = folder / "trusted"
        self.trusted.mkdir()

    def fetch(
        self,
        files: Mapping[str, bytes],
        vendors: Collection[str] = (),
        fetcher: type[DirectoryFetcher] = DirectoryFetcher,
    ) -> Candidate:
        """Fetch from a server that has these files and no others."""
        for path in [path for path in self.served.rglob("*") if path.is_file()]:
            path.unlink()
        for name, data in files.items():
            (self.served / name).parent.mkdir(parents=True, exist_ok=True)
            (self.served / name).write_bytes(data)
        with fetcher(self.served, seconds=60) as fetching:
            return Repository(fetching, root=self.root, folder=self.trusted).fetch(vendors, {})


@pytest.fixture
def repository() -> DataRepository:
    return DataRepository(PARTS)


@pytest.fixture
def client(repository: DataRepository, tmp_path: Path) -> Client:
    return Client(tmp_path, repository.first_root)


@contextlib.contextmanager
def refused(words: str) -> Iterator[None]:
    """What is inside raises an `UpdateError` that says this and what to do."""
    with pytest.raises(UpdateError, match=words) as caught:
        yield
    assert caught.value.advice.startswith("The set in use stays.")


def test_the_newest_set_is_fetched(repository: DataRepository, client: Client) -> None:
    """Every part of the newest version comes, and of a next version what changed."""
    assert client.fetch(repository.files).files == PARTS
    repository.parts = NEWER
    repository.publish()
    assert client.fetch(repository.files).files == NEWER


def test_rollback(repository: DataRepository, client: Client) -> None:
    """What was the newest yesterday is refused once something newer was seen, however long its signatures hold."""
    old = dict(repository.files)
    repository.parts = NEWER
    repository.publish()
    assert client.fetch(repository.files).files == NEWER
    with refused("older than what this copy has verified"):
        client.fetch(old)


def test_rollback_below_a_new_timestamp(repository: DataRepository, client: Client) -> None:
    """With the timestamp key alone an older snapshot cannot be named again, nor older targets with the snapshot key."""
    repository.publish()
    client.fetch(repository.files)
    repository.snapshot.version -= 1
    repository.publish_timestamp()
    with refused("older than what this copy has verified"):
        client.fetch(repository.files)
    repository.snapshot.version += 1
    repository.targets.version -= 1
    repository.publish_snapshot()
    repository.publish_timestamp()
    with refused("older than what this copy has verified"):
        client.fetch(repository.files)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_freeze(repository: DataRepository, client: Client, role: str) -> None:
    """A copy whose metadata has expired is refused, whichever role it is: nobody says that it is the newest."""
    client.fetch(repository.files)
    repository.expires = -DAY
    {
        "timestamp": lambda: None,
        "snapshot": repository.publish_snapshot,
        "targets": repository.publish_targets,
        "root": repository.publish_root,
    }[role]()
    repository.expires = -DAY if role == "timestamp" else DAY
    if role == "targets":
        repository.publish_snapshot()
    repository.publish_timestamp()
    with refused("has expired"):
        client.fetch(repository.files)


def test_mix_and_match(repository: DataRepository, client: Client, tmp_path: Path) -> None:
    """Files of two states of the repository are no set: each is named by what was signed later."""
    (tmp_path / "second").mkdir()
    second = Client(tmp_path / "second", repository.first_root)
    before = dict(repository.files)
    repository.parts = NEWER
    repository.publish()
    old_targets = {**repository.files, "metadata/2.targets.json": before["metadata/1.targets.json"]}
    with refused("put together from several states"):
        client.fetch(old_targets)
    old_snapshot = {**repository.files, "metadata/2.snapshot.json": before["metadata/1.snapshot.json"]}
    with refused("put together from several states"):
        second.fetch(old_snapshot)
    (new,) = [path for path, data in repository.files.items() if data == NEWER["roots.json"]]
    with refused("not the one that was signed"):
        client.fetch({**repository.files, new: PARTS["roots.json"]})


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"])
def test_endless_data(repository: DataRepository, client: Client, name: str) -> None:
    """A file of the metadata that does not end is read up to its bound."""

    class Endless(DirectoryFetcher):
        def _fetch(self, url: str) -> Iterator[bytes]:
            if url == f"metadata/{name}":
                while True:
                    yield b" " * 65536
            yield from super()._fetch(url)

    with refused("longer than was signed"):
        client.fetch(repository.files, fetcher=Endless)


def test_endless_part(repository: DataRepository, client: Client) -> None:
    """A part is read up to its signed length."""

    class Endless(DirectoryFetcher):
        def _fetch(self, url: str) -> Iterator[bytes]:
            yield from super()._fetch(url)
            while url.startswith("targets/"):
                yield b" "

    with refused("longer than was signed"):
        client.fetch(repository.files, fetcher=Endless)


def test_slow_data(repository: DataRepository, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte a minute does not hold the update longer than it may take."""
    passed = [0.0]
    monkeypatch.setattr("detector.update.transport.CHUNK_BYTES", 1)

    class Slow(DirectoryFetcher):
        def __init__(self, folder: Path, *, seconds: float) -> None:
            super().__init__(folder, seconds=seconds, clock=lambda: passed[0])

        def _fetch(self, url: str) -> Iterator[bytes]:
            for byte in super()._fetch(url):
                passed[0] += 60
                yield byte

    with refused("not fetched within 60 seconds"):
        client.fetch(repository.files, fetcher=Slow)
    assert passed[0] <= 120


def test_wrong_keys(repository: DataRepository, client: Client) -> None:
    """A repository of somebody else is refused, all of it and each file of it in place of ours."""
    foreign = DataRepository(NEWER)
    with refused("not signed by enough of the keys"):
        client.fetch(foreign.files)
    for name in ("timestamp.json", "1.snapshot.json", "1.targets.json"):
        with refused("not signed by enough of the keys"):
            client.fetch({**repository.files, f"metadata/{name}": foreign.files[f"metadata/{name}"]})


def test_too_few_signatures(repository: DataRepository, client: Client) -> None:
    """One of three keys of the root signs nothing; a root that lowers its own threshold counts for nobody."""
    assert client.fetch(repository.files).version == 1
    repository.signers["root"] = repository.signers["root"][:1]
    repository.root.roles["root"].threshold = 1
    data = repository.sign(repository.root, repository.signers["root"])
    with refused("not signed by enough of the keys"):
        client.fetch({**repository.files, "metadata/2.root.json": data})


def test_root_rotation_over_three_versions(repository: DataRepository, client: Client) -> None:
    """A client that was away for three rotations of every key follows them, and not when one of them is missing."""
    for _ in range(3):
        repository.rotate("root", "timestamp", "snapshot", "targets")
    repository.parts = NEWER
    repository.publish()
    incomplete = {path: data for path, data in repository.files.items() if path != "metadata/3.root.json"}
    with refused("not signed by enough of the keys"):
        client.fetch(incomplete)
    fetched = client.fetch(repository.files)
    assert fetched.files == NEWER
    assert [name for name in sorted(fetched.metadata) if "root" in name] == [f"{v}.root.json" for v in range(1, 5)]


def test_a_root_signed_by_new_keys_alone(repository: DataRepository, client: Client) -> None:
    """A next root needs the keys of the one before it as well as its own."""
    repository.signers["root"] = DataRepository(PARTS).signers["root"]
    repository.publish_root()
    repository.publish()
    with refused("not signed by enough of the keys"):
        client.fetch(repository.files)


def test_stolen_timestamp_key(repository: DataRepository, client: Client) -> None:
    """It names no other snapshot, and a number far ahead loses its effect with the next root."""
    client.fetch(repository.files)
    repository.timestamp.version = 10**9
    repository.publish_timestamp()
    assert client.fetch(repository.files).files == PARTS
    repository.timestamp.version = 5
    repository.parts = NEWER
    repository.publish()
    with refused("older than what this copy has verified"):
        client.fetch(repository.files)
    repository.rotate("timestamp")
    repository.publish_timestamp()
    assert client.fetch(repository.files).files == NEWER


def test_a_stolen_timestamp_key_signs_nothing_else(repository: DataRepository, client: Client) -> None:
    """A snapshot that the timestamp key signed is not one."""
    repository.signers["snapshot"] = repository.signers["timestamp"]
    repository.publish()
    with refused("not signed by enough of the keys"):
        client.fetch(repository.files)


def test_stolen_snapshot_key(repository: DataRepository, client: Client) -> None:
    """With both online keys nothing can be added, and no vendor can be dropped whom this copy has seen."""
    repository.add_vendor("acme", {"pins/acme/exam.toml": b"x"})
    repository.publish()
    assert "pins/acme/exam.toml" in client.fetch(repository.files, {"acme"}).files
    honest = dict(repository.files)
    forged = DataRepository(NEWER)
    repository.snapshot.meta["targets.json"].version = 3
    repository.files["metadata/3.targets.json"] = forged.files["metadata/1.targets.json"]
    data = repository.sign(repository.snapshot, repository.signers["snapshot"])
    repository.files[f"metadata/{repository.snapshot.version}.snapshot.json"] = data
    repository.publish_timestamp()
    with refused("not signed by enough of the keys"):
        client.fetch(repository.files, {"acme"})
    assert honest["metadata/2.targets.json"] == repository.files["metadata/2.targets.json"]
    del repository.vendors["acme"]
    repository.publish_snapshot()
    repository.publish_timestamp()
    with refused("not the metadata of a repository, or not in a valid state"):
        client.fetch(repository.files, {"acme"})


# Vendors


def test_a_vendor_signs_its_own_pins_alone(repository: DataRepository, client: Client) -> None:
    """What a vendor lists outside its folder, a part or another vendor's pins, is named and never taken."""
    foreign = {
        "roots.json": b"{}",
        "pins/other/exam.toml": b"x",
        "pins/acme/../other/exam.toml": b"x",
        "/etc/passwd": b"x",
    }
    repository.add_vendor("acme", {"pins/acme/exam.toml": b"mine", **foreign})
    repository.add_vendor("other", {"pins/other/exam.toml": b"theirs"})
    repository.publish()
    fetched = client.fetch(repository.files, {"acme", "other"})
    assert fetched.files == {**PARTS, "pins/acme/exam.toml": b"mine", "pins/other/exam.toml": b"theirs"}
    assert set(fetched.left_out) == {f"acme: {path}" for path in foreign}


def test_the_expired_pins_of_a_vendor_are_named(repository: DataRepository, client: Client) -> None:
    """Where only a vendor's role has expired, the error names the vendor and how to update without it."""
    repository.add_vendor("acme", {"pins/acme/exam.toml": b"mine"})
    repository.publish_targets()
    repository.expires = -DAY
    repository.publish_vendor("acme")
    repository.expires = DAY
    repository.publish_snapshot()
    repository.publish_timestamp()
    with pytest.raises(UpdateError, match="vendor acme: what it offers has expired") as error:
        client.fetch(repository.files, {"acme"})
    assert "--forget-vendor acme" in error.value.advice
    assert client.fetch(repository.files).files == PARTS


def test_a_vendor_signs_for_no_other(repository: DataRepository, client: Client) -> None:
    """Pins of one vendor that another vendor's key signed are refused, in its file and below its name."""
    acme = repository.add_vendor("acme", {"pins/acme/exam.toml": b"mine"})
    other = repository.add_vendor("other", {"pins/other/exam.toml": b"theirs"})
    repository.publish()
    key, other.signer = other.signer, acme.signer
    other.files = {"pins/other/exam.toml": b"forged"}
    repository._sign_files(other.signed, other.files, [acme.signer], "other")
    repository.publish_snapshot()
    repository.publish_timestamp()
    assert client.fetch(repository.files, {"acme"}).files["pins/acme/exam.toml"] == b"mine"
    with refused("not signed by enough of the keys"):
        client.fetch(repository.files, {"other"})
    assert key is not acme.signer


def _widened(vendor: Vendor) -> None:
    vendor.paths = ["pins/acme/*.toml", "pins/other/*.toml"]


def _every_folder(vendor: Vendor) -> None:
    vendor.paths = ["pins/*/*.toml"]


def _not_terminating(vendor: Vendor) -> None:
    vendor.terminating = False


@pytest.mark.parametrize("widen", [_widened, _every_folder, _not_terminating])
def test_delegations_to_vendors_are_narrow(repository: DataRepository, client: Client, widen: object) -> None:
    """A delegation beyond the vendor's folder, or one that does not terminate, is held back for those it concerns."""
    vendor = repository.add_vendor("acme", {"pins/acme/exam.toml": b"mine"})
    repository.add_vendor("other", {"pins/other/exam.toml": b"theirs"})
    assert callable(widen)
    widen(vendor)
    repository.publish()
    with pytest.raises(HeldBackError, match="delegates to the vendor"):
        client.fetch(repository.files, {"acme"})
    if widen is not _not_terminating:
        with pytest.raises(HeldBackError, match="the role acme may sign them, too"):
            client.fetch(repository.files, {"other"})
    assert client.fetch(repository.files).files == PARTS


@pytest.mark.parametrize("pattern", ["roots.json", "*", "*.json", "ct_logs.jso?"])
def test_no_delegated_role_signs_parts(repository: DataRepository, client: Client, pattern: str) -> None:
    """A delegation that covers a part is held back for everybody: roots come from the offline role alone."""
    repository.add_vendor("acme", {"roots.json": b"{}"}).paths = [pattern]
    del repository.parts["roots.json"]
    repository.publish()
    with pytest.raises(HeldBackError, match="only the offline role may"):
        client.fetch(repository.files)


def test_a_vendor_without_delegation(repository: DataRepository, client: Client) -> None:
    """A vendor that the publisher removed is left out with a sentence, and its pins with it."""
    repository.add_vendor("acme", {"pins/acme/exam.toml": b"mine"})
    repository.publish()
    assert client.fetch(repository.files, {"acme"}).vendors == ("acme",)
    repository.targets.delegations = None
    repository.vendors["acme"].paths = []
    delegated = repository.vendors.pop("acme")
    repository.publish_targets()
    repository.vendors["acme"] = delegated  # its entry in the snapshot stays: a client refuses one that loses any
    repository.publish_snapshot()
    repository.publish_timestamp()
    fetched = client.fetch(repository.files, {"acme"})
    assert (fetched.vendors, list(fetched.left_out)) == ((), ["pins/acme"])


# Names and sizes

_TRICKS = [
    "../roots.json",
    "a/../../x",
    "/etc/passwd",
    "C:\\x",
    "\\\\host\\share",
    "con",
    "NUL.json",
    "lpt1.toml",
    "roots.json/",
    "roots.json\0",
    "ROOTS JSON",
    ".hidden",
    "pins/acme/exam.toml",
    "x" * 300,
    "röts.json",
    "\x1b[2J",
]


@pytest.mark.parametrize("name", _TRICKS)
def test_names_that_lead_elsewhere(repository: DataRepository, client: Client, name: str) -> None:
    """A name that is no plain file name holds the set back, no matter who signed it, and is shown harmlessly."""
    repository.parts[name] = b"x"
    repository.publish()
    metadata = {path: data for path, data in repository.files.items() if path.startswith("metadata/")}
    with pytest.raises(HeldBackError, match="no name of a file in a set") as caught:
        client.fetch(metadata)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name", ["con.toml", "..toml", "a.b.toml", "exam.TOML", "sub/exam.toml", "exam.toml.", "exam.json"]
)
def test_names_of_pin_files(repository: DataRepository, client: Client, name: str) -> None:
    """A vendor's file with another name than a plain one is left out with a sentence."""
    repository.add_vendor("acme", {f"pins/acme/{name}": b"x", "pins/acme/exam.toml": b"mine"})
    repository.publish()
    fetched = client.fetch(repository.files, {"acme"})
    assert fetched.files == {**PARTS, "pins/acme/exam.toml": b"mine"}
    assert list(fetched.left_out) == [f"acme: pins/acme/{name}"]


def test_unknown_parts_are_left_out(repository: DataRepository, client: Client) -> None:
    """A part that this version does not know is left out with a sentence that says so."""
    repository.parts["future.json"] = b"{}"
    repository.publish()
    fetched = client.fetch(repository.files)
    assert fetched.files == PARTS
    assert fetched.left_out == {"future.json": "This version does not know this part. Update the package to use it."}


def test_too_many_files(repository: DataRepository, client: Client) -> None:
    """A role that lists more files than any set has is held back before the first is fetched."""
    repository.parts |= {f"part{number}.json": b"{}" for number in range(TARGETS_MAX)}
    repository.publish()
    with pytest.raises(HeldBackError, match="at most 64"):
        client.fetch(repository.files)


@pytest.mark.parametrize(
    ("path", "length"), [("ct_logs.json", FILE_BYTES_MAX + 1), ("pins/acme/exam.toml", PIN_FILE_BYTES_MAX + 1)]
)
def test_too_large_files(repository: DataRepository, client: Client, path: str, length: int) -> None:
    """A file whose signed length no reader takes is not fetched."""
    if path in PARTS:
        repository.parts[path] = b" " * length
    else:
        repository.add_vendor("acme", {path: b" " * length})
    repository.publish()
    files = {name: data for name, data in repository.files.items() if len(data) < length}
    with pytest.raises(HeldBackError, match=f"has {length} bytes"):
        client.fetch(files, {"acme"})


def test_too_large_a_set(repository: DataRepository, client: Client) -> None:
    """A set whose files together are larger than any is not fetched."""
    repository.parts |= {name: name.encode() * (FILE_BYTES_MAX // len(name)) for name in _LARGE}
    repository.publish()
    with pytest.raises(HeldBackError, match="at most 16777216"):
        client.fetch(repository.files)


_LARGE = ("roots.json", "ct_logs.json", "root_certificates.json", "intermediates.json", "revocations.json")


def test_too_many_requests(repository: DataRepository, client: Client) -> None:
    """A repository cannot make a client fetch more files than there are, whatever its roots say."""

    class Counting(DirectoryFetcher):
        def _fetch(self, url: str) -> Iterator[bytes]:
            for _ in range(FILES_MAX):
                self.count()
            return super()._fetch(url)

    with refused(f"more than {FILES_MAX} files"):
        client.fetch(repository.files, fetcher=Counting)


def test_a_missing_file(repository: DataRepository, client: Client) -> None:
    """A copy without one of its files is named as incomplete, whichever it is, but for roots that do not exist yet."""
    for name in sorted(set(repository.files) - {"metadata/1.root.json"}):
        with refused("a file is missing"):
            client.fetch({path: data for path, data in repository.files.items() if path != name})


def test_no_copy_without_consistent_snapshots(repository: DataRepository, client: Client) -> None:
    """A repository whose files are overwritten in place is refused: half of a next state could be served."""
    repository.root.consistent_snapshot = False
    repository.publish_root()
    repository.publish()
    plain = {path.replace("2.", "", 1): data for path, data in repository.files.items() if "2." in path}
    with refused("without consistent snapshots"):
        client.fetch({**repository.files, **plain})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_repository_holds(
    repository: DataRepository, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Damage to any file, anywhere, is an `UpdateError`, and never another exception."""
    client = Client(tmp_path_factory.mktemp("client"), repository.first_root)
    name = data.draw(st.sampled_from(sorted(set(repository.files) - {"metadata/1.root.json"})))
    damage = data.draw(st.one_of(st.binary(max_size=64), st.sampled_from(_JSON)))
    at = data.draw(st.integers(0, len(repository.files[name])))
    files = {**repository.files, name: data.draw(st.sampled_from([damage, repository.files[name][:at] + damage]))}
    with contextlib.suppress(UpdateError):
        assert client.fetch(files).files == PARTS


_JSON = (
    b"{}",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"signed": {}, "signatures": []}',
    b'{"signed": {"_type": "timestamp"}, "signatures": [{"keyid": 1, "sig": 2}]}',
    b'{"signed": {"_type": "root", "spec_version": "1.0.0", "version": 1e400, "expires": "x"}, "signatures": []}',
)
