"""Where TLS ends early: only what the evidence says, and unknown where it says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.results import found
from support.worlds import DAY, EXAM, LMS, named, sent

from detector.judge.checks import machine_root, tls_location
from detector.judge.locality import IN_NETWORK, LOCAL_CONNECT_MS, ON_DEVICE, REMOTE_CONNECT_MS, locate
from detector.model import PROXIED, Locality, Observation, Outcome, Route
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from conftest import World


def observed(connect: float | None, *, route: Route = Route.DIRECT, address: str = "192.0.2.7:443") -> Observation:
    timings = {} if connect is None else {"connect": connect}
    return Observation(outcome=Outcome.COMPLETE, route=route, address=address, timings_ms=timings)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1:8080", Locality.THIS_DEVICE),
        ("[::1]:8080", Locality.THIS_DEVICE),
        ("10.0.0.1:3128", Locality.CONFIGURED_PROXY),
        ("proxy.example.edu:3128", Locality.CONFIGURED_PROXY),
    ],
)
def test_a_configured_proxy(address: str, place: Locality) -> None:
    """A proxy on loopback is this device, whatever its product; any other is the configured proxy."""
    for route in PROXIED:
        assert locate(observed(1, route=route, address=address), "network-appliance")[0] is place


def test_categories_of_products() -> None:
    """Some kinds run on the device they filter, some between machines, and school filters come in both forms."""
    assert {locate(observed(9), category)[0] for category in ON_DEVICE} == {Locality.THIS_DEVICE}
    assert {locate(observed(9), category)[0] for category in IN_NETWORK} == {Locality.NETWORK}
    assert locate(observed(9), "school-filter") == (Locality.UNKNOWN, "nothing indicates it")


@pytest.mark.parametrize(
    ("outcome", "hop", "place"),
    [
        (tls_location.Outcome.ANSWERED_EARLY, 2, Locality.NETWORK),
        (tls_location.Outcome.ANSWERED_EARLY, 1, Locality.THIS_DEVICE),
        (tls_location.Outcome.BESIDE_THE_HOST, 8, Locality.THIS_DEVICE),
        (tls_location.Outcome.UNKNOWN, None, Locality.THIS_DEVICE),
    ],
)
def test_traced_hops(outcome: tls_location.Outcome, hop: int | None, place: Locality) -> None:
    """What answers past the first hop is in the network, whatever its product; at the first hop it can be here."""
    place_found, basis = locate(observed(9), "endpoint-security", [found(outcome, "So far.", hop=hop)])
    assert place_found is place
    assert (basis == "So far") is (place is Locality.NETWORK)


def test_a_root_that_was_made_on_this_device() -> None:
    """Its software filters this device, also where products of its kind stand in the network."""
    made, added = found(machine_root.Outcome.MADE_HERE), found(machine_root.Outcome.ADDED)
    assert locate(observed(9), "network-appliance", [added, made])[0] is Locality.THIS_DEVICE
    assert locate(observed(9), "unknown", [added])[0] is Locality.UNKNOWN


@pytest.mark.parametrize(
    ("own", "typical", "place"),
    [
        (0.2, 18.0, Locality.THIS_DEVICE),
        (LOCAL_CONNECT_MS, 18.0, Locality.UNKNOWN),
        (0.2, REMOTE_CONNECT_MS, Locality.UNKNOWN),
        (12.0, 18.0, Locality.UNKNOWN),
        (0.2, None, Locality.UNKNOWN),
        (None, 18.0, Locality.UNKNOWN),
    ],
)
def test_connect_time_of_this_device(own: float | None, typical: float | None, place: Locality) -> None:
    """Answered as fast as within this device, while honest hosts are a network away."""
    assert locate(observed(own), "unknown", (), typical)[0] is place


class TestEndToEnd:
    def test_the_attribution_says_where_and_why(self, world: World) -> None:
        """The catalogue's category, a root that was made here, and what clean endpoints take to connect."""
        pki = world.pki
        ca = pki.private_ca("Filter CA", not_before=pki.now - 30 * DAY)
        made = {Certificate.read(ca.certificate).sha256: pki.now - 30 * DAY}
        context = world.context(machine=(ca.certificate,), installed_at=made.get)
        here = world.one(EXAM, sent(ca, EXAM), canary=True, context=context)
        assert here.attribution is not None
        assert here.attribution.locality is Locality.THIS_DEVICE
        assert here.attribution.basis.endswith("locality: its root was made on this device when it was installed")
        box = world.one(EXAM, pki.private_ca(named(C="US", O="Fortinet", CN="FortiGate CA")).issue([EXAM]))
        assert box.attribution is not None
        assert box.attribution.locality is Locality.NETWORK

    def test_honest_endpoints_are_what_it_is_compared_with(self, world: World) -> None:
        """A canary that answers within a millisecond, next to clean endpoints that take twenty."""
        fast, slow = ({"route": Route.DIRECT, "timings_ms": {"connect": ms}} for ms in (0.2, 20.0))
        ca = world.pki.private_ca("Filter CA")
        canary = world.case(EXAM, sent(ca, EXAM), canary=True, seen=fast)
        honest = world.case(LMS, world.pki.issue([LMS]), seen=slow)
        for cases, place in (((canary, honest), Locality.THIS_DEVICE), ((canary,), Locality.UNKNOWN)):
            attribution = world.judge(*cases)[0].attribution
            assert attribution is not None
            assert attribution.locality is place
