"""Certificates built field by field, so that any field can be wrong. Nothing is signed: tests construct the paths."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from detector.trust import der
from detector.trust.certificate import Certificate
from detector.trust.paths import Path
from detector.trust.roots import NO_LIMITS, Limits, Root

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

NOW: Final = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAY: Final = dt.timedelta(days=1)

BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.37"
ALTERNATIVE_NAMES, NAME_CONSTRAINTS = "2.5.29.17", "2.5.29.30"
SERVER_AUTH, EMAIL_PROTECTION, ANY_PURPOSE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.4", "2.5.29.37.0"
SHA256_ECDSA, SHA1_RSA, SHA224_ECDSA = "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.5", "1.2.840.10045.4.3.1"

EXAM: Final = "exam.example.edu"


def sequence(*parts: bytes) -> bytes:
    return der.encode(der.SEQUENCE, b"".join(parts))


def oid(dotted: str) -> bytes:
    first, second, *arcs = map(int, dotted.split("."))
    encoded = b""
    for arc in (40 * first + second, *arcs):
        groups = [arc >> shift & 0x7F for shift in range(0, max(arc.bit_length(), 1), 7)][::-1]
        encoded += bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])
    return der.encode(der.OBJECT_IDENTIFIER, encoded)


def integer(number: int) -> bytes:
    return der.encode(der.INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    return sequence(oid(dotted), parameters)


def name(**attributes: str) -> bytes:
    """A Name of CN=, O= or E=, one attribute each."""
    kinds = {"CN": "2.5.4.3", "O": "2.5.4.10", "E": "1.2.840.113549.1.9.1"}
    pairs = (sequence(oid(kinds[kind]), der.encode(0x0C, value.encode())) for kind, value in attributes.items())
    return sequence(*(der.encode(der.SET, pair) for pair in pairs))


def time(moment: dt.datetime) -> bytes:
    return der.encode(der.GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def validity(begins: dt.datetime, ends: dt.datetime) -> bytes:
    return sequence(time(begins), time(ends))


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    flag = b"\x01\x01\xff" if critical else b""
    return sequence(oid(dotted), flag, der.encode(der.OCTET_STRING, value))


def basic_constraints(*, ca: bool, path_length: int | None = None) -> bytes:
    length = b"" if path_length is None else integer(path_length)
    return extension(BASIC_CONSTRAINTS, sequence(b"\x01\x01\xff" if ca else b"", length), critical=True)


def key_usage(bits: int) -> bytes:
    unused = (bits & -bits).bit_length() - 1 if bits else 0
    return extension(KEY_USAGE, der.encode(der.BIT_STRING, bytes([unused, bits])), critical=True)


def purposes(*dotted: str) -> bytes:
    return extension(EXTENDED_KEY_USAGE, sequence(*map(oid, dotted)))


def alternative_names(*names: tuple[int, bytes] | str, critical: bool = False) -> bytes:
    """DNS names as text, others as tag and value."""
    pairs = ((0x82, one.encode()) if isinstance(one, str) else one for one in names)
    return extension(ALTERNATIVE_NAMES, sequence(*(der.encode(tag, value) for tag, value in pairs)), critical=critical)


def subtrees(permitted: tuple[tuple[int, bytes], ...] = (), excluded: tuple[tuple[int, bytes], ...] = ()) -> bytes:
    sides = ((0xA0, permitted), (0xA1, excluded))
    return sequence(
        *(der.encode(tag, b"".join(sequence(der.encode(*tree)) for tree in trees)) for tag, trees in sides if trees)
    )


def name_constraints(*, critical: bool = True, **trees: tuple[tuple[int, bytes], ...]) -> bytes:
    return extension(NAME_CONSTRAINTS, subtrees(**trees), critical=critical)


def spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


P256: Final = spki(ec.generate_private_key(ec.SECP256R1()).public_key())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """The fields of a certificate, each in DER. `inner_algorithm` is the same as the outer one unless given."""

    version: bytes = der.encode(0xA0, integer(2))
    serial: bytes = integer(1234)
    algorithm: bytes = algorithm(SHA256_ECDSA)
    inner_algorithm: bytes | None = None
    issuer: bytes = name(CN="Example CA")
    validity: bytes = validity(NOW - 10 * DAY, NOW + 80 * DAY)
    subject: bytes = name(CN=EXAM)
    spki: bytes = P256
    extensions: tuple[bytes, ...] = ()
    extensions_wrapper: int = 0xA3
    signature: bytes = der.encode(der.BIT_STRING, bytes(65))
    trailing: bytes = b""

    def but(self, **changes: Any) -> Draft:  # noqa: ANN401 - any field
        """This draft with other fields; `adds` are further extensions, `lacks` the identifiers of those left out."""
        adds, lacks = changes.pop("adds", ()), changes.pop("lacks", ())
        kept = [one for one in self.extensions if not any(oid(dotted) in one for dotted in lacks)]
        return dataclasses.replace(self, **{"extensions": (*kept, *adds), **changes})

    @property
    def der(self) -> bytes:
        extensions = der.encode(self.extensions_wrapper, sequence(*self.extensions)) if self.extensions else b""
        inner = self.algorithm if self.inner_algorithm is None else self.inner_algorithm
        fields = (self.version, self.serial, inner, self.issuer, self.validity, self.subject, self.spki, extensions)
        return sequence(sequence(*fields), self.algorithm, self.signature) + self.trailing

    @property
    def certificate(self) -> Certificate:
        return Certificate.read(self.der)


LEAF: Final = Draft(
    extensions=(basic_constraints(ca=False), key_usage(0x80), purposes(SERVER_AUTH), alternative_names(EXAM))
)
"""What public CAs issue: digitalSignature, serverAuth, one name."""
CA: Final = Draft(
    issuer=name(CN="Example Root"),
    subject=name(CN="Example CA"),
    validity=validity(NOW - 1000 * DAY, NOW + 1000 * DAY),
    extensions=(basic_constraints(ca=True, path_length=0), key_usage(0x06), purposes(SERVER_AUTH)),
)
ROOT: Final = Draft(
    issuer=name(CN="Example Root"),
    subject=name(CN="Example Root"),
    validity=validity(NOW - 4000 * DAY, NOW + 4000 * DAY),
    extensions=(basic_constraints(ca=True), key_usage(0x06)),
)


def path(*drafts: Draft, anchored: bool = True, limits: Limits = NO_LIMITS) -> Path:
    """A path of these certificates, leaf first, that ends in a root trusted within these limits, or does not."""
    certificates = tuple(draft.certificate for draft in drafts)
    return Path(certificates, Root("Example Root", certificates[-1], limits=limits) if anchored else None)
