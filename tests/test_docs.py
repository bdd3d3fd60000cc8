"""Documents that must not drift from the code: schemas, the decision table, the architecture, the site's navigation."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path

from detector.judge.checks import MODULES
from detector.judge.evidence import Identity
from detector.model import Reason
from detector.report import learn_more
from detector.trust.classes import ChainClass
from detector.version import VERSION

ROOT = Path(__file__).resolve().parent.parent


def test_schema_is_current() -> None:
    """The schemas in docs are what the records say; `python scripts/build_schema.py` writes them."""
    script = runpy.run_path(str(ROOT / "scripts" / "build_schema.py"))
    for name in script["SCHEMAS"]:
        assert (ROOT / "docs" / name).read_text("utf-8") == script["text"](name)


def test_schema_has_no_place_for_the_person() -> None:
    """No field of a report or an event could hold who or where the student is.

    ClientHello is a TLS message; `machine_roots` are CAs added to the machine that end a chain, and nothing else of it.
    """
    schemas = [json.loads(path.read_text("utf-8")) for path in (ROOT / "docs").glob("*.schema.json")]
    names = {name for s in schemas for record in s["$defs"].values() for name in record.get("properties", {})}
    assert len(schemas) > 1
    assert not {
        n
        for n in names
        if re.search(r"user|machine(?!_roots)|hostname|client(?!_hello)|student|local_address|mac\b", n)
    }


def test_the_decision_page_is_current() -> None:
    """docs/decisions.md is what the table says; `python scripts/build_decisions.py` writes it."""
    script = runpy.run_path(str(ROOT / "scripts" / "build_decisions.py"))
    assert (ROOT / "docs" / "decisions.md").read_text("utf-8") == script["page"]()


def test_the_page_on_the_server_s_side_is_current() -> None:
    """docs/origin-decisions.md is what its tables say; `python scripts/build_origin_decisions.py` writes it."""
    script = runpy.run_path(str(ROOT / "scripts" / "build_origin_decisions.py"))
    assert (ROOT / "docs" / "origin-decisions.md").read_text("utf-8") == script["page"]()


def test_the_pages_on_findings_are_current() -> None:
    """docs/findings has what the checks and the table say, and no other page; `scripts/build_findings.py` writes it."""
    pages = runpy.run_path(str(ROOT / "scripts" / "build_findings.py"))["pages"]()
    assert {path.name: path.read_text("utf-8") for path in (ROOT / "docs" / "findings").iterdir()} == pages


def test_every_outcome_has_an_address() -> None:
    """What a finding means has a page and an anchor: the one that reports name."""
    for module in MODULES:
        for outcome in module.Outcome:
            assert outcome.meaning, f"{module.ID}: {outcome}"
            path, _, anchor = learn_more.address(module.ID, outcome).partition("#")
            assert f"\n## {anchor}\n\n{outcome.meaning}\n" in (ROOT / path).read_text("utf-8")


def test_the_pages_on_findings_name_what_rests_on_them() -> None:
    """A rule that reads a finding is on the finding's page: what counts for it, against it, and what is innocent."""
    text = (ROOT / "docs" / "findings" / "pin.md").read_text("utf-8")
    leaf, mismatch = (text.partition(f"## {outcome}\n")[2].partition("\n## ")[0] for outcome in ("leaf", "mismatch"))
    assert "* Counts for `pinned` (clean, pinned)" in leaf
    assert "`pin-mismatch`" not in leaf
    assert "* Counts for `pin-mismatch` (possible or probable or by company)" in mismatch
    assert "(`pin-rotation`)" in mismatch
    differs = (ROOT / "docs" / "findings" / "witness.md").read_text("utf-8").partition("## differs\n")[2]
    assert "* Keeps from applying: `witnessed`, `pinned`" in differs


def test_the_decision_page_explains_every_class_and_identity() -> None:
    """No class, identity or rule is left out of the page."""
    text = (ROOT / "docs" / "decisions.md").read_text("utf-8")
    assert all(f"| {kind} |" in text for kind in ChainClass)
    assert all(f"**{identity}**" in text for identity in Identity)
    assert all(f"| `{reason}`" in text for reason in Reason)


def test_changelog_names_this_version() -> None:
    """The version being built is in CHANGELOG.md."""
    assert f"## {VERSION} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link in the documents names a file that is there."""
    top = [
        ROOT / name
        for name in (
            "README.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "THIRD_PARTY_NOTICES.md",
            "packages/collect/README.md",
            "packages/testing/README.md",
        )
    ]
    for document in (*top, *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_architecture_names_files_that_exist() -> None:
    """Every path on the page and in the list of standards is there, and no room is left out."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"(?<![\w/.])(?:detector|packages|scripts|tests)/[\w./]*", text))
    assert len(named) > 30
    assert {path for path in named if not (ROOT / path).exists()} == set()
    page = (ROOT / "docs" / "standards.md").read_text("utf-8")
    standards = set(re.findall(r"`([a-z]+/(?:[\w/]+\.py|[a-z/]*))`", page))
    assert {path for path in standards if not (ROOT / "detector" / path).exists()} == set()
    rooms = {path.parent.name for path in (ROOT / "detector").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `detector/(\w+)/` \|", text, re.MULTILINE)) == rooms


def test_the_architecture_shows_the_layers() -> None:
    """The layers on the page are those that import-linter enforces, and no contract is missing."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (block,) = re.findall(r"^```layers\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block.splitlines() == contracts[0]["layers"]
    for contract in contracts[1:]:
        assert f"* **{contract['name']}" in text, contract["name"]


def test_every_page_is_in_the_navigation() -> None:
    """The site's navigation lists every page once: those of docs, and those whose text is elsewhere.

    It has one page for all checks, whose table leads to the page of each.
    """
    listed = re.findall(r"^ +- (?:[^\n]*: )?([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    elsewhere = re.findall(
        r'^    "[\w/.]+": "([\w.]+)",$', (ROOT / "scripts" / "site_pages.py").read_text("utf-8"), re.MULTILINE
    )
    assert len(elsewhere) == 6
    index = (ROOT / "docs" / "findings" / "index.md").read_text("utf-8")
    by_index = {f"findings/{page}" for page in re.findall(r"^\| \[`[\w-]+`\]\(([\w-]+\.md)\)", index, re.MULTILINE)}
    assert len(by_index) == len(MODULES)
    assert sorted([*listed, *by_index]) == sorted([*pages, *elsewhere])
