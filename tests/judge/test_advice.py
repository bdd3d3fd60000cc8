"""Advice: for each audience what it can do, the hosts ready to paste, nothing that blames or weakens the student."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from support.results import found, result, silent
from support.worlds import EXAM, LMS, PINNED_WITNESS, named, sent, witnessed

from detector.judge import advice, table
from detector.judge.advice import advise
from detector.judge.checks import (
    captive_portal,
    forged_issuer,
    key_possession,
    known_interceptor,
    pin,
    presented,
    witness,
)
from detector.judge.checks.chain import Outcome as Chain
from detector.knowledge import data_set
from detector.model import (
    Attribution,
    Audience,
    Category,
    Confidence,
    Finding,
    ManagedBy,
    Observation,
    Outcome,
    PortalObservation,
    PortalOutcome,
    ProxyObservation,
    ProxyScheme,
    Reason,
    Result,
    Verdict,
)

if TYPE_CHECKING:
    from conftest import World

STUDENT, IT, DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER
STAGES: Final = {
    table.Stage.SETTLES: Verdict.CLEAN,
    table.Stage.CLEARS: Verdict.CLEAN,
    table.Stage.ACCUSES: Verdict.MIDDLEWARE,
    table.Stage.ELSE: Verdict.INCONCLUSIVE,
}
PRODUCT: Final = "Example Box"


def decided(  # noqa: PLR0913 - a result is made of these
    reason: Reason,
    confidence: Confidence | None = Confidence.PROBABLE,
    manager: ManagedBy | None = None,
    *,
    product: str | None = None,
    category: Category = Category.EXAM,
    findings: tuple[Finding, ...] = (),
    host: str = EXAM,
) -> Result:
    """A result of this rule, with that confidence where it accuses, and a party of this manager."""
    verdict = STAGES[table.RULE_OF[reason].stage]
    return result(
        host,
        verdict,
        reason,
        confidence=confidence if verdict is Verdict.MIDDLEWARE else None,
        category=category,
        findings=findings,
        attribution=None if manager is None else Attribution(managed_by=manager, product=product),
    )


def of(*results: Result) -> dict[Audience, str]:
    return {audience: " ".join(words) for audience, words in advise(results).items()}


def every() -> list[Result]:
    """All that can be said of something that was seen, with a party where the confidence allows one."""
    found = []
    for rule, sure, category in itertools.product(table.TABLE, Confidence, (Category.EXAM, Category.SEARCH)):
        if sure is Confidence.POSSIBLE or rule.stage is not table.Stage.ACCUSES:
            found.append(decided(rule.reason, sure, category=category))
            continue
        found += [
            decided(rule.reason, sure, manager, product=product, category=category)
            for manager, product in itertools.product(ManagedBy, (None, PRODUCT))
        ]
    return found


def test_every_decision_has_advice() -> None:
    """Whatever the table says short of clean, the student has something to do, and names are filled in."""
    for one in every():
        words = of(one)
        outcome = table.RULE_OF[one.reason].is_outcome
        assert bool(words.get(STUDENT)) == (one.verdict is not Verdict.CLEAN), one.reason
        assert outcome or not any("{" in text for text in words.values())


def test_advice_is_whole_sentences() -> None:
    """Each text begins with a capital and ends with a full stop, so that it can be translated and joined to others."""
    texts = {text for one in every() for texts in advise([one]).values() for text in texts}
    assert [text for text in texts if not (text[0].isupper() and text.endswith("."))] == []


def test_students_are_never_accused_and_never_asked_to_weaken_anything() -> None:
    """No sentence for students speaks of cheating, fault or blame, or asks them to ignore a warning."""
    said = {of(one).get(STUDENT, "") for one in every()} | set(advice._BY_OUTCOME.values())
    text = " ".join(said).lower()
    for word in ("cheat", "you installed", "your fault", "violation", "suspicious", "ignore", "accept the certificate"):
        assert word not in text
    assert "proceed anyway" not in text


def test_below_probable_nobody_is_asked_to_exempt_anything() -> None:
    """Where something innocent fits as well, no advice says that a network decrypts, and none forbids it."""
    for one in every():
        if one.attribution is None:
            text = " ".join(of(one).values())
            assert not any(word in text for word in ("decrypts", "xempt", "Do not use")), one.reason


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_advice(outcome: Outcome) -> None:
    """A connection that showed nothing is explained by how it ended."""
    said = of(silent(EXAM, outcome=outcome))
    assert list(said) == [STUDENT]
    assert "{" not in said[STUDENT]


def test_what_a_proxy_wants_is_said() -> None:
    """Kinds of sign-in that are not supported, a file that names no proxy, and a page in the place of TLS."""

    def said(outcome: Outcome, **facts: Any) -> str:  # noqa: ANN401 - fields of Observation
        seen = Observation(outcome=outcome, **facts)
        return of(msgspec.structs.replace(silent(EXAM), observation=seen))[STUDENT]

    proxy = ProxyObservation(scheme=ProxyScheme.HTTP, host="proxy", port=3128, auth_schemes=("ntlm", "negotiate"))
    assert "(ntlm, negotiate)" in said(Outcome.PROXY_AUTH_UNSUPPORTED, proxy=proxy)
    assert "px-proxy or cntlm" in said(Outcome.PROXY_AUTH_UNSUPPORTED, proxy=proxy)
    assert "sign in" in said(Outcome.PROXY_REDIRECTED, proxy=proxy)
    assert "could not reach the host" in said(Outcome.PROXY_GATEWAY, proxy=proxy)
    assert "(GSSAPI)" in said(Outcome.PROXY_AUTH_UNSUPPORTED)
    assert "http://wpad/wpad.dat" in said(Outcome.PROXY_UNKNOWN, proxy_file="http://wpad/wpad.dat")
    assert "opened the tunnel" in said(Outcome.NOT_TLS, proxy=proxy)
    assert "opened the tunnel" not in said(Outcome.NOT_TLS)
    assert said(Outcome.DNS_FAILURE) == f"Check {EXAM} for typing errors, and that this device is online."


KINDS: Final = {
    "exempt": "ask its IT to exempt",
    "by name": "check the exam's own host by its name",
    "scanning": "turn off its HTTPS scanning",
    "debugging": "A debugging proxy decrypts traffic",
    "abused": "the CA that signs here is known to be abused",
    "outside": "Traffic is decrypted outside the institution",
    "avoid": "Do not use this network for the exam",
    "elsewhere": "Try again from another network",
    "again": "Try again. If it keeps happening",
    "sign in": "sign in, then try again",
    "update": "Update the detector and try again",
    "clock": "Set this device's date and time",
    "reload": "Open the page of the exam again",
    "connection": "The connection failed before anything could be seen",
    "own: exempt": "Exempt from TLS decryption",
    "own: decision": "Decrypting other sites is your decision",
    "own: scanning": "from HTTPS scanning on the device",
    "own: remove": "Remove the CA from the device's trusted roots",
    "own: tunnel": "a tunnel the state does not decrypt",
    "own: find": "find",
}
"""Kinds of advice, by words that only they have; those for IT after `own`."""


def kind(text: str) -> str:
    """The kind of a text: the first that has its words."""
    return next((name for name, words in KINDS.items() if words in text), "other")


BY_MANAGER: Final = {
    ManagedBy.INSTITUTION: ("exempt", "by name", "own: exempt", "own: decision"),
    ManagedBy.ENDPOINT_OWNER: ("scanning", "scanning", "own: scanning", "own: scanning"),
    ManagedBy.DEVELOPER: ("debugging", "debugging", "debugging", "debugging"),
    ManagedBy.ATTACKER: ("abused", "abused", "own: remove", "own: remove"),
    ManagedBy.STATE: ("outside", "outside", "own: tunnel", "own: tunnel"),
    ManagedBy.UNKNOWN: ("avoid", "avoid", "own: find", "own: find"),
}
"""The kind for the student on an exam's host and on another, then that for IT on both."""
ATTACKS: Final = {
    Reason.WITNESS_DIFFERS: "by manager",
    Reason.REPLAYED_CHAIN: "own: find",
    Reason.FORGED_ISSUER: "own: find",
    Reason.DEFECTIVE_CHAIN: "own: find",
    Reason.PUBLIC_UNLOGGED: "own: find",
}
"""Rules that only an attack needs: students avoid the network, whatever it names; the kind of advice for IT."""
MANAGERS: Final = frozenset(
    {
        Reason.IDENTITY_SUBSTITUTED,
        Reason.RIVALS_SHARE_A_SIGNER,
        Reason.SIGNER_SUBSTITUTES_ELSEWHERE,
        Reason.INTERCEPTION_KEY,
        Reason.PRODUCT_MARK,
        Reason.ADDED_ROOT,
        Reason.ONE_PRIVATE_SIGNER,
        Reason.PIN_MISMATCH,
        Reason.PRIVATE_CHAIN,
    }
)
"""Rules that address the manager of the interceptor, known as a product or not."""
WITHOUT_PARTY: Final = {
    **dict.fromkeys((rule.reason for rule in table.ACCUSING), "elsewhere"),
    Reason.UNREADABLE_PERSISTS: "update",
    Reason.WRONG_NAME: "sign in",
    Reason.NO_CERTIFICATE: "connection",
    Reason.OTHER_HELLO: "elsewhere",
    Reason.BUDGET_SPENT: "again",
    Reason.CLOCK_WRONG: "clock",
    Reason.EXPIRED: "elsewhere",
    Reason.RETIRED: "elsewhere",
    Reason.UNREADABLE: "update",
    Reason.DECLARED_ROOT_INTERCEPTS: "elsewhere",
    Reason.DECLARED_NOT_ACCEPTED: "elsewhere",
    Reason.BROWSER_REPORTED: "again",
    Reason.ISSUER_NOT_REPORTED: "reload",
    Reason.KEY_NOT_PROVED: "again",
    Reason.NAME_NOT_CONFIRMED: "elsewhere",
    Reason.WITNESS_SILENT: "again",
    Reason.SCTS_NOT_CARRIED: "again",
    Reason.STALE_KNOWLEDGE: "update",
}
"""The kind for the student where nobody is named."""


def expected(reason: Reason, manager: ManagedBy, product: str | None, category: Category) -> tuple[str, str | None]:
    """The kinds for the student and for IT where a party is named."""
    at = int(category is not Category.EXAM)
    student, it = BY_MANAGER[manager][at], BY_MANAGER[manager][2 + at]
    if reason in ATTACKS:
        return "avoid", it if ATTACKS[reason] == "by manager" else ATTACKS[reason]
    if reason in MANAGERS or product is not None or not table.RULE_OF[reason].advice:
        return student, it
    alone = table.RULE_OF[reason].advice.get(IT)
    return WITHOUT_PARTY[reason], None if alone is None else kind(alone)


def test_who_gets_which_kind_of_advice() -> None:
    """Over every rule, confidence, manager and kind of host: the tables above say what student and IT read."""
    seen = set()
    for one in every():
        words, party = of(one), one.attribution
        if one.verdict is Verdict.CLEAN:
            assert words == {}
            continue
        student = kind(words[STUDENT])
        if party is None:
            assert student == WITHOUT_PARTY[one.reason], one.reason
        else:
            it = kind(words[IT]) if IT in words else None
            wanted = expected(one.reason, party.managed_by, party.product, one.endpoint.category)
            assert (student, it) == wanted, (one.reason, party)
        seen.add(one.reason)
    assert seen == {rule.reason for rule in table.TABLE if STAGES[rule.stage] is not Verdict.CLEAN}


ATTACKER_CHOSEN: Final = (
    (Reason.FORGED_ISSUER, (found(forged_issuer.Outcome.OTHER_KEY),)),
    (Reason.REPLAYED_CHAIN, (found(key_possession.Outcome.WRONG),)),
    (Reason.WITNESS_DIFFERS, (found(witness.Outcome.DIFFERS),)),
)


@pytest.mark.parametrize(("attack", "findings"), ATTACKER_CHOSEN)
@pytest.mark.parametrize("reason", sorted(MANAGERS))
def test_no_mark_of_a_product_makes_an_attack_harmless(
    reason: Reason, attack: Reason, findings: tuple[Finding, ...]
) -> None:
    """An attacker can write any product's name into a chain; the student should avoid the network all the same."""
    seen = (found(presented.Outcome.SEEN), *findings)
    for manager in ManagedBy:
        said = of(decided(reason, Confidence.PROBABLE, manager, product=PRODUCT, findings=seen))
        assert said[STUDENT] == table.RULE_OF[attack].attack[STUDENT]
    portal = found(captive_portal.Outcome.CONTROL_REQUEST)
    said = of(decided(reason, Confidence.PROBABLE, ManagedBy.INSTITUTION, findings=(*seen, portal)))
    assert "sign in" not in said[STUDENT]


class TestExemptions:
    """Only hosts of exams and courses, and hosts that were named, are listed for exemption."""

    def test_hosts_share_a_sentence_that_is_ready_to_paste(self) -> None:
        """IT gets one list of the hosts that matter, and reads that the rest is its own decision."""
        kinds = {EXAM: Category.EXAM, LMS: Category.LMS, "s1.example": Category.SEARCH, "s2.example": Category.SEARCH}
        results = [
            decided(Reason.IDENTITY_SUBSTITUTED, Confidence.PROVEN, ManagedBy.INSTITUTION, category=category, host=host)
            for host, category in kinds.items()
        ]
        assert advise(results)[IT] == [f"Exempt from TLS decryption: {EXAM}, {LMS}.", advice.OPERATORS_DECISION]
        named = [msgspec.structs.replace(one, named=True) for one in results]
        assert advise(named)[IT] == [f"Exempt from TLS decryption: {', '.join(kinds)}."]

    def test_the_product_says_how(self) -> None:
        """Where the catalogue has the product's own terms, IT gets them."""
        zscaler = next(entry for entry in data_set.shipped().catalogue.entries if entry.id == "zscaler-zia")
        mark = found(known_interceptor.Outcome.PRODUCT, remediation=zscaler.remediation)
        said = of(
            decided(Reason.PRODUCT_MARK, Confidence.PROBABLE, ManagedBy.INSTITUTION, product="ZIA", findings=(mark,))
        )
        assert "Do Not Inspect" in said[IT]
        assert said[IT].endswith(f"Hosts: {EXAM}.")

    @pytest.mark.parametrize("host", ["exam", "it", "a", "hosts", "{file}"])
    def test_short_names_change_no_words(self, host: str) -> None:
        """A host that is called like a word of the advice changes nothing but its own place in it."""
        plain = decided(Reason.IDENTITY_SUBSTITUTED, Confidence.PROVEN, ManagedBy.INSTITUTION)
        same = decided(Reason.IDENTITY_SUBSTITUTED, Confidence.PROVEN, ManagedBy.INSTITUTION, host=host)
        assert of(same)[STUDENT] == of(plain)[STUDENT].replace(EXAM, host)


def test_a_portal_goes_before_all_other_advice() -> None:
    """A proved sign-in page is what can be done something about first; others act only where a party is named."""
    portal = (found(captive_portal.Outcome.CONTROL_REQUEST),)
    for one in every():
        if one.verdict is Verdict.CLEAN or one.reason is Reason.NO_CERTIFICATE or advice.is_attack(one):
            continue
        plain, said = of(one), of(msgspec.structs.replace(one, findings=portal))
        assert said == {**(plain if one.attribution else {}), STUDENT: advice.SIGN_IN_FIRST}


def test_stale_pins_go_to_who_made_them() -> None:
    """The makers of the pin file are asked, by the file's name where it is recorded, and not the network's IT."""
    pins = found(pin.Outcome.MISMATCH, source="campus.toml")
    stale = (found(Chain.ACCEPTED), pins)
    said = of(decided(Reason.PIN_MISMATCH, Confidence.POSSIBLE, findings=stale))
    assert "the people who made the pin file campus.toml" in said[STUDENT]
    assert f"pins of {EXAM} in the pin file campus.toml" in said[DEVELOPER]
    assert IT not in said
    unrecorded = of(decided(Reason.PIN_MISMATCH, Confidence.POSSIBLE, findings=(found(Chain.ACCEPTED),)))
    assert "the people who made the pin file that" in unrecorded[STUDENT]
    private = of(decided(Reason.PIN_MISMATCH, Confidence.POSSIBLE, findings=(found(Chain.PRIVATE), pins)))
    assert kind(private[STUDENT]) == "elsewhere"


def test_a_witness_that_differs_also_asks_the_developer() -> None:
    """A front of the operator's own has the same effect, and only the operator knows."""
    said = of(decided(Reason.WITNESS_DIFFERS, Confidence.PROVEN, ManagedBy.INSTITUTION))
    assert "CDN" in said[DEVELOPER]


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
            ("ask its IT to exempt", world.case(EXAM, sent(ca, EXAM), category=Category.EXAM, canary=True)),
            ("Do not use this network", world.case(EXAM, sent(ca, EXAM), **PINNED_WITNESS, seen=witnessed(b"\3" * 32))),
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


@pytest.mark.parametrize("manager", ManagedBy)
def test_nobody_signs_in_on_the_network_of_an_attacker(manager: ManagedBy) -> None:
    """A sign-in page, which an interceptor can show, does not take the place of a warning; nor is he asked for
    anything."""
    portal = found(captive_portal.Outcome.CONTROL_REQUEST)
    one = decided(Reason.INTERCEPTION_KEY, Confidence.PROVEN, manager, product=PRODUCT, findings=(portal,))
    dangerous = manager in {ManagedBy.ATTACKER, ManagedBy.UNKNOWN}
    assert advice.is_attack(one) is dangerous
    assert (of(one)[STUDENT] == advice.SIGN_IN_FIRST) is not dangerous
    assert advice.is_to_exempt(one) is (manager in {ManagedBy.INSTITUTION, ManagedBy.ENDPOINT_OWNER})
