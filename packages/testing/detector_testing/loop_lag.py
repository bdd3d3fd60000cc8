"""How long callbacks block an event loop, measured so that a busy machine does not matter.

Room: testing. Public API for applications that run a detector in a loop with other work.

    with watch_callbacks() as callbacks:
        asyncio.run(main())
    assert callbacks.worst.seconds < 0.005 * slowness()

The measure is CPU time of the loop's thread, not wall-clock time: waiting for a core, the interpreter lock or a disk
costs none. So neither other programs nor other threads count, but all that a callback does itself counts, imports
included. Garbage collection is counted separately (`Callbacks.collecting`): a full collection takes milliseconds,
depending on the size of the process, and happens in any callback that creates an object.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from asyncio import events
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE_SECONDS: Final = 0.09
"""CPU seconds of `_fixed_work` on the machine on which the limits in this project's tests were set."""
REFERENCE_STEPS: Final = 1_000_000


class Callback(NamedTuple):
    """One callback of a loop: its CPU seconds, and its representation."""

    seconds: float
    what: str


class Callbacks:
    """The callbacks so far: their `count`, and the `worst` by CPU time.

    `collecting` is the CPU time of the garbage collector in this thread in seconds; no callback includes it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.worst = Callback(0.0, "none")
        self.collecting = 0.0

    def add(self, seconds: float, handle: asyncio.Handle) -> None:
        """Count a callback that has run."""
        self.count += 1
        if seconds > self.worst.seconds:
            self.worst = Callback(seconds, _describe(handle))


def _describe(handle: asyncio.Handle) -> str:
    """Describe what a handle runs: a task for its step, else the function."""
    callback = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    return repr(owner) if isinstance(owner, asyncio.Task) else repr(handle)


@contextlib.contextmanager
def watch_callbacks() -> Iterator[Callbacks]:
    """Measure every callback that an asyncio loop runs in this thread until the block ends.

    A step of a task, from one suspension to the next, is one callback. Loops that do not run `asyncio.Handle` (uvloop)
    are not measured: `count` stays 0. CPU time is `time.thread_time`, which has a resolution of 16 ms on Windows.
    """
    callbacks, here = Callbacks(), threading.get_ident()
    run = events.Handle._run  # noqa: SLF001 - asyncio has no public hook around callbacks

    def timed(handle: asyncio.Handle) -> None:
        if threading.get_ident() != here:
            run(handle)
            return
        begun, collecting = time.thread_time(), callbacks.collecting
        try:
            run(handle)
        finally:
            took = time.thread_time() - begun
            callbacks.add(took - (callbacks.collecting - collecting), handle)

    def collect(phase: str, _: dict[str, int]) -> None:
        if threading.get_ident() == here:
            now = time.thread_time()
            callbacks.collecting += -now if phase == "start" else now

    gc.callbacks.append(collect)
    setattr(events.Handle, "_run", timed)  # noqa: B010 - type checkers object to an assignment
    try:
        yield callbacks
    finally:
        setattr(events.Handle, "_run", run)  # noqa: B010 - type checkers object to an assignment
        gc.callbacks.remove(collect)


def slowness() -> float:
    """Return how many times slower this machine is now than the one on which limits were set, at least 1.

    It compares the CPU time of the same work, which shared cores and lower clock rates extend.
    """
    return max(_fixed_work() / REFERENCE_SECONDS, 1.0)


def _fixed_work() -> float:
    begun = time.thread_time()
    total = 0
    for number in range(REFERENCE_STEPS):
        total += number * number
    return time.thread_time() - begun
