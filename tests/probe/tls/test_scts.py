"""SCT lists of the TLS extension and stapled OCSP responses: asked for by both engines, read alike, the leaf's only.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography.x509 import ocsp
from detector_testing import serve_origin
from detector_testing import tls_wire as tls
from detector_testing.quic import serve_quic
from detector_testing.tls_server import Script, ScriptedHandshake, Step, serve_script
from detector_testing.tls_wire import Extension
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from support.conversations import HOST, at, ders, exam, pki

from detector.model import Endpoint, Engine, Hello, KeyKind, Outcome, encode
from detector.probe import DirectDialer, probe
from detector.probe.tls import openssl
from detector.probe.tls.codepoints import ExtensionType
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.openssl import CIPHERS, OpenSSLHandshake, shared_context, strict_context
from detector.probe.tls.wire import OCSP_RESPONSE_BYTES_MAX, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.model import Observation

V = ssl.TLSVersion
both_versions = pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
SCTS = bytes.fromhex("000600040a0b0c0d")
"""A SignedCertificateTimestampList of one entry; the probe passes it on unread."""


RESPONSE = bytes.fromhex("30030a0106")
"""An OCSPResponse that says no more than that it cannot say: unauthorized (RFC 6960 section 4.2.1)."""


class Carried(NamedTuple):
    """What an observation says of what came for the leaf outside of the certificate."""

    sct_list: bytes | None
    ocsp_response: bytes | None
    scts_carried: bool


def carried_by(seen: Observation) -> Carried:
    return Carried(seen.sct_list, seen.ocsp_response, seen.scts_carried)


async def probes(script: Script) -> tuple[Observation, Observation]:
    """Probe with a browser's hello and with OpenSSL's; what comes for the leaf must be the same."""
    async with serve_script(script) as server:
        taken, alone = [
            (await probe(at(server.address), dialer=DirectDialer(), hello=hello)).single
            for hello in (Hello.BROWSER, Hello.WIDEST)
        ]
    assert (taken.chain, carried_by(taken)) == (alone.chain, carried_by(alone))
    return taken, alone


@both_versions
async def test_both_engines_keep_what_comes_for_the_leaf(version: ssl.TLSVersion) -> None:
    """In CertificateEntry or in ServerHello and CertificateStatus: byte for byte, and asked for."""
    stapled = pki().intermediate_ec.ocsp_response(exam().leaf)
    script = Script.genuine(exam(), version=version, sct_list=SCTS, ocsp_response=stapled)
    taken, alone = await probes(script)
    assert carried_by(taken) == carried_by(alone) == Carried(script.sct_list, script.ocsp_response, scts_carried=True)
    assert (taken.outcome, taken.key_proved, ders(taken)) == (Outcome.COMPLETE, True, exam().chain)
    assert (taken.engine, taken.attempts) == (Engine.NATIVE, 1)  # nothing of this needs a second connection


@both_versions
async def test_a_server_that_has_none_could_have_sent_some(version: ssl.TLSVersion) -> None:
    """Absence counts: it was asked for, and its place has been passed."""
    for seen in await probes(Script.genuine(exam(), version=version)):
        assert carried_by(seen) == Carried(None, None, scts_carried=True)


@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_2, V.TLSv1_3])
async def test_openssl_as_a_server_staples(version: ssl.TLSVersion) -> None:
    """What a common server sends is read, and is the response it was given."""
    issued = exam("rsa")
    stapled = pki().intermediate_rsa.ocsp_response(issued.leaf)
    async with serve_origin(issued, min_version=version, max_version=version, ocsp_response=stapled) as origin:
        seen = (await probe(at(origin.address), dialer=DirectDialer())).single
    assert carried_by(seen) == Carried(None, stapled, scts_carried=True)
    assert ocsp.load_der_ocsp_response(seen.ocsp_response or b"").certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize(
    ("version", "step", "carried"),
    [
        (V.TLSv1_2, Step.SERVER_HELLO, False),
        (V.TLSv1_2, Step.CERTIFICATE, False),  # a CertificateStatus may follow
        (V.TLSv1_2, Step.FLIGHT, True),
        (V.TLSv1_3, Step.SERVER_HELLO, False),
        (V.TLSv1_3, Step.CERTIFICATE, True),
    ],
)
async def test_how_far_it_must_go(version: ssl.TLSVersion, step: Step, carried: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """A connection that ends before their place says nothing of them."""
    script = dataclasses.replace(Script.genuine(exam(), version=version), stop=step)
    for seen in await probes(script):
        assert carried_by(seen) == Carried(None, None, carried)


async def test_a_response_ends_its_wait() -> None:
    """In TLS 1.2 nothing more can come behind CertificateStatus; ServerHello has brought the SCTs before."""
    script = Script.genuine(exam(), version=V.TLSv1_2, sct_list=SCTS, ocsp_response=RESPONSE)
    for seen in await probes(dataclasses.replace(script, stop=Step.CERTIFICATE)):
        assert carried_by(seen) == Carried(script.sct_list, script.ocsp_response, scts_carried=True)


def of(kind: Extension, body: bytes) -> bytes:
    return tls.extension(kind, body)


def status(der: bytes) -> bytes:
    return of(Extension.STATUS_REQUEST, tls.certificate_status(der))


def scts(body: bytes = SCTS) -> bytes:
    return of(Extension.SIGNED_CERTIFICATE_TIMESTAMP, body)


NONCONFORMING: dict[str, tuple[tuple[bytes, ...], bytes | None, bytes | None]] = {
    "for the issuer only": ((b"", scts() + status(RESPONSE)), None, None),
    "for both, the leaf's counts": ((scts(b"\x00\x01\x00"), scts() + status(RESPONSE)), b"\x00\x01\x00", None),
    "SCTs twice": ((scts() + scts(b"\x00\x01\x00"),), SCTS, None),
    "response twice": ((status(RESPONSE) + status(b"\x30\x03\x0a\x01\x00"),), None, RESPONSE),
    "no SCTs in it": ((scts(b""),), b"", None),
    "as much as there can be": ((scts(bytes(65000)),), bytes(65000), None),
    "response of another type": ((of(Extension.STATUS_REQUEST, tls.certificate_status(RESPONSE, 2)),), None, None),
    "response empty": ((status(b""),), None, None),
    "response longer than it says": ((of(Extension.STATUS_REQUEST, b"\x01\x00\x00\x01ab"),), None, None),
    "no response in it": ((of(Extension.STATUS_REQUEST, b""),), None, None),
    "response that is no DER": ((status(b"garbage"),), None, b"garbage"),
    "response and more": ((status(RESPONSE + b"\x00"),), None, RESPONSE + b"\x00"),
}
"""Extensions of each CertificateEntry in TLS 1.3; what is kept of the leaf's."""


@pytest.mark.parametrize(("extensions", "sct_list", "stapled"), NONCONFORMING.values(), ids=NONCONFORMING)
async def test_what_else_comes_in_tls_1_3(
    extensions: tuple[bytes, ...], sct_list: bytes | None, stapled: bytes | None
) -> None:
    """The leaf's own and the first of each count; nothing of it hides the chain or who holds its key."""
    script = dataclasses.replace(Script.genuine(exam()), entry_extensions=extensions)
    for seen in await probes(script):
        assert carried_by(seen) == Carried(sct_list, stapled, scts_carried=True)
        assert (seen.key_proved, ders(seen)) == (True, exam().chain)


ANNOUNCED = of(Extension.STATUS_REQUEST, b"")
TLS_1_2: dict[str, tuple[bytes, tuple[bytes, ...], bytes | None, bytes | None]] = {
    "not announced": (b"", (tls.certificate_status(RESPONSE),), None, RESPONSE),
    "announced, not sent": (ANNOUNCED, (), None, None),
    "twice": (ANNOUNCED, (tls.certificate_status(RESPONSE), tls.certificate_status(b"\x30")), None, RESPONSE),
    "SCTs twice": (scts() + scts(b"\x00\x01\x00"), (), SCTS, None),
    "of another type": (ANNOUNCED, (tls.certificate_status(RESPONSE, 2),), None, None),
    "too short for one": (ANNOUNCED, (b"\x01",), None, None),
    "longer than is kept": (ANNOUNCED, (tls.certificate_status(bytes(OCSP_RESPONSE_BYTES_MAX + 1)),), None, None),
    "as long as is kept": (
        ANNOUNCED,
        (tls.certificate_status(bytes(OCSP_RESPONSE_BYTES_MAX)),),
        None,
        bytes(OCSP_RESPONSE_BYTES_MAX),
    ),
}
"""Extensions of ServerHello and bodies of CertificateStatus; what is kept."""


@pytest.mark.parametrize(("extensions", "statuses", "sct_list", "stapled"), TLS_1_2.values(), ids=TLS_1_2)
async def test_what_else_comes_in_tls_1_2(
    extensions: bytes, statuses: tuple[bytes, ...], sct_list: bytes | None, stapled: bytes | None
) -> None:
    """A response that cannot be one is not there, and could have been; the chain is captured all the same."""
    script = Script.genuine(exam(), version=V.TLSv1_2)
    script = dataclasses.replace(script, entry_extensions=(extensions,), certificate_statuses=statuses)
    for seen in await probes(script):
        assert carried_by(seen) == Carried(sct_list, stapled, scts_carried=True)
        assert ders(seen) == exam().chain


@given(body=st.one_of(st.binary(max_size=8), st.binary(max_size=40).map(tls.certificate_status)))
def test_a_status_is_kept_whole_or_not_at_all(body: bytes) -> None:
    """Whatever a CertificateStatus holds, reading goes on, and only a response as long as it says is kept."""
    script = Script.genuine(exam(), version=V.TLSv1_2)
    server = ScriptedHandshake(dataclasses.replace(script, certificate_statuses=(body,)))
    wire = Wire()
    for flight in server.receive(OpenSSLHandshake(HOST).start()):
        wire.server(flight)
    assert wire.ocsp_response in {None, body[4:]}
    assert (wire.ocsp_response is None) is (tls.certificate_status(body[4:]) != body or not body[4:])
    assert (wire.flight_over, tuple(wire.certificates)) == (True, exam().chain)


@given(extensions=st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(scts)), max_size=3))
def test_no_extension_of_an_entry_raises(extensions: list[bytes]) -> None:
    """Whatever stands there, an outcome comes of it, and it takes no certificate away from what was read before."""
    server = ScriptedHandshake(dataclasses.replace(Script.genuine(exam()), entry_extensions=tuple(extensions)))
    client = OpenSSLHandshake(HOST)
    for flight in server.receive(client.start()):
        client.receive(flight)
    client.connection_closed(Outcome.CLOSED)
    seen = client.observation()
    assert ders(seen) == exam().chain[: len(ders(seen))] != ()
    assert seen.sct_list is None or seen.sct_list in extensions[0]


@pytest.mark.parametrize(
    "context",
    [shared_context, strict_context, lambda: shared_context(key_kind=KeyKind.RSA)],
    ids=["shared", "strict", "RSA only"],
)
def test_every_hello_of_openssl_asks_for_both(context: Callable[[], SSL.Context]) -> None:
    """The probe, the guard and the witness's client request the same.

    When this fails after an update of pyOpenSSL or cryptography, `_request_scts` needs another call.
    """
    hello = OpenSSLHandshake(HOST, context=context()).start()[5:]
    read = parse_client_hello(hello)
    assert read.requests_scts
    bodies = dict(read.extensions)
    assert bodies[ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP] == b""
    assert bodies[ExtensionType.STATUS_REQUEST] == bytes.fromhex("0100000000")  # ocsp, of any responder, no nonce


@pytest.mark.parametrize("function_only", [False, True])
@pytest.mark.parametrize("unasked", [False, True])
def test_a_binding_that_cannot_ask(unasked: bool, function_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """Where pyOpenSSL has no such call any more, probes go on and say that nothing could be carried.

    What a server sends all the same is kept; OpenSSL refuses it.
    """
    moved = SimpleNamespace(**{name: value for name, value in vars(SSL).items() if name != "_lib"})
    if function_only:
        moved._lib = SimpleNamespace()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(openssl, "SSL", moved)
        context = openssl._client_context(0, CIPHERS)
        openssl._request_scts(context)
    client = OpenSSLHandshake(HOST, context=context)
    script = Script.genuine(exam(), sct_list=SCTS, ocsp_response=RESPONSE)
    server = ScriptedHandshake(dataclasses.replace(script, entry_extensions=(scts(),)) if unasked else script)
    for flight in server.receive(client.start()):
        client.receive(flight)
    seen = client.observation()
    if unasked:
        assert carried_by(seen) == Carried(SCTS, None, scts_carried=False)
        assert (seen.outcome, seen.key_proved) == (Outcome.TLS_FAILURE, True)
    else:
        assert carried_by(seen) == Carried(None, script.ocsp_response, scts_carried=False)
        assert (seen.outcome, seen.key_proved) == (Outcome.COMPLETE, True)


async def test_nothing_is_carried_over_quic() -> None:
    """aioquic's hello asks for neither, so their absence there says nothing."""
    pytest.importorskip("aioquic")
    from detector.probe.quic.client import probe_quic  # noqa: PLC0415 - needs aioquic, an extra

    async with serve_quic(exam()) as server:
        seen = await probe_quic(Endpoint(host=HOST), address=server)
    assert (seen.outcome, carried_by(seen)) == (Outcome.COMPLETE, Carried(None, None, scts_carried=False))


async def test_in_json_they_are_base64() -> None:
    """As all bytes of a report are."""
    seen, _ = await probes(Script.genuine(exam(), sct_list=SCTS, ocsp_response=RESPONSE))
    report = json.loads(encode(seen))
    assert (report["sct_list"], report["scts_carried"]) == (base64.b64encode(SCTS).decode(), True)
    assert base64.b64decode(report["ocsp_response"]) == seen.ocsp_response
