"""Check `second-try`: whether the certificate came in answer to what was sent first (docs/hello-and-quic.md).

Room: judge. Pure. Feeds `other-hello`, and silences two rules for an unreadable chain that was replaced.

A probe that gets no certificate connects again: with a smaller hello of the same profile, at another address, at last
with another profile's hello. The first two ask the same endpoint as the same kind of client, and the report says that
size or address made the difference: a fault to repair, and no sign of interception. Another profile's hello is another
kind of client: what it gets says nothing of what the first kind gets.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from detector.judge.compare import HELLO_NAME
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Outcome as Ended

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.model import FailedAttempt, Finding

ID: Final = "second-try"
QUESTION: Final = "Did the first connection get this certificate?"


class Outcome(CheckOutcome, check=ID):
    """What made the difference; or what an observation is in place of, or is replaced by."""

    SIZE = (
        "size",
        (
            "The usual ClientHello got no answer and a smaller one did. Something on the path cannot take a hello of "
            "two TCP segments: a fault to repair, and no sign of interception."
        ),
    )
    ADDRESS = "address", "One address of the endpoint did not answer, another one did: a fault to repair."
    SIZE_OR_ADDRESS = (
        "size-or-address",
        "A smaller ClientHello at another address got an answer; the size or the address made the difference.",
    )
    OTHER_HELLO = (
        "other-hello",
        (
            "Only the hello of another kind of program got a certificate. It says nothing of what the first kind "
            "gets, so it cannot clear."
        ),
    )
    UNANSWERED = (
        "unanswered",
        (
            "The hello that was asked for first got no certificate, while other observations did. Nothing clears in "
            "its place."
        ),
    )
    SUPERSEDED = (
        "superseded",
        (
            "The chain cannot be verified here, and to a client that offers only what can be verified the server "
            "sends a readable one. The unreadable one is held against nobody."
        ),
    )


HELLO_SENT: Final = frozenset(
    {
        *(Ended.RESET, Ended.CLOSED, Ended.HANDSHAKE_TIMEOUT, Ended.DEADLINE),
        *(Ended.NOT_TLS, Ended.TLS_ALERT, Ended.TLS_FAILURE, Ended.TOO_LARGE),
    }
)
"""Outcomes of connections on which the ClientHello was sent: its size can only matter there."""

_SIZE: Final = "Only a ClientHello without an ML-KEM key share got an answer here; the full one did not ({outcome})."
_ADDRESS: Final = "Another address of this endpoint did not answer ({outcome}); this one did."
_EITHER: Final = (
    "A smaller ClientHello at another address got an answer; the full one did not ({outcome}). The size or the "
    "address made the difference."
)


def check(evidence: EndpointEvidence) -> Findings:
    """What distinguishes this connection from those before it; where it has no certificate, whether another has one."""
    if evidence.leaf is None:
        yield from _unanswered(evidence)
        return
    if evidence.is_stand_in:
        first = evidence.observation.earlier[0]
        yield Outcome.OTHER_HELLO.found(
            f"No certificate answers {HELLO_NAME[first.hello]} ({first.outcome}); this one answers "
            f"{HELLO_NAME[evidence.observation.hello]}.",
            hello=evidence.observation.hello,
            first_hello=first.hello,
            first_outcome=first.outcome,
        )
    else:
        yield from _differences(evidence)
    if evidence.is_superseded:
        yield Outcome.SUPERSEDED.found(
            "To a hello that offers only what can be verified here, a chain was presented that can be."
        )


def _unanswered(evidence: EndpointEvidence) -> Findings:
    """Whether a certificate was presented on this route, and none to this hello."""
    shown = [one for one in evidence.siblings if one.leaf is not None and one.route == evidence.route]
    if shown and not any(one.answers(evidence.asked) for one in shown):
        others = dict.fromkeys("QUIC" if one.is_quic else HELLO_NAME[one.observation.hello] for one in shown)
        first = "QUIC" if evidence.is_quic else HELLO_NAME[evidence.asked.hello]
        yield Outcome.UNANSWERED.found(
            f"No certificate answers {first} ({evidence.observation.outcome}); one answers {', '.join(others)}.",
            hello=evidence.asked.hello,
            first_outcome=evidence.observation.outcome,
            answered=list(others),
        )


def _differences(evidence: EndpointEvidence) -> Findings:
    """Whether a smaller hello of the same profile, or another address, made the difference."""
    observation, here = evidence.observation, evidence.observation.address
    full = [failed for failed in observation.earlier if observation.small_hello and _is_full(failed)]
    if full:
        same = next((failed for failed in full if failed.address == here), None)
        yield _found(Outcome.SIZE, _SIZE, same) if same else _found(Outcome.SIZE_OR_ADDRESS, _EITHER, full[0])
    moved = (failed for failed in observation.earlier if failed not in full and failed.address not in {None, here})
    for failed in islice(moved, 1):
        yield _found(Outcome.ADDRESS, _ADDRESS, failed)


def _is_full(failed: FailedAttempt) -> bool:
    return not failed.small_hello and failed.outcome in HELLO_SENT


def _found(outcome: Outcome, summary: str, failed: FailedAttempt) -> Finding:
    return outcome.found(summary.format(outcome=failed.outcome), address=failed.address, first_outcome=failed.outcome)
