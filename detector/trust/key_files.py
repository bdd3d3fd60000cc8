"""Files of Ed25519 keys, as witnesses and evidence bundles are signed with (RFC 8032, RFC 8410).

Room: trust. Reads, or newly writes, the one file it is pointed to.

A private key is PKCS #8 in PEM (RFC 5958, RFC 7468), a public one SubjectPublicKeyInfo in PEM. A private key that
other users of the machine can read, or others than its owner can write, is refused: with it they could sign in the
owner's place. Its group may read it, because that is how service managers hand a key to a service.
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

KEY_FILE_BYTES_MAX: Final = 16 * 1024
"""Octets of a key file that are read: a key has 120, with comments a little more."""

_TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO
"""Permissions that a private key must not have: writable by the group, anything for others."""

_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
"""Permissions of a new private key; where files have none, the directory has to protect it."""

_MAKE_ONE: Final = "Make one with `detector witness keygen`, or `openssl genpkey -algorithm ed25519`."


def load_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """The private key in a PEM file (PKCS #8, not encrypted).

    Raises `KeyFileError` naming the file: it cannot be read, others may read it, it is encrypted or no Ed25519 key.
    """
    data = _read(path, private=True)
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
    """Make a new private key and write it (PEM, PKCS #8) to a new file that only its owner can read.

    Raises `OutputError` when there is such a file already, or it cannot be written: a key is never overwritten.
    """
    path = Path(path)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise OutputError(
            f"{path}: there is such a file, and a key is never overwritten.",
            advice="Name a new file; how to exchange a witness's key is in docs/witness.md.",
        ) from None
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(pem)
    except OSError as error:
        path.unlink()
        raise _unwritable(path, error) from None
    return key


def load_public_key(path: str | Path) -> bytes:
    """The 32 octets of the public key in a PEM file (SubjectPublicKeyInfo). Raises `KeyFileError` naming the file."""
    data = _read(path, private=False)
    advice = "Give the public key as `openssl pkey -in KEY.pem -pubout` writes it."
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: no public key in PEM.", advice=advice) from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: not an Ed25519 key.", advice=advice)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _read(path: str | Path, *, private: bool) -> bytes:
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise KeyFileError(f"{path}: cannot be read ({reason}).", advice="Name a readable PEM file.") from error
    if private and os.name == "posix" and mode & _TOO_OPEN:
        raise KeyFileError(
            f"{path}: others than its owner may use this private key (mode {stat.S_IMODE(mode):o}).",
            advice=f"Take their permissions away: chmod 600 {path}",
        )
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: too large for a key.", advice="Name a file that holds one key in PEM.")
    return data


def _unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputError(f"{path}: cannot be written ({reason}).", advice="Name a file in a directory you may write to.")
