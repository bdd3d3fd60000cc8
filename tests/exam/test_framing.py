"""Frames of native messaging: any bytes, in any pieces, are whole frames or the one documented error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.exam.native_messaging import TO_BROWSER_MAX, FrameError, FrameReader, frame

LIMIT = 64


def taken(data: bytes, cuts: list[int], limit: int = LIMIT) -> list[bytes]:
    """Every frame of `data`, fed in pieces of these sizes."""
    reader, frames, rest = FrameReader(limit), [], data
    for size in [*cuts, len(data)]:
        reader.feed(rest[:size])
        rest = rest[size:]
        while (payload := reader.next()) is not None:
            frames.append(payload)
    return frames


def test_a_frame_is_a_native_length_and_the_bytes() -> None:
    """The length is 32 bits wide, in the byte order of this machine, without the length itself."""
    assert frame(b'{"id":1}') == struct.pack("=I", 8) + b'{"id":1}'


@given(st.lists(st.binary(max_size=LIMIT), max_size=5), st.lists(st.integers(0, 40), max_size=12))
def test_frames_survive_any_cut(payloads: list[bytes], cuts: list[int]) -> None:
    """However the pipe cuts them, frames come out whole and in order."""
    assert taken(b"".join(map(frame, payloads)), cuts) == payloads


@given(st.binary(max_size=300), st.lists(st.integers(0, 40), max_size=12))
def test_any_bytes_are_frames_or_refused(data: bytes, cuts: list[int]) -> None:
    """Nothing but `FrameError` gets out, and no frame is longer than allowed."""
    try:
        frames = taken(data, cuts)
    except FrameError:
        return
    assert all(len(payload) <= LIMIT for payload in frames)


@pytest.mark.parametrize("length", [LIMIT + 1, 64 * 1024 * 1024, 2**32 - 1])
def test_announced_length_is_refused_before_anything_is_kept(length: int) -> None:
    """A length above the limit is refused at once, not when the bytes have come."""
    reader = FrameReader(LIMIT)
    reader.feed(struct.pack("=I", length))
    with pytest.raises(FrameError, match=str(length)):
        reader.next()


def test_cut_off_frame_is_none() -> None:
    """A frame of which something is missing is not there yet."""
    reader = FrameReader(LIMIT)
    reader.feed(frame(b"whole")[:-1])
    assert reader.next() is None


def test_browser_takes_a_mebibyte() -> None:
    """What is longer than the browser takes is never sent."""
    assert len(frame(bytes(TO_BROWSER_MAX))) == TO_BROWSER_MAX + 4
    with pytest.raises(FrameError):
        frame(bytes(TO_BROWSER_MAX + 1))
