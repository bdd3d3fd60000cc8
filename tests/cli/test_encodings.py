"""Every command and format in every encoding that a terminal may have: no character silences a verdict.

What programs read is UTF-8 in all of them; what people read is in the terminal's encoding, character by character.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from detector_testing import serve_middlebox, serve_origin
from support.command import clean_environment, in_thread, run
from support.log_lines import nginx_line
from support.results import stating

from detector import cli
from detector.cli.streams import FALLBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from detector_testing import CA, PrivatePKI

EXAM: Final = "exam.example.edu"
NAME: Final = "校园网络过滤 Zertifizierung Ž…"
"""A CA's name that no encoding below has in full: Chinese, a letter of cp1252 alone, and an ellipsis."""
ENCODINGS: Final = ("utf-8", "cp1252", "ascii", "cp932")
PLAIN_NAME: Final = {encoding: NAME.encode(encoding, FALLBACK).decode(encoding) for encoding in ENCODINGS}
"""The name as far as each encoding has it."""
TIMES: Final = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?|\d+\.\d+(e\+\d+| s)")
FOR_PEOPLE: Final = {"history", "bundle show", "rules", "pins show", "help"}
"""Commands without a format, for people; others for people have the format table or text."""
REPORT_FORMATS: Final = ("table", "json", "jsonl", "html", "csv", "prometheus")
ORIGIN: Final = ("--format", "nginx", "--site", EXAM)
COMMANDS: Final = {
    "history": ("history", "--history", "history.sqlite"),
    "bundle show": ("bundle", "show", "bundle.json"),
    "rules": ("rules",),
    "pins show": ("pins", "show"),
    "help": ("check", "--help"),
    **{
        f"history show {form}": ("history", "--history", "history.sqlite", "show", "1", "--format", form)
        for form in REPORT_FORMATS
    },
    **{f"examine {form}": ("examine", "leaf.pem", "--host", EXAM, "--format", form) for form in REPORT_FORMATS},
    **{
        f"diff {form}": ("diff", "1", "1", "--history", "history.sqlite", "--format", form)
        for form in ("table", "json")
    },
    **{f"verify {form}": ("verify", "bundle.json", "--format", form) for form in ("table", "json")},
    **{
        f"audit {form}": ("roots", "audit", "--certificates", "leaf.pem", "--format", form)
        for form in ("table", "json")
    },
    **{
        f"origin judge {form}": ("origin", "judge", "detector.log", *ORIGIN, "--output-format", form)
        for form in ("table", "json", "jsonl", "html", "cef")
    },
    **{f"dossier {form}": ("dossier", "bundle.json", "--format", form) for form in ("html", "json")},
    "bundle part": ("bundle", "show", "bundle.json", "endpoint-1"),
    "bundle redact": ("bundle", "redact", "bundle.json", "vantage"),
}
"""Commands on what was recorded of an interceptor, by name; those that probe are below."""
PROBING: Final = {
    **{f"check {form}": ("check", EXAM, "--format", form) for form in REPORT_FORMATS},
    **{f"scan {form}": ("scan", EXAM, "--format", form, "--no-progress") for form in ("text", "jsonl", "csv")},
    **{f"watch {form}": ("watch", EXAM, "--duration", "0.3", "--format", form) for form in ("table", "jsonl")},
    "nagios text": ("nagios", EXAM),
    "exam gate json": ("exam", "gate"),
}
NAMING: Final = (
    *(f"{command} {form}" for command in ("history show", "check") for form in ("table", "json", "html", "csv")),
    *("scan text", "scan jsonl", "scan csv", "watch jsonl", "dossier html", "dossier json", "verify json"),
)
"""Commands that name the interceptor."""


def run_in(encoding: str, *words: str) -> tuple[int, bytes, str]:
    """Run a command with streams in an encoding that refuses what it lacks, as Python opens a pipe on Windows."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, newline="\n", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    streams = [stream.buffer for stream in (out, err)]
    written, said = (stream.getvalue() for stream in streams)
    return code, written, said.decode(encoding)


@contextlib.asynccontextmanager
async def a_filter(pki: PrivatePKI, ca: CA) -> AsyncIterator[int]:
    """The port of a proxy that intercepts with this CA."""
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(ca, upstream={(EXAM, 443): origin.address}) as box,
    ):
        yield box.port


@pytest.fixture(scope="module")
def recorded(pki: PrivatePKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a history, a bundle and a chain of an intercepted check, and the proxy that intercepted it."""
    folder = tmp_path_factory.mktemp("recorded")
    pki.write(folder)
    stating(folder, EXAM)
    ca = pki.private_ca(NAME)
    (folder / "leaf.pem").write_bytes(ca.issue([EXAM]).chain_pem)
    with in_thread(a_filter(pki, ca)) as port:
        (folder / "proxy").write_text(f"http://127.0.0.1:{port}", "utf-8")
        words = ("--history", "history.sqlite", "--bundle", "bundle.json", "--format", "json")
        (folder / "detector.log").write_bytes(
            nginx_line((0x1302, 0x009E), (29,), b"Mozilla/5.0 (X11) Chrome/150.0.0.0")
        )
        done = run("check", EXAM, *network(folder), *words, cwd=folder)
        assert done.returncode == 1, done.stderr
        assert NAME in done.stdout
        yield folder


def network(folder: Path) -> tuple[str, ...]:
    """Options that lead to the interceptor."""
    files = ("--pins", "stated.toml", *trust(folder))
    return (*files, "--proxy", (folder / "proxy").read_text("utf-8"), "--offline")


def trust(folder: Path) -> tuple[str, ...]:
    """The lists of the test PKI."""
    roots, logs = (next(folder.glob(pattern)).name for pattern in ("*roots*.pem", "*log*.json"))
    return ("--roots", roots, "--ct-logs", logs)


def words_of(name: str, folder: Path) -> tuple[str, ...]:
    """A command with what it needs."""
    if name in PROBING:
        return (*PROBING[name], *network(folder))
    first = COMMANDS[name][0]
    return (*COMMANDS[name], *(trust(folder) if first in {"examine", "verify", "dossier"} else ()))


@pytest.mark.parametrize("name", [*COMMANDS, *PROBING])
def test_no_character_silences_a_command(name: str, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every encoding the same exit code; for programs the same UTF-8, for people what the encoding has of it."""
    monkeypatch.chdir(recorded)
    for variable in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(variable)
    words = words_of(name, recorded)
    for_people = name in FOR_PEOPLE or name.endswith((" table", " text"))
    code, expected, _ = run_in("utf-8", *words)
    assert expected
    for encoding in ENCODINGS:
        found, written, said = run_in(encoding, *words)
        assert (found, "Internal error" in said) == (code, False), said
        text = written.decode(encoding if for_people else "utf-8")
        if name in NAMING:
            assert (PLAIN_NAME[encoding] if for_people else NAME) in text
        if name in COMMANDS:  # recorded, so that no time and no port differs
            shown = expected.decode("utf-8")
            stable = shown.encode(encoding, FALLBACK).decode(encoding) if for_people else shown
            assert TIMES.sub("", text) == TIMES.sub("", stable)


def test_german_letters_are_written_as_german_does() -> None:
    """Where an encoding lacks them they become ASCII letters, in our own texts; other letters are escaped."""
    text = "Prüfungsserver für Übungen: Größe Ä Ö ß é"
    assert text.encode("ascii", FALLBACK) == b"Pruefungsserver fuer Uebungen: Groesse Ae Oe ss \\xe9"
    assert text.encode("cp1252", FALLBACK).decode("cp1252") == text
    assert "UNAUFFÄLLIG, ÜBERALL".encode("ascii", FALLBACK) == b"UNAUFFAELLIG, UEBERALL"


@pytest.mark.parametrize(
    "locale",
    [
        *({"PYTHONIOENCODING": encoding} for encoding in ENCODINGS),
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_processes(form: str, locale: dict[str, str], recorded: Path) -> None:
    """The same for processes, as an environment sets the encoding of their streams."""
    history = str(recorded / "history.sqlite")
    done = subprocess.run(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-m", "detector", "history", "--history", history, "show", "1", "--format", form],
        capture_output=True,
        check=False,
        env=clean_environment() | locale,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    encoding = locale.get("PYTHONIOENCODING", "ascii")
    if form == "table":
        assert PLAIN_NAME[encoding] in done.stdout.decode(encoding)
    else:
        assert NAME in done.stdout.decode("utf-8")


def test_files_are_utf_8_in_every_encoding(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What --output writes does not depend on a terminal."""
    monkeypatch.chdir(recorded)
    for form in ("json", "html", "csv", "table"):
        output = tmp_path / form
        show = ("history", "--history", "history.sqlite", "show", "1", "--format", form, "--output", str(output))
        assert run_in("ascii", *show)[0] == 0
        assert NAME in output.read_text("utf-8")
