"""Advice: for each audience what it can do, the hosts ready to paste, nothing that blames or weakens the student."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.results import found
from support.worlds import EXAM, LMS, PINNED_WITNESS, named, sent, witnessed

from detector.judge import advice, table
from detector.judge.advice import advise
from detector.judge.checks import captive_portal
from detector.judge.facts import Facts
from detector.judge.table import Decision
from detector.knowledge import catalogue
from detector.model import (
    Attribution,
    Audience,
    Confidence,
    ManagedBy,
    Observation,
    Outcome,
    PortalObservation,
    PortalOutcome,
    ProxyObservation,
    ProxyScheme,
    Reason,
    Verdict,
)

if TYPE_CHECKING:
    from conftest import World

STUDENT, IT, DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER
SEEN: Final = Observation(outcome=Outcome.COMPLETE)
HOSTS: Final = [EXAM, LMS]
NO_FACTS: Final = Facts(())


def decided(rule: table.Rule, confidence: Confidence | None) -> Decision:
    """A decision of this rule, with that confidence where it accuses."""
    verdict = {
        table.Stage.SETTLES: Verdict.CLEAN,
        table.Stage.CLEARS: Verdict.CLEAN,
        table.Stage.ACCUSES: Verdict.MIDDLEWARE,
        table.Stage.ELSE: Verdict.INCONCLUSIVE,
    }[rule.stage]
    return Decision(rule.reason, verdict, confidence if verdict is Verdict.MIDDLEWARE else None)


def of(decision: Decision, attribution: Attribution | None = None, **more: Any) -> dict[Audience, str]:  # noqa: ANN401 - as `advise`
    return advise(decision, NO_FACTS, HOSTS, **{"observation": SEEN, "attribution": attribution, **more})


def every() -> list[tuple[Decision, dict[Audience, str]]]:
    """All that can be said of something that was seen."""
    parties = [None, *(Attribution(managed_by=manager) for manager in ManagedBy), Attribution(product="Example Box")]
    combinations = itertools.product(table.TABLE, Confidence, parties)
    return [(decision := decided(rule, sure), of(decision, party)) for rule, sure, party in combinations]


def test_every_decision_has_advice() -> None:
    """Whatever the table says short of clean, the student has something to do, and names are filled in."""
    for decision, words in every():
        assert bool(words.get(STUDENT)) == (decision.verdict is not Verdict.CLEAN), decision
        assert not any("{" in text for text in words.values())


def test_students_are_never_accused_and_never_asked_to_weaken_anything() -> None:
    """No sentence for students speaks of cheating, fault or blame, or tells them to ignore a warning."""
    said = {words[STUDENT] for _, words in every() if words} | set(advice._BY_OUTCOME.values())
    text = " ".join(said).lower()
    for word in ("cheat", "you installed", "your fault", "violation", "suspicious", "ignore", "accept the certificate"):
        assert word not in text
    assert "proceed anyway" not in text


def test_below_probable_nobody_is_asked_to_exempt_anything() -> None:
    """Where something innocent fits as well, no advice says that a network decrypts."""
    for decision, words in every():
        if decision.confidence is Confidence.POSSIBLE:
            assert not any("decrypts" in text for text in of(decision).values()), decision
            assert not any("xempt" in text for text in of(decision).values()), decision
        assert words == {} or decision.verdict is not Verdict.CLEAN


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_advice(outcome: Outcome) -> None:
    """A connection that showed nothing is explained by how it ended."""
    decision = Decision(Reason.NO_CERTIFICATE, Verdict.INCONCLUSIVE)
    said = of(decision, observation=Observation(outcome=outcome))
    assert list(said) == [STUDENT]
    assert "{" not in said[STUDENT]


def test_what_a_proxy_wants_is_said() -> None:
    """Kinds of sign-in that are not supported, a file that names no proxy, and a page in the place of TLS."""
    decision = Decision(Reason.NO_CERTIFICATE, Verdict.INCONCLUSIVE)

    def said(outcome: Outcome, **facts: Any) -> str:  # noqa: ANN401 - fields of Observation
        return of(decision, observation=Observation(outcome=outcome, **facts))[STUDENT]

    proxy = ProxyObservation(scheme=ProxyScheme.HTTP, host="proxy", port=3128, auth_schemes=("ntlm", "negotiate"))
    assert "(ntlm, negotiate)" in said(Outcome.PROXY_AUTH_UNSUPPORTED, proxy=proxy)
    assert "px-proxy or cntlm" in said(Outcome.PROXY_AUTH_UNSUPPORTED, proxy=proxy)
    assert "sign in" in said(Outcome.PROXY_REDIRECTED, proxy=proxy)
    assert "could not reach the host" in said(Outcome.PROXY_GATEWAY, proxy=proxy)
    assert "(GSSAPI)" in said(Outcome.PROXY_AUTH_UNSUPPORTED)
    assert "http://wpad/wpad.dat" in said(Outcome.PROXY_UNKNOWN, proxy_file="http://wpad/wpad.dat")
    assert "opened the tunnel" in said(Outcome.NOT_TLS, proxy=proxy)
    assert "opened the tunnel" not in said(Outcome.NOT_TLS)


class TestWho:
    """Who is asked for what depends on who manages the interceptor."""

    PROVEN: Final = Decision(Reason.IDENTITY_SUBSTITUTED, Verdict.MIDDLEWARE, Confidence.PROVEN)

    def test_an_institution_gets_the_hosts_to_exempt(self) -> None:
        """The list is ready to paste, in the product's own terms where the catalogue has them."""
        assert of(self.PROVEN, Attribution())[IT] == f"Exempt from TLS decryption: {EXAM}, {LMS}"
        zscaler = next(entry for entry in catalogue.shipped().entries if entry.id == "zscaler-zia")
        said = of(self.PROVEN, Attribution(product="ZIA"), remediation=zscaler.remediation)
        assert "Do Not Inspect" in said[IT]
        assert said[IT].endswith(f"Hosts: {EXAM}, {LMS}")

    def test_every_manager_is_asked_for_something_else(self) -> None:
        """A student cannot do for an institution what he can do on his own device."""
        said = {of(self.PROVEN, Attribution(managed_by=manager))[STUDENT] for manager in ManagedBy}
        assert len(said) == len(ManagedBy)

    def test_a_reason_with_advice_of_its_own_goes_before_an_unknown_manager(self) -> None:
        """Where no product is known, what the rule found says better what to do; a known product's manager can act."""
        decision = Decision(Reason.REPLAYED_CHAIN, Verdict.MIDDLEWARE, Confidence.PROBABLE)
        assert "Do not send exam data here" in of(decision, Attribution())[STUDENT]
        assert "exempt" in of(decision, Attribution(product="Example Box"))[STUDENT]

    def test_a_witness_that_differs_also_asks_the_developer(self) -> None:
        """A front of the operator's own has the same effect, and only the operator knows."""
        decision = Decision(Reason.WITNESS_DIFFERS, Verdict.MIDDLEWARE, Confidence.PROVEN)
        said = of(decision, Attribution())
        assert "CDN" in said[DEVELOPER]
        assert "exempt" in said[STUDENT]


def test_a_portal_goes_before_all_other_advice() -> None:
    """A proved sign-in page is what the student can do something about; nobody else's advice changes."""
    facts = Facts([found(captive_portal.Outcome.CONTROL_REQUEST)])
    decisions = [
        one for one, _ in every() if one.verdict is not Verdict.CLEAN and one.reason is not Reason.NO_CERTIFICATE
    ]
    for decision in decisions:
        party = Attribution() if decision.confidence is Confidence.PROVEN else None
        plain = of(decision, party)
        said = advise(decision, facts, HOSTS, observation=SEEN, attribution=party)
        assert said == {**plain, STUDENT: "Open a browser and sign in to this network, then try again."}


def test_the_advice_on_a_reason_by_itself() -> None:
    """The page on decisions shows it with the hosts left open; it is empty where it depends on the party."""
    assert "{hosts}" in table.RULE_OF[Reason.EXPIRED].advice[DEVELOPER]
    assert "{hosts}" in table.RULE_OF[Reason.PRIVATE_CHAIN].advice[DEVELOPER]
    assert table.RULE_OF[Reason.IDENTITY_SUBSTITUTED].advice == {}


class TestEndToEnd:
    """Advice on generated worlds."""

    def test_what_each_world_asks_of_the_student(self, world: World) -> None:
        """From the harmless to the proven, in words that fit."""
        pki, ca = world.pki, world.pki.private_ca("Filter CA")
        portal = world.context(portal=PortalObservation(outcome=PortalOutcome.CAPTIVE, url="http://check.example/"))
        proxy = pki.private_ca(named(O="mitmproxy", CN="mitmproxy"))
        cases = [
            ("", world.case(EXAM, pki.issue([EXAM]))),
            ("Try again from another network", world.case(EXAM, sent(ca, EXAM))),
            ("ask its IT to exempt", world.case(EXAM, sent(ca, EXAM), canary=True)),
            ("ask its IT to exempt", world.case(EXAM, sent(ca, EXAM), **PINNED_WITNESS, seen=witnessed(b"\3" * 32))),
            ("debugging proxy", world.case(EXAM, sent(proxy, EXAM))),
            ("If this network has a sign-in page", world.case(EXAM, pki.issue([LMS]))),
            ("Open a browser and sign in", world.case(EXAM, pki.issue([LMS]), context=portal)),
            ("Open a browser and sign in", world.case(EXAM, sent(ca, EXAM), canary=True, context=portal)),
            (
                "Do not use this network",
                world.case(EXAM, pki.private_ca(copy_from=pki.root_b.certificate).issue([EXAM])),
            ),
            ("Try again", world.case(EXAM, pki.issue([EXAM]), key_proved=False, outcome=Outcome.RESET)),
        ]
        for words, case in cases:
            assert words in world.judge(case)[0].advice

    def test_stale_pins_are_called_that_to_who_maintains_them(self, world: World) -> None:
        """The developer is asked to update the file; nothing says to the student that anything decrypts."""
        result = world.one(EXAM, world.pki.issue([EXAM]), pins=(b"\1" * 32,))
        assert "out of date" in result.advice_for[DEVELOPER]
        assert "decrypt" not in result.advice
