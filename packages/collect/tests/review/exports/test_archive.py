"""Room: tests of detector_collect.review.exports.archive."""

from __future__ import annotations

import datetime as dt
import io
import tarfile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect.review.exports.archive import MANIFEST, ArchiveError, Manifest, pack, verify
from hypothesis import given
from hypothesis import strategies as st

from detector.trust.envelope import public_key_of

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEYS = [public_key_of(KEY)]
HEAD = Manifest(
    export=3,
    institution="north",
    case=7,
    purpose="Answer to the institution",
    requested_by="Ann (person 1)",
    approved_by=("Bob (person 2)", "Eve (person 3)"),
    made=dt.datetime(2026, 11, 30, 9, 30, tzinfo=dt.UTC),
)
FILES = {"evidence/ab.json": b"{}", "case.json": b"[]", "assessments/ab.json": b"[1]"}


def test_an_archive_is_verified_and_always_the_same() -> None:
    """The same contents give the same bytes, and the signed list names people, purpose and every file."""
    packed = pack(HEAD, FILES, key=KEY)
    assert packed == pack(HEAD, dict(reversed(FILES.items())), key=KEY)
    manifest = verify(packed, keys=KEYS)
    assert (manifest.case, manifest.approved_by) == (7, HEAD.approved_by)
    assert [file.name for file in manifest.files] == sorted(FILES)


def test_members_are_plain_files_of_their_reader_alone() -> None:
    """No owner, no link, no absolute name; the list comes first."""
    with tarfile.open(fileobj=io.BytesIO(pack(HEAD, FILES, key=KEY))) as opened:
        members = opened.getmembers()
    assert [member.name for member in members] == [MANIFEST, *sorted(FILES)]
    assert {(member.mode, member.uid, member.uname, member.isreg()) for member in members} == {(0o600, 0, "", True)}


def _repacked(changes: dict[str, bytes | None]) -> bytes:
    """An archive with members replaced, added, or (None) left out."""
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(pack(HEAD, FILES, key=KEY))) as opened,
        tarfile.open(fileobj=stream, mode="w") as new,
    ):
        contents = {member.name: opened.extractfile(member).read() for member in opened.getmembers()}  # type: ignore[union-attr]  # all are files
        for name, content in {**contents, **changes}.items():
            if content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"case.json": b"[2]"},
        {"case.json": None},
        {"another.json": b""},
        {MANIFEST: None},
        {MANIFEST: b"{}"},
    ],
)
def test_any_other_content_is_refused(changes: dict[str, bytes | None]) -> None:
    """A file that was changed, removed or added, and a list without its signature."""
    with pytest.raises(ArchiveError):
        verify(_repacked(changes), keys=KEYS)


def test_another_key_is_refused() -> None:
    """An archive that somebody else signed."""
    packed = pack(HEAD, FILES, key=Ed25519PrivateKey.generate())
    with pytest.raises(ArchiveError, match="known key"):
        verify(packed, keys=KEYS)


@given(st.data())
def test_one_changed_byte_is_found_or_changes_nothing(data: st.DataObject) -> None:
    """A changed byte breaks the archive, or is in padding and headers, so that the same files are read."""
    packed = bytearray(pack(HEAD, FILES, key=KEY))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        manifest = verify(bytes(packed), keys=KEYS)
    except ArchiveError:
        return
    assert manifest == verify(pack(HEAD, FILES, key=KEY), keys=KEYS)
