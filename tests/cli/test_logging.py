"""-vv, -vvv and DETECTOR_LOG: what is logged to standard error, and how to get a traceback."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from detector import cli
from detector.cli.stderr import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK = ("check", "exam.example.edu")
LOGGERS = tuple(logging.getLogger(name) for name in ("detector", "detector.probe", "detector.cli"))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging is global to a process: each test starts without it."""
    yield
    LOGGERS[0].handlers.clear()
    for logger in LOGGERS:
        logger.setLevel(logging.NOTSET)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program with a bug."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("detector.session.session.Detector.__init__", fail)


def test_levels_by_room(capsys: pytest.CaptureFixture[str]) -> None:
    """One room in detail and the others quiet; each record is one line on standard error, once."""
    configure_logging("warning, probe=debug")
    configure_logging("warning")
    logging.getLogger("detector.probe.tls").debug("handshake %d", 7)
    logging.getLogger("detector.judge").info("not shown")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0].endswith("DEBUG detector.probe.tls: handshake 7")
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("levels", ["loud", "probe=", "debug,,"])
def test_an_unknown_level_is_bad_usage(
    levels: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelled level is exit 2 and a sentence, not silence."""
    monkeypatch.setenv("DETECTOR_LOG", levels)
    assert cli.run(CHECK) == 2
    assert "DETECTOR_LOG" in capsys.readouterr().err


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(("option", "variable"), [("-vvv", ""), ("-v", "debug"), ("-v", "cli=debug")])
def test_a_traceback_on_request(
    option: str, variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """-vvv or DETECTOR_LOG=debug shows where an internal error happened; the exit code stays 70."""
    monkeypatch.setenv("DETECTOR_LOG", variable)
    assert cli.run([*CHECK, option] if not variable else CHECK) == 70
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback (most recent call last)" in captured.err
    assert "Internal error (ZeroDivisionError)" in captured.err


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("options", [(), ("-v",), ("-vv",)])
def test_no_traceback_otherwise(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Without the request a user sees one sentence."""
    assert cli.run([*CHECK, *options]) == 70
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [("-vv", "rules"), ("rules", "-vv"), ("pins", "-v", "show", "-v"), ("pins", "show", "-vv")]
)
def test_every_command_takes_the_option(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """At any level of a command line; what was run is logged, without its arguments."""
    assert cli.run(command) == 0
    assert LOGGERS[0].level == logging.INFO
    assert "INFO detector.cli: detector" in capsys.readouterr().err


def test_one_v_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Once is for the evidence in the result."""
    assert cli.run(("rules", "-v")) == 0
    assert capsys.readouterr().err == ""


def test_messages_give_a_terminal_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Anyone may have named a file: its name in a message is text, and line breaks of messages stay."""
    assert cli.run(["examine", "\x1b[2J\u202e\udc80.pem", "--host", "exam.example.edu"]) == 2
    assert capsys.readouterr().err.startswith("Error: \\x1b[2J\\u202e\\udc80.pem: cannot be read")
    assert cli.run(["examine", "chain.pem", "--nothing"]) == 2
    assert capsys.readouterr().err.startswith("Usage: detector examine [OPTIONS] FILE|-\nTry")
