"""What runs on a worker of a fleet: it identifies its program, and runs requests (`detector.scan.work`).

Room: fleet. Called by Dask; `run` in threads of the worker, which wait for one more thread that probes for all of them.
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

PROTOCOL: Final = 1
"""Version of the messages of a fleet; rises when a reader of the old form would misread the new."""


class Identity(Record, frozen=True, kw_only=True):
    """Which program a worker runs: its version, and a hash of its source."""

    form: int = PROTOCOL
    version: str = VERSION
    source_sha256: str


@cache
def source_hash() -> str:
    """SHA-256 over the names and contents of this package's modules, in order, as of the first call."""
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        content = module.read_bytes()
        digest.update(f"{module.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def identity() -> bytes:
    """The identity of this worker, as JSON."""
    return msgspec.json.encode(Identity(source_sha256=source_hash()))


def run(job: bytes) -> tuple[str, bytes]:
    """Run a request; returns the address of this worker, and the response."""
    running = asyncio.run_coroutine_threadsafe(work.run(job), _probing_loop())
    return distributed.get_worker().address, running.result()


_STARTING: Final = threading.Lock()


def _probing_loop() -> asyncio.AbstractEventLoop:
    """The event loop of all requests, in a thread of its own, so that many requests cost no more than few."""
    with _STARTING:
        return _start_loop()


@cache
def _start_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="probes", daemon=True).start()
    return loop
