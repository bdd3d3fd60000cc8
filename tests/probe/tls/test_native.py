"""The native engine: its hello is the reference's, both agree on every fact, and it falls back where it must.

Room: tests of probe. Opens sockets on loopback in the last part only. It needs a `cryptography` with ML-KEM, as the
newest versions are; where there is none the engine is not used, and `native` deselects these tests.
"""

from __future__ import annotations

import dataclasses
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing import serve_middlebox, serve_origin, tls_wire
from detector_testing.streams import server_context
from detector_testing.tls_server import Script, ScriptedHandshake, Step, serve_script
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from support.conversations import HOST, at, ders, exam, of_any_connection, pki, proof
from support.odd_keys import ml_dsa_key, withhold_ml_dsa

from detector import Detector
from detector.model import Endpoint, Engine, Hello, Outcome
from detector.probe import DirectDialer, ProxyDialer, parse_proxy, probe
from detector.probe.tls import native
from detector.probe.tls.codepoints import ExtensionType
from detector.probe.tls.engine import ALPN_PROTOCOLS
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.native import NativeHandshake
from detector.probe.tls.openssl import OpenSSLHandshake
from detector.trust.handshake_signature import KeyProof

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World
    from detector_testing import Issued
    from detector_testing.pki import KeyKind

    from detector.model import Observation
    from detector.probe import Dialer
    from detector.probe.tls.engine import ClientHandshake

pytestmark = pytest.mark.native
KINDS: tuple[KeyKind, ...] = ("ec", "ec384", "rsa", "rsa3072", "ed25519")
DIFFERENTIAL = (sys.executable, "-m", "evaluation.engine_differential")


def hello_of(engine: ClientHandshake) -> bytes:
    """The ClientHello of an engine, without the record's header."""
    return engine.start()[5:]


@pytest.mark.parametrize("host", [HOST, "192.0.2.1", "xn--bcher-kva.example", "a" * 60 + ".example"])
@pytest.mark.parametrize("alpn", [ALPN_PROTOCOLS, (b"http/1.1",)])
@pytest.mark.parametrize("profile", [Hello.WIDEST, Hello.READABLE])
def test_hello_is_that_of_the_reference(host: str, alpn: tuple[bytes, ...], profile: Hello) -> None:
    """Byte for byte, but for the random, the session id and the keys: the engines cannot be distinguished by it.

    When this fails after an update of cryptography, OpenSSL's hello has changed: update `native`.
    """
    engines: tuple[ClientHandshake, ClientHandshake] = (
        NativeHandshake(host, alpn=alpn, hello=profile),
        OpenSSLHandshake(host, alpn=alpn, hello=profile),
    )
    assert {engine.hello for engine in engines} == {profile}
    ours, theirs = map(hello_of, engines)
    assert len(ours) == len(theirs)
    mine, reference = parse_client_hello(ours), parse_client_hello(theirs)
    assert mine.ja3 == reference.ja3

    def shape(body: bytes) -> list[tuple[int, int]]:
        """Groups and lengths of a key_share extension."""
        found, place = [], 2
        while place < len(body):
            length = int.from_bytes(body[place + 2 : place + 4], "big")
            found.append((int.from_bytes(body[place : place + 2], "big"), length))
            place += 4 + length
        return found

    for (kind, body), (their_kind, their_body) in zip(mine.extensions, reference.extensions, strict=True):
        assert kind == their_kind
        if kind == ExtensionType.KEY_SHARE:
            assert shape(body) == shape(their_body)
        else:
            assert body == their_body
    rest = ("legacy_version", "cipher_suites", "compression_methods", "server_name", "groups", "alpn", "versions")
    assert [getattr(mine, name) for name in rest] == [getattr(reference, name) for name in rest]
    assert len(mine.session_id) == len(reference.session_id) == 32


def test_a_readable_hello_offers_nothing_else() -> None:
    """No scheme that some supported `cryptography` cannot verify, and all others that the default hello offers."""
    schemes = {
        profile: signature_schemes(hello_of(NativeHandshake(HOST, hello=profile)))
        for profile in (Hello.WIDEST, Hello.READABLE)
    }
    of_some_only = {0x0904, 0x0905, 0x0906, 0x081A, 0x081B, 0x081C, 0x0708}  # ML-DSA, RFC 8734, SM2
    assert schemes[Hello.READABLE] == [scheme for scheme in schemes[Hello.WIDEST] if scheme not in of_some_only]


def signature_schemes(hello: bytes) -> list[int]:
    """What the signature_algorithms extension offers, in its order."""
    body = dict(parse_client_hello(hello).extensions)[13]
    return [int.from_bytes(body[at : at + 2], "big") for at in range(2, len(body), 2)]


def test_nothing_random_is_used_twice() -> None:
    """Random, session id and keys are new in every hello."""
    one, two = parse_client_hello(hello_of(NativeHandshake(HOST))), parse_client_hello(hello_of(NativeHandshake(HOST)))
    assert one.random != two.random
    assert one.session_id != two.session_id
    shares = [dict(hello.extensions)[ExtensionType.KEY_SHARE] for hello in (one, two)]
    assert shares[0][6:38] != shares[1][6:38]
    assert shares[0][-32:] != shares[1][-32:]


def talk(
    engine: ClientHandshake, serving: Issued | SSL.Context, *, suites: str | None = None
) -> tuple[Observation, SSL.Connection]:
    """Let an engine meet OpenSSL's own server in memory."""
    if isinstance(serving, SSL.Context):
        context = serving
    else:
        context = server_context(serving, min_version=ssl.TLSVersion.TLSv1_3)
    if suites is not None:
        context.set_tls13_ciphersuites(suites.encode())
    server = SSL.Connection(context, None)
    server.set_accept_state()
    to_server = engine.start()
    while to_server:
        server.bio_write(to_server)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            break
        to_server = engine.receive(server.bio_read(1 << 16)) if not engine.finished else b""
    return engine.observation(), server


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_every_fact_is_that_of_the_reference(kind: KeyKind, suite: str) -> None:
    """Whatever the server's key and the suite: both engines complete and report the same."""
    engine = NativeHandshake(HOST)
    mine, server = talk(engine, exam(kind), suites=suite)
    theirs, _ = talk(OpenSSLHandshake(HOST), exam(kind), suites=suite)
    assert (mine.outcome, mine.key_proved, engine.fallback_reason is not None) == (Outcome.COMPLETE, True, False)
    assert of_any_connection(mine) == of_any_connection(theirs)
    assert mine.cipher == suite
    assert server.get_state_string() == b"SSL negotiation finished successfully"


def test_close_notify_is_understood() -> None:
    """The server reads our close_notify under the application keys."""
    engine = NativeHandshake(HOST)
    _, server = talk(engine, exam("ec"))
    assert engine.closing_bytes() == b""  # it went with Finished
    with pytest.raises(SSL.ZeroReturnError):
        server.recv(1)


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
async def test_replayed_chain_is_a_wrong_signature(kind: KeyKind) -> None:
    """A genuine chain, signed with another key of the same kind: seen at once, and no other engine is asked."""
    async with serve_script(Script.replay(exam(kind).chain)) as server:
        observation = (await probe(at(server.address), dialer=DirectDialer())).single
        await server.settled()
    assert (observation.outcome, observation.key_proved) == (Outcome.SIGNATURE_WRONG, False)
    assert ders(observation) == exam(kind).chain
    assert (server.connections, observation.attempts, server.alerts) == (1, 1, [51])


@pytest.mark.parametrize(
    ("script", "falls_back"),
    [
        ({}, False),
        ({"version": ssl.TLSVersion.TLSv1_2}, True),
        ({"corrupt_finished": True}, True),
        ({"scheme": 0x0708}, True),
        ({"certificates": ()}, True),
        ({"stop": Step.ACCEPT}, False),
        ({"instead": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, False),
        ({"instead": bytes.fromhex("15030300020228")}, False),
    ],
    ids=["regular", "TLS 1.2", "Finished", "scheme", "no certificate", "closed", "not TLS", "alert"],
)
async def test_what_needs_the_fallback(script: dict[str, object], falls_back: bool) -> None:  # noqa: FBT001 - a table
    """Another version and everything nonconforming goes to OpenSSL, on a connection of its own, with its answer."""
    played = dataclasses.replace(Script.genuine(exam("ec")), **script)  # type: ignore[arg-type] # a table
    async with serve_script(played) as server:
        mine = (await probe(at(server.address), dialer=DirectDialer(), engine=Engine.NATIVE)).single
        alone = (await probe(at(server.address), dialer=DirectDialer(), engine=Engine.OPENSSL)).single
        before = server.connections
        both = (await probe(at(server.address), dialer=DirectDialer())).single
        assert server.connections - before == both.attempts == alone.attempts + falls_back
    assert (both.outcome, both.key_proved, both.alert) == (alone.outcome, alone.key_proved, alone.alert)
    if not falls_back:
        assert mine.outcome is alone.outcome


def _exponent_as_another_type(leaf: bytes) -> bytes:
    """An RSA key that `load_key` reads leniently and OpenSSL does not: 65537 is no INTEGER in it."""
    exponent = bytes.fromhex("0203010001")
    assert leaf.count(exponent) == 1
    return leaf.replace(exponent, b"\x12" + exponent[1:])


@pytest.mark.parametrize(
    "broken", [lambda leaf: leaf + b"\x00", _exponent_as_another_type], ids=["trailing byte", "exponent"]
)
def test_a_leaf_that_only_we_read_needs_the_fallback(broken: Callable[[bytes], bytes]) -> None:
    """What OpenSSL refuses is not completed here, though its key is proved: the reference has the last word."""
    leaf = broken(exam("rsa").leaf)
    engine = NativeHandshake(HOST)
    server = ScriptedHandshake(Script.malformed(leaf, key=exam("rsa").key))
    for flight in server.receive(engine.start()):
        engine.receive(flight)
    facts = engine.observation()
    assert engine.fallback_reason
    assert (facts.outcome, facts.key_proved, ders(facts)) == (Outcome.TLS_FAILURE, True, (leaf,))


@pytest.mark.parametrize(("raw", "falls_back"), [(1, False), (0, False), (-1, True), (-300, True)])
def test_padding_has_the_limit_of_a_record(raw: int, falls_back: bool) -> None:  # noqa: FBT001 - a table
    """Zeros behind the content may fill a record to `bytes` below what it holds (RFC 8446 section 5.4), not more."""

    class Padding(ScriptedHandshake):
        def _seal(self, content_type: tls_wire.ContentType, content: bytes) -> bytes:
            if not isinstance(self._write, tls_wire.Protection13):
                return super()._seal(content_type, content)
            room = tls_wire.MAXIMUM_PLAINTEXT - len(content) - raw
            return self._write.seal(content_type, content, padding=room)

    engine = NativeHandshake(HOST)
    for flight in Padding(Script.genuine(exam("ec"))).receive(engine.start()):
        engine.receive(flight)
    assert engine.observation().key_proved
    assert (engine.fallback_reason is not None) is falls_back


async def both(endpoint: Endpoint, dialer: Dialer) -> tuple[Observation, Observation]:
    """A probe with the native engine first, and with OpenSSL alone."""
    return (await probe(endpoint, dialer=dialer)).single, (
        await probe(endpoint, dialer=dialer, engine=Engine.OPENSSL)
    ).single


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", KINDS)
async def test_observations_of_an_origin_are_equal(kind: KeyKind, version: ssl.TLSVersion) -> None:
    """Whatever the key and the version: an observation is the same but for what is of one connection only."""
    async with serve_origin(exam(kind), min_version=version, max_version=version, alpn=("h2", "http/1.1")) as origin:
        mine, theirs = await both(at(origin.address), DirectDialer())
    assert of_any_connection(mine) == of_any_connection(theirs)
    assert mine.key_proved
    new = version is ssl.TLSVersion.TLSv1_3
    assert (mine.attempts, mine.engine) == ((1, Engine.NATIVE) if new else (2, Engine.OPENSSL))
    assert (theirs.attempts, theirs.engine) == (1, Engine.OPENSSL)


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
@pytest.mark.parametrize("also", [False, True], ids=["alone", "with an EC certificate"])
def test_an_ml_dsa_key_is_proved(tmp_path: Path, number: int, *, also: bool) -> None:
    """The hello offers ML-DSA, so a server with such a certificate presents it: the key is proved by both engines."""
    context = ml_dsa_server(tmp_path, number, also=also)
    engine = NativeHandshake(HOST)
    mine, server = talk(engine, context)
    theirs, _ = talk(OpenSSLHandshake(HOST), context)
    assert (mine.outcome, mine.key_proved, proof(mine), engine.fallback_reason is not None) == (
        Outcome.COMPLETE,
        True,
        KeyProof.VALID,
        False,
    )
    assert of_any_connection(mine) == of_any_connection(theirs)
    assert engine.signature is not None
    assert engine.signature.scheme == {44: 0x0904, 65: 0x0905, 87: 0x0906}[number]
    assert server.get_state_string() == b"SSL negotiation finished successfully"


def test_a_readable_hello_gets_the_other_certificate(tmp_path: Path) -> None:
    """A server with both sends the one that every client can verify, to either engine."""
    context = ml_dsa_server(tmp_path, 65, also=True)
    mine, _ = talk(NativeHandshake(HOST, hello=Hello.READABLE), context)
    theirs, _ = talk(OpenSSLHandshake(HOST, hello=Hello.READABLE), context)
    assert (mine.outcome, mine.key_proved, ders(mine)) == (Outcome.COMPLETE, True, exam("ec").chain)
    assert of_any_connection(mine) == of_any_connection(theirs)


def test_a_signature_that_was_not_offered_needs_the_fallback() -> None:
    """A server that signs by what our hello leaves out: the reference engine refuses it, and has the last word."""
    key = ml_dsa_key(65)
    issued = pki().issue([HOST], key=key)

    class Unasked(ScriptedHandshake):
        def _sign(self, content: bytes) -> tuple[int, bytes]:
            return 0x0905, key.sign(content)

    for hello, falls_back in ((Hello.WIDEST, False), (Hello.READABLE, True)):
        engine = NativeHandshake(HOST, hello=hello)
        script = dataclasses.replace(Script.genuine(exam("ec")), certificates=issued.chain)
        engine.receive(b"".join(Unasked(script).receive(engine.start())))
        assert (engine.fallback_reason is not None) is falls_back


@pytest.mark.parametrize("also", [False, True], ids=["alone", "with an EC certificate"])
def test_without_ml_dsa_openssl_proves_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, also: bool) -> None:
    """A `cryptography` whose OpenSSL offers ML-DSA but which has none itself: OpenSSL completes it."""
    context = ml_dsa_server(tmp_path, 65, also=also)
    withhold_ml_dsa(monkeypatch)
    engine = NativeHandshake(HOST)
    mine, _ = talk(engine, context)
    assert (proof(mine), mine.key_proved, engine.fallback_reason is not None) == (KeyProof.NOT_CHECKABLE, False, True)
    facts, _ = talk(OpenSSLHandshake(HOST), context)
    assert (facts.outcome, proof(facts), facts.key_proved) == (Outcome.COMPLETE, KeyProof.NOT_CHECKABLE, True)
    assert ders(facts) == ders(mine)


async def test_a_replayed_ml_dsa_chain_is_a_wrong_signature() -> None:
    """With another key of its own the sender cannot sign for it."""
    issued = pki().issue([HOST], key=ml_dsa_key(65))
    async with serve_script(Script.replay(issued.chain)) as server:
        observation = (await probe(at(server.address), dialer=DirectDialer())).single
    assert (observation.outcome, observation.key_proved) == (Outcome.SIGNATURE_WRONG, False)
    assert ders(observation) == issued.chain


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("leaf_key", ["ec", "rsa"])
async def test_observations_of_an_interceptor_are_equal(leaf_key: KeyKind, version: ssl.TLSVersion) -> None:
    """A middlebox that forges is seen with the same chain by both, and proves its key to both."""
    async with (
        serve_origin(exam("ec")) as origin,
        serve_middlebox(
            pki().private_ca("Filter CA"),
            upstream={(HOST, 443): origin.address},
            leaf_key=leaf_key,
            max_version=version,
        ) as box,
    ):
        mine, theirs = await both(Endpoint(host=HOST), ProxyDialer(parse_proxy(f"http://127.0.0.1:{box.port}")))
    assert of_any_connection(mine) == of_any_connection(theirs)
    assert mine.key_proved
    assert ders(mine)[0] != exam("ec").leaf


def test_a_retry_needs_the_fallback() -> None:
    """A server that wants another group asks for a second hello; that is the reference's business."""
    context = server_context(exam("ec"), min_version=ssl.TLSVersion.TLSv1_3, max_version=ssl.TLSVersion.TLSv1_3)
    context.set_tmp_ecdh(ec.SECP384R1())
    server = SSL.Connection(context, None)
    server.set_accept_state()
    engine = NativeHandshake(HOST)
    server.bio_write(engine.start())
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    assert engine.receive(server.bio_read(1 << 16)) == b""
    assert engine.fallback_reason


async def test_the_reason_of_a_fallback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A probe logs its route, both handshakes and why it fell back, and nothing else."""
    caplog.set_level("DEBUG", logger="detector.probe")
    async with serve_script(Script.genuine(exam("ec"), version=ssl.TLSVersion.TLSv1_2)) as server:
        await probe(at(server.address), dialer=DirectDialer())
    assert [record.getMessage() for record in caplog.records if record.name == "detector.probe"] == [
        f"{HOST}:443: dialing (direct)",
        f"{HOST}:443: handshake (native): tls-failure",
        f"{HOST}: falling back from the native engine to OpenSSL: another TLS version",
        f"{HOST}:443: dialing (direct)",
        f"{HOST}:443: handshake (openssl): complete",
    ]


async def test_what_was_seen_is_not_lost() -> None:
    """Another leaf on the second connection does not excuse the first, which is reported; nothing is proved."""
    forged = dataclasses.replace(Script.genuine(exam("rsa")), scheme=0x0708)
    async with serve_script([forged, Script.genuine(exam("ec"))]) as server:
        observation = (await probe(at(server.address), dialer=DirectDialer())).single
    assert (observation.outcome, observation.key_proved) == (Outcome.TLS_FAILURE, False)
    assert ders(observation) == exam("rsa").chain
    assert (observation.attempts, server.connections) == (2, 2)


async def test_a_proved_key_is_not_counted_when_the_leaf_changes() -> None:
    """The first leaf's key was proved, the second connection shows another leaf: neither may clear the network."""
    first = Script.malformed(exam("rsa").leaf + b"\x00", key=exam("rsa").key)
    async with serve_script([first, Script.genuine(exam("ec"))]) as server:
        observation = (await probe(at(server.address), dialer=DirectDialer())).single
    assert (observation.outcome, observation.key_proved) == (Outcome.TLS_FAILURE, False)
    assert ders(observation) == first.certificates
    assert (observation.attempts, observation.engine, server.connections) == (2, Engine.NATIVE, 2)


@pytest.mark.parametrize(
    "behind", [(tls_wire.ContentType.ALERT, b"\x02\x28"), (tls_wire.ContentType.HANDSHAKE, b"\x63\0\0\0")]
)
def test_nothing_behind_a_wrong_signature_excuses_it(behind: tuple[tls_wire.ContentType, bytes]) -> None:
    """An alert or garbage in the same segment does not make another engine probe: the replayed chain was seen."""

    class Excusing(ScriptedHandshake):
        def _message(self, kind: tls_wire.HandshakeType, body: bytes) -> bytes:
            sealed = super()._message(kind, body)
            return sealed + self._seal(*behind) if kind == tls_wire.HandshakeType.CERTIFICATE_VERIFY else sealed

    engine = NativeHandshake(HOST)
    engine.receive(b"".join(Excusing(Script.replay(exam("ec").chain)).receive(engine.start())))
    assert engine.fallback_reason is None
    assert (engine.observation().outcome, ders(engine.observation())) == (Outcome.SIGNATURE_WRONG, exam("ec").chain)


@pytest.mark.parametrize(
    ("connections", "verdict", "confidences"),
    [
        ("nonconforming, forged", "middleware", {"proven"}),
        ("forged by TLS 1.2, genuine", "middleware", {"probable", "possible"}),
        ("another by TLS 1.2, genuine", "inconclusive", {None}),
    ],
)
async def test_each_leaf_is_assessed(
    connections: str,
    verdict: str,
    confidences: set[str | None],
    world: World,
    settings_of: Callable[..., dict[str, Any]],
) -> None:
    """Two connections, two leaves: forging either is interception; of two genuine ones, one has not proved its key."""
    genuine, other = world.pki.issue([HOST], key="rsa"), world.pki.issue([HOST])
    forging = world.pki.private_ca("Filter CA").issue([HOST])
    scripts = {
        "nonconforming": Script.malformed(genuine.leaf + b"\x00", *genuine.chain[1:], key=genuine.key),
        "forged": Script.genuine(forging),
        "genuine": Script.genuine(genuine),
        "forged by TLS 1.2": Script.genuine(forging, version=ssl.TLSVersion.TLSv1_2),
        "another by TLS 1.2": Script.genuine(other, version=ssl.TLSVersion.TLSv1_2),
    }
    pinned = Endpoint(host=HOST, pins=(genuine.spki_sha256, other.spki_sha256))
    async with (
        serve_script([scripts[each] for each in connections.split(", ")]) as server,
        Detector(**settings_of(pinned, resolve={(HOST, 443): server.address})) as subject,
    ):
        result = (await subject.check([HOST], deadline=3.0)).results[0]
    assert server.connections == 2
    assert result.verdict == verdict
    assert result.confidence in confidences
    assert len(result.other_observations) == 1


def test_the_servers_share_is_checked() -> None:
    """A share that is no key, of no known group or of small order agrees on nothing, and needs the fall-back."""
    for share in (b"", b"\x01" * 31, bytes(32), b"\x01" + bytes(31)):

        class Broken(ScriptedHandshake):
            def _make_share(self, share: bytes = share) -> bytes:
                super()._make_share()
                return share

        engine = NativeHandshake(HOST)
        server = Broken(Script.genuine(exam("ec")))
        flight = next(server.receive(engine.start()))
        engine.receive(flight)
        assert engine.fallback_reason
        assert ders(engine.observation()) == ()


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


async def test_without_ml_kem_openssl_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older cryptography cannot say hello as OpenSSL does: then OpenSSL says it, whatever was asked for."""
    monkeypatch.setattr(native, "MLKEM768PrivateKey", None)
    native.is_usable.cache_clear()
    try:
        assert not native.is_usable()
        async with serve_origin(exam("ec")) as origin:
            observation = (await probe(at(origin.address), dialer=DirectDialer(), engine=Engine.NATIVE)).single
    finally:
        native.is_usable.cache_clear()
    assert (observation.key_proved, observation.attempts) == (True, 1)


def test_engines_agree_on_broken_servers() -> None:
    """A few thousand mutated flights; the script plays any number."""
    done = subprocess.run(  # noqa: S603 - our own script
        [*DIFFERENTIAL, "--flights", "1500", "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1500 flights, 0 unexplained differences" in done.stdout
    natively = sum(int(line.split()[0]) for line in done.stdout.splitlines() if " native: complete" in line)
    assert natively > 150  # the unbroken ones at least: both engines were tried


@pytest.mark.parametrize("given", [["--flights", "0"], ["--flights", "many"]])
def test_bad_usage_is_exit_2(given: list[str]) -> None:
    """A sentence, and no traceback."""
    done = subprocess.run(  # noqa: S603 - our own script
        [*DIFFERENTIAL, *given], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_openssl_is_not_loaded_for_it() -> None:
    """Probing a TLS 1.3 server needs no pyOpenSSL, whose import takes longer than the probe."""
    code = "import sys, detector.probe.tls.native; sys.exit('OpenSSL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0  # noqa: S603 - our own code
