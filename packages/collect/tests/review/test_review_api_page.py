"""Room: tests of docs/review-api.md: its commands run, its receiver works, its tables are complete."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from detector_collect.review.api.routes import PREFIX, description
from detector_collect.review.outwards.webhooks import encode_secret, sign
from detector_collect.store.deliveries import Event
from support.command import run

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[4] / "docs" / "review-api.md").read_text("utf-8")
SECRET = b"s" * 32


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the page succeeds, in its order, on a new database."""
    monkeypatch.chdir(tmp_path)
    env = {"DETECTOR_COLLECT_DATABASE": f"sqlite:///{tmp_path}/collect.sqlite"}
    commands = [line for block in _blocks("sh") for line in block.splitlines()]
    assert len(commands) == 6
    for line in ("detector-collect migrate", 'detector-collect institution add north "North"', *commands):
        words = [word.strip('"') for word in line.split()[1:]]
        done = run("collect", *words, env=env)
        assert (done.returncode, done.stderr) == (0, ""), line


def test_its_receiver_processes_each_message_once_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Genuine messages are processed; forged, old, repeated and reordered ones are not."""
    (block,) = _blocks("python")
    names: dict[str, object] = {}
    exec(compile(block, "review-api.md", "exec"), names)  # noqa: S102 - the example is what is tested
    receive = names["receive"]
    assert callable(receive)
    now = time.time()

    def message(number: int, *, secret: bytes = SECRET, at: float = now) -> tuple[dict[str, str], bytes]:
        body = json.dumps({"type": "case-opened", "data": {"number": number, "link": f"link-{number}"}}).encode()
        return sign(f"msg_{number}", body, secrets=[secret], now=at), body

    known = [encode_secret(SECRET)]
    answers = [
        receive(*message(1), known),
        receive(*message(3), known),
        receive(*message(2), known),  # reordered
        receive(*message(3), known),  # repeated
        receive(*message(4, secret=b"t" * 32), known),  # forged
        receive(*message(5, at=now - 3600), known),  # replayed later
        receive(message(6)[0], message(7)[1], known),  # changed
        receive(*message(8), known),
    ]
    assert answers == [204, 204, 204, 204, 400, 400, 400, 204]
    assert capsys.readouterr().out.split() == [
        "case-opened",
        "link-1",
        "case-opened",
        "link-3",
        "case-opened",
        "link-8",
    ]


def test_its_tables_are_complete() -> None:
    """Every route of the API and every event is on the page."""
    for path in json.loads(description())["paths"]:
        assert f"`{path.removeprefix(PREFIX)}" in PAGE
    for event in Event:
        assert f"`{event}`" in PAGE
