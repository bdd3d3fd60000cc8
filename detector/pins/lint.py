"""Lint for pin sets: stale pins, missing backup pins, endpoints without expectations.

Room: pins. Pure: the day, the current root names and the data set are arguments.

An error is something the detector will not, or cannot, do as the file asks; a warning is something that will cause
trouble later. Backup pins and expiry follow RFC 7469 sections 4.3 and 2.7.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Final

from detector.model import Category, Endpoint, Record, RecordedIdentity
from detector.model.endpoint import encode_pin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from detector.knowledge.data_set import DataSet

    from .load import PinSet

NOTICE: Final = dt.timedelta(days=14)
"""How long before expiry lint warns: two weeks, so that a weekly run warns at least once."""

WITNESS_KEYS_IN_ROTATION: Final = 2
"""Keys of one witness that are valid at once: the one that signs, and the one before or after it (docs/witness.md)."""

_ROOT: Final = (
    "{pin} is the public root {root}: a root's key as pin clears nothing, because everybody can have a certificate "
    "below it. Pin the CA that issues for this host, or name the root in roots."
)


class Severity(enum.StrEnum):
    """How much a message matters."""

    ERROR = "error"
    WARNING = "warning"


class LintMessage(Record, frozen=True, kw_only=True):
    """One thing to fix. `source` is the pin file, `endpoint` its `host:port` or None where the whole file is meant."""

    severity: Severity
    source: str
    endpoint: str | None
    message: str


def lint(
    pin_set: PinSet,
    *,
    at: dt.date,
    data: DataSet,
    root_labels: Collection[str] | None = None,
    shipped: Collection[str] = (),
) -> tuple[LintMessage, ...]:
    """Check a pin set as of the day `at`.

    `root_labels` are the names of the roots trusted now; None skips the check for removed roots. `shipped` are the
    files of this package: they state no keys on purpose, because no operator promises us theirs, and name roots that
    left the bundles on purpose, because chains below those are still seen. Messages come file by file in the order of
    the set, the file's own before those of its endpoints.
    """
    by_source: dict[str, list[Endpoint]] = {}
    for endpoint in pin_set.endpoints:
        by_source.setdefault(endpoint.source or pin_set.name, []).append(endpoint)
    return tuple(
        message
        for source, endpoints in by_source.items()
        for message in (
            *_dates(source, endpoints, pin_set, at),
            *(
                LintMessage(severity=severity, source=source, endpoint=endpoint.name, message=text)
                for endpoint in endpoints
                for severity, text in (
                    *_endpoint(endpoint, root_labels),
                    *(() if source in shipped else _of_own_files(endpoint, root_labels)),
                    *_without_effect(endpoint, data),
                )
            ),
        )
    )


def _dates(source: str, endpoints: list[Endpoint], pin_set: PinSet, at: dt.date) -> Iterator[LintMessage]:
    """Check the file's dates. They apply to pins and fingerprints only: root names do not expire."""

    def say(severity: Severity, text: str) -> LintMessage:
        return LintMessage(severity=severity, source=source, endpoint=None, message=text)

    if pin_set.updated and pin_set.updated > at and len(pin_set.sources) <= 1:
        yield say(
            Severity.WARNING, f"updated is {pin_set.updated}, which is in the future; check the date or the clock."
        )
    pinned = [endpoint for endpoint in endpoints if endpoint.pins or endpoint.backup_pins or endpoint.certificates]
    if not pinned:
        return
    if any(endpoint.expires is None for endpoint in pinned):
        yield say(Severity.WARNING, "expires is missing; pins that nobody renews turn into false alarms. Add a date.")
    for expires in sorted({endpoint.expires for endpoint in pinned if endpoint.expires}):
        if expires < at:
            yield say(
                Severity.ERROR,
                f"expired on {expires}; its pins are no longer evaluated, only what it says of identities and roots. "
                "Learn them again.",
            )
        elif expires <= at + NOTICE:
            yield say(Severity.WARNING, f"expires on {expires}, within {NOTICE.days} days. Learn the pins again.")


def _endpoint(endpoint: Endpoint, root_labels: Collection[str] | None) -> Iterator[tuple[Severity, str]]:
    keys = {*endpoint.pins, *endpoint.backup_pins}
    if endpoint.pins and not endpoint.backup_pins:
        yield Severity.WARNING, "no backup pin; when key and CA change, its pins are stale. Add the next key's pin."
    if endpoint.backup_pins and not endpoint.pins:
        yield Severity.WARNING, "backup_pins without pins; they are matched, but say which key is in use now."
    if set(endpoint.pins) & set(endpoint.backup_pins):
        yield Severity.WARNING, "a backup pin is also a pin; it backs up nothing. Pin another key."
    if endpoint.certificates and not keys:
        yield Severity.WARNING, "only whole certificates are pinned; they change with every renewal. Add key pins."
    if len(endpoint.witness) > WITNESS_KEYS_IN_ROTATION:
        yield (
            Severity.WARNING,
            f"{len(endpoint.witness)} witness keys; the old and the new one are enough. Remove those retired.",
        )
    gone = [root for root in endpoint.roots if root_labels is not None and root not in root_labels]
    if gone and len(gone) == len(endpoint.roots):
        yield Severity.ERROR, f"every root it names has left the trusted roots: {', '.join(gone)}. Name a current one."


def _of_own_files(endpoint: Endpoint, root_labels: Collection[str] | None) -> Iterator[tuple[Severity, str]]:
    """What a user can do better in a file of their own: endpoints of which it says too little, and roots to remove."""
    gone = [root for root in endpoint.roots if root_labels is not None and root not in root_labels]
    if gone and len(gone) < len(endpoint.roots):
        yield Severity.WARNING, f"no longer among the trusted roots: {', '.join(gone)}. Remove it when it is not used."
    keys = endpoint.pins or endpoint.backup_pins
    if endpoint.category is Category.EXAM and not keys:
        yield Severity.WARNING, "an exam endpoint without pins; learn its pins on a network you trust."
    elif not (keys or endpoint.certificates or endpoint.roots or endpoint.private_roots or endpoint.witness):
        yield Severity.WARNING, "neither pins nor roots; only public roots and CT logs can confirm it."


def _without_effect(endpoint: Endpoint, data: DataSet) -> Iterator[tuple[Severity, str]]:
    """Entries without effect: keys that others can have certified, and statements about nothing."""
    pinned = dict.fromkeys((*endpoint.pins, *endpoint.backup_pins, *endpoint.certificates))
    for digest in pinned:
        if (root := data.known_roots.label_of(digest)) is not None:
            yield Severity.ERROR, _ROOT.format(pin=encode_pin(digest), root=root)
        for hit in data.catalogue.match_digests((digest,)):
            product = f"{hit.entry.vendor} {hit.entry.product}"
            yield Severity.ERROR, f"{encode_pin(digest)} belongs to {product}, and others have its key. Remove it."
    if endpoint.identity is RecordedIdentity.PUBLIC and not pinned:
        yield Severity.WARNING, 'identity = "public" without pins; name the public roots it uses instead (roots).'
    if endpoint.witness_is_end and not endpoint.witness:
        yield Severity.WARNING, "witness_is_end without witness says nothing. Add the witness's key or leave it out."
