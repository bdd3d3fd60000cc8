"""Room: testing. The probe that says how long callbacks hold a loop: what it sees, and what it must not count."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import TYPE_CHECKING

from detector_testing.loop_lag import slowness, watch_callbacks

if TYPE_CHECKING:
    from collections.abc import Callable

BURNT = 0.020


def burn(seconds: float = BURNT) -> None:
    """Take CPU of this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_callback_that_burns_is_seen() -> None:
    """A function that the loop calls and that takes 20 ms of CPU is the worst, and is named."""

    async def main() -> None:
        done = asyncio.Event()

        def busy(tell: Callable[[], None]) -> None:
            burn()
            tell()

        asyncio.get_running_loop().call_soon(busy, done.set)
        await done.wait()

    with watch_callbacks() as callbacks:
        asyncio.run(main())
    assert callbacks.worst.seconds >= BURNT
    assert "busy" in callbacks.worst.what


def test_behind_an_await_it_is_seen_too() -> None:
    """A coroutine that burns after it waited holds the loop in that step, and its task is named."""

    async def late() -> None:
        await asyncio.sleep(0)
        burn()

    async def main() -> None:
        await asyncio.create_task(late(), name="the late one")

    with watch_callbacks() as callbacks:
        asyncio.run(main())
    assert callbacks.worst.seconds >= BURNT
    assert "the late one" in callbacks.worst.what


def test_what_fails_is_counted_and_fails_as_ever() -> None:
    """A step that raises is measured like any other."""

    async def main() -> None:
        burn()
        raise ValueError("as ever")

    with watch_callbacks() as callbacks:
        try:
            asyncio.run(main())
        except ValueError as error:
            said = str(error)
    assert said == "as ever"
    assert callbacks.worst.seconds >= BURNT


def test_other_threads_and_waiting_do_not_count() -> None:
    """Work in a thread, another loop in a thread and a blocking wait take no CPU of the loop's own thread."""

    async def other() -> None:
        burn()

    async def main() -> None:
        await asyncio.to_thread(burn)
        await asyncio.to_thread(asyncio.run, other())
        threading.Event().wait(2 * BURNT)

    with watch_callbacks() as callbacks:
        asyncio.run(main())
    assert callbacks.count > 2
    assert callbacks.worst.seconds < BURNT * slowness()


def test_it_leaves_asyncio_as_it_was() -> None:
    """After the block nothing is measured any more."""

    async def nothing() -> None:
        await asyncio.sleep(0)

    with watch_callbacks() as callbacks:
        asyncio.run(nothing())
    seen = callbacks.count
    asyncio.run(nothing())
    assert callbacks.count == seen > 0


def test_the_collector_is_counted_separately() -> None:
    """A full collection within a callback counts as `collecting`, whatever caused it, not as work of the callback."""

    async def main() -> None:
        heap = [[number] for number in range(400_000)]  # what a collection has to go through
        await asyncio.sleep(0)
        begun = time.thread_time()
        gc.collect()
        took.append(time.thread_time() - begun)
        await asyncio.sleep(0)
        assert heap

    took, before = list[float](), list(gc.callbacks)
    with watch_callbacks() as callbacks:
        asyncio.run(main())
    assert callbacks.collecting >= took[0] * 0.9
    assert gc.callbacks == before
