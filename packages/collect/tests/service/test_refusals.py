"""What is refused over real sockets: each reason, in problem details, and nothing is stored."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from detector_collect.store import counters, keys
from detector_collect.submissions import AGE_MAX, ANSWERS, Refusal
from support.collect_service import (
    DSSE,
    MINUTE,
    NORTH,
    SOUTH,
    STRANGER,
    SUBMISSION,
    counted,
    identifier,
    running_service,
    sealed,
)
from support.collect_stores import NOW

from detector.model import encode
from detector.outbox.submission import PAYLOAD_TYPE, SUBMISSION_BYTES_MAX, Kind
from detector.trust.envelope import seal

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from detector_collect.store.database import Store
    from support.collect_service import Running

INJECTION = "x'); DROP TABLE evidence; --\r\nSet-Cookie: a=b\x00\N{PILE OF POO}"
"""Text that would end a statement or a header."""


def signed(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """An envelope around any payload."""
    return seal(payload, payload_type=payload_type, keys=[NORTH])


def altered(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A submission as JSON with fields added or replaced, signed."""
    return signed(json.dumps({**json.loads(encode(SUBMISSION)), **changes}).encode())


def watched(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """The content of the submission with fields added or replaced."""
    return {**json.loads(bytes(SUBMISSION.content)), **changes}


def broken_signature() -> bytes:
    """An envelope whose signature is of something else."""
    found = json.loads(sealed())
    found["signatures"][0]["sig"] = json.loads(sealed(exam="botany"))["signatures"][0]["sig"]
    return json.dumps(found).encode()


def two_signatures() -> bytes:
    """An envelope that two institutions signed."""
    return seal(encode(SUBMISSION), payload_type=PAYLOAD_TYPE, keys=[NORTH, SOUTH])


BODIES: dict[str, tuple[Callable[[], bytes], Refusal]] = {
    "nothing": (lambda: b"", Refusal.UNREADABLE),
    "garbage": (lambda: b"\xff\x00garbage", Refusal.UNREADABLE),
    "truncated": (lambda: sealed()[:-40], Refusal.UNREADABLE),
    "nested": (lambda: b"[" * 100_000, Refusal.UNREADABLE),
    "twice in one": (lambda: sealed() + sealed(exam="botany"), Refusal.UNREADABLE),
    "another field": (lambda: sealed()[:-1] + b',"name":"Ada Lovelace"}', Refusal.UNREADABLE),
    "a key twice": (
        lambda: signed(encode(SUBMISSION).replace(b'"exam"', b'"exam":"Ada","exam"')),
        Refusal.UNREADABLE,
    ),
    "another payload type": (lambda: signed(encode(SUBMISSION), "application/json"), Refusal.OTHER_TYPE),
    "another version": (lambda: altered(schema_version=2), Refusal.OTHER_VERSION),
    "no signature": (
        lambda: seal(encode(SUBMISSION), payload_type=PAYLOAD_TYPE, keys=[]),
        Refusal.UNSIGNED,
    ),
    "two signatures": (two_signatures, Refusal.UNSIGNED),
    "unknown key": (lambda: sealed(key=STRANGER), Refusal.UNKNOWN_KEY),
    "injected key": (
        lambda: sealed().replace(identifier(NORTH).encode(), b"ed25519/x'); DROP TABLE keys; --"),
        Refusal.UNKNOWN_KEY,
    ),
    "wrong signature": (broken_signature, Refusal.BAD_SIGNATURE),
    "key of another institution": (lambda: sealed(key=SOUTH), Refusal.OTHER_INSTITUTION),
    "future": (lambda: sealed(made=NOW + 6 * MINUTE), Refusal.FUTURE_DATED),
    "far future": (lambda: altered(made="9999-12-31T23:59:59-23:59"), Refusal.FUTURE_DATED),
    "past": (lambda: sealed(made=NOW - AGE_MAX - MINUTE), Refusal.TOO_OLD),
    "far past": (lambda: altered(made="0001-01-01T00:00:00+23:59"), Refusal.TOO_OLD),
    "no offset": (lambda: altered(made="2026-11-30T09:00:00"), Refusal.UNREADABLE),
    "unknown kind": (lambda: altered(kind="gossip"), Refusal.UNKNOWN_KIND),
    "injected institution": (lambda: altered(institution=INJECTION), Refusal.UNREADABLE),
    "injected exam": (lambda: altered(exam=INJECTION), Refusal.UNREADABLE),
    "injected student": (lambda: altered(student=INJECTION), Refusal.UNREADABLE),
    "injected network": (lambda: altered(network=INJECTION), Refusal.UNREADABLE),
    "injected made": (lambda: altered(made=INJECTION), Refusal.UNREADABLE),
    "injected kind": (lambda: altered(kind=INJECTION), Refusal.UNKNOWN_KIND),
    "a name in place of a hash": (lambda: altered(student="Ada Lovelace"), Refusal.UNREADABLE),
    "another content": (lambda: altered(kind=Kind.BUNDLE), Refusal.BAD_CONTENT),
    "no content": (lambda: altered(content=None), Refusal.BAD_CONTENT),
    "a place": (lambda: altered(content=watched(vantage="room 12")), Refusal.BAD_CONTENT),
    "a private host": (
        lambda: altered(content=watched(endpoint={"host": "ada.local", "port": 443, "category": "other"})),
        Refusal.IDENTIFYING,
    ),
    "an address": (
        lambda: altered(content=watched(endpoint={"host": "192.0.2.7", "port": 443, "category": "other"})),
        Refusal.IDENTIFYING,
    ),
}  # fmt: skip
"""What is sent with the usual head, and why it is refused."""


async def test_a_body_is_refused_and_leaves_nothing(service: Running) -> None:
    """The answer has the reason's type and status, repeats nothing, and no table has another row."""
    before = await counted(service.store)
    for name, (make, refusal) in BODIES.items():
        answer = await service.post(make())
        assert (name, answer.refusal, answer.status) == (name, refusal, ANSWERS[refusal].status)
        assert not re.search(rb"DROP|Lovelace|192[.]0[.]2[.]7|ada[.]local", answer.body), name
        assert "set-cookie" not in answer.headers
        assert await counted(service.store) == before, name


HEADS: dict[str, tuple[dict[str, str], bytes, Refusal]] = {
    "no media type": ({"Content-Type": ""}, sealed(), Refusal.MEDIA_TYPE),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, sealed(), Refusal.MEDIA_TYPE),
    "brotli": ({"Content-Encoding": "br"}, sealed(), Refusal.ENCODING),
    "gzip twice": ({"Content-Encoding": "gzip, gzip"}, gzip.compress(gzip.compress(sealed())), Refusal.ENCODING),
    "not gzip": ({"Content-Encoding": "gzip"}, sealed(), Refusal.UNREADABLE),
    "zlib": ({"Content-Encoding": "gzip"}, zlib.compress(sealed()), Refusal.UNREADABLE),
    "gzip cut off": ({"Content-Encoding": "gzip"}, gzip.compress(sealed())[:-9], Refusal.UNREADABLE),
    "a second member": (
        {"Content-Encoding": "gzip"},
        gzip.compress(sealed()) + gzip.compress(b"x"),
        Refusal.UNREADABLE,
    ),
    "after the member": ({"Content-Encoding": "gzip"}, gzip.compress(sealed()) + b"x", Refusal.UNREADABLE),
    "a name in the header": (
        {"Content-Encoding": "gzip"},
        gzip.compress(sealed())[:3] + b"\x08" + gzip.compress(sealed())[4:10] + b"Ada\0" + gzip.compress(sealed())[10:],
        Refusal.UNREADABLE,
    ),
    "a bomb": ({"Content-Encoding": "gzip"}, gzip.compress(bytes(64 << 20)), Refusal.TOO_LARGE),
    "too large": ({}, b" " * (SUBMISSION_BYTES_MAX + 1), Refusal.TOO_LARGE),
    "a report without a certificate": ({"Content-Type": "application/json"}, b"{}", Refusal.MEDIA_TYPE),
}


async def test_a_head_is_refused_and_leaves_nothing(service: Running) -> None:
    """Media types, encodings and sizes that are not accepted are named as such."""
    before = await counted(service.store)
    for name, (head, body, refusal) in HEADS.items():
        answer = await service.post(body, head)
        assert (name, answer.refusal, answer.status) == (name, refusal, ANSWERS[refusal].status)
        assert await counted(service.store) == before, name


async def test_what_a_key_may_ends(store: Store) -> None:
    """A key that expired, was revoked, or is limited in size or rate sends nothing."""
    async with running_service(store, key_seconds=0.0) as service:
        async with store.begin() as connection:
            await keys.end_key(connection, identifier(NORTH), expires=NOW)
        assert (await service.post(sealed())).refusal == Refusal.EXPIRED_KEY
        async with store.begin() as connection:
            await keys.end_key(connection, identifier(NORTH), revoked=NOW)
        assert (await service.post(sealed())).refusal == Refusal.REVOKED_KEY
        slow = keys.Key(identifier(STRANGER), "north", "signing", NOW, None, None, 2, len(sealed()))
        async with store.begin() as connection:
            await keys.add_key(connection, slow)
        answers = [await service.post(sealed(key=STRANGER)) for _ in range(3)]
        assert [answer.status for answer in answers] == [201, 200, 429]
        assert answers[2].refusal == Refusal.RATE
        assert 25 <= int(answers[2].headers["retry-after"]) <= 30
        assert (await service.post(sealed(key=STRANGER, exam="organic-chemistry"))).refusal == Refusal.TOO_LARGE


async def test_refusals_are_counted_by_institution_and_reason(store: Store) -> None:
    """A sender counts for its institution only once its signature is verified."""
    async with running_service(store) as service:
        await service.post(sealed(made=NOW + dt.timedelta(days=1)))
        await service.post(sealed(key=SOUTH))
        await service.post(broken_signature())
        async with store.connect() as connection:
            assert await counters.read(connection) == {}
    async with store.connect() as connection:
        assert await counters.read(connection) == {
            ("north", "refused-future-dated"): 1,
            ("south", "refused-other-institution"): 1,
            ("", "refused-bad-signature"): 1,
        }


OTHERS = [
    ("GET", "/v1/evidence", 405),
    ("OPTIONS", "/v1/evidence", 401),
    ("GET", "/v1/evidence/%0d%0aSet-Cookie:%20a=b", 404),
    ("GET", "/schema", 404),
    ("GET", "/metrics", 401),
    ("PUT", "/healthz", 405),
]
"""Methods, paths, and the status of their answers."""


async def test_other_requests_have_problem_details_too(service: Running) -> None:
    """Every error of the application has one form, without a trace and without what was asked."""
    for method, path, status in OTHERS:
        answer = await service.ask(method, path)
        assert answer.status == status
        assert answer.problem["type"] == "about:blank"
        assert set(answer.problem) <= {"type", "title", "status", "detail"}
        assert "set-cookie" not in answer.headers


async def test_a_fault_says_nothing_of_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is 500 with problem details alone."""

    async def fail(*_: object) -> None:
        raise RuntimeError("secret of " + DSSE)

    async with running_service(store) as service:
        monkeypatch.setattr(keys, "find_key", fail)
        answer = await service.post(sealed())
    assert (answer.status, answer.problem["title"]) == (500, "Internal Server Error")
    assert b"secret" not in answer.body


def test_every_refusal_has_an_answer() -> None:
    """Each reason has a status of an error, a sentence, and advice."""
    assert set(ANSWERS) == set(Refusal)
    for answer in ANSWERS.values():
        assert 400 <= answer.status < 600
        assert answer.title.endswith(".")
        assert answer.advice.endswith(".")
