"""What runs on a worker: it says who it is, and it looks at endpoints.

Room: fleet. Called by the engine, `look` in a thread of the worker. What it does is `detector.scan.work`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import distributed
import msgspec

from detector.model import Record
from detector.scan import work
from detector.version import VERSION

FORM: Final = 1
"""Version of what travels between the parts of a fleet; rises when a reader of the old form would misread the new."""


class Identity(Record, frozen=True, kw_only=True):
    """Which program a worker runs: the version it calls itself, and a hash over its source."""

    form: int = FORM
    version: str = VERSION
    source_sha256: str


@cache
def source_hash() -> str:
    """SHA-256 over the names and contents of this package's modules, in order, when first asked for."""
    package = Path(__file__).resolve().parent.parent
    running = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        content = module.read_bytes()
        running.update(f"{module.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return running.hexdigest()


def identity() -> bytes:
    """Who this worker is, as JSON."""
    return msgspec.json.encode(Identity(source_sha256=source_hash()))


def look(job: bytes) -> tuple[str, bytes]:
    """Do a job; gives the address of the worker that did it, and what it saw."""
    return distributed.get_worker().address, work.look(job)
