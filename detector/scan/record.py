"""What a scan has done so far, so that a killed one continues where it was: no target lost, none scanned twice.

Room: scan. Reads and writes the two files it is given.

The output is authoritative: one line of JSON per target, with the target's number. The state file next to it says which
scan it belongs to and, at each checkpoint, how far the output was complete. To resume, the output is read from there:
every complete line counts, a torn last line is cut off. So, whenever the process was killed, a target whose result was
written is never probed again, and any other is.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from detector.errors import InputError, OutputError
from detector.model import json_text
from detector.model.files import unwritable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION: Final = 2
"""Version of the state file."""

CHECKPOINT_LINES: Final = 1000
"""Results between two checkpoints: reading so many lines again takes a tenth of a second."""

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of one line of output that are read back; a result with the largest chain that is kept has under 40 MiB."""

STATE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of a state file; one for 10^8 targets, none of them out of order, has a few hundred."""


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint. `done_below` and `done` say which targets have a line in the first `output_bytes` bytes."""

    version: int = VERSION
    scan: str
    started: dt.datetime
    output_bytes: int
    done_below: int
    done: tuple[int, ...] = ()


class _Numbered(msgspec.Struct, frozen=True):
    """The fields of a line of output that matter here."""

    number: int
    amends: bool = False


class Done:
    """Which numbers are done: all below `below`, and those in a set that stays as small as the targets in flight."""

    def __init__(self, below: int = 0, beyond: Iterable[int] = ()) -> None:
        self.below = below
        self._beyond = set(beyond)

    def __contains__(self, number: int) -> bool:
        return number < self.below or number in self._beyond

    def add(self, number: int) -> None:
        """Mark `number` as done."""
        if number >= self.below:
            self._beyond.add(number)
        while self.below in self._beyond:
            self._beyond.remove(self.below)
            self.below += 1

    @property
    def count(self) -> int:
        """How many are done."""
        return self.below + len(self._beyond)

    @property
    def beyond(self) -> tuple[int, ...]:
        """What is done out of order."""
        return tuple(sorted(self._beyond))


class ScanRecord:
    """The output of one scan with its state file.

    `scan` identifies what is scanned; `now` is when it started, unless the state file knows an earlier start.

    Raises:
        InputError: the state file is another scan's or cannot be read.
        OutputError: a file cannot be written.
    """

    def __init__(self, state: str | Path, output: str | Path, *, scan: str, now: dt.datetime) -> None:
        self._path = Path(state)
        self._output_path = Path(output)
        self._scan = scan
        self.started = now
        self.done = Done()
        self._since = 0
        try:
            self.resumed = self._path.exists()
            self._check_files()
            self._output: IO[bytes] = self._open_again() if self.resumed else self._open_new()
        except OSError as error:
            raise unwritable(
                f"--resume {state}, --output {output}", error, "Name files in a directory you may write to."
            ) from error
        self._earlier_bytes = self._output.tell()
        self._checkpoint()

    def earlier(self) -> Iterator[bytes]:
        """The lines that earlier runs of this scan wrote. What is said of the whole scan must count them, too.

        Raises `OutputError`.
        """
        try:
            with self._output_path.open("rb") as stream:
                while stream.tell() < self._earlier_bytes and (line := stream.readline(LINE_BYTES_MAX)):
                    yield line
        except OSError as error:
            raise OutputError(
                f"--output {self._output_path}: cannot be read ({error.strerror}).",
                advice="Make it readable and run the same command again.",
            ) from error

    def _check_files(self) -> None:
        """Both must be regular files, which can be read again, and not the same one."""
        for option, place in (("--resume", self._path), ("--output", self._output_path)):
            if place.exists() and not place.is_file():
                raise InputError(f"{option} {place}: is not a file.", advice="A scan resumes from files: name one.")
        if self._path.absolute() == self._output_path.absolute():
            raise InputError(
                f"--resume {self._path}: is the output as well.", advice="Name another file for what is done."
            )

    def _open_new(self) -> IO[bytes]:
        if self._output_path.exists() and self._output_path.stat().st_size:
            raise InputError(
                f"--output {self._output_path}: has results already, and --resume {self._path} knows nothing of them.",
                advice="Name the state file of that scan, or another output.",
            )
        return self._output_path.open("wb")

    def _open_again(self) -> IO[bytes]:
        state = self._read_state()
        stream = self._output_path.open("r+b")
        size = os.fstat(stream.fileno()).st_size
        if size < state.output_bytes:
            stream.close()
            raise InputError(
                f"--output {self._output_path}: is shorter than when {self._path} was written.",
                advice="Name the output of that scan, or begin again without the state file.",
            )
        self.started = state.started
        self.done = Done(state.done_below, state.done)
        stream.seek(state.output_bytes)
        complete = state.output_bytes
        while (line := stream.readline(LINE_BYTES_MAX)).endswith(b"\n"):
            try:
                read = json_text.decode(line, _Numbered)
            except json_text.MalformedError:
                break
            if not read.amends:
                self.done.add(read.number)
            complete = stream.tell()
        stream.truncate(complete)
        stream.seek(complete)
        return stream

    def _read_state(self) -> _State:
        with self._path.open("rb") as file:
            data = file.read(STATE_BYTES_MAX + 1)
        try:
            state = json_text.decode(data, _State)
        except json_text.MalformedError as error:
            raise InputError(
                f"--resume {self._path}: is not the state of a scan.", advice="Name the state file that a scan wrote."
            ) from error
        if state.version != VERSION or state.scan != self._scan:
            raise InputError(
                f"--resume {self._path}: belongs to another scan: its targets or pins are not these.",
                advice="Give the same targets in the same order, or begin again with a new state file.",
            )
        return state

    def write(self, line: bytes, number: int | None) -> None:
        """Append one line of output; `number` is that of the target it completes, None where it completes none.

        Raises `OutputError`.
        """
        try:
            self._output.write(line)
            self._output.flush()
        except OSError as error:
            raise unwritable(f"--output {self._output_path}", error) from error
        if number is not None:
            self.done.add(number)
        self._since += 1
        if self._since >= CHECKPOINT_LINES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Replace the state file atomically."""
        self._since = 0
        os.fsync(self._output.fileno())
        state = _State(
            scan=self._scan,
            started=self.started,
            output_bytes=self._output.tell(),
            done_below=self.done.below,
            done=self.done.beyond,
        )
        temporary = self._path.with_name(f".{self._path.name}.part")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(state))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise unwritable(f"--resume {self._path}", error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """Write the last checkpoint and close the output."""
        if not self._output.closed:
            self._checkpoint()
            self._output.close()
