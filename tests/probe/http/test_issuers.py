"""Issuers fetched from loopback: every form they are served in, every bound, and addresses nobody may be sent to.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from detector_testing import PrivatePKI, serve_files, serve_proxy
from detector_testing.pki import to_pem
from hypothesis import given, settings
from hypothesis import strategies as st
from support.profiles import examples

from detector.model import Endpoint, Outcome
from detector.probe import DirectDialer, ProxyDialer, parse_proxy
from detector.probe.http import issuers
from detector.probe.http.client import Limits
from detector.probe.http.issuers import (
    CERTIFICATES_MAX,
    LEVELS_MAX,
    URLS_MAX,
    IssuerFetcher,
    PublicAddressesOnly,
    PublicResolver,
    certificates_in,
    is_public_address,
    is_public_name,
)
from detector.probe.mock import AwaitClient, Close, MockNetwork, Script, Send
from detector.probe.routes import ConnectionRecord, RouteError
from detector.trust import der

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.probe import Dialer

HOST = "aia.example.com"
URL = f"http://{HOST}/issuer.crt"


@functools.cache
def world() -> PrivatePKI:
    return PrivatePKI.create()


def certificates() -> tuple[bytes, ...]:
    """A root and a leaf with its intermediate."""
    return (world().root_a.certificate, *world().issue(["exam.example.edu"]).chain)


def bundle(*members: bytes) -> bytes:
    """Certs-only PKCS #7 as `cryptography` writes it."""
    return pkcs7.serialize_certificates([x509.load_der_x509_certificate(m) for m in members], Encoding.DER)


def to(port: int, *hosts: str) -> DirectDialer:
    return DirectDialer({(host, 80): ("127.0.0.1", port) for host in hosts or (HOST,)})


def serving(bodies: dict[str, bytes]) -> MockNetwork:
    """One host for each body, answering it to whatever is asked."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    return MockNetwork(
        {(host, 80): Script(AwaitClient(), Send(head % len(body) + body), Close()) for host, body in bodies.items()}
    )


class Signalling(MockNetwork):
    """A network that reports when it has been dialled."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as the original
        super().__init__(*args)
        self.dialled_once = asyncio.Event()

    async def dial(self, *args: Any) -> asyncio.Transport:  # noqa: ANN401 - as the original
        transport = await super().dial(*args)
        self.dialled_once.set()
        return transport


def laboratory(dialer: Dialer, **options: Any) -> IssuerFetcher:  # noqa: ANN401 - options of IssuerFetcher
    return IssuerFetcher(dialer, allow_private_addresses=True, **options)


def test_forms_issuers_are_served_in() -> None:
    """DER, PEM, several PEM blocks, and certs-only PKCS #7 in DER and PEM all give their certificates."""
    root, leaf, intermediate = certificates()
    message = bundle(root, intermediate)
    pem_message = pkcs7.serialize_certificates([x509.load_der_x509_certificate(leaf)], Encoding.PEM)
    assert certificates_in(leaf) == (leaf,)
    assert certificates_in(leaf + b"\r\n") == (leaf,)
    assert certificates_in(to_pem(leaf)) == (leaf,)
    assert certificates_in(b"# comment\n" + to_pem(leaf) + to_pem(root).replace(b"\n", b"\r\n")) == (leaf, root)
    assert set(certificates_in(message)) == {root, intermediate}
    assert certificates_in(pem_message) == (leaf,)
    assert certificates_in(pem_message.replace(b"PKCS7", b"CMS")) == (leaf,)


def test_what_holds_no_certificate() -> None:
    """Pages, other messages, damaged armour and certificates without a key give nothing."""
    leaf = certificates()[1]
    assert certificates_in(b"") == ()
    assert certificates_in(b"<html>0</html>") == ()
    assert certificates_in(bundle(leaf).replace(bytes.fromhex("2a864886f70d010702"), bytes(9))) == ()
    assert certificates_in(b"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n") == ()
    assert certificates_in(der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, b""))) == ()
    assert certificates_in(leaf[:200]) == ()


def test_a_bundle_of_hundreds_is_cut() -> None:
    """No more than the bound is read from one answer, and repetitions count once."""
    leaf = certificates()[1]
    many = [leaf[:-2] + bytes((n // 256, n % 256)) for n in range(200)]
    assert len(certificates_in(b"".join(map(to_pem, many)))) == CERTIFICATES_MAX
    assert certificates_in(to_pem(leaf) * 200) == (leaf,)


@settings(max_examples=examples(200))
@given(
    st.binary()
    | st.tuples(st.integers(0, 5000), st.binary(max_size=8)).map(
        lambda cut: (whole := bundle(*certificates()))[: cut[0]] + cut[1] + whole[cut[0] + len(cut[1]) :]
    )
)
def test_no_body_raises(body: bytes) -> None:
    """Whatever is served, damaged bundles among it, gives certificates or nothing."""
    for form in (body, to_pem(body), to_pem(body).replace(b"CERTIFICATE", b"PKCS7")):
        assert len(certificates_in(form)) <= CERTIFICATES_MAX


async def test_an_issuer_is_fetched() -> None:
    """A certificate comes from where the leaf says, once for all that need it."""
    root = certificates()[0]
    async with serve_files({"/issuer.crt": root}) as origin:
        fetcher = laboratory(to(origin.port))
        assert await fetcher.fetch([URL]) == (root,)
        assert await fetcher.fetch([URL, URL]) == (root,)
    assert [(request.method, request.target) for request in origin.requests] == [("GET", "/issuer.crt")]


async def test_requests_at_the_same_time_are_one() -> None:
    """Fifty endpoints with one issuer cost one request."""
    root = certificates()[0]
    network = serving({HOST: root})
    fetcher = laboratory(network)
    assert await asyncio.gather(*(fetcher.fetch([URL]) for _ in range(50))) == [(root,)] * 50
    assert (len(network.dialled), network.open) == (1, 0)


async def test_one_of_two_waiting_is_cancelled() -> None:
    """The other one still gets the answer; when the last one goes, the request ends and is not remembered."""
    root = certificates()[0]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(root)
    silent, answers = Script(), Script(AwaitClient(), Send(head + root), Close())
    network = Signalling({(HOST, 80): [silent, answers]})
    fetcher = laboratory(network)
    first, second = asyncio.create_task(fetcher.fetch([URL])), asyncio.create_task(fetcher.fetch([URL]))
    await network.dialled_once.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (network.open, second.done()) == (1, False)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert network.open == 0
    assert await fetcher.fetch([URL]) == (root,)


async def test_a_deadline_ends_the_wait() -> None:
    """A caller's deadline is kept and its unfinished fetch is not taken for an answer; a passed one asks nothing."""
    root = certificates()[0]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(root)
    network = MockNetwork({(HOST, 80): [Script(), Script(AwaitClient(), Send(head + root), Close())]})
    fetcher = laboratory(network)
    now = asyncio.get_running_loop().time()
    assert await fetcher.fetch([URL], deadline=now - 1) == ()
    assert network.dialled == []
    assert await fetcher.fetch([URL], deadline=now + 0.05) == ()
    assert asyncio.get_running_loop().time() - now < 0.5
    assert network.open == 0
    assert await fetcher.fetch([URL]) == (root,)


async def test_a_failure_is_remembered() -> None:
    """A location that hangs, serves a page or says 404 is asked once."""
    network = serving({"page.example.com": b"<html>", HOST: bytes(100_000)})
    network._peers["hang.example.com", 80] = [Script()]
    network._peers["gone.example.com", 80] = [
        Script(AwaitClient(), Send(b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n"))
    ]
    fetcher = laboratory(network, limits=Limits(seconds=0.05))
    hosts = ("page.example.com", HOST, "hang.example.com", "gone.example.com")
    for _ in range(2):
        for host in hosts:
            assert await fetcher.fetch([f"http://{host}/"]) == ()
    assert network.dialled == [f"{host}:80" for host in hosts]
    assert network.open == 0


async def test_requests_are_bounded() -> None:
    """One certificate's locations, and a whole run's requests, are few however many are named."""
    root = certificates()[0]
    network = serving({f"h{n}.example.com": root for n in range(20)})
    urls = [f"http://h{n}.example.com/" for n in range(20)]
    fetcher = laboratory(network, fetches_max=5)
    assert await fetcher.fetch(["https://h9.example.com/", *urls]) == (root,)
    assert network.dialled == ["h0.example.com:80", "h1.example.com:80"]
    assert len(network.dialled) == URLS_MAX
    for url in urls:
        await fetcher.fetch([url])
    assert len(network.dialled) == 5
    assert await fetcher.fetch([urls[-1]]) == ()


async def test_a_chain_is_completed() -> None:
    """Issuers' own issuers are followed to the self-issued root, which is not asked for its own."""
    ca = world().private_ca("Complete CA")
    upper = ca.subordinate("Upper CA")
    lower = _with_aia(upper, "http://upper.example.com/")
    network = serving({"lower.example.com": lower, "upper.example.com": bundle(upper.certificate)})
    found = await laboratory(network).complete(["http://lower.example.com/"])
    assert found == (lower, upper.certificate)
    assert network.dialled == ["lower.example.com:80", "upper.example.com:80"]


async def test_a_chain_without_end_is_cut() -> None:
    """Issuers that name ever new issuers are followed three levels; one that names itself is asked once."""
    ca = world().private_ca("Endless CA")
    chain = {f"h{n}.example.com": _with_aia(ca, f"http://h{n + 1}.example.com/") for n in range(10)}
    network = serving(chain)
    assert len(await laboratory(network).complete(["http://h0.example.com/"])) == LEVELS_MAX
    assert len(network.dialled) == LEVELS_MAX
    circle = serving({HOST: _with_aia(ca, URL)})
    assert len(await laboratory(circle).complete([URL])) == 1
    assert len(circle.dialled) == 1


def _with_aia(issuer: Any, url: str) -> bytes:  # noqa: ANN401 - a CA of the testing room
    return bytes(issuer.issue(["ca.example.com"], aia=[url]).leaf)


@pytest.mark.parametrize(
    "url",
    [
        "https://aia.example.com/",
        "ldap://aia.example.com/cn=x",
        "http://user:x@aia.example.com/",
        "http://aia.example.com:8080/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://192.0.32.8/",
        "http://2130706433/",
        "http://127.1/",
        "http://0x7f.0.0.1/",
        "http://a.0x7f000001/",
        "http://localhost/",
        "http://router/",
        "http://router./",
        "http://printer.local/",
        "http://nas.home.arpa/",
        "http://db.corp.internal/",
    ],
)
async def test_locations_that_are_not_asked(url: str) -> None:
    """Other schemes and ports, credentials, literal addresses in any form and private names are not asked."""
    nobody = MockNetwork({})
    assert await IssuerFetcher(nobody).fetch([url]) == ()
    assert nobody.dialled == []


async def test_a_private_address_gets_no_byte() -> None:
    """A name that leads to this machine is connected to and dropped, or with the resolver not even connected to."""
    async with serve_files({"/issuer.crt": certificates()[0]}) as origin:
        assert await IssuerFetcher(to(origin.port)).fetch([URL]) == ()
        await origin.settled()
        assert (origin.connections, origin.requests) == (1, [])
        filtered = DirectDialer({(HOST, 80): origin.address}, resolver=PublicResolver())
        assert await IssuerFetcher(filtered).fetch([URL]) == ()
        assert origin.connections == 1


async def test_a_public_address_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate lets the exchange through when the address it sees counts as public."""
    monkeypatch.setattr(issuers, "is_public_address", lambda address: address == "127.0.0.1")
    root = certificates()[0]
    async with serve_files({"/issuer.crt": root}) as origin:
        filtered = DirectDialer({(HOST, 80): origin.address}, resolver=PublicResolver())
        assert await IssuerFetcher(filtered).fetch([URL]) == (root,)


async def test_the_callers_own_rules_lead_anywhere() -> None:
    """A host and port that the caller maps is asked on loopback; the route is chosen for each URL."""
    root = certificates()[0]
    asked: list[Endpoint] = []
    async with serve_files({"/issuer.crt": root}) as origin:

        def dialer_for(endpoint: Endpoint) -> Dialer:
            asked.append(endpoint)
            return to(origin.port, HOST, "other.example.com")

        fetcher = IssuerFetcher(dialer_for, exempt={(HOST, 80)})
        assert await fetcher.fetch([URL]) == (root,)
        assert await fetcher.fetch(["http://other.example.com/issuer.crt"]) == ()
    assert asked == [Endpoint(host=HOST, port=80), Endpoint(host="other.example.com", port=80)]


async def test_an_unknown_address_is_refused() -> None:
    """A direct connection without a peer address fails closed and is not left open."""
    network = serving({HOST: certificates()[0]})
    guarded = PublicAddressesOnly(network)
    with pytest.raises(RouteError) as caught:
        await guarded.dial(Endpoint(host=HOST, port=80), asyncio.Protocol, ConnectionRecord())
    assert (caught.value.outcome, network.open) == (Outcome.UNREACHABLE, 0)
    assert guarded.route is network.route


async def test_through_a_proxy_the_proxy_decides() -> None:
    """The proxy's own address is private as a rule and no reason to refuse; names are still checked."""
    root = certificates()[0]
    async with (
        serve_files({"/issuer.crt": root}) as origin,
        serve_proxy(upstream={(HOST, 80): origin.address}) as proxy,
    ):
        fetcher = IssuerFetcher(ProxyDialer(parse_proxy(proxy.url)))
        assert await fetcher.fetch([URL]) == (root,)
        assert await fetcher.fetch(["http://127.0.0.1/issuer.crt", "http://localhost/"]) == ()
        assert proxy.targets == [(HOST, 80)]


async def test_the_resolver_keeps_public_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of mixed answers the public ones stay; none at all is unreachable."""
    answers: Sequence[str] = ()

    def look_up(_host: str, port: int, **_options: Any) -> list[Any]:  # noqa: ANN401 - as the original
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    answers = ["10.0.0.1", "192.0.32.8", "169.254.169.254"]
    assert [info[4][0] for info in await PublicResolver().resolve(HOST, 80)] == ["192.0.32.8"]
    answers = ["10.0.0.1"]
    with pytest.raises(RouteError) as caught:
        await PublicResolver().resolve(HOST, 80)
    assert caught.value.outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("192.0.32.8", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::c000:2008", True),
        ("::ffff:192.0.32.8", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("name.example", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """Private, special and embedded private addresses are distinguished from public unicast ones."""
    assert is_public_address(address) is public


def test_which_names_are_public() -> None:
    """Only names of more than one label outside the private suffixes are of the public DNS."""
    assert [is_public_name(n) for n in ("r11.i.lencr.org", "A.EXAMPLE.ORG.", "a.b-1.co")] == [True] * 3
    assert [is_public_name(n) for n in ("a", "a.LOCAL", "a.home.arpa.", "a.1", "::1")] == [False] * 5
