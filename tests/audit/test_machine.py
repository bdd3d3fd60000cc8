"""The edge: bundles a person names, programs that are run, and this very machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from detector.audit import InstalledRoot, machine, programs, read_bundles, read_machine, read_stores
from detector.audit.files import StoreError
from detector.errors import RootsError
from detector.knowledge import data_set

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector_testing import PrivatePKI

KNOWN = data_set.shipped().known_roots.keys

PRINT = "import sys; sys.stdout.write('roots' * int(sys.argv[1])); sys.stderr.write('why'); sys.exit(int(sys.argv[2]))"


def test_bundles(pki: PrivatePKI, tmp_path: Path) -> None:
    """Named files are read in their order, PEM or DER, and named in the result."""
    (tmp_path / "a.pem").write_bytes(pki.root_a.pem)
    (tmp_path / "b.der").write_bytes(pki.root_b.certificate)
    scanned = read_bundles([tmp_path / "a.pem", str(tmp_path / "b.der")])
    assert [r.der for r in scanned.roots] == [pki.root_a.certificate, pki.root_b.certificate]
    assert scanned.roots[0].store.endswith("a.pem")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "no certificate in it"),
        (b"text", "no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\n", "no certificate in it"),
    ],
)
def test_unusable_bundles(content: bytes | None, words: str, tmp_path: Path) -> None:
    """A bundle that cannot be audited is refused with its name, the reason and what to do."""
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RootsError, match=rf"bad\.pem: .*{words}.*Name a readable file"):
        read_bundles([path])


def test_partly_damaged_bundle(pki: PrivatePKI, tmp_path: Path) -> None:
    """One damaged block spoils a bundle that a person named: half an answer would look like a whole one."""
    path = tmp_path / "bad.pem"
    path.write_bytes(pki.root_a.pem + b"-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(RootsError, match="holds a damaged certificate"):
        read_bundles([path])
    with pytest.raises(RootsError, match=r"cannot be read|not a regular file"):
        read_bundles([tmp_path])


def test_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output of a program that ends well is given; failure, too much output, or no program are one exception."""
    assert programs.run([sys.executable, "-c", PRINT, "1", "0"]) == b"roots"
    with pytest.raises(programs.ProgramError, match="failed with status 3") as caught:
        programs.run([sys.executable, "-c", PRINT, "1", "3"])
    assert caught.value.said == "why"
    monkeypatch.setattr(programs, "_OUTPUT_BYTES_MAX", 9)
    with pytest.raises(StoreError, match="printed more than"):
        programs.run([sys.executable, "-c", PRINT, "2", "0"])
    with pytest.raises(StoreError, match="cannot be run"):
        programs.run(["/no/such/program"])
    monkeypatch.setattr(programs, "SECONDS_MAX", 0.05)
    with pytest.raises(StoreError, match="took longer"):
        programs.run([sys.executable, "-c", "import threading; threading.Event().wait()"])


def test_programs_that_write_files() -> None:
    """What a program writes into the file it is given is read; writing none is said."""
    writes = "import sys, pathlib; pathlib.Path(sys.argv[-1]).write_bytes(b'plist')"
    assert programs.run_into_file([sys.executable, "-c", writes]) == b"plist"
    with pytest.raises(StoreError, match="wrote no file"):
        programs.run_into_file([sys.executable, "-c", "pass"])


def test_this_machine(pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this is, its stores are read without an exception, and what the environment names is there."""
    bundle = tmp_path / "environment.pem"
    bundle.write_bytes(pki.root_a.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    scanned = read_machine(KNOWN)
    assert all(isinstance(root, InstalledRoot) for root in scanned.roots)
    assert sys.platform != "linux" or pki.root_a.certificate in {root.der for root in scanned.roots}


def test_stores_are_read_in_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in files is there before a program of the system is asked, and stays."""
    one, other = InstalledRoot(der=b"1", store="file"), InstalledRoot(der=b"2", store="program")
    monkeypatch.setattr(machine, "_in_files", lambda _: iter([one]))

    def through_programs() -> Iterator[InstalledRoot]:
        asked.append(True)
        yield other

    asked: list[bool] = []
    monkeypatch.setattr(machine, "_through_programs", through_programs)
    reading = read_stores(KNOWN)
    assert next(reading).roots == (one,)
    assert asked == []
    assert next(reading).roots == (one, other)
    assert read_machine(KNOWN).roots == (one, other)
