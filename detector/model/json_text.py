"""Decodes JSON that somebody else wrote: into a record, or one error, whatever the bytes are.

Room: model. Pure.

msgspec, which decodes, fails with four kinds of errors: on what is not JSON or does not fit, on text that is not UTF-8,
on nesting that exhausts the stack, and on numbers that no machine type holds. All of them are a `MalformedError` here.
A number in a record is bounded by its field (`Count`), so that what was decoded can be encoded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from detector.aio.lazy import LazyModule

if TYPE_CHECKING:
    import json
else:
    json = LazyModule("json")  # for evidence bundles alone

MESSAGE_CHARACTERS_MAX: Final = 200
"""Characters of a decoder's message that are kept. It can repeat what was read."""

T = TypeVar("T")


class MalformedError(ValueError):
    """Bytes that are not the JSON of the expected record; the text is one clause, printable and bounded."""


def decode(data: bytes | str, kind: type[T]) -> T:
    """Decode a record. Raises `MalformedError` and nothing else."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        text = str(error)[:MESSAGE_CHARACTERS_MAX]
        raise MalformedError("".join(c if c.isprintable() else "?" for c in text)) from error


def decode_unambiguous(data: bytes, kind: type[T]) -> T:
    """Decode a record in which no object, read or not, has a key twice. Raises `MalformedError`.

    Programs differ in which of two equal keys counts (RFC 8259 section 4), so that a signed text with both would mean
    one thing here and another elsewhere. msgspec takes the last without a word.
    """
    try:
        json.loads(data, object_pairs_hook=_refuse_repeated, parse_int=len, parse_float=len)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)[:MESSAGE_CHARACTERS_MAX]) from error
    return decode(data, kind)


def _refuse_repeated(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("an object has a key twice")
