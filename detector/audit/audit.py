"""Assesses what a machine trusts: which roots are beyond the public set, whose they are, which are known to be abused.

Room: audit. Pure apart from reading the package's own data: roots, catalogue and time are arguments.

A root that is merely installed decrypts nothing; it makes decryption possible without a warning. So no verdict here
claims decrypted traffic. A root is public if its **key** is: bundles contain the same root in several certificates.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from detector.knowledge.age import of_roots
from detector.knowledge.catalogue import Field, Names, ProductCategory, Role
from detector.model import ManagedBy, RootOrigin
from detector.trust.certificate import Certificate
from detector.trust.distinguished_name import escape
from detector.version import VERSION

from .entries import AuditedRoot, AuditReport, Kind, Known, StoreSummary, Verdict

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from detector.knowledge.catalogue import Catalogue, Entry, Hit
    from detector.trust.roots import Roots

    from .entries import InstalledRoot, Scanned

_PERSONAL: Final = re.compile(r"(?<!\S)[^\s@]++@\S++|\([^()]*+\)")
"""User and host in the names of CAs on developers' machines: mkcert `user@host (Full Name)`, Charles
`(date, host)`."""

_ORDER: Final = list(Kind)
_HASHES: Final = (Field.SHA256, Field.SPKI_SHA256)
_LISTS: Final = {Kind.FORMERLY_PUBLIC: "formerly_public", Kind.SHIPPED: "shipped"}
"""The lists of the report for trusted roots of these kinds; all others are beyond the public set."""


class _Leaked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    leaked: dict[str, str]


@functools.cache
def leaked_keys() -> dict[str, str]:
    """How private keys became public, by the id of the catalogue entry whose hashes identify the certificate or key."""
    data = resources.files("detector.audit").joinpath("data/leaked_keys.json").read_bytes()
    return msgspec.json.decode(data, type=_Leaked).leaked


def how_leaked(entry: Entry, sha256: str, spki_sha256: str | None) -> str | None:
    """How the key of this certificate became public, if the entry identifies it by hash.

    A name proves nothing here: anyone can name a CA after one with a leaked key.
    """
    if any(fact.field in _HASHES and fact.value in (sha256, spki_sha256) for fact in entry.facts):
        return leaked_keys().get(entry.id)
    return None


def audit(
    scanned: Scanned, *, public: Roots, known: frozenset[bytes], catalogue: Catalogue, at: dt.datetime
) -> AuditReport:
    """Report what `scanned` trusts beyond `public`.

    `known` are the keys (SHA-256) of roots that were public at some time; `at` (aware, UTC)
    determines what is expired and is the report's time.
    """
    formerly = known - public.keys
    installed: dict[bytes, list[InstalledRoot]] = {}
    for root in scanned.roots:
        installed.setdefault(root.der, []).append(root)
    lists: dict[str, list[AuditedRoot]] = {"beyond": [], "shipped": [], "formerly_public": [], "distrusted": []}
    trusted: dict[bytes, bool] = {}
    for der, places in installed.items():
        certificate = Certificate.read(der)
        holding = [place for place in places if not place.distrusted]
        audited = None
        if certificate.spki_sha256 is None or certificate.spki_sha256 not in public.keys:
            audited = _root(certificate, holding or places, catalogue, formerly, at)
        listed = None
        if audited is not None:
            listed = _LISTS.get(audited.kind, "beyond") if holding else "distrusted"
            lists[listed].append(audited)
        if holding:
            trusted[der] = listed == "beyond"
    beyond = sorted(lists["beyond"], key=lambda root: (_ORDER.index(root.kind), root.subject or "", root.sha256))
    return AuditReport(
        detector_version=VERSION,
        at=at,
        verdict=_verdict(beyond, complete=not scanned.unreadable),
        beyond=tuple(beyond),
        shipped=_sorted(lists["shipped"]),
        formerly_public=_sorted(lists["formerly_public"]),
        distrusted=_sorted(lists["distrusted"]),
        stores=_stores(scanned.roots, trusted),
        unreadable=scanned.unreadable,
        trusted=len(trusted),
        public=of_roots(public),
    )


def _verdict(beyond: Sequence[AuditedRoot], *, complete: bool) -> Verdict:
    if any(root.kind in (Kind.LEAKED_KEY, Kind.INTERCEPTOR) for root in beyond):
        return Verdict.INTERCEPTOR_TRUSTED
    if beyond:
        return Verdict.UNKNOWN_TRUSTED
    return Verdict.PUBLIC_ONLY if complete else Verdict.INCOMPLETE


def _root(
    certificate: Certificate,
    places: Sequence[InstalledRoot],
    catalogue: Catalogue,
    formerly: Collection[bytes],
    at: dt.datetime,
) -> AuditedRoot:
    sha256 = certificate.sha256.hex()
    spki_sha256 = certificate.spki_sha256.hex() if certificate.spki_sha256 else None
    was_public = certificate.spki_sha256 in formerly
    hits = catalogue.match(
        Names(
            # A name is not evidence against a root that was public; its hash is.
            ca_subjects=(certificate.subject.attributes,) if certificate.subject and not was_public else (),
            sha256=frozenset({sha256}),
            spki_sha256=frozenset({spki_sha256} if spki_sha256 else ()),
        )
    )
    leaks = [(how, hit) for hit in hits if (how := how_leaked(hit.entry, sha256, spki_sha256)) is not None]
    leaked, hit = leaks[0] if leaks else (None, hits[0] if hits else None)
    origins = tuple(sorted({place.origin for place in places}, key=list(RootOrigin).index))
    return AuditedRoot(
        subject=_subject(certificate, hit),
        sha256=sha256,
        spki_sha256=spki_sha256,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        expired=certificate.not_after is not None and certificate.not_after < at,
        kind=_kind(leaked, hit, origins, was_public=was_public),
        stores=tuple(dict.fromkeys(place.store for place in places)),
        origins=origins,
        installed_at=min((place.installed_at for place in places if place.installed_at), default=None),
        known=None if hit is None else _known(hit),
        leaked_key=leaked,
    )


def _kind(leaked: str | None, hit: Hit | None, origins: Sequence[RootOrigin], *, was_public: bool) -> Kind:
    if leaked is not None:
        return Kind.LEAKED_KEY
    if hit is not None and hit.strong and hit.entry.category != ProductCategory.LOCAL_DEV_CA:
        return Kind.INTERCEPTOR
    if was_public:
        return Kind.FORMERLY_PUBLIC
    if all(origin is RootOrigin.SHIPPED for origin in origins):
        return Kind.SHIPPED
    # A weak fact about an interception product is not enough to classify a root.
    return Kind.LOCAL_CA if hit is not None and (hit.strong or hit.entry.role is Role.ORIGIN_CA) else Kind.UNKNOWN


def _known(hit: Hit) -> Known:
    entry = hit.entry
    return Known(
        id=entry.id,
        vendor=entry.vendor,
        product=entry.product,
        category=entry.category,
        managed_by=entry.managed_by,
        fact=_PERSONAL.sub("…", hit.fact) if entry.managed_by is ManagedBy.DEVELOPER else hit.fact,
        strong=hit.strong,
    )


def _subject(certificate: Certificate, hit: Hit | None) -> str | None:
    """The subject, without what a developer's tool wrote into it about the developer."""
    if certificate.subject is None:
        return None
    if hit is None or hit.entry.managed_by is not ManagedBy.DEVELOPER:
        return certificate.subject.text
    return ",".join(
        f"{kind}={escape(_PERSONAL.sub('…', value))}" for kind, value in reversed(certificate.subject.attributes)
    )


def _sorted(roots: Iterable[AuditedRoot]) -> tuple[AuditedRoot, ...]:
    return tuple(sorted(roots, key=lambda root: (root.subject or "", root.sha256)))


def _stores(installed: Iterable[InstalledRoot], trusted: dict[bytes, bool]) -> tuple[StoreSummary, ...]:
    held: dict[str, set[bytes]] = {}
    for root in installed:
        if not root.distrusted:
            held.setdefault(root.store, set()).add(root.der)
    return tuple(
        StoreSummary(store=store, trusted=len(ders), beyond=sum(trusted[der] for der in ders))
        for store, ders in held.items()
    )
