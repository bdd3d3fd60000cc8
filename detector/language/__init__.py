"""What a student reads, in the student's language: sentences with named fields, and their translations.

Room: language, a low one. Pure but for reading a catalogue, which is part of the package, on first use. The language is
an argument; nothing here reads the environment.

A sentence stands in the code in English, whole, marked with `N_` (or `N_plural`, where a number decides its form).
`scripts/build_language.py` collects what is marked into `data/<language>.po`, and compiles it. English needs no
catalogue and loads nothing.

    CONFIRMED = N_("The server of {place} was confirmed.")
    Messages.of("de-CH").say(Sentence(CONFIRMED, {"place": "Bern"}))
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NewType

from detector.aio.lazy import LazyModule
from detector.errors import InputError

if TYPE_CHECKING:
    import gettext
    from collections.abc import Iterable, Mapping
else:  # another language than English
    gettext = LazyModule("gettext")

ENGLISH: Final = "en"
"""The language of the sentences in the code, and the default."""

DATA: Final = Path(__file__).with_name("data")
"""The folder of the catalogues."""

CHARACTERS_MAX: Final = 35
"""Characters of a language tag (RFC 5646 section 4.4.1)."""

Text = NewType("Text", str)
"""An English sentence that the catalogues have. Its fields are names in braces."""


class Plural(NamedTuple):
    """A sentence whose form depends on its field `number`: the English one for 1, and for any other number."""

    one: str
    other: str


def N_(sentence: str) -> Text:  # noqa: N802 - what gettext's manual calls the mark of a sentence that is translated later
    """Mark a sentence for the catalogues; only a literal can be collected."""
    return Text(sentence)


def N_plural(one: str, other: str) -> Plural:  # noqa: N802 - in the form of gettext's mark for sentences that are translated later
    """Mark a sentence with its plural for the catalogues."""
    return Plural(one, other)


class Sentence(NamedTuple):
    """A sentence and its fields, in no language yet. A field may be a sentence itself."""

    text: Text | Plural
    fields: Mapping[str, str | int | Sentence] = {}

    def with_fields(self, **fields: str | int | Sentence) -> Sentence:
        """Return the sentence with these fields in addition."""
        return self._replace(fields={**self.fields, **fields})


class Messages:
    """The sentences in one language."""

    def __init__(self, language: str, translations: gettext.NullTranslations | None) -> None:
        self.language: Final = language
        self._translations: Final = translations

    @classmethod
    def of(cls, language: str) -> Messages:
        """Return the messages of a language tag (BCP 47). Raises `InputError` for a language without a catalogue."""
        return _messages(check(language))

    def say(self, sentence: Sentence) -> str:
        """Return a sentence in this language, with its fields."""
        text, fields = sentence
        words = {name: self.say(value) if isinstance(value, Sentence) else value for name, value in fields.items()}
        return self._template(text, fields).format_map(words)

    def say_all(self, sentences: Iterable[Sentence]) -> str:
        """Return one paragraph."""
        return " ".join(map(self.say, sentences))

    def _template(self, text: Text | Plural, fields: Mapping[str, object]) -> str:
        if isinstance(text, Plural):
            number = fields["number"]
            if not isinstance(number, int):
                raise TypeError("the field `number` of a plural is no whole number")
            if self._translations is None:
                return text.one if number == 1 else text.other
            return self._translations.ngettext(text.one, text.other, number)
        return text if self._translations is None else self._translations.gettext(text)


def some(names: Iterable[str], most: int | None) -> Sentence | str:
    """Return a field that lists names; of more than `most`, the others are counted."""
    every = list(names)
    listed, more = ", ".join(every[:most]), 0 if most is None else len(every) - most
    return Sentence(_MORE, {"hosts": listed, "number": more}) if more > 0 else listed


_MORE: Final = N_plural("{hosts} and {number} more", "{hosts} and {number} more")
"""`number` is that of hosts; English has one form for all."""


@functools.cache
def languages() -> tuple[str, ...]:
    """Return the languages that there are messages in, English first."""
    return ENGLISH, *sorted(file.stem for file in DATA.glob("*.mo"))


def known(tag: str) -> str | None:
    """Return the language of a tag by its lookup (RFC 4647 section 3.4): `de` for `de-CH`, None where none fits."""
    if len(tag) > CHARACTERS_MAX:
        return None
    subtags = tag.replace("_", "-").lower().split("-")
    codes = ("-".join(subtags[:length]) for length in range(len(subtags), 0, -1))
    return next((code for code in codes if code == ENGLISH or code in languages()), None)


def preferred(tags: Iterable[str], default: str) -> str:
    """Return the first of these languages that is known, or else the default. What is not known is passed over."""
    return next((code for tag in tags if (code := known(tag)) is not None), default)


def check(tag: object, field: str = "language", *, error: type[InputError] = InputError) -> str:
    """Return the language of a tag. Raises `error`, which names the field and the known languages."""
    code = known(tag) if isinstance(tag, str) else None
    if code is None:
        named = f" {tag[:CHARACTERS_MAX]!r}" if isinstance(tag, str) else ""
        raise error(
            f"{field}:{named} is not a language that messages are available in.",
            advice=f"Choose one of {', '.join(languages())}.",
        )
    return code


@functools.cache
def _messages(code: str) -> Messages:
    if code == ENGLISH:
        return Messages(code, None)
    with (DATA / f"{code}.mo").open("rb") as file:
        return Messages(code, gettext.GNUTranslations(file))
