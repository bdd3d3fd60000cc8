"""A certificate as presented: everything that can be read is read, whatever else is broken (RFC 5280).

Room: trust. Pure.

`Certificate.read` never raises. What could not be read is None or empty and named in `problems`. The hash and the
DER always exist, so a certificate that no library loads is judged like any other.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from detector.model import PresentedCertificate

from . import der
from . import distinguished_name as name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

OID_SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
OID_KEY_USAGE: Final = "2.5.29.15"
OID_SUBJECT_ALT_NAME: Final = "2.5.29.17"
OID_BASIC_CONSTRAINTS: Final = "2.5.29.19"
OID_NAME_CONSTRAINTS: Final = "2.5.29.30"
OID_AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
OID_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
OID_AUTHORITY_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
OID_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"
OID_SCT_LIST: Final = "1.3.6.1.4.1.11129.2.4.2"
"""RFC 6962 section 3.3."""

CERTIFICATE_BYTES_MAX: Final = 256 * 1024
"""Octets of one certificate that are read. The largest genuine leaves (hundreds of SANs) stay under 32 KiB."""
EXTENSIONS_MAX: Final = 64
"""Extensions of one certificate that are read; genuine ones have about ten."""
ALTERNATIVE_NAMES_MAX: Final = 2048
"""Subject alternative names that are read; the largest genuine certificates carry about a thousand."""

REMEMBERED_MAX: Final = 512
"""Certificates remembered; one read whole is about 12 KiB, a campus meets a few dozen intermediates."""
REMEMBERED_BYTES: Final = 4096
"""Octets of the largest certificate that is remembered: twice a usual one, so that a peer cannot fill the memory."""

_SECONDS_AND_Z: Final = len("YYYYMMDDHHMMSSZ")

_TAG_VERSION: Final = 0xA0
_TAG_EXTENSIONS: Final = 0xA3
_GENERAL_NAME_DNS: Final = 0x82
_GENERAL_NAME_URI: Final = 0x86
_GENERAL_NAME_IP: Final = 0x87
_KEY_USAGE_CERT_SIGN: Final = 0x04
"""keyCertSign is bit 5 of KeyUsage (RFC 5280 section 4.2.1.3): mask 0x04 of the first octet."""
_KEY_USAGES_OF_SERVERS: Final = 0x80 | 0x20 | 0x08
"""digitalSignature, keyEncipherment, keyAgreement (bits 0, 2 and 4): RFC 5280 section 4.2.1.12 wants one of them."""
_PURPOSES_OF_SERVERS: Final = frozenset({"1.3.6.1.5.5.7.3.1", "2.5.29.37.0"})
"""id-kp-serverAuth and anyExtendedKeyUsage (RFC 5280 section 4.2.1.12)."""


class Algorithm(NamedTuple):
    """An AlgorithmIdentifier: dotted OID and the DER of its parameters (empty when absent)."""

    oid: str
    parameters: bytes


class _Extension(NamedTuple):
    """One extension: where it is, its dotted OID, its value; whether it is written as DER and RFC 5280 have it."""

    place: der.Element
    identifier: str
    value: bytes
    is_critical: bool
    is_regular: bool


class _Extensions(NamedTuple):
    """The extensions that could be read, by dotted OID."""

    values: dict[str, bytes]
    places: dict[str, der.Element]
    critical: set[str]
    repeated: set[str]
    is_regular: bool


class _Fields(NamedTuple):
    """Offsets of the parts of a certificate whose outer structure could be walked."""

    tbs: der.Element
    algorithm: der.Element | None
    signature: der.Element | None
    version: int
    serial: der.Element | None
    issuer: der.Element | None
    validity: der.Element | None
    subject: der.Element | None
    spki: der.Element | None
    extensions: der.Element | None


class Certificate:
    """One DER certificate. Immutable by convention: fields are read once, on demand, so that it can be shared."""

    def __init__(self, data: bytes) -> None:
        self.der: Final = data
        self._problems: list[str] = []
        self._cut: set[str] = set()

    @classmethod
    def read(cls, data: bytes) -> Certificate:
        """Read a certificate from DER. Never raises.

        The same octets give the same object while it is remembered: intermediates come with every chain, and one
        connection's leaf is asked for by the probe, the checks and the report.
        """
        data = bytes(data)
        if len(data) > REMEMBERED_BYTES:
            return cls(data)
        known = _REMEMBERED.get(data)
        if known is None:
            known = cls(data)
            if len(_REMEMBERED) >= REMEMBERED_MAX:
                _REMEMBERED.clear()
            _REMEMBERED[data] = known
        return known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate {self.sha256.hex()[:16]} {self.subject.text if self.subject else 'unreadable'}>"

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the whole DER, 32 octets."""
        return hashlib.sha256(self.der).digest()

    @cached_property
    def _fields(self) -> _Fields | None:
        data = self.der
        if len(data) > CERTIFICATE_BYTES_MAX:
            self._problems.append("larger than any certificate may be")
            self._cut.add("extensions")
            return None
        try:
            outer = der.expect(data, 0, len(data), der.SEQUENCE)
            if outer.end != len(data):
                self._problems.append("trailing bytes after the certificate")
            tbs = der.expect(data, outer.content, outer.end, der.SEQUENCE)
        except der.DERError as error:
            self._problems.append(f"not a certificate: {error}")
            return None
        algorithm = signature = None
        try:
            algorithm = der.expect(data, tbs.end, outer.end, der.SEQUENCE)
            signature = der.expect(data, algorithm.end, outer.end, der.BIT_STRING)
        except der.DERError as error:
            self._problems.append(f"signature: {error}")
        version = 1
        parts: dict[str, der.Element] = {}
        try:
            offset = tbs.content
            first = der.element(data, offset, tbs.end)
            if first.tag == _TAG_VERSION:
                number = der.value(data, der.expect(data, first.content, first.end, der.INTEGER))
                version = int.from_bytes(number[:4], "big") + 1
                offset = first.end
            for part in ("serial", "inner_algorithm", "issuer", "validity", "subject", "spki"):
                parts[part] = der.element(data, offset, tbs.end)
                offset = parts[part].end
            while offset < tbs.end:
                rest = der.element(data, offset, tbs.end)
                if rest.tag == _TAG_EXTENSIONS:
                    parts["extensions"] = rest
                offset = rest.end
        except der.DERError as error:
            self._problems.append(f"structure: {error}")
        return _Fields(
            tbs=tbs,
            algorithm=algorithm,
            signature=signature,
            version=version,
            serial=parts.get("serial"),
            issuer=parts.get("issuer"),
            validity=parts.get("validity"),
            subject=parts.get("subject"),
            spki=parts.get("spki"),
            extensions=parts.get("extensions"),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, in plain words. Reading is on demand: this reads everything first."""
        for reader in (
            lambda: self.issuer,
            lambda: self.subject,
            lambda: self.validity,
            lambda: self.serial,
            lambda: self.extensions,
            lambda: self.dns_names,
            lambda: self.is_ca,
            lambda: self.key_identifier,
            lambda: self.authority_key_identifier,
        ):
            reader()
        return tuple(dict.fromkeys(self._problems))

    @property
    def exceeded(self) -> frozenset[str]:
        """Which of the parts that were asked for so far are longer than is read."""
        return frozenset(self._cut)

    def _attempt(self, what: str, reader: Callable[[], T], otherwise: T) -> T:
        try:
            return reader()
        except der.DERError as error:
            self._problems.append(f"{what}: {error}")
            if isinstance(error, der.LimitError):
                self._cut.add(what)
            return otherwise

    @property
    def version(self) -> int:
        """1, 2 or 3 in certificates that mean it; 1 when unreadable."""
        return self._fields.version if self._fields else 1

    @cached_property
    def tbs(self) -> bytes | None:
        """The TBSCertificate: what the issuer signed."""
        return der.whole(self.der, self._fields.tbs) if self._fields else None

    @property
    def is_whole(self) -> bool:
        """Whether the outer structure is there to its end, and nothing behind it (RFC 5280 section 4.1)."""
        fields = self._fields
        if fields is None or fields.spki is None or fields.signature is None:
            return False
        return fields.signature.end == len(self.der)

    @cached_property
    def signature_algorithm(self) -> Algorithm | None:
        """The algorithm the issuer signed with."""
        fields = self._fields
        if fields is None or fields.algorithm is None:
            return None
        item = fields.algorithm

        def reader() -> Algorithm:
            kind = der.element(self.der, item.content, item.end)
            return Algorithm(der.oid(self.der, kind), self.der[kind.end : item.end])

        return self._attempt("signature algorithm", reader, None)

    @cached_property
    def signature(self) -> bytes | None:
        """The issuer's signature, without the BIT STRING's count of unused bits."""
        fields = self._fields
        if fields is None or fields.signature is None:
            return None
        return der.value(self.der, fields.signature)[1:] or None

    @cached_property
    def serial(self) -> int | None:
        """The serial number; negative or zero ones exist and are kept."""
        item = self._fields.serial if self._fields else None
        if item is None or item.tag != der.INTEGER or item.content == item.end:
            return None
        return int.from_bytes(der.value(self.der, item)[:64], "big", signed=True)

    @cached_property
    def issuer(self) -> name.Name | None:
        """The issuer as presented."""
        item = self._fields.issuer if self._fields else None
        return None if item is None else self._attempt("issuer", lambda: name.read(self.der, item), None)

    @cached_property
    def subject(self) -> name.Name | None:
        """The subject as presented."""
        item = self._fields.subject if self._fields else None
        return None if item is None else self._attempt("subject", lambda: name.read(self.der, item), None)

    @cached_property
    def validity(self) -> tuple[dt.datetime, dt.datetime] | None:
        """notBefore and notAfter, both inclusive (RFC 5280 section 4.1.2.5), in UTC."""
        item = self._fields.validity if self._fields else None
        if item is None:
            return None

        def reader() -> tuple[dt.datetime, dt.datetime]:
            first = der.element(self.der, item.content, item.end)
            second = der.element(self.der, first.end, item.end)
            return _time(self.der, first), _time(self.der, second)

        return self._attempt("validity", reader, None)

    @property
    def not_before(self) -> dt.datetime | None:
        """Start of validity, UTC."""
        return self.validity[0] if self.validity else None

    @property
    def not_after(self) -> dt.datetime | None:
        """End of validity, UTC."""
        return self.validity[1] if self.validity else None

    @cached_property
    def spki(self) -> bytes | None:
        """The SubjectPublicKeyInfo, byte for byte: what an RFC 7469 pin hashes."""
        item = self._fields.spki if self._fields else None
        return None if item is None or item.tag != der.SEQUENCE else der.whole(self.der, item)

    @cached_property
    def spki_sha256(self) -> bytes | None:
        """SHA-256 of the SubjectPublicKeyInfo, 32 octets."""
        return hashlib.sha256(self.spki).digest() if self.spki else None

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name."""
        return self.subject is not None and self.issuer is not None and self.subject.canonical == self.issuer.canonical

    @cached_property
    def _extensions(self) -> _Extensions:
        item = self._fields.extensions if self._fields else None
        found = _Extensions({}, {}, set(), set(), is_regular=True)
        if item is None:
            return found

        def reader() -> _Extensions:
            is_regular = True
            for extension in _walk_extensions(self.der, item):
                identifier = extension.identifier
                is_regular = is_regular and extension.is_regular
                if identifier in found.values:
                    self._problems.append(f"extension {identifier} repeated")
                    found.repeated.add(identifier)
                else:
                    found.values[identifier] = extension.value
                    found.places[identifier] = extension.place
                    if extension.is_critical:
                        found.critical.add(identifier)
            return found._replace(is_regular=is_regular)

        return self._attempt("extensions", reader, found._replace(is_regular=False))

    @property
    def extensions(self) -> dict[str, bytes]:
        """Extension values by dotted OID. Of a repeated extension the first counts, and it is a problem."""
        return self._extensions.values

    @property
    def critical_extensions(self) -> frozenset[str]:
        """Dotted OIDs of the extensions that are critical."""
        return frozenset(self._extensions.critical)

    @property
    def repeats_extension(self) -> bool:
        """Whether an extension is there more than once."""
        return bool(self._extensions.repeated)

    @property
    def extensions_are_regular(self) -> bool:
        """Whether all were read, each with the parts that DER and RFC 5280 section 4.1 have there and no others."""
        return self._extensions.is_regular

    @property
    def extensions_were_read(self) -> bool:
        """Whether `extensions` has all there are: none unreadable, none repeated, not more than are read."""
        self.extensions  # noqa: B018 - reading it is what notes its problems
        return not any(problem.startswith("extension") for problem in self._problems)

    @cached_property
    def _alternative_names(self) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        octets = self.extensions.get(OID_SUBJECT_ALT_NAME)
        dns: list[str] = []
        addresses: list[bytes] = []

        def reader() -> None:
            if octets is None:
                return
            for count, item in enumerate(der.children(octets, der.expect(octets, 0, len(octets), der.SEQUENCE))):
                if count >= ALTERNATIVE_NAMES_MAX:
                    raise der.LimitError("too many names")
                if item.tag == _GENERAL_NAME_DNS:
                    dns.append(der.value(octets, item)[:256].decode("ascii", "backslashreplace"))
                elif item.tag == _GENERAL_NAME_IP:
                    addresses.append(der.value(octets, item))

        self._attempt("subject alternative names", reader, None)
        return tuple(dns), tuple(addresses)

    @property
    def has_alternative_names(self) -> bool:
        """Whether the extension is there at all, readable or not."""
        return OID_SUBJECT_ALT_NAME in self.extensions

    @property
    def names_unfinished(self) -> bool:
        """Whether there may be more alternative names than were read: there are too many, or too much before them."""
        _ = self._alternative_names
        where = "subject alternative names" if self.has_alternative_names else "extensions"
        return where in self._cut

    @property
    def dns_names(self) -> tuple[str, ...]:
        """dNSName alternative names, as presented."""
        return self._alternative_names[0]

    @cached_property
    def ip_addresses(self) -> tuple[str, ...]:
        """iPAddress alternative names of 4 or 16 octets, in text."""
        return tuple(str(ipaddress.ip_address(a)) for a in self._alternative_names[1] if len(a) in {4, 16})

    @cached_property
    def _basic_constraints(self) -> tuple[bool, int | None] | None:
        octets = self.extensions.get(OID_BASIC_CONSTRAINTS)
        if octets is None:
            return None

        def reader() -> tuple[bool, int | None]:
            ca, length = False, None
            for item in der.children(octets, der.expect(octets, 0, len(octets), der.SEQUENCE)):
                if item.tag == der.BOOLEAN:
                    ca = any(der.value(octets, item))
                elif item.tag == der.INTEGER:
                    length = int.from_bytes(der.value(octets, item)[:8], "big")
            return ca, length

        unreadable: tuple[bool, int | None] = (False, None)
        return self._attempt("basic constraints", reader, unreadable)

    @property
    def is_ca(self) -> bool | None:
        """What basicConstraints say; None when the extension is absent (version 1 roots)."""
        return None if self._basic_constraints is None else self._basic_constraints[0]

    @property
    def path_length(self) -> int | None:
        """pathLenConstraint, or None."""
        return None if self._basic_constraints is None else self._basic_constraints[1]

    @cached_property
    def may_sign_certificates(self) -> bool:
        """Whether keyUsage, if present, allows signing certificates."""
        return self._has_key_usage(_KEY_USAGE_CERT_SIGN)

    @cached_property
    def may_serve_tls(self) -> bool:
        """Whether keyUsage, if present, allows what the key of a TLS server does."""
        return self._has_key_usage(_KEY_USAGES_OF_SERVERS)

    def _has_key_usage(self, mask: int) -> bool:
        octets = self.extensions.get(OID_KEY_USAGE)
        if octets is None:
            return True

        def reader() -> bool:
            bits = der.value(octets, der.expect(octets, 0, len(octets), der.BIT_STRING))
            return len(bits) > 1 and bool(bits[1] & mask)

        return self._attempt("key usage", reader, otherwise=False)

    @cached_property
    def is_for_servers(self) -> bool:
        """Whether extendedKeyUsage, if present, has TLS servers among its purposes, or any purpose."""
        octets = self.extensions.get(OID_EXTENDED_KEY_USAGE)
        if octets is None:
            return True

        def reader() -> bool:
            purposes = der.children(octets, der.expect(octets, 0, len(octets), der.SEQUENCE))
            return any(der.oid(octets, purpose) in _PURPOSES_OF_SERVERS for purpose in purposes)

        return self._attempt("extended key usage", reader, otherwise=False)

    @cached_property
    def key_identifier(self) -> bytes | None:
        """subjectKeyIdentifier."""
        octets = self.extensions.get(OID_SUBJECT_KEY_IDENTIFIER)
        if octets is None:
            return None
        return self._attempt(
            "subject key identifier",
            lambda: der.value(octets, der.expect(octets, 0, len(octets), der.OCTET_STRING)) or None,
            None,
        )

    @cached_property
    def authority_key_identifier(self) -> bytes | None:
        """keyIdentifier of authorityKeyIdentifier."""
        octets = self.extensions.get(OID_AUTHORITY_KEY_IDENTIFIER)
        if octets is None:
            return None

        def reader() -> bytes | None:
            for item in der.children(octets, der.expect(octets, 0, len(octets), der.SEQUENCE)):
                if item.tag == 0x80:  # noqa: PLR2004 - [0] keyIdentifier, RFC 5280 section 4.2.1.1
                    return der.value(octets, item) or None
            return None

        return self._attempt("authority key identifier", reader, None)

    @cached_property
    def issuer_urls(self) -> tuple[str, ...]:
        """caIssuers addresses of authorityInfoAccess: where the issuer's certificate is said to be."""
        octets = self.extensions.get(OID_AUTHORITY_INFORMATION_ACCESS)
        if octets is None:
            return ()

        def reader() -> tuple[str, ...]:
            urls = []
            for access in der.children(octets, der.expect(octets, 0, len(octets), der.SEQUENCE)):
                method = der.element(octets, access.content, access.end)
                location = der.element(octets, method.end, access.end)
                if der.oid(octets, method) == OID_CA_ISSUERS and location.tag == _GENERAL_NAME_URI:
                    urls.append(der.value(octets, location)[:2048].decode("ascii", "backslashreplace"))
            return tuple(urls[:8])

        return self._attempt("authority information access", reader, ())

    @cached_property
    def tbs_without_scts(self) -> bytes | None:
        """The TBSCertificate of the precertificate: SCT list removed (RFC 6962 section 3.2). None when unreadable."""
        fields, removed = self._fields, self._extensions.places.get(OID_SCT_LIST)
        if fields is None or fields.extensions is None or removed is None:
            return None
        item = fields.extensions

        def reader() -> bytes:
            sequence = der.expect(self.der, item.content, item.end, der.SEQUENCE)
            kept = self.der[sequence.content : removed.start] + self.der[removed.end : sequence.end]
            before = self.der[fields.tbs.content : item.start]
            after = self.der[item.end : fields.tbs.end]
            extensions = der.encode(_TAG_EXTENSIONS, der.encode(der.SEQUENCE, kept)) if kept else b""
            return der.encode(der.SEQUENCE, before + extensions + after)

        return self._attempt("precertificate", reader, None)

    def presented(self) -> PresentedCertificate:
        """This certificate as a report shows it."""
        return self._presented

    @cached_property
    def _presented(self) -> PresentedCertificate:
        return PresentedCertificate(
            sha256=self.sha256.hex(),
            der=self.der,
            subject=self.subject.text if self.subject else None,
            issuer=self.issuer.text if self.issuer else None,
            serial=None if self.serial is None else f"{self.serial:x}",
            not_before=self.not_before,
            not_after=self.not_after,
            spki_sha256=self.spki_sha256.hex() if self.spki_sha256 else None,
        )


_REMEMBERED: Final[dict[bytes, Certificate]] = {}
"""By DER. It is emptied when it is full: that costs one reading, and keeps no order."""


def _walk_extensions(data: bytes, wrapper: der.Element) -> Iterator[_Extension]:
    sequence = der.expect(data, wrapper.content, wrapper.end, der.SEQUENCE)
    for count, item in enumerate(der.children(data, sequence)):
        if count >= EXTENSIONS_MAX:
            raise der.LimitError("too many extensions")
        identifier = der.element(data, item.content, item.end)
        content = critical = der.element(data, identifier.end, item.end)
        if critical.tag == der.BOOLEAN:
            content = der.element(data, critical.end, item.end)
        if content.tag != der.OCTET_STRING:
            raise der.DERError("extension value")
        flag = der.value(data, critical) if critical is not content else None
        yield _Extension(
            place=item,
            identifier=der.oid(data, identifier),
            value=der.value(data, content),
            is_critical=flag is not None and any(flag),
            # FALSE is the default, which DER leaves out (X.690 11.5).
            is_regular=item.tag == der.SEQUENCE and content.end == item.end and flag in {None, b"\xff"},
        )


def _time(data: bytes, item: der.Element) -> dt.datetime:
    """UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5), tolerating missing seconds and explicit offsets."""
    text = der.value(data, item).decode("ascii", "replace")
    if item.tag == der.UTC_TIME:
        # RFC 5280 4.1.2.5.1: two-digit years from 50 on are in the 20th century
        text = ("19" if text[:2] >= "50" else "20") + text
    elif item.tag != der.GENERALIZED_TIME:
        raise der.DERError("time")
    if len(text) == _SECONDS_AND_Z and text.endswith("Z") and text[:-1].isdecimal() and text.isascii():
        year, month, day, hour, minute, second = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
        try:
            return dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
        except ValueError as error:
            raise der.DERError("time") from error
    text = text.replace("Z", "+0000")
    for layout in ("%Y%m%d%H%M%S%z", "%Y%m%d%H%M%z"):
        try:
            return dt.datetime.strptime(text, layout).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            continue
    raise der.DERError("time")
