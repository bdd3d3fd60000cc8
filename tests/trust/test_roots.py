"""Trusted roots as values: labels, versions, files that are refused with a reason."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import Endpoint, check
from detector.errors import RootsError
from detector.trust import roots

if TYPE_CHECKING:
    from detector.testing import PrivatePKI


def test_certifi_roots_have_certifi_labels() -> None:
    """The default roots are labelled, versioned and dated as certifi has them."""
    public = roots.certifi_roots()
    assert len(public) > 100
    assert "ISRG Root X1" in public.labels
    assert public.version
    assert public.date is not None


def test_ca_appended_to_the_bundle_is_not_public(pki: PrivatePKI) -> None:
    """An institution's CA in certifi's own file is told from certifi's roots, whatever label it is given."""
    import certifi  # noqa: PLC0415 - the file to tamper with

    genuine = Path(certifi.where()).read_bytes()
    ca = pki.private_ca("School Inspection CA")
    installed = roots.certifi_roots()
    for label in (b"", b'# Label: "ISRG Root X1"\n'):
        bundle = roots.split_certifi(genuine + b"\n" + label + ca.pem, installed.version)
        assert bundle.public.keys == installed.keys
        assert [root.certificate.der for root in bundle.added.roots] == [ca.certificate]
        newer = roots.split_certifi(genuine + b"\n" + label + ca.pem, "2099.1.1")
        assert [root.certificate.der for root in newer.added.roots] == [ca.certificate]


def test_new_root_of_a_newer_bundle_is_public(pki: PrivatePKI) -> None:
    """A labelled root of a certifi that is younger than this package's data is certifi's."""
    shipped = b'# Label: "Some New Root"\n' + pki.root_a.pem
    assert roots.split_certifi(shipped, "2099.1.1").public.labels == {"Some New Root"}
    assert roots.split_certifi(shipped, "2024.8.30").public.labels == set()


def test_new_key_under_an_old_label_is_public_only_in_an_untouched_bundle(pki: PrivatePKI) -> None:
    """A CA that takes a known root's label is believed only where the file is the one that was installed."""
    shipped = b'# Label: "ISRG Root X1"\n' + pki.root_a.pem
    assert roots.split_certifi(shipped, "2099.1.1").public.labels == set()
    assert roots.split_certifi(shipped, "2099.1.1", untouched=True).public.labels == {"ISRG Root X1"}
    assert roots.split_certifi(shipped, "2024.8.30", untouched=True).public.labels == set()


def test_bundle_as_recorded_by_the_installer(pki: PrivatePKI) -> None:
    """The installed file is told from one that somebody appended to."""
    import certifi  # noqa: PLC0415 - as above

    genuine = Path(certifi.where()).read_bytes()
    installed = metadata.distribution("certifi")
    assert roots._as_recorded(genuine, installed)
    assert not roots._as_recorded(genuine + pki.root_a.pem, installed)


def test_unlabelled_bundle_of_a_distribution_keeps_its_labels() -> None:
    """Distributions replace certifi's file by their own, without labels: keys tell the labels."""
    import certifi  # noqa: PLC0415 - as above

    lines = Path(certifi.where()).read_bytes().splitlines(keepends=True)
    bare = b"".join(line for line in lines if not line.startswith(b"#"))
    assert "ISRG Root X1" in roots.split_certifi(bare, "2022.9.24").public.labels


def test_load(pki: PrivatePKI, tmp_path: Path) -> None:
    """A PEM file becomes roots labelled by their names and versioned by their hash."""
    file = tmp_path / "roots.pem"
    file.write_bytes(pki.roots_pem())
    loaded = roots.load(file)
    assert loaded.labels == {"Exemplar Root R1", "Exemplar Root X2"}
    assert loaded.version.startswith("sha256:")
    assert loaded.with_added(roots.NO_ROOTS).labels == loaded.labels
    assert len(loaded.without(loaded.keys)) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no certificate here",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
    ],
)
def test_bad_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    """Files without certificates, or with damaged ones, are refused naming the file."""
    file = tmp_path / "bad.pem"
    file.write_bytes(content)
    with pytest.raises(RootsError, match=r"bad\.pem"):
        roots.load(file)


def test_damaged_block_among_good_ones_is_refused(pki: PrivatePKI, tmp_path: Path) -> None:
    """Trusting fewer roots than the file names would be a silent change of meaning."""
    file = tmp_path / "half.pem"
    file.write_bytes(pki.roots_pem() + b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n")
    with pytest.raises(RootsError, match="damaged"):
        roots.load(file)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    """What cannot be read is refused, naming it."""
    for path in (tmp_path / "missing.pem", tmp_path, "a\0b"):
        with pytest.raises(RootsError, match="cannot be read"):
            roots.load(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="POSIX has a file without an end")
def test_a_file_without_an_end_is_refused() -> None:
    """The size that the system tells of a device is 0, so it is what was read that is counted."""
    with pytest.raises(RootsError, match="larger than 16 MiB"):
        roots.load("/dev/zero")


def test_machine_roots_are_a_value() -> None:
    """The operating system's roots load on this platform, if only as an empty set."""
    assert roots.machine_roots().name == "operating system"


@given(st.binary(max_size=300))
def test_any_pem_text_is_read(data: bytes) -> None:
    """PEM text of anybody's choice gives certificates or none."""
    assert isinstance(roots.certificates_in_pem(data), list)
    wrapped = b"-----BEGIN CERTIFICATE-----" + data + b"-----END CERTIFICATE-----"
    assert len(roots.certificates_in_pem(wrapped)) <= 2


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_a_bundle_without_certifi_roots_is_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without public roots everything would look intercepted: a check says what is wrong with the file instead."""
    import certifi  # noqa: PLC0415 - the file to take away

    bundle = tmp_path / "cacert.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setattr(certifi, "where", lambda: str(bundle))
    roots.certifi_bundle.cache_clear()
    try:
        with pytest.raises(RootsError, match=r"cacert\.pem") as refused:
            await check([Endpoint(host="exam.example.edu", address=("127.0.0.1", 1))], route="none", offline=True)
    finally:
        roots.certifi_bundle.cache_clear()
    assert "certifi" in str(refused.value)
