"""Which readers apply on this machine: the only module of the audit that depends on the platform.

Room: audit. Reads through the store modules; runs `trust` (p11-kit) or `security` (macOS) if present.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.errors import RootsError
from detector.model import RootOrigin
from detector.trust.certificate import Certificate
from detector.trust.roots import Root, Roots, TrustedRoots, label_of

from . import bundles, files, linux, macos, nss, p11_kit, programs, windows
from .entries import Found, InstalledRoot, Scanned, UnreadableStore

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence

STRONGEST_FIRST: Final = (RootOrigin.POLICY, RootOrigin.ADDED, RootOrigin.SHIPPED, RootOrigin.UNKNOWN)
"""Which origin counts if stores differ. Vendors ship no interceptor's root, so a root that was also added counts as
added: an administrator can copy it to a store of shipped roots, which must not weaken the finding."""


def read_machine(known: frozenset[bytes]) -> Scanned:
    """Every root that a trust store of this machine trusts or refuses, for this user. Never raises.

    Stores that exist but cannot be read are listed as unreadable. `known` are the keys (SHA-256) of roots that were
    public at some time.
    """
    _, everything = read_stores(known)
    return everything


def read_stores(known: frozenset[bytes]) -> Iterator[Scanned]:
    """The result of `read_machine` in two steps: the stores in files and the registry, then all of them."""
    found = list(_in_files(known))
    yield scan(found)
    yield scan([*found, *_through_programs()])


def _in_files(known: frozenset[bytes]) -> Iterator[Found]:
    home, seen = _home(), set[bundles.FileIdentity]()
    if sys.platform == "win32":  # pragma: no cover - tested through the readers, with fixtures
        yield from windows.windows_roots(ssl.enum_certificates, windows.registry_time)
    elif sys.platform != "darwin":
        yield from linux.linux_roots(seen=seen)
    yield from bundles.named_by_environment(os.environ, known, seen)
    if home is not None:
        yield from nss.nss_roots(home, sys.platform)


def _through_programs() -> Iterator[Found]:
    if sys.platform == "darwin":  # pragma: no cover - tested through the readers, with fixtures
        yield from macos.macos_roots(_home() or Path("/var/empty"), programs.run, programs.run_into_file)
    elif sys.platform != "win32" and (trust := shutil.which("trust")) is not None:  # there the working directory counts
        yield from p11_kit.p11_kit_roots(trust, programs.run)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no home directory can be determined
        return None


def scan(found: Iterable[Found]) -> Scanned:
    """Sort the output of readers."""
    distinct = dict.fromkeys(found)
    return Scanned(
        roots=tuple(item for item in distinct if isinstance(item, InstalledRoot)),
        unreadable=tuple(item for item in distinct if isinstance(item, UnreadableStore)),
    )


def merge(listed: Roots, scanned: Scanned, known: frozenset[bytes]) -> TrustedRoots:
    """Add the roots in the stores of a machine to those that are `listed` as trusted there.

    Distrusted roots are left out, and so is every root that was public at some time, in whatever store it is: `known`
    are the keys (SHA-256) of those.
    """
    origins = {root.certificate.der: root.origin for root in listed.roots}
    times: dict[bytes, dt.datetime] = {}
    for found in scanned.roots:
        if not found.distrusted:
            so_far = origins.get(found.der, RootOrigin.UNKNOWN)
            origins[found.der] = min(so_far, found.origin, key=STRONGEST_FIRST.index)
            if found.installed_at is not None:
                sha256 = hashlib.sha256(found.der).digest()
                times[sha256] = min(times.get(sha256, found.installed_at), found.installed_at)
    roots = (Root(label_of(read), read, origins[read.der]) for read in map(Certificate.read, origins))
    return TrustedRoots(Roots(roots, name="this machine", version="").without(known), times)


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
