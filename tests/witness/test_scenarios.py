"""Everybody who can be between a client and its witness, through the whole pipeline on loopback.

Room: tests of witness. Opens sockets on loopback; drives the real mitmproxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import Mode, Request, Response, run_mitmproxy, serve_middlebox, serve_origin, serve_proxy
from detector_testing.streams import Listener, TLSStream, listen, server_context
from OpenSSL import SSL
from support.witnesses import EXAM, endpoint, signing_key, witness_of

from detector import Detector, Endpoint, Finding, Result
from detector.model import Hello, Observation
from detector.probe import Timeouts
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import Issued, Middlebox, PrivatePKI
    from detector_testing.streams import PlainStream

    from detector.witness.server import WitnessServer

    Settings = Callable[..., dict[str, Any]]

V = ssl.TLSVersion


@pytest.fixture(scope="module")
def issued(pki: PrivatePKI) -> Issued:
    """The origin's own certificate: public, logged, the right name."""
    return pki.issue([EXAM])


def where(server: WitnessServer) -> dict[tuple[str, int], tuple[str, int]]:
    """Where a middlebox finds the origin."""
    return {(EXAM, 443): server.address}


async def assessed(settings: dict[str, Any], **more: Any) -> Result:  # noqa: ANN401 - arguments of Detector
    """What one check of the exam endpoint says."""
    async with Detector(**settings, **more) as subject:
        report = await subject.check(deadline=60)
    (result,) = report.results
    assert report.verdict == result.verdict
    return result


def answer_of(result: Result) -> Finding:
    """What the check `witness` found of the answer."""
    found = [finding for finding in result.findings if finding.check == "witness"]
    (answer,) = [finding for finding in found if finding.outcome not in {"ends-tls-itself", "same-key"}]
    return answer


def asked(result: Result) -> Observation:
    """The connection on which the witness was asked; the other one has a browser's hello."""
    seen = (result.observation, *result.other_observations)
    (one,) = [observation for observation in seen if observation.witness is not None]
    assert {observation.hello for observation in seen} == {Hello.BROWSER, Hello.OPENSSL}
    return one


def assert_proven(result: Result) -> None:
    """Middleware, and nothing benign explains it."""
    assert (result.verdict, result.confidence, result.reason) == ("middleware", "proven", "witness-differs")
    assert answer_of(result).outcome == "differs"
    assert result.alternatives == ()
    assert result.observation.key_proved


def assert_not_witnessed(result: Result, says: str, assurance: str = "logged") -> None:
    """The witness's answer was no answer: that is a finding, and proves nothing. What else clears still clears."""
    assert answer_of(result).outcome == says
    assert (result.verdict, result.assurance) == ("clean", assurance)


def findings(result: Result) -> set[tuple[str, str]]:
    """Pairs of check and outcome."""
    return {(finding.check, str(finding.outcome)) for finding in result.findings}


class TestNobodyInBetween:
    @pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
    async def test_direct(self, issued: Issued, settings_of: Settings, version: ssl.TLSVersion) -> None:
        """Both ends of one session agree, in TLS 1.3 and in TLS 1.2 with extended master secret."""
        async with witness_of(issued, max_version=version) as server:
            result = await assessed(settings_of(endpoint(server.address)))
        assert (result.verdict, result.assurance) == ("clean", "witnessed")
        assert asked(result).tls_version == version.name.replace("_", ".")
        assert ("witness", "same-key") in findings(result)
        assert result.observation.hello is Hello.BROWSER

    async def test_plain_proxy(self, issued: Issued, settings_of: Settings) -> None:
        """A proxy that only carries bytes changes nothing."""
        async with witness_of(issued) as server, serve_proxy(upstream=where(server)) as proxy:
            result = await assessed(settings_of(endpoint(), proxy=proxy.url))
        assert (result.verdict, result.assurance, result.observation.route) == ("clean", "witnessed", "http-connect")

    async def test_even_with_stale_pins(self, issued: Issued, settings_of: Settings) -> None:
        """Pins that no longer fit are reported, and the witness decides."""
        async with witness_of(issued) as server:
            result = await assessed(settings_of(endpoint(server.address, pins=(bytes(32),))))
        assert (result.verdict, result.assurance) == ("clean", "witnessed")
        assert ("pin", "mismatch") in findings(result)

    async def test_rotation(self, issued: Issued, settings_of: Settings) -> None:
        """At every step of a rotation, clients with the old pins, with both, and then with the new are served."""
        old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        steps = [
            ((old,), [(old,), (old, new)]),
            ((old, new), [(old,), (old, new), (new,)]),
            ((new,), [(old, new), (new,)]),
        ]
        for signing, clients in steps:
            async with witness_of(issued, keys=signing) as server:
                for pinned in clients:
                    result = await assessed(settings_of(endpoint(server.address, *pinned)))
                    assert (result.verdict, result.assurance) == ("clean", "witnessed")


class TestSomebodyInBetween:
    async def test_mitmproxy(self, issued: Issued, settings_of: Settings) -> None:
        """The real mitmproxy relays the question, and is given away by the answer."""
        async with witness_of(issued) as server, run_mitmproxy(upstream_hosts=where(server)) as mitm:
            result = await assessed(settings_of(endpoint(), proxy=mitm.url))
        assert_proven(result)

    async def test_certificate_under_a_trusted_root(
        self, issued: Issued, pki: PrivatePKI, settings_of: Settings
    ) -> None:
        """A publicly trusted, logged certificate in wrong hands: clean to everything but the witness."""
        bought = pki.issue([EXAM])
        async with witness_of(issued) as server, box_of(pki, server, present=bought) as box:
            unwitnessed = await assessed(settings_of(Endpoint(host=EXAM), proxy=box.url))
            result = await assessed(settings_of(endpoint(), proxy=box.url))
        assert (unwitnessed.verdict, unwitnessed.assurance) == ("clean", "logged")
        assert_proven(result)

    async def test_pinned_ca(self, issued: Issued, pki: PrivatePKI, settings_of: Settings) -> None:
        """The pinned CA itself issued the middlebox's certificate: clean, pinned, but for the witness."""
        pins = (pki.intermediate_ec.spki_sha256,)
        async with witness_of(issued) as server, box_of(pki, server, present=pki.issue([EXAM])) as box:
            unwitnessed = await assessed(settings_of(Endpoint(host=EXAM, pins=pins), proxy=box.url))
            result = await assessed(settings_of(endpoint(pins=pins), proxy=box.url))
        assert (unwitnessed.verdict, unwitnessed.assurance) == ("clean", "pinned")
        assert_proven(result)

    @pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
    async def test_the_origins_own_key(
        self, issued: Issued, pki: PrivatePKI, settings_of: Settings, version: ssl.TLSVersion
    ) -> None:
        """The origin's own certificate and key: pinned by leaf, and nothing but the witness can tell."""
        pins = (issued.spki_sha256,)
        async with (
            witness_of(issued) as server,
            box_of(pki, server, present=issued, max_version=version) as box,
        ):
            unwitnessed = await assessed(settings_of(Endpoint(host=EXAM, pins=pins), proxy=box.url))
            result = await assessed(settings_of(endpoint(pins=pins), proxy=box.url))
        assert (unwitnessed.verdict, unwitnessed.assurance) == ("clean", "pinned")
        assert_proven(result)
        assert b"/.well-known/tls-witness?nonce=" in box.overheard

    async def test_whose_front_it_is(self, issued: Issued, pki: PrivatePKI, settings_of: Settings) -> None:
        """With the origin's key it may be the operator's own, unless the pin file says that the witness ends TLS."""
        async with witness_of(issued) as server, box_of(pki, server, present=issued) as box:
            result = await assessed(settings_of(endpoint(witness_is_end=False), proxy=box.url))
        assert (result.verdict, result.confidence, result.reason) == ("middleware", "probable", "witness-differs")
        assert result.alternatives == ("front-of-the-operator",)

    async def test_origins_key_and_old_tls_towards_the_witness(
        self, issued: Issued, pki: PrivatePKI, settings_of: Settings
    ) -> None:
        """A session without binding on the witness's side is not the session of a client that has one."""
        async with (
            witness_of(issued, max_version=V.TLSv1_2) as server,
            box_of(pki, server, present=issued, extended_master_secret=False) as box,
        ):
            result = await assessed(settings_of(endpoint(), proxy=box.url))
        assert result.observation.tls_version == "TLSv1.3"
        assert_proven(result)

    async def test_old_tls_towards_the_client(self, issued: Issued, pki: PrivatePKI, settings_of: Settings) -> None:
        """Without extended master secret there is nothing to compare, and nothing is cleared."""
        async with (
            witness_of(issued) as server,
            box_of(pki, server, present=issued, max_version=V.TLSv1_2, extended_master_secret=False) as box,
        ):
            result = await assessed(settings_of(endpoint(pins=(issued.spki_sha256,)), proxy=box.url))
        assert_not_witnessed(result, "no-binding", "pinned")

    async def test_rewritten_answer(self, issued: Issued, pki: PrivatePKI, settings_of: Settings) -> None:
        """An answer that was changed in between, to what the client wants to hear, is not signed any more."""

        def rewrite(data: bytes) -> bytes:
            return re.sub(rb'("sig":")(.)', lambda found: found[1] + (b"B" if found[2] == b"A" else b"A"), data)

        async with witness_of(issued) as server, box_of(pki, server, present=issued, rewrite=rewrite) as box:
            result = await assessed(settings_of(endpoint(pins=(issued.spki_sha256,)), proxy=box.url))
        assert_not_witnessed(result, "bad-signature", "pinned")

    async def test_answer_replaced_by_an_unsigned_one(
        self, issued: Issued, pki: PrivatePKI, settings_of: Settings
    ) -> None:
        """An answer that lost its signature is not believed."""

        def rewrite(data: bytes) -> bytes:
            return re.sub(
                rb'"signatures":\[.*\]', lambda found: b'"signatures":[' + b" " * (len(found[0]) - 15) + b"]", data
            )

        async with witness_of(issued) as server, box_of(pki, server, present=issued, rewrite=rewrite) as box:
            result = await assessed(settings_of(endpoint(), proxy=box.url))
        assert_not_witnessed(result, "unsigned")

    async def test_replayed_answer(self, issued: Issued, pki: PrivatePKI, settings_of: Settings) -> None:
        """A genuine signed answer to an earlier question answers nothing."""
        answers: list[bytes] = []

        def rewrite(data: bytes) -> bytes:
            answers.extend(re.findall(rb'\{"payload".*\}', data))
            return re.sub(rb'\{"payload".*\}', lambda _: answers[0], data)

        async with (
            witness_of(issued, clock=lambda: pki.now) as server,  # answers of one length
            box_of(pki, server, present=issued, rewrite=rewrite) as box,
        ):
            before = await assessed(settings_of(endpoint(), proxy=box.url))
            after = await assessed(settings_of(endpoint(), proxy=box.url))
        assert_proven(before)
        assert_not_witnessed(after, "replayed")

    async def test_clean_while_it_sleeps(self, issued: Issued, pki: PrivatePKI, settings_of: Settings) -> None:
        """The same middlebox, before it wakes up, is a carrier like any other. Each probe makes two connections."""
        async with witness_of(issued) as server, box_of(pki, server, present=issued, pass_first=2) as box:
            before = await assessed(settings_of(endpoint(), proxy=box.url))
            after = await assessed(settings_of(endpoint(), proxy=box.url))
        assert (before.verdict, before.assurance) == ("clean", "witnessed")
        assert_proven(after)


@contextlib.asynccontextmanager
async def box_of(pki: PrivatePKI, server: WitnessServer, **options: Any) -> AsyncIterator[Middlebox]:  # noqa: ANN401 - of serve_middlebox
    """A middlebox between the client and the witness."""
    async with serve_middlebox(pki.private_ca("Campus Filter CA"), upstream=where(server), **options) as box:
        yield box


def answering(body: bytes, status: int = 200) -> Callable[[Request], Response]:
    """A handler that always says this."""
    return lambda _request: Response(status=status, body=body)


class TestNoAnswerVouchesForNothing:
    """Somebody with the origin's own certificate and key, pinned at that, who keeps the witness's answer away."""

    @pytest.mark.parametrize(
        ("handler", "says"),
        [
            (answering(b"", 404), "refused"),
            (answering(b"", 302), "refused"),
            (answering(b'{"payload":"e30=","payloadType":"%s"}' % witness_statement.PAYLOAD_TYPE.encode()), "unsigned"),
            (answering(b'{"payload":"e30=","payloadType":"text/plain","signatures":[]}'), "other-type"),
            (answering(b"<!doctype html><title>Sign in</title>"), "unreadable"),
            (answering(b""), "unreadable"),
            (answering(bytes(witness_statement.ANSWER_BYTES_MAX + 1)), "no-answer"),
        ],
        ids=["stripped", "redirected", "unsigned", "other-type", "page", "empty", "huge"],
    )
    async def test_what_it_says(
        self, issued: Issued, settings_of: Settings, handler: Callable[[Request], Response], says: str
    ) -> None:
        """Each is a finding of its own."""
        async with serve_origin(issued, handler=handler) as origin:
            result = await assessed(settings_of(endpoint(origin.address, pins=(issued.spki_sha256,))))
        assert_not_witnessed(result, says, "pinned")

    async def test_unknown_key(self, issued: Issued, settings_of: Settings) -> None:
        """A witness with another key than the pinned one may be anybody's."""
        async with witness_of(issued, keys=(Ed25519PrivateKey.generate(),)) as server:
            result = await assessed(settings_of(endpoint(server.address, pins=(issued.spki_sha256,))))
        assert_not_witnessed(result, "unknown-key", "pinned")

    async def test_silence(self, issued: Issued, settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that never answers costs the witness's time, and is reported."""
        monkeypatch.setattr("detector.probe.http.witness.Timeouts", lambda: Timeouts(witness=0.2))
        async with listening(issued, b"") as address:
            result = await assessed(settings_of(endpoint(address)))
        assert_not_witnessed(result, "no-answer")
        witnessed = asked(result).witness
        assert witnessed is not None
        assert witnessed.outcome == "timeout"

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (bytes(range(256)), "not-http"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "closed"),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18), "not-http"),
        ],
        ids=["garbage", "half-an-answer", "h2-only"],
    )
    async def test_what_is_no_answer(self, issued: Issued, settings_of: Settings, answer: bytes, outcome: str) -> None:
        """Bytes that are not HTTP/1.1, such as the SETTINGS of HTTP/2, and answers that break off."""
        async with listening(issued, answer) as address:
            result = await assessed(settings_of(endpoint(address)))
        assert_not_witnessed(result, "no-answer")
        witnessed = asked(result).witness
        assert witnessed is not None
        assert witnessed.outcome == outcome

    async def test_cut_off_without_close_notify(self, issued: Issued, settings_of: Settings) -> None:
        """A body without a length that ends with the TCP connection may have been cut short by anybody."""
        answer = b'HTTP/1.1 200 OK\r\n\r\n{"payload":"e30=","payloadType":"text/plain"}'
        async with listening(issued, answer, politely=False) as address:
            result = await assessed(settings_of(endpoint(address)))
        assert_not_witnessed(result, "no-answer")

    async def test_old_tls(self, issued: Issued, settings_of: Settings) -> None:
        """TLS 1.1 has nothing to compare: the witness does not speak it, and is not asked by such a connection."""
        async with serve_origin(issued, max_version=V.TLSv1_1, ciphers="ALL") as origin:
            result = await assessed(settings_of(endpoint(origin.address)))
        assert (answer_of(result).outcome, result.verdict) == ("not-asked", "inconclusive")

    async def test_tls_ended_in_front_of_the_witness(
        self, issued: Issued, pki: PrivatePKI, settings_of: Settings
    ) -> None:
        """The operator's own load balancer could be anyone's: pins of the witness belong where TLS ends."""
        async with witness_of(issued) as server:
            balancer = serve_middlebox(
                pki.private_ca("unused"), mode=Mode.REVERSE, upstream=server.address, present=issued
            )
            async with balancer as box:
                result = await assessed(settings_of(endpoint(box.address)))
        assert_proven(result)


@contextlib.asynccontextmanager
async def listening(issued: Issued, answer: bytes, *, politely: bool = True) -> AsyncIterator[tuple[str, int]]:
    """A TLS server that says `answer` to the first request and closes, with close_notify or without.

    It says nothing at all, and stays, when the answer is empty.
    """
    listener = Listener()
    for_ever = asyncio.Event()

    async def serve(plain: PlainStream) -> None:
        connection = SSL.Connection(server_context(issued), None)
        connection.set_accept_state()
        stream = TLSStream(connection, plain)
        await stream.handshake()
        await stream.read()
        if not answer:
            await for_ever.wait()
        await stream.write(answer)
        await (stream if politely else plain).close()

    async with listen(serve, listener):
        yield listener.address


def test_the_key_of_these_tests_is_pinned() -> None:
    """The endpoint that the tests use pins the key that the witness signs with."""
    assert endpoint().witness == (public_key_of(signing_key()),)
