"""A real headless Chromium with one extension, driven over the DevTools protocol. Shared by this folder's tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
from support import browser
from support.system import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DRIVEN_FLAGS = (
    *browser.FLAGS,
    "--disable-features=DisableLoadExtensionCommandLineSwitch",
    "--remote-debugging-port=0",
)
PATIENCE = 60
"""Seconds for a browser to start on a busy machine; only a broken test waits that long."""

SHOWN = """
new Promise((resolve) => {
  const action = document.getElementById("action");
  const probe = () => {
    if (!window.answer) return;
    const message = document.getElementById("message").textContent;
    resolve(JSON.stringify({ action: action.textContent, message, answer: window.answer }));
  };
  new MutationObserver(probe).observe(action, { childList: true });
  probe();
})
"""


class Chromium:
    """A running browser. `ask` opens the extension's page in a tab of its own and gives what it shows."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, extension_id: str) -> None:
        self._socket = socket
        self._extension_id = extension_id
        self._count = 0

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let the page ask the host: `action` and `message` as shown, `answer` as it came."""
        page = await self.open(f"chrome-extension://{self._extension_id}/gate.html#{quote(json.dumps(request))}")
        answer: dict[str, Any] = json.loads(await self.run(page, SHOWN))
        return answer

    async def open(self, url: str) -> str:
        """Load a page in a tab of its own; return the session with it."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session: str = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        await self.call("Page.enable", session=session)
        await self.call("Page.navigate", session=session, until="Page.loadEventFired", url=url)
        return session

    async def run(self, session: str, expression: str) -> Any:  # noqa: ANN401 - what the script returns
        """Evaluate an expression in a page, waiting for a promise."""
        found = await self.call(
            "Runtime.evaluate", session=session, expression=expression, awaitPromise=True, returnByValue=True
        )
        return found["result"].get("value")

    async def call(
        self,
        method: str,
        *,
        session: str | None = None,
        until: str | None = None,
        **arguments: Any,  # noqa: ANN401 - any JSON value
    ) -> dict[str, Any]:
        """Call a DevTools method; give its result once it is there and the event `until` has come."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": arguments}
        await self._socket.send_json(message if session is None else {**message, "sessionId": session})
        result: dict[str, Any] | None = None
        happened = until is None
        while result is None or not happened:
            said = await self._socket.receive_json()
            if said.get("id") == self._count:
                assert "error" not in said, f"{method}: {said['error']}"
                result = said["result"]
            happened |= said.get("method") == until and said.get("sessionId") == session
        return result


@contextlib.asynccontextmanager
async def run_chromium(
    profile: Path, extension: Path, extension_id: str, *flags: str, home: Path | None = None
) -> AsyncIterator[Chromium]:
    """Run Chromium with this profile directory and unpacked extension until the block ends.

    `home` is its home directory, whose database of roots it trusts (`trust_roots`).
    """
    process = await asyncio.create_subprocess_exec(
        program("chromium"),
        *DRIVEN_FLAGS,
        f"--user-data-dir={profile}",
        f"--load-extension={extension}",
        *flags,
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=None if home is None else {**os.environ, "HOME": str(home)},
    )
    assert process.stderr is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            address = await _listening(process.stderr)
        drain = asyncio.create_task(process.stderr.read())  # a full pipe would stop the browser
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            driven = Chromium(socket, extension_id)
            async with asyncio.timeout(PATIENCE):
                yield driven
                await driven.call("Browser.close")
            async with asyncio.timeout(PATIENCE):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if drain is not None:
            await drain


async def _listening(errors: asyncio.StreamReader) -> str:
    """The address that the browser says its DevTools listen on."""
    said = b""
    while line := await errors.readline():
        said += line
        _, found, address = line.decode().partition("DevTools listening on ")
        if found:
            return address.strip()
    raise AssertionError(f"the browser did not start: {said.decode()}")
