"""Makes the archive of an export: a tar file whose first member is a signed list of all others.

Room: detector_collect.review.exports. Pure: contents, key and time are arguments; the same ones give the same bytes.

`manifest.dsse.json` is a DSSE envelope by the collector's key: what was exported of which case, for whom, approved by
whom, and the SHA-256 of each file. `verify` checks an archive against it.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Final, Literal

from detector.model import Record, encode, json_text
from detector.model.record import Count, Moment  # noqa: TC001 - msgspec reads the annotations at run time
from detector.outbox.submission import Sha256  # noqa: TC001 - msgspec reads the annotations at run time
from detector.trust.envelope import open_envelope, seal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PAYLOAD_TYPE: Final = "application/vnd.tls-interception.export.v1+json"
"""Type of the signed list."""
MANIFEST: Final = "manifest.dsse.json"
_MODE: Final = 0o600
"""Permissions of what is unpacked: evidence is its reader's alone."""


class File(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of an archive."""

    name: str
    size: Count
    sha256: Sha256


class Manifest(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an archive is: the export's number, its case and purpose, who asked and who approved, and every file."""

    schema_version: Literal[1] = 1
    export: Count
    institution: str
    case: Count
    purpose: str
    requested_by: str
    approved_by: tuple[str, ...]
    made: Moment
    files: tuple[File, ...] = ()


class ArchiveError(ValueError):
    """An archive that is not what its signed list says."""


def pack(head: Manifest, files: Mapping[str, bytes], *, key: Ed25519PrivateKey) -> bytes:
    """The archive of `files`, in the order of their names. `head` is the manifest without its files."""
    ordered = sorted(files.items())
    manifest = Manifest(
        **{name: getattr(head, name) for name in head.__struct_fields__ if name != "files"},
        files=tuple(
            File(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest()) for name, content in ordered
        ),
    )
    sealed = seal(encode(manifest), payload_type=PAYLOAD_TYPE, keys=[key])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in [(MANIFEST, sealed), *ordered]:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), _MODE, int(head.made.timestamp())
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def verify(archive: bytes, *, keys: Sequence[bytes]) -> Manifest:
    """Check an archive against its list, which one of `keys` (32 raw bytes each) signed. Raises `ArchiveError`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            members = opened.getmembers()
            names = [member.name for member in members]
            if len(set(names)) != len(names) or not all(member.isreg() for member in members):
                raise ArchiveError("it has a name twice, or something other than files")
            contents = {member.name: read.read() for member in members if (read := opened.extractfile(member))}
    except tarfile.TarError as error:
        raise ArchiveError("it is not a tar file") from error
    envelope = open_envelope(contents.pop(MANIFEST, b""), payload_type=PAYLOAD_TYPE, keys=keys)
    if envelope.problem is not None:
        raise ArchiveError(f"its list is not signed by a known key ({envelope.problem})")
    manifest = json_text.decode(envelope.payload, Manifest)
    listed = {file.name: (file.size, file.sha256) for file in manifest.files}
    found = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()}
    if listed != found:
        raise ArchiveError("its files are not those of its list")
    return manifest
