"""What a guarded client shows to a student: in the policy's language, whole, and without what came over the network."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import aiohttp
import pytest
from support.catalogues import CODES, PATTERNS
from support.guarding import EXAM, guard_of

from detector.exam import Policy
from detector.guard import GuardedConnector, PlaintextError
from detector.guard.context import TLSCertificateError
from detector.guard.guard import Refused
from detector.model import Category, Endpoint, Observation, Outcome, RecordedIdentity

if TYPE_CHECKING:
    from conftest import World

    from detector.guard import Assessment, Guard


def refused(guard: Guard, endpoint: Endpoint, observation: Observation) -> Assessment:
    """What the guard says of a connection that it refuses."""
    assessed = guard.assess(endpoint, observation)
    assert assessed.refused is not None
    return assessed


@pytest.mark.parametrize("category", [Category.EXAM, Category.OTHER])
@pytest.mark.parametrize("code", CODES)
def test_refusals_are_translated_whole(world: World, code: str, category: Category) -> None:
    """No answer, another name, a private chain, interception: all that the student reads is in the catalogue."""
    pki = world.pki
    known = Endpoint(host=EXAM, category=category, pins=(bytes(32),), identity=RecordedIdentity.PUBLIC)
    private = pki.private_ca("School Proxy CA").issue([EXAM])
    seen = [
        *(Observation(outcome=outcome) for outcome in Outcome if outcome is not Outcome.COMPLETE),
        world.observed(pki.issue(["other.example"])),
        world.observed(pki.issue([EXAM]), key_proved=False),
        world.observed(private),
    ]
    kinds = set()
    for endpoint, observation in itertools.product((Endpoint(host=EXAM, category=category), known), seen):
        guards = (guard_of(world, policy=Policy(language=language)) for language in (code, "en"))
        assessed, english = (refused(guard, endpoint, observation) for guard in guards)
        kinds.add(assessed.refused)
        assert PATTERNS[code].fullmatch(assessed.for_student), assessed.for_student
        assert "School" not in assessed.for_student
        assert ("Prüfungsserver" in assessed.for_student) <= (category is Category.EXAM)
        assert assessed._replace(for_student="") == english._replace(for_student="")
        assert EXAM in english.for_student
    assert kinds == {*Refused}


def test_in_words(world: World) -> None:
    """That the server could not be confirmed, why, that nothing was sent, and what to do."""
    guard = guard_of(world, policy=Policy(language="de"))
    private = world.observed(world.pki.private_ca("School Proxy CA").issue([EXAM]))
    assessed = refused(guard, Endpoint(host=EXAM, category=Category.EXAM), private)
    assert assessed.for_student == (
        f"Der Prüfungsserver konnte nicht bestätigt werden: {EXAM}. "
        "Die Zertifikatskette führt zu keinem bekannten Stammzertifikat. "
        "Über diese Verbindung wurde nichts gesendet. "
        "Versuchen Sie es aus einem anderen Netzwerk erneut. Wenn es nur in diesem Netzwerk nicht gelingt, informieren "
        "Sie dessen IT-Abteilung. "
        "Es geht nur darum, wie die Verbindung eingerichtet ist; Ihnen wird nichts vorgeworfen."
    )


async def test_errors_carry_it(world: World) -> None:
    """What a client catches has the message for the student; what is not encrypted too, without naming an address."""
    guard = guard_of(world, policy=Policy(language="de"))
    async with aiohttp.ClientSession(connector=GuardedConnector(guard, proxy="none")) as client:
        with pytest.raises(PlaintextError) as caught:
            await client.get(f"http://{EXAM}/")
    assert caught.value.for_student.startswith("Eine Adresse ohne Verschlüsselung sollte geöffnet werden.")
    assert PATTERNS["de"].fullmatch(caught.value.for_student)
    private = world.observed(world.pki.private_ca("School Proxy CA").issue([EXAM]))
    assessed = refused(guard, Endpoint(host=EXAM), private)
    assert TLSCertificateError(assessed).for_student == assessed.for_student != ""
