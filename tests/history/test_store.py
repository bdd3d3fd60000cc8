"""The history on SQLite and on a real PostgreSQL: what goes in comes out, and nothing is lost or half there."""

from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
import sqlalchemy as sa
from alembic import autogenerate, command, config, migration, script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.postgres import running_postgres
from support.profiles import examples

from detector.errors import HistoryError, HistoryFullError, HistoryUnavailableError, NoRoomError
from detector.history import store
from detector.history.schema import REVISION, certificates, metadata
from detector.history.store import History
from detector.model import Assurance, Category, Confidence, EndpointName, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.model import Report

    Make = Callable[..., Report]

NOW = dt.datetime(2026, 11, 25, 9, 30, 15, tzinfo=dt.UTC)
WRITERS, EACH = 4, 10


def test_a_report_comes_out_as_it_went_in(history: History, make_report: Make) -> None:
    """To the last byte of the last certificate."""
    report = make_report("First", "genuine")
    assert history.load(history.record(report)) == report


def test_runs_are_listed_newest_first(history: History, make_report: Make) -> None:
    """With what each found, from one vantage or since a day where that is asked."""
    for day in range(3):
        at = NOW + dt.timedelta(days=day)
        history.record(make_report("First" if day == 1 else "genuine", at=at, vantage="library" if day else "home"))
    found = history.runs()
    assert [(r.started.day, r.verdict, r.confidence, r.endpoints, r.kind) for r in found] == [
        (27, Verdict.CLEAN, None, 2, "check"),
        (26, Verdict.MIDDLEWARE, Confidence.PROVEN, 2, "check"),
        (25, Verdict.CLEAN, None, 2, "check"),
    ]
    assert all(run.started.tzinfo is dt.UTC for run in found)
    assert len(history.runs(vantage="home")) == 1
    assert len(history.runs(since=NOW + dt.timedelta(hours=1))) == 2
    assert len(history.runs(limit=1)) == 1


def test_certificates_are_kept_once(history: History, make_report: Make) -> None:
    """A hundred runs that saw the same chains keep them once."""
    report = make_report()
    for _ in range(3):
        history.record(report)
    with history._engine.connect() as connection:
        kept = connection.execute(sa.select(sa.func.count()).select_from(certificates)).scalar_one()
    assert kept == len({c.sha256 for r in report.results for c in r.observation.chain})


def test_a_run_in_parts(history: History, make_report: Make) -> None:
    """Results come in batches; an amended one takes its place; until the end the run is seen to be unfinished."""
    first, second = make_report("genuine", "genuine"), make_report("First", "First")
    run = history.begin(msgspec.structs.replace(first, results=()), kind="scan")
    history.add(run, list(enumerate(first.results)))
    history.add(run, [(1, second.results[1])])
    assert [(r.finished, r.verdict, r.endpoints) for r in history.runs()] == [(None, None, 2)]
    history.finish(run, second)
    assert [(r.verdict, r.kind) for r in history.runs()] == [(Verdict.MIDDLEWARE, "scan")]
    assert history.load(run).results == (first.results[0], second.results[1])


def test_occurrences_over_time(history: History, make_report: Make) -> None:
    """One host's results, oldest first, whatever the number."""
    for day, what in enumerate(("genuine", "First", "Second")):
        history.record(make_report(what, at=NOW + dt.timedelta(days=day)))
    seen = [(s.at.day, s.result.verdict) for s in history.occurrences() if s.result.endpoint.host == "exam.example.edu"]
    assert seen == [(25, Verdict.CLEAN), (26, Verdict.MIDDLEWARE), (27, Verdict.MIDDLEWARE)]
    recent = list(history.occurrences(vantage="library", since=NOW + dt.timedelta(days=2)))
    assert {s.run for s in recent} == {3}
    assert all(c.der for s in recent for c in s.result.observation.chain)
    assert list(history.occurrences(vantage="elsewhere")) == []


def test_what_was_genuine_is_known(history: History, make_report: Make) -> None:
    """Clean as pinned, logged or witnessed in any run, asked by name; a declared private PKI is no public identity."""
    exam, lms = "exam.example.edu:443", "lms.example.org:443"
    assert history.genuine([exam, lms]) == frozenset()
    history.record(make_report("First", "genuine"))
    assert history.genuine([exam, lms, "exam.example.edu:8443", "nowhere.example.net:443"]) == {lms}
    history.record(make_report("genuine", "down"))
    assert history.genuine([exam, lms]) == {exam, lms}
    assert history.genuine([exam]) == {exam}
    assert history.genuine([]) == frozenset()
    assert history.genuine([exam, *(f"h{number}.example.net:443" for number in range(3 * store.BATCH))]) == {exam}


def test_the_keys_of_clean_results_are_known(history: History, make_report: Make) -> None:
    """Of the assurances that are asked for, by endpoint; nothing of results that were not clean."""
    report = make_report("genuine", "First")
    history.record(report)
    clean, intercepted = report.results
    names = [result.endpoint.name for result in report.results]
    assert clean.assurance is not None
    assert intercepted.observation.chain
    key = bytes.fromhex(str(clean.observation.chain[0].spki_sha256))
    assert history.leaf_keys(names, [clean.assurance]) == {clean.endpoint.name: {key}}
    assert history.leaf_keys(names, set(Assurance) - {clean.assurance}) == {}
    assert history.leaf_keys(names[1:], list(Assurance)) == {}


def test_a_row_with_an_impossible_port_matches_nothing(tmp_path: Path, make_report: Make) -> None:
    """A history is a file that others can write: a port out of range, or no number, breaks no check."""
    place = tmp_path / "history.sqlite"
    with History(str(place)) as history:
        history.record(make_report())
    for port in (0, 99999, "443x"):
        with contextlib.closing(sqlite3.connect(place)) as database, database:
            database.execute("UPDATE results SET port = ?", (port,))
        with History(str(place)) as history:
            assert history.genuine(["exam.example.edu:443"]) == frozenset()


@pytest.mark.parametrize(
    ("assurance", "known"),
    [(Assurance.DECLARED, False), (Assurance.LOGGED, True), (Assurance.PINNED, True), (Assurance.WITNESSED, True)],
)
def test_only_a_public_key_makes_an_identity(
    assurance: Assurance,
    known: bool,  # noqa: FBT001 - a parameter of a table of cases
    history: History,
    make_report: Make,
) -> None:
    """By what a clean result rests on; an address is named as everywhere."""
    report = make_report()
    result = msgspec.structs.replace(
        report.results[0],
        assurance=assurance,
        endpoint=EndpointName(host="2001:db8::7", port=8443, category=Category.OTHER),
    )
    history.record(msgspec.structs.replace(report, results=(result,)))
    assert history.genuine(["[2001:db8::7]:8443"]) == ({"[2001:db8::7]:8443"} if known else frozenset())


def test_hostile_names_are_kept(history: History, make_report: Make) -> None:
    """A NUL, quotes and surrogate-like text in an issuer neither fail nor change anything but the search column."""
    report = make_report("First")
    name = "CN=\0'; DROP TABLE runs; --\u202e"
    result = report.results[0]
    assert result.attribution is not None
    who = msgspec.structs.replace(result.attribution, issuer=name, product=name)
    hostile = msgspec.structs.replace(report, results=(msgspec.structs.replace(result, attribution=who),))
    assert history.load(history.record(hostile)) == hostile
    assert len(history.runs()) == 1


def _write(place: str, report: bytes) -> None:
    from detector.model import Report  # noqa: PLC0415 - this function runs in a new process

    with History(place) as kept:
        for _ in range(EACH):
            kept.record(Report.from_json(report))


def test_many_writers_at_once(place: str, make_report: Make) -> None:
    """Programs that open a new history and write to it at the same time lose nothing."""
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(place, make_report("First").to_json())) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    with History(place) as kept:
        found = kept.runs()
        assert len(found) == WRITERS * EACH
        assert {run.endpoints for run in found} == {2}
        assert len({run.id for run in found}) == WRITERS * EACH


KILLED = """
import sys
from detector.history.store import History
from detector.model import Report
report = Report.from_json(sys.stdin.buffer.read())
kept = History(sys.argv[1])
run = kept.begin(report, kind="scan")
for number in range(1_000_000):
    kept.add(run, [(2 * number, report.results[0]), (2 * number + 1, report.results[1])])
    if number == 20:
        print("go", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_in_the_middle(place: str, make_report: Make) -> None:
    """A program killed while it writes leaves whole batches, in a run that is seen to be unfinished."""
    process = subprocess.Popen(  # noqa: S603 - the program above
        [sys.executable, "-c", KILLED, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(make_report("First").to_json())
        process.stdin.close()
        assert process.stdout.readline() == b"go\n"
        os.kill(process.pid, signal.SIGKILL)
    with History(place) as kept:
        (run,) = kept.runs()
        assert run.finished is None
        assert run.endpoints >= 42
        assert run.endpoints % 2 == 0
        assert len(kept.load(run.id).results) == run.endpoints


def test_full_disk(tmp_path: Path, make_report: Make) -> None:
    """When the disk is full one sentence says so, the run that did not fit is not there, the others are."""
    place = tmp_path / "small.sqlite"
    with History(place) as kept:
        kept.record(make_report("First"))
        with kept._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        @sa.event.listens_for(kept._engine, "begin")
        def limit(connection: sa.Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        many = make_report("Second")
        large = msgspec.structs.replace(many, vantage="x" * 200_000)
        with pytest.raises(HistoryError, match=r"full.*Free some"):
            kept.record(large)
        assert len(kept.runs()) == 1


def test_older_schema_is_brought_up_to_date(place: str, make_report: Make) -> None:
    """A history of the first version is migrated when it is opened; its runs are all there."""
    url = store._url(place)
    engine = store._engine(url)
    settings = config.Config()
    settings.set_main_option("script_location", str(store._MIGRATIONS))
    report = make_report("First")
    with engine.execution_options(**{store._WRITES: True}).begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        moment = sa.DateTime(timezone=True)
        old = sa.table(
            "runs",
            *(sa.column(name, moment) for name in ("started", "finished")),
            *map(sa.column, ("vantage", "verdict", "head")),
        )
        head = msgspec.structs.replace(report, results=()).to_json()
        row = {"vantage": "library", "started": NOW, "finished": NOW, "verdict": "clean", "head": head}
        connection.execute(sa.insert(old), [row])
    engine.dispose()
    with History(place) as kept:
        assert [(run.kind, run.vantage, run.verdict) for run in kept.runs()] == [("check", "library", Verdict.CLEAN)]
        kept.record(report, kind="scan")
        assert kept.runs()[0].kind == "scan"


def test_newer_schema_is_refused(place: str) -> None:
    """A history that a newer version wrote is left alone."""
    with History(place) as kept, kept._writing.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HistoryError, match=r"newer version.*Update"):
        History(place)


def test_migrations_make_the_tables_that_the_code_knows(history: History) -> None:
    """Every table, column and index of the schema is what the migrations made, and nothing more."""
    settings = config.Config()
    settings.set_main_option("script_location", str(store._MIGRATIONS))
    assert script.ScriptDirectory.from_config(settings).get_current_head() == REVISION
    with history._engine.connect() as connection:
        context = migration.MigrationContext.configure(connection)
        assert autogenerate.compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("postgresql://keeper:hunter2@127.0.0.1:1/x", "127.0.0.1:1"),
        ("nonsense://keeper:hunter2@x/y", "does not name a supported database"),
        ("://", "is invalid"),
        ("/nonexistent/folder/history.sqlite", "directory you may write to"),
    ],
)
def test_unreachable(place: str, said: str) -> None:
    """One sentence that says what to do, without the password."""
    with pytest.raises(HistoryError) as caught:
        History(place)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.advice


def test_wrong_password(postgres: str) -> None:
    """The server's message is shown, and the password is not."""
    with pytest.raises(HistoryError) as caught:
        History(postgres.replace("correct-horse", "hunter2"))
    assert "password authentication failed" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_no_database(tmp_path: Path) -> None:
    """A file that is something else is refused, and stays unchanged."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but something valuable to somebody\n" * 100)
    before = file.read_bytes()
    with pytest.raises(HistoryError, match="is not a history"):
        History(file)
    assert file.read_bytes() == before
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE runs (x)")
    connection.close()
    with pytest.raises(HistoryError, match="cannot be opened"):
        History(other)


@given(data=st.data())
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_never_escape(data: st.DataObject, make_report: Make, tmp_path: Path) -> None:
    """A history with bytes changed anywhere is read or refused in a sentence."""
    whole = tmp_path / "whole.sqlite"
    if not whole.exists():
        with History(whole) as made:
            made.record(make_report("First"))
    content = bytearray(whole.read_bytes())
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=20)
    ):
        content[place] = byte
    for leftover in tmp_path.glob("damaged.sqlite*"):
        leftover.unlink()
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(HistoryError), History(damaged) as history:
        for run in history.runs():
            history.load(run.id)
        list(history.occurrences())


def test_unknown_run(history: History) -> None:
    """For a number that no run has, the error says where to find the numbers."""
    with pytest.raises(HistoryError, match=r"no run 7.*detector history"):
        history.load(7)


def test_a_run_is_continued(history: History, make_report: Make) -> None:
    """A run of the same kind, place and start is the one that was interrupted; any other is a new one."""
    report = make_report()
    first = history.begin(report, kind="scan")
    history.add(first, list(enumerate(report.results)))
    assert history.begin(report, kind="scan") == first
    assert history.load(first).results == report.results
    others = [
        history.begin(report, kind="check"),
        history.begin(msgspec.structs.replace(report, vantage="elsewhere"), kind="scan"),
        history.begin(
            msgspec.structs.replace(report, started=report.started + dt.timedelta(microseconds=1)), kind="scan"
        ),
    ]
    assert len({first, *others}) == 4


def test_waiting_for_another_writer_is_bounded(tmp_path: Path, make_report: Make) -> None:
    """A locked database is unavailable for as long as the caller allows, and can be read meanwhile."""
    place, waits = tmp_path / "history.sqlite", list[float]()

    def wait() -> float:
        waits.append(0.05)
        return waits[-1]

    with (
        History(place, wait=wait) as history,
        contextlib.closing(sqlite3.connect(place, isolation_level=None)) as other,
    ):
        history.record(make_report())
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryUnavailableError, match="locked") as raised:
            history.record(make_report())
        assert len(history.runs()) == 1
    assert waits
    assert not isinstance(raised.value, NoRoomError)


def _fill(history: History, report: Report) -> None:
    for _ in range(100):
        history.record(report)


def test_no_room_is_an_error_of_its_own(tmp_path: Path, make_report: Make) -> None:
    """Of the history and of what has no room, for callers of either."""
    with History(tmp_path / "history.sqlite") as history:

        @sa.event.listens_for(history._engine, "begin")
        def limit(connection: sa.Connection) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")

        with pytest.raises(HistoryFullError, match="full") as raised:
            _fill(history, make_report())
    assert isinstance(raised.value, NoRoomError)


def test_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask, with SQLite's side files; the permissions of a file that is there stay."""
    there = tmp_path / "there.sqlite"
    there.touch()
    there.chmod(0o640)
    before = os.umask(0)
    try:
        for place in (there, tmp_path / "new.sqlite"):
            with History(place) as history:
                history.runs()
                modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob(f"{place.name}*")}
                assert set(modes.values()) == {0o640 if place is there else 0o600}
    finally:
        os.umask(before)


@pytest.mark.parametrize("open_elsewhere", [False, True])
def test_a_read_only_history_can_be_read(
    open_elsewhere: bool,  # noqa: FBT001 - an example
    tmp_path: Path,
    make_report: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its permissions or its device, also while somebody else writes; writing is refused in a sentence."""
    place = tmp_path / "history with % and #.sqlite"
    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as now:
            writer = (stack if open_elsewhere else now).enter_context(History(place))
            writer.record(make_report())
        monkeypatch.setattr(os, "access", lambda *_: False)  # as on a read-only device, where root may not write either
        before = sorted(tmp_path.iterdir())
        with History(place) as history:
            assert [run.endpoints for run in history.runs()] == [2]
            assert history.load(1) == make_report()
            assert history.genuine(["exam.example.edu:443"])
            with pytest.raises(HistoryError, match="cannot be written"):
                history.record(make_report())
        assert sorted(tmp_path.iterdir()) == before


def test_a_read_only_file_that_is_no_history_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be made one."""
    (tmp_path / "empty.sqlite").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(HistoryError, match="may not be written here"):
        History(tmp_path / "empty.sqlite")


def test_a_server_that_goes_away(make_report: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """One sentence and no traceback, not on standard error either: in the middle of reading, and afterwards."""
    with running_postgres() as url:
        history = History(url, wait=lambda: 5.0)
        history.record(make_report())
        reading = history.occurrences()
        next(reading)
        engine = sa.create_engine(store._url(url))
        with engine.connect() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.execute(sa.text(others))
        engine.dispose()
    for attempt in (lambda: list(reading), lambda: history.record(make_report()), history.runs):
        with pytest.raises(HistoryUnavailableError, match=r"cannot be (read|written) \([^()]*\)") as raised:
            attempt()
        assert "\n" not in str(raised.value)
    history.close()
    assert capfd.readouterr().err == ""
