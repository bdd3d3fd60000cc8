"""Check `place`: whether the endpoint's name and address mean the same machine on every network.

Room: judge. Pure. Feeds the confidence of several rules: an institution has servers of its own behind private names and
addresses, and some of its names lead to other servers inside than outside (split-horizon DNS).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import Place
from detector.judge.outcome import CheckOutcome, Findings
from detector.knowledge import operators
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "place"
QUESTION: Final = "Are the name and the address public?"


class Outcome(CheckOutcome, check=ID):
    """What the name and the address are."""

    PUBLIC = "public", "The address is public: it means the same machine on every network."
    GIVEN = "given", "The address was given by the caller or the pin file and was not resolved. It counts as public."
    UNKNOWN = "unknown", "The address is not known, for example because a proxy resolved the name."
    PRIVATE_ADDRESS = (
        "private-address",
        (
            "The address is private and means another machine on every network. An institution's own server may "
            "answer here, so that a substitution is graded lower."
        ),
    )
    PRIVATE_NAME = (
        "private-name",
        (
            "The name is private or reserved and means another server on every network. Nothing public can be "
            "expected of it."
        ),
    )


_OF_PLACE: Final[dict[Place, tuple[Outcome, str]]] = {
    Place.PUBLIC: (Outcome.PUBLIC, "The address is a public one."),
    Place.GIVEN: (Outcome.GIVEN, "The address was given, not resolved."),
    Place.UNKNOWN: (Outcome.UNKNOWN, "The address of the endpoint is not known."),
    Place.PRIVATE: (Outcome.PRIVATE_ADDRESS, "The address is private: it is another machine on every network."),
}
_NEVER_BY_NAME: Final = (ChainClass.ACCEPTED, ChainClass.DECLARED, ChainClass.RETIRED)
"""Classes for which a private name changes no rule's confidence: the suffix list is not loaded for them."""


def check(evidence: EndpointEvidence) -> Findings:
    """What the address is, and `private-name` for a name that means this network, where that can matter."""
    if evidence.leaf is None:
        return
    outcome, summary = _OF_PLACE[evidence.place]
    yield outcome.found(summary)
    if not (evidence.is_a(*_NEVER_BY_NAME) or operators.is_public(evidence.endpoint.host)):
        yield Outcome.PRIVATE_NAME.found("The name is private or reserved: it is another server on every network.")
