"""Registrable domains: as tldextract finds them, without what tldextract takes to fetch a list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.knowledge import operators
from detector.knowledge.operators import (
    ONE_NETWORK,
    _by_tldextract,
    _finder,
    _read_rules,
    is_public,
    operator_of,
    registrable,
)
from detector.trust.hostname import NETWORK_SUFFIXES

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
    """For arbitrary names, with empty labels and anything else, the result is a suffix of the name."""
    found = registrable(host)
    assert found is None or host.endswith(found)


@given(st.lists(LABELS.filter(bool), min_size=1, max_size=6).map(".".join))
def test_proper_names_are_found_alike(host: str) -> None:
    """Where every label has something in it, both find the same."""
    assert registrable(host) == _THEIRS(host)


_THEIRS = _by_tldextract()


def test_without_the_copy_tldextract_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that was moved costs time and nothing else."""
    monkeypatch.setattr(operators, "_SNAPSHOT", "moved")
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
from detector.knowledge.operators import operator_of
assert operator_of("a.example.edu") == "example.edu"
heavy = {"tldextract", "requests", "urllib3", "importlib.resources"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("host", "operator"),
    [
        ("exam.example.edu", "example.edu"),
        ("EXAM.Example.edu.", "example.edu"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("a\u3002biz.at", "biz.at"),  # a full stop of another script
        ("one.github.io", "github.io"),
        ("x.s3.amazonaws.com", "amazonaws.com"),
        ("co.uk", ONE_NETWORK),
        ("x.unlisted-tld", ONE_NETWORK),
        ("a.x.unlisted-tld", ONE_NETWORK),
        ("8.8.8.8", ONE_NETWORK),
        ("2001:db8::1", ONE_NETWORK),
        ("10.0.0.7", ONE_NETWORK),
        ("nas", ONE_NETWORK),
        ("printer.local", ONE_NETWORK),
        *((f"exam.{suffix}", ONE_NETWORK) for suffix in ("test", "example", "invalid", "localhost", "onion", "alt")),
        *((f"moodle.{suffix}", ONE_NETWORK) for suffix in ("internal", "lan", "intra", "home.arpa", "campus.corp")),
    ],
)
def test_operator(host: str, operator: str) -> None:
    """Registrable domains by ICANN's section of the Public Suffix List; what means one network only is one operator."""
    assert operator_of(host) == operator


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("exam.example.edu", True),
        ("8.8.8.8", True),
        ("2a01:4f8:1::10", True),
        ("10.0.0.7", False),
        ("fe80::1", False),
        ("exam.internal", False),
        ("shop.test", False),
        ("nas", False),
    ],
)
def test_names_that_mean_one_host_everywhere(host: str, public: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """A public address is the same host on every network although its operator is unknown."""
    assert is_public(host) is public


def test_reserved_names_need_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is reserved or private is one network whatever a suffix list says, and without loading one."""
    monkeypatch.setattr(operators, "registrable", lambda _: pytest.fail("the suffix list was loaded"))
    for number, suffix in enumerate(sorted(NETWORK_SUFFIXES)):
        assert operator_of(f"unasked{number}.{suffix}") == ONE_NETWORK


@given(st.text(max_size=40))
def test_any_host_has_an_operator(host: str) -> None:
    """Whatever a target or a Date header calls a host, it has an operator."""
    assert operator_of(host)
