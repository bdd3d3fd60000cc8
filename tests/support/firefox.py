"""A real headless Firefox, set up by enterprise policies and driven over WebDriver BiDi.

Room: tests. Starts a process; talks to loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from support.system import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PATIENCE: Final = 60
"""Seconds for a browser to start on a busy machine; only a broken test waits that long."""

PREFERENCES: Final[dict[str, object]] = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.http.http3.enable": False,
    "network.trr.mode": 5,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "xpinstall.signatures.required": False,
}
"""Without the connections that a browser makes by itself, and with extensions that Mozilla did not sign (ESR only)."""


class Firefox:
    """A running browser. Each method waits for what it starts."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket: Final = socket
        self._numbers: Final = itertools.count(1)

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
        """Call a method of WebDriver BiDi and return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": arguments})
        while True:
            said = await self._socket.receive_json()
            if said.get("id") == number:
                assert said["type"] == "success", f"{method}: {said}"
                result: dict[str, Any] = said["result"]
                return result

    async def open(self, url: str) -> str:
        """Load a page in a tab of its own; return the tab."""
        tab: str = (await self.call("browsingContext.create", type="tab"))["context"]
        await self.call("browsingContext.navigate", context=tab, url=url, wait="complete")
        return tab

    async def run(self, tab: str, expression: str) -> Any:  # noqa: ANN401 - what the script returns
        """Evaluate an expression in a tab, waiting for a promise; it must give text."""
        found = await self.call("script.evaluate", expression=expression, target={"context": tab}, awaitPromise=True)
        assert found["type"] == "success", found
        return found["result"].get("value")


def _install(folder: Path, policies: Mapping[str, Any]) -> Path:
    """Return the program of an installation with these policies: that of the system, in links, and a copied binary.

    Firefox reads `distribution/policies.json` next to its binary, and the system's may be read-only.
    """
    installed = Path(program("firefox-esr")).resolve().parent
    folder.mkdir()
    for item in installed.iterdir():
        if item.name in {"firefox-esr", "firefox-bin"}:
            shutil.copy2(item.resolve(), folder / item.name)
        elif item.name != "distribution":
            (folder / item.name).symlink_to(item.resolve())
    (folder / "distribution").mkdir()
    (folder / "distribution" / "policies.json").write_text(json.dumps({"policies": policies}), "utf-8")
    return folder / "firefox-bin"


@contextlib.asynccontextmanager
async def run_firefox(
    folder: Path, *, policies: Mapping[str, Any], preferences: Mapping[str, object]
) -> AsyncIterator[Firefox]:
    """Run Firefox with its home and profile in `folder` until the block ends."""
    binary, profile, home = _install(folder / "firefox", policies), folder / "profile", folder / "home"
    profile.mkdir()
    home.mkdir(exist_ok=True)
    lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in {**PREFERENCES, **preferences}.items())
    (profile / "user.js").write_text("".join(lines), "utf-8")
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    process = await asyncio.create_subprocess_exec(
        *(str(binary), "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, "HOME": str(home), "MOZ_CRASHREPORTER_DISABLE": "1"},
    )
    assert process.stderr is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            address = await _listening(process.stderr)
        drain = asyncio.create_task(process.stderr.read())  # a full pipe would stop the browser
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}/session", max_msg_size=0) as socket,
        ):
            browser = Firefox(socket)
            async with asyncio.timeout(PATIENCE):
                await browser.call("session.new", capabilities={})
                yield browser
                await browser.call("browser.close")
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if drain is not None:
            await drain


async def _listening(errors: asyncio.StreamReader) -> str:
    """Return the address at which the browser says that it can be driven."""
    said = b""
    while line := await errors.readline():
        said += line
        _, found, address = line.decode().partition("WebDriver BiDi listening on ")
        if found:
            return address.strip()
    raise AssertionError(f"the browser did not start: {said.decode()}")
