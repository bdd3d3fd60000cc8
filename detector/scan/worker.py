"""A worker process of a scan: reads requests on standard input, writes responses on standard output (`work`).

Room: scan. Started by `processes`, as `detector.frozen` says; a line of JSON each way, and an empty one now
and then that shows that it lives. It assesses nothing, and ends when its input does, which is also how it notices that
its parent is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import sys
import threading
from typing import IO, TYPE_CHECKING

from detector.aio.tasks import cancel_and_wait
from detector.probe.routes.resolving import AsyncLookup, CachingResolver

from .work import BEAT, BEAT_SECONDS, WorkerConfig, make_detector, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.session.session import Detector


def main() -> None:
    """Serve until the input ends."""
    requests, output = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # only responses may be written there
    responses: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    # Threads, because not every system can wait for a pipe and for sockets in one place; and a parent that is slow to
    # read must not delay a probe.
    writing = threading.Thread(target=_write, args=(responses, output), name="responses")
    writing.start()
    try:
        asyncio.run(_serve(requests, responses))
    finally:
        responses.put(None)
        writing.join()


def _write(responses: queue.SimpleQueue[bytes | None], stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        while (response := responses.get()) is not None:
            stream.write(response)
            stream.flush()


async def _serve(requests: Iterable[bytes], responses: queue.SimpleQueue[bytes | None]) -> None:
    loop, over, running = asyncio.get_running_loop(), asyncio.Event(), set[asyncio.Task[None]]()
    resolvers: list[CachingResolver] = []

    @functools.cache
    def detector_for(config: WorkerConfig) -> Detector:
        resolvers.append(CachingResolver(AsyncLookup()) if config.c_ares else CachingResolver())
        return make_detector(config, resolvers[-1])

    async def respond(line: bytes) -> None:
        responses.put(await run(line, detector_for) + b"\n")

    def start(line: bytes) -> None:
        task = loop.create_task(respond(line))
        running.add(task)
        task.add_done_callback(running.discard)

    def read() -> None:
        for line in requests:
            loop.call_soon_threadsafe(start, line)
        loop.call_soon_threadsafe(over.set)

    async def beat() -> None:
        while True:
            responses.put(BEAT)
            await asyncio.sleep(BEAT_SECONDS)

    threading.Thread(target=read, name="requests", daemon=True).start()
    beating = loop.create_task(beat())
    try:
        await over.wait()
    finally:
        await cancel_and_wait((beating, *running))
        for resolver in resolvers:
            await resolver.close()


if __name__ == "__main__":
    main()
