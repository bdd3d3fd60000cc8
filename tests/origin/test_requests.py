"""Which offer belongs to a request, of whom a forwarded one is believed, and that nobody's bytes do more than that.

Room: tests of origin. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hellos import client_hello, extension, u16, vector
from support.origin_clients import CHROME, CURL, FIREFOX, SAFARI

from detector.errors import InputError
from detector.knowledge.data_set import shipped
from detector.origin import Offer, requests
from detector.origin.requests import JA4_HEADERS, UNIX_SOCKET, Form, Proxy, Requests

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "cdn-ja4"
CHROMES_JA4 = "t13d1516h2_8daaf6152771_d8a2da3f94cd"
OPENSSL_JA4 = "t13d311100_e8f1e7e78f70_d41ae481755e"
OPENSSL = client_hello(
    0x0303,
    (4866, 4867, 4865, 49196, 49200, 159, 52393, 255),
    extension(10, vector(u16(29, 23, 30, 25, 24, 256, 257), 2)),
    extension(22),
    extension(43, vector(u16(0x0304, 0x0303), 1)),
)
"""What OpenSSL offers, shortened; no browser sends encrypt_then_mac (22)."""
HAPROXY = '{{"capture":512,"ciphers":"{suites}","extensions":"{kinds}","groups":"{groups}","user_agent":""}}'
"""What HAProxy passes of a ClientHello."""
HERE, PROXY = "198.51.100.7", "192.0.2.5"


def headers(agent: str | None = CHROME, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """A request's headers."""
    named = [] if agent is None else [("user-agent", agent)]
    return [("host", "exam.example.edu"), *named, *more]


def behind(*peers: str, header: str = HEADER) -> Requests:
    """A server behind a proxy that connects from there."""
    return Requests(proxies=[Proxy(peers=peers or ("192.0.2.0/24", "2001:db8::/32"), header=header)])


def verdict(subject: Requests, hello: bytes | None, peer: str | None, given: Sequence[tuple[str, str]]) -> str | None:
    """The verdict of one request."""
    found = subject.assess(hello, peer, given)
    return None if found is None else found.judgment.verdict


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (CHROME, "middleware"),
        (FIREFOX, "middleware"),
        (SAFARI, "middleware"),
        (CURL, "nothing-seen"),
        (None, "nothing-seen"),
    ],
)
def test_a_direct_connection(agent: str | None, expected: str) -> None:
    """The offer is compared with the browser that the request names, and with none if it names none."""
    assert verdict(Requests(), OPENSSL, HERE, headers(agent)) == expected


def test_a_header_that_only_interceptors_add() -> None:
    """It counts whatever the offer is; its value is not read."""
    name = next(iter(shipped().browser_offers.headers))
    found = Requests().assess(OPENSSL, HERE, headers(CURL, (name, "a student's name")))
    assert found is not None
    assert (found.judgment.verdict, found.headers) == ("middleware", (name,))
    assert "student" not in str(found)


class TestProxies:
    @pytest.mark.parametrize("peer", [PROXY, f"::ffff:{PROXY}", "2001:db8::1"])
    def test_a_proxys_header_is_the_offer(self, peer: str) -> None:
        """Also where the socket has IPv4 addresses in the notation of IPv6; the hello is the proxy's and not read."""
        subject = behind()
        assert verdict(subject, OPENSSL, peer, headers(CHROME, (HEADER, CHROMES_JA4))) == "nothing-seen"
        assert verdict(subject, None, peer, headers(CHROME, (HEADER, OPENSSL_JA4))) == "middleware"

    @pytest.mark.parametrize("more", [[], [(HEADER, "")], [(HEADER, "x" * 10**6)], [(HEADER, CHROMES_JA4)] * 2])
    def test_without_one_readable_header_there_is_no_offer(self, more: list[tuple[str, str]]) -> None:
        """No header, none that can be read, or two, of which one may be the client's: nothing is assessed."""
        assert verdict(behind(), OPENSSL, PROXY, headers(CHROME, *more)) is None

    @pytest.mark.parametrize(
        ("form", "value", "expected"),
        [
            ("nginx", '{"ciphers":"0x1a1a:TLS_AES_128_GCM_SHA256","curves":"0x2a2a:X25519","user_agent":""}', False),
            (
                "nginx",
                '{"ciphers":"TLS_AES_256_GCM_SHA384:DHE-RSA-AES256-SHA256","curves":"x448","user_agent":""}',
                True,
            ),
            ("nginx", '{"ciphers":"","curves":"","user_agent":""}', None),
            ("haproxy", HAPROXY.format(suites="1A1A1301C02B", kinds="2A2A002B001B", groups="3A3A001D"), False),
            ("haproxy", HAPROXY.format(suites="1301009F00FF", kinds="002B0016", groups="001E"), True),
            ("haproxy", HAPROXY.format(suites="130", kinds="", groups=""), None),
            ("jsonl", '{"cipher_suites":[4865,159],"user_agent":""}', True),
            ("jsonl", "[]", None),
            ("jsonl", "{" * 8000, None),
        ],
    )
    def test_what_nginx_and_haproxy_pass(self, form: Form, value: str, expected: bool | None) -> None:  # noqa: FBT001 - a parameter of a table of cases
        """The fields of their logs in one header: lists with reserved values, which show more than JA4."""
        subject = Requests(proxies=[Proxy(peers=(PROXY,), header=HEADER, form=form)])
        found = subject.assess(OPENSSL, PROXY, headers(CHROME, (HEADER, value)))
        assert (None if found is None else found.judgment.verdict == "middleware") is expected

    def test_forms_are_named(self) -> None:
        """An unknown form is named when the server is configured."""
        with pytest.raises(InputError, match="'apache' is no form"):
            Requests(proxies=[Proxy(peers=(PROXY,), header=HEADER, form="apache")])  # type: ignore[arg-type] # that is what is tested

    @pytest.mark.parametrize("peer", [HERE, "::1", None, UNIX_SOCKET, "192.0.3.1", "testclient"])
    def test_nobody_else_is_believed(self, peer: str | None) -> None:
        """What a client writes into the header changes nothing, to its own advantage or to somebody's disadvantage."""
        for forged in (CHROMES_JA4, OPENSSL_JA4):
            assert verdict(behind(), OPENSSL, peer, headers(CHROME, (HEADER, forged))) == "middleware"
            assert verdict(behind(), None, peer, headers(CHROME, (HEADER, forged))) is None

    def test_several(self) -> None:
        """Each proxy is believed about its own header only."""
        subject = Requests(
            proxies=[Proxy(peers=(PROXY,), header="CDN-JA4"), Proxy(peers=(UNIX_SOCKET,), header="X-Client-JA4")]
        )
        assert verdict(subject, None, PROXY, headers(CHROME, ("cdn-ja4", OPENSSL_JA4))) == "middleware"
        assert verdict(subject, None, PROXY, headers(CHROME, ("x-client-ja4", OPENSSL_JA4))) is None
        assert verdict(subject, None, UNIX_SOCKET, headers(CHROME, ("x-client-ja4", OPENSSL_JA4))) == "middleware"

    def test_a_forgotten_proxy_is_pointed_out_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """A CDN's header on a server that has none configured: a sentence with the cure, without address or value."""
        subject = Requests()
        for name in JA4_HEADERS:
            subject.assess(OPENSSL, HERE, headers(CHROME, (name, "a value")))
        (message,) = caplog.messages
        assert "configure that" in message
        assert HERE not in message
        assert "a value" not in message

    @pytest.mark.parametrize("peer", ["", "proxy.example", "192.0.2.1/24", "10.0.0.0/33", "x" * 10**6])
    def test_peers_are_networks(self, peer: str) -> None:
        """Anything else is named when the server is configured, not when the first request comes."""
        with pytest.raises(InputError, match="is no network that proxies connect from") as error:
            behind(peer)
        assert len(str(error.value)) < 1000

    @pytest.mark.parametrize("header", ["", "X JA4", "x-ja4:", "x-é", "-", "x\n"])
    def test_headers_are_names(self, header: str) -> None:
        """What can be no name of a header would never be found."""
        with pytest.raises(InputError, match="is not the name of a header"):
            behind(header=header)


class TestBounds:
    def test_what_is_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many connections there are, a fixed number of assessments is kept."""
        monkeypatch.setattr(requests, "ASSESSED_MAX", 100)
        monkeypatch.setattr(requests, "ASSESSED_BYTES_MAX", 100 * len(OPENSSL))
        subject = Requests()
        for number in range(1000):
            hello = OPENSSL[:6] + number.to_bytes(4, "big") + OPENSSL[10:]  # the random value
            assert verdict(subject, hello, HERE, headers()) == "middleware"
        assert len(subject._assessed) == 100
        huge = client_hello(0x0303, tuple(range(250)), extension(21, bytes(12_000)))
        for _ in range(2):  # one that has more than all of them
            assert verdict(subject, huge, HERE, headers()) == "middleware"
            assert (len(subject._assessed), subject._bytes) == (1, len(huge))
        assert verdict(subject, OPENSSL, HERE, headers()) == "middleware"
        assert (len(subject._assessed), subject._bytes) == (1, len(OPENSSL))

    def test_a_connection_is_assessed_once_for_each_browser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The ClientHello is parsed for the first request of each browser, and not again."""
        parsed: list[bytes] = []
        parse = Offer.of_hello

        def noted(hello: bytes) -> Offer:
            parsed.append(hello)
            return parse(hello)

        monkeypatch.setattr(Offer, "of_hello", noted)
        subject = Requests()
        for agent in (CHROME, CHROME, FIREFOX, CHROME, FIREFOX):
            subject.assess(OPENSSL, HERE, headers(agent))
        assert parsed == [OPENSSL, OPENSSL]

    def test_no_name_of_a_browser_is_kept(self) -> None:
        """A User-Agent of a megabyte is neither read nor kept."""
        subject = Requests()
        huge = CHROME + "x" * 10**6
        assert verdict(subject, OPENSSL, HERE, headers(huge)) == "nothing-seen"
        assert len(str(subject._assessed)) < 10_000

    @given(data=st.binary(max_size=600), agent=st.text(max_size=50))
    def test_any_bytes(self, data: bytes, agent: str) -> None:
        """A hello of any bytes, whole or changed, and any name: assessed or not, and nothing is raised."""
        subject = Requests()
        for hello in (data, b"\x01" + vector(data, 3), OPENSSL[: len(OPENSSL) // 2] + data):
            found = subject.assess(hello, HERE, headers(agent))
            assert found is None or found.judgment.verdict == "nothing-seen"
            subject.assess(hello, HERE, headers(CHROME))

    @given(
        forged=st.lists(
            st.tuples(st.sampled_from([HEADER, *JA4_HEADERS, "x-forwarded-for", "forwarded"]), st.text(max_size=40)),
            max_size=5,
        ),
        peer=st.sampled_from([HERE, "203.0.113.9", "::1", None, UNIX_SOCKET]),
    )
    def test_forwarded_headers_of_strangers_change_nothing(
        self, forged: list[tuple[str, str]], peer: str | None
    ) -> None:
        """Any number of them with any values gives what the request gives without them."""
        subject = behind()
        assert subject.assess(OPENSSL, peer, headers(CHROME, *forged)) == subject.assess(OPENSSL, peer, headers())
        assert subject.assess(None, peer, headers(CHROME, *forged)) is None
