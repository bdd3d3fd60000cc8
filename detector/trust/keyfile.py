"""Files of private signing keys: Ed25519 in PKCS #8 PEM (RFC 8410, RFC 7468), readable by their owner only.

Room: trust. Reads and writes the files it is given; no socket, no clock.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from detector.errors import KeyFileError, OutputError

KEY_FILE_OCTETS_MAX: Final = 16 * 1024
"""Octets read of a key file. One key has 119; the rest is room for text around it."""

OWNER_ONLY: Final = 0o600
"""Mode of a new key file; where files have no modes, the directory has to protect it."""

_ADVICE: Final = "Make one with `detector witness keygen -o FILE`."


def load(path: str | Path) -> Ed25519PrivateKey:
    """Read a signing key. Raises `KeyFileError` that names the file; nothing of its content is in the message."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(KEY_FILE_OCTETS_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        reason = getattr(error, "strerror", None) or "the name cannot be one"
        raise KeyFileError(f"Signing key {path}: cannot be read ({reason}).", advice=_ADVICE) from None
    if len(data) > KEY_FILE_OCTETS_MAX:
        raise KeyFileError(f"Signing key {path}: larger than {KEY_FILE_OCTETS_MAX} octets.", advice=_ADVICE)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(
            f"Signing key {path}: encrypted with a passphrase.",
            advice="A server that starts by itself cannot ask for one; keep the key unencrypted, mode 0600.",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"Signing key {path}: no PEM private key in it.", advice=_ADVICE) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"Signing key {path}: not an Ed25519 key.", advice=_ADVICE)
    return key


def create(path: str | Path) -> Ed25519PrivateKey:
    """Make a new signing key and write it to a new file that only its owner can read.

    Raises `OutputError` when there is such a file already, or it cannot be written: a key is never overwritten.
    """
    path = Path(path)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        raise OutputError(
            f"Signing key {path}: there is such a file, and a key is never overwritten.",
            advice="Name a new file; to replace a key, follow the rotation in docs/witness.md.",
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


def _unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    reason = getattr(error, "strerror", None) or "the name cannot be one"
    return OutputError(
        f"Signing key {path}: cannot be written ({reason}).", advice="Name a file in a directory you may write to."
    )
