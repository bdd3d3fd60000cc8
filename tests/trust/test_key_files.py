"""Key files: what is a key, what is refused, and that every message names the file and what to do."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import KeyFileError, OutputError
from detector.trust.envelope import public_key_of
from detector.trust.key_files import KEY_FILE_BYTES_MAX, create_signing_key, load_public_key, load_signing_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ENCRYPTED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
EC_PRIVATE = EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
EC_PUBLIC = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def written(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    file = folder / "signing.key"
    file.write_bytes(data)
    file.chmod(mode)
    return file


def test_a_pair(tmp_path: Path) -> None:
    """A private key is read from PKCS #8, its public half from SubjectPublicKeyInfo."""
    assert public_key_of(load_signing_key(written(tmp_path, PRIVATE))) == public_key_of(KEY)
    assert load_public_key(written(tmp_path, PUBLIC, 0o644)) == public_key_of(KEY)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no private key"),
        (b"\xff" * 100, "no private key"),
        (PUBLIC, "no private key"),
        (PRIVATE[:60], "no private key"),
        (ENCRYPTED, "encrypted"),
        (EC_PRIVATE, "not an Ed25519 key"),
        (PRIVATE + b" " * KEY_FILE_BYTES_MAX, "too large"),
    ],
    ids=["empty", "not text", "public", "cut", "encrypted", "other kind", "large"],
)
def test_what_is_no_signing_key(data: bytes, words: str, tmp_path: Path) -> None:
    """Each is refused with the file's name, what is wrong, and never the key."""
    with pytest.raises(KeyFileError, match=words) as caught:
        load_signing_key(written(tmp_path, data))
    assert "signing.key" in str(caught.value)
    assert caught.value.advice
    assert PRIVATE.decode().splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize(("data", "words"), [(PRIVATE, "no public key"), (EC_PUBLIC, "not an Ed25519 key")])
def test_what_is_no_public_key(data: bytes, words: str, tmp_path: Path) -> None:
    """A private key is not taken for a public one, nor a key of another kind."""
    with pytest.raises(KeyFileError, match=words):
        load_public_key(written(tmp_path, data))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
@pytest.mark.parametrize("mode", [0o604, 0o606, 0o601, 0o620, 0o644, 0o666])
def test_key_that_others_may_use(mode: int, tmp_path: Path) -> None:
    """A private key open to others is refused with the command that closes it; a group may read it."""
    with pytest.raises(KeyFileError, match=f"mode {mode:o}.*chmod 600"):
        load_signing_key(written(tmp_path, PRIVATE, mode))
    assert public_key_of(load_signing_key(written(tmp_path, PRIVATE, 0o440))) == public_key_of(KEY)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a folder and an impossible name are reported as a KeyFileError."""
    for path in (tmp_path / "missing.key", tmp_path, "\0"):
        with pytest.raises(KeyFileError, match="cannot be read"):
            load_signing_key(path)
    assert os.fspath(tmp_path)


@given(data=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: PRIVATE[:80] + tail))
def test_only_the_documented_exception(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever stands in the file, it is a key or a `KeyFileError`."""
    file = written(tmp_path_factory.getbasetemp(), data)
    for load in (load_signing_key, load_public_key):
        try:
            load(file)
        except KeyFileError as error:
            assert error.advice  # noqa: PT017 - either is right; whatever else is raised fails the test


def test_what_was_created_is_loaded(tmp_path: Path) -> None:
    """The same key comes back from the file, which only its owner can read, whatever the umask."""
    before = os.umask(0)
    try:
        created = create_signing_key(tmp_path / "key.pem")
    finally:
        os.umask(before)
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert public_key_of(load_signing_key(tmp_path / "key.pem")) == public_key_of(created)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """An existing file is left unchanged, even an empty one or a dangling link."""
    there, link = tmp_path / "key.pem", tmp_path / "link.pem"
    there.write_bytes(b"")
    link.symlink_to(tmp_path / "elsewhere.pem")
    for path in (there, link):
        with pytest.raises(OutputError, match="never overwritten"):
            create_signing_key(path)
    assert there.read_bytes() == b""
    assert not (tmp_path / "elsewhere.pem").exists()


def test_an_unwritable_path_is_reported(tmp_path: Path) -> None:
    """The message names the file."""
    for name in ("no-such-directory/key.pem", "nul\0.pem"):
        with pytest.raises(OutputError, match="cannot be written"):
            create_signing_key(tmp_path / name)


def test_a_key_that_could_not_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves nothing that looks like a key."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OutputError, match="No space left"):
        create_signing_key(tmp_path / "key.pem")
    assert not (tmp_path / "key.pem").exists()
