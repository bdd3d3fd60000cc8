"""Which names a certificate covers, which names a CA may sign, and who runs a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.crafting import ALTERNATIVE_NAMES, LEAF, alternative_names, extension, name

from detector.trust import hostname
from detector.trust.certificate import (
    ALTERNATIVE_NAMES_MAX,
    CERTIFICATE_BYTES_MAX,
    EXTENSIONS_MAX,
    Certificate,
)
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from detector_testing import PrivatePKI


@pytest.mark.parametrize(
    ("names", "host", "expected"),
    [
        (["exam.example.edu"], "exam.example.edu", NameMatch.MATCH),
        (["exam.example.edu"], "EXAM.example.EDU", NameMatch.MATCH),
        (["*.example.edu"], "exam.example.edu", NameMatch.MATCH),
        (["*.example.edu"], "a.exam.example.edu", NameMatch.MISMATCH),
        (["*.example.edu"], "example.edu", NameMatch.MISMATCH),
        (["example.edu"], "exam.example.edu", NameMatch.MISMATCH),
        (["192.0.2.1"], "192.0.2.1", NameMatch.MATCH),
        (["192.0.2.1"], "192.0.2.2", NameMatch.MISMATCH),
        (["2001:db8::1"], "2001:db8::1", NameMatch.MATCH),
        (["localhost"], "localhost", NameMatch.MATCH),
        (["*.example.edu"], "xn--prfung-pva.example.edu", NameMatch.MATCH),
        (["*.example.edu"], "XN--prfung-pva.example.edu", NameMatch.MATCH),
        (["*.example.edu"], "prüfung.example.edu", NameMatch.MATCH),
        (["*.example.edu"], "a.xn--prfung-pva.example.edu", NameMatch.MISMATCH),
        (["*.xn--prfung-pva.example"], "exam.xn--prfung-pva.example", NameMatch.MATCH),
        (["x.example.edu"], "xn--prfung-pva.example.edu", NameMatch.MISMATCH),
        (["*.edu"], "xn--prfung-pva.edu", NameMatch.MISMATCH),
        (["xn--*.example.edu"], "xn--prfung-pva.example.edu", NameMatch.MISMATCH),
    ],
)
def test_match(names: list[str], host: str, expected: NameMatch, pki: PrivatePKI) -> None:
    """DNS names, one-label wildcards and addresses as RFC 9525 has them."""
    certificate = Certificate.read(pki.private_ca("CA").issue(names).leaf)
    assert hostname.match(certificate, host) is expected


def craft(*extensions: bytes, subject: bytes = b"") -> Certificate:
    """A certificate of these extensions."""
    return LEAF.but(extensions=extensions, **({"subject": subject} if subject else {})).certificate


def test_a_list_that_is_longer_than_is_read_is_unfinished() -> None:
    """Names that are read match as usual; past the limit neither names nor addresses are known."""
    many = [f"host{number}.example.org" for number in range(ALTERNATIVE_NAMES_MAX)]
    crowded = craft(alternative_names(*many, "exam.example.edu"))
    assert hostname.match(crowded, "host7.example.org") is NameMatch.MATCH
    assert hostname.match(crowded, "exam.example.edu") is NameMatch.UNFINISHED
    assert hostname.match(crowded, "192.0.2.1") is NameMatch.UNFINISHED
    assert hostname.match(craft(alternative_names(*many)), "exam.example.edu") is NameMatch.MISMATCH


def test_names_behind_more_extensions_than_are_read_are_unfinished() -> None:
    """A leaf that hides its names behind other extensions, or is too large to be read, is no mismatch for that."""
    junk = [extension(f"1.2.3.{number}", b"") for number in range(EXTENSIONS_MAX)]
    names = alternative_names("exam.example.edu")
    assert hostname.match(craft(*junk, names), "exam.example.edu") is NameMatch.UNFINISHED
    assert hostname.match(craft(*junk, names, subject=name(CN="lms.example.edu")), "lms.example.edu") is (
        NameMatch.UNFINISHED
    )
    assert hostname.match(craft(names, *junk), "exam.example.edu") is NameMatch.MATCH
    assert hostname.match(craft(names, *junk), "lms.example.edu") is NameMatch.MISMATCH
    large = craft(extension("1.2.3.4", bytes(CERTIFICATE_BYTES_MAX)), names)
    assert hostname.match(large, "exam.example.edu") is NameMatch.UNFINISHED


def test_a_damaged_list_is_a_mismatch() -> None:
    """No client takes it, however far it can be read."""
    damaged = craft(extension(ALTERNATIVE_NAMES, b"\x30\x20\x82\x01x"))
    assert hostname.match(damaged, "exam.example.edu") is NameMatch.MISMATCH


def test_answers_are_remembered_by_names_and_host_and_only_small_ones(pki: PrivatePKI) -> None:
    """The same host and names are compared once, another host again; many names fill no memory and count as well."""
    ca = pki.private_ca("CA")
    small = Certificate.read(ca.issue(["remembered.example.edu"]).leaf)
    large = Certificate.read(ca.issue([f"exam{number}.example.edu" for number in range(100)]).leaf)
    before = hostname._cached_compare.cache_info()
    for _ in range(2):
        assert hostname.match(small, "remembered.example.edu") is NameMatch.MATCH
        assert hostname.match(small, "forgotten.example.edu") is NameMatch.MISMATCH
        assert hostname.match(large, "exam99.example.edu") is NameMatch.MATCH
        assert hostname.match(large, "exam100.example.edu") is NameMatch.MISMATCH
    after = hostname._cached_compare.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 2)


def test_common_name_counts_only_without_alternative_names(pki: PrivatePKI) -> None:
    """The common name counts only without alternative names."""
    ca = pki.private_ca("CA")
    old = Certificate.read(ca.issue([], subject_cn="exam.example.edu").leaf)
    assert hostname.match(old, "exam.example.edu") is NameMatch.COMMON_NAME_ONLY
    both = Certificate.read(ca.issue(["other.example"], subject_cn="exam.example.edu").leaf)
    assert hostname.match(both, "exam.example.edu") is NameMatch.MISMATCH


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_is_an_answer(pattern: str, host: str) -> None:
    """Names of a peer's choice match or do not."""
    certificate = Certificate.read(b"")
    certificate.__dict__["_alternative_names"] = ((pattern,), ())
    assert hostname.match(certificate, host or "exam.example.edu") in NameMatch
