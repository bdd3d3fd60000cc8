"""Registrable domains: as tldextract finds them, without what tldextract takes to fetch a list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from detector.trust import suffixes
from detector.trust.suffixes import _by_tldextract, _finder, _read_rules, registrable

if TYPE_CHECKING:
    import pytest

LABELS = st.sampled_from(
    [
        "a",
        "b",
        "www",
        "city",
        "com",
        "co",
        "uk",
        "ck",
        "jp",
        "kawasaki",
        "edu",
        "org",
        "github",
        "io",
        "xn--p1ai",
        "xn--",
        "",
    ]
)


def test_every_rule_is_read_as_tldextract_reads_it() -> None:
    """Each suffix of the list, and names below it, written with and without letters beyond ASCII."""
    rules, theirs = _read_rules(), _by_tldextract()
    assert rules is not None
    assert len(rules) > 6000
    for rule in rules:
        name = rule.removeprefix("!").replace("*", "any")
        ascii_name = ".".join(x if x.isascii() else x.encode("idna").decode() for x in name.split("."))
        for host in (name, ascii_name, f"a.{ascii_name}", f"b.a.{ascii_name}"):
            assert registrable(host) == theirs(host), host


@given(st.lists(LABELS, max_size=6).map(".".join) | st.text(max_size=30))
def test_any_name_is_an_answer(host: str) -> None:
    """Names that somebody chose, empty labels and anything else among them: what is found is the end of the name."""
    found = registrable(host)
    assert found is None or host.endswith(found)


@given(st.lists(LABELS.filter(bool), min_size=1, max_size=6).map(".".join))
def test_proper_names_are_found_alike(host: str) -> None:
    """Where every label has something in it, both find the same."""
    assert registrable(host) == _THEIRS(host)


_THEIRS = _by_tldextract()


def test_without_the_copy_tldextract_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that was moved costs time and nothing else."""
    monkeypatch.setattr(suffixes, "_COPY", "moved")
    _finder.cache_clear()
    try:
        assert _read_rules() is None
        assert registrable("exam.example.co.uk") == "example.co.uk"
        assert registrable("x.github.io") == "github.io"
        assert registrable("x.unlisted-tld") is None
    finally:
        _finder.cache_clear()


def test_nothing_that_fetches_is_loaded() -> None:
    """Neither tldextract nor an HTTP client."""
    code = """
import json, sys
from detector.trust.hostname import operator_of
assert operator_of("a.example.edu") == "example.edu"
heavy = {"tldextract", "requests", "urllib3", "importlib.resources"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert json.loads(done.stdout) == []
