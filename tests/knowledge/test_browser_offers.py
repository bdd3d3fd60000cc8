"""What browsers ever offered: the shipped data, the script that makes it, and data that is damaged."""

from __future__ import annotations

from typing import Final

import build_browser_offers as script
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.offers import recorded

from detector.errors import KnowledgeError
from detector.knowledge.browser_offers import BrowserOffers, BrowserOffersFile, Family
from detector.knowledge.data_set import DATA, PARTS, shipped
from detector.knowledge.part import decode
from detector.model import KnowledgeKind

PART: Final = PARTS[KnowledgeKind.BROWSER_OFFERS]
SHIPPED: Final = (DATA / PART.name).read_bytes()
POST_QUANTUM: Final = {0x11EB, 0x11EC, 0x11ED, 0x6399, 0x200, 0x201, 0x202}
"""Groups that policies and field trials switch (IANA "TLS Supported Groups"; the number of the draft of Kyber)."""


def read(data: bytes) -> BrowserOffersFile:
    """Decode the file as a data set does."""
    return decode(data, BrowserOffersFile, name=PART.name, schema=PART.schema)


def test_the_shipped_data_is_what_the_script_makes() -> None:
    """The data file is made of the recorded ClientHellos, and of nothing else."""
    assert script.text_of(script.build(recorded())).encode() == SHIPPED


def test_what_a_family_sent_is_nothing_that_it_never_sent() -> None:
    """No set of what contradicts has anything that was recorded, a post-quantum group, or a signal of a second try."""
    offers = shipped().browser_offers
    assert offers.families.keys() == set(Family) - {Family.UNKNOWN}
    for one in offers.file.families:
        sets = offers.families[one.family]
        assert sets.never_cipher_suites.isdisjoint({*one.sent.cipher_suites, 0x5600})
        assert sets.never_groups.isdisjoint({*one.sent.groups, *POST_QUANTUM})
        assert sets.never_extensions.isdisjoint(one.sent.extensions)
        assert sets.never_signature_schemes.isdisjoint(one.sent.signature_schemes)
        assert all(set(suites) <= set(one.sent.cipher_suites) for suites in one.cipher_sets)
        assert sets.first <= sets.last


def test_headers_of_a_sites_own_proxies_are_no_sign() -> None:
    """No header that a CDN, a load balancer or a client's ordinary proxy adds is among those of interceptors."""
    ordinary = {"via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "cf-ray"}
    assert ordinary.isdisjoint(shipped().browser_offers.headers)
    assert all(name == name.lower() for name in shipped().browser_offers.headers)


@given(st.data())
def test_damaged_data(data: st.DataObject) -> None:
    """A changed file is read, or refused with the documented error, and never gives an unknown family."""
    damaged = bytearray(SHIPPED)
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(damaged))
    except KnowledgeError:
        return
    assert Family.UNKNOWN not in BrowserOffers(found).families


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("known", "groups"), [70_000]),
        (("known", "groups"), [-1]),
        (("known", "extensions"), [1] * 2000),
        (("families", 0, "family"), "netscape"),
        (("families", 0, "last"), 10_000),
        (("families", 0, "more"), 1),
        (("products", 0, "ja4"), "t13d1516h2_8DAAF6152771_d8a2da3f94cd"),
        (("headers", 0, "name"), "a" * 2000),
    ],
)
def test_refused_data(path: tuple[str | int, ...], value: object) -> None:
    """Numbers, texts and lists out of their bounds, unknown families and unknown fields are refused."""
    content = msgspec.json.decode(SHIPPED)
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(KnowledgeError):
        read(msgspec.json.encode(content))
