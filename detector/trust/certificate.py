"""A certificate as presented: everything readable is read, however broken the rest is (RFC 5280).

Room: trust. Pure.

`Certificate.read` never raises. Unreadable parts are None or empty and named in `problems`. The hash and the DER always
exist, so a certificate that no library loads is assessed like any other.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from detector.model import PresentedCertificate

from . import der
from . import distinguished_name as name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E")

OID_SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
OID_KEY_USAGE: Final = "2.5.29.15"
OID_DELEGATION_USAGE: Final = "1.3.6.1.4.1.44363.44"  # extension that allows a leaf to delegate (RFC 9345 section 4.2)
OID_SUBJECT_ALT_NAME: Final = "2.5.29.17"
OID_BASIC_CONSTRAINTS: Final = "2.5.29.19"
OID_NAME_CONSTRAINTS: Final = "2.5.29.30"
OID_AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
OID_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
OID_AUTHORITY_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
OID_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"
OID_SCT_LIST: Final = "1.3.6.1.4.1.11129.2.4.2"
"""RFC 6962 section 3.3."""

_EXTENSION_NAMES: Final = {
    OID_SUBJECT_KEY_IDENTIFIER: "subject key identifier",
    OID_KEY_USAGE: "key usage",
    OID_BASIC_CONSTRAINTS: "basic constraints",
    OID_AUTHORITY_KEY_IDENTIFIER: "authority key identifier",
    OID_EXTENDED_KEY_USAGE: "extended key usage",
    OID_AUTHORITY_INFORMATION_ACCESS: "authority information access",
}

CERTIFICATE_BYTES_MAX: Final = 256 * 1024
"""Largest certificate that is read. The largest genuine leaves (hundreds of SANs) stay under 32 KiB."""
EXTENSIONS_MAX: Final = 64
"""Extensions of one certificate that are read; genuine ones have about ten."""
ALTERNATIVE_NAMES_MAX: Final = 2048
"""Subject alternative names that are read; the largest genuine certificates carry about a thousand."""

ISSUER_URLS_MAX: Final = 8
"""caIssuers URLs that are read; genuine certificates have one or two."""
_PEM_WIDTH: Final = 64
"""Characters of a line (RFC 7468 section 2)."""

CACHED_MAX: Final = 512
"""Certificates cached; a fully read one is about 12 KiB, a campus meets a few dozen intermediates."""
CACHED_BYTES_MAX: Final = 4096
"""Largest certificate that is cached: twice a usual one, so that a peer cannot fill the memory."""

_SECONDS_AND_Z: Final = len("YYYYMMDDHHMMSSZ")

_TAG_VERSION: Final = 0xA0
_TAG_EXTENSIONS: Final = 0xA3
_TAG_KEY_IDENTIFIER: Final = 0x80
"""[0] keyIdentifier of authorityKeyIdentifier (RFC 5280 section 4.2.1.1)."""
_GENERAL_NAME_DNS: Final = 0x82
_GENERAL_NAME_URI: Final = 0x86
_GENERAL_NAME_IP: Final = 0x87
_KEY_USAGE_CERT_SIGN: Final = 0x04
"""keyCertSign is bit 5 of KeyUsage (RFC 5280 section 4.2.1.3): mask 0x04 of the first byte."""
_KEY_USAGES_OF_SERVERS: Final = 0x80 | 0x20 | 0x08
"""digitalSignature, keyEncipherment, keyAgreement (bits 0, 2 and 4): RFC 5280 section 4.2.1.12 requires one of them."""
_PURPOSES_OF_SERVERS: Final = frozenset({"1.3.6.1.5.5.7.3.1", "2.5.29.37.0"})
"""id-kp-serverAuth and anyExtendedKeyUsage (RFC 5280 section 4.2.1.12)."""


class Algorithm(NamedTuple):
    """An AlgorithmIdentifier: dotted OID and the DER of its parameters (empty when absent)."""

    oid: str
    parameters: bytes


class _Extension(NamedTuple):
    """One extension: its place, dotted OID and value; whether its encoding is exactly that of DER and RFC 5280."""

    place: der.Element
    identifier: str
    value: bytes
    is_critical: bool
    is_well_formed: bool


class _Extensions(NamedTuple):
    """The extensions that could be read, by dotted OID. Of a repeated one, the first."""

    by_oid: dict[str, _Extension]
    values: dict[str, bytes]
    critical: frozenset[str] = frozenset()
    repeated: bool = False
    are_well_formed: bool = True


def _part(what: str) -> Callable[[Callable[[Certificate], T]], cached_property[T | None]]:
    """Make a method a property that is read once: None, and a problem, where the DER is broken."""

    def decorate(read: Callable[[Certificate], T]) -> cached_property[T | None]:
        def attempt(self: Certificate) -> T | None:
            try:
                return read(self)
            except der.DERError as error:
                self._note(what, error)
                return None

        attempt.__doc__ = read.__doc__
        return cached_property(attempt)

    return decorate


def _extension(oid: str, read: Callable[[bytes], T], *, absent: D, damaged: E) -> cached_property[T | D | E]:
    """A property that is read once from an extension's value."""

    def attempt(self: Certificate) -> T | D | E:
        value = self.extensions.get(oid)
        if value is None:
            return absent
        try:
            return read(value)
        except der.DERError as error:
            self._note(_EXTENSION_NAMES[oid], error)
            return damaged

    return cached_property(attempt)


def _items(value: bytes) -> Iterator[der.Element]:
    return der.children(value, der.expect(value, 0, len(value), der.SEQUENCE))


def _read_basic(value: bytes) -> tuple[bool | None, int | None]:
    ca, length = False, None
    for item in _items(value):
        if item.tag == der.BOOLEAN:
            ca = any(der.value(value, item))
        elif item.tag == der.INTEGER:
            length = int.from_bytes(der.value(value, item)[:8], "big")
    return ca, length


def _allows(usages: int) -> Callable[[bytes], bool]:
    def read(value: bytes) -> bool:
        bits = der.value(value, der.expect(value, 0, len(value), der.BIT_STRING))
        return len(bits) > 1 and bool(bits[1] & usages)

    return read


def _is_for_servers(value: bytes) -> bool:
    return any(der.oid(value, purpose) in _PURPOSES_OF_SERVERS for purpose in _items(value))


def _read_key_identifier(value: bytes) -> bytes | None:
    return der.value(value, der.expect(value, 0, len(value), der.OCTET_STRING)) or None


def _read_authority_key(value: bytes) -> bytes | None:
    found = (item for item in _items(value) if item.tag == _TAG_KEY_IDENTIFIER)
    return next((der.value(value, item) or None for item in found), None)


def _read_issuer_urls(value: bytes) -> tuple[str, ...]:
    urls: list[str] = []
    for access in _items(value):
        if len(urls) == ISSUER_URLS_MAX:
            break
        method = der.element(value, access.content, access.end)
        location = der.element(value, method.end, access.end)
        if der.oid(value, method) == OID_CA_ISSUERS and location.tag == _GENERAL_NAME_URI:
            urls.append(der.value(value, location)[:2048].decode("ascii", "backslashreplace"))
    return tuple(urls)


class Certificate:
    """One DER certificate. Immutable by convention: fields are read once, on demand, so that it can be shared."""

    def __init__(self, data: bytes) -> None:
        self.der: Final = data
        self._problems: list[str] = []
        self._over_limit: set[str] = set()

    @classmethod
    def read(cls, data: bytes) -> Certificate:
        """Read a certificate from DER. Never raises.

        The same bytes give the same object while it is cached: intermediates come with every chain, and the probe, the
        checks and the report all read one connection's leaf.
        """
        data = bytes(data)
        if len(data) > CACHED_BYTES_MAX:
            return cls(data)
        cached = _CACHE.get(data)
        if cached is None:
            cached = cls(data)
            if len(_CACHE) >= CACHED_MAX:
                _CACHE.clear()
            _CACHE[data] = cached
        return cached

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate {self.sha256.hex()[:16]} {self.subject.text if self.subject else 'unreadable'}>"

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the whole DER, 32 bytes."""
        return hashlib.sha256(self.der).digest()

    def _note(self, what: str, error: der.DERError) -> None:
        """Record what could not be read."""
        self._problems.append(f"{what}: {error}")
        if isinstance(error, der.LimitError):
            self._over_limit.add(what)

    @cached_property
    def _parts(self) -> dict[str, der.Element]:
        """The parts of the outer structure that could be found."""
        data = self.der
        parts: dict[str, der.Element] = {}
        if len(data) > CERTIFICATE_BYTES_MAX:
            self._problems.append("larger than any certificate may be")
            self._over_limit.add("extensions")
            return parts
        try:
            outer = der.expect(data, 0, len(data), der.SEQUENCE)
            if outer.end != len(data):
                self._problems.append("trailing bytes after the certificate")
            tbs = parts["tbs"] = der.expect(data, outer.content, outer.end, der.SEQUENCE)
        except der.DERError as error:
            self._note("not a certificate", error)
            return parts
        try:
            algorithm = parts["algorithm"] = der.expect(data, tbs.end, outer.end, der.SEQUENCE)
            parts["signature"] = der.expect(data, algorithm.end, outer.end, der.BIT_STRING)
        except der.DERError as error:
            self._note("signature", error)
        try:
            offset = tbs.content
            first = der.element(data, offset, tbs.end)
            if first.tag == _TAG_VERSION:
                parts["version"] = der.expect(data, first.content, first.end, der.INTEGER)
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
            self._note("structure", error)
        return parts

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, as text for people. Reads everything first."""
        _ = self.issuer, self.subject, self.validity, self.serial, self.extensions, self.dns_names, self.is_ca
        _ = self.key_identifier, self.authority_key_identifier
        return tuple(dict.fromkeys(self._problems))

    @property
    def over_limit(self) -> frozenset[str]:
        """Those of the parts read so far that are longer than is read."""
        return frozenset(self._over_limit)

    @property
    def version(self) -> int:
        """The X.509 version, 1 to 3 in valid certificates; 1 when unreadable."""
        number = self._parts.get("version")
        return 1 if number is None else int.from_bytes(der.value(self.der, number)[:4], "big") + 1

    @cached_property
    def tbs(self) -> bytes | None:
        """The TBSCertificate: what the issuer signed."""
        item = self._parts.get("tbs")
        return None if item is None else der.whole(self.der, item)

    @property
    def is_whole(self) -> bool:
        """Whether the outer structure is complete and nothing follows it (RFC 5280 section 4.1)."""
        signature = self._parts.get("signature")
        return signature is not None and signature.end == len(self.der) and "spki" in self._parts

    @_part("signature algorithm")
    def signature_algorithm(self) -> Algorithm | None:
        """The algorithm the issuer signed with."""
        item = self._parts.get("algorithm")
        if item is None:
            return None
        kind = der.element(self.der, item.content, item.end)
        return Algorithm(der.oid(self.der, kind), self.der[kind.end : item.end])

    @cached_property
    def signature(self) -> bytes | None:
        """The issuer's signature, without the BIT STRING's count of unused bits."""
        item = self._parts.get("signature")
        return None if item is None else der.value(self.der, item)[1:] or None

    @cached_property
    def serial(self) -> int | None:
        """The serial number, kept even where it is negative or zero."""
        item = self._parts.get("serial")
        if item is None or item.tag != der.INTEGER or item.content == item.end:
            return None
        return int.from_bytes(der.value(self.der, item)[:64], "big", signed=True)

    @_part("issuer")
    def issuer(self) -> name.Name | None:
        """The issuer as presented."""
        item = self._parts.get("issuer")
        return None if item is None else name.read(self.der, item)

    @_part("subject")
    def subject(self) -> name.Name | None:
        """The subject as presented."""
        item = self._parts.get("subject")
        return None if item is None else name.read(self.der, item)

    @_part("validity")
    def validity(self) -> tuple[dt.datetime, dt.datetime] | None:
        """notBefore and notAfter, both inclusive (RFC 5280 section 4.1.2.5), in UTC."""
        item = self._parts.get("validity")
        if item is None:
            return None
        first = der.element(self.der, item.content, item.end)
        second = der.element(self.der, first.end, item.end)
        return _time(self.der, first), _time(self.der, second)

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
        item = self._parts.get("spki")
        return None if item is None or item.tag != der.SEQUENCE else der.whole(self.der, item)

    @cached_property
    def spki_sha256(self) -> bytes | None:
        """SHA-256 of the SubjectPublicKeyInfo, 32 bytes."""
        return hashlib.sha256(self.spki).digest() if self.spki else None

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name."""
        return self.subject is not None and self.issuer is not None and self.subject.canonical == self.issuer.canonical

    @cached_property
    def _extensions(self) -> _Extensions:
        item = self._parts.get("extensions")
        found: dict[str, _Extension] = {}
        repeated, well_formed = False, True
        try:
            for extension in () if item is None else _walk_extensions(self.der, item):
                well_formed = well_formed and extension.is_well_formed
                if extension.identifier in found:
                    self._problems.append(f"extension {extension.identifier} repeated")
                    repeated = True
                else:
                    found[extension.identifier] = extension
        except der.DERError as error:
            self._note("extensions", error)
            well_formed = False
        values = {identifier: extension.value for identifier, extension in found.items()}
        critical = frozenset(identifier for identifier, extension in found.items() if extension.is_critical)
        return _Extensions(found, values, critical, repeated, well_formed)

    @property
    def extensions(self) -> dict[str, bytes]:
        """Extension values by dotted OID. Of a repeated extension the first counts, and it is a problem."""
        return self._extensions.values

    @property
    def critical_extensions(self) -> frozenset[str]:
        """Dotted OIDs of the extensions that are critical."""
        return self._extensions.critical

    @property
    def repeats_extension(self) -> bool:
        """Whether an extension occurs more than once."""
        return self._extensions.repeated

    @property
    def extensions_are_well_formed(self) -> bool:
        """Whether all were read, each with exactly the parts of RFC 5280 section 4.1 in DER."""
        return self._extensions.are_well_formed

    @property
    def extensions_are_complete(self) -> bool:
        """Whether `extensions` has all of them: none unreadable, none repeated, none past the limit."""
        _ = self.extensions
        return not any(problem.startswith("extension") for problem in self._problems)

    @cached_property
    def _alternative_names(self) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        dns: list[str] = []
        addresses: list[bytes] = []
        value = self.extensions.get(OID_SUBJECT_ALT_NAME)
        if value is None:
            return (), ()
        try:
            for count, item in enumerate(_items(value)):
                if count >= ALTERNATIVE_NAMES_MAX:
                    raise der.LimitError("too many names")
                if item.tag == _GENERAL_NAME_DNS:
                    dns.append(der.value(value, item)[:256].decode("ascii", "backslashreplace"))
                elif item.tag == _GENERAL_NAME_IP:
                    addresses.append(der.value(value, item))
        except der.DERError as error:
            self._note("subject alternative names", error)
        return tuple(dns), tuple(addresses)

    @property
    def has_alternative_names(self) -> bool:
        """Whether the extension is present, readable or not."""
        return OID_SUBJECT_ALT_NAME in self.extensions

    @property
    def names_truncated(self) -> bool:
        """Whether there may be more alternative names than were read: too many of them, or too much before them."""
        _ = self._alternative_names
        return ("subject alternative names" if self.has_alternative_names else "extensions") in self._over_limit

    @property
    def dns_names(self) -> tuple[str, ...]:
        """dNSName alternative names, as presented."""
        return self._alternative_names[0]

    @cached_property
    def ip_addresses(self) -> tuple[str, ...]:
        """iPAddress alternative names of 4 or 16 bytes, as text."""
        return tuple(str(ipaddress.ip_address(a)) for a in self._alternative_names[1] if len(a) in {4, 16})

    _basic_constraints = _extension(OID_BASIC_CONSTRAINTS, _read_basic, absent=(None, None), damaged=(False, None))

    @property
    def is_ca(self) -> bool | None:
        """What basicConstraints say; None when the extension is absent (version 1 roots)."""
        return self._basic_constraints[0]

    @property
    def path_length(self) -> int | None:
        """pathLenConstraint, or None."""
        return self._basic_constraints[1]

    may_sign_certificates = _extension(OID_KEY_USAGE, _allows(_KEY_USAGE_CERT_SIGN), absent=True, damaged=False)
    """Whether keyUsage, if present, allows signing certificates."""
    may_serve_tls = _extension(OID_KEY_USAGE, _allows(_KEY_USAGES_OF_SERVERS), absent=True, damaged=False)
    """Whether keyUsage, if present, allows what the key of a TLS server does."""
    is_for_servers = _extension(OID_EXTENDED_KEY_USAGE, _is_for_servers, absent=True, damaged=False)
    """Whether extendedKeyUsage, if present, includes TLS servers or any purpose."""
    key_identifier = _extension(OID_SUBJECT_KEY_IDENTIFIER, _read_key_identifier, absent=None, damaged=None)
    """subjectKeyIdentifier."""
    authority_key_identifier = _extension(OID_AUTHORITY_KEY_IDENTIFIER, _read_authority_key, absent=None, damaged=None)
    """keyIdentifier of authorityKeyIdentifier."""
    issuer_urls = _extension(OID_AUTHORITY_INFORMATION_ACCESS, _read_issuer_urls, absent=(), damaged=())
    """caIssuers URLs of authorityInfoAccess: where the issuer's certificate should be available."""

    @_part("precertificate")
    def tbs_without_scts(self) -> bytes | None:
        """The TBSCertificate of the precertificate: SCT list removed (RFC 6962 section 3.2). None when unreadable."""
        item, extension = self._parts.get("extensions"), self._extensions.by_oid.get(OID_SCT_LIST)
        if item is None or extension is None:
            return None
        tbs, removed = self._parts["tbs"], extension.place
        sequence = der.expect(self.der, item.content, item.end, der.SEQUENCE)
        kept = self.der[sequence.content : removed.start] + self.der[removed.end : sequence.end]
        before = self.der[tbs.content : item.start]
        after = self.der[item.end : tbs.end]
        extensions = der.encode(_TAG_EXTENSIONS, der.encode(der.SEQUENCE, kept)) if kept else b""
        return der.encode(der.SEQUENCE, before + extensions + after)

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


_CACHE: Final[dict[bytes, Certificate]] = {}
"""By DER. Emptied when full: that costs one more reading, and needs no eviction order."""


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
            # FALSE is the default, which DER omits (X.690 11.5).
            is_well_formed=item.tag == der.SEQUENCE and content.end == item.end and flag in {None, b"\xff"},
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


KEY_NOT_PROVED: Final = "# The handshake did not prove the key."
"""A line before the first certificate in a chain that was saved (`--save-chain`): a genuine chain can be replayed by
anybody, and without this line it would be clean when it is read again."""


def to_pem(certificates: Iterable[bytes]) -> str:
    """The certificates as PEM (RFC 7468)."""
    texts = (base64.b64encode(one).decode("ascii") for one in certificates)
    lines = ("".join(f"{text[at : at + _PEM_WIDTH]}\n" for at in range(0, len(text), _PEM_WIDTH)) for text in texts)
    return "".join(f"-----BEGIN CERTIFICATE-----\n{block}-----END CERTIFICATE-----\n" for block in lines)
