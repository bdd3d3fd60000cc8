"""What runs on a worker: it says who it is, and it looks at endpoints.

Room: fleet. Called by the engine, `look` in threads of the worker; one more makes the looks of all of them. What it
does is `detector.scan.work`.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
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
    package = Path(__file__).resolve().parents[2]
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
    looking = asyncio.run_coroutine_threadsafe(work.look(job), _LOOKING.loop)
    return distributed.get_worker().address, looking.result()


class _Looking:
    """The event loop of all jobs, in a thread of its own: theirs only wait, so that many cost no more than few."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; begun when first asked for."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="looks", daemon=True).start()
            return self._loop


_LOOKING: Final = _Looking()
