"""What the tests of this room share: servers that other people wrote, started on loopback until the block ends.

Room: tests. Starts programs and opens connections to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import web
from detector_testing.streams import LOOPBACK, accepts
from support.system import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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


@contextlib.asynccontextmanager
async def running_nginx(port: int, folder: Path, http: str) -> AsyncIterator[None]:
    """Run nginx, whose files are all in `folder`, with this content of its `http` block, which listens on `port`."""
    folders = "".join(f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        "daemon off; master_process off; pid pid; error_log error.log; events { worker_connections 64; }\n"
        f"http {{ {folders}\n{http} }}\n",
        "utf-8",
    )
    async with running(port, "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")):
        yield


@contextlib.asynccontextmanager
async def running_haproxy(port: int, folder: Path, configuration: str) -> AsyncIterator[None]:
    """Run HAProxy with this configuration, which listens on `port`."""
    (folder / "haproxy.cfg").write_text(configuration, "utf-8")
    async with running(port, "haproxy", "-f", str(folder / "haproxy.cfg")):
        yield


@contextlib.asynccontextmanager
async def running_application(application: web.Application) -> AsyncIterator[int]:
    """Serve an application of aiohttp over HTTP until the block ends; gives its port."""
    runner, port = web.AppRunner(application), free_port()
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield port
    finally:
        await runner.cleanup()
