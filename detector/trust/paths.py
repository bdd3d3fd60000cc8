"""Builds every chain of verified signatures from the presented leaf upwards (RFC 5280 section 6, RFC 4158).

Room: trust. Pure: the caller passes the budget with its clock.

Only paths from certificate 0 count: a genuine chain appended after a forged leaf changes nothing (CVE-2016-2402). This
is the lenient reading, which finds out who signed: issuers must call themselves a CA or be an anchor, and `acceptance`
decides whether a client would accept the path. What a server's key signs is private, since anyone can have a public
certificate for a server. Order, gaps, unrelated and cross-signed certificates among the presented ones do not matter;
every path is tried, within a share of `Budget`.

If no path reaches an anchor, a signature that could not be verified may be the reason. Three reasons are kept apart:

`unreadable`    a signature has a form that is not verified here: a genuine chain can look like this
`exceeded`      this chain needed more than one chain may use, which its sender chose
`postponed`     the run's processor time was spent: not this chain's fault alone

Once a known key verifies a signature, other certificates with the issuer's name say nothing about it. The signature of
a self-issued certificate needs no reason: it names no one above itself, and verifiers ignore it (RFC 5280 section 6.1).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from .budget import Share
from .certificate import CERTIFICATE_BYTES_MAX
from .signature import Signed, is_verified, verify_issued

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .budget import Budget
    from .certificate import Certificate
    from .roots import Root, Roots

PATH_LENGTH_MAX: Final = 10
"""Certificates in a path. Public paths have two to five; OpenSSL stops at 100, browsers at about 10."""
PATHS_MAX: Final = 64
"""Paths kept for one leaf; cross-signing gives genuine leaves at most about six."""

CACHED_MAX: Final = 1024
"""Chains whose paths are cached for one set of roots: a day's endpoints. Emptied when full."""
CACHED_BYTES_MAX: Final = 16 * 1024
"""Largest chain that is cached, so that 1024 hostile ones cost 16 MiB; usual ones have 3 to 6 KiB."""


class Path(NamedTuple):
    """Certificates from the leaf to the last verified issuer; `anchor` is the trusted root it ends in, or None."""

    certificates: tuple[Certificate, ...]
    anchor: Root | None


class Paths(NamedTuple):
    """The result of path building.

    `issuers`: certificates whose key signed the leaf, whether or not they may be CAs. `near_issuers`: certificates
    with the leaf's issuer name and key identifier whose key did **not** sign it. `paths`: every maximal path.
    `issuer_known`: whether any certificate with the leaf's issuer name, and a key, was available.

    `unreadable`: no path ends in an anchor, and for the last certificate of a path (the leaf, where its signer is not
    known) no available key made the signature, and its algorithm is not verified here or the key of a CA with the
    issuer's name is unreadable. `exceeded`: this chain exceeded its share of signatures, paths or processor time, or,
    where no path ends in an anchor, a key or certificate exceeds the limits. `postponed`: the search is incomplete
    because the run's processor time was spent. The paths found are valid in any case.
    """

    leaf: Certificate
    issuers: tuple[Certificate, ...]
    near_issuers: tuple[Certificate, ...]
    paths: tuple[Path, ...]
    issuer_known: bool
    unreadable: bool
    exceeded: bool
    postponed: bool

    def ending_in(self, roots: Roots) -> tuple[Path, ...]:
        """The paths that end in one of these roots."""
        return tuple(p for p in self.paths if p.anchor is not None and p.anchor.certificate.sha256 in roots.by_sha256)


def build(
    presented: Sequence[Certificate],
    stores: Sequence[Roots],
    extra: Iterable[Certificate] = (),
    budget: Budget | None = None,
) -> Paths:
    """Build every path from `presented[0]` over the presented certificates, `extra` ones and the roots of `stores`.

    A path ends at an anchor of any store; `extra` are never anchors. Without a `budget` only signatures are counted.
    Paths to a root are cached as long as the roots exist: they depend on neither host nor time. Other chains are not,
    since an interceptor makes arbitrarily many, nor are incomplete searches, since they depend on the budget.
    """
    chain, more, filled = tuple(presented), tuple(extra), [store for store in stores if len(store)]
    size = sum(len(certificate.der) for certificate in (*chain, *more))
    if len(filled) != 1 or size > CACHED_BYTES_MAX:
        return _Builder(chain, stores, more, budget).build()
    cached = _CACHE.setdefault(filled[0], {})
    paths = cached.get((chain, more))
    if paths is None:
        paths = _Builder(chain, filled, more, budget).build()
        if not (paths.exceeded or paths.postponed) and any(path.anchor is not None for path in paths.paths):
            if len(cached) >= CACHED_MAX:
                cached.clear()
            cached[chain, more] = paths
    return paths


_CACHE: Final[WeakKeyDictionary[Roots, dict[tuple[tuple[Certificate, ...], tuple[Certificate, ...]], Paths]]] = (
    WeakKeyDictionary()
)
"""By roots, then by presented and extra certificates. No entry refers to the set of roots and keeps it alive."""


class _Builder:
    def __init__(
        self, chain: Sequence[Certificate], stores: Sequence[Roots], extra: Iterable[Certificate], budget: Budget | None
    ) -> None:
        self.leaf = chain[0]
        self.stores = stores
        self.pool: dict[tuple[tuple[str, str], ...], dict[bytes, Certificate]] = {}
        for certificate in (*chain[1:], *extra):
            if certificate.subject is not None and certificate.sha256 != self.leaf.sha256:
                self.pool.setdefault(certificate.subject.canonical, {})[certificate.sha256] = certificate
        self.share = Share(budget)
        self.by_answer: dict[bytes, defaultdict[Signed, list[Certificate]]] = {}
        self.found: list[Path] = []
        self.cut = False

    def build(self) -> Paths:
        if (anchor := self._anchor(self.leaf)) is not None:
            self.found.append(Path((self.leaf,), anchor))
        candidates, identifier = self._verify(self.leaf), self.leaf.authority_key_identifier
        self._extend((self.leaf,))
        ends = [] if any(path.anchor for path in self.found) else [path.certificates[-1] for path in self.found]
        unreadable, too_large = any(map(self._is_unreadable, ends)), any(map(self._exceeds_limits, ends))
        self.share.close()
        return Paths(
            leaf=self.leaf,
            issuers=tuple(candidates[Signed.VALID]),
            near_issuers=tuple(c for c in candidates[Signed.INVALID] if c.key_identifier == identifier is not None),
            paths=tuple(self.found),
            issuer_known=any(candidates.values()) or self.leaf.is_self_issued,
            unreadable=unreadable,
            exceeded=self.cut or self.share.exceeded or too_large,
            postponed=self.share.postponed,
        )

    def _anchor(self, certificate: Certificate) -> Root | None:
        for store in self.stores:
            if (root := store.by_sha256.get(certificate.sha256)) is not None:
                return root
        return None

    def _candidates(self, child: Certificate) -> list[Certificate]:
        """Certificates with the child's issuer name, anchors first, so that a crowded chain cannot hide a root."""
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

    def _verify(self, child: Certificate) -> defaultdict[Signed, list[Certificate]]:
        """Certificates with the issuer's name by what their key says about the child's signature. Computed once."""
        known = self.by_answer.get(child.sha256)
        if known is None:
            known = self.by_answer[child.sha256] = defaultdict(list)
            for candidate in self._candidates(child):
                if candidate.spki is not None and self.share.grants():
                    known[verify_issued(child, candidate.spki)].append(candidate)
        return known

    def _extend(self, path: tuple[Certificate, ...]) -> None:
        """Extend depth first; append every maximal path to `found`."""
        grown = False
        if len(path) < PATH_LENGTH_MAX:
            for candidate in self._verify(path[-1])[Signed.VALID]:
                if len(self.found) >= PATHS_MAX:
                    self.cut = True
                    return
                if any(c.sha256 == candidate.sha256 or _same_authority(c, candidate) for c in path):
                    continue
                anchor = self._anchor(candidate)
                if not _may_issue(candidate, is_anchor=anchor is not None):
                    continue
                grown = True
                if anchor is not None:
                    self.found.append(Path((*path, candidate), anchor))
                self._extend((*path, candidate))
        if not grown and not any(p.certificates == path for p in self.found):
            self.found.append(Path(path, None))

    def _is_unreadable(self, end: Certificate) -> bool:
        """Whether the signer of the last certificate of a path is unknown because of a form not verified here."""
        candidates = self._verify(end)
        if candidates[Signed.VALID] or end.is_self_issued:
            return False
        if any(_may_issue(c, is_anchor=self._anchor(c) is not None) for c in candidates[Signed.UNREADABLE]):
            return True
        return end.signature is not None and not is_verified(end.signature_algorithm)

    def _exceeds_limits(self, end: Certificate) -> bool:
        """Whether the last certificate of a path, or a possible signer, exceeds the limits."""
        candidates = self._verify(end)
        unsigned = not (candidates[Signed.VALID] or end.is_self_issued)
        return len(end.der) > CERTIFICATE_BYTES_MAX or (unsigned and bool(candidates[Signed.EXCEEDS_LIMITS]))


def _same_authority(one: Certificate, other: Certificate) -> bool:
    """Whether both have the same name and key: cross-signed twins, which would only make the path circular."""
    return one.spki == other.spki and one.subject == other.subject


def _may_issue(candidate: Certificate, *, is_anchor: bool) -> bool:
    """Whether a certificate calls itself a CA (RFC 5280 section 4.2.1.9); one of version 1 may issue as an anchor."""
    return candidate.is_ca is True or (candidate.is_ca is None and is_anchor)
