"""Would a careful TLS client accept this path at that moment, and if not, why (RFC 5280 section 6, CA/B Forum BR)?

Room: trust. Pure: the moment is an argument.

`paths` finds leniently who signed; this module decides strictly, for clearing and for the guard. It takes a path whose
signatures were verified and checks everything except the name of the leaf. It refuses what Chrome's verifier (the pki
library of BoringSSL), Go, rustls-webpki and Firefox refuse and x509-limbo expects to be refused; where these differ,
`tests/trust/test_limbo.py` lists each decision. Accepted, because most of them accept it:

* serial numbers of zero, negative ones, and longer ones than 20 bytes
* no extended key usage, anyExtendedKeyUsage, a critical extended key usage; any extended key usage of the root
* any authority and subject key identifiers, and none, unless critical
* basic constraints of a CA that are not critical
* name constraints that are not critical, and DNS subtrees with a leading dot
* critical alternative names together with a subject; underscores in DNS names; any common name
* Ed25519 (accepted by Go, rustls-webpki and OpenSSL, not by browsers) and ML-DSA

Policies are not processed: no TLS client requires one.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import strict_parsing
from .certificate import (
    OID_BASIC_CONSTRAINTS,
    OID_EXTENDED_KEY_USAGE,
    OID_KEY_USAGE,
    OID_NAME_CONSTRAINTS,
    OID_SUBJECT_ALT_NAME,
)
from .distinguished_name import escape
from .name_constraints import cost, names_of, only_under
from .revocations import NO_REVOCATIONS
from .roots import NO_LIMITS
from .signature import REFUSALS, KeyType, read_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from .certificate import Algorithm, Certificate
    from .name_constraints import Constraints
    from .paths import Path
    from .revocations import Revocations
    from .roots import Limits
    from .strict_parsing import StrictForm

PATHS_CACHED_MAX: Final = 4096
"""Paths whose refusals are cached, 1 KiB each at most: those of a day's endpoints. Emptied when full."""
_NAME_CHARACTERS_MAX: Final = 64
"""Characters of a CA's name in a sentence (RFC 5280 appendix A.1, ub-common-name)."""
CONSTRAINED_BYTES_MAX: Final = 32 * 1024
"""Limit on the names of one path that are compared with constraints, summed over the constraining CAs: about 15 ms in
the worst case. A hundred names have 3 KiB, and CAs with constraints are those of one organization."""

RSA_BITS_LEAST: Final = 2048
"""Smallest RSA modulus (BR 6.1.5; Chrome, Firefox and rustls-webpki refuse less)."""
RSA_BITS_MOST: Final = 8192
"""Largest RSA modulus that Go, BoringSSL and rustls-webpki still use."""
RSA_BITS_MULTIPLE: Final = 8
"""A modulus has whole bytes (BR 6.1.5)."""
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""BR 6.1.5; no web client accepts others."""
_KEYS_OF_ONE_SIZE: Final = (KeyType.ED25519, KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87)
"""Key types of one size, whose signature algorithm has the OID of the key."""

_ABSENT: Final = frozenset({b""})
_NULL_OR_ABSENT: Final = frozenset({b"\x05\x00", b""})
"""RFC 4055 section 5 requires NULL and requires readers to accept its absence."""


def _pss(hash_arc: int, salt: int) -> bytes:
    """RSASSA-PSS-params with one hash for both uses and a salt as long as the hash (RFC 4055 section 3.1)."""
    digest = f"300d060960864801650304020{hash_arc}0500"
    return bytes.fromhex(f"3034a00f{digest}a11c301a06092a864886f70d010108{digest}a2030201{salt:02x}")


_ALGORITHMS: Final[dict[str, frozenset[bytes]]] = {
    "1.2.840.113549.1.1.11": _NULL_OR_ABSENT,  # RSA with SHA-256, SHA-384, SHA-512
    "1.2.840.113549.1.1.12": _NULL_OR_ABSENT,
    "1.2.840.113549.1.1.13": _NULL_OR_ABSENT,
    "1.2.840.113549.1.1.10": frozenset({_pss(1, 32), _pss(2, 48), _pss(3, 64)}),
    "1.2.840.10045.4.3.2": _ABSENT,  # ECDSA with SHA-256, SHA-384, SHA-512
    "1.2.840.10045.4.3.3": _ABSENT,
    "1.2.840.10045.4.3.4": _ABSENT,
    **{key_type.value: _ABSENT for key_type in _KEYS_OF_ONE_SIZE},
}
"""Accepted signature algorithms, each with its accepted parameters (BR 7.1.3.2 and Ed25519, ML-DSA)."""
_BROKEN: Final = frozenset(
    {
        "1.2.840.113549.1.1.2",  # RSA with MD2, MD4, MD5, SHA-1
        "1.2.840.113549.1.1.3",
        "1.2.840.113549.1.1.4",
        "1.2.840.113549.1.1.5",
        "1.3.14.3.2.29",
        "1.2.840.10045.4.1",  # ECDSA with SHA-1
        "1.2.840.10040.4.3",  # DSA with SHA-1
    }
)
"""Signature algorithms with a broken hash; reported separately because the cure is obvious."""

_PROCESSED: Final = frozenset(
    {
        OID_BASIC_CONSTRAINTS,
        OID_KEY_USAGE,
        OID_EXTENDED_KEY_USAGE,
        OID_NAME_CONSTRAINTS,
        OID_SUBJECT_ALT_NAME,
        strict_parsing.OID_CERTIFICATE_POLICIES,
        strict_parsing.OID_POLICY_MAPPINGS,
        strict_parsing.OID_POLICY_CONSTRAINTS,
        strict_parsing.OID_INHIBIT_ANY_POLICY,
    }
)
"""Extensions that may be critical, as in BoringSSL: those of policies do not bind a client that requires no policy."""
_APPLICATION_POLICIES: Final = "1.3.6.1.4.1.311.21.10"
"""Microsoft's forerunner of extended key usage; may be critical where that is present too (as in BoringSSL)."""

_VERSION_3: Final = 3
"""X.509 version 3 (BR 7.1.1); only roots are older."""
_NEVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
"""Before any certificate."""
_LIFETIMES: Final = (
    (dt.datetime(2029, 3, 15, tzinfo=dt.UTC), dt.timedelta(days=47)),
    (dt.datetime(2027, 3, 15, tzinfo=dt.UTC), dt.timedelta(days=100)),
    (dt.datetime(2026, 3, 15, tzinfo=dt.UTC), dt.timedelta(days=200)),
    (dt.datetime(2020, 9, 1, tzinfo=dt.UTC), dt.timedelta(days=398)),
    (_NEVER, dt.timedelta(days=825)),
)
"""Longest lifetime of a leaf under a public root, by the moment from which it is valid (BR 6.3.2; CA/B Forum ballots
193, SC-31 and SC-081v3). As in Chrome, the last second of notAfter is not counted."""


class Refusal(enum.StrEnum):
    """Why no careful client accepts a path, each with its sentence for people."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        """A string with a sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    NO_ANCHOR = "no-anchor", "No verified path leads from the certificate to a trusted root."
    MALFORMED = "malformed", "{which} is damaged or not well-formed."
    EXCEEDS_LIMITS = "exceeds-limits", "{which} holds more than any usual certificate, and was not read to its end."
    REPEATED_EXTENSION = "repeated-extension", "{which} has an extension twice."
    VERSION = "version", "{which} is not an X.509 version 3 certificate."
    EMPTY_NAME = "empty-name", "{which} lacks the name of its issuer or holder."
    CRITICAL_EXTENSION = "critical-extension", "{which} has a critical extension that TLS clients do not know."
    ALGORITHM_MISMATCH = "algorithm-mismatch", "{which} contradicts itself about the algorithm of its signature."
    BROKEN_HASH = "broken-hash", "{which} is signed with a broken hash (MD5 or SHA-1)."
    SIGNATURE_ALGORITHM = "signature-algorithm", "{which} is signed with an algorithm that TLS clients do not accept."
    WEAK_KEY = "weak-key", "{which} has a key that is too weak."
    KEY_KIND = "key-kind", "{which} has a key of a kind that TLS clients do not accept."
    NOT_A_CA = "not-a-ca", "{which} is not a CA, and must not issue certificates."
    CA_KEY_USAGE = "ca-key-usage", "{which} may not be used to sign certificates."
    PATH_LENGTH = "path-length", "{which} does not allow that many CAs below it."
    LEAF_IS_CA = "leaf-is-ca", "{which} is that of a CA, not of a server."
    LEAF_KEY_USAGE = "leaf-key-usage", "{which} has a key that is not meant for TLS servers."
    LEAF_CONSTRAINS = "leaf-constrains", "{which} constrains names, as only a CA may."
    NOT_FOR_SERVERS = "not-for-servers", "{which} is not meant for TLS servers."
    NAME_NOT_PERMITTED = "name-not-permitted", "{which} has a name that a CA above it must not give."
    REVOKED = "revoked", "{which} is on the browsers' list of revoked certificates."
    DISTRUSTED = (
        "distrusted",
        (
            "{which} is valid from {begins:%Y-%m-%d}, and browsers take certificates of its root only if they are "
            "valid from {until} or earlier."
        ),
    )
    NAME_OUTSIDE_ROOT = "name-outside-root", "{which} has a name that browsers do not take from its root."
    LIFETIME = "lifetime", "{which} is valid for {days} days, longer than certificates of public CAs may be."
    NOT_YET_VALID = "not-yet-valid", "{which} is not valid yet (valid from {begins:%Y-%m-%d %H:%M} UTC)."
    EXPIRED = "expired", "{which} has expired (valid until {ends:%Y-%m-%d %H:%M} UTC)."


DATE_REFUSALS: Final = frozenset({Refusal.NOT_YET_VALID, Refusal.EXPIRED})
"""Reasons that do not hold at every moment."""


class Refused(NamedTuple):
    """One reason, and the index in the path of the certificate it is about (0: the leaf)."""

    refusal: Refusal
    depth: int


class _PathRefusals(NamedTuple):
    """The cached refusals of a path that hold at every moment, and the interval in which all its dates are valid.

    `public` are `always` and those that bind public CAs only.
    """

    always: tuple[Refused, ...]
    public: tuple[Refused, ...]
    begins: dt.datetime
    ends: dt.datetime


def refusals(
    path: Path, at: dt.datetime, *, public: bool = True, revoked: Revocations = NO_REVOCATIONS
) -> tuple[Refused, ...]:
    """Every reason why a careful TLS client would not accept this path at this moment (UTC); empty means accepted.

    Whether the leaf names the host (`hostname.match`) and whether the handshake proved its key is up to the caller.
    Without `public`, what binds certificates under public roots only is left out: the limit of a leaf's lifetime, and
    those of the root.

    A revocation after that moment, or after the path had expired, is no reason: what a CA signed until then was good,
    and a server whose CA was decommissioned later only forgot to renew.
    """
    key = b"".join(certificate.sha256 for certificate in path.certificates), path.anchor and path.anchor.limits
    cached = _CACHE.get(key)
    if cached is None:
        cached = _path_refusals(path)
        if len(_CACHE) >= PATHS_CACHED_MAX:
            _CACHE.clear()
        _CACHE[key] = cached
    found = cached.public if public else cached.always
    at = at.replace(microsecond=0)  # the dates of certificates have whole seconds
    day = min(at, cached.ends).date()
    more = [
        Refused(Refusal.REVOKED, depth)
        for depth, certificate in enumerate(path.certificates)
        if (since := revoked.revoked_on(certificate)) is not None and since <= day
    ]
    if not cached.begins <= at <= cached.ends:
        more += _date_refusals(path, at)
    return tuple(sorted((*found, *more), key=_order)) if more else found


_CACHE: Final[dict[tuple[bytes, Limits | None], _PathRefusals]] = {}
"""By the hashes of the certificates, and the limits of the root; None where the last one is not trusted."""


def _date_refusals(path: Path, at: dt.datetime) -> Iterator[Refused]:
    for depth, certificate in enumerate(path.certificates):
        if certificate.validity is not None:
            begins, ends = certificate.validity
            if at < begins:
                yield Refused(Refusal.NOT_YET_VALID, depth)
            if at > ends:
                yield Refused(Refusal.EXPIRED, depth)


class _Role(enum.Enum):
    """The role of a certificate in its path. A leaf that is itself trusted needs no issuer and may be a CA."""

    LEAF = enum.auto()
    TRUSTED_LEAF = enum.auto()
    CA = enum.auto()
    ANCHOR = enum.auto()


_LEAVES: Final = frozenset({_Role.LEAF, _Role.TRUSTED_LEAF})


def _path_refusals(path: Path) -> _PathRefusals:
    top = len(path.certificates) - 1
    found: set[Refused] = set() if path.anchor is not None else {Refused(Refusal.NO_ANCHOR, top)}
    forms: list[StrictForm] = []
    for depth, certificate in enumerate(path.certificates):
        trusted = depth == top and path.anchor is not None
        if depth == 0:
            role = _Role.TRUSTED_LEAF if trusted else _Role.LEAF
        else:
            role = _Role.ANCHOR if trusted else _Role.CA
            intermediates = sum(not below.is_self_issued for below in path.certificates[1:depth])
            if certificate.path_length is not None and intermediates > certificate.path_length:
                found.add(Refused(Refusal.PATH_LENGTH, depth))
        refused, form = _certificate_refusals(certificate, role)
        found.update(Refused(refusal, depth) for refusal in refused)
        forms.append(form)
    found.update(_name_constraint_refusals(path.certificates, [form.constraints for form in forms], forms))
    validities = [certificate.validity for certificate in path.certificates if certificate.validity is not None]
    begins, ends = path.certificates[0].validity or (_NEVER, _NEVER)
    public = found | set(_limit_refusals(path, forms))
    if ends - begins > next(longest for since, longest in _LIFETIMES if begins >= since):
        public.add(Refused(Refusal.LIFETIME, 0))
    return _PathRefusals(
        always=tuple(sorted(found, key=_order)),
        public=tuple(sorted(public, key=_order)),
        begins=max((begins for begins, _ in validities), default=_NEVER),
        ends=min((ends for _, ends in validities), default=dt.datetime.max.replace(tzinfo=dt.UTC)),
    )


def _order(refused: Refused) -> tuple[int, int]:
    return refused.depth, list(Refusal).index(refused.refusal)


def _limit_refusals(path: Path, forms: Sequence[StrictForm]) -> Iterator[Refused]:
    """What the limits of the root exclude: leaves issued too late, and for other names."""
    limits = NO_LIMITS if path.anchor is None else path.anchor.limits
    begins = path.certificates[0].not_before
    if limits.distrust_after is not None and begins is not None and begins.date() > limits.distrust_after:
        yield Refused(Refusal.DISTRUSTED, 0)
    if limits.permitted_names:
        constraints = None, only_under(limits.permitted_names)
        for refused in _name_constraint_refusals(path.certificates, constraints, forms):
            outside = refused.refusal is Refusal.NAME_NOT_PERMITTED
            yield Refused(Refusal.NAME_OUTSIDE_ROOT, 0) if outside else refused


def _name_constraint_refusals(
    certificates: Sequence[Certificate], constraints: Sequence[Constraints | None], forms: Sequence[StrictForm]
) -> Iterator[Refused]:
    """Names that a CA above does not permit (RFC 5280 section 6.1.3 b and c); `constraints` are by depth.

    Those of self-issued CAs are exempt, so that a CA can change its key.
    """
    left = CONSTRAINED_BYTES_MAX
    for above, constraining in enumerate(constraints):
        if constraining is None:
            continue
        for depth in range(above):
            subject = certificates[depth].subject
            if subject is None or (depth > 0 and certificates[depth].is_self_issued):
                continue
            names = tuple(names_of(subject, forms[depth].names))
            left -= sum(map(cost, names))
            # Names that were not read, because one is too long or there are too many, may be any.
            unread = forms[depth].names is None and certificates[depth].has_alternative_names
            if left < 0 or unread or certificates[depth].names_truncated:
                yield Refused(Refusal.EXCEEDS_LIMITS, depth)
                return
            if not constraining.allow(names):
                yield Refused(Refusal.NAME_NOT_PERMITTED, depth)


def _certificate_refusals(certificate: Certificate, role: _Role) -> tuple[frozenset[Refusal], StrictForm]:
    cached = _BY_CERTIFICATE.setdefault(certificate, {})
    if role not in cached:
        form = strict_parsing.parse(certificate)
        cached[role] = frozenset(_refusals_of(certificate, form, role)), form
    return cached[role]


_BY_CERTIFICATE: Final[WeakKeyDictionary[Certificate, dict[_Role, tuple[frozenset[Refusal], StrictForm]]]] = (
    WeakKeyDictionary()
)
"""As long as the certificate exists: the same CA is in every path of a chain, and in the chains of many hosts."""


def _refusals_of(certificate: Certificate, form: StrictForm, role: _Role) -> Iterator[Refusal]:
    """What is wrong with one certificate in its role, whatever is above and below it."""
    if form.malformed:
        yield Refusal.MALFORMED
    if form.over_limit:
        yield Refusal.EXCEEDS_LIMITS
    if certificate.repeats_extension:
        yield Refusal.REPEATED_EXTENSION
    if not form.algorithms_agree:
        yield Refusal.ALGORITHM_MISMATCH
    tolerated = {_APPLICATION_POLICIES} if OID_EXTENDED_KEY_USAGE in certificate.extensions else set()
    if certificate.critical_extensions - _PROCESSED - tolerated:
        yield Refusal.CRITICAL_EXTENSION
    yield from _key_refusals(certificate.spki)
    if role in {_Role.LEAF, _Role.CA}:
        yield from _algorithm_refusals(certificate.signature_algorithm)
    if role is not _Role.ANCHOR:
        if certificate.version != _VERSION_3:
            yield Refusal.VERSION
        if not certificate.is_for_servers:
            yield Refusal.NOT_FOR_SERVERS
    yield from _name_refusals(certificate, form, role)
    yield from (_leaf_refusals if role in _LEAVES else _ca_refusals)(certificate, role)


def _name_refusals(certificate: Certificate, form: StrictForm, role: _Role) -> Iterator[Refusal]:
    """RFC 5280 sections 4.1.2.4 and 4.1.2.6: issuers and CAs have a name, and a leaf has one in some field."""
    nameless = certificate.subject is not None and not certificate.subject.attributes
    named_critically = role in _LEAVES and (
        form.names is None or OID_SUBJECT_ALT_NAME in certificate.critical_extensions
    )
    if (certificate.issuer is not None and not certificate.issuer.attributes) or (nameless and not named_critically):
        yield Refusal.EMPTY_NAME


def _ca_refusals(certificate: Certificate, role: _Role) -> Iterator[Refusal]:
    """RFC 5280 section 6.1.4 (k) and (n). Roots of versions before 3 cannot say that they are CAs."""
    old_root = role is _Role.ANCHOR and certificate.version != _VERSION_3 and certificate.is_ca is None
    if not certificate.is_ca and not old_root:
        yield Refusal.NOT_A_CA
    if not certificate.may_sign_certificates:
        yield Refusal.CA_KEY_USAGE


def _leaf_refusals(certificate: Certificate, role: _Role) -> Iterator[Refusal]:
    """BR 7.1.2.7: a leaf serves TLS, is not a CA and does not claim the rights of one."""
    if certificate.is_ca and role is _Role.LEAF:
        yield Refusal.LEAF_IS_CA
    if OID_KEY_USAGE in certificate.extensions and (
        not certificate.may_serve_tls or (certificate.may_sign_certificates and not certificate.is_ca)
    ):
        yield Refusal.LEAF_KEY_USAGE
    if OID_NAME_CONSTRAINTS in certificate.extensions:
        yield Refusal.LEAF_CONSTRAINS


def _algorithm_refusals(algorithm: Algorithm | None) -> Iterator[Refusal]:
    if algorithm is not None and algorithm.oid in _BROKEN:
        yield Refusal.BROKEN_HASH
    elif algorithm is None or algorithm.parameters not in _ALGORITHMS.get(algorithm.oid, frozenset()):
        yield Refusal.SIGNATURE_ALGORITHM


def _key_refusals(spki: bytes | None) -> Iterator[Refusal]:
    """A key of a type and size that clients accept, in the one encoding that they read (RFC 5480, RFC 3279 2.3.1).

    That rules out curves given by their parameters, compressed points and keys for RSASSA-PSS alone.
    """
    loaded = None if spki is None else read_key(spki)
    key = None if loaded is None else loaded.key
    try:
        canonical = None if key is None else key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except REFUSALS:
        canonical = None
    if loaded is None or canonical is None or canonical != spki:
        yield Refusal.KEY_KIND
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS_LEAST:
            yield Refusal.WEAK_KEY
        elif key.key_size > RSA_BITS_MOST or key.key_size % RSA_BITS_MULTIPLE:
            yield Refusal.KEY_KIND
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            yield Refusal.KEY_KIND
    elif loaded.key_type not in _KEYS_OF_ONE_SIZE:
        yield Refusal.KEY_KIND


def explain(refused: Refused, path: Path) -> str:
    """One sentence for people. A CA's name is its own, escaped as in RFC 4514 and cut where it is long."""
    certificate = path.certificates[refused.depth]
    begins, ends = certificate.validity or (_NEVER, _NEVER)
    which = "The certificate"
    if refused.depth > 0:
        subject = certificate.subject
        named = (subject.get("CN") or subject.get("O") if subject else None) or "without a name"
        which = f"A certificate above it ({escape(named[:_NAME_CHARACTERS_MAX])})"
    until = path.anchor.limits.distrust_after if path.anchor is not None else None
    return refused.refusal.sentence.format(
        which=which, begins=begins, ends=ends, days=(ends - begins).days, until=until
    )
