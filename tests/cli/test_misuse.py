"""Wrong uses of every option that takes a file: one sentence that names the option, and an exit code of its own.

The options are found in the commands themselves, so that a new one is tried without being listed here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import pytest
from detector_testing import PrivatePKI, StaticLog
from support.command import run
from support.data_repository import DataRepository, shipped_parts

from detector import cli
from detector.cli.options import Option
from detector.trust.key_files import create_signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform == "win32":
    pytest.skip("devices and named pipes are of POSIX", allow_module_level=True)

FILES: Final = ("FILE", "PEM", "DIR", "STATE", "BUNDLE", "CHAIN")
"""What metavars of files contain."""
QUIET: Final = ("--offline", "--proxy", "none")
NOBODY: Final = "127.0.0.1:1"
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "bundle redact": ("bundle.json", "vantage"),
    "bundle show": ("bundle.json",),
    "bundle sign": ("bundle.json", "--signing-key", "key.pem"),
    "check": (NOBODY, *QUIET, "--deadline", "2"),
    "ct watch": ("--pins", "pins.toml", "--state", "ct.json", "--once", "--proxy", "none", "--log", "log=log.pem"),
    "data export": ("usb", "--root", "root.json", "--data", "knowledge"),
    "data show": (),
    "data update": ("--from", "served", "--root", "root.json", "--data", "knowledge"),
    "data verify": ("--root", "root.json", "--data", "knowledge"),
    "diff": ("report.json", "report.json"),
    "dossier": ("bundle.json",),
    "examine": ("chain.pem", "--host", "exam.example.edu"),
    "exam gate": (*QUIET,),
    "exam manifest": ("--browser", "chrome", "--extension-id", "a" * 32),
    "fleet certificates": ("new", "--host", "a.example.edu"),
    "fleet scan": (NOBODY, "--tls", "fleet", "--scheduler", "tls://127.0.0.1:1"),
    "fleet scheduler": ("--tls", "fleet", "--port", "1", "--host", "192.0.2.1"),
    "fleet worker": ("--tls", "fleet", "--scheduler", "tls://127.0.0.1:1", "--vantage", "v"),
    "history": ("--history", "history.db"),
    "history show": ("1",),
    "locate": (NOBODY, "--deadline", "2"),
    "nagios": (NOBODY, *QUIET, "--deadline", "2"),
    "origin judge": ("site.log", "--format", "nginx", "--by-network", "--network-key", "chain.pem"),
    "outbox drop": ("--all", "--outbox", "waiting"),
    "outbox keygen": ("--output", "new.key"),
    "outbox list": ("--outbox", "waiting"),
    "outbox send": (
        *("--report-to", "https://collect.example.org", "--report-receipt-key", f"ed25519/{'A' * 43}="),
        *("--outbox", "waiting", "--proxy", "none"),
    ),
    "outbox status": ("--outbox", "waiting"),
    "pins export": ("pins.toml", "--to", "android"),
    "pins import": ("app.xml", "--from", "android"),
    "pins learn": (NOBODY, "--proxy", "none", "--deadline", "2"),
    "pins lint": (),
    "pins show": (),
    "roots audit": (),
    "scan": (NOBODY, *QUIET, "--retries", "0", "--no-progress"),
    "verify": ("bundle.json",),
    "watch": (NOBODY, *QUIET, "--duration", "0.2"),
    "witness keygen": ("--output", "new.pem"),
    "witness serve": ("--certificate", "chain.pem", "--key", "key.pem", "--signing-key", "key.pem", "--port", "0"),
}
"""A right command line of each command."""
UNREACHABLE: Final = {"fleet scan"}
"""Commands that end here for another reason: nobody answers."""


class Place(NamedTuple):
    """One option, or argument, of one command."""

    command: str
    flag: str


ENDLESS: Final = Place("origin judge", "FILE|-")
"""A log of any length is read to its end, which a device that gives zeros does not have."""


def places() -> list[Place]:
    """Every option and argument that takes a file."""
    return [
        Place(name, max(parameter.opts, key=len) if isinstance(parameter, Option) else parameter.make_metavar(context))
        for name, command, context in commands(cli.detector, "")
        for parameter in command.params
        if any(word in (parameter.metavar or "") for word in FILES)
    ]


def commands(group: click.Group, above: str) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.commands:
        command = group.commands[name]
        full = f"{above} {name}".strip()
        if isinstance(command, click.Group):
            yield from commands(command, full)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield full, command, click.Context(command)


def give(kind: str, folder: Path) -> str:
    """A path that is of no use in this way."""
    place = folder / f"wrong-{kind}-{len(list(folder.iterdir()))}"
    match kind:
        case "missing":
            return str(folder / "no" / "such" / "file")
        case "directory":
            place.mkdir()
        case "empty":
            place.touch()
        case "garbage":
            place.write_bytes(bytes(range(256)) * 8)
        case "null":
            return f"{folder}/a\0b"
        case "loop":
            place.symlink_to(place.name)
        case _:
            return "/dev/full"
    return str(place)


KINDS: Final = ("missing", "directory", "empty", "garbage", "null", "loop", "full")


def line(place: Place, value: str) -> list[str]:
    """The command with this option exchanged or added, or this argument exchanged."""
    words, name = list(COMMANDS[place.command]), place.command.split()
    given = f"pac:{value}" if place.flag == "--proxy" else value
    if place.command == "history show":
        known = value if place.flag == "--history" else "history.db"
        return [name[0], "--history", known, name[1], *words, *(() if known == value else (place.flag, given))]
    if not place.flag.startswith("--"):
        words[:1] = [value]
    elif place.flag in words:
        words[words.index(place.flag) + 1] = given
    else:
        words += [place.flag, given]
    return [*name, *words]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with everything that right command lines name."""
    made, pki = tmp_path_factory.mktemp("misuse"), PrivatePKI.create()
    (made / "chain.pem").write_bytes(pki.issue(["exam.example.edu"]).chain_pem)
    create_signing_key(made / "key.pem")
    (made / "pins.toml").write_text(
        f'schema = 1\n[[endpoint]]\nhost = "a.example.edu"\npins = ["{"A" * 43}="]\n', "utf-8"
    )
    repository = DataRepository(shipped_parts())
    repository.write(made / "served")
    (made / "root.json").write_bytes(repository.first_root)
    assert run("data", "update", *COMMANDS["data update"], cwd=made).returncode == 0
    (made / "site.log").touch()
    log = StaticLog.create()
    (log.write(made / "log").parent / "log.pem").write_bytes(log.key_pem)
    assert run("pins", "export", "pins.toml", "--to", "android", "-o", "app.xml", cwd=made).returncode == 0
    assert run("fleet", "certificates", "fleet", "--host", "127.0.0.1", cwd=made).returncode == 0
    outputs = ("--history", "history.db", "--bundle", "bundle.json", "--format", "json", "--output", "report.json")
    assert run("check", NOBODY, *QUIET, "--deadline", "2", *outputs, cwd=made).returncode == 3
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_files(command: str, kind: str, folder: Path, tmp_path: Path) -> None:
    """Each option of the command, with a file of this kind: no traceback, no fault, and the option in the message."""
    for place in (place for place in places() if place.command == command):
        if kind == "full" and place == ENDLESS:
            continue
        home = {"HOME": str(tmp_path)}
        done = run(*line(place, give(kind, tmp_path)), cwd=folder, env=home)
        assert done.returncode in {0, 2, 3, 74}, (place, done.stderr)
        assert "Traceback" not in done.stderr
        if done.returncode in {2, 74} and place.flag.startswith("--") and place.command not in UNREACHABLE:
            assert place.flag in done.stderr, (place, done.stderr)


def test_every_command_is_tried() -> None:
    """A command that takes a file has its right command line here."""
    assert {place.command for place in places()} - {"exam native-host"} == set(COMMANDS)
