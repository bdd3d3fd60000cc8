"""Room: tests of the test kit."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing import PrivatePKI, StaticLog
from detector_testing.static_ct import _tree_hash

if TYPE_CHECKING:
    from pathlib import Path


def test_a_precertificate_is_poisoned_and_signed(tls_pki: PrivatePKI) -> None:
    """What was submitted is a certificate with the poison, signed by the CA; the leaf has the log's SCT instead."""
    log = StaticLog.create()
    ca = tls_pki.intermediate_ec
    issued = log.issue(ca, ["exam.example.edu"])
    rest = log.entries[0].rest
    submitted = x509.load_der_x509_certificate(rest[3 : 3 + int.from_bytes(rest[:3], "big")])
    submitted.extensions.get_extension_for_class(x509.PrecertPoison)
    submitted.verify_directly_issued_by(x509.load_der_x509_certificate(ca.certificate))
    (sct,) = (
        x509.load_der_x509_certificate(issued.leaf)
        .extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
        .value
    )
    assert sct.log_id == log.ct_log.log_id


def test_a_checkpoint_is_signed() -> None:
    """The signature covers time, size and root, and fails where it should."""
    log = StaticLog.create()
    log.fill(5, lambda index: b"%d" % index)
    key = log.ct_log.key.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)

    def check() -> None:
        body = base64.b64decode(log.checkpoint().split()[-1])
        signed = b"\x00\x01" + body[4:12] + (5).to_bytes(8, "big") + log.root()
        key.verify(body[16:], signed, ec.ECDSA(hashes.SHA256()))

    check()
    log.wrong_signature = True
    with pytest.raises(InvalidSignature):
        check()


def test_files_are_those_of_the_size(tmp_path: Path) -> None:
    """Whole and partial tiles of each level; a fork shares the first entries, and a damaged file differs."""
    log = StaticLog.create(compress=True)
    log.fill(513, lambda index: b"%d" % index)
    files = log.files("/")
    assert {path for path in files if "/tile/" in path} == {
        *(f"/tile/{kind}/{name}" for kind in ("0", "data") for name in ("000", "001", "002.p/1")),
        "/tile/1/000.p/2",
    }
    assert len(gzip.decompress(files["/tile/data/002.p/1"])) < 100
    assert files["/tile/1/000.p/2"] == b"".join(
        _tree_hash([entry.leaf_hash for entry in log.entries[first : first + 256]]) for first in (0, 256)
    )
    fork = log.fork(512)
    fork.add(b"other")
    assert fork.files("/")["/tile/0/000"] == files["/tile/0/000"]
    assert fork.root() != log.root()
    log.damaged.add("tile/0/000")
    log.missing.add("tile/1/000.p/2")
    folder = log.write(tmp_path)
    assert (folder / "tile/0/000").read_bytes() != files["/tile/0/000"]
    assert not (folder / "tile/1/000.p/2").exists()


def test_a_listing_names_the_log() -> None:
    """As in Google's list, with the address of the files."""
    log = StaticLog.create("Fir")
    listed = log.listing("https://mirror.example/fir/")
    assert base64.b64decode(listed["log_id"]) == log.ct_log.log_id
    assert (listed["description"], listed["monitoring_url"]) == ("Fir", "https://mirror.example/fir/")
