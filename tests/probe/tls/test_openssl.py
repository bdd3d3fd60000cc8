"""The handshake without I/O: what it sends, what it concludes, and that it ends where it must.

Room: tests of probe. In memory.
"""

from __future__ import annotations

import dataclasses
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing.streams import server_context
from detector_testing.tls_server import Script, ScriptedHandshake
from detector_testing.tls_wire import TLSWireError
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from support.conversations import HOST, ders, exam, output_of, proof
from support.profiles import examples

from detector.model import Observation, Outcome
from detector.probe.tls.engine import server_name
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.openssl import OpenSSLHandshake, shared_context, strict_context
from detector.trust.handshake_signature import KeyProof

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def converse(script: Script, *, chunk: int = 1 << 20, drop_after: int | None = None) -> Observation:
    """Talk to a scripted server until both are silent, its bytes in pieces of `chunk`; then the connection closes.

    With `drop_after`, only so many of the server's bytes arrive.
    """
    client, server = OpenSSLHandshake(HOST), ScriptedHandshake(script)
    to_server, left = client.start(), 1 << 30 if drop_after is None else drop_after
    while to_server and not client.finished:
        try:
            answer = b"".join(server.receive(to_server))
        except TLSWireError:
            break
        answer, to_server = answer[:left], b""
        left -= len(answer)
        for start in range(0, len(answer), chunk):
            to_server += client.receive(answer[start : start + chunk])
    client.connection_closed(Outcome.CLOSED)
    return client.observation()


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_genuine_server_completes(version: ssl.TLSVersion, chunk: int) -> None:
    """A server that holds its key completes, in any chunking, and the chain is what it presented."""
    seen = converse(Script.genuine(exam(), version=version), chunk=chunk)
    assert (seen.outcome, seen.key_proved, proof(seen)) == (Outcome.COMPLETE, True, KeyProof.VALID)
    assert ders(seen) == exam().chain
    assert seen.alert is None
    assert (seen.tls_version, seen.group, seen.alpn) == (
        "TLSv1.3" if version is TLS13 else "TLSv1.2",
        "x25519",
        "http/1.1",
    )


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_a_replayed_chain_is_a_wrong_signature(version: ssl.TLSVersion, chunk: int, key: str) -> None:
    """The genuine chain without its key has an outcome of its own."""
    genuine = exam("rsa") if key == "rsa" else exam()
    seen = converse(Script.replay(genuine.chain, version=version), chunk=chunk)
    assert (seen.outcome, seen.key_proved, proof(seen)) == (Outcome.SIGNATURE_WRONG, False, KeyProof.INVALID)
    assert ders(seen) == genuine.chain


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_signature_of_another_kind_is_wrong(version: ssl.TLSVersion) -> None:
    """An RSA signature with an ECDSA certificate cannot be the presented key's."""
    script = dataclasses.replace(Script.genuine(exam(), version=version), key=exam("rsa").key)
    assert converse(script).outcome is Outcome.SIGNATURE_WRONG


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_an_unparseable_leaf_is_captured_and_its_key_proved(chunk: int) -> None:
    """A leaf OpenSSL refuses is captured, and in TLS 1.3 its signature still counts when the key can be read."""
    leaf = exam().leaf + b"trailing"
    seen = converse(Script.malformed(leaf, key=exam().key), chunk=chunk)
    assert (seen.outcome, seen.key_proved, proof(seen)) == (Outcome.TLS_FAILURE, True, KeyProof.VALID)
    assert ders(seen) == (leaf,)
    assert seen.alert is not None


def test_an_unparseable_leaf_with_another_key_is_a_wrong_signature() -> None:
    """Damage to the certificate does not hide a replay."""
    assert converse(Script.malformed(exam().leaf + b"trailing")).outcome is Outcome.SIGNATURE_WRONG


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("leaf", [b"garbage", b"\x30\x03\x02\x01\x00"])
def test_garbage_for_a_leaf_is_captured(version: ssl.TLSVersion, leaf: bytes) -> None:
    """Bytes that are no certificate at all were still presented."""
    seen = converse(Script.malformed(leaf, version=version))
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.TLS_FAILURE, False, (leaf,))


def test_in_tls_1_2_a_signature_alone_is_no_proof() -> None:
    """A relay can pass a ServerKeyExchange on: without a completed handshake nothing is proved."""
    script = Script.malformed(exam().leaf + b"trailing", key=exam().key, version=TLS12)
    seen = converse(script)
    assert (seen.outcome, seen.key_proved, proof(seen)) == (Outcome.TLS_FAILURE, False, KeyProof.VALID)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_wrong_finished_proves_nothing(version: ssl.TLSVersion) -> None:
    """A handshake that breaks at Finished is not complete, whatever the signature says."""
    seen = converse(dataclasses.replace(Script.genuine(exam(), version=version), corrupt_finished=True))
    assert (seen.outcome, seen.key_proved) == (Outcome.TLS_FAILURE, False)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_padded_chain_is_kept_exactly(version: ssl.TLSVersion) -> None:
    """Duplicates and trailing garbage are part of what was presented."""
    chain = (*exam().chain, exam().leaf, exam().leaf, b"trailing garbage")
    seen = converse(dataclasses.replace(Script.genuine(exam(), version=version), certificates=chain))
    assert ders(seen) == chain
    assert seen.key_proved is (version is TLS13)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_two_hundred_certificates_are_kept(version: ssl.TLSVersion) -> None:
    """A chain beyond OpenSSL's own limit is captured all the same."""
    chain = (*exam().chain, *[exam().chain[-1]] * 198)
    seen = converse(dataclasses.replace(Script.genuine(exam(), version=version), certificates=chain))
    assert ders(seen) == chain


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_giant_message_ends_it(version: ssl.TLSVersion) -> None:
    """A declared 16 MiB are refused when they are declared."""
    seen = converse(Script.giant(size=1000, version=version))
    assert seen.outcome is Outcome.TOO_LARGE


@pytest.mark.parametrize(
    ("script", "outcome", "alert"),
    [
        (Script.alert(40), Outcome.TLS_ALERT, 40),
        (Script.alert(70), Outcome.TLS_ALERT, 70),
        (Script.plain_http(), Outcome.NOT_TLS, None),
        (Script.garbage(), Outcome.NOT_TLS, None),
    ],
)
def test_answers_that_are_no_handshake(script: Script, outcome: Outcome, alert: int | None) -> None:
    """Alerts keep their number; what is not TLS is called that."""
    if outcome is Outcome.NOT_TLS and script.instead is not None:
        script = dataclasses.replace(script, instead=b"\x00" + script.instead)
    seen = converse(script)
    assert (seen.outcome, seen.alert, ders(seen)) == (outcome, alert, ())


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_every_cut_of_the_servers_bytes(version: ssl.TLSVersion) -> None:
    """Wherever the server's bytes end, the seen fit: no proof before the end, and never half a chain."""
    script = Script.genuine(exam(), version=version)
    kinds = set()
    for length in range(0, 2600, 13):
        seen = converse(script, drop_after=length)
        assert ders(seen) in {(), exam().chain}
        assert seen.key_proved is (seen.outcome is Outcome.COMPLETE)
        kinds.add((seen.outcome, bool(ders(seen))))
    assert kinds == {(Outcome.CLOSED, False), (Outcome.CLOSED, True), (Outcome.COMPLETE, True)}


def test_a_retried_hello_is_part_of_the_transcript() -> None:
    """With HelloRetryRequest the first ClientHello counts by its hash; getting it wrong would accuse falsely.

    The second one asks for what the first asked for (RFC 8446 section 4.1.2); servers compare.
    """
    context = server_context(exam(), min_version=TLS13, ocsp_response=bytes.fromhex("30030a0106"))
    context.set_tmp_ecdh(ec.SECP384R1())
    server = SSL.Connection(context, None)
    server.set_accept_state()
    client = OpenSSLHandshake(HOST)
    to_server = client.start()
    while to_server and not client.finished:
        server.bio_write(to_server)
        with pytest.raises(SSL.WantReadError):
            server.do_handshake()
        to_server = client.receive(output_of(server))
    seen = client.observation()
    assert (seen.outcome, proof(seen), seen.group) == (Outcome.COMPLETE, KeyProof.VALID, "secp384r1")
    assert [parse_client_hello(hello).requests_scts for hello in client._wire.client_hellos] == [True, True]
    assert (seen.ocsp_response, seen.scts_carried) == (bytes.fromhex("30030a0106"), True)


@pytest.mark.parametrize(("version", "withheld"), [(TLS12, 4), (TLS13, 10)])
def test_a_wrong_signature_needs_no_more(version: ssl.TLSVersion, withheld: int) -> None:
    """Once the signature is known to be wrong, nothing behind it is waited for."""
    client, server = OpenSSLHandshake(HOST), ScriptedHandshake(Script.replay(exam().chain, version=version))
    answer = b"".join(server.receive(client.start()))
    client.receive(answer[:-withheld])
    assert client.finished
    assert client.observation().outcome is Outcome.SIGNATURE_WRONG


def test_a_certificate_seen_before_the_end_is_reported() -> None:
    """Facts can be taken at any time; what is missing is missing."""
    client, server = OpenSSLHandshake(HOST), ScriptedHandshake(Script.genuine(exam(), version=TLS12))
    answer = b"".join(server.receive(client.start()))
    client.receive(answer[:-60])
    seen = client.observation(Outcome.DEADLINE)
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.DEADLINE, False, exam().chain)


@settings(max_examples=examples(80))
@given(raw=st.lists(st.binary(max_size=200), max_size=4), framed=st.booleans())
def test_nothing_raises(raw: list[bytes], framed: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    """No bytes of a server make a handshake raise or complete."""
    client = OpenSSLHandshake(HOST)
    client.start()
    for piece in raw:
        client.receive(b"\x16\x03\x03" + len(piece).to_bytes(2, "big") + piece if framed else piece)
    client.connection_closed(Outcome.CLOSED)
    assert not client.observation().key_proved


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("exam.example.edu", b"exam.example.edu"),
        ("exam.example.edu.", b"exam.example.edu"),
        ("Exam.EXAMPLE.edu", b"exam.example.edu"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("192.0.2.7", None),
        ("2001:db8::7", None),
        ("[2001:db8::7]", None),
        ("fe80::1%eth0", None),
        ("", None),
        ("a" * 300, None),
        ("a\x00b", None),
        ("ü" * 80, None),
    ],
)
def test_server_names(host: str, name: bytes | None) -> None:
    """Literals are never sent as SNI, and what no name can be is left out."""
    assert server_name(host) == name


def test_one_context_serves_all() -> None:
    """Building a context per connection would cost more than some handshakes."""
    assert shared_context() is shared_context()


def test_the_strict_context_offers_nothing_weak() -> None:
    """For connections that will carry data: TLS 1.2 and newer, forward secrecy, authenticated encryption, no SHA-1."""
    server = ScriptedHandshake(Script.genuine(exam()))
    for _ in server.receive(OpenSSLHandshake(HOST, context=strict_context()).start()):
        pass
    assert server.hello is not None
    assert set(server.hello.versions) <= {TLS12, TLS13}
    gcm_and_chacha = {0x009E, 0x009F, 0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9, 0xCCAA}
    tls13 = {0x1301, 0x1302, 0x1303}
    assert set(server.hello.cipher_suites) - {0x00FF} <= gcm_and_chacha | tls13
    assert strict_context() is strict_context()
