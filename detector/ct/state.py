"""What is known of each log and what was reported, so that a program that was killed loses nothing.

Room: ct. Reads and writes the state file that is named, with a lock next to it, and the file of findings.

The state is replaced as a whole, and what is about to be written to the output is in it first, with the place in the
file. So of a program that was killed in between, the next one sees whether its lines are there: in a file each is
written once. Of another output nobody can say; there a line may come twice, with the same `id`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

import filelock

from detector.errors import InputError
from detector.model import Record, json_text
from detector.model.files import read_file, unwritable, writing
from detector.model.private_files import replace_private
from detector.model.record import Count, encode

from .findings import FindingKind  # noqa: TC001 - msgspec reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterable

STATE_SCHEMA: Final = 1
STATE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of a state file that are read: a hundred logs with their checkpoints have under 1 MiB, and the IDs as much."""
REPORTED_MAX: Final = 10_000
"""Certificates that are remembered as reported, the newest. One is in two or three logs, within hours of each other,
as precertificate and as certificate."""
_ADVICE: Final = "Name the file that an earlier `detector ct watch` wrote, or a new one."


class Position(Record, frozen=True, kw_only=True):
    """The last verified tree head of a log (its size, root and signed note), and the next entry to read."""

    size: Count
    root: bytes
    note: str
    next: Count


class Pending(Record, frozen=True, kw_only=True):
    """Text that was to be written: to which file, and how long that was before; both None for other outputs.

    `kinds` are those of the findings in it.
    """

    text: str
    file: str | None = None
    offset: Count | None = None
    kinds: tuple[FindingKind, ...] = ()


class _Saved(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: int = STATE_SCHEMA
    logs: dict[str, Position] = {}  # noqa: RUF012 - msgspec copies defaults
    reported: tuple[str, ...] = ()
    pending: Pending | None = None


class Output(Protocol):
    """Where findings go."""

    def place(self) -> tuple[str | None, int | None]:
        """The file and how long it is; None for what is not a file."""

    def write(self, text: str) -> None:
        """Write whole lines. Raises `OutputError`."""

    def complete(self, pending: Pending) -> None:
        """Write what a program that was killed may have left out."""


class State:
    """The state file, locked for this process until the `with` block ends.

    `positions` are the logs' by hexadecimal log ID, `recovered` the kinds of findings that a program that was killed
    had not finished to report: nobody got its exit code. Raises `InputError` for a file that is not a state, or that
    another process has, and `OutputError`.
    """

    def __init__(self, path: str | Path, output: Output) -> None:
        self._path = Path(path)
        self._output = output
        self._lock = self._acquire()
        try:
            saved = self._load()
            self.positions: Final = dict(saved.logs)
            self.recovered: Final = saved.pending.kinds if saved.pending else ()
            self._reported = dict.fromkeys(saved.reported)
            if saved.pending is not None:
                output.complete(saved.pending)
            self.save()
        except BaseException:  # interruption too: the lock must not outlive this call; nothing is swallowed
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def was_reported(self, identifier: str) -> bool:
        """Whether a finding with this ID was written."""
        return identifier in self._reported

    def report(self, text: str, identifiers: Iterable[str], kinds: Iterable[FindingKind] = ()) -> None:
        """Write findings, so that a kill at any moment loses none of them, and save the positions with them."""
        self._reported.update(dict.fromkeys(identifiers))
        while len(self._reported) > REPORTED_MAX:
            del self._reported[next(iter(self._reported))]
        file, offset = self._output.place()
        self.save(Pending(text=text, file=file, offset=offset, kinds=tuple(kinds)))
        self._output.write(text)
        self.save()

    def save(self, pending: Pending | None = None) -> None:
        """Replace the state file. Raises `OutputError`."""
        saved = _Saved(logs=self.positions, reported=tuple(self._reported), pending=pending)
        with writing(f"--state {self._path}"):
            unfinished = self._path.with_name(f".{self._path.name}.part")  # nobody else has the lock
            replace_private(self._path, encode(saved), unfinished=unfinished)

    def _load(self) -> _Saved:
        if not self._path.exists():
            return _Saved()
        data = read_file(self._path, most=STATE_BYTES_MAX, kind="state file", error=InputError)
        try:
            saved = json_text.decode(data, _Saved)
        except json_text.MalformedError as error:
            raise InputError(f"--state {self._path}: is not the state of a watch: {error}.", advice=_ADVICE) from error
        wrong = any(position.next > position.size for position in saved.logs.values())
        if saved.schema != STATE_SCHEMA or wrong:
            raise InputError(f"--state {self._path}: is not the state of such a watch.", advice=_ADVICE)
        return saved

    def _acquire(self) -> filelock.BaseFileLock:
        """Lock a file next to the state, which the system unlocks however this process ends."""
        if self._path.exists() and not self._path.is_file():
            raise InputError(f"--state {self._path}: is not a file.", advice=_ADVICE)
        lock = filelock.FileLock(self._path.with_name(f".{self._path.name}.lock"), timeout=0, mode=0o600)
        try:
            self._path.parent.stat()  # the lock would make a folder that is not there
            lock.acquire()
        except filelock.Timeout as error:
            raise InputError(
                f"--state {self._path}: another process is using it.", advice="Wait for it, or name another file."
            ) from error
        except (OSError, ValueError) as error:
            raise unwritable(f"--state {self._path}", error) from error
        return lock


class FileOutput:
    """A file of findings, which grows. Raises `OutputError`, which names `--output`."""

    def __init__(self, path: str) -> None:
        self._what = f"--output {path}"
        self._path = Path(path).absolute()
        with writing(self._what):
            self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def place(self) -> tuple[str | None, int | None]:
        """The file and its length; None for a device or a pipe, which has none."""
        if not self._path.is_file():
            return None, None
        return str(self._path), os.fstat(self._file.fileno()).st_size

    def write(self, text: str) -> None:
        """Append whole lines."""
        rest = memoryview(text.encode())
        with writing(self._what):
            while rest:  # a device takes a part of it where that fills it
                rest = rest[self._file.write(rest) :]
            if self._path.is_file():
                os.fsync(self._file.fileno())

    def complete(self, pending: Pending) -> None:
        """Append what is not there yet; of a line that was cut short, the beginning is removed."""
        text = pending.text.encode()
        with writing(self._what):
            if pending.file == str(self._path) and pending.offset is not None and self._path.is_file():
                with self._path.open("rb") as file:
                    file.seek(pending.offset)
                    there = file.read(len(text))
                if there == text:
                    return
                if text.startswith(there):
                    self._file.truncate(pending.offset)
        self.write(pending.text)
