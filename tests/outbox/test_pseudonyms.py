"""Pseudonyms: the same within one exam, unrelated elsewhere, and nothing without the key.

Room: tests of outbox.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError, KeyFileError, OutputError
from detector.outbox import pseudonyms
from detector.outbox.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
ONE = Pseudonyms(KEY, "example-university", "algebra-1")
NAMES = st.text(min_size=1, max_size=40)


def test_the_form() -> None:
    """It is HMAC-SHA-256 over five fields, each after its length as eight bytes."""
    fields = (b"tls-interception pseudonym v1", b"student", b"example-university", b"algebra-1", b"4711")
    message = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    assert ONE.of_student("4711") == hmac.new(KEY, message, hashlib.sha256).hexdigest()


@given(one=st.tuples(NAMES, NAMES, NAMES), other=st.tuples(NAMES, NAMES, NAMES))
def test_no_two_lists_of_fields_are_one(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """However institution, exam and student are cut, only equal ones have equal pseudonyms."""
    first, second = (Pseudonyms(KEY, name, exam).of_student(student) for name, exam, student in (one, other))
    assert (first == second) is (one == other)


def test_each_scope_has_its_own() -> None:
    """Another key, institution, exam or kind gives another pseudonym of the same name."""
    found = {
        ONE.of_student("a"),
        ONE.of_network("a"),
        ONE._replace(key=bytes(32)).of_student("a"),
        ONE._replace(institution="other").of_student("a"),
        ONE._replace(exam="other").of_student("a"),
        ONE._replace(exam=None).of_student("a"),
    }
    assert len(found) == 6


@pytest.mark.parametrize("name", ["", "x" * 1025])
def test_names_are_bounded(name: str) -> None:
    """An empty name is no student, a long one is not repeated in the error."""
    with pytest.raises(InputError) as caught:
        ONE.of_student(name)
    assert "xx" not in str(caught.value)


def test_one_network_of_two_devices() -> None:
    """Two devices on a network have one pseudonym, with IPv6 or without; other networks have others."""
    at_home = ONE.of_local_networks({"ipv4": "192.168.1.20", "ipv6": "2001:db8:1:2::/64"})
    assert at_home == ONE.of_local_networks({"ipv4": "192.168.1.77"})
    assert at_home != ONE.of_local_networks({"ipv4": "192.168.2.20"})
    only_6 = ONE.of_local_networks({"ipv6": "2001:db8:1:2::/64"})
    assert only_6 == ONE.of_local_networks({"ipv6": "2001:db8:1:3::/64"}) != at_home
    assert ONE.of_local_networks({}) is None


def test_key_files(tmp_path: Path) -> None:
    """A new key is private and read again; it is never overwritten."""
    path = tmp_path / "key"
    pseudonyms.create_key(path)
    assert len(pseudonyms.load_key(path)) == 32
    with pytest.raises(OutputError, match="never overwritten"):
        pseudonyms.create_key(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_a_key_that_others_read_is_refused(tmp_path: Path) -> None:
    """Who reads the key can search for students."""
    path = tmp_path / "key"
    path.write_bytes(KEY)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="other users"):
        pseudonyms.load_key(path)


def test_another_length_is_no_key(tmp_path: Path) -> None:
    """A password or a hexadecimal text is no key."""
    path = tmp_path / "key"
    path.write_bytes(KEY.hex().encode())
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="has 32 bytes, this file 64"):
        pseudonyms.load_key(path)
