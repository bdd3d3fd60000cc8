"""The floor: what a gate probes whatever is asked for, over generated policies, pin files, requests and targets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import Category, Detector, Endpoint
from detector.errors import RequestError
from detector.exam import Action, Policy, gate
from detector.exam.gatekeeper import plan, serve_request
from detector.exam.protocol import Request
from detector.pins import PinSet
from detector.probe.mock import MockNetwork
from detector.session.seams import Seams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from detector.exam import Decision

HOSTS = tuple(f"h{number}.example" for number in range(6))
_HOST = st.sampled_from(HOSTS)
_ENDPOINT = st.builds(
    Endpoint,
    host=_HOST,
    category=st.sampled_from([Category.EXAM, Category.LMS, Category.SEARCH]),
    witness=st.sampled_from([(), (bytes(32),)]),
)
_PINS = st.lists(_ENDPOINT, max_size=len(HOSTS), unique_by=lambda endpoint: endpoint.host)
_TARGET = _HOST | st.builds(
    Endpoint, host=_HOST, witness=st.just((bytes(32),)), address=st.sampled_from([None, ("192.0.2.1", 443)])
)


def ready_with(pins: Sequence[Endpoint]) -> Detector:
    """A detector of these pins, on a network without any server."""
    return Detector(pins=PinSet(name="test", endpoints=tuple(pins)), seams=Seams(dialer=MockNetwork({})), offline=True)


def floor_of(policy: Policy, pins: Sequence[Endpoint]) -> set[Endpoint]:
    """What must be probed, written down a second time."""
    known = {endpoint.host: endpoint for endpoint in pins}
    hosts = {name.removesuffix(":443") for name in (*policy.endpoints, *_witnessed(policy))}
    return {
        *(endpoint for endpoint in pins if endpoint.category is Category.EXAM),
        *(known.get(host, Endpoint(host=host)) for host in hosts),
    }


def _witnessed(policy: Policy) -> tuple[str, ...]:
    return () if isinstance(policy.require_witness, str) else policy.require_witness


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Policy, list[Endpoint]]:
    """A policy and the endpoints of its pin files; only what has a key may have to be witnessed."""
    pins = draw(_PINS)
    witnesses = [endpoint.host for endpoint in pins if endpoint.witness]
    required = draw(st.lists(st.sampled_from(witnesses), max_size=2)) if witnesses else []
    return Policy(endpoints=tuple(draw(st.lists(_HOST, max_size=3))), require_witness=tuple(required)), pins


class TestPlan:
    @given(worlds(), st.none() | st.lists(_TARGET, max_size=4))
    def test_targets_add_and_take_nothing_away(
        self, world: tuple[Policy, list[Endpoint]], targets: list[str | Endpoint] | None
    ) -> None:
        """Whatever a caller asks for, the floor is probed as the files describe it, and what is asked for is, too."""
        policy, pins = world
        planned = plan(ready_with(pins), policy, targets)
        assert floor_of(policy, pins) <= set(planned.endpoints)
        assert {target for target in targets or () if isinstance(target, Endpoint)} <= set(planned.endpoints)
        asked = {target if isinstance(target, str) else target.host for target in targets or ()}
        assert {f"{host}:443" for host in asked} | set(policy.endpoints) == planned.named
        assert planned.named <= planned.required(policy)

    @given(worlds(), st.lists(_HOST, max_size=4))
    def test_requests_add_and_take_nothing_away(self, world: tuple[Policy, list[Endpoint]], asked: list[str]) -> None:
        """A client's request has the floor probed and confirmed, within any deadline, or is refused."""
        policy, pins = world
        ready = ready_with(pins)
        request = Request(endpoints=tuple(asked), deadline=0.1)
        known = {endpoint.host for endpoint in pins} | {name.removesuffix(":443") for name in policy.endpoints}
        if not set(asked) <= known:
            with pytest.raises(RequestError):
                asyncio.run(serve_request(request, policy=policy, detector=ready))
            return
        decision = asyncio.run(serve_request(request, policy=policy, detector=ready))
        floor = {endpoint.name for endpoint in floor_of(policy, pins)}
        assert floor <= {result.endpoint.name for result in decision.report.results}
        unconfirmed = {name for reason in decision.reasons[:1] for name in reason.endpoints}
        assert decision.action is Action.BLOCK  # nothing answers on this network
        assert floor <= unconfirmed | {name for reason in decision.reasons for name in reason.endpoints}

    def test_an_endpoint_at_another_address_is_one_more(self) -> None:
        """A caller's endpoint of a name in the floor does not replace the institution's."""
        exam = Endpoint(host=HOSTS[0], category=Category.EXAM, pins=(bytes(32),))
        elsewhere = Endpoint(host=HOSTS[0], address=("192.0.2.1", 443))
        assert plan(ready_with([exam]), Policy(), [elsewhere]).endpoints == (exam, elsewhere)

    def test_shipped_pin_files_are_nobodys_choice(self) -> None:
        """Exam services in the shipped files are probed where nothing is named, and no other time."""
        shipped = Detector(seams=Seams(dialer=MockNetwork({})), offline=True)
        everything = {endpoint.name for endpoint in shipped.pins.endpoints}
        assert {endpoint.name for endpoint in plan(shipped, Policy()).endpoints} == everything
        assert [e.host for e in plan(shipped, Policy(endpoints=(HOSTS[0],))).endpoints] == [HOSTS[0]]
        assert [e.host for e in plan(shipped, Policy(), [HOSTS[0]]).endpoints] == [HOSTS[0]]


@pytest.mark.parametrize("ask", [(), (HOSTS[1],)])
async def test_every_entry_point_has_the_same_floor(ask: tuple[str, ...]) -> None:
    """With a detector that is given, with options, and by request: the intercepted or silent exam is not left out."""
    pins = [Endpoint(host=HOSTS[0], category=Category.EXAM), Endpoint(host=HOSTS[1], category=Category.LMS)]
    ready, policy = ready_with(pins), Policy(endpoints=(HOSTS[1],))
    options: dict[str, Any] = {"pins": ready.pins, "seams": Seams(dialer=MockNetwork({})), "offline": True}
    entries: tuple[Callable[[], Awaitable[Decision]], ...] = (
        lambda: gate(ask or None, policy=policy, detector=ready),
        lambda: gate(ask or None, policy=policy, **options),
        lambda: serve_request(Request(endpoints=ask), policy=policy, detector=ready),
    )
    for entry in entries:
        decision = await entry()
        assert {result.endpoint.host for result in decision.report.results} == {HOSTS[0], HOSTS[1]}
        assert decision.action is Action.BLOCK
