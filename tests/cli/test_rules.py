"""`detector rules`: what a reason in a report means."""

from __future__ import annotations

import pytest

from detector.cli import run
from detector.judge.table import RULE_OF
from detector.model import Reason


def test_every_rule_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an argument each rule is listed with its sentence, in the order in which the table is read."""
    assert run(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [rule.reason for rule in RULE_OF.values()]
    assert all(line.endswith(rule.why) for line, rule in zip(lines, RULE_OF.values(), strict=True))


@pytest.mark.parametrize("reason", Reason)
def test_one_rule_in_full(reason: Reason, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason is explained with what it needs and what it says, and no placeholder is left."""
    assert run(["rules", reason.value]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{reason}: ")
    assert "Needs: " in out
    assert "Meaning: " in out
    assert "{" not in out


def test_a_reason_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt reason is a usage error that lists the choices."""
    assert run(["rules", "row-15"]) == 2
    assert "identity-substituted" in capsys.readouterr().err
