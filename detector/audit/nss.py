"""NSS user databases (Firefox profiles, Chromium's shared one): which certificates they trust for TLS servers.

Room: audit. Opens SQLite files read-only and immutable; NSS need not be installed.

`cert9.db` has one table, `nssPublic`, with a row for each PKCS #11 object and a column for each attribute, called `a`
and the attribute's number in hexadecimal; numbers are stored as four bytes, big-endian (NSS, lib/softoken/sdb.c).
A certificate in the database is not necessarily trusted: Firefox keeps intermediates there. What counts is the trust
object with the same issuer and serial number: of NSS's own class, or since NSS 3.114 of PKCS #11 3.2 section 4.7.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import sqlite3
from typing import TYPE_CHECKING, Final

from detector.model import RootOrigin

from . import files
from .entries import UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from .entries import Found

DATABASE: Final = "cert9.db"
_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a database; those of browsers have well under 1 MB."""
_VALUE_BYTES_MAX: Final = 1024 * 1024
"""Bytes of one value (SQLITE_LIMIT_LENGTH); a certificate has about 1,500."""
_STEPS_MAX: Final = 20_000_000
"""Virtual machine steps of SQLite for one database, about a second: a schema can contain an endless query."""
_STEPS_BETWEEN: Final = 10_000
"""Steps between two checks of their number."""
PROFILES_MAX: Final = 64
"""Profiles of one browser that are read."""

_CLASS: Final = "a0"
_VALUE: Final = "a11"
_ISSUER: Final = "a81"
_SERIAL: Final = "a82"
_NSS_SERVER_AUTH: Final = "ace536358"
_PKCS_SERVER_AUTH: Final = "a62c"
_COLUMNS: Final = (_CLASS, _VALUE, _ISSUER, _SERIAL, _NSS_SERVER_AUTH, _PKCS_SERVER_AUTH)
"""CKA_CLASS, CKA_VALUE, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_NSS_TRUST_SERVER_AUTH, CKA_TRUST_SERVER_AUTH."""

_NUMBER_BYTES: Final = 4
"""Of a CK_ULONG in the database, whatever its size in memory; as certutil of NSS 3.87 writes it (tests/audit)."""
_CERTIFICATE: Final = 0x00000001
"""CKO_CERTIFICATE (PKCS #11 section 4.6)."""
_NSS_TRUST: Final = 0xCE534353
"""CKO_NSS_TRUST (NSS, lib/util/pkcs11n.h)."""
_PKCS_TRUST: Final = 0x0000000B
"""CKO_TRUST (PKCS #11 3.2 section 4.7)."""
_ANCHOR: Final = {_NSS_TRUST: 0xCE534352, _PKCS_TRUST: 0x00000002}
"""CKT_NSS_TRUSTED_DELEGATOR and CKT_TRUST_ANCHOR: a CA for this use."""
_REFUSED: Final = {_NSS_TRUST: 0xCE53435A, _PKCS_TRUST: 0x00000003}
"""CKT_NSS_NOT_TRUSTED and CKT_NOT_TRUSTED."""

Row = tuple[object, object, object, object, object, object]
"""One object, in the order of `_COLUMNS`; values may have any type."""


PLACES: Final = {
    "linux": {
        ".pki/nssdb": "nss:user database (Chromium and others)",
        "snap/chromium/current/.pki/nssdb": "nss:user database (Chromium, snap)",
        ".mozilla/firefox/*": "nss:Firefox profile",
        ".config/mozilla/firefox/*": "nss:Firefox profile",
        "snap/firefox/common/.mozilla/firefox/*": "nss:Firefox profile (snap)",
        ".var/app/org.mozilla.firefox/.mozilla/firefox/*": "nss:Firefox profile (flatpak)",
    },
    "win32": {"AppData/Roaming/Mozilla/Firefox/Profiles/*": "nss:Firefox profile"},
    "darwin": {"Library/Application Support/Firefox/Profiles/*": "nss:Firefox profile"},
}
"""Names of stores by `sys.platform` and by the directories below the home directory where databases may be. Profile
names are not shown: they may be names of people."""


def nss_roots(home: Path, platform: str) -> Iterator[Found]:
    """The roots that the user databases below `home` trust (or refuse) for TLS servers."""
    for pattern, store in PLACES.get(platform, {}).items():
        try:
            folders = sorted(itertools.islice(home.glob(pattern), PROFILES_MAX))
        except (OSError, ValueError) as error:
            yield UnreadableStore(store=store, reason=f"cannot be listed ({type(error).__name__})")
            continue
        for folder in folders:
            yield from database_roots(folder / DATABASE, store)


def database_roots(path: Path, store: str) -> Iterator[Found]:
    """The roots of one `cert9.db`; nothing if it does not exist."""
    return files.roots_of(store, lambda: files.Blocks(interpret(rows(path)), 0), RootOrigin.ADDED)


def rows(path: Path) -> list[Row]:
    """The objects of a database. Raises `FileNotFoundError`, or `StoreError` for an unusable one."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError(path) from error
        raise files.StoreError(f"cannot be read ({error.strerror})") from error
    if size is None:
        raise FileNotFoundError(path)
    if size > _BYTES_MAX:
        raise files.StoreError(f"is larger than {_BYTES_MAX // 1024 // 1024} MiB")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            return _select(opened)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: sqlite3 quoting bytes of the file as text
        raise files.StoreError(f"is not a readable NSS database ({type(error).__name__})") from error


def _select(opened: sqlite3.Connection) -> list[Row]:
    opened.text_factory = bytes
    opened.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES_MAX)
    opened.execute("PRAGMA trusted_schema=OFF")
    steps = itertools.count(0, _STEPS_BETWEEN)
    opened.set_progress_handler(lambda: next(steps) > _STEPS_MAX, _STEPS_BETWEEN)
    there = {row[0] for row in opened.execute("SELECT name FROM pragma_table_info('nssPublic')")}
    if _CLASS.encode() not in there:
        raise files.StoreError("is not a readable NSS database (no table of objects)")
    wanted = ", ".join(name if name.encode() in there else "NULL" for name in _COLUMNS)
    query = f"SELECT {wanted} FROM nssPublic LIMIT {files.CERTIFICATES_MAX + 1}"  # noqa: S608 - constants only
    found: list[Row] = opened.execute(query).fetchall()
    if len(found) > files.CERTIFICATES_MAX:
        raise files.StoreError(f"holds more than {files.CERTIFICATES_MAX} objects")
    return found


def interpret(objects: Iterable[Sequence[object]]) -> tuple[files.Block, ...]:
    """The certificates with a trust object among these objects (rows as `_COLUMNS`). Never raises."""
    certificates: dict[tuple[bytes, bytes], list[bytes]] = {}
    trust: dict[tuple[bytes, bytes], set[bool]] = {}
    for kind, value, issuer, serial, nss, pkcs in objects:
        if not isinstance(issuer, bytes) or not isinstance(serial, bytes):
            continue
        number = _number(kind)
        if number == _CERTIFICATE and isinstance(value, bytes):
            certificates.setdefault((issuer, serial), []).append(value)
        elif number in _ANCHOR:
            level = _number(nss if number == _NSS_TRUST else pkcs)
            if level in (_ANCHOR[number], _REFUSED[number]):
                trust.setdefault((issuer, serial), set()).add(level == _REFUSED[number])
    return tuple(
        files.Block(der, distrusted=True in refused)
        for identity, refused in trust.items()
        for der in certificates.get(identity, ())
    )


def _number(value: object) -> int | None:
    """A CK_ULONG as NSS stores it."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) and len(value) == _NUMBER_BYTES else None
