"""Compressed certificates: what was compressed comes back, and nothing else does, within bounds."""

from __future__ import annotations

import importlib
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.model import Outcome
from detector.probe.tls.compression import BROTLI, ZLIB, ZSTD, decompress
from detector.probe.tls.reader import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1 << 20
COMPRESS: dict[int, Callable[[bytes], bytes]] = {ZLIB: zlib.compress, BROTLI: brotli.compress}
algorithms = pytest.mark.parametrize("algorithm", sorted(COMPRESS))


def kind_of(algorithm: int, compressed: bytes, length: int) -> Outcome:
    """Why a message is refused."""
    with pytest.raises(WireError) as caught:
        decompress(algorithm, compressed, length, limit=LIMIT)
    return caught.value.outcome


@algorithms
@given(content=st.binary(max_size=4000), behind=st.binary(max_size=20))
def test_what_was_compressed_comes_back(algorithm: int, content: bytes, behind: bytes) -> None:
    """Bytes behind the stream are disregarded, as browsers disregard them."""
    compressed = COMPRESS[algorithm](content)
    assert decompress(algorithm, compressed, len(content), limit=LIMIT) == content
    assert decompress(algorithm, compressed + behind, len(content), limit=LIMIT) == content


@algorithms
@given(content=st.binary(min_size=1, max_size=2000), off=st.integers(1, 3000))
def test_the_length_must_be_right(algorithm: int, content: bytes, off: int) -> None:
    """More than was declared is a bomb, less is malformed (RFC 8879 section 4)."""
    compressed = COMPRESS[algorithm](content)
    assert kind_of(algorithm, compressed, len(content) + off) is Outcome.TLS_FAILURE
    assert kind_of(algorithm, compressed, max(len(content) - off, 0)) is Outcome.TOO_LARGE


@algorithms
@given(content=st.binary(min_size=1, max_size=2000), cut=st.integers(1, 50))
def test_half_a_stream_is_malformed(algorithm: int, content: bytes, cut: int) -> None:
    """Even where the part that came would be long enough."""
    compressed = COMPRESS[algorithm](content)
    assert kind_of(algorithm, compressed[:-cut], len(content)) is Outcome.TLS_FAILURE


@pytest.mark.parametrize("algorithm", [0, ZLIB, BROTLI, ZSTD, 4, 0xFFFF])
@given(compressed=st.binary(max_size=200), length=st.integers(0, 1 << 24))
def test_only_wire_errors_escape(algorithm: int, compressed: bytes, length: int) -> None:
    """Whatever the algorithm, the stream and the declared length."""
    try:
        content = decompress(algorithm, compressed, length, limit=LIMIT)
    except WireError:
        return
    assert len(content) == length


@algorithms
@pytest.mark.parametrize("declared", [0, 1000, LIMIT, LIMIT + 1, (1 << 24) - 1])
def test_a_bomb_stays_small(algorithm: int, declared: int) -> None:
    """64 MiB from a few KiB: too large, without ever having more than about what was declared in memory."""
    bomb = COMPRESS[algorithm](bytes(1 << 26))
    tracemalloc.start()
    kind = kind_of(algorithm, bomb, declared)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kind is Outcome.TOO_LARGE
    assert peak < 8 * LIMIT


def test_what_is_declared_counts_first() -> None:
    """Nothing is decompressed for a length beyond the limit, whatever the stream is."""
    assert kind_of(BROTLI, b"no stream at all", LIMIT + 1) is Outcome.TOO_LARGE


def test_zstd() -> None:
    """Firefox offers it. The standard library has it since Python 3.14; an older one says so."""
    content = b"certificates " * 300
    frame = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello"  # one block that is not compressed (RFC 8878 section 3.1)
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError:
        with pytest.raises(WireError, match=r"needs Python 3\.14") as caught:
            decompress(ZSTD, frame, 5, limit=LIMIT)
        assert caught.value.outcome is Outcome.TLS_FAILURE
        return
    assert decompress(ZSTD, frame, 5, limit=LIMIT) == b"hello"
    assert decompress(ZSTD, zstd.compress(content), len(content), limit=LIMIT) == content
    assert kind_of(ZSTD, zstd.compress(bytes(1 << 26)), 1000) is Outcome.TOO_LARGE
