"""The gate as a proctoring client in a browser has it: a real Chromium, a real extension, the host it starts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from detector_testing import serve_origin
from support.chromium import run_chromium
from support.exam_world import ENVIRONMENT, EXAM, HOST, Files

from detector import bundle

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

EXTENSION = Path(__file__).resolve().parent / "extension"
KEY = json.loads((EXTENSION / "manifest.json").read_text("utf-8"))["key"]
ID = (
    hashlib.sha256(base64.b64decode(KEY))
    .hexdigest()[:32]
    .translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
)


async def install(profile: Path, files: Files) -> None:
    """Make the host known to this profile of Chromium, as an installer would."""
    words = ("manifest", "--browser", "chromium", "--extension-id", ID, "--install", "--user-data-dir", str(profile))
    process = await asyncio.create_subprocess_exec(*HOST, *words, *files.options, env=ENVIRONMENT)
    assert await process.wait() == 0


async def test_extension_shows_what_the_gate_says(pki: PrivatePKI, tmp_path: Path) -> None:
    """On a clean network the page says allow, on a decrypted one block; evidence too long for one message arrives."""
    files = Files(tmp_path, pki)
    many = [f"h{n}.example" for n in range(120)]
    forged = pki.private_ca("School CA").issue([EXAM])
    async with (
        serve_origin({EXAM: files.issued, **dict.fromkeys(many, pki.issue(many))}) as platform,
        serve_origin(forged) as interceptor,
    ):
        files.point_to(platform.port)
        await install(tmp_path / "profile", files)
        async with run_chromium(tmp_path / "profile", EXTENSION, ID) as browser:
            clean = await browser.ask({"id": "start-1"})
            files.point_to(interceptor.port)
            decrypted = await browser.ask({"id": "start-2"})
            files.point_to(platform.port, *many)
            long = await browser.ask({"report": True, "evidence": True})
            files.policy.write_text("schema = 2", "utf-8")
            refused = await browser.ask({})
    assert (clean["action"], clean["answer"]["id"], clean["answer"]["verdict"]) == ("allow", "start-1", "clean")
    assert "go ahead" in clean["message"]
    assert (decrypted["action"], decrypted["answer"]["id"]) == ("block", "start-2")
    assert decrypted["answer"]["reasons"][0]["rule"] == "pin-mismatch"
    assert decrypted["answer"]["interceptors"] == []
    assert "Please do not start the exam on this connection yet." in decrypted["message"]
    assert long["action"] == "allow"
    assert len(json.dumps(long["answer"])) > 1024 * 1024
    assert len(bundle.read(base64.b64decode(long["answer"]["evidence"])).parts) > len(many)
    assert (refused["action"], refused["answer"]["code"]) == ("error", "bad-input")
    assert "schema" in refused["message"]
