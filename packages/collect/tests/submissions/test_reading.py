"""What is read of a submission, and what no bytes can do: raise anything else, or take more than their size."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from detector_collect import submissions
from detector_collect.submissions import AGE_MAX, FUTURE_MAX, Refusal, RefusedError
from detector_collect.submissions.reading import place
from detector_testing import PrivatePKI
from hypothesis import given
from hypothesis import strategies as st
from support.collect_reports import pin_report
from support.collect_service import KEY, NORTH, SOUTH, SUBMISSION, identifier, sealed
from support.collect_stores import NOW
from support.json_values import FOREIGN

from detector.model import encode, json_text
from detector.outbox.submission import PAYLOAD_TYPE, Kind
from detector.trust.envelope import seal

if TYPE_CHECKING:
    from detector_collect.submissions import Key


_CERTIFICATE = PrivatePKI.create().issue(["exam.example.org"]).leaf
SECOND = dt.timedelta(seconds=1)


def refusal(envelope: bytes, *keys: Key, now: dt.datetime = NOW) -> Refusal | None:
    """Why an envelope is refused; None where it is not."""
    try:
        accepted = submissions.read(envelope, keys=keys or [KEY], now=now)
        submissions.check_content(accepted.submission)
    except RefusedError as error:
        return error.refusal
    return None


def test_a_submission_is_read() -> None:
    """The submission, the payload as it was signed, and the key."""
    accepted = submissions.read(sealed(), keys=[KEY._replace(id="ed25519/other", institution="south"), KEY], now=NOW)
    assert accepted == (SUBMISSION, encode(SUBMISSION), KEY)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (NOW + FUTURE_MAX, None), (NOW + FUTURE_MAX + SECOND, Refusal.FUTURE_DATED),
        (NOW - AGE_MAX, None), (NOW - AGE_MAX - SECOND, Refusal.TOO_OLD),
    ],
)  # fmt: skip
def test_the_window_of_time(made: dt.datetime, expected: Refusal | None) -> None:
    """Five minutes ahead, and thirty days of an outbox with a day of error."""
    assert refusal(sealed(made=made)) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"expires": NOW + SECOND, "revoked": NOW + SECOND}, None), ({"expires": NOW}, Refusal.EXPIRED_KEY),
        ({"revoked": NOW}, Refusal.REVOKED_KEY), ({"bytes_max": 100}, Refusal.TOO_LARGE),
        ({"institution": "south"}, Refusal.OTHER_INSTITUTION), ({"id": identifier(SOUTH)}, Refusal.UNKNOWN_KEY),
    ],
)  # fmt: skip
def test_what_a_key_may(change: dict[str, Any], expected: Refusal | None) -> None:
    """It ends at a moment, has a size, and is of one institution."""
    assert refusal(sealed(), KEY._replace(**change)) is expected


def test_another_key_cannot_be_named() -> None:
    """An envelope that names a registered key and is signed by another one is refused, whatever else it holds."""
    envelope = json.loads(sealed(key=SOUTH))
    envelope["signatures"][0]["keyid"] = identifier(NORTH)
    assert refusal(json.dumps(envelope).encode()) is Refusal.BAD_SIGNATURE
    envelope["signatures"] *= 2
    assert refusal(json.dumps(envelope).encode()) is Refusal.UNSIGNED
    for keyid in ("", "ed25519/" + "A" * 200, "certificate/" + "00" * 32, identifier(NORTH)[:-1]):
        envelope["signatures"] = [{"keyid": keyid, "sig": ""}]
        assert refusal(json.dumps(envelope).encode()) is Refusal.UNKNOWN_KEY


def test_no_field_is_unread() -> None:
    """What no version reads cannot be sent: it could hold a name."""
    content = json.loads(bytes(SUBMISSION.content))
    for field, value in (("vantage", "room 12"), ("user", "Ada"), ("summary", "10.0.0.7")):
        changed = msgspec.Raw(json.dumps({**content, field: value}).encode())
        assert refusal(sealed(content=changed)) is Refusal.BAD_CONTENT
    payload = json.dumps({**json.loads(encode(SUBMISSION)), "name": "Ada"}).encode()
    assert refusal(seal(payload, payload_type=PAYLOAD_TYPE, keys=[NORTH])) is Refusal.UNREADABLE


def test_a_place_says_nothing_of_what_was_there() -> None:
    """The path of a decoder's message, with names of fields alone."""
    with pytest.raises(json_text.MalformedError) as raised:
        json_text.decode(b'{"statistics":{"Ada":[1,"x"]}}', dict[str, dict[str, list[int]]])
    assert place(raised.value) == "See the field $[...][...][1]."
    assert place(ValueError("Ada - at `$.Ada Lovelace`")) == ""


@given(st.binary(max_size=300))
def test_only_refusals_escape_for_any_bytes(data: bytes) -> None:
    """Each reader raises `RefusedError` and nothing else."""
    assert refusal(data) is not None
    with pytest.raises(RefusedError):
        submissions.gunzip(data, limit=100)
    with pytest.raises(RefusedError):
        submissions.of_report(data, kind=Kind.TRUSTKIT, key=KEY, now=NOW)


JSON = st.recursive(
    st.one_of(*map(st.just, FOREIGN), st.text(max_size=9), st.floats()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(JSON)
def test_only_refusals_escape_for_any_signed_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """As payload, as a field of a submission, as its content, and as a report."""
    payloads = [value, *({**json.loads(encode(SUBMISSION)), name: value} for name in SUBMISSION.__struct_fields__)]
    payloads += [{**json.loads(encode(SUBMISSION)), "kind": kind, "content": value} for kind in Kind]
    for payload in payloads:
        assert isinstance(
            refusal(seal(json.dumps(payload).encode(), payload_type=PAYLOAD_TYPE, keys=[NORTH])), Refusal | None
        )
    with pytest.raises(RefusedError):
        submissions.of_report(json.dumps(value).encode(), kind=Kind.RFC7469, key=KEY, now=NOW)


@given(st.data())
def test_no_bit_of_an_envelope_can_change(data: st.DataObject) -> None:
    """An envelope with another byte is refused, or says the same."""
    envelope = bytearray(sealed())
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        accepted = submissions.read(bytes(envelope), keys=[KEY], now=NOW)
    except RefusedError:
        return
    assert accepted.payload == encode(SUBMISSION)


@given(st.binary(max_size=1000), st.integers(0, 1200))
def test_decompression_is_bounded(data: bytes, limit: int) -> None:
    """What fits comes back, and what does not is too large."""
    compressed = gzip.compress(data)
    if len(data) <= limit:
        assert submissions.gunzip(compressed, limit=limit) == data
        return
    with pytest.raises(RefusedError) as raised:
        submissions.gunzip(compressed, limit=limit)
    assert raised.value.refusal is Refusal.TOO_LARGE


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one byte past the limit comes out of the decompressor."""
    sizes = []
    make = zlib.decompressobj

    class Measured:
        def __init__(self, wbits: int) -> None:
            self.stream = make(wbits)

        def decompress(self, data: bytes, most: int) -> bytes:
            found = self.stream.decompress(data, most)
            sizes.append(len(found))
            return found

    monkeypatch.setattr(zlib, "decompressobj", Measured)
    with pytest.raises(RefusedError):
        submissions.gunzip(gzip.compress(bytes(1 << 26)), limit=1000)
    assert sizes == [1001]


def test_a_report_keeps_what_matters() -> None:
    """What is not a certificate is refused; the same report is the same submission at any moment."""
    first, later = (
        submissions.of_report(_report(), kind=Kind.TRUSTKIT, key=KEY, now=now)
        for now in (NOW, NOW + dt.timedelta(days=3))
    )
    assert first.payload == later.payload
    assert base64.b64encode(_CERTIFICATE) in first.payload
    with pytest.raises(RefusedError):
        submissions.of_report(
            _report(validated_certificate_chain=["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]),
            kind=Kind.TRUSTKIT, key=KEY, now=NOW,
        )  # fmt: skip


def _report(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    return pin_report([_CERTIFICATE], at=NOW, **changes)
