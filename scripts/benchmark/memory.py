"""Memory of a contender with many connections in the middle of a handshake, all of which then complete.

Room: scripts. Starts processes and reads /proc.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .clients import raise_file_limit
from .contenders import ENVIRONMENT, REFERENCE, read_json
from .origin import HOST, setup
from .process import NotRunError, ended, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contenders import Contender
    from .origin import Origin

ADDRESSES: Final = 8
"""Addresses of loopback that connections are spread over: each has 28,000 ports of its own."""
PATIENCE: Final = 150.0
"""Seconds in which all have to come, and seconds in which all have to end."""
SPARE_FILES: Final = 200
"""Open files besides those of the connections."""


class Held(NamedTuple):
    """MiB of resident memory with so many handshakes in the middle, and how many of them completed."""

    name: str
    connections: int
    mebibytes: float
    completed: int


def resident(status: str) -> float:
    """MiB of resident memory in the text of /proc/PID/status. Raises NotRunError when there is none."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise NotRunError("the process ended while its memory was to be read")
    return int(found[1]) / 1024


@contextlib.contextmanager
def relay(what: str, number: float, port: int, core: int | None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start one of `relays.py` before a port; gives it and the port it has itself."""
    command = [*pinned(core), sys.executable, "-m", "benchmark.relays", what, str(number), str(port)]
    started = subprocess.Popen(  # noqa: S603 - our own script
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
    )
    with ended(started) as process:
        yield process, int(_line(process) or 0)


def _line(process: subprocess.Popen[bytes]) -> str:
    """What a process says next. Raises NotRunError when it says nothing in time."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        timer.cancel()
    if not line:
        raise NotRunError(f"{process.args!r} said nothing within {PATIENCE:g} seconds")
    return line.decode().strip()


def connections_possible() -> int:
    """As many connections as one process may have open here; the rest of its files is left over."""
    return max(raise_file_limit() - SPARE_FILES, 0)


def hold(contender: Contender, origin: Origin, connections: int, cores: tuple[int | None, int | None]) -> Held:
    """Measure one contender at one number of connections. Raises NotRunError."""
    with relay("hold", connections, origin.port, cores[0]) as (holder, port), tempfile.TemporaryFile("w+") as output:
        addresses = [f"127.0.0.{number + 1}" for number in range(ADDRESSES)]
        command = contender.work(origin, connections, connections)
        arguments, stdin = command.arguments, command.stdin
        if contender.name == REFERENCE:
            where = ",".join(f"{address}:{port}" for address in addresses)
            arguments = [*arguments, "-addresses", where, "-host", HOST]  # the last one given counts
        else:
            stdin = setup(origin, addresses=[[address, port] for address in addresses], patience=PATIENCE)
        looking = subprocess.Popen(  # noqa: S603 - a contender's command
            [*pinned(cores[1]), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
        with ended(looking) as process:
            if process.stdin is None or holder.stdin is None:
                raise NotRunError("a process was started without pipes")
            process.stdin.write(stdin.encode())
            process.stdin.close()
            _line(holder)
            used = resident(Path(f"/proc/{process.pid}/status").read_text())
            holder.stdin.write(b"go\n")
            holder.stdin.flush()
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise NotRunError(f"{connections} handshakes did not end within {PATIENCE:g} seconds") from None
        output.seek(0)
        text = output.read()
        if code:
            raise NotRunError(f"ended with {code} after {connections} connections: {text[-300:]}")
        return Held(contender.name, connections, used, int(read_json(text)["completed"]))
