"""What the guard refuses, without a network: any chain, any order, any number of hosts."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.guarding import EXAM, LMS, guard_of
from support.profiles import examples

from detector.errors import InputError, ProxyError, TargetError
from detector.exam import Policy
from detector.guard import Guard
from detector.guard.connector import _basic_credentials
from detector.guard.guard import REMEMBERED_MAX
from detector.model import Endpoint, Observation, Outcome, RecordedIdentity
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import World

    from detector.guard import Assessment


def seen(chain: Sequence[bytes], *, outcome: Outcome = Outcome.COMPLETE, key_proved: bool = True) -> Observation:
    """An observation of this chain."""
    presented = tuple(Certificate.read(der).presented() for der in chain)
    return Observation(outcome=outcome, key_proved=key_proved, scts_carried=True, chain=presented)


def judge(guard: Guard, host: str, chain: Sequence[bytes]) -> Assessment:
    """Judge a finished handshake with this chain."""
    return guard.assess(guard.endpoint(host, 443), seen(chain))


def _basic(credentials: bytes) -> str:
    return "Basic " + base64.b64encode(credentials).decode()


@pytest.mark.parametrize(
    ("outcome", "key_proved"),
    [
        (Outcome.COMPLETE, False),
        (Outcome.TLS_FAILURE, True),
        (Outcome.TLS_FAILURE, False),
        (Outcome.DEADLINE, False),
        (Outcome.RESET, False),
    ],
)
def test_a_clean_chain_alone_is_not_enough(world: World, outcome: Outcome, *, key_proved: bool) -> None:
    """However good the chain is, pinned even: without a finished handshake and a proved key nothing is let through."""
    issued = world.pki.issue([EXAM])
    for endpoint in (Endpoint(host=EXAM), Endpoint(host=EXAM, pins=(issued.spki_sha256,))):
        guard = guard_of(world, endpoint)
        assessed = guard.assess(endpoint, seen(issued.chain, outcome=outcome, key_proved=key_proved))
        assert assessed.refused == "unconfirmed"
        assert assessed.message.startswith(f"{EXAM}:443: ")
        assert assessed.advice


def test_a_clock_that_is_wrong_is_reported(world: World) -> None:
    """A device whose clock is years behind is asked to set it, and goes no further."""
    guard = guard_of(world, clock=lambda: world.pki.now - dt.timedelta(days=700))
    assessed = judge(guard, EXAM, world.pki.issue([EXAM]).chain)
    assert assessed.refused == "certificate"
    assert "not valid yet (valid from" in assessed.message
    assert f"clock says {world.pki.now - dt.timedelta(days=700):%Y-%m-%d}" in assessed.message


def test_nothing_refused_says_nothing(world: World) -> None:
    """What may go on carries its result and no words."""
    assessed = judge(guard_of(world), EXAM, world.pki.issue([EXAM]).chain)
    assert (assessed.refused, assessed.message, assessed.advice) == (None, "", "")
    assert assessed.report.results == (assessed.result,)
    assert assessed.result.verdict == "clean"


def test_memory_is_bounded(world: World) -> None:
    """Any number of hosts costs no more than so many, and what was met last counts longest."""
    guard = guard_of(world)
    ca = world.pki.private_ca("School CA", one_leaf_key=True)
    assert judge(guard, LMS, ca.issue([LMS]).chain).result.reason == "private-chain"
    issued = world.pki.issue([EXAM])
    for number in range(REMEMBERED_MAX - 1):
        guard.assess(Endpoint(host=EXAM, port=1000 + number), seen(issued.chain))
    assert judge(guard, "a.example.net", ca.issue(["a.example.net"]).chain).result.reason == "one-private-signer"
    for number in range(REMEMBERED_MAX):
        guard.assess(Endpoint(host=EXAM, port=1000 + number), seen(issued.chain))
    assert judge(guard, "b.example.com", ca.issue(["b.example.com"]).chain).result.reason == "private-chain"
    assert len(guard._memory._seen) == REMEMBERED_MAX


def test_what_substituted_one_host_accuses_on_the_next(world: World) -> None:
    """The key that took the place of a known certificate is known from then on; another one is not accused by it."""
    pinned = Endpoint(host=EXAM, pins=(bytes(32),), identity=RecordedIdentity.PUBLIC)
    guard, ca = guard_of(world, pinned), world.pki.private_ca("Filter CA", one_leaf_key=True)
    assert judge(guard, LMS, ca.issue([LMS]).chain).result.reason == "private-chain"
    assert judge(guard, EXAM, ca.issue([EXAM]).chain).result.reason == "identity-substituted"
    known = judge(guard, LMS, ca.issue([LMS]).chain)
    assert (known.result.reason, known.result.confidence) == ("signer-substitutes-elsewhere", "proven")
    assert known.refused == "middleware"
    other = judge(guard, LMS, world.pki.private_ca("Filter CA").issue([LMS]).chain)
    assert (other.result.reason, other.refused) == ("private-chain", "certificate")


def test_endpoints(world: World) -> None:
    """Pins are found by host and port, in any notation of the host."""
    pinned = Endpoint(host=EXAM, port=8443, pins=(bytes(32),))
    guard = guard_of(world, pinned, Endpoint(host=LMS), Endpoint(host=LMS, port=8443))
    assert guard.endpoint("EXAM.example.edu.", 8443) is pinned
    assert guard.endpoint(EXAM, 443) == Endpoint(host=EXAM)
    assert guard.endpoint(EXAM) is pinned
    assert guard.endpoint("2001:DB8::1", 443).name == "[2001:db8::1]:443"
    with pytest.raises(InputError, match="several ports"):
        guard.endpoint(LMS)
    with pytest.raises(TargetError):
        guard.endpoint("exam.example.edu/answers", 443)


def test_shipped_pins_are_the_default() -> None:
    """Without settings the guard knows what the package ships."""
    guard = Guard()
    assert guard.pins.endpoints
    assert guard.policy == Policy()


@settings(max_examples=examples(150))
@given(where=st.integers(0, 1 << 16), byte=st.integers(1, 255))
def test_damaged_chains_are_refused(world: World, where: int, byte: int) -> None:
    """One byte changed anywhere in a genuine leaf: never an exception, never let through."""
    chain = list(world.pki.issue([EXAM]).chain)
    at = where % len(chain[0])
    chain[0] = chain[0][:at] + bytes((chain[0][at] ^ byte,)) + chain[0][at + 1 :]
    assert judge(guard_of(world), EXAM, chain).refused is not None


@settings(max_examples=examples(100))
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_arbitrary_chains_are_refused(world: World, chain: list[bytes]) -> None:
    """Bytes that are no certificates, and none at all: never an exception, never let through."""
    assert judge(guard_of(world), EXAM, chain).refused is not None


@given(st.text(max_size=60) | st.text(max_size=30).map("Basic ".__add__) | st.binary(max_size=30).map(_basic))
def test_proxy_authorization_is_read_or_refused(header: str) -> None:
    """Any header value gives credentials or `ProxyError`, and nothing else."""
    with contextlib.suppress(ProxyError):
        username, _ = _basic_credentials(header)
        assert ":" not in username
