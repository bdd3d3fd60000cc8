"""Run both TLS engines against the same correct and faulty servers, and print every difference in their reports.

    python -m evaluation.engine_differential --flights 100000 --seed 1

Each flight is a TLS 1.3 handshake with mutations inside and outside the encryption: bits, lengths, omitted, repeated,
renamed or inserted messages, extensions, padding, fragments, alerts, truncation. Its certificates may come with SCTs
and OCSP responses, well-formed or not. The result of the reference engine alone is compared with that of the native
engine, which falls back to the reference engine as in a probe. Every fact must be equal; `EXPLAINED` has the reasons of
known, harmless differences.

Exit: 0 no unexplained difference, 1 some, 2 bad usage.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import random
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from detector_testing import PrivatePKI
from detector_testing import tls_wire as wire
from detector_testing.tls_server import Script, ScriptedHandshake
from detector_testing.tls_wire import ContentType, Extension, HandshakeType, TLSWireError
from OpenSSL import crypto

from detector.model import Engine, Outcome
from detector.probe.tls.fallback import combine
from detector.probe.tls.native import NativeHandshake, is_usable
from detector.probe.tls.openssl import OpenSSLHandshake
from detector.probe.tls.wire import OCSP_RESPONSE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector_testing.pki import Issued

    from detector.model import Observation
    from detector.probe.tls.engine import ClientHandshake
    from detector.trust.handshake_signature import KeyProof

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
"""Handshake type (RFC 8446 section 4.3.2)."""

COMPARED: Final = (
    *("outcome", "key_proved", "tls_version", "cipher", "group", "alpn", "alert", "chain"),
    *("sct_list", "ocsp_response", "scts_carried"),
)
"""The fields of an observation that must be the same for both engines."""

EXPLAINED: Final[dict[str, str]] = {
    "openssl-cannot-decode": "OpenSSL refuses a chain with a certificate that it cannot decode, the native engine "
    "continues: both report the same certificates and key.",
    "met-by-chance": "In one of the two handshakes the mutation wrote the bytes that were there before: signatures "
    "differ, so one was truncated and the other was not.",
    "other-complaint": "Both report a wrong signature or an excessive size; OpenSSL had sent another alert before.",
}


class MutatedServer(ScriptedHandshake):
    """A scripted server whose flight is mutated by `chance`; the same seed gives the same mutations."""

    def __init__(self, script: Script, chance: random.Random) -> None:
        super().__init__(script)
        self._chance = chance
        self._random = chance.randbytes(32)
        quiet = chance.random() < QUIET_SHARE
        self.mutations = [] if quiet else [chance.choice(MUTATIONS) for _ in range(chance.randint(1, MUTATIONS_MAX))]
        self._at = [chance.randrange(5) for _ in self.mutations]
        self._count = 0
        self.signature: bytes | None = None

    def _sign(self, content: bytes) -> tuple[int, bytes]:
        scheme, self.signature = super()._sign(content)
        return scheme, self.signature

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
            clear = self._write is None or flight.in_clear
            if clear or not isinstance(self._write, wire.Protection13):
                sealed += wire.record(content_type, content, flight.version)
            else:
                sealed += _sealed(self._write, content_type, content, flight)
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


def stapled(issued: Issued, response: bytes, chance: random.Random) -> Script:
    """Return a genuine server with an SCT list, an OCSP response, a malformed one, or none.

    The response is `response` (DER), possibly with bytes of its outer structure changed.
    """
    script = Script.genuine(issued)
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
    schemes = wire.extension(13, wire.vector(b"\x04\x03\x08\x04", 2))
    request = _message(bytes((CERTIFICATE_REQUEST,)), b"\x00" + wire.vector(schemes, 2))
    flight.records.insert(0, (ContentType.HANDSHAKE, request))


def add_extension(flight: Flight) -> None:
    """Append an extension to EncryptedExtensions or ServerHello; junk to other messages."""
    kind = flight.chance.choice((0, 5, 10, 13, 16, 18, 23, 35, 41, 43, 44, 45, 51, 0xFE0D, 0xFF01, 0x1A1A))
    added = wire.extension(kind, flight.chance.choice((b"", b"\x00", b"\x00\x03\x02h2", b"\x03\x04", b"\x00\x1d")))
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
    """What one engine reports, whether the signature arrived intact, and whether the native engine decided."""

    facts: Observation
    proof: KeyProof
    signed: bool
    intact: bool
    natively: bool


def play(handshake: ClientHandshake, server: MutatedServer, chance: random.Random) -> None:
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
    handshake.connection_closed(Outcome.CLOSED)


def _answers(server: MutatedServer, data: bytes) -> Iterator[bytes]:
    try:
        yield from server.receive(data)
    except TLSWireError as error:
        yield wire.alert_record(error.alert)


def report_of(
    engine: type[OpenSSLHandshake | NativeHandshake], issued: Issued, response: bytes, seed: int
) -> tuple[Report, MutatedServer]:
    """Return an engine's report on the server of a seed."""
    chance = random.Random(seed)  # noqa: S311 - a seed, not a secret
    server = MutatedServer(stapled(issued, response, chance), chance)
    handshake = engine(HOST)
    play(handshake, server, random.Random(seed + 1))  # noqa: S311 - a seed, not a secret
    natively = isinstance(handshake, NativeHandshake) and handshake.fallback_reason is None
    seen = handshake.signature
    intact = seen is not None and seen.signature == server.signature
    return Report(handshake.observation(), handshake.proof, seen is not None, intact, natively), server


def compare(issued: Issued, response: bytes, seed: int) -> tuple[Report, Report, list[str], MutatedServer]:
    """Run both against one server; returns the decided report, the reference's, and the facts that differ."""
    reference, server = report_of(OpenSSLHandshake, issued, response, seed)
    native, _ = report_of(NativeHandshake, issued, response, seed)
    decided = native
    combined = combine(native.facts, reference.facts)
    if not native.natively and combined.superseded is None and combined.observation.engine is Engine.OPENSSL:
        decided = reference._replace(natively=False)
    differences = [
        f"{name}: {getattr(reference.facts, name)!r} and {getattr(decided.facts, name)!r}"[:200]
        for name in COMPARED
        if getattr(reference.facts, name) != getattr(decided.facts, name)
    ]
    if reference.proof is not decided.proof:
        differences.append(f"proof: {reference.proof} and {decided.proof}")
    if (reference.facts.server_hello is None) != (decided.facts.server_hello is None):
        differences.append("server_hello: seen by one only")
    if reference.signed != decided.signed:
        differences.append("signature: seen by one only")
    return decided, reference, differences, server


def explanation(decided: Report, reference: Report, differences: Sequence[str]) -> str | None:
    """Return the reason why a difference is harmless; None if it is not."""
    names = {difference.partition(":")[0] for difference in differences}
    if names <= {"outcome", "alert"} and not all(
        openssl_decodes(certificate.der) for certificate in decided.facts.chain
    ):
        return "openssl-cannot-decode"
    if decided.intact is not reference.intact and decided.signed and reference.signed:
        return "met-by-chance"
    if names == {"alert"} and decided.facts.outcome in {Outcome.SIGNATURE_WRONG, Outcome.TOO_LARGE}:
        return "other-complaint"
    return None


def openssl_decodes(certificate: bytes) -> bool:
    """Whether OpenSSL can load a certificate."""
    try:
        crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)
    except crypto.Error:
        return False
    return True


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flights", type=int, default=2_000, metavar="N", help="Servers (default: 2000).")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="The same seed makes the same servers.")
    given = parser.parse_args()
    if given.flights < 1:
        parser.error("--flights must be at least 1.")
    if not is_usable():
        print("The native engine needs a cryptography with ML-KEM: update it.", file=sys.stderr)
        return 2
    pki = PrivatePKI.create()
    # Keys with signatures of constant length: a mutation must affect the same byte for both engines.
    leaves = [pki.issue([HOST], key=kind) for kind in ("ed25519", "ed25519", "ed25519", "rsa")]
    response = pki.intermediate_ec.ocsp_response(leaves[0].leaf)
    outcomes: collections.Counter[str] = collections.Counter()
    explained: collections.Counter[str] = collections.Counter()
    unexplained = 0
    for number in range(given.flights):
        seed = (given.seed << 32) + 2 * number
        decided, reference, differences, server = compare(leaves[number % len(leaves)], response, seed)
        engine = "native" if decided.natively else "fell back"
        outcomes[f"{engine}: {decided.facts.outcome}{', key proved' if decided.facts.key_proved else ''}"] += 1
        if not differences:
            continue
        if reason := explanation(decided, reference, differences):
            explained[reason] += 1
            continue
        unexplained += 1
        if unexplained <= PRINTED_MAX:
            names = ", ".join(mutation.__name__ for mutation in server.mutations)
            print(f"flight {number} ({names}; {engine}):", *differences, sep="\n  ")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:8} {outcome}")
    for reason, count in explained.items():
        print(f"{count:8} differences explained: {EXPLAINED[reason]}")
    print(f"{given.flights} flights, {unexplained} unexplained differences")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
