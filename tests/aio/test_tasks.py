"""Room: session. Work beside the loop: in turn, in one thread, and on the loop where there is no thread to be had."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from detector.aio.tasks import BESIDE, Beside, Group, off_loop


def beside_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == BESIDE]


def gone() -> None:
    """Wait for threads that have been told to end."""
    for thread in beside_threads():
        thread.join(20)
    assert beside_threads() == []


async def test_one_thread_does_one_work_after_the_other() -> None:
    """Whatever is asked for together is done in turn, in one thread that is not the loop's, and ends with the block."""
    order: list[int] = []

    def work(number: int) -> threading.Thread:
        order.append(number)
        return threading.current_thread()

    with Beside() as beside:
        threads = await asyncio.gather(*(beside.do(functools.partial(work, number)) for number in range(20)))
        assert order == list(range(20))
        assert set(threads) == set(beside_threads()) != {threading.current_thread()}
        assert len(set(threads)) == 1
    gone()


async def test_what_work_raises_is_raised() -> None:
    """Where the result is waited for; the thread goes on with what comes next."""
    with Beside() as beside:
        with pytest.raises(ZeroDivisionError):
            await beside.do(lambda: 1 // 0)
        assert await beside.do(lambda: 1) == 1
    with pytest.raises(SystemExit):
        await off_loop(exit_now)
    gone()


def exit_now() -> None:
    raise SystemExit(3)


async def test_a_cancelled_caller_does_not_wait() -> None:
    """Work that has begun ends by itself, work that has not is not begun, and the thread ends after both."""
    begun, release, done = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.set()
        release.wait(20)
        done.append("first")

    with Beside() as beside:
        tasks = [asyncio.create_task(beside.do(work)) for work in (first, lambda: done.append("second"))]
        while not begun.is_set():  # noqa: ASYNC110 - a thread is waited for
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert done == []
        release.set()
    gone()
    assert done == ["first"]


async def test_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives no thread has the work done on the loop."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await off_loop(threading.current_thread) is threading.current_thread()
    with Beside() as beside:
        assert await beside.do(lambda: 1) == 1
        with pytest.raises(ZeroDivisionError):
            await beside.do(lambda: 1 // 0)


async def test_a_group_raises_what_its_first_task_raised() -> None:
    """However deep it happened, and whatever others then raise; the others are ended."""
    ended: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("the first")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("the other")
            raise OSError("on its way out")

    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async def both() -> None:
        async with Group() as group:
            group.create_task(inner())
            group.create_task(wait())

    with pytest.raises(LookupError, match="the first"):
        await both()
    assert ended == ["the other"]


async def test_a_group_can_be_cancelled() -> None:
    """As any TaskGroup; and without a failure it gives its results."""

    async def both() -> int:
        async with Group() as group:
            one, two = group.create_task(asyncio.sleep(0, 1)), group.create_task(asyncio.sleep(0, 2))
        return one.result() + two.result()

    assert await both() == 3
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), Group() as group:
                group.create_task(asyncio.Event().wait())
