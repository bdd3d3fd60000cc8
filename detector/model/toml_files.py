"""TOML files that people write: read strictly, or refused in one sentence that says what is wrong and what to do.

Room: model. Reads the one file that is named. Pin files and exam policies are read with it.

Anything unknown, doubtful or of the wrong type is refused with the file, the position, the field, the reason and the
cure. Nothing is guessed: a misspelled key must not mean a default.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from .files import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from detector.errors import InputError

MAX_BYTES: Final = 1024 * 1024
"""Largest file read, in bytes: room for thousands of endpoints, no room for a disk image."""

MAX_TEXT: Final = 200
"""Longest name or value shown, in characters; it must fit on a line of a report."""

NEAR: Final = 0.75
"""Similarity (difflib's ratio) from which a known key is suggested for another one: a letter or two of a short word."""

KEY_PARTS_MAX: Final = 34
"""Parts of a dotted key. tomllib takes time in the square of their number: 32 KiB of them took two seconds. No key here
has more than three; the longest name that a text may hold, a reverse one of IPv6 (RFC 3596), has 34."""

_DEEP_KEY: Final = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){%d}""" % KEY_PARTS_MAX  # noqa: UP031 - the pattern has braces of its own
)
"""More parts than that in a row. Possessive, so that it takes linear time itself."""

_T = TypeVar("_T")


def read(path: Path, *, kind: str, error: type[InputError]) -> dict[str, Any]:
    """Read a TOML file. `kind` names it in messages ("pin file").

    Raises `error` when the file cannot be read, is too large, not UTF-8 or not TOML.
    """
    return parse(path, read_file(path, most=MAX_BYTES, kind=kind, error=error), error=error)


def parse(path: Path, data: bytes, *, error: type[InputError]) -> dict[str, Any]:
    """Read the content of a TOML file. Raises `error`, which names the file, when it is not UTF-8 or not TOML."""
    try:
        return decode(data)
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not UTF-8 text (byte {problem.start}).", advice="Save it as UTF-8.") from problem
    except ValueError as problem:
        raise error(f"{path}: not TOML: {problem}.", advice="Correct the file at that position.") from problem


def decode(data: bytes) -> dict[str, Any]:
    """Decode TOML, in linear time. Raises `ValueError`: `UnicodeDecodeError` where it is not UTF-8."""
    text = data.decode("utf-8-sig")  # editors on Windows write a byte order mark
    if (deep := _DEEP_KEY.search(text)) is not None:
        line = text.count("\n", 0, deep.start()) + 1
        raise ValueError(f"a key or name of more than {KEY_PARTS_MAX} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def shown(value: object) -> str:
    """Quote a value for a message, bounded and escaped."""
    text = repr(value) if isinstance(value, (str, int, float, bool)) else type(value).__name__
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


class TableFile:
    """One file being read: its path and the position, for messages and relative paths."""

    def __init__(self, path: Path, error: type[InputError]) -> None:
        self._path = path
        self._error = error
        self._where = ""

    def _each(self, table: dict[str, Any], key: str, read: Callable[[str, str], _T]) -> tuple[_T, ...]:
        """Apply `read(field, text)` to each text of a list."""
        values = table.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self._refuse(key, "is not a list of texts", f'Write {key} = ["…"].')
        return tuple(read(f"{key}[{index}]", value) for index, value in enumerate(values))

    def _text(self, table: dict[str, Any], key: str) -> str | None:
        """One line of text, None where the key is absent."""
        value = table.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
            self._refuse(key, f"is not one line of 1 to {MAX_TEXT} characters", f'Write {key} = "…" or leave it out.')
        return str(value)

    def _flag(self, table: dict[str, Any], key: str) -> bool:
        """True or false; false where the key is absent."""
        value = table.get(key, False)
        if not isinstance(value, bool):
            self._refuse(key, "is neither true nor false", f"Write {key} = true, without quotes.")
        return value

    def _schema(self, table: dict[str, Any], version: int) -> None:
        """Refuse any schema version other than `version`."""
        schema = table.get("schema")
        if type(schema) is not int or schema != version:
            self._refuse("schema", f"must be {version}", f"Write schema = {version} at the top of the file.")

    def _known_keys(self, table: dict[str, Any], known: Collection[str]) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key[:MAX_TEXT], known, n=1, cutoff=NEAR)
                advice = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
                self._refuse(shown(key), "is not a known key", advice)

    def _refuse(self, field: str, reason: str, advice: str) -> NoReturn:
        raise self._error(f"{self._path}:{self._where} {field}: {reason}.", advice=advice) from None
