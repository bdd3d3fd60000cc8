"""Data sets of past days, made from the history in the shipped one: what a copy of the package knew on a day.

Pure apart from reading the package's own data. A root is known from the first certifi release that carries it, and is
retired from the first one that lacks it; a log from the first day on which a list names it or dates a state of it; a
revocation from the day it was listed. The files of a past set are written and decoded like those of an update.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.knowledge import data_set
from detector.knowledge.data_set import PARTS, ROOT_CERTIFICATES, DataSet
from detector.knowledge.known_roots import date_of
from detector.knowledge.roots import CertifiBundle
from detector.knowledge.store import Manifest, StoredSet
from detector.model import KnowledgeKind, RootOrigin
from detector.trust.ct_logs import LIST_HORIZON
from detector.trust.roots import NO_ROOTS, ROOTS_HORIZON, Roots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detector.knowledge.known_roots import KnownRoot
    from detector.trust.ct_logs import Log, LogList
    from detector.trust.revocations import Revocations

COPIES: Final = {"copy 6 months old": 183, "copy 12 months old": 365, "copy 24 months old": 730}
"""Ages, in days, of copies of the package."""
UPDATED: Final = ", updated"
"""What is appended to the name of a copy that took the update of the day."""
_NAME: Final = "past"


class PastSet(DataSet):
    """A data set whose files serve although those of the package, and certifi, are newer."""

    certifi = CertifiBundle(NO_ROOTS, NO_ROOTS, frozenset())

    def _newest_first(self, kind: KnowledgeKind) -> list[data_set._Part]:
        found = super()._newest_first(kind)
        return [part for part in found if part.name == _NAME] or found


@functools.cache
def as_of(day: dt.date) -> DataSet:
    """What a copy of the package knew that took all updates until this day."""
    shipped, released = data_set.shipped(), date_of(version_of(day)) or day
    roots = [
        (
            msgspec.structs.replace(
                root, removed=_until(root.removed, day), distrust_after=_until(root.distrust_after, day)
            ),
            der,
        )
        for root, der in zip(shipped.known_roots.roots, shipped.root_certificates, strict=True)
        if (date_of(root.first_seen) or released) <= released
    ]
    versions = [name for name in shipped.known_roots.versions if (date_of(name) or released) <= released]
    logs = shipped.logs.as_of(day)
    return made(roots, logs, shipped.revocations, date=day, roots_date=released, versions=versions)


def made(  # noqa: PLR0913 - keyword-only past the content; each is one fact about the set
    roots: Sequence[tuple[KnownRoot, bytes]],
    logs: LogList,
    revocations: Revocations,
    *,
    date: dt.date,
    roots_date: dt.date | None = None,
    versions: Sequence[str] = (_NAME,),
) -> DataSet:
    """A data set of these roots, each with its certificate (DER), logs, and revocations until then, made on this day.

    The list of roots can be older; `versions` are those of certifi whose every root it knows.
    """
    roots_date = roots_date or date
    day = {"schema": 1, "version": 1, "date": date, "horizon": date + LIST_HORIZON, "sources": []}
    head = {"version": 1, "date": roots_date, "horizon": roots_date + ROOTS_HORIZON}
    files: dict[str, dict[str, Any]] = {
        PARTS[KnowledgeKind.ROOTS].name: {
            **head,
            "schema": PARTS[KnowledgeKind.ROOTS].schema,
            "versions": versions,
            "roots": [root for root, _ in roots],
        },
        ROOT_CERTIFICATES: {
            **head,
            "schema": PARTS[KnowledgeKind.ROOTS].schema,
            "certificates": [der for _, der in roots],
        },
        PARTS[KnowledgeKind.LOGS].name: {
            **day,
            "schema": PARTS[KnowledgeKind.LOGS].schema,
            "logs": [_as_of(log, date) for log in (*logs.logs.values(), *logs.untrusted.values())],
        },
        PARTS[KnowledgeKind.REVOCATIONS].name: {**day, **_listed(revocations, date)},
    }
    published = dt.datetime.combine(date, dt.time(), dt.UTC)
    manifest = Manifest(repository=_NAME, version=1, published=published, files={})
    encoded = {name: msgspec.json.encode(content) for name, content in files.items()}
    return PastSet(StoredSet(Path(_NAME), manifest, encoded))


def _listed(revocations: Revocations, day: dt.date) -> dict[str, Any]:
    """The content of a file of the revocations that were listed until that day."""
    issuers: dict[bytes, dict[dt.date, list[bytes]]] = {}
    for issuer, serials in revocations.serials.items():
        for serial, since in serials.items():
            if since <= day:
                content = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
                issuers.setdefault(issuer, {}).setdefault(since, []).append(content)
    return {
        "issuers": [{"issuer": issuer, "serials": serials} for issuer, serials in issuers.items()],
        "keys": [
            {"subject": subject, "spki_sha256": key, "since": since}
            for (subject, key), since in revocations.keys.items()
            if since <= day
        ],
    }


def _as_of(log: Log, day: dt.date) -> Log:
    """A log with the states that it had reached on that day."""
    return msgspec.structs.replace(
        log, states={state: at for state, at in log.states.items() if at is None or at.date() <= day}
    )


def _until(date: dt.date | None, day: dt.date) -> dt.date | None:
    """A date that lay ahead on that day was not known then."""
    return date if date is not None and date <= day else None


def version_of(day: dt.date) -> str:
    """Return the newest certifi on that day; the oldest known one for earlier days."""
    versions = data_set.shipped().known_roots.versions
    before = [name for name in versions if (dated := date_of(name)) is not None and dated <= day]
    return before[-1] if before else versions[0]


class Knowledge(NamedTuple):
    """Roots and logs by the day of a capture, and their origin in words.

    `ages` are the ages, in days, of the out-of-date copies that also assess captured chains; none where roots or logs
    are the same on every day.
    """

    roots: Callable[[dt.date], Roots]
    logs: Callable[[dt.date], LogList]
    roots_from: str
    logs_from: str
    ages: Mapping[str, int]

    def stores(self, then: dt.date, now: dt.date) -> tuple[Roots, ...]:
        """Return what machines trust on the day `now` apart from the roots of `then`.

        A store of `then` adds nothing; a newer one has the new roots, shipped with the system or of unrecorded origin.
        """
        known = self.roots(then).keys
        new = [root for root in self.roots(now).roots if root.certificate.spki_sha256 not in known]
        return (
            NO_ROOTS,
            *(
                Roots((root._replace(origin=origin) for root in new), name="operating system", version=str(now))
                for origin in (RootOrigin.SHIPPED, RootOrigin.UNKNOWN)
            ),
        )


def of_the_time() -> Knowledge:
    """Data sets of each day."""
    shipped = data_set.shipped()
    return Knowledge(
        lambda day: as_of(day).public_roots(),
        lambda day: as_of(day).logs,
        f"data sets of each day, by the history in roots.json of {shipped.known_roots.date}",
        f"data sets of each day, by the history in ct_logs.json of {shipped.logs.date}",
        COPIES,
    )
