"""The help of commands, and the page that is made of it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detector import cli
from detector.cli.options import SECTIONS, Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

ROOT = Path(__file__).resolve().parents[2]


def commands(command: click.Command = cli.detector) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for name in command.commands:
            yield from commands(command.commands[name])


def test_the_reference_is_current() -> None:
    """docs/cli.md is what the commands say; `python scripts/build_cli_reference.py` writes it."""
    script = runpy.run_path(str(ROOT / "scripts" / "build_cli_reference.py"))
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == script["page"]()


def test_every_option_has_a_section_and_a_text() -> None:
    """No option is declared past the shared declarations, which say where it is listed; each has a help text."""
    for command in commands():
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "version":
                assert isinstance(option, Option), (command.name, option.name)
                assert option.section in SECTIONS
                assert option.help, (command.name, option.name)


def test_help_lists_sections_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The options of a command by section; the commands of the program by section."""
    assert cli.run(["check", "--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"\n{title}:") for title in SECTIONS if title != "Targets"]
    assert places == sorted(places)
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{title}:" in text for title in cli.SECTIONS)
