"""The help of commands, and the page that is made of it."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from support.command_tree import COMMANDS, EXAMPLES
from support.system import program

from detector import cli
from detector.cli import options
from detector.cli.options import SECTIONS, Option
from detector.guard import GuardedConnector
from detector.session.settings import DetectorOptions, NetworkSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


def commands() -> Iterator[click.Command]:
    return iter(COMMANDS.values())


GROUPS = {path: command for path, command in COMMANDS.items() if isinstance(command, options.Group)}


def parsed(words: list[str]) -> click.Context:
    """The context of the command that these words call, with everything parsed and nothing run."""
    command: click.Command = cli.detector
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name, words, parent=context)
        if not isinstance(command, click.Group) or not (rest := [*context._protected_args, *context.args]):
            return context
        name, found, words = command.resolve_command(context, rest)
        assert found is not None, name
        command = found


def test_the_reference_is_current() -> None:
    """The pages of docs/ and share/ are what the commands say; `python scripts/build_cli_reference.py` writes them."""
    files = runpy.run_path(str(ROOT / "scripts" / "build_cli_reference.py"))["files"]()
    for path, text in files.items():
        assert (ROOT / path).read_text("utf-8") == text, path
    shared = {path.relative_to(ROOT).as_posix() for path in (ROOT / "share").rglob("*") if path.is_file()}
    assert shared | {"docs/cli.md", "docs/collect-cli.md"} == files.keys()


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
        settings = {
            option.setting
            for option in command.params
            if isinstance(option, Option) and option.setting and option.into == "settings"
        }
        assert settings <= DetectorOptions.__optional_keys__, command.name


def test_one_declaration_reaches_every_command_that_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new option that is a setting is declared once; commands pass it on without knowing it."""
    monkeypatch.setitem(options._NETWORK, "example", options.probing("--example", "An example.", setting=True))
    given: list[dict[str, Any]] = []

    def command(*, settings: dict[str, Any] = options.settings()) -> None:  # noqa: B008 - as commands declare it
        given.append(settings)

    made = click.command(cls=options.Command)(command)
    assert made.main(["--example", "x", "--offline"], standalone_mode=False) is None
    assert given == [{"example": "x", "offline": True, "proxy": "system", "vantage": ""}]


def test_help_lists_sections_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The options of a command by section; the commands of the program by section."""
    assert cli.run(["check", "--help"]) == 0
    text = capsys.readouterr().out
    places = [
        text.index(f"\n{title}:") for title in ("Probing", "Pins and trust", "Result", "Other options", "Examples")
    ]
    assert places == sorted(places)
    assert set(SECTIONS) > {"Probing", "Pins and trust", "Result", "Other options"}
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
    done = subprocess.run([program("mandoc"), "-T", "lint", *pages], capture_output=True, text=True, check=False)  # noqa: S603 - no shell; the pages are files of this repository
    assert [line for line in done.stdout.splitlines() if "WARNING: missing date" not in line] == []
    assert done.stderr == ""


def test_a_man_page_says_what_help_says() -> None:
    """The page of `check`, as a terminal shows it, has every option with its text."""
    page = ROOT / "share" / "man" / "man1" / "detector-check.1"
    shown = subprocess.run(  # noqa: S603 - no shell; the page is a file of this repository
        [program("mandoc"), "-T", "utf8", "-O", "width=500", str(page)], capture_output=True, text=True, check=True
    ).stdout
    text = " ".join(re.sub(".\b", "", shown).split())
    check = cli.detector.commands["check"]
    context = click.Context(check, info_name="check")
    records = [record for option in check.params if (record := option.get_help_record(context)) is not None]
    assert len(records) > 20
    for flags, words in records:
        assert f"{flags} {' '.join(words.split())}" in text


def test_other_options_are_those_of_every_command() -> None:
    """What belongs to a command stands in a section that says what for; the last section is about the program."""
    others = {
        param.name
        for command in commands()
        for param in command.params
        if isinstance(param, Option) and param.section == options.OTHER
    }
    assert others == {"config", "verbose"}


@pytest.mark.parametrize("path", GROUPS)
def test_groups_list_their_commands_by_section_uncut(path: str) -> None:
    """Every subcommand is in one section, and its line in the help of 80 columns is whole."""
    group = GROUPS[path]
    listed = [name for names in group.sections.values() for name in names]
    assert sorted(listed) == sorted(group.commands)
    with click.Context(group, info_name=path, terminal_width=80, max_content_width=80) as context:
        text = group.get_help(context)
    assert "..." not in text.partition("\n\n")[2]
    assert all(f"\n{title}:\n" in text for title in group.sections)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_examples(path: str) -> None:
    """At most four, each short enough for a line."""
    examples = getattr(COMMANDS[path], "examples", ())
    assert 1 <= len(examples) <= 4
    assert all(len(example) <= 110 for example in examples)


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_examples_are_valid(path: str, example: str) -> None:
    """Each is parsed as the shell would pass it on: every option and value exists."""
    words = shlex.split(example.removeprefix('eval "$(').removesuffix(')"'))
    if "--config" in words:
        words[words.index("--config") + 1] = str(ROOT / "docs" / "examples" / "detector.toml")
    context = parsed(words[1:])
    called = " ".join(context.command_path.split()[: len(path.split())])
    assert called == path


def meaning(option: Option) -> tuple[str, ...]:
    """What an option is to its user: the kind of value, how it is called, its default and its text."""
    kind = option.type.to_info_dict()
    return tuple(map(str, (kind, option.metavar, option.default, option.help, option.multiple)))


_DATA = ("data update", "data show", "data verify")
LISTENS = "a server's own address, not what is probed"
SELECTS = "the name of a place selects what to read or to use"
DIFFERENT = {
    "--bundle": {},
    "--concurrency": {"fleet scan": "of one job, of which a worker has several"},
    "--data": dict.fromkeys((*_DATA, "data export"), "what the package ships is not installed"),
    "--deadline": {
        "watch": "of one probe",
        "locate": "a trace takes longer",
        "bundle sign": "of each authority",
        "data update": "of one update",
    },
    "--expires-in": {"fleet certificates": "certificates, which nobody renews automatically"},
    "--fail-on": {"nagios": "the states of a monitoring system"},
    "--format": {
        **dict.fromkeys(
            (
                "exam gate",
                "watch",
                "ct watch",
                "scan",
                "fleet scan",
                "locate",
                "verify",
                "diff",
                "dossier",
                "history",
                "outbox list",
                "outbox status",
                "roots audit",
                *_DATA,
            ),
            "what this command can write",
        ),
        "origin judge": "whose log is read; --output-format says what is written",
    },
    "--history": {
        **dict.fromkeys(("exam gate", "watch", "ct watch", "nagios"), "nothing is written"),
        **dict.fromkeys(("history", "history show", "diff", "dossier"), "what is read is the result"),
        "origin judge": "nothing is read",
    },
    "--from": {"data update": "a repository, not a format"},
    "--host": {
        "fleet scheduler": LISTENS,
        "fleet certificates": LISTENS,
        "witness serve": LISTENS,
        "pins import": SELECTS,
    },
    "--interval": {"ct watch": "of reading logs, not of probes"},
    "--json": {
        **dict.fromkeys(("watch", "ct watch", "scan", "fleet scan", "history"), "a stream is one JSON value a line"),
        "origin judge": "--format says what is read",
    },
    "--key": {"witness serve": "of a TLS server"},
    "--limit": {"witness serve": "of a resource"},
    "--name": {"pins import": "the default says where the pins come from"},
    "--output": dict.fromkeys(("witness keygen", "outbox keygen"), "required: a private key is not for the terminal"),
    "--pins": {"verify": "instead of the recorded ones"},
    "--port": {"fleet scheduler": LISTENS, "witness serve": LISTENS},
    "--proxy": dict.fromkeys(("fleet scan", "pins learn"), "servers and administrators: the environment's"),
    "--refused": {"outbox drop": "what is dropped, not sent"},
    "--signing-key": dict.fromkeys(("bundle sign", "witness serve"), "several sign at once"),
    "--vantage": {
        "fleet worker": "required",
        **dict.fromkeys(("fleet scan", "history", "dossier"), SELECTS),
    },
}
"""Options that are not everywhere the same, by flag and command, with the reason."""


def test_one_option_has_one_meaning() -> None:
    """The same flag is the same kind of value with the same name, default and text wherever it stands."""
    by_flag: dict[str, dict[str, tuple[str, ...]]] = {}
    for path, command in COMMANDS.items():
        for option in command.params:
            if isinstance(option, Option):
                by_flag.setdefault(max(option.opts, key=len), {})[path.removeprefix("detector ")] = meaning(option)
    differing = {}
    for flag, meanings in by_flag.items():
        excused = DIFFERENT.get(flag, {})
        usual = {one for path, one in meanings.items() if path not in excused}
        assert len(usual) == 1, (flag, [(path, one) for path, one in meanings.items() if path not in excused])
        if found := {path for path, one in meanings.items() if one not in usual}:
            differing[flag] = found
    assert differing == {flag: set(paths) for flag, paths in DIFFERENT.items() if paths}


def test_every_option_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """DETECTOR_, the command and the option, in capitals with _ for other characters, as the documents say."""
    for path, command in COMMANDS.items():
        words = path.split()
        context: click.Context | None = None
        for depth in range(1, len(words) + 1):
            context = click.Context(COMMANDS[" ".join(words[:depth])], context, info_name=words[depth - 1])
            context.auto_envvar_prefix = re.sub(r"\W", "_", "_".join(words[:depth])).upper()
        assert context is not None
        for option in command.params:
            if isinstance(option, Option) and option.envvar is None:
                flag = max(option.opts, key=len).lstrip("-")
                name = re.sub(r"\W", "_", f"{path} {flag}").upper()
                with monkeypatch.context() as patched:
                    patched.setenv(name, "given")
                    assert option.resolve_envvar_value(context) == "given", name
