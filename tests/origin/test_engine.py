"""The engine of a page: what a report says, and what real browsers report."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web
from build_client_hellos import COMMANDS, PROGRAMS
from hypothesis import given
from hypothesis import strategies as st
from support.system import program

from detector.model import Hello
from detector.origin.claims import Claims, Family
from detector.origin.engine import FEATURES, REPORT_BYTES_MAX, engine_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRIPT: Final = Path(__file__).resolve().parents[2] / "docs" / "examples" / "engine-check.js"
NAMES: Final = frozenset().union(*FEATURES.values())
PATIENCE: Final = 60
"""Seconds for a browser to start on a busy machine; only a broken test waits that long."""


def report(present: Iterable[str], version: int = 1) -> bytes:
    """A report of the script that found these features."""
    found = frozenset(present)
    return json.dumps({"version": version, "features": {name: name in found for name in sorted(NAMES)}}).encode()


@pytest.mark.parametrize("family", FEATURES)
def test_an_engine_has_its_features(family: Family) -> None:
    """All features of one engine and none of another one's give that engine."""
    assert engine_of(report(FEATURES[family])) is family


@given(st.sets(st.sampled_from(sorted(NAMES))))
def test_anything_else_is_no_engine(present: set[str]) -> None:
    """A mixture of features, or a part of an engine's, gives none."""
    expected = {own: family for family, own in FEATURES.items()}.get(frozenset(present))
    assert engine_of(report(present)) is expected


@given(st.binary(max_size=2 * REPORT_BYTES_MAX))
def test_any_bytes(data: bytes) -> None:
    """Bytes that are no report give no engine."""
    assert engine_of(data) is None


def test_incomplete_and_long_reports() -> None:
    """A report without every answer, of another version, with more fields, or too long gives no engine."""
    own = FEATURES[Family.FIREFOX]
    assert engine_of(json.dumps({"version": 1, "features": dict.fromkeys(own, True)}).encode()) is None
    assert engine_of(report(own, version=2)) is None
    assert engine_of(report(own)[:-1] + b',"more":1}') is None
    assert engine_of(report(own) + b" " * REPORT_BYTES_MAX) is None
    assert engine_of(report(own).replace(b"true", b"1")) is None


def test_the_script_asks_for_what_is_read() -> None:
    """The script in docs/examples reports every feature, and no other."""
    text = SCRIPT.read_text("utf-8")
    assert {name for name in text.split('"') if name.startswith(("blink-", "gecko-", "webkit-"))} == NAMES


async def reported(hello: Hello) -> tuple[Family | None, Claims]:
    """Open a page with the script in an installed browser; return what is made of its report and of its User-Agent."""
    arrived: asyncio.Future[tuple[bytes, str]] = asyncio.get_running_loop().create_future()

    async def page(_request: web.Request) -> web.Response:
        text = '<!doctype html><title>page</title><script src="engine-check.js" data-report="/engine" defer></script>'
        return web.Response(text=text, content_type="text/html")

    async def script(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(SCRIPT)

    async def take(request: web.Request) -> web.Response:
        arrived.set_result((await request.read(), request.headers["User-Agent"]))
        return web.Response()

    application = web.Application()
    application.add_routes([web.get("/", page), web.get("/engine-check.js", script), web.post("/engine", take)])
    runner = web.AppRunner(application)
    await runner.setup()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        document = Path(folder) / "page.html"
        document.write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0;url=http://127.0.0.1:{port}/">', "utf-8"
        )
        process = await asyncio.create_subprocess_exec(
            *COMMANDS[hello](Path(folder), document),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": folder},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                body, agent = await arrived
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a browser has many processes
            await process.wait()
            await runner.cleanup()
    return engine_of(body), Claims.of(agent)


@pytest.mark.lab
@pytest.mark.parametrize("hello", [Hello.BROWSER, Hello.FIREFOX])
async def test_real_browsers(hello: Hello) -> None:
    """Chromium and Firefox report the engine that their User-Agent names."""
    program(PROGRAMS[hello])
    engine, claims = await reported(hello)
    assert engine is claims.family is {Hello.BROWSER: Family.CHROMIUM, Hello.FIREFOX: Family.FIREFOX}[hello]
