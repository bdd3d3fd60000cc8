"""Tests of scripts/data_checks.py: every reason not to release a set, and the changes that a person reviews."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from detector.knowledge import data_set

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))  # scripts are run from their own folder, and not installed

import data_checks  # noqa: E402 - after the path

SHIPPED: Final = {
    path.name: path.read_bytes()
    for path in (*data_set.DATA.glob("*.json"), data_set.canaries_folder() / data_checks.CANARIES)
}
CONTENTS: Final[dict[str, Any]] = {name: json.loads(data) for name, data in SHIPPED.items() if name.endswith(".json")}


def problems(name: str, change: Callable[[dict[str, Any]], object], *, grows: bool = True) -> list[str]:
    """What keeps the shipped set from being released with one file changed, whose version `grows`."""
    content = copy.deepcopy(CONTENTS[name])
    change(content)
    content["version"] += grows
    after = {**SHIPPED, name: json.dumps(content).encode()}
    return list(data_checks.problems(after, SHIPPED))


def test_the_shipped_set_passes() -> None:
    """After itself, and as the first one."""
    assert list(data_checks.problems(SHIPPED, SHIPPED)) == []
    assert list(data_checks.problems(SHIPPED, {})) == []
    assert list(data_checks.changes(SHIPPED, SHIPPED)) == []
    assert len(SHIPPED) == len(data_set.PARTS) + 1


ROOT_NAME: Final = {"field": "O", "match": "contains", "value": "Internet Security Research Group"}
RETIRED: Final = next(root for root in CONTENTS["roots.json"]["roots"] if root.get("removed"))
INTERMEDIATE: Final = data_set.shipped().intermediates


def first_entry(content: dict[str, Any]) -> dict[str, Any]:
    """The first entry of a catalogue."""
    return content["entries"][0]  # type: ignore[no-any-return]  # JSON


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "interceptors.json",
            lambda c: first_entry(c)["facts"].append(ROOT_NAME),
            "hits a public root, CN=ISRG Root X1",
        ),
        (
            "interceptors.json",
            lambda c: first_entry(c)["facts"].append(
                {"field": "spki_sha256", "match": "exact", "value": RETIRED["spki_sha256"]}
            ),
            "fortinet-fortigate hits a public root",
        ),
        (
            "interceptors.json",
            lambda c: first_entry(c)["facts"].append(
                {"field": "spki_sha256", "match": "exact", "value": min(INTERMEDIATE.keys).hex()}
            ),
            "an intermediate of a public CA",
        ),
        (
            "interceptors.json",
            lambda c: first_entry(c).update(examples=[[["O", "Nobody"]]]),
            "example 0 of .* hits nothing",
        ),
        (
            "interceptors.json",
            lambda c: first_entry(c).update(examples=[[["O", "Fortinet"], ["CN", "Zscaler Root CA"]]]),
            "example 0 of fortinet-fortigate hits zscaler",
        ),
        ("interceptors.json", lambda c: first_entry(c).update(supersedes=["nobody"]), "supersedes nobody"),
        ("interceptors.json", lambda c: c["entries"].append(first_entry(c)), "fortinet-fortigate more than once"),
        (
            "interceptors.json",
            lambda c: first_entry(c)["facts"][0].update(value="(a+)+$"),
            r"`entries\[0\]\.facts\[0\]`",
        ),
        ("ct_logs.json", lambda c: c["logs"][0].update(log_id=c["logs"][1]["log_id"]), r"`logs\[0\]\.log_id`"),
        ("ct_logs.json", lambda c: c.update(date="2020-01-01"), "`date` is 2020-01-01, before"),
        ("ct_logs.json", lambda c: c.update(horizon="2036-01-01"), "`horizon` is 2036-01-01"),
        ("revocations.json", lambda c: c.update(surplus=1), "surplus"),
        ("ct_logs.json", lambda c: c["logs"].pop(0), "Akamai CT Log: known before"),
        ("roots.json", lambda c: c["roots"].pop(0), "AC RAIZ FNMT-RCM: known before"),
        ("roots.json", lambda _: None, "another version or day"),
        ("roots.json", lambda c: c["roots"].reverse(), "not the certificates of roots.json, in their order"),
        ("roots.json", lambda c: c["roots"][0].update(sha256="0" * 64), "no certificate of AC RAIZ"),
        ("root_certificates.json", lambda c: c["certificates"].pop(), "no certificate of"),
        ("root_certificates.json", lambda c: c["certificates"].append("AAAA"), "is no certificate"),
    ],
)
def test_what_keeps_a_set_from_being_released(
    name: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """One sentence that names the file, and the entry or field."""
    found = problems(name, change)
    assert any(re.search(message, sentence) for sentence in found), found
    assert all(sentence.split(":")[0] in SHIPPED for sentence in found)


def test_a_change_needs_another_version() -> None:
    """The version grows with every release of a file, or readers would take either."""
    found = problems("revocations.json", lambda c: c["keys"].pop(), grows=False)
    assert found == ["revocations.json: changed, and `version` is still 1."]
    assert problems("revocations.json", lambda c: c["keys"].pop()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("updated = ", "updates = ", "canaries.toml"),
        ("canary = true", "canary = 3", "canary"),
        ("# The endpoints", "#  The endpoints", "`updated` is not later than"),
    ],
)
def test_canaries_are_read_as_a_data_set_reads_them(old: str, new: str, message: str) -> None:
    """A damaged file, and one that changed under the same day."""
    data = SHIPPED[data_checks.CANARIES].decode()
    assert old in data
    after = {**SHIPPED, data_checks.CANARIES: data.replace(old, new, 1).encode()}
    (found,) = data_checks.problems(after, SHIPPED)
    assert message in found


def test_changes_are_listed_entry_by_entry() -> None:
    """What was added, removed and changed, each with its label, and heads."""
    content = copy.deepcopy(CONTENTS["ct_logs.json"])
    removed = content["logs"].pop(0)
    content["logs"][0]["operator"] = "Somebody else"
    content["logs"].append({**removed, "log_id": "new", "description": "A new log"})
    content["version"] += 1
    shown = list(data_checks.changes({**SHIPPED, "ct_logs.json": json.dumps(content).encode()}, SHIPPED))
    assert shown[:2] == ["ct_logs.json: changed", "  logs: 1 added"]
    text = "\n".join(shown)
    for expected in ("A new log", "1 removed", removed["description"], "Somebody else", "version: 1 -> 2"):
        assert expected in text
    fewer = {name: data for name, data in SHIPPED.items() if name != "roots.json"}
    assert list(data_checks.changes(fewer, SHIPPED)) == ["roots.json: removed"]
    assert list(data_checks.changes(SHIPPED, fewer)) == ["roots.json: added"]


def test_long_lists_of_changes_are_bounded() -> None:
    """What is cut off is counted."""
    content = copy.deepcopy(CONTENTS["intermediates.json"])
    content["keys"] = []
    shown = list(data_checks.changes({**SHIPPED, "intermediates.json": json.dumps(content).encode()}, SHIPPED))
    assert shown[1] == "  keys: 949 removed"
    assert shown[-1] == f"    and {949 - data_checks.SHOWN_MAX} more"
