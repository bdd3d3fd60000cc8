"""A real PostgreSQL on loopback, from the system's packages, with a database of its own.

Room: tests. Starts a process; nothing of it is left behind. PostgreSQL refuses to run as root, so that root runs it as
the account that its package made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS: Final = 60.0
"""Until it accepts connections; a second as a rule."""
PASSWORD: Final = "correct-horse"  # noqa: S105 - of a server that lives for one test run
NOTHING_IS_SYNCED: Final = ("-F",)
"""Options of a server whose machine will not lose power."""


class Postgres:
    """A server on a data folder of its own, that can be killed and started again."""

    def __init__(
        self,
        home: Path,
        options: Sequence[str] = NOTHING_IS_SYNCED,
        *,
        data: Path | None = None,
    ) -> None:
        """`home` is an empty folder, in which `data` is by default."""
        secret = home / "password"
        secret.write_text(PASSWORD)
        running = []
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
            shutil.chown(secret, "postgres")
            running += [program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = data or home / "data"
        setting_up: list[str | Path] = ["-D", data, "-A", "scram-sha-256", "-U", "keeper", "--pwfile", secret]
        subprocess.run(  # noqa: S603 - initdb
            [*running, program("initdb"), *setting_up, "--no-sync", "--wal-segsize=1"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        with socket.socket() as chooser:
            chooser.bind(("127.0.0.1", 0))
            self.port: int = chooser.getsockname()[1]
        listening = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(home), *options]
        self._command: list[str | Path] = [*running, program("postgres"), "-D", data, *listening]
        self.url = f"postgresql://keeper:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes commands: it takes connections before that."""
        self.process = subprocess.Popen(  # noqa: S603 - postgres
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )
        asking = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until = time.monotonic() + START_SECONDS
        while subprocess.run(asking, check=False).returncode != 0:  # noqa: S603 - no shell; pg_isready is of the package whose server was started
            assert self.process.poll() is None, "PostgreSQL ended at once"
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """End all its processes with SIGKILL: what is not on the disk is lost."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait()
        while any(map(_runs, family)):  # another server starts on this folder once none of them is left
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it in order."""
        self.process.terminate()
        self.process.wait()


def _runs(process: psutil.Process) -> bool:
    """Whether it has memory and files: one that has ended may wait long for whatever is its parent now."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def running_server(options: Sequence[str] = NOTHING_IS_SYNCED, *, data: Path | None = None) -> Iterator[Postgres]:
    """A fresh server until the block ends; the arguments are those of `Postgres`."""
    with tempfile.TemporaryDirectory(prefix="detector-postgres-") as folder:
        server = Postgres(Path(folder), options, data=data)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a fresh server until the block ends."""
    with running_server() as server:
        yield server.url
