"""Reading a submission takes linear time, whatever a registered sender puts in it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

import pytest
from detector_collect import submissions
from detector_collect.submissions import RefusedError
from support.collect_service import KEY, NORTH, SUBMISSION
from support.collect_stores import NOW
from test_parser_costs import GROWTH_MAX, growth

from benchmark.parsers import KIB, Parser, filled
from detector.model import encode
from detector.outbox.submission import PAYLOAD_TYPE, SUBMISSION_BYTES_MAX, Kind
from detector.trust.envelope import seal

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[int], bytes]

MEASURED: Final = 128 * KIB
CONTENTS: Final[dict[str, Make]] = {
    "lists in lists": filled(b"[", b"", b""),
    "lists": filled(b"[],", b"[", b"0]"),
    "a number": filled(b"9", b"1"),
    "escapes": filled(b"\\u0041", b'"', b'"'),
    "one key": filled(b'"a":0,', b"{", b'"b":0}'),
    "keys": lambda size: b"{" + b"".join(b'"%07d":0,' % number for number in range(size // 12)) + b'"a":0}',
    "parts of a bundle": filled(b'{"name":"a","salt":"","content":""},', b'{"envelope":{},"parts":[', b"0]}"),
    "certificates": filled(b'"MAAA",', b'{"host":"exam.example.org","port":443,"chain":[', b'""]}'),
}
"""What a content may be filled with."""


def parser(kind: Kind, name: str) -> Parser:
    """Read an envelope that holds this content as `kind`."""

    def make(size: int) -> bytes:
        payload = encode(SUBMISSION).replace(bytes(SUBMISSION.content), CONTENTS[name](size))
        return seal(payload.replace(b"watch-event", kind.encode()), payload_type=PAYLOAD_TYPE, keys=[NORTH])

    def read(envelope: bytes) -> None:
        try:
            submissions.check_content(submissions.read(envelope, keys=[KEY], now=NOW).submission)
        except RefusedError:
            return

    return Parser(f"{kind}: {name}", read, make, SUBMISSION_BYTES_MAX, MEASURED)


@pytest.mark.serial
@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("kind", [Kind.BUNDLE, Kind.SCAN_RESULT, Kind.TRUSTKIT])
def test_reading_takes_linear_time(kind: Kind, name: str) -> None:
    """Twice the content takes at most three times the processor time."""
    assert growth(parser(kind, name)) <= GROWTH_MAX


@pytest.mark.serial
def test_decompressing_takes_linear_time() -> None:
    """Twice the data, that is twice the bomb."""

    def unpack(data: bytes) -> None:
        submissions.gunzip(data, limit=SUBMISSION_BYTES_MAX)

    def make(size: int) -> bytes:
        return gzip.compress(bytes(size))

    assert growth(Parser("gzip", unpack, make, SUBMISSION_BYTES_MAX)) <= GROWTH_MAX
