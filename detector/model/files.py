"""Reads a file that a user named, bounded, or says in one sentence why it could not; the same for one to be written.

Room: model. Reads the one file that is named.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from detector.errors import DetectorError, NoRoomError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.errors import InputError

NO_ROOM: Final = frozenset(
    {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no quota error
)
"""Errors of writing to a full or broken device, which no connection ends with (POSIX.1-2017, write)."""


def read_file(path: str | Path, *, most: int, kind: str, error: type[InputError]) -> bytes:
    """Read a file of at most `most` bytes. `kind` names it in messages ("pin file").

    Raises `error` when the file cannot be read or is larger.
    """
    try:
        with Path(path).open("rb") as file:  # the size of a device or a pipe is known once it has been read
            data = file.read(most + 1)
    except (OSError, ValueError) as problem:  # ValueError: a NUL character in the name
        raise unreadable(path, problem, kind=kind, error=error) from problem
    if len(data) > most:
        raise error(f"{path}: larger than {most} bytes.", advice=f"Name a smaller {kind}, or split it.")
    return data


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file of a directory that others may have written to, and never wait: a pipe without a writer would.

    Raises OSError, also for what is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")  # noqa: PTH123 - of a descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def unreadable(path: str | Path, problem: OSError | ValueError, *, kind: str, error: type[InputError]) -> InputError:
    """The error for a file that the system refuses to read."""
    return error(
        f"{path}: the {kind} cannot be read: {reason_of(problem)}.", advice="Name an existing file that you may read."
    )


_ELSEWHERE: Final = "Name a file in a directory you may write to."


@contextlib.contextmanager
def writing(what: str, advice: str = _ELSEWHERE) -> Iterator[None]:
    """Raise what the system refuses within the block as `unwritable` says."""
    try:
        yield
    except DetectorError:
        raise
    except (OSError, ValueError) as problem:  # ValueError: a NUL character in the name
        raise unwritable(what, problem, advice) from problem


def unwritable(what: str, problem: OSError | RuntimeError | ValueError, advice: str = _ELSEWHERE) -> OutputError:
    """The error for a file that cannot be written; `what` names the option with its value, `advice` holds with room."""
    words = f"{what}: cannot be written ({reason_of(problem)})."
    if isinstance(problem, OSError) and problem.errno in NO_ROOM:
        return NoRoomError(words, advice="Make room on that device, or name a file elsewhere.")
    return OutputError(words, advice=advice)


def reason_of(problem: Exception) -> str:
    """The system's reason for an error, without the path."""
    return problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
