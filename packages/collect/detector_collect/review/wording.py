"""Says in words what an assessment concludes, what else could explain it, and what would disprove it.

Room: detector_collect.review. Pure: records in, sentences out.

Only `Conclusion.INSTITUTION` names the institution, and even that says "very probably": an assessment is made with
less than certainty. Everything else says that it is open whose the interceptor is, and no sentence says "decrypts".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector_collect.responsibility import Alternative, Conclusion

from . import plots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector_collect.responsibility import Assessment, Basis, Share


class Words(NamedTuple):
    """A conclusion for people: its color class, a symbol that does not depend on color, a short name and a sentence.

    `disproved_by` is what would disprove it.
    """

    tone: str
    symbol: str
    short: str
    sentence: str
    disproved_by: str


CONCLUSIONS: Final[Mapping[Conclusion, Words]] = {
    Conclusion.INSTITUTION: Words(
        "intercepted",
        "✗",
        "very probably the institution",
        "The institution very probably decrypts TLS of its students' devices: more of them are affected than chance, "
        "antivirus programs or a few employers explain.",
        "Devices of the same exam that are checked on the institution's network, or with its software, and are clean; "
        "or an operator other than the institution who says that the key is theirs, and most of these students are "
        "their people.",
    ),
    Conclusion.SHARED_OPERATOR: Words(
        "uncertain",
        "?",
        "one operator, not known whose",
        "Several devices, in several networks, met the same interception key. It has one operator; whether that is the "
        "institution is open.",
        "A maker who ships the same key with every installation; or an operator who has nothing to do with the "
        "institution.",
    ),
    Conclusion.ONE_NETWORK: Words(
        "uncertain",
        "?",
        "one network, not known whose",
        "Several devices met the same interception key behind one network. Whether the institution operates that "
        "network is open.",
        "The name of the network's operator: a dormitory, a household, a café.",
    ),
    Conclusion.SOLD_TO_INSTITUTIONS: Words(
        "uncertain",
        "?",
        "a product of institutions, not known whose",
        "Several devices have a product that institutions manage. It may be another institution's: an employer's, an "
        "earlier school's.",
        "Devices whose owners say which other organization installed it.",
    ),
    Conclusion.SINGLE_DEVICES: Words(
        "neutral",
        "·",
        "single devices",
        "What was found is on single devices. Nothing of it points at the institution, which proves nothing either: an "
        "interceptor that spares most students is not seen.",
        "A share of affected students that is too large for single devices.",
    ),
    Conclusion.TOO_FEW: Words(
        "neutral",
        "·",
        "too few to say",
        "There are fewer students than may be shown. Nothing is concluded.",
        "Nothing: there is no conclusion to disprove.",
    ),
}

NO_ASSESSMENT: Final = Words(
    "neutral", "·", "not assessed yet", "No assessment was made yet. Nothing is concluded.", "Nothing is concluded."
)


class Explanation(NamedTuple):
    """An innocent explanation, and what would show that it holds."""

    says: str
    shown_by: str


ALTERNATIVES: Final[Mapping[Alternative, Explanation]] = {
    Alternative.EMPLOYER: Explanation(
        "An employer of several of these students manages their devices.",
        "Ask whether the affected students work for one organization; the same key on devices of its other employees.",
    ),
    Alternative.DORMITORY: Explanation(
        "They live behind one router, in a dormitory or shared flat.",
        "The same students checked from another network, clean; a dormitory whose operator knows the key.",
    ),
    Alternative.POPULAR_HERE: Explanation(
        "The product is recommended or sold in this place.",
        "A shop, a provider or a guide that gives it to students here; the same share at neighbors of the institution.",
    ),
    Alternative.SERVICE_FOR_MANY: Explanation(
        "Its operator serves other institutions or households, too.",
        "The same key at institutions or households without a connection to this one.",
    ),
    Alternative.PROVIDER_OF_THE_ROOM: Explanation(
        "A test center or a partner operates the network of the room.",
        "A contract about the room; the same students checked in another room, clean.",
    ),
    Alternative.FEW_BEHIND_MANY: Explanation(
        "A few people sent evidence as many students.",
        "Fewer participants in the exam's own list than students here; submissions at times when nobody took the exam.",
    ),
}


def conclusion(assessment: Assessment | None) -> Words:
    """The words for the latest assessment of an institution, if there is one."""
    return NO_ASSESSMENT if assessment is None else CONCLUSIONS[assessment.conclusion]


def share(share: Share) -> str:
    """A rounded share of students, with the interval of the true one."""
    if not share.of:
        return f"of {plots.number(0)} students"
    return (
        f"{plots.number(share.students)} of {plots.number(share.of)} students; the true share lies between "
        f"{_percent(share.low)} and {_percent(share.high)}"
    )


def tested(basis: Basis) -> str:
    """What the exact test of a basis says. `p_value` is the limit that it passed (`anonymity`)."""
    if basis.p_value is None:
        return "Not tested: it names nobody."
    return f"Passed: an innocent institution would be named in at most {_percent(basis.p_value)} of such assessments."


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
