"""What the wire showed on one connection, and what the further requests of a run showed. Facts only.

Room: model. Pure.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import ipaddress
from typing import NamedTuple

from .record import Record
from .vocabulary import (
    FAULT_OF,
    Asked,
    Engine,
    Fault,
    Hello,
    HopAnswer,
    KeyKind,
    Outcome,
    PortalOutcome,
    ProxyScheme,
    ResolutionOutcome,
    Route,
    WitnessOutcome,
)


class Address(NamedTuple):
    """An IP address, or a host name where it was resolved elsewhere, and a port; `host:port` in JSON."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str | None) -> Address | None:
        """Read `host:port`, IPv6 in brackets; None for anything else."""
        host, _, port = (text or "").rpartition(":")
        return cls(host.strip("[]"), int(port)) if host and port.isdecimal() else None

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP address, without its zone; None for a host name."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return None


class PresentedCertificate(Record, frozen=True, kw_only=True):
    """One certificate as presented. Fields that could not be read from the DER are None; the hashes always exist."""

    sha256: str
    der: bytes
    subject: str | None = None
    issuer: str | None = None
    serial: str | None = None
    not_before: dt.datetime | None = None
    not_after: dt.datetime | None = None
    spki_sha256: str | None = None


class HandshakeSignature(Record, frozen=True, kw_only=True):
    """What the server signed in the handshake, by which scheme, and the signature: anybody can verify it again.

    `signed` is everything the signature covers (RFC 8446 section 4.4.3, RFC 5246 section 7.4.3), `scheme` the
    SignatureScheme code point, None before TLS 1.2, where the key's type fixes it.
    """

    scheme: int | None
    signed: bytes
    signature: bytes


class WitnessObservation(Record, frozen=True, kw_only=True):
    """What a witness was asked on the probed connection and what came back (docs/witness.md).

    `nonce` is what we sent, `exporter` our side's channel binding (RFC 9266, 32 bytes; None where TLS has none that
    is safe to use), `client_hello_sha256` the hash of the ClientHello we sent. `status` and `body` are the HTTP
    answer's, `body` bounded and whole only when the outcome is `answered`.
    """

    outcome: WitnessOutcome
    nonce: bytes
    exporter: bytes | None = None
    client_hello_sha256: str | None = None
    status: int | None = None
    body: bytes = b""


class ResolutionObservation(Record, frozen=True, kw_only=True):
    """Which addresses two resolvers gave for a name: the system's (`system`), and `resolver` over HTTPS (`other`).

    `system` is empty where the name did not resolve. `resolver` is a URL without query.
    """

    resolver: str
    outcome: ResolutionOutcome
    system: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


class ProxyObservation(Record, frozen=True, kw_only=True):
    """What a proxy on the way showed. There is no place for credentials.

    `status` is the HTTP status of its answer to CONNECT or its SOCKS reply code, `auth_schemes` the kinds of
    authentication it offered (RFC 9110 section 11.1, lower case, bounded). `tls` is the connection to the proxy itself,
    where that is TLS: captured like every other.
    """

    scheme: ProxyScheme
    host: str
    port: int
    status: int | None = None
    auth_schemes: tuple[str, ...] = ()
    tls: Observation | None = None

    @property
    def url(self) -> str:
        """The proxy as a URL, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Hop(Record, frozen=True, kw_only=True):
    """One packet that was allowed `number` hops, and what became of it.

    `router` is who answered that it had to end there, where that was told: an address, or a label that only says
    which hops are the same (`router-1`, `own-network-1`) where the address is nobody's business (docs/locate.md).
    """

    number: int
    answer: HopAnswer
    router: str | None = None
    round_trip_ms: float | None = None


class HopTrace(Record, frozen=True, kw_only=True):
    """Packets to one port of one address, each with another number of hops; a number may occur several times."""

    port: int
    asked: Asked
    hops: tuple[Hop, ...]


class HopsObservation(Record, frozen=True, kw_only=True):
    """How far packets to one address came: to the port of TLS, and to control ports of the same address.

    `names_routers` is whether this system can tell who answered. `connect_ms` and `answer_ms` are how long a
    connection took, and on it the first answer to a ClientHello, with no limit on hops.
    """

    port: int
    traces: tuple[HopTrace, ...]
    names_routers: bool
    connect_ms: float | None = None
    answer_ms: float | None = None


class Observation(Record, frozen=True, kw_only=True):
    """What the wire showed on one connection. Facts only.

    `alert` is the TLS alert number that ended the handshake, sent by either side. `timings_ms` maps the phases
    `resolve`, `connect`, `proxy`, `certificate` (first flight to certificate), `handshake` and `witness` to
    milliseconds. `handshake_signature` is None where none was seen, `witness` where none was asked. `hello` is the
    profile of the ClientHello, `engine` what made the handshake that is told of (`native`, or `openssl` also when it
    was handed over; None for a browser's hello and QUIC), `ja3` the JA3 fingerprint (MD5, hexadecimal) of the hello
    that was really sent, where it was read back. `proxy` is the proxy on the way, `asked_for` what it was asked to
    connect to (`host:port`), `proxy_file` the proxy auto-configuration file that chose the way or would have had to,
    `key_kind` the only kind of server key that was accepted, None where every kind was; `resolution` is what a second
    resolver said, where one was asked, `hops` how far TLS is answered, where that was.

    `sct_list` is the extension_data of signed_certificate_timestamp for the leaf, a SignedCertificateTimestampList with
    its length (RFC 6962 section 3.3; in CertificateEntry, RFC 8446 section 4.4.2, before TLS 1.3 in ServerHello), and
    `ocsp_response` the OCSPResponse (DER, at most 64 KiB) that was stapled for the leaf (RFC 6066 section 8); both as
    presented, None where none was. `scts_carried` says that our hello asked for both and that the handshake went far
    enough for them to be seen: only then does their absence say anything.
    """

    outcome: Outcome
    key_proved: bool = False
    route: Route = Route.NONE
    proxy: ProxyObservation | None = None
    proxy_file: str | None = None
    resolution: ResolutionObservation | None = None
    key_kind: KeyKind | None = None
    hello: Hello = Hello.DEFAULT
    engine: Engine | None = None
    ja3: str | None = None
    address: str | None = None
    asked_for: str | None = None
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    alert: int | None = None
    attempts: int = 1
    server_hello: bytes | None = None
    chain: tuple[PresentedCertificate, ...] = ()
    handshake_signature: HandshakeSignature | None = None
    sct_list: bytes | None = None
    ocsp_response: bytes | None = None
    scts_carried: bool = False
    witness: WitnessObservation | None = None
    hops: HopsObservation | None = None
    timings_ms: dict[str, float] = {}

    @property
    def peer(self) -> Address | None:
        """The address that was connected to: the endpoint's own or, on a proxied route, the proxy's."""
        return Address.parse(self.address)

    @property
    def fault(self) -> Fault:
        """Whose doing the outcome is."""
        return FAULT_OF[self.outcome]


class PortalObservation(Record, frozen=True, kw_only=True):
    """What a control request for captive portals got (RFC 8910, RFC 8908, and the generate_204 convention).

    `outcome` is `captive` when the API says so and otherwise that of the control request at `url`, to which `status`,
    `location` and `body_sha256` (hexadecimal; None unless the whole body arrived) belong. `api` is the API's own
    outcome, None when it was not asked; `sign_in_url` is what it gave for people to open (user-portal-url). Both URLs
    are printable, bounded, and without credentials, query and fragment.
    """

    outcome: PortalOutcome
    url: str
    status: int | None = None
    location: str | None = None
    body_sha256: str | None = None
    api: PortalOutcome | None = None
    sign_in_url: str | None = None


class ServerDate(Record, frozen=True, kw_only=True):
    """The time an HTTP server said it was (`said`), and ours halfway through that exchange (`ours`).

    Unauthenticated: anybody on the way can write it. `uncertainty_ms` is half the time of the exchange and the second
    that the header is precise to.
    """

    host: str
    said: dt.datetime
    ours: dt.datetime
    uncertainty_ms: float = 0.0
