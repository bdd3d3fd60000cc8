"""Every chain of verified signatures from the presented leaf upwards (RFC 5280 section 6, RFC 4158).

Room: trust. Pure: the clock is the budget's, which the caller passes.

Only paths from certificate 0 count: a genuine chain appended behind a forged leaf changes nothing (CVE-2016-2402).
This is the lenient reading, which asks who signed: what stands above the leaf must call itself a CA or be an anchor,
and whether a client would take the path is `acceptance`'s question. A key that signs as no CA at all leads nowhere:
anybody can have a public certificate for a server, and what its key signs is private. Order, gaps, strangers and
cross-signed duplicates among the presented certificates do not matter; every path is tried, within a share of `Budget`.

Where no path reaches an anchor, the reason may be that a signature could not be verified. Three reasons are kept apart:

`unreadable`    a signature on the way cannot be verified *by form*: a genuine chain can look like this
`exceeded`      this chain asked for more than one chain gets: its sender's doing
`postponed`     the run's processor time was spent: not this chain's fault alone

A signature that some key at hand did make explains itself: other certificates of the issuer's name, in whatever form,
say nothing about it then. Nor does the signature of a self-issued certificate ask for a reason: it names nobody above
itself, and no verifier reads it (RFC 5280 section 6.1).
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

REMEMBERED_MAX: Final = 1024
"""Chains whose paths are remembered for one set of roots: a day's endpoints. Emptied when full."""
REMEMBERED_BYTES_MAX: Final = 16 * 1024
"""Bytes of certificates in a chain that is remembered, so that 1024 hostile ones cost 16 MiB; usual
ones have 3 to 6 KiB."""


class Path(NamedTuple):
    """Certificates from the leaf to the last verified issuer; `anchor` is the trusted root it ends in, or None."""

    certificates: tuple[Certificate, ...]
    anchor: Root | None


class Paths(NamedTuple):
    """What path building found.

    `issuers`: certificates whose key signed the leaf, whether or not they may be CAs. `near_issuers`: certificates
    with the leaf's issuer name and key identifier whose key did **not** sign it. `paths`: every maximal path.
    `issuer_known`: whether any certificate with the leaf's issuer name, and a key, was at hand.

    `unreadable`: no path ends in an anchor, and for the last certificate of a path (the leaf, where nobody is known to
    have signed it) no key at hand made the signature, and its algorithm is not verified here or the key of a CA of the
    issuer's name cannot be read. `exceeded`: this chain exceeded its share of signatures, paths or processor time, or,
    where no path ends in an anchor, a key or certificate on the way exceeds the limits. `postponed`: the search is not
    finished because the run's processor time was spent. What was found stands in any case.
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
    """Build every path from `presented[0]`, over the presented certificates, `extra` ones and the roots of `stores`.

    A certificate ends a path where it is an anchor of any of the stores. `extra` are never anchors. `budget` is the
    processor time of the run; without one only signatures are counted. What was found for a chain that ends in a root
    is remembered as long as the roots are there: it depends on neither host nor time. Other chains are not, since an
    interceptor makes as many as it likes, nor are searches that were not finished, since they depend on the budget.
    """
    chain, more, filled = tuple(presented), tuple(extra), [store for store in stores if len(store)]
    size = sum(len(certificate.der) for certificate in (*chain, *more))
    if len(filled) != 1 or size > REMEMBERED_BYTES_MAX:
        return _Builder(chain, stores, more, budget).build()
    known = _KNOWN.setdefault(filled[0], {})
    paths = known.get((chain, more))
    if paths is None:
        paths = _Builder(chain, filled, more, budget).build()
        if not (paths.exceeded or paths.postponed) and any(path.anchor is not None for path in paths.paths):
            if len(known) >= REMEMBERED_MAX:
                known.clear()
            known[chain, more] = paths
    return paths


_KNOWN: Final[WeakKeyDictionary[Roots, dict[tuple[tuple[Certificate, ...], tuple[Certificate, ...]], Paths]]] = (
    WeakKeyDictionary()
)
"""By roots, then by what was presented and fetched. No entry refers to the roots as a whole, so none keeps them."""


class _Builder:
    def __init__(
        self,
        presented: Sequence[Certificate],
        stores: Sequence[Roots],
        extra: Iterable[Certificate],
        budget: Budget | None,
    ) -> None:
        self.leaf = presented[0]
        self.stores = stores
        self.pool: dict[tuple[tuple[str, str], ...], dict[bytes, Certificate]] = {}
        for certificate in (*presented[1:], *extra):
            if certificate.subject is not None and certificate.sha256 != self.leaf.sha256:
                self.pool.setdefault(certificate.subject.canonical, {})[certificate.sha256] = certificate
        self.share = Share(budget)
        self.answers: dict[bytes, defaultdict[Signed, list[Certificate]]] = {}
        self.found: list[Path] = []
        self.cut = False

    def build(self) -> Paths:
        anchored = self._anchor(self.leaf)
        if anchored is not None:
            self.found.append(Path((self.leaf,), anchored))
        answers = self._ask(self.leaf)
        self._extend((self.leaf,))
        ends = [] if any(path.anchor for path in self.found) else [path.certificates[-1] for path in self.found]
        unreadable, too_large = any(map(self._is_unreadable, ends)), any(map(self._exceeds_limits, ends))
        self.share.close()
        return Paths(
            leaf=self.leaf,
            issuers=tuple(answers[Signed.VALID]),
            near_issuers=tuple(c for c in answers[Signed.INVALID] if _claims_same_key(self.leaf, c)),
            paths=tuple(self.found),
            issuer_known=any(answers.values()) or self.leaf.is_self_issued,
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

    def _ask(self, child: Certificate) -> defaultdict[Signed, list[Certificate]]:
        """The certificates of the issuer's name by what their keys say of the child's signature. Asked once."""
        known = self.answers.get(child.sha256)
        if known is None:
            known = self.answers[child.sha256] = defaultdict(list)
            for candidate in self._candidates(child):
                if candidate.spki is not None and self.share.grants():
                    known[verify_issued(child, candidate.spki)].append(candidate)
        return known

    def _extend(self, path: tuple[Certificate, ...]) -> None:
        """Depth first; appends every maximal path to `found`."""
        grown = False
        if len(path) < PATH_LENGTH_MAX:
            for candidate in self._ask(path[-1])[Signed.VALID]:
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
        """Whether it is by form that nobody is known to have signed the last certificate of a path."""
        answers = self._ask(end)
        if answers[Signed.VALID] or end.is_self_issued:
            return False
        if any(_may_issue(c, is_anchor=self._anchor(c) is not None) for c in answers[Signed.UNREADABLE]):
            return True
        return end.signature is not None and not is_verified(end.signature_algorithm)

    def _exceeds_limits(self, end: Certificate) -> bool:
        """Whether the last certificate of a path, or who may have signed it, is larger than what is verified."""
        answers = self._ask(end)
        unsigned = not (answers[Signed.VALID] or end.is_self_issued)
        return len(end.der) > CERTIFICATE_BYTES_MAX or (unsigned and bool(answers[Signed.EXCEEDS_LIMITS]))


def _same_authority(one: Certificate, other: Certificate) -> bool:
    """Same name and same key: a cross-signed twin, through which a path would only go round in a circle."""
    return one.spki == other.spki and one.subject == other.subject


def _claims_same_key(child: Certificate, candidate: Certificate) -> bool:
    identifier = child.authority_key_identifier
    return identifier is not None and identifier == candidate.key_identifier


def _may_issue(candidate: Certificate, *, is_anchor: bool) -> bool:
    """Whether a certificate calls itself a CA (RFC 5280 section 4.2.1.9); one of version 1 may issue as an anchor."""
    return candidate.is_ca is True or (candidate.is_ca is None and is_anchor)
