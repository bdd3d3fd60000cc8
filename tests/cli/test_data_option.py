"""The option --data: which data set a command uses, and the pins of vendors in it.

Room: tests of cli. Runs commands in this process, offline.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING

import pytest
from support import command
from support.command_tree import COMMANDS
from support.stored_sets import NEWER, REPOSITORY, VENDOR_FILE, install, whole

from detector.cli.options import Option
from detector.knowledge import store
from detector.knowledge.data_set import SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

CHECK = ("check", "127.0.0.1:1", "--offline", "--proxy", "none", "--format", "json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An updated set."""
    install(tmp_path / "sets", {**whole(), "pins/acme/exam.toml": VENDOR_FILE})
    return tmp_path / "sets"


def names(done: command.Done) -> set[str]:
    """Where the parts come from that a check in JSON used."""
    return {part["name"] for part in json.loads(done.stdout)["knowledge"]}


def test_a_command_uses_the_set_that_is_named(folder: Path) -> None:
    """A folder, or what is shipped, whatever is installed for the user."""
    assert names(command.run(*CHECK)) == {SHIPPED}
    assert names(command.run(*CHECK, "--data", str(folder))) == {REPOSITORY}
    assert names(command.run(*CHECK, "--data", "shipped")) == {SHIPPED}
    installed = {"XDG_DATA_HOME": str(folder.parent / "data")}
    place = folder.parent / "data" / "tls-middleware-detector"
    place.mkdir(parents=True)
    folder.rename(place / "knowledge")
    assert names(command.run(*CHECK, env=installed)) == {REPOSITORY}
    assert names(command.run(*CHECK, "--data", "shipped", env=installed)) == {SHIPPED}


def test_it_means_the_same_wherever_it_is() -> None:
    """One declaration: every command that has the option has that one, and what assesses has it."""
    having = {
        path: next(p for p in each.params if isinstance(p, Option) and "--data" in p.opts)
        for path, each in COMMANDS.items()
        if any("--data" in p.opts for p in each.params) and not path.startswith(("detector data", "detector origin"))
    }
    assert {option.help for option in having.values()} == {"Folder of installed data sets, or what this package ships."}
    assert all(option.setting == "data" for option in having.values())
    assert {
        f"detector {words}" for words in ("check", "scan", "watch", "nagios", "examine", "verify", "dossier")
    } <= set(having)
    assert {f"detector pins {words}" for words in ("show", "lint", "learn", "import", "export")} <= set(having)
    assert {"detector exam gate", "detector roots audit", "detector fleet scan"} <= set(having)


@pytest.mark.parametrize(
    "words",
    [CHECK, ("pins", "lint"), ("roots", "audit"), ("exam", "gate", "--proxy", "none")],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_folder_without_sets_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    """Exit 2, with the option, the folder and what to do."""
    done = command.run(*words, "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--data: {tmp_path}: no data sets are installed there" in done.stderr
    assert "detector data update" in done.stderr


def test_a_damaged_set_is_named_and_the_last_good_one_serves(folder: Path) -> None:
    """One line on standard error, with control characters escaped; the result is there all the same."""
    current = store.read_current(folder)
    assert current is not None
    (folder / store.SETS / current.set / "\x1b[2Jroots.json").write_bytes(b"")
    done = command.run(*CHECK, "--data", str(folder))
    assert names(done) == {SHIPPED}
    assert done.stderr.startswith("Warning: ")
    assert "roots.json: surplus" in done.stderr
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_pins_of_a_vendor_are_shown_and_used(folder: Path) -> None:
    """`vendor:NAME` where a pin file may stand; the report says which they were."""
    data = ("--data", str(folder))
    shown = command.run("pins", "show", "vendor:acme", *data).stdout
    assert "exam.acme.example:443" in shown
    done = command.run(*CHECK, "--pins", "vendor:acme", *data)
    (part,) = (part for part in json.loads(done.stdout)["knowledge"] if part["kind"] == "pins")
    assert (part["name"], part["date"], part["horizon"]) == ("vendor:acme", "2027-02-01", "2027-08-01")
    refused = command.run(*CHECK, "--pins", "vendor:nobody", *data)
    assert refused.returncode == 2
    assert "'vendor:nobody': no pins of this vendor are installed. Installed are those of acme." in refused.stderr


def test_a_policy_may_name_a_vendor(folder: Path, tmp_path: Path) -> None:
    """Next to its own files, which are relative to it."""
    policy = tmp_path / "policy.toml"
    policy.write_text('schema = 1\npins = ["vendor:acme"]\n', encoding="utf-8")
    words = ("exam", "gate", "--policy", str(policy), "--proxy", "none", "--offline", "--connect-to")
    done = command.run(*words, "exam.acme.example:443:127.0.0.1:1", "--data", str(folder))
    assert done.returncode == 3
    assert "exam.acme.example" in done.stdout


def test_a_detailed_report_names_every_part(folder: Path, pki: PrivatePKI, tmp_path: Path) -> None:
    """With -v the age of each; without, the three of always, on one line."""
    chain = tmp_path / "chain.pem"
    chain.write_text("".join(map(ssl.DER_cert_to_PEM_cert, pki.issue(["a.example"]).chain)), encoding="ascii")
    words = ("examine", str(chain), "--host", "a.example", "--data", str(folder))
    brief, detailed = (" ".join(command.run(*words, *more).stdout.split()) for more in ((), ("-v",)))
    assert f"public roots of {NEWER}, CT logs of {NEWER}, catalogue of {NEWER}." in brief
    for noun in ("intermediates", "revocations", "browsers' hellos", "canaries"):
        assert noun in detailed
        assert noun not in brief
