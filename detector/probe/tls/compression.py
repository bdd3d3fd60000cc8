"""Compressed certificates: RFC 8879, with bounds.

Room: probe. Pure.

What is declared is held to a limit before anything is decompressed, and no more than what is declared is ever produced:
a few bytes can otherwise expand to gigabytes. Nothing but `WireError` is raised.
"""

from __future__ import annotations

import importlib
import zlib
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule

from .reader import malformed, too_large

if TYPE_CHECKING:
    from collections.abc import Callable

    import brotli
else:
    brotli = LazyModule("brotli")  # few servers compress

ZLIB: Final = 1  # CertificateCompressionAlgorithm (RFC 8879 section 7.3)
BROTLI: Final = 2
ZSTD: Final = 3

ZSTD_WINDOW_LOG_MAX: Final = 20  # of a window in bytes: no larger than the largest message that is decompressed


def decompress(algorithm: int, compressed: bytes, length: int, *, limit: int) -> bytes:
    """Return the `length` bytes that a CompressedCertificate declares to hold (RFC 8879 section 4).

    Raises `WireError`: TOO_LARGE for more than `limit` bytes, or more than are declared; TLS_FAILURE for fewer, for
    what cannot be decompressed, and for an algorithm that is not available here.
    """
    if length > limit:
        raise too_large(f"a compressed certificate of {length} bytes")
    if (produce := _ALGORITHMS.get(algorithm)) is None:
        raise malformed(f"a certificate compressed with the unknown algorithm {algorithm}")
    content = produce(compressed, length + 1)
    if len(content) > length:
        raise too_large(f"a compressed certificate has more than the {length} bytes it declares")
    if len(content) < length:
        raise malformed(f"a compressed certificate has {len(content)} bytes instead of {length}")
    return content


def _unzlib(compressed: bytes, room: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(compressed, room)
    except zlib.error as error:
        raise malformed("a compressed certificate is no zlib stream") from error
    if not stream.eof and len(content) < room:
        raise malformed("the zlib stream of a compressed certificate is incomplete")
    return content


def _unbrotli(compressed: bytes, room: int) -> bytes:
    """Decompress, and disregard what follows the stream, as Chrome does.

    `brotli` refuses such bytes without saying where the stream ended, so that its end has to be searched for.
    """
    found = _decode(compressed, room)
    shortest, longest = 0, len(compressed)  # a beginning that is no error, and one that is
    while found is None and longest - shortest > 1:
        middle = (shortest + longest) // 2
        if _decode(compressed[:middle], room) is None:
            longest = middle
        else:
            shortest = middle
    content, is_finished = found or _decode(compressed[:shortest], room) or (b"", False)
    if not is_finished and len(content) < room:
        raise malformed("a compressed certificate is no brotli stream, or an incomplete one")
    return content


def _decode(compressed: bytes, room: int) -> tuple[bytes, bool] | None:
    """Return what a brotli stream, or its beginning, holds, and whether it is whole; None for anything else."""
    stream = brotli.Decompressor()
    try:
        # The limit of the output is soft: a block more may come at once, and more than one call may be needed.
        content: bytes = stream.process(compressed, output_buffer_limit=room)
        piece = content
        while piece and len(content) < room and not stream.is_finished():
            piece = stream.process(b"", output_buffer_limit=room - len(content))
            content += piece
    except brotli.error:
        return None
    return content, stream.is_finished()


def _unzstd(compressed: bytes, room: int) -> bytes:
    try:
        zstd = importlib.import_module("compression.zstd")  # RFC 8878; part of Python since 3.14
    except ImportError as error:
        raise malformed("a certificate compressed with zstd, which needs Python 3.14") from error
    try:
        options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
        stream = zstd.ZstdDecompressor(options=options)
        content: bytes = stream.decompress(compressed, room)
    except zstd.ZstdError as error:
        raise malformed("a compressed certificate is no zstd stream") from error
    if not stream.eof and len(content) < room:
        raise malformed("the zstd stream of a compressed certificate is incomplete")
    return content


_ALGORITHMS: Final[dict[int, Callable[[bytes, int], bytes]]] = {ZLIB: _unzlib, BROTLI: _unbrotli, ZSTD: _unzstd}
"""Each returns what a stream holds, at most about the given number of bytes of it."""
