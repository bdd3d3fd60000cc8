"""What an assessment believes: evidence, and nothing that only its sender says.

Room: tests. In memory.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from detector_collect.assessment import Material, State, Why
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bundle_recordings import KEY, handshake_signature, remade, report_on, with_its_ca
from support.collect_evidence import EXAM, SEARCH, UNKNOWN, recorder

from detector.bundle import Conclusion, form, packing, verification
from detector.knowledge import data_set
from detector.model import (
    Category,
    Confidence,
    Engine,
    HandshakeSignature,
    KnowledgeKind,
    Outcome,
    Reason,
    Verdict,
    WitnessObservation,
    WitnessOutcome,
    encode,
)
from detector.outbox import contents
from detector.outbox.submission import Kind
from detector.trust.certificate import Certificate
from detector.trust.handshake_signature import signed_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_collect.assessment import Assessed, Finding
    from detector_testing.pki import CA

MASKED = "0" * 64


@pytest.fixture(scope="module")
def ca() -> CA:
    """The CA of an interceptor."""
    return recorder().pki.private_ca("Campus Filter")


def key_of(ca: CA) -> bytes:
    """SHA-256 of a CA's SubjectPublicKeyInfo."""
    found = Certificate.read(ca.certificate).spki_sha256
    assert found is not None
    return found


def accusing(assessed: Assessed) -> list[Finding]:
    """The findings that count as interceptions."""
    certain = {Confidence.PROBABLE, Confidence.PROVEN}
    return [finding for finding in assessed.findings if finding.confidence in certain]


# Honest senders


def test_clean_evidence_is_verified_as_clean() -> None:
    """Genuine servers are clean by the collector's own pins."""
    client = recorder()
    assessed = client.assess(client.bundle(client.case(SEARCH), client.case(EXAM)))
    assert assessed.state is State.VERIFIED, assessed
    assert [finding.verdict for finding in assessed.findings] == [Verdict.CLEAN, Verdict.CLEAN]
    assert len(assessed.handshakes) == 2


def test_an_interceptor_is_found_with_its_key(ca: CA) -> None:
    """A CA that signs in place of known servers is found, with the key that identifies it."""
    client = recorder()
    assessed = client.assess(client.bundle(*client.intercepted(ca, SEARCH, EXAM)))
    assert assessed.state is State.VERIFIED, assessed
    assert {finding.confidence for finding in assessed.findings} == {Confidence.PROVEN}
    assert {finding.ca_key for finding in assessed.findings} == {key_of(ca)}


def test_a_ca_that_was_not_sent_is_known_from_the_store_of_the_machine(ca: CA) -> None:
    """Most interceptors send the leaf alone; where their root is installed, the bundle has it."""
    client = recorder()
    alone = ca.issue([SEARCH])
    alone = alone.with_chain(alone.leaf)
    recorded = client.bundle(client.case(SEARCH, alone, machine=[ca.certificate]))
    assert accusing(client.assess(recorded))[0].ca_key == key_of(ca)
    assert accusing(client.assess(client.bundle(client.case(SEARCH, alone))))[0].ca_key is None


def test_a_decision_of_a_gate_is_assessed_by_its_bundle(ca: CA) -> None:
    """The bundle inside it is what counts; without one it is a claim."""
    client = recorder()
    data = client.bundle(*client.intercepted(ca, SEARCH))
    decision = {"action": "block", "policy": "default", "reasons": []}
    with_bundle = client.assess(json.dumps(decision | {"bundle": json.loads(data)}).encode(), kind=Kind.GATE_DECISION)
    assert [finding.ca_key for finding in accusing(with_bundle)] == [key_of(ca)]
    without = client.assess(json.dumps(decision).encode(), kind=Kind.GATE_DECISION)
    assert (without.state, without.why) == (State.CLAIMED, Why.NOTHING_TO_ASSESS)


def test_a_result_is_assessed_like_a_bundle(ca: CA) -> None:
    """A scan row with a recorded handshake accuses as a bundle does."""
    client = recorder()
    result = report_on(client.intercepted(ca, SEARCH)).results[0]
    content = contents.of_result(result)
    assert content is not None
    assessed = client.assess(encode(content), kind=Kind.SCAN_RESULT)
    assert [finding.ca_key for finding in accusing(assessed)] == [key_of(ca)]
    bare = [connection | {"handshake_signature": None} for connection in json.loads(encode(content))["connections"]]
    unproved = client.assess(
        json.dumps(json.loads(encode(content)) | {"connections": bare}).encode(), kind=Kind.SCAN_RESULT
    )
    assert [finding.confidence for finding in unproved.findings] == [Confidence.POSSIBLE]


def test_a_chain_in_a_report_of_failed_pins_is_at_most_possible(ca: CA) -> None:
    """No handshake is recorded there, and anybody can write down a chain."""
    client = recorder()
    content = contents.FailureContent(host=SEARCH, port=443, chain=with_its_ca(ca, SEARCH).chain)
    assessed = client.assess(encode(content), kind=Kind.RFC7469)
    assert [finding.confidence for finding in assessed.findings] == [Confidence.POSSIBLE]
    assert not assessed.handshakes


def test_what_was_assessed_otherwise_has_our_own_conclusion() -> None:
    """A client with pins that this collector does not have: its conclusion is noted, ours counts."""
    client = recorder()
    private = client.pki.private_ca("Portal CA").issue([UNKNOWN])
    pins = (client.endpoint(SEARCH).pins[0],)
    assessed = client.assess(client.bundle(client.case(UNKNOWN, private, pins=pins), client.case(SEARCH)))
    assert assessed.state is State.VERIFIED, assessed
    assert not accusing(assessed)


def test_newer_knowledge_that_accuses_less_is_waited_for(ca: CA) -> None:
    """A root that is newer than ours seems private: who knows it better is not contradicted."""
    client = recorder()

    def newer(manifest: dict[str, Any], parts: dict[str, Any]) -> None:
        for part in manifest["knowledge"]:
            if part["kind"] == KnowledgeKind.ROOTS:
                part.update(date=client.now.date().isoformat(), sha256=MASKED)
        for name, part in parts.items():
            if name.startswith("endpoint"):
                part["claimed"] = {"verdict": "clean", "reason": "logged", "assurance": "logged"}
        manifest["claimed"] = {"verdict": "clean", "scope": "none"}

    data = remade(client.bundle(*client.intercepted(ca, SEARCH)), newer).rstrip()
    assessed = client.assess(data)
    assert (assessed.state, assessed.why, assessed.findings) == (State.CLAIMED, Why.NEWER_KNOWLEDGE, ())


def test_a_result_that_found_a_logged_certificate_is_not_contradicted(ca: CA) -> None:
    """A result names no knowledge: a root that is newer than ours would make every scan row an accusation.

    What a client's own pins or declarations say clears nobody.
    """
    client = recorder()
    content = contents.of_result(report_on(client.intercepted(ca, SEARCH)).results[0])
    assert content is not None
    for reason, state in (
        (Reason.LOGGED, State.CLAIMED),
        (Reason.PINNED, State.VERIFIED),
        (Reason.DECLARED, State.VERIFIED),
    ):
        claimed = json.loads(encode(content)) | {"verdict": Verdict.CLEAN, "reason": reason, "confidence": None}
        assessed = client.assess(json.dumps(claimed).encode(), kind=Kind.SCAN_RESULT)
        assert (assessed.state, bool(accusing(assessed))) == (state, state is State.VERIFIED), assessed


# Senders that lie


def change_endpoint(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """A change of every endpoint part of a bundle, for `remade`."""

    def apply(_: dict[str, Any], parts: dict[str, Any]) -> None:
        for name, part in parts.items():
            if name.startswith("endpoint"):
                change(part)

    return apply


def test_expectations_of_the_sender_accuse_nobody() -> None:
    """Pins, identity, canary, history: what somebody says to have expected of a private server makes it no canary."""
    client = recorder()
    private = with_its_ca(client.pki.private_ca("University CA"), UNKNOWN)
    accusing_expectations: dict[str, Any] = {
        "pins": (secrets.token_bytes(32),),
        "canary": True,
        "runs_ca": True,
        "operator": "rival",
        "roots": (),
    }
    assessed = client.assess(client.bundle(client.case(UNKNOWN, private, **accusing_expectations)))
    assert assessed.state is State.VERIFIED, assessed
    assert assessed.detail.endpoints[0].claimed_confidence is Confidence.PROVEN
    assert not accusing(assessed)


def test_expectations_of_the_sender_clear_nobody(ca: CA) -> None:
    """An interceptor whose key the sender has pinned is an interceptor."""
    client = recorder()
    forged = with_its_ca(ca, SEARCH)
    pin = Certificate.read(forged.chain[0]).spki_sha256
    assessed = client.assess(client.bundle(client.case(SEARCH, forged, pins=(pin,), canary=False)))
    assert assessed.detail.endpoints[0].claimed is Verdict.CLEAN
    assert [finding.confidence for finding in assessed.findings] == [Confidence.PROVEN]


def test_a_genuine_private_ca_is_not_framed_by_an_invented_canary() -> None:
    """A handshake of an institution's own server, next to a canary that the sender substituted with a CA of its own."""
    client = recorder()
    own, invented = client.pki.private_ca("University CA"), client.pki.private_ca("Invented CA")
    server = client.case(UNKNOWN, with_its_ca(own, UNKNOWN), machine=[own.certificate])
    other = client.case("wiki.example.edu", with_its_ca(own, "wiki.example.edu"), machine=[own.certificate])
    assessed = client.assess(client.bundle(server, other, *client.intercepted(invented, SEARCH)))
    assert {finding.ca_key for finding in accusing(assessed)} == {key_of(invented)}
    # The same CA caught at an endpoint that the collector knows covers the others too.
    caught = client.assess(client.bundle(server, other, *client.intercepted(own, SEARCH)))
    assert {finding.ca_key for finding in accusing(caught)} == {key_of(own)}


def test_two_servers_of_one_name_put_together_accuse_nobody() -> None:
    """A split horizon: the public server and the private one of the same name, both genuine, in one bundle."""
    client = recorder()
    public = client.pki.issue([UNKNOWN])
    private = with_its_ca(client.pki.private_ca("University CA"), UNKNOWN)
    outside = client.case(UNKNOWN, public).observation
    inside = client.case(UNKNOWN, private)
    assessed = client.assess(client.bundle(inside.with_further([outside])))
    assert assessed.state is State.VERIFIED, assessed
    assert not accusing(assessed)


def test_a_chain_without_its_handshake_is_worth_nothing(ca: CA) -> None:
    """Copied chains: with no signature, with one of another key, by RSA key exchange, as a browser's report."""
    client = recorder()
    forged = with_its_ca(ca, SEARCH)
    stranger = client.genuine[EXAM]
    unsigned = {"handshake_signature": None}
    for seen in (
        unsigned,
        {"handshake_signature": handshake_signature(stranger, secrets.token_bytes(32))},
        unsigned | {"tls_version": "TLSv1.2", "cipher": "TLS_RSA_WITH_AES_128_GCM_SHA256"},
        unsigned | {"engine": Engine.BROWSER},
        unsigned | {"key_proved": False, "outcome": Outcome.RESET},
    ):
        assessed = client.assess(client.bundle(client.case(SEARCH, forged, seen=seen)))
        assert not accusing(assessed), seen
        assert not assessed.handshakes, seen


def test_a_wrong_signature_shows_no_replay() -> None:
    """A genuine chain with a signature that does not verify: anybody can write one down."""
    client = recorder()
    nonsense = HandshakeSignature(scheme=0x0403, signed=signed_content(bytes(32)), signature=bytes(64))
    seen = {"handshake_signature": nonsense, "outcome": Outcome.SIGNATURE_WRONG, "key_proved": False}
    assessed = client.assess(client.bundle(client.case(SEARCH, seen=seen)))
    assert assessed.detail.endpoints[0].claimed_confidence is not None
    assert not accusing(assessed)
    assert not assessed.handshakes


def test_what_was_left_out_of_a_genuine_handshake_accuses_nobody() -> None:
    """Timestamps that a server sent outside its certificate, not recorded; an exporter that is not the session's."""
    client = recorder()
    binding = WitnessObservation(outcome=WitnessOutcome.ANSWERED, nonce=bytes(16), exporter=bytes(32), status=200)
    genuine = client.case(SEARCH, seen={"scts_carried": True, "witness": binding})
    recorded = verification.recorded_endpoint(
        form.RecordedEndpoint(
            expected=form.Expected(host=SEARCH, port=443, category=Category.SEARCH),
            at=client.now,
            looks=(packing.connection(genuine.observation, ()),),
            claimed=form.Claim(verdict=Verdict.CLEAN, reason=Reason.PINNED),
        ),
        form.Circumstances(),
        client.context(),
        reliance=verification.Reliance.BYTES,
    )
    observation = recorded.evidence.observation
    assert (observation.key_proved, observation.scts_carried, observation.witness) == (True, False, None)


def test_a_handshake_is_the_same_whatever_its_signature(ca: CA) -> None:
    """The same transcript, signed again or rewritten, is the same handshake."""
    client = recorder()
    forged = with_its_ca(ca, SEARCH)
    one, two = (
        client.assess(
            client.bundle(client.case(SEARCH, forged, seen={"handshake_signature": handshake_signature(forged)}))
        )
        for _ in range(2)
    )
    assert one.handshakes == two.handshakes != ()


def test_one_handshake_for_two_endpoints_is_quarantined(ca: CA) -> None:
    """A certificate of several names: one handshake cannot have been with two of them."""
    client = recorder()
    both = ca.issue([SEARCH, EXAM])
    both = both.with_chain(both.leaf, ca.certificate)
    seen = {"handshake_signature": handshake_signature(both)}
    assessed = client.assess(client.bundle(*(client.case(host, both, seen=seen) for host in (SEARCH, EXAM))))
    assert (assessed.state, assessed.why) == (State.QUARANTINED, Why.REPEATED_EVIDENCE)


@pytest.mark.parametrize("apart", [dt.timedelta(days=-2), dt.timedelta(hours=2), dt.timedelta(days=4000)])
def test_evidence_of_another_time_is_quarantined(ca: CA, apart: dt.timedelta) -> None:
    """A sender chooses the time that certificates are assessed at, within a day of when the submission was made."""
    client = recorder()
    at = client.now + apart
    assessed = client.assess(client.bundle(*(client.case(SEARCH, with_its_ca(ca, SEARCH), at=at),)))
    assert (assessed.state, assessed.why) == (State.QUARANTINED, Why.TIMES_APART)


def test_claims_that_do_not_follow_are_quarantined() -> None:
    """Genuine handshakes that are called intercepted, by the knowledge that the collector has, too."""
    client = recorder()

    def accuse(manifest: dict[str, Any], parts: dict[str, Any]) -> None:
        claim = {"verdict": "middleware", "confidence": "proven"}
        for name, part in parts.items():
            if name.startswith("endpoint"):
                part["claimed"] = claim | {"reason": "identity-substituted"}
        manifest["claimed"] = claim | {"scope": "all"}

    data = remade(client.bundle(client.case(SEARCH)), accuse).rstrip()
    assessed = client.assess(data)
    assert (assessed.state, assessed.why, assessed.findings) == (State.QUARANTINED, Why.DOES_NOT_VERIFY, ())


def test_another_place_or_explanation_is_no_lie(ca: CA) -> None:
    """What a client concluded from addresses and timings that it does not send may differ from what they now give."""
    client = recorder()

    def elsewhere(part: dict[str, Any]) -> None:
        part["claimed"]["attribution"]["locality"] = "this-device"
        part["claimed"]["alternatives"] = ["captive-portal"]

    data = remade(client.bundle(*client.intercepted(ca, SEARCH)), change_endpoint(elsewhere)).rstrip()
    assessed = client.assess(data)
    assert assessed.detail.bundle is Conclusion.FAILS
    assert assessed.state is State.VERIFIED, assessed.detail.reasons
    assert [finding.confidence for finding in assessed.findings] == [Confidence.PROVEN]


def test_a_changed_part_is_quarantined(ca: CA) -> None:
    """A digest that does not fit the manifest: nothing of the bundle counts."""
    client = recorder()
    file = json.loads(client.bundle(*client.intercepted(ca, SEARCH, EXAM)))
    file["parts"][0]["content"] = file["parts"][0]["content"].replace(SEARCH, EXAM)
    assessed = client.assess(json.dumps(file).encode())
    assert (assessed.state, assessed.findings) == (State.QUARANTINED, ())


def test_nothing_seen_is_a_claim() -> None:
    """A device that was offline shows nothing, and is no clean device."""
    client = recorder()
    nothing = {"outcome": Outcome.CONNECT_TIMEOUT, "key_proved": False, "chain": (), "handshake_signature": None}
    assessed = client.assess(client.bundle(client.case(SEARCH, seen=nothing)))
    assert (assessed.state, assessed.why) == (State.CLAIMED, Why.NOTHING_TO_ASSESS)


# Properties of all


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_that_a_sender_writes_makes_a_genuine_handshake_an_interception(data: st.DataObject) -> None:
    """Whatever is changed in a bundle of genuine handshakes: it never accuses, and quarantined it has no findings."""
    client = recorder()
    genuine = _genuine()

    def vandalize(manifest: dict[str, Any], parts: dict[str, Any]) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            listed = manifest.pop("parts")  # `remade` fits the digests to the parts again
            _change_something(data, data.draw(st.sampled_from([manifest, *parts.values()])))
            manifest["parts"] = listed

    assessed = client.assess(remade(genuine, vandalize, keys=[KEY]).rstrip())
    assert not accusing(assessed)
    assert assessed.state is State.VERIFIED or not (assessed.findings or assessed.handshakes)
    assert (assessed.why is None) == (assessed.state is State.VERIFIED)


def _change_something(data: st.DataObject, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Change, add or remove one thing somewhere within a JSON object or list."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        inner = value[place]
        if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
            value = inner
            continue
        value[place] = data.draw(
            _JSON
            | st.sampled_from([*Verdict, *Confidence, *Reason, *Outcome])
            | st.just(inner if not isinstance(inner, bool) else not inner)
        )
        return


@functools.cache
def _genuine() -> bytes:
    client = recorder()
    return client.bundle(client.case(SEARCH), client.case(EXAM))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()), st.sampled_from(Kind))
def test_any_bytes_have_an_assessment(content: bytes, kind: Kind) -> None:
    """What cannot be read is quarantined; nothing else happens."""
    assessed = recorder().assess(content, kind=kind)
    assert (assessed.state, assessed.why) == (State.QUARANTINED, Why.UNREADABLE)


def test_the_digest_is_of_what_assessments_depend_on() -> None:
    """Other endpoints are other material, the same ones in another order are not."""
    client = recorder()
    first, second = client.material.endpoints
    shipped = data_set.shipped()
    assert Material(shipped, (second, first)).digest == client.material.digest
    assert Material(shipped, (first,)).digest != client.material.digest


def test_a_portal_of_an_appliance_is_no_interception() -> None:
    """An appliance's CA issued the certificate of the institution's own server: that decrypts nothing."""
    client = recorder()
    appliance = client.pki.private_ca("FortiGate CA")
    alone = client.assess(client.bundle(client.case(UNKNOWN, with_its_ca(appliance, UNKNOWN))))
    assert alone.detail.endpoints[0].claimed_confidence is Confidence.PROBABLE
    assert not accusing(alone)
    caught = client.assess(
        client.bundle(client.case(UNKNOWN, with_its_ca(appliance, UNKNOWN)), *client.intercepted(appliance, SEARCH))
    )
    assert [finding.product for finding in accusing(caught)] == ["FortiGate (SSL/SSH deep inspection)"] * 2
