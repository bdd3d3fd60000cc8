"""Tests of detector.trust.logs and detector.trust.known_roots. Room: trust; files in a temporary directory only."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import LogListError
from detector.trust import known_roots, logs
from detector.trust.certificate import Certificate

KEY = b"a key, as DER, which nobody parses here"


def entry(key: bytes = KEY, **fields: object) -> dict[str, Any]:
    """Make one log as Google's v3 lists spell it."""
    return {
        "description": "Example 'Alder2026' log",
        "log_id": base64.b64encode(hashlib.sha256(key).digest()).decode(),
        "key": base64.b64encode(key).decode(),
        "mmd": 86400,
        "url": "https://ct.example/",
        "state": {"usable": {"timestamp": "2026-03-01T10:00:00Z"}},
        **fields,
    }


def v3(*entries: dict[str, Any], **fields: object) -> bytes:
    """Make a v3 list of these logs under one operator."""
    listed = {"version": "80.1", "operators": [{"name": "Example", "email": ["ct@example"], "logs": list(entries)}]}
    return json.dumps({**listed, **fields}).encode()


def test_shipped_ids_are_the_hashes_of_their_keys() -> None:
    """RFC 6962 section 3.2: a log is named by the SHA-256 of its key, which must load."""
    listed = logs.shipped()
    for log in (*listed.logs.values(), *listed.untrusted.values()):
        assert hashlib.sha256(log.key).digest() == log.log_id
        load_der_public_key(log.key)


def test_shipped_list_is_whole_and_dated() -> None:
    """Every log has exactly one half, and the date is that of the newest source."""
    listed = logs.shipped()
    assert len(listed.logs) + len(listed.untrusted) == 203
    assert not listed.logs.keys() & listed.untrusted.keys()
    assert listed.date == dt.date(2026, 8, 13)
    assert logs.shipped() is listed


def test_shipped_list_knows_logs_of_every_generation() -> None:
    """Retired logs stay known, because certificates carry timestamps longer than logs run."""
    names = {log.description for log in logs.shipped().logs.values()}
    assert {"Google 'Pilot' log", "DigiCert Yeti2018 Log", "Google 'Xenon2027h1'", "Geomys 'Tuscolo2026h1'"} <= names


@pytest.mark.parametrize(
    "word", ["Crucible", "Testtube", "Solera", "Testflume", "Clicky", "Dodo", "Daedalus", "Submariner", "Bogus", "Sofa"]
)
def test_test_logs_prove_nothing(word: str) -> None:
    """A log that takes certificates of untrusted roots signs for a forger too, so it must not count."""
    listed = logs.shipped()
    assert not [log for log in listed.logs.values() if word in log.description]
    distrusted = [log for log in listed.untrusted.values() if word in log.description]
    assert distrusted
    assert all(log.why and listed.find(log.log_id) is None for log in distrusted)


def test_exposed_key_is_distrusted() -> None:
    """DigiCert's CT2 lost control of its key in 2020: whoever has it can sign and backdate."""
    assert "DigiCert Log Server 2" in {log.description for log in logs.shipped().untrusted.values()}


def test_every_distrusted_log_says_why() -> None:
    """Only untrusted logs have a reason, and each of them has one."""
    assert all(log.why for log in logs.shipped().untrusted.values())
    assert not any(log.why for log in logs.shipped().logs.values())


def test_reads_google_v3(tmp_path: Path) -> None:
    """Both interfaces are read, with operator, description and the list's own date."""
    listed = json.loads(v3(entry(), log_list_timestamp="2026-10-02T12:00:00Z"))
    listed["operators"][0]["tiled_logs"] = [entry(b"tiled", description="tiles")]
    path = tmp_path / "log_list.json"
    path.write_text(json.dumps(listed))
    result = logs.load(path)
    assert result.date == dt.date(2026, 10, 2)
    assert result.name == path.name
    assert not result.untrusted
    log = result.find(hashlib.sha256(KEY).digest())
    assert log is not None
    assert (log.operator, log.description, log.kind) == ("Example", "Example 'Alder2026' log", logs.LogKind.RFC6962)
    tiled = result.find(hashlib.sha256(b"tiled").digest())
    assert tiled is not None
    assert tiled.kind is logs.LogKind.STATIC_CT


def test_list_without_timestamp_is_dated_by_its_newest_state() -> None:
    """A list is at least as young as the newest change it records."""
    older = entry(b"older", state={"usable": {"timestamp": "2024-01-01T00:00:00Z"}})
    assert logs.parse(v3(older, entry()), name="list").date == dt.date(2026, 3, 1)
    assert logs.parse(v3(entry(state={"usable": {}})), name="list").date is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"state": {"pending": {"timestamp": "2026-03-01T10:00:00Z"}}}, "state pending"),
        ({"state": {"rejected": {"timestamp": "2026-03-01T10:00:00Z"}}}, "state rejected"),
        ({"log_type": "test"}, "log type test"),
    ],
)
def test_logs_no_browser_accepts_are_untrusted(fields: dict[str, Any], why: str) -> None:
    """Pending, rejected and test logs are known but count for nothing."""
    result = logs.parse(v3(entry(**fields)), name="list")
    assert not result.logs
    assert [log.why for log in result.untrusted.values()] == [why]


def test_log_without_a_state_counts() -> None:
    """The format leaves the state optional, and the user's own list is the user's word."""
    assert logs.parse(v3(entry(state={})), name="list").logs


@pytest.mark.parametrize("state", ["qualified", "usable", "readonly", "retired"])
def test_logs_browsers_once_accepted_count(state: str) -> None:
    """A retired log's timestamps are still good for the certificates it saw."""
    assert logs.parse(v3(entry(state={state: {"timestamp": "2026-03-01T10:00:00Z"}})), name="list").logs


def test_known_distrust_survives_a_list_that_names_the_log() -> None:
    """Google's own lists carry placeholder logs as retired; what is known of a key does not change by that."""
    placeholder = next(log for log in logs.shipped().untrusted.values() if "Bogus" in log.description)
    result = logs.parse(v3(entry(placeholder.key, state={"retired": {}})), name="list")
    assert not result.logs
    assert placeholder.log_id in result.untrusted


def test_wrong_log_id_is_refused_naming_the_field() -> None:
    """A log ID that is not the key's hash would never match or never verify."""
    wrong = entry(b"second", log_id=base64.b64encode(bytes(32)).decode())
    with pytest.raises(LogListError, match=r"mine\.json: operators\[0\]\.logs\[1\]\.log_id"):
        logs.parse(v3(entry(), wrong), name="mine.json")


def test_log_listed_twice_is_refused() -> None:
    """Two entries for one key could contradict each other."""
    with pytest.raises(LogListError, match=r"logs\[1\].*twice"):
        logs.parse(v3(entry(), entry()), name="mine.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "mine.json"),
        (b"\xff\xfe", "mine.json"),
        (b"[]", "mine.json"),
        (b"{}", "operators"),
        (b'{"operators": [{"name": "x", "logs": [{"log_id": 3}]}]}', r"operators\[0\].logs\[0\].log_id|log_id"),
        (b'{"operators": ' + b"[" * 100_000, "mine.json"),
        (b'{"operators": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "mine.json"),
    ],
)
def test_what_is_no_v3_list_is_refused_by_name(data: bytes, message: str) -> None:
    """Whatever is wrong, the message names the list and the caller sees one kind of exception."""
    with pytest.raises(LogListError, match=message):
        logs.parse(data, name="mine.json")


def test_too_large_list_is_refused(tmp_path: Path) -> None:
    """A file without end must not be read to its end."""
    path = tmp_path / "huge.json"
    path.write_bytes(b" " * (logs.MAX_BYTES + 1))
    with pytest.raises(LogListError, match="larger than"):
        logs.load(path)


@pytest.mark.parametrize("name", ["missing.json", ".", "nul\0.json"])
def test_unreadable_list_is_refused(tmp_path: Path, name: str) -> None:
    """A missing file, a directory and an impossible name end in the documented exception."""
    with pytest.raises(LogListError, match="cannot be read"):
        logs.load(tmp_path / name)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_arbitrary_bytes_raise_only_what_is_documented(data: bytes) -> None:
    """Hostile input is normal input."""
    with pytest.raises(LogListError, match="hostile"):
        logs.parse(data, name="hostile")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usable", "x"]), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["log_id", "key", "state", "description", "log_type"]), JSON))
def test_malformed_entries_raise_only_what_is_documented(fields: dict[str, Any]) -> None:
    """A list of the right shape with wrong values inside is refused the same way."""
    try:
        result = logs.parse(v3({**entry(), **fields}), name="list")
    except LogListError:
        return
    assert len(result.logs) + len(result.untrusted) == 1


def test_known_roots_cover_roots_that_left_the_bundle() -> None:
    """A name from an old pin file stays a known name after certifi dropped the root."""
    assert {"Baltimore CyberTrust Root", "DST Root CA X3", "DigiCert Global Root CA"} <= known_roots.known_labels()


def test_known_roots_hold_the_installed_bundle_or_its_neighbours() -> None:
    """Most labels of whatever certifi is installed are known: the list tracks the same bundle."""
    lines = Path(certifi.where()).read_text("utf-8").splitlines()
    labels = {line.split('"')[1] for line in lines if line.startswith("# Label:")}
    assert len(labels & known_roots.known_labels()) > 0.8 * len(labels)


def test_known_roots_are_facts_in_the_spelling_promised() -> None:
    """Hashes are lower-case hexadecimal SHA-256, and no certificate appears twice."""
    listed = known_roots.known_roots()
    assert all(len(bytes.fromhex(root.sha256)) == len(bytes.fromhex(root.spki_sha256)) == 32 for root in listed)
    assert all(root.sha256 == root.sha256.lower() and root.subject and root.first_seen for root in listed)
    assert len({root.sha256 for root in listed}) == len(listed)


def test_known_roots_spell_subjects_as_chains_are_read() -> None:
    """A chain that names a gone root as issuer is compared by text, so both must be spelled by the same hand."""
    pem = Path(certifi.where()).read_text("utf-8").split("-----BEGIN CERTIFICATE-----")[1:]
    bundle = [Certificate.read(base64.b64decode(block.partition("-----END")[0])) for block in pem]
    subjects = {root.sha256: root.subject for root in known_roots.known_roots()}
    read = {found.sha256.hex(): found.subject.text for found in bundle if found.subject}
    common = read.keys() & subjects.keys()
    assert common
    assert {sha256: read[sha256] for sha256 in common} == {sha256: subjects[sha256] for sha256 in common}
