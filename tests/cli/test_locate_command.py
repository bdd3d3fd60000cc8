"""`detector locate`: what it prints, as what it exits, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_files, serve_origin

from detector import cli
from detector.locate.tracing import NoErrorQueue

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"


async def run(*arguments: str) -> int:
    """The exit code of `detector locate` in another thread than the servers."""
    return await asyncio.to_thread(cli.run, ["locate", *arguments])


async def test_table(pki: PrivatePKI, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence first, then one row per hop with what each port's packets got; exit 0."""
    monkeypatch.setenv("COLUMNS", "200")
    async with serve_origin(pki.issue([EXAM])) as origin, serve_files({}) as web:
        rule = f"{EXAM}:443:127.0.0.1:{origin.port}"
        code = await run(EXAM, "--connect-to", rule, "--control-port", str(web.port), "--max-hops", "2")
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].startswith(f"{EXAM}:443: Port {origin.port} is answered at hop 1, and so is port {web.port}")
    header, row = lines[2:4]
    assert header.split()[0] == "hop"
    assert f"port {origin.port}, TLS" in header
    assert row.split()[:2] == ["1", "connected"]
    assert len(lines) == 4


async def test_json_and_exit_code_of_unknown(
    pki: PrivatePKI, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With nothing to compare with the exit code is 3; JSON goes where it should and holds the whole trace."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        target, file = f"127.0.0.1:{origin.port}", tmp_path / "located.json"
        arguments = ("--control-port", str(origin.port), "--max-hops", "1", "--format", "json", "--output", str(file))
        assert await run(target, *arguments) == 3
    assert capsys.readouterr().out == ""
    reported = json.loads(file.read_text("utf-8"))
    assert reported["location"]["doubt"] == "control-silent"
    assert reported["address"] == "127.0.0.1"
    assert {trace["asked"] for trace in reported["hops"]["traces"]} == {"connect", "client-hello"}


@pytest.mark.parametrize(
    "arguments",
    [(), ("a b",), (EXAM, "--control-port", "0"), (EXAM, "--max-hops", "65"), (EXAM, "--connect-to", "nonsense")],
)
async def test_bad_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be meant is refused before anything is sent: exit 2, a sentence, no traceback."""
    assert await run(*arguments) == 2
    reported = capsys.readouterr()
    assert reported.out == ""
    assert "Error" in reported.err


async def test_the_slow_hint_and_silent_systems_are_reported(
    pki: PrivatePKI, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weak hint is called one, and where no router can be named the table says so."""
    monkeypatch.setattr("detector.judge.hops.SLOW_MS", -1.0)
    monkeypatch.setattr("detector.judge.hops.SLOW_FACTOR", 0)
    monkeypatch.setattr("detector.locate.tracing.LinuxErrorQueue", NoErrorQueue)
    async with serve_origin(pki.issue([EXAM])) as origin, serve_files({}) as web:
        assert await run(f"127.0.0.1:{origin.port}", "--control-port", str(web.port), "--max-hops", "1") == 0
    reported = capsys.readouterr().out
    assert "a weak hint" in reported
    assert "does not tell which routers answered" in reported
