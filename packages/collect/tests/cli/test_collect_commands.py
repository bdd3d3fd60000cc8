"""The commands of `detector-collect`, also as `detector collect`, against both databases. Room: tests."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import importlib.util
import json
import shlex
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from detector_collect.cli import collect
from detector_collect.store import evidence, migrations
from detector_collect.store.database import Store
from support.collect_stores import NOW, new_evidence
from support.command import Done, clean_environment, run
from support.command_tree import tree

from detector import cli
from detector.cli.options import SECTIONS, Option
from detector.trust.envelope import key_identifier

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

KEY, OTHER = (key_identifier(bytes([number]) * 32) for number in (1, 2))
COMMANDS = dict(tree(collect, "detector-collect"))
EXAMPLES = [(path, text) for path, command in COMMANDS.items() for text in getattr(command, "examples", ())]


class Collector:
    """Runs commands on one database, and expects each to succeed."""

    def __init__(self, database: str) -> None:
        self.database = database

    def run(self, *words: str) -> Done:
        return run("collect", *words, env={"DETECTOR_COLLECT_DATABASE": self.database})

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def rows(self, *words: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self(*words, "--json").splitlines()]

    def refusal(self, *words: str) -> str:
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def collector(database: str) -> Collector:
    made = Collector(database)
    assert made("migrate").endswith(f"has version {migrations.REVISION}.\n")
    made("institution", "add", "north", "North University")
    return made


def test_institutions(collector: Collector) -> None:
    """Added once, listed for people and for programs."""
    assert collector("institution", "list").split()[:3] == ["north", "North", "University"]
    assert "already" in collector.refusal("institution", "add", "north", "Another")
    assert "is no name" in collector.refusal("institution", "add", "No Name", "Title")
    assert [row["title"] for row in collector.rows("institution", "list")] == ["North University"]


def test_the_life_of_a_key(collector: Collector) -> None:
    """Added with its limits, replaced with an overlap, revoked."""
    collector("key", "add", "north", KEY, "--expires-in", "400", "--rate", "60", "--size", "1000")
    assert "already" in collector.refusal("key", "add", "north", KEY)
    assert "no institution south" in collector.refusal("key", "add", "south", OTHER)
    collector("key", "rotate", KEY, OTHER, "--overlap", "7")
    old, new = collector.rows("key", "list", "--institution", "north")
    assert [old["id"], new["id"], new["rate"], new["bytes_max"], new["expires"]] == [KEY, OTHER, 60, 1000, None]
    left = dt.datetime.fromisoformat(str(old["expires"])) - dt.datetime.fromisoformat(str(new["created"]))
    assert left == dt.timedelta(days=7)
    collector("key", "revoke", OTHER)
    assert collector.rows("key", "list")[1]["revoked"] is not None
    assert "does not count" in collector.refusal("key", "rotate", OTHER, key_identifier(bytes(32)))
    assert collector.rows("key", "list", "--institution", "south") == []


def test_a_client_certificate(collector: Collector, tls_pki: PrivatePKI, tmp_path: Path) -> None:
    """It is known by its SHA-256; one that is no certificate is refused with its file."""
    certificate = tls_pki.issue(["reports.example.edu"]).chain[0]
    file = tmp_path / "client.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(certificate))
    collector("key", "add", "north", "--certificate", str(file))
    (row,) = collector.rows("key", "list")
    assert (row["id"], row["kind"]) == (f"certificate/{hashlib.sha256(certificate).hexdigest()}", "certificate")
    file.write_text("nothing")
    assert "--certificate" in collector.refusal("key", "add", "north", "--certificate", str(file))
    assert "Give a key" in collector.refusal("key", "add", "north")
    assert "Give a key" in collector.refusal("key", "add", "north", KEY, "--certificate", str(file))


def fill(database: str) -> None:
    async def add() -> None:
        async with await Store.open(database) as store, store.begin() as connection:
            for number in range(3):
                await evidence.add(connection, new_evidence(number, key=KEY, exam=f"exam-{number}"))

    asyncio.run(add())


def test_what_a_stolen_key_sent(collector: Collector) -> None:
    """It is disregarded from the moment of the theft on; a period that ends before it starts is refused."""
    collector("key", "add", "north", KEY)
    fill(collector.database)
    assert "later than --since" in collector.refusal(
        "key", "disregard", KEY, "--since", "2026-11-30", "--until", "2026-11-29"
    )
    assert "no key" in collector.refusal("key", "disregard", OTHER, "--since", "2026-11-30", "--until", "2026-12-01")
    period = "--since", "2026-11-30T09:00:00", "--until", "2026-11-30T10:00:00"
    assert collector("key", "disregard", KEY, *period) == "Disregarded: 3.\n"


def test_holds_erasure_and_expiry(collector: Collector) -> None:
    """What is held is kept and counted; the rest is erased; what was released expires."""
    collector("key", "add", "north", KEY)
    fill(collector.database)
    assert (
        collector("hold", "place", "north", "--exam", "exam-1", "--reason", "case 3")
        == "Hold 1: 1 pieces of evidence.\n"
    )
    student = new_evidence().student
    assert student is not None
    assert collector("erase", student.hex()) == "Erased: 2. Kept under a hold: 1.\n"
    assert "no hash" in collector.refusal("erase", "abc")
    collector("hold", "release", "1")
    assert "no hold 1 in force" in collector.refusal("hold", "release", "1")
    assert [row["reason"] for row in collector.rows("hold", "list")] == ["case 3"]
    assert collector("expire") == f"Deleted: {0 if dt.datetime.now(dt.UTC) < NOW + dt.timedelta(days=365) else 1}.\n"


def test_retention(collector: Collector) -> None:
    """One kind is set, the others have the default."""
    collector("retention", "set", "watch-event", "90")
    days = {row["kind"]: row["days"] for row in collector.rows("retention", "show")}
    assert (days["watch-event"], days["bundle"]) == (90, 365)
    assert "watch-event" in collector.refusal("retention", "set", "watch-evnt", "90")


def test_a_password_is_never_shown() -> None:
    """Whatever is wrong with the database, its password is not in the message."""
    for url in (
        "postgresql://keeper:hunter2@127.0.0.1:1/none",
        "postgresql://keeper@127.0.0.1:1/none?password=hunter2",
        "postgresql://keeper:hunter2@127.0.0.1:notaport/none",
        "postgresql://keeper:hunter2@127.0.0.1:99999/none",
        "postgresql://keeper:hunter2#5@127.0.0.1:1/none",
        "postgresql://keeper:4@hunter2@127.0.0.1:1/none",
        "postgresql://keeper:hunter2@127.0.0.1:1/none?sslmode=sometimes",
        "mysql://keeper:hunter2@127.0.0.1/none",
        "keeper:hunter2",
    ):
        done = run("-vvv", "collect", "institution", "list", "--database", url)
        assert done.returncode == 2
        assert "Error: The database" in done.stderr
        assert "hunter2" not in done.stderr


def test_no_database_is_named() -> None:
    """The message says how to name one."""
    done = run("collect", "migrate")
    assert done.returncode == 2
    assert "DETECTOR_COLLECT_DATABASE" in done.stderr


def test_the_program_is_the_same_by_its_own_name(tmp_path: Path) -> None:
    """`python -m detector_collect` does what `detector collect` does."""
    database = f"sqlite:///{tmp_path}/collect.sqlite"
    done = subprocess.run(  # noqa: S603 - no shell; this interpreter
        [sys.executable, "-m", "detector_collect", "migrate", "--database", database],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )
    assert done.stdout == f"{database} has version {migrations.REVISION}.\n"


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "detector_collect" else find(name))
    done = run("collect", "migrate")
    assert done.returncode == 2
    assert "./packages/collect" in done.stderr


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_is_documented_like_the_detectors(path: str) -> None:
    """Help texts in sections that help knows, whole in the lists of groups, and with examples."""
    command = COMMANDS[path]
    assert getattr(command, "examples", ())
    for option in command.params:
        if isinstance(option, click.Option) and option.name != "version":
            assert isinstance(option, Option)
            assert option.section in SECTIONS
            assert option.help
    if isinstance(command, cli.options.Group):
        assert sorted(name for names in command.sections.values() for name in names) == sorted(command.commands)
        with click.Context(command, info_name=path, terminal_width=80, max_content_width=80) as context:
            assert "..." not in command.get_help(context).partition("\n\n")[2]


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_examples_are_valid(path: str, example: str) -> None:
    """Each is parsed as the shell would pass it on: every option and value exists."""
    words = shlex.split(example)[1:]
    command: click.Command = collect
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name, words, parent=context)
        if not isinstance(command, click.Group) or not (rest := [*context._protected_args, *context.args]):
            break
        _, found, words = command.resolve_command(context, rest)
        assert found is not None
        command = found
    assert context.command_path.startswith(path)


def test_every_command_is_a_module_of_its_name() -> None:
    """Each command can be imported, and is called what the list calls it."""
    assert {name: collect.commands[name].name for name in collect.commands} == {name: name for name in collect.commands}


def test_receivers_and_their_secrets(collector: Collector, tmp_path: Path) -> None:
    """A webhook's secret is printed once and kept in a private file; rotation keeps two, and removal none."""
    file = tmp_path / "hooks.json"
    options = ("--secrets", str(file))
    first = collector("receiver", "add", "https://hooks.example/tls", "--event", "case-opened", *options).strip()
    assert collector("receiver", "add", "reviews@example.com", "--institution", "north") == "receiver 2\n"
    assert file.stat().st_mode & 0o777 == 0o600
    second = collector("receiver", "rotate", "1", *options).strip()
    assert json.loads(file.read_text()) == {"1": [second, first]}
    collector("receiver", "rotate", "1", "--finish", *options)
    assert json.loads(file.read_text()) == {"1": [second]}
    rows = collector.rows("receiver", "list")
    assert [(row["kind"], row["target"], row["institution"]) for row in rows] == [
        ("webhook", "https://hooks.example/tls", None),
        ("mail", "reviews@example.com", "north"),
    ]
    collector("receiver", "remove", "1", *options)
    assert json.loads(file.read_text()) == {}
    assert "no receiver 1" in collector.refusal("receiver", "remove", "1")
    for target in ("http://hooks.example/", "https://user:secret@hooks.example/", "a@b\nBcc: c@d", "nobody"):
        message = collector.refusal("receiver", "add", target, *options)
        assert "secret@" not in message


def test_others_may_not_read_the_secrets(collector: Collector, tmp_path: Path) -> None:
    """A file of secrets that others may read is refused, and so is one of another form."""
    file = tmp_path / "hooks.json"
    options = ("--origin", "https://review.example", "--secrets", str(file), "--once")
    file.write_text("{}")
    file.chmod(0o644)
    assert "chmod 600" in collector.refusal("deliver", *options)
    file.chmod(0o600)
    assert collector("deliver", *options) == "Rounds with something to send: 0.\n"
    file.write_text('{"1": ["abc"]}')
    assert "not a file of webhook secrets" in collector.refusal("deliver", *options)


@pytest.mark.parametrize(
    "words",
    [
        ("deliver",),
        ("deliver", "--origin", "https://review.example/path"),
        ("deliver", "--origin", "https://review.example", "--smtp", "http://mail.example", "--sender", "a@b.example"),
        ("deliver", "--origin", "https://review.example", "--smtp", "smtp://mail.example"),
        ("deliver", "--origin", "https://review.example", "--smtp", "smtp://a:p4ss@mail.example", "--sender", "a@b.c"),
        ("receiver", "add", "https://hooks.example/"),
        ("receiver", "rotate", "1"),
    ],
)
def test_options_of_notices_are_checked(collector: Collector, words: tuple[str, ...]) -> None:
    """Each missing or impossible option is named, and no password is repeated."""
    assert "p4ss" not in collector.refusal(*words)
