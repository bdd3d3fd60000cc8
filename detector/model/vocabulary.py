"""The closed vocabularies of the records: what may be said about an endpoint, a probe, a finding or a verdict.

Room: model. Pure. Values are spelled in JSON as here: lower case, with hyphens.
"""

from __future__ import annotations

import enum
from typing import Final


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


class Meaning(enum.StrEnum):
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


class ProbeKind(enum.StrEnum):
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


class KnowledgeKind(enum.StrEnum):
    """The parts of what a judgement rests on besides the evidence."""

    ROOTS = "roots"
    LOGS = "logs"
    CATALOGUE = "catalogue"
