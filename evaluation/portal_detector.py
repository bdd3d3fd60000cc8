"""captive-portal-detector from PyPI as one of the methods, in a temporary environment, against servers on loopback.

The package is neither imported nor a dependency. Only `network_health()` is used; its other analysis sniffs the network
as root and contacts fixed hosts on the Internet.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector_testing import Script, serve_script
from detector_testing.pki import to_pem

from .material import Answer, Item, Reply, Scene, Truth
from .uv import UvError, run_uv

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector.trust.roots import Roots

PACKAGE: Final = "captive-portal-detector"
VERSION: Final = "1.1.2"
METHOD: Final = f"{PACKAGE} {VERSION}"
MEANING: Final = (
    "`NetworkProbe(pinned_hosts={host: pin}).network_health()`, one call per endpoint, run unmodified in an "
    "environment of its own against a server on loopback that presents the chain and holds its key. The pin is bare "
    "base64 of the genuine leaf's key: the `sha256/…` form and the argument `pinned=` of its README do not "
    "work with its code. Arranged around it: certifi's roots are the test PKI's, its plain-HTTP control requests are "
    "answered as on a healthy network, no other name resolves. `CAPTIVE`: accuses. `OK`: clean. "
    "`NO_INTERNET`: no answer, and what it "
    "says of every chain that certifi rejects. It needs a pin (one, of a leaf) and a server that it can connect to "
    "directly at the present time: captured chains, pinless settings, shifted clocks and scenarios are no answer."
)
ANSWERS: Final = {"CAPTIVE": Answer.ACCUSED, "OK": Answer.CLEAN, "NO_INTERNET": Answer.NOTHING}
NEEDS: Final = ("certifi", "requests", "cryptography")
"""The imports of `network_probe.py`. The package's other requirements (packet sniffing, interface lists) are for the
other analysis, and one of them must be compiled."""
ANSWER_LIMIT: Final = 40.0
"""Seconds for one answer: its parallel probes have timeouts of 5 s, and 10 s for a second attempt."""


class NotRunError(RuntimeError):
    """The package could not be installed or started; the message says why."""


class Driver:
    """A running driver."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._roots: dict[int, tuple[Roots, Path]] = {}

    async def ask(self, scene: Scene, item: Item, port: int) -> Answer:
        """Return its answer about the server at a port on loopback. Raises NotRunError when the driver ends."""
        if item.known is None or not item.known.keys:
            return Answer.NOTHING
        # It takes one pin per host.
        pin = base64.b64encode(min(item.known.keys)).decode()
        request = {"host": item.endpoint.host, "port": port, "pin": pin, "roots": str(self._roots_file(scene.public))}
        if self._process.stdin is None or self._process.stdout is None:
            raise NotRunError("the driver has no pipes")
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise NotRunError(f"{PACKAGE} gave no answer within {ANSWER_LIMIT:g} seconds") from None
        if not line:
            raise NotRunError(f"{PACKAGE}: the driver ended before it answered")
        return ANSWERS[json.loads(line)["verdict"]]

    def _roots_file(self, roots: Roots) -> Path:
        if id(roots) not in self._roots:
            path = self._folder / f"roots-{len(self._roots)}.pem"
            path.write_bytes(b"".join(to_pem(root.certificate.der) for root in roots.roots))
            self._roots[id(roots)] = (roots, path)
        return self._roots[id(roots)][1]


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Driver]:
    """Install and start it until the block ends. Raises NotRunError."""
    with tempfile.TemporaryDirectory(prefix="detector-evaluate-") as temporary:
        folder = Path(temporary)
        python = folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        await _run_uv("venv", "--quiet", "--python", sys.executable, str(folder / "env"))
        install = ("pip", "install", "--quiet", "--python", str(python))
        await _run_uv(*install, "--no-deps", f"{PACKAGE}=={VERSION}")
        await _run_uv(*install, *NEEDS)
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(Path(__file__).with_name("portal_driver.py")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # it logs failed probes
        )
        try:
            yield Driver(process, folder)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(ANSWER_LIMIT):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _run_uv(*arguments: str) -> None:
    try:
        await run_uv(*arguments)
    except UvError as error:
        raise NotRunError(f"uv installs {PACKAGE} into an environment of its own: {error}") from error


async def ask_all(scenes: list[Scene], now_is: Scene) -> list[Reply]:
    """Serve every scene's chains on loopback in turn, and ask about each endpoint.

    `now_is` is any scene of the present: scenes of other moments get no answer, because the package reads the clock.
    """
    replies: list[Reply] = []
    async with running() as asked:
        for scene in scenes:
            for item in scene.items:
                answer = Answer.NOTHING
                if item.key is not None and item.known is not None and scene.at == now_is.at:
                    script = Script(certificates=item.chain, key=item.key)
                    async with serve_script(script) as server:
                        answer = await asked.ask(scene, item, server.port)
                replies.append(_reply(scene, item, answer))
    return replies


def unasked(scene: Scene) -> list[Reply]:
    """Return no answer for every endpoint of a scene that it cannot assess."""
    return [_reply(scene, item, Answer.NOTHING) for item in scene.items]


def _reply(scene: Scene, item: Item, answer: Answer) -> Reply:
    truth: Truth = item.truth
    return Reply(scene.group, scene.name, scene.setting, item.endpoint.name, METHOD, truth, answer)
