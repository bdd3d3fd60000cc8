"""One update from start to end: lock, fetch, verify, hold back or install.

Room: update. Everything that can go wrong is a `DetectorError`, and leaves the set in use in its place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from detector.errors import InputError, KnowledgeError, UpdateError
from detector.guard import GuardedConnector
from detector.knowledge.data_set import DataSet, vendors_in
from detector.knowledge.store import SETS, default_folder, open_installed, open_set, read_current
from detector.model import Record
from detector.session.seams import utc_now

from . import bootstrap, candidate, mirror, verification
from .bootstrap import TestRoot
from .install import Installer, metadata_of
from .repository import Repository
from .targets import VENDORS_MAX, is_vendor, shown
from .transport import DEADLINE_DEFAULT, DirectoryFetcher, fetcher_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection
    from pathlib import Path

    from detector.knowledge.store import StoredSet

    from .verification import Verification

LOG: Final = logging.getLogger("detector.update")

DIRECTORY: Final = "directory"
"""What the manifest calls a repository that was a directory: its path would name folders of this machine."""


class Update(Record, frozen=True, kw_only=True):
    """What an update did. `installed` is False where the set in use was the newest already.

    `set` is the set's name, `version` that of the repository's snapshot, `changed` the files that are new or different,
    `vendors` whose pins it holds, `left_out` what was not taken of it, with a sentence for each.
    """

    installed: bool
    set: str
    version: int
    changed: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    left_out: dict[str, str]


def update(  # noqa: PLR0913 - keyword-only past the repository; each is one choice a caller may make
    place: str,
    *,
    folder: Path | None = None,
    root: str | Path | None = None,
    test_root: TestRoot = TestRoot.REFUSE,
    vendors: Collection[str] = (),
    forget: Collection[str] = (),
    connect: Callable[[], GuardedConnector] = GuardedConnector,
    seconds: float = DEADLINE_DEFAULT,
    clock: Callable[[], dt.datetime] = utc_now,
) -> Update:
    """Bring the installed set up to date with a repository. Blocks: in an event loop, call it in a thread.

    Args:
        place: the repository: an `https:` or `file:` URL, or a directory.
        folder: where sets are installed; by default the user's own folder.
        root: a file with the root metadata to begin with, instead of the one that comes with the package.
        test_root: whether a root that is marked as made for tests may be used.
        vendors: vendors whose pins are installed from now on, in addition to those that the installed set has.
        forget: vendors whose pins are not installed any more.
        connect: makes the guarded connector for an `https:` repository.
        seconds: how long it may take.
        clock: the time in UTC.

    Raises:
        InputError: for arguments that cannot be used, and a vendor that the repository does not have.
        UpdateError: for a repository that cannot be fetched or verified, and while another update runs.
        HeldBackError: for a set that is not to replace the one in use.
        OutputError, NoRoomError: for a folder that cannot be written.
    """
    chosen = _folder(folder)
    trusted = bootstrap.read(root, test_root)
    _check_vendors(vendors)
    with fetcher_of(place, connect, seconds=seconds) as fetcher, Installer(chosen) as installer:
        opened = open_installed(chosen)
        serving = opened.serving
        wanted = {*vendors, *(() if serving is None else vendors_in(serving.files))} - set(forget)
        repository = Repository(fetcher, root=trusted, folder=installer.trusted)
        have = (
            {}
            if serving is None
            else {serving.manifest.files[path].sha256: serving.files[path] for path in serving.files}
        )
        offered = repository.fetch(wanted, have)
        missing = sorted(set(vendors) - set(forget) - set(offered.vendors))
        if missing:
            raise InputError(
                f"The repository has no pins of the vendor {missing[0]}.",
                advice=f"It has: {', '.join(repository.vendors()) or 'none'}.",
            )
        name = DIRECTORY if isinstance(fetcher, DirectoryFetcher) else fetcher.place
        new = candidate.stored(offered, folder=chosen, repository=name, at=clock())
        if serving is not None and _is_same(serving, new) and not opened.warnings:
            installer.refresh(serving.folder.name, offered.metadata)
            return _report(new, serving.folder.name, installed=False, before=serving)
        in_use = DataSet(*opened)
        candidate.check(candidate.read(new), in_use, offered.removed, new.manifest.left_out)
        installed = installer.install(new, offered.metadata)
        LOG.info("installed %s", installed.name)
        return _report(new, installed.name, installed=True, before=serving)


def verify(
    folder: Path | None = None, *, root: str | Path | None = None, test_root: TestRoot = TestRoot.REFUSE
) -> Verification:
    """Verify the installed set again, from the bootstrap root on: every signature and every hash.

    Arguments as in `update`. Raises `InputError` where no set is installed, `UpdateError` for one that does not verify.
    """
    return _verified(folder, root, test_root)[1]


def export(
    destination: Path,
    folder: Path | None = None,
    *,
    root: str | Path | None = None,
    test_root: TestRoot = TestRoot.REFUSE,
) -> Verification:
    """Write the installed set, verified, as a repository into a directory, for `update` elsewhere.

    Arguments as in `update`. Raises as `verify` does, and `OutputError` for a directory that cannot be written.
    """
    stored, verified = _verified(folder, root, test_root)
    mirror.write(stored, metadata_of(stored), destination)
    return verified


def _verified(folder: Path | None, root: str | Path | None, test_root: TestRoot) -> tuple[StoredSet, Verification]:
    chosen = _folder(folder)
    try:
        current = read_current(chosen)
        if current is None:
            raise InputError(
                f"{chosen}: no set is installed; what the package ships serves.",
                advice="Install one: detector data update",
            )
        stored = open_set(chosen / SETS / current.set)
    except KnowledgeError as error:
        raise UpdateError(error.message, advice=error.advice) from error
    return stored, verification.verify(stored, metadata_of(stored), bootstrap.read(root, test_root))


def _folder(folder: Path | None) -> Path:
    chosen = folder or default_folder()
    if chosen is None:
        raise InputError("There is no home directory to install sets in.", advice="Name a folder: --data DIR.")
    return chosen


def _check_vendors(vendors: Collection[str]) -> None:
    for vendor in vendors:
        if not is_vendor(vendor):
            raise InputError(
                f"vendors: {shown(vendor)!r} is no name of a vendor.",
                advice="Give its name in the repository: lower-case letters, digits and hyphens.",
            )
    if len(vendors) > VENDORS_MAX:
        raise InputError(f"vendors: {len(vendors)}; a set has at most {VENDORS_MAX}.", advice="Name fewer.")


def _is_same(serving: StoredSet, new: StoredSet) -> bool:
    have, offered = serving.manifest, new.manifest
    return (have.version, have.files, have.left_out) == (offered.version, offered.files, offered.left_out)


def _report(new: StoredSet, name: str, *, installed: bool, before: StoredSet | None) -> Update:
    have = {} if before is None else before.manifest.files
    files = new.manifest.files
    return Update(
        installed=installed,
        set=name,
        version=new.manifest.version,
        changed=tuple(sorted(path for path in files | have if files.get(path) != have.get(path))),
        vendors=vendors_in(files),
        left_out=new.manifest.left_out,
    )
