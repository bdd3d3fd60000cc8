"""Tests of detector.pins.write. Room: pins; files in a temporary directory only."""

from __future__ import annotations

import datetime as dt
import tempfile
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import PinFileError
from detector.model import Category, Endpoint, RecordedIdentity
from detector.pins import PinSet, dump, load

LABELS = ["ISRG Root X1", "GTS Root R1", 'Root with "quotes" \\ and Ő']
DIGESTS = st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple)
PRINTABLE = st.characters(exclude_categories=("C", "Z"))
TEXT = st.text(PRINTABLE | st.just(" "), min_size=1, max_size=50).filter(lambda text: bool(text.strip()))
HOST = st.sampled_from(["exam.example.edu", "192.0.2.1", "2001:db8::1", "xn--prfung-4ya.example", "localhost"])
PORT = st.integers(1, 65535)


@st.composite
def pin_sets(draw: st.DrawFn) -> PinSet:
    """Draw any set that one pin file can hold."""
    expires = draw(st.none() | st.dates())
    names = draw(st.lists(st.tuples(HOST, PORT), min_size=1, max_size=3, unique=True))
    endpoints = tuple(
        Endpoint(
            host=host,
            port=port,
            category=draw(st.sampled_from(Category)),
            pins=draw(DIGESTS),
            backup_pins=draw(DIGESTS),
            certificates=draw(DIGESTS),
            roots=tuple(draw(st.lists(st.sampled_from(LABELS), max_size=3))),
            operator=draw(st.none() | TEXT),
            witness=draw(DIGESTS),
            witness_is_end=draw(st.booleans()),
            identity=draw(st.sampled_from(RecordedIdentity)),
            quic=draw(st.booleans()),
            address=draw(st.none() | st.tuples(HOST, PORT)),
            expires=expires,
        )
        for host, port in names
    )
    return PinSet(name=draw(TEXT), updated=draw(st.none() | st.dates()), expires=expires, endpoints=endpoints)


@given(pin_sets(), st.lists(st.text(max_size=20), max_size=2))
def test_what_is_written_reads_back_equal(pin_set: PinSet, comment: list[str]) -> None:
    """Nothing is lost or changed by writing and reading a file, whatever stands in the comments."""
    text = dump(pin_set, header=comment, comments={pin_set.endpoints[0].name: comment})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pins.toml"
        path.write_text(text, encoding="utf-8", newline="\n")
        read = load([path], root_labels=LABELS)
    endpoints = tuple(msgspec.structs.replace(endpoint, source=None) for endpoint in read.endpoints)
    assert msgspec.structs.replace(read, endpoints=endpoints, sources=()) == pin_set


def test_text_is_for_people() -> None:
    """Defaults are left out, one value stands on one line, and comments say how pins were learned."""
    pin_set = PinSet(
        name="exam",
        updated=dt.date(2026, 11, 1),
        expires=dt.date(2027, 2, 1),
        endpoints=(Endpoint(host="exam.example.edu", pins=(bytes(32),), expires=dt.date(2027, 2, 1)),),
    )
    assert dump(pin_set, header=["Learned."], comments={"exam.example.edu:443": ["key of the leaf"]}) == (
        "# Learned.\n"
        "schema = 1\n"
        'name = "exam"\n'
        "updated = 2026-11-01\n"
        "expires = 2027-02-01  # last day on which the pins are evaluated\n"
        "\n"
        "[[endpoint]]\n"
        "# key of the leaf\n"
        'host = "exam.example.edu"\n'
        'pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]\n'
    )


def test_words_that_are_no_default_are_written() -> None:
    """The identity stands before the pins it is about; which endpoints are canaries is not a pin file's to say."""
    endpoint = Endpoint(
        host="a.example",
        identity=RecordedIdentity.PUBLIC,
        pins=(bytes(32),),
        witness=(bytes(32),),
        witness_is_end=True,
        canary=True,
        runs_ca=True,
    )
    lines = dump(PinSet(name="exam", endpoints=(endpoint,))).splitlines()
    assert lines[-5:-2] == [
        'host = "a.example"',
        'identity = "public"',
        'pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]',
    ]
    assert lines[-1] == "witness_is_end = true"


def test_comment_cannot_break_out_of_its_line() -> None:
    """A comment may quote a certificate, and a certificate may hold a line break."""
    pin_set = PinSet(name="exam", endpoints=(Endpoint(host="a.example"),))
    text = dump(pin_set, comments={"a.example:443": ['CN=x\n[[endpoint]]\nhost = "evil.example"\r\x1b[2J']})
    assert [table["host"] for table in tomllib.loads(text)["endpoint"]] == ["a.example"]


def test_private_roots_are_named_by_their_files() -> None:
    """A certificate is written as the file that holds it, once; without a file the set cannot be written."""
    endpoint = Endpoint(host="a.example", private_roots=(b"one", b"two"))
    pin_set = PinSet(name="exam", endpoints=(endpoint,))
    text = dump(pin_set, private_roots={b"one": "ca.pem", b"two": "ca.pem"})
    assert tomllib.loads(text)["endpoint"][0]["private_roots"] == ["ca.pem"]
    with pytest.raises(PinFileError, match=r"a\.example:443: 1 private roots"):
        dump(pin_set, private_roots={b"one": "ca.pem"})


def test_two_expiry_dates_do_not_fit_one_file() -> None:
    """Writing the earlier one would quietly shorten the other pins' life."""
    pin_set = PinSet(name="exam", endpoints=(Endpoint(host="a.example", expires=dt.date(2027, 1, 1)),))
    with pytest.raises(PinFileError, match=r"a\.example:443: expires on another day"):
        dump(pin_set)
