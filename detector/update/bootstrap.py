"""The root metadata that trust in a repository begins with: the one that comes with the package, or a file.

Room: update. Reads the package's own root, or the file that is named.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from detector.errors import InputError
from detector.model.files import read_file

ROOT_BYTES_MAX: Final = 64 * 1024
"""Largest root metadata read, in bytes: one with five keys has 3 KiB."""
SHIPPED: Final = Path(__file__).with_name("data") / "root.json"
"""The root that comes with the package."""
TEST_MARK: Final = "x-test-root"
"""A field of the signed part of a root that was made for tests: its private keys are kept by nobody with care."""


class TestRoot(enum.StrEnum):
    """Whether a root that is marked as made for tests may be used."""

    __test__ = False  # pytest collects what is called so

    REFUSE = "refuse"
    ALLOW = "allow"


def read(root: str | Path | None, test_root: TestRoot) -> bytes:
    """The root metadata to begin with. Raises `InputError` for anything else, and for a test root that is refused."""
    if root is None and not SHIPPED.is_file():
        raise InputError("This package comes without a root of a repository.", advice="Name one: --root FILE.")
    path = SHIPPED if root is None else Path(root)
    data = read_file(path, most=ROOT_BYTES_MAX, kind="root metadata", error=InputError)
    try:
        signed = Metadata[Root].from_bytes(data).signed
    except (RepositoryError, ValueError) as error:
        raise InputError(
            f"{path}: not the root metadata of a repository.", advice="Take it from the publisher of the repository."
        ) from error
    if test_root is TestRoot.REFUSE and signed.unrecognized_fields.get(TEST_MARK) is not None:
        raise InputError(
            f"The root {'that comes with this package' if root is None else path} is marked as made for tests: nobody "
            "keeps its private keys with care, so what it signs can be trusted by nobody.",
            advice="Name the publisher's root: --root FILE. To try the update itself: --allow-test-root.",
        )
    return data
