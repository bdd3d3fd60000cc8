"""What a result is worth to a caller that is about to send something: the gate and the guard ask this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from support.worlds import (
    DAY,
    EXAM,
    FOR_MAIL,
    LMS,
    PINNED_WITNESS,
    below,
    crowded,
    dated,
    logged,
    sent,
    spent,
    without,
    witnessed,
)

from detector.judge.wording import Confirmation, confirmation
from detector.model import Outcome, WitnessOutcome

if TYPE_CHECKING:
    from conftest import World

    from detector.judge.evidence import EndpointEvidence

STALE_PINS: Final[dict[str, Any]] = {"pins": (b"\1" * 32,)}

EXPECTED: Final = {
    "logged": "confirmed",
    "pinned": "confirmed",
    "pinned CA": "confirmed",
    "declared": "confirmed",
    "witnessed": "confirmed",
    "logged, stale pins": "stale-pin",
    "logged, stale pins, witness silent": "stale-pin",
    "logged, stale pins, key not proved": "unconfirmed",
    "logged, stale pins, another witness": "unconfirmed",
    "unlogged, stale pins": "unconfirmed",
    "not to be seen, stale pins": "unconfirmed",
    "declared, stale pins": "unconfirmed",
    "private, stale pins": "unconfirmed",
    "timestamps not to be seen": "unknowable",
    "timestamps of unknown logs": "unknowable",
    "timestamps not to be seen, witness silent": "unknowable",
    "timestamps not to be seen, key not proved": "unconfirmed",
    "timestamps not to be seen, common name only": "unconfirmed",
    "unlogged": "unconfirmed",
    "another name": "unconfirmed",
    "common name only": "unconfirmed",
    "key not proved": "unconfirmed",
    "replayed": "unconfirmed",
    "expired": "unconfirmed",
    "former root": "unconfirmed",
    "no client takes it": "unconfirmed",
    "new root, roots stale": "unconfirmed",
    "issuer missing": "unconfirmed",
    "private": "unconfirmed",
    "added": "unconfirmed",
    "others spent the time": "unconfirmed",
    "nothing seen": "unconfirmed",
}
"""What is presented, and what it is worth."""


@pytest.fixture(scope="module")
def worlds(world: World) -> dict[str, EndpointEvidence]:
    pki, ca = world.pki, world.pki.private_ca("Campus CA")
    issued, plain = pki.issue([EXAM]), pki.issue([EXAM], scts=0)
    unseen: dict[str, Any] = {"seen": {"scts_carried": False}}
    unproved: dict[str, Any] = {"key_proved": False, "outcome": Outcome.RESET}
    root: dict[str, Any] = {"private_roots": (ca.certificate,)}
    silent = witnessed(outcome=WitnessOutcome.TIMEOUT, body=b"", status=None)
    new = below(pki.private_ca("New Root"), "New Issuing CA")
    old = world.context(logs=world.logs.as_of((pki.now - 365 * DAY).date()))
    common = pki.intermediate_ec.issue([], subject_cn=EXAM)
    return {
        "logged": world.case(EXAM, issued),
        "pinned": world.case(EXAM, pki.self_signed([EXAM], key=issued.key), pins=(issued.spki_sha256,)),
        "pinned CA": world.case(EXAM, plain, pins=(pki.intermediate_ec.spki_sha256,), **unseen),
        "declared": world.case(EXAM, sent(ca, EXAM), **root),
        "witnessed": world.case(EXAM, sent(ca, EXAM), **PINNED_WITNESS, seen=witnessed()),
        "logged, stale pins": world.case(EXAM, issued, **STALE_PINS),
        "logged, stale pins, witness silent": world.case(EXAM, issued, **STALE_PINS, **PINNED_WITNESS, seen=silent),
        "logged, stale pins, key not proved": world.case(EXAM, issued, **STALE_PINS, **unproved),
        "logged, stale pins, another witness": world.case(
            EXAM, issued, **STALE_PINS, **PINNED_WITNESS, seen=witnessed(b"\3" * 32)
        ),
        "unlogged, stale pins": world.case(EXAM, plain, **STALE_PINS),
        "not to be seen, stale pins": world.case(EXAM, plain, **STALE_PINS, **unseen),
        "declared, stale pins": world.case(EXAM, sent(ca, EXAM), **STALE_PINS, **root),
        "private, stale pins": world.case(EXAM, sent(ca, EXAM), **STALE_PINS),
        "timestamps not to be seen": world.case(EXAM, plain, **unseen),
        "timestamps of unknown logs": world.case(EXAM, pki.issue([EXAM], foreign_sct=True), context=old),
        "timestamps not to be seen, witness silent": world.case(
            EXAM, plain, **PINNED_WITNESS, seen={**silent, "scts_carried": False}
        ),
        "timestamps not to be seen, key not proved": world.case(EXAM, plain, **unseen, **unproved),
        "timestamps not to be seen, common name only": world.case(EXAM, common, **unseen),
        "unlogged": world.case(EXAM, plain),
        "another name": world.case(EXAM, pki.issue([LMS])),
        "common name only": world.case(
            EXAM,
            pki.intermediate_ec.issue(
                [],
                subject_cn=EXAM,
                sct_list=lambda tbs, key: [log.sct(tbs, key, at=pki.now - DAY) for log in pki.ct_logs[:2]],
            ),
        ),
        "key not proved": world.case(EXAM, issued, **unproved),
        "replayed": world.case(EXAM, issued, key_proved=False, outcome=Outcome.SIGNATURE_WRONG),
        "expired": world.case(EXAM, pki.issue([EXAM], not_before=pki.now - 99 * DAY, not_after=pki.now - DAY)),
        "former root": world.case(EXAM, issued, context=world.context(roots=without(world.roots, pki.root_b))),
        "no client takes it": world.case(EXAM, below(pki.root_b, "Mail CA", purposes=FOR_MAIL).issue([EXAM])),
        "new root, roots stale": world.case(
            EXAM, logged(pki, new, EXAM), context=world.context(roots=dated(world.roots, 365, pki))
        ),
        "issuer missing": world.case(EXAM, issued.chain[:1]),
        "private": world.case(EXAM, sent(ca, EXAM)),
        "added": world.case(EXAM, sent(ca, EXAM), machine=(ca.certificate,)),
        "others spent the time": world.case(EXAM, crowded(pki, EXAM, keys=12), context=world.context(budget=spent())),
        "nothing seen": world.case(EXAM, [], **unproved),
    }


def test_what_each_result_is_worth(worlds: dict[str, EndpointEvidence], world: World) -> None:
    """Clean is confirmed; of the rest, accepted chains with stale pins or unknowable logging come near it."""
    found = {name: str(confirmation(world.judge(case)[0])) for name, case in worlds.items()}
    assert {name: worth for name, worth in found.items() if worth != EXPECTED.get(name)} == {}
    assert set(found) == set(EXPECTED)
    assert set(EXPECTED.values()) == set(map(str, Confirmation))


def test_company_confirms_nothing(worlds: dict[str, EndpointEvidence], world: World) -> None:
    """Whatever the other endpoints show, clean or substituted, it makes nothing more than it is."""
    ca = world.pki.private_ca("Filter CA")
    canary = world.case("canary.example.net", sent(ca, "canary.example.net"), canary=True)
    honest = world.case(LMS, world.pki.issue([LMS]))
    for name, case in worlds.items():
        assert str(confirmation(world.judge(case, canary, honest)[0])) == EXPECTED[name], name
