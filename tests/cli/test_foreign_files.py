"""Whatever stands in a file that a command reads, the command says what is wrong with it: an internal error never.

Room: tests of cli. Every command assesses what was recorded, or connects to a port of this machine where nobody
listens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.command import run
from support.json_values import FOREIGN, places
from support.profiles import examples

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

COMMANDS = {
    "bundle": ("verify", "FILE"),
    "bundle's parts": ("bundle", "show", "FILE"),
    "dossier": ("dossier", "FILE"),
    "reports": ("diff", "FILE", "FILE"),
    "chain": ("examine", "FILE", "--host", "a.example"),
    "roots": ("examine", "chain.pem", "--host", "a.example", "--roots", "FILE"),
    "added roots": ("examine", "chain.pem", "--host", "a.example", "--add-roots", "FILE"),
    "CT logs": ("examine", "chain.pem", "--host", "a.example", "--ct-logs", "FILE"),
    "pins": ("pins", "lint", "FILE"),
    "pins shown": ("pins", "show", "FILE"),
    "pins of a chain": ("examine", "chain.pem", "--host", "a.example", "--pins", "FILE"),
    "public key": ("verify", "FILE", "--key-file", "FILE"),
    "signing key": ("bundle", "sign", "FILE", "--signing-key", "FILE", "-o", "signed.json"),
    "settings": ("--config", "FILE", "rules"),
    "policy": (
        "exam",
        "gate",
        "--policy",
        "FILE",
        "--pins",
        "pins.toml",
        "--proxy",
        "none",
        "--offline",
    ),
    "stores": ("roots", "audit", "--certificates", "FILE"),
    "history": ("diff", "1", "2", "--history", "FILE"),
    "witness": ("witness", "serve", "--certificate", "FILE", "--key", "FILE", "--signing-key", "FILE"),
}
"""By what is read: a command that reads it from FILE."""

PEM = b"-----BEGIN %b-----\n%b\n-----END %b-----\n"
CONTENTS = {
    "nothing": b"",
    "lists in lists": b"[" * 3000,
    "objects in objects": b'{"a":' * 3000,
    "nested, complete": b"[" * 3000 + b"]" * 3000,
    "a large number": b"-1180591620717411303424",
    "digits": b"9" * 5000,
    "null": b"null",
    "an object": b"{}",
    "a text": b'"\\ud800"',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "byte order marks": b"\xff\xfe{\x00}\x00",
    "NUL": b"\x00" * 100,
    "TOML in TOML": b"a = " + b"[" * 3000,
    "dotted keys": b"a." * 3000 + b"a = 1",
    "TOML number": b"schema = -1180591620717411303424",
    "TOML types": b"schema = 1\nname = [1]\nendpoint = 1979-05-27T07:32:00\n",
    "TOML endpoint": b"schema = 1\n[[endpoint]]\nhost = 1.5\nport = -1180591620717411303424\npins = [[1]]\n",
    "TOML infinity": b'schema = 1\nname = "x"\ndeadline = inf\nexpires = 9999-12-31\n[check]\ndeadline = nan\n',
    "PEM of nothing": PEM % (b"CERTIFICATE", b"", b"CERTIFICATE"),
    "PEM of a list": PEM % (b"CERTIFICATE", b"MAA=", b"CERTIFICATE"),
    "PEM key": PEM % (b"PRIVATE KEY", b"MAA=", b"PRIVATE KEY"),
    "PEM public key": PEM % (b"PUBLIC KEY", b"MAA=", b"PUBLIC KEY"),
    "PEM that never ends": b"-----BEGIN CERTIFICATE-----\nMAA=",
    "DER": b"\x30\x84\xff\xff\xff\xff",
    "database": b"SQLite format 3\x00" + bytes(84),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pki: PrivatePKI) -> Path:
    """A folder with a genuine chain, and a pin file for a port where nobody listens."""
    place: Path = tmp_path_factory.mktemp("foreign")
    (place / "chain.pem").write_bytes(pki.issue(["a.example"]).chain_pem)
    (place / "pins.toml").write_bytes(b'schema = 1\nname = "t"\n[[endpoint]]\nhost = "127.0.0.1"\nport = 1\n')
    return place


def read_by(command: tuple[str, ...], content: bytes, folder: Path) -> None:
    """Run a command on a file with this content: it ends with a verdict or as bad input, and prints no traceback."""
    file = folder / "foreign"
    file.write_bytes(content)
    file.chmod(0o600)
    done = run(*("foreign" if word == "FILE" else word for word in command), cwd=folder)
    assert done.returncode in {0, 1, 2, 3}, done
    assert "Traceback" not in done.stderr
    assert "Usage:" not in done.stderr
    assert "never retrieved" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_file_of_anything(command: tuple[str, ...], folder: Path) -> None:
    """Nested too deep, out of range, of another type, format or encoding."""
    for content in CONTENTS.values():
        read_by(command, content, folder)


@pytest.fixture(scope="module")
def genuine(folder: Path) -> bytes:
    """A report as JSON."""
    done = run("examine", "chain.pem", "--host", "a.example", "--format", "json", cwd=folder)
    assert done.returncode in {0, 1, 3}
    return done.stdout.encode()


@given(draw=st.data())
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_report_of_any_content(draw: st.DataObject, folder: Path, genuine: bytes) -> None:
    """A report in which one value is another one is compared, or refused."""
    content = json.loads(genuine)
    within, key = draw.draw(st.sampled_from(list(places(content))))
    within[key] = draw.draw(st.sampled_from(FOREIGN))
    (folder / "genuine.json").write_bytes(genuine)
    read_by(("diff", "genuine.json", "FILE"), json.dumps(content).encode(), folder)
    read_by(("diff", "FILE", "genuine.json", "--format", "json"), json.dumps(content).encode(), folder)
