"""Check `pin`: how the pins compare with the leaf and the certificates on verified paths from it (RFC 7469).

Room: judge. Pure. Feeds `pinned`, `pinned-ca` and `pin-mismatch`.

Only certificates that a chain of verified signatures reaches from certificate 0 can match: a genuine certificate
that is merely present in the list matches nothing (CVE-2016-2402). Not every match clears: a key that is pinned for
several operators, or that interception products use, proves nobody's identity, and a public root signs for everybody.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from detector.judge.evidence import PinMatch
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.model.endpoint import encode_pin

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Finding
    from detector.trust.certificate import Certificate

ID: Final = "pin"
QUESTION: Final = "Is the key one that the endpoint's operator is known to use?"


class Outcome(CheckOutcome, check=ID):
    """How the pins compare with what was presented, and what the match is worth."""

    NONE = "none", "No pin is known for this endpoint, so there is nothing to compare the key with."
    EXPIRED = "expired", "The pins are past the date up to which they hold and were not compared. Update the pin file."
    LEAF = (
        "leaf",
        (
            "The server's own key is one that is pinned for this endpoint, or for one operator. Only the holder of "
            "that key can answer like this."
        ),
    )
    LEAF_NOT_ITS_OWN = (
        "leaf-not-its-own",
        (
            "The server's key is pinned, but for several operators, or it is the key of an interception product. It "
            "proves nobody's identity."
        ),
    )
    CA = (
        "ca",
        (
            "A CA on the accepted path is pinned for this endpoint. It clears together with public logging; a pinned "
            "public root alone does not."
        ),
    )
    PATH = "path", "A certificate above the server's own is pinned, and that by itself clears nothing."
    MISMATCH = (
        "mismatch",
        (
            "No pin matches anything on the verified path. Either something else answers, or the operator changed its "
            "key after the pins were written."
        ),
    )
    EXCUSED = (
        "excused",
        (
            "No pin matches here, but another probe of this run matched them and this certificate is accepted and "
            "publicly logged: the host simply has several."
        ),
    )


def check(evidence: EndpointEvidence) -> Findings:
    """How the pins compare: one finding, or a leaf's and a CA's."""
    match, leaf, endpoint = evidence.pin_match, evidence.leaf, evidence.endpoint
    if leaf is None:
        return
    if match is PinMatch.NOTHING_PINNED:
        yield Outcome.NONE.found("Nothing is pinned for this endpoint.")
    elif match is PinMatch.EXPIRED:
        yield Outcome.EXPIRED.found(
            f"The pins expired on {endpoint.expires} and were not evaluated; update the pin file.",
            expires=endpoint.expires.isoformat() if endpoint.expires else None,
            source=_file(endpoint.source),
        )
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
    True: (Outcome.CA, Meaning.GENUINE, "A CA on the path that a careful client accepts is pinned."),
    False: (Outcome.PATH, Meaning.NEUTRAL, "A certificate above the leaf is pinned."),
}


def _match(outcome: Outcome, says: Meaning, summary: str, certificate: Certificate) -> Finding:
    return outcome.found(
        summary,
        says,
        subject=certificate.subject.text if certificate.subject else None,
        pin=encode_pin(certificate.spki_sha256) if certificate.spki_sha256 else None,
    )


def _mismatch(evidence: EndpointEvidence) -> Finding:
    endpoint, outcome, says, summary = evidence.endpoint, Outcome.MISMATCH, Meaning.INTERCEPTED, "No pin matches."
    if evidence.mismatch_excused:
        outcome, says = Outcome.EXCUSED, Meaning.EXPLAINS
        summary = "No pin matches here, but another probe matched them, and this certificate is publicly logged."
    return outcome.found(
        summary,
        says,
        presented=[encode_pin(c.spki_sha256) for c in evidence.presented if c.spki_sha256],
        pins=[encode_pin(pin) for pin in sorted({*endpoint.pins, *endpoint.backup_pins})],
        source=_file(endpoint.source),
    )


def _file(source: str | None) -> str | None:
    """The pin file's name without its folders: those are the reader's, and may name them."""
    return None if source is None else PurePath(source).name
