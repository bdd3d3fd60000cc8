"""One certificate as careful clients parse it: finds what they refuse to read (RFC 5280 section 4, X.690).

Room: trust. Pure.

`Certificate.read` makes what it can of any bytes, which is right for asking who signed. Clearing requires more: a
certificate without a defect of form has one interpretation, and `Certificate` reads it as clients do.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, TypeVar

from . import der
from .certificate import (
    CERTIFICATE_BYTES_MAX,
    OID_AUTHORITY_INFORMATION_ACCESS,
    OID_AUTHORITY_KEY_IDENTIFIER,
    OID_BASIC_CONSTRAINTS,
    OID_EXTENDED_KEY_USAGE,
    OID_KEY_USAGE,
    OID_NAME_CONSTRAINTS,
    OID_SUBJECT_ALT_NAME,
    OID_SUBJECT_KEY_IDENTIFIER,
)
from .name_constraints import Constraints, GeneralName, read_constraints, read_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .certificate import Certificate

OID_CERTIFICATE_POLICIES: Final = "2.5.29.32"
OID_POLICY_MAPPINGS: Final = "2.5.29.33"
OID_POLICY_CONSTRAINTS: Final = "2.5.29.36"
OID_INHIBIT_ANY_POLICY: Final = "2.5.29.54"

T = TypeVar("T")
P = ParamSpec("P")

_VERSION, _EXTENSIONS = 0xA0, 0xA3
_UNIQUE_IDENTIFIERS: Final = (0x81, 0x82)
_FIELDS: Final = (der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE, der.SEQUENCE)
"""Tags of the mandatory fields of TBSCertificate (RFC 5280 section 4.1): serialNumber, signature, issuer, validity,
subject and subjectPublicKeyInfo. The version may precede them, unique identifiers and extensions may follow."""
_VERSIONS: Final = (b"\x01", b"\x02")
"""Versions 2 and 3. Version 1 is the default, which DER omits (X.690 section 11.5)."""
_PATH_LENGTH_BYTES_MAX: Final = 4
"""Bytes of a pathLenConstraint. Paths have at most ten certificates, so any number that fits is as good."""
_CACHED_BYTES_MAX: Final = 256
"""Largest extension value that is cached as well-formed, so that a peer cannot fill the memory."""
_TIME_BYTES: Final = {der.UTC_TIME: len("YYMMDDHHMMSSZ"), der.GENERALIZED_TIME: len("YYYYMMDDHHMMSSZ")}
"""RFC 5280 section 4.1.2.5: seconds are present, and the zone is Z. Measured: Chromium refuses a server's certificate
with another form (ERR_SSL_SERVER_CERT_BAD_FORMAT), and so does OpenSSL; Go alone reads a time without seconds."""


class StrictForm(NamedTuple):
    """What `Certificate` does not say, and whether clients can read the certificate at all.

    `malformed`: some part violates DER or RFC 5280. `over_limit`: something is longer than is read here.
    `algorithms_agree`: the signature algorithms inside and outside were not seen to differ. `names` and `constraints`
    are None when absent or unreadable.
    """

    malformed: bool
    over_limit: bool
    algorithms_agree: bool
    names: tuple[GeneralName, ...] | None
    constraints: Constraints | None


def parse(certificate: Certificate) -> StrictForm:
    """Parse a certificate strictly. Never raises."""
    return _Parser(certificate).form()


class _Parser:
    def __init__(self, certificate: Certificate) -> None:
        self.data = certificate.der
        self.certificate = certificate
        self.malformed = self.over_limit = False
        self.algorithms_agree = True

    def form(self) -> StrictForm:
        self._attempt(self._certificate)
        extensions = self.certificate.extensions
        for identifier, value in extensions.items():
            if identifier in _CHECKS:
                is_short = len(value) <= _CACHED_BYTES_MAX
                self._attempt(_check_value if is_short else _check_value.__wrapped__, identifier, value)
        names, constraints = extensions.get(OID_SUBJECT_ALT_NAME), extensions.get(OID_NAME_CONSTRAINTS)
        critical = OID_NAME_CONSTRAINTS in self.certificate.critical_extensions
        return StrictForm(
            names=None if names is None else self._attempt(_read_names, names),
            constraints=None if constraints is None else self._attempt(_read_constraints, constraints, critical),
            malformed=self.malformed,
            over_limit=self.over_limit,
            algorithms_agree=self.algorithms_agree,
        )

    def _attempt(self, read: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
        try:
            return read(*arguments, **named)
        except der.LimitError:
            self.over_limit = True
        except ValueError:  # DERError is one
            self.malformed = True
        return None

    def _certificate(self) -> None:
        data, certificate = self.data, self.certificate
        if len(data) > CERTIFICATE_BYTES_MAX:
            raise der.LimitError("certificate")
        der.check(data)
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        tbs, algorithm, signed = _parts(data, outer, (der.SEQUENCE, der.SEQUENCE, der.BIT_STRING))
        _require(not data[signed.content], "signature not of whole bytes")
        fields = list(der.children(data, tbs))
        version = fields.pop(0) if fields and fields[0].tag == _VERSION else None
        _require(tuple(field.tag for field in fields[: len(_FIELDS)]) == _FIELDS, "fields of the certificate")
        _, signature, _, validity, _, _ = fields[: len(_FIELDS)]
        self.algorithms_agree = der.whole(data, signature) == der.whole(data, algorithm)
        self._check_version(version, fields[len(_FIELDS) :])
        names = (certificate.issuer, certificate.subject)
        if certificate.over_limit & {"issuer", "subject"}:
            self.over_limit = True
        elif any(name is None or not name.is_well_formed for name in names):
            self.malformed = True
        not_before, not_after = der.children(data, validity)
        for time in (not_before, not_after):
            text = der.value(data, time)
            in_form = len(text) == _TIME_BYTES.get(time.tag) and text[:-1].isdigit() and text.endswith(b"Z")
            _require(in_form, "validity")
        _require(certificate.validity is not None, "validity")
        if fields[-1].tag == _EXTENSIONS:
            _parts(data, fields[-1], (der.SEQUENCE,))
        well_formed = certificate.extensions_are_well_formed
        if "extensions" in certificate.over_limit:
            raise der.LimitError("extensions")
        _require(well_formed, "extensions")

    def _check_version(self, version: der.Element | None, more: Sequence[der.Element]) -> None:
        """Check the version, and the fields after the public key, which version 1 does not have (4.1.2.1)."""
        number = b"\x00"
        if version is not None:
            (inner,) = _parts(self.data, version, (der.INTEGER,))
            number = der.value(self.data, inner)
        may_follow = () if version is None else _UNIQUE_IDENTIFIERS
        if number == _VERSIONS[-1]:
            may_follow = (*may_follow, _EXTENSIONS)
        _require(version is None or number in _VERSIONS, "version")
        _require(_in_order([field.tag for field in more], may_follow), "order of fields")
        for field in more:
            if field.tag in _UNIQUE_IDENTIFIERS:
                _require(der.is_bit_string(der.value(self.data, field)), "unique identifier")


@functools.lru_cache(maxsize=256)  # certificates of one issuer have most values in common
def _check_value(identifier: str, value: bytes) -> None:
    der.check(value)
    _require(_CHECKS[identifier](value), "extension value")


def _read_names(value: bytes) -> tuple[GeneralName, ...] | None:
    """The alternative names; None where there are more, or longer ones, than are read.

    Such a list is no defect of form: it only leaves unknown whom the certificate names.
    """
    der.check(value)
    try:
        return read_names(value)
    except der.LimitError:
        return None


def _read_constraints(value: bytes, critical: bool) -> Constraints:  # noqa: FBT001 - a fact of the extension
    der.check(value)
    return read_constraints(value, critical=critical)


def _require(condition: object, what: str) -> None:
    if not condition:
        raise der.DERError(what)


def _in_order(tags: list[int], allowed: Sequence[int]) -> bool:
    """Whether these tags are some of the allowed ones, once each, in their order."""
    return [tag for tag in allowed if tag in tags] == tags


def _parts(data: bytes, parent: der.Element, tags: tuple[int, ...]) -> list[der.Element]:
    """The elements inside one, which must have exactly these tags."""
    parts = list(der.children(data, parent))
    _require(tuple(part.tag for part in parts) == tags, "parts")
    return parts


# Values of extensions. Each is one element in DER, which was checked before.


def _value(value: bytes, tag: int) -> bytes:
    return der.value(value, der.expect(value, 0, len(value), tag))


def _children(value: bytes) -> list[der.Element]:
    return list(der.children(value, der.expect(value, 0, len(value), der.SEQUENCE)))


def _tags(value: bytes) -> list[int]:
    return [child.tag for child in _children(value)]


def _pairs(value: bytes) -> list[tuple[int, int]]:
    """The tags of a sequence of at least one pair."""
    pairs = _children(value)
    _require({pair.tag for pair in pairs} == {der.SEQUENCE}, "pairs")
    return [(first.tag, second.tag) for first, second in (der.children(value, pair) for pair in pairs)]


def _is_basic_constraints(value: bytes) -> bool:
    """RFC 5280 section 4.2.1.9. An explicit FALSE is not DER, but common."""
    parts = _children(value)
    tags = [part.tag for part in parts]
    length = der.value(value, parts[-1]) if tags[-1:] == [der.INTEGER] else b"\x00"
    in_range = not length[0] & 0x80 and len(length) <= _PATH_LENGTH_BYTES_MAX
    return _in_order(tags, (der.BOOLEAN, der.INTEGER)) and in_range


def _is_policies(value: bytes) -> bool:
    """RFC 5280 section 4.2.1.4: each policy may have qualifiers."""
    policies = ([part.tag for part in der.children(value, policy)][:2] for policy in _children(value))
    return all(tags in ([der.OBJECT_IDENTIFIER], [der.OBJECT_IDENTIFIER, der.SEQUENCE]) for tags in policies)


_CHECKS: Final[dict[str, Callable[[bytes], object]]] = {
    OID_BASIC_CONSTRAINTS: _is_basic_constraints,
    OID_CERTIFICATE_POLICIES: _is_policies,
    # RFC 5280 section 4.2.1.3: at least one bit is set
    OID_KEY_USAGE: lambda value: any(_value(value, der.BIT_STRING)[1:]),
    # Section 4.2.1.12: at least one purpose
    OID_EXTENDED_KEY_USAGE: lambda value: set(_tags(value)) == {der.OBJECT_IDENTIFIER},
    # Section 4.2.2.1: at least one location, each with its method
    OID_AUTHORITY_INFORMATION_ACCESS: lambda value: {method for method, _ in _pairs(value)} == {der.OBJECT_IDENTIFIER},
    # Section 4.2.1.2
    OID_SUBJECT_KEY_IDENTIFIER: lambda value: der.expect(value, 0, len(value), der.OCTET_STRING),
    # Section 4.2.1.1: any of its fields may be absent
    OID_AUTHORITY_KEY_IDENTIFIER: lambda value: _in_order(_tags(value), (0x80, 0xA1, 0x82)),
    # Section 4.2.1.5: at least one pair of policies
    OID_POLICY_MAPPINGS: lambda value: set(_pairs(value)) == {(der.OBJECT_IDENTIFIER, der.OBJECT_IDENTIFIER)},
    # Section 4.2.1.11: one number or two
    OID_POLICY_CONSTRAINTS: lambda value: _tags(value) in ([0x80], [0x81], [0x80, 0x81]),
    # Section 4.2.1.14: a number of certificates
    OID_INHIBIT_ANY_POLICY: lambda value: not _value(value, der.INTEGER)[0] & 0x80,
}
"""Whether the value of an extension without names is well-formed. Each may also raise ValueError."""
