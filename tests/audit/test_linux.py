"""Linux trust stores, laid out below a temporary root directory as distributions do."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from support.store_makers import p11_object

from detector.audit import InstalledRoot, UnreadableStore
from detector.audit.linux import ANCHORS, linux_roots
from detector.model import RootOrigin

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from detector_testing import PrivatePKI

CHANGED = dt.datetime(2025, 3, 4, 5, 6, 7, tzinfo=dt.UTC)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (CHANGED.timestamp(), CHANGED.timestamp()))
    return path


def test_debian(pki: PrivatePKI, tmp_path: Path) -> None:
    """Bundle, linked directory and local directory each say what they hold; the local file says since when."""
    a, b = pki.root_a, pki.root_b
    put(tmp_path / "etc/ssl/certs/ca-certificates.crt", a.pem + b.pem)
    local = put(tmp_path / "usr/local/share/ca-certificates/school/b.crt", b.pem)
    put(tmp_path / "usr/local/share/ca-certificates/README", b"Put certificates here.")
    (tmp_path / "etc/ssl/certs/0123abcd.0").symlink_to(put(tmp_path / "usr/share/a.crt", a.pem))
    (tmp_path / "etc/ssl/certs/89abcdef.0").symlink_to(local)
    (tmp_path / "etc/ssl/certs/fedcba98.0").symlink_to(tmp_path / "gone")
    bundle, linked = "linux-bundle:/etc/ssl/certs/ca-certificates.crt", "linux-directory:/etc/ssl/certs"
    assert list(linux_roots(tmp_path)) == [
        InstalledRoot(der=a.certificate, store=bundle),
        InstalledRoot(der=b.certificate, store=bundle),
        InstalledRoot(der=a.certificate, store=linked),
        InstalledRoot(der=b.certificate, store=linked),
        InstalledRoot(
            der=b.certificate,
            store="linux-local:/usr/local/share/ca-certificates/school/b.crt",
            origin=RootOrigin.ADDED,
            installed_at=CHANGED,
        ),
    ]


def test_fedora(pki: PrivatePKI, tmp_path: Path) -> None:
    """One bundle under two names is read once; DER and p11-kit files are anchors; the blocklist wins."""
    bundle = put(tmp_path / "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", pki.root_a.pem)
    (tmp_path / "etc/pki/tls/certs").mkdir(parents=True)
    (tmp_path / "etc/pki/tls/certs/ca-bundle.crt").symlink_to(bundle)
    filters = [pki.private_ca(f"Filter {n}").certificate for n in range(3)]
    anchors = tmp_path / "etc/pki/ca-trust/source/anchors"
    put(anchors / "0.cer", filters[0])
    put(anchors / "1.p11-kit", p11_object(filters[1]) + p11_object(pki.root_b.certificate, "x-distrusted: true"))
    put(anchors / "2.crt", filters[2])
    put(tmp_path / "etc/pki/ca-trust/source/blocklist/2.crt", filters[2])
    found = [(r.der, r.store, r.distrusted) for r in linux_roots(tmp_path) if isinstance(r, InstalledRoot)]
    place = "linux-local:/etc/pki/ca-trust/source/anchors"
    assert found == [
        (pki.root_a.certificate, "linux-bundle:/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", False),
        (filters[0], f"{place}/0.cer", False),
        (filters[1], f"{place}/1.p11-kit", False),
        (pki.root_b.certificate, f"{place}/1.p11-kit", True),
        (filters[2], "linux-blocklist", True),
    ]


def test_what_the_vendor_ships_is_distinguished_from_what_was_put_next_to_it(pki: PrivatePKI, tmp_path: Path) -> None:
    """Only what dpkg lists for ca-certificates is the vendor's; a root of the merged bundle takes its origin there."""
    vendor, packaged, unlisted = pki.root_a, pki.root_b, pki.private_ca("Campus CA")
    put(tmp_path / "etc/ssl/certs/ca-certificates.crt", vendor.pem + packaged.pem + unlisted.pem)
    put(tmp_path / "usr/share/ca-certificates/mozilla/A.crt", vendor.pem)
    put(tmp_path / "usr/share/ca-certificates/campus/B.crt", packaged.pem)
    listed = b"/.\n/usr/share/ca-certificates/mozilla/A.crt\n/usr/share/ca-certificates/mozilla/gone.crt\n/etc/x.crt\n"
    put(tmp_path / "var/lib/dpkg/info/ca-certificates.list", listed)
    assert [(r.der, r.origin) for r in linux_roots(tmp_path) if isinstance(r, InstalledRoot)] == [
        (vendor.certificate, RootOrigin.SHIPPED),
        (packaged.certificate, RootOrigin.UNKNOWN),
        (unlisted.certificate, RootOrigin.UNKNOWN),
    ]


def test_whose_a_directory_of_anchors_is(pki: PrivatePKI, tmp_path: Path) -> None:
    """Below /etc and /usr/local an administrator put them; below /usr/share a package did, and nobody knows whose."""
    for name in ANCHORS:
        put(tmp_path / name / "ca.pem", pki.root_a.pem)
    found = {r.store: r.origin for r in linux_roots(tmp_path) if isinstance(r, InstalledRoot)}
    assert len(found) == len(ANCHORS)
    for store, origin in found.items():
        administrators = store.startswith(("linux-local:/etc/", "linux-local:/usr/local/"))
        assert origin is (RootOrigin.ADDED if administrators else RootOrigin.UNKNOWN)


def test_what_p11_kit_stores_for_an_administrator(pki: PrivatePKI, tmp_path: Path) -> None:
    """`trust anchor --store` writes next to the anchors; what is neither trusted nor refused is no root."""
    ca, refused, neutral = (pki.private_ca(name).certificate for name in ("Filter", "Refused", "Neutral"))
    source = tmp_path / "etc/pki/ca-trust/source"
    content = (p11_object(ca, "trusted: true"), p11_object(refused, "x-distrusted: true"), p11_object(neutral))
    put(source / "Filter_CA.p11-kit", b"".join(content))
    put(source / "README", b"text")
    store = "linux-local:/etc/pki/ca-trust/source/Filter_CA.p11-kit"
    assert [
        (r.der, r.store, r.origin, r.distrusted) for r in linux_roots(tmp_path) if isinstance(r, InstalledRoot)
    ] == [
        (ca, store, RootOrigin.ADDED, False),
        (refused, store, RootOrigin.ADDED, True),
    ]


def test_trouble_is_listed_and_costs_nothing_else(pki: PrivatePKI, tmp_path: Path) -> None:
    """What is there and cannot be read is named with a reason; the rest is still read."""
    (tmp_path / "etc/ssl/ca-bundle.pem").mkdir(parents=True)
    put(tmp_path / "etc/ssl/cert.pem", pki.root_a.pem + b"-----BEGIN CERTIFICATE-----\n")
    local = tmp_path / "usr/local/share/ca-certificates"
    put(local / "broken.crt", b"not a certificate")
    os.mkfifo(local / "pipe.crt")
    (local / "loop").symlink_to(local)
    found = list(linux_roots(tmp_path))
    assert [r.der for r in found if isinstance(r, InstalledRoot)] == [pki.root_a.certificate]
    reasons = {u.store: u.reason for u in found if isinstance(u, UnreadableStore)}
    assert "linux-bundle:/etc/ssl/ca-bundle.pem" in reasons
    assert reasons["linux-bundle:/etc/ssl/cert.pem"] == "holds a damaged certificate"
    assert reasons["linux-local:/usr/local/share/ca-certificates/broken.crt"] == "holds a damaged certificate"
    assert reasons["linux-local:/usr/local/share/ca-certificates/pipe.crt"] == "is not a regular file"
    assert len(reasons) == 4


def test_directories_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pki: PrivatePKI) -> None:
    """A directory with too many entries is reported, not walked to its end."""
    monkeypatch.setattr("detector.audit.files.FILES_MAX", 1)
    for n in range(2):
        put(tmp_path / f"etc/ssl/certs/0123abcd.{n}", pki.root_a.pem + bytes(n))
        put(tmp_path / f"usr/local/share/ca-certificates/{n}.crt", pki.root_b.pem)
    found = list(linux_roots(tmp_path))
    assert sum(isinstance(f, InstalledRoot) for f in found) == 2
    assert [f.reason for f in found if isinstance(f, UnreadableStore)] == ["holds more than 1 files"] * 2
