"""Bundles that the environment names, and whose the roots in them are. Files in a temporary directory."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest

from detector.audit import InstalledRoot, UnreadableStore
from detector.audit.bundles import VARIABLES, bundle, named_by_environment
from detector.knowledge import data_set
from detector.model import RootOrigin

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

KNOWN = data_set.shipped().known_roots.keys


def public_pem() -> bytes:
    return ssl.DER_cert_to_PEM_cert(data_set.shipped().public_roots().roots[0].certificate.der).encode()


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_file_or_folder_of_own_roots_was_added(
    variable: str, pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever variable names it, it is a store, named without whose home it lies in."""
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    folder = tmp_path / "ada/certs"
    folder.mkdir(parents=True)
    (folder / "0123abcd.0").write_bytes(pki.root_b.pem)
    (folder / "b.pem").write_bytes(pki.root_a.pem)
    expected = InstalledRoot(der=pki.root_b.certificate, store=f"{variable}:~/certs", origin=RootOrigin.ADDED)
    assert list(named_by_environment({variable: str(folder)}, KNOWN)) == [expected]
    if variable != "SSL_CERT_DIR":
        (found,) = named_by_environment({variable: str(folder / "b.pem")}, KNOWN)
        assert found == InstalledRoot(
            der=pki.root_a.certificate, store=f"{variable}:~/certs/b.pem", origin=RootOrigin.ADDED
        )


def test_of_a_root_among_public_ones_the_origin_is_not_reported(pki: PrivatePKI, tmp_path: Path) -> None:
    """A complete bundle may be the newest of a distribution, with a root in it that the knowledge does not have yet."""
    given = tmp_path / "cacert.pem"
    given.write_bytes(public_pem() + pki.root_a.pem)
    found = list(named_by_environment({"SSL_CERT_FILE": str(given)}, KNOWN))
    assert [root.origin for root in found if isinstance(root, InstalledRoot)] == [RootOrigin.UNKNOWN] * 2


def test_folders_are_separated_and_files_are_not(pki: PrivatePKI, tmp_path: Path) -> None:
    """SSL_CERT_DIR names several folders; a file's name may hold the separator."""
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/0123abcd.0").write_bytes(pki.root_a.pem)
    folders = os.pathsep.join(["", str(tmp_path / "none"), str(tmp_path / "certs")])
    assert len(list(named_by_environment({"SSL_CERT_DIR": folders}, KNOWN))) == 1
    odd = tmp_path / f"a{os.pathsep}b.pem"
    odd.write_bytes(pki.root_b.pem)
    assert len(list(named_by_environment({"SSL_CERT_FILE": str(odd)}, KNOWN))) == 1


def test_what_was_read_before_is_not_read_again(pki: PrivatePKI, tmp_path: Path) -> None:
    """A variable that names the system's own bundle adds no store, so it cannot make it seem added."""
    given = tmp_path / "bundle.pem"
    given.write_bytes(pki.root_a.pem)
    seen: set[tuple[int, int]] = set()
    assert len(list(bundle(given, "bundle", seen))) == 1
    (tmp_path / "link.pem").symlink_to(given)
    assert list(named_by_environment({"SSL_CERT_FILE": str(tmp_path / "link.pem")}, KNOWN, seen)) == []


def test_trouble_is_listed(tmp_path: Path) -> None:
    """What is named and cannot be read is listed; what is not there is not."""
    (tmp_path / "bad.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    environment = {"SSL_CERT_FILE": "a\0b", "SSL_CERT_DIR": "a\0b", "CURL_CA_BUNDLE": str(tmp_path / "bad.pem")}
    environment["REQUESTS_CA_BUNDLE"] = str(tmp_path / "missing.pem")
    found = list(named_by_environment(environment, KNOWN))
    assert [item.store.partition(":")[0] for item in found if isinstance(item, UnreadableStore)] == [
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CURL_CA_BUNDLE",
    ]
    assert len(found) == 3
