"""Every chain of verified signatures from the presented leaf upwards (RFC 5280 section 6, RFC 4158).

Room: trust. Pure.

Only paths from certificate 0 count: a genuine chain appended behind a forged leaf changes nothing (CVE-2016-2402).
What may issue in a path is what a careful verifier accepts: a CA by basicConstraints, allowed to sign certificates,
within its path length, or a trust anchor. Dates and names are judged elsewhere. Order, gaps, strangers and
cross-signed duplicates among the presented certificates do not matter; every way is tried, within a budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from .signature import Signed, verify_issued

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .certificate import Certificate
    from .roots import Root, Roots

PATH_LENGTH_MAX: Final = 10
"""Certificates in a path. Public paths have two to five; OpenSSL stops at 100, browsers at about 10."""
SIGNATURES_MAX: Final = 64
"""Signature checks for one leaf. Names and keys in a chain are the peer's choice: 200 certificates of one name would
otherwise ask for 200 * 200 checks, up to 3 ms each with the slowest keys OpenSSL takes. Genuine ones need under ten."""
PATHS_MAX: Final = 64
"""Paths kept for one leaf; cross-signing gives genuine leaves at most about six."""


REMEMBERED_MAX: Final = 1024
"""Chains whose paths are remembered for one set of roots: a day's endpoints. Emptied when full."""
REMEMBERED_OCTETS_MAX: Final = 16 * 1024
"""Octets of certificates in a chain that is remembered, so that 1024 hostile ones cost 16 MiB; usual
ones have 3 to 6 KiB."""


class Path(NamedTuple):
    """Certificates from the leaf to the last verified issuer; `anchor` is the trusted root it ends in, or None."""

    certificates: tuple[Certificate, ...]
    anchor: Root | None


class Paths(NamedTuple):
    """What path building found.

    `issuers`: certificates whose key signed the leaf, whether or not they may be CAs. `near_issuers`: certificates
    with the leaf's issuer name and key identifier whose key did **not** sign it. `paths`: every maximal path.
    `issuer_known`: whether any certificate with the leaf's issuer name was at hand.
    """

    leaf: Certificate
    issuers: tuple[Certificate, ...]
    near_issuers: tuple[Certificate, ...]
    paths: tuple[Path, ...]
    issuer_known: bool
    exhausted: bool

    def ending_in(self, roots: Roots) -> tuple[Path, ...]:
        """The paths that end in one of these roots."""
        return tuple(p for p in self.paths if p.anchor is not None and p.anchor.certificate.sha256 in roots.by_sha256)


def build(presented: Sequence[Certificate], stores: Sequence[Roots], extra: Iterable[Certificate] = ()) -> Paths:
    """Build every path from `presented[0]`, over the presented certificates, `extra` ones and the roots of `stores`.

    A certificate ends a path where it is an anchor of any of the stores. `extra` are never anchors. What was found for
    a chain that ends in a root is remembered as long as the roots are there: it depends on neither host nor time. Other
    chains are not: an interceptor makes as many as it likes.
    """
    chain, more, filled = tuple(presented), tuple(extra), [store for store in stores if len(store)]
    octets = sum(len(certificate.der) for certificate in (*chain, *more))
    if len(filled) != 1 or octets > REMEMBERED_OCTETS_MAX:
        return _Builder(chain, stores, more).build()
    known = _KNOWN.setdefault(filled[0], {})
    paths = known.get((chain, more))
    if paths is None:
        paths = _Builder(chain, filled, more).build()
        if any(path.anchor is not None for path in paths.paths):
            if len(known) >= REMEMBERED_MAX:
                known.clear()
            known[chain, more] = paths
    return paths


_KNOWN: Final[WeakKeyDictionary[Roots, dict[tuple[tuple[Certificate, ...], tuple[Certificate, ...]], Paths]]] = (
    WeakKeyDictionary()
)
"""By roots, then by what was presented and fetched. No entry refers to the roots as a whole, so none keeps them."""


class _Builder:
    def __init__(self, presented: Sequence[Certificate], stores: Sequence[Roots], extra: Iterable[Certificate]) -> None:
        self.leaf = presented[0]
        self.stores = stores
        self.pool: dict[tuple[tuple[str, str], ...], dict[bytes, Certificate]] = {}
        for certificate in (*presented[1:], *extra):
            if certificate.subject is not None and certificate.sha256 != self.leaf.sha256:
                self.pool.setdefault(certificate.subject.canonical, {})[certificate.sha256] = certificate
        self.budget = SIGNATURES_MAX
        self.found: list[Path] = []

    def build(self) -> Paths:
        anchored = self._anchor(self.leaf)
        issuers: list[Certificate] = []
        near: list[Certificate] = []
        candidates = self._candidates(self.leaf)
        for candidate in candidates:
            signed = self._signed(self.leaf, candidate)
            if signed is Signed.VALID:
                issuers.append(candidate)
            elif signed is Signed.INVALID and _claims_same_key(self.leaf, candidate):
                near.append(candidate)
        if anchored is not None:
            self.found.append(Path((self.leaf,), anchored))
        self._extend((self.leaf,))
        return Paths(
            leaf=self.leaf,
            issuers=tuple(issuers),
            near_issuers=tuple(near),
            paths=tuple(self.found),
            issuer_known=bool(candidates) or self.leaf.is_self_issued,
            exhausted=self.budget <= 0,
        )

    def _anchor(self, certificate: Certificate) -> Root | None:
        for store in self.stores:
            if (root := store.by_sha256.get(certificate.sha256)) is not None:
                return root
        return None

    def _candidates(self, child: Certificate) -> list[Certificate]:
        """Certificates with the child's issuer name: anchors first, so that a crowded chain cannot hide a root."""
        if child.issuer is None:
            return []
        wanted = child.issuer.canonical
        candidates: dict[bytes, Certificate] = {}
        for store in self.stores:
            for root in store.by_subject.get(wanted, ()):
                candidates[root.certificate.sha256] = root.certificate
        for sha256, certificate in self.pool.get(wanted, {}).items():
            candidates.setdefault(sha256, certificate)
        candidates.pop(child.sha256, None)
        return list(candidates.values())

    def _signed(self, child: Certificate, issuer: Certificate) -> Signed:
        if issuer.spki is None or self.budget <= 0:
            return Signed.CANNOT_TELL
        self.budget -= 1
        return verify_issued(child, issuer.spki)

    def _extend(self, path: tuple[Certificate, ...]) -> None:
        """Depth first; appends every maximal path to `found`."""
        grown = False
        if len(path) < PATH_LENGTH_MAX:
            for candidate in self._candidates(path[-1]):
                if len(self.found) >= PATHS_MAX:
                    return
                if any(c.sha256 == candidate.sha256 or _same_authority(c, candidate) for c in path):
                    continue
                anchor = self._anchor(candidate)
                if not _may_issue(candidate, path, is_anchor=anchor is not None):
                    continue
                if self._signed(path[-1], candidate) is not Signed.VALID:
                    continue
                grown = True
                if anchor is not None:
                    self.found.append(Path((*path, candidate), anchor))
                self._extend((*path, candidate))
        if not grown and not any(p.certificates == path for p in self.found):
            self.found.append(Path(path, None))


def _same_authority(one: Certificate, other: Certificate) -> bool:
    """Same name and same key: a cross-signed twin, through which a path would only go round in a circle."""
    return one.spki == other.spki and one.subject == other.subject


def _claims_same_key(child: Certificate, candidate: Certificate) -> bool:
    identifier = child.authority_key_identifier
    return identifier is not None and identifier == candidate.key_identifier


def _may_issue(candidate: Certificate, below: tuple[Certificate, ...], *, is_anchor: bool) -> bool:
    """RFC 5280 section 6.1.4 (k) to (n). A version 1 certificate may issue only as an anchor."""
    if candidate.is_ca is False or (candidate.is_ca is None and not is_anchor):
        return False
    if not candidate.may_sign_certificates:
        return False
    intermediates = sum(not c.is_self_issued for c in below[1:])
    return candidate.path_length is None or intermediates <= candidate.path_length
