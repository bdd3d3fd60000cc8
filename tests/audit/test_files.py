"""Certificate files: PEM, DER, OpenSSL's trusted certificates, and everything that is not one of them."""

from __future__ import annotations

import base64
import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from detector_testing.pki import to_pem
from hypothesis import given
from hypothesis import strategies as st

from detector.audit import files
from detector.trust import der

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

SERVER_AUTH = bytes.fromhex("06082b06010505070301")
EMAIL = bytes.fromhex("06082b06010505070304")


def trusted_pem(certificate: bytes, auxiliary: bytes) -> bytes:
    """A `TRUSTED CERTIFICATE` block with this X509_CERT_AUX."""
    body = base64.encodebytes(certificate + auxiliary)
    return b"-----BEGIN TRUSTED CERTIFICATE-----\n" + body + b"-----END TRUSTED CERTIFICATE-----\n"


def test_pem_and_der(pki: PrivatePKI) -> None:
    """PEM gives its certificates in order, DER its one, whatever stands around the blocks."""
    a, b = pki.root_a.certificate, pki.root_b.certificate
    text = b"Comment\r\n" + pki.root_a.pem.replace(b"\n", b"\r\n") + b"between" + pki.root_b.pem
    assert files.certificates(text) == files.Blocks((files.Block(a), files.Block(b)), 0)
    assert files.certificates(a) == files.Blocks((files.Block(a),), 0)
    assert files.certificates(b"\n \n") == files.Blocks((), 0)


def test_damaged_blocks_are_counted(pki: PrivatePKI) -> None:
    """A block that is cut off, no base64, or no certificate costs itself and nothing else."""
    cut = b"-----BEGIN CERTIFICATE-----\nMIIB\n"
    letters = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"
    text = cut + pki.root_a.pem + letters + to_pem(b"\x04\x01x") + cut
    blocks = files.certificates(text)
    assert [block.der for block in blocks.certificates] == [pki.root_a.certificate]
    assert blocks.damaged == 4
    assert files.certificates(b"no certificate at all") == files.Blocks((), 1)


def test_openssl_trusted_certificates(pki: PrivatePKI) -> None:
    """What OpenSSL appends decides whether the root is refused for TLS servers, and is no part of the certificate."""
    root = pki.root_a.certificate
    for auxiliary, distrusted in (
        (b"", False),
        (der.encode(0x30, der.encode(0x30, SERVER_AUTH)), False),
        (der.encode(0x30, der.encode(0x30, EMAIL)), True),
        (der.encode(0x30, der.encode(0xA0, SERVER_AUTH)), True),
        (der.encode(0x30, der.encode(0xA0, EMAIL)), False),
        (b"\x30\x7fgarbage", False),
    ):
        assert files.certificates(trusted_pem(root, auxiliary)).certificates == (files.Block(root, distrusted),)


def test_only_bounded_regular_files_are_read(tmp_path: Path) -> None:
    """Directories, pipes and files over the limit are refused in words; what is not there is its own case."""
    big = tmp_path / "big"
    big.write_bytes(bytes(100))
    assert files.read_file(big, 100)[0] == bytes(100)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, limit, words in ((big, 99, "larger"), (pipe, 10, "not a regular"), (tmp_path, 10, "is|cannot")):
        with pytest.raises(files.StoreError, match=words):
            files.read_file(path, limit)
    for missing in (tmp_path / "missing", big / "below"):
        with pytest.raises(FileNotFoundError):
            files.read_file(missing)
    with pytest.raises(files.StoreError, match="name of a file"):
        files.read_file(Path("a\0b"))


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is not walked forever."""
    monkeypatch.setattr(files, "FILES_MAX", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(files.StoreError, match="more than 2 files"):
        list(files.files_below(tmp_path))
    assert list(files.files_below(tmp_path / "missing")) == []


def test_paths_name_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Home directories, one's own and others', lose the name; control characters lose their power."""
    monkeypatch.setenv("HOME", "/srv/people/ada")
    assert files.shown("/srv/people/ada/ca.pem") == "~/ca.pem"
    assert files.shown("/srv/people/adamant/ca.pem") == "/srv/people/adamant/ca.pem"
    assert files.shown("/home/ada/ca.pem") == "~/ca.pem"
    assert files.shown("/var/home/ada/ca.pem") == "~/ca.pem"
    assert files.shown("/Users/ada") == "~"
    assert files.shown("C:\\Users\\ada\\ca.pem") == "~\\ca.pem"
    assert files.shown("/etc/\x1b[31m.pem") == "/etc/\N{REPLACEMENT CHARACTER}[31m.pem"


@given(st.floats(allow_nan=False))
def test_any_file_time_is_a_time(seconds: float) -> None:
    """File systems give any number."""
    assert files.moment(seconds).tzinfo is dt.UTC


@given(
    st.binary(max_size=200), st.lists(st.sampled_from([b"-----BEGIN CERTIFICATE-----", b"-----END ", b"MAA=", b"\n"]))
)
def test_any_bytes_are_read(data: bytes, parts: list[bytes]) -> None:
    """No file makes the reader raise, and whatever it gives is a DER sequence."""
    for text in (data, data.join(parts)):
        blocks = files.certificates(text)
        assert all(block.der.startswith(b"\x30") for block in blocks.certificates)
