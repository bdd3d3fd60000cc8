"""What a browser family cannot send: the table of impossibilities, each for a family from a version on.

Room: origin. Pure: an offer and sets in, contradictions out.

Theory of operation
===================
A browser's ClientHello changes with its version, its settings and its field trials; what its TLS stack does not
implement it cannot send. A rule is therefore never a fingerprint. None reads an order, which Chromium draws and
machines without AES instructions change; none needs a post-quantum group, Encrypted ClientHello or trust anchors, which
policies switch off; none counts what is missing where a list may be cut; none reads what came over QUIC.

Each rule reads one part of an offer, so that rules of different parts are independent of each other. A part that was
not seen contradicts nothing: with less of an offer there are never more contradictions.

What a family never sent is known of the versions in the data. Rules that rest on it are silent for claims below these
versions, and for those above by more than `AHEAD_MAX`.
"""

from __future__ import annotations

import enum
import operator
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.knowledge.browser_offers import Family, FamilySets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from detector.knowledge.browser_offers import BrowserOffers

    from .claims import Claims
    from .offer import Offer

AHEAD_MAX: Final = {Family.CHROMIUM: 6, Family.FIREFOX: 6, Family.SAFARI: 1}
"""Major versions by which a claim may be newer than the data. Chromium and Firefox publish one every four weeks, so 6
are half a year, for which the lists of roots and logs count, too; Apple publishes one a year. Firefox's next extended
support release is further away, and the data is renewed before it."""


class Part(enum.StrEnum):
    """The parts of a ClientHello that rules read."""

    RESERVED_VALUES = "reserved values"
    CIPHER_SUITES = "cipher suites"
    GROUPS = "groups"
    EXTENSIONS = "extensions"
    ABSENT_EXTENSIONS = "absent extensions"
    ABSENT_GROUPS = "absent groups"
    SIGNATURE_SCHEMES = "signature schemes"
    FORM = "form"


class Impossibility(NamedTuple):
    """One rule. `floors` has the first major version of each family that it holds for; None is the data's first.

    `breaks` returns the code points that contradict; `ALONE` where there are none to name. `is_dated` says that it
    rests on what was never sent so far. `needs` is `breaks` in words, `source` from where that is known.
    """

    name: str
    part: Part
    floors: Mapping[Family, int | None]
    needs: str
    source: str
    breaks: Callable[[Offer, FamilySets, Claims], tuple[int, ...]]
    is_dated: bool = True


class Contradiction(NamedTuple):
    """The name of a rule that an offer breaks, with the code points that contradict."""

    rule: str
    code_points: tuple[int, ...]


ALONE: Final = (-1,)
"""That a rule is broken, where no code point is named."""

COMPRESS_CERTIFICATE: Final = 27
RECORD_SIZE_LIMIT: Final = 28
FFDHE: Final = frozenset({256, 257})  # ffdhe2048, ffdhe3072 (RFC 7919 section 3)
TLS_1_3_SUITES: Final = frozenset({0x1301, 0x1302, 0x1303})  # RFC 8446 appendix B.4
_ALL: Final[Mapping[Family, int | None]] = dict.fromkeys((Family.CHROMIUM, Family.FIREFOX, Family.SAFARI))


def _never(part: str) -> Callable[[Offer, FamilySets, Claims], tuple[int, ...]]:
    """A rule on a list: the offered code points that the family never sent."""
    offered_in, never_in = operator.attrgetter(part), operator.attrgetter(f"never_{part}")

    def breaks(offer: Offer, sets: FamilySets, _claims: Claims) -> tuple[int, ...]:
        offered: tuple[int, ...] | None = offered_in(offer)
        never: frozenset[int] = never_in(sets)
        return () if offered is None or never.isdisjoint(offered) else tuple(filter(never.__contains__, offered))

    return breaks


def _suites(offer: Offer, sets: FamilySets, claims: Claims) -> tuple[int, ...]:
    count = offer.cipher_suites_count
    if offer.cipher_suites is None and count is not None and count > sets.cipher_suites_max:
        return ALONE
    return _never_suites(offer, sets, claims)


_never_suites: Final = _never("cipher_suites")


def _no_reserved(offer: Offer, _sets: FamilySets, _claims: Claims) -> tuple[int, ...]:
    seen = (offer.reserved_cipher_suites, offer.reserved_extensions, offer.reserved_groups)
    return ALONE if False in seen and not offer.is_cut else ()


def _reserved(offer: Offer, _sets: FamilySets, _claims: Claims) -> tuple[int, ...]:
    return ALONE if offer.reserved_cipher_suites or offer.reserved_extensions or offer.reserved_groups else ()


def _lacks_extension(extension: int) -> Callable[[Offer, FamilySets, Claims], tuple[int, ...]]:
    def breaks(offer: Offer, _sets: FamilySets, _claims: Claims) -> tuple[int, ...]:
        seen = offer.extensions
        return () if seen is None or offer.is_cut or extension in seen else (extension,)

    return breaks


def _lacks_ffdhe(offer: Offer, _sets: FamilySets, claims: Claims) -> tuple[int, ...]:
    if offer.groups is None or offer.cipher_suites is None or offer.is_cut or claims.is_linux:
        return ()
    if not FFDHE.isdisjoint(offer.groups) or TLS_1_3_SUITES.isdisjoint(offer.cipher_suites):
        return ()
    return tuple(sorted(FFDHE))


TABLE: Final = (
    Impossibility(
        "no-reserved-values",
        Part.RESERVED_VALUES,
        {Family.CHROMIUM: None, Family.SAFARI: 16},
        "no reserved value (RFC 8701) among cipher suites, extensions or groups, of which these browsers put one into "
        "each",
        "RFC 8701; every recorded ClientHello of Chromium 98 to 156, also with TLS 1.2 or TLS 1.3 alone and with "
        "features off, and of Safari from 15.3; Safari 16 is the first that needs a macOS from which one is recorded",
        _no_reserved,
        is_dated=False,
    ),
    Impossibility(
        "reserved-values",
        Part.RESERVED_VALUES,
        {Family.FIREFOX: None},
        "a reserved value (RFC 8701) among cipher suites, extensions or groups",
        "every recorded ClientHello of Firefox and Tor Browser, and of Firefox 153 with a dozen settings changed",
        _reserved,
    ),
    Impossibility(
        "cipher-suite-never-offered",
        Part.CIPHER_SUITES,
        _ALL,
        "a cipher suite that the family never offered; where only their number is known, more than it ever offered",
        "the family's recorded ClientHellos, and the suites that settings add",
        _suites,
    ),
    Impossibility(
        "group-never-offered",
        Part.GROUPS,
        _ALL,
        "a group that the family never offered; post-quantum ones do not count",
        "the family's recorded ClientHellos",
        _never("groups"),
    ),
    Impossibility(
        "extension-never-sent",
        Part.EXTENSIONS,
        _ALL,
        "an extension that the family's TLS stack does not send",
        "the family's recorded ClientHellos, and the extensions that settings add",
        _never("extensions"),
    ),
    Impossibility(
        "signature-scheme-never-offered",
        Part.SIGNATURE_SCHEMES,
        _ALL,
        "a signature scheme that the family never offered",
        "the family's recorded ClientHellos",
        _never("signature_schemes"),
    ),
    Impossibility(
        "no-certificate-compression",
        Part.ABSENT_EXTENSIONS,
        {Family.CHROMIUM: None, Family.SAFARI: 18},
        "no compress_certificate (RFC 8879)",
        "every recorded ClientHello of Chromium 98 to 156, also with TLS 1.2 alone; of Safari from macOS 12.4, and "
        "Safari 18 is the first that needs a newer one",
        _lacks_extension(COMPRESS_CERTIFICATE),
    ),
    Impossibility(
        "no-record-size-limit",
        Part.ABSENT_EXTENSIONS,
        {Family.FIREFOX: None},
        "no record_size_limit (RFC 8449)",
        "every recorded ClientHello of Firefox and Tor Browser, also with TLS 1.1 or 1.2 alone",
        _lacks_extension(RECORD_SIZE_LIMIT),
    ),
    Impossibility(
        "no-finite-field-groups",
        Part.ABSENT_GROUPS,
        {Family.FIREFOX: None},
        "TLS 1.3 without ffdhe2048 and ffdhe3072 (RFC 7919); silent for Linux, where a system's policy removes them",
        "every recorded ClientHello of Firefox and Tor Browser that offers TLS 1.3; no setting of Firefox removes them",
        _lacks_ffdhe,
    ),
    Impossibility(
        "malformed-or-oversized",
        Part.FORM,
        _ALL,
        "an extension whose content breaks its format, a list of more than 256 numbers, or more than 8 KiB in all",
        "RFC 8446 section 4.2; every recorded ClientHello is well-formed, under 2 KiB, and no list has 30 numbers",
        lambda offer, _sets, _claims: ALONE if offer.is_malformed else (),
    ),
)
"""Every rule. docs/origin-decisions.md is generated from it."""

RULE_OF: Final = {rule.name: rule for rule in TABLE}
"""Every rule by its name."""


class _Plan(NamedTuple):
    """The rules of a family, each with its first version, and how far a claim may be ahead of the data."""

    ahead: int
    rules: tuple[tuple[Impossibility, int], ...]


_PLANS: Final = {
    family: _Plan(AHEAD_MAX[family], tuple((rule, rule.floors[family] or 0) for rule in TABLE if family in rule.floors))
    for family in _ALL
}
"""By family, because hashing a member of an enumeration for each rule would take longer than the rules."""


def covers(claims: Claims, data: BrowserOffers) -> bool:
    """Whether the data describes the claimed version, or one so near that nothing about it has changed."""
    sets, major = data.families.get(claims.family), claims.major
    return sets is not None and major is not None and sets.first <= major <= sets.last + AHEAD_MAX[claims.family]


def contradictions(offer: Offer, claims: Claims, data: BrowserOffers) -> tuple[Contradiction, ...]:
    """Return what contradicts the claim. Nothing does where the family or its version is not known."""
    return tuple(_broken(offer, claims, data))


def is_consistent(offer: Offer, claims: Claims, data: BrowserOffers) -> bool:
    """Whether nothing contradicts the claim."""
    return next(_broken(offer, claims, data), None) is None


def _broken(offer: Offer, claims: Claims, data: BrowserOffers) -> Iterator[Contradiction]:
    sets, major = data.families.get(claims.family), claims.major
    if sets is None or major is None or major < sets.first or offer.is_quic:
        return
    plan = _PLANS[claims.family]
    is_covered = major <= sets.last + plan.ahead
    for rule, floor in plan.rules:
        if floor <= major and (is_covered or not rule.is_dated):
            code_points = rule.breaks(offer, sets, claims)
            if code_points:
                yield Contradiction(rule.name, code_points)
