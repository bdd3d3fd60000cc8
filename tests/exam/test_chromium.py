"""The gate as a proctoring client in a browser has it: a real Chromium, a real extension, the host it starts."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from detector_testing import serve_origin
from support.chromium import run_chromium
from support.exam_world import EXAM, Files
from support.example_extension import CHROMIUM_ID, install_host, make

from detector import bundle

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI


async def test_extension_shows_what_the_gate_says(pki: PrivatePKI, tmp_path: Path) -> None:
    """On a clean network the page says allow, on a decrypted one block; evidence too long for one message arrives."""
    files = Files(tmp_path, pki)
    many = [f"h{n}.example" for n in range(120)]
    forged = pki.private_ca("School CA").issue([EXAM])
    async with (
        serve_origin({EXAM: files.issued, **dict.fromkeys(many, pki.issue(many))}) as platform,
        serve_origin(forged) as interceptor,
    ):
        files.point_to(platform.port, *many)
        profile, extension = tmp_path / "profile", make(tmp_path / "extension", "chromium")
        await install_host("chromium", files.options, home=tmp_path, profile=profile)
        async with run_chromium(profile, extension, CHROMIUM_ID) as browser:
            clean = await browser.ask({})
            german = await browser.ask({"languages": ["de-CH"]})
            long = await browser.ask({"report": True, "evidence": True})
        files.point_to(interceptor.port)
        async with run_chromium(profile, extension, CHROMIUM_ID) as browser:
            decrypted = await browser.ask({})
        files.policy.write_text("schema = 2", "utf-8")
        async with run_chromium(profile, extension, CHROMIUM_ID) as browser:
            refused = await browser.ask({})
    assert (clean["action"], clean["answer"]["verdict"]) == ("allow", "clean")
    assert "go ahead" in clean["message"]
    assert clean["answer"]["language"] == "en"  # that of the browser
    assert german["message"] == "Der Prüfungsserver wurde bestätigt. Sie können mit der Prüfung beginnen."
    assert decrypted["action"] == "block"
    assert decrypted["answer"]["reasons"][0]["rule"] == "pin-mismatch"
    assert decrypted["answer"]["interceptors"] == []
    assert "Please do not start the exam on this connection yet." in decrypted["message"]
    assert long["action"] == "allow"
    assert len(json.dumps(long["answer"])) > 1024 * 1024
    assert len(bundle.read(base64.b64decode(long["answer"]["evidence"])).parts) > len(many)
    assert (refused["action"], refused["answer"]["code"]) == ("error", "bad-input")
    assert "schema" in refused["message"]
