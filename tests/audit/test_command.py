"""`detector roots audit`: sentences, table, JSON and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest
from detector_testing.pki import distinguished_name

from detector.audit import AuditReport, InstalledRoot, Scanned, UnreadableStore, Verdict, audit
from detector.audit.table import headline, what_to_do
from detector.cli.roots import _EXIT, roots
from detector.errors import DetectorError
from detector.knowledge import data_set
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector_testing import CA, PrivatePKI

    Command = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    pki: PrivatePKI, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Audit a bundle of the test PKI's roots and `cas`; gives exit code and standard output, 200 columns wide."""
    monkeypatch.setenv("COLUMNS", "200")
    public = tmp_path / "public.pem"
    public.write_bytes(pki.roots_pem())

    def command(*cas: CA, more: tuple[str, ...] = ()) -> tuple[int, str]:
        bundle = tmp_path / "bundle.pem"
        bundle.write_bytes(pki.roots_pem() + b"".join(ca.pem for ca in cas))
        code = roots.main(
            ["audit", "--certificates", str(bundle), "--roots", str(public), *more],
            prog_name="roots",
            standalone_mode=False,
        )
        return code, capsys.readouterr().out

    return command


def test_exit_codes_and_first_lines(run: Command, pki: PrivatePKI) -> None:
    """0, 3 and 1; the first line answers, the second says what to do, and nobody is accused."""
    code, text = run()
    assert (code, text.splitlines()[0]) == (
        0,
        "None of 2 trusted roots was added to the public ones and the system's own.",
    )
    campus = pki.private_ca("Campus CA")
    code, text = run(campus)
    assert (code, text.splitlines()[0]) == (
        3,
        "Trusted here: 1 root beyond the public set, none of a known interception product.",
    )
    code, text = run(campus, pki.private_ca(distinguished_name("Superfish, Inc.", "Superfish, Inc.", "US")))
    assert code == 1
    assert text.startswith("Trusted here: 1 root of known interception products (")
    assert "and 1 other root beyond the public set." in text.splitlines()[0]
    assert "By itself an installed root decrypts nothing" in text.splitlines()[1]
    assert "Campus CA" in text
    assert "\x1b" not in text


def test_every_verdict_has_an_exit_code() -> None:
    """The table of exit codes knows every verdict; only a known interceptor's root is 1."""
    assert set(_EXIT) == set(Verdict)
    assert [verdict for verdict, code in _EXIT.items() if code == 1] == [Verdict.INTERCEPTOR_TRUSTED]


def test_json_and_output_file(run: Command, pki: PrivatePKI, tmp_path: Path) -> None:
    """JSON goes to the file, whole; standard output stays empty."""
    target = tmp_path / "audit.json"
    code, text = run(pki.private_ca("Campus CA"), more=("--format", "json", "--output", str(target)))
    report = json.loads(target.read_text("utf-8"))
    assert (code, text, report["verdict"]) == (3, "", "unknown-trusted")
    assert [root["subject"] for root in report["beyond"]] == ["CN=Campus CA"]
    assert report["public"]["name"] == "public.pem"


def test_declared_roots_are_expected(run: Command, pki: PrivatePKI, tmp_path: Path) -> None:
    """An institution's own root, added to the public ones, is no finding."""
    campus = pki.private_ca("Campus CA")
    (tmp_path / "campus.pem").write_bytes(campus.pem)
    assert run(campus, more=("--add-roots", str(tmp_path / "campus.pem")))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--certificates", "missing.pem"), "missing.pem"),
        (("--roots", "missing.pem"), "missing.pem"),
        (("--output", "no/such/dir/x"), "no/such/dir/x"),
        (("--format", "html"), "html"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], words: str) -> None:
    """Bad usage is reported by name before or instead of any result."""
    with pytest.raises((DetectorError, click.ClickException)) as caught:
        roots.main(["audit", *arguments], standalone_mode=False)
    assert words in str(caught.value) + getattr(caught.value, "message", "")


def test_names_cannot_write_to_the_terminal(run: Command, pki: PrivatePKI) -> None:
    """Control characters and markup in a name are printed as escapes and as they stand."""
    _, text = run(pki.private_ca("[red]\x1b[2JCampus\u202e"))
    assert "[red]\\1B[2JCampus\\E2\\80\\AE" in text
    assert "\x1b" not in text


def assessed(pki: PrivatePKI, *found: InstalledRoot, unreadable: tuple[UnreadableStore, ...] = ()) -> AuditReport:
    public = from_der([pki.root_a.certificate], name="test")
    scanned = Scanned(roots=found, unreadable=unreadable)
    return audit(scanned, public=public, known=frozenset(), catalogue=data_set.shipped().catalogue, at=pki.now)


def test_sentences_when_nothing_was_found(pki: PrivatePKI) -> None:
    """No roots at all, and stores that could not be read, each have a sentence that does not reassure."""
    assert headline(assessed(pki)) == "No trusted root was found."
    incomplete = assessed(pki, unreadable=(UnreadableStore(store="nss:Firefox profile", reason="cannot be read"),))
    assert "not every store could be read" in headline(incomplete)
    assert "unreadable" in what_to_do(incomplete)
