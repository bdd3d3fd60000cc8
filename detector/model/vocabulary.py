"""The enumerations of the records: everything that may be said about an endpoint, a probe, a finding or a verdict.

Room: model. Pure. JSON uses the values: lower case, with hyphens.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Self


class Category(enum.StrEnum):
    """The purpose of an endpoint; interceptors decide by category what they decrypt."""

    EXAM = "exam"
    LMS = "lms"
    SEARCH = "search"
    MAIL = "mail"
    SOCIAL = "social"
    BANK = "bank"
    HEALTH = "health"
    CANARY = "canary"
    OTHER = "other"


class Fault(enum.StrEnum):
    """The party responsible for an outcome, as far as the outcome alone shows."""

    NONE = "none"
    US = "us"
    PEER = "peer"
    NETWORK = "network"
    UNDETERMINED = "undetermined"


class Outcome(enum.StrEnum):
    """How one connection ended. Every foreign exception maps to one of these."""

    fault: Fault

    def __new__(cls, value: str, fault: Fault) -> Self:
        """A string that also knows the responsible party."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.fault = fault
        return member

    COMPLETE = "complete", Fault.NONE
    EXAMINED = "examined", Fault.NONE
    DNS_FAILURE = "dns-failure", Fault.NETWORK
    NO_ADDRESS = "no-address", Fault.NONE
    CONNECT_REFUSED = "connect-refused", Fault.PEER
    CONNECT_TIMEOUT = "connect-timeout", Fault.UNDETERMINED
    UNREACHABLE = "unreachable", Fault.NETWORK
    PROXY_UNREACHABLE = "proxy-unreachable", Fault.NETWORK
    PROXY_AUTH_REQUIRED = "proxy-auth-required", Fault.US
    PROXY_AUTH_REJECTED = "proxy-auth-rejected", Fault.US
    PROXY_AUTH_UNSUPPORTED = "proxy-auth-unsupported", Fault.US
    PROXY_REFUSED = "proxy-refused", Fault.NETWORK
    PROXY_REDIRECTED = "proxy-redirected", Fault.NETWORK
    PROXY_GATEWAY = "proxy-gateway", Fault.NETWORK
    PROXY_PROTOCOL = "proxy-protocol", Fault.NETWORK
    PROXY_OTHER_KIND = "proxy-other-kind", Fault.US
    PROXY_CLOSED = "proxy-closed", Fault.NETWORK
    PROXY_TLS = "proxy-tls", Fault.NETWORK
    PROXY_UNTRUSTED = "proxy-untrusted", Fault.NETWORK
    PROXY_UNKNOWN = "proxy-unknown", Fault.US
    NO_ROUTE = "no-route", Fault.US
    RESET = "reset", Fault.UNDETERMINED
    CLOSED = "closed", Fault.UNDETERMINED
    NOT_TLS = "not-tls", Fault.PEER
    TLS_ALERT = "tls-alert", Fault.PEER
    TLS_FAILURE = "tls-failure", Fault.PEER
    SIGNATURE_WRONG = "signature-wrong", Fault.PEER
    TOO_LARGE = "too-large", Fault.PEER
    HANDSHAKE_TIMEOUT = "handshake-timeout", Fault.UNDETERMINED
    DEADLINE = "deadline", Fault.UNDETERMINED
    RESOURCES = "resources", Fault.US


class Meaning(enum.StrEnum):
    """What a finding says about the endpoint. Only the decision table weighs several findings."""

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
    """The rule that gave a verdict (docs/decisions.md); the last four are a server's (docs/origin-decisions.md)."""

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
    OTHER_HELLO = "other-hello"
    BUDGET_SPENT = "budget-spent"
    CLOCK_WRONG = "clock-wrong"
    EXPIRED = "expired"
    RETIRED = "retired"
    UNREADABLE = "unreadable"
    DECLARED_ROOT_INTERCEPTS = "declared-root-intercepts"
    DECLARED_NOT_ACCEPTED = "declared-not-accepted"
    BROWSER_REPORTED = "browser-reported"
    ISSUER_NOT_REPORTED = "issuer-not-reported"
    KEY_NOT_PROVED = "key-not-proved"
    NAME_NOT_CONFIRMED = "name-not-confirmed"
    WITNESS_SILENT = "witness-silent"
    SCTS_NOT_CARRIED = "scts-not-carried"
    STALE_KNOWLEDGE = "stale-knowledge"
    ONE_OFFER_SEVERAL_BROWSERS = "one-offer-several-browsers"
    IMPOSSIBLE_OFFER = "impossible-offer"
    INTERCEPTOR_HEADER = "interceptor-header"
    NOTHING_SEEN = "nothing-seen"


class Assurance(enum.StrEnum):
    """The basis of a `clean` verdict, weakest first."""

    DECLARED = "declared"
    LOGGED = "logged"
    PINNED = "pinned"
    WITNESSED = "witnessed"


class Alternative(enum.StrEnum):
    """An innocent or different explanation that also fits a `possible` or `probable` verdict."""

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
    SPOOFED_USER_AGENT = "spoofed-user-agent"
    AUTOMATION = "automation"
    REMOTE_BROWSER = "remote-browser"
    SINGLE_DEVICES = "single-devices"


class ManagedBy(enum.StrEnum):
    """The operator of an interceptor: the party whose usage rights are reviewed. Never the student."""

    INSTITUTION = "institution"
    ENDPOINT_OWNER = "endpoint-owner"
    DEVELOPER = "developer"
    ATTACKER = "attacker"
    STATE = "state"
    UNKNOWN = "unknown"


class Locality(enum.StrEnum):
    """Where TLS is terminated early."""

    THIS_DEVICE = "this-device"
    CONFIGURED_PROXY = "configured-proxy"
    NETWORK = "network"
    UNKNOWN = "unknown"


class RootOrigin(enum.StrEnum):
    """How a root came into a trust store of this machine, as far as the store records it."""

    SHIPPED = "shipped"  # with the operating system, from its vendor's own root program
    ADDED = "added"  # on this machine, by a person or a program
    POLICY = "policy"  # by the administrator of the machine
    UNKNOWN = "unknown"  # the store does not separate shipped roots from added ones


class RecordedIdentity(enum.StrEnum):
    """What a pin file records about the origin of its pins (docs/pin-files.md)."""

    PUBLIC = "public"  # an accepted and logged chain, or hand-written pins of a public CA's key
    UNKNOWN = "unknown"  # anything else


class Audience(enum.StrEnum):
    """The reader of advice: each can act differently."""

    STUDENT = "student"
    IT = "it"
    DEVELOPER = "developer"


class Detail(enum.IntEnum):
    """How much a text for people says; every level has what the levels before it have."""

    VERDICT = 0
    SUMMARY = 1
    EVIDENCE = 2


class PortalOutcome(enum.StrEnum):
    """How a control request over plain HTTP ended. The right response is known, so any other is another party's."""

    OPEN = "open"
    CAPTIVE = "captive"
    REDIRECTED = "redirected"
    CONTENT_MISMATCH = "content-mismatch"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


class WitnessOutcome(enum.StrEnum):
    """How the request to a witness ended on the wire. The check evaluates the response."""

    ANSWERED = "answered"
    NOT_HTTP = "not-http"
    TOO_LARGE = "too-large"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    NO_BINDING = "no-binding"


class ResolutionOutcome(enum.StrEnum):
    """How the query to a second resolver ended."""

    ANSWERED = "answered"
    NO_SUCH_NAME = "no-such-name"
    NO_ANSWER = "no-answer"
    NOT_VOUCHED = "not-vouched"


class ProbeKind(enum.StrEnum):
    """What was sent with a hop limit: the start of a TCP connection, or a ClientHello on one."""

    CONNECT = "connect"
    CLIENT_HELLO = "client-hello"


class HopAnswer(enum.StrEnum):
    """The response to one packet with a hop limit (docs/locate.md).

    `time-exceeded` and `unreachable` are a router's (ICMP), the others the far end's, whichever host that is; `refused`
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
    """Whether one category of endpoints is decrypted on this network."""

    CLEAR = "clear"
    DECRYPTED = "decrypted"
    MIXED = "mixed"
    UNCERTAIN = "uncertain"
    UNKNOWN = "unknown"


class Route(enum.StrEnum):
    """How the connection was made."""

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
"""Routes on which the address in an observation is a proxy's."""


class ProxyScheme(enum.StrEnum):
    """Kinds of proxies, as the scheme of their URL. The proxy always resolves the endpoint's name."""

    HTTP = "http"
    HTTPS = "https"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"


class KeyKind(enum.StrEnum):
    """The kind of key a server had to use, where it was not free to choose."""

    RSA = "rsa"
    ECDSA = "ecdsa"


class Hello(enum.StrEnum):
    """The profile of the ClientHello; interceptors also decide by it what they decrypt (docs/hello-and-quic.md)."""

    BROWSER = "browser"  # Chrome's
    FIREFOX = "firefox"
    OPENSSL = "openssl"  # what programs on Python's `ssl` offer
    WIDEST = "widest"  # every cipher suite of OpenSSL, at security level 0
    READABLE = "readable"  # Chrome's, but with only the signature algorithms that can be verified here


class Engine(enum.StrEnum):
    """What made a recorded TLS handshake."""

    OPENSSL = "openssl"
    NATIVE = "native"  # our own code
    BROWSER = "browser"  # the user's own browser, which reported what it saw


class UnfollowedProxy(enum.StrEnum):
    """Why the proxy setting of this machine was not followed, so that the probe took the route without it."""

    EXTRA_MISSING = "extra-missing"  # a proxy file, and the extra `pac` is not installed
    FILE_FAULTY = "file-faulty"  # the proxy file could not be fetched or evaluated
    KIND_UNKNOWN = "kind-unknown"  # a kind of proxy that is not supported, or a setting that cannot be read


class KnowledgeKind(enum.StrEnum):
    """The parts of the knowledge that an assessment uses."""

    ROOTS = "roots"
    LOGS = "logs"
    INTERMEDIATES = "intermediates"
    REVOCATIONS = "revocations"
    CATALOGUE = "catalogue"
    CLIENT_HELLOS = "client-hellos"
    BROWSER_OFFERS = "browser-offers"
    CANARIES = "canaries"
    PINS = "pins"
