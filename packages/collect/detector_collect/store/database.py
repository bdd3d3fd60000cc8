"""Connects to the collector's database: one pool, transactions, and errors of a closed set.

Room: detector_collect.store. Opens the database that is named, and nothing else.

* PostgreSQL (asyncpg) serves any number of processes. SQLite (aiosqlite) is for one process, whose writers take turns.
* `Store.begin` is a transaction that writes: durable once the block has ended without an exception. On SQLite it takes
  the write lock at once, so that what it has read is still true when it writes.
* A connection that died is replaced when it is next needed: a server that was restarted needs nothing here.
* Every failure is a `StoreError` (see `errors`), whose text never holds a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
import sqlalchemy as sa
from sqlalchemy import AsyncAdaptedQueuePool, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import create_async_engine

from detector.model.files import NO_ROOM, reason_of
from detector.model.private_files import create_private

from . import migrations
from .errors import StoreError, StoreFullError, StoreUnavailableError
from .schema import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Self

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

CONNECT_SECONDS: Final = 10.0
"""Timeout of connecting to PostgreSQL, and of waiting for a connection of the pool: a client waits longer."""
COMMAND_SECONDS: Final = 60.0
"""Timeout of one statement: a submission takes milliseconds, a page of reviews seconds. A server that is stopped, or a
network that drops, would otherwise hold a request forever. Migrating and cleaning up have no such limit."""
LOCK_SECONDS: Final = 30.0
"""SQLite's wait for the lock of another process, such as a command: it is held for seconds at most."""

SWITCH_SECONDS: Final = 5.0
"""Until an empty database has been switched to write-ahead logging, by this process or another: some milliseconds."""
SWITCH_PAUSE_SECONDS: Final = 0.01
"""Between two attempts."""
POOL: Final = 10
"""Connections of one process. PostgreSQL allows 100 in all by default, and two cores keep fewer than ten busy."""

_SQLITE_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_PRIMARY_CODE: Final = 0xFF
"""Primary result codes of SQLite, and the bits of an extended code that hold them (sqlite.org/rescode.html)."""
_SERVER_FULL: Final = ("53100",)
"""disk_full (PostgreSQL, appendix A)."""
_SERVER_PASSES: Final = ("08", "40", "53", "55P03", "57", "58")
"""Its codes of failures that pass: connections, conflicts of transactions, resources, locks, an operator's shutdown,
the system under it."""

_WRONG_FILE: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What time does not mend; other errors of the system are of a network, and pass."""

_WRITES: Final = "detector_writes"
"""Execution option of connections whose transactions write."""
_ERASURE_KEY: Final = "detector_erasure_key"
"""Execution option that holds the key of `erasure_key`."""


class _Place(NamedTuple):
    """A parsed URL: `file` for SQLite, `url` for PostgreSQL; `name` has no password."""

    name: str
    file: Path | None
    url: str


class Store:
    """The collector's database. Make it with `open`; an asynchronous context manager, for one event loop."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self.name: Final = place.name
        self.is_postgres: Final = place.file is None
        self._engine = _engine(place, COMMAND_SECONDS)
        self._writing = self._engine.execution_options(**{_WRITES: True})
        self._turn: contextlib.AbstractAsyncContextManager[object] = (
            contextlib.nullcontext() if self.is_postgres else asyncio.Lock()
        )

    @classmethod
    async def open(cls, url: str, *, migrate: bool = False) -> Self:
        """Open `postgresql://user@host/database` or `sqlite:///file`.

        With `migrate` the tables are created or migrated, and a file that does not exist is created for its owner
        alone. Raises `StoreError`, also where the database is of another version.
        """
        place = _place(url)
        with failures(place.name):
            if place.file is not None and not place.file.exists():
                if not migrate:
                    raise _not_current(place.name, None)
                os.close(create_private(place.file))
        store = cls(place)
        try:
            if migrate:
                await store._migrate()
            await store._prepare()
        except BaseException:  # cancellation too: no connection outlives this
            await store.close()
            raise
        return store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed when the block ends, undone where it raises. Raises `StoreError`."""
        with failures(self.name):
            async with self._turn, self._writing.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with. On SQLite it sees one state throughout. Raises `StoreError`."""
        with failures(self.name):
            async with self._engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def maintain(self) -> AsyncIterator[AsyncConnection]:
        """A connection without a transaction and without a time limit, for VACUUM and the like. Raises `StoreError`."""
        engine = _engine(self._place, None)
        try:
            with failures(self.name):
                async with self._turn, engine.connect() as connection:
                    yield await connection.execution_options(isolation_level="AUTOCOMMIT")
        finally:
            await engine.dispose()

    async def clean(self) -> None:
        """Remove what the database itself keeps of deleted rows. Raises `StoreError`.

        PostgreSQL: dead rows in the tables (VACUUM). SQLite: the write-ahead log; deleted rows are overwritten at once.
        """
        async with self.maintain() as connection:
            if self.is_postgres:
                await connection.exec_driver_sql("VACUUM")
                return
            checkpoint = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            if checkpoint.scalar_one():  # a reader, or a writer of another program, was in the way
                raise StoreUnavailableError(
                    f"Another program reads {self.name}: its write-ahead log still holds what was deleted.",
                    advice="Run `detector-collect expire` when that is done.",
                )

    async def _migrate(self) -> None:
        engine = _engine(self._place, None)
        try:
            with failures(self.name):
                async with engine.execution_options(**{_WRITES: True}).begin() as connection:
                    await connection.run_sync(migrations.lock)
                    revision = await connection.run_sync(migrations.revision)
                    if revision is not None and revision > migrations.REVISION:
                        raise _not_current(self.name, revision)
                    await connection.run_sync(migrations.upgrade)
        finally:
            await engine.dispose()

    async def _prepare(self) -> None:
        async with self.connect() as connection:
            revision = await connection.run_sync(migrations.revision)
            if revision != migrations.REVISION:
                raise _not_current(self.name, revision)
            key = await connection.scalar(sa.select(settings.c.value).where(settings.c.name == "erasure-key"))
        if key is None:
            raise StoreError(f"The database {self.name} lacks its erasure key.", advice="Restore it from a backup.")
        self._engine = self._engine.execution_options(**{_ERASURE_KEY: key})
        self._writing = self._writing.execution_options(**{_ERASURE_KEY: key})


def erasure_key(connection: AsyncConnection) -> bytes:
    """The secret of this database with which erased submissions are marked."""
    key: bytes = connection.sync_connection.get_execution_options()[_ERASURE_KEY]  # type: ignore[union-attr]  # a connection of a `Store` is open
    return key


def insert(connection: AsyncConnection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that may say ON CONFLICT, which both databases write alike."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def storable(text: str | None) -> str | None:
    """Text without NUL, which PostgreSQL cannot store and a certificate may contain."""
    return None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Raise every failure of the database `name` as a `StoreError` of one sentence."""
    try:
        yield
    except StoreError:
        raise
    except (exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        reason = _reason(error)
        full, passes = _nature(error)
        kind = StoreFullError if full else StoreUnavailableError if passes else StoreError
        raise kind(f"The database {name} cannot be used ({reason}).", advice=_ADVICE[kind]) from None
        # from None: the libraries' own texts repeat statements and parameters


_ADVICE: Final[dict[type[StoreError], str]] = {
    StoreFullError: "Make room on its device; what was stored is kept.",
    StoreUnavailableError: "Check that it runs and can be reached, and try again.",
    StoreError: "Check its address, the account and its privileges.",
}


def _place(url: str) -> _Place:
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):  # the latter: a port that is no number
        parsed = None
    if parsed is not None and parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        return _Place(f"sqlite:///{parsed.database}", Path(parsed.database), "")
    # "@" in the host: the rest of a password in which it is not written as %40.
    if parsed is not None and parsed.drivername in {"postgresql", "postgres"} and "@" not in (parsed.host or ""):
        # The query may hold a password, too.
        return _Place(parsed.set(query={}).render_as_string(hide_password=True), None, url)
    raise _invalid_url() from None


def _invalid_url() -> StoreError:
    return StoreError(
        "The database's URL is invalid.", advice="Write postgresql://user@host/database or sqlite:///file."
    )


def _not_current(name: str, revision: str | None) -> StoreError:
    if revision is not None and revision > migrations.REVISION:
        return StoreError(
            f"The database {name} belongs to a newer version of this program.",
            advice="Update tls-middleware-detector-collect.",
        )
    return StoreError(f"The database {name} is empty or of an older version.", advice="Run: detector-collect migrate")


def _engine(place: _Place, command_seconds: float | None) -> AsyncEngine:
    if place.file is None:

        async def connect() -> Any:  # noqa: ANN401 - asyncpg's connection, which SQLAlchemy wraps
            # asyncpg reads the URL as libpq does, with sslmode, ~/.pgpass and PGPASSWORD.
            try:
                return await asyncpg.connect(
                    place.url,
                    timeout=CONNECT_SECONDS,
                    command_timeout=command_seconds,
                    server_settings={"application_name": "detector-collect"},
                )
            except asyncpg.InterfaceError:  # which can be a ValueError, too
                raise
            except (ValueError, OverflowError):  # a port that is no number, or too large; its text may be a password's
                raise _invalid_url() from None

        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_pre_ping=True,
            pool_size=POOL,
            pool_timeout=CONNECT_SECONDS,
        )
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(place.file)),
        connect_args={"timeout": LOCK_SECONDS},
        poolclass=AsyncAdaptedQueuePool,  # which not every version of SQLAlchemy takes by default
        pool_size=POOL,
        pool_timeout=CONNECT_SECONDS,
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's connection
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
        cursor = connection.cursor()
        _use_write_ahead_log(cursor)
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_isolation_level() == "AUTOCOMMIT":
            return
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_write_ahead_log(cursor: Any) -> None:  # noqa: ANN401 - the driver's cursor
    """Switch to write-ahead logging, which SQLite refuses at once while another connection does the same."""
    deadline = time.monotonic() + SWITCH_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(SWITCH_PAUSE_SECONDS)
        else:
            return


def _reason(error: Exception) -> str:
    """The driver's message, shortened to one line, without the statement."""
    if isinstance(error, exc.TimeoutError):
        return "every connection is busy"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else reason_of(error)
    original = getattr(error, "orig", None) or error
    words = getattr(original.__cause__, "message", None) or getattr(original, "message", None) or original
    return " ".join(str(words).split())[:200] or type(error).__name__


def _nature(error: Exception) -> tuple[bool, bool]:
    """Whether a failure means that there is no room, and whether it passes."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM, not isinstance(error, _WRONG_FILE)
    original = getattr(error, "orig", None) or error
    if code := getattr(original, "sqlite_errorcode", 0) & _PRIMARY_CODE:
        return code in _SQLITE_FULL, code in _SQLITE_BUSY
    if state := getattr(original, "sqlstate", None):
        return state.startswith(_SERVER_FULL), state.startswith(_SERVER_PASSES)
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return False, True
    return False, isinstance(error, exc.TimeoutError | exc.InterfaceError | exc.OperationalError)
