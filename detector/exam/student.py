"""The sentences that a student reads at exam start or in a guarded client, and what they say without an exam.

Room: exam. Pure. They accuse nobody and contain nothing that came over the network: hosts are named by the institution
or the client, products by the catalogue. `detector.exam.decision` composes the gate's messages of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.language import N_, N_plural, Plural, Sentence, Text, some
from detector.model import Audience, Category, Confidence, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detector.judge import advice
    from detector.model import Result
else:  # imported while waiting for the network
    advice = LazyModule("detector.judge.advice")

NAMED_MOST: Final = 3
"""Maximum number of hosts named in a message to a student; the reasons name all."""

CONFIRMED: Final = N_("The exam server was confirmed.")
GO_AHEAD: Final = N_("You can go ahead with the exam.")
GO_AHEAD_ANYWAY: Final = N_("You can go ahead with the exam, but it is better to resolve this first.")
PLEASE_WAIT: Final = N_("Please do not start the exam on this connection yet.")
IF_NOT: Final = N_("If that does not help, tell the exam office what you see here.")
NOT_YOU: Final = N_("This is about how the connection is set up; it is not held against you.")
TRY_AGAIN: Final = N_("Check that you are online and try again, or use another network.")
OTHER_NETWORK: Final = N_("Use another network for the exam.")
SAY_WHAT_YOU_SEE: Final = N_("Tell the exam office what you see here.")
TELL_THE_OFFICE: Final = N_("Tell the exam office: only they can update their list.")
UPDATE: Final = N_("Please update this program before the next exam.")

UNCONFIRMED: Final = N_("The server could not be confirmed.")
UNCONFIRMED_HOSTS: Final = N_plural(
    "The server could not be confirmed: {hosts}.", "These servers could not be confirmed: {hosts}."
)
UNCONFIRMED_EXAM: Final = N_plural(
    "The exam server could not be confirmed: {hosts}.", "The exam servers could not be confirmed: {hosts}."
)
NO_ANSWER: Final = N_("No answer identified the server.")
WITNESS_MISSING: Final = N_("The policy asks for a witness here, and none confirmed the connection.")
UNREPEATED: Final = N_("Not every probe that the policy asks for was answered, or confirmed by a required witness.")
NOTHING_CONFIRMED: Final = N_("No probed endpoint is pinned or named, and the network as a whole is not clean.")
NOT_PROBED: Final = N_("These endpoints must be confirmed and were not probed.")
NOTHING_SENT: Final = N_("Nothing was sent over this connection.")
NOT_ENCRYPTED: Final = N_("An address without encryption was to be opened. Nothing was sent to it.")
PRODUCT: Final = N_("It looks like {product}.")

STALE_PIN: Final = N_plural(
    "The certificate of {hosts} is valid and publicly logged, but it is not the one on the exam office's list, "
    "probably because it was renewed.",
    "The certificates of {hosts} are valid and publicly logged, but they are not those on the exam office's list, "
    "probably because they were renewed.",
)
UNKNOWABLE: Final = N_plural(
    "The certificate of {hosts} is valid, but one of the additional checks could not be completed.",
    "The certificates of {hosts} are valid, but one of the additional checks could not be completed.",
)
OTHER_ROUTE: Final = N_plural(
    "The connection to {hosts} was confirmed, but a browser on this computer may take another route: the proxy setting "
    "of the computer could not be followed.",
    "The connections to {hosts} were confirmed, but a browser on this computer may take another route: the proxy "
    "setting of the computer could not be followed.",
)

_DECRYPTED: Final[Mapping[tuple[Confidence | None, bool], Text]] = {
    (Confidence.PROVEN, False): N_("Something in between decrypts connections to {hosts}."),
    (Confidence.PROVEN, True): N_("Something in between decrypts connections to {hosts} (it looks like {product})."),
    (Confidence.PROBABLE, False): N_("Something in between very probably decrypts connections to {hosts}."),
    (Confidence.PROBABLE, True): N_(
        "Something in between very probably decrypts connections to {hosts} (it looks like {product})."
    ),
}
"""By confidence, and whether a product is named."""
NOT_THE_EXAMS: Final = N_("The exam does not depend on these connections.")
NOT_ALLOWED_HERE: Final = N_("The exam office does not allow an exam to start on such a network.")


WITHOUT_EXAM: Final[Mapping[Text | Plural, Text | Plural]] = {
    CONFIRMED: N_("The server was confirmed."),
    GO_AHEAD: N_("You can go ahead."),
    GO_AHEAD_ANYWAY: N_("You can go ahead, but it is better to resolve this first."),
    PLEASE_WAIT: N_("Please do not start on this connection yet."),
    IF_NOT: N_("If that does not help, tell your institution what you see here."),
    OTHER_NETWORK: N_("Use another network."),
    SAY_WHAT_YOU_SEE: N_("Tell your institution what you see here."),
    TELL_THE_OFFICE: N_("Tell your institution: only they can update their list."),
    UPDATE: N_("Please update this program."),
    STALE_PIN: N_plural(
        "The certificate of {hosts} is valid and publicly logged, but it is not the one on your institution's list, "
        "probably because it was renewed.",
        "The certificates of {hosts} are valid and publicly logged, but they are not those on your institution's list, "
        "probably because they were renewed.",
    ),
    NOT_THE_EXAMS: N_("What you start here does not depend on these connections."),
    NOT_ALLOWED_HERE: N_("Your institution does not allow a start on such a network."),
}
"""What sentences say where no exam endpoint was probed, and nothing is known of an exam."""

_QUOTING_THE_NETWORK: Final = frozenset({Outcome.PROXY_AUTH_UNSUPPORTED, Outcome.PROXY_UNKNOWN})
"""Outcomes whose advice quotes a proxy or the network's configuration."""


def naming(names: Iterable[str]) -> dict[str, str | int | Sentence]:
    """Return the fields `hosts`, a few of these endpoints without port 443, and `number`, that of all."""
    every = list(dict.fromkeys(name.removesuffix(":443") for name in names))
    return {"hosts": some(every, NAMED_MOST), "number": len(every)}


def cure(results: Sequence[Result]) -> Sentence:
    """Return the advice on results that share a reason: the first, with all hosts that it is for."""
    remedies = advice.remedies(results).get(Audience.STUDENT)
    if remedies is None or results[0].observation.outcome in _QUOTING_THE_NETWORK:
        return Sentence(TRY_AGAIN)
    sentence, hosts = remedies[0]
    return Sentence(OTHER_NETWORK) if sentence.text == advice.CHECK_BY_NAME else sentence.with_fields(**naming(hosts))


def decrypted(result: Result, names: Iterable[str]) -> Sentence:
    """Return that connections to these endpoints are decrypted, at the confidence of a result: `probable` or above."""
    product = None if result.attribution is None else result.attribution.product
    return Sentence(_DECRYPTED[result.confidence, product is not None], {**naming(names), "product": product or ""})


def refusal(result: Result, because: Text | None) -> Sequence[Sentence]:
    """Return the message on a connection that a guarded client refused; `because` is None where it is decrypted."""
    names = [result.endpoint.name]
    if because is None:
        finding = [decrypted(result, names)]
    else:
        of_exam = result.endpoint.category is Category.EXAM
        finding = [Sentence(UNCONFIRMED_EXAM if of_exam else UNCONFIRMED_HOSTS, naming(names)), Sentence(because)]
    return [*finding, Sentence(NOTHING_SENT), cure([result]), Sentence(NOT_YOU)]


def without_exam(sentence: Sentence) -> Sentence:
    """Return what a sentence says where no exam endpoint was probed."""
    other = WITHOUT_EXAM.get(sentence.text) or advice.WITHOUT_EXAM.get(sentence.text)
    return sentence if other is None else sentence._replace(text=other)
