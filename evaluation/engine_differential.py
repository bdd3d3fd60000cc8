"""Run our engine and Chrome's TLS library against the same correct and faulty servers, and print every difference.

    python -m evaluation.engine_differential --flights 100000 --seed 1

BoringSSL is what Chrome uses; utls is a package around it that sends Chrome's hello, installed for development only.
Each flight is a handshake of TLS 1.3 (also after a HelloRetryRequest, or with compressed certificates) or TLS 1.2
(ECDHE or RSA key exchange), with mutations inside and outside the encryption: bits, lengths, omitted, repeated, renamed
or inserted messages, extensions, padding, fragments, alerts, truncation, compression that is malformed or a bomb. Its
certificates may come with SCTs and OCSP responses, well-formed or not. What BoringSSL completes our engine must
complete with the same facts, and what it refuses must be refused; `EXPLAINED` has the reasons of known, harmless
differences.

Exit: 0 no unexplained difference, 1 some, 2 bad usage.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import enum
import functools
import random
import ssl
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import utls
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing import PrivatePKI
from detector_testing import tls_wire as wire
from detector_testing.tls_server import Compression, Group, Script, ScriptedHandshake, compressed_certificate
from detector_testing.tls_wire import ContentType, Extension, HandshakeType, TLSWireError

from detector.model import Outcome
from detector.probe.tls.native import NativeHandshake
from detector.probe.tls.wire import OCSP_RESPONSE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector_testing.pki import Issued
    from detector_testing.tls_wire import ClientHello

HOST: Final = "exam.example.edu"
QUIET_SHARE: Final = 0.1
"""Share of flights without mutations: engines must agree on correct servers, too."""
MUTATIONS_MAX: Final = 3
"""Mutations of one flight, at most: more would mask each other."""
PRINTED_MAX: Final = 20
"""Differences that are printed; the rest is counted."""

STAPLED_SHARE: Final = 0.5
"""Share of flights whose certificates come with SCTs or OCSP responses, well-formed or not."""

SCT_LIST: Final = bytes.fromhex("0006000400736374")
"""A SignedCertificateTimestampList of one entry, whose contents do not matter (RFC 6962 section 3.3)."""

CERTIFICATE_REQUEST: Final = 13
NEW_SESSION_TICKET: Final = 4
"""Handshake types (RFC 8446 section 4.3.2, RFC 5077 section 3.3)."""

ECDSA_BYTES: Final = 71
"""Length of an ECDSA signature here, the most frequent one: a mutation must affect the same byte for both engines."""

SESSION_TICKET: Final = 35
"""Extension type (RFC 5077 section 3.2)."""

ECH_CONFIGS: Final = wire.vector(
    wire.extension(
        0xFE0D, b"\x07\x00\x20" + wire.vector(bytes(32), 2) + wire.vector(b"\x00\x01\x00\x01", 2) + b"\x00\x01a\x00\x00"
    ),
    2,
)
"""An ECHConfigList as a server sends it that could not decrypt ECH (RFC 9849 sections 4 and 5)."""

EXTENSION_BODIES: Final = (
    *(b"", b"\x00", b"\x01\x00", b"\x00\x03\x02h2", b"\x03\x04", b"\x00\x1d", b"\x00\x04\x00\x02xx"),
    ECH_CONFIGS,
)
"""Bodies of inserted extensions; each is right for one or another."""

CERTIFICATE_FAULTS: Final = frozenset({"DECODE_ERROR", "CANNOT_PARSE_LEAF_CERT", "KEY_USAGE_BIT_INCORRECT"})
"""What BoringSSL reports of a certificate, and of other things."""

PROFILE: Final = "chrome:stable"
"""The newest Chrome whose hello utls sends."""


class End(enum.StrEnum):
    """How a handshake ended, as far as two engines can be compared."""

    COMPLETE = "complete"
    WRONG_SIGNATURE = "wrong signature"
    ALERT = "alert"
    REFUSED = "refused"
    CLOSED = "closed"


ENDS: Final = {
    Outcome.COMPLETE: End.COMPLETE,
    Outcome.SIGNATURE_WRONG: End.WRONG_SIGNATURE,
    Outcome.TLS_ALERT: End.ALERT,
    Outcome.CLOSED: End.CLOSED,
}
"""Of our engine's outcomes; all others are refusals."""

EXPLAINED: Final[dict[str, str]] = {
    "certificate-bits": "Bits of a certificate were changed, which BoringSSL refuses; our engine reads certificates on "
    "its own, reports the same bytes, and goes on where they are well-formed enough.",
    "fails-elsewhere": "Both fail, one with an alert of the server or the end of the connection.",
    "read-on": "Both refuse; our engine read on after what it refuses, for the chain, and reports what it met there.",
}


class MutatedServer(ScriptedHandshake):
    """A scripted server whose flights are mutated by `chance`; the same seed gives the same mutations."""

    def __init__(self, script: Script, chance: random.Random) -> None:
        super().__init__(script)
        self._chance = chance
        self._random = chance.randbytes(32)
        self._ticket = chance.choice((None, chance.randbytes(40)))
        quiet = chance.random() < QUIET_SHARE
        self.mutations = [] if quiet else [chance.choice(MUTATIONS) for _ in range(chance.randint(1, MUTATIONS_MAX))]
        self._at = [chance.randrange(6) for _ in self.mutations]
        self._count = 0

    def _sign(self, content: bytes) -> tuple[int, bytes]:
        scheme, signature = super()._sign(content)
        while isinstance(self.script.key, ec.EllipticCurvePrivateKey) and len(signature) != ECDSA_BYTES:
            scheme, signature = super()._sign(content)
        return scheme, signature

    def _alpn_extension(self, hello: ClientHello) -> bytes:
        ticket = self.script.version is ssl.TLSVersion.TLSv1_2 and self._ticket is not None
        return super()._alpn_extension(hello) + (wire.extension(SESSION_TICKET, b"") if ticket else b"")

    def _finish12(self, whole: bytes) -> bytes:
        if self._ticket is None:
            return super()._finish12(whole)
        # The ticket precedes ChangeCipherSpec, and is part of the transcript that Finished covers.
        protection, self._next_write = self._next_write, None
        self._transcript += whole
        body = b"\x00\x00\x1c\x20" + wire.vector(self._ticket, 2)
        ticket = self._message(HandshakeType(NEW_SESSION_TICKET), body)
        data = wire.prf(self._master, "server finished", self._transcript_hash(), 12)
        self._write = protection
        finished = self._message(HandshakeType.FINISHED, self._spoil_finished(data))
        return ticket + wire.record(ContentType.CHANGE_CIPHER_SPEC, b"\x01") + finished

    def _message(self, kind: HandshakeType, body: bytes) -> bytes:
        due = [mutation for mutation, at in zip(self.mutations, self._at, strict=True) if at == self._count]
        self._count += 1
        flight = Flight(self._chance, [(ContentType.HANDSHAKE, wire.message(kind, body))])
        for mutation in due:
            mutation(flight)
        for content_type, content in flight.records:
            if content_type == ContentType.HANDSHAKE and flight.hashed:
                self._transcript += content
        sealed = b""
        for content_type, content in flight.records:
            if self._write is None or flight.in_clear:
                sealed += wire.record(content_type, content, flight.version)
            elif isinstance(self._write, wire.Protection13):
                sealed += _sealed(self._write, content_type, content, flight)
            else:
                sealed += self._write.seal(content_type, content)
        return sealed if flight.cut is None else sealed[: flight.cut]


def _sealed(protection: wire.Protection13, content_type: int, content: bytes, flight: Flight) -> bytes:
    """Encrypt a record with the flight's padding and version."""
    record = protection.seal(content_type, content, padding=flight.padding)
    return record[:1] + flight.version + record[3:] if flight.version != wire.LEGACY_VERSION else record


@dataclasses.dataclass
class Flight:
    """One outgoing message: its records, and how they are sent."""

    chance: random.Random
    records: list[tuple[int, bytes]]
    version: bytes = wire.LEGACY_VERSION
    in_clear: bool = False
    hashed: bool = True
    cut: int | None = None
    padding: int = 0

    @property
    def content(self) -> bytes:
        """The content of the first record."""
        return self.records[0][1] if self.records else b""

    @content.setter
    def content(self, content: bytes) -> None:
        if self.records:
            self.records[0] = (self.records[0][0], content)


def server_of(issued: Issued, response: bytes, chance: random.Random) -> Script:
    """Return a genuine server of a version, group and key exchange, and with what comes with its certificates."""
    script = stapled(issued, response, chance)
    kind = chance.randrange(8)
    if kind == 0:
        return dataclasses.replace(script, group=chance.choice((Group.SECP256R1, Group.SECP384R1)))
    if kind == 1:
        return dataclasses.replace(script, cookie=chance.randbytes(chance.choice((1, 32, 200))))
    if kind == 2:  # noqa: PLR2004 - cases are only numbered to be drawn
        return dataclasses.replace(script, compression=Compression.BROTLI)
    if kind == 3:  # noqa: PLR2004 - cases are only numbered to be drawn
        return dataclasses.replace(script, compressed=_compressed(issued, chance))
    if kind in {4, 5}:
        is_rsa = not isinstance(issued.key, ec.EllipticCurvePrivateKey)
        return dataclasses.replace(
            script,
            version=ssl.TLSVersion.TLSv1_2,
            group=chance.choice(tuple(Group)),
            encrypts=is_rsa and kind == 4,  # noqa: PLR2004 - cases are only numbered to be drawn
        )
    return script


def _compressed(issued: Issued, chance: random.Random) -> bytes:
    """Return a CompressedCertificate, most of them wrong (RFC 8879 section 4)."""
    entries = b"".join(wire.vector(der, 3) + b"\x00\x00" for der in issued.chain)
    body = b"\x00" + wire.vector(entries, 3)
    right = compressed_certificate(Compression.BROTLI, body)
    place = chance.randrange(len(right))
    at_random = right[:place] + bytes((right[place] ^ 1 << chance.randrange(8),)) + right[place + 1 :]
    return chance.choice(
        (
            right,
            at_random,
            right[:5] + wire.vector(right[8:] + chance.randbytes(3), 3),
            right[:5] + wire.vector(right[8 : -chance.randint(1, 9)], 3),
            right + b"\x00",
            right[:-1],
            right[:2] + (len(body) + chance.choice((-9, -1, 1, 9, 1 << 20, 1 << 23))).to_bytes(3, "big") + right[5:],
            compressed_certificate(Compression.ZLIB, body),
            b"\x00\x03" + right[2:],
            compressed_certificate(Compression.BROTLI, b"", 0),
            right[:2] + chance.choice((len(body), 1 << 16, BOMB_BYTES)).to_bytes(3, "big") + wire.vector(_bomb(), 3),
            compressed_certificate(Compression.BROTLI, body + b"\x00"),
        )
    )


BOMB_BYTES: Final = 1 << 20
"""What a few bytes expand to: more than any certificate message that is taken."""


@functools.cache
def _bomb() -> bytes:
    return compressed_certificate(Compression.BROTLI, bytes(BOMB_BYTES))[8:]


def stapled(issued: Issued, response: bytes, chance: random.Random) -> Script:
    """Return a genuine server with an SCT list, an OCSP response, a malformed one, or none.

    The response is `response` (DER), possibly with bytes of its outer structure changed.
    """
    script = Script.genuine(issued)
    if chance.random() < 0.5:  # noqa: PLR2004 - a coin toss
        script = dataclasses.replace(script, alpn=b"h2")
    if chance.random() >= STAPLED_SHARE:
        return script
    if chance.random() < 0.5:  # noqa: PLR2004 - a coin toss
        return dataclasses.replace(script, sct_list=chance.choice((None, SCT_LIST)), ocsp_response=response)
    return dataclasses.replace(
        script, entry_extensions=tuple(_entry(response, chance) for _ in script.certificates[: chance.randint(1, 2)])
    )


def _entry(response: bytes, chance: random.Random) -> bytes:
    """Return the extensions of one certificate's entry, most of them malformed."""
    place = chance.randrange(min(16, len(response)))
    status = chance.choice(
        (
            wire.certificate_status(response),
            wire.certificate_status(response[:place] + bytes((chance.randrange(256),)) + response[place + 1 :]),
            wire.certificate_status(response + b"\x00"),
            wire.certificate_status(response[:-1]),
            wire.certificate_status(b"\x30\x03\x0a\x01" + chance.randbytes(1)),
            wire.certificate_status(bytes(OCSP_RESPONSE_BYTES_MAX // 2)),
            wire.certificate_status(b""),
            wire.certificate_status(response, kind=chance.randrange(4)),
            wire.certificate_status(response)[:-1],
            chance.randbytes(3),
            b"",
        )
    )
    extensions = [
        wire.extension(Extension.STATUS_REQUEST, status),
        wire.extension(Extension.SIGNED_CERTIFICATE_TIMESTAMP, chance.choice((SCT_LIST, chance.randbytes(9), b""))),
        wire.extension(chance.choice((Extension.STATUS_REQUEST, 17, 27, 34, 50, 0x1A1A)), b""),
    ]
    return b"".join(chance.sample(extensions, chance.choice((0, 1, 1, 1, 2, 2, 3))))


def flip(flight: Flight) -> None:
    """Flip one bit anywhere."""
    if flight.content:
        place = flight.chance.randrange(len(flight.content))
        changed = flight.content[place] ^ 1 << flight.chance.randrange(8)
        flight.content = flight.content[:place] + bytes((changed,)) + flight.content[place + 1 :]


def flip_early(flight: Flight) -> None:
    """Flip one bit of the first twelve bytes after the header, where lengths and versions are."""
    place = wire.MESSAGE_HEADER + flight.chance.randrange(12)
    if place < len(flight.content):
        changed = flight.content[place] ^ 1 << flight.chance.randrange(8)
        flight.content = flight.content[:place] + bytes((changed,)) + flight.content[place + 1 :]


def shorten(flight: Flight) -> None:
    """Truncate the message, with or without adapting its length."""
    body = flight.content[wire.MESSAGE_HEADER :]
    kept = body[: flight.chance.randrange(len(body) + 1)]
    header = flight.content[: wire.MESSAGE_HEADER]
    flight.content = header + kept if flight.chance.random() < 0.5 else _message(header[:1], kept)  # noqa: PLR2004 - a coin


def lengthen(flight: Flight) -> None:
    """Append bytes."""
    junk = flight.chance.randbytes(flight.chance.randint(1, 9))
    body = flight.content[wire.MESSAGE_HEADER :] + junk
    flight.content = _message(flight.content[:1], body) if flight.chance.random() < 0.5 else flight.content + junk  # noqa: PLR2004 - a coin


def leave_out(flight: Flight) -> None:
    """Omit the message."""
    flight.records.clear()


def repeat(flight: Flight) -> None:
    """Send the message twice."""
    flight.records.extend(flight.records[:1])


def rename(flight: Flight) -> None:
    """Change the message's type."""
    kind = flight.chance.choice((0, 1, 2, 4, 8, 11, 12, 13, 15, 20, 22, 24, 25, 254))
    flight.content = bytes((kind,)) + flight.content[1:]


def ask_for_certificate(flight: Flight) -> None:
    """Insert a CertificateRequest before it."""
    schemes = wire.vector(b"\x04\x03\x08\x04", 2)
    body = b"\x00" + wire.vector(wire.extension(13, schemes), 2)
    if flight.chance.random() < 0.5:  # noqa: PLR2004 - a coin toss; TLS 1.2's form (RFC 5246 section 7.4.4)
        body = b"\x01\x40" + schemes + b"\x00\x00"
    request = _message(bytes((CERTIFICATE_REQUEST,)), body)
    flight.records.insert(0, (ContentType.HANDSHAKE, request))


def add_extension(flight: Flight) -> None:
    """Append an extension to EncryptedExtensions or ServerHello; junk to other messages."""
    kind = flight.chance.choice(
        (
            *(0, 5, 10, 11, 13, 16, 17, 18, 21, 23, 27, 28, 34, 35, 41, 43, 44, 45, 51),
            *(17613, 0xCA34, 0xFE0D, 0xFF01, 0x1A1A),
        )
    )
    added = wire.extension(kind, flight.chance.choice(EXTENSION_BODIES))
    body = flight.content[wire.MESSAGE_HEADER :]
    start = {2: 2 + 32 + 1 + (body[34] if len(body) > 34 else 0) + 3, 8: 0}.get(flight.content[0] if body else 0)  # noqa: PLR2004 - ServerHello's layout
    if start is None or len(body) < start + 2:
        flight.content = _message(flight.content[:1], body + added)
        return
    block = body[start + 2 :] + added
    flight.content = _message(flight.content[:1], body[:start] + wire.vector(block, 2))


def other_version(flight: Flight) -> None:
    """Change the record's version."""
    flight.version = flight.chance.choice((b"\x03\x01", b"\x03\x02", b"\x03\x04", b"\x03\x00", b"\x02\x00"))


def clear(flight: Flight) -> None:
    """Send it unencrypted."""
    flight.in_clear = True


def split(flight: Flight) -> None:
    """Send it in two records."""
    content = flight.content
    if len(content) > 1:
        place = flight.chance.randrange(1, len(content))
        flight.records[:1] = [(ContentType.HANDSHAKE, content[:place]), (ContentType.HANDSHAKE, content[place:])]


def shift(flight: Flight) -> None:
    """Insert a record of another type before or after it."""
    record = flight.chance.choice(
        (
            (ContentType.CHANGE_CIPHER_SPEC, b"\x01"),
            (ContentType.CHANGE_CIPHER_SPEC, b"\x02"),
            (ContentType.HANDSHAKE, b""),
            (ContentType.APPLICATION_DATA, b"early"),
            (ContentType.ALERT, b"\x01\x00"),
            (ContentType.ALERT, b"\x01\x5a"),
            (ContentType.ALERT, b"\x02\x28"),
            (ContentType.ALERT, b"\x02\x50"),
            (ContentType.ALERT, b"\x01"),
            (24, b"\x01\x00\x00"),
        )
    )
    flight.records.insert(flight.chance.randrange(len(flight.records) + 1), record)


def cut(flight: Flight) -> None:
    """Truncate the sent bytes."""
    flight.cut = flight.chance.randrange(200)


def pad(flight: Flight) -> None:
    """Append zeros to the content (RFC 8446 section 5.4): a few, up to a record's maximum, or more."""
    most = wire.MAXIMUM_PLAINTEXT - len(flight.content)
    # An encrypted record may be 256 bytes longer (section 5.2), with its type and tag.
    over = flight.chance.choice((-1, 0, 1, 256 - 17, 256 - 16, 2000))
    flight.padding = max(0, flight.chance.choice((1, 64, most + over)))


def unhash(flight: Flight) -> None:
    """Omit it from the transcript, so that signature and Finished are wrong."""
    flight.hashed = False


def other_suite(flight: Flight) -> None:
    """Choose another cipher suite; flip a bit of other messages."""
    if flight.content[:1] == b"\x02":
        place = wire.MESSAGE_HEADER + 2 + 32 + 1 + 32
        chosen = flight.chance.choice((0x1302, 0x1303, 0x1304, 0x1305, 0xC02B, 0x0000, 0x1306)).to_bytes(2, "big")
        flight.content = flight.content[:place] + chosen + flight.content[place + 2 :]
    else:
        flip(flight)


def other_scheme(flight: Flight) -> None:
    """Announce another signature scheme; flip a bit of other messages."""
    if flight.content[:1] == b"\x0f":
        announced = flight.chance.choice(
            (0x0403, 0x0503, 0x0804, 0x0805, 0x0807, 0x0808, 0x0809, 0x0401, 0x0201, 0x0905)
        )
        flight.content = flight.content[:4] + announced.to_bytes(2, "big") + flight.content[6:]
    else:
        flip(flight)


MUTATIONS: Final[Sequence[Callable[[Flight], None]]] = (
    flip,
    flip_early,
    flip_early,
    shorten,
    lengthen,
    leave_out,
    repeat,
    rename,
    ask_for_certificate,
    add_extension,
    add_extension,
    other_version,
    clear,
    split,
    split,
    shift,
    shift,
    cut,
    pad,
    unhash,
    other_suite,
    other_scheme,
)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + wire.vector(body, 3)


class Report(NamedTuple):
    """What one engine reports: how it ended, why, and what it saw where it is known."""

    end: End
    why: str
    chain: tuple[bytes, ...]
    facts: tuple[str | None, ...]
    chain_is_changed: bool = False
    read_on: bool = False


class BoringSSL:
    """A handshake by BoringSSL with Chrome's hello, without I/O."""

    def __init__(self) -> None:
        self._incoming, self._outgoing = utls.MemoryBIO(), utls.MemoryBIO()
        self._connection = shared_context().wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)
        self.end: End | None = None
        self.why = ""

    @property
    def finished(self) -> bool:
        """Whether the handshake is over."""
        return self.end is not None

    def start(self) -> bytes:
        """Return the ClientHello."""
        return self.receive(b"")

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server and return those to send."""
        self._incoming.write(data)
        try:
            self._connection.do_handshake()
            self.end = End.COMPLETE
        except utls.SSLWantReadError:
            pass
        except utls.SSLZeroReturnError:
            self.end, self.why = End.ALERT, "close_notify"
        except utls.SSLError as error:
            self.why = str(error.args[0] if error.args else "").rpartition("OPENSSL_internal:")[2]
            is_alert = "_ALERT_" in self.why or self.why == "HANDSHAKE_FAILURE_ON_CLIENT_HELLO"
            self.end = End.ALERT if is_alert else End.REFUSED
            if self.why == "BAD_SIGNATURE":
                self.end = End.WRONG_SIGNATURE
        return self._outgoing.read()

    def report(self) -> Report:
        """Return what it shows."""
        connection = self._connection
        if self.end is not End.COMPLETE:
            return Report(self.end or End.CLOSED, self.why, (), ())
        encoded = [each.public_bytes(each.ENCODING_DER) for each in connection.get_unverified_chain()]
        chain = tuple(der for der in encoded if isinstance(der, bytes))
        cipher = connection.cipher()
        facts = (connection.version(), None if cipher is None else cipher[0], connection.selected_alpn_protocol())
        return Report(End.COMPLETE, "", chain, facts)


@functools.cache
def shared_context() -> utls.SSLContext:
    """Return the one context of the process: Chrome's hello, no verification."""
    context = utls.SSLContext(utls.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = utls.CERT_NONE
    context.set_fingerprint(PROFILE)
    return context


OPENSSL_NAMES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
}
"""What BoringSSL calls the scripted server's suites of TLS 1.2."""


def native_report(handshake: NativeHandshake, server: MutatedServer) -> Report:
    """Return what our engine shows. Raises `AssertionError` where it contradicts itself."""
    seen = handshake.observation()
    end = ENDS.get(seen.outcome, End.REFUSED)
    if (end is End.COMPLETE) is not seen.key_proved and end is End.COMPLETE:
        raise AssertionError("complete without a proved key")
    chain = tuple(certificate.der for certificate in seen.chain)
    facts = (seen.tls_version, OPENSSL_NAMES.get(seen.cipher or "", seen.cipher), seen.alpn)
    reason = handshake.refusal or str(handshake.error or seen.outcome)
    is_changed = chain != server.script.certificates
    return Report(end, reason, chain, facts, is_changed, read_on=handshake.refusal is not None)


def play(handshake: BoringSSL | NativeHandshake, server: MutatedServer, chance: random.Random) -> None:
    """Exchange chunks of random size until the handshake ends or the server sends no more."""
    waiting = [handshake.start()]
    while waiting and not handshake.finished:
        answer = b"".join(_answers(server, b"".join(waiting)))
        waiting = []
        while answer and not handshake.finished:
            size = len(answer) if chance.random() < 0.5 else chance.randint(1, len(answer))  # noqa: PLR2004 - a coin
            chunk, answer = answer[:size], answer[size:]
            if output := handshake.receive(chunk):
                waiting.append(output)


def _answers(server: MutatedServer, data: bytes) -> Iterator[bytes]:
    try:
        yield from server.receive(data)
    except TLSWireError as error:
        yield wire.alert_record(error.alert)


def compare(issued: Issued, response: bytes, seed: int) -> tuple[Report, Report, MutatedServer]:
    """Run both against the server of a seed; returns our engine's report, BoringSSL's, and the server."""
    chance = random.Random(seed)  # noqa: S311 - a seed, not a secret
    server = MutatedServer(server_of(issued, response, chance), chance)
    reference = BoringSSL()
    play(reference, server, random.Random(seed + 1))  # noqa: S311 - a seed, not a secret
    chance = random.Random(seed)  # noqa: S311 - a seed, not a secret
    server = MutatedServer(server_of(issued, response, chance), chance)
    native = NativeHandshake(HOST)
    play(native, server, random.Random(seed + 1))  # noqa: S311 - a seed, not a secret
    native.connection_closed(Outcome.CLOSED)
    return native_report(native, server), reference.report(), server


def differences(native: Report, reference: Report) -> list[str]:
    """Return the facts that differ."""
    found = []
    if native.end is not reference.end:
        found.append(f"ended: {native.end} ({native.why}) and {reference.end} ({reference.why})")
    elif native.end is End.COMPLETE and (native.chain, native.facts) != (reference.chain, reference.facts):
        found.append(f"seen: {native.facts} and {reference.facts}, {len(native.chain)} and {len(reference.chain)}")
    return found


def explanation(native: Report, reference: Report) -> str | None:
    """Return the reason why a difference is harmless; None if it is not."""
    if reference.end is End.REFUSED and reference.why in CERTIFICATE_FAULTS and native.chain_is_changed:
        return "certificate-bits"
    if End.COMPLETE in {native.end, reference.end}:
        return None
    if reference.end is End.REFUSED and native.read_on:
        return "read-on"
    return None if End.WRONG_SIGNATURE in {native.end, reference.end} else "fails-elsewhere"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flights", type=int, default=2_000, metavar="N", help="Servers (default: 2000).")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="The same seed makes the same servers.")
    given = parser.parse_args()
    if given.flights < 1:
        parser.error("--flights must be at least 1.")
    pki = PrivatePKI.create()
    leaves = [pki.issue([HOST], key=kind) for kind in ("ec", "ec", "rsa")]
    response = pki.intermediate_ec.ocsp_response(leaves[0].leaf)
    ends: collections.Counter[str] = collections.Counter()
    explained: collections.Counter[str] = collections.Counter()
    unexplained = 0
    for number in range(given.flights):
        seed = (given.seed << 32) + 2 * number
        native, reference, server = compare(leaves[number % len(leaves)], response, seed)
        ends[f"{native.end}, {native.facts[0] or 'no version'}"] += 1
        found = differences(native, reference)
        if not found:
            continue
        if reason := explanation(native, reference):
            explained[reason] += 1
            continue
        unexplained += 1
        if unexplained <= PRINTED_MAX:
            names = ", ".join(mutation.__name__ for mutation in server.mutations)
            print(f"flight {number} ({names}):", *found, sep="\n  ")
    for end, count in sorted(ends.items()):
        print(f"{count:8} {end}")
    for reason, count in explained.items():
        print(f"{count:8} differences explained: {EXPLAINED[reason]}")
    print(f"{given.flights} flights, {unexplained} unexplained differences")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
