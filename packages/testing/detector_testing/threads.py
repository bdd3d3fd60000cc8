"""Servers for synchronous code: the async context managers of this package, run in a thread.

    with serving(serve_origin(pki.issue(["exam.example.edu"]))) as origin:
        socket.create_connection(origin.address)

`Serving` runs any number of them in one thread and stops them in reverse order:

    with Serving() as start:
        origin = start(serve_origin(issued))
        box = start(serve_middlebox(ca, upstream={("exam.example.edu", 443): origin.address}))

Attributes of a server can be read from any thread; its asyncio objects, such as `Proxy.connected`, belong to its loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

Value = TypeVar("Value")


class LoopThread:
    """A thread with an event loop. `prepare`, which may raise OSError, runs in the thread first."""

    def __init__(self, name: str, prepare: Callable[[], object] | None = None) -> None:
        self._prepare = prepare
        self._started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._started.result(timeout=0)

    def start(self) -> None:
        """Start the thread and wait for its loop. Raises OSError from `prepare`."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Cancel what still runs in the loop and end the thread, if it was started."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def submit(self, coroutine: Coroutine[Any, Any, Value]) -> concurrent.futures.Future[Value]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def enter(
        self, manager: AbstractAsyncContextManager[Value]
    ) -> tuple[concurrent.futures.Future[Value], Callable[[], concurrent.futures.Future[None]]]:
        """Enter a context manager in the loop; returns its value and a function that exits it."""
        entered: concurrent.futures.Future[Value] = concurrent.futures.Future()
        leave = asyncio.Event()
        held = self.submit(_hold(manager, entered, leave))

        def exit_() -> concurrent.futures.Future[None]:
            self._loop.call_soon_threadsafe(leave.set)
            return held

        return entered, exit_

    def _main(self) -> None:
        try:
            if self._prepare is not None:
                self._prepare()
        except OSError as error:
            self._started.set_exception(error)
        else:
            asyncio.run(self._run())

    async def _run(self) -> None:
        self._started.set_result(asyncio.get_running_loop())
        await self._end.wait()


async def _hold(
    manager: AbstractAsyncContextManager[Value], entered: concurrent.futures.Future[Value], leave: asyncio.Event
) -> None:
    """Enter and exit `manager` in one task, as task groups and timeouts require."""
    try:
        async with manager as value:
            entered.set_result(value)
            await leave.wait()
    except BaseException as error:  # cancellation too: the caller that waits for `entered` must not wait forever
        if entered.done():
            raise
        entered.set_exception(error)


class Serving:
    """Starts servers in one thread: call it with an async context manager, get the value of its `async with`.

    Everything stops with the `with` block, in reverse order. An exception in a server is raised there.
    """

    def __init__(self) -> None:
        self._thread = LoopThread("serving")
        self._running = contextlib.ExitStack()

    def __call__(self, manager: AbstractAsyncContextManager[Value]) -> Value:
        """Enter `manager` in the thread."""
        entered, exit_ = self._thread.enter(manager)
        self._running.callback(lambda: exit_().result())
        return entered.result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._running.callback(self._thread.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, traceback)


@contextlib.contextmanager
def serving(manager: AbstractAsyncContextManager[Value]) -> Iterator[Value]:
    """Run one server in a thread of its own until the block ends."""
    with Serving() as start:
        yield start(manager)
