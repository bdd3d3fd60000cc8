"""Tests of keys that operators share, and of what pins say of an identity. Room: pins; pure."""

from __future__ import annotations

import importlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.judge.evidence import recorded_identity
from detector.knowledge.data_set import shipped as shipped_data
from detector.model import Endpoint, RecordedIdentity
from detector.pins import shared_pins
from detector.pins.learn import SharedKeys

DATA = shipped_data()
HOST = "exam.example.edu"
ROOT = next(root for root in DATA.known_roots.roots if root.label == "ISRG Root X1")
ROOT_KEY, ROOT_SHA256 = bytes.fromhex(ROOT.spki_sha256), bytes.fromhex(ROOT.sha256)


def pinning(field: str, *digests: bytes) -> Endpoint:
    """An endpoint with these digests in one of its fields."""
    return msgspec.structs.replace(Endpoint(host=HOST), **{field: digests})


def test_known_root_keys_are_those_of_the_known_roots() -> None:
    """One hash of 32 bytes for each key, trusted now or once."""
    assert ROOT_KEY in DATA.known_roots.keys
    assert {len(key) for key in DATA.known_roots.keys} == {32}
    assert DATA.known_roots.keys == {bytes.fromhex(root.spki_sha256) for root in DATA.known_roots.roots}


def test_roots_are_named_by_key_and_by_certificate() -> None:
    """Lint names the root, whichever of its hashes stands in the file."""
    assert DATA.known_roots.label_of(ROOT_KEY) == DATA.known_roots.label_of(ROOT_SHA256) == "ISRG Root X1"
    assert DATA.known_roots.label_of(bytes(32)) is None


@pytest.mark.parametrize("field", ["pins", "backup_pins", "certificates"])
def test_pinned_root_says_that_the_endpoint_is_public(field: str) -> None:
    """Who pins a public root by hand expects a public certificate; any other pin says nothing of it."""
    for digest in (ROOT_KEY, ROOT_SHA256):
        assert recorded_identity(pinning(field, bytes(32), digest), DATA) is RecordedIdentity.PUBLIC
    assert recorded_identity(pinning(field, bytes(32)), DATA) is RecordedIdentity.UNKNOWN


@pytest.mark.parametrize("recorded", RecordedIdentity)
def test_recorded_identity_needs_no_pins(recorded: RecordedIdentity) -> None:
    """What the file records holds by itself."""
    assert recorded_identity(Endpoint(host=HOST, identity=recorded), DATA) is recorded


@pytest.mark.parametrize(
    ("endpoints", "is_shared"),
    [
        ([Endpoint(host="a.example.edu"), Endpoint(host="b.example.org")], True),
        ([Endpoint(host="a.example.edu"), Endpoint(host="b.example.edu")], False),
        ([Endpoint(host="a.example.edu", operator="X"), Endpoint(host="b.example.org", operator="X")], False),
        ([Endpoint(host="a.example.edu", operator="X"), Endpoint(host="b.example.edu", operator="Y")], True),
        ([Endpoint(host="a.example.edu"), Endpoint(host="a.example.edu", port=8443)], False),
        ([Endpoint(host="10.0.0.1"), Endpoint(host="lms.campus.internal")], False),
        ([Endpoint(host="a.example.edu")], False),
    ],
)
def test_shared_is_what_different_operators_have(endpoints: list[Endpoint], is_shared: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """One operator's endpoints may have a key in common, and so may a private network's."""
    key, own = b"k" * 32, [bytes([number]) * 32 for number, _ in enumerate(endpoints)]
    met = [(endpoint, (key, key, mine)) for endpoint, mine in zip(endpoints, own, strict=True)]
    assert SharedKeys(met).all() == ({key} if is_shared else set())
    for field in ("pins", "backup_pins"):
        pinned = [msgspec.structs.replace(endpoint, **{field: keys}) for endpoint, keys in met]
        assert shared_pins(pinned).all() == ({key} if is_shared else set())


def test_what_is_pinned_once_needs_no_suffix_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exam's start asks about the one key that was presented: whose the hosts are matters where two have it."""
    monkeypatch.setattr(
        importlib.import_module("detector.pins.learn"), "operator_of", lambda host: pytest.fail(f"asked for {host}")
    )
    pinned = shared_pins(Endpoint(host=f"exam.example{n}.edu", pins=(bytes([n]) * 32, bytes(32))) for n in (1, 2))
    assert bytes([1]) * 32 not in pinned
    assert bytes([9]) * 32 not in pinned


@given(st.lists(st.tuples(st.sampled_from("abc"), st.frozensets(st.integers(0, 5), max_size=4)), max_size=6))
def test_shared_is_the_union_of_what_pairs_share(met: list[tuple[str, frozenset[int]]]) -> None:
    """Grouping finds what comparing every pair finds."""
    named = [(Endpoint(host="h.example.edu", operator=who), [bytes([k]) for k in keys]) for who, keys in met]
    pairs = {bytes([key]) for who, keys in met for other, others in met if who != other for key in keys & others}
    assert SharedKeys(named).all() == pairs
