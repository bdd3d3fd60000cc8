"""Hostile bundles: whatever is changed, nothing raises but `BundleError`, and nothing that was changed holds.

Room: tests of bundle. In memory.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bundle_recordings import EXAM, KEY, LMS, PUBLIC, STRANGER, packed, recorded, remade, texts, verify
from support.profiles import examples

from detector import bundle
from detector.bundle import form
from detector.bundle.verification import Conclusion
from detector.errors import BundleError
from detector.model import WitnessObservation, WitnessOutcome
from detector.trust import envelope, witness_statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import PrivatePKI

    from detector.bundle import Verification

FUZZ = settings(max_examples=examples(400))

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**64), 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "",
            "clean",
            "complete",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59",
            "1969-12-31T00:00:00+00:00",
            "AA==",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="session")
def data(world: World, pki: PrivatePKI) -> bytes:
    """A signed bundle with everything in it: a clean endpoint with a witness, an intercepted one, a machine root."""
    statement = witness_statement.Statement(
        nonce=witness_statement.encode_nonce(bytes(32)),
        exporter=bytes(32),
        client_hello=witness_statement.HelloSeen(sha256="0" * 64),
        time=world.pki.now,
    )
    asked = WitnessObservation(
        outcome=WitnessOutcome.ANSWERED,
        nonce=bytes(32),
        exporter=bytes(32),
        status=200,
        body=witness_statement.sign(statement, [STRANGER]),
    )
    issued, ca = pki.issue([EXAM]), pki.private_ca("Filter CA")
    return packed(
        recorded(
            world,
            EXAM,
            issued,
            pins=(issued.spki_sha256,),
            witness=(envelope.public_key_of(STRANGER),),
            seen={"witness": asked},
        ),
        recorded(world, LMS, ca.issue([LMS]), machine=(ca.certificate,)),
    )


def assessed(world: World, data: bytes) -> Verification | None:
    """What `verify` says; None where it refuses. Anything else that is raised fails the test."""
    try:
        return verify(world, data)
    except BundleError as error:
        if not str(error).isprintable():
            raise
        return None


def meaning(data: bytes) -> object:
    """A bundle as a JSON value: blanks between tokens have no meaning."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data


def test_unchanged_it_holds(data: bytes, world: World) -> None:
    """The bundle that the tests below change holds unchanged, and reads the same with blanks in it."""
    assert verify(world, data).conclusion is Conclusion.HOLDS
    assert verify(world, json.dumps(json.loads(data), indent=2).encode()).conclusion is Conclusion.HOLDS


@FUZZ
@given(at=st.integers(0), byte=st.integers(0, 255), how=st.sampled_from(["replace", "insert", "delete", "cut"]))
def test_no_changed_byte_holds(at: int, byte: int, how: str, data: bytes, world: World) -> None:
    """One byte replaced, put in or taken out, or everything after it: refused, or does not hold."""
    at %= len(data)
    inserted = b"" if how in {"delete", "cut"} else bytes([byte])
    rest = b"" if how == "cut" else data[at:] if how == "insert" else data[at + 1 :]
    changed = data[:at] + inserted + rest
    if meaning(changed) == meaning(data):
        return
    verification = assessed(world, changed)
    assert verification is None or not verification.holds


def test_a_digest_of_another_length_is_refused(data: bytes, world: World) -> None:
    """A signer can write a pin of 33 bytes; the bundle is refused, and the error says which field is wrong."""

    def change(_: dict[str, Any], contents: dict[str, Any]) -> None:
        for target, key in places(contents):
            if key == "pins":
                target[key] = [base64.b64encode(bytes(33)).decode()]

    with pytest.raises(BundleError, match=r"pins: a value has length 33"):
        verify(world, made_up(data, change))


@FUZZ
@given(draw=st.data())
def test_no_changed_field_holds(draw: st.DataObject, data: bytes, world: World) -> None:
    """Any field of the file set to anything else, or gone, does not hold; taking out parts is reported as that."""
    file, before = json.loads(data), json.loads(data)
    target, key = draw.draw(st.sampled_from(places(file)))
    if draw.draw(st.integers(0, 4)):
        target[key] = draw.draw(JSON | near(target[key]))
    else:
        del target[key]
    verification = assessed(world, json.dumps(file).encode())
    if verification is None or not verification.holds:
        return
    assert {**file, "parts": []} == {**before, "parts": []}
    assert all(part in before["parts"] for part in file["parts"])
    gone = {part["name"] for part in before["parts"]} - {part["name"] for part in file["parts"]}
    assert {part.name for part in verification.parts if part.state == "redacted"} == gone


@FUZZ
@given(draw=st.data())
def test_no_changed_content_holds_under_the_old_signature(draw: st.DataObject, data: bytes, world: World) -> None:
    """Evidence changed within a content: its digest is no longer the one that was signed."""
    file = json.loads(data)
    part = draw.draw(st.sampled_from(file["parts"]))
    content = json.loads(part["content"])
    target, key = draw.draw(st.sampled_from(places(content)))
    target[key] = draw.draw(JSON | near(target[key]))
    part["content"] = json.dumps(content)
    verification = assessed(world, json.dumps(file).encode())
    assert verification is None or verification.conclusion is Conclusion.FAILS


@FUZZ
@given(draw=st.data())
def test_whatever_is_signed_can_be_assessed(draw: st.DataObject, data: bytes, world: World) -> None:
    """Contents that a signer made up, digests right: assessed or refused, and nothing else ever raised."""

    def change(manifest: dict[str, Any], contents: dict[str, Any]) -> None:
        for _ in range(draw.draw(st.integers(1, 3))):
            target, key = draw.draw(st.sampled_from(places({"manifest": manifest, "contents": contents})))
            if target is not manifest.get("parts") and key not in {"manifest", "contents", "parts"}:
                target[key] = draw.draw(JSON | near(target[key]))

    verification = assessed(world, made_up(data, change))
    assert verification is None or json.loads(msgspec.json.encode(verification))


@FUZZ
@given(raw=st.binary(max_size=200))
def test_any_bytes(raw: bytes, world: World) -> None:
    """Whatever the bytes, there is a verification or a `BundleError`."""
    verification = assessed(world, raw)
    assert verification is None or not verification.holds


def places(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - any JSON value
    """Every (container, key) within a JSON value."""
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def near(draw: st.DrawFn, value: object) -> object:
    """A value that is not far from this one: of the same kind, or base64 of bytes that differ in one."""
    if isinstance(value, str):
        raw = bytearray()
        with contextlib.suppress(ValueError):  # most texts are not base64
            raw += base64.b64decode(value, validate=True)
        if raw and draw(st.integers(0, 3)):
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
            return base64.b64encode(raw).decode()
        return draw(st.sampled_from([value[:-1], value + "A", value[:-1] + "A", value.upper(), value[1:]]))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        halves = [0.5] if abs(value) < 2**53 else []  # to an integer beyond what a float holds, no half can be added
        return value + draw(st.sampled_from([1, -1, 2**31, 2**63, *halves]))
    if isinstance(value, list):
        return draw(st.sampled_from([value[:-1], value * 2, value[::-1], [*value, None]]))
    return None


def made_up(data: bytes, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bytes:
    """What a signer makes of whatever JSON; where even that cannot be put together, the bundle as it was."""
    try:
        return remade(data, change)
    except (TypeError, AttributeError, KeyError, ValueError):
        return data


REFUSED: dict[str, Callable[[dict[str, Any]], object]] = {
    "part twice": lambda file: file["parts"].append(file["parts"][0]),
    "part not listed": lambda file: file["parts"].append({**file["parts"][0], "name": "endpoint-9"}),
    "field more": lambda file: file.update(remark="read me"),
    "field more in a part": lambda file: file["parts"][0].update(remark="read me"),
    "field more in the envelope": lambda file: file["envelope"].update(remark="read me"),
    "other format": lambda file: file.update(format="other"),
    "other payload type": lambda file: file["envelope"].update(payloadType="text/plain"),
    "payload not base64": lambda file: file["envelope"].update(payload="%%%"),
    "payload no program wrote": lambda file: file["envelope"].update(payload=file["envelope"]["payload"] + "="),
    "key named by something else": lambda file: file["envelope"]["signatures"][0].update(keyid="me"),
    "key named twice": lambda file: file["envelope"]["signatures"].append(file["envelope"]["signatures"][0]),
    "envelope is a text": lambda file: file.update(envelope="x"),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_no_bundle(change: Callable[[dict[str, Any]], object], data: bytes) -> None:
    """Each is refused, with a message for a person."""
    file = json.loads(data)
    change(file)
    with pytest.raises(BundleError, match="Not a bundle that can be used"):
        bundle.read(json.dumps(file).encode())


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "part listed twice": lambda manifest: manifest["parts"].append(manifest["parts"][0]),
    "part of another kind": lambda manifest: manifest["parts"][0].update(kind="vantage"),
    "part with a path for a name": lambda manifest: manifest["parts"][0].update(name="../endpoint-1"),
    "numbered part without number": lambda manifest: manifest["parts"][0].update(name="endpoint"),
    "other schema": lambda manifest: manifest.update(schema_version=2),
    "field more": lambda manifest: manifest.update(note="x"),
    "time without offset": lambda manifest: manifest.update(started="2026-11-25T02:00:00"),
    "time before computers": lambda manifest: manifest.update(started="1066-10-14T09:00:00Z"),
    "time far ahead": lambda manifest: manifest.update(finished="9999-12-31T23:59:59Z"),
    "too many parts": lambda manifest: manifest.update(
        parts=[{**manifest["parts"][0], "name": f"endpoint-{n}"} for n in range(1, 2 * form.ENDPOINTS_MAX + 5)]
    ),
    "digest in capitals": lambda manifest: manifest["parts"][0].update(sha256="A" * 64),
}


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS)
def test_what_is_no_manifest(change: Callable[[dict[str, Any]], object], data: bytes, world: World) -> None:
    """A signature does not make a manifest of it."""
    unsealed = envelope.unseal(json.dumps(json.loads(data)["envelope"]).encode(), payload_type=form.PAYLOAD_TYPE)
    manifest = json.loads(unsealed.payload)
    change(manifest)
    sealed = envelope.seal(json.dumps(manifest).encode(), payload_type=form.PAYLOAD_TYPE, keys=[KEY])
    file = json.loads(data)
    file["envelope"] = json.loads(sealed)
    with pytest.raises(BundleError):
        verify(world, json.dumps(file).encode())


CONTENTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no host": lambda evidence: evidence["expected"].update(host="../../etc/passwd"),
    "port 0": lambda evidence: evidence["expected"].update(port=0),
    "certificates without end": lambda evidence: evidence["looks"][0].update(chain=["AAAA"] * (form.LIST_MAX + 1)),
    "machine roots without end": lambda evidence: evidence.update(machine_roots=["AAAA"] * (form.LIST_MAX + 1)),
    "no probe": lambda evidence: evidence.update(looks=[]),
    "field more": lambda evidence: evidence.update(address="192.0.2.1"),
    "field more in what is expected": lambda evidence: evidence["expected"].update(source="/home/x/pins.toml"),
    "time far ahead": lambda evidence: evidence.update(at="2999-01-01T00:00:00Z"),
    "SCTs without end": lambda evidence: evidence["looks"][0].update(sct_list="AAAA" * 22_000),
    "OCSP response without end": lambda evidence: evidence["looks"][0].update(ocsp_response="AAAA" * 22_000),
    "DER not base64": lambda evidence: evidence["looks"][0].update(chain=["%%"]),
}


@pytest.mark.parametrize("change", CONTENTS.values(), ids=CONTENTS)
def test_what_is_no_evidence(change: Callable[[dict[str, Any]], object], data: bytes, world: World) -> None:
    """A part with the right digest is still read strictly, and the message names it."""
    with pytest.raises(BundleError, match="part endpoint-1 cannot be read"):
        verify(world, remade(data, lambda _, contents: change(contents["endpoint-1"])))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format":"tls-interception-evidence-bundle","envelope":' + b"[" * 100_000,
        b'{"format":"tls-interception-evidence-bundle","envelope":{},"parts":[' + b'{"name":' * 50_000,
        b"1" * 100_000,
    ],
    ids=["empty", "not UTF-8", "deep list", "deep object", "deep envelope", "deep part", "long number"],
)
def test_not_a_bundle_at_all(raw: bytes) -> None:
    """Nothing, other encodings and depth without end are refused."""
    with pytest.raises(BundleError):
        bundle.read(raw)


def test_depth_within_a_content(data: bytes, world: World) -> None:
    """A content nested without end, with the digest that belongs to it, is refused like any other."""
    file = json.loads(data)
    file["parts"][0]["content"] = '{"expected":' + "[" * 100_000
    digest = form.CarriedPart(**file["parts"][0]).sha256
    manifest = json.loads(
        envelope.unseal(json.dumps(file["envelope"]).encode(), payload_type=form.PAYLOAD_TYPE).payload
    )
    manifest["parts"][0]["sha256"] = digest
    file["envelope"] = json.loads(
        envelope.seal(json.dumps(manifest).encode(), payload_type=form.PAYLOAD_TYPE, keys=[KEY])
    )
    with pytest.raises(BundleError, match="endpoint-1"):
        verify(world, json.dumps(file).encode())


def test_too_large(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """A file beyond the limit is refused before it is read, and so is packing one."""
    monkeypatch.setattr(form, "BUNDLE_BYTES_MAX", len(data) - 1)
    with pytest.raises(BundleError, match="larger than"):
        bundle.read(data)


def test_salt_and_content_cannot_be_moved_into_each_other(data: bytes, world: World) -> None:
    """The digest is over both, one behind the other: only the fixed length of the salt says where one ends."""
    file = json.loads(data)
    part = file["parts"][0]
    part["salt"], part["content"] = part["salt"] + part["content"][:1], part["content"][1:]
    assert form.CarriedPart(**part).sha256 == bundle.read(data).parts[0].entry.sha256
    assert verify(world, json.dumps(file).encode()).conclusion is Conclusion.FAILS


def test_escape_sequences_do_not_reach_a_terminal(data: bytes) -> None:
    """What is wrong with a bundle is reported without what could move a cursor."""
    with pytest.raises(BundleError) as caught:
        bundle.read(data.replace(b'"envelope"', b'"\\u001b[2J"', 1))
    assert "\x1b" not in str(caught.value)


def test_texts_unwraps_everything(data: bytes) -> None:
    """The helper of the privacy tests sees through every layer."""
    found = list(texts(json.loads(data)))
    assert any("TLS 1.3, server CertificateVerify" in text for text in found)
    assert any(text == EXAM for text in found)
    assert PUBLIC.decode("latin-1") not in "".join(found[:1])
