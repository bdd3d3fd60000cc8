"""The check `browser-view`, and what a browser's report may do to a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from support.results import found
from support.worlds import EXAM, outcomes

from detector.judge.checks import browser_view
from detector.judge.locality import locate
from detector.model import Engine, Locality, Observation, Outcome, ProxyObservation, ProxyScheme, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import World
    from detector_testing import Issued

BROWSER: Final[dict[str, Any]] = {"engine": Engine.BROWSER, "scts_carried": False}
PUBLIC: Final = "9.9.9.9:443"
ADDRESS: Final = "192.0.2.7:443"


class Scene:
    """One host: its genuine certificates, and those of an interceptor."""

    def __init__(self, world: World) -> None:
        self.world = world
        pki = world.pki
        self.genuine, self.renewed = pki.issue([EXAM]), pki.issue([EXAM])
        self.ca = pki.private_ca("Filter CA")
        self.forged, self.forged_again = self.ca.issue([EXAM]), self.ca.issue([EXAM])

    def reported(self, presented: Issued | Sequence[bytes], **seen: Any) -> Observation:  # noqa: ANN401 - fields of Observation
        """What the browser reported."""
        return self.world.observed(presented, **{**BROWSER, **seen})

    def found(self, presented: Issued | Sequence[bytes], *reports: Observation, **details: Any) -> list[str]:  # noqa: ANN401 - as `World.case`
        """What the check finds about a probe to which this was presented."""
        details = {"seen": {"address": ADDRESS, "route": Route.DIRECT}, **details}
        return outcomes(browser_view, self.world.case(EXAM, presented, others=reports, **details))


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    return Scene(world)


def test_every_outcome(scene: Scene) -> None:
    """Who is decrypted: the browser, this program, both or neither; nothing where there is nothing to compare."""
    proxied = {"route": Route.HTTP_CONNECT, "proxy": ProxyObservation(scheme=ProxyScheme.HTTP, host="proxy", port=3128)}
    assert scene.found(scene.genuine, scene.reported(scene.forged)) == ["only-browser-here"]
    assert scene.found(scene.genuine, scene.reported(scene.forged, **proxied)) == ["only-browser"]
    assert scene.found(scene.forged, scene.reported(scene.genuine)) == ["only-program"]
    assert scene.found(scene.forged, scene.reported(scene.forged)) == ["both"]
    assert scene.found(scene.forged, scene.reported(scene.forged_again)) == ["both"]
    assert scene.found(scene.genuine, scene.reported(scene.genuine)) == ["same"]
    assert scene.found(scene.genuine, scene.reported(scene.renewed)) == ["neither"]
    elsewhere = scene.world.pki.issue(["www.example.net"])
    assert scene.found(scene.genuine, scene.reported(elsewhere)) == ["differs"]
    assert scene.found(scene.genuine) == []
    assert scene.found(scene.genuine, scene.reported([])) == []
    assert scene.found([], scene.reported(scene.forged), key_proved=False) == []
    assert scene.found(scene.genuine, scene.reported(scene.forged), key_proved=False) == []


@pytest.mark.parametrize(
    ("address", "here"),
    [(ADDRESS, True), (PUBLIC, True), ("127.0.0.1:443", True), ("10.0.0.1:443", False), (None, True)],
)
def test_a_private_address_of_its_own_may_be_a_proxy(scene: Scene, address: str | None, *, here: bool) -> None:
    """Only where nothing says that the browser goes another route is it said to be decrypted on this device."""
    result = scene.found(scene.genuine, scene.reported(scene.forged, address=address))
    assert result == ["only-browser-here" if here else "only-browser"]
    assert scene.found(
        scene.genuine, scene.reported(scene.forged, address=address), seen={"route": Route.SOCKS5, "address": ADDRESS}
    ) == ["only-browser"]


def test_locality_is_this_device() -> None:
    """That only the browser is decrypted is a sign of this device; not for a probe, nor for a network's product."""
    seen = Observation(outcome=Outcome.COMPLETE, engine=Engine.BROWSER)
    only = [found(browser_view.Outcome.ONLY_BROWSER_HERE)]
    assert locate(seen, "unknown", only)[0] is Locality.THIS_DEVICE
    assert locate(seen, "network-appliance", only)[0] is Locality.NETWORK
    assert locate(seen, "unknown", [found(browser_view.Outcome.ONLY_BROWSER)])[0] is Locality.UNKNOWN
    assert locate(Observation(outcome=Outcome.COMPLETE), "unknown", only)[0] is Locality.UNKNOWN
