"""Reads certificate files: bounded, regular files only, PEM or DER; damaged parts are counted and skipped.

Room: audit. Reads the files it is given; writes none. `StoreError` is the only exception that it raises.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import RootOrigin
from detector.trust import der
from detector.trust.certificate import CERTIFICATE_BYTES_MAX
from detector.trust.roots import WHITE_SPACE

from .entries import Found, InstalledRoot, UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

BUNDLE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of one bundle; the largest operating-system bundles are under 1 MB."""
CERTIFICATES_MAX: Final = 10_000
"""Certificates of one store; the largest root programs have about 500."""
FILES_MAX: Final = 4096
"""Files read below one directory of certificates; Debian links about 300."""

_BEGIN: Final = re.compile(rb"-----BEGIN (TRUSTED |X509 |)CERTIFICATE-----")
_PERSON: Final = re.compile(r"(?i)^(?:(?:/var)?/home|/Users|[a-z]:[\\/]Users)[\\/][^\\/]+")
"""Home directories of other users than the current one: their last part is a person's name."""

SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
"""id-kp-serverAuth (RFC 5280 section 4.2.1.12)."""
_ANY_USAGE: Final = "2.5.29.37.0"
"""anyExtendedKeyUsage (RFC 5280 section 4.2.1.12)."""
_TAG_REJECT: Final = 0xA0
"""`reject [0]` of OpenSSL's X509_CERT_AUX."""


class StoreError(Exception):
    """A store could not be read; the text is one clause in lower case."""


class Block(NamedTuple):
    """One certificate of a file.

    `distrusted` if an OpenSSL `TRUSTED CERTIFICATE` rejects TLS servers, or its store refuses it; `trusted` is what
    p11-kit says, `changed` when the file or the trust setting was last changed.
    """

    der: bytes
    distrusted: bool = False
    trusted: bool = False
    changed: dt.datetime | None = None


class Blocks(NamedTuple):
    """The certificates of a file and the number of damaged ones."""

    certificates: tuple[Block, ...]
    damaged: int


def roots_of(
    store: str,
    read: Callable[[], Blocks],
    origin: RootOrigin = RootOrigin.UNKNOWN,
    shipped: Collection[bytes] = (),
) -> Iterator[Found]:
    """The roots that `read` gives of a store; nothing where it does not exist, and why where it cannot be read.

    `shipped` are certificates (DER) that the system's vendor ships, whatever the origin of the others is.
    """
    try:
        blocks = read()
    except FileNotFoundError:
        return
    except StoreError as error:
        yield UnreadableStore(store=store, reason=str(error))
        return
    for block in blocks.certificates:
        yield InstalledRoot(
            der=block.der,
            store=store,
            origin=RootOrigin.SHIPPED if block.der in shipped else origin,
            installed_at=block.changed,
            distrusted=block.distrusted,
        )
    if blocks.damaged:
        yield UnreadableStore(store=store, reason=damage(blocks.damaged))


def damage(count: int) -> str:
    """The reason given for a store with damaged certificates."""
    return "holds a damaged certificate" if count == 1 else f"holds {count} damaged certificates"


def read_file(path: Path, limit: int = BUNDLE_BYTES_MAX) -> tuple[bytes, dt.datetime]:
    """The content of a regular file and its modification time (UTC). Raises `FileNotFoundError`, `StoreError`."""
    try:
        # Non-blocking: a named pipe in a certificate directory must not hang the audit.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError("is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError(path) from error
        raise StoreError(f"cannot be read ({error.strerror or type(error).__name__})") from error
    except ValueError as error:
        raise StoreError("is not the name of a file") from error
    if len(data) > limit:
        raise StoreError(f"is larger than {limit // 1024 // 1024} MiB")
    return data, moment(status.st_mtime)


def moment(seconds: float) -> dt.datetime:
    """A file time as a UTC time in whole seconds, clamped to the calendar."""
    first = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    last = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    return first + dt.timedelta(seconds=int(min(max(seconds, 0.0), (last - first).total_seconds())))


def shown(path: str | Path) -> str:
    """A path for display: without the name of a home directory's owner, and without control characters."""
    text = str(path)
    try:
        home = str(Path.home())
    except RuntimeError:  # no home directory can be determined
        home = ""
    if len(home) > 1 and (text == home or text.startswith((f"{home}/", f"{home}\\"))):
        text = "~" + text[len(home) :]
    text = _PERSON.sub("~", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def files_below(folder: Path) -> Iterator[Path]:
    """Files in a directory and below it, in order. Raises `StoreError` if it cannot be listed or has too many."""
    failures: list[OSError] = []
    count = 0
    for place, folders, names in os.walk(folder, onerror=failures.append):
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > FILES_MAX:
                raise StoreError(f"holds more than {FILES_MAX} files")
            yield Path(place, name)
    for failure in failures:
        if failure.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise StoreError(f"cannot be listed ({failure.strerror})") from failure


def certificates(data: bytes) -> Blocks:
    """The certificates of a file: PEM (RFC 7468) blocks, else one DER certificate. Never raises.

    Data that are neither count as one damaged certificate; an empty file has none.
    """
    if _BEGIN.search(data):
        return pem(data)
    if not data.strip():
        return Blocks((), 0)
    block = _block(data, auxiliary=False)
    return Blocks((), 1) if block is None else Blocks((block,), 0)


def pem(data: bytes) -> Blocks:
    """The certificates of PEM text; other blocks are skipped. Never raises; takes linear time."""
    found: list[Block] = []
    damaged = 0
    for begin in _BEGIN.finditer(data):
        end = data.find(b"-----", begin.end())
        block = None
        if data.startswith(b"-----END ", end) and end - begin.end() <= 2 * CERTIFICATE_BYTES_MAX:
            try:
                body = base64.b64decode(data[begin.end() : end].translate(None, WHITE_SPACE), validate=True)
            except binascii.Error:
                body = b""
            block = _block(body, auxiliary=begin[1] == b"TRUSTED ")
        if block is None or len(found) >= CERTIFICATES_MAX:
            damaged += 1
        else:
            found.append(block)
    return Blocks(tuple(found), damaged)


def _block(data: bytes, *, auxiliary: bool) -> Block | None:
    """The certificate at the start of these bytes; OpenSSL may append its trusted uses."""
    try:
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        der.expect(data, outer.content, outer.end, der.SEQUENCE)
    except der.DERError:
        return None
    return Block(der.whole(data, outer), auxiliary and _rejects_servers(data, outer.end))


def _rejects_servers(data: bytes, offset: int) -> bool:
    """Whether OpenSSL's X509_CERT_AUX (crypto/x509/x_x509a.c) excludes TLS servers from the trusted uses."""
    if offset >= len(data):
        return False
    try:
        parts = list(der.children(data, der.expect(data, offset, len(data), der.SEQUENCE)))
        trusted = {der.oid(data, i) for p in parts if p.tag == der.SEQUENCE for i in der.children(data, p)}
        rejected = {der.oid(data, i) for p in parts if p.tag == _TAG_REJECT for i in der.children(data, p)}
    except der.DERError:
        return False  # unreadable data remove no trust
    usages = {SERVER_AUTH, _ANY_USAGE}
    return bool(rejected & usages) or (bool(trusted) and not trusted & usages)
