"""A small filesystem in memory, in a mount namespace of its own, that fills up.

Room: tests. Takes root, as network namespaces do. Nothing of it is left when its last process has ended.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator


class SmallDisk:
    """Where it is for processes started with `prefix` (`inside`), and for all others of root (`outside`)."""

    def __init__(self, folder: str, holder: int) -> None:
        self.inside = Path(folder)
        self.outside = Path(f"/proc/{holder}/root{folder}")
        self.prefix = (program("nsenter"), "--mount", "--target", str(holder), "--")

    def fill(self, leave: int = 0) -> None:
        """Take all the room that there is, but for so many bytes."""
        with (self.outside / "ballast").open("ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(max(0, file.tell() - leave))

    def free(self) -> None:
        """Give the room back."""
        (self.outside / "ballast").unlink()

    def is_full(self) -> bool:
        """Whether another page finds no room."""
        try:
            with (self.outside / "probe").open("wb", buffering=0) as file:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return True
        finally:
            (self.outside / "probe").unlink(missing_ok=True)
        return False


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Iterator[SmallDisk]:
    """A filesystem of that size until the block ends."""
    with tempfile.TemporaryDirectory(prefix="detector-disk-") as folder:
        Path(folder).chmod(0o755)
        mounting = f"mount -t tmpfs -o size={mebibytes}m,mode=0777 tmpfs {folder} && echo && exec sleep infinity"
        holder = subprocess.Popen(  # noqa: S603 - unshare
            [program("unshare"), "--mount", "--propagation", "private", "sh", "-c", mounting], stdout=subprocess.PIPE
        )
        with holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"\n", "the filesystem could not be mounted"
                yield SmallDisk(folder, holder.pid)
            finally:
                holder.kill()
