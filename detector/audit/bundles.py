"""Bundles and directories of certificates in OpenSSL's format, and those that environment variables name.

Room: audit. Reads the files it is given.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import RootOrigin
from detector.model.files import reason_of
from detector.trust.certificate import Certificate

from . import files
from .entries import Found, InstalledRoot, UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping

FileIdentity = tuple[int, int]
"""Device and file number (stat(2)): the same for one file under several names."""

VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""Environment variables that name a file of roots or directories of them: of OpenSSL, Requests, curl and Node.js."""

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]{1,4}\Z")
"""A link by subject name hash (X509_LOOKUP_hash_dir(3))."""


def bundle(
    path: Path, store: str, seen: set[FileIdentity] | None = None, shipped: Collection[bytes] = ()
) -> Iterator[Found]:
    """The roots of one PEM (or DER) file; nothing if it does not exist or was read under another name.

    `shipped` are certificates (DER) that the system's vendor ships; a merged bundle does not reveal the origin of
    others.
    """
    if not _read_before(path, seen):
        yield from files.roots_of(store, lambda: files.certificates(files.read_file(path)[0]), shipped=shipped)


def _read_before(path: Path, seen: set[FileIdentity] | None) -> bool:
    """Whether this file was already read; records that it now is."""
    if seen is None:
        return False
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False  # reading it will report the error
    identity = (status.st_dev, status.st_ino)
    before = identity in seen and identity != (0, 0)
    seen.add(identity)
    return before


def linked(
    folder: Path, store: str, seen: set[FileIdentity] | None = None, shipped: Collection[bytes] = ()
) -> Iterator[Found]:
    """The roots that OpenSSL would find in a directory. Dangling links, left by removed roots, are ignored."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if _HASHED.match(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        yield UnreadableStore(store=store, reason=f"cannot be listed ({reason_of(error)})")
        return
    if len(names) > files.FILES_MAX:
        yield UnreadableStore(store=store, reason=f"holds more than {files.FILES_MAX} files")
    for name in names[: files.FILES_MAX]:
        yield from bundle(folder / name, store, seen, shipped)


def named_by_environment(
    environment: Mapping[str, str], known: Container[bytes], seen: set[FileIdentity] | None = None
) -> Iterator[Found]:
    """The roots of what `VARIABLES` in `environment` name.

    A person or a program set the variable, but often to a complete bundle, as conda and Nix do, in which a vendor's new
    root looks like an institution's. So only a file or directory without any root that was ever public (`known` are
    the keys of those, SHA-256) is known to have been added; the origin of roots among public ones is unknown.
    """
    for variable in VARIABLES:
        value = environment.get(variable, "")
        for given in filter(None, value.split(os.pathsep) if variable == "SSL_CERT_DIR" else [value]):
            read = linked if Path(given).is_dir() else bundle
            found = list(read(Path(given), f"{variable}:{files.shown(given)}", seen))
            keys = {Certificate.read(root.der).spki_sha256 for root in found if isinstance(root, InstalledRoot)}
            origin = RootOrigin.ADDED if not any(key in known for key in keys) else RootOrigin.UNKNOWN
            for item in found:
                yield item if isinstance(item, UnreadableStore) else msgspec.structs.replace(item, origin=origin)
