"""Matches the names and hashes of a presented chain against the catalogue.

Room: knowledge. Pure: names and digests in, hits out.

A hash is proof: only the product, or someone with its leaked key, has that key. So hashes are matched on any chain,
also a public one (`Catalogue.match_digests`). A name is a claim: its author chose it, and some vendors of interceptors
have public CAs too. So a name counts only where another party issued this leaf for this name and no client would accept
the chain (rule `product-mark`); the checks enforce that, and every hit says what matched.

Input is bounded, because an attacker chooses the length and number of names. Hits are ordered by strength: hash, then
CN, OU, O, e-mail address; whole values before parts; strong facts before weak ones; superseded entries last.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from detector.model import Record

from .entries import Entry, Fact, Field, Match, Role, Strength, Where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detector.trust.certificate import Certificate

MAX_VALUE: Final = 512
"""Characters of one attribute value that are read; X.520 allows 64, the longest fact has 60."""

MAX_VALUES: Final = 256
"""Distinct attribute values that are read: a genuine chain of five certificates has about thirty."""

_RANK: Final = (Field.SHA256, Field.SPKI_SHA256, Field.CN, Field.OU, Field.O, Field.EMAIL_ADDRESS)

_NOUN: Final = {
    Field.SHA256: "a certificate's SHA-256 is",
    Field.SPKI_SHA256: "the SHA-256 of a public key is",
}


class HitKind(enum.StrEnum):
    """What matched: the hash of a public key, the hash of a whole certificate, or a name."""

    KEY = "key"
    CERTIFICATE = "certificate"
    NAME = "name"


_KIND: Final = {Field.SHA256: HitKind.CERTIFICATE, Field.SPKI_SHA256: HitKind.KEY}


class Names(Record, frozen=True, kw_only=True):
    """The names and hashes of a presented chain.

    Names are (attribute type, value) pairs with short types (`CN`, `O`, `OU`, `emailAddress`); `ca_subjects` are the
    subjects of the certificates above the leaf. `sha256` and `spki_sha256` are lower-case hexadecimal hashes of every
    presented certificate and of its SubjectPublicKeyInfo.

    The names of a self-issued leaf (subject equals issuer) are in no field: an appliance's own page bears the
    appliance's name, and no other party issued it.
    """

    leaf_issuer: tuple[tuple[str, str], ...] = ()
    leaf_subject: tuple[tuple[str, str], ...] = ()
    ca_subjects: tuple[tuple[tuple[str, str], ...], ...] = ()
    sha256: frozenset[str] = frozenset()
    spki_sha256: frozenset[str] = frozenset()

    @classmethod
    def of(cls, chain: Sequence[Certificate]) -> Names:
        """The names in a chain, leaf first, without those of a self-issued leaf and without hashes."""
        if not chain:
            return cls()
        leaf = chain[0]
        foreign = not leaf.is_self_issued
        return cls(
            leaf_issuer=leaf.issuer.attributes if leaf.issuer and foreign else (),
            leaf_subject=leaf.subject.attributes if leaf.subject and foreign else (),
            ca_subjects=tuple(c.subject.attributes for c in chain[1:] if c.subject),
        )


class Hit(Record, frozen=True, kw_only=True):
    """A matching entry, by its best fact.

    `kind` is what matched. `fact` completes "known by: …". `strong` is False for a fact that only supports other
    evidence, and for every fact of an authority that certifies servers of its own (`Role.ORIGIN_CA`); a strong name is
    a mark of the product.
    """

    entry: Entry
    kind: HitKind
    fact: str
    strong: bool

    @property
    def accuses_by_key(self) -> bool:
        """Whether this hit proves interception by itself, even below a public root."""
        return self.kind is not HitKind.NAME and self.entry.accuses_by_key


class Catalogue:
    """Entries, indexed for matching: whole values by lookup, parts and patterns one by one."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: Final = tuple(entries)
        self._exact: Final[dict[tuple[Where, str, str], list[tuple[Entry, Fact]]]] = {}
        self._partial: Final[dict[tuple[Where, str], list[tuple[Entry, Fact]]]] = {}
        self._digests: Final[dict[bytes, list[tuple[Entry, Fact]]]] = {}
        for entry in self.entries:
            for fact in entry.facts:
                if fact.match is Match.EXACT:
                    self._exact.setdefault((fact.where, fact.field.value, fact.value), []).append((entry, fact))
                else:
                    self._partial.setdefault((fact.where, fact.field.value), []).append((entry, fact))
                if fact.field in _KIND:
                    self._digests.setdefault(bytes.fromhex(fact.value), []).append((entry, fact))

    def match(self, names: Names) -> tuple[Hit, ...]:
        """Find one hit per matching entry, strongest first. Never raises."""
        return _hits(
            (entry, fact, value)
            for where, field, value in _values(names)
            for entry, fact in self._matching(where, field, value)
        )

    def match_digests(self, digests: Iterable[bytes]) -> tuple[Hit, ...]:
        """Find one hit per entry that has one of these hashes, strongest first.

        `digests` are raw SHA-256 hashes of certificates and of their SubjectPublicKeyInfo, mixed: they never collide.
        Only those on a verified path from the leaf prove anything: anyone can append a certificate. Cheap enough for
        every chain: one set operation where nothing matches.
        """
        found = self._digests.keys() & digests
        return _hits((entry, fact, fact.value) for digest in found for entry, fact in self._digests[digest])

    def _matching(self, where: Where, field: str, value: str) -> Iterator[tuple[Entry, Fact]]:
        yield from self._exact.get((where, field, value), ())
        lower = value.lower()
        for entry, fact in self._partial.get((where, field), ()):
            if fact.match is Match.CONTAINS:
                if fact.value.lower() in lower:
                    yield entry, fact
            elif re.search(fact.value, value):  # the module caches what it compiles
                yield entry, fact


def fold(value: str) -> str:
    """Normalize an attribute value as facts are written: NFKC (RFC 4518 section 2.3), white space trimmed and joined.

    Some products put trailing or no-break spaces into their names. Case is kept: some facts depend on it.
    """
    return " ".join(unicodedata.normalize("NFKC", value[:MAX_VALUE]).split())[:MAX_VALUE]


def _hits(found: Iterable[tuple[Entry, Fact, str]]) -> tuple[Hit, ...]:
    """One hit per entry, by its best fact, in the order of the module docstring."""
    best: dict[str, tuple[tuple[int, ...], Entry, Fact, str]] = {}
    for entry, fact, value in found:
        order = (not _is_strong(entry, fact), _RANK.index(fact.field), fact.match is not Match.EXACT)
        if entry.id not in best or order < best[entry.id][0]:
            best[entry.id] = (order, entry, fact, value)
    superseded = {other for _, entry, fact, _ in best.values() if _is_strong(entry, fact) for other in entry.supersedes}
    ordered = sorted(best.values(), key=lambda one: (one[1].id in superseded, one[0], one[1].id))
    return tuple(
        Hit(
            entry=entry,
            kind=_KIND.get(fact.field, HitKind.NAME),
            fact=_describe(fact, value),
            strong=_is_strong(entry, fact),
        )
        for _, entry, fact, value in ordered
    )


def _values(names: Names) -> Iterator[tuple[Where, str, str]]:
    """All values without repeats, bounded in number and length; hashes first."""
    for field, hashes in ((Field.SHA256, names.sha256), (Field.SPKI_SHA256, names.spki_sha256)):
        for value in sorted(hashes)[:MAX_VALUES]:
            yield Where.ISSUER, field.value, value
    pairs = [(Where.LEAF_SUBJECT, *pair) for pair in names.leaf_subject[:MAX_VALUES]]
    for name in (names.leaf_issuer, *names.ca_subjects[:MAX_VALUES]):
        pairs += [(Where.ISSUER, *pair) for pair in name[:MAX_VALUES]]
    distinct = dict.fromkeys((where, kind, fold(value)) for where, kind, value in pairs)
    yield from list(distinct)[:MAX_VALUES]


def _is_strong(entry: Entry, fact: Fact) -> bool:
    return fact.strength is Strength.STRONG and entry.role is Role.INTERCEPTOR


def _describe(fact: Fact, value: str) -> str:
    """Describe what matched, with the value as presented, bounded and escaped."""
    if fact.field in _NOUN:
        return f"{_NOUN[fact.field]} {value}" + (f" ({fact.note})" if fact.note else "")
    whose = "subject" if fact.where is Where.LEAF_SUBJECT else "issuer"
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value)
    verb = {Match.EXACT: "is", Match.CONTAINS: "contains", Match.REGEX: "has the form of"}[fact.match]
    value = fact.value if fact.match is Match.CONTAINS else shown
    return f'{whose} {fact.field} {verb} "{value}"'
