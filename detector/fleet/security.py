"""How the parts of a fleet know each other: mutual TLS with the certificates of one folder.

Room: fleet. Reads the folder's files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.errors import InputError, MissingExtraError

from .certificates import files

try:
    from distributed import Security
except ImportError as error:
    raise MissingExtraError("A fleet needs Dask's distributed.", extra="fleet") from error

if TYPE_CHECKING:
    from pathlib import Path


def security(folder: str | Path, part: str) -> Security:
    """The engine's settings for one part (`scheduler`, `worker` or `client`). Raises `InputError`."""
    found = files(folder, part)
    for file in found:
        if not file.is_file():
            raise InputError(
                f"--tls {folder}: {file.name} is not there.",
                advice="Make the files with `detector fleet certificates`, and give this machine those of its part.",
            )
    own = {f"tls_{part}_cert": str(found.certificate), f"tls_{part}_key": str(found.key)}
    return Security(tls_ca_file=str(found.ca), require_encryption=True, **own)
