"""Where TLS ends early: only what the evidence says, and unknown where it says nothing."""

from __future__ import annotations

from detector.judge.locality import locate
from detector.model import (
    PROXIED,
    Assurance,
    Category,
    EndpointName,
    Finding,
    Locality,
    Observation,
    Outcome,
    Result,
    Route,
    Says,
    Verdict,
)


def observed(connect: float, *, route: Route = Route.DIRECT, address: str = "192.0.2.7:443") -> Observation:
    return Observation(outcome=Outcome.COMPLETE, route=route, address=address, timings_ms={"connect": connect})


def clean(connect: float) -> Result:
    return Result(
        endpoint=EndpointName(host="a.example", port=443, category=Category.OTHER),
        verdict=Verdict.CLEAN,
        row=10,
        reason="logged",
        assurance=Assurance.LOGGED,
        observation=observed(connect),
    )


def test_explicit_proxy() -> None:
    """A proxy on loopback is this device; any other is the configured proxy."""
    for address, place in (
        ("127.0.0.1:8080", "this-device"),
        ("[::1]:8080", "this-device"),
        ("10.0.0.1:3128", "configured-proxy"),
    ):
        for route in PROXIED:
            found, basis = locate(observed(1, route=route, address=address), "unknown", [])
            assert (found, bool(basis)) == (place, True)


def test_product_category() -> None:
    """Endpoint security runs on the endpoint, appliances stand in the network; school filters come in both forms."""
    assert locate(observed(9), "endpoint-security", [])[0] is Locality.THIS_DEVICE
    assert locate(observed(9), "network-appliance", [])[0] is Locality.NETWORK
    assert locate(observed(9), "school-filter", [])[0] is Locality.UNKNOWN


def test_traced_hops() -> None:
    """What answers past the first hop is in the network, whatever else is known of it; at the first it can be here."""
    for outcome, hop, place in (
        ("answered-early", 2, "network"),
        ("answered-early", 1, "this-device"),
        ("beside-the-host", 8, "this-device"),
        ("unknown", None, "this-device"),
    ):
        finding = Finding(check="location", outcome=outcome, says=Says.NEUTRAL, summary="So far.", data={"hop": hop})
        found, basis = locate(observed(9), "endpoint-security", [], [finding])
        assert found == place
        assert (basis == "So far") is (place == "network")


def test_root_made_on_this_device() -> None:
    """A root that was made when it was installed belongs to software of this device."""
    for made_here, place in ((True, "this-device"), (False, "unknown")):
        finding = Finding(
            check="machine-root", outcome="path", says=Says.INTERCEPTED, summary="", data={"made_here": made_here}
        )
        assert locate(observed(9), "unknown", [], [finding])[0] == place


def test_connect_time_of_this_device() -> None:
    """Answered within a millisecond, while honest hosts are a network away, is this device."""
    assert locate(observed(0.2), "unknown", [clean(18), clean(25)])[0] is Locality.THIS_DEVICE
    assert locate(observed(0.2), "unknown", [clean(0.3)])[0] is Locality.UNKNOWN
    assert locate(observed(12), "unknown", [clean(18)])[0] is Locality.UNKNOWN
    assert locate(observed(0.2), "unknown", [])[0] is Locality.UNKNOWN
