"""Room: tests of ct."""

from __future__ import annotations

import hashlib

import pytest
from detector_testing import PrivatePKI, StaticLog
from hypothesis import example, given
from hypothesis import strategies as st

from detector.ct import entries
from detector.ct.entries import EntryError


def data_of(log: StaticLog) -> bytes:
    """The data tile of a small log."""
    return b"".join(entry.timestamped + entry.rest for entry in log.entries)


def test_entries_are_read(pki: PrivatePKI) -> None:
    """A precertificate and its certificate, each with what the log has of it."""
    log = StaticLog.create()
    issued = log.issue(pki.intermediate_ec, ["exam.example.edu"])
    log.add(issued.leaf, issued.chain[1:])
    first, second = entries.read_tile(data_of(log), 0, 2)
    assert first.issuer_key_hash == pki.intermediate_ec.spki_sha256
    assert first.precertificate is not None
    assert (second.body, second.issuer_key_hash, second.precertificate) == (issued.leaf, None, None)
    assert second.issuers == tuple(hashlib.sha256(one).digest() for one in issued.chain[1:])
    assert (first.claimed, second.claimed) == (0, 1)
    assert [first.leaf_hash, second.leaf_hash] == [entry.leaf_hash for entry in log.entries]
    assert (first.logged_at, second.number) == (log.now, 1)


@pytest.mark.parametrize(
    ("extensions", "found"),
    [
        ("", None),
        ("0000050000000007", 7),
        ("01000000000500000000ff", 255),
        ("00000500000000070000050000000007", None),
        ("000004000000ff", None),
        ("0000060000000000ff", None),
        ("000005000000", None),
        ("00", None),
        ("ff0001aa", None),
    ],
)
def test_the_index_in_the_extensions(extensions: str, found: int | None) -> None:
    """It is there once, with 40 bits, among any others; else there is none."""
    assert entries.leaf_index(bytes.fromhex(extensions)) == found


def test_a_tile_must_be_read_to_its_last_byte() -> None:
    """One byte more, or an entry less, is refused."""
    log = StaticLog.create()
    log.fill(2, lambda index: b"%d" % index)
    data = data_of(log)
    for changed, width in ((data + b"\x00", 2), (data, 1), (data, 3), (data[:-1], 2), (b"", 1)):
        with pytest.raises(EntryError):
            entries.read_tile(changed, 0, width)


def test_an_unknown_type_of_entry_is_refused() -> None:
    """RFC 6962 has two."""
    with pytest.raises(EntryError, match="no known type"):
        entries.read_tile(bytes(8) + b"\x00\x02" + bytes(20), 0, 1)


@given(st.binary(max_size=400), st.integers(1, 4))
@example(bytes(8) + b"\x00\x01" + bytes(32) + b"\xff\xff\xff", 1)
@example(bytes(8) + b"\x00\x00" + bytes(3) + b"\xff\xff", 1)
def test_only_the_documented_exception_escapes(data: bytes, width: int) -> None:
    """Whatever a tile is, it is read or refused with `EntryError`; no two readings overlap."""
    try:
        found = entries.read_tile(data, 0, width)
    except EntryError:
        return
    assert sum(len(entry.body) for entry in found) <= len(data)


@given(st.binary(max_size=64))
def test_extensions_never_raise(data: bytes) -> None:
    """Any bytes have an index of 40 bits, or none."""
    found = entries.leaf_index(data)
    assert found is None or 0 <= found < 2**40


def test_a_time_beyond_the_calendar_is_none() -> None:
    """The largest time that fits into an entry is no datetime."""
    data = b"\xff" * 8 + bytes(2) + bytes(3) + bytes(2) + bytes(2)
    assert entries.read_tile(data, 0, 1)[0].logged_at is None
