"""The trust stores of Linux distributions: the merged bundles, the linked directory, and what was added by hand.

Room: audit. Reads files below the root directory it is given.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.model import RootOrigin

from . import files, p11_kit
from .entries import InstalledRoot, UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Found = InstalledRoot | UnreadableStore

BUNDLES: Final = (
    "etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, ChromeOS, Arch, Alpine
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, Fedora
    "etc/pki/tls/certs/ca-bundle.crt",  # RHEL, Fedora (older)
    "etc/ssl/ca-bundle.pem",  # SUSE
    "var/lib/ca-certificates/ca-bundle.pem",  # SUSE
    "etc/ssl/cert.pem",  # Alpine, LibreSSL
)
"""Bundles that distributions build for TLS clients. Several are often one file under several names."""

LINKED: Final = ("etc/ssl/certs",)
"""Directories in which OpenSSL looks roots up by name hash (openssl-rehash(1))."""

ANCHORS: Final = (
    "usr/local/share/ca-certificates",  # Debian, Ubuntu, Alpine: update-ca-certificates(8)
    "etc/pki/ca-trust/source/anchors",  # RHEL, Fedora: update-ca-trust(8)
    "usr/share/pki/ca-trust-source/anchors",
    "etc/ca-certificates/trust-source/anchors",  # Arch
    "usr/share/ca-certificates/trust-source/anchors",
    "etc/pki/trust/anchors",  # SUSE
    "usr/share/pki/trust/anchors",
)
"""Directories into which an administrator or a package puts roots of its own."""

REFUSED: Final = (
    "etc/pki/ca-trust/source/blocklist",
    "etc/pki/ca-trust/source/blacklist",
    "etc/ca-certificates/trust-source/blocklist",
    "etc/pki/trust/blocklist",
)
"""Directories of what shall not be trusted (update-ca-trust(8), p11-kit's trust module)."""

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]{1,4}\Z")
"""A link by subject name hash (X509_LOOKUP_hash_dir(3))."""


def linux_roots(environment: Mapping[str, str], root: Path = Path("/")) -> Iterator[Found]:
    """The roots of every store a distribution keeps in files, and of those that OpenSSL's environment variables name.

    `environment` is looked into for SSL_CERT_FILE and SSL_CERT_DIR; `root` is the directory the stores are below.
    """
    refused = {found.der for name in REFUSED for found in _folder(root, name, "linux-blocklist", RootOrigin.ADDED)}
    seen: set[tuple[int, int]] = set()
    for found in _all(environment, root, seen):
        if isinstance(found, InstalledRoot) and found.der in refused and found.store.startswith("linux-local"):
            continue  # never reaches the bundle
        yield found
    for der in sorted(refused):
        yield InstalledRoot(der=der, store="linux-blocklist", origin=RootOrigin.ADDED, distrusted=True)


def _all(environment: Mapping[str, str], root: Path, seen: set[tuple[int, int]]) -> Iterator[Found]:
    for name in BUNDLES:
        yield from bundle(root / name, f"linux-bundle:/{name}", seen=seen)
    for name in LINKED:
        yield from _linked(root / name, f"linux-directory:/{name}", seen)
    if given := environment.get("SSL_CERT_FILE"):
        yield from bundle(Path(given), f"SSL_CERT_FILE:{files.shown(given)}", seen=seen)
    for given in environment.get("SSL_CERT_DIR", "").split(os.pathsep):
        if given:
            yield from _linked(Path(given), f"SSL_CERT_DIR:{files.shown(given)}", seen)
    for name in ANCHORS:
        yield from _found_in_folder(root, name)


def bundle(path: Path, store: str, *, seen: set[tuple[int, int]] | None = None) -> Iterator[Found]:
    """The roots of one PEM (or DER) file; nothing when it is not there or was read under another name."""
    if _read_before(path, seen):
        return
    try:
        data, _ = files.read_file(path)
    except FileNotFoundError:
        return
    except files.StoreError as error:
        yield UnreadableStore(store=store, reason=str(error))
        return
    yield from _of(files.certificates(data), store)


def _of(blocks: files.Blocks, store: str) -> Iterator[Found]:
    for block in blocks.certificates:
        yield InstalledRoot(der=block.der, store=store, distrusted=block.distrusted)
    if blocks.damaged:
        yield UnreadableStore(store=store, reason=files.damage(blocks.damaged))


def _read_before(path: Path, seen: set[tuple[int, int]] | None) -> bool:
    """Whether this very file was read already; notes that it was now."""
    if seen is None:
        return False
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False  # reading it will say what is wrong
    identity = (status.st_dev, status.st_ino)
    before = identity in seen and identity != (0, 0)
    seen.add(identity)
    return before


def _linked(folder: Path, store: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
    """The roots that OpenSSL would find in a directory. Dangling links are what a removed root leaves: no trouble."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if _HASHED.match(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        yield UnreadableStore(store=store, reason=f"cannot be listed ({getattr(error, 'strerror', error)})")
        return
    if len(names) > files.FILES_MAX:
        yield UnreadableStore(store=store, reason=f"holds more than {files.FILES_MAX} files")
    for name in names[: files.FILES_MAX]:
        yield from bundle(folder / name, store, seen=seen)


def _folder(root: Path, name: str, store: str, origin: RootOrigin) -> Iterator[InstalledRoot]:
    """The roots of a directory, without what could not be read in it."""
    for found in _found_in_folder(root, name):
        if isinstance(found, InstalledRoot):
            yield InstalledRoot(der=found.der, store=store, origin=origin, distrusted=True)


def _found_in_folder(root: Path, name: str) -> Iterator[Found]:
    """The roots that somebody put into a directory, each with its file's time."""
    try:
        for path in files.files_below(root / name):
            store = f"linux-local:/{files.shown(path.relative_to(root).as_posix())}"
            try:
                data, changed = files.read_file(path)
            except FileNotFoundError:
                continue  # a dangling link, or gone since the directory was listed
            except files.StoreError as error:
                yield UnreadableStore(store=store, reason=str(error))
                continue
            blocks = p11_kit.parse(data) if p11_kit.is_persisted(data) else files.certificates(data)
            for block in blocks.certificates:
                yield InstalledRoot(
                    der=block.der,
                    store=store,
                    origin=RootOrigin.ADDED,
                    installed_at=changed,
                    distrusted=block.distrusted,
                )
            if blocks.damaged and _is_meant_as_certificate(path, data):
                yield UnreadableStore(store=store, reason=files.damage(blocks.damaged))
    except files.StoreError as error:
        yield UnreadableStore(store=f"linux-local:/{name}", reason=str(error))


def _is_meant_as_certificate(path: Path, data: bytes) -> bool:
    """Whether a file without a readable certificate should have one; a README beside the certificates need not."""
    return b"-----BEGIN " in data or path.suffix.lower() in {".crt", ".pem", ".cer", ".der"}
