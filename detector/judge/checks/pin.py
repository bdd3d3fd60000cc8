"""Check `pin`: is the leaf's key, or a certificate on a verified path from it, one of the pinned ones? (RFC 7469)

Room: checks. Pure. Feeds rows 6, 11, 12, 14 and 17 of the decision table.

Only certificates that a chain of verified signatures reaches from certificate 0 can match: a genuine certificate
that is merely present in the list matches nothing (CVE-2016-2402).
"""

from __future__ import annotations

import base64
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence
    from detector.trust.certificate import Certificate

ID: Final = "pin"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`leaf`, `path`, `mismatch`, `expired` (not evaluated) or `none` (nothing is pinned)."""
    endpoint, leaf = case.endpoint, case.leaf
    if leaf is None or case.paths is None:
        return
    keys = frozenset((*endpoint.pins, *endpoint.backup_pins))
    if not keys and not endpoint.certificates:
        yield Finding(check=ID, outcome="none", says=Says.NEUTRAL, summary="Nothing is pinned for this endpoint.")
        return
    if endpoint.expires is not None and case.context.at.date() > endpoint.expires:
        yield Finding(
            check=ID,
            outcome="expired",
            says=Says.NEUTRAL,
            summary=f"The pins expired on {endpoint.expires} and were not evaluated; update the pin file.",
            data={"expires": endpoint.expires.isoformat(), "source": _file(endpoint.source)},
        )
        return

    if case.pinned is leaf:
        yield _match("leaf", leaf, "The leaf's key is pinned.")
        return
    if case.pinned is not None:
        yield _match("path", case.pinned, "A certificate on the verified path is pinned.")
        return
    yield Finding(
        check=ID,
        outcome="mismatch",
        says=Says.INTERCEPTED,
        summary="No pin matches.",
        data={
            "presented": [_spell(c.spki_sha256) for c in case.presented if c.spki_sha256],
            "pins": [_spell(pin) for pin in sorted(keys)],
            "source": _file(endpoint.source),
        },
    )


def _match(outcome: str, certificate: Certificate, summary: str) -> Finding:
    return Finding(
        check=ID,
        outcome=outcome,
        says=Says.GENUINE,
        summary=summary,
        data={
            "subject": certificate.subject.text if certificate.subject else None,
            "pin": _spell(certificate.spki_sha256) if certificate.spki_sha256 else None,
        },
    )


def _file(source: str | None) -> str | None:
    """The pin file's own name: the folders above it are the reader's, and may name them."""
    return None if source is None else PurePath(source).name


def _spell(digest: bytes) -> str:
    """A pin as pin files and reports spell it."""
    return "sha256/" + base64.b64encode(digest).decode("ascii")
