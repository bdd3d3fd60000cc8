"""One certificate as careful clients parse it: what they refuse to read is found here (RFC 5280 section 4, X.690).

Room: trust. Pure.

`Certificate.read` makes what it can of any bytes, which is right for asking who signed. Clearing asks more: where
nothing is wrong with a certificate's form, it has one reading, and `Certificate` says what clients read.
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
"""Tags of TBSCertificate (RFC 5280 section 4.1): serialNumber, signature, issuer, validity, subject and
subjectPublicKeyInfo come always; version before them, unique identifiers and extensions behind them, may come."""
_VERSIONS: Final = (b"\x01", b"\x02")
"""Versions 2 and 3. Version 1 is the default, which DER leaves out (X.690 section 11.5)."""
_PATH_LENGTH_BYTES_MAX: Final = 4
"""Bytes of a pathLenConstraint. Paths are not longer than ten certificates, so any number that fits is as good."""
_REMEMBERED_BYTES_MAX: Final = 256
"""Bytes of an extension's value that is remembered as being in order: nobody fills the memory with one."""
_TIME_BYTES: Final = {der.UTC_TIME: len("YYMMDDHHMMSSZ"), der.GENERALIZED_TIME: len("YYYYMMDDHHMMSSZ")}
"""RFC 5280 section 4.1.2.5: seconds are given, and the zone is Z."""


class Form(NamedTuple):
    """What a certificate says besides what `Certificate` reads, and whether clients read it at all.

    `malformed`: some part is not what DER and RFC 5280 have there. `exceeds_limits`: there is more of something than is
    read here. `algorithms_agree`: nothing shows that the signature's algorithm inside and outside differ. `names` and
    `constraints` are None where there are none that can be read.
    """

    malformed: bool
    exceeds_limits: bool
    algorithms_agree: bool
    names: tuple[GeneralName, ...] | None
    constraints: Constraints | None


def examine(certificate: Certificate) -> Form:
    """Read a certificate strictly. Never raises."""
    return _Examiner(certificate).form()


class _Examiner:
    def __init__(self, certificate: Certificate) -> None:
        self.data = certificate.der
        self.certificate = certificate
        self.malformed = self.exceeds_limits = False
        self.algorithms_agree = True

    def form(self) -> Form:
        self._attempt(self._certificate)
        for identifier, value in self.certificate.extensions.items():
            if identifier in _CHECKS:
                is_short = len(value) <= _REMEMBERED_BYTES_MAX
                self._attempt(_check_value if is_short else _check_value.__wrapped__, identifier, value)
        return Form(
            names=self._read(OID_SUBJECT_ALT_NAME, _names_to_the_end),
            constraints=self._read(OID_NAME_CONSTRAINTS, self._constraints),
            malformed=self.malformed,
            exceeds_limits=self.exceeds_limits,
            algorithms_agree=self.algorithms_agree,
        )

    def _attempt(self, read: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
        try:
            return read(*arguments, **named)
        except der.LimitError:
            self.exceeds_limits = True
        except ValueError:  # DERError is one
            self.malformed = True
        return None

    def _read(self, identifier: str, read: Callable[[bytes], T]) -> T | None:
        """Read the value of an extension, if it is there."""
        value = self.certificate.extensions.get(identifier)
        return None if value is None else self._attempt(_read_value, value, read)

    def _constraints(self, value: bytes) -> Constraints:
        return read_constraints(value, critical=OID_NAME_CONSTRAINTS in self.certificate.critical_extensions)

    def _certificate(self) -> None:
        data = self.data
        if len(data) > CERTIFICATE_BYTES_MAX:
            raise der.LimitError("certificate")
        der.check(data)
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        tbs, algorithm, signed = _parts(data, outer, (der.SEQUENCE, der.SEQUENCE, der.BIT_STRING))
        if data[signed.content]:
            raise der.DERError("signature of not whole bytes")
        fields = list(der.children(data, tbs))
        version = fields.pop(0) if fields and fields[0].tag == _VERSION else None
        if tuple(field.tag for field in fields[: len(_FIELDS)]) != _FIELDS:
            raise der.DERError("fields of the certificate")
        _, signature, _, validity, _, _ = fields[: len(_FIELDS)]
        self.algorithms_agree = der.whole(data, signature) == der.whole(data, algorithm)
        self._check_version(version, fields[len(_FIELDS) :])
        self._check_names()
        _check_times(data, validity)
        if self.certificate.validity is None:
            raise der.DERError("validity")
        if fields[-1].tag == _EXTENSIONS:
            _parts(data, fields[-1], (der.SEQUENCE,))
        regular = self.certificate.extensions_are_well_formed
        if "extensions" in self.certificate.over_limit:
            raise der.LimitError("extensions")
        if not regular:
            raise der.DERError("extensions")

    def _check_names(self) -> None:
        names = (self.certificate.issuer, self.certificate.subject)
        if self.certificate.over_limit & {"issuer", "subject"}:
            self.exceeds_limits = True
        elif any(one is None or not one.is_regular for one in names):
            self.malformed = True

    def _check_version(self, version: der.Element | None, more: Sequence[der.Element]) -> None:
        """Check the version, and the fields behind the public key, which version 1 does not have (4.1.2.1)."""
        number = b"\x00"
        if version is not None:
            (inner,) = _parts(self.data, version, (der.INTEGER,))
            number = der.value(self.data, inner)
        may_follow = () if version is None else _UNIQUE_IDENTIFIERS
        if number == _VERSIONS[-1]:
            may_follow = (*may_follow, _EXTENSIONS)
        tags = [field.tag for field in more]
        if (version is not None and number not in _VERSIONS) or [tag for tag in may_follow if tag in tags] != tags:
            raise der.DERError("version")
        for field in more:
            if field.tag in _UNIQUE_IDENTIFIERS and not der.is_bit_string(der.value(self.data, field)):
                raise der.DERError("unique identifier")


@functools.lru_cache(maxsize=256)  # all certificates of an issuer have most values in common
def _check_value(identifier: str, value: bytes) -> None:
    _read_value(value, _CHECKS[identifier])


def _names_to_the_end(value: bytes) -> tuple[GeneralName, ...] | None:
    """The alternative names; None where there are more than are read, which is `Certificate.names_truncated`.

    Such a list makes no certificate another one: whom it names is not known, and that is all.
    """
    try:
        return read_names(value)
    except der.LimitError:
        return None


def _read_value(value: bytes, read: Callable[[bytes], T]) -> T:
    der.check(value)
    return read(value)


def _parts(data: bytes, parent: der.Element, tags: tuple[int, ...]) -> list[der.Element]:
    """The elements inside one, which must be these."""
    parts = list(der.children(data, parent))
    if tuple(part.tag for part in parts) != tags:
        raise der.DERError("parts")
    return parts


def _check_times(data: bytes, validity: der.Element) -> None:
    """Check that there are two times, and how they are written."""
    not_before, not_after = der.children(data, validity)
    for time in (not_before, not_after):
        text = der.value(data, time)
        if len(text) != _TIME_BYTES.get(time.tag) or not text[:-1].isdigit() or not text.endswith(b"Z"):
            raise der.DERError("validity")


# Values of extensions. Each is one element in DER, which was checked before.


def _check_basic_constraints(value: bytes) -> None:
    """RFC 5280 section 4.2.1.9. An explicit FALSE is not DER, but common."""
    parts = _children(value, der.SEQUENCE)
    tags = [part.tag for part in parts]
    length = der.value(value, parts[-1]) if tags[-1:] == [der.INTEGER] else b"\x00"
    if tags not in ([], [der.BOOLEAN], [der.INTEGER], [der.BOOLEAN, der.INTEGER]):
        raise der.DERError("basic constraints")
    if length[0] & 0x80 or len(length) > _PATH_LENGTH_BYTES_MAX:
        raise der.DERError("path length")


def _check_key_usage(value: bytes) -> None:
    """RFC 5280 section 4.2.1.3: at least one bit is set."""
    item = der.expect(value, 0, len(value), der.BIT_STRING)
    if not any(der.value(value, item)[1:]):
        raise der.DERError("key usage")


def _check_extended_key_usage(value: bytes) -> None:
    """RFC 5280 section 4.2.1.12: at least one purpose."""
    purposes = _children(value, der.SEQUENCE)
    if not purposes or any(purpose.tag != der.OBJECT_IDENTIFIER for purpose in purposes):
        raise der.DERError("extended key usage")


def _check_authority_information_access(value: bytes) -> None:
    """RFC 5280 section 4.2.2.1: at least one place, each with its method."""
    for method, _location in _pairs(value):
        if method != der.OBJECT_IDENTIFIER:
            raise der.DERError("access method")


def _check_policies(value: bytes) -> None:
    """RFC 5280 section 4.2.1.4: at least one policy, which may have qualifiers."""
    for policy in _children(value, der.SEQUENCE):
        if [part.tag for part in der.children(value, policy)][:2] not in ([der.OBJECT_IDENTIFIER], _QUALIFIED):
            raise der.DERError("certificate policies")


def _check_policy_mappings(value: bytes) -> None:
    """RFC 5280 section 4.2.1.5: at least one pair of policies."""
    if any(pair != (der.OBJECT_IDENTIFIER, der.OBJECT_IDENTIFIER) for pair in _pairs(value)):
        raise der.DERError("policy mappings")


def _check_policy_constraints(value: bytes) -> None:
    """RFC 5280 section 4.2.1.11: one number or two."""
    if [part.tag for part in _children(value, der.SEQUENCE)] not in ([0x80], [0x81], [0x80, 0x81]):
        raise der.DERError("policy constraints")


def _check_inhibit_any_policy(value: bytes) -> None:
    """RFC 5280 section 4.2.1.14: a number of certificates."""
    if der.value(value, der.expect(value, 0, len(value), der.INTEGER))[0] & 0x80:
        raise der.DERError("inhibit any policy")


def _check_key_identifier(value: bytes) -> None:
    """RFC 5280 section 4.2.1.2."""
    der.expect(value, 0, len(value), der.OCTET_STRING)


def _check_authority_key_identifier(value: bytes) -> None:
    """RFC 5280 section 4.2.1.1. Which of its fields are there is nobody's concern but the issuer's."""
    tags = [part.tag for part in _children(value, der.SEQUENCE)]
    if [tag for tag in (0x80, 0xA1, 0x82) if tag in tags] != tags:
        raise der.DERError("authority key identifier")


def _children(value: bytes, tag: int) -> list[der.Element]:
    return list(der.children(value, der.expect(value, 0, len(value), tag)))


def _pairs(value: bytes) -> list[tuple[int, int]]:
    """The tags of a sequence of pairs, of which there is at least one."""
    pairs = [_children(der.whole(value, pair), der.SEQUENCE) for pair in _children(value, der.SEQUENCE)]
    if not pairs:
        raise der.DERError("empty")
    return [(first.tag, second.tag) for first, second in pairs]


_QUALIFIED: Final = [der.OBJECT_IDENTIFIER, der.SEQUENCE]
"""Tags of a policy with its qualifiers."""


_CHECKS: Final[dict[str, Callable[[bytes], None]]] = {
    OID_BASIC_CONSTRAINTS: _check_basic_constraints,
    OID_KEY_USAGE: _check_key_usage,
    OID_EXTENDED_KEY_USAGE: _check_extended_key_usage,
    OID_AUTHORITY_INFORMATION_ACCESS: _check_authority_information_access,
    OID_SUBJECT_KEY_IDENTIFIER: _check_key_identifier,
    OID_AUTHORITY_KEY_IDENTIFIER: _check_authority_key_identifier,
    OID_CERTIFICATE_POLICIES: _check_policies,
    OID_POLICY_MAPPINGS: _check_policy_mappings,
    OID_POLICY_CONSTRAINTS: _check_policy_constraints,
    OID_INHIBIT_ANY_POLICY: _check_inhibit_any_policy,
}
"""Extensions whose form counts besides those of names. Raise ValueError."""
