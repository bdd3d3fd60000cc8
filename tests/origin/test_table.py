"""The decision table of the server's side: literal expectations for each cell, and its properties."""

from __future__ import annotations

import itertools
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.model import Alternative, Confidence
from detector.origin import table
from detector.origin.table import Facts, Reason, Sharing, Verdict, decide

ORDER: Final = [None, *Confidence]
SHARED: Final = "one-offer-several-browsers"
OFFER: Final = "impossible-offer"
HEADER: Final = "interceptor-header"

CELLS: Final = {
    "nothing": (Facts(), None, "nothing-seen"),
    "one part": (Facts(parts=1), "possible", OFFER),
    "two parts": (Facts(parts=2), "probable", OFFER),
    "two parts of another browser": (Facts(parts=2, another_browsers=True), "possible", OFFER),
    "all parts of another browser": (Facts(parts=7, another_browsers=True), "possible", OFFER),
    "two parts, everywhere": (Facts(parts=2, everywhere=True), "possible", OFFER),
    "two parts, nothing in between": (Facts(parts=2, nothing_in_between=True), "probable", OFFER),
    "two parts, an application": (Facts(parts=2, is_embedded=True), "possible", OFFER),
    "a header": (Facts(has_header=True), "possible", HEADER),
    "a header, and one part": (Facts(has_header=True, parts=1), "possible", OFFER),
    "a header, and two parts": (Facts(has_header=True, parts=2), "probable", OFFER),
    "shared, nobody's": (Facts(sharing=Sharing.NOBODYS), "probable", SHARED),
    "shared, a browser's own": (Facts(sharing=Sharing.BROWSERS_OWN), "possible", SHARED),
    "shared, in place of others": (Facts(sharing=Sharing.BROWSERS_OWN, replaces=True), "probable", SHARED),
    "shared, different engines": (Facts(sharing=Sharing.BROWSERS_OWN, engines_differ=True), "probable", SHARED),
    "shared, different engines, nothing in between": (
        Facts(sharing=Sharing.BROWSERS_OWN, engines_differ=True, nothing_in_between=True),
        "proven",
        SHARED,
    ),
    "shared, nobody's, different engines, nothing in between": (
        Facts(parts=2, sharing=Sharing.NOBODYS, engines_differ=True, nothing_in_between=True),
        "proven",
        SHARED,
    ),
    "shared, nobody's, nothing in between": (
        Facts(sharing=Sharing.NOBODYS, nothing_in_between=True),
        "probable",
        SHARED,
    ),
    "shared, different engines, everywhere": (
        Facts(parts=2, sharing=Sharing.NOBODYS, engines_differ=True, everywhere=True),
        "possible",
        SHARED,
    ),
    "engines that nothing shares": (Facts(engines_differ=True, nothing_in_between=True), None, "nothing-seen"),
}

FACTS: Final = [
    Facts(parts, another, header, embedded, sharing, *rest)
    for parts, another, header, embedded, sharing in itertools.product(
        (0, 1, 2, 7), (False, True), (False, True), (False, True), Sharing
    )
    for rest in itertools.product((False, True), repeat=4)
]
"""Every combination."""


@pytest.mark.parametrize("name", CELLS)
def test_cells(name: str) -> None:
    """Each cell of the table gives this confidence by this rule."""
    facts, confidence, reason = CELLS[name]
    decision = decide(facts)
    assert (decision.confidence, decision.reason) == (confidence, reason)
    assert decision.verdict is (Verdict.NOTHING_SEEN if confidence is None else Verdict.MIDDLEWARE)


@pytest.mark.parametrize("facts", FACTS[::7])
def test_what_holds_for_every_combination(facts: Facts) -> None:
    """Proven needs different engines and nothing in between, and has no alternatives; less has some."""
    decision = decide(facts)
    proven = facts.sharing is not Sharing.NONE and facts.engines_differ and facts.nothing_in_between
    assert (decision.confidence is Confidence.PROVEN) is (proven and not facts.everywhere)
    if decision.confidence is Confidence.PROVEN or decision.reason is Reason.NOTHING_SEEN:
        assert decision.alternatives == ()
    else:
        assert Alternative.AUTOMATION in decision.alternatives
        assert (Alternative.FRONT_OF_THE_OPERATOR in decision.alternatives) is not facts.nothing_in_between
    if facts.everywhere:
        assert decision.confidence in {None, Confidence.POSSIBLE}


@given(st.sampled_from(FACTS))
def test_more_evidence_is_never_milder(facts: Facts) -> None:
    """More contradicting parts, a header, sharing and engines never lower a confidence."""
    before = ORDER.index(decide(facts).confidence)
    more = (
        facts._replace(parts=facts.parts + 1),
        facts._replace(has_header=True),
        facts._replace(engines_differ=True),
        facts._replace(replaces=True),
        facts._replace(sharing=Sharing.NOBODYS),
    )
    assert all(ORDER.index(decide(one).confidence) >= before for one in more)


def test_every_rule_and_grade_is_reached() -> None:
    """Every rule decides somewhere, with every confidence it has."""
    reached = {(decision.reason, decision.confidence) for decision in map(decide, FACTS)}
    stated = {(rule.reason, grade.confidence) for rule in table.TABLE for grade in rule.grades}
    assert reached == stated | {(Reason.NOTHING_SEEN, None)}


@pytest.mark.parametrize("rule", table.TABLE, ids=lambda rule: rule.reason)
def test_every_rule_is_needed(rule: table.Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a rule, some cell is another one."""
    expected = {name: decide(facts) for name, (facts, *_) in CELLS.items()}
    monkeypatch.setattr(table, "TABLE", tuple(one for one in table.TABLE if one is not rule))
    assert {name for name, (facts, *_) in CELLS.items() if decide.__wrapped__(facts) != expected[name]}
