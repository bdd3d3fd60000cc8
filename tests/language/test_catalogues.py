"""The catalogues: no sentence that a student reads is missing, and each says what the English one says."""

from __future__ import annotations

import ast
import re
import string
from typing import TYPE_CHECKING, Final

import build_language
import pytest
from babel.messages.pofile import read_po, write_po

from detector import language
from detector.exam import student
from detector.judge import advice, table
from detector.language import DATA, Plural
from detector.model import Audience

if TYPE_CHECKING:
    from pathlib import Path

    from babel.messages.catalog import Catalog

CODES: Final = build_language.codes()
SENTENCES: Final = frozenset(part for entry in build_language.template() for part in build_language.parts(entry.id))
"""All that is marked."""
AT_EXAM_START: Final = ("exam", "guard", "judge")
"""The rooms whose sentences are said at exam start; a report's are about exams whatever was checked."""


@pytest.fixture(scope="module", params=CODES)
def code(request: pytest.FixtureRequest) -> str:
    """A language."""
    return str(request.param)


@pytest.fixture(scope="module")
def catalog(code: str) -> Catalog:
    """Its catalogue as in the repository."""
    with (DATA / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def test_german_is_there() -> None:
    """The language that the exams are held in first."""
    assert "de" in CODES


class TestCatalogue:
    def test_is_current(self, code: str) -> None:
        """It has exactly the marked sentences; `python scripts/build_language.py` writes it."""
        assert (DATA / f"{code}.po").read_text("utf-8") == build_language.source(code)

    def test_is_compiled(self, code: str, catalog: Catalog) -> None:
        """The program reads what the catalogue says."""
        assert build_language.compiled(code) == build_language.entries(catalog)

    def test_is_whole(self, catalog: Catalog) -> None:
        """Every sentence is translated in every form, and none of the translations is a guess."""
        assert [entry.id for entry in catalog if entry.id and not all(build_language.parts(entry.string))] == []
        assert [entry.id for entry in catalog if entry.id and entry.fuzzy] == []
        forms = {len(build_language.parts(entry.string)) for entry in catalog if entry.pluralizable}
        assert forms <= {catalog.num_plurals}

    def test_fields_are_the_same(self, catalog: Catalog) -> None:
        """Each form of a translation has the fields of the English sentence, and no other thing in braces."""
        for entry in catalog:
            if not entry.id:
                continue
            wanted = {field for part in build_language.parts(entry.id) for field in fields_of(part)}
            for form in build_language.parts(entry.string):
                assert fields_of(form) == wanted, entry.id

    def test_sentences_stay_sentences(self, catalog: Catalog) -> None:
        """A translation begins and ends as the English one, and differs from it."""
        for entry in catalog:
            for english, other in zip(
                build_language.parts(entry.id), build_language.parts(entry.string), strict=not entry.pluralizable
            ):
                if not english:
                    continue
                assert other != english or not re.search(r"[A-Za-z]{4}", re.sub(r"\{.*?\}", "", english))
                assert other == other.strip()
                assert "  " not in other
                assert other.isprintable()
                assert other.endswith(".") is english.endswith("."), english
                assert not english[0].isupper() or other[0].isupper(), english


def fields_of(template: str) -> set[str]:
    """The names in braces. Nothing but names may stand there."""
    found = [part for part in string.Formatter().parse(template) if part[1] is not None]
    for _, name, spec, conversion in found:
        assert re.fullmatch(r"[a-z_]+", name or "")
        assert not spec
        assert conversion is None
    return {str(name) for _, name, _, _ in found}


def test_another_language_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new catalogue begins empty; translated and compiled, the language is known."""
    for module in (build_language, language):
        monkeypatch.setattr(module, "DATA", tmp_path)
    language.languages.cache_clear()
    try:
        assert build_language.build("es") == len(build_language.template())
        catalog = build_language.catalogue("es")
        for entry in catalog:
            text = f"{build_language.parts(entry.id)[0]} (es)"
            entry.string = (text,) * catalog.num_plurals if entry.pluralizable else text
        with (tmp_path / "es.po").open("wb") as file:
            write_po(file, catalog)
        assert build_language.build("es") == 0
        language.languages.cache_clear()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["es.mo", "es.po"]
        said = language.Messages.of("es-MX").say(language.Sentence(student.CONFIRMED))
        assert said == "The exam server was confirmed. (es)"
    finally:
        language.languages.cache_clear()


class TestGerman:
    def test_is_formal_and_names_no_gender(self) -> None:
        """Students are addressed as Sie; nobody is a Student, Administrator or Betreiber."""
        with (DATA / "de.po").open("rb") as file:
            forms = [form for entry in read_po(file) if entry.id for form in build_language.parts(entry.string)]
        for form in forms:
            assert not re.search(r"\b(du|dich|dir|dein\w*|euch|euer)\b", form, re.IGNORECASE), form
            assert not re.search(r"\b(Student|Nutzer|Administrator|Betreiber|Mitarbeiter|Angreifer)\b", form), form

    def test_accuses_nobody(self) -> None:
        """Neither suspicion nor blame, and no name of the verdict."""
        text = (DATA / "de.po").read_text("utf-8")
        translated = "\n".join(re.findall(r'^msgstr.*(?:\n".*)*', text, re.MULTILINE))
        assert not re.search(r"Betrug|betrüg|täusch|verdächt|Verdacht|Angriff|Schuld|Middleware|illegal", translated)


class TestEverySentenceIsMarked:
    def test_marks_are_literals(self) -> None:
        """What is marked can be collected: a literal, not a variable."""
        count = 0
        texts = {path: path.read_text("utf-8") for path in (build_language.ROOT / "detector").rglob("*.py")}
        for path, text in texts.items():
            for node in ast.walk(ast.parse(text)) if "N_" in text else ():
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in {"N_", "N_plural"}
                ):
                    assert all(isinstance(word, ast.Constant) for word in node.args), (path, node.lineno)
                    count += 1
        assert count >= len(build_language.template())

    def test_rules(self) -> None:
        """Why a rule decided, and what it advises students."""
        for rule in table.TABLE:
            to_student = (one.get(Audience.STUDENT, "") for one in (rule.advice, rule.advice_stale_pins, rule.attack))
            assert {rule.why, rule.why_stale_pins, *to_student} - {""} <= SENTENCES, rule.reason

    def test_advice(self) -> None:
        """By manager and by outcome of the connection."""
        managers = (*advice._BY_MANAGER.values(), *advice._OF_OTHER_HOSTS.values())
        assert {texts[Audience.STUDENT] for texts in managers} | {*advice._BY_OUTCOME.values()} <= SENTENCES

    def test_the_exam_is_left_out_where_there_is_none(self) -> None:
        """Each sentence at exam start that speaks of an exam has one that does not, with the same fields."""
        others = {**student.WITHOUT_EXAM, **advice.WITHOUT_EXAM}
        of_exam_servers = {*student.UNCONFIRMED_EXAM}
        at_start = [
            one
            for one in build_language.template()
            if one.id and {*AT_EXAM_START} & {file.split("/")[1] for file, _ in one.locations}
        ]
        texts = {part for entry in at_start for part in build_language.parts(entry.id)}
        speaking = {text for text in texts if re.search(r"\bexams?\b", text)}
        assert not of_exam_servers & {*others}
        for text, other in others.items():
            assert isinstance(text, Plural) is isinstance(other, Plural)
        pairs = [pair for both in others.items() for pair in zip(*map(build_language.parts, both), strict=True)]
        assert speaking - of_exam_servers <= {text for text, _ in pairs}
        for text, other in pairs:
            assert other not in speaking
            assert fields_of(text) == fields_of(other)
