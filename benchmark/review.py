"""How fast the review room opens an institution with a million results, on SQLite and PostgreSQL.

    python -m benchmark.review [--results 1000000] [--rounds 20] [--plans FILE]

Fills both databases, times what a page reads and the whole page over HTTP on loopback, and prints the plans of the
queries (EXPLAIN). PostgreSQL comes from the system's packages, as in the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import itertools
import random
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import asyncpg
import httpx
import sqlalchemy as sa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect import responsibility, review
from detector_collect.responsibility import DeviceResult, Interception
from detector_collect.review import queries
from detector_collect.review.access import people as access
from detector_collect.review.access.permissions import Kind
from detector_collect.review.access.sessions import begin_session
from detector_collect.service.app import create_app
from detector_collect.service.settings import ServiceSettings
from detector_collect.simulation import PRODUCTS
from detector_collect.store import keys
from detector_collect.store.database import Store
from detector_collect.store.schema import (
    assessments,
    case_entries,
    cases,
    conclusions,
    contents,
    evidence,
    findings,
    grants,
    people,
)
from support.postgres import running_postgres

from detector.model import Verdict, encode
from detector.session.seams import utc_now

from .rounds import Spread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Self

    from sqlalchemy.ext.asyncio import AsyncConnection

NOW: Final = dt.datetime(2026, 11, 30, 9, 30, tzinfo=dt.UTC)
BIG: Final = "north"
OTHERS: Final = 19
"""Institutions of a five-hundredth of the size, so that an index must find the rows of one among others."""
ENDPOINTS: Final = 40
"""Results of one submission: what an exam checks."""
EXAM_ENDPOINTS: Final = 4
"""Endpoints of those that are the exam itself; the rest are canaries and services."""
WEEKS: Final = 16
KEY: Final = "ed25519/" + "A" * 43 + "="
LIMIT_MS: Final = 300.0
"""What opening an institution may take."""


class Timed(NamedTuple):
    """One thing that was timed on one database, in milliseconds."""

    what: str
    database: str
    spread: Spread


class Rows(NamedTuple):
    """The rows of a table, and the names of their columns."""

    table: sa.Table
    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def digest_of(*parts: object) -> bytes:
    """A hash that stands for a student, a network, a submission or a key."""
    return hashlib.sha256(repr(parts).encode()).digest()


class _Submission(NamedTuple):
    id: int
    institution: str
    exam: str
    student: bytes
    network: bytes
    at: dt.datetime
    interceptor: str | None


def _submissions(results: int) -> Iterator[_Submission]:
    """Those of one term: most of one institution, some of others; two in a hundred devices are intercepted."""
    draw = random.Random(1)  # noqa: S311 - made-up evidence, the same in each run; nothing secret is drawn
    numbers = itertools.count(1)
    sizes = {BIG: results // ENDPOINTS} | {
        f"other-{number:02}": results // ENDPOINTS // 500 for number in range(OTHERS)
    }
    for institution, size in sizes.items():
        for _ in range(size):
            exam = f"exam-{draw.randrange(100):03}"
            student = draw.randrange(max(1, size // 100))
            home = "campus" if draw.random() < 1 / 2 else f"home-{draw.randrange(max(1, size // 8))}"
            yield _Submission(
                id=next(numbers),
                institution=institution,
                exam=exam,
                student=digest_of(institution, exam, student),
                network=digest_of(institution, home),
                at=NOW - dt.timedelta(minutes=draw.randrange(WEEKS * 7 * 24 * 60)),
                interceptor=draw.choice((None, None, "antivirus-a", "school-filter"))
                if draw.random() < 1 / 25
                else None,
            )


_CONSTANT: Final = (KEY, "bundle", 64, "verified")


def _tables(results: int) -> Iterator[Rows]:
    yield Rows(
        evidence,
        (
            "id",
            "digest",
            "institution",
            "key",
            "kind",
            "exam",
            "student",
            "network",
            "made",
            "received",
            "size",
            "state",
        ),
        (
            (
                s.id,
                digest_of(s.id),
                s.institution,
                KEY,
                "bundle",
                s.exam,
                s.student,
                s.network,
                s.at,
                s.at,
                64,
                "verified",
            )
            for s in _submissions(results)
        ),
    )
    yield Rows(
        contents,
        ("evidence", "encoding", "body"),
        ((s.id, "identity", digest_of(s.id) * 2) for s in _submissions(results)),
    )
    yield Rows(
        findings,
        (
            *("evidence", "number", "institution", "exam", "student", "network", "at", "host", "port", "category"),
            *("verdict", "confidence", "reason", "product", "ca_key"),
        ),
        (row for s in _submissions(results) for row in _findings(s)),
    )


def _findings(s: _Submission) -> Iterator[tuple[Any, ...]]:
    found: tuple[Any, ...] = ("clean", None, "accepted", None, None)
    if s.interceptor:
        found = ("middleware", "proven", "identity-substituted", s.interceptor, digest_of(s.interceptor, s.student))
    for number in range(ENDPOINTS):
        category = "exam" if number < EXAM_ENDPOINTS else "other"
        host = f"host-{number:02}.example.org"
        yield (s.id, number, s.institution, s.exam, s.student, s.network, s.at, host, 443, category, *found)


async def fill(store: Store, url: str, results: int) -> None:
    """Fill a new database with the results of a term, cases and assessments."""
    names = [BIG, *(f"other-{number:02}" for number in range(OTHERS))]
    async with store.begin() as connection:
        for name in names:
            await keys.add_institution(connection, keys.Institution(name, name.title(), NOW))
        await keys.add_key(connection, keys.Key(KEY, BIG, "signing", NOW, None, None, 600, 4 << 20))
    for rows in _tables(results):
        await _load(url, rows)
    async with store.begin() as connection:
        await connection.execute(sa.insert(people).values(issuer="i", subject="s", name="Ann", created=NOW))
        for number, at in enumerate((NOW - dt.timedelta(weeks=week) for week in reversed(range(WEEKS))), start=1):
            await connection.execute(sa.insert(assessments).values(number=number, at=at, since=at, until=at))
            await _conclude(connection, number, names)
        for case in range(1, 31):
            await connection.execute(
                sa.insert(cases).values(id=case, institution=BIG, title=f"Case {case}", opened=NOW)
            )
            entries = [
                {"case": case, "at": NOW, "person": 1, "entry": "state", "state": "open", "text": f"Entry {entry}"}
                for entry in range(10)
            ]
            await connection.execute(sa.insert(case_entries), entries)
    async with store.maintain() as connection:
        await connection.execute(sa.text("ANALYZE"))


async def _conclude(connection: AsyncConnection, number: int, names: list[str]) -> None:
    results = [
        DeviceResult(
            institution=name,
            exam="exam",
            student=f"{name}-{student}",
            network=f"{name}-{student % 50}",
            interception=Interception(product="school-filter", key=name) if student % 3 == 0 else None,
        )
        for name in names
        for student in range(90)
    ]
    for made in responsibility.assess(results, number=number, products=PRODUCTS):
        await connection.execute(
            sa.insert(conclusions).values(
                number=number, institution=made.institution, conclusion=made.conclusion.value, detail=encode(made)
            )
        )


async def _load(url: str, rows: Rows) -> None:
    """Insert many rows as fast as the database can."""
    if url.startswith("sqlite"):
        types = [rows.table.c[name].type for name in rows.columns]
        times = [number for number, kind in enumerate(types) if isinstance(kind, sa.types.TypeDecorator)]

        def plain(row: tuple[Any, ...]) -> list[Any]:
            values = list(row)
            for number in times:
                values[number] = values[number].replace(tzinfo=None).isoformat(" ", "microseconds")
            return values

        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            marks = ", ".join("?" * len(rows.columns))
            statement = f"INSERT INTO {rows.table.name} ({', '.join(rows.columns)}) VALUES ({marks})"  # noqa: S608 - table and columns are named by the schema in this repository; values are bound
            connection.executemany(statement, map(plain, rows.rows))
        connection.close()
        return
    connection = await asyncpg.connect(url)
    await connection.copy_records_to_table(rows.table.name, records=rows.rows, columns=rows.columns)
    await connection.close()


# What a page reads

Read = tuple[str, "Callable[[AsyncConnection], Awaitable[object]]"]

READS: Final[tuple[Read, ...]] = (
    ("overview", lambda connection: queries.overview(connection, person=1)),
    ("numbers of the institution", lambda connection: queries.summary(connection, BIG, now=NOW)),
    ("assessments with bases", lambda connection: queries.assessed(connection, BIG)),
    ("cases", lambda connection: queries.case_list(connection, BIG)),
    ("entries of a case", lambda connection: queries.entries(connection, BIG, 7)),
    ("evidence, first page", lambda connection: queries.evidence_page(connection, BIG, limit=50)),
    (
        "evidence, page in the middle",
        lambda connection: queries.evidence_page(connection, BIG, limit=50, before=10_000),
    ),
    (
        "evidence with interception",
        lambda connection: queries.evidence_page(connection, BIG, limit=50, verdict=Verdict.MIDDLEWARE),
    ),
    (
        "evidence with one CA key",
        lambda connection: queries.evidence_page(connection, BIG, limit=50, ca_key=digest_of("none").hex()),
    ),
    (
        "evidence with an unknown product",
        lambda connection: queries.evidence_page(connection, BIG, limit=50, product="none"),
    ),
    ("one submission", lambda connection: queries.content(connection, BIG, digest_of(9).hex())),
)


async def _timed(store: Store, database: str, rounds: int) -> list[Timed]:
    found: list[Timed] = []
    for what, read in READS:
        samples = []
        for _ in range(rounds + 1):
            async with store.connect() as connection:
                begun = time.perf_counter()
                await read(connection)
                samples.append((time.perf_counter() - begun) * 1000)
        found.append(Timed(what, database, Spread.of(samples[1:])))
    return found


# The whole page

PAGES: Final = (
    ("GET /", "/"),
    ("GET /institutions/north", f"/institutions/{BIG}"),
    ("GET /institutions/north/cases/7", f"/institutions/{BIG}/cases/7"),
    ("GET /institutions/north/evidence", f"/institutions/{BIG}/evidence?case=7&purpose=benchmark"),
)


class _Service:
    """The service on loopback in a thread of its own, with somebody signed in."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.cookies: dict[str, str] = {}
        self.origin = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _serve(self) -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            self.origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with await Store.open(self._url) as store:
                settings = ServiceSettings(Ed25519PrivateKey.generate(), origin=self.origin)
                app = create_app(store, settings, review=[review.routes()])
                self.cookies = {"session": await _sign_in(store)}
                self._server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
                self._started.set()
                await self._server.serve(sockets=[listening])


async def _sign_in(store: Store) -> str:
    """The cookie of a reviewer of every institution."""
    now = utc_now()
    grant = {
        "role": "reviewer",
        "requested": now,
        "approved": now,
        "expires": now + dt.timedelta(days=1),
    }
    async with store.begin() as connection:
        numbers = [
            await access.add_person(connection, issuer="i", subject=name, name=name, now=now)
            for name in ("ann", "bob", "eve")
        ]
        people_of = dict(zip(("person", "requested_by", "approved_by"), numbers, strict=True))
        await connection.execute(sa.insert(grants).values(**grant, **people_of))
        return await begin_session(
            connection, person=numbers[0], kind=Kind.OIDC, institution=None, replaces=None, now=now
        )


def _timed_pages(url: str, database: str, rounds: int) -> list[Timed]:
    """Pages over HTTP, as a browser requests them: the first of all requests counts too."""
    found: list[Timed] = []
    with _Service(url) as service, httpx.Client(base_url=service.origin, cookies=service.cookies) as client:
        for what, path in PAGES:
            samples = []
            for _ in range(rounds):
                begun = time.perf_counter()
                answer = client.get(path, headers={"Sec-Fetch-Site": "same-origin"})
                samples.append((time.perf_counter() - begun) * 1000)
                answer.raise_for_status()
            found.append(Timed(what, database, Spread.of(samples)))
    return found


async def _plans(store: Store) -> list[str]:
    """The plan of each statement of `READS`."""
    statements: list[tuple[str, str, Any]] = []
    engine = store._engine.sync_engine  # noqa: SLF001 - statements are recorded at the engine; a public accessor would serve this alone

    def listen(_: object, __: object, statement: str, parameters: Any, *more: object) -> None:  # noqa: ANN401, ARG001 - SQLAlchemy's signature
        if statement.lstrip().upper().startswith("SELECT"):
            statements.append((name, statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", listen)
    for name, read in READS:  # noqa: B007 - `listen` reads it
        async with store.connect() as connection:
            await read(connection)
    sa.event.remove(engine, "before_cursor_execute", listen)
    explain = "EXPLAIN (ANALYZE, BUFFERS)" if store.is_postgres else "EXPLAIN QUERY PLAN"
    plans = []
    async with store.connect() as connection:
        for what, statement, parameters in statements:
            rows = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
            plans.append(f"-- {what}\n" + "\n".join(str(row[-1]) for row in rows))
    return plans


async def measure(url: str, name: str, *, results: int, rounds: int) -> tuple[list[Timed], list[str]]:
    """Fill a database and time what pages read from it."""
    async with await Store.open(url, migrate=True) as store:
        begun = time.perf_counter()
        await fill(store, url, results)
        print(f"{name}: filled in {time.perf_counter() - begun:.0f} s", flush=True)
        begun = time.perf_counter()
        await queries.summarize(store, BIG, now=NOW)
        summarized = (time.perf_counter() - begun) * 1000
        timed = [Timed("summarizing, in the worker", name, Spread(summarized, summarized, summarized))]
        return [*timed, *await _timed(store, name, rounds)], await _plans(store)


def table(timed: list[Timed], *, results: int) -> str:
    """The results as Markdown."""
    lines = [
        f"Institution with {results} results; milliseconds, median (minimum to maximum).",
        "",
        "| read | database | ms |",
        "|---|---|---|",
    ]
    for one in timed:
        spread = one.spread
        lines.append(f"| {one.what} | {one.database} | {spread.median:.1f} ({spread.least:.1f} to {spread.most:.1f}) |")
    return "\n".join(lines)


def main() -> None:
    """Measure both databases and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--plans", type=Path, help="where to write the plans")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_postgres() as server:
        timed, plans = [], []
        for url, name in ((f"sqlite:///{folder}/review.db", "SQLite"), (server, "PostgreSQL")):
            found, explained = asyncio.run(measure(url, name, results=options.results, rounds=options.rounds))
            timed += [*found, *_timed_pages(url, name, options.rounds)]
            plans += [f"== {name}", *explained]
    print(table(timed, results=options.results))
    text = "\n\n".join(plans)
    if options.plans is None:
        print(text)
    else:
        options.plans.write_text(text + "\n")


if __name__ == "__main__":
    main()
