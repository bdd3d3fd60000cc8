"""The records everything else speaks in: endpoints, observations, findings, results, reports.

Room: model. Pure: no sockets, no clock, no files. Every record is frozen; JSON goes in and out through
`msgspec`, and the JSON Schema of `Report` is generated from these very classes (`docs/report.schema.json`).

Spelling in JSON: lower-case hyphenated enum values, RFC 3339 UTC times, hexadecimal hashes, base64 DER.
Nothing here has a place for a user name, a machine name or an address of the machine the detector runs on.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from typing import Annotated, Any, Final

import msgspec

SCHEMA_VERSION: Final = 1
"""Version of the report JSON; rises only when a reader of the old form would misread the new one."""


class Category(enum.StrEnum):
    """What an endpoint is for; interceptors decide by category what they decrypt."""

    EXAM = "exam"
    LMS = "lms"
    SEARCH = "search"
    MAIL = "mail"
    SOCIAL = "social"
    BANK = "bank"
    HEALTH = "health"
    CANARY = "canary"
    OTHER = "other"


class Outcome(enum.StrEnum):
    """How one connection ended. The vocabulary is closed: every foreign exception maps to one of these."""

    COMPLETE = "complete"
    EXAMINED = "examined"
    DNS_FAILURE = "dns-failure"
    NO_ADDRESS = "no-address"
    CONNECT_REFUSED = "connect-refused"
    CONNECT_TIMEOUT = "connect-timeout"
    UNREACHABLE = "unreachable"
    PROXY_UNREACHABLE = "proxy-unreachable"
    PROXY_AUTH_REQUIRED = "proxy-auth-required"
    PROXY_AUTH_REJECTED = "proxy-auth-rejected"
    PROXY_AUTH_UNSUPPORTED = "proxy-auth-unsupported"
    PROXY_REFUSED = "proxy-refused"
    PROXY_PROTOCOL = "proxy-protocol"
    PROXY_OTHER_KIND = "proxy-other-kind"
    PROXY_CLOSED = "proxy-closed"
    PROXY_TLS = "proxy-tls"
    PROXY_UNTRUSTED = "proxy-untrusted"
    PROXY_UNKNOWN = "proxy-unknown"
    NO_ROUTE = "no-route"
    RESET = "reset"
    CLOSED = "closed"
    NOT_TLS = "not-tls"
    TLS_ALERT = "tls-alert"
    TLS_FAILURE = "tls-failure"
    SIGNATURE_WRONG = "signature-wrong"
    TOO_LARGE = "too-large"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    DEADLINE = "deadline"
    RESOURCES = "resources"


class Fault(enum.StrEnum):
    """Whose doing an outcome is, as far as the outcome alone tells."""

    NONE = "none"
    US = "us"
    PEER = "peer"
    NETWORK = "network"
    UNDETERMINED = "undetermined"


FAULT_OF: Final[dict[Outcome, Fault]] = {
    Outcome.COMPLETE: Fault.NONE,
    Outcome.EXAMINED: Fault.NONE,
    Outcome.DNS_FAILURE: Fault.NETWORK,
    Outcome.NO_ADDRESS: Fault.NONE,
    Outcome.CONNECT_REFUSED: Fault.PEER,
    Outcome.CONNECT_TIMEOUT: Fault.UNDETERMINED,
    Outcome.UNREACHABLE: Fault.NETWORK,
    Outcome.PROXY_UNREACHABLE: Fault.NETWORK,
    Outcome.PROXY_AUTH_REQUIRED: Fault.US,
    Outcome.PROXY_AUTH_REJECTED: Fault.US,
    Outcome.PROXY_AUTH_UNSUPPORTED: Fault.US,
    Outcome.PROXY_REFUSED: Fault.NETWORK,
    Outcome.PROXY_PROTOCOL: Fault.NETWORK,
    Outcome.PROXY_OTHER_KIND: Fault.US,
    Outcome.PROXY_CLOSED: Fault.NETWORK,
    Outcome.PROXY_TLS: Fault.NETWORK,
    Outcome.PROXY_UNTRUSTED: Fault.NETWORK,
    Outcome.PROXY_UNKNOWN: Fault.US,
    Outcome.NO_ROUTE: Fault.US,
    Outcome.RESET: Fault.UNDETERMINED,
    Outcome.CLOSED: Fault.UNDETERMINED,
    Outcome.NOT_TLS: Fault.PEER,
    Outcome.TLS_ALERT: Fault.PEER,
    Outcome.TLS_FAILURE: Fault.PEER,
    Outcome.SIGNATURE_WRONG: Fault.PEER,
    Outcome.TOO_LARGE: Fault.PEER,
    Outcome.HANDSHAKE_TIMEOUT: Fault.UNDETERMINED,
    Outcome.DEADLINE: Fault.UNDETERMINED,
    Outcome.RESOURCES: Fault.US,
}


class Says(enum.StrEnum):
    """What a finding speaks for. Several findings are weighed only in `verdict.py`."""

    GENUINE = "genuine"
    INTERCEPTED = "intercepted"
    EXPLAINS = "explains"
    NEUTRAL = "neutral"


class Verdict(enum.StrEnum):
    """The answer, for one endpoint or for a network."""

    CLEAN = "clean"
    MIDDLEWARE = "middleware"
    INCONCLUSIVE = "inconclusive"


class Confidence(enum.StrEnum):
    """How sure a `middleware` verdict is."""

    POSSIBLE = "possible"
    PROBABLE = "probable"
    PROVEN = "proven"

    def reaches(self, least: Confidence) -> bool:
        """Whether this confidence is `least` or higher."""
        order = list(Confidence)
        return order.index(self) >= order.index(least)


class Reason(enum.StrEnum):
    """The rule of the decision table that gave a verdict (docs/decisions.md)."""

    WITNESSED = "witnessed"
    PINNED = "pinned"
    WITNESS_DIFFERS = "witness-differs"
    IDENTITY_SUBSTITUTED = "identity-substituted"
    RIVALS_SHARE_A_SIGNER = "rivals-share-a-signer"
    SIGNER_SUBSTITUTES_ELSEWHERE = "signer-substitutes-elsewhere"
    INTERCEPTION_KEY = "interception-key"
    REPLAYED_CHAIN = "replayed-chain"
    PRODUCT_MARK = "product-mark"
    FORGED_ISSUER = "forged-issuer"
    DEFECTIVE_CHAIN = "defective-chain"
    PUBLIC_UNLOGGED = "public-unlogged"
    ADDED_ROOT = "added-root"
    ONE_PRIVATE_SIGNER = "one-private-signer"
    FORGOTTEN_BY_EVERYBODY = "forgotten-by-everybody"
    PIN_MISMATCH = "pin-mismatch"
    UNFAMILIAR_ROOT = "unfamiliar-root"
    UNREADABLE_PERSISTS = "unreadable-persists"
    WRONG_NAME = "wrong-name"
    INCOMPLETE_CHAIN = "incomplete-chain"
    PRIVATE_CHAIN = "private-chain"
    PINNED_CA = "pinned-ca"
    LOGGED = "logged"
    DECLARED = "declared"
    NO_CERTIFICATE = "no-certificate"
    BUDGET_SPENT = "budget-spent"
    CLOCK_WRONG = "clock-wrong"
    EXPIRED = "expired"
    RETIRED = "retired"
    UNREADABLE = "unreadable"
    DECLARED_ROOT_INTERCEPTS = "declared-root-intercepts"
    DECLARED_NOT_ACCEPTED = "declared-not-accepted"
    KEY_NOT_PROVED = "key-not-proved"
    NAME_NOT_CONFIRMED = "name-not-confirmed"
    WITNESS_SILENT = "witness-silent"
    SCTS_NOT_CARRIED = "scts-not-carried"
    STALE_KNOWLEDGE = "stale-knowledge"


class Assurance(enum.StrEnum):
    """What a `clean` verdict rests on, weakest first."""

    DECLARED = "declared"
    LOGGED = "logged"
    PINNED = "pinned"
    WITNESSED = "witnessed"


class Alternative(enum.StrEnum):
    """An innocent or different explanation that also fits a `possible` or `probable` mismatch."""

    CAPTIVE_PORTAL = "captive-portal"
    BLOCK_PAGE = "block-page"
    WRONG_SERVER = "wrong-server"
    PIN_ROTATION = "pin-rotation"
    PUBLIC_CA_MISISSUANCE = "public-ca-misissuance"
    SCTS_OUTSIDE_CERTIFICATE = "scts-outside-certificate"
    INCOMPLETE_CHAIN = "incomplete-chain"
    PRIVATE_PKI = "private-pki"
    SELF_SIGNED_ORIGIN = "self-signed-origin"
    STALE_ROOTS = "stale-roots"
    SPLIT_HORIZON = "split-horizon"
    FRONT_OF_THE_OPERATOR = "front-of-the-operator"
    DEFECTIVE_SERVER = "defective-server"
    UNREADABLE_ALGORITHM = "unreadable-algorithm"
    DEVELOPMENT_CA = "development-ca"


class ManagedBy(enum.StrEnum):
    """Who runs an interceptor: the party whose usage rights are reviewed. Never the student."""

    INSTITUTION = "institution"
    ENDPOINT_OWNER = "endpoint-owner"
    DEVELOPER = "developer"
    ATTACKER = "attacker"
    STATE = "state"
    UNKNOWN = "unknown"


class Locality(enum.StrEnum):
    """Where TLS ends early."""

    THIS_DEVICE = "this-device"
    CONFIGURED_PROXY = "configured-proxy"
    NETWORK = "network"
    UNKNOWN = "unknown"


class RootOrigin(enum.StrEnum):
    """How a root came into a trust store of this machine, as far as the store tells."""

    SHIPPED = "shipped"  # with the operating system, from its vendor's own root program
    ADDED = "added"  # on this machine, by a person or a program
    POLICY = "policy"  # by whoever manages the machine
    UNKNOWN = "unknown"  # the store does not keep what was shipped apart from what was added


class RecordedIdentity(enum.StrEnum):
    """What a pin file records of where its pins come from (docs/pin-files.md)."""

    PUBLIC = "public"  # a chain that was accepted and logged, or hand-written pins of a public CA's key
    UNKNOWN = "unknown"  # anything else


class Audience(enum.StrEnum):
    """Who reads advice: each can do something else."""

    STUDENT = "student"
    IT = "it"
    DEVELOPER = "developer"


class PortalOutcome(enum.StrEnum):
    """How a control request over plain HTTP ended. The right answer is known, so any other is somebody else's."""

    OPEN = "open"
    CAPTIVE = "captive"
    REDIRECTED = "redirected"
    CONTENT_MISMATCH = "content-mismatch"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


class WitnessOutcome(enum.StrEnum):
    """How the question to a witness ended on the wire. What an answer is worth is the check's business."""

    ANSWERED = "answered"
    NOT_HTTP = "not-http"
    TOO_LARGE = "too-large"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    NO_BINDING = "no-binding"


class ResolutionOutcome(enum.StrEnum):
    """How the question to a second resolver ended."""

    ANSWERED = "answered"
    NO_SUCH_NAME = "no-such-name"
    NO_ANSWER = "no-answer"
    NOT_VOUCHED = "not-vouched"


class Asked(enum.StrEnum):
    """What was sent with a limited number of hops: the start of a TCP connection, or a ClientHello on one."""

    CONNECT = "connect"
    CLIENT_HELLO = "client-hello"


class HopAnswer(enum.StrEnum):
    """What became of one packet that may pass a limited number of hops (docs/locate.md).

    `time-exceeded` and `unreachable` are a router's words (ICMP), the others the far end's, whoever that is; `refused`
    is a reset, `closed` a connection that ended instead of answering a ClientHello.
    """

    TIME_EXCEEDED = "time-exceeded"
    CONNECTED = "connected"
    ANSWERED = "answered"
    REFUSED = "refused"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    SILENCE = "silence"


class Scope(enum.StrEnum):
    """How much of what was probed is decrypted."""

    NONE = "none"
    UNCERTAIN = "uncertain"
    SELECTIVE = "selective"
    ALL = "all"


class Coverage(enum.StrEnum):
    """What happens to one category of endpoints on this network."""

    CLEAR = "clear"
    DECRYPTED = "decrypted"
    MIXED = "mixed"
    UNCERTAIN = "uncertain"
    UNKNOWN = "unknown"


class Route(enum.StrEnum):
    """How the bytes travelled."""

    DIRECT = "direct"
    DIRECT_IPV4 = "direct-ipv4"
    DIRECT_IPV6 = "direct-ipv6"
    HTTP_CONNECT = "http-connect"
    HTTPS_CONNECT = "https-connect"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"
    QUIC = "quic"
    NONE = "none"


PROXIED: Final = frozenset({Route.HTTP_CONNECT, Route.HTTPS_CONNECT, Route.SOCKS4A, Route.SOCKS5})
"""The routes on which the address in an observation is a proxy's."""


class ProxyScheme(enum.StrEnum):
    """Kinds of proxies, as the scheme of their URL. With each of them the proxy resolves the endpoint's name."""

    HTTP = "http"
    HTTPS = "https"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"


class KeyKind(enum.StrEnum):
    """What a server was asked to prove itself with, where it was not free to choose."""

    RSA = "rsa"
    ECDSA = "ecdsa"


class Hello(enum.StrEnum):
    """What the ClientHello looked like: interceptors choose by it, too, what they decrypt (docs/hello-and-quic.md)."""

    DEFAULT = "default"
    BROWSER = "browser"
    READABLE = "readable"  # offers only signature algorithms that can be verified here


class Engine(enum.StrEnum):
    """What makes the TLS handshakes of looks: OpenSSL, our own code, or our own with OpenSSL where it does not do."""

    AUTO = "auto"
    OPENSSL = "openssl"
    NATIVE = "native"


class Record(msgspec.Struct, frozen=True):
    """Base of every record. Subclasses say `frozen` and `kw_only` themselves: the second is not inherited."""


class Endpoint(Record, frozen=True, kw_only=True):
    """A host and port to judge, with what is expected of it.

    `pins` and `backup_pins` are SHA-256 digests (32 raw bytes) of SubjectPublicKeyInfo (RFC 7469 section 2.4);
    `certificates` are SHA-256 digests of whole DER certificates; `private_roots` are DER certificates of a declared
    private PKI; `roots` are public roots by certifi's label. `witness` are Ed25519 public keys (32 raw bytes, RFC 8032)
    one of which signs what a witness at this endpoint says (docs/witness.md); two while a key is being rotated. `quic`
    says that it is known to answer over QUIC. `address` is where to connect instead of resolving `host`. `expires` is
    the last day on which the pins are evaluated. `source` names the pin file. `identity` is what that file records of
    where its pins come from. `canary` says that the knowledge states this endpoint's public identity, `runs_ca` that
    its operator issues its certificates with a CA of its own. `witness_is_end` records that whoever runs the witness
    ends TLS there itself, so that no front of the operator explains another session.
    """

    host: str
    port: int = 443
    category: Category = Category.OTHER
    pins: tuple[bytes, ...] = ()
    backup_pins: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()
    roots: tuple[str, ...] = ()
    operator: str | None = None
    private_roots: tuple[bytes, ...] = ()
    witness: tuple[bytes, ...] = ()
    quic: bool = False
    address: tuple[str, int] | None = None
    expires: dt.date | None = None
    source: str | None = None
    identity: RecordedIdentity = RecordedIdentity.UNKNOWN
    canary: bool = False
    runs_ca: bool = False
    witness_is_end: bool = False

    @property
    def name(self) -> str:
        """`host:port`, with an IPv6 literal in brackets (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EndpointName(Record, frozen=True, kw_only=True):
    """An endpoint as a report names it."""

    host: str
    port: int
    category: Category

    @property
    def name(self) -> str:
        """`host:port`, with an IPv6 literal in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MachineRoot(Record, frozen=True, kw_only=True):
    """A root (DER) that a machine trusts and that was never public, and how it came there."""

    der: bytes
    origin: RootOrigin = RootOrigin.UNKNOWN


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


class Finding(Record, frozen=True, kw_only=True):
    """One typed piece of evidence: which check, what came out, what it speaks for, one sentence, the data."""

    check: str
    outcome: str
    says: Says
    summary: str
    data: dict[str, Any] = {}


class Attribution(Record, frozen=True, kw_only=True):
    """Who appears to decrypt. `issuer` is always the raw issuer as presented."""

    product: str | None = None
    vendor: str | None = None
    category: str = "unknown"
    managed_by: ManagedBy = ManagedBy.INSTITUTION
    issuer: str | None = None
    basis: str = ""
    locality: Locality = Locality.UNKNOWN


class Interceptor(Attribution, frozen=True, kw_only=True):
    """One interceptor: an attribution, and the endpoints (`host:port`) it was seen on."""

    endpoints: tuple[str, ...]

    @property
    def attribution(self) -> Attribution:
        """Who this is, without where."""
        return Attribution(**{field: getattr(self, field) for field in Attribution.__struct_fields__})


class Result(Record, frozen=True, kw_only=True):
    """The judgement of one endpoint, with everything needed to judge it again.

    `reason` is the rule of the decision table (docs/decisions.md) that decided. `advice` is the student's; `advice_for`
    has it for every audience that can do something. `observation` is the one that the verdict rests on,
    `other_observations` are the others of the same endpoint: by other routes, with other hellos. `amends` says that
    this result replaces one that was given earlier, before later evidence changed it.
    """

    endpoint: EndpointName
    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()
    attribution: Attribution | None = None
    findings: tuple[Finding, ...] = ()
    advice: str = ""
    advice_for: dict[Audience, str] = {}
    observation: Observation
    other_observations: tuple[Observation, ...] = ()
    amends: bool = False


class KnowledgeKind(enum.StrEnum):
    """The parts of what a judgement rests on besides the evidence."""

    ROOTS = "roots"
    LOGS = "logs"
    CATALOGUE = "catalogue"


class Knowledge(Record, frozen=True, kw_only=True):
    """One part of the knowledge that a judgement was made with.

    `date` is the day up to which it knew of changes, `horizon` the last day on which it counts as current; None where
    nobody said how old it is. `sha256` (hexadecimal) is over what it holds (`detector.knowledge`).
    """

    kind: KnowledgeKind
    name: Annotated[str, msgspec.Meta(max_length=1024)]
    version: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    date: dt.date | None = None
    horizon: dt.date | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    def is_past(self, at: dt.datetime) -> bool:
        """Whether it was old at this moment."""
        return self.horizon is not None and at.date() > self.horizon


class Report(Record, frozen=True, kw_only=True):
    """The judgement of a network: every endpoint's result and what they say together."""

    schema_version: int = SCHEMA_VERSION
    detector_version: str
    started: dt.datetime
    finished: dt.datetime
    vantage: str
    verdict: Verdict
    confidence: Confidence | None = None
    scope: Scope
    coverage: dict[Category, Coverage] = {}
    interceptors: tuple[Interceptor, ...] = ()
    results: tuple[Result, ...] = ()
    portal: PortalObservation | None = None
    knowledge: tuple[Knowledge, ...]

    def to_json(self) -> bytes:
        """This report as UTF-8 JSON on one line."""
        return _ENCODER.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Report:
        """Read a report written by `to_json`.

        Raises `msgspec.ValidationError` (a ValueError) naming the field that does not fit.
        """
        return msgspec.json.decode(data, type=cls)

    def raise_for_middleware(self, *, at_least: Confidence = Confidence.PROBABLE) -> None:
        """Raise `MiddlewareDetected` when the network verdict is `middleware` at `at_least` or higher."""
        from .errors import MiddlewareDetected  # noqa: PLC0415 - errors names Report only for typing

        if self.verdict is Verdict.MIDDLEWARE and self.confidence is not None and self.confidence.reaches(at_least):
            raise MiddlewareDetected(self)


_ENCODER: Final = msgspec.json.Encoder()


def encode(record: Record) -> bytes:
    """Any record as JSON."""
    return _ENCODER.encode(record)


def in_one_order(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Alternatives sorted: versions of msgspec list them differently."""
    if isinstance(schema, dict):
        parts = {key: in_one_order(value) for key, value in schema.items()}
        if "anyOf" in parts:
            parts["anyOf"] = sorted(parts["anyOf"], key=repr)
        return parts
    return [in_one_order(item) for item in schema] if isinstance(schema, list) else schema


def schema(record: type[Record], *, title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a record."""
    of_record = in_one_order(msgspec.json.schema(record))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **of_record}


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `Report`."""
    return schema(Report, title="detector report")
