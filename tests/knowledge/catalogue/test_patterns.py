"""Tests of the catalogue's patterns: which are taken, and that those compile and stay what they say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.stored_sets import install, part

from detector.knowledge import data_set
from detector.knowledge.catalogue import CatalogueFile, Fact, Field, Match, patterns
from detector.knowledge.part import decode
from detector.model import KnowledgeKind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "a",
            "^a$",
            "(?i)^netskope,? inc\\.?$",
            "^F[0-9A-Z]{2,6}[0-9A-Z]*[FT]K\\d{8}$",
            "Aruba(?! S\\.p\\.A| PEC)",
        ),
        *("(^|\\.)goskope\\.com$", "^mkcert \\S+", "^x( [0-9a-f]{16,64})?$", "^a{3,}", "[^a-z]", "a|b", "^(a(b|c)?)?$"),
    ],
)
def test_patterns_that_are_taken(pattern: str) -> None:
    """Characters, sets, optional groups, bounded repetitions, and one without an end after ^."""
    patterns.check(pattern)
    re.compile(pattern)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a+)+$", "begins something"),  # exponential
        ("^(a|a)*$", "begins something"),
        ("^(a|aa)+$", "begins something"),
        ("^(a?){9}", "begins something"),
        ("^a*a*$", "choices"),  # quadratic, and more with each further one
        ("^a*b+$", "choices"),
        (".*x", "begins with"),  # quadratic: it begins again at every place
        ("a+$", "begins with"),
        ("^a|b*", "begins with"),
        ("(^a)b*", "begins with"),
        ("(?i)a*", "begins with"),
        ("^a{0,99}b{0,99}", "choices"),
        ("(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)", "choices"),
        ("a?" * 8, "choices"),
        ("a*?", "begins something"),
        ("^a**", "begins something"),
        ("^a*+", "begins something"),
        ("^*", "begins something"),
        ("*a", "begins something"),
        ("?", "begins something"),
        ("(*a)", "begins something"),
        ("a{1000}", "begins something"),
        ("a{2", "begins something"),
        ("a}", "begins something"),
        ("a]", "begins something"),
        ("[]", "begins something"),
        ("[[:alpha:]]", "begins something"),
        ("[a--b]", "begins something"),
        ("[z-a]", "empty"),
        ("a{3,2}", "at least"),
        ("(a", "not closed"),
        ("a)", "not opened"),
        ("a)(b", "not opened"),
        ("(?!a", "not closed"),
        ("(?!a*)", "not follow"),
        ("(?!(a|b))", "not follow"),
        ("(?=a)", "begins something"),
        ("(?<!a)b", "begins something"),
        ("(?:a)", "begins something"),
        ("(?P<n>a)(?P=n)", "begins something"),
        ("(a)\\1", "begins something"),
        ("a(?i)", "begins something"),
        ("(?x)a", "begins something"),
        ("\\w", "begins something"),
        ("\\b", "begins something"),
        ("\\", "begins something"),
        ("a" * 257, "characters"),
    ],
)
def test_patterns_that_are_refused(pattern: str, why: str) -> None:
    """Everything that backtracks more than once over the value, and everything that is not described."""
    with pytest.raises(ValueError, match=why):
        patterns.check(pattern)


@given(st.text(alphabet="a-z09.\\[](){}|?*+^$,!:=<#iPds ", max_size=24))
@example("[a-]")
@example("(?i)(?i)")
@example("{,3}")
def test_what_is_taken_compiles(pattern: str) -> None:
    """Whatever the text is, it is refused with a ValueError, or `re` compiles it without a warning."""
    try:
        patterns.check(pattern)
    except ValueError:
        return
    re.compile(pattern)


def test_every_shipped_pattern_is_taken() -> None:
    """The catalogue of the package has patterns, and is what one from elsewhere has to be."""
    facts = [fact for entry in data_set.shipped().catalogue.entries for fact in entry.facts]
    assert sum(fact.match is Match.REGEX for fact in facts) > 50
    decode((data_set.DATA / "interceptors.json").read_bytes(), CatalogueFile, name="interceptors.json", schema=2)


def test_a_catalogue_from_elsewhere_is_refused_for_a_pattern(tmp_path: Path) -> None:
    """One pattern that could take for ever, and the shipped catalogue serves; the sentence names the entry."""
    content = json.loads((data_set.DATA / "interceptors.json").read_bytes())
    content["entries"][3]["facts"].append({"field": "CN", "match": "regex", "value": "(a+)+$"})
    install(tmp_path, {"interceptors.json": part(KnowledgeKind.CATALOGUE, entries=content["entries"])})
    data = data_set.installed(tmp_path)
    assert len(data.catalogue.entries) == len(content["entries"])
    assert data.part(KnowledgeKind.CATALOGUE).name == data_set.SHIPPED
    assert "`entries[3].facts[" in data.warnings[0]


@pytest.mark.parametrize(
    ("field", "match", "value"),
    [
        (Field.SHA256, Match.EXACT, "AA" * 32),
        (Field.SHA256, Match.EXACT, "aa" * 31),
        (Field.SPKI_SHA256, Match.CONTAINS, "aa" * 32),
    ],
)
def test_a_fact_is_checked_when_it_is_made(field: Field, match: Match, value: str) -> None:
    """A fact with a hash that is not one does not exist."""
    with pytest.raises(ValueError, match="hash"):
        Fact(field=field, match=match, value=value)
