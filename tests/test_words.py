"""The word list: no text uses a word that CONTRIBUTING.md replaces, except in the contexts it allows.

The table "Words" in CONTRIBUTING.md is the only source; this file parses it. A term in the first column matches in
running text, across line ends, and as a part of an identifier (`look` in `last_look`), with a small or a capital first
letter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
CHECKED: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "mkdocs.yml",
    "docs",
    "detector",
    "packages",
    "evaluation",
    "benchmark",
    "scripts",
    "pins",
    "tests",
)
"""Files and folders that are checked; a folder with everything in it of these kinds."""
KINDS: Final = {".css", ".jinja", ".js", ".md", ".py", ".toml", ".yml"}
GENERATED: Final = {
    "docs/accuracy.md",  # by the evaluation
    "docs/mutations.md",  # by scripts/mutate_checks.py
    "docs/performance.md",  # its tables by the benchmark
}
"""Pages that programs write: their words come from those programs."""

TABLE: Final = re.compile(r"^\| Do not write \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
BETWEEN: Final = r"(?:\s+(?:#\s+|\*\s+|//\s+)?)"
"""White space between two words, also where a line of a comment ends between them."""


class Entry(NamedTuple):
    """One row of the word list: terms to avoid, what to write instead, phrases in which the terms are right."""

    terms: tuple[str, ...]
    instead: str
    allowed: tuple[str, ...]


def word_list(page: str) -> list[Entry]:
    """The rows of the table "Words" in CONTRIBUTING.md."""
    (rows,) = TABLE.findall(page)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]
    return [Entry(tuple(re.findall(r"`([^`]+)`", a)), b, tuple(re.findall(r"`([^`]+)`", c))) for a, b, c in cells]


def pattern(phrase: str) -> str:
    """A regular expression for a phrase: whole words, either case of the first letter, any white space."""
    first, rest = phrase[0], phrase[1:]
    words = rf"[{first.lower()}{first.upper()}]{re.escape(rest)}" if first.isalpha() else re.escape(phrase)
    before = r"(?<![A-Za-z])" if first.isalpha() else ""
    after = r"(?![A-Za-z])" if phrase[-1].isalpha() else ""
    return before + words.replace(r"\ ", BETWEEN) + after


def problems(text: str, entries: list[Entry]) -> Iterator[tuple[int, str, str]]:
    """Line, term and replacement of every listed term in a text."""
    for terms, instead, allowed in entries:
        open_text = text
        if allowed:
            open_text = re.sub("|".join(map(pattern, allowed)), lambda found: "\0" * len(found[0]), text)
        for found in re.finditer("|".join(map(pattern, terms)), open_text):
            yield text.count("\n", 0, found.start()) + 1, found[0], instead


def checked_files() -> list[Path]:
    """Every file that is checked, in order."""
    roots = [ROOT / name for name in CHECKED]
    found = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*"))]
    return sorted(
        p
        for p in found
        if p.suffix in KINDS and p.relative_to(ROOT).as_posix() not in GENERATED and p != Path(__file__)
    )


ENTRIES: Final = word_list((ROOT / "CONTRIBUTING.md").read_text("utf-8"))


def complaints(path: Path) -> list[str]:
    """What is wrong with the words of a file, one line each; the table itself is not part of CONTRIBUTING.md's text."""
    text = path.read_text("utf-8")
    if path.name == "CONTRIBUTING.md":
        text = TABLE.sub(lambda found: "\n" * found[0].count("\n"), text)
    return [f"{path.name}:{line}: {term!r}: write {instead}" for line, term, instead in problems(text, ENTRIES)]


@pytest.mark.parametrize("path", checked_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words(path: Path) -> None:
    """The file uses none of the listed terms."""
    assert complaints(path) == []


@pytest.mark.parametrize("path", checked_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_planted_word_fails(path: Path, tmp_path: Path) -> None:
    """The same file with one listed term at its end does not pass, and the complaint says where and what to write."""
    planted = tmp_path / path.name
    planted.write_text(path.read_text("utf-8") + "\nIt goes before the proxy.\n", "utf-8")
    (complaint,) = complaints(planted)
    assert complaint.endswith(": 'goes before': write takes precedence over")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("It looks at the host.", ["looks"]),
        ("It looks up the host, which\nlooks\nlike a proxy.", []),
        ("Nothing of it is to\n    # be had here.", ["to\n    # be had"]),
        ("if answer is None:", []),
        ("A proxy that is none.", ["is none"]),
        ("def last_octet(beside: int) -> int:", ["octet", "beside"]),
        ("OCTET STRING, outlook, besides", []),
        ("part.looks, last_look, part.judged", []),
    ],
)
def test_planted_words_are_found(text: str, terms: list[str]) -> None:
    """A listed term is found in prose, in comments and in identifiers; an allowed phrase and a longer word are not."""
    assert sorted(term for _, term, _ in problems(text, ENTRIES)) == sorted(terms)


def test_every_row_says_what_to_write() -> None:
    """No row lacks a term or a replacement, and no term is listed twice."""
    terms = [term for entry in ENTRIES for term in entry.terms]
    assert all(entry.terms and entry.instead for entry in ENTRIES)
    assert len(terms) == len(set(terms)) > 50
