"""What every engine of a TLS handshake takes and gives: the interface, and the facts in the end.

Room: probe. Pure: no sockets, no clock, no TLS library.

Three engines make handshakes: `handshake` with OpenSSL (the reference: every version, and connections that go on to
carry data), `native` with cryptographic primitives alone (TLS 1.3, for looking only), `browser` with BoringSSL.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

from .codepoints import CIPHER_SUITES, GROUPS, VERSIONS

if TYPE_CHECKING:
    from detector.model import Engine, HandshakeSignature, Hello, Outcome

    from .keyproof import KeyProof
    from .wire import Wire

ALPN_PROTOCOLS: Final = (b"h2", b"http/1.1")
"""What a browser offers (RFC 7301); many interceptors drop h2, which is a fact worth having."""

READABLE_SCHEMES: Final = bytes.fromhex(
    "040305030603080708080809080a080b080408050806040105010601030302030301020103020202040205020602"
)
"""What a hello offers that wants a chain in a form that can be verified here (`Hello.READABLE`): the signature schemes
that every supported `cryptography` verifies, in OpenSSL's order (RFC 8446 section 4.2.3). There is no extension of
certificates' own schemes, so that these are for the chain as well as for the handshake. ML-DSA, the curves of RFC 8734
and SM2 are left out: where one of them can be verified nobody is asked for anything else."""

SERVER_NAME_OCTETS_MAX: Final = 255
"""Longest name OpenSSL sends (TLSEXT_MAXLEN_host_name)."""


_NAMES_REMEMBERED: Final = 1024
"""Hosts whose name is not worked out again: a look asks twice, and the same endpoints are looked at all day."""


class Facts(NamedTuple):
    """What one handshake showed. Names are the IANA registry's; `chain` is the DER as presented, leaf first.

    `sct_list`, `ocsp_response` and `scts_carried` are as `Observation` has them.
    """

    outcome: Outcome
    key_proved: bool
    proof: KeyProof
    tls_version: str | None
    cipher: str | None
    group: str | None
    alpn: str | None
    alert: int | None
    server_hello: bytes | None
    chain: tuple[bytes, ...]
    sct_list: bytes | None
    ocsp_response: bytes | None
    scts_carried: bool


class Handshaking(Protocol):
    """A client handshake without I/O. `start`, then `receive` until `finished`; `facts` at any time. Nothing raises."""

    engine: ClassVar[Engine | None]

    @property
    def hello(self) -> Hello:
        """The profile of the hello."""

    @property
    def finished(self) -> bool:
        """Whether the outcome is settled."""

    @property
    def certificates_seen(self) -> bool:
        """Whether the server presented anything as its chain."""

    @property
    def client_hello(self) -> bytes | None:
        """The ClientHello that was sent first, as a handshake message with its header."""

    @property
    def ja3(self) -> str | None:
        """The JA3 fingerprint of that ClientHello."""

    @property
    def signature(self) -> HandshakeSignature | None:
        """What the server signed in the handshake, for others to verify."""

    def start(self) -> bytes:
        """Make the ClientHello to send."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; return the bytes to send to it (perhaps none)."""

    def ended(self, outcome: Outcome) -> None:
        """Take note that no more bytes come, for the reason `outcome`."""

    def facts(self, outcome: Outcome = ...) -> Facts:
        """Return what was seen so far; `outcome` is used where the handshake has none yet."""

    def farewell(self) -> bytes:
        """Make what ends a connection politely; nothing where there is nothing to say."""


def facts_of(  # noqa: PLR0913 - keyword-only past the first: what the bytes alone do not tell
    wire: Wire,
    *,
    outcome: Outcome,
    key_proved: bool,
    proof: KeyProof,
    alert: int | None,
    chain: tuple[bytes, ...],
    asked: bool,
) -> Facts:
    """Put what was read from the bytes, and what the engine made of it, into facts.

    `asked` is whether our hello asked for SCTs in the TLS extension and in a stapled OCSP response.
    """
    group = None if wire.group is None else GROUPS.get(wire.group, f"0x{wire.group:04x}")
    if group is None and wire.dh_bits is not None:
        group = f"dhe{wire.dh_bits}"
    return Facts(
        outcome=outcome,
        key_proved=key_proved,
        proof=proof,
        tls_version=None if wire.version is None else VERSIONS.get(wire.version, f"0x{wire.version:04x}"),
        cipher=None if wire.suite is None else CIPHER_SUITES.get(wire.suite, f"0x{wire.suite:04x}"),
        group=group,
        alpn=wire.alpn,
        alert=alert,
        server_hello=wire.server_hello,
        chain=chain,
        sct_list=wire.sct_list,
        ocsp_response=wire.ocsp_response,
        scts_carried=asked and wire.past_timestamps,
    )


@functools.lru_cache(maxsize=_NAMES_REMEMBERED)
def server_name(host: str) -> bytes | None:
    """Return what to send as SNI for `host`: nothing for an IP literal (RFC 6066 section 3) or what no name can be."""
    literal = host.strip("[]").partition("%")[0]
    try:
        ipaddress.ip_address(literal)
    except ValueError:
        pass
    else:
        return None
    try:
        name = host.rstrip(".").encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        return None
    return name if 0 < len(name) <= SERVER_NAME_OCTETS_MAX and b"\x00" not in name else None
