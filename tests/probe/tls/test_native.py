"""The native engine: what a browser would finish it finishes, what a browser would refuse it refuses, and says so.

Room: tests of probe. OpenSSL in memory is the server that follows the standards, the scripted one breaks them; sockets
on loopback are opened in the last part only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing import serve_middlebox, tls_wire
from detector_testing.streams import server_context
from detector_testing.tls_server import (
    Compression,
    Group,
    Script,
    ScriptedHandshake,
    Step,
    compressed_certificate,
    serve_script,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from support.conversations import HOST, at, ders, exam, pki, proof
from support.odd_keys import ml_dsa_key, withhold_ml_dsa

from detector.model import Endpoint, Engine, Hello, Outcome
from detector.probe import DirectDialer, ProxyDialer, parse_proxy, probe
from detector.probe.tls import native
from detector.probe.tls.codepoints import CIPHER_SUITES, TLS_1_2_SUITES, ExtensionType
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.native import NativeHandshake
from detector.trust.handshake_signature import KeyProof

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector_testing import Issued
    from detector_testing.pki import KeyKind

    from detector.model import Observation

V = ssl.TLSVersion
KINDS: tuple[KeyKind, ...] = ("ec", "ec384", "rsa", "rsa3072")
BROWSERS: Final = (Hello.BROWSER, Hello.FIREFOX, Hello.READABLE)
CURVES: Final[dict[str, ec.SECP256R1 | ec.SECP384R1 | None]] = {
    "secp256r1": ec.SECP256R1(),
    "secp384r1": ec.SECP384R1(),
    "x25519": None,
}
NO_EXTENDED_MASTER_SECRET: Final = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET (OpenSSL, ssl.h)
DIFFERENTIAL = (sys.executable, "-m", "evaluation.engine_differential")


def talk(engine: NativeHandshake, serving: Issued | SSL.Context) -> tuple[Observation, SSL.Connection]:
    """Let the engine meet OpenSSL's own server in memory."""
    server = SSL.Connection(serving if isinstance(serving, SSL.Context) else server_context(serving), None)
    server.set_accept_state()
    to_server = engine.start()
    while to_server:
        server.bio_write(to_server)
        with contextlib.suppress(SSL.Error):  # there may be an alert to read, which says so
            server.do_handshake()
        try:
            answer = server.bio_read(1 << 16)
        except SSL.WantReadError:
            break
        to_server = b"" if engine.finished else engine.receive(answer)
    return engine.observation(), server


def meet(script: Script, hello: Hello = Hello.BROWSER, chunk: int = 1 << 20) -> NativeHandshake:
    """Let the engine meet a scripted server, whose bytes come in chunks."""
    engine, server = NativeHandshake(HOST, hello=hello), ScriptedHandshake(script)
    to_server = engine.start()
    while to_server and not engine.finished:
        answer = b"".join(_answers(server, to_server))
        to_server = b""
        for place in range(0, len(answer), chunk):
            to_server += engine.receive(answer[place : place + chunk])
    engine.connection_closed(Outcome.CLOSED)
    return engine


def _answers(server: ScriptedHandshake, data: bytes) -> Iterator[bytes]:
    try:
        yield from server.receive(data)
    except tls_wire.TLSWireError as error:
        yield tls_wire.alert_record(error.alert)


def is_complete(server: SSL.Connection) -> bool:
    """Whether the server finished the handshake, too."""
    return server.get_state_string() == b"SSL negotiation finished successfully"


# What a browser finishes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
@pytest.mark.parametrize("hello", BROWSERS)
def test_tls_1_3(hello: Hello, kind: KeyKind, suite: str) -> None:
    """Every suite of TLS 1.3 with every kind of key that browsers take."""
    context = server_context(exam(kind), min_version=V.TLSv1_3, alpn=("h2",))
    context.set_tls13_ciphersuites(suite.encode())
    seen, server = talk(NativeHandshake(HOST, hello=hello), context)
    assert (seen.outcome, seen.key_proved, proof(seen)) == (Outcome.COMPLETE, True, KeyProof.VALID)
    assert (seen.tls_version, seen.cipher, seen.alpn, seen.hello) == ("TLSv1.3", suite, "h2", hello)
    assert (seen.engine, seen.small_hello, ders(seen)) == (Engine.NATIVE, False, exam(kind).chain)
    assert is_complete(server)


OPENSSL_NAMES: Final = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
    0xC009: "ECDHE-ECDSA-AES128-SHA",
    0xC00A: "ECDHE-ECDSA-AES256-SHA",
    0xC013: "ECDHE-RSA-AES128-SHA",
    0xC014: "ECDHE-RSA-AES256-SHA",
    0x009C: "AES128-GCM-SHA256",
    0x009D: "AES256-GCM-SHA384",
    0x002F: "AES128-SHA",
    0x0035: "AES256-SHA",
}
"""The suites below TLS 1.3 that are spoken."""


def offers(hello: Hello, suite: int) -> bool:
    """Whether a hello offers a cipher suite."""
    return suite in parse_client_hello(NativeHandshake(HOST, hello=hello).start()[5:]).cipher_suites


def old_context(suite: int, kind: KeyKind, group: str, options: int) -> SSL.Context:
    """A server of TLS 1.2 with one suite."""
    context = server_context(
        exam(kind), min_version=V.TLSv1_2, max_version=V.TLSv1_2, ciphers=OPENSSL_NAMES[suite], alpn=("http/1.1",)
    )
    if (curve := CURVES[group]) is not None:
        context.set_tmp_ecdh(curve)
    context.set_options(options)
    return context


@settings(max_examples=60)
@given(
    suite=st.sampled_from(sorted(OPENSSL_NAMES)),
    hello=st.sampled_from(BROWSERS),
    group=st.sampled_from(sorted(CURVES)),
    options=st.sampled_from([0, SSL.OP_NO_TICKET, NO_EXTENDED_MASTER_SECRET]),
    asks=st.booleans(),
)
def test_tls_1_2(suite: int, hello: Hello, group: str, options: int, *, asks: bool) -> None:
    """Whatever a server of TLS 1.2 chooses of what was offered is finished, with both secrets, ticket or not."""
    parameters = TLS_1_2_SUITES[suite]
    kind: KeyKind = "ec" if parameters.is_ecdsa else "rsa"
    context = old_context(suite, kind, group, options)
    if asks:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    engine = NativeHandshake(HOST, hello=hello)
    seen, server = talk(engine, context)
    if not offers(hello, suite):
        assert (seen.outcome, seen.alert, engine.needs_wider_hello) == (Outcome.TLS_ALERT, 40, True)
        return
    assert (seen.outcome, seen.key_proved) == (Outcome.COMPLETE, True), engine.refusal
    assert (seen.tls_version, seen.cipher, seen.alpn) == ("TLSv1.2", CIPHER_SUITES[suite], "http/1.1")
    assert seen.group == (group if parameters.is_ecdhe else None)
    assert (ders(seen), proof(seen) is KeyProof.VALID) == (exam(kind).chain, parameters.is_ecdhe)
    assert is_complete(server)
    server.bio_write(engine.closing_bytes())
    with pytest.raises(SSL.ZeroReturnError):
        server.recv(1)


def test_every_offered_suite_is_spoken() -> None:
    """No suite that a profile offers is missing here: a server could choose it."""
    for hello in BROWSERS:
        offered = set(parse_client_hello(NativeHandshake(HOST, hello=hello).start()[5:]).cipher_suites)
        assert {suite for suite in offered if suite in CIPHER_SUITES and suite >> 8 != 0x13} <= set(TLS_1_2_SUITES)


@pytest.mark.parametrize(
    ("group", "hello"), [("secp256r1", Hello.BROWSER), *(("secp384r1", each) for each in BROWSERS)]
)
def test_another_group_is_agreed_on_with_the_same_hello(group: str, hello: Hello) -> None:
    """A HelloRetryRequest is answered on the same connection (RFC 8446 sections 4.1.2 and 4.1.4)."""
    context = server_context(exam("ec"), min_version=V.TLSv1_3)
    if (curve := CURVES[group]) is not None:
        context.set_tmp_ecdh(curve)
    engine = NativeHandshake(HOST, hello=hello)
    seen, server = talk(engine, context)
    assert (seen.outcome, seen.key_proved, seen.group, seen.attempts) == (Outcome.COMPLETE, True, group, 1)
    assert is_complete(server)
    first, second = map(parse_client_hello, engine._wire.client_hellos)
    same = ("random", "session_id", "cipher_suites", "groups", "alpn", "versions", "server_name")
    assert [getattr(first, name) for name in same] == [getattr(second, name) for name in same]
    changed = {kind for kind, body in second.extensions if (kind, body) not in first.extensions}
    assert changed == {ExtensionType.KEY_SHARE}


@pytest.mark.parametrize("hello", BROWSERS)
@pytest.mark.parametrize("group", [Group.X25519, Group.SECP256R1, Group.SECP384R1])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_a_cookie_is_returned(hello: Hello, group: Group, chunk: int) -> None:
    """Alone, or with another group (RFC 8446 section 4.2.2)."""
    engine = meet(dataclasses.replace(Script.genuine(exam("ec")), cookie=b"cookie", group=group), hello, chunk)
    assert (engine.observation().outcome, engine.key_proved) == (Outcome.COMPLETE, True)
    second = dict(parse_client_hello(engine._wire.client_hellos[1]).extensions)
    assert second[ExtensionType.COOKIE] == tls_wire.vector(b"cookie", 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hello", BROWSERS)
@pytest.mark.parametrize("algorithm", list(Compression))
def test_a_compressed_chain_is_read(hello: Hello, kind: KeyKind, algorithm: Compression) -> None:
    """RFC 8879; a server compresses with what the hello offers only."""
    engine = meet(dataclasses.replace(Script.genuine(exam(kind)), compression=algorithm), hello)
    assert (engine.observation().outcome, engine.key_proved, ders(engine.observation())) == (
        Outcome.COMPLETE,
        True,
        exam(kind).chain,
    )


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("required", [False, True])
def test_a_request_for_a_certificate_is_answered(version: ssl.TLSVersion, *, required: bool) -> None:
    """With none. A server that insists refuses in TLS 1.2 before its Finished, in TLS 1.3 after it."""
    context = server_context(exam("ec"), min_version=version, max_version=version)
    context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0), lambda *_: True)
    seen, server = talk(NativeHandshake(HOST), context)
    refused = required and version is V.TLSv1_2
    assert seen.outcome is (Outcome.TLS_ALERT if refused else Outcome.COMPLETE)
    assert (seen.key_proved, ders(seen)) == (not refused, exam("ec").chain)
    assert is_complete(server) is not required


def test_application_settings_are_answered() -> None:
    """A server that has settings for HTTP/2 waits for ours (draft-vvv-tls-alps section 4), before our Finished."""

    class WithSettings(ScriptedHandshake):
        def _alpn_extension(self, hello: tls_wire.ClientHello) -> bytes:
            return super()._alpn_extension(hello) + tls_wire.extension(ExtensionType.APPLICATION_SETTINGS, b"abc")

        def _receive_message(self, whole: bytes) -> Iterator[bytes]:
            if whole[0] == tls_wire.HandshakeType.ENCRYPTED_EXTENSIONS:
                self.answer = whole
                self._transcript += whole
                return
            yield from super()._receive_message(whole)

    engine = NativeHandshake(HOST)
    server = WithSettings(dataclasses.replace(Script.genuine(exam("ec")), alpn=b"h2"))
    answer = engine.receive(b"".join(server.receive(engine.start())))
    list(server.receive(answer))
    assert engine.observation().outcome is Outcome.COMPLETE
    assert server.answer[4:] == tls_wire.vector(tls_wire.extension(ExtensionType.APPLICATION_SETTINGS, b""), 2)
    assert server.complete


def test_close_notify_is_understood() -> None:
    """The server reads our close_notify under the application keys."""
    engine = NativeHandshake(HOST)
    _, server = talk(engine, exam("ec"))
    assert engine.closing_bytes() == b""  # it went with Finished
    with pytest.raises(SSL.ZeroReturnError):
        server.recv(1)


# Who holds the key


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa"])
def test_a_replayed_chain_is_a_wrong_signature(kind: KeyKind, version: ssl.TLSVersion, chunk: int) -> None:
    """A genuine chain, signed with another key of the same kind."""
    engine = meet(Script.replay(exam(kind).chain, version=version), chunk=chunk)
    seen = engine.observation()
    assert (seen.outcome, seen.key_proved, seen.alert) == (Outcome.SIGNATURE_WRONG, False, 51)
    assert ders(seen) == exam(kind).chain
    assert not engine.needs_wider_hello


def test_a_replayed_chain_cannot_decrypt() -> None:
    """With RSA key exchange Finished alone proves the key, and a server without the key has no right one."""
    replay = dataclasses.replace(Script.replay(exam("rsa").chain, version=V.TLSv1_2), encrypts=True)
    seen = meet(replay).observation()
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.TLS_ALERT, False, exam("rsa").chain)

    class Guessing(ScriptedHandshake):
        """Sends its Finished without waiting for ours, or understanding it."""

        def _receive_record(self, content_type: int, header: bytes, fragment: bytes) -> Iterator[bytes]:
            if content_type != tls_wire.ContentType.CHANGE_CIPHER_SPEC:
                yield from super()._receive_record(content_type, header, fragment)
                return
            finished = self._next_write.seal(tls_wire.ContentType.HANDSHAKE, b"\x14\x00\x00\x0c" + bytes(12))  # type: ignore[union-attr] # agreed
            yield tls_wire.record(tls_wire.ContentType.CHANGE_CIPHER_SPEC, b"\x01") + finished

    engine, server = NativeHandshake(HOST), Guessing(replay)
    engine.receive(next(_answers(server, engine.receive(b"".join(server.receive(engine.start()))))))
    seen = engine.observation()
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.TLS_FAILURE, False, exam("rsa").chain)


@pytest.mark.parametrize(
    ("version", "encrypts"), [(V.TLSv1_3, False), (V.TLSv1_2, False), (V.TLSv1_2, True)], ids=["1.3", "ECDHE", "RSA"]
)
def test_a_wrong_finished_proves_nothing(version: ssl.TLSVersion, *, encrypts: bool) -> None:
    """A signature can be another connection's: a relay passes it on."""
    script = Script.genuine(exam("rsa"), version=version)
    engine = meet(dataclasses.replace(script, encrypts=encrypts, corrupt_finished=True))
    seen = engine.observation()
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.TLS_FAILURE, False, exam("rsa").chain)


@pytest.mark.parametrize(
    "behind", [(tls_wire.ContentType.ALERT, b"\x02\x28"), (tls_wire.ContentType.HANDSHAKE, b"\x63\0\0\0")]
)
def test_nothing_behind_a_wrong_signature_excuses_it(behind: tuple[tls_wire.ContentType, bytes]) -> None:
    """An alert or garbage in the same segment does not hide that the presented key did not sign."""

    class Excusing(ScriptedHandshake):
        def _message(self, kind: tls_wire.HandshakeType, body: bytes) -> bytes:
            sealed = super()._message(kind, body)
            return sealed + self._seal(*behind) if kind == tls_wire.HandshakeType.CERTIFICATE_VERIFY else sealed

    engine = NativeHandshake(HOST)
    engine.receive(b"".join(Excusing(Script.replay(exam("ec").chain)).receive(engine.start())))
    assert (engine.observation().outcome, ders(engine.observation())) == (Outcome.SIGNATURE_WRONG, exam("ec").chain)


# What a browser refuses


class Changed(ScriptedHandshake):
    """A server whose ServerHello is changed after it was made, and counts as changed."""

    def __init__(self, script: Script, **changed: bytes) -> None:
        super().__init__(script)
        self._changed = changed
        self._random = changed.get("random", self._random)

    def _server_hello(self, suite: int, extensions: bytes, session_id: bytes, *, random: bytes | None = None) -> bytes:
        changed = self._changed
        if "echo" in changed and self.hello is not None:
            session_id = self.hello.session_id
        suite = int.from_bytes(changed.get("suite", suite.to_bytes(2, "big")), "big")
        return super()._server_hello(suite, extensions + changed.get("extension", b""), session_id, random=random)


def refused(server: ScriptedHandshake) -> NativeHandshake:
    """Let the engine meet a server; it must not complete."""
    engine = NativeHandshake(HOST)
    engine.receive(b"".join(_answers(server, engine.start())))
    engine.connection_closed(Outcome.CLOSED)
    assert engine.observation().outcome is Outcome.TLS_FAILURE
    return engine


@pytest.mark.parametrize(
    "changed",
    [
        {"random": bytes(24) + b"DOWNGRD\x00"},
        {"random": bytes(24) + b"DOWNGRD\x01"},
        {"echo": b"the session id of the client"},
        {"suite": b"\xc0\x09"},
        {"suite": b"\x00\x33"},
        {"suite": b"\x1a\x1a"},
        {"extension": tls_wire.extension(0x1A1A, b"")},
        {"extension": tls_wire.extension(ExtensionType.KEY_SHARE, b"")},
        {"extension": tls_wire.extension(ExtensionType.SESSION_TICKET, b"x")},
        {"extension": tls_wire.extension(ExtensionType.RENEGOTIATION_INFO, b"\x00")},
        {"extension": tls_wire.extension(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, b"\x00\x00")},
    ],
)
def test_an_old_server_hello_that_browsers_refuse(changed: dict[str, bytes]) -> None:
    """The chain was shown all the same; no key is proved, and no other hello takes the place of this one."""
    engine = refused(Changed(Script.genuine(exam("ec"), version=V.TLSv1_2), **changed))
    seen = engine.observation()
    assert engine.refusal
    assert (seen.key_proved, ders(seen), engine.needs_wider_hello) == (False, exam("ec").chain, False)


@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1])
def test_old_versions_are_refused(version: ssl.TLSVersion) -> None:
    """A server that answers in an older version than was offered: its chain is in the clear, and is kept."""
    recorded = server_context(exam("rsa"), min_version=version, max_version=version, ciphers="ALL:@SECLEVEL=0")
    server = SSL.Connection(recorded, None)
    server.set_accept_state()
    engine = NativeHandshake(HOST)
    hello = bytearray(engine.start())
    # Without supported_versions, as a middlebox could cut it out, the server negotiates what it has.
    kind = ExtensionType.SUPPORTED_VERSIONS.to_bytes(2, "big")
    place = hello.index(kind + b"\x00\x07")
    hello[place : place + 2] = b"\xfa\xfa"
    server.bio_write(bytes(hello))
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    engine.receive(server.bio_read(1 << 16))
    seen = engine.observation()
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.TLS_FAILURE, False, exam("rsa").chain)
    assert engine.refusal == f"version 0x03{1 if version is V.TLSv1 else 2:02x} was not offered"


@pytest.mark.parametrize(
    ("script", "outcome", "key_proved"),
    [
        ({"scheme": 0x0401}, Outcome.SIGNATURE_WRONG, False),
        ({"scheme": 0x0708}, Outcome.TLS_FAILURE, False),
        ({"certificates": ()}, Outcome.TLS_FAILURE, False),
        ({"alpn": None, "entry_extensions": (tls_wire.extension(0x1A1A, b""),)}, Outcome.TLS_FAILURE, True),
        ({"stop": Step.ACCEPT}, Outcome.CLOSED, False),
        ({"instead": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, Outcome.NOT_TLS, False),
        ({"instead": bytes.fromhex("15030300020228")}, Outcome.TLS_ALERT, False),
    ],
    ids=["scheme of another key", "scheme", "no certificate", "extension", "closed", "not TLS", "alert"],
)
def test_outcomes(script: dict[str, Any], outcome: Outcome, *, key_proved: bool) -> None:
    """What is refused has an outcome; a key that was proved stays so, whatever a browser thinks of the rest."""
    engine = meet(dataclasses.replace(Script.genuine(exam("ec")), **script))
    assert (engine.observation().outcome, engine.key_proved) == (outcome, key_proved)


def _exponent_as_another_type(leaf: bytes) -> bytes:
    """An RSA key that `load_key` reads leniently and TLS libraries do not: 65537 is no INTEGER in it."""
    exponent = bytes.fromhex("0203010001")
    assert leaf.count(exponent) == 1
    return leaf.replace(exponent, b"\x12" + exponent[1:])


@pytest.mark.parametrize("name", ["trailing byte", "exponent", "key usage"])
def test_a_leaf_that_browsers_refuse(name: str) -> None:
    """It is captured, its key proved, and not completed."""
    whole = exam("rsa").leaf
    usage = bytes.fromhex("0603551d0f0101ff0404030205a0")
    assert whole.count(usage) == 1
    leaf = {
        "trailing byte": whole + b"\x00",
        "exponent": _exponent_as_another_type(whole),
        "key usage": whole.replace(usage, usage[:-1] + b"\x20"),
    }[name]
    seen = meet(Script.malformed(leaf, key=exam("rsa").key)).observation()
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.TLS_FAILURE, True, (leaf,))


@pytest.mark.parametrize(("raw", "completes"), [(1, True), (0, True), (-1, False), (-300, False)])
def test_padding_has_the_limit_of_a_record(raw: int, *, completes: bool) -> None:
    """Zeros behind the content may fill a record to `bytes` below what it holds (RFC 8446 section 5.4), not more."""

    class Padding(ScriptedHandshake):
        def _seal(self, content_type: tls_wire.ContentType, content: bytes) -> bytes:
            if not isinstance(self._write, tls_wire.Protection13):
                return super()._seal(content_type, content)
            room = tls_wire.MAXIMUM_PLAINTEXT - len(content) - raw
            return self._write.seal(content_type, content, padding=room)

    engine = NativeHandshake(HOST)
    engine.receive(b"".join(Padding(Script.genuine(exam("ec"))).receive(engine.start())))
    assert engine.observation().key_proved
    assert (engine.observation().outcome is Outcome.COMPLETE) is completes


@functools.cache
def body_of_certificate() -> bytes:
    """The content of a Certificate message of TLS 1.3."""
    entries = b"".join(tls_wire.vector(der, 3) + b"\x00\x00" for der in exam("ec").chain)
    return b"\x00" + tls_wire.vector(entries, 3)


def compressed(**changed: Any) -> Script:  # noqa: ANN401 - arguments of the compression
    """A server that compresses wrongly."""
    algorithm, body = changed.pop("algorithm", Compression.BROTLI), changed.pop("body", body_of_certificate())
    message = compressed_certificate(algorithm, body, changed.pop("length", None))
    prefix = changed.pop("prefix", message[:2])
    return dataclasses.replace(Script.genuine(exam("ec")), compressed=prefix + message[2:] + changed.pop("more", b""))


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (compressed(), Outcome.COMPLETE),
        (compressed(algorithm=Compression.ZLIB), Outcome.TLS_FAILURE),  # Chrome does not offer it
        (compressed(prefix=b"\x00\x03"), Outcome.TLS_FAILURE),
        (compressed(more=b"\x00"), Outcome.TLS_FAILURE),
        (compressed(length=len(body_of_certificate()) + 1), Outcome.TLS_FAILURE),
        (compressed(length=len(body_of_certificate()) - 1), Outcome.TOO_LARGE),
        (compressed(body=b"garbage"), Outcome.TLS_FAILURE),
        (compressed(body=b""), Outcome.TLS_FAILURE),
        (compressed(body=bytes(1 << 24), length=100), Outcome.TOO_LARGE),
        (compressed(body=bytes(1 << 22), length=(1 << 20) + 1), Outcome.TOO_LARGE),
        (compressed(body=bytes(1 << 22), length=(1 << 24) - 1), Outcome.TOO_LARGE),
    ],
    ids=[
        *("right", "not offered", "unknown", "more", "declares more", "declares less", "no certificates", "nothing"),
        *("bomb that declares little", "bomb that declares more than is taken", "bomb that declares all"),
    ],
)
@pytest.mark.parametrize("chunk", [100, 1 << 20])
def test_wrong_compression_is_typed(script: Script, outcome: Outcome, chunk: int) -> None:
    """Nothing of it raises, and a bomb is `too-large`."""
    seen = meet(script, chunk=chunk).observation()
    assert (seen.outcome, seen.key_proved) == (outcome, outcome is Outcome.COMPLETE)


def test_the_servers_share_is_checked() -> None:
    """A share that is no key, of no known group or of small order agrees on nothing."""
    for share in (b"", b"\x01" * 31, bytes(32), b"\x01" + bytes(31)):
        for version in (V.TLSv1_2, V.TLSv1_3):

            class Broken(ScriptedHandshake):
                def _make_share(self, share: bytes = share) -> bytes:
                    super()._make_share()
                    return share

            engine = refused(Broken(Script.genuine(exam("ec"), version=version)))
            assert ders(engine.observation()) == (exam("ec").chain if version is V.TLSv1_2 else ())


@pytest.mark.parametrize(
    "extensions",
    [
        tls_wire.extension(ExtensionType.SUPPORTED_VERSIONS, b"\x03\x04"),
        tls_wire.extension(ExtensionType.SUPPORTED_VERSIONS, b"\x03\x04")
        + tls_wire.extension(ExtensionType.KEY_SHARE, b"\x00\x1d"),
        tls_wire.extension(ExtensionType.SUPPORTED_VERSIONS, b"\x03\x04")
        + tls_wire.extension(ExtensionType.KEY_SHARE, b"\x00\x19"),
        tls_wire.extension(ExtensionType.SUPPORTED_VERSIONS, b"\x03\x04")
        + tls_wire.extension(ExtensionType.COOKIE, b"\x00\x00"),
        tls_wire.extension(ExtensionType.SUPPORTED_VERSIONS, b"\x03\x04")
        + tls_wire.extension(ExtensionType.COOKIE, b"\x00\x01"),
    ],
    ids=["nothing", "a group that has a share", "a group that was not offered", "an empty cookie", "half a cookie"],
)
def test_a_retry_that_browsers_refuse(extensions: bytes) -> None:
    """RFC 8446 sections 4.1.4 and 4.2.2."""

    class Retrying(ScriptedHandshake):
        def _wants_another(self, hello: tls_wire.ClientHello) -> bool:  # noqa: ARG002 - as the script's
            return True

        def _server_hello(self, suite: int, made: bytes, session_id: bytes, *, random: bytes | None = None) -> bytes:
            return super()._server_hello(suite, extensions if random else made, session_id, random=random)

    assert len(refused(Retrying(Script.genuine(exam("ec"))))._wire.client_hellos) == 1


def test_a_second_retry_is_refused() -> None:
    """One is answered (RFC 8446 section 4.1.4)."""
    engine = NativeHandshake(HOST)
    script = dataclasses.replace(Script.genuine(exam("ec")), cookie=b"cookie")
    retry = b"".join(ScriptedHandshake(script).receive(engine.start()))
    assert engine.receive(retry)
    assert engine.receive(retry) == b""
    assert engine.observation().outcome is Outcome.TLS_FAILURE


# What a `cryptography` built for OpenSSL before 3.5 lacks


def ml_dsa_server(directory: Path, number: int, *, also: bool) -> SSL.Context:
    """A server with an ML-DSA certificate, and with another one if it has two; keys in files, as pyOpenSSL wants it."""
    issued = pki().issue([HOST], key=ml_dsa_key(number))
    (directory / "chain.pem").write_bytes(issued.chain_pem)
    (directory / "key.pem").write_bytes(issued.key_pem)
    context = server_context(exam("ec"), alpn=("h2",)) if also else SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_chain_file(str(directory / "chain.pem"))
    context.use_privatekey_file(str(directory / "key.pem"))
    return context


@pytest.mark.parametrize("number", [44, 65, 87])
def test_an_ml_dsa_key_is_proved(tmp_path: Path, number: int) -> None:
    """Chrome's hello offers ML-DSA, so a server with such a certificate presents it."""
    engine = NativeHandshake(HOST)
    seen, server = talk(engine, ml_dsa_server(tmp_path, number, also=False))
    assert (seen.outcome, seen.key_proved, proof(seen)) == (Outcome.COMPLETE, True, KeyProof.VALID)
    assert engine.signature is not None
    assert engine.signature.scheme == {44: 0x0904, 65: 0x0905, 87: 0x0906}[number]
    assert is_complete(server)


def test_a_readable_hello_gets_the_other_certificate(tmp_path: Path) -> None:
    """A server with both sends the one that every client can verify."""
    context = ml_dsa_server(tmp_path, 65, also=True)
    seen, _ = talk(NativeHandshake(HOST, hello=Hello.READABLE), context)
    assert (seen.outcome, seen.key_proved, ders(seen)) == (Outcome.COMPLETE, True, exam("ec").chain)


def test_without_ml_dsa_no_key_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `cryptography` built without it: nothing is claimed, and the chain is kept."""
    context = ml_dsa_server(tmp_path, 65, also=False)
    withhold_ml_dsa(monkeypatch)
    seen, _ = talk(NativeHandshake(HOST), context)
    assert (seen.outcome, proof(seen), seen.key_proved) == (Outcome.TLS_FAILURE, KeyProof.NOT_CHECKABLE, False)
    assert len(seen.chain) == 2


def test_without_ml_kem_the_hello_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Chrome's is where post-quantum key agreement is switched off; the observation says so."""
    monkeypatch.setattr(native, "has_ml_kem", lambda: False)
    seen, _ = talk(NativeHandshake(HOST), exam("ec"))
    assert (seen.outcome, seen.small_hello, seen.group) == (Outcome.COMPLETE, True, "x25519")


@pytest.mark.parametrize("hello", BROWSERS)
def test_a_small_hello_fits_into_one_segment(hello: Hello) -> None:
    """1,460 bytes are what a segment of TCP holds over IPv4 on Ethernet (RFC 879, MTU 1500)."""
    small, usual = NativeHandshake(HOST, hello=hello, small=True), NativeHandshake(HOST, hello=hello)
    assert len(small.start()) <= 1460 < len(usual.start())
    assert (small.observation().small_hello, usual.observation().small_hello) == (True, False)


# Whatever a server sends


@given(st.binary(max_size=300))
def test_any_bytes_from_a_server(data: bytes) -> None:
    """Nothing raises, and nothing is ever complete."""
    engine = NativeHandshake(HOST)
    engine.start()
    engine.receive(data)
    engine.connection_closed(Outcome.CLOSED)
    assert engine.finished
    assert engine.observation().outcome is not Outcome.COMPLETE
    engine.closing_bytes()


@given(
    version=st.sampled_from([V.TLSv1_2, V.TLSv1_3]),
    encrypts=st.booleans(),
    cookie=st.sampled_from([None, b"cookie"]),
    damage=st.binary(min_size=1, max_size=4),
    place=st.integers(0, 4000),
)
def test_a_damaged_flight(
    version: ssl.TLSVersion, damage: bytes, place: int, *, encrypts: bool, cookie: bytes | None
) -> None:
    """Damage anywhere on the wire is an outcome; the key is proved only by a handshake that was not damaged."""
    script = Script.genuine(exam("rsa"), version=version)
    server = ScriptedHandshake(dataclasses.replace(script, encrypts=encrypts, cookie=cookie))
    engine = NativeHandshake(HOST)
    to_server, sent = engine.start(), 0
    while to_server and not engine.finished:
        answer = b"".join(_answers(server, to_server))
        if sent <= place < sent + len(answer):
            at_place = place - sent
            answer = answer[:at_place] + damage + answer[at_place + len(damage) :]
        sent += len(answer)
        to_server = engine.receive(answer)
    engine.connection_closed(Outcome.CLOSED)
    seen = engine.observation()
    assert seen.key_proved is (seen.outcome is Outcome.COMPLETE)
    assert not seen.key_proved or ders(seen) == exam("rsa").chain


@given(extension=st.binary(max_size=12), kind=st.sampled_from(list(ExtensionType)), old=st.booleans())
def test_no_extension_of_a_server_raises(extension: bytes, kind: ExtensionType, *, old: bool) -> None:
    """In ServerHello of TLS 1.2 and in EncryptedExtensions: an outcome, and the whole chain."""

    class Extended(ScriptedHandshake):
        def _alpn_extension(self, hello: tls_wire.ClientHello) -> bytes:
            return super()._alpn_extension(hello) + tls_wire.extension(kind, extension)

    engine = NativeHandshake(HOST)
    server = Extended(Script.genuine(exam("ec"), version=V.TLSv1_2 if old else V.TLSv1_3))
    answer = engine.receive(b"".join(server.receive(engine.start())))
    if answer and not engine.finished:
        engine.receive(b"".join(_answers(server, answer)))
    engine.connection_closed(Outcome.CLOSED)
    assert engine.observation().outcome in {Outcome.COMPLETE, Outcome.TLS_FAILURE, Outcome.TLS_ALERT}


# On sockets


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("leaf_key", ["ec", "rsa"])
async def test_an_interceptor_is_seen(leaf_key: KeyKind, version: ssl.TLSVersion) -> None:
    """A middlebox that forges is met with a browser's hello, whatever version it speaks, and proves its key."""
    async with serve_middlebox(
        pki().private_ca("Filter CA"), upstream={(HOST, 443): ("127.0.0.1", 9)}, leaf_key=leaf_key, max_version=version
    ) as box:
        endpoint = Endpoint(host=HOST)
        seen = (await probe(endpoint, dialer=ProxyDialer(parse_proxy(f"http://127.0.0.1:{box.port}")))).single
    assert (seen.outcome, seen.key_proved, seen.hello, seen.attempts) == (Outcome.COMPLETE, True, Hello.BROWSER, 1)
    assert ders(seen)[0] != exam("ec").leaf


async def test_a_probe_logs_what_it_does(caplog: pytest.LogCaptureFixture) -> None:
    """Its route and its handshake, and nothing else."""
    caplog.set_level("DEBUG", logger="detector.probe")
    async with serve_script(Script.genuine(exam("ec"), version=V.TLSv1_2)) as server:
        await probe(at(server.address), dialer=DirectDialer())
    assert [record.getMessage() for record in caplog.records if record.name == "detector.probe"] == [
        f"{HOST}:443: dialing (direct)",
        f"{HOST}:443: handshake (native): complete",
    ]


def test_engines_agree_on_broken_servers() -> None:
    """A few hundred mutated servers, met by BoringSSL and by us; the script plays any number."""
    done = subprocess.run(  # noqa: S603 - no shell, and the program is a part of this repository
        [*DIFFERENTIAL, "--flights", "600", "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "600 flights, 0 unexplained differences" in done.stdout
    complete = {line.split()[2]: int(line.split()[0]) for line in done.stdout.splitlines() if " complete, " in line}
    assert complete["TLSv1.3"] > 40
    assert complete["TLSv1.2"] > 15  # the unbroken ones at least


@pytest.mark.parametrize("given", [["--flights", "0"], ["--flights", "many"]])
def test_bad_usage_is_exit_2(given: list[str]) -> None:
    """A sentence, and no traceback."""
    done = subprocess.run(  # noqa: S603 - no shell, and the program is a part of this repository
        [*DIFFERENTIAL, *given], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_what_is_rarely_needed_is_not_loaded() -> None:
    """A handshake of TLS 1.3 needs neither OpenSSL nor TLS 1.2 nor brotli, whose imports take longer than a probe."""
    code = (
        "import sys, detector.probe.tls.native as n; n.prepare();"
        "sys.exit(str({'OpenSSL', 'utls', 'brotli', 'detector.probe.tls.tls12'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own code
    assert done.stderr.strip() == ""
