"""docs/exam-gate.md does not drift: its policy loads, its program runs, its JSON and extension are the real ones."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for two calls here
import pytest
from detector_testing import serve_origin, serve_proxy
from support.exam_world import ENVIRONMENT

from detector.exam import Policy, ReasonCode
from detector.exam.browser_view import NotReported, RefusalCode
from detector.exam.protocol import ErrorCode, protocol_schema, read_request
from detector.model import Category
from detector.session.settings import NetworkSettings

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "exam-gate.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    """The code blocks of this kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_schema_is_current() -> None:
    """docs/exam-gate.schema.json is what the records say; `python scripts/build_schema.py` writes it."""
    script = runpy.run_path(str(ROOT / "scripts" / "build_schema.py"))
    assert (ROOT / "docs" / "exam-gate.schema.json").read_text("utf-8") == script["text"]("exam-gate.schema.json")


def test_policy_on_the_page_loads(tmp_path: Path) -> None:
    """The example uses every key and means what its comments say."""
    (block,) = blocks("toml")
    (tmp_path / "policy.toml").write_text(block, "utf-8")
    policy = Policy.load(tmp_path / "policy.toml")
    assert policy.require_witness is Category.EXAM
    assert {line.partition(" ")[0] for line in block.splitlines()} == {"schema", *Policy.__struct_fields__}


def test_example_policy_loads() -> None:
    """The policy in docs/examples is a policy, with the defaults that it says it has."""
    policy = Policy.load(ROOT / "docs" / "examples" / "exam-policy.toml")
    for name in {*Policy.__struct_fields__} - {"name", "endpoints", "route", "proxy", "hello", "quic", "all_addresses"}:
        assert getattr(policy, name) == getattr(Policy(), name)
    assert {name: getattr(NetworkSettings(), name) for name in policy.network if name != "probes"} == {
        name: value for name, value in policy.network.items() if name != "probes"
    }


def test_json_on_the_page_fits_the_schema() -> None:
    """The request can be sent, the decision could be received."""
    request, decision, report, observed = blocks("json")
    assert read_request(request.encode()).id == "start-7"
    assert len(read_request(report.encode()).connections) == 2
    for example in (request, decision, report, observed):
        jsonschema.validate(json.loads(example), protocol_schema())


@pytest.mark.parametrize("browser", ["firefox", "chromium"])
def test_example_extension_sees_one_host_and_no_private_window(browser: str) -> None:
    """Its manifest has permission for the exam's host alone, and the script asks for no other."""
    folder = ROOT / "docs" / "examples" / "extension"
    manifest = json.loads((folder / f"manifest.{browser}.json").read_text("utf-8"))
    permissions = {*manifest["permissions"], *manifest.get("host_permissions", ())}
    assert {name for name in permissions if ":" in name} == {"https://exam.example.edu/*"}
    assert permissions <= {"nativeMessaging", "webRequest", "webRequestBlocking", "https://exam.example.edu/*"}
    assert manifest["incognito"] == "not_allowed"
    script = (folder / "background.js").read_text("utf-8")
    assert "fetch" not in script
    assert "://" not in script.replace('startsWith("https://")', "")


def test_every_code_is_explained() -> None:
    """Each reason and each error code has a row of its own."""
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert rows == {*ReasonCode, *ErrorCode, *NotReported, *RefusalCode, "decision", "observed", "error", "part"}


async def test_program_on_the_page_runs(pki: PrivatePKI, tmp_path: Path) -> None:
    """The Python runs as it stands, through a proxy on this machine that knows one host."""
    (program,) = blocks("python")
    (tmp_path / "program.py").write_text(program, "utf-8")
    async with serve_origin(pki.issue(["exam.example.edu"])) as origin:
        upstream = {("exam.example.edu", 443): origin.address}
        async with serve_proxy(upstream=upstream) as proxy:
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "program.py"],
                cwd=tmp_path,
                env={**ENVIRONMENT, "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""},
                capture_output=True,
                text=True,
                check=False,
            )
    assert (done.returncode, done.stderr) == (0, "")
    assert "exam.example.edu" in done.stdout  # a certificate of the test PKI is nobody's that this machine trusts
