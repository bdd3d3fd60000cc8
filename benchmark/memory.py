"""Memory of a contender with many handshakes in progress, all of which then complete. Reads /proc."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from .attempts import raise_file_limit
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
"""Seconds in which all connections must arrive, and in which all must end."""
SPARE_FILES: Final = 200
"""Open files in addition to those of the connections."""


class Held(NamedTuple):
    """MiB of resident memory of all processes of a contender with so many handshakes in progress; all completed."""

    name: str
    connections: int
    processes: int
    mebibytes: float


def resident(status: str) -> float:
    """Return MiB of resident memory from the text of /proc/PID/status. Raises NotRunError when it has none."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise NotRunError("the process ended before its memory was read")
    return int(found[1]) / 1024


@contextlib.contextmanager
def relay(what: str, number: float, port: int, core: int | None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start one of the `relays` in front of a port; yields the process and its port."""
    command = [*pinned(core), sys.executable, "-m", "benchmark.relays", what, str(number), str(port)]
    started = subprocess.Popen(  # noqa: S603 - no shell, and every word is this interpreter, a module of this package or a number
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
    )
    with ended(started) as process:
        yield process, int(_line(process) or 0)


def _line(process: subprocess.Popen[bytes]) -> str:
    """Return the next line of a process. Raises NotRunError when none comes in time."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        timer.cancel()
    if not line:
        raise NotRunError(f"{process.args!r} printed nothing within {PATIENCE:g} seconds")
    return line.decode().strip()


def connections_possible() -> int:
    """Return how many connections one process may have open here."""
    return max(raise_file_limit() - SPARE_FILES, 1)


def shares(connections: int, room: int) -> list[int]:
    """Distribute connections evenly over as few processes as possible, each with at most `room`."""
    processes = -(-connections // room)
    return [connections // processes + (place < connections % processes) for place in range(processes)]


def hold(
    contender: Contender, origin: Origin, connections: int, cores: tuple[int | None, int | None], *, room: int
) -> Held:
    """Measure one contender with a number of connections, in as many processes as necessary. Raises NotRunError."""
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(_part(contender, origin, each, cores)) for each in shares(connections, room)]
        for part in parts:
            _line(part.holder)
        used = sum(resident(Path(f"/proc/{part.client.pid}/status").read_text()) for part in parts)
        for part in parts:
            part.release()
        completed = sum(part.completed() for part in parts)
    if completed != connections:
        raise NotRunError(f"{completed} of {connections} handshakes were completed")
    return Held(contender.name, connections, len(parts), used)


@dataclasses.dataclass(frozen=True)
class _Part:
    """One process of a contender, and the relay in front of the origin that holds its handshakes."""

    connections: int
    holder: subprocess.Popen[bytes]
    client: subprocess.Popen[bytes]
    output: IO[str]

    def release(self) -> None:
        """Let its handshakes continue."""
        if self.holder.stdin is None:
            raise NotRunError("a process has no pipes")
        self.holder.stdin.write(b"go\n")
        self.holder.stdin.flush()

    def completed(self) -> int:
        """Wait for its end and return how many handshakes it completed. Raises NotRunError."""
        try:
            code = self.client.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise NotRunError(f"{self.connections} handshakes did not end within {PATIENCE:g} seconds") from None
        self.output.seek(0)
        text = self.output.read()
        if code:
            raise NotRunError(f"ended with {code} after {self.connections} connections: {text[-300:]}")
        return int(read_json(text)["completed"])


@contextlib.contextmanager
def _part(
    contender: Contender, origin: Origin, connections: int, cores: tuple[int | None, int | None]
) -> Iterator[_Part]:
    with relay("hold", connections, origin.port, cores[0]) as (holder, port), tempfile.TemporaryFile("w+") as output:
        addresses = [f"127.0.0.{number + 1}" for number in range(ADDRESSES)]
        command = contender.work(origin, connections, connections)
        arguments, stdin = command.arguments, command.stdin
        if contender.name == REFERENCE:
            where = ",".join(f"{address}:{port}" for address in addresses)
            arguments = [*arguments, "-addresses", where, "-host", HOST]  # the last one takes precedence
        else:
            stdin = setup(origin, addresses=[[address, port] for address in addresses], patience=PATIENCE)
        client = subprocess.Popen(  # noqa: S603 - no shell, and the command is one of the literal commands in `contenders`
            [*pinned(cores[1]), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
        with ended(client) as process:
            if process.stdin is None:
                raise NotRunError("a process has no pipes")
            process.stdin.write(stdin.encode())
            process.stdin.close()
            yield _Part(connections, holder, process, output)
