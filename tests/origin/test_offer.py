"""Offers: a ClientHello from bytes, lists and fingerprints, and what cannot be read."""

from __future__ import annotations

import contextlib
import struct
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.offers import FAMILIES, browsers, client, current, others, recorded

from detector.knowledge.data_set import shipped
from detector.model import Hello
from detector.origin import Verdict, judge, rules
from detector.origin.assess import NOTHING, known_products
from detector.origin.claims import Claims
from detector.origin.offer import HELLO_BYTES_MAX, LIST_MAX, Offer, OfferError
from detector.probe.tls.client_hello import ClientHelloWriter
from detector.probe.tls.hello import parse_client_hello

if TYPE_CHECKING:
    from detector.origin.claims import Family

C, F, S = FAMILIES
DATA: Final = shipped().browser_offers
SHARES: Final = {0x11EC: 1216, 0x1D: 32, 0x17: 65}
"""Bytes of a key share by group (RFC 8446 section 4.2.8.2, draft-ietf-tls-ecdhe-mlkem section 3.1.1)."""


@cache
def hello_of(profile: Hello) -> bytes:
    """A ClientHello message of a browser's profile."""
    writer = ClientHelloWriter(profile, b"exam.example.edu")
    return writer.first({group: bytes(SHARES[group]) for group in writer.shared_groups})


def records(message: bytes, size: int) -> bytes:
    """The TLS records that carry a message, each with so many bytes of it."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize(("profile", "family"), [(Hello.BROWSER, C), (Hello.FIREFOX, F)])
def test_from_bytes(profile: Hello, family: Family) -> None:
    """A browser's ClientHello, as a message or in records of any size, is an offer that its family can send."""
    message = hello_of(profile)
    offer = Offer.of_hello(message)
    assert offer.reserved_cipher_suites is offer.reserved_extensions is offer.reserved_groups is (family is C)
    assert offer.alpn == ("h2", "http/1.1")
    assert offer.versions == (0x0304, 0x0303)
    assert judge(offer, current(family)).verdict is Verdict.NOTHING_SEEN
    assert [Offer.of_hello(records(message, size)) for size in (1, 3, 100, 0x4000)] == [offer] * 4


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x01\x00", b"\x16\x03\x01\x00"]))
def test_any_bytes(data: bytes, start: bytes) -> None:
    """Bytes that are no ClientHello raise the documented error."""
    with contextlib.suppress(OfferError):
        Offer.of_hello(start + data)


@given(st.data())
def test_damaged_bytes(data: st.DataObject) -> None:
    """A ClientHello with changed or missing bytes gives an offer or the documented error."""
    message = bytearray(hello_of(Hello.BROWSER))
    for at in data.draw(st.lists(st.integers(0, len(message) - 1), max_size=4)):
        message[at] = data.draw(st.integers(0, 255))
    try:
        offer = Offer.of_hello(bytes(message[: data.draw(st.integers(0, len(message)))]))
    except OfferError:
        return
    assert len(judge(offer, current(C)).findings) <= len(rules.TABLE) + 1


def with_content(message: bytes, kind: int, content: bytes) -> bytes:
    """The ClientHello with this content of an extension."""
    hello = parse_client_hello(message)
    bodies = [(one, content if one == kind else body) for one, body in hello.extensions]
    coded = b"".join(struct.pack(">HH", one, len(body)) + body for one, body in bodies)
    old = sum(4 + len(body) for _, body in hello.extensions)
    whole = message[4 : len(message) - old - 2] + len(coded).to_bytes(2, "big") + coded
    return b"\1" + len(whole).to_bytes(3, "big") + whole


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("profile", [Hello.BROWSER, Hello.FIREFOX])
def test_what_servers_accept_and_no_browser_sends(profile: Hello, family: Family) -> None:
    """A ClientHello that is too long, or damaged where no server reads it, is possible at least."""
    message = hello_of(profile)
    odd = {
        "padded": with_content(message, 65037, bytes(HELLO_BYTES_MAX)),
        "its header alone": with_content(message, 65037, bytes(HELLO_BYTES_MAX))[:4],
        "in records": records(with_content(message, 65037, bytes(HELLO_BYTES_MAX)), 0x4000),
        "many groups": with_content(message, 10, struct.pack(">H", 600) + b"\x2a\x2a" * 300),
        "many protocols": with_content(message, 16, struct.pack(">H", 600) + b"\1a" * 300),
        **{f"damaged {kind}": with_content(message, kind, b"\x01") for kind in (10, 13, 16, 27, 43)},
    }
    for what, changed in odd.items():
        offer = Offer.of_hello(changed)
        assert offer.is_malformed, what
        assert judge(offer, current(family)).verdict is Verdict.MIDDLEWARE, what
        assert judge(offer, Claims()).verdict is Verdict.NOTHING_SEEN, what
    assert not Offer.of_hello(with_content(message, 16, struct.pack(">H", 2) + b"\1a")).is_malformed


def test_a_long_list_is_cut() -> None:
    """Of a list that is too long a bounded part is kept, and nothing counts as missing from it."""
    offer = Offer.of_lists(cipher_suites=range(LIST_MAX + 1), groups=[29])
    assert len(offer.cipher_suites or ()) <= LIST_MAX
    assert offer.is_cut
    assert offer.is_malformed


def test_from_lists() -> None:
    """Lists keep their order and lose reserved values, whose presence is kept unless the source leaves them out."""
    offer = Offer.of_lists(cipher_suites=[0x1A1A, 0x1301, 0xC02B], groups=[29, 23])
    assert (offer.cipher_suites, offer.groups, offer.extensions) == ((0x1301, 0xC02B), (29, 23), None)
    assert (offer.reserved_cipher_suites, offer.reserved_groups, offer.reserved_extensions) == (True, False, None)
    without = Offer.of_lists(cipher_suites=[0x1301], has_reserved=False)
    assert without.reserved_cipher_suites is None
    assert judge(without, current(C)).verdict is Verdict.NOTHING_SEEN
    assert judge(Offer.of_lists(cipher_suites=[0x1301]), current(C)).verdict is Verdict.MIDDLEWARE
    assert judge(Offer.of_lists(cipher_suites=[0x1301], is_cut=True), current(C)).verdict is Verdict.NOTHING_SEEN


def test_from_ja4() -> None:
    """JA4 of a recorded client gives its cipher suites, and of another one their number."""
    for one in recorded():
        assert Offer.of_ja4(one.ja4).cipher_suites == tuple(sorted(one.cipher_suites))
    unknown = Offer.of_ja4("t13d1516h2_000000000000_000000000000")
    assert (unknown.cipher_suites, unknown.cipher_suites_count) == (None, 15)


@pytest.mark.parametrize("family", FAMILIES)
def test_ja4_contradicts_by_cipher_suites(family: Family) -> None:
    """By JA4 alone, no browser contradicts itself, and cipher suites and their number contradict a family."""
    for one in browsers():
        if one.family is family:
            assert judge(Offer.of_ja4(one.ja4), current(family)).verdict is Verdict.NOTHING_SEEN
    seen = {one.client for one in others() if judge(Offer.of_ja4(one.ja4), current(family)).confidence is not None}
    assert {one.client for one in others()} - seen <= {"Go 1.19 net/http"}  # Apple's have all that Go's have
    assert judge(Offer.of_ja4("t13d2812h2_000000000000_000000000000"), current(family)).confidence == "possible"


@pytest.mark.parametrize(
    "text", ["", "t13d1516h2", "t13dxx16h2_8daaf6152771_d8a2da3f94cd", "a" * 10_000, "_" * 36, "\0"]
)
def test_no_ja4(text: str) -> None:
    """What is no JA4 fingerprint raises the documented error, bounded."""
    with pytest.raises(OfferError) as raised:
        Offer.of_ja4(text)
    assert len(str(raised.value)) < 300


@given(st.text(max_size=50))
def test_any_ja4(text: str) -> None:
    """Any text is a fingerprint or raises the documented error."""
    with contextlib.suppress(OfferError):
        Offer.of_ja4(text)


def test_quic() -> None:
    """What came over QUIC, by its transport parameters or JA4, contradicts nothing."""
    lists = client("Go 1.19")
    assert judge(Offer.of_lists(cipher_suites=lists.cipher_suites, extensions=[10, 57]), current(C)) == NOTHING
    assert judge(Offer.of_ja4("q13d2812h3_a01be8c064b6_ef4b9b248d72"), current(C)) == NOTHING
    assert judge(Offer.of_ja4("t13d2812h3_a01be8c064b6_ef4b9b248d72"), current(C)) != NOTHING


def test_known_products() -> None:
    """A known client's ClientHello names it and nobody else; cipher suites alone name all that share them."""
    names = {one.client: [found.product for found in known_products(client(one.client), DATA)] for one in others()}
    assert names["sslsplit 0.5.5"] == ["sslsplit"]
    assert names["mitmproxy 11.0.2, client Chromium 156"] == ["mitmproxy"]
    shared = Offer(cipher_suites=client("HAProxy").cipher_suites)
    assert {"HAProxy", "Squid", "curl", "OpenSSL"} <= {one.product for one in known_products(shared, DATA)}
    assert not any(known_products(client(one.client), DATA) for one in browsers())
