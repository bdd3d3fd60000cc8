"""What is sent: it verifies like the original, and holds nothing about the machine that saw it.

Room: tests of outbox. In memory.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.bundle_recordings import ADDRESS, EXAM, KEY, LMS, packed, recorded, texts, verify
from support.collect_contents import of_every_kind, with_text
from support.collect_traces import traces

from detector.bundle import Conclusion, read
from detector.judge.evidence import EndpointEvidence
from detector.model import PortalObservation, PortalOutcome, Route, ServerDate
from detector.outbox import contents
from detector.outbox.submission import Kind

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import PrivatePKI

LOCAL = "10.66.77.88"
ROOTS = ("ISRG Root X1",)
IDENTIFYING = (ADDRESS.partition(":")[0], LOCAL, "room 12", "hotel.lan", "hans")


def cases(world: World, pki: PrivatePKI) -> list[EndpointEvidence]:
    """Endpoints at a public and a private address and through a proxy, on a network with a sign-in page."""
    ca, third = pki.private_ca("Filter CA"), "search.example.net"
    at_proxy = {"route": Route.HTTP_CONNECT, "address": f"{LOCAL}:3128", "asked_for": f"{third}:443"}
    made = [
        recorded(world, EXAM, ca.issue([EXAM]), roots=ROOTS),
        recorded(world, LMS, ca.issue([LMS]), seen={"address": f"{LOCAL}:443"}, roots=ROOTS),
        recorded(world, third, pki.issue([third]), seen=at_proxy),
    ]
    portal = PortalObservation(
        outcome=PortalOutcome.REDIRECTED,
        url="http://control.example.net/204",
        location="http://hotel.lan/sign-in/hans",
        sign_in_url="https://hotel.lan/hans",
    )
    at = made[0].context.at
    dates = (ServerDate(host="control.example.net", said=at, ours=at, uncertainty_ms=12.5),)
    return [
        EndpointEvidence(one.endpoint, one.observation, one.context._replace(portal=portal, dates=dates))
        for one in made
    ]


def test_a_reduced_bundle_holds(world: World, pki: PrivatePKI) -> None:
    """A reduced bundle verifies completely, with every verdict and confidence of the original."""
    original = packed(*cases(world, pki))
    reduced = contents.reduce(original, keys=[KEY])
    before, after = verify(world, original), verify(world, reduced)
    assert before.conclusion is after.conclusion is Conclusion.HOLDS, after.reasons
    for one, two in zip(before.report.results, after.report.results, strict=True):
        assert (one.verdict, one.reason, one.confidence) == (two.verdict, two.reason, two.confidence)


def test_a_reduced_bundle_names_nobody(world: World, pki: PrivatePKI) -> None:
    """No address, place, portal URL or proxy of the original is anywhere in the reduced bundle."""
    original = packed(*cases(world, pki))
    before = "\n".join(texts(msgspec.json.decode(original)))
    after = "\n".join(texts(msgspec.json.decode(contents.reduce(original, keys=[KEY]))))
    assert [word for word in IDENTIFYING if word not in before] == []
    assert [word for word in IDENTIFYING if word in after] == []


def test_reducing_twice_changes_nothing(world: World, pki: PrivatePKI) -> None:
    """A reduced bundle is what it reduces to, so that it can be recognized."""
    reduced = contents.reduce(packed(*cases(world, pki)), keys=[KEY])
    assert contents.reduce(reduced, keys=[KEY]) == reduced
    assert isinstance(contents.decode(Kind.BUNDLE, reduced), type(read(reduced)))


def test_an_original_bundle_is_refused(world: World, pki: PrivatePKI) -> None:
    """A bundle that was not reduced is refused by name of the part, without its content."""
    with pytest.raises(contents.IdentifyingError, match="holds what could") as caught:
        contents.decode(Kind.BUNDLE, packed(*cases(world, pki)))
    assert ADDRESS not in str(caught.value)


NAME = "Ada.Lovelace@example.edu"
VENDORS_WORDS = {"policy", "product", "vendor", "operator", "roots"}
"""Fields with words that the vendor, its pin file or the catalogue chose: no list has all of them."""


def test_no_text_of_a_client_is_taken(pki: PrivatePKI) -> None:
    """A name in the place of any text, or in any further field, is refused, but for the vendor's own words."""
    taken = set()
    for kind, content in of_every_kind(pki, KEY).items():
        contents.decode(kind, content)
        for place, changed in with_text(kind, content, NAME, KEY):
            with contextlib.suppress(ValueError):
                contents.decode(kind, changed)
                if traces(changed, [NAME]):
                    taken.add(re.findall(r"\.([a-z_]+)", place)[-1])
    assert taken == VENDORS_WORDS


def test_a_decision_has_its_bundle(pki: PrivatePKI) -> None:
    """The bundle of a decision is found again, and a decision without one is a decision."""
    content = of_every_kind(pki, KEY)[Kind.GATE_DECISION]
    found = contents.bundle_of(Kind.GATE_DECISION, content)
    assert found is not None
    assert len(read(found).parts) == 5
    for bare in ({"bundle": None}, {}):
        without = {**msgspec.json.decode(content), **bare}
        if not bare:
            del without["bundle"]
        assert contents.bundle_of(Kind.GATE_DECISION, msgspec.json.encode(without)) is None
