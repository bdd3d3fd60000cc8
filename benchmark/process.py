"""Measured processes: started on one core, always ended, their CPU time read from the kernel."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIMIT: Final = 180.0
"""Seconds for one run of a contender; the slowest takes a few."""


class NotRunError(RuntimeError):
    """Something is not available or failed; the message says what."""


class Run(NamedTuple):
    """A process that has ended: CPU seconds with its children's, elapsed seconds, output, exit code."""

    cpu: float
    wall: float
    output: str
    code: int


def cores() -> tuple[int | None, int | None]:
    """Return the cores of the origin and of the contenders; None where processes cannot be pinned."""
    if not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def pinned(core: int | None) -> list[str]:
    """Return the words in front of a command that pin it to one core."""
    return [] if core is None else ["taskset", "-c", str(core)]


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a session leader, with all its children, when the block ends."""
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # the reader has closed
                    pipe.close()


def measure(command: Sequence[str], *, core: int | None, stdin: str = "", env: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end. Raises NotRunError when it cannot be started or takes too long."""
    with tempfile.TemporaryFile("w+", errors="replace") as output, tempfile.TemporaryFile("w+") as given:
        given.write(stdin)
        given.seek(0)
        begun = time.perf_counter()
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell, and callers pass the literal commands in `contenders`
                [*pinned(core), *command],
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
            )
        except OSError as error:
            raise NotRunError(f"{command[0]}: {error.strerror}") from error
        late = threading.Event()

        def stop() -> None:
            late.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(LIMIT, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C too: the process must not outlive this one; it is raised again
            stop()
            process.wait()
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begun
        if late.is_set():
            raise NotRunError(f"{command[0]}: did not end within {LIMIT:g} seconds")
        output.seek(0)
        return Run(usage.ru_utime + usage.ru_stime, wall, output.read(), process.returncode)
