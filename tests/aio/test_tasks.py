"""Room: aio. Functions in a worker thread: in turn, in one thread, and on the loop where the system gives no thread."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from detector.aio.tasks import THREAD_NAME, Group, WorkerThread, run_in_thread


def worker_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def gone() -> None:
    """Wait for threads that are about to end."""
    for thread in worker_threads():
        thread.join(20)
    assert worker_threads() == []


async def test_one_thread_runs_one_function_after_the_other() -> None:
    """Functions submitted together run in turn, in one thread that is not the loop's and ends with the block."""
    order: list[int] = []

    def work(number: int) -> threading.Thread:
        order.append(number)
        return threading.current_thread()

    with WorkerThread() as worker:
        threads = await asyncio.gather(*(worker.run(functools.partial(work, number)) for number in range(20)))
        assert order == list(range(20))
        assert set(threads) == set(worker_threads()) != {threading.current_thread()}
        assert len(set(threads)) == 1
    gone()


async def test_exceptions_are_raised_in_the_caller() -> None:
    """The caller gets the exception; the thread goes on with the next function."""
    with WorkerThread() as worker:
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        assert await worker.run(lambda: 1) == 1
    with pytest.raises(SystemExit):
        await run_in_thread(exit_now)
    gone()


def exit_now() -> None:
    raise SystemExit(3)


async def test_a_cancelled_caller_does_not_wait() -> None:
    """A running function ends by itself, a waiting one never starts, and the thread ends after both."""
    begun, release, done = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.set()
        release.wait(20)
        done.append("first")

    with WorkerThread() as worker:
        tasks = [asyncio.create_task(worker.run(work)) for work in (first, lambda: done.append("second"))]
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
    """Where the system refuses a thread, functions run on the loop."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await run_in_thread(threading.current_thread) is threading.current_thread()
    with WorkerThread() as worker:
        assert await worker.run(lambda: 1) == 1
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)


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
