"""The base of the TLS engines, and how a parsed handshake becomes an `Observation`.

Room: probe. Pure: no sockets, no clock, no TLS library.

`native` sends a browser's hello and finishes with it what the browser would, for probing only. `openssl` sends
OpenSSL's hellos, and makes the connections that go on to carry data. The engine follows from the hello; `fallback`
chooses.
"""

from __future__ import annotations

import abc
import functools
import ipaddress
from typing import TYPE_CHECKING, ClassVar, Final

from detector.model import Hello, Observation, Outcome
from detector.trust.certificate import Certificate
from detector.trust.handshake_signature import KeyProof, check_signature

from .codepoints import CIPHER_SUITES, GROUPS, VERSIONS
from .reader import WireError
from .wire import Wire

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from detector.model import Engine, HandshakeSignature, KeyKind

    from .transport import TLSTransport

ALPN_PROTOCOLS: Final = (b"h2", b"http/1.1")  # as browsers (RFC 7301); many interceptors drop h2, a fact worth having
HTTP_1_1: Final = (b"http/1.1",)  # as to a witness: a middlebox could choose h2 to keep us from asking

SERVER_NAME_BYTES_MAX: Final = 255  # longest name OpenSSL sends (TLSEXT_MAXLEN_host_name)
_NAMES_CACHED: Final = 1024  # hosts whose SNI is cached: the same endpoints are probed all day


class Handshake:
    """What one handshake showed so far, as far as it does not depend on who makes it. Nothing raises.

    `hello` is the profile of the hello that is sent, `small` whether it has no ML-KEM key share, `key_kind` the only
    kind of server key it accepts (None for any).
    """

    engine: ClassVar[Engine | None] = None
    small: bool = False

    def __init__(self, wire: Wire, hello: Hello = Hello.WIDEST, key_kind: KeyKind | None = None) -> None:
        self.hello: Final = hello
        self.key_kind: Final = key_kind
        self._wire = wire
        self._outcome: Outcome | None = None
        self._proof: KeyProof | None = None
        self._ja4: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the outcome is settled."""
        return self._outcome is not None

    @property
    def certificates_seen(self) -> bool:
        """Whether the server presented anything as its chain."""
        return self._wire.certificates_seen

    @property
    def client_hello(self) -> bytes | None:
        """The ClientHello that was sent first, as a handshake message with its header."""
        return self._wire.client_hellos[0] if self._wire.client_hellos else None

    @property
    def ja4(self) -> str | None:
        """The JA4 fingerprint of that ClientHello."""
        if self._ja4 is None and self._wire.offered is not None:
            self._ja4 = self._wire.offered.ja4
        return self._ja4

    @property
    def signature(self) -> HandshakeSignature | None:
        """What the server signed in the handshake, for others to verify."""
        return self._wire.signature

    @property
    def proof(self) -> KeyProof:
        """Our own check of the handshake signature against certificate 0."""
        if self._proof is None:
            if self.signature is None:
                return KeyProof.NOT_SEEN
            self._proof = proof_of(self.signature, self._wire.certificates)
        return self._proof

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0, by its signature and its Finished."""
        return self._wire.finished_valid is True and self.proof is KeyProof.VALID

    def connection_closed(self, outcome: Outcome) -> None:
        """Note that no more bytes come, for the reason `outcome`."""
        if self._outcome is None:
            self._outcome = self._interrupted(outcome)

    def _interrupted(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a handshake that something else ends, for the reason `outcome`."""
        return outcome

    def observation(self, outcome: Outcome = Outcome.DEADLINE) -> Observation:
        """Return what was seen so far; `outcome` holds where the handshake has none yet.

        Names are the IANA registry's, others are reported by number. `ConnectionRecord.complete` adds the route.
        """
        wire = self._wire
        group = None if wire.group is None else GROUPS.get(wire.group, f"0x{wire.group:04x}")
        if group is None and wire.dh_bits is not None:
            group = f"dhe{wire.dh_bits}"
        return Observation(
            outcome=self._outcome or self._interrupted(outcome),
            key_proved=self.key_proved,
            key_kind=self.key_kind,
            hello=self.hello,
            small_hello=self.small,
            engine=self.engine,
            ja4=self.ja4,
            tls_version=None if wire.version is None else VERSIONS.get(wire.version, f"0x{wire.version:04x}"),
            cipher=None if wire.suite is None else CIPHER_SUITES.get(wire.suite, f"0x{wire.suite:04x}"),
            group=group,
            alpn=wire.alpn,
            alert=self._alert(),
            server_hello=wire.server_hello,
            chain=tuple(Certificate.read(der).presented() for der in self._chain()),
            handshake_signature=self.signature,
            sct_list=wire.sct_list,
            ocsp_response=wire.ocsp_response,
            scts_carried=wire.past_scts and wire.offered is not None and wire.offered.requests_scts,
        )

    def _alert(self) -> int | None:
        """Return the alert that ended the handshake, sent by either side."""
        return self._wire.alert

    def _chain(self) -> tuple[bytes, ...]:
        return tuple(self._wire.certificates)

    def _wrong_or(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a wrong signature where there is one, which takes precedence over `outcome`."""
        return Outcome.SIGNATURE_WRONG if self.proof is KeyProof.INVALID else outcome


class ClientHandshake(Handshake, abc.ABC):
    """A client handshake with `host`, without I/O: `start`, then `receive` until `finished`."""

    def __init__(self, host: str, hello: Hello, key_kind: KeyKind | None = None) -> None:
        super().__init__(Wire(), hello, key_kind)
        self._name = server_name(host)

    @property
    def needs_wider_hello(self) -> bool:
        """Whether a hello that offers more may get a certificate where this one got none."""
        return False

    def start(self) -> bytes:
        """Return the ClientHello to send."""
        return self._advance(b"", None)

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; return the bytes to send to it, possibly none."""
        if self._outcome is not None or not data:
            return b""
        malformed: WireError | None = None
        try:
            self._read(data)
        except WireError as error:
            if error.outcome is not Outcome.TLS_FAILURE:
                return self._fail(error)
            malformed = error
        return self._advance(data, malformed)

    def _read(self, data: bytes) -> None:
        """Parse bytes from the server. Raises `WireError`."""
        self._wire.server(data)

    @abc.abstractmethod
    def _advance(self, data: bytes, malformed: WireError | None) -> bytes:
        """Continue with what `wire` has parsed, and return the bytes to send.

        `malformed` is why it can parse no more: a library that sees the same bytes may still decide.
        """

    def _fail(self, error: WireError) -> bytes:
        """Settle what cannot be parsed any further."""
        self._outcome = self._wrong_or(error.outcome)
        return b""

    def closing_bytes(self) -> bytes:
        """Return what ends the connection politely, possibly nothing."""
        return b""

    def transport_over(self, transport: asyncio.Transport) -> TLSTransport | None:  # noqa: ARG002 - for OpenSSL's
        """Return the completed connection for further use; None from an engine that only probes."""
        return None

    def channel_binding(self) -> bytes | None:
        """Return our side's tls-exporter (RFC 9266); None where there is none."""
        return None


def proof_of(signature: HandshakeSignature | None, certificates: Sequence[bytes]) -> KeyProof:
    """Check what the server signed against the key of certificate 0.

    RFC 8446 section 4.4.3 (CertificateVerify), RFC 5246 section 7.4.3 (ServerKeyExchange).
    """
    if signature is None:
        return KeyProof.NOT_SEEN
    spki = Certificate.read(certificates[0]).spki if certificates else None
    return check_signature(spki, signature.scheme, signature.signature, signature.signed)


@functools.lru_cache(maxsize=_NAMES_CACHED)
def server_name(host: str) -> bytes | None:
    """Return the SNI to send for `host`; None for an IP literal (RFC 6066 section 3) or what cannot be a name.

    It is in lower case, as browsers send it.
    """
    literal = host.strip("[]").partition("%")[0]
    try:
        ipaddress.ip_address(literal)
    except ValueError:
        pass
    else:
        return None
    try:
        name = host.lower().rstrip(".").encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        return None
    return name if 0 < len(name) <= SERVER_NAME_BYTES_MAX and b"\x00" not in name else None
