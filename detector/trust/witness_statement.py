"""The protocol between a client and a witness: one request, one signed statement (docs/witness.md).

Room: trust. Pure: bytes and keys in, values out.

The client asks on the very connection it wants to verify. The witness, which terminates TLS itself, answers with its
view of that connection, above all the channel binding of RFC 9266. Both ends of one TLS session have the same binding.
An interceptor has two sessions and no way to make their bindings equal (RFC 9266 section 1, RFC 7627 for TLS 1.2),
whatever certificates and keys it holds.
"""

from __future__ import annotations

import base64
import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from detector.model import Record, json_text
from detector.trust import envelope
from detector.trust.envelope import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VERSION: Final = 1
"""Version of the statement; incremented only when a reader of the old form would misread the new one."""

PATH: Final = "/.well-known/tls-witness"
"""The path of the request (RFC 8615)."""

PAYLOAD_TYPE: Final = "application/vnd.tls-witness.statement.v1+json"
"""Type of the signed payload."""

NONCE_BYTES: Final = 32
"""Length of a nonce in bytes: enough that none ever repeats."""

EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
"""RFC 9266 section 4.1."""

EXPORTER_CONTEXT: Final = b""
"""Present and empty (RFC 9266 section 4.1); before TLS 1.3 that differs from absent (RFC 5705)."""

EXPORTER_BYTES: Final = 32
"""RFC 9266 section 4.1."""

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Largest answer that a client reads, in bytes; a statement has about 1 KiB."""


NAMES_A_PROXY: Final = frozenset(
    {
        "via",  # RFC 9110 section 7.6.3
        "x-bluecoat-via",
        "x-mwg-via",
        "x-iws-via",
        "x-imforwards",
        "x-proxy-id",
        "proxy-connection",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-host",
        "x-forwarded-server",
    }
)
"""Request headers by which intermediaries identify themselves or say how they were reached. Some of the other headers
that they add identify the client: a witness leaves their values empty."""


OFFER_NUMBERS_MAX: Final = 256
"""Numbers of one list of a ClientHello in a statement: OpenSSL with everything enabled offers under 200 cipher suites.
Without a limit the client of an interceptor could make an answer larger than its reader reads."""

OFFER_PROTOCOLS_MAX: Final = 16
OFFER_PROTOCOL_CHARACTERS_MAX: Final = 32
"""Application protocols in a statement, and characters of each: a browser offers two, IANA registered none longer."""

CodePoint = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
"""A code point of TLS's registries, which have two bytes (RFC 8447)."""


class OfferSeen(Record, frozen=True, kw_only=True):
    """What a ClientHello offered: its lists in wire order, reserved values (RFC 8701) included."""

    cipher_suites: tuple[CodePoint, ...] = ()
    groups: tuple[CodePoint, ...] = ()
    extensions: tuple[CodePoint, ...] = ()
    signature_schemes: tuple[CodePoint, ...] = ()
    versions: tuple[CodePoint, ...] = ()
    alpn: tuple[str, ...] = ()


class HelloSeen(Record, frozen=True, kw_only=True):
    """The ClientHello as it reached the witness.

    `sha256` is the hash of the handshake message (hexadecimal), `ja4` its fingerprint, `offer` what it offered. The
    last is None where a list is longer than those of any known client, both where the message cannot be parsed.
    """

    sha256: str
    ja4: str | None = None
    offer: OfferSeen | None = None


class BrowserClaim(Record, frozen=True, kw_only=True):
    """The browser that the request says it comes from, and what of the offer that browser cannot send.

    Of the request's headers only `family` and `major` remain. `contradictions` are names of rules
    (docs/origin-decisions.md); none says nothing, since an interceptor may imitate its client.
    """

    family: str
    major: int | None = None
    contradictions: tuple[str, ...] = ()


class Negotiated(Record, frozen=True, kw_only=True):
    """What the handshake negotiated on the witness's side. Names are those of the IANA registries."""

    version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    extended_master_secret: bool = False


class Statement(Record, frozen=True, kw_only=True):
    """What a witness reports of one connection.

    `nonce` is the client's, encoded as in the request. `exporter` is the witness's side of the channel binding (RFC
    9266 tls-exporter, 32 bytes); empty where its session has no unique one (TLS 1.2 without extended master secret),
    which then cannot be the session of a client that has one. `server_name` is the name the ClientHello requested.
    `proxy_headers` are the request headers that only intermediaries add (name, value), the value empty where it would
    identify the client. `browser` is None where the request names no known browser. `peer` is the address the witness
    saw, omitted unless its operator enabled it.
    """

    version: int = VERSION
    nonce: str
    exporter: bytes
    client_hello: HelloSeen
    tls: Negotiated = Negotiated()
    server_name: str | None = None
    proxy_headers: tuple[tuple[str, str], ...] = ()
    browser: BrowserClaim | None = None
    time: dt.datetime
    peer: str | None = None


class Answer(NamedTuple):
    """A statement and the key that signed it; or the problem, and neither."""

    statement: Statement | None = None
    key: bytes | None = None
    problem: Problem | None = None


def encode_nonce(nonce: bytes) -> str:
    """Encode a nonce for the request: base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(nonce).rstrip(b"=").decode("ascii")


def decode_nonce(text: str) -> bytes | None:
    """Decode the nonce of a request; None when it is not exactly one."""
    try:
        nonce = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except ValueError:  # binascii.Error, and text that is not ASCII
        return None
    return nonce if len(nonce) == NONCE_BYTES and encode_nonce(nonce) == text else None


def request_target(nonce: bytes) -> str:
    """The request target in origin-form (RFC 9112 section 3.2.1)."""
    return f"{PATH}?nonce={encode_nonce(nonce)}"


def sign(statement: Statement, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Make the body of an answer: the statement in an envelope signed with every key."""
    return envelope.seal(msgspec.json.encode(statement), payload_type=PAYLOAD_TYPE, keys=keys)


def read(body: bytes, *, keys: Sequence[bytes]) -> Answer:
    """Read the body of an answer that one of `keys` (32 raw bytes each) signed. Never raises."""
    opened = envelope.open_envelope(body, payload_type=PAYLOAD_TYPE, keys=keys)
    if opened.problem is not None:
        return Answer(problem=opened.problem)
    try:
        statement = json_text.decode(opened.payload, Statement)
    except json_text.MalformedError:
        return Answer(problem=Problem.UNREADABLE)
    if statement.version != VERSION or len(statement.exporter) not in {0, EXPORTER_BYTES}:
        return Answer(problem=Problem.UNREADABLE)
    return Answer(statement, opened.key)
