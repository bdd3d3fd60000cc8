"""The check `witness`: every form of an answer, each with its finding, and what it must not be fooled by."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.worlds import EXAM, of_check

from detector.judge.checks import witness
from detector.judge.witness_answer import WitnessResult
from detector.model import Outcome, WitnessObservation, WitnessOutcome
from detector.trust import envelope, witness_statement
from detector.trust.envelope import public_key_of
from detector.trust.witness_statement import BrowserClaim, HelloSeen, Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.judge.evidence import EndpointEvidence

KEY, NEXT, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
NONCE, OURS, THEIRS = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
HELLO, JA4 = "00" * 32, "t13d0811h1_48922242edce_ef081fd03dcb"


def body(*keys: Ed25519PrivateKey, exporter: bytes = OURS, nonce: bytes = NONCE, hello: str = HELLO) -> bytes:
    """What a witness that sees this answers."""
    statement = Statement(
        nonce=witness_statement.encode_nonce(nonce),
        exporter=exporter,
        client_hello=HelloSeen(sha256=hello, ja4=JA4),
        browser=BrowserClaim(family="chromium", major=156, contradictions=("no-reserved-values",)),
        proxy_headers=(("via", "1.1 filter"),),
        time=dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC),
    )
    return witness_statement.sign(statement, keys or (KEY,))


@pytest.fixture
def asked(world: World) -> Callable[..., EndpointEvidence]:
    """An endpoint whose witness was asked, with these facts changed."""
    issued = world.pki.issue([EXAM])

    def case(keys: tuple[Ed25519PrivateKey, ...] = (KEY,), *, is_end: bool = False, **facts: Any) -> EndpointEvidence:  # noqa: ANN401 - of WitnessObservation
        observed = WitnessObservation(
            **{
                "outcome": WitnessOutcome.ANSWERED,
                "nonce": NONCE,
                "exporter": OURS,
                "client_hello_sha256": HELLO,
                "status": 200,
                "body": body(),
                **facts,
            }
        )
        pinned = tuple(map(public_key_of, keys))
        return world.case(EXAM, issued, witness=pinned, witness_is_end=is_end, seen={"witness": observed})

    return case


def said(case: EndpointEvidence) -> list[tuple[str, str]]:
    """The findings on this observation: what came out, and what it covers."""
    return [(finding.outcome, str(finding.says)) for finding in of_check(witness, case)]


def test_equal_and_differs(asked: Callable[..., EndpointEvidence]) -> None:
    """One session has two equal ends; two sessions have different ones."""
    assert said(asked()) == [("equal", "genuine")]
    assert said(asked(body=body(exporter=THEIRS))) == [("differs", "intercepted")]


def test_a_session_without_binding_is_another_one(asked: Callable[..., EndpointEvidence]) -> None:
    """A witness whose session has no unique exporter is not at the end of ours, which has."""
    assert said(asked(body=body(exporter=b""))) == [("differs", "intercepted")]


def test_without_a_binding_of_ours_nothing_is_compared(asked: Callable[..., EndpointEvidence]) -> None:
    """Not even with a witness that says the same nothing."""
    silent = asked(exporter=None, body=body(exporter=b""))
    old = asked(outcome=WitnessOutcome.NO_BINDING, exporter=None, body=b"", status=None)
    assert said(silent) == said(old) == [("no-binding", "neutral")]


def test_either_key_of_a_rotation(asked: Callable[..., EndpointEvidence]) -> None:
    """One pinned key of several that signed is enough, in any order; the comparison is the same."""
    for pinned, signing in (((KEY, NEXT), (KEY,)), ((NEXT,), (KEY, NEXT)), ((KEY,), (NEXT, KEY))):
        assert said(asked(pinned, body=body(*signing))) == [("equal", "genuine")]
        differs = asked(pinned, body=body(*signing, exporter=THEIRS))
        assert said(differs) == [("differs", "intercepted")]


@pytest.mark.parametrize(
    ("facts", "outcome", "says"),
    [
        ({"body": body(nonce=b"\x09" * 32)}, "replayed", "intercepted"),
        ({"body": body(nonce=b"\x09" * 32, exporter=THEIRS)}, "replayed", "intercepted"),
        ({"body": body(STRANGER)}, "unknown-key", "neutral"),
        ({"body": body().replace(b'"sig":"', b'"sig":"AAAA')}, "bad-signature", "intercepted"),
        ({"body": envelope.seal(b"{}", payload_type=witness_statement.PAYLOAD_TYPE, keys=())}, "unsigned", "neutral"),
        ({"body": envelope.seal(b"{}", payload_type="text/plain", keys=(KEY,))}, "other-type", "neutral"),
        (
            {"body": envelope.seal(b"{}", payload_type=witness_statement.PAYLOAD_TYPE, keys=(KEY,))},
            "unreadable",
            "neutral",
        ),
        ({"body": b"<!doctype html>"}, "unreadable", "neutral"),
        ({"status": 404}, "refused", "neutral"),
        ({"status": None}, "refused", "neutral"),
        ({"outcome": WitnessOutcome.TIMEOUT}, "no-answer", "neutral"),
        ({"outcome": WitnessOutcome.CLOSED}, "no-answer", "neutral"),
        ({"outcome": WitnessOutcome.NOT_HTTP}, "no-answer", "neutral"),
        ({"outcome": WitnessOutcome.TOO_LARGE}, "no-answer", "neutral"),
    ],
)
def test_no_answer_to_our_question(
    facts: dict[str, Any], outcome: str, says: str, asked: Callable[..., EndpointEvidence]
) -> None:
    """Whatever is not a signed answer to this very question is reported unchanged, even with an equal exporter."""
    assert said(asked(**facts)) == [(outcome, says)]


def test_not_asked(world: World) -> None:
    """A finished handshake without a question says so; without a handshake of ours there is nothing to say."""
    issued, keys = world.pki.issue([EXAM]), (public_key_of(KEY),)
    assert said(world.case(EXAM, issued, witness=keys)) == [("not-asked", "neutral")]
    for outcome in (Outcome.EXAMINED, Outcome.RESET):
        assert said(world.case(EXAM, issued, outcome=outcome, witness=keys)) == []


def test_no_witness_is_pinned(asked: Callable[..., EndpointEvidence]) -> None:
    """Without a pinned key an answer means nothing, whatever it says."""
    assert said(asked(())) == []


def test_what_the_witness_saw_is_reported(asked: Callable[..., EndpointEvidence]) -> None:
    """The finding repeats what helps to find out who is in between."""
    (finding,) = of_check(witness, asked(body=body(exporter=THEIRS, hello="22" * 32)))
    assert finding.data["client_hello_unchanged"] is False
    assert finding.data["ja4"] == JA4
    assert (finding.data["browser"], finding.data["contradictions"]) == ("chromium", ["no-reserved-values"])
    assert finding.data["proxy_headers"] == [["via", "1.1 filter"]]


def test_a_mutilated_answer_never_clears(asked: Callable[..., EndpointEvidence]) -> None:
    """Any byte of the answer changed: it is never taken for a difference either, which would accuse."""
    genuine = body()
    for at in range(0, len(genuine), 7):
        damaged = genuine[:at] + bytes([genuine[at] ^ 0x01]) + genuine[at + 1 :]
        ((outcome, _),) = said(asked(body=damaged))
        assert outcome not in {"differs", "replayed"}


def test_a_witness_that_ends_tls_itself(asked: Callable[..., EndpointEvidence]) -> None:
    """That nothing of the operator's stands in front of it is said where there is an answer, of whatever kind."""
    assert said(asked(is_end=True)) == [("equal", "genuine"), ("ends-tls-itself", "neutral")]
    assert said(asked(is_end=True, status=404))[1] == ("ends-tls-itself", "neutral")
    assert said(asked((), is_end=True)) == []


def test_silent_results() -> None:
    """Every result that does not show which session the witness saw is called silent."""
    assert {str(one) for one in witness.SILENT} == {
        *(str(one) for one in WitnessResult if one not in {"equal", "differs", "same-key", "ends-tls-itself"})
    }
