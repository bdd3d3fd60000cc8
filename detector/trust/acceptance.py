"""Would a careful TLS client of that moment accept this path? Every reason why not (RFC 5280 section 6, CA/B Forum BR).

Room: trust. Pure: the moment is an argument.

`paths` asks leniently who signed; this module asks strictly, for what clears and for the guard. It takes a path whose
signatures were verified, and judges everything else but the name of the leaf. Refused is what Chrome's verifier (the
pki library of BoringSSL), Go, rustls-webpki and Firefox refuse and x509-limbo expects to be refused; where these
differ, `tests/trust/test_limbo.py` lists each decision. Taken, because most of them take it:

* serial numbers of zero, below it, or of more than 20 bytes
* no extended key usage, anyExtendedKeyUsage, a critical extended key usage; any extended key usage of the root
* any authority and subject key identifiers, and none, as long as they are not critical
* basic constraints of a CA that are not critical
* name constraints that are not critical, and DNS subtrees with a leading dot
* critical alternative names together with a subject; underscores in DNS names; any common name
* Ed25519 (Go, rustls-webpki and OpenSSL take it, browsers do not) and ML-DSA

Policies are not processed: no client of TLS asks for one.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import strict_parsing as strict
from .certificate import (
    OID_BASIC_CONSTRAINTS,
    OID_EXTENDED_KEY_USAGE,
    OID_KEY_USAGE,
    OID_NAME_CONSTRAINTS,
    OID_SUBJECT_ALT_NAME,
)
from .distinguished_name import escape
from .name_constraints import cost, names_of
from .signature import REFUSALS, KeyType, read_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .certificate import Algorithm, Certificate
    from .paths import Path
    from .strict_parsing import Form

PATHS_REMEMBERED_MAX: Final = 4096
"""Paths whose refusals are remembered, 1 KiB each at most: those of a day's endpoints. Emptied when full."""
_NAME_CHARACTERS_MAX: Final = 64
"""Characters of a CA's name in a sentence (RFC 5280 appendix A.1, ub-common-name)."""
CONSTRAINED_BYTES_MAX: Final = 32 * 1024
"""Names of one path that are compared with constraints, once for every CA that constrains, by what that costs: about 15
ms in the worst case. A hundred names have 3 KiB, and CAs with constraints are those of one organization."""

RSA_BITS_LEAST: Final = 2048
"""Bits of an RSA modulus (BR 6.1.5; Chrome, Firefox and rustls-webpki refuse less)."""
RSA_BITS_MOST: Final = 8192
"""Bits of an RSA modulus that Go, BoringSSL and rustls-webpki still use."""
RSA_BITS_MULTIPLE: Final = 8
"""A modulus has whole bytes (BR 6.1.5)."""
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""BR 6.1.5; no client of the web takes others."""
_KEYS_OF_ONE_SIZE: Final = (KeyType.ED25519, KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87)
"""Keys that need no rule for their size, and sign under the identifier that they have themselves."""

_ABSENT: Final = frozenset({b""})
_NULL_OR_ABSENT: Final = frozenset({b"\x05\x00", b""})
"""RFC 4055 section 5 wants NULL and tells readers to do without it."""


def _pss(hash_arc: int, salt: int) -> bytes:
    """RSASSA-PSS-params with one hash for both uses and a salt of its length (RFC 4055 section 3.1)."""
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
"""Signature algorithms that are taken, and the parameters that may stand with them (BR 7.1.3.2 and Ed25519, ML-DSA)."""
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
"""Signature algorithms whose hash somebody has broken; they are named apart because a person can tell what to do."""

_PROCESSED: Final = frozenset(
    {
        OID_BASIC_CONSTRAINTS,
        OID_KEY_USAGE,
        OID_EXTENDED_KEY_USAGE,
        OID_NAME_CONSTRAINTS,
        OID_SUBJECT_ALT_NAME,
        strict.OID_CERTIFICATE_POLICIES,
        strict.OID_POLICY_MAPPINGS,
        strict.OID_POLICY_CONSTRAINTS,
        strict.OID_INHIBIT_ANY_POLICY,
    }
)
"""Extensions that may be critical, as in BoringSSL: those of policies bind nobody who asks for no policy."""
_APPLICATION_POLICIES: Final = "1.3.6.1.4.1.311.21.10"
"""Microsoft's forerunner of extended key usage, which may be critical where that is there too (as in BoringSSL)."""

_NEVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
"""Before any certificate."""
_LIFETIMES: Final = (
    (dt.datetime(2029, 3, 15, tzinfo=dt.UTC), dt.timedelta(days=47)),
    (dt.datetime(2027, 3, 15, tzinfo=dt.UTC), dt.timedelta(days=100)),
    (dt.datetime(2026, 3, 15, tzinfo=dt.UTC), dt.timedelta(days=200)),
    (dt.datetime(2020, 9, 1, tzinfo=dt.UTC), dt.timedelta(days=398)),
    (_NEVER, dt.timedelta(days=825)),
)
"""How long a leaf under a public root may live that is valid from this moment on (BR 6.3.2; CA/B Forum ballots 193,
SC-31 and SC-081v3). As in Chrome, the last second of notAfter is not counted."""


class Refusal(enum.StrEnum):
    """Why no careful client accepts a path."""

    NO_ANCHOR = "no-anchor"
    MALFORMED = "malformed"
    EXCEEDS_LIMITS = "exceeds-limits"
    REPEATED_EXTENSION = "repeated-extension"
    VERSION = "version"
    EMPTY_NAME = "empty-name"
    CRITICAL_EXTENSION = "critical-extension"
    ALGORITHM_MISMATCH = "algorithm-mismatch"
    BROKEN_HASH = "broken-hash"
    SIGNATURE_ALGORITHM = "signature-algorithm"
    WEAK_KEY = "weak-key"
    KEY_KIND = "key-kind"
    NOT_A_CA = "not-a-ca"
    CA_KEY_USAGE = "ca-key-usage"
    PATH_LENGTH = "path-length"
    LEAF_IS_CA = "leaf-is-ca"
    LEAF_KEY_USAGE = "leaf-key-usage"
    LEAF_CONSTRAINS = "leaf-constrains"
    NOT_FOR_SERVERS = "not-for-servers"
    NAME_NOT_PERMITTED = "name-not-permitted"
    LIFETIME = "lifetime"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"


DATE_REFUSALS: Final = frozenset({Refusal.NOT_YET_VALID, Refusal.EXPIRED})
"""What another moment would change."""


class Refused(NamedTuple):
    """One reason, and the certificate it is about: 0 is the leaf."""

    refusal: Refusal
    depth: int


class _Judged(NamedTuple):
    """What is remembered of a path: what no moment changes, and between which moments all its dates are right."""

    always: tuple[Refused, ...]
    public: tuple[Refused, ...]
    begins: dt.datetime
    ends: dt.datetime


def refusals(path: Path, at: dt.datetime, *, public: bool = True) -> tuple[Refused, ...]:
    """Every reason why a careful TLS client at this moment (UTC) would not accept this path; none means accepted.

    The name of the leaf is the caller's to judge (`hostname.match`), as is whether the handshake proved its key. With
    `public` False, what binds certificates under public roots only is left out: the limits of a leaf's lifetime.
    """
    key = b"".join(certificate.sha256 for certificate in path.certificates) + bytes([path.anchor is not None])
    judged = _JUDGED.get(key)
    if judged is None:
        judged = _judge(path)
        if len(_JUDGED) >= PATHS_REMEMBERED_MAX:
            _JUDGED.clear()
        _JUDGED[key] = judged
    found = judged.public if public else judged.always
    at = at.replace(microsecond=0)  # the dates of certificates have whole seconds
    if judged.begins <= at <= judged.ends:
        return found
    return tuple(sorted((*found, *_date_refusals(path, at)), key=_order))


_JUDGED: Final[dict[bytes, _Judged]] = {}
"""By the hashes of the certificates, and whether the last one is trusted."""


def _date_refusals(path: Path, at: dt.datetime) -> Iterator[Refused]:
    for depth, certificate in enumerate(path.certificates):
        if certificate.validity is not None:
            begins, ends = certificate.validity
            if at < begins:
                yield Refused(Refusal.NOT_YET_VALID, depth)
            if at > ends:
                yield Refused(Refusal.EXPIRED, depth)


class _Role(enum.Enum):
    """What a certificate is in its path. A leaf that is itself trusted needs no issuer and may be a CA."""

    LEAF = enum.auto()
    TRUSTED_LEAF = enum.auto()
    CA = enum.auto()
    ANCHOR = enum.auto()


def _judge(path: Path) -> _Judged:
    top = len(path.certificates) - 1
    found: set[Refused] = set() if path.anchor is not None else {Refused(Refusal.NO_ANCHOR, top)}
    forms: list[Form] = []
    for depth, certificate in enumerate(path.certificates):
        trusted = depth == top and path.anchor is not None
        if depth == 0:
            role = _Role.TRUSTED_LEAF if trusted else _Role.LEAF
        else:
            role = _Role.ANCHOR if trusted else _Role.CA
            intermediates = sum(not below.is_self_issued for below in path.certificates[1:depth])
            if certificate.path_length is not None and intermediates > certificate.path_length:
                found.add(Refused(Refusal.PATH_LENGTH, depth))
        refused, form = _examine(certificate, role)
        found.update(Refused(refusal, depth) for refusal in refused)
        forms.append(form)
    found.update(_name_constraint_refusals(path.certificates, forms))
    validities = [certificate.validity for certificate in path.certificates if certificate.validity is not None]
    leaf = path.certificates[0]
    too_long = leaf.validity is not None and leaf.validity[1] - leaf.validity[0] > _lifetime(leaf.validity[0])
    always = tuple(sorted(found, key=_order))
    return _Judged(
        always=always,
        public=tuple(sorted((Refused(Refusal.LIFETIME, 0), *always), key=_order)) if too_long else always,
        begins=max((begins for begins, _ in validities), default=_NEVER),
        ends=min((ends for _, ends in validities), default=dt.datetime.max.replace(tzinfo=dt.UTC)),
    )


def _order(refused: Refused) -> tuple[int, int]:
    return refused.depth, list(Refusal).index(refused.refusal)


def _lifetime(begins: dt.datetime) -> dt.timedelta:
    return next(longest for since, longest in _LIFETIMES if begins >= since)


def _name_constraint_refusals(certificates: Sequence[Certificate], forms: Sequence[Form]) -> Iterator[Refused]:
    """Names that a CA above does not allow (RFC 5280 section 6.1.3 b and c).

    Those of self-issued CAs are left out, so that a CA can change its key.
    """
    left = CONSTRAINED_BYTES_MAX
    for above, constraining in enumerate(forms):
        if constraining.constraints is None:
            continue
        for depth in range(above):
            subject = certificates[depth].subject
            if subject is None or (depth > 0 and certificates[depth].is_self_issued):
                continue
            names = tuple(names_of(subject, forms[depth].names))
            left -= sum(map(cost, names))
            if left < 0 or certificates[depth].names_truncated:
                yield Refused(Refusal.EXCEEDS_LIMITS, depth)
                return
            if not constraining.constraints.allow(names):
                yield Refused(Refusal.NAME_NOT_PERMITTED, depth)


def _examine(certificate: Certificate, role: _Role) -> tuple[frozenset[Refusal], Form]:
    known = _EXAMINED.setdefault(certificate, {})
    if role not in known:
        form = strict.examine(certificate)
        known[role] = frozenset(_refusals_of(certificate, form, role)), form
    return known[role]


_EXAMINED: Final[WeakKeyDictionary[Certificate, dict[_Role, tuple[frozenset[Refusal], Form]]]] = WeakKeyDictionary()
"""As long as the certificate is there: the same CA is in every path of a chain, and in the chains of many hosts."""


def _refusals_of(certificate: Certificate, form: Form, role: _Role) -> Iterator[Refusal]:
    """What is wrong with one certificate in its place, whatever stands above and below it."""
    if form.malformed:
        yield Refusal.MALFORMED
    if form.exceeds_limits:
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
        if certificate.version != 3:  # noqa: PLR2004 - X.509 version 3, BR 7.1.1; only roots are older
            yield Refusal.VERSION
        if not certificate.is_for_servers:
            yield Refusal.NOT_FOR_SERVERS
    yield from _name_refusals(certificate, form, role)
    yield from (_ca_refusals if role in {_Role.CA, _Role.ANCHOR} else _leaf_refusals)(certificate, role)


def _name_refusals(certificate: Certificate, form: Form, role: _Role) -> Iterator[Refusal]:
    """RFC 5280 sections 4.1.2.4 and 4.1.2.6: who issued and who is a CA has a name, and a holder has one somewhere."""
    nameless = certificate.subject is not None and not certificate.subject.attributes
    named_critically = role in {_Role.LEAF, _Role.TRUSTED_LEAF} and (
        form.names is None or OID_SUBJECT_ALT_NAME in certificate.critical_extensions
    )
    if (certificate.issuer is not None and not certificate.issuer.attributes) or (nameless and not named_critically):
        yield Refusal.EMPTY_NAME


def _ca_refusals(certificate: Certificate, role: _Role) -> Iterator[Refusal]:
    """RFC 5280 section 6.1.4 (k) and (n). Roots of versions before 3 cannot say that they are CAs."""
    old_root = role is _Role.ANCHOR and certificate.version != 3 and certificate.is_ca is None  # noqa: PLR2004 - as above
    if not certificate.is_ca and not old_root:
        yield Refusal.NOT_A_CA
    if not certificate.may_sign_certificates:
        yield Refusal.CA_KEY_USAGE


def _leaf_refusals(certificate: Certificate, role: _Role) -> Iterator[Refusal]:
    """BR 7.1.2.7: a leaf serves TLS and is no CA, nor says that it may act as one."""
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
    """A key of a kind and size that clients take, in the one encoding that they read (RFC 5480, RFC 3279 2.3.1).

    That rules out curves by their parameters, compressed points and keys for RSASSA-PSS alone.
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


# Words

_SENTENCES: Final[dict[Refusal, str]] = {
    Refusal.NO_ANCHOR: "No verified path leads from the certificate to a trusted root.",
    Refusal.MALFORMED: "{which} is damaged or not well-formed.",
    Refusal.EXCEEDS_LIMITS: "{which} holds more than any usual certificate, and was not read to its end.",
    Refusal.REPEATED_EXTENSION: "{which} has an extension twice.",
    Refusal.VERSION: "{which} is not an X.509 version 3 certificate.",
    Refusal.EMPTY_NAME: "{which} lacks the name of its issuer or holder.",
    Refusal.CRITICAL_EXTENSION: "{which} has a critical extension that TLS clients do not know.",
    Refusal.ALGORITHM_MISMATCH: "{which} contradicts itself about the algorithm of its signature.",
    Refusal.BROKEN_HASH: "{which} is signed with a broken hash (MD5 or SHA-1).",
    Refusal.SIGNATURE_ALGORITHM: "{which} is signed with an algorithm that TLS clients do not accept.",
    Refusal.WEAK_KEY: "{which} has a key that is too weak.",
    Refusal.KEY_KIND: "{which} has a key of a kind that TLS clients do not accept.",
    Refusal.NOT_A_CA: "{which} is not a CA, and must not issue certificates.",
    Refusal.CA_KEY_USAGE: "{which} may not be used to sign certificates.",
    Refusal.PATH_LENGTH: "{which} does not allow that many CAs below it.",
    Refusal.LEAF_IS_CA: "{which} is that of a CA, not of a server.",
    Refusal.LEAF_KEY_USAGE: "{which} has a key that is not meant for TLS servers.",
    Refusal.LEAF_CONSTRAINS: "{which} constrains names, as only a CA may.",
    Refusal.NOT_FOR_SERVERS: "{which} is not meant for TLS servers.",
    Refusal.NAME_NOT_PERMITTED: "{which} has a name that a CA above it must not give.",
    Refusal.LIFETIME: "{which} is valid for {days} days, longer than certificates of public CAs may be.",
    Refusal.NOT_YET_VALID: "{which} is not valid yet (valid from {begins:%Y-%m-%d %H:%M} UTC).",
    Refusal.EXPIRED: "{which} has expired (valid until {ends:%Y-%m-%d %H:%M} UTC).",
}
"""One sentence for each, in the order of `Refusal`. A test asks for all of them."""


def explain(refused: Refused, path: Path) -> str:
    """One sentence for people. A CA's name is as it says itself, escaped as in RFC 4514 and cut where it is long."""
    certificate = path.certificates[refused.depth]
    begins, ends = certificate.validity or (_NEVER, _NEVER)
    which = "The certificate"
    if refused.depth > 0:
        subject = certificate.subject
        named = (subject.get("CN") or subject.get("O") if subject else None) or "without a name"
        which = f"A certificate above it ({escape(named[:_NAME_CHARACTERS_MAX])})"
    return _SENTENCES[refused.refusal].format(which=which, begins=begins, ends=ends, days=(ends - begins).days)
