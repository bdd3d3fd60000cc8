"""A registry of Windows from its own export format, behind the interfaces that Python has for the real one.

Room: tests. `Registry` reads what `reg export` writes (version 5.00: UTF-16 with a byte order mark, a section for each
key) and stands for the module `winreg`, as far as the program uses it. `Registry.enumerate` stands for
`ssl.enum_certificates`: it decodes certificates from their values `Blob`, which hold properties of the certificate
(MS-GPEF and wincrypt.h: number, 1, length, bytes); `blob` makes one, and `exported` the section of a key.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Value = int | str | bytes

HEADER: Final = "Windows Registry Editor Version 5.00"
HIVES: Final = {"HKEY_LOCAL_MACHINE": 0x80000002, "HKEY_CURRENT_USER": 0x80000001}
_CERTIFICATE: Final = 32  # CERT_CERT_PROP_ID
_SHA1: Final = 3  # CERT_SHA1_HASH_PROP_ID
_USAGES: Final = 9  # CERT_ENHKEY_USAGE_PROP_ID
_PROPERTY: Final = struct.Struct("<III")
_VALUE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"=(.*)')


def blob(der: bytes, usages: bytes = b"") -> bytes:
    """The value of a certificate in a store; `usages` is its property of that name, in DER."""
    properties = {_SHA1: hashlib.sha1(der, usedforsecurity=False).digest(), _USAGES: usages, _CERTIFICATE: der}
    return b"".join(_PROPERTY.pack(number, 1, len(data)) + data for number, data in properties.items() if data)


def exported(key: str, certificates: Sequence[bytes]) -> str:
    """The sections of a store's certificates (values of `blob`), as an export has them: bytes in lines of 80."""
    sections = []
    for value in certificates:
        name = hashlib.sha1(dict(_properties(value))[_CERTIFICATE], usedforsecurity=False).hexdigest().upper()
        line, lines = '"Blob"=hex:', []
        for byte in value:
            if len(line) > 76:
                lines.append(line + "\\")
                line = "  "
            line += f"{byte:02x},"
        sections.append("\n".join([f"[{key}\\{name}]", *lines, line.removesuffix(","), ""]))
    return "\n".join(sections)


def _properties(value: bytes) -> Iterator[tuple[int, bytes]]:
    while value:
        number, _, length = _PROPERTY.unpack_from(value)
        yield number, value[_PROPERTY.size : _PROPERTY.size + length]
        value = value[_PROPERTY.size + length :]


class Registry:
    """The module `winreg` over an export. `written` is the time of every key, in units of FILETIME."""

    HKEY_LOCAL_MACHINE = HIVES["HKEY_LOCAL_MACHINE"]
    HKEY_CURRENT_USER = HIVES["HKEY_CURRENT_USER"]

    def __init__(self, export: bytes, *, written: int = 0) -> None:
        text = export.decode("utf-16").replace("\r\n", "\n").replace("\\\n  ", "")
        header, *sections = re.split(r"^\[", text, flags=re.MULTILINE)
        assert header.strip() == HEADER
        self.written = written
        self.keys: dict[tuple[int, str], dict[str, Value]] = {}
        for section in sections:
            name, _, body = section.partition("]\n")
            hive, _, path = name.partition("\\")
            self.keys[HIVES[hive], path.lower()] = {
                found[1]: _value(found[2]) for line in body.splitlines() if (found := _VALUE.fullmatch(line))
            }

    @contextlib.contextmanager
    def OpenKey(self, hive: int, path: str) -> Iterator[dict[str, Value]]:  # noqa: N802 - winreg's name
        """Open a key; names differ by no letter's case."""
        if (hive, path.lower()) not in self.keys:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        yield self.keys[hive, path.lower()]

    def QueryValueEx(self, key: dict[str, Value], name: str) -> tuple[Value, int]:  # noqa: N802 - winreg's name
        """Return a value and its type."""
        if name not in key:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        kinds: dict[type, int] = {str: 1, bytes: 3, int: 4}  # REG_SZ, REG_BINARY, REG_DWORD
        return key[name], kinds[type(key[name])]

    def QueryInfoKey(self, key: dict[str, Value]) -> tuple[int, int, int]:  # noqa: N802 - winreg's name
        """Return the numbers of keys and of values, and the time."""
        return 0, len(key), self.written

    def enumerate(self, store: str) -> list[tuple[bytes, str, bool | frozenset[str]]]:
        """The certificates of a logical store: of every key whose path names it, AuthRoot's in ROOT as well."""
        names = {store.lower(), *(["authroot"] if store == "ROOT" else [])}
        found: list[tuple[bytes, str, bool | frozenset[str]]] = []
        for (_, path), values in self.keys.items():
            parts = path.split("\\")
            if parts[-3:-2] and parts[-3] in names and isinstance(value := values.get("Blob"), bytes):
                properties = dict(_properties(value))
                usages = frozenset(_identifiers(properties[_USAGES])) if _USAGES in properties else True
                found.append((properties[_CERTIFICATE], "x509_asn", usages))
        return found


def _value(text: str) -> Value:
    """One value of an export: text, a number, or bytes."""
    if text.startswith("dword:"):
        return int(text.removeprefix("dword:"), 16)
    if text.startswith("hex:"):
        return bytes.fromhex(text.removeprefix("hex:").replace(",", ""))
    return re.sub(r"\\(.)", r"\1", text.strip('"'))


def _identifiers(der: bytes) -> Iterator[str]:
    """The object identifiers of a SEQUENCE OF OBJECT IDENTIFIER, all of them short."""
    rest = der[2:]
    while rest:
        body, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        numbers, last = [body[0] // 40, body[0] % 40], 0
        for byte in body[1:]:
            last = last << 7 | byte & 0x7F
            if byte < 0x80:
                numbers.append(last)
                last = 0
        yield ".".join(map(str, numbers))
