"""Second tries differ: in size and in address, and whatever answers any of them is an observation.

Room: tests of probe. In memory, most of it in virtual time.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final

import pytest
from detector_testing import PrivatePKI
from support.addresses import PLACES, Addressed, Behaviour, Fault
from support.conversations import HOST, exam
from support.simulation import simulate

from detector.model import Endpoint, Hello, Observation, Outcome
from detector.probe import ProbeOutcome, Timeouts, open_tls, probe
from detector.probe.client import ATTEMPTS_MAX

if TYPE_CHECKING:
    from detector_testing import Issued

ENDPOINT = Endpoint(host=HOST)
FORGED: Final[Issued] = PrivatePKI.create().private_ca("Filter CA").issue([HOST])
FIRST, SECOND, THIRD = PLACES

KINDS: Final = {
    "genuine": Behaviour(),
    "forged": Behaviour(FORGED, FORGED),
    **{f"no large hello, {fault.name}": Behaviour(large=fault) for fault in Fault},
    **{f"no hello, {fault.name}": Behaviour(fault, fault) for fault in Fault},
    **{f"first dropped, {fault.name}": Behaviour(first=fault) for fault in Fault},
    "first dropped, then forged": Behaviour(FORGED, FORGED, first=Fault.RESET),
    "no large hello, small ones forged": Behaviour(Fault.RESET, FORGED),
    "first dropped, then only large ones forged": Behaviour(FORGED, first=Fault.RESET),
    "first silent, then only large ones forged": Behaviour(FORGED, first=Fault.SILENCE),
}
"""What one address can do."""


def probed(
    *behaviours: Behaviour, deadline: float | None = 9.5, hello: Hello = Hello.BROWSER
) -> tuple[ProbeOutcome, Addressed, float]:
    """Probe a host whose addresses do this, in virtual time; returns what it took, too."""
    network = Addressed(*behaviours)

    async def run() -> tuple[ProbeOutcome, float]:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        until = None if deadline is None else begin + deadline
        outcome = await probe(ENDPOINT, dialer=network, deadline=until, hello=hello)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(0)
        return outcome, loop.time() - begin

    outcome, took = simulate(run)
    assert network.open == 0
    return outcome, network, took


def leaves(outcome: ProbeOutcome) -> set[bytes]:
    return {seen.chain[0].der for seen in outcome.observations if seen.chain}


def failures(observed: Observation) -> list[tuple[Outcome, bool, str | None]]:
    """The connections of a probe that got no certificate, silence as such however it ended."""
    silent = {Outcome.DEADLINE: Outcome.HANDSHAKE_TIMEOUT}
    failed = [(each.outcome, each.small_hello, each.address) for each in observed.earlier]
    if not observed.chain:
        failed.append((observed.outcome, observed.small_hello, observed.address))
    return [(silent.get(outcome, outcome), is_small, address) for outcome, is_small, address in failed]


def is_reached(*behaviours: Behaviour) -> bool:
    """Whether an address answers one of three attempts: the usual hello at the first, small ones at the next."""
    first, *others = behaviours
    if not isinstance(first.small, Fault):
        return True  # by the third
    return any(not isinstance(other.small, Fault) and other.first is None for other in others)


@pytest.mark.parametrize("hello", [Hello.BROWSER, Hello.OPENSSL])
@pytest.mark.parametrize("kinds", [*itertools.product(KINDS), *itertools.product(KINDS, KINDS)], ids="; ".join)
def test_every_pair_of_addresses(kinds: tuple[str, ...], hello: Hello) -> None:
    """Whatever two addresses do: no answer is dropped, every failure is reported, and what can answer does."""
    behaviours = [KINDS[kind] for kind in kinds]
    outcome, network, _ = probed(*behaviours, hello=hello)
    observed = outcome.observation
    assert leaves(outcome) == network.answers()
    assert sorted(failures(observed)) == sorted(network.faults())
    assert observed.attempts == len(network.connections) <= ATTEMPTS_MAX + 1
    assert bool(observed.chain) is is_reached(*behaviours)
    if observed.small_hello and observed.chain:  # only where the usual one got nothing from this address
        asked = [seen.answer for seen in network.connections if not seen.is_small and seen.address == observed.address]
        assert asked
        assert all(isinstance(answer, Fault) for answer in asked)


@pytest.mark.parametrize("fault", Fault)
def test_size_makes_the_difference(fault: Fault) -> None:
    """A box that cannot take two segments is passed; the usual hello fails twice where a small one gets through."""
    outcome, network, _ = probed(Behaviour(large=fault))
    assert (outcome.observation.outcome, outcome.observation.small_hello) == (Outcome.COMPLETE, True)
    assert failures(outcome.observation) == [(fault.value, False, FIRST)] * 2
    assert [seen.is_small for seen in network.connections] == [False, True, False]


@pytest.mark.parametrize("fault", Fault)
def test_the_address_makes_the_difference(fault: Fault) -> None:
    """Where another address answers, the usual hello is the one that counts, and it fails at the first alone."""
    outcome, _, __ = probed(Behaviour(fault, fault), Behaviour())
    assert (outcome.observation.address, outcome.observation.small_hello) == (SECOND, False)
    assert failures(outcome.observation) == [(fault.value, False, FIRST)]


def test_a_third_address() -> None:
    """Two dead addresses of different families do not hide the third."""
    dead = Behaviour(Fault.RESET, Fault.RESET)
    outcome, network, _ = probed(dead, dead, Behaviour())
    assert outcome.observation.address == THIRD
    assert [seen.address for seen in network.connections] == [FIRST, SECOND, THIRD, THIRD]


def test_the_first_connection_dropped_and_small_hellos_let_pass() -> None:
    """An interceptor that resets the first connection and decrypts only large hellos gains nothing by either."""
    outcome, _, __ = probed(Behaviour(FORGED, first=Fault.RESET))
    assert leaves(outcome) == {exam().leaf, FORGED.leaf}
    assert outcome.observation.chain[0].der == FORGED.leaf
    assert outcome.single.chain[0].der != FORGED.leaf
    assert not outcome.single.key_proved  # room for one: neither leaf clears anything


@pytest.mark.parametrize("deadline", [2.5, 5.0, 9.5, 29.5, None])
def test_a_black_hole_costs_no_more_than_its_limit(deadline: float | None) -> None:
    """There is time for the small hello, however short the deadline, and the limits of silence hold."""
    outcome, _, took = probed(Behaviour(large=Fault.SILENCE), deadline=deadline)
    assert outcome.observation.small_hello
    assert took == pytest.approx(min(deadline or 8.0, Timeouts.within(deadline).handshake), abs=0.1)


@pytest.mark.parametrize(("waits", "deadline"), [(2.2, 2.5), (7.9, 9.5), (8.0, 29.5), (20.0, 29.5), (7.9, None)])
@pytest.mark.parametrize("presented", [exam(), FORGED], ids=["genuine", "forged"])
def test_who_is_slow_is_waited_for(waits: float, deadline: float | None, presented: Issued) -> None:
    """A certificate that comes late comes from the first connection: no second try cuts it off."""
    outcome, network, took = probed(Behaviour(presented, presented, waits=waits, small_waits=waits), deadline=deadline)
    assert (outcome.observation.outcome, outcome.observation.small_hello) == (Outcome.COMPLETE, False)
    assert leaves(outcome) == network.answers() == {presented.leaf}
    assert took == pytest.approx(waits, abs=0.1)


def test_a_slow_interceptor_of_large_hellos_alone() -> None:
    """Eight seconds for the first certificate, while small hellos pass: both are seen within a deadline of 30 s."""
    outcome, _, took = probed(Behaviour(FORGED, waits=8.0), deadline=29.5)
    assert outcome.observation.chain[0].der == FORGED.leaf
    assert leaves(outcome) == {exam().leaf, FORGED.leaf}
    assert took == pytest.approx(8.0, abs=0.1)


async def test_the_first_answer_is_enough_to_go_on() -> None:
    """A connection that is kept waits for no other one: the silent ones are closed at once."""
    network = Addressed(Behaviour(Fault.SILENCE, Fault.SILENCE), Behaviour())
    opened = await open_tls(ENDPOINT, dialer=network, timeouts=Timeouts(handshake=0.5))
    assert opened.connection is not None
    assert (opened.observation.address, opened.observation.small_hello) == (SECOND, True)
    assert failures(opened.observation) == [(Outcome.HANDSHAKE_TIMEOUT, False, FIRST)]
    assert network.open == 1
    opened.connection.abort()


@pytest.mark.parametrize("after", [0.0, 1.0, 3.5, 6.2, 7.9])
@pytest.mark.parametrize("kind", ["no hello, SILENCE", "no large hello, SILENCE", "no hello, RESET"])
def test_cancelled_at_any_moment(after: float, kind: str) -> None:
    """No task and no connection is left, whichever connections were open."""
    network = Addressed(KINDS["no hello, SILENCE"], KINDS[kind])

    async def run() -> None:
        task = asyncio.create_task(probe(ENDPOINT, dialer=network))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(0)

    simulate(run)
    assert network.open == 0
