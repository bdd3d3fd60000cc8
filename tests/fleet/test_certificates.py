"""Certificates of a fleet: one CA, a key for each part that only its owner reads, nothing overwritten."""

from __future__ import annotations

import datetime as dt
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from detector.errors import InputError, OutputError
from detector.fleet import certificates
from detector.fleet.engine import security

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)


def test_each_part_has_its_own(tmp_path: Path) -> None:
    """Every certificate is of the CA, serves and asks, and its key is its owner's alone."""
    folder = tmp_path / "tls"
    made = certificates.write(folder, hosts=["scheduler.example.edu", "127.0.0.1"], now=NOW)
    assert len(made) == 7
    ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    for part in certificates.PARTS:
        found = certificates.files(folder, part)
        leaf = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        name = x509.DNSName("scheduler.example.edu")
        verifier = PolicyBuilder().store(Store([ca])).time(NOW).build_server_verifier(name)
        assert len(verifier.verify(leaf, [])) == 2
        if sys.platform != "win32":
            assert stat.S_IMODE(found.key.stat().st_mode) == 0o600
    assert not list(folder.glob("ca.key"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Certificates in use are not replaced by mistake."""
    certificates.write(tmp_path, hosts=["x.example"], now=NOW)
    with pytest.raises(OutputError, match="is there already"):
        certificates.write(tmp_path, hosts=["x.example"], now=NOW)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A machine without the files of its part is told which."""
    certificates.write(tmp_path, hosts=["x.example"], now=NOW)
    (tmp_path / "worker.key").unlink()
    with pytest.raises(InputError, match=r"worker\.key is not there"):
        security(tmp_path, "worker")
    assert security(tmp_path, "client").require_encryption
