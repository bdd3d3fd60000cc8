"""What the student reads in another language: every sentence of it, for every decision that there can be."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.admissions import LADDER, NO_ANSWER, PORTAL, PRODUCT, UNCONFIRMED, Case, report, result
from support.catalogues import CODES, PATTERNS

from detector.errors import PolicyError
from detector.exam import Action, Decided, OnStalePin, OnUnconfirmed, Policy, PolicyScope, decide
from detector.model import (
    Audience,
    Category,
    Confidence,
    ManagedBy,
    Outcome,
    PortalObservation,
    PortalOutcome,
    Reason,
    Result,
    UnfollowedProxy,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def said(decided: Decided) -> Iterator[str]:
    """All that is for the student."""
    yield decided.message
    for reason in decided.reasons:
        if Audience.STUDENT in reason.advice:
            yield reason.advice[Audience.STUDENT]


def english(decided: Decided) -> list[tuple[object, ...]]:
    """All that is for others."""
    return [
        (one.code, one.action, one.endpoints, one.rule, one.confidence, one.sentence, _for_others(one.advice))
        for one in decided.reasons
    ]


def _for_others(advice: dict[Audience, str]) -> dict[Audience, str]:
    return {audience: text for audience, text in advice.items() if audience is not Audience.STUDENT}


def variants(case: Case) -> Iterator[Case]:
    """The same with every outcome where none showed a certificate."""
    if case.reason is not Reason.NO_CERTIFICATE:
        yield case
        return
    for outcome in Outcome:
        yield case._replace(outcome=outcome)


def managed(one: Result, manager: ManagedBy, *, named: bool) -> Result:
    """The same with another manager, and with or without a product."""
    if one.attribution is None:
        return one
    product = PRODUCT if named else None
    attribution = msgspec.structs.replace(one.attribution, managed_by=manager, product=product)
    return msgspec.structs.replace(one, attribution=attribution)


POLICIES: Final = tuple(
    Policy(on_unconfirmed=unconfirmed, on_stale_pin=stale_pin, scope=scope, require_witness=witness)
    for unconfirmed in OnUnconfirmed
    for stale_pin in OnStalePin
    for scope in PolicyScope
    for witness in ((), Category.EXAM)
)
CASES: Final = tuple(dict.fromkeys(variant for case in (*LADDER, *UNCONFIRMED) for variant in variants(case)))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("manager", ManagedBy)
@pytest.mark.parametrize("category", [Category.EXAM, Category.LMS])
def test_every_decision_on_one_endpoint(code: str, manager: ManagedBy, category: Category) -> None:
    """Every rule, confidence, outcome, manager and policy: all that the student reads is in the catalogue."""
    for case, named, policy in itertools.product(CASES, (True, False), POLICIES):
        one = managed(result("exam.example.edu", category, case), manager, named=named)
        _assert_all_translated(policy, [one], code)


def _assert_all_translated(  # noqa: PLR0913 - what a decision depends on
    policy: Policy,
    results: list[Result],
    code: str,
    *,
    named: Iterable[str] = (),
    unrepeated: Iterable[str] = (),
    portal: PortalObservation | None = None,
) -> None:
    """Decide in this language and in English: the same, but for what the student reads."""
    seen, names, lost = report(results, named, portal=portal), frozenset(named), frozenset(unrepeated)
    other = msgspec.structs.replace(policy, language=code)
    found = decide(other, seen, named=names, unrepeated=lost)
    for text in said(found):
        assert PATTERNS[code].fullmatch(text), text
    assert english(found) == english(decide(policy, seen, named=names, unrepeated=lost))


_HOSTS: Final = tuple(f"h{number}.example" for number in range(6))


@given(
    st.sampled_from(CODES),
    st.sampled_from(POLICIES),
    st.lists(
        st.tuples(st.sampled_from(CASES), st.sampled_from([Category.EXAM, Category.LMS]), st.sampled_from(ManagedBy)),
        max_size=len(_HOSTS),
    ),
    st.frozensets(st.sampled_from([f"{host}:443" for host in (*_HOSTS, "never.example")])),
    st.frozensets(st.sampled_from([f"{host}:443" for host in _HOSTS])),
    st.sampled_from([None, *UnfollowedProxy]),
    st.sampled_from([None, *PortalOutcome]),
)
def test_every_decision_on_several_endpoints(  # noqa: PLR0913, PLR0917 - each is drawn
    code: str,
    policy: Policy,
    drawn: list[tuple[Case, Category, ManagedBy]],
    named: frozenset[str],
    unrepeated: frozenset[str],
    unfollowed: UnfollowedProxy | None,
    portal: PortalOutcome | None,
) -> None:
    """Whatever else was seen, named, lost or redirected."""
    results = []
    for host, (case, category, manager) in zip(_HOSTS, drawn, strict=False):
        one = managed(result(host, category, case), manager, named=True)
        observation = msgspec.structs.replace(one.observation, unfollowed_proxy=unfollowed)
        results.append(msgspec.structs.replace(one, observation=observation))
    seen = None if portal is None else PortalObservation(outcome=portal, url="http://portal.example/")
    _assert_all_translated(policy, results, code, named=named, unrepeated=unrepeated, portal=seen)


class TestGerman:
    GERMAN: Final = Policy(language="de-CH")

    def test_policy_has_the_language_that_is_used(self) -> None:
        """A tag with a region is read as its language; an unknown one is an error that names those there are."""
        assert self.GERMAN.language == "de"
        with pytest.raises(PolicyError, match=r"language: 'xx'.*Choose one of en, "):
            Policy(language="xx")

    def test_unconfirmed(self) -> None:
        """That the exam server could not be confirmed, why, and what to do; in this order."""
        case = Case(*next(one for one in UNCONFIRMED if one.reason is Reason.PRIVATE_CHAIN))
        found = decide(self.GERMAN, report([result("exam.example.edu", Category.EXAM, case)]))
        assert found.message == (
            "Der Prüfungsserver konnte nicht bestätigt werden: exam.example.edu. "
            "Die Zertifikatskette führt zu keinem bekannten Stammzertifikat. "
            "Bitte beginnen Sie die Prüfung über diese Verbindung noch nicht. "
            "Versuchen Sie es aus einem anderen Netzwerk erneut. Wenn es nur in diesem Netzwerk nicht gelingt, "
            "informieren Sie dessen IT-Abteilung. Wenn das nicht hilft, teilen Sie dem Prüfungsamt mit, was Sie hier "
            "sehen. Es geht nur darum, wie die Verbindung eingerichtet ist; Ihnen wird nichts vorgeworfen."
        )
        assert found.reasons[0].sentence == "The chain does not lead to a known root."

    @pytest.mark.parametrize(
        ("count", "begins"),
        [
            (1, "Der Prüfungsserver konnte nicht bestätigt werden: h0.example. "),
            (3, "Die Prüfungsserver konnten nicht bestätigt werden: h0.example, h1.example, h2.example. "),
            (
                4,
                "Die Prüfungsserver konnten nicht bestätigt werden: h0.example, h1.example, h2.example und 1 weiterer.",
            ),
            (
                6,
                "Die Prüfungsserver konnten nicht bestätigt werden: h0.example, h1.example, h2.example und 3 weitere. ",
            ),
        ],
    )
    def test_numbers(self, count: int, begins: str) -> None:
        """One server, several, and some that are not named."""
        seen = report(result(host, Category.EXAM, NO_ANSWER) for host in _HOSTS[:count])
        assert decide(self.GERMAN, seen).message.startswith(begins)

    def test_sign_in_first(self) -> None:
        """Behind a portal signing in precedes all else."""
        found = decide(self.GERMAN, report([result("exam.example.edu", Category.EXAM, PORTAL)]))
        assert found.message.startswith("Öffnen Sie einen Browser, melden Sie sich bei diesem Netzwerk an")
        assert found.action is Action.BLOCK

    @pytest.mark.parametrize("confidence", [Confidence.PROBABLE, Confidence.PROVEN])
    def test_certainty_is_kept(self, confidence: Confidence) -> None:
        """What is probable is called so in German too."""
        case = next(one for one in UNCONFIRMED if one.confidence is confidence)
        exam = result("exam.example.edu", Category.EXAM, LADDER[0])
        message = decide(self.GERMAN, report([exam, result("s.example", Category.SEARCH, case)])).message
        assert ("sehr wahrscheinlich" in message) is (confidence is Confidence.PROBABLE)
        assert f"(es sieht nach {PRODUCT} aus)" in message
