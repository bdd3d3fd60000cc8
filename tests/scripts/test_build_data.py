"""Tests of scripts/build_data.py: merging log lists and reading certifi wheels.

Room: tests; writes into a temporary directory.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from detector.knowledge import data_set

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))  # scripts are run from their own folder, and not installed

import build_data  # noqa: E402 - after the path

Merge = Callable[..., tuple[dict[str, dict[str, Any]], dict[str, Any]]]
"""From lists to the logs by name and the rest of the file."""
SHIPPED: Final = ROOT / "detector" / "knowledge" / "data" / "ct_logs.json"


def record(name: str, **fields: object) -> dict[str, Any]:
    """The record of a log of this name, whose key is the name."""
    key = name.encode()
    return {
        "log_id": base64.b64encode(hashlib.sha256(key).digest()).decode(),
        "key": base64.b64encode(key).decode(),
        "operator": "Example",
        "description": name,
        "kind": "rfc6962",
        **fields,
    }


@pytest.fixture
def merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Merge:
    """Merge lists into a copy of the shipped file; gives the logs by name and the file's head."""
    monkeypatch.setattr(build_data, "DATA", tmp_path)

    def merge(*lists: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        shutil.copy(SHIPPED, tmp_path / "ct_logs.json")
        files = []
        for number, one in enumerate(lists):
            files.append(tmp_path / f"{number}.json")
            files[-1].write_text(json.dumps(one), "utf-8")
        build_data.release(build_data.merge(files))
        content = json.loads((tmp_path / "ct_logs.json").read_text("utf-8"))
        return {log["description"]: log for log in content.pop("logs")}, content

    return merge


def test_an_empty_list_leaves_the_file_unchanged(tmp_path: Path, merged: Merge) -> None:
    """The shipped file is exactly the script's output: one log per line, sorted, inferred fields inferred again."""
    merged({"source": "Zeek ct-list, 2019-04 to 2026-08", "logs": []})
    assert (tmp_path / "ct_logs.json").read_bytes() == SHIPPED.read_bytes()


def test_google_and_firefox_lists_are_merged_in_any_order(merged: Merge) -> None:
    """The earliest moment of a state is kept; intervals, listing dates and the list's date are merged."""
    usable = {"usable": {"timestamp": "2027-01-05T10:00:00Z"}}
    interval = {"start_inclusive": "2029-01-01T00:00:00Z", "end_exclusive": "2029-07-01T00:00:00Z"}
    pending = record("Example 'Birch2029h1'", state={"pending": {"timestamp": "2027-01-05T10:00:00Z"}})
    google = {
        "log_list_timestamp": "2027-02-01T12:00:00Z",
        "operators": [
            {
                "name": "Example",
                "logs": [record("Example 'Alder2029h1'", state=usable, temporal_interval=interval), pending],
                "tiled_logs": [record("Elm2029h1", state=usable, monitoring_url="https://elm.example/2029h1/")],
            }
        ],
    }
    since = "2027-03-01T00:00:00+00:00"
    firefox = {
        "source": "Firefox",
        "date": "2027-04-01",
        "logs": [
            record("Example 'Alder2029h1'", state="usable", since=since),
            record("C2029", state="usable", since=since),
        ],
    }
    found, head = merged(google, firefox)
    again, _ = merged(firefox, google)
    assert found == again
    alder = found["Example 'Alder2029h1'"]
    assert alder["states"] == {"usable": "2027-01-05T10:00:00Z"}
    assert alder["shard"] == ["2029-01-01T00:00:00Z", "2029-07-01T00:00:00Z"]
    assert (alder["first_listed"], alder["last_listed"]) == ("2027-02-01", "2027-04-01")
    assert "inferred" not in alder
    assert (found["C2029"]["shard"], found["C2029"]["inferred"]) == (
        ["2028-12-01T00:00:00Z", "2030-02-01T00:00:00Z"],
        ["shard"],
    )
    assert found["Elm2029h1"]["monitoring_url"] == "https://elm.example/2029h1/"
    assert "monitoring_url" not in alder
    assert "Example 'Birch2029h1'" not in found  # may still be accepted, and would stay untrusted once shipped
    assert head["date"] == "2027-04-01"
    assert head["sources"][-2:] == ["Google log list v3 of 2027-02-01", "Firefox"]


def test_a_log_that_lists_dropped_retires_with_its_last_listing(merged: Merge) -> None:
    """A list that dates the retirement replaces the inferred date. A log with a shard needs none."""
    first = {"source": "first", "date": "2027-01-01", "logs": [record("Unsharded", state="usable", since="2020-01-01")]}
    second = {"source": "second", "date": "2027-06-01", "logs": []}
    assert "inferred" not in merged(first)[0]["Unsharded"]
    dropped = merged(first, second)[0]["Unsharded"]
    assert (dropped["retired"], dropped["inferred"]) == ("2027-01-01T23:59:59Z", ["retired"])
    announced = {"source": "third", "logs": [{"log_id": dropped["log_id"], "states": {"retired": "2026-12-24"}}]}
    known = merged(first, second, announced)[0]["Unsharded"]
    assert known["states"]["retired"] == "2026-12-24T23:59:59Z"
    assert not known.keys() & {"retired", "inferred"}


def test_a_log_without_an_accepted_state_is_no_evidence(merged: Merge) -> None:
    """A record without a state does not make a log accepted."""
    found, _ = merged({"source": "x", "date": "2027-01-01", "logs": [record("Nobody's")]})
    assert found["Nobody's"]["why"]


@pytest.mark.parametrize(
    ("description", "shard"),
    [
        ("Google 'Argon2023' log", (dt.date(2022, 12, 1), dt.date(2024, 2, 1))),
        ("Let's Encrypt 'Oak2024H1' log", (dt.date(2023, 12, 1), dt.date(2024, 8, 1))),
        ("Let's Encrypt 'Sycamore2025h2d' log", (dt.date(2025, 5, 31), dt.date(2026, 2, 1))),
        ("TrustAsia 'log2026a'", (dt.date(2025, 12, 1), dt.date(2027, 2, 1))),
        ("Google 'Pilot' log", None),
        ("Venafi Gen2 CT log", None),
    ],
)
def test_shards_by_name(description: str, shard: tuple[dt.date, dt.date] | None) -> None:
    """A year or half-year in the name, a month wider on both sides."""
    assert build_data.shard_of(description) == shard


def test_names_give_shards_that_hold_the_published_ones() -> None:
    """The shard inferred from a name contains the published interval of every such log."""
    raw = json.loads(SHIPPED.read_text("utf-8"))["logs"]
    inferred = {entry["description"] for entry in raw if "shard" in entry.get("inferred", ())}
    compared = 0
    for log in data_set.shipped().logs.logs.values():
        named = build_data.shard_of(log.description)
        assert (named is None) == (log.shard is None)
        if named is None or log.shard is None:
            continue
        start, end = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in named)
        if log.description in inferred:
            assert log.shard == (start, end)
        else:
            compared += 1
            assert start <= log.shard.start < log.shard.end <= end, log.description
    assert compared == 104


def wheel(folder: Path, version: str, *labelled: tuple[str, bytes]) -> Path:
    """A certifi wheel with these (label, PEM) roots."""
    path = folder / f"certifi-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "certifi/cacert.pem", b"".join(f'# Label: "{label}"\n'.encode() + pem for label, pem in labelled)
        )
    return path


def test_roots_are_dated_by_the_wheels_that_carry_them(
    pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root is removed on the date of the first wheel without it, in any order of the wheels."""
    monkeypatch.setattr(build_data, "DATA", tmp_path)
    monkeypatch.setattr(build_data, "CANARIES", tmp_path / "canaries.toml")  # which names other roots
    a, b, back = (("A", pki.root_a.pem), ("B", pki.root_b.pem), ("C", pki.private_ca("Back again").pem))
    wheels = [
        wheel(tmp_path, "2026.10.19.post1", a, ("C, renamed", back[1])),
        wheel(tmp_path, "2024.2.2", a, b, back),
        wheel(tmp_path, "2025.10.5", a, b),
        wheel(tmp_path, "2026.1.4", a),
    ]
    build_data.release(build_data.roots(wheels))
    known = json.loads((tmp_path / "roots.json").read_text("utf-8"))
    assert known["versions"] == ["2024.2.2", "2025.10.5", "2026.1.4", "2026.10.19.post1"]
    assert [(r["label"], r["first_seen"], r["last_seen"], r.get("removed")) for r in known["roots"]] == [
        ("A", "2024.2.2", "2026.10.19.post1", None),
        ("B", "2024.2.2", "2025.10.5", "2026-01-04"),
        ("C, renamed", "2024.2.2", "2026.10.19.post1", None),
    ]
    stored = json.loads((tmp_path / "root_certificates.json").read_text("utf-8"))["certificates"]
    assert [hashlib.sha256(base64.b64decode(der)).hexdigest() for der in stored] == [
        r["sha256"] for r in known["roots"]
    ]


def test_tiled_logs_of_googles_list_are_static(merged: Merge) -> None:
    """The logs that Google's list has under `tiled_logs` are taken with their kind."""
    usable = {"usable": {"timestamp": "2027-01-05T10:00:00Z"}}
    tiled = {**record("Example 'Cedar2029h1'", state=usable), "submission_url": "https://cedar.example/"}
    found, _ = merged(
        {
            "log_list_timestamp": "2027-02-01T12:00:00Z",
            "operators": [{"name": "Example", "logs": [], "tiled_logs": [tiled]}],
        }
    )
    assert found["Example 'Cedar2029h1'"]["kind"] == "static-ct"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped data files, to be rebuilt."""
    folder = tmp_path / "data"
    shutil.copytree(SHIPPED.parent, folder)
    monkeypatch.setattr(build_data, "DATA", folder)
    return folder


def test_limits_of_roots_outlive_new_wheels(data: Path, tmp_path: Path) -> None:
    """What Firefox limits a root to is no matter of certifi, and stays when the list is made again."""
    known = json.loads((data / "roots.json").read_bytes())
    ders = json.loads((data / "root_certificates.json").read_bytes())["certificates"]
    label, der = next((r["label"], der) for r, der in zip(known["roots"], ders, strict=True) if "limits_source" in r)
    pem = f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n".encode()
    made = build_data.roots([wheel(tmp_path, "2027.1.4", (label, pem))])
    (root,) = json.loads(made["roots.json"])["roots"]
    assert root["distrust_after"] or root["permitted_names"]
    assert root["limits_source"].startswith("Firefox ESR")
    assert json.loads(made["roots.json"])["version"] == known["version"] + 1


def test_an_edited_catalogue_gets_a_version_and_a_day(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of the file stays as a person wrote it."""
    path = data / "interceptors.json"
    before = path.read_text("utf-8")
    build_data.main(["catalogue"])
    after = path.read_text("utf-8")
    was, now = before.splitlines(), after.splitlines()
    changed = [new.split(":")[0].strip(' "') for old, new in zip(was, now, strict=True) if old != new]
    assert set(changed) - {"date", "horizon"} == {"version"}
    assert "version: 1 -> 2" in capsys.readouterr().out


def test_a_dry_run_shows_and_writes_nothing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same changes are printed."""
    listed = tmp_path / "list.json"
    listed.write_text(
        json.dumps({"source": "x", "date": "2027-01-01", "logs": [record("New", state="usable", since="2027-01-01")]})
    )
    before = {path: path.read_bytes() for path in data.iterdir()}
    build_data.main(["logs", str(listed), "--dry-run"])
    shown = capsys.readouterr().out
    assert "1 added" in shown
    assert {path: path.read_bytes() for path in data.iterdir()} == before
    build_data.main(["logs", str(listed)])
    assert capsys.readouterr().out == shown
    assert (data / "ct_logs.json").read_bytes() != before[data / "ct_logs.json"]


def test_a_failed_check_writes_nothing(data: Path, tmp_path: Path) -> None:
    """Not the part that fails, nor another one of the same command."""
    path = data / "interceptors.json"
    content = json.loads(path.read_bytes())
    content["entries"][0]["supersedes"] = ["nobody"]
    path.write_text(json.dumps(content))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"source": "x", "date": "2027-01-01", "logs": []}))
    before = {path: path.read_bytes() for path in data.iterdir()}
    with pytest.raises(SystemExit, match="supersedes nobody"):
        build_data.main(["logs", str(listed)])
    assert {path: path.read_bytes() for path in data.iterdir()} == before


@pytest.mark.parametrize("arguments", [["roots"], ["logs"], ["firefox"], ["check", "a"], ["catalogue", "a"], ["other"]])
def test_sources_are_named_where_they_are_needed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command that reads sources names them, and the others take none."""
    with pytest.raises(SystemExit):
        build_data.main(arguments)
    assert "error:" in capsys.readouterr().err
