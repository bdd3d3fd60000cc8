"""Collect the sentences that are marked for translation, and compile the catalogues of detector/language/data.

python scripts/build_language.py        # update every catalogue; says what is not translated yet
python scripts/build_language.py es     # the same, and begin that language

A catalogue (`<language>.po`) is edited by hand or with any editor of gettext catalogues; the program reads the compiled
one (`<language>.mo`).
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import read_mo, write_mo
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po, write_po

from detector.language import DATA

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).resolve().parent.parent
MARKS: Final = {"N_": None, "N_plural": (1, 2)}
"""The functions of `detector.language` that mark a sentence, and which of their arguments are sentences."""
COLUMNS: Final = 120
HEADER: Final = """\
# Sentences for students, in {name}. docs/languages.md says how to translate; scripts/build_language.py writes the rest.
msgid ""
msgstr ""
"Language: {code}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals}\\n"

"""
"""No dates and no names: the history of the file has them."""

Entry = tuple[tuple[str, ...], tuple[str, ...]]
"""A sentence, with its plural where it has one, and its translation."""


def template() -> Catalog:
    """Return all marked sentences, with the modules that have them."""
    catalog = Catalog()
    for path in sorted((ROOT / "detector").rglob("*.py")):
        for _, sentence, _, _ in extract_from_file("python", path, keywords=MARKS):
            catalog.add(sentence, locations=[(path.relative_to(ROOT).as_posix(), 0)])
    return catalog


def catalogue(code: str) -> Catalog:
    """Return the catalogue of a language with exactly the marked sentences; a new one is empty."""
    path = DATA / f"{code}.po"
    catalog = Catalog(locale=code)
    if path.exists():
        with path.open("rb") as file:
            catalog = read_po(file, locale=code)
    catalog.update(template(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    return catalog


def source(code: str) -> str:
    """Return the text of a catalogue's `.po`."""
    catalog, written = catalogue(code), io.BytesIO()
    write_po(written, catalog, width=COLUMNS, omit_header=True, include_lineno=False, sort_by_file=True)
    name = Locale.parse(code).english_name
    return HEADER.format(name=name, code=code, plurals=get_plural(code).plural_forms) + written.getvalue().decode()


def entries(catalog: Catalog) -> list[Entry]:
    """Return the sentences of a catalogue that are translated, sorted."""
    every = ((parts(message.id), parts(message.string)) for message in catalog if message.id)
    return sorted((sentence, translation) for sentence, translation in every if all(translation))


def parts(text: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the forms of a sentence or of a translation; one empty form where there is none."""
    return (text,) if isinstance(text, str) else tuple(text or ("",))


def compiled(code: str) -> list[Entry]:
    """Return what a catalogue's `.mo` has."""
    path = DATA / f"{code}.mo"
    if not path.exists():
        return []
    with path.open("rb") as file:
        return entries(read_mo(file))


def build(code: str) -> int:
    """Write one language; return how many sentences are not translated."""
    (DATA / f"{code}.po").write_text(source(code), "utf-8")
    catalog = catalogue(code)
    if compiled(code) != entries(catalog):  # the file also has dates
        with (DATA / f"{code}.mo").open("wb") as file:
            write_mo(file, catalog)
    return len(catalog) - len(entries(catalog))


def codes() -> list[str]:
    """Return the languages that have a catalogue."""
    return sorted(path.stem for path in DATA.glob("*.po"))


if __name__ == "__main__":
    for one in sorted({*codes(), *sys.argv[1:]}):
        missing = build(one)
        print(f"{one}: {missing} sentences are not translated" if missing else f"{one}: complete")
