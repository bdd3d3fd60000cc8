"""Tests of CT log lists and of the known roots. Room: knowledge; files in a temporary directory only."""

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
from detector.knowledge import ct_logs, data_set
from detector.trust.certificate import Certificate
from detector.trust.ct_logs import Log, LogKind, LogList, LogState

KEY = b"a key, as DER, which is not parsed here"


def entry(key: bytes = KEY, **fields: object) -> dict[str, Any]:
    """One log as Google's v3 lists encode it."""
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
    listed = data_set.shipped().logs
    for log in (*listed.logs.values(), *listed.untrusted.values()):
        assert hashlib.sha256(log.key).digest() == log.log_id
        load_der_public_key(log.key)


def test_shipped_list_is_whole_and_dated() -> None:
    """Every log has exactly one half, and the date is that of the newest source."""
    listed = data_set.shipped().logs
    assert len(listed.logs) + len(listed.untrusted) == 250
    assert not listed.logs.keys() & listed.untrusted.keys()
    assert (listed.date, listed.horizon) == (dt.date(2026, 11, 17), dt.date(2027, 1, 26))
    assert data_set.shipped().logs is listed


def test_shipped_list_knows_logs_of_every_generation() -> None:
    """Retired logs stay known, because certificates carry timestamps longer than logs run."""
    names = {log.description for log in data_set.shipped().logs.logs.values()}
    assert {"Google 'Pilot' log", "DigiCert Yeti2018 Log", "Google 'Xenon2027h1'", "Geomys Trastevere2028h2"} <= names


def shipped(description: str) -> Log:
    [found] = [log for log in data_set.shipped().logs.logs.values() if log.description == description]
    return found


@pytest.mark.parametrize(
    ("description", "retired"),
    [
        ("CNNIC CT log", dt.date(2018, 9, 18)),
        ("WoSign log", dt.date(2018, 2, 12)),
        ("StartCom log", dt.date(2018, 2, 12)),
        ("Certly.IO log", dt.date(2016, 4, 15)),
        ("Izenpe log", dt.date(2016, 5, 30)),
        ("Venafi log", dt.date(2017, 2, 28)),
        ("Venafi Gen2 CT log", dt.date(2020, 12, 9)),  # no list says when; it was last listed that day
        ("Symantec log", dt.date(2019, 2, 16)),
        ("Symantec 'Vega' log", dt.date(2019, 2, 16)),
        ("Symantec 'Sirius' log", dt.date(2019, 2, 16)),
        ("DigiCert Log Server", dt.date(2022, 1, 24)),
        ("Google 'Aviator' log", dt.date(2016, 11, 30)),
        ("Google 'Pilot' log", dt.date(2022, 9, 15)),
        ("Sectigo 'Sabre' CT log", dt.date(2025, 6, 9)),
        ("Let's Encrypt 'Oak2026h2'", dt.date(2026, 2, 28)),
    ],
)
def test_logs_of_the_past_say_when_they_ended(description: str, retired: dt.date) -> None:
    """Their keys outlive them: without a date of retirement their holder could sign for certificates of today."""
    found = shipped(description).retired
    assert found is not None
    assert found.date() == retired


def test_every_log_that_counts_is_bounded() -> None:
    """A log of the past has retired, or its shard has ended: no old key signs for a leaf that is valid today."""
    listed = data_set.shipped().logs
    today = dt.datetime.combine(listed.date or dt.date.min, dt.time(), dt.UTC)
    for log in listed.logs.values():
        assert log.retired or log.shard, log.description
        in_use = log.last_listed == listed.date
        end = log.retired or (log.shard and log.shard.end - dt.timedelta(days=31))  # the margin of inferred shards
        assert in_use or (end and end <= today), log.description


def test_present_state_is_no_beginning() -> None:
    """Of a state the earliest moment any list gives is kept: a present state is dated by its last entry into it."""
    states = shipped("Google 'Argon2026h2' log").states
    assert states[LogState.USABLE] == dt.datetime(2024, 9, 30, tzinfo=dt.UTC)
    assert shipped("Google 'Argon2026h2' log").first_known == dt.date(2024, 7, 22)


def test_as_of_forgets_what_came_later() -> None:
    """A copy made then knows neither later logs nor later retirements, and its horizon lies where it did."""
    then = data_set.shipped().logs.as_of(dt.date(2024, 1, 1))
    names = {log.description: log for log in then.logs.values()}
    assert then.horizon == dt.date(2024, 3, 11)
    assert "Google 'Argon2025h1' log" in names
    assert "Google 'Argon2026h1' log" not in names
    assert names["DigiCert Nessie2025 Log"].retired is None
    assert names["DigiCert Nessie2024 Log"].retired is not None


@pytest.mark.parametrize(
    "word", ["Crucible", "Testtube", "Solera", "Testflume", "Clicky", "Dodo", "Daedalus", "Submariner", "Bogus", "Sofa"]
)
def test_test_logs_prove_nothing(word: str) -> None:
    """A log that takes certificates of untrusted roots signs for a forger too, so it must not count."""
    listed = data_set.shipped().logs
    assert not [log for log in listed.logs.values() if word in log.description]
    distrusted = [log for log in listed.untrusted.values() if word in log.description]
    assert distrusted
    assert all(log.why and listed.logs.get(log.log_id) is None for log in distrusted)


def test_exposed_key_is_distrusted() -> None:
    """DigiCert's CT2 lost control of its key in 2020: its holder can sign and backdate."""
    assert "DigiCert Log Server 2" in {log.description for log in data_set.shipped().logs.untrusted.values()}


def test_every_distrusted_log_says_why() -> None:
    """Only untrusted logs have a reason, and each of them has one."""
    assert all(log.why for log in data_set.shipped().logs.untrusted.values())
    assert not any(log.why for log in data_set.shipped().logs.logs.values())


def test_reads_google_v3(tmp_path: Path) -> None:
    """Both interfaces are read, with operator, description and the list's own date."""
    listed = json.loads(v3(entry(), log_list_timestamp="2026-10-02T12:00:00Z"))
    listed["operators"][0]["tiled_logs"] = [entry(b"tiled", description="tiles", monitoring_url="https://elm.example/")]
    path = tmp_path / "log_list.json"
    path.write_text(json.dumps(listed))
    result = ct_logs.load(path)
    assert result.date == dt.date(2026, 10, 2)
    assert result.name == path.name
    assert not result.untrusted
    log = result.logs.get(hashlib.sha256(KEY).digest())
    assert log is not None
    assert (log.operator, log.description, log.kind) == ("Example", "Example 'Alder2026' log", LogKind.RFC6962)
    assert (log.states, log.retired, log.shard) == (
        {LogState.USABLE: dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)},
        None,
        None,
    )
    assert log.accepted
    tiled = result.logs.get(hashlib.sha256(b"tiled").digest())
    assert tiled is not None
    assert (tiled.kind, tiled.monitoring_url, log.monitoring_url) == (LogKind.STATIC_CT, "https://elm.example/", None)


def test_keeps_states_shard_retirement_and_operators() -> None:
    """Everything that decides whether a timestamp counts is kept, former operators in order of time."""
    details: dict[str, Any] = {
        "state": {"retired": {"timestamp": "2026-03-01T10:00:00Z"}},
        "temporal_interval": {"start_inclusive": "2026-01-01T00:00:00Z", "end_exclusive": "2026-07-01T00:00:00+01:00"},
        "previous_operators": [
            {"name": "Second", "end_time": "2025-01-01T00:00:00Z"},
            {"name": "First", "end_time": "2024-01-01T00:00:00Z"},
        ],
    }
    [log] = ct_logs.parse(v3(entry(**details)), name="list").logs.values()
    assert log.retired == dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)
    assert log.shard is not None
    january, june = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 6, 30, 23, tzinfo=dt.UTC)
    assert [log.shard.holds(moment) for moment in (january, june)] == [True, False]
    assert not log.shard.holds(january - dt.timedelta(seconds=1))
    assert log.shard.holds(june - dt.timedelta(seconds=1))
    moments = [dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2023, 2024, 2025)]
    assert [log.operator_at(moment) for moment in moments] == ["First", "Second", "Example"]
    assert log.operator_at(moments[2] - dt.timedelta(milliseconds=1)) == "Second"


def test_retired_without_a_moment_is_retired_by_the_date_of_the_list() -> None:
    """A list that does not say when a log retired says at least that it had; one without a date says nothing usable."""
    undated = v3(entry(state={"retired": {}}))
    assert not ct_logs.parse(undated, name="list").logs
    [log] = ct_logs.parse(
        v3(entry(state={"retired": {}}), log_list_timestamp="2026-10-02T12:00:00Z"), name="l"
    ).logs.values()
    assert log.retired == dt.datetime(2026, 10, 2, 12, tzinfo=dt.UTC)


def test_moments_without_an_offset_are_refused() -> None:
    """RFC 3339 has one; a moment without it could not be compared with a timestamp."""
    naive = entry(state={"usable": {"timestamp": "2026-03-01T10:00:00"}})
    with pytest.raises(LogListError, match="timezone"):
        ct_logs.parse(v3(naive), name="list")


@pytest.mark.parametrize(
    ("date", "last_day"),
    [("2026-10-02", dt.date(2026, 12, 11)), ("9999-12-30", dt.date.max), ("0001-01-01", dt.date(1, 3, 12))],
)
def test_horizon_lies_ten_weeks_after_the_date(date: str, last_day: dt.date) -> None:
    """Up to it a list knows every log, also at the ends of the calendar."""
    listed = ct_logs.parse(v3(entry(), log_list_timestamp=f"{date}T12:00:00Z"), name="list")
    assert listed.horizon == last_day
    noon = dt.datetime.combine(last_day, dt.time(12), dt.UTC)
    assert not listed.is_past_horizon(noon)
    if last_day < dt.date.max:
        assert listed.is_past_horizon(noon + dt.timedelta(days=1))


def test_list_without_a_date_has_no_horizon() -> None:
    """Leaving the date out opens nothing to logs the list does not have."""
    listed = ct_logs.parse(v3(entry(state={})), name="list")
    assert listed.horizon is None
    assert not listed.is_past_horizon(dt.datetime.max.replace(tzinfo=dt.UTC))


def test_list_without_timestamp_is_dated_by_its_newest_state() -> None:
    """A list is at least as young as the newest change it records."""
    older = entry(b"older", state={"usable": {"timestamp": "2024-01-01T00:00:00Z"}})
    assert ct_logs.parse(v3(older, entry()), name="list").date == dt.date(2026, 3, 1)
    assert ct_logs.parse(v3(entry(state={"usable": {}})), name="list").date is None


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
    result = ct_logs.parse(v3(entry(**fields)), name="list")
    assert not result.logs
    assert [log.why for log in result.untrusted.values()] == [why]


def test_log_without_a_state_counts() -> None:
    """The format leaves the state optional, and the user's own list is the user's word."""
    assert ct_logs.parse(v3(entry(state={})), name="list").logs


@pytest.mark.parametrize("state", ["qualified", "usable", "readonly", "retired"])
def test_logs_browsers_once_accepted_count(state: str) -> None:
    """A retired log's timestamps are still good for the certificates it saw."""
    assert ct_logs.parse(v3(entry(state={state: {"timestamp": "2026-03-01T10:00:00Z"}})), name="list").logs


def test_known_distrust_survives_a_list_that_names_the_log() -> None:
    """Google's own lists carry placeholder logs as retired; what is known of a key does not change by that."""
    placeholder = next(log for log in data_set.shipped().logs.untrusted.values() if "Bogus" in log.description)
    result = ct_logs.parse(v3(entry(placeholder.key, state={"retired": {}})), name="list")
    assert not result.logs
    assert placeholder.log_id in result.untrusted


def test_wrong_log_id_is_refused_naming_the_field() -> None:
    """A log ID that is not the key's hash would never match or never verify."""
    wrong = entry(b"second", log_id=base64.b64encode(bytes(32)).decode())
    with pytest.raises(LogListError, match=r"mine\.json: operators\[0\]\.logs\[1\]\.log_id"):
        ct_logs.parse(v3(entry(), wrong), name="mine.json")


def test_log_listed_twice_is_refused() -> None:
    """Two entries for one key could contradict each other."""
    with pytest.raises(LogListError, match=r"logs\[1\].*twice"):
        ct_logs.parse(v3(entry(), entry()), name="mine.json")


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
        ct_logs.parse(data, name="mine.json")


def test_too_large_list_is_refused(tmp_path: Path) -> None:
    """A file without end must not be read to its end."""
    path = tmp_path / "huge.json"
    path.write_bytes(b" " * (ct_logs.LIST_BYTES_MAX + 1))
    with pytest.raises(LogListError, match="larger than"):
        ct_logs.load(path)


@pytest.mark.parametrize("name", ["missing.json", ".", "nul\0.json"])
def test_unreadable_list_is_refused(tmp_path: Path, name: str) -> None:
    """A missing file, a directory and an impossible name end in the documented exception."""
    with pytest.raises(LogListError, match="cannot be read"):
        ct_logs.load(tmp_path / name)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_arbitrary_bytes_raise_only_what_is_documented(data: bytes) -> None:
    """Hostile input is normal input."""
    with pytest.raises(LogListError, match="hostile"):
        ct_logs.parse(data, name="hostile")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usable", "x"]), inner, max_size=3),
    max_leaves=5,
)


MOMENTS = st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=14))])).map(
    dt.datetime.isoformat
)
FIELDS = st.sampled_from(
    ["log_id", "key", "state", "description", "log_type", "temporal_interval", "previous_operators"]
)


@given(MOMENTS, MOMENTS, MOMENTS, st.sampled_from(["retired", "usable", "unheard-of"]))
def test_any_moments_make_a_list_that_can_be_asked(listed: str, first: str, second: str, state: str) -> None:
    """Moments at the ends of the calendar and of any offset are read, and every question has an answer."""
    details: dict[str, Any] = {
        "state": {state: {"timestamp": first}},
        "temporal_interval": {"start_inclusive": first, "end_exclusive": second},
        "previous_operators": [{"name": "Former", "end_time": second}],
    }
    try:
        result = ct_logs.parse(v3(entry(**details), log_list_timestamp=listed), name="list")
    except LogListError:
        return  # a moment that UTC cannot hold
    now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    for log in (*result.logs.values(), *result.untrusted.values()):
        assert log.shard is not None
        assert log.shard.holds(now) in {True, False}
        assert log.operator_at(now) in {"Former", "Example"}
    assert result.is_past_horizon(now) in {True, False}
    assert isinstance(result.as_of(now.date()), LogList)


@given(st.dictionaries(FIELDS, JSON))
def test_malformed_entries_raise_only_what_is_documented(fields: dict[str, Any]) -> None:
    """A list of the right shape with wrong values inside is refused the same way."""
    try:
        result = ct_logs.parse(v3({**entry(), **fields}), name="list")
    except LogListError:
        return
    assert len(result.logs) + len(result.untrusted) == 1


def test_known_roots_cover_roots_that_left_the_bundle() -> None:
    """A name from an old pin file stays a known name after certifi dropped the root."""
    assert {
        "Baltimore CyberTrust Root",
        "DST Root CA X3",
        "DigiCert Global Root CA",
    } <= data_set.shipped().known_roots.labels


def test_known_roots_hold_the_installed_bundle_or_its_neighbours() -> None:
    """Most labels of whatever certifi is installed are known: the list tracks the same bundle."""
    lines = Path(certifi.where()).read_text("utf-8").splitlines()
    labels = {line.split('"')[1] for line in lines if line.startswith("# Label:")}
    assert len(labels & data_set.shipped().known_roots.labels) > 0.8 * len(labels)


def test_known_roots_are_facts_in_the_documented_form() -> None:
    """Hashes are lower-case hexadecimal SHA-256, and no certificate appears twice."""
    listed = data_set.shipped().known_roots.roots
    assert all(len(bytes.fromhex(root.sha256)) == len(bytes.fromhex(root.spki_sha256)) == 32 for root in listed)
    assert all(root.sha256 == root.sha256.lower() and root.subject and root.first_seen for root in listed)
    assert len({root.sha256 for root in listed}) == len(listed)


def test_known_roots_encode_subjects_as_chains_are_read() -> None:
    """A removed root is matched by its subject as text, so both sides must use the same encoding."""
    pem = Path(certifi.where()).read_text("utf-8").split("-----BEGIN CERTIFICATE-----")[1:]
    bundle = [Certificate.read(base64.b64decode(block.partition("-----END")[0])) for block in pem]
    subjects = {root.sha256: root.subject for root in data_set.shipped().known_roots.roots}
    read = {found.sha256.hex(): found.subject.text for found in bundle if found.subject}
    common = read.keys() & subjects.keys()
    assert common
    assert {sha256: read[sha256] for sha256 in common} == {sha256: subjects[sha256] for sha256 in common}
