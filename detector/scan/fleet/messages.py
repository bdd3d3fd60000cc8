"""What the parts of a fleet send each other: WebSocket messages (RFC 6455) over mutual TLS.

Room: fleet. Pure: bytes in, records out.

=========  =======================  ==============================================================================
kind       from, to                 content
=========  =======================  ==============================================================================
text       worker to scheduler      `Registration`, once, first
text       scheduler to client      `Roster`, at once and whenever it changes
binary     client to scheduler      a job: its number, the worker's number, a request (`detector.scan.work`)
binary     scheduler to worker      a job: a number of the scheduler's, 0, the request; without a request: cancel it
binary     worker to scheduler      an answer: the job's number, 0, the response
binary     scheduler to client      an answer: the client's number, the worker's number, the response
=========  =======================  ==============================================================================

Every job has one answer; that of a job that was cancelled or not run is empty. The scheduler reads only the numbers:
requests and responses pass it unread.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

from detector.frozen import Host, host
from detector.model import Record, json_text
from detector.version import VERSION

PROTOCOL: Final = 2
"""Version of the messages; increases when a reader of the old ones would misread the new."""

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of one message: a job of 32 targets with chains of the usual size has less than 1 MiB."""
REGISTRATION_BYTES_MAX: Final = 4096  # bytes of a worker's first message, which has four short fields
THREADS_MAX: Final = 64  # jobs at once of one worker
WORKERS_MAX: Final = 1024  # workers of one scheduler: a roster of them has less than half a MiB
CLIENTS_MAX: Final = 16  # scans at once over one scheduler
VANTAGE_CHARACTERS_MAX: Final = 100  # of a name that people read

HEARTBEAT_SECONDS: Final = 20.0
"""Between two pings; a peer that does not answer one within half of that is gone (a power failure closes nothing)."""

_HEADER: Final = struct.Struct(">QQ")

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=VANTAGE_CHARACTERS_MAX)]


class Identity(Record, frozen=True, kw_only=True):
    """Which program a worker runs: its version, and a hash of its source."""

    form: int = PROTOCOL
    version: Short = VERSION
    source_sha256: Short


class Registration(Record, frozen=True, kw_only=True):
    """What a worker says of itself: where it probes from, its program, and how many jobs it runs at once."""

    vantage: Short
    identity: Identity
    threads: Annotated[int, msgspec.Meta(ge=1, le=THREADS_MAX)]


class Listed(Record, frozen=True, kw_only=True):
    """A registered worker, its number, and the address it connected from."""

    number: int
    address: str
    registration: Registration


class Roster(Record, frozen=True, kw_only=True):
    """The workers that are connected."""

    workers: tuple[Listed, ...] = ()


class Parcel(NamedTuple):
    """A binary message: the numbers of a job and of a worker, and the request or response."""

    job: int
    worker: int
    content: bytes

    def encode(self) -> bytes:
        """The message to send."""
        return _HEADER.pack(self.job, self.worker) + self.content

    @classmethod
    def decode(cls, message: bytes) -> Parcel | None:
        """Read a message; None for one that is too short."""
        if len(message) < _HEADER.size:
            return None
        job, worker = _HEADER.unpack_from(message)
        return cls(job, worker, message[_HEADER.size :])


def decode_registration(message: str) -> Registration | None:
    """Read a worker's first message; None for anything else, and for a name that cannot be printed."""
    try:
        found = json_text.decode(message, Registration)
    except json_text.MalformedError:
        return None
    identity = found.identity
    shown = (found.vantage, identity.version, identity.source_sha256)
    return found if all(text.isprintable() for text in shown) else None


@cache
def own_identity() -> Identity:
    """The identity of this program, as of the first call: by the executable, where that is the source."""
    if host() in {Host.PYINSTALLER, Host.FROZEN}:
        with Path(sys.executable).open("rb") as executable:
            return Identity(source_sha256=hashlib.file_digest(executable, "sha256").hexdigest())
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        content = module.read_bytes()
        digest.update(f"{module.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return Identity(source_sha256=digest.hexdigest())
