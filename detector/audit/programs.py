"""Runs the operating system's programs that print what it trusts: bounded in time and output, without a shell.

Room: audit. Starts processes. `StoreError` is the only exception that it raises.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.frozen import system_environment

from .files import BUNDLE_BYTES_MAX, StoreError, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Run = Callable[[Sequence[str]], bytes]

SECONDS_MAX: Final = 20.0
"""Seconds for one program: `trust dump` and `security` answer in one or two, slow machines in a few more."""
_OUTPUT_BYTES_MAX: Final = 2 * BUNDLE_BYTES_MAX
"""Bytes of output that are read: PEM with attributes of a few hundred roots has about 1 MB."""
_SAID_MAX: Final = 200
"""Characters of a program's error message that are kept."""


class ProgramError(StoreError):
    """A program failed; `said` is what it wrote to stderr, bounded."""

    def __init__(self, name: str, status: int, said: str) -> None:
        super().__init__(f"{name} failed with status {status}")
        self.said = said


def run(command: Sequence[str]) -> bytes:
    """The output of a program, which must succeed in time. Raises `StoreError`."""
    name = " ".join(Path(word).name for word in command[:2])
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        try:
            done = subprocess.run(  # noqa: S603 - fixed programs with fixed arguments
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
                timeout=SECONDS_MAX,
                check=False,
                env=system_environment(),
            )
        except OSError as error:
            raise StoreError(f"{name} cannot be run ({error.strerror})") from error
        except subprocess.TimeoutExpired as error:
            raise StoreError(f"{name} took longer than {SECONDS_MAX:.0f} seconds") from error
        complaints.seek(0)
        said = complaints.read(_SAID_MAX).decode("utf-8", "replace")
        if done.returncode != 0:
            raise ProgramError(name, done.returncode, said)
        output.seek(0)
        data = output.read(_OUTPUT_BYTES_MAX + 1)
    if len(data) > _OUTPUT_BYTES_MAX:
        raise StoreError(f"{name} printed more than {_OUTPUT_BYTES_MAX // 1024 // 1024} MiB")
    return data


def run_into_file(command: Sequence[str]) -> bytes:
    """What a program writes to the file named by its last argument, which is appended here. Raises `StoreError`."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "output")
        run([*command, str(target)])
        try:
            return read_file(target, _OUTPUT_BYTES_MAX)[0]
        except FileNotFoundError as error:
            raise StoreError(f"{Path(command[0]).name} wrote no file") from error
