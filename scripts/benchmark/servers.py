"""The other side of the benchmark: nginx with a chain of the test PKI, a server that waits, and a relay that delays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.testing import PrivatePKI, serve_origin
from detector.testing.streams import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST: Final = "exam.example.edu"
NGINX: Final = "/usr/sbin/nginx"
"""Where Debian puts it."""
START_SECONDS: Final = 20.0


class Origin(NamedTuple):
    """A running origin: its folder (certificates, roots, CT logs, `addresses`) and its ports."""

    folder: Path
    ports: tuple[int, ...]


def pinned(core: int) -> list[str]:
    """The words before a command that keep it on one core."""
    return ["taskset", "-c", str(core)]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def origin(folder: Path, *, leaves: int, core: int) -> Iterator[Origin]:
    """Run nginx on one core: TLS 1.3, ECDSA P-256, a leaf of its own on every port, no session tickets."""
    pki = PrivatePKI.create()
    pki.write(folder)
    ports = free_ports(leaves)
    blocks = []
    for number, port in enumerate(ports):
        issued = pki.issue([HOST])
        (folder / f"{number}.pem").write_bytes(issued.chain_pem)
        (folder / f"{number}.key").write_bytes(issued.key_pem)
        blocks.append(
            f"server {{ listen 127.0.0.1:{port} ssl backlog=4096; ssl_certificate {folder}/{number}.pem; "
            f"ssl_certificate_key {folder}/{number}.key; return 200; }}"
        )
    (folder / "addresses").write_text("".join(f"127.0.0.1:{port}\n" for port in ports), "ascii")
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors; worker_rlimit_nofile 60000;"
        "events { worker_connections 30000; } http { access_log off; ssl_protocols TLSv1.2 TLSv1.3; "
        "ssl_session_tickets off; ssl_session_cache off; keepalive_timeout 5s; " + "\n".join(blocks) + " }",
        "ascii",
    )
    with running([*pinned(core), NGINX, "-c", str(folder / "nginx.conf")]):
        wait_for(ports[-1])
        yield Origin(folder, tuple(ports))


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own until the block ends, however it ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - our own commands
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(port: int) -> None:
    """Until somebody listens there. Raises TimeoutError."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {START_SECONDS:.0f} s")


def missing() -> list[str]:
    """Programs that must be there and are not."""
    return [name for name in (NGINX, "taskset") if shutil.which(name) is None]


@contextlib.contextmanager
def helper(role: str, *arguments: str, core: int) -> Iterator[int]:
    """Run a server of this module in a process of its own; gives its port."""
    (port,) = free_ports(1)
    command = [*pinned(core), sys.executable, "-m", "benchmark.servers", role, str(port), *arguments]
    with running(command):
        wait_for(port)
        yield port


async def hold(port: int, expected: int) -> None:
    """Accept handshakes and answer none before all `expected` hellos are there and somebody says so.

    A connection that begins with `?` is told when they are, and `!` on it lets all of them go on, by the hands of a
    real origin: each is passed on to it, with the hello that waited.
    """
    hellos = asyncio.Semaphore(0)
    go = asyncio.Event()
    slots = asyncio.Semaphore(200)
    pki = PrivatePKI.create()
    async with serve_origin(pki.issue([HOST])) as behind:

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(1 << 16)
            if first == b"?":
                for _ in range(expected):
                    await hellos.acquire()
                writer.write(b"!")
                await reader.read(1)
                go.set()
                return
            if not first:
                writer.close()
                return
            hellos.release()
            await go.wait()
            async with slots:
                onward, back = await asyncio.open_connection(LOOPBACK, behind.port)
                back.write(first)
                await asyncio.gather(pump(onward, writer, 0.0), pump(reader, back, 0.0))

        server = await asyncio.start_server(client, LOOPBACK, port, backlog=4096)
        async with server:
            await server.serve_forever()


async def relay(port: int, target: int, milliseconds: float) -> None:
    """Pass connections on, every octet half the round trip later in each direction."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", target)
        late = milliseconds / 2000
        await asyncio.gather(pump(reader, back, late), pump(onward, writer, late))

    server = await asyncio.start_server(client, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
    """Copy octets from one to the other, each `late` seconds after it came, until either ends."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(due - loop.time(), 0.0))
            if not data:
                writer.close()
                return
            writer.write(data)

    delivering = asyncio.create_task(deliver())
    data = b"?"
    while data:
        try:
            data = await reader.read(1 << 16)
        except OSError:
            data = b""
        waiting.put_nowait((loop.time() + late, data))
    await delivering


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.argv[1] == "hold":
        asyncio.run(hold(int(sys.argv[2]), int(sys.argv[3])))
    else:
        asyncio.run(relay(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
