"""The commands, the policy and the program in docs/reporting.md, run one by one against a collector on loopback."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from detector_testing import Response, serve_origin
from support.collect_receiver import HOST, RECEIPT_KEY, Receiver
from support.command import in_thread, run

from detector.outbox.contents import GateContent
from detector.outbox.settings import ReportSettings
from detector.outbox.submission import PAYLOAD_TYPE, Submission
from detector.trust import envelope
from detector.trust.key_files import load_signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector_testing import PrivatePKI

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "reporting.md").read_text("utf-8")
EXAM = "exam.example.edu"


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


LINES = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def folder(pki: PrivatePKI, tmp_path: Path) -> Iterator[tuple[Path, list[Submission]]]:
    """A folder with the policy of the page and the collector's key; a configuration leads to servers on loopback."""
    received: list[Submission] = []

    def handle(request: Any) -> Response:  # noqa: ANN401 - a request
        if request.host != HOST:
            return Response(body=b"exam")
        public = envelope.public_key_of(load_signing_key(tmp_path / "institution.key"))
        opened = envelope.open_envelope(request.body, payload_type=PAYLOAD_TYPE, keys=[public])
        received.append(msgspec.json.decode(opened.payload, type=Submission))
        return Receiver(institution_key=public)(request)

    (tmp_path / "exam-policy.toml").write_text(blocks("toml")[0], "utf-8")
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "collector.pem").write_bytes(RECEIPT_KEY.public_key().public_bytes(*form))
    trust, served = pki.write(tmp_path), {host: pki.issue([host]) for host in (HOST, EXAM)}
    with in_thread(serve_origin(served, handler=handle)) as origin:
        rules = [f"{host}:443:127.0.0.1:{origin.port}" for host in (HOST, EXAM)]
        reaching = f"roots = {json.dumps(str(trust.roots))}\nct_logs = {json.dumps(str(trust.ct_logs))}\n"
        reaching += f'connect_to = {json.dumps(rules)}\nproxy = "none"\n'
        tables = {"exam.gate": f'{reaching}offline = true\noutbox = "waiting"\n'}
        tables |= {"outbox.send": f'{reaching}outbox = "waiting"\n'}
        tables |= dict.fromkeys(("outbox.status", "outbox.list", "outbox.drop"), 'outbox = "waiting"\n')
        text = "".join(f"[{name}]\n{content}" for name, content in tables.items())
        (tmp_path / "detector.toml").write_text(text, "utf-8")
        yield tmp_path, received


def test_the_commands(folder: tuple[Path, list[Submission]]) -> None:
    """Every command of the page does what the page says, and the report is what it shows."""
    place, received = folder
    for line in LINES:
        done = run(*shlex.split(line)[1:], cwd=place, env={"DETECTOR_CONFIG": str(place / "detector.toml")})
        assert done.returncode == 0, (line, done)
    (submission,) = received
    shown = json.loads(blocks("json")[0])
    sent = json.loads(msgspec.json.encode(submission))
    assert [*shown] == [*sent]
    assert [*shown["content"]] == [*sent["content"]]
    assert [*shown["content"]["reasons"][0]] == [*sent["content"]["reasons"][0]]
    assert {*shown["content"]["bundle"]} == {*sent["content"]["bundle"]}
    assert msgspec.json.decode(blocks("json")[0], type=Submission).kind == "gate-decision"
    assert GateContent.__struct_fields__ == tuple(shown["content"])


def test_the_policy() -> None:
    """The table names settings that exist, and what is commented out is one, too."""
    table = tomllib.loads(re.sub(r"^# ", "", blocks("toml")[0], flags=re.MULTILINE))["report"]
    assert {*table} == {*ReportSettings.__struct_fields__}


def test_the_program(folder: tuple[Path, list[Submission]]) -> None:
    """The program of the page decides and keeps its report, whatever the network is."""
    place, _ = folder
    for line in LINES[:2]:
        assert run(*shlex.split(line)[1:], cwd=place).returncode == 0
    (place / "program.py").write_text(blocks("python")[0], "utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=place,
        env={**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "block\n"), done.stderr
    status = run("outbox", "status", "--outbox", str(place / "waiting"))
    assert "1 report(s) wait" in status.stdout
