"""A killed process is waited for, whatever cancels the wait."""

from __future__ import annotations

import asyncio
import sys

import pytest

from detector.aio.tasks import reap


async def test_cancelled_again_and_again() -> None:
    """The process has ended, its pipes are closed, and only then the cancellation is raised."""
    command = (sys.executable, "-c", "input()")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    waiting = asyncio.create_task(reap(process))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    process.kill()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert process.returncode is not None


async def test_ended_before() -> None:
    """A process that has ended costs no wait."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await process.wait()
    await reap(process)
