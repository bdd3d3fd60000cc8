"""How long callbacks hold an event loop: a probe that no busy machine can make fail.

Room: testing. Public API for anybody who runs a detector on a loop that has other work.

    with watch_callbacks() as callbacks:
        asyncio.run(main())
    assert callbacks.worst.seconds < 0.005 * slowness()

What is measured is the CPU time that a callback took of the thread that runs the loop, and never the time on a clock:
a thread that waits for a core, for the interpreter lock or for a disk burns nothing. So other programs do not count,
and neither does work that is done in another thread. What does count is all that a callback does itself, importing
modules too. Pauses of Python's garbage collector are told apart (`Callbacks.collecting`): a full collection takes
milliseconds by the size of the whole process, and comes in whichever callback happens to make the next object.
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
"""CPU seconds of `_fixed_work` on the machine that limits in this project's tests were set on."""
REFERENCE_STEPS: Final = 1_000_000


class Callback(NamedTuple):
    """One callback of a loop: CPU seconds of the loop's thread, and what it was."""

    seconds: float
    what: str


class Callbacks:
    """The callbacks that ran so far: how many, and the one that took the most CPU.

    `collecting` are the CPU seconds that the garbage collector took in this thread meanwhile; they are in no callback.
    """

    def __init__(self) -> None:
        self.count = 0
        self.worst = Callback(0.0, "none")
        self.collecting = 0.0

    def add(self, seconds: float, handle: asyncio.Handle) -> None:
        """Take note of a callback that has run."""
        self.count += 1
        if seconds > self.worst.seconds:
            self.worst = Callback(seconds, _told(handle))


def _told(handle: asyncio.Handle) -> str:
    """What a handle runs: the task whose step it is, or else the function."""
    callback = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    return repr(owner) if isinstance(owner, asyncio.Task) else repr(handle)


@contextlib.contextmanager
def watch_callbacks() -> Iterator[Callbacks]:
    """Measure every callback that an asyncio loop runs in this thread until the block ends.

    A step of a task, from one `await` that waits to the next, is one callback. Loops that do not run `asyncio.Handle`
    (uvloop) are not seen: then `count` stays 0. CPU time is `time.thread_time`, which Windows counts in steps of 16 ms.
    """
    callbacks, here = Callbacks(), threading.get_ident()
    run = events.Handle._run  # noqa: SLF001 - where a loop runs a callback; asyncio has no public place to see it from

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
    setattr(events.Handle, "_run", timed)  # noqa: B010 - as above; a type checker rightly objects to the other spelling
    try:
        yield callbacks
    finally:
        setattr(events.Handle, "_run", run)  # noqa: B010 - as above
        gc.callbacks.remove(collect)


def slowness() -> float:
    """How many times slower this machine is now than the one limits were set on, at least 1.

    The same work is done here and its CPU time compared: two programs that share one core's units, or a core that is
    clocked down, make CPU time longer, too.
    """
    return max(_fixed_work() / REFERENCE_SECONDS, 1.0)


def _fixed_work() -> float:
    begun = time.thread_time()
    total = 0
    for number in range(REFERENCE_STEPS):
        total += number * number
    return time.thread_time() - begun
