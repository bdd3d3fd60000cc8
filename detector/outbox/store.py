"""The outbox on disk: signed submissions that wait until a collector has them.

Room: outbox. Reads and writes the one folder that is named.

    <made>-<digest>.json   a submission that waits; `made` in milliseconds, so that names sort by age
    refused/               submissions that the collector refuses for good, each with its reason
    damaged/               files that no longer hold what was signed
    dropped.json           how many were dropped, and why
    later.json             when each collector is tried again

Each submission is a file of its own, written under another name, synchronized, and renamed: whatever ends the process,
at any moment, a submission is there complete or not at all. Any number of processes may add and remove them. Space and
age are bounded: the oldest are dropped, never silently. Their number and names are written down first, so that a
process that is killed meanwhile counts none twice.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

import filelock
import msgspec

from detector.errors import InputError, OutputError
from detector.model import Record, json_text
from detector.model.files import open_regular, reason_of, unwritable
from detector.model.folders import user_folder
from detector.model.private_files import replace_private
from detector.model.record import Count, Moment, encode
from detector.trust import envelope as envelopes

from . import submission
from .submission import PAYLOAD_TYPE, SUBMISSION_BYTES_MAX, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER: Final = "outbox"
SPACE: Final = 64 * 1024 * 1024
"""Bytes of all files together: the evidence of a hundred gates with forty endpoints each, offline."""
AGE: Final = dt.timedelta(days=30)
"""How long a submission waits: an exam period. A collector refuses evidence that is much older."""
FILE_BYTES_MAX: Final = SUBMISSION_BYTES_MAX + 4096
"""Bytes of a file that are read: an envelope, its destination, and why it was refused."""
RELIST: Final = 16
"""After this part of the space was used the folder is listed again: other processes write to it, too."""
LOCK_SECONDS: Final = 10.0
"""How long another process is waited for: what is done under the lock takes milliseconds."""
UNFINISHED_AGE: Final = dt.timedelta(hours=1)
"""After this time an unfinished file is of a process that was killed: writing one takes milliseconds."""
TRIED_LATER_MAX: Final = 64
"""Collectors of which the next attempt is kept; an institution has one."""
REFUSED: Final = "refused"
DAMAGED: Final = "damaged"
_DROPPED: Final = "dropped.json"
_LATER: Final = "later.json"
_UNFINISHED: Final = ".new-"
_NAME: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{64})\.json\Z", re.ASCII)
_DROPPABLE: Final = re.compile(rf"(?:(?:{REFUSED}|{DAMAGED})/)?[0-9]{{1,15}}-[0-9a-f]{{64}}\.json\Z", re.ASCII)
_FOLDER_MODE: Final = 0o700

R = TypeVar("R", "_Dropped", "_Later")

Part = Literal["", "refused", "damaged"]
"""Folders of submissions: those that wait, and those set aside."""
PARTS: Final[tuple[Part, ...]] = ("", "refused", "damaged")

Cause = Literal["age", "space", "busy", "asked"]
"""Why submissions were dropped: too old, no space, more at once than the disk took, or on request."""


class Waiting(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file: the collector's URL and the envelope; `refused` is the reason of one that was set aside."""

    to: str
    envelope: msgspec.Raw
    refused: str = ""


class Entry(NamedTuple):
    """A file of the outbox, by its name."""

    path: Path
    made: dt.datetime
    digest: str
    size: int


class _Dropped(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many were dropped, by cause, and the files of the last batch, which may still be there."""

    counts: dict[Cause, Count] = {}  # noqa: RUF012 - msgspec copies defaults
    names: tuple[str, ...] = ()


class Attempt(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a collector is tried again, and how often in a row it did not take anything."""

    not_before: Moment
    failures: Count


class _Later(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    collectors: dict[str, Attempt] = {}  # noqa: RUF012 - msgspec copies defaults


class RefusedCount(Record, frozen=True, kw_only=True):
    """Submissions that a collector refused for one reason."""

    reason: str
    count: Count


class Listed(Record, frozen=True, kw_only=True):
    """One report: whether it waits, was refused and why, or is damaged."""

    digest: str
    made: Moment
    kind: str = ""
    state: str
    to: str = ""


class Listing(Record, frozen=True, kw_only=True):
    """The reports of an outbox, the oldest first."""

    reports: tuple[Listed, ...] = ()


class Status(Record, frozen=True, kw_only=True):
    """What is in an outbox: how many wait, for how long, what was set aside, and what was dropped."""

    folder: str
    waiting: Count
    oldest: Moment | None = None
    bytes: Count
    refused: tuple[RefusedCount, ...] = ()
    damaged: Count = 0
    dropped: dict[Cause, Count] = {}  # noqa: RUF012 - msgspec copies defaults
    tried_again: Moment | None = None


class Outbox:
    """The submissions that wait in a folder.

    Args:
        folder: the folder; by default that of this user.
        space: bytes of all files together.
        age: how long a submission waits.
        clock: returns the time in UTC.

    Raises:
        InputError: there is no home directory for the default folder.
        OutputError, NoRoomError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        space: int = SPACE,
        age: dt.timedelta = AGE,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.folder: Final = default_folder() if folder is None else Path(folder)
        self._space: Final = space
        self._age: Final = age
        self._clock: Final = clock
        self._room = 0
        """Bytes that may be written before the folder is listed again."""
        with self._writing():
            for place in (self.folder, self.folder / REFUSED, self.folder / DAMAGED):
                place.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        self._lock: Final = filelock.FileLock(self.folder / "lock", timeout=LOCK_SECONDS, mode=0o600)

    def put(self, envelope: bytes, *, to: str) -> str:
        """Keep a signed submission for the collector at `to`, and return its digest. Once this returns it is durable.

        Drops what is too old, and the oldest where there is no space. Raises `ValueError` for what is no signed
        submission, `OutputError` and `NoRoomError` where it cannot be written.
        """
        payload = _payload(envelope)
        made = json_text.decode(payload, Submission).made
        digest = submission.digest(payload)
        data = encode(Waiting(to=to, envelope=msgspec.Raw(envelope)))
        if len(data) > FILE_BYTES_MAX:
            raise ValueError(f"larger than {SUBMISSION_BYTES_MAX // 1024 // 1024} MiB")
        path = self.folder / f"{max(int(made.timestamp() * 1000), 0):013d}-{digest}.json"
        with self._writing(), self._locked():
            if len(data) > self._room:
                self._make_room(len(data))
            self._replace(path, data)
            self._room -= len(data)
        return digest

    def entries(self, part: Part = "") -> list[Entry]:
        """The files that wait, or that were set aside, the oldest first."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder / part) as files:
            for file in files:
                if (match := _NAME.match(file.name)) is None:
                    continue
                with contextlib.suppress(OSError):  # another process has removed it
                    made = dt.datetime.fromtimestamp(int(match[1]) / 1000, dt.UTC)
                    found.append(Entry(Path(file.path), made, match[2], file.stat().st_size))
        return sorted(found)

    def read(self, entry: Entry) -> Waiting | None:
        """Read a file; None where another process has removed it, or where it is damaged, which sets it aside.

        Raises `OutputError` where a damaged file cannot be set aside, and where one cannot be read.
        """
        try:
            with open_regular(entry.path) as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(
                f"{entry.path}: cannot be read ({reason_of(error)}).", advice="Make it readable, or remove it."
            ) from error
        with contextlib.suppress(ValueError):
            waiting = json_text.decode_unambiguous(data, Waiting)
            if submission.digest(_payload(bytes(waiting.envelope))) == entry.digest:
                return waiting
        with self._writing(), contextlib.suppress(FileNotFoundError):
            entry.path.replace(self.folder / DAMAGED / entry.path.name)
        return None

    def remove(self, entry: Entry) -> None:
        """Remove a submission that the collector has. Raises `OutputError`."""
        with self._writing():
            entry.path.unlink(missing_ok=True)

    def set_aside(self, entry: Entry, waiting: Waiting, *, reason: str) -> None:
        """Set a submission aside that the collector refuses for good. Raises `OutputError`."""
        self._move(entry, waiting, REFUSED, reason)

    def put_back(self) -> int:
        """Let everything that was refused wait again, and return how many these are. Raises `OutputError`."""
        entries = self.entries(REFUSED)
        for entry in entries:
            if (waiting := self.read(entry)) is not None:
                self._move(entry, waiting, "", "")
        return len(entries)

    def _move(self, entry: Entry, waiting: Waiting, part: Part, reason: str) -> None:
        with self._writing():
            self._replace(
                self.folder / part / entry.path.name, encode(msgspec.structs.replace(waiting, refused=reason))
            )
            entry.path.unlink(missing_ok=True)

    def drop(self, part: Part, digest: str | None = None) -> int:
        """Drop what waits or was set aside, all of it or one submission; return how many these are. Counted."""
        with self._writing(), self._locked():
            chosen = [entry for entry in self.entries(part) if digest in {None, entry.digest}]
            self._drop({"asked": chosen})
        return len(chosen)

    def note_lost(self, count: int) -> None:
        """Count submissions that never reached the disk. Raises `OutputError`."""
        with self._writing(), self._locked():
            self._count({"busy": count})

    @contextlib.contextmanager
    def sending(self) -> Iterator[bool]:
        """Whether this process is the one that sends, until the block ends. Raises `OutputError`."""
        lock = filelock.FileLock(self.folder / "sending", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield True
        finally:
            lock.release()

    def attempt(self, to: str) -> Attempt | None:
        """When a collector is tried again; None where it was not tried, or the last attempt was no failure."""
        return self._load(_LATER, _Later).collectors.get(to)

    def try_later(self, to: str, attempt: Attempt | None) -> None:
        """Keep when a collector is tried again; for the process that sends. Raises `OutputError`."""
        collectors = dict(self._load(_LATER, _Later).collectors)
        collectors.pop(to, None)
        if attempt is not None:
            collectors[to] = attempt
        newest = dict(list(collectors.items())[-TRIED_LATER_MAX:])
        with self._writing():
            self._replace(self.folder / _LATER, encode(_Later(collectors=newest)))

    def status(self) -> Status:
        """What is in this outbox."""
        waiting, refused, damaged = (self.entries(part) for part in PARTS)
        reasons = Counter(kept.refused for entry in refused if (kept := self.read(entry)) is not None)
        attempts = [one.not_before for one in self._load(_LATER, _Later).collectors.values()]
        return Status(
            folder=str(self.folder),
            waiting=len(waiting),
            oldest=waiting[0].made if waiting else None,
            bytes=sum(entry.size for entry in (*waiting, *refused, *damaged)),
            refused=tuple(RefusedCount(reason=name, count=count) for name, count in sorted(reasons.items())),
            damaged=len(damaged),
            dropped=self._load(_DROPPED, _Dropped).counts,
            tried_again=min(attempts, default=None),
        )

    def listing(self) -> Listing:
        """Every report of this outbox."""
        found = []
        for part in PARTS:
            for entry in self.entries(part):
                waiting = None if part == DAMAGED else self.read(entry)
                if waiting is None:
                    found.append(Listed(digest=entry.digest, made=entry.made, state="damaged"))
                    continue
                sent = json_text.decode(_payload(bytes(waiting.envelope)), Submission)
                state = f"refused: {waiting.refused}" if part == REFUSED else "waits"
                found.append(Listed(digest=entry.digest, made=entry.made, kind=sent.kind, state=state, to=waiting.to))
        return Listing(reports=tuple(sorted(found, key=lambda one: one.made)))

    # Bounds

    def _make_room(self, size: int) -> None:
        """Drop what is too old, and the oldest until `size` bytes fit; what was set aside goes first."""
        self._finish_dropping()
        self._remove_unfinished()
        aside = sorted((*self.entries(REFUSED), *self.entries(DAMAGED)), key=lambda entry: entry.made)
        every = [*aside, *self.entries()]
        oldest = self._clock() - self._age
        old = [entry for entry in every if entry.made < oldest]
        rest = [entry for entry in every if entry.made >= oldest]
        used = sum(entry.size for entry in rest)
        full = []
        for entry in rest:
            if used + size <= self._space:
                break
            full.append(entry)
            used -= entry.size
        self._drop({"age": old, "space": full})
        self._room = max(min(self._space - used, self._space // RELIST), size)

    def _drop(self, chosen: dict[Cause, list[Entry]]) -> None:
        """Count submissions as dropped, then remove them."""
        names = tuple(entry.path.relative_to(self.folder).as_posix() for some in chosen.values() for entry in some)
        if names:
            self._count({cause: len(some) for cause, some in chosen.items()}, names)
            self._finish_dropping()

    def _finish_dropping(self) -> None:
        """Remove the files that were counted as dropped; a process that was killed may have left some."""
        names = self._load(_DROPPED, _Dropped).names
        for name in filter(_DROPPABLE.match, names):
            (self.folder / name).unlink(missing_ok=True)
        if names:
            self._count({})

    def _count(self, added: dict[Cause, int], names: tuple[str, ...] = ()) -> None:
        """Write down how many more are dropped, and the files that are to be removed."""
        counts = Counter(self._load(_DROPPED, _Dropped).counts) + Counter(added)
        self._replace(self.folder / _DROPPED, encode(_Dropped(counts=dict(counts), names=names)))

    def _load(self, name: str, kind: type[R]) -> R:
        """A record of this folder; an empty one where there is none, or it cannot be read."""
        try:
            with open_regular(self.folder / name) as file:
                return json_text.decode(file.read(FILE_BYTES_MAX), kind)
        except (OSError, ValueError):
            return kind()

    def _remove_unfinished(self) -> None:
        """Remove what processes that were killed did not finish."""
        before = self._clock().timestamp() - UNFINISHED_AGE.total_seconds()
        for place in (self.folder, self.folder / REFUSED):
            for path in place.glob(f"{_UNFINISHED}*"):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()

    @staticmethod
    def _replace(path: Path, data: bytes) -> None:
        replace_private(path, data, unfinished=path.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise OutputError(
                f"{self.folder}: another process has been writing for {LOCK_SECONDS:g} seconds.",
                advice="End the process that hangs.",
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise what the system refuses as `OutputError` or `NoRoomError`, which names the folder."""
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
            if isinstance(error, OutputError):
                raise
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError | ValueError) -> OutputError:
        return unwritable(
            str(self.folder), error, "Make the folder writable for you, or name another one with --outbox DIR."
        )


def default_folder() -> Path:
    """The outbox of this user. Raises `InputError` without a home directory."""
    folder = user_folder("data")
    if folder is None:
        raise InputError("There is no home directory for the outbox.", advice="Name a folder: --outbox DIR.")
    return folder / FOLDER


def _payload(envelope: bytes) -> bytes:
    """The payload of a submission that its own signatures verify. Raises `ValueError`."""
    unsealed = envelopes.unseal(envelope, payload_type=PAYLOAD_TYPE)
    if unsealed.problem is not None or not unsealed.signers or not all(one.verifies for one in unsealed.signers):
        raise ValueError(f"not a signed submission ({unsealed.problem or 'unsigned'})")
    return unsealed.payload
