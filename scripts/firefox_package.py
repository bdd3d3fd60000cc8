"""Read Mozilla's data from Debian's package `firefox-esr`, a source that anybody can download again.

Room: scripts. Reads the one package file that is named; runs no program from it.

    apt-get download firefox-esr

Four things are in it: the table of CT logs and the trust anchors with their constraints (in `libxul.so`), the name
constraints that NSS adds to some roots (in `libnss3.so`), and the collections `intermediates` and `onecrl` of Mozilla's
Remote Settings (in `browser/omni.ja`).

The tables in the libraries are found by what is in them, and read as the arrays of C and Rust structures that they are:
relative pointers stand in the file as addresses (RELR relocations), and a table that is not laid out as described here
is an error, never a guess.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import json
import re
import struct
import tarfile
import zipfile
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.trust import name_constraints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FOLDER: Final = "./usr/lib/firefox-esr/"
_MEMBERS: Final = ("libxul.so", "libnss3.so", "browser/omni.ja", "application.ini")
_SETTINGS: Final = "defaults/settings/security-state/"

_AR_MAGIC: Final = b"!<arch>\n"
_AR_HEADER: Final = 60
"""Bytes of a member's header in a .deb (ar(5)): the name in the first 16, the size in decimal in 10 from byte 48."""

_LOADED: Final = 1
"""`PT_LOAD`, the type of a loaded segment."""
_WRITABLE: Final = 2
"""`PF_W`, the flag of a writable segment."""

_P256: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""How the SubjectPublicKeyInfo of every P-256 key begins (RFC 5480 section 2.1.1): most logs have one."""
_P256_BYTES: Final = 91
"""Its length."""
_KEY_BYTES_MAX: Final = 1024
"""Longest key of a log: RSA of 4096 bits has 550 bytes."""
_MILLISECONDS_MAX: Final = 1 << 42
"""The year 2109: what is larger is no time of a log's state."""

_LOG: Final = struct.Struct("<QIIQQQQ")
"""`CTLogInfo` of CTKnownLogs.h: name, state, format, time in milliseconds, operator, key, length of the key."""
_LOG_STATES: Final = ("usable", "retired")
"""`CTLogState`: admissible (which counts qualified, usable and read-only logs together) and retired."""
_LOG_KINDS: Final = ("rfc6962", "static-ct")
_OPERATOR: Final = struct.Struct("<QQ")
"""`CTLogOperatorInfo`: name, number."""
_PLACEHOLDER: Final = "Bogus "
"""How the names of entries begin that stand for no log."""

_ANCHOR: Final = struct.Struct("<QQQQQQQQQQQQQQ32s")
"""`Root` of the crate `trust_anchors`, as slices (address, length): label, certificate, trust for servers and for mail,
policy, last notBefore for servers and for mail; then the certificate's SHA-256."""
_SLICE: Final = struct.Struct("<QQ")
"""A slice of Rust: address and length. The certificate is the second of an anchor."""
_DISTRUST: Final = re.compile(rb"\d{12}Z")
"""`CKA_NSS_SERVER_DISTRUST_AFTER`: a UTCTime, or one zero byte for none."""

_ITEM: Final = struct.Struct("<QQQQQQ")
"""Two `SECItem` of NSS's table of name constraints: type, address and length, of the subject and of the extension."""


class PackageError(ValueError):
    """A file that is not the package, or a version of it that lays out its tables otherwise."""


class Package(NamedTuple):
    """The files that are read, from one package."""

    version: str
    files: dict[str, bytes]

    @property
    def source(self) -> str:
        """How data files name this source."""
        return f"Firefox ESR {self.version.removesuffix('.0')} of {self.date}, as packaged by Debian"

    @property
    def date(self) -> dt.date:
        """The day Firefox was built: up to then it knows of changes."""
        found = re.search(rb"^BuildID=(\d{8})", self.files["application.ini"], re.MULTILINE)
        if found is None:
            raise PackageError("application.ini: no BuildID")
        return dt.datetime.strptime(found[1].decode(), "%Y%m%d").replace(tzinfo=dt.UTC).date()

    def settings(self, name: str) -> dict[str, Any]:
        """A collection of Remote Settings, as the browser starts with it."""
        with zipfile.ZipFile(io.BytesIO(self.files["browser/omni.ja"])) as archive:
            content: dict[str, Any] = json.loads(archive.read(f"{_SETTINGS}{name}.json"))
        return content


def read(path: Path) -> Package:
    """Open a package. Raises `PackageError`."""
    with path.open("rb") as file:
        for name, size in _members(file, path):
            if name.startswith("data.tar"):
                return _unpack(io.BytesIO(file.read(size)), path)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise PackageError(f"{path}: no data.tar in it, so it is no Debian package")


def _members(file: io.BufferedReader, path: Path) -> Iterator[tuple[str, int]]:
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise PackageError(f"{path}: not a Debian package (ar archive)")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        yield header[:16].decode("ascii").rstrip(" /"), int(header[48:58])


def _unpack(data: io.BytesIO, path: Path) -> Package:
    files = {}
    with tarfile.open(fileobj=data) as archive:
        for member in archive:
            name = member.name.removeprefix(_FOLDER)
            if name in _MEMBERS and (content := archive.extractfile(member)) is not None:
                files[name] = content.read()
    if missing := set(_MEMBERS) - files.keys():
        raise PackageError(f"{path}: no {', '.join(sorted(missing))} in {_FOLDER}")
    found = re.search(rb"^Version=([0-9.]+)", files["application.ini"], re.MULTILINE)
    if found is None:
        raise PackageError(f"{path}: application.ini names no version")
    return Package(found[1].decode(), files)


class _Segment(NamedTuple):
    """A loaded part of a library: where it is in the file and in memory, and how much of it is in the file."""

    offset: int
    address: int
    size: int
    is_writable: bool


class Library:
    """A shared library (ELF, 64 bits, little-endian): its content by the addresses that it is loaded at."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise PackageError("not a 64-bit little-endian ELF file")
        self.data: Final = data

    @cached_property
    def _segments(self) -> tuple[_Segment, ...]:
        """Every loaded segment (System V ABI, program header)."""
        (start,) = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        headers = (struct.unpack_from("<IIQQQQQQ", self.data, start + number * size) for number in range(count))
        return tuple(
            _Segment(offset, address, length, is_writable=bool(flags & _WRITABLE))
            for kind, flags, offset, address, _, length, _, _ in headers
            if kind == _LOADED
        )

    def _offset_of(self, address: int) -> int | None:
        found = (s.offset + address - s.address for s in self._segments if 0 <= address - s.address < s.size)
        return next(found, None)

    def bytes_at(self, address: int, length: int) -> bytes | None:
        """The bytes at an address; None where the file has none."""
        offset = self._offset_of(address)
        return None if offset is None else self.data[offset : offset + length]

    def text_at(self, address: int) -> str | None:
        """The C string at an address, of at most 255 bytes."""
        found = self.bytes_at(address, 256)
        return None if found is None or b"\0" not in found else found.partition(b"\0")[0].decode("utf-8", "replace")

    def pointers_to(self, content: bytes) -> Iterator[int]:
        """The offsets of all pointers to the start of this content. They are relocated, so writable."""
        for offset in _occurrences(self.data, content):
            address = next(s.address + offset - s.offset for s in self._segments if 0 <= offset - s.offset < s.size)
            for segment in self._segments:
                if segment.is_writable:
                    pointer = struct.pack("<Q", address)
                    yield from _occurrences(self.data, pointer, segment.offset, segment.offset + segment.size)


def _occurrences(data: bytes, content: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    offset = data.find(content, start, end)
    while offset >= 0:
        yield offset
        offset = data.find(content, offset + 1, end)


def logs(package: Package) -> list[dict[str, Any]]:
    """The logs of Firefox's CT policy, as records that `build_data.py logs` merges. Raises `PackageError`.

    The table says since when a log is in its state, and which operator runs it by a number that a second table, right
    after the first one, names.
    """
    library = Library(package.files["libxul.so"])
    start = next(
        (
            offset - _LOG.size + 16
            for key in set(_keys(library.data))
            for offset in library.pointers_to(key)
            if _log_at(library, offset - _LOG.size + 16) is not None
        ),
        None,
    )
    if start is None:
        raise PackageError("libxul.so: no table of CT logs")
    while _log_at(library, start - _LOG.size) is not None:
        start -= _LOG.size
    rows = []
    while (row := _log_at(library, start)) is not None:
        rows.append(row)
        start += _LOG.size
    operators: list[str] = []
    while (name := _operator_at(library, start, number=len(operators))) is not None:
        operators.append(name)
        start += _OPERATOR.size
    if not rows or max(row[4] for row in rows) >= len(operators):
        raise PackageError("libxul.so: the table of CT logs names operators that are not in the next table")
    return [
        {
            "log_id": _base64(hashlib.sha256(key).digest()),
            "key": _base64(key),
            "operator": operators[operator],
            "description": name,
            "kind": _LOG_KINDS[kind],
            "state": _LOG_STATES[state],
            "since": dt.datetime.fromtimestamp(since / 1000, dt.UTC).isoformat(),
        }
        for name, state, kind, since, operator, key in rows
        if not name.startswith(_PLACEHOLDER)
    ]


def _keys(data: bytes) -> Iterator[bytes]:
    """Everything in the library that begins as a key of a log does."""
    for offset in _occurrences(data, _P256):
        yield data[offset : offset + _P256_BYTES]


def _log_at(library: Library, offset: int) -> tuple[str, int, int, int, int, bytes] | None:
    """The entry of the table at this offset; None where there is none."""
    if not 0 <= offset <= len(library.data) - _LOG.size:
        return None
    name_at, state, kind, since, operator, key_at, length = _LOG.unpack_from(library.data, offset)
    name, key = library.text_at(name_at), library.bytes_at(key_at, length)
    plausible = state < len(_LOG_STATES) and kind < len(_LOG_KINDS) and since < _MILLISECONDS_MAX
    if not name or not plausible or not key or not length <= _KEY_BYTES_MAX or key[:1] != b"\x30":
        return None
    return name, state, kind, since, operator, key


def _operator_at(library: Library, offset: int, *, number: int) -> str | None:
    name_at, found = _OPERATOR.unpack_from(library.data, offset)
    return library.text_at(name_at) if found == number else None


def anchors(package: Package, certificates: Iterable[bytes]) -> dict[bytes, dt.date | None]:
    """For each of these root certificates (DER) that Firefox has, by SHA-256: the last notBefore that it takes.

    Raises `PackageError` when it has none of them.
    """
    library = Library(package.files["libxul.so"])
    found = {}
    for certificate in certificates:
        sha256 = hashlib.sha256(certificate).digest()
        for offset in library.pointers_to(certificate):
            anchor = _ANCHOR.unpack_from(library.data, offset - _SLICE.size)
            if anchor[-1] == sha256 and anchor[3] == len(certificate):
                limit = library.bytes_at(anchor[10], anchor[11])
                found[sha256] = _day(limit) if limit and _DISTRUST.fullmatch(limit) else None
    if not found:
        raise PackageError("libxul.so: no table of trust anchors")
    return found


def _day(utc_time: bytes) -> dt.date:
    return dt.datetime.strptime(utc_time.decode(), "%y%m%d%H%M%SZ").replace(tzinfo=dt.UTC).date()


def permitted_names(package: Package, subjects: Iterable[bytes]) -> dict[bytes, tuple[str, ...]]:
    """The DNS suffixes that NSS limits some of these subjects (DER) to.

    Raises `PackageError` for a constraint of any other form: data files have no field for it.
    """
    library = Library(package.files["libnss3.so"])
    found = {}
    for subject in set(subjects):
        for offset in library.pointers_to(subject):
            _, _, length, _, at, size = _ITEM.unpack_from(library.data, offset - _SLICE.size // 2)
            extension = library.bytes_at(at, size) if length == len(subject) else None
            if extension:
                found[subject] = _suffixes(extension)
    return found


def _suffixes(extension: bytes) -> tuple[str, ...]:
    read = name_constraints.read_constraints(extension, critical=True)
    if read.permitted_forms != {name_constraints.DNS_NAME} or read.excluded:
        raise PackageError("libnss3.so: a name constraint that is no list of permitted DNS names")
    return tuple(sorted(str(value) for _, value in read.permitted))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
