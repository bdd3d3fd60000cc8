"""A real Chromium, driven through its own chromedriver (W3C WebDriver): pages are opened, read and queried.

Room: tests. Starts processes; talks to loopback only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Without a screen, as root, and without the connections that a browser makes by itself."""
ANSWER_SECONDS: Final = 60.0
"""For one command or script; a page is there in a fraction of one, a loaded machine may need a few."""


class Browser:
    """One browser window. Every method is one WebDriver command."""

    def __init__(self, driver: str, session: str) -> None:
        self._base = f"{driver}/session/{session}"

    def open(self, url: str) -> None:
        """Load a page and wait until it has."""
        _ask(f"{self._base}/url", {"url": url})

    def set_cookie(self, name: str, value: str) -> None:
        """Set a cookie of the site that is open."""
        _ask(f"{self._base}/cookie", {"cookie": {"name": name, "value": value, "httpOnly": True}})

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - what the script returns
        """Run a script in the page; a promise it returns is waited for."""
        return _ask(f"{self._base}/execute/sync", {"script": script, "args": arguments})

    def click(self, script: str, *arguments: object) -> None:
        """Click the element that a script returns, as a mouse does."""
        _ask(f"{self._base}/element/{self._element(script, *arguments)}/click", {})

    def follow(self, script: str, *arguments: object) -> None:
        """Click the element that a script returns, and wait until its page has been left for another one."""
        old = self._element("return document.documentElement")
        self.click(script, *arguments)
        self._left(old)

    def go(self, url: str) -> None:
        """Load a page of the same site from the present one, as one of its links does."""
        old = self._element("return document.documentElement")
        self.run("location.assign(arguments[0])", url)
        self._left(old)

    def _left(self, old: str) -> None:
        """Wait until the page of this element has been left for another one."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._is_there(old):
            assert time.monotonic() < deadline, "no other page was opened"

    def _is_there(self, element: str) -> bool:
        try:
            _ask(f"{self._base}/element/{element}/name", None, method="GET")
        except urllib.error.HTTPError:  # stale element reference, or its document goes away at this moment
            return False
        return True

    def type(self, text: str, script: str, *arguments: object) -> None:
        """Type into the element that a script returns."""
        _ask(f"{self._base}/element/{self._element(script, *arguments)}/value", {"text": text})

    def _element(self, script: str, *arguments: object) -> str:
        (reference,) = self.run(script, *arguments).values()  # one member: the web element identifier (WebDriver, 12)
        return str(reference)

    def resize(self, width: int, height: int = 800) -> None:
        """Make the page's viewport as large as this, in CSS pixels; a window has a least width of its own."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        _ask(f"{self._base}/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        asked = {"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": True}}
        return base64.b64decode(_ask(f"{self._base}/goog/cdp/execute", asked)["data"])

    def pdf(self) -> bytes:
        """The page as printed on A4 (21 by 29.7 cm), without backgrounds, as browsers do it by default."""
        return base64.b64decode(_ask(f"{self._base}/print", {"page": {"width": 21, "height": 29.7}}))

    def keys(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        _ask(f"{self._base}/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})


@contextlib.contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[Browser]:
    """A headless Chromium with an empty profile until the block ends."""
    binary, chromedriver = program("chromium"), program("chromedriver")
    process = subprocess.Popen(  # noqa: S603 - chromedriver
        [chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            started = (re.search(r"successfully on port (\d+)", line) for line in process.stdout)
            port = next(found[1] for found in started if found)
            driver = f"http://127.0.0.1:{port}"
            options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={profile}", *flags]}
            timeouts = {"script": int(ANSWER_SECONDS * 1000)}
            capabilities = {
                "alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options, "timeouts": timeouts}
            }
            session = _ask(f"{driver}/session", {"capabilities": capabilities})["sessionId"]
            yield Browser(driver, session)
            _ask(f"{driver}/session/{session}", None, method="DELETE")
        finally:
            process.terminate()


def _ask(url: str, body: object, method: str = "POST") -> Any:  # noqa: ANN401 - any JSON value
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - http, loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=ANSWER_SECONDS) as answer:
        return json.loads(answer.read())["value"]
