"""Room: tests of ct."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from detector_testing import StaticLog, generate_key
from hypothesis import given
from hypothesis import strategies as st

from detector.ct import notes
from detector.ct.notes import ForgedError, NoteError

LOG = StaticLog.create()
LOG.fill(3, lambda index: b"%d" % index)
KEY = LOG.ct_log.public_key_der
NOTE = LOG.checkpoint()
WITNESS = "— witness.example/w " + base64.b64encode(bytes(80)).decode() + "\n"


def test_a_checkpoint_is_verified() -> None:
    """Size, root, time and origin are those that the log signed."""
    found = notes.verify(NOTE, KEY)
    assert (found.origin, found.size, found.root) == (LOG.origin, 3, LOG.root())
    assert (found.at, found.note) == (LOG.now, NOTE.decode())


def test_a_checkpoint_of_an_rsa_key_is_verified() -> None:
    """The other kind of key that RFC 6962 allows."""
    log = StaticLog.create()
    object.__setattr__(log.ct_log, "key", generate_key("rsa"))
    assert isinstance(log.ct_log.key, rsa.RSAPrivateKey)
    assert notes.verify(log.checkpoint(), log.ct_log.public_key_der).size == 0


def test_signatures_of_others_are_ignored() -> None:
    """Cosignatures of witnesses, before or after the log's, change nothing."""
    text, _, signature = NOTE.decode().rpartition("\n\n")
    assert notes.verify(f"{text}\n\n{WITNESS * 16}{signature}{WITNESS}".encode(), KEY).size == 3


def test_a_second_signature_of_the_log_must_be_right() -> None:
    """A note with a right and a wrong signature of the log's key is refused."""
    other = LOG.fork(2).checkpoint().decode().rpartition("\n\n")[2]
    with pytest.raises(ForgedError):
        notes.verify(NOTE + other.encode(), KEY)


def test_another_key_is_refused() -> None:
    """A checkpoint of one log is not valid for another."""
    with pytest.raises(ForgedError, match="no signature"):
        notes.verify(NOTE, StaticLog.create().ct_log.public_key_der)


def test_a_wrong_signature_is_refused() -> None:
    """A signature over something else is refused."""
    log = LOG.fork(3)
    log.wrong_signature = True
    with pytest.raises(ForgedError, match="wrong"):
        notes.verify(log.checkpoint(), KEY)


def test_another_name_of_the_key_is_refused() -> None:
    """The key's name must be the origin: the key ID covers it."""
    with pytest.raises(ForgedError):
        notes.verify(NOTE.replace(LOG.origin.encode(), b"other.ct.example/2026", 1), KEY)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda note: note[:0], "signed note"),
        (lambda note: b"\xff" + note, "UTF-8"),
        (lambda note: note.replace(b"\n3\n", b"\n03\n"), "number"),
        (lambda note: note.replace(b"\n3\n", b"\n-3\n"), "number"),
        (lambda note: note.replace(b"\n3\n", "\n\N{ARABIC-INDIC DIGIT THREE}\n".encode()), "number"),
        (lambda note: note.replace(b"\n3\n", b"\n" + b"9" * 5000 + b"\n"), "number"),
        (lambda note: note.replace(b"\n3\n", b"\n1099511627776\n"), "larger"),
        (lambda note: note.replace(b"\n3\n", b"\n3\n\r"), "control"),
        (lambda note: note.replace(b"\n\n", b"\nextension\n\n"), "three lines"),
        (lambda note: note.replace(b"\n\n", b"\n"), "signed note"),
        (lambda note: note[:-1], "signed note"),
        (lambda note: note + WITNESS.encode() * 64, "more than 64"),
        (lambda note: note + "— a b c\n".encode(), "signature line"),
        (lambda note: note + "— a+b AAAA\n".encode(), "signature line"),
        (lambda note: note + "— a A\n".encode(), "base64"),
        (lambda note: note + b"- a AAAA\n", "signature line"),
        (lambda note: note + b"a" * notes.NOTE_BYTES_MAX, "larger"),
    ],
)
def test_what_is_no_checkpoint_is_refused(change: object, reason: str) -> None:
    """Each rule of the formats, with its reason."""
    assert callable(change)
    with pytest.raises(NoteError, match=reason):
        notes.verify(change(NOTE), KEY)


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    """A note with any byte changed is refused, or says the same."""
    at = data.draw(st.integers(0, len(NOTE) - 1))
    changed = NOTE[:at] + bytes((data.draw(st.integers(0, 255)),)) + NOTE[at + 1 :]
    try:
        found = notes.verify(changed, KEY)
    except NoteError:
        return
    assert (found.size, found.root, found.timestamp_ms) == (3, LOG.root(), int(LOG.now.timestamp() * 1000))


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_only_the_documented_exception_escapes(body: bytes, signature: bytes) -> None:
    """Whatever is signed and how, a note is read or refused with `NoteError`."""
    key_id = hashlib.sha256(LOG.origin.encode() + b"\n\x05" + LOG.ct_log.log_id).digest()[:4]
    line = f"\n— {LOG.origin} {base64.b64encode(key_id + signature).decode()}\n".encode()
    head = NOTE.rpartition(b"\n\n")[0] + b"\n"
    for note in (body, body + line, head + body + line, head + line):
        with pytest.raises(NoteError):
            notes.verify(note, KEY)
