"""The help of commands, and the page that is made of it."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from support.system import program

from detector import cli
from detector.cli import options
from detector.cli.options import SECTIONS, Option
from detector.guard import GuardedConnector
from detector.session.settings import DetectorOptions, NetworkSettings

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
    """docs/cli.md and share/ are what the commands say; `python scripts/build_cli_reference.py` writes them."""
    files = runpy.run_path(str(ROOT / "scripts" / "build_cli_reference.py"))["files"]()
    for path, text in files.items():
        assert (ROOT / path).read_text("utf-8") == text, path
    shared = {path.relative_to(ROOT).as_posix() for path in (ROOT / "share").rglob("*") if path.is_file()}
    assert shared | {"docs/cli.md"} == files.keys()


def test_every_option_has_a_section_and_a_text() -> None:
    """No option is declared past the shared declarations, which say where it is listed; each has a help text."""
    for command in commands():
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "version":
                assert isinstance(option, Option), (command.name, option.name)
                assert option.section in SECTIONS
                assert option.help, (command.name, option.name)


def test_settings_are_arguments_of_a_detector() -> None:
    """An option declared as a setting reaches `Detector` by its name, whatever the command does with it."""
    for command in commands():
        settings = {option.setting for option in command.params if isinstance(option, Option) and option.setting}
        assert settings <= DetectorOptions.__optional_keys__, command.name


def test_one_declaration_reaches_every_command_that_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new option that is a setting is declared once; commands pass it on without knowing it."""
    monkeypatch.setitem(options._NETWORK, "example", options.probing("--example", "An example.", setting=True))
    given: list[dict[str, Any]] = []

    @options.settings()
    def command(**arguments: Any) -> None:  # noqa: ANN401 - what the options declare
        given.append(arguments["settings"])

    made = click.command(cls=options.Command)(command)
    assert made.main(["--example", "x", "--offline"], standalone_mode=False) is None
    assert given == [{"example": "x", "offline": True, "proxy": "system", "vantage": ""}]


def test_help_lists_sections_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The options of a command by section; the commands of the program by section."""
    assert cli.run(["check", "--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"\n{title}:") for title in SECTIONS if title != "Targets"]
    assert places == sorted(places)
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{title}:" in text for title in cli.SECTIONS)


def test_the_default_route_is_the_machines() -> None:
    """Every command goes where programs of this machine go; only servers' fleets and pins go by the environment."""
    defaults = {(each.name, param.default) for each in commands() for param in each.params if param.name == "proxy"}
    expected = {"check", "watch", "scan", "nagios", "gate", "native-host", "manifest"}
    assert expected <= {name for name, default in defaults if default == "system"}
    assert {name for name, default in defaults if default != "system"} == {"scan", "learn"}  # of a fleet, of pins
    assert inspect.signature(GuardedConnector).parameters["proxy"].default == NetworkSettings().proxy == "system"


def test_man_pages_are_clean() -> None:
    """mandoc finds nothing in the pages but that they have no date, which an unreleased version does not have."""
    pages = sorted(map(str, (ROOT / "share" / "man" / "man1").glob("*.1")))
    assert len(pages) == len(list(commands()))
    done = subprocess.run([program("mandoc"), "-T", "lint", *pages], capture_output=True, text=True, check=False)  # noqa: S603 - our pages
    assert [line for line in done.stdout.splitlines() if "WARNING: missing date" not in line] == []
    assert done.stderr == ""


def test_a_man_page_says_what_help_says() -> None:
    """The page of `check`, as a terminal shows it, has every option with its text."""
    page = ROOT / "share" / "man" / "man1" / "detector-check.1"
    shown = subprocess.run(  # noqa: S603 - our page
        [program("mandoc"), "-T", "utf8", "-O", "width=500", str(page)], capture_output=True, text=True, check=True
    ).stdout
    text = " ".join(re.sub(".\b", "", shown).split())
    check = cli.detector.commands["check"]
    context = click.Context(check, info_name="check")
    records = [record for option in check.params if (record := option.get_help_record(context)) is not None]
    assert len(records) > 20
    for flags, words in records:
        assert f"{flags} {' '.join(words.split())}" in text
