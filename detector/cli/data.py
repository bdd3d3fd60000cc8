"""`detector data`: updates what is known of roots, logs, products and vendors' pins, and says what is installed.

Room: cli. The only commands that fetch knowledge, with `watch --update`; docs/data.md says what they can and cannot do.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detector.aio.lazy import LazyModule
from detector.errors import InputError
from detector.knowledge import data_set, store
from detector.session.seams import utc_now

from . import common, options

if TYPE_CHECKING:
    from collections.abc import Callable

    import detector.guard as guards
    import detector.update as updates
    from detector.update import status, table

else:
    guards = LazyModule("detector.guard")
    status = LazyModule("detector.update.status")
    table = LazyModule("detector.update.table")
    updates = LazyModule("detector.update")

DEADLINE_DEFAULT: Final = 120.0
"""Seconds for one update, as in `detector.update.transport`, which is imported late."""

_folder: Final = options.trusting("--data", "Folder of the installed data sets, instead of your own.", metavar="DIR")
_root: Final = options.trusting(
    "--root", "Begin with this root metadata instead of the one that comes with the package.", metavar="FILE"
)
_allow_test_root: Final = options.trusting(
    "--allow-test-root", "Use a root that is marked as made for tests.", is_flag=True
)
_guarded: Final = options.settings(only=("pins", "ct-logs", "roots", "add-roots", "proxy", "resolve", "connect-to"))
_NETWORK: Final = ("proxy", "resolve")
"""Settings that the connector takes."""
_TRUST: Final = ("data", "pins", "logs", "roots", "add_roots")
"""Settings that the guard takes."""


@options.group(
    "detector data update --from https://data.example.org/knowledge",
    "detector data show",
    sections={"Update": ("update", "export"), "Read": ("show", "verify")},
)
def data() -> None:
    """Update what is known of roots, logs and products."""


@data.subcommand(
    "detector data update --from https://data.example.org/knowledge",
    "detector data update --vendor acme",
    "detector data update --from /media/usb/knowledge",
)
def update(  # noqa: PLR0913 - one parameter per option
    *,
    place: str | None = options.target(
        "--from",
        "The repository: an https or file URL, or a directory.  [default: the URL of the last update]",
        metavar="URL|DIR",
    ),
    vendors: tuple[str, ...] = options.target(
        "--vendor",
        "Install the pins of this vendor, too, now and in later updates; repeatable.",
        multiple=True,
        metavar="NAME",
    ),
    forget: tuple[str, ...] = options.target(
        "--forget-vendor", "Stop installing the pins of this vendor; repeatable.", multiple=True, metavar="NAME"
    ),
    deadline: float = options.deadline("Give up after this time.", shortest=1.0, default=DEADLINE_DEFAULT),
    root: str | None = _root,
    allow_test_root: bool = _allow_test_root,
    folder: str | None = _folder,
    settings: dict[str, Any] = _guarded,
    out: options.Output = options.record,
) -> int:
    """Fetch the newest signed set, and use it from now on.

    A set is taken whole or not at all, and only when every signature and hash is right. Connections are assessed before
    they carry a request, as those of guarded clients are.

    Exit code: 0 updated, or already the newest; 2 bad usage or input; 3 it could not be fetched or verified, or is held
    back; 74 no room. In each case but 0 the set in use stays.
    """
    with common.result_stream(out.file) as stream:
        done = updates.update(
            place or last_repository(folder),
            folder=folder_of(folder),
            root=root,
            test_root=_test_root(allow=allow_test_root),
            vendors=vendors,
            forget=forget,
            connect=connector_of(settings),
            seconds=deadline,
        )
        common.write_record(done, out, stream, table.of_update)
    return common.CLEAN


@data.subcommand("detector data show", "detector data show --json")
def show(*, folder: str | None = _folder, out: options.Output = options.record) -> int:
    """Say what serves: each part with its version, date, age and origin.

    Exit code: 0; 2 bad usage or input, as a folder that does not exist.
    """
    place = folder_of(folder)
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"--data {folder}: is no folder.", advice="Name one that `detector data update --data` made.")
    serving = data_set.shipped() if place is None else data_set.DataSet(*store.open_installed(place))
    found = status.status(serving, folder=str(place or ""), at=utc_now())
    with common.result_stream(out.file) as stream:
        common.write_record(found, out, stream, table.of_status)
    return common.CLEAN


@data.subcommand("detector data verify")
def verify(
    *,
    root: str | None = _root,
    allow_test_root: bool = _allow_test_root,
    folder: str | None = _folder,
    out: options.Output = options.record,
) -> int:
    """Verify the installed set again, from the first root on.

    Every signature and every hash is checked. Metadata that has expired since is reported as its age.

    Exit code: 0 right; 2 bad usage or input, or no set is installed; 3 the set is damaged, or not signed by those who
    may.
    """
    with common.result_stream(out.file) as stream:
        found = updates.verify(folder_of(folder), root=root, test_root=_test_root(allow=allow_test_root))
        common.write_record(found, out, stream, functools.partial(table.of_verification, at=utc_now()))
    return common.CLEAN


@data.subcommand("detector data export /media/usb/knowledge")
def export(
    *,
    directory: str = options.argument(),
    root: str | None = _root,
    allow_test_root: bool = _allow_test_root,
    folder: str | None = _folder,
) -> int:
    """Write the installed set as a repository for closed networks.

    `detector data update --from` takes it there, and verifies it as it does any other. A repository that is in the
    directory already is replaced.

    Exit code: as `detector data verify`, and 74 no room.
    """
    updates.export(Path(directory), folder_of(folder), root=root, test_root=_test_root(allow=allow_test_root))
    return common.CLEAN


def folder_of(folder: str | None) -> Path | None:
    """The folder of installed sets that the user named, else the user's own; None without a home directory."""
    return store.default_folder() if folder is None else Path(folder)


def last_repository(folder: str | None, *, option: str = "--from") -> str:
    """The URL that the installed set came from. Raises `InputError` where there is none; `option` names another."""
    place = folder_of(folder)
    serving = None if place is None else store.open_installed(place).serving
    if serving is None or not serving.manifest.repository.startswith("https:"):
        raise InputError("No repository is known.", advice=f"Name one: {option} URL, or {option} DIR for a copy.")
    return serving.manifest.repository


def connector_of(settings: dict[str, Any]) -> Callable[[], guards.GuardedConnector]:
    """What makes the connector that an update goes through, by the options of a command."""

    def connect() -> guards.GuardedConnector:
        network = {name: settings[name] for name in _NETWORK if name in settings}
        trust = {name: settings[name] for name in _TRUST if name in settings}
        return guards.GuardedConnector(guards.Guard(**trust), **network)

    return connect


def _test_root(*, allow: bool) -> updates.TestRoot:
    return updates.TestRoot.ALLOW if allow else updates.TestRoot.REFUSE
