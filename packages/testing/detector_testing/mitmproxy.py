"""The real mitmproxy on loopback, in an environment of its own.

Room: testing. Runs a process. mitmproxy pins old versions of this package's dependencies, so it is never imported: it
is a `mitmdump` on PATH, or one that uv fetches and caches (`uvx --from mitmproxy mitmdump`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from detector.errors import DetectorError

from .pki import to_pem
from .streams import LOOPBACK, Address, accepts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

START_LIMIT: Final = 180.0
"""Seconds until mitmproxy must listen: usually 3, a minute or more when uv fetches it first."""

STOP_LIMIT: Final = 5.0
"""Seconds between SIGTERM and SIGKILL; mitmproxy takes about half a second."""

POLL_INTERVAL: Final = 0.05
"""Seconds between checks whether mitmproxy is ready."""

OUTPUT_LIMIT: Final = 1 << 14
"""Bytes of mitmproxy's output that are kept for error messages."""

ADDON: Final = pathlib.Path(__file__).with_name("mitmproxy_addon.py")
ENVIRONMENT: Final = "DETECTOR_TESTING_MITMPROXY"
"""The addon that runs inside mitmproxy and the variable with its options."""


class MitmproxyError(DetectorError, RuntimeError):
    """mitmproxy is not installed, or did not start."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mitmproxy:
    """A running mitmproxy: its address, and the certificate (DER) of the CA it created.

    `overheard_file` records the requests it decrypts.
    """

    port: int
    ca_certificate: bytes
    overheard_file: pathlib.Path
    host: str = LOOPBACK

    @property
    def address(self) -> Address:
        """Host and port to connect to."""
        return self.host, self.port

    @property
    def url(self) -> str:
        """The proxy URL to configure a client with, in mode `regular`."""
        return f"http://{self.host}:{self.port}"

    @property
    def ca_pem(self) -> bytes:
        """The CA certificate in PEM."""
        return to_pem(self.ca_certificate)

    @property
    def overheard(self) -> bytes:
        """The plaintext of every complete request so far. Read it while mitmproxy runs."""
        return self.overheard_file.read_bytes()


def mitmdump_command() -> tuple[str, ...]:
    """Return a command that starts mitmdump. Raises MitmproxyError, which says what to install."""
    if mitmdump := shutil.which("mitmdump"):
        return (mitmdump,)
    if uvx := shutil.which("uvx"):
        return uvx, "--from", "mitmproxy", "mitmdump"
    if importlib.util.find_spec("uv") is not None:
        return sys.executable, "-m", "uv", "tool", "run", "--from", "mitmproxy", "mitmdump"
    raise MitmproxyError(
        "There is neither mitmdump nor uvx on PATH.",
        advice="Install uv (pip install uv), which fetches mitmproxy into an environment of its own; or mitmproxy.",
    )


async def fetch_mitmdump() -> tuple[str, ...]:
    """Return the path of mitmdump, fetched by uv if necessary, for a namespace without a connection to the network.

    Raises MitmproxyError when it is not available.
    """
    command = mitmdump_command()
    if len(command) == 1:
        return command
    process = await asyncio.create_subprocess_exec(
        *(*command[:-1], "python", "-c", "import sys; print(sys.executable)"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise MitmproxyError(
            f"uv could not fetch mitmproxy: {errors.decode(errors='replace').strip()}",
            advice="Run it once by hand: uvx --from mitmproxy mitmdump --version",
        )
    return (str(pathlib.Path(output.decode().strip()).with_name("mitmdump")),)


@contextlib.asynccontextmanager
async def run_mitmproxy(  # noqa: PLR0913 - what differs from one lab to the next
    mode: str = "regular",
    *,
    append_upstream_chain: bool = False,
    upstream_hosts: Mapping[Address, Address] | None = None,
    listen_host: str = LOOPBACK,
    port: int = 0,
    command: Sequence[str] | None = None,
    options: Mapping[str, str] | None = None,
    confdir: pathlib.Path | None = None,
    start_limit: float = START_LIMIT,
) -> AsyncIterator[Mitmproxy]:
    """Run mitmproxy until the block ends.

    `mode` is mitmproxy's: `regular` (an HTTP proxy), `reverse:https://127.0.0.1:PORT`, or, in a network lab,
    `transparent` (then `upstream_hosts` maps each address and port to itself). `append_upstream_chain` sets
    `add_upstream_certs_to_client_chain`. `upstream_hosts` maps (host, port) to real addresses; apart from those it
    connects only to loopback. It listens on `listen_host` (empty: all addresses) and `port` (0: any free one).
    `command` starts mitmdump (default: `mitmdump_command`; see `fetch_mitmdump`). `options` are further options of
    mitmproxy, as for `--set`. `confdir` keeps its CA (default: a new one in a temporary directory). `start_limit` is
    in seconds.

    Raises MitmproxyError, with mitmproxy's output, when it is missing, ends, or does not listen in time.
    """
    command = command or mitmdump_command()
    with tempfile.TemporaryDirectory(prefix="detector-mitmproxy-") as temporary:
        home = confdir or pathlib.Path(temporary, "conf")
        ready_file = pathlib.Path(temporary, "ready")
        overheard_file = pathlib.Path(temporary, "overheard")
        port = port or _free_port()
        settings = {
            "confdir": str(home),
            "ssl_insecure": "true",  # its upstream is a private PKI
            "add_upstream_certs_to_client_chain": str(append_upstream_chain).lower(),
            **(options or {}),
        }
        arguments = ["-q", "--mode", mode, "--listen-host", listen_host, "--listen-port", str(port), "-s", str(ADDON)]
        for name, value in settings.items():
            arguments += ["--set", f"{name}={value}"]
        upstream = [[*name, *address] for name, address in (upstream_hosts or {}).items()]
        files = {"ready_file": str(ready_file), "overheard_file": str(overheard_file)}
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.PIPE,  # the addon ends mitmproxy when this pipe closes
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, ENVIRONMENT: json.dumps({**files, "upstream": upstream})},
            start_new_session=True,  # uvx starts mitmdump as a child: both are signaled as one group
        )
        output = bytearray()
        reading = asyncio.ensure_future(_keep_output(process, output))
        try:
            await _until_ready(process, ready_file, port, output, start_limit)
            certificate = x509.load_pem_x509_certificate((home / "mitmproxy-ca-cert.pem").read_bytes())
            der = certificate.public_bytes(serialization.Encoding.DER)
            yield Mitmproxy(port=port, ca_certificate=der, overheard_file=overheard_file)
        finally:
            await _stop(process, reading)


async def _until_ready(
    process: asyncio.subprocess.Process, ready_file: pathlib.Path, port: int, output: bytearray, start_limit: float
) -> None:
    """Wait until the addon reports that mitmproxy runs, and it accepts a connection."""
    try:
        async with asyncio.timeout(start_limit):
            while not (_exists(ready_file) and await accepts(port)):
                if process.returncode is not None:
                    raise MitmproxyError(
                        f"mitmproxy ended with exit code {process.returncode} before it listened: {_text(output)}",
                        advice="Try `mitmdump --version` or `uvx --from mitmproxy mitmdump --version`.",
                    )
                await asyncio.sleep(POLL_INTERVAL)
    except TimeoutError:
        raise MitmproxyError(
            f"mitmproxy did not listen on {LOOPBACK}:{port} within {start_limit:g} seconds: {_text(output)}",
            advice="Run it once by hand, so that uv fetches it: uvx --from mitmproxy mitmdump --version",
        ) from None


def _exists(path: pathlib.Path) -> bool:
    return path.exists()


async def _stop(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
    """End mitmproxy and its parent: SIGTERM, then SIGKILL."""
    if process.returncode is None:
        _signal_group(process, "SIGTERM")
    try:
        async with asyncio.timeout(STOP_LIMIT):
            await process.wait()
            await asyncio.shield(reading)
    except TimeoutError:
        pass  # killed below, also when this wait is cancelled
    finally:
        # A process that still holds the pipe is in the group, so the group's number cannot have been reused.
        if not reading.done():
            _signal_group(process, "SIGKILL")
    await process.wait()
    await reading


def _signal_group(process: asyncio.subprocess.Process, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, getattr(signal, name))
        else:  # Windows has no such process groups
            process.kill()


async def _keep_output(process: asyncio.subprocess.Process, output: bytearray) -> None:
    if process.stdout is None:
        raise RuntimeError("the process has no pipe for its output")
    while chunk := await process.stdout.read(OUTPUT_LIMIT):
        output += chunk
        del output[:-OUTPUT_LIMIT]


def _text(output: bytearray) -> str:
    return output.decode("utf-8", "replace").strip() or "it printed nothing"


def _free_port() -> int:
    """Return a free port, because mitmproxy does not report the port that the system chose."""
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        port: int = unused.getsockname()[1]
        return port
