"""What the guard is for: an ordinary client hands its secret to a middlebox, a guarded one sends it nothing."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import CA, Issued, Response, Script, run_mitmproxy, serve_middlebox, serve_origin, serve_script
from support.guarding import EXAM, LMS, SECRET, URL, guard_of, guarded, serve_raw, settled, witness_that

import detector
from detector.exam import OnStalePin, Policy
from detector.guard import CertificateError, MiddlewareDetected, UnconfirmedError
from detector.guard.connector import ClientMiddlewareDetected
from detector.model import Endpoint, Outcome, RecordedIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import World
    from detector_testing import PrivatePKI, Request
    from detector_testing.streams import PlainStream, TLSStream


KNOWN = Endpoint(host=EXAM, pins=(bytes(32),), identity=RecordedIdentity.PUBLIC)
"""The exam server, of which it is known that its genuine certificate is public: another one is an interceptor's."""


@pytest.mark.lab
async def test_mitmproxy_whose_ca_is_trusted(world: World, pki: PrivatePKI) -> None:
    """With its CA installed, mitmproxy reads what aiohttp sends; of a guarded client it sees no request at all."""
    guard = guard_of(world, KNOWN)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        run_mitmproxy(upstream_hosts={(EXAM, 443): origin.address}) as mitm,
    ):
        trusting = ssl.create_default_context(cadata=mitm.ca_pem.decode())
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as ordinary,
            ordinary.post(URL, data=SECRET, proxy=mitm.url) as response,
        ):
            assert response.status == 200
        overheard, arrived = mitm.overheard, len(origin.requests)
        assert SECRET.encode() in overheard
        assert origin.requests[0].body == SECRET.encode()

        async with guarded(guard) as client:
            with pytest.raises(
                ClientMiddlewareDetected, match=r"exam\.example\.edu:443: TLS is intercepted.*mitmproxy"
            ) as caught:
                await client.post(URL, data=SECRET, proxy=mitm.url, headers={"X-Secret": SECRET})
        await settled(origin)
        assert mitm.overheard == overheard
        assert len(origin.requests) == arrived
    error = caught.value
    for kind in (aiohttp.ClientConnectorCertificateError, detector.MiddlewareDetected, detector.errors.GuardError):
        assert isinstance(error, kind)
    assert error.result is not None
    assert (error.result.verdict, error.result.confidence) == ("middleware", "proven")
    assert error.report.results == (error.result,)
    assert (error.host, error.port, error.ssl) == (EXAM, 443, True)
    assert error.advice in str(error)


@pytest.mark.parametrize("append", [False, True])
async def test_forging_middlebox(world: World, pki: PrivatePKI, *, append: bool) -> None:
    """A middlebox with a CA of its own gets a handshake and nothing else, whatever it appends to its chain.

    Where nothing is known of the server it is not accused: no client would take its certificate.
    """
    async with serve_origin(pki.issue([EXAM])) as origin:
        upstream = {(EXAM, 443): origin.address}
        ca = pki.private_ca("School Proxy CA")
        async with serve_middlebox(ca, upstream=upstream, append_upstream_chain=append) as box:
            for known, error, says in (
                ((KNOWN,), MiddlewareDetected, "intercepted by an unknown party .*School Proxy CA"),
                ((), CertificateError, "could not be confirmed"),
            ):
                async with guarded(guard_of(world, *known)) as client:
                    for _ in range(2):
                        with pytest.raises(error, match=says) as caught:
                            await client.post(URL, data=SECRET, proxy=box.url)
            await settled(box)
            assert box.overheard == b""
            assert box.intercepted == [EXAM] * 4
    assert "School" not in str(caught.value)


async def test_evidence_of_earlier_connections_counts(world: World, pki: PrivatePKI) -> None:
    """One private CA on one host may be anything; once it took a known certificate's place it is an interceptor."""
    async with serve_origin(pki.issue([EXAM])) as exam, serve_origin(pki.issue([LMS])) as lms:
        upstream = {(EXAM, 443): exam.address, (LMS, 443): lms.address}
        async with serve_middlebox(pki.private_ca("School Proxy CA"), upstream=upstream) as box:
            guard, lms_url = guard_of(world, KNOWN), f"https://{LMS}/"
            async with guarded(guard, proxy=box.url) as client:
                for url, error in (
                    (lms_url, CertificateError),
                    (URL, MiddlewareDetected),
                    (lms_url, MiddlewareDetected),
                ):
                    with pytest.raises(error):
                        await client.get(url)
            assert box.overheard == b""
    assert [assessed.result.confidence for assessed in guard.assessed] == ["possible", "proven", "proven"]


async def test_stale_pins_pass_as_the_gate_lets_them(world: World, pki: PrivatePKI) -> None:
    """A pin that nothing matches on a publicly logged certificate: used with a warning, or refused by the policy."""
    warnings: list[str] = []
    async with serve_origin(pki.issue([EXAM])) as origin:
        stale = Endpoint(host=EXAM, pins=(bytes(32),), address=origin.address)
        guard = guard_of(world, stale, on_warning=lambda assessed: warnings.append(assessed.message))
        async with guarded(guard) as client, client.get(URL) as response:
            assert response.status == 200
        refusing = guard_of(world, stale, policy=Policy(on_stale_pin=OnStalePin.REFUSE))
        async with guarded(refusing) as client:
            with pytest.raises(UnconfirmedError, match="only the pins do not fit") as caught:
                await client.get(URL)
    (warning,) = warnings
    assert warning.endswith("probably out of date. The connection is used all the same.")
    assert "decrypt" not in f"{warning} {caught.value}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicCA(CA):
    """A CA that gets its certificates from the public PKI, as one who fooled a public CA does."""

    pki: PrivatePKI

    def issue(self, names: Sequence[str] = (), **_: Any) -> Issued:  # noqa: ANN401 - what a forger asks for
        """Issue as the public PKI does: publicly trusted and logged."""
        return self.pki.issue(names or [EXAM])


async def test_middlebox_with_a_public_certificate(world: World, pki: PrivatePKI) -> None:
    """Nothing in its chain gives it away; the witness does, and the request stays here."""
    key = Ed25519PrivateKey.generate()
    ca = pki.private_ca("unused")
    public = PublicCA(
        certificate=ca.certificate, key=ca.key, subject=ca.subject, key_identifier=None, now=ca.now, pki=pki
    )
    witness = Endpoint(host=EXAM, witness=(key.public_key().public_bytes_raw(),))
    async with serve_origin(pki.issue([EXAM]), handler=witness_that(key)) as origin:
        upstream = {(EXAM, 443): origin.address}
        async with serve_middlebox(public, upstream=upstream, copy_upstream=False) as box:
            async with (
                guarded(guard_of(world), proxy=box.url) as client,
                client.post(URL, data=SECRET) as response,
            ):
                assert response.status == 200
            await settled(box)
            assert SECRET.encode() in box.overheard
            box.overheard = b""
            async with guarded(guard_of(world, witness), proxy=box.url) as client:
                with pytest.raises(MiddlewareDetected, match="probable: witness-differs"):
                    await client.post(URL, data=SECRET)
            await settled(box)
            assert b"tls-witness" in box.overheard
            assert SECRET.encode() not in box.overheard
            assert b"answers" not in box.overheard
        async with (
            guarded(guard_of(world, witness), resolve=upstream) as client,
            client.post(URL, data=SECRET) as response,
        ):
            assert response.status == 200


async def test_replayed_chain(world: World, pki: PrivatePKI) -> None:
    """The genuine chain without its key: refused as middleware."""
    async with serve_script(Script.replay(pki.issue([EXAM]).chain)) as server:
        async with guarded(guard_of(world), resolve={(EXAM, 443): server.address}) as client:
            with pytest.raises(MiddlewareDetected, match="replayed-chain"):
                await client.post(URL, data=SECRET)
        await settled(server)
    assert server.requests == []


async def test_forger_that_answers_before_it_is_asked(world: World, pki: PrivatePKI) -> None:
    """Data that a forger sends right behind its handshake does not get it a request."""
    spoke: list[bool] = []
    heard: list[bytes] = []

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        spoke.append(True)
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        heard.append(await stream.read())  # or it is reset: both say that nothing came

    async with serve_raw(pki.private_ca().issue([EXAM]), talk) as server:
        async with guarded(guard_of(world), resolve={(EXAM, 443): server.address}) as client:
            with pytest.raises(CertificateError):
                await client.post(URL, data=SECRET)
        await settled(server)
    assert spoke
    assert not any(heard)


async def test_redirect_to_an_intercepted_host(world: World, pki: PrivatePKI) -> None:
    """A genuine server redirects, with the body, to a host that is decrypted: assessed like any other."""

    def redirect(_: Request) -> Response:
        return Response(status=307, headers=(("Location", f"https://{LMS}/collect"),))

    async with serve_origin(pki.issue([EXAM]), handler=redirect) as exam, serve_origin(pki.issue([LMS])) as lms:
        upstream = {(EXAM, 443): exam.address, (LMS, 443): lms.address}
        async with serve_middlebox(pki.private_ca(), upstream=upstream, only_hosts=[LMS]) as box:
            guard = guard_of(world)
            async with guarded(guard, proxy=box.url) as client:
                with pytest.raises(CertificateError, match=LMS):
                    await client.post(URL, data=SECRET)
            await settled(box)
            assert box.overheard == b""
            assert box.intercepted == [LMS]
    assert len(exam.requests) == 1
    assert [assessed.result.endpoint.host for assessed in guard.assessed] == [EXAM, LMS]


async def test_captive_portal_that_does_not_speak_tls(world: World) -> None:
    """A portal that answers TLS with a page: no connection, and the advice says to sign in."""
    async with (
        serve_script(Script.plain_http()) as portal,
        guarded(guard_of(world), resolve={(EXAM, 443): portal.address}) as client,
    ):
        with pytest.raises(UnconfirmedError, match="sign in") as caught:
            await client.get(URL)
    assert caught.value.result is not None
    assert caught.value.result.observation.outcome is Outcome.NOT_TLS
    assert isinstance(caught.value, aiohttp.ClientConnectorError)


@pytest.mark.parametrize(
    "settings",
    [{"max_version": ssl.TLSVersion.TLSv1_1}, {"max_version": ssl.TLSVersion.TLSv1_2, "ciphers": "AES128-SHA"}],
)
async def test_weak_tls_is_not_spoken(world: World, pki: PrivatePKI, settings: dict[str, Any]) -> None:
    """A server, or a middlebox, that wants old TLS or no forward secrecy gets no request."""
    async with (
        serve_origin(pki.issue([EXAM], key="rsa"), **settings) as origin,
        guarded(guard_of(world), resolve={(EXAM, 443): origin.address}) as client,
    ):
        with pytest.raises(UnconfirmedError, match="ended as tls-alert"):
            await client.get(URL)
    assert origin.requests == []
