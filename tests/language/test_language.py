"""The language room: which language a tag means, and what a sentence is in it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError, PolicyError
from detector.language import (
    CHARACTERS_MAX,
    ENGLISH,
    Messages,
    N_plural,
    Sentence,
    Text,
    check,
    known,
    languages,
    preferred,
)

MORE = N_plural("{hosts} and {number} more", "{hosts} and {number} more")
"""A sentence that the catalogues have, with a form for one."""


class TestLanguageOfATag:
    @pytest.mark.parametrize(
        ("tag", "language"),
        [
            ("de", "de"),
            ("de-CH", "de"),
            ("DE_at", "de"),
            ("de-Latn-DE-1996", "de"),
            ("en", "en"),
            ("en-US@posix", "en"),
            ("en-GB-oed", "en"),
            ("deu", None),
            ("fr-DE", None),
            ("*", None),
            ("", None),
            ("-de", None),
            ("../de", None),
            ("de-" + "x" * CHARACTERS_MAX, None),
        ],
    )
    def test_lookup(self, tag: str, language: str | None) -> None:
        """Subtags are dropped from the end until a catalogue fits; nothing else is guessed."""
        assert known(tag) == language

    @given(st.text())
    def test_any_text(self, tag: str) -> None:
        """Any text is a language that is known, or none; the error names both field and languages."""
        if known(tag) is not None:
            assert check(tag) == known(tag)
            return
        with pytest.raises(PolicyError, match=rf"^language: .* Choose one of {', '.join(languages())}\.$"):
            check(tag, error=PolicyError)

    @pytest.mark.parametrize("tag", [None, 7, ["de"]])
    def test_no_text(self, tag: object) -> None:
        """What is no text is no language."""
        with pytest.raises(InputError, match="Choose one of en, "):
            check(tag)

    def test_preferred(self) -> None:
        """The first that is known; unknown ones are passed over, and the default is for when there is none."""
        assert preferred(["fr-FR", "de-CH", "en"], ENGLISH) == "de"
        assert preferred(["en-GB", "de"], "de") == ENGLISH
        assert preferred(["fr"], "de") == "de"
        assert preferred([], "de") == "de"


class TestSaying:
    @pytest.mark.parametrize(
        ("language", "number", "said"),
        [
            ("en", 1, "a and 1 more"),
            ("en", 2, "a and 2 more"),
            ("de", 1, "a und 1 weiterer"),
            ("de", 2, "a und 2 weitere"),
            ("de-AT", 0, "a und 0 weitere"),
        ],
    )
    def test_number_decides_the_form(self, language: str, number: int, said: str) -> None:
        """Each language has its own forms."""
        assert Messages.of(language).say(Sentence(MORE, {"hosts": "a", "number": number})) == said

    def test_fields_are_no_templates(self) -> None:
        """A field may be a sentence; a value is never read as one."""
        inner = Sentence(MORE, {"hosts": "{0.__class__} {number}", "number": 2})
        outer = Sentence(Text("It looks like {product}."), {"product": inner})
        assert Messages.of("de").say(outer) == "Es sieht nach {0.__class__} {number} und 2 weitere aus."

    def test_a_plural_needs_a_number(self) -> None:
        """A form cannot be chosen by anything else."""
        with pytest.raises(TypeError, match="number"):
            Messages.of("en").say(Sentence(MORE, {"hosts": "a", "number": "2"}))

    def test_a_sentence_without_translation_stays_english(self) -> None:
        """That no student's sentence is one is tested on the catalogues."""
        assert Messages.of("de").say(Sentence(Text("Not in any catalogue."))) == "Not in any catalogue."


@pytest.mark.parametrize(("language", "loaded"), [("en", False), ("en-GB", False), ("de", True)])
def test_english_loads_nothing(language: str, loaded: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """What exam starts in English need of other languages: nothing."""
    code = (
        "import sys; from detector.language import Messages, N_, Sentence\n"
        f"Messages.of({language!r}).say(Sentence(N_('It looks like {{product}}.'), {{'product': 'x'}}))\n"
        "print('gettext' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{loaded}\n"
