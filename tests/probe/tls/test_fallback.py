"""Which hello comes second, and what it can never stand for.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_origin
from detector_testing.tls_server import Ending, Script, Step, serve_script
from support.conversations import HOST, at, ders, exam

from detector.model import Endpoint, Engine, Hello, KeyKind, Outcome
from detector.probe import DirectDialer, probe
from detector.probe.tls.codepoints import ExtensionType
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.openssl import OpenSSLHandshake

if TYPE_CHECKING:
    from detector.model import Observation

V = ssl.TLSVersion
PADDING = 21  # a hello of 256 to 511 bytes is made longer (RFC 7685)


async def observed(script: Script | list[Script], **options: Any) -> tuple[Observation, int]:  # noqa: ANN401 - of `probe`
    """Probe a scripted server; returns the connections that it got, too."""
    async with serve_script(script) as server:
        seen = (await probe(at(server.address), dialer=DirectDialer(), **options)).single
        return seen, server.connections


@pytest.mark.parametrize("hello", [Hello.BROWSER, Hello.FIREFOX])
@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1])
async def test_an_old_server_is_seen_by_the_widest_hello(version: ssl.TLSVersion, hello: Hello) -> None:
    """It refuses the browser's hello with an alert; the observation says what came first."""
    async with serve_origin(exam("rsa"), min_version=version, max_version=version, ciphers="ALL") as origin:
        seen = (await probe(at(origin.address), dialer=DirectDialer(), hello=hello)).single
    assert (seen.outcome, seen.hello, seen.engine, seen.key_proved) == (
        Outcome.COMPLETE,
        Hello.WIDEST,
        Engine.OPENSSL,
        True,
    )
    assert {(failed.outcome, failed.hello) for failed in seen.earlier} == {(Outcome.TLS_ALERT, hello)}
    assert seen.attempts == len(seen.earlier) + 1


@pytest.mark.parametrize("alert", [40, 70, 71])
async def test_what_more_to_choose_from_cures(alert: int) -> None:
    """handshake_failure, protocol_version and insufficient_security."""
    refusing = Script.alert(alert)
    seen, connections = await observed([refusing, refusing, Script.genuine(exam())])
    assert (seen.hello, seen.key_proved, connections) == (Hello.WIDEST, True, 3)
    assert [failed.hello for failed in seen.earlier] == [Hello.BROWSER] * 2


@pytest.mark.parametrize("alert", [0, 10, 47, 50, 80, 112])
async def test_what_it_cannot_cure(alert: int) -> None:
    """Any other alert is an answer to every hello; a small one was tried."""
    seen, _ = await observed(Script.alert(alert))
    assert (seen.outcome, seen.alert, seen.hello) == (Outcome.TLS_ALERT, alert, Hello.BROWSER)
    assert {failed.hello for failed in seen.earlier} == {Hello.BROWSER}


async def test_where_no_hello_gets_a_certificate() -> None:
    """The browser's is reported, and every connection is counted."""
    seen, connections = await observed(Script.alert(40))
    assert (seen.outcome, seen.alert, seen.hello, seen.attempts) == (Outcome.TLS_ALERT, 40, Hello.BROWSER, connections)


@pytest.mark.parametrize(
    "script",
    [
        {"scheme": 0x0708},
        {"stop": Step.CERTIFICATE, "ending": Ending.CLOSE},
        {"stop": Step.CERTIFICATE, "ending": Ending.RESET},
        {"corrupt_finished": True},
        {"corrupt_signature": True},
        {"version": V.TLSv1_2, "corrupt_finished": True},
    ],
    ids=["scheme", "close", "reset", "Finished", "signature", "Finished of TLS 1.2"],
)
async def test_a_certificate_is_an_answer(script: dict[str, Any]) -> None:
    """Where the browser's hello got one, no other hello is tried: a genuine chain for that would clear nothing."""
    forged = dataclasses.replace(Script.genuine(exam("rsa")), **script)
    seen, connections = await observed([forged, Script.genuine(exam())])
    assert (seen.key_proved, ders(seen), seen.hello) == (False, exam("rsa").chain, Hello.BROWSER)
    assert (connections, seen.attempts, seen.earlier) == (1, 1, ())


async def test_a_restricted_hello_is_not_widened() -> None:
    """What was left out of it on purpose is not offered after all."""
    seen, _ = await observed(Script.alert(40), hello=Hello.READABLE)
    assert (seen.hello, seen.outcome) == (Hello.READABLE, Outcome.TLS_ALERT)


@pytest.mark.parametrize(
    ("options", "hello", "engine"),
    [
        ({}, Hello.BROWSER, Engine.NATIVE),
        *(({"hello": hello}, hello, Engine.NATIVE) for hello in (Hello.FIREFOX, Hello.READABLE)),
        *(({"hello": hello}, hello, Engine.OPENSSL) for hello in (Hello.OPENSSL, Hello.WIDEST)),
        ({"key_kind": KeyKind.ECDSA}, Hello.WIDEST, Engine.OPENSSL),
    ],
)
async def test_the_engine_follows_from_the_hello(options: dict[str, Any], hello: Hello, engine: Engine) -> None:
    """One connection each to a server of TLS 1.2 that all of them take."""
    seen, connections = await observed(Script.genuine(exam(), version=V.TLSv1_2), **options)
    assert (seen.outcome, seen.hello, seen.engine, connections) == (Outcome.COMPLETE, hello, engine, 1)


async def test_a_witness_is_asked_alongside_the_browsers_hello() -> None:
    """Both connections are observations; the second one is as programs make them that send requests."""
    async with serve_origin(exam()) as origin:
        endpoint = Endpoint(host=HOST, address=origin.address, witness=(bytes(32),))
        outcome = await probe(endpoint, dialer=DirectDialer())
        assert origin.connections == 2
    usual, witnessed = outcome.observations
    assert (usual.hello, usual.witness, usual.key_proved) == (Hello.BROWSER, None, True)
    assert (witnessed.hello, witnessed.witness is not None, witnessed.key_proved) == (Hello.OPENSSL, True, True)
    assert outcome.single is usual


def test_what_programs_on_ssl_offer() -> None:
    """The hello of `openssl` has the suites, versions and protocols of `ssl`, and asks for nothing that it does not.

    OpenSSL 4, as in `cryptography`, signals secure renegotiation by an extension, older ones by a suite (RFC 5746).
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    theirs = parse_client_hello(outgoing.read()[5:])
    ours = parse_client_hello(OpenSSLHandshake(HOST, hello=Hello.OPENSSL).start()[5:])
    same = ("versions", "alpn", "server_name", "compression_methods")
    assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
    mine, reference = ([suite for suite in each.cipher_suites if suite != 0x00FF] for each in (ours, theirs))
    assert mine == reference
    unlike = {ExtensionType.RENEGOTIATION_INFO, PADDING}
    kinds, reference_kinds = ({kind for kind, _ in each.extensions} - unlike for each in (ours, theirs))
    assert kinds == reference_kinds
    assert not ours.requests_scts


@pytest.mark.parametrize("hello", [Hello.OPENSSL, Hello.WIDEST])
def test_a_small_hello_of_openssl(hello: Hello) -> None:
    """It differs from the usual one by the groups and shares of ML-KEM alone, and fits into one segment."""
    usual, small = (OpenSSLHandshake(HOST, hello=hello, small=small) for small in (False, True))
    mine, less = (parse_client_hello(handshake.start()[5:]) for handshake in (usual, small))
    assert less.cipher_suites == mine.cipher_suites
    assert {kind for kind, _ in less.extensions} - {PADDING} == {kind for kind, _ in mine.extensions}
    assert not {0x11EB, 0x11EC, 0x11ED} & set(less.groups)
    assert len(small.client_hello or b"") < 1460
    assert (small.observation().small_hello, usual.observation().small_hello) == (True, False)
