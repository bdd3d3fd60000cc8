"""Why a verified set is not put in the place of the one in use, although it is signed.

Room: update. Pure. A signature says who published a set, not that publishing it was right. What is held back here would
make this copy blind, or let it accept more, without the offline role having said so:

* roots or CT logs that are no longer known, or no longer count, and that `removed` does not list. Real bundles lose up
  to a fifth between two releases, so a loss alone says nothing; what the offline role lists was meant.
* a part that is older than the one an update installed before.
* a catalogue with a mark or a hash that a public CA has: it would accuse every genuine chain below that CA.
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Final

from detector.errors import HeldBackError
from detector.knowledge.catalogue import Names
from detector.knowledge.data_set import PARTS
from detector.trust.certificate import Certificate

from .targets import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from detector.knowledge.data_set import DataSet
    from detector.model import Knowledge

    from .repository import Removed

NAMED_MAX: Final = 3
"""Roots or logs that a message names; it says how many there are."""


def check(candidate: DataSet, in_use: DataSet, removed: Removed, left_out: Mapping[str, str]) -> None:
    """Raise `HeldBackError`, with every reason, when the candidate is not to replace the set in use.

    Both are what serves: part by part the newer of what is shipped and what is, or would be, installed. `left_out` says
    what this version does not take of the candidate.
    """
    lost = {
        "roots": (lost_roots(in_use, candidate), removed.roots),
        "CT logs": (lost_logs(in_use, candidate), removed.logs),
    }
    reasons = [*_older(candidate, in_use, left_out), *_accused_cas(candidate)]
    for kind, (missing, listed) in lost.items():
        unlisted = sorted(label for key, label in missing.items() if key not in listed)
        if unlisted:
            more = ", …" if len(unlisted) > NAMED_MAX else ""
            known = ", ".join(map(shown, unlisted[:NAMED_MAX]))
            reasons.append(f"{len(unlisted)} {kind} are lost and not listed as removed ({known}{more})")
    if reasons:
        raise HeldBackError(
            f"The set is held back: {'; '.join(reasons)}.",
            advice="The set in use stays. Update the package, and ask the publisher: what was removed "
            "on purpose is listed in the metadata that the offline role signs.",
        )


def _older(candidate: DataSet, in_use: DataSet, left_out: Mapping[str, str]) -> Iterator[str]:
    """Yield each part that would be older than now."""
    for kind, file in PARTS.items():
        now, then = in_use.part(kind), candidate.part(kind)
        if _age(then) < _age(now):
            why = left_out.get(file.name, "")
            yield f"{file.name} of {then.date} is older than that of {now.date} in use" + (f" ({why})" if why else "")


def _accused_cas(candidate: DataSet) -> Iterator[str]:
    """Yield each entry of the catalogue that a public root or intermediate matches."""
    for der in candidate.root_certificates:
        root = Certificate.read(der)
        names, text = (root.subject.attributes, root.subject.text) if root.subject else ((), root.sha256.hex())
        by_name = candidate.catalogue.match(Names(leaf_issuer=names, leaf_subject=names, ca_subjects=(names,)))
        by_hash = candidate.catalogue.match_digests({root.sha256, root.spki_sha256 or root.sha256})
        for hit in (*by_name, *by_hash):
            yield f"the catalogue's entry {shown(hit.entry.id)} matches the public root {shown(text)}"
    known = candidate.intermediates
    for hit in candidate.catalogue.match_digests({*known.certificates, *known.keys}):
        yield f"the catalogue's entry {shown(hit.entry.id)} matches an intermediate of a public CA"


def _age(part: Knowledge) -> tuple[dt.date, int]:
    """What decides which of two parts is newer, as in `detector.knowledge.data_set`."""
    return part.date or dt.date.min, int(part.version or 0)


def lost_roots(before: DataSet, after: DataSet) -> dict[str, str]:
    """The roots that count as public before and not after, by the SHA-256 of the certificate, with their labels.

    A root that is known as removed from the bundles still explains chains of its time, and new ones no longer: so it
    counts as lost, as does one that is not known at all.
    """
    current = {root.sha256 for root in after.known_roots.roots if root.removed is None}
    return {r.sha256: r.label for r in before.known_roots.roots if r.removed is None and r.sha256 not in current}


def lost_logs(before: DataSet, after: DataSet) -> dict[str, str]:
    """The logs whose timestamps count before and not after, by log ID in base64, with their descriptions.

    A retired log is not lost: its timestamps from before it retired still count.
    """
    return {
        base64.b64encode(log_id).decode(): log.description or log.operator
        for log_id, log in before.logs.logs.items()
        if log_id not in after.logs.logs
    }
