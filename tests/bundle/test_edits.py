"""Whatever somebody changes in a bundle, it never verifies as one that holds under the recorder's key.

Room: tests of bundle. In memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.bundle_recordings import EXAM, LMS, PUBLIC, STRANGER, packed, recorded, remade, verify
from support.json_values import FOREIGN, places
from support.profiles import examples

from detector.bundle.verification import Conclusion, SignatureState
from detector.errors import BundleError
from detector.model import PortalObservation, PortalOutcome, ServerDate

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import PrivatePKI


@pytest.fixture(scope="module")
def data(world: World, pki: PrivatePKI) -> bytes:
    """A signed bundle with every kind of part: one endpoint genuine, one intercepted."""
    cases = [recorded(world, EXAM, pki.issue([EXAM])), recorded(world, LMS, pki.private_ca("Filter CA").issue([LMS]))]
    context = cases[0].context._replace(
        portal=PortalObservation(outcome=PortalOutcome.OPEN, url="http://check.example.com/", status=204),
        dates=(ServerDate(host=LMS, said=world.pki.now, ours=world.pki.now),),
    )
    bundle = packed(*(type(case)(case.endpoint, case.observation, context) for case in cases))
    assert verify(world, bundle).conclusion is Conclusion.HOLDS
    return bundle


def never_holds(world: World, edited: bytes) -> None:
    """Refused, or assessed as something that does not hold: with the recorder's key, and without any."""
    for keys in ((PUBLIC,), ()):
        try:
            verification = verify(world, edited, keys=keys)
        except BundleError:
            continue
        assert verification.conclusion is not Conclusion.HOLDS, verification
        assert not verification.holds


@given(draw=st.data(), keys=st.sampled_from([(), (STRANGER,)]))
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_edits_with_new_digests(draw: st.DataObject, keys: tuple[Any, ...], world: World, data: bytes) -> None:
    """Any value of the manifest or of a part becomes another one, and everything is sealed again without the key."""

    def edit(manifest: dict[str, Any], contents: dict[str, Any]) -> None:
        claims = {name: value for name, value in manifest.items() if name != "parts"}
        part = draw.draw(st.sampled_from([claims, *contents.values()]))
        within, key = draw.draw(st.sampled_from(list(places(part))))
        value = draw.draw(st.sampled_from(FOREIGN))
        assume(within[key] != value)
        within[key] = value
        manifest.update(claims)

    never_holds(world, remade(data, edit, keys=keys))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"parts":', b'"parts":[],"parts":'),
        (b'"format":', b'"format":"x","format":'),
        (b'"salt":', b'"salt":"x","salt":'),
        (b'"payload":', b'"payload":"","payload":'),
        (b'"payload":', b'"p\\u0061yload":"","payload":'),
        (b'\\"expected\\":', b'\\"expected\\":1,\\"expected\\":'),
    ],
    ids=["parts", "format", "salt", "payload", "escaped", "content"],
)
def test_a_repeated_key(before: bytes, after: bytes, world: World, data: bytes) -> None:
    """Programs differ in which of two equal keys counts, so that a file with both is refused; digests bind the rest."""
    assert before in data
    edited = data.replace(before, after, 1)
    never_holds(world, edited)
    if before.startswith(b'"'):
        with pytest.raises(BundleError):
            verify(world, edited)


def test_a_repeated_key_that_was_signed(world: World, data: bytes) -> None:
    """Not even the recorder's key makes a content with a repeated key readable."""

    def twice(_: dict[str, Any], contents: dict[str, Any]) -> None:
        contents["vantage"] = Twice({"vantage": "room 12"})

    with pytest.raises(BundleError, match=r"part vantage cannot be read \(an object has a key twice"):
        verify(world, remade(data, twice))


class Twice(dict[str, Any]):
    """An object that is written with each of its keys twice."""

    def items(self) -> Any:  # noqa: ANN401 - as `dict`
        return [*super().items(), *super().items()]


def test_without_its_signatures(world: World, data: bytes) -> None:
    """The same evidence that nobody signs any more is assessed as before, and is nobody's statement."""
    verification = verify(world, remade(data, lambda *_: None, keys=()))
    assert (verification.conclusion, verification.signature) == (Conclusion.NOT_VOUCHED, SignatureState.UNSIGNED)
    assert all(check.same for check in verification.endpoints)
