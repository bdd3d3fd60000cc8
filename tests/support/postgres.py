"""A real PostgreSQL on loopback, from the system's packages, with a database of its own.

Room: tests. Starts a process; nothing of it is left behind. PostgreSQL refuses to run as root, so that root runs it as
the account that its package made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS: Final = 60.0
"""Until it accepts connections; a second as a rule."""
PASSWORD: Final = "correct-horse"  # noqa: S105 - of a server that lives for one test run


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a fresh server until the block ends."""
    initdb, postgres = program("initdb"), program("postgres")
    account: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="detector-postgres-") as folder, socket.socket() as chooser:
        home = Path(folder)
        secret = home / "password"
        secret.write_text(PASSWORD)
        if account:
            shutil.chown(home, "postgres")
            shutil.chown(secret, "postgres")
        setting_up: list[str | Path] = [
            initdb,
            "-D",
            home / "data",
            "-A",
            "scram-sha-256",
            "-U",
            "keeper",
            "--pwfile",
            secret,
        ]
        subprocess.run([*setting_up, "--no-sync"], check=True, capture_output=True, cwd="/", **account)  # noqa: S603 - initdb
        chooser.bind(("127.0.0.1", 0))
        port = chooser.getsockname()[1]
        chooser.close()
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(home), "-F"]
        process = subprocess.Popen(  # noqa: S603 - postgres
            [postgres, "-D", home / "data", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **account,
        )
        try:
            _wait(process, port)
            yield f"postgresql://keeper:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server takes commands: it takes connections before that."""
    asking = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    until = time.monotonic() + START_SECONDS
    while subprocess.run(asking, check=False).returncode != 0:  # noqa: S603 - no shell; pg_isready is of the package whose server was started
        assert process.poll() is None, "PostgreSQL ended at once"
        assert time.monotonic() < until, "PostgreSQL does not answer"
        time.sleep(0.05)
