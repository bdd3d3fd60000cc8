"""The checkpoint of a log: a signed note whose signature is an RFC 6962 tree head signature.

Room: ct. Pure. The formats are those of https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint and
https://c2sp.org/static-ct-api. The log, or somebody who stands between, chose every byte: `NoteError` is the only
exception that leaves this module.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model.record import from_milliseconds
from detector.trust.signature import Signed, verify_sct

from .tiles import ROOT_BYTES, SIZE_MAX

if TYPE_CHECKING:
    import datetime as dt

NOTE_BYTES_MAX: Final = 128 * 1024
"""Bytes of a checkpoint that are read. The format asks readers to take 16 signatures, and says that a post-quantum
one has up to 5 kB, which are 7 kB in base64."""
SIGNATURES_MAX: Final = 64
"""Signature lines that are read: four times what the format asks for."""

_MARK: Final = "\N{EM DASH} "
_BODY_LINES: Final = 3
"""Origin, size, root. A checkpoint of this kind has no further line (static-ct-api, Checkpoints)."""
_TREE_HEAD: Final = b"\x05"
"""The type of signature: a TreeHeadSignature of RFC 6962."""
_KEY_ID_BYTES: Final = 4
_HEAD_BYTES: Final = _KEY_ID_BYTES + 8 + 4
"""Key ID, time, algorithm and length of the signature."""


class NoteError(ValueError):
    """Not a checkpoint; the text is one clause."""


class ForgedError(NoteError):
    """A checkpoint that the log's key did not sign."""


class Checkpoint(NamedTuple):
    """A tree head. `note` is the text that was signed, with its signatures: the log cannot deny it."""

    origin: str
    size: int
    root: bytes
    timestamp_ms: int
    note: str

    @property
    def at(self) -> dt.datetime | None:
        """When the log signed it; None past the year 9999."""
        return from_milliseconds(self.timestamp_ms)


def verify(data: bytes, key: bytes) -> Checkpoint:
    """Read a checkpoint that the log with this key (DER SubjectPublicKeyInfo) signed.

    Signatures of others, such as witnesses, are ignored; one of the log's that is wrong refuses the whole note. Raises
    `ForgedError` for what the log's key did not sign, `NoteError` for what is no checkpoint.
    """
    origin, size, root, lines, note = _parse(data)
    wanted = _key_id(origin, key)
    signed = [body for name, body in map(_signature, lines) if name == origin and body[:_KEY_ID_BYTES] == wanted]
    if not signed:
        raise ForgedError("it has no signature of this log's key")
    times = [_verified_time(body, key, size, root) for body in signed]
    return Checkpoint(origin, size, root, times[0], note)


def _parse(data: bytes) -> tuple[str, int, bytes, list[str], str]:
    """Origin, size, root, signature lines, and the whole text."""
    if len(data) > NOTE_BYTES_MAX:
        raise NoteError(f"it is larger than {NOTE_BYTES_MAX} bytes")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("it is not UTF-8") from error
    if any(character < " " for character in set(note) - {"\n"}):
        raise NoteError("it has control characters")
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NoteError("it is not a signed note")
    lines = signatures[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise NoteError(f"it has more than {SIGNATURES_MAX} signatures")
    body = text.split("\n")
    if len(body) != _BODY_LINES or not body[0]:
        raise NoteError("it has not the three lines of a tree head")
    return body[0], _size(body[1]), _root(body[2]), lines, note


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(SIZE_MAX)) or (text[0] == "0" and text != "0"):
        raise NoteError("its tree size is not a number")
    if int(text) > SIZE_MAX:
        raise NoteError("its tree is larger than any log's")
    return int(text)


def _root(text: str) -> bytes:
    root = _base64(text)
    if len(root) != ROOT_BYTES:
        raise NoteError("its root is not a SHA-256 hash")
    return root


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NoteError("its base64 cannot be read") from error


def _signature(line: str) -> tuple[str, bytes]:
    """Key name, and key ID with the signature."""
    name, space, encoded = line.removeprefix(_MARK).rpartition(" ")
    if not line.startswith(_MARK) or not space or not name or "+" in name or any(map(str.isspace, name)):
        raise NoteError("a signature line cannot be read")
    return name, _base64(encoded)


def _key_id(origin: str, key: bytes) -> bytes:
    log_id = hashlib.sha256(key).digest()
    return hashlib.sha256(origin.encode() + b"\n" + _TREE_HEAD + log_id).digest()[:_KEY_ID_BYTES]


def _verified_time(body: bytes, key: bytes, size: int, root: bytes) -> int:
    """The time in a RFC6962NoteSignature whose signature is right (RFC 6962 section 3.5)."""
    time, algorithm, length = body[4:12], body[12:14], body[14:16]
    signature = body[_HEAD_BYTES:]
    if len(body) < _HEAD_BYTES or len(signature) != int.from_bytes(length, "big"):
        raise ForgedError("the log's signature is cut short")
    version_and_type = b"\x00\x01"  # v1, tree_hash
    signed = version_and_type + time + size.to_bytes(8, "big") + root
    if verify_sct(key, (algorithm[0], algorithm[1]), signature, signed) is not Signed.VALID:
        raise ForgedError("the log's signature is wrong")
    return int.from_bytes(time, "big")
