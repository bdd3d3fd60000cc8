"""The trust stores of Linux distributions: the merged bundles, the linked directory, and manual additions.

Room: audit. Reads files below the root directory it is given.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.model import RootOrigin

from . import bundles, files, p11_kit
from .entries import Found, InstalledRoot, UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUNDLES: Final = (
    "etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, ChromeOS, Arch, Alpine
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, Fedora
    "etc/pki/tls/certs/ca-bundle.crt",  # RHEL, Fedora (older)
    "etc/ssl/ca-bundle.pem",  # SUSE
    "var/lib/ca-certificates/ca-bundle.pem",  # SUSE
    "etc/ssl/cert.pem",  # Alpine, LibreSSL
)
"""Bundles that distributions build for TLS clients, often one file under several names."""

LINKED: Final = ("etc/ssl/certs",)
"""Directories in which OpenSSL looks up roots by name hash (openssl-rehash(1))."""

ANCHORS: Final = {
    "usr/local/share/ca-certificates": RootOrigin.ADDED,  # Debian, Ubuntu, Alpine: update-ca-certificates(8)
    "etc/pki/ca-trust/source/anchors": RootOrigin.ADDED,  # RHEL, Fedora: update-ca-trust(8)
    "usr/share/pki/ca-trust-source/anchors": RootOrigin.UNKNOWN,
    "etc/ca-certificates/trust-source/anchors": RootOrigin.ADDED,  # Arch
    "usr/share/ca-certificates/trust-source/anchors": RootOrigin.UNKNOWN,
    "etc/pki/trust/anchors": RootOrigin.ADDED,  # SUSE
    "usr/share/pki/trust/anchors": RootOrigin.UNKNOWN,
}
"""Directories of roots beyond the distribution's list. Below /etc and /usr/local they are the administrator's; below
/usr/share a package installed them (FHS 3.0, sections 4.9 and 4.11), whose origin is unknown."""

STORED: Final = ("etc/pki/ca-trust/source", "etc/ca-certificates/trust-source", "etc/pki/trust")
"""Where `trust anchor --store` of p11-kit writes files in its own format, by distribution as above."""

PACKAGE_LIST: Final = "var/lib/dpkg/info/ca-certificates.list"
"""The files of the package ca-certificates, as dpkg records them."""

REFUSED: Final = (
    "etc/pki/ca-trust/source/blocklist",
    "etc/pki/ca-trust/source/blacklist",
    "etc/ca-certificates/trust-source/blocklist",
    "etc/pki/trust/blocklist",
)
"""Directories of distrusted roots (update-ca-trust(8), p11-kit's trust module)."""


def linux_roots(root: Path = Path("/"), seen: set[bundles.FileIdentity] | None = None) -> Iterator[Found]:
    """The roots of every store that a distribution keeps in files, below the directory `root`.

    `seen` records the bundles that were read, so that none is read again under another name.
    """
    blocked = (found for name in REFUSED for found in _found_in_folder(root, name, RootOrigin.ADDED))
    refused = {found.der for found in blocked if isinstance(found, InstalledRoot)}
    for found in _all(root, set() if seen is None else seen):
        if isinstance(found, InstalledRoot) and found.der in refused and found.store.startswith("linux-local"):
            continue  # never reaches the bundle
        yield found
    for der in sorted(refused):
        yield InstalledRoot(der=der, store="linux-blocklist", origin=RootOrigin.ADDED, distrusted=True)


def _all(root: Path, seen: set[bundles.FileIdentity]) -> Iterator[Found]:
    shipped = debian_roots(root)
    for name in BUNDLES:
        yield from bundles.bundle(root / name, f"linux-bundle:/{name}", seen, shipped)
    for name in LINKED:
        yield from bundles.linked(root / name, f"linux-directory:/{name}", seen, shipped)
    for name, origin in ANCHORS.items():
        yield from _found_in_folder(root, name, origin)
    for name in STORED:
        with contextlib.suppress(OSError):  # a folder that cannot be listed is reported where its anchors are read
            stored = sorted((root / name).glob("*.p11-kit"))
        for path in stored:
            yield from _found_in_file(root, path, RootOrigin.ADDED, p11_kit.anchors)


def debian_roots(root: Path) -> frozenset[bytes]:
    """The certificates of the package ca-certificates of Debian and its derivatives: shipped by the vendor.

    What other packages, including an institution's, added to them (update-ca-certificates(8)) cannot be distinguished
    from manual additions. A shipped certificate is not necessarily trusted: ca-certificates.conf selects.
    """
    try:
        listed = files.read_file(root / PACKAGE_LIST)[0].decode("utf-8", "replace").splitlines()
    except (FileNotFoundError, files.StoreError):
        return frozenset()
    shipped = set()
    for name in listed[: files.FILES_MAX]:
        if name.startswith("/usr/share/ca-certificates/") and name.endswith(".crt"):
            with contextlib.suppress(FileNotFoundError, files.StoreError):
                data, _ = files.read_file(root / name.lstrip("/"))
                shipped |= {block.der for block in files.certificates(data).certificates}
    return frozenset(shipped)


def _found_in_folder(root: Path, name: str, origin: RootOrigin) -> Iterator[Found]:
    """The roots in a directory, each with its file's time."""
    try:
        for path in files.files_below(root / name):
            yield from _found_in_file(root, path, origin)
    except files.StoreError as error:
        yield UnreadableStore(store=f"linux-local:/{name}", reason=str(error))


def _certificates(data: bytes) -> files.Blocks:
    return p11_kit.parse(data) if p11_kit.is_persisted(data) else files.certificates(data)


def _found_in_file(
    root: Path, path: Path, origin: RootOrigin, read: Callable[[bytes], files.Blocks] = _certificates
) -> Iterator[Found]:
    def blocks() -> files.Blocks:
        data, changed = files.read_file(path)
        found, damaged = read(data)
        damaged = damaged if _is_meant_as_certificate(path, data) else 0
        return files.Blocks(tuple(block._replace(changed=changed) for block in found), damaged)

    return files.roots_of(f"linux-local:/{files.shown(path.relative_to(root).as_posix())}", blocks, origin)


def _is_meant_as_certificate(path: Path, data: bytes) -> bool:
    """Whether a file without a readable certificate should have one, unlike a README among the certificates."""
    return b"-----BEGIN " in data or path.suffix.lower() in {".crt", ".pem", ".cer", ".der"}
