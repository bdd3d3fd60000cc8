"""The history's database: opening and migrating it, writing runs, reading them back as reports.

Room: history. Accesses the database; assesses nothing.

* A run and its results are written in transactions: the content is consistent whenever the program is killed.
* Several programs may write at once: SQLite in WAL mode with a wait for the lock, PostgreSQL by default.
* A database of an older version is migrated when it is opened, in one transaction; one of a newer version is refused.
* A file that may not be written, or is on a device that is read-only, can be read; a new file is its owner's alone.
* Every failure of the database is a `HistoryError` with one sentence that never contains a password; one that passes (a
  lock, a server that went away) is a `HistoryUnavailableError`, and no room a `HistoryFullError`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import HistoryError, HistoryFullError, HistoryUnavailableError, MissingExtraError
from detector.model import (
    Assurance,
    Category,
    Confidence,
    EndpointName,
    Record,
    Report,
    Result,
    Verdict,
    encode,
    json_text,
)
from detector.model.files import NO_ROOM, reason_of
from detector.model.private_files import create_private

try:
    import sqlalchemy as sa
    from sqlalchemy import exc
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise MissingExtraError("A history needs SQLAlchemy.", extra="history") from error

from .schema import REVISION, certificates, results, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Self

    from alembic import command as alembic_command
    from alembic import config as alembic_config
else:  # half a second, for migrations alone
    alembic_command = LazyModule("alembic.command")
    alembic_config = LazyModule("alembic.config")

LOCK_SECONDS: Final = 30.0
"""Maximum wait of a writer for another one; a batch takes milliseconds, migrating a large history some seconds."""

LOCK_STEP_SECONDS: Final = 0.2
"""One wait inside SQLite, which no signal interrupts: a longer wait consists of these. A writer needs milliseconds."""

LOCK_PAUSE_SECONDS: Final = 0.01
"""Between two of them: SQLite does not wait for a lock that it takes for a deadlock."""

BATCH: Final = 500
"""Results in one transaction of a scan: what a power failure can lose, and few enough not to block other writers."""

CONNECT_SECONDS: Final = 10
"""Timeout for connecting to a database server."""

_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
"""Primary result codes of SQLite (sqlite.org/rescode.html)."""
_PRIMARY_CODE: Final = 0xFF
"""Bits of an extended result code that hold the primary one."""
_SERVER_FULL: Final = "53100"
"""PostgreSQL's code of an error for a full device (PostgreSQL, appendix A: disk_full)."""
_SERVER_REFUSES: Final = ("28", "3D", "42")
"""Its classes of errors for a wrong account, database or privilege: time does not mend them."""

# The pool reports a connection that cannot be reset with a traceback; what fails for a caller is a `HistoryError`.
logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())

_WRITES: Final = "detector_writes"
"""Execution option of connections whose transactions write."""

_GENUINE: Final = (Assurance.PINNED, Assurance.LOGGED, Assurance.WITNESSED)
"""Assurances that show an endpoint's key to be genuine; a declared private PKI does not."""

T = TypeVar("T", bound=Record)

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Run(NamedTuple):
    """One run in the list. `finished` is None if it was interrupted."""

    id: int
    kind: str
    vantage: str
    started: dt.datetime
    finished: dt.datetime | None
    verdict: Verdict | None
    confidence: Confidence | None
    endpoints: int


class Occurrence(NamedTuple):
    """One endpoint in one run."""

    run: int
    at: dt.datetime
    vantage: str
    result: Result


class History:
    """One history: `place` is a file (SQLite) or a URL (`postgresql://user@host/name`, `sqlite:///file`).

    A file that is not there is made. `wait` returns the seconds that each access may wait for another writer, and that
    connecting to a server may take; by default the constants above. Raises `HistoryError`.
    """

    def __init__(self, place: str | Path, *, wait: Callable[[], float] | None = None) -> None:
        self._url = _url(str(place))
        self.name: Final = self._url.render_as_string(hide_password=True)
        try:
            self._engine = _engine(self._url, wait)
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            raise HistoryError(
                f"The history's URL {self.name} does not name a supported database.",
                advice="Give a file name for SQLite, or postgresql://user@host/database.",
            ) from error
        self._writing = self._engine.execution_options(**{_WRITES: True})
        try:
            with self._failures("opened"):
                _create(self._url)
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
        """Store a report, completely or not at all. Returns the run's number. Raises `HistoryError`."""
        with self._failures("written"), self._writing.begin() as connection:
            run = self._insert_run(connection, report, kind, report.finished)
            _insert_results(connection, run, enumerate(report.results))
        return run

    def begin(self, head: Report, *, kind: str) -> int:
        """Begin a run whose results are added later, or continue one; `head` is its report so far.

        A run of the same kind and vantage that started at the same moment is this one, which was interrupted. Raises
        `HistoryError`.
        """
        same = sa.select(runs.c.id).where(
            runs.c.kind == kind, runs.c.vantage == head.vantage, runs.c.started == head.started
        )
        with self._failures("written"), self._writing.begin() as connection:
            begun = connection.execute(same).scalar()
            return self._insert_run(connection, head, kind, None) if begun is None else int(begun)

    def add(self, run: int, numbered: Sequence[tuple[int, Result]]) -> None:
        """Store some results of a run, all or none; one with a stored number replaces it. Raises `HistoryError`."""
        with self._failures("written"), self._writing.begin() as connection:
            _insert_results(connection, run, numbered)

    def finish(self, run: int, head: Report) -> None:
        """Mark a run as finished; `head` is its report without the results. Raises `HistoryError`."""
        with self._failures("written"), self._writing.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run).values(**_run_values(head, head.finished)))

    def _insert_run(self, connection: sa.Connection, report: Report, kind: str, finished: dt.datetime | None) -> int:
        inserted = connection.execute(sa.insert(runs).values(kind=kind, **_run_values(report, finished)))
        key = inserted.inserted_primary_key
        if key is None:
            raise HistoryError(f"The history {self.name} assigned no number to a run.", advice="Try again.")
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
        """The report of a run; of an unfinished run, as far as it got. Raises `HistoryError`."""
        with self._failures("read"), self._engine.connect() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run)).one_or_none()
            if row is None:
                raise HistoryError(
                    f"The history {self.name} has no run {run}.", advice="`detector history` lists those it has."
                )
            found = connection.execute(
                sa.select(results.c.detail).where(results.c.run_id == run).order_by(results.c.number)
            )
            loaded = _with_certificates(connection, [_stored(detail, Result) for (detail,) in found])
            head = _stored(row.head, Report)
        return msgspec.structs.replace(head, results=tuple(loaded))

    def occurrences(self, *, vantage: str | None = None, since: dt.datetime | None = None) -> Iterator[Occurrence]:
        """Results over time, oldest first, in constant memory. Raises `HistoryError`."""
        wanted = (
            sa.select(runs.c.id, runs.c.started, runs.c.vantage, results.c.detail)
            .join(results, results.c.run_id == runs.c.id)
            .order_by(runs.c.started, runs.c.id, results.c.number)
        )
        if vantage is not None:
            wanted = wanted.where(runs.c.vantage == vantage)
        if since is not None:
            wanted = wanted.where(runs.c.started >= since)
        with self._failures("read"), self._engine.connect() as connection:
            stream = connection.execution_options(yield_per=BATCH).execute(wanted)
            for part in stream.partitions():
                loaded = _with_certificates(connection, [_stored(row.detail, Result) for row in part])
                for row, result in zip(part, loaded, strict=True):
                    yield Occurrence(row.id, _utc(row.started), row.vantage, result)

    def genuine(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these endpoints (`host:port`) were clean as pinned, logged or witnessed in any run.

        Raises `HistoryError`.
        """
        wanted = frozenset(names)
        with self._failures("read"):
            # Not `Endpoint`, which refuses a port that cannot be: such a row matches nothing, and breaks nothing.
            return wanted & {
                EndpointName(host=row.host, port=row.port, category=Category.OTHER).name
                for row in self._clean(sa.select(results.c.host, results.c.port).distinct(), wanted, _GENUINE)
            }

    def leaf_keys(self, names: Iterable[str], assurances: Collection[Assurance]) -> dict[str, frozenset[bytes]]:
        """The leaf keys (SHA-256 of the SubjectPublicKeyInfo) that clean results of these endpoints had.

        `names` are `host:port`; only results with one of `assurances` count. Raises `HistoryError`.
        """
        wanted = frozenset(names)
        found: dict[str, set[bytes]] = {}
        with self._failures("read"):
            for (detail,) in self._clean(sa.select(results.c.detail), wanted, assurances):
                result = _stored(detail, Result)
                chain = result.observation.chain
                if result.endpoint.name in wanted and chain and chain[0].spki_sha256:
                    found.setdefault(result.endpoint.name, set()).add(bytes.fromhex(chain[0].spki_sha256))
        return {name: frozenset(keys) for name, keys in found.items()}

    # Inside

    def _clean(
        self, selected: sa.Select[Any], names: Iterable[str], assurances: Collection[Assurance]
    ) -> Iterator[sa.Row[Any]]:
        """Yield what is selected of the clean results with one of `assurances` for the hosts of these endpoints."""
        hosts = sorted({name.rpartition(":")[0].strip("[]") for name in names})
        asked = selected.where(results.c.verdict == Verdict.CLEAN.value).where(
            results.c.assurance.in_([assurance.value for assurance in assurances])
        )
        with self._engine.connect() as connection:
            streaming = connection.execution_options(yield_per=BATCH)
            for start in range(0, len(hosts), BATCH):
                yield from streaming.execute(asked.where(results.c.host.in_(hosts[start : start + BATCH])))

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            is_new = not sa.inspect(connection).has_table("alembic_version")
            recorded = "SELECT version_num FROM alembic_version"
            current = None if is_new else connection.exec_driver_sql(recorded).scalar_one_or_none()
        if current == REVISION:
            return
        if current is not None and current > REVISION:
            raise HistoryError(
                f"The history {self.name} was written by a newer version of this program.",
                advice="Update tls-middleware-detector, or name another history.",
            )
        if _read_only(self._url):
            raise HistoryError(
                f"The history {self.name} is empty or of an older version, and may not be written here.",
                advice="Copy it to a directory you may write to, and name the copy.",
            )
        settings = alembic_config.Config()
        settings.set_main_option("script_location", str(_MIGRATIONS))
        with self._writing.begin() as connection:
            if connection.dialect.name == "postgresql":  # one program at a time; in SQLite the transaction is a lock
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            settings.attributes["connection"] = connection
            alembic_command.upgrade(settings, REVISION)

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Raise every failure of the database as a `HistoryError` of one sentence."""
        try:
            yield
        except HistoryError:  # a ValueError as well
            raise
        except (exc.SQLAlchemyError, OSError, ValueError, TypeError, OverflowError) as error:
            # The last three: a time, text, number or schema that no program of ours wrote.
            raise _kind(error)(
                f"The history {self.name} cannot be {what} ({_reason(error)}).", advice=_advice(error)
            ) from None  # the library's own text repeats statements and parameters


def _url(place: str) -> sa.URL:
    if "://" not in place:
        return sa.URL.create("sqlite+pysqlite", database=place)
    try:
        url = sa.make_url(place)
    except (exc.ArgumentError, ValueError):  # the latter: a port that is no number
        raise HistoryError(
            "The history's URL is invalid.", advice="Write postgresql://user@host/database or a file name."
        ) from None
    if url.drivername in {"postgresql", "postgres"}:
        if not url.username:
            raise HistoryError("The history's URL names no user.", advice="Write postgresql://user@host/database.")
        return url.set(drivername="postgresql+pg8000")
    return url


def _file(url: sa.URL) -> Path | None:
    """The file of a history; None for a server, a database in memory, and a URI that says more than a file."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name.startswith((":", "file:")):
        return None
    return Path(name)


def _create(url: sa.URL) -> None:
    """Make the file if it is not there, for its owner alone: which networks somebody was in, and when. Raises OSError.

    SQLite gives its side files the same permissions; on Windows they have those of the directory.
    """
    if (file := _file(url)) is not None:
        with contextlib.suppress(FileExistsError):
            os.close(create_private(file))


def _read_only(url: sa.URL) -> bool:
    """Whether this is a file that may not be written, by its permissions or its device."""
    file = _file(url)
    return file is not None and file.is_file() and not os.access(file, os.W_OK)


def _read_only_uri(file: Path) -> str:
    """The file for reading alone. Without side files nobody is writing, and none need be made where none can be."""
    side_file = file.with_name(f"{file.name}-wal")
    immutable = "" if side_file.exists() and side_file.stat().st_size else "&immutable=1"
    return f"{file.absolute().as_uri()}?mode=ro{immutable}"


def _engine(url: sa.URL, wait: Callable[[], float] | None = None) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        engine = sa.create_engine(url, pool_pre_ping=True)

        @sa.event.listens_for(engine, "do_connect")
        def limit(_: object, __: object, ___: object, arguments: dict[str, Any]) -> None:
            arguments["timeout"] = CONNECT_SECONDS if wait is None else min(wait(), CONNECT_SECONDS)

        return engine
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "do_connect")
    def protect(_: object, __: object, place: list[Any], arguments: dict[str, Any]) -> None:
        arguments["timeout"] = LOCK_STEP_SECONDS
        file = _file(url)
        if file is not None and _read_only(url):
            place[0] = _read_only_uri(file)
            arguments["uri"] = True

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3's, without SQLAlchemy around it
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
        if not _read_only(url):
            _when_unlocked(lambda: connection.execute("PRAGMA journal_mode = WAL"), wait)
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock at once and waits for it; a transaction that reads first and locks later fails
        # without waiting if another program wrote in between. A read lock is taken by reading.
        if connection.get_execution_options().get(_WRITES, False):
            _when_unlocked(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), wait)
        else:
            connection.exec_driver_sql("BEGIN")
            _when_unlocked(lambda: connection.exec_driver_sql("SELECT 1 FROM sqlite_master"), wait)

    return engine


def _when_unlocked(step: Callable[[], object], wait: Callable[[], float] | None) -> None:
    """Take a lock: repeat `step` while others hold it, as long as `wait` says, and handle signals in between.

    Raises the last failure.
    """
    begun = time.monotonic()
    while True:
        try:
            step()
        except (exc.OperationalError, sqlite3.OperationalError) as error:
            code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) & _PRIMARY_CODE
            if code not in _BUSY or time.monotonic() - begun >= (LOCK_SECONDS if wait is None else wait()):
                raise
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


_MIGRATION_LOCK: Final = 0x746C732D
"""Any number that no other program uses as a lock of this database."""


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
        # Always in the same order, so that two writers cannot deadlock.
        known = [{"sha256": key, "der": seen[key]} for key in sorted(seen)]
        connection.execute(insert(certificates).on_conflict_do_nothing(), known)
    if rows:
        statement = insert(results)
        replaced = {c.name: statement.excluded[c.name] for c in results.c if not c.primary_key}
        connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "number"], set_=replaced), rows)


def _row(run: int, number: int, result: Result) -> dict[str, Any]:
    who = result.attribution
    bare = tuple(msgspec.structs.replace(c, der=b"") for c in result.observation.chain)
    fields = {field: getattr(result, field) for field in Result.__struct_fields__}  # without a subclass's
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
    """Text without NUL, which PostgreSQL cannot store and a certificate may contain."""
    return None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _stored(value: object, kind: type[T]) -> T:
    """A stored result, or the head of a run. Raises `HistoryError`."""
    try:
        return json_text.decode(_bytes(value), kind)
    except json_text.MalformedError as error:
        raise _unreadable("A result" if kind is Result else "A run") from error


def _bytes(value: object) -> bytes:
    """The content of a column of bytes; SQLite stores any type in any column."""
    return value if isinstance(value, bytes) else b""


def _unreadable(what: str) -> HistoryError:
    return HistoryError(
        f"{what} in the history cannot be read.",
        advice="If a newer version wrote it, update this one; if the file is damaged, restore it.",
    )


def _with_certificates(connection: sa.Connection, loaded: Sequence[Result]) -> list[Result]:
    """The results with the bytes of their certificates restored."""
    wanted = sorted({c.sha256 for result in loaded for c in result.observation.chain})
    der: dict[str, bytes] = {}
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        found = connection.execute(sa.select(certificates).where(certificates.c.sha256.in_(part)))
        # Bytes that do not match their hash were damaged or changed, and are dropped.
        der.update((row.sha256, row.der) for row in found if hashlib.sha256(_bytes(row.der)).hexdigest() == row.sha256)
    return [_whole(result, der) for result in loaded]


def _whole(result: Result, der: dict[str, bytes]) -> Result:
    chain = tuple(msgspec.structs.replace(c, der=der.get(c.sha256, b"")) for c in result.observation.chain)
    return msgspec.structs.replace(result, observation=msgspec.structs.replace(result.observation, chain=chain))


def _run(row: Any) -> Run:  # noqa: ANN401 - a row, whose columns are known above
    values = row._asdict() | {"started": _utc(row.started), "finished": row.finished and _utc(row.finished)}
    try:
        return msgspec.convert([values[name] for name in Run._fields], Run)
    except msgspec.ValidationError as error:
        raise _unreadable("A run") from error


def _utc(moment: dt.datetime | None) -> dt.datetime:
    """A time from the database; SQLite stores UTC without an offset."""
    if moment is None:
        raise _unreadable("A run")
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _reason(error: Exception) -> str:
    """The driver's message, shortened to one line, without the statement."""
    if isinstance(error, (ValueError, TypeError, OverflowError)):  # the driver's, on such values
        return "database is malformed"
    if isinstance(error, OSError):
        return reason_of(error)
    original = getattr(error, "orig", None) or error
    if isinstance(original.__cause__, OSError):  # pg8000 puts the arguments of the call around it
        return reason_of(original.__cause__)
    words = original.args[0] if original.args else original
    if isinstance(words, dict):  # pg8000 gives the server's fields (PostgreSQL, "Error and Notice Message Fields")
        words = words.get("M", "the server refused")
    return " ".join(str(words).split())[:200] or type(error).__name__


def _kind(error: Exception) -> type[HistoryError]:
    """Which error a failure of the database is."""
    if isinstance(error, OSError):
        return HistoryFullError if error.errno in NO_ROOM else HistoryError
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code:
        return HistoryFullError if code in _FULL else HistoryUnavailableError if code in _BUSY else HistoryError
    fields = original.args[0] if original is not None and original.args else None
    if isinstance(fields, dict):  # the server's own words; see `_reason`
        server_code = str(fields.get("C", ""))
        if server_code == _SERVER_FULL:
            return HistoryFullError
        return HistoryError if server_code.startswith(_SERVER_REFUSES) else HistoryUnavailableError
    gone = isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)
    return HistoryUnavailableError if gone else HistoryError


def _advice(error: Exception) -> str:
    reason = _reason(error).lower()
    if isinstance(error, OSError) and error.errno not in NO_ROOM:
        return "Name a file in a directory you may write to."
    if "full" in reason or "no space" in reason:
        return "Free some disk space; what was written before is kept."
    if "locked" in reason:
        return "Another program is writing: try again when it is done."
    if "malformed" in reason or "not a database" in reason:
        return "This file is not a history: name another one, or restore it."
    if "readonly" in reason or "read-only" in reason or "unable to open" in reason:
        return "Name a file in a directory you may write to."
    return "Check that the database is running, its address, and the account."
