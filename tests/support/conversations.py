"""Helpers of the probe's tests: endpoints on loopback, and recorded TLS conversations.

Room: tests of probe. Opens nothing by itself.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from detector_testing import Issued, PrivatePKI
from detector_testing.streams import server_context
from OpenSSL import SSL

from detector.model import Endpoint, Observation
from detector.probe.tls.engine import proof_of
from detector.probe.tls.openssl import CIPHERS
from detector.probe.tls.wire import Wire

if TYPE_CHECKING:
    from detector_testing.pki import KeyKind

    from detector.trust.handshake_signature import KeyProof

HOST = "exam.example.edu"


class Recording(NamedTuple):
    """One handshake: the client's flights before the server's answer, the server's bytes, and the traffic secret."""

    client: bytes
    server: bytes
    secret: bytes | None
    chain: tuple[bytes, ...]

    def play(self, *chunks: bytes) -> Wire:
        """Read this conversation, the server's bytes as `chunks` (default: all at once)."""
        wire = Wire()
        wire.client(self.client)
        if self.secret is not None:
            wire.secret(self.secret)
        for chunk in chunks or (self.server,):
            wire.server(chunk)
        return wire


FFDHE2048 = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""The 2048-bit group of RFC 7919 appendix A.1: servers on OpenSSL 3 bring no Diffie-Hellman parameters of their own."""


def output_of(connection: SSL.Connection) -> bytes:
    """Everything a connection wants sent."""
    pieces = []
    while True:
        try:
            pieces.append(connection.bio_read(65536))
        except SSL.WantReadError:
            return b"".join(pieces)


def record(issued: Issued, version: ssl.TLSVersion, *, ciphers: str = "ALL") -> Recording:
    """Let OpenSSL talk to itself without our parser, and keep what was said."""
    secrets: list[bytes] = []

    def keep(_connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split(b" ")
        if label == b"SERVER_HANDSHAKE_TRAFFIC_SECRET":
            secrets.append(bytes.fromhex(secret.decode()))

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(0)
    context.set_cipher_list(CIPHERS)
    context.set_alpn_protos([b"h2", b"http/1.1"])
    context.set_keylog_callback(keep)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    accepting = server_context(issued, min_version=version, max_version=version, alpn=("http/1.1",), ciphers=ciphers)
    if ciphers.startswith("DHE"):
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # pyOpenSSL takes parameters from files only
            file.write(FFDHE2048)
            file.flush()
            accepting.load_tmp_dh(file.name)
    server = SSL.Connection(accepting, None)
    server.set_accept_state()
    said: dict[SSL.Connection, bytes] = {client: b"", server: b""}
    for _ in range(4):
        for speaker, listener in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                speaker.do_handshake()
            output = output_of(speaker)
            if speaker is server or not said[server]:
                said[speaker] += output
            if output:
                listener.bio_write(output)
    return Recording(said[client], said[server], secrets[0] if secrets else None, issued.chain)


@functools.cache
def pki() -> PrivatePKI:
    """One private PKI for all of the probe's tests."""
    return PrivatePKI.create()


@functools.cache
def exam(key: KeyKind = "ec") -> Issued:
    """A genuine certificate of the exam host."""
    return pki().issue([HOST], key=key)


@functools.cache
def recording(name: str) -> Recording:
    """One recorded handshake of each kind."""
    match name:
        case "1.3":
            return record(exam(), ssl.TLSVersion.TLSv1_3)
        case "1.2":
            return record(exam(), ssl.TLSVersion.TLSv1_2)
        case "1.0":
            return record(exam("rsa"), ssl.TLSVersion.TLSv1)
        case "dhe":
            return record(exam("rsa"), ssl.TLSVersion.TLSv1_2, ciphers="DHE-RSA-AES128-SHA")
        case "static-rsa":
            return record(exam("rsa"), ssl.TLSVersion.TLSv1_2, ciphers="AES128-SHA")
    raise ValueError(name)


def at(address: tuple[str, int], host: str = HOST) -> Endpoint:
    """The exam endpoint, to be found at an address."""
    return Endpoint(host=host, address=address)


def ders(observation: Observation) -> tuple[bytes, ...]:
    """The chain of an observation in DER."""
    return tuple(certificate.der for certificate in observation.chain)


def proof(observation: Observation) -> KeyProof:
    """Whether the signature of an observation is that of its leaf's key."""
    return proof_of(observation.handshake_signature, ders(observation))
