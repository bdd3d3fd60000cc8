"""A process of a scan: looks at what it is told on standard input, says on standard output what it saw.

Room: scan. Started by `processes`, as `python -m detector.scan.worker`; lines of JSON both ways. It judges nothing. It
ends when its input does, which is also how it notices that whoever started it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from typing import IO, TYPE_CHECKING

import msgspec

from detector.aio.tasks import end
from detector.errors import DetectorError
from detector.pins import PinSet
from detector.probe.routes.resolving import AsyncLookup, CachingResolver
from detector.session.seams import Seams
from detector.session.session import Detector

from .processes import Brought, Errand, Refusal, Setup
from .work import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> None:
    """Serve until the input ends."""
    told, brought = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what anything else may say is no answer
    setup = msgspec.json.decode(told.readline(), type=Setup)
    answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    # Threads, because not every system can wait for a pipe and for sockets in one place; and whoever takes the answers
    # may be busy, which must not make a look late.
    writing = threading.Thread(target=_write, args=(answers, brought), name="answers")
    writing.start()
    try:
        asyncio.run(_serve(setup, told, answers))
    finally:
        answers.put(None)
        writing.join()


def _write(answers: queue.SimpleQueue[bytes | None], stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is left to tell
        while (answer := answers.get()) is not None:
            stream.write(answer)
            stream.flush()


async def _serve(setup: Setup, told: Iterable[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
    names = CachingResolver(AsyncLookup()) if setup.c_ares else CachingResolver()
    detector = Detector(
        pins=PinSet(name="child", endpoints=()),
        network=setup.network,
        seams=Seams(resolver=names),
    )
    loop, over, running = asyncio.get_running_loop(), asyncio.Event(), set[asyncio.Task[None]]()

    async def do(line: bytes) -> None:
        errand = msgspec.json.decode(line, type=Errand)
        try:
            case = await detector.look(errand.endpoint, timeout=errand.timeout)
        except DetectorError as error:
            refusal = Refusal(message=error.message, advice=error.advice)
            brought = Brought(number=errand.number, refusal=refusal)
        else:
            brought = Brought(number=errand.number, seen=Seen(observation=case.observation, others=case.others))
        answers.put(msgspec.json.encode(brought) + b"\n")

    def begin(line: bytes) -> None:
        task = loop.create_task(do(line))
        running.add(task)
        task.add_done_callback(running.discard)

    def read() -> None:
        for line in told:
            loop.call_soon_threadsafe(begin, line)
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=read, name="errands", daemon=True).start()
    try:
        await over.wait()
    finally:
        await end(running)
        await names.close()


if __name__ == "__main__":
    main()
