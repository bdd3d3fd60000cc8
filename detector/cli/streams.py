"""How standard output and standard error encode text: what programs read as UTF-8, what people read as the locale says.

Room: cli.
"""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final

import click

FALLBACK: Final = "detector-fallback"
"""Error handler of what people read: a character that the locale's encoding lacks becomes ASCII, no other changes."""
ESCAPED: Final = "backslashreplace"
"""Error handler of what programs read: UTF-8 lacks nothing but lone surrogates, as from a file name (PEP 383)."""
PLAIN: Final = str.maketrans(
    {
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHTWARDS ARROW}": "->",
        "\N{MIDDLE DOT}": "-",
        "\N{CHECK MARK}": "+",
        "\N{BALLOT X}": "x",
        **dict(zip("ÄÖÜäöüß", ("Ae", "Oe", "Ue", "ae", "oe", "ue", "ss"), strict=True)),
    }
)
"""Typographic characters and letters of our own texts, in ASCII; German itself writes its letters so. All others are
escaped, so that no name can be mistaken."""


def printable(text: str, *, keep: str = "") -> str:
    """Text of others, made harmless for a terminal: what is not printable is escaped, but for `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def put(text: str, *, color: bool | None = None) -> None:
    """Write a line to standard output; `color` is click's, which decides by the stream.

    click's own choice of a stream ignores that the locale's encoding is ASCII, and writes UTF-8.
    """
    click.echo(text, file=sys.stdout, color=color)


def configure() -> None:
    """Let no character of a text end a command, in whatever encoding Python opened the standard streams."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=FALLBACK)


def for_programs() -> None:
    """Encode standard output as UTF-8 with the line ends of POSIX, whatever the locale and the system."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors=ESCAPED, newline="\n")


def encodable(text: str) -> str:
    """The text as standard output shows it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, FALLBACK).decode(encoding)


def _fall_back(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    around = error.object[max(0, error.start - 1) : error.start] + error.object[error.end : error.end + 1]
    if around.isupper():  # in a word of capitals
        text = text.upper()
    return text.encode("ascii", ESCAPED).decode("ascii"), error.end


codecs.register_error(FALLBACK, _fall_back)
