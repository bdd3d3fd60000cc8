"""The example extension of docs/, with what a test needs of it: a fixed id, and pages that ask the gate.

Room: tests. Writes files; starts `detector exam manifest`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from support.exam_world import ENVIRONMENT, EXAM, HOST
from support.system import program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "docs" / "examples" / "extension"
ADDED: Final = Path(__file__).with_name("exam_extension")

MORE: Final[dict[str, Any]] = json.loads((ADDED / "more.json").read_text("utf-8"))
CHROMIUM_ID: Final = (
    hashlib.sha256(base64.b64decode(MORE["key"]))
    .hexdigest()[:32]
    .translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
)
FIREFOX_ID: Final = "gate@exam.example.edu"

ASK: Final = """
new Promise((resolve) => {
  const root = document.documentElement;
  document.addEventListener("exam-gate-answer", () => resolve(root.dataset.answer), { once: true });
  document.dispatchEvent(new CustomEvent("exam-gate", { detail: %s }));
})
"""
READY: Final = "document.documentElement.dataset.extension ?? ''"


def make(folder: Path, browser: str) -> Path:
    """Write the extension for `firefox` or `chromium`, unpacked; return its folder."""
    folder.mkdir()
    manifest = json.loads((EXAMPLE / f"manifest.{browser}.json").read_text("utf-8"))
    more = {name: value for name, value in MORE.items() if browser == "chromium" or name != "key"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, **more}), "utf-8")
    for file in (EXAMPLE / "background.js", *(ADDED / name for name in ("asking.js", "gate.html", "gate.js"))):
        shutil.copy(file, folder)
    return folder


def pack(folder: Path) -> Path:
    """Return the extension in `folder` as one file, as Firefox installs it."""
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    return archive.rename(archive.with_suffix(".xpi"))


async def install_host(browser: str, options: Iterable[str], *, home: Path, profile: Path) -> None:
    """Register the native messaging host with a browser, as an installer would."""
    where = ("--user-data-dir", str(profile)) if browser == "chromium" else ()
    extension = CHROMIUM_ID if browser == "chromium" else FIREFOX_ID
    words = ("manifest", "--browser", browser, "--extension-id", extension, "--install", *where)
    environment = {**ENVIRONMENT, "HOME": str(home)}
    process = await asyncio.create_subprocess_exec(*HOST, *words, *options, env=environment)
    assert await process.wait() == 0


async def trust_roots(home: Path, roots: Iterable[Path]) -> None:
    """Let Chromium with this home directory trust roots (PEM files)."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    await _certutil("-N", "-d", f"sql:{database}", "--empty-password")
    for root in roots:
        await _certutil("-A", "-d", f"sql:{database}", "-n", root.name, "-t", "C,,", "-i", str(root))


async def _certutil(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(program("certutil"), *words)
    assert await process.wait() == 0


async def ask_from_page(
    browser: str,
    open_page: Callable[[str], Awaitable[str]],
    run: Callable[[str, str], Awaitable[Any]],
    request: dict[str, Any],
) -> dict[str, Any]:
    """Open the exam's page until the extension answers, then once more, and let that page ask the gate.

    What the browser did before the extension's script ran is not reported. The script listens for connections before it
    answers pages; the first answer, to a request that asks for nothing, shows that it does.
    """

    async def ask(page: str, asked: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await run(page, ASK % json.dumps(json.dumps(asked))))
        return answer

    for visit in itertools.count():  # another address each time: no response from a cache
        page = await open_page(f"https://{EXAM}/?{visit}")
        if not await run(page, READY):
            continue
        if browser == "firefox":  # it holds connections back until the script listens
            return await ask(page, request)
        if (await ask(page, {"task": "cancel"}))["code"] == "bad-request":
            break
    return await ask(await open_page(f"https://{EXAM}/"), request)
