"""The history's database: opened and brought up to date, written in whole steps, read back as reports.

Room: history. Talks to the database; judges nothing.

* A run and its results are written in transactions: what is there is whole, whenever the program is killed.
* Several programs may write at once: SQLite in WAL mode with a wait for the lock, PostgreSQL as it is.
* A database of an older version is migrated when it is opened, in one transaction; one of a newer version is refused.
* Every failure of the database is a `HistoryError` with one sentence, in which no password stands.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.errors import HistoryError, MissingExtraError
from detector.model import Assurance, Confidence, Endpoint, Report, Result, Verdict, encode

try:
    import sqlalchemy as sa
    from sqlalchemy import exc
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise MissingExtraError("A history needs SQLAlchemy.", extra="history") from error

from .schema import REVISION, certificates, results, runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

LOCK_SECONDS: Final = 30.0
"""How long a writer waits for another one; a batch takes milliseconds, a migration of a large history some seconds."""

BATCH: Final = 500
"""Results in one transaction of a scan: what a power failure can cost, and few enough that others get their turn."""

CONNECT_SECONDS: Final = 10
"""How long a database server may take to answer at first."""

_WRITES: Final = "detector_writes"
"""Execution option of connections whose transactions write."""

_GENUINE: Final = (Assurance.PINNED, Assurance.LOGGED, Assurance.WITNESSED)
"""What a clean result must rest on for the endpoint's key to have been genuine; a declared private PKI is no such."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Run(NamedTuple):
    """One run as the list shows it. `finished` is None for one that was ended before it was done."""

    id: int
    kind: str
    vantage: str
    started: dt.datetime
    finished: dt.datetime | None
    verdict: Verdict | None
    confidence: Confidence | None
    endpoints: int


class Sighting(NamedTuple):
    """One endpoint in one run."""

    run: int
    at: dt.datetime
    vantage: str
    result: Result


def default_url() -> str:
    """Where the history is when nobody says: in the user's own data directory, by the platform's convention.

    Raises `HistoryError` where the user has none.
    """
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Application Support"
        else:
            base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError as error:
        raise HistoryError(
            "No home directory is known, so there is no usual place for a history.", advice="Name a file or a database."
        ) from error
    return str(base / "tls-middleware-detector" / "history.sqlite")


class History:
    """One history: `place` is a file (SQLite) or a URL (`postgresql://user@host/name`, `sqlite:///file`).

    A file that is not there is made. Raises `HistoryError`.
    """

    def __init__(self, place: str | Path) -> None:
        self._url = _url(str(place))
        self.name: Final = self._url.render_as_string(hide_password=True)
        try:
            self._engine = _engine(self._url)
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            raise HistoryError(
                f"The history's URL {self.name} names no database that is supported.",
                advice="Give a file name for SQLite, or postgresql://user@host/database.",
            ) from error
        self._writing = self._engine.execution_options(**{_WRITES: True})
        try:
            with self._failures("opened"):
                self._migrate()
        except BaseException:  # interruption too: no connection must outlive this call; nothing is swallowed
            self._engine.dispose()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # Writing

    def record(self, report: Report, *, kind: str = "check") -> int:
        """Keep a report, all of it or nothing. Gives the run's number. Raises `HistoryError`."""
        with self._failures("written"), self._writing.begin() as connection:
            run = self._insert_run(connection, report, kind, report.finished)
            _insert_results(connection, run, enumerate(report.results))
        return run

    def begin(self, head: Report, *, kind: str) -> int:
        """Begin a run whose results come one by one; `head` is its report so far. Raises `HistoryError`."""
        with self._failures("written"), self._writing.begin() as connection:
            return self._insert_run(connection, head, kind, None)

    def add(self, run: int, numbered: Sequence[tuple[int, Result]]) -> None:
        """Keep some results of a run, all of them or none; one whose number is there takes its place.

        Raises `HistoryError`.
        """
        with self._failures("written"), self._writing.begin() as connection:
            _insert_results(connection, run, numbered)

    def finish(self, run: int, head: Report) -> None:
        """Say that a run has ended; `head` is its report without the results. Raises `HistoryError`."""
        with self._failures("written"), self._writing.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run).values(**_run_values(head, head.finished)))

    def _insert_run(self, connection: sa.Connection, report: Report, kind: str, finished: dt.datetime | None) -> int:
        inserted = connection.execute(sa.insert(runs).values(kind=kind, **_run_values(report, finished)))
        key = inserted.inserted_primary_key
        if key is None:
            raise HistoryError(f"The history {self.name} gave no number to a run.", advice="Try again.")
        return int(key[0])

    # Reading

    def runs(
        self, *, vantage: str | None = None, since: dt.datetime | None = None, limit: int = 100
    ) -> tuple[Run, ...]:
        """The latest runs, newest first. Raises `HistoryError`."""
        counted = sa.select(sa.func.count()).where(results.c.run_id == runs.c.id).scalar_subquery()
        wanted = (
            sa.select(runs, counted.label("endpoints")).order_by(runs.c.started.desc(), runs.c.id.desc()).limit(limit)
        )
        if vantage is not None:
            wanted = wanted.where(runs.c.vantage == vantage)
        if since is not None:
            wanted = wanted.where(runs.c.started >= since)
        with self._failures("read"), self._engine.connect() as connection:
            return tuple(_run(row) for row in connection.execute(wanted))

    def load(self, run: int) -> Report:
        """A run as the report it was; of an unfinished run, what there is. Raises `HistoryError`."""
        with self._failures("read"), self._engine.connect() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run)).one_or_none()
            if row is None:
                raise HistoryError(
                    f"The history {self.name} has no run {run}.", advice="`detector history` lists those it has."
                )
            found = connection.execute(
                sa.select(results.c.detail).where(results.c.run_id == run).order_by(results.c.number)
            )
            loaded = _with_certificates(connection, [_result(detail) for (detail,) in found])
            head = _report(row.head)
        return msgspec.structs.replace(head, results=tuple(loaded))

    def sightings(
        self,
        *,
        host: str | None = None,
        vantage: str | None = None,
        verdict: Verdict | None = None,
        since: dt.datetime | None = None,
    ) -> Iterator[Sighting]:
        """Results over time, oldest first, as they are read: any number of them costs no memory.

        Raises `HistoryError`.
        """
        wanted = (
            sa.select(runs.c.id, runs.c.started, runs.c.vantage, results.c.detail)
            .join(results, results.c.run_id == runs.c.id)
            .order_by(runs.c.started, runs.c.id, results.c.number)
        )
        for column, value in ((results.c.host, host), (runs.c.vantage, vantage), (results.c.verdict, verdict)):
            if value is not None:
                wanted = wanted.where(column == value)
        if since is not None:
            wanted = wanted.where(runs.c.started >= since)
        with self._failures("read"), self._engine.connect() as connection:
            stream = connection.execution_options(yield_per=BATCH).execute(wanted)
            for part in stream.partitions():
                loaded = _with_certificates(connection, [_result(row.detail) for row in part])
                for row, result in zip(part, loaded, strict=True):
                    yield Sighting(row.id, _utc(row.started), row.vantage, result)

    def genuine(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these endpoints (`host:port`) were clean as pinned, logged or witnessed in any run.

        Raises `HistoryError`.
        """
        wanted = frozenset(names)
        hosts = sorted({name.rpartition(":")[0].strip("[]") for name in wanted})
        found: set[str] = set()
        with self._failures("read"), self._engine.connect() as connection:
            for start in range(0, len(hosts), BATCH):
                asked = (
                    sa.select(results.c.host, results.c.port)
                    .distinct()
                    .where(results.c.host.in_(hosts[start : start + BATCH]))
                    .where(results.c.verdict == Verdict.CLEAN.value)
                    .where(results.c.assurance.in_([assurance.value for assurance in _GENUINE]))
                )
                found.update(Endpoint(host=row.host, port=row.port).name for row in connection.execute(asked))
        return wanted & found

    # Inside

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            current = _revision(connection)
        if current == REVISION:
            return
        if current is not None and current > REVISION:
            raise HistoryError(
                f"The history {self.name} was written by a newer version of this program.",
                advice="Update tls-middleware-detector, or name another history.",
            )
        from alembic import command, config  # noqa: PLC0415 - half a second that a history of this version does not need

        settings = config.Config()
        settings.set_main_option("script_location", str(_MIGRATIONS))
        with self._writing.begin() as connection:
            _lock_for_migration(connection)
            settings.attributes["connection"] = connection
            command.upgrade(settings, REVISION)

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Turn every failure of the database into one sentence."""
        try:
            yield
        except HistoryError:  # a ValueError too, and said already
            raise
        except (exc.SQLAlchemyError, OSError, ValueError) as error:  # the last: a damaged time, text or schema
            raise HistoryError(
                f"The history {self.name} cannot be {what} ({_reason(error)}).", advice=_advice(error)
            ) from None  # the library's own text repeats statements and parameters


def _url(place: str) -> sa.URL:
    if "://" not in place:
        return sa.URL.create("sqlite+pysqlite", database=place)
    try:
        url = sa.make_url(place)
    except exc.ArgumentError:
        raise HistoryError(
            "The history's URL cannot be read.", advice="Write postgresql://user@host/database or a file name."
        ) from None
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+pg8000")
    return url


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, connect_args={"timeout": CONNECT_SECONDS}, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3's, without SQLAlchemy around it
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock at once and waits for it; a transaction that reads first and wants it later
        # fails without waiting when somebody else wrote in between.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _revision(connection: sa.Connection) -> str | None:
    """The version of the schema that is there, as Alembic notes it; None where there is none yet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def _lock_for_migration(connection: sa.Connection) -> None:
    """Let one program migrate at a time. SQLite's transaction is a lock already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


_MIGRATION_LOCK: Final = 0x746C732D
"""Any number that no other program takes as a lock of this database."""


def _run_values(report: Report, finished: dt.datetime | None) -> dict[str, Any]:
    return {
        "vantage": report.vantage,
        "started": report.started,
        "finished": finished,
        "verdict": None if finished is None else report.verdict.value,
        "confidence": None if finished is None or report.confidence is None else report.confidence.value,
        "head": encode(msgspec.structs.replace(report, results=())),
    }


def _insert_results(connection: sa.Connection, run: int, numbered: Iterable[tuple[int, Result]]) -> None:
    rows: list[dict[str, Any]] = []
    seen: dict[str, bytes] = {}
    for number, result in numbered:
        for certificate in result.observation.chain:
            if certificate.der:
                seen[certificate.sha256] = certificate.der
        rows.append(_row(run, number, result))
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    if seen:
        # In one order everywhere, so that two writers cannot wait for each other.
        known = [{"sha256": key, "der": seen[key]} for key in sorted(seen)]
        connection.execute(insert(certificates).on_conflict_do_nothing(), known)
    if rows:
        statement = insert(results)
        replaced = {c.name: statement.excluded[c.name] for c in results.c if not c.primary_key}
        connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "number"], set_=replaced), rows)


def _row(run: int, number: int, result: Result) -> dict[str, Any]:
    who = result.attribution
    bare = tuple(msgspec.structs.replace(c, der=b"") for c in result.observation.chain)
    fields = {field: getattr(result, field) for field in Result.__struct_fields__}
    fields["observation"] = msgspec.structs.replace(result.observation, chain=bare)
    return {
        "run_id": run,
        "number": number,
        "host": result.endpoint.host,
        "port": result.endpoint.port,
        "category": result.endpoint.category.value,
        "verdict": result.verdict.value,
        "confidence": result.confidence and result.confidence.value,
        "assurance": result.assurance and result.assurance.value,
        "reason": result.reason,
        "product": _storable(who.product if who else None),
        "issuer": _storable(who.issuer if who else None),
        "detail": encode(Result(**fields)),
    }


def _storable(text: str | None) -> str | None:
    """Text as a column takes it: PostgreSQL has no place for NUL, and a certificate may hold one."""
    return None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _result(detail: object) -> Result:
    try:
        return msgspec.json.decode(_octets(detail), type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable("A result") from error


def _report(head: object) -> Report:
    try:
        return Report.from_json(_octets(head))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable("A run") from error


def _octets(value: object) -> bytes:
    """What a column of octets holds; SQLite keeps anything in any column."""
    return value if isinstance(value, bytes) else b""


def _unreadable(what: str) -> HistoryError:
    return HistoryError(
        f"{what} in the history cannot be read.",
        advice="Was it written by a newer version? Update this one; or was the file damaged? Restore it.",
    )


def _with_certificates(connection: sa.Connection, loaded: Sequence[Result]) -> list[Result]:
    """The results with the octets of their certificates put back."""
    wanted = sorted({c.sha256 for result in loaded for c in result.observation.chain})
    der: dict[str, bytes] = {}
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        found = connection.execute(sa.select(certificates).where(certificates.c.sha256.in_(part)))
        # Octets that are not those of their name were damaged, or changed: none are better.
        der.update((row.sha256, row.der) for row in found if hashlib.sha256(_octets(row.der)).hexdigest() == row.sha256)
    return [_whole(result, der) for result in loaded]


def _whole(result: Result, der: dict[str, bytes]) -> Result:
    chain = tuple(msgspec.structs.replace(c, der=der.get(c.sha256, b"")) for c in result.observation.chain)
    return msgspec.structs.replace(result, observation=msgspec.structs.replace(result.observation, chain=chain))


def _run(row: Any) -> Run:  # noqa: ANN401 - a row, whose columns are known above
    values = {
        "id": row.id,
        "kind": row.kind,
        "vantage": row.vantage,
        "started": _utc(row.started),
        "finished": None if row.finished is None else _utc(row.finished),
        "verdict": row.verdict,
        "confidence": row.confidence,
        "endpoints": row.endpoints,
    }
    try:
        return msgspec.convert(tuple(values[name] for name in Run._fields), Run)
    except msgspec.ValidationError as error:
        raise _unreadable("A run") from error


def _utc(moment: dt.datetime | None) -> dt.datetime:
    """A time from the database; SQLite keeps UTC without saying so."""
    if moment is None:
        raise _unreadable("A run")
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _reason(error: Exception) -> str:
    """The driver's own words, on one line and short, without the statement around them."""
    if isinstance(error, ValueError):  # sqlite3's or SQLAlchemy's, on values that no program of ours wrote
        return "database is malformed"
    original = getattr(error, "orig", None) or error
    words = original.args[0] if original.args else original
    if isinstance(words, dict):  # pg8000 gives the server's fields (PostgreSQL, "Error and Notice Message Fields")
        words = words.get("M", "the server refused")
    return " ".join(str(words).split())[:200] or type(error).__name__


def _advice(error: Exception) -> str:
    reason = _reason(error).lower()
    if "full" in reason or "no space" in reason:
        return "Make room on the disk; what was written before is kept."
    if "locked" in reason:
        return "Another program is writing: try again when it is done."
    if "malformed" in reason or "not a database" in reason:
        return "This file is no history: name another one, or restore it."
    if "readonly" in reason or "read-only" in reason or "unable to open" in reason:
        return "Name a file in a directory you may write to."
    return "Check that the database is running, its address, and the account."
