"""Files of signing keys: made once, never overwritten, never half read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from detector.errors import KeyFileError, OutputError
from detector.trust import keyfile
from detector.trust.envelope import public_octets

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_created_is_loaded(tmp_path: Path) -> None:
    """The same key comes back from the file, which only its owner can read, whatever the umask."""
    before = os.umask(0)
    try:
        created = keyfile.create(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert public_octets(keyfile.load(tmp_path / "key.pem")) == public_octets(created)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A file of that name stays as it is, even an empty one or a link to nowhere."""
    there, link = tmp_path / "key.pem", tmp_path / "link.pem"
    there.write_bytes(b"")
    link.symlink_to(tmp_path / "elsewhere.pem")
    for path in (there, link):
        with pytest.raises(OutputError, match="never overwritten"):
            keyfile.create(path)
    assert there.read_bytes() == b""
    assert not (tmp_path / "elsewhere.pem").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The message names the file."""
    for name in ("no-such-directory/key.pem", "nul\0.pem"):
        with pytest.raises(OutputError, match="cannot be written"):
            keyfile.create(tmp_path / name)


def test_a_key_that_could_not_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves nothing that looks like a key."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OutputError, match="No space left"):
        keyfile.create(tmp_path / "key.pem")
    assert not (tmp_path / "key.pem").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no PEM private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no PEM private key"),
        (b"x" * (keyfile.KEY_FILE_OCTETS_MAX + 1), "larger than"),
        (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "not an Ed25519 key",
        ),
        (
            Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            ),
            "passphrase",
        ),
    ],
    ids=["empty", "damaged", "large", "other", "encrypted"],
)
def test_what_is_no_key_is_told(content: bytes, reason: str, tmp_path: Path) -> None:
    """The message names the file and what is wrong, and nothing that stands in it."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=reason) as caught:
        keyfile.load(path)
    assert str(path) in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """No file, a directory, and a name that cannot be one."""
    for path in (tmp_path / "none.pem", tmp_path, tmp_path / "nul\0.pem"):
        with pytest.raises(KeyFileError, match="cannot be read"):
            keyfile.load(path)
