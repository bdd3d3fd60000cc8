"""Which readers apply on this machine: the only module of the audit that depends on the platform.

Room: audit. Reads through the store modules; runs `trust` (p11-kit) or `security` (macOS) if present.
"""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import RootsError

from . import bundles, files, linux, macos, nss, p11_kit, programs, windows
from .entries import InstalledRoot, Scanned, UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def read_machine() -> Scanned:
    """Every root that a trust store of this machine trusts or refuses, for this user. Never raises.

    Stores that exist but cannot be read are listed as unreadable.
    """
    _, everything = read_stores()
    return everything


def read_stores() -> Iterator[Scanned]:
    """The result of `read_machine` in two steps: the stores in files and the registry, then all of them."""
    found = list(_in_files())
    yield scan(found)
    yield scan([*found, *_through_programs()])


def _in_files() -> Iterator[InstalledRoot | UnreadableStore]:
    home, seen = _home(), set[bundles.FileIdentity]()
    if sys.platform == "win32":  # pragma: no cover - tested through the readers, with fixtures
        yield from windows.windows_roots(ssl.enum_certificates, windows.registry_time)
    elif sys.platform != "darwin":
        yield from linux.linux_roots(seen=seen)
    yield from bundles.named_by_environment(os.environ, seen)
    if home is not None:
        yield from nss.nss_roots(home, sys.platform)


def _through_programs() -> Iterator[InstalledRoot | UnreadableStore]:
    if sys.platform == "darwin":  # pragma: no cover - tested through the readers, with fixtures
        yield from macos.macos_roots(_home() or Path("/var/empty"), programs.run, programs.run_into_file)
    elif (trust := shutil.which("trust")) is not None:
        yield from p11_kit.p11_kit_roots(trust, programs.run)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no home directory can be determined
        return None


def scan(found: Iterable[InstalledRoot | UnreadableStore]) -> Scanned:
    """Sort the output of readers."""
    distinct = dict.fromkeys(found)
    return Scanned(
        roots=tuple(item for item in distinct if isinstance(item, InstalledRoot)),
        unreadable=tuple(item for item in distinct if isinstance(item, UnreadableStore)),
    )


def read_bundles(paths: Sequence[str | Path]) -> Scanned:
    """The roots of PEM (or DER) files instead of the machine's.

    Raises `RootsError` naming a file that cannot be read, has no certificate, or has a damaged one.
    """
    found: list[InstalledRoot] = []
    for path in paths:
        try:
            data, _ = files.read_file(Path(path))
        except FileNotFoundError as error:
            raise _unusable(path, "there is no such file") from error
        except files.StoreError as error:
            raise _unusable(path, str(error)) from error
        blocks = files.certificates(data)
        if blocks.damaged or not blocks.certificates:
            raise _unusable(path, files.damage(blocks.damaged) if blocks.certificates else "no certificate in it")
        store = f"bundle:{files.shown(path)}"
        found += [InstalledRoot(der=b.der, store=store, distrusted=b.distrusted) for b in blocks.certificates]
    return scan(found)


def _unusable(path: str | Path, reason: str) -> RootsError:
    return RootsError(
        f"Bundle {path}: {reason}.",
        advice="Name a readable file of certificates: PEM blocks (-----BEGIN CERTIFICATE-----) or one DER certificate.",
    )
