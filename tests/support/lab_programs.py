"""What the tests of this room share: servers that other people wrote, started on loopback until the block ends.

Room: tests. Starts programs and opens connections to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

from detector_testing.streams import LOOPBACK, accepts
from support.system import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_SECONDS: Final = 60.0
"""Time for a program to listen, on a machine that does much else at the same time."""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        port: int = listening.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def running(port: int, *command: str) -> AsyncIterator[None]:
    """Run a program of the system until the block ends; begins when it listens on `port`."""
    process = await asyncio.create_subprocess_exec(
        program(command[0]),
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await accepts(port):
                assert process.returncode is None, f"{command[0]} ended with {process.returncode} before it listened"
                await asyncio.sleep(0.02)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
