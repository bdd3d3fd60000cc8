"""Keeps the secrets of webhooks in a file that only its owner may read, so that no dump of the database has them.

Room: detector_collect.review.outwards. Reads and replaces the one file that is named.

The file is JSON: receivers by number, each with one secret, or two while one is replaced. Receivers accept either.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

import msgspec

from detector.errors import KeyFileError
from detector.model.files import read_file, unwritable
from detector.model.private_files import create_private

from .webhooks import SECRET_BYTES, decode_secret, encode_secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE_BYTES_MAX: Final = 1024 * 1024
"""Bytes of the file: some thousand receivers."""
_TOO_OPEN: Final = stat.S_IRWXG | stat.S_IRWXO


def load(path: Path) -> dict[int, tuple[bytes, ...]]:
    """The secrets of each receiver, the newest first. Raises `KeyFileError`."""
    data = read_file(path, most=FILE_BYTES_MAX, kind="file of webhook secrets", error=KeyFileError)
    if os.name == "posix" and path.stat().st_mode & _TOO_OPEN:
        raise KeyFileError(f"{path}: other users may read it.", advice=f"Remove their permissions: chmod 600 {path}")
    try:
        read = msgspec.json.decode(data, type=dict[int, list[str]])
        return {receiver: tuple(map(decode_secret, texts)) for receiver, texts in read.items()}
    except ValueError:
        raise KeyFileError(
            f"{path}: not a file of webhook secrets.", advice="Restore it, or remove and add the receivers again."
        ) from None


def add(path: Path, receiver: int) -> str:
    """Make a secret for a receiver and write it; its newest earlier one is kept next to it. Returns the new one.

    Raises `KeyFileError` and `OutputError`.
    """
    known = load(path) if path.exists() else {}
    secret = secrets.token_bytes(SECRET_BYTES)
    _write(path, {**known, receiver: (secret, *known.get(receiver, ())[:1])})
    return encode_secret(secret)


def retire(path: Path, receiver: int) -> None:
    """Remove every secret of a receiver but the newest. Raises `KeyFileError` and `OutputError`."""
    known = load(path)
    _write(path, {**known, receiver: known.get(receiver, ())[:1]})


def remove(path: Path, receiver: int) -> None:
    """Remove the secrets of a receiver. Raises `KeyFileError` and `OutputError`."""
    _write(path, {number: kept for number, kept in load(path).items() if number != receiver})


def _write(path: Path, known: Mapping[int, Sequence[bytes]]) -> None:
    content = msgspec.json.encode({number: [encode_secret(one) for one in of] for number, of in known.items() if of})
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(create_private(new), "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except (OSError, ValueError) as error:
        new.unlink(missing_ok=True)
        raise unwritable(str(path), error) from None
