"""Certificates of a fleet: one CA, a key for each part that only its owner reads, nothing overwritten."""

from __future__ import annotations

import datetime as dt
import ssl
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from detector.errors import InputError, OutputError
from detector.scan.fleet import certificates

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)


def test_each_part_has_its_own(tmp_path: Path) -> None:
    """Every certificate is of the CA and for its role alone, and its key is its owner's alone."""
    folder = tmp_path / "tls"
    made = certificates.write(folder, hosts=["scheduler.example.edu", "127.0.0.1"], now=NOW)
    assert len(made) == 7
    ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    for part in certificates.PARTS:
        found = certificates.files(folder, part)
        leaf = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        policy = PolicyBuilder().store(Store([ca])).time(NOW)
        server = policy.build_server_verifier(x509.DNSName("scheduler.example.edu"))
        if part == certificates.SCHEDULER:
            assert len(server.verify(leaf, [])) == 2
            with pytest.raises(VerificationError):
                policy.build_client_verifier().verify(leaf, [])
        else:
            with pytest.raises(VerificationError):
                server.verify(leaf, [])
            subjects = policy.build_client_verifier().verify(leaf, []).subjects
            assert subjects == [x509.DNSName(f"{part}.fleet.invalid")]
        if sys.platform != "win32":
            assert stat.S_IMODE(found.key.stat().st_mode) == 0o600
        assert certificates.context(folder, part, now=NOW).verify_mode is ssl.CERT_REQUIRED
    assert not list(folder.glob("ca.key"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Certificates in use are not replaced by mistake."""
    certificates.write(tmp_path, hosts=["x.example"], now=NOW)
    with pytest.raises(OutputError, match="exists already"):
        certificates.write(tmp_path, hosts=["x.example"], now=NOW)


@pytest.mark.parametrize("host", ["", "no host", "x..example", "http://x.example", "a" * 300])
def test_names_that_are_none(tmp_path: Path, host: str) -> None:
    """A name that no certificate can carry is refused before anything is written."""
    with pytest.raises(InputError):
        certificates.write(tmp_path / "tls", hosts=[host], now=NOW)
    assert not (tmp_path / "tls").exists()


def test_missing_files_are_named(tmp_path: Path) -> None:
    """The error of a machine without the files of its part names them."""
    certificates.write(tmp_path, hosts=["x.example"], now=NOW)
    (tmp_path / "worker.key").unlink()
    with pytest.raises(InputError, match=r"worker\.key cannot be read"):
        certificates.context(tmp_path, "worker", now=NOW)
    with pytest.raises(InputError, match=r"ca\.pem cannot be read"):
        certificates.context(tmp_path / "nowhere", "client", now=NOW)


@pytest.mark.parametrize(
    ("days", "reported"), [(400, r"worker\.pem is valid from"), (-2, r"worker\.pem is valid from")]
)
def test_out_of_date(tmp_path: Path, days: int, reported: str) -> None:
    """A certificate past its time, or before it, is reported by name, with what to do."""
    certificates.write(tmp_path, hosts=["x.example"], now=NOW)
    with pytest.raises(InputError, match=reported) as caught:
        certificates.context(tmp_path, "worker", now=NOW + dt.timedelta(days=days))
    assert "detector fleet certificates" in caught.value.advice


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    """A certificate of another CA, another's key, and what is no certificate: reported before anything connects."""
    for name in ("one", "other"):
        certificates.write(tmp_path / name, hosts=["x.example"], now=NOW)
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "ca.pem").write_bytes((other / "ca.pem").read_bytes())
    with pytest.raises(InputError, match=r"client\.pem is not of the CA"):
        certificates.context(one, "client", now=NOW)
    (one / "client.key").write_bytes((other / "client.key").read_bytes())
    with pytest.raises(InputError, match=r"client\.key is not a key, or not that of client\.pem"):
        certificates.context(one, "client", now=NOW)
    (one / "client.pem").write_bytes(b"\x00nonsense")
    with pytest.raises(InputError, match=r"is not a certificate"):
        certificates.context(one, "client", now=NOW)


def role(*names: tuple[str, str]) -> str | None:
    """The role in a certificate with these alternative names."""
    return certificates.role_of({"subjectAltName": names})


def test_roles_are_read_strictly() -> None:
    """A certificate has one role or none, whatever other names it bears."""
    assert role(("DNS", "worker.fleet.invalid")) == "worker"
    assert role(("DNS", "client.fleet.invalid"), ("DNS", "x.example")) == "client"
    assert role(("DNS", "worker.fleet.invalid"), ("DNS", "client.fleet.invalid")) is None
    assert role(("URI", "client.fleet.invalid"), ("DNS", "x.example")) is None
    assert certificates.role_of(None) is None
    assert certificates.role_of({}) is None
