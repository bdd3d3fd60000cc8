"""The writer of ClientHellos: what it writes can be read, is drawn where browsers draw, and is otherwise constant.

Room: tests of probe. Pure. That real browsers send the same is shown by tests/scripts/test_build_client_hellos.py.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from detector_testing import tls_wire
from hypothesis import given
from hypothesis import strategies as st

from detector.knowledge import data_set
from detector.model import Hello, Outcome
from detector.probe.tls.client_hello import ClientHelloWriter
from detector.probe.tls.codepoints import ExtensionType
from detector.probe.tls.hello import GREASE, ClientHello, parse_client_hello
from detector.probe.tls.key_exchange import X25519_MLKEM768
from detector.probe.tls.reader import Reader, WireError
from detector.trust.handshake_signature import SIGNATURE_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Sequence

PROFILED = (Hello.BROWSER, Hello.FIREFOX, Hello.READABLE)
SHARES = {0x11EC: b"m" * 1216, 0x1D: b"x" * 32, 0x17: b"p" * 65, 0x18: b"q" * 97}
"""Bytes in the place of keys, of the size that each group's have."""
NAME = b"www.example.org"
SEGMENT_BYTES = 1500 - 40 - 5
"""A ClientHello that fits into one TCP segment of Ethernet, without options (RFC 9293), in one record."""
CHROME, FIREFOX = "t13d1517h2_8daaf6152771_cb7bf5808d99", "t13d1617h2_86a278354501_3cbfd9057e0d"
"""JA4 of Chromium 156 and Firefox ESR 153, as other implementations of JA4 have reported it for them."""

hellos = st.sampled_from(PROFILED)
names = st.none() | st.binary(min_size=1, max_size=255)
protocols = st.sampled_from((None, (), (b"h2", b"http/1.1"), (b"http/1.1",), (b"h2",)))


def first(
    hello: Hello, name: bytes | None = NAME, *, alpn: Sequence[bytes] | None = None, small: bool = False
) -> ClientHello:
    """A first ClientHello, read again."""
    return parse_client_hello(ClientHelloWriter(hello, name, alpn=alpn, small=small).first(SHARES))


def kinds(hello: ClientHello) -> list[int]:
    """The extensions in wire order."""
    return [kind for kind, _ in hello.extensions]


def content(hello: ClientHello, kind: int) -> bytes:
    """The content of one extension."""
    return dict(hello.extensions)[kind]


def plain(numbers: Sequence[int]) -> tuple[int, ...]:
    """Numbers without reserved values."""
    return tuple(number for number in numbers if number not in GREASE)


class TestContent:
    """What is written is a ClientHello that offers what the writer says."""

    @given(hello=hellos, name=names, alpn=protocols, small=st.booleans())
    def test_it_offers_what_it_says(
        self, hello: Hello, name: bytes | None, alpn: Sequence[bytes] | None, *, small: bool
    ) -> None:
        """Both parsers, the probe's and that of the test kit's server, read what the profile and the writer say."""
        writer = ClientHelloWriter(hello, name, alpn=alpn, small=small)
        message = writer.first(SHARES)
        ours, theirs = parse_client_hello(message), tls_wire.parse_client_hello(message)
        assert ours.session_id == theirs.session_id == writer.session_id
        profile = data_set.shipped().client_hellos.of(hello)
        groups = tuple(group for group in profile.groups if not (small and group == X25519_MLKEM768))
        assert plain(ours.cipher_suites) == plain(theirs.cipher_suites) == profile.cipher_suites
        assert plain(ours.groups) == plain(theirs.groups) == groups
        assert plain(ours.versions) == plain(theirs.versions) == profile.versions
        assert plain(theirs.signature_schemes) == plain(ours.signature_schemes)
        assert theirs.alpn == writer.alpn
        assert plain(tuple(theirs.key_shares)) == writer.shared_groups
        assert {group: theirs.key_shares[group] for group in writer.shared_groups} == {
            group: SHARES[group] for group in writer.shared_groups
        }
        assert set(plain(kinds(ours))) == writer.extensions
        assert len(kinds(ours)) == len(set(kinds(ours)))
        assert (content(ours, 0)[5:] if name is not None else None) == name

    @pytest.mark.parametrize(("hello", "fingerprint"), [(Hello.BROWSER, CHROME), (Hello.FIREFOX, FIREFOX)])
    def test_fingerprint(self, hello: Hello, fingerprint: str) -> None:
        """JA4 does not tell it from the browser; a hello without ML-KEM has the same, since JA4 leaves groups out."""
        assert first(hello).ja4 == first(hello, small=True).ja4 == fingerprint

    @pytest.mark.parametrize("hello", PROFILED)
    def test_protocols(self, hello: Hello) -> None:
        """Without h2 there are no application settings, and without protocols no list of them."""
        only = first(hello, alpn=(b"http/1.1",))
        assert only.alpn == ("http/1.1",)
        assert not {ExtensionType.APPLICATION_SETTINGS} & set(kinds(only))
        none = first(hello, alpn=())
        assert not {ExtensionType.APPLICATION_SETTINGS, ExtensionType.ALPN} & set(kinds(none))
        assert (ExtensionType.APPLICATION_SETTINGS in kinds(first(hello))) == (hello is not Hello.FIREFOX)

    @pytest.mark.parametrize("hello", PROFILED)
    @given(name=names)
    def test_a_small_hello_fits_into_one_segment(self, hello: Hello, name: bytes | None) -> None:
        """Without ML-KEM the longest name leaves room; with it not even a hello without a name fits."""
        assert len(ClientHelloWriter(hello, name, small=True).first(SHARES)) <= SEGMENT_BYTES
        assert len(ClientHelloWriter(hello, name).first(SHARES)) > SEGMENT_BYTES

    def test_a_readable_hello(self) -> None:
        """It has Chrome's schemes but for ML-DSA, in Chrome's order; all of them can be verified here."""
        readable, browser = (plain(first(hello).signature_schemes) for hello in (Hello.READABLE, Hello.BROWSER))
        ml_dsa = {0x0904, 0x0905, 0x0906}
        assert readable == tuple(scheme for scheme in browser if scheme not in ml_dsa)
        assert set(browser) - set(readable) == ml_dsa
        assert set(readable) < SIGNATURE_SCHEMES.keys()

    @pytest.mark.parametrize("hello", [Hello.OPENSSL, Hello.WIDEST])
    def test_openssl_writes_its_own(self, hello: Hello) -> None:
        """There is no profile of OpenSSL's hellos."""
        with pytest.raises(KeyError):
            ClientHelloWriter(hello, NAME)


class TestReservedValues:
    """RFC 8701, as BoringSSL draws its values."""

    @given(st.data())
    def test_places(self, data: st.DataObject) -> None:
        """One begins each greased list, the share has the group's, and the two extensions differ."""
        hello = first(data.draw(st.sampled_from((Hello.BROWSER, Hello.READABLE))), small=data.draw(st.booleans()))
        shares = Reader(content(hello, ExtensionType.KEY_SHARE), "key_share")
        lists = (hello.cipher_suites, hello.groups, hello.versions, self._schemes(hello))
        for numbers in lists:
            assert numbers[0] in GREASE
            assert not GREASE & set(numbers[1:])
        assert shares.number(2) == shares.left
        assert (shares.number(2), shares.vector(2)) == (hello.groups[0], b"\0")
        (first_kind, first_body), *between, (last_kind, last_body) = hello.extensions
        assert {first_kind, last_kind} <= GREASE
        assert first_kind != last_kind
        assert (first_body, last_body) == (b"", b"\0")
        assert not GREASE & {kind for kind, _ in between}

    def test_values_are_drawn(self) -> None:
        """Each of the 16 values comes in each place, and no place is tied to another."""
        found = [first(Hello.BROWSER) for _ in range(400)]
        places = {
            "suites": [hello.cipher_suites[0] for hello in found],
            "groups": [hello.groups[0] for hello in found],
            "versions": [hello.versions[0] for hello in found],
            "schemes": [self._schemes(hello)[0] for hello in found],
            "first extension": [kinds(hello)[0] for hello in found],
            "last extension": [kinds(hello)[-1] for hello in found],
        }
        for values in places.values():  # a value is missed in 400 draws once in 10 billion runs
            assert set(values) == GREASE
        for one, other in itertools.combinations(places.values(), 2):
            assert len(set(zip(one, other, strict=True))) > len(GREASE) * 4

    def test_firefox_has_none(self) -> None:
        """Firefox sends no reserved values."""
        hello = first(Hello.FIREFOX)
        numbers = (*hello.cipher_suites, *hello.groups, *hello.versions, *kinds(hello), *self._schemes(hello))
        assert not GREASE & set(numbers)

    @staticmethod
    def _schemes(hello: ClientHello) -> tuple[int, ...]:
        body = content(hello, ExtensionType.SIGNATURE_ALGORITHMS)[2:]
        return tuple(int.from_bytes(body[at : at + 2]) for at in range(0, len(body), 2))


class TestOrder:
    """Chrome draws the order of its extensions, Firefox's is fixed."""

    def test_chrome_draws_it(self) -> None:
        """Between the reserved ones every extension comes in every place, about as often as in any other."""
        runs = 1500
        places = Counter[tuple[int, int]]()
        for _ in range(runs):
            places.update(enumerate(kinds(first(Hello.BROWSER))[1:-1]))
        count = len({kind for _, kind in places})
        assert len(places) == count**2
        expected = runs / count
        # Pearson's statistic has (count - 1)^2 = 256 degrees of freedom, and exceeds 430 once in 10 billion runs.
        assert sum((seen - expected) ** 2 / expected for seen in places.values()) < 430

    def test_firefox_does_not(self) -> None:
        """All are in one order."""
        assert len({tuple(kinds(first(Hello.FIREFOX))) for _ in range(20)}) == 1


class TestEch:
    """What a client without an ECHConfig sends (RFC 9849 section 6.2)."""

    def test_chrome_sends_a_public_key(self) -> None:
        """The encapsulated key is one of X25519, the lengths are BoringSSL's four, and all is drawn for each hello."""
        keys, configs, sizes = set[bytes](), set[int](), set[int]()
        for _ in range(200):
            reader = Reader(content(first(Hello.BROWSER), ExtensionType.ENCRYPTED_CLIENT_HELLO), "ECH")
            assert reader.take(5) == bytes.fromhex("0000010001")
            configs.add(reader.number(1))
            keys.add(reader.vector(2))
            sizes.add(len(reader.vector(2)))
            reader.end()
        assert len(keys) == 200
        assert len(configs) > 64
        assert sizes == {144, 176, 208, 240}
        assert all(on_curve(key) for key in keys)

    def test_the_check_reports_random_bytes(self) -> None:
        """Half of all strings are no coordinate of the curve; every public key is one."""
        assert all(on_curve(X25519PrivateKey.generate().public_key().public_bytes_raw()) for _ in range(20))
        assert not all(on_curve(bytes((number,)) + bytes(31)) for number in range(2, 30))

    def test_firefox_sends_random_bytes(self) -> None:
        """Firefox draws the AEAD from two, and its key is no point: the highest bit is set in half of them."""
        bodies = [content(first(Hello.FIREFOX), ExtensionType.ENCRYPTED_CLIENT_HELLO) for _ in range(100)]
        assert {body[:5].hex() for body in bodies} == {"0000010001", "0000010003"}
        assert {body[8 + 31] >> 7 for body in bodies} == {0, 1}
        assert {len(body) for body in bodies} == {281}


def on_curve(key: bytes) -> bool:
    """Whether it is the u-coordinate of a point of Curve25519: v^2 = u^3 + 486662 u^2 + u (RFC 7748 section 4.1)."""
    p, u = 2**255 - 19, int.from_bytes(key, "little")
    return u < p and pow(u**3 + 486662 * u**2 + u, (p - 1) // 2, p) in {0, 1}


class TestSecondHello:
    """RFC 8446 section 4.1.2."""

    @given(
        hello=hellos,
        name=names,
        group=st.sampled_from((None, 0x17, 0x18)),
        cookie=st.none() | st.binary(min_size=1, max_size=2000),
        small=st.booleans(),
    )
    def test_only_what_is_asked_for_changes(
        self, hello: Hello, name: bytes | None, group: int | None, cookie: bytes | None, *, small: bool
    ) -> None:
        """The requested share is alone, the cookie is added, and everything else is repeated, byte for byte."""
        writer = ClientHelloWriter(hello, name, small=small)
        before = parse_client_hello(writer.first(SHARES))
        after = parse_client_hello(writer.second(group, None if group is None else SHARES[group], cookie))
        expected = dict(before.extensions)
        if group is not None:
            share = group.to_bytes(2) + len(SHARES[group]).to_bytes(2) + SHARES[group]
            expected[ExtensionType.KEY_SHARE] = len(share).to_bytes(2) + share
        if cookie is not None:
            expected[ExtensionType.COOKIE] = len(cookie).to_bytes(2) + cookie
        assert dict(after.extensions) == expected
        assert [kind for kind in kinds(after) if kind != ExtensionType.COOKIE] == kinds(before)
        for field in ("legacy_version", "random", "session_id", "cipher_suites", "compression_methods"):
            assert getattr(after, field) == getattr(before, field)

    def test_place_of_the_cookie(self) -> None:
        """Chrome draws it with the order, never at the ends; Firefox's stands before psk_key_exchange_modes."""
        places = {hello: set[int]() for hello in (Hello.BROWSER, Hello.FIREFOX)}
        for hello, found in places.items():
            for _ in range(400):
                writer = ClientHelloWriter(hello, NAME)
                writer.first(SHARES)
                found.add(kinds(parse_client_hello(writer.second(None, None, b"c"))).index(ExtensionType.COOKIE))
        assert places == {Hello.BROWSER: set(range(1, 19)), Hello.FIREFOX: {13}}

    def test_a_cookie_that_leaves_no_room(self) -> None:
        """A cookie may have 64 KiB, and so may all extensions together: the writer refuses what cannot be sent."""
        writer = ClientHelloWriter(Hello.BROWSER, NAME)
        writer.first(SHARES)
        with pytest.raises(WireError, match="cookie") as refused:
            writer.second(0x17, SHARES[0x17], bytes(0xFFFF - 500))
        assert refused.value.outcome is Outcome.TOO_LARGE


@pytest.mark.parametrize("hello", PROFILED)
def test_nothing_is_sent_twice(hello: Hello) -> None:
    """Two connections share no random, no session id and no ECH payload."""
    found = [first(hello) for _ in range(50)]
    for values in (
        {hello.random for hello in found},
        {hello.session_id for hello in found},
        {content(hello, ExtensionType.ENCRYPTED_CLIENT_HELLO)[-32:] for hello in found},
    ):
        assert len(values) == 50
