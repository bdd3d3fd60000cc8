"""What one connection showed on the wire, and what the other requests of a run showed. Facts only.

Room: model. Pure.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from detector.errors import TargetError

from .record import Count, Moment, Port, Record
from .validate import PORT_MAX
from .vocabulary import (
    Engine,
    Fault,
    Hello,
    HopAnswer,
    KeyKind,
    Outcome,
    PortalOutcome,
    ProbeKind,
    ProxyScheme,
    ResolutionOutcome,
    Route,
    UnfollowedProxy,
    WitnessOutcome,
)

PORT_DIGITS_MAX: Final = 5
"""Digits of a port: the largest is 65535. Python refuses to read numbers of thousands of digits."""


class Address(NamedTuple):
    """An IP address, or a host name where it was resolved elsewhere, and a port; `host:port` in JSON."""

    host: str
    port: Port

    @classmethod
    def parse(cls, text: str | None) -> Address | None:
        """Read `host:port`, IPv6 in brackets; None for anything else."""
        host, _, port = (text or "").rpartition(":")
        is_port = len(port) <= PORT_DIGITS_MAX and port.isascii() and port.isdecimal()
        return cls(host.strip("[]"), int(port)) if host and is_port else None

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
    not_before: Moment | None = None
    not_after: Moment | None = None
    spki_sha256: str | None = None


class HandshakeSignature(Record, frozen=True, kw_only=True):
    """What the server signed in the handshake, the scheme and the signature, so that anyone can verify it again.

    `signed` is everything the signature covers (RFC 8446 section 4.4.3, RFC 5246 section 7.4.3), `scheme` the
    SignatureScheme code point, None before TLS 1.2, where the key type determines it.
    """

    scheme: Count | None
    signed: bytes
    signature: bytes


class WitnessObservation(Record, frozen=True, kw_only=True):
    """The request to a witness on the probed connection and its response (docs/witness.md).

    `nonce` is what we sent, `exporter` our side's channel binding (RFC 9266, 32 bytes; None where TLS has none that
    is safe to use), `client_hello_sha256` the hash of the ClientHello we sent. `status` and `body` are those of the
    HTTP response, `body` bounded and complete only when the outcome is `answered`.
    """

    outcome: WitnessOutcome
    nonce: bytes
    exporter: bytes | None = None
    client_hello_sha256: str | None = None
    status: Count | None = None
    body: bytes = b""


class ResolutionObservation(Record, frozen=True, kw_only=True):
    """The addresses that two resolvers gave for a name: the system's (`system`), and `resolver` over HTTPS (`other`).

    `system` is empty where the name did not resolve. `resolver` is a URL without query.
    """

    resolver: str
    outcome: ResolutionOutcome
    system: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


class ProxyObservation(Record, frozen=True, kw_only=True):
    """What a proxy on the route showed. No field holds credentials.

    `status` is the HTTP status of its response to CONNECT or its SOCKS reply code, `auth_schemes` the authentication
    schemes it offered (RFC 9110 section 11.1, lower case, bounded). `tls` is the connection to the proxy itself, where
    that uses TLS: captured like any other.
    """

    scheme: ProxyScheme
    host: str
    port: Port
    status: Count | None = None
    auth_schemes: tuple[str, ...] = ()
    tls: Observation | None = None

    def __post_init__(self) -> None:
        """Validate: workers and recordings are foreign. Raises `TargetError`, a `ValueError`."""
        if not self.host or not 0 < self.port <= PORT_MAX:
            raise TargetError("proxy: not a host and a port.", advice=f"Give a host, and a port from 1 to {PORT_MAX}.")

    @property
    def url(self) -> str:
        """The proxy as a URL, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Hop(Record, frozen=True, kw_only=True):
    """One packet with a hop limit of `number`, and its result.

    `router` is the router that reported the limit exceeded, where known: an address, or a label that only shows
    which hops are the same (`router-1`, `own-network-1`) where the address is private (docs/locate.md).
    """

    number: Count
    answer: HopAnswer
    router: str | None = None
    round_trip_ms: float | None = None


class HopTrace(Record, frozen=True, kw_only=True):
    """Packets to one port of one address with increasing hop limits; a limit may occur several times."""

    port: Port
    asked: ProbeKind
    hops: tuple[Hop, ...]


class HopsObservation(Record, frozen=True, kw_only=True):
    """How far packets to one address travelled: to the TLS port, and to control ports of the same address.

    `names_routers` is whether this system reports which router answered. `connect_ms` and `answer_ms` are how long a
    connection took, and the first response to a ClientHello on it, without a hop limit.
    """

    port: Port
    traces: tuple[HopTrace, ...]
    names_routers: bool
    connect_ms: float | None = None
    answer_ms: float | None = None


class FailedAttempt(Record, frozen=True, kw_only=True):
    """A connection of a probe that ended without a certificate, so that the probe made another one.

    `small_hello` says that its ClientHello had no ML-KEM key share, `address` is where it connected to.
    """

    outcome: Outcome
    hello: Hello = Hello.BROWSER
    small_hello: bool = False
    address: str | None = None


class Observation(Record, frozen=True, kw_only=True):
    """What one connection showed on the wire. Facts only.

    `alert` is the TLS alert number that ended the handshake, sent by either side. `timings_ms` maps the phases
    `resolve`, `connect`, `proxy`, `certificate` (first flight to certificate), `handshake` and `witness` to
    milliseconds. `handshake_signature` is None where none was captured, `witness` where none was asked. `hello` is the
    profile of the ClientHello, `engine` what made the recorded handshake (`native` or `openssl`, which follows from the
    hello; `browser` where the user's own browser reported the connection, which proves nothing; None for QUIC), `ja4`
    the JA4 fingerprint of the ClientHello actually sent, where it was captured. `proxy` is the proxy
    on the route, `asked_for` the `host:port` requested of it, `proxy_file` the proxy auto-configuration file that chose
    the route or should have, `key_kind` the only kind of server key that was accepted, None where any was; `resolution`
    is the answer of a second resolver, `hops` the result of hop tracing, where these were requested. `small_hello` says
    that the ClientHello had no ML-KEM key share, with which a hello does not fit into one TCP segment; `earlier` are
    the other connections of this probe, which failed, `attempts` is the number of all. `left_out` is the number of
    further probes and addresses of the endpoint that were left out, because one run makes no more or for lack of time;
    an endpoint's first observation has it. `unfollowed_proxy` says why this probe did not take the route that the
    machine's proxy setting names. `repeat` numbers the later probes of an endpoint that is probed several times in a
    run; the first one has 0.

    `sct_list` is the extension_data of signed_certificate_timestamp for the leaf, a SignedCertificateTimestampList with
    its length (RFC 6962 section 3.3; in CertificateEntry, RFC 8446 section 4.4.2, before TLS 1.3 in ServerHello), and
    `ocsp_response` the OCSPResponse (DER, at most 64 KiB) that was stapled for the leaf (RFC 6066 section 8); both as
    presented, None when absent. `scts_carried` says that our hello requested both and that the handshake went far
    enough to show them: only then does their absence mean anything.
    """

    outcome: Outcome
    key_proved: bool = False
    route: Route = Route.NONE
    proxy: ProxyObservation | None = None
    proxy_file: str | None = None
    resolution: ResolutionObservation | None = None
    key_kind: KeyKind | None = None
    hello: Hello = Hello.BROWSER
    small_hello: bool = False
    earlier: tuple[FailedAttempt, ...] = ()
    unfollowed_proxy: UnfollowedProxy | None = None
    repeat: int = 0
    engine: Engine | None = None
    ja4: str | None = None
    address: str | None = None
    asked_for: str | None = None
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    alert: Count | None = None
    attempts: Count = 1
    left_out: Count = 0
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
        """The party responsible for the outcome."""
        return self.outcome.fault


class PortalObservation(Record, frozen=True, kw_only=True):
    """The result of a control request for captive portals (RFC 8910, RFC 8908, and the generate_204 convention).

    `outcome` is `captive` when the API says so and otherwise that of the control request at `url`, to which `status`,
    `location` and `body_sha256` (hexadecimal; None unless the whole body arrived) belong. `api` is the API's own
    outcome, None when it was not queried; `sign_in_url` is the URL it gave for people to open (user-portal-url). Both
    URLs are printable, bounded, and without credentials, query and fragment.
    """

    outcome: PortalOutcome
    url: str
    status: Count | None = None
    location: str | None = None
    body_sha256: str | None = None
    api: PortalOutcome | None = None
    sign_in_url: str | None = None


class ServerDate(Record, frozen=True, kw_only=True):
    """The time an HTTP server reported (`said`), and ours halfway through that exchange (`ours`).

    Unauthenticated: anyone on the route can write it. `uncertainty_ms` is half the duration of the exchange plus the
    one-second precision of the header.
    """

    host: str
    said: Moment
    ours: Moment
    uncertainty_ms: float = 0.0
