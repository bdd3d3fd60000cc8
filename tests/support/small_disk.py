"""A small filesystem in memory that fills up.

Room: tests. Takes root, as network namespaces do. It is mounted for everybody: SQLite resolves the names of its files,
so that it would not follow a path into another mount namespace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator


class SmallDisk:
    """A filesystem at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, leave: int = 0) -> None:
        """Take all the room that there is, but for so many bytes."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(max(0, file.tell() - leave))

    def free(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink()

    def is_full(self) -> bool:
        """Whether another page finds no room."""
        try:
            with (self.path / "probe").open("wb", buffering=0) as file:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return True
        finally:
            (self.path / "probe").unlink(missing_ok=True)
        return False


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Iterator[SmallDisk]:
    """A filesystem of that size until the block ends."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting takes root")
    with tempfile.TemporaryDirectory(prefix="detector-disk-") as folder:
        mounting = ["-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0777", "tmpfs", folder]
        subprocess.run([program("mount"), *mounting], check=True)  # noqa: S603 - mount
        try:
            yield SmallDisk(Path(folder))
        finally:
            subprocess.run([program("umount"), "--lazy", folder], check=True)  # noqa: S603 - umount
