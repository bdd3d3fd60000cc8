"""Runs a collector: `detector-collect serve` and `work` as processes that are killed and started again.

Room: tests. Starts processes on loopback; their logs are kept in a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from detector_collect.store import keys
from detector_collect.store.database import Store
from detector_collect.worker import MaterialConfig, Worker, WorkerSettings

from detector.knowledge import data_set
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from support.collect_world import CollectWorld

COMMAND: Final = (sys.executable, "-m", "detector_collect")
READY_SECONDS: Final = 60.0
"""Until a process serves; two seconds as a rule."""
TESTS: Final = str(Path(__file__).parents[1])
RATE: Final = 1_000_000
"""Submissions a minute that a key may send here: more than can be."""
LEASE: Final = dt.timedelta(seconds=20)
BYTES: Final = 4 << 20


class Part:
    """One process of a collector, with its log."""

    def __init__(self, command: Sequence[str], log: Path, url: str = "") -> None:
        """`url` is where it serves, if it does."""
        self._command = command
        self.url, self.log = url, log
        self.start()

    def start(self) -> None:
        """Start it. Does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=_environment())  # noqa: S603 - ours

    async def ready(self) -> None:
        """Wait until it serves."""
        until = time.monotonic() + READY_SECONDS
        while await status(self.url, "/readyz") != 200:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < until, self.log.read_text()[-4000:]
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL. It must have been running."""
        assert self.process.poll() is None, self.log.read_text()[-4000:]  # it ended by itself
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL

    def stop(self) -> None:
        """Stop it in order, if it runs."""
        self.process.terminate()
        self.process.wait()


class Collector:
    """A collector on one database; its parts are in `parts`."""

    def __init__(self, database: str, folder: Path, world: CollectWorld) -> None:
        self.database, self.folder = database, folder
        self.pins = str(folder / "pins.toml")
        world.write_pins(folder / "pins.toml")
        self.key = Ed25519PrivateKey.generate()
        self.parts: list[Part] = []
        (folder / "receipts.pem").write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "receipts.pem").chmod(0o600)

    @property
    def public_key(self) -> bytes:
        """The key that receipts are verified with."""
        return public_key_of(self.key)

    def serve(self, *options: str, prefix: Sequence[str] = ()) -> Part:
        """Start a service on a port of its own."""
        with socket.socket() as chooser:
            chooser.bind(("127.0.0.1", 0))
            port = chooser.getsockname()[1]
        assessing = () if "--no-worker" in options else ("--data", data_set.SHIPPED, "--pins", self.pins)
        listening = (*assessing, "--listen", f"127.0.0.1:{port}", "--signing-key", str(self.folder / "receipts.pem"))
        return self._part("serve", (*listening, *options), prefix, f"http://127.0.0.1:{port}")

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Assess what was received until the block ends, with leases as short as a test.

        A claim that was committed while the server died is nobody's until its lease ends.
        """
        settings = WorkerSettings(lease=LEASE, poll=0.1)
        async with (
            await Store.open(self.database) as store,
            Worker(store, MaterialConfig(data=data_set.SHIPPED, pins=(self.pins,)), settings) as worker,
        ):
            task = asyncio.create_task(worker.run())
            try:
                yield
                assert not task.done(), task.exception()
            finally:
                task.cancel()

    def _part(self, name: str, options: Sequence[str], prefix: Sequence[str], url: str = "") -> Part:
        command = (*prefix, *COMMAND, name, "--database", self.database, *options)
        part = Part(command, self.folder / f"{name}-{len(self.parts)}.log", url)
        self.parts.append(part)
        return part


@contextlib.asynccontextmanager
async def running_collector(database: str, folder: Path, world: CollectWorld) -> AsyncIterator[Collector]:
    """A collector with the institutions of a world and no process yet. They are stopped at the end."""
    now = dt.datetime.now(dt.UTC)
    async with await Store.open(database, migrate=True) as store, store.begin() as connection:
        for name, key in world.public_keys.items():
            await keys.add_institution(connection, keys.Institution(name, name.title(), now))
            await keys.add_key(connection, keys.Key(key, name, "signing", now, None, None, RATE, BYTES))
    collector = Collector(database, folder, world)
    try:
        yield collector
    finally:
        for part in collector.parts:
            part.stop()


async def status(url: str, path: str) -> int:
    """The status of `GET path`; 0 where nobody answers."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
    except OSError:
        return 0
    finally:
        writer.close()
    return int(line.split()[1]) if line else 0


def _environment() -> dict[str, str]:
    """This environment without proxies, which nothing here is meant for, and with these modules."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return {**kept, "PYTHONPATH": os.pathsep.join((TESTS, os.environ.get("PYTHONPATH", "")))}
