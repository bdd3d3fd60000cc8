"""The check `witness`: every way an answer can be, each with its finding, and what it must not be fooled by."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from detector.judge.checks import witness
from detector.judge.evidence import EndpointEvidence, NetworkEvidence
from detector.model import Outcome, WitnessObservation, WitnessOutcome
from detector.trust import envelope
from detector.trust.envelope import public_octets
from detector.witness import protocol
from detector.witness.protocol import HelloSeen, Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.testing import PrivatePKI

    Run = Callable[..., list[tuple[str, str]]]

EXAM = "exam.example.edu"
KEY, NEXT, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
NONCE, OURS, THEIRS = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
HELLO = "00" * 32


def body(*keys: Ed25519PrivateKey, exporter: bytes = OURS, nonce: bytes = NONCE, hello: str = HELLO) -> bytes:
    """What a witness that sees this answers."""
    statement = Statement(
        nonce=protocol.spell_nonce(nonce),
        exporter=exporter,
        client_hello=HelloSeen(sha256=hello, ja3="11" * 16),
        proxy_headers=(("via", "1.1 filter"),),
        time=dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC),
    )
    return protocol.sign(statement, keys or (KEY,))


@pytest.fixture
def asked(world: World, pki: PrivatePKI) -> Callable[..., EndpointEvidence]:
    """A case whose witness was asked, with these facts changed."""
    issued = pki.issue([EXAM])

    def case(keys: tuple[Ed25519PrivateKey, ...] = (KEY,), **facts: Any) -> EndpointEvidence:  # noqa: ANN401 - of WitnessObservation
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
        plain = world.case(EXAM, issued, witness=tuple(map(public_octets, keys)))
        return EndpointEvidence(
            plain.endpoint, msgspec.structs.replace(plain.observation, witness=observed), plain.context
        )

    return case


def test_equal_and_differs(asked: Callable[..., EndpointEvidence], run_check: Run) -> None:
    """One session has two equal ends; two sessions have different ones."""
    assert run_check(witness, asked()) == [("equal", "genuine")]
    assert run_check(witness, asked(body=body(exporter=THEIRS))) == [("differs", "intercepted")]


def test_a_session_without_binding_is_another_one(asked: Callable[..., EndpointEvidence], run_check: Run) -> None:
    """A witness whose session has no unique exporter is not at the end of ours, which has."""
    assert run_check(witness, asked(body=body(exporter=b""))) == [("differs", "intercepted")]


def test_without_a_binding_of_ours_nothing_is_compared(asked: Callable[..., EndpointEvidence], run_check: Run) -> None:
    """Not even with a witness that says the same nothing."""
    silent = asked(exporter=None, body=body(exporter=b""))
    old = asked(outcome=WitnessOutcome.NO_BINDING, exporter=None, body=b"", status=None)
    assert run_check(witness, silent) == run_check(witness, old) == [("no-binding", "neutral")]


def test_either_key_of_a_rotation(asked: Callable[..., EndpointEvidence], run_check: Run) -> None:
    """One pinned key of several that signed is enough, in any order; the comparison is the same."""
    for pinned, signing in (((KEY, NEXT), (KEY,)), ((NEXT,), (KEY, NEXT)), ((KEY,), (NEXT, KEY))):
        assert run_check(witness, asked(pinned, body=body(*signing))) == [("equal", "genuine")]
        differs = asked(pinned, body=body(*signing, exporter=THEIRS))
        assert run_check(witness, differs) == [("differs", "intercepted")]


@pytest.mark.parametrize(
    ("facts", "outcome", "says"),
    [
        ({"body": body(nonce=b"\x09" * 32)}, "replayed", "intercepted"),
        ({"body": body(nonce=b"\x09" * 32, exporter=THEIRS)}, "replayed", "intercepted"),
        ({"body": body(STRANGER)}, "unknown-key", "neutral"),
        ({"body": body().replace(b'"sig":"', b'"sig":"AAAA')}, "bad-signature", "intercepted"),
        ({"body": envelope.seal(b"{}", payload_type=protocol.PAYLOAD_TYPE, keys=())}, "unsigned", "neutral"),
        ({"body": envelope.seal(b"{}", payload_type="text/plain", keys=(KEY,))}, "other-type", "neutral"),
        ({"body": envelope.seal(b"{}", payload_type=protocol.PAYLOAD_TYPE, keys=(KEY,))}, "unreadable", "neutral"),
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
    facts: dict[str, Any], outcome: str, says: str, asked: Callable[..., EndpointEvidence], run_check: Run
) -> None:
    """Whatever is not a signed answer to this very question is told as it is, even beside an equal exporter."""
    assert run_check(witness, asked(**facts)) == [(outcome, says)]


def test_not_asked(world: World, pki: PrivatePKI, run_check: Run) -> None:
    """A finished handshake without a question is told; without a handshake of ours there is nothing to tell."""
    issued, keys = pki.issue([EXAM]), (public_octets(KEY),)
    assert run_check(witness, world.case(EXAM, issued, witness=keys)) == [("not-asked", "neutral")]
    for outcome in (Outcome.EXAMINED, Outcome.RESET):
        assert run_check(witness, world.case(EXAM, issued, outcome=outcome, witness=keys)) == []


def test_no_witness_is_pinned(asked: Callable[..., EndpointEvidence], run_check: Run) -> None:
    """Without a pinned key an answer means nothing, whatever it says."""
    assert run_check(witness, asked(())) == []


def test_what_the_witness_saw_is_told(asked: Callable[..., EndpointEvidence]) -> None:
    """The finding repeats what helps to find out who is in between."""
    case = asked(body=body(exporter=THEIRS, hello="22" * 32))
    (finding,) = witness.check(case, NetworkEvidence.of([case]))
    assert finding.data["client_hello_unchanged"] is False
    assert finding.data["ja3"] == "11" * 16
    assert finding.data["proxy_headers"] == [["via", "1.1 filter"]]


def test_a_mutilated_answer_never_clears(asked: Callable[..., EndpointEvidence], run_check: Run) -> None:
    """Any octet of the answer changed: it is never taken for a difference either, which would accuse."""
    genuine = body()
    for at in range(0, len(genuine), 7):
        damaged = genuine[:at] + bytes([genuine[at] ^ 0x01]) + genuine[at + 1 :]
        ((outcome, _),) = run_check(witness, asked(body=damaged))
        assert outcome not in {"differs", "replayed"}
