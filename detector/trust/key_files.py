"""Files of keys: of Ed25519, which sign witness statements and evidence bundles (RFC 8032, RFC 8410), and of others.

Room: trust. Reads, or creates, the one file that is named.

A private key is PKCS #8 in PEM (RFC 5958, RFC 7468), a public one SubjectPublicKeyInfo in PEM. A private key that other
users of the machine can read, or its group can write, is refused: they could sign in the owner's place. The group may
read it, because service managers give keys to services that way.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from detector.errors import KeyFileError, OutputError
from detector.model.files import unreadable, unwritable
from detector.model.private_files import create_private

KEY_FILE_BYTES_MAX: Final = 16 * 1024
"""Largest key file, in bytes: a key has 120, with comments a little more."""

_TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO
"""Permissions that a private key must not have: writable by the group, any for others."""

_MAKE_ONE: Final = "Make one with `detector witness keygen`, or `openssl genpkey -algorithm ed25519`."


def load_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """Load the private key in a PEM file (PKCS #8, not encrypted).

    Raises `KeyFileError` when it cannot be read, others may read it, it is encrypted or not an Ed25519 key.
    """
    data = read_key_file(path, private=True)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(
            f"{path}: the key is encrypted.", advice="Decrypt it into a file that only you can read (openssl pkey)."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: no private key in PEM.", advice=_MAKE_ONE) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: not an Ed25519 key.", advice=_MAKE_ONE)
    return key


def create_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """Generate a private key and write it (PEM, PKCS #8) to a new file that only its owner can read.

    Raises `OutputError` when the file exists, because a key is never overwritten, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    create_key_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def create_key_file(path: str | Path, data: bytes) -> None:
    """Write a key to a new file that only its owner can read.

    Raises `OutputError` when the file exists, because a key is never overwritten, or cannot be written.
    """
    path = Path(path)
    try:
        descriptor = create_private(path)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(data)
        except OSError:
            path.unlink()
            raise
    except FileExistsError:
        raise OutputError(
            f"{path}: the file exists, and a key is never overwritten.",
            advice="Name a new file; how to replace a key is in docs/witness.md.",
        ) from None
    except (OSError, ValueError) as error:
        raise unwritable(str(path), error) from None


def load_public_key(path: str | Path) -> bytes:
    """Load the public key in a PEM file (SubjectPublicKeyInfo), 32 raw bytes. Raises `KeyFileError`."""
    data = read_key_file(path, private=False)
    advice = "Give the public key as `openssl pkey -in KEY.pem -pubout` writes it."
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: no public key in PEM.", advice=advice) from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: not an Ed25519 key.", advice=advice)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_key_file(path: str | Path, *, private: bool) -> bytes:
    """Read the bytes of a key file; of a `private` one, others must not be able to. Raises `KeyFileError`."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        raise unreadable(path, error, kind="key file", error=KeyFileError) from error
    if private and os.name == "posix" and mode & _TOO_OPEN:
        raise KeyFileError(
            f"{path}: other users may read or replace this private key (mode {stat.S_IMODE(mode):o}).",
            advice=f"Remove their permissions: chmod 600 {path}",
        )
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: too large for a key.", advice="Name a file that holds one key.")
    return data
