"""Check `pin`: is the leaf's key, or a certificate on a verified path from it, one of the pinned ones? (RFC 7469)

Room: judge. Pure. Feeds `pinned`, `pinned-ca` and `pin-mismatch`.

Only certificates that a chain of verified signatures reaches from certificate 0 can match: a genuine certificate
that is merely present in the list matches nothing (CVE-2016-2402). Not every match clears: a key that is pinned for
several operators, or that interception products use, proves nobody's identity, and a public root signs for everybody.
"""

from __future__ import annotations

import base64
import enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from detector.judge.evidence import PinMatch
from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence
    from detector.trust.certificate import Certificate

ID: Final = "pin"


class Outcome(enum.StrEnum):
    """How the pins compare with what was presented, and what the match is worth."""

    NONE = "none"
    EXPIRED = "expired"
    LEAF = "leaf"
    LEAF_NOT_ITS_OWN = "leaf-not-its-own"
    CA = "ca"
    PATH = "path"
    MISMATCH = "mismatch"
    EXCUSED = "excused"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """How the pins compare: one finding, or a leaf's and a CA's."""
    match, leaf = evidence.pin_match, evidence.leaf
    if leaf is None:
        return
    if match is PinMatch.NOTHING_PINNED:
        yield Finding(
            check=ID, outcome=Outcome.NONE, says=Meaning.NEUTRAL, summary="Nothing is pinned for this endpoint."
        )
    elif match is PinMatch.EXPIRED:
        yield _expired(evidence)
    elif match is PinMatch.LEAF:
        yield _match(*_LEAF[evidence.leaf_pinned], leaf)
    elif match is PinMatch.MISMATCH:
        yield _mismatch(evidence)
    if (above := evidence.pinned_above) is not None and match in {PinMatch.LEAF, PinMatch.PATH}:
        yield _match(*_ABOVE[evidence.ca_pinned], above)


_LEAF: Final = {
    True: (Outcome.LEAF, Meaning.GENUINE, "The leaf's key is pinned."),
    False: (
        Outcome.LEAF_NOT_ITS_OWN,
        Meaning.NEUTRAL,
        "The leaf's key is pinned, but also for other operators, or it is a known interception key.",
    ),
}
_ABOVE: Final = {
    True: (Outcome.CA, Meaning.GENUINE, "A CA on the path that a careful client takes is pinned."),
    False: (Outcome.PATH, Meaning.NEUTRAL, "A certificate above the leaf is pinned."),
}


def _match(outcome: Outcome, says: Meaning, summary: str, certificate: Certificate) -> Finding:
    return Finding(
        check=ID,
        outcome=outcome,
        says=says,
        summary=summary,
        data={
            "subject": certificate.subject.text if certificate.subject else None,
            "pin": _encode(certificate.spki_sha256) if certificate.spki_sha256 else None,
        },
    )


def _expired(evidence: EndpointEvidence) -> Finding:
    expires = evidence.endpoint.expires
    return Finding(
        check=ID,
        outcome=Outcome.EXPIRED,
        says=Meaning.NEUTRAL,
        summary=f"The pins expired on {expires} and were not evaluated; update the pin file.",
        data={"expires": expires.isoformat() if expires else None, "source": _file(evidence.endpoint.source)},
    )


def _mismatch(evidence: EndpointEvidence) -> Finding:
    endpoint, excused = evidence.endpoint, evidence.mismatch_excused
    return Finding(
        check=ID,
        outcome=Outcome.EXCUSED if excused else Outcome.MISMATCH,
        says=Meaning.EXPLAINS if excused else Meaning.INTERCEPTED,
        summary="No pin matches here, but another probe matched them, and this certificate is publicly logged."
        if excused
        else "No pin matches.",
        data={
            "presented": [_encode(c.spki_sha256) for c in evidence.presented if c.spki_sha256],
            "pins": [_encode(pin) for pin in sorted({*endpoint.pins, *endpoint.backup_pins})],
            "source": _file(endpoint.source),
        },
    )


def _file(source: str | None) -> str | None:
    """The pin file's own name: the folders above it are the reader's, and may name them."""
    return None if source is None else PurePath(source).name


def _encode(digest: bytes) -> str:
    """A pin as pin files and reports write it."""
    return "sha256/" + base64.b64encode(digest).decode("ascii")
