"""Verifies a repository by The Update Framework (TUF) and gives the set that it offers, every file of it.

Room: update. Reads and writes TUF's trusted metadata in the directory it is given; bytes come from a `transport`. The
workflow is that of python-tuf (specification section 5): the root that this copy trusts verifies the next one, each
further file is verified by the one before, and what was verified once is kept, so that nothing older is taken again.

Whatever a repository holds, `UpdateError` says what is wrong (`refused`).
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, Targets
from tuf.ngclient import Updater, UpdaterConfig

from detector.errors import UpdateError
from detector.knowledge.data_set import vendors_in
from detector.model.files import unwritable

from . import targets as names
from .targets import STAYS, TELL, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from tuf.api.metadata import TargetFile

    from .transport import Fetcher

T = TypeVar("T", Root, Snapshot, Targets)

CONFIG: Final = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=names.VENDORS_MAX,
    root_max_length=64 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=64 * 1024,
    targets_max_length=256 * 1024,
)
"""Bounds of what is read. A root with five keys has 3 KiB, and one a year for 64 years is more than a copy lives; an
entry of a snapshot has under 100 bytes, one of targets under 300."""
METADATA: Final = "metadata"
TARGETS: Final = "targets"
"""The directories of a repository, as its publisher and `detector data export` write them."""
DOWNLOAD: Final = ".download-"
"""What directories of files that are not verified yet are called; a crash may leave one."""


_TUF_ERRORS: Final = (exceptions.RepositoryError, exceptions.DownloadError)
_MEANINGS: Final[dict[type[Exception], tuple[str, str]]] = {
    exceptions.ExpiredMetadataError: (
        "what it offers has expired, so nobody can say that it is the newest",
        (
            f"{STAYS} Check this machine's clock. If it is right, somebody replays an old copy, or nobody renewed it: "
            "try another network, or export the repository again."
        ),
    ),
    exceptions.UnsignedMetadataError: (
        "not signed by enough of the keys that this copy trusts for it",
        f"{STAYS} Check the address. For a repository of your own, name its first root: --root FILE.",
    ),
    exceptions.BadVersionNumberError: (
        "older than what this copy has verified before, or put together from several states",
        f"{STAYS} Somebody replays an old copy, or a mirror is behind: try again later, or from another place.",
    ),
    exceptions.LengthOrHashMismatchError: (
        "a file is not the one that was signed",
        f"{STAYS} It was changed, or delivered in part: try again later, or from another place.",
    ),
    exceptions.RepositoryError: ("not the metadata of a repository, or not in a valid state", TELL),
    exceptions.DownloadLengthMismatchError: (
        "a file is longer than was signed or than any has",
        f"{STAYS} It was changed, or the address is not that of a repository.",
    ),
    exceptions.DownloadHTTPError: (
        "a file is missing",
        f"{STAYS} Check the address: its directory holds `metadata` and `targets`. Make an incomplete copy again.",
    ),
    exceptions.DownloadError: ("cannot be fetched", f"{STAYS} Try again later, or from another place."),
}
"""What each error of TUF means, the special before the general: the reader has a timer that failed."""
REASON_CHARACTERS_MAX: Final = 300
"""Characters of TUF's own message that are kept: it can repeat what was read."""


class Removed(NamedTuple):
    """What the offline role says that it removed: roots by the SHA-256 of the certificate, logs by log ID (base64)."""

    roots: frozenset[str] = frozenset()
    logs: frozenset[str] = frozenset()


class Candidate(NamedTuple):
    """A verified set: every file by its path, what is left out of it and why, and the metadata that verified it."""

    version: int
    files: dict[str, bytes]
    left_out: dict[str, str]
    removed: Removed
    metadata: dict[str, bytes]

    @property
    def vendors(self) -> tuple[str, ...]:
        """The vendors whose pins it holds."""
        return vendors_in(self.files)


class Repository:
    """One repository, and the metadata of it that this copy trusts, which is kept in `folder`.

    Raises `UpdateError` for a bootstrap root that is not the metadata of one, `OutputError` where it cannot write.
    """

    def __init__(self, fetcher: Fetcher, *, root: bytes, folder: Path) -> None:
        self._place: Final = fetcher.place
        self._folder: Final = folder
        self._first_root: Final = root
        with refused(self._place), _writing(folder):
            metadata, targets = (f"{fetcher.base}{directory}/" for directory in (METADATA, TARGETS))
            self._updater: Final = Updater(str(folder), metadata, None, targets, fetcher, CONFIG, bootstrap=root)

    def fetch(self, vendors: Collection[str], have: Mapping[str, bytes]) -> Candidate:
        """Fetch and verify the set that the repository offers now, with the pins of these vendors.

        `have` are files that need not be fetched again, by their SHA-256 in hexadecimal. A vendor that the repository
        no longer delegates to is left out. Raises `UpdateError`, and `HeldBackError` for a set that none should take.
        """
        with refused(self._place), _writing(self._folder):
            self._updater.refresh()
            if not self._read(Root, Root.type).consistent_snapshot:
                raise UpdateError(
                    f"{self._place}: without consistent snapshots half of a state could be served.", advice=TELL
                )
            offline = self._read(Targets, Targets.type)
            lengths, left_out = names.parts_of(offline)
            delegated = names.delegated_vendors(offline)
            roles = [Targets.type]
            for vendor in sorted(vendors):
                if vendor not in delegated:
                    left_out[f"pins/{vendor}"] = f"The repository has no vendor {vendor} (any more)."
                    continue
                names.check_vendor(vendor, offline)
                with refused(self._place, vendor=vendor):
                    self._updater.get_targetinfo(names.any_file_of(vendor))  # verifies the vendor's role
                of_vendor, foreign = names.pins_of(vendor, self._read(Targets, vendor))
                lengths |= of_vendor
                left_out |= foreign
                roles.append(vendor)
            names.check_total(lengths)
            files = {path: self._fetch(path, have) for path in lengths}
            return Candidate(
                version=self._read(Snapshot, Snapshot.type).version,
                files=files,
                left_out=left_out,
                removed=_removed(offline),
                metadata=self._metadata(roles),
            )

    def vendors(self) -> tuple[str, ...]:
        """The vendors that the repository delegates pins to, once `fetch` has verified it."""
        return tuple(sorted(names.delegated_vendors(self._read(Targets, Targets.type))))

    def _fetch(self, path: str, have: Mapping[str, bytes]) -> bytes:
        found = self._updater.get_targetinfo(path)
        if found is None or "sha256" not in found.hashes:
            raise UpdateError(f"{self._place}: {path}: signed without a SHA-256.", advice=TELL)
        known = have.get(found.hashes["sha256"])
        if known is not None:
            found.verify_length_and_hashes(known)
            return known
        with tempfile.TemporaryDirectory(prefix=DOWNLOAD, dir=self._folder) as folder:
            return Path(self._updater.download_target(found, str(Path(folder, "file")))).read_bytes()

    def _read(self, _: type[T], role: str) -> T:
        """What a role signed: the updater has verified the file before it kept it."""
        return Metadata[T].from_bytes(self._kept(f"{role}.json")).signed

    def _kept(self, name: str) -> bytes:
        return Path(self._folder, name).read_bytes()

    def _metadata(self, roles: Iterable[str]) -> dict[str, bytes]:
        """The metadata that verified the set, under the names that a repository gives its files."""
        snapshot = self._read(Snapshot, Snapshot.type)
        first = Metadata[Root].from_bytes(self._first_root).signed.version
        last = self._read(Root, Root.type).version
        roots = {f"{v}.root.json": self._kept(f"root_history/{v}.root.json") for v in range(first, last + 1)}
        versions = {role: snapshot.meta[f"{role}.json"].version for role in roles}
        return {
            **roots,
            "timestamp.json": self._kept("timestamp.json"),
            f"{snapshot.version}.snapshot.json": self._kept("snapshot.json"),
            **{f"{version}.{role}.json": self._kept(f"{role}.json") for role, version in versions.items()},
        }


@contextlib.contextmanager
def refused(place: str, *, vendor: str | None = None) -> Iterator[None]:
    """Raise what TUF refuses as `UpdateError`, which names the repository, what is wrong with it, and what to do.

    `vendor` is set while the role of a vendor is verified: without its pins all else can be updated.
    """
    try:
        yield
    except _TUF_ERRORS as error:
        meaning, advice = next(words for kind, words in _MEANINGS.items() if isinstance(error, kind))
        if vendor is not None:
            place = f"{place}: vendor {vendor}"
            advice = f"{advice} To update without the pins of this vendor: --forget-vendor {vendor}."
        raise UpdateError(f"{place}: {meaning} ({shown(str(error), REASON_CHARACTERS_MAX)}).", advice=advice) from error


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raise what the system refuses as `OutputError` or `NoRoomError`."""
    try:
        yield
    except OSError as error:
        raise unwritable(str(folder), error, "Make the directory writable, or name another one: --data DIR.") from error


def _removed(offline: Targets) -> Removed:
    """What the offline role lists as removed, in the custom data of the two files that lose it."""
    return Removed(
        roots=_texts(offline.targets.get("roots.json"), "roots"),
        logs=_texts(offline.targets.get("ct_logs.json"), "logs"),
    )


def _texts(target: TargetFile | None, kind: str) -> frozenset[str]:
    """A list of texts in `custom`; what is no such list removes nothing."""
    custom: Any = {} if target is None else target.custom
    for name in ("removed", kind):
        custom = custom.get(name) if isinstance(custom, dict) else None
    return frozenset(text for text in custom if isinstance(text, str)) if isinstance(custom, list) else frozenset()
