"""Makes what trust stores look like from outside: NSS databases, p11-kit dumps, exported trust settings.

Written after the formats' definitions in NSS (lib/softoken/sdb.c), p11-kit (trust/persist.c) and `security`.
"""

from __future__ import annotations

import contextlib
import hashlib
import plistlib
import sqlite3
from typing import TYPE_CHECKING, Any

from cryptography import x509
from detector_testing.pki import to_pem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NSS_ANCHOR, NSS_REFUSED, NSS_PEER = 0xCE534352, 0xCE53435A, 0xCE534351
PKCS_ANCHOR, PKCS_REFUSED = 2, 3


def ulong(value: int) -> bytes:
    """A CK_ULONG as NSS stores it."""
    return value.to_bytes(4, "big")


def identity(der: bytes) -> tuple[bytes, bytes]:
    """CKA_ISSUER and CKA_SERIAL_NUMBER of a certificate, both DER."""
    certificate = x509.load_der_x509_certificate(der)
    number = certificate.serial_number
    raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return certificate.issuer.public_bytes(), bytes((2, len(raw))) + raw


def nss_database(path: Path, entries: Iterable[tuple[bytes, int | None]], *, pkcs: bool = False) -> Path:
    """A cert9.db of (certificate, trust for TLS servers or None). `pkcs`: with the newer class of trust objects."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE nssPublic (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, a0, a1, a3, a11, a81, a82, a101, "
            + ("a62c, " if pkcs else "")
            + "ace536358, ace536359, ace5363b4)"
        )
        database.execute("CREATE TABLE metaData (id PRIMARY KEY UNIQUE ON CONFLICT REPLACE, item1, item2)")
        for number, (der, trust) in enumerate(entries):
            issuer, serial = identity(der)
            database.execute(
                "INSERT INTO nssPublic (id, a0, a3, a11, a81, a82) VALUES (?, ?, ?, ?, ?, ?)",
                (2 * number, ulong(1), b"name", der, issuer, serial),
            )
            if trust is not None:
                kind, column = (0xB, "a62c") if pkcs else (0xCE534353, "ace536358")
                database.execute(
                    f"INSERT INTO nssPublic (id, a0, a81, a82, {column}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - ours
                    (2 * number + 1, ulong(kind), issuer, serial, ulong(trust)),
                )
    return path


def p11_object(der: bytes, *attributes: str) -> bytes:
    """One certificate object as `trust dump` prints it."""
    head = "\n".join(("# pkcs11:token=System%20Trust;type=cert", "[p11-kit-object-v1]", *attributes, ""))
    return head.encode() + to_pem(der) + b"\n"


def trust_settings(*entries: tuple[bytes, dict[str, Any]]) -> bytes:
    """What `security trust-settings-export` writes for these (certificate, entry) pairs."""
    listed = {hashlib.sha1(der, usedforsecurity=False).hexdigest().upper(): entry for der, entry in entries}
    return plistlib.dumps({"trustList": listed, "trustVersion": 1})
