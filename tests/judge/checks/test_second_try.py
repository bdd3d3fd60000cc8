"""The check `second-try`: what made the difference between a connection and those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from support.odd_keys import GOST_2012, rewritten
from support.worlds import EXAM, of_check, outcomes, said

from detector.judge.checks import second_try
from detector.model import Audience, Category, FailedAttempt, Hello, Meaning, Outcome, Route

if TYPE_CHECKING:
    from conftest import World

HERE: Final = "93.184.216.34:443"
OTHER: Final = "[2606:2800:220:1::1]:443"
BROWSER: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": HERE, "hello": Hello.BROWSER}
SMALL: Final[dict[str, Any]] = {**BROWSER, "small_hello": True}
GONE: Final[dict[str, Any]] = {"key_proved": False, "outcome": Outcome.RESET}


def failed(
    outcome: Outcome = Outcome.RESET, address: str | None = HERE, hello: Hello = Hello.BROWSER, *, small: bool = False
) -> FailedAttempt:
    return FailedAttempt(outcome=outcome, hello=hello, small_hello=small, address=address)


def test_silence_where_others_are_answered(world: World) -> None:
    """An observation without a certificate says who got one on its route; not where its own hello did, too."""
    issued = world.pki.issue([EXAM])
    for others, expected in (
        ([], []),
        ([{**BROWSER, "hello": Hello.OPENSSL}], ["unanswered"]),
        ([{**BROWSER, "hello": Hello.READABLE}], ["unanswered"]),
        ([{**BROWSER, "route": Route.QUIC}], ["unanswered"]),
        ([{**BROWSER, "earlier": (failed(hello=Hello.FIREFOX),)}], ["unanswered"]),
        ([{**BROWSER, "address": OTHER}], []),
        ([{**BROWSER, "hello": Hello.OPENSSL}, {**BROWSER, "address": OTHER}], []),
        ([{**BROWSER, "route": Route.HTTP_CONNECT}], []),
    ):
        seen = [world.observed(issued, **facts) for facts in others]
        case = world.case(EXAM, [], seen={**BROWSER, **GONE}, others=seen, key_proved=False)
        assert outcomes(second_try, case) == expected
    case = world.case(EXAM, [], seen={**BROWSER, **GONE}, others=[world.observed(issued, **BROWSER, key_kind=None)])
    assert outcomes(second_try, case.siblings[0]) == []


CASES: Final[dict[str, tuple[dict[str, Any], tuple[FailedAttempt, ...], list[str]]]] = {
    "nothing failed": (BROWSER, (), []),
    "the first connection was dropped": (BROWSER, (failed(),), []),
    "small from the beginning": (SMALL, (), []),
    "the full hello was reset here": (SMALL, (failed(),), ["size"]),
    "the full hello got silence here": (SMALL, (failed(Outcome.HANDSHAKE_TIMEOUT),), ["size"]),
    "the full hello was reset elsewhere": (SMALL, (failed(address=OTHER),), ["size-or-address"]),
    "elsewhere and then here": (SMALL, (failed(address=OTHER), failed()), ["size"]),
    "the address is not recorded": (SMALL, (failed(address=None),), ["size-or-address"]),
    "the other address is dead": (BROWSER, (failed(Outcome.CONNECT_TIMEOUT, OTHER),), ["address"]),
    "dead, then small": (SMALL, (failed(Outcome.CONNECT_TIMEOUT, OTHER),), ["address"]),
    "dead, then full here": (SMALL, (failed(Outcome.UNREACHABLE, OTHER), failed()), ["size", "address"]),
    "small elsewhere, full here": (BROWSER, (failed(address=OTHER, small=True),), ["address"]),
    "another profile": ({**BROWSER, "hello": Hello.WIDEST}, (failed(Outcome.TLS_ALERT),), ["other-hello"]),
    "another profile, small": ({**SMALL, "hello": Hello.WIDEST}, (failed(), failed(small=True)), ["other-hello"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_made_the_difference(name: str, world: World) -> None:
    """Size where the full hello failed at this address, address where another one failed; else either of them."""
    seen, earlier, expected = CASES[name]
    case = world.case(EXAM, world.pki.issue([EXAM]), seen={**seen, "earlier": earlier})
    found = of_check(second_try, case)
    assert [finding.outcome for finding in found] == expected
    assert {finding.says for finding in found} <= {Meaning.NEUTRAL}
    assert all(any(str(one.outcome) in finding.summary for one in earlier) for finding in found)


@pytest.mark.parametrize("name", [name for name, (*_, expected) in CASES.items() if "other-hello" not in expected])
def test_it_stays_clean_and_it_can_repair_it(name: str, world: World) -> None:
    """Neither size nor address is held against the network; advice for IT names the fault and the address."""
    seen, earlier, expected = CASES[name]
    result = world.one(EXAM, world.pki.issue([EXAM]), seen={**seen, "earlier": earlier})
    assert said(result) == ("logged", "logged")
    assert result.advice == ""
    advice = result.advice_for.get(Audience.IT, "")
    assert ("two TCP segments" in advice) == bool({"size", "size-or-address"} & {*expected})
    assert (OTHER in advice) == (any(one.address == OTHER for one in earlier) and expected != ["size"])
    assert bool(result.advice_for) == bool(expected)


def test_the_fault_is_reported_besides_what_is_found(world: World) -> None:
    """A box that forges and cannot take a large hello has both said of it."""
    forged = world.pki.private_ca("School CA").issue([EXAM])
    seen = {**SMALL, "earlier": (failed(),)}
    result = world.one(EXAM, forged, seen=seen, canary=True, category=Category.EXAM)
    assert said(result) == ("proven", "identity-substituted")
    assert "Exempt from TLS decryption" in result.advice_for[Audience.IT]
    assert "two TCP segments" in result.advice_for[Audience.IT]


def test_an_unreadable_chain_that_a_readable_one_replaced(world: World) -> None:
    """It clears nothing and its form is not held against anybody; what it shows otherwise still is."""
    issued = world.pki.issue([EXAM])
    unreadable = (rewritten(issued.leaf, algorithm=GOST_2012), *issued.chain[1:])
    readable = world.observed(issued, **{**BROWSER, "hello": Hello.READABLE})
    pinned: dict[str, Any] = {"pins": (world.pki.intermediate_ec.spki_sha256,)}
    case = world.case(EXAM, unreadable, seen=BROWSER, others=[readable], canary=True, **pinned)
    assert outcomes(second_try, case) == ["superseded"]
    assert said(world.judge(case)[0]) == ("pinned", "pinned-ca")
    replayed = {**BROWSER, "key_proved": False, "outcome": Outcome.SIGNATURE_WRONG}
    accused = world.case(EXAM, unreadable, seen=replayed, others=[readable], canary=True)
    assert said(world.judge(accused)[0]) == ("probable", "replayed-chain")
