"""The decision table by itself: every row reachable, and the properties that hold whatever the findings are."""

from __future__ import annotations

import itertools
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.judge import checks, table
from detector.model import (
    Assurance,
    Category,
    Confidence,
    Coverage,
    EndpointName,
    Finding,
    Observation,
    Outcome,
    Result,
    Says,
    Scope,
    Verdict,
)

SEEN, PROVED = "presented:seen", "key-possession:proved"
NAMED, DATED = "name:match", "dates:valid"
PUBLIC, PRIVATE = "public-path:found", "public-path:none"
LOGGED, UNLOGGED, UNKNOWN = "transparency:logged", "transparency:unlogged", "transparency:unknowable"
MISMATCH = "pin:mismatch"
GOOD: Final = (SEEN, PROVED, NAMED, DATED)


def findings(*spelled: str) -> list[Finding]:
    """Findings from `check:outcome`."""
    return [
        Finding(check=check, outcome=outcome, says=Says.NEUTRAL, summary="")
        for check, _, outcome in (s.partition(":") for s in spelled)
    ]


ROWS: Final = [
    (1, (), "inconclusive"),
    (1, ("presented:none",), "inconclusive"),
    (2, (*GOOD, PUBLIC, LOGGED, "pin:leaf", "witness:differs"), "middleware proven"),
    (3, (SEEN, "key-possession:wrong", NAMED, DATED, PUBLIC, LOGGED, "pin:leaf"), "middleware probable"),
    (4, (SEEN, "key-possession:not-proved", NAMED, DATED, PUBLIC, LOGGED), "inconclusive"),
    (4, (SEEN, "key-possession:not-proved", NAMED, DATED, PUBLIC, UNKNOWN), "inconclusive"),
    (4, (SEEN, "key-possession:not-proved", NAMED, DATED, "pin:leaf", PRIVATE), "inconclusive"),
    (17, (SEEN, "key-possession:not-proved", NAMED, DATED, PRIVATE, UNLOGGED, MISMATCH), "middleware probable"),
    (15, (SEEN, "key-possession:not-proved", NAMED, PRIVATE, UNLOGGED, "catalogue:strong"), "middleware probable"),
    (19, (SEEN, "key-possession:not-proved", NAMED, PRIVATE, UNLOGGED), "middleware possible"),
    (5, (*GOOD, PRIVATE, UNLOGGED, MISMATCH, "witness:equal"), "clean witnessed"),
    (5, (*GOOD, PUBLIC, LOGGED, "pin:leaf", "witness:replayed"), "inconclusive"),
    (5, (*GOOD, PUBLIC, LOGGED, "witness:no-answer"), "inconclusive"),
    (17, (*GOOD, PRIVATE, UNLOGGED, MISMATCH, "witness:no-answer"), "middleware proven"),
    (6, (SEEN, PROVED, "name:mismatch", "dates:expired", PRIVATE, "pin:leaf"), "clean pinned"),
    (6, (*GOOD, PUBLIC, LOGGED, "pin:path"), "clean pinned"),
    (9, (SEEN, PROVED, "name:mismatch", DATED, PUBLIC, LOGGED, "pin:path"), "middleware possible"),
    (10, (SEEN, PROVED, NAMED, "dates:expired", PUBLIC, LOGGED, "pin:path"), "clean logged"),
    (7, (*GOOD, PRIVATE, UNLOGGED, "declared-root:path"), "clean trusted"),
    (7, (*GOOD, PRIVATE, UNLOGGED, "declared-root:path", MISMATCH), "middleware possible"),
    (19, (SEEN, PROVED, NAMED, "dates:expired", PRIVATE, UNLOGGED, "declared-root:path"), "middleware possible"),
    (8, (SEEN, PROVED, NAMED, "dates:expired", PRIVATE, UNLOGGED, "declared-root:path", "clock:wrong"), "inconclusive"),
    (8, (SEEN, PROVED, NAMED, "dates:not-yet-valid", PUBLIC, UNKNOWN, "pin:path", "clock:wrong"), "inconclusive"),
    (9, (SEEN, PROVED, "name:mismatch", DATED, PUBLIC, UNLOGGED, MISMATCH), "middleware possible"),
    (9, (SEEN, PROVED, "name:mismatch", DATED, PRIVATE, LOGGED), "middleware possible"),
    (10, (*GOOD, PUBLIC, LOGGED), "clean logged"),
    (10, (*GOOD, PRIVATE, LOGGED), "clean logged"),
    (11, (*GOOD, PUBLIC, LOGGED, MISMATCH), "middleware possible"),
    (11, (*GOOD, PRIVATE, LOGGED, MISMATCH), "middleware possible"),
    (12, (*GOOD, PUBLIC, UNLOGGED, MISMATCH), "middleware probable"),
    (12, (*GOOD, PUBLIC, UNLOGGED, "shared-issuer:public-unlogged"), "middleware probable"),
    (13, (*GOOD, PUBLIC, UNLOGGED), "middleware possible"),
    (14, (*GOOD, PUBLIC, UNKNOWN), "clean trusted"),
    (14, (*GOOD, PUBLIC, UNKNOWN, MISMATCH), "middleware possible"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "machine-root:path"), "middleware proven"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "shared-issuer:private"), "middleware proven"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "shared-leaf-key:shared"), "middleware proven"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "ca-key-reuse:reused"), "middleware proven"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "issuer-impersonation:impersonated"), "middleware proven"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "catalogue:strong"), "middleware proven"),
    (19, (*GOOD, PRIVATE, UNLOGGED, "catalogue:weak"), "middleware possible"),
    (16, (*GOOD, PRIVATE, UNKNOWN, "missing-issuer:possible", MISMATCH), "middleware possible"),
    (17, (*GOOD, PRIVATE, UNLOGGED, MISMATCH), "middleware proven"),
    (18, (*GOOD, PRIVATE, UNLOGGED, "issuer-shape:as-intercepted"), "middleware probable"),
    (21, (*GOOD, PRIVATE, UNLOGGED, "route-difference:forged", "private-origin:private-ca"), "middleware probable"),
    (
        19,
        (*GOOD, PRIVATE, UNLOGGED, "route-difference:private-here", "private-origin:private-ca"),
        "middleware possible",
    ),
    (19, (*GOOD, PRIVATE, UNLOGGED, "route-difference:genuine-elsewhere"), "middleware possible"),
    (19, (*GOOD, PRIVATE, UNLOGGED, "route-difference:forged", "private-origin:self-signed"), "middleware possible"),
    (19, (SEEN, PROVED, DATED, PRIVATE, UNLOGGED, "route-difference:forged", "name:mismatch"), "middleware possible"),
    (19, (*GOOD, PRIVATE, UNKNOWN, "route-difference:forged", "private-origin:private-ca"), "middleware possible"),
    (10, (*GOOD, PUBLIC, LOGGED, MISMATCH, "several-certificates:same-root-as-pinned"), "clean logged"),
    (14, (*GOOD, PUBLIC, UNKNOWN, MISMATCH, "several-certificates:same-root-as-pinned"), "clean trusted"),
    (12, (*GOOD, PUBLIC, UNLOGGED, MISMATCH, "several-certificates:same-root-as-pinned"), "middleware probable"),
    (19, (*GOOD, PRIVATE, UNLOGGED), "middleware possible"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "private-origin:private-ca", "quic:forged"), "middleware proven"),
    (15, (*GOOD, PRIVATE, UNLOGGED, "private-origin:issuer-absent", "quic:forged"), "middleware proven"),
    (19, (*GOOD, PRIVATE, UNLOGGED, "private-origin:self-signed", "quic:forged"), "middleware possible"),
    (19, (*GOOD, PRIVATE, UNLOGGED, "private-origin:retired-root", "quic:forged"), "middleware possible"),
    (19, (*GOOD, PRIVATE, UNKNOWN, "private-origin:private-ca", "quic:forged"), "middleware possible"),
    (19, (*GOOD, PRIVATE, UNLOGGED, "private-origin:private-ca", "quic:genuine-elsewhere"), "middleware possible"),
    (
        19,
        (SEEN, PROVED, "name:mismatch", DATED, PRIVATE, UNLOGGED, "private-origin:private-ca", "quic:forged"),
        "middleware possible",
    ),
    (20, (*GOOD, PRIVATE, UNLOGGED, "private-origin:private-ca", "hello-difference:forged"), "middleware probable"),
    (19, (*GOOD, PRIVATE, UNLOGGED, "private-origin:self-signed", "hello-difference:forged"), "middleware possible"),
    (10, (*GOOD, PUBLIC, LOGGED, "quic:other-forged", "hello-difference:one-answered"), "clean logged"),
]


@pytest.mark.parametrize(("row", "seen", "answer"), ROWS)
def test_row(row: int, seen: tuple[str, ...], answer: str) -> None:
    """The first matching row decides, with its confidence or assurance."""
    decision = table.decide(findings(*seen))
    told = " ".join(filter(None, (decision.verdict, decision.confidence or decision.assurance)))
    assert (decision.row, told) == (row, answer)


def test_every_row_is_reached() -> None:
    """No row of the table is dead."""
    assert {row for row, _, _ in ROWS} == {row.number for row in table.TABLE} | {1, 2, 3, 4}


def test_alternatives_of_row_19_fit_the_origin() -> None:
    """What else could explain a lone private chain depends on what kind of server presents such a chain."""

    def alternatives(*more: str) -> list[str]:
        return [str(a) for a in table.decide(findings(SEEN, PROVED, DATED, PRIVATE, UNLOGGED, *more)).alternatives]

    assert alternatives(NAMED, "private-origin:self-signed") == ["self-signed-origin"]
    assert alternatives(NAMED, "private-origin:private-ca") == ["private-pki"]
    assert alternatives(NAMED, "private-origin:issuer-absent") == ["incomplete-chain", "private-pki"]
    assert alternatives(NAMED, "private-origin:retired-root") == ["stale-roots", "incomplete-chain"]
    assert alternatives("name:mismatch", "private-origin:self-signed")[1:] == ["captive-portal", "block-page"]
    elsewhere = alternatives(NAMED, "private-origin:private-ca", "route-difference:genuine-elsewhere")
    assert elsewhere == ["private-pki", "split-horizon", "wrong-server"]


OUTCOMES: Final = {
    "presented": ("seen", "unreadable"),
    "key-possession": ("proved", "not-proved", "wrong"),
    "pin": ("leaf", "path", "mismatch", "expired", "none"),
    "declared-root": ("path", "no-path"),
    "public-path": ("found", "none"),
    "expected-root": ("expected", "other-public-root"),
    "transparency": ("logged", "unlogged", "unknowable"),
    "name": ("match", "common-name-only", "mismatch"),
    "dates": ("valid", "expired", "not-yet-valid", "unreadable"),
    "clock": ("wrong",),
    "captive-portal": ("control-request", "one-certificate", "known-key"),
    "machine-root": ("path",),
    "ca-key-reuse": ("reused",),
    "issuer-impersonation": ("impersonated",),
    "shared-issuer": ("private", "public-unlogged"),
    "shared-leaf-key": ("shared",),
    "catalogue": ("strong", "weak"),
    "missing-issuer": ("possible",),
    "issuer-shape": ("as-intercepted",),
    "private-origin": ("self-signed", "retired-root", "issuer-absent", "private-ca"),
    "route-difference": (
        "forged",
        "private-here",
        "genuine-elsewhere",
        "private-there",
        "differs",
        "both-vouched",
        "same",
    ),
    "several-certificates": ("same-root-as-pinned", "vouched", "other", "one"),
    "proxy-certificate": ("public", "trusted-here", "not-trusted", "wrong-name", "not-valid-now", "not-proved"),
    "resolution": ("same", "differs", "private-here", "unknown-here", "unknown-there", "unknown", "no-answer"),
    "quic": ("same", "forged", "genuine-elsewhere", "other-forged", "no-quic", "blocked"),
    "hello-difference": ("same", "forged", "genuine-elsewhere", "other-forged", "one-answered"),
    "witness": ("equal", "differs", "no-answer", "bad-signature", "replayed", "unknown-key"),
    "location": ("answered-early", "beside-the-host", "same-hop", "unknown"),
}
ALWAYS: Final = ("presented", "key-possession", "pin", "public-path", "transparency", "name", "dates")
"""Checks that say something about every certificate."""
ACCUSING: Final = (
    "pin:mismatch",
    "machine-root:path",
    "ca-key-reuse:reused",
    "issuer-impersonation:impersonated",
    "shared-issuer:private",
    "shared-issuer:public-unlogged",
    "shared-leaf-key:shared",
    "catalogue:strong",
    "issuer-shape:as-intercepted",
    "route-difference:forged",
    "route-difference:private-here",
    "transparency:unlogged",
    "public-path:none",
    "name:mismatch",
    "key-possession:wrong",
    "witness:differs",
    "witness:replayed",
    "quic:forged",
    "hello-difference:forged",
)
CLEANER: Final = [Verdict.CLEAN, Verdict.INCONCLUSIVE, Verdict.MIDDLEWARE]


def test_the_strategy_knows_every_check() -> None:
    """A new check must be added to the properties below."""
    assert set(OUTCOMES) == set(checks.CHECKS)


@st.composite
def evidence(draw: st.DrawFn) -> list[str]:
    """What the checks may say together about one presented certificate."""
    seen = []
    for check, outcomes in OUTCOMES.items():
        choice = draw(st.sampled_from(outcomes if check in ALWAYS else (*outcomes, None, None)))
        if choice is not None:
            seen.append(f"{check}:{choice}")
    return seen


@given(evidence(), st.booleans())
def test_nothing_seen_is_never_middleware(seen: list[str], told: bool) -> None:  # noqa: FBT001 - an example
    """Without a certificate no finding makes a network intercepted."""
    rest = [s for s in seen if not s.startswith("presented:")] + ["presented:none"] * told
    assert table.decide(findings(*rest)).verdict is Verdict.INCONCLUSIVE


@given(evidence(), st.sampled_from(ACCUSING))
def test_accusing_finding_never_makes_cleaner(seen: list[str], accusing: str) -> None:
    """One more accusing finding leaves the verdict as it was or makes it worse."""
    before = table.decide(findings(*seen)).verdict
    after = table.decide(findings(*seen, accusing)).verdict
    assert CLEANER.index(after) >= CLEANER.index(before)


@given(evidence())
def test_unproved_key_is_never_clean(seen: list[str]) -> None:
    """A chain alone clears nothing, and is at most probable."""
    rest = [s for s in seen if not s.startswith(("key-possession:", "witness:"))]
    for missing in (rest, [*rest, "key-possession:not-proved"]):
        decision = table.decide(findings(*missing))
        assert decision.verdict is not Verdict.CLEAN
        assert decision.confidence is not Confidence.PROVEN


@given(evidence(), st.randoms(use_true_random=False))
def test_order_of_findings_does_not_matter(seen: list[str], random: object) -> None:
    """Findings are a set."""
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # Hypothesis gives a random.Random
    assert table.decide(findings(*seen)) == table.decide(findings(*shuffled))


@given(evidence())
def test_confidence_and_assurance_go_with_their_verdicts(seen: list[str]) -> None:
    """Middleware has a confidence, clean an assurance, and nothing has both."""
    decision = table.decide(findings(*seen))
    assert (decision.confidence is not None) == (decision.verdict is Verdict.MIDDLEWARE)
    assert (decision.assurance is not None) == (decision.verdict is Verdict.CLEAN)


def result(host: str, said: Verdict, *, category: Category = Category.OTHER, sure: Confidence | None = None) -> Result:
    return Result(
        endpoint=EndpointName(host=host, port=443, category=category),
        verdict=said,
        row=0,
        reason="",
        confidence=sure,
        assurance=Assurance.LOGGED if said is Verdict.CLEAN else None,
        observation=Observation(outcome=Outcome.COMPLETE),
    )


CLEAN = result("a.example", Verdict.CLEAN)
POSSIBLE = result("b.example", Verdict.MIDDLEWARE, sure=Confidence.POSSIBLE, category=Category.SEARCH)
PROVEN = result("c.example", Verdict.MIDDLEWARE, sure=Confidence.PROVEN, category=Category.SEARCH)
UNCLEAR = result("d.example", Verdict.INCONCLUSIVE)
UNCLEAR_EXAM = result("e.example", Verdict.INCONCLUSIVE, category=Category.EXAM)


@pytest.mark.parametrize(
    ("results", "named", "answer"),
    [
        ([], (), (Verdict.INCONCLUSIVE, None, Scope.NONE)),
        ([CLEAN], (), (Verdict.CLEAN, None, Scope.NONE)),
        ([CLEAN, UNCLEAR], (), (Verdict.CLEAN, None, Scope.NONE)),
        ([CLEAN, UNCLEAR], ("d.example:443",), (Verdict.INCONCLUSIVE, None, Scope.NONE)),
        ([CLEAN, UNCLEAR_EXAM], (), (Verdict.INCONCLUSIVE, None, Scope.NONE)),
        ([UNCLEAR], (), (Verdict.INCONCLUSIVE, None, Scope.NONE)),
        ([CLEAN, POSSIBLE, PROVEN], (), (Verdict.MIDDLEWARE, Confidence.PROVEN, Scope.SELECTIVE)),
        ([POSSIBLE, UNCLEAR_EXAM], (), (Verdict.MIDDLEWARE, Confidence.POSSIBLE, Scope.ALL)),
    ],
)
def test_network(results: list[Result], named: tuple[str, ...], answer: tuple[object, ...]) -> None:
    """The network's verdict, confidence and scope, whatever the order of its endpoints."""
    for order in itertools.permutations(results):
        assert table.decide_network(order, named=named)[:3] == answer


def test_coverage_by_category() -> None:
    """Each category is clear, decrypted, mixed or unknown."""
    clean_search = result("f.example", Verdict.CLEAN, category=Category.SEARCH)
    assert table.decide_network([CLEAN, PROVEN, UNCLEAR_EXAM]).coverage == {
        Category.OTHER: Coverage.CLEAR,
        Category.SEARCH: Coverage.DECRYPTED,
        Category.EXAM: Coverage.UNKNOWN,
    }
    assert table.decide_network([PROVEN, clean_search]).coverage == {Category.SEARCH: Coverage.MIXED}
