"""How fast the collector's database takes evidence and results, what they occupy, and how it grows.

    python -m benchmark.collect_store [--results 1000000] [--pieces 300]

Measures on a PostgreSQL of its own that writes to the disk before it answers: evidence received, results stored by a
worker, queries of one institution at two sizes, and deleting a month with and without partitions.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import itertools
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import sqlalchemy as sa
from detector_collect.store import evidence, findings, keys, queue, schema
from detector_collect.store.database import Store
from detector_collect.store.evidence import NewEvidence
from support.postgres import running_server

from detector.outbox.submission import Kind

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

NOW: Final = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)
BODY: Final = 250_000
"""Bytes of an envelope as it arrives: a bundle of ten endpoints."""
ENDPOINTS: Final = 10
CLIENTS: Final = 8
INSTITUTIONS: Final = 20
KEY: Final = "ed25519/" + "A" * 43 + "="

FILL: Final = """
INSERT INTO {table} (evidence, number, institution, exam, student, network, at, host, port, category, verdict,
  confidence, reason, product, ca_key)
SELECT e.id, n, e.institution, e.exam, e.student, e.network, e.made, 'exam' || n || '.example.edu', 443, 'exam',
  CASE WHEN e.id % 50 = 0 THEN 'middleware' ELSE 'clean' END, NULL, 'pinned', NULL, NULL
FROM evidence e CROSS JOIN generate_series(0, {last}) n WHERE e.size = 0 AND e.id > :after
"""
EVIDENCE: Final = """
INSERT INTO evidence (digest, institution, key, kind, exam, student, made, received, size, state)
SELECT sha256(i::text::bytea), 'i' || (i % 20), :key, 'bundle', 'algebra', sha256((i / 3)::text::bytea), m, m, 0,
  'verified'
FROM (
  SELECT i, CAST(:now AS timestamptz) - (i % 365) * interval '1 day' AS m
  FROM generate_series(CAST(:first AS integer), :last) i
) s
"""
QUERY: Final = """
SELECT verdict, count(*), count(DISTINCT student) FROM {table}
WHERE institution = 'i7' AND at >= CAST(:since AS timestamptz) GROUP BY verdict
"""


async def timed(connection: AsyncConnection, statement: str, **values: object) -> float:
    """Seconds of one statement."""
    begun = time.perf_counter()
    await connection.execute(sa.text(statement), values)
    return time.perf_counter() - begun


async def receive(store: Store, pieces: int) -> float:
    """Pieces of evidence a second, each in a transaction of its own, from several tasks."""
    bodies = iter([secrets.token_bytes(BODY) for _ in range(pieces)])

    async def client() -> None:
        for body in bodies:
            digest = hashlib.sha256(body).digest()
            new = NewEvidence(digest, "i1", KEY, Kind.BUNDLE, "algebra", digest, None, NOW, NOW, body)
            async with store.begin() as connection:
                await evidence.add(connection, new)

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return pieces / (time.perf_counter() - begun)


async def assess(store: Store, pieces: int) -> float:
    """Pieces a second that one worker claims and stores ten results of, without assessing them."""
    verification = findings.NewVerification(NOW, "0", bytes(32), b"{}")
    new = [
        findings.NewFinding(NOW, f"exam{number}.example.edu", 443, "exam", "clean", None, "pinned", None, None)
        for number in range(ENDPOINTS)
    ]
    begun = time.perf_counter()
    while True:
        async with store.begin() as connection:
            batch = await queue.claim(connection, now=NOW, lease=dt.timedelta(minutes=5), limit=8)
        if not batch:
            return pieces / (time.perf_counter() - begun)
        for claimed in batch:
            async with store.begin() as connection:
                await findings.replace(connection, claimed.evidence, verification, new, "verified")
                await queue.finish(connection, claimed)


async def grow(store: Store, first: int, last: int) -> None:
    """Fill with results, and print what they occupy and how long queries take."""
    async with store.maintain() as connection:
        after = await connection.scalar(sa.select(sa.func.max(schema.evidence.c.id)))
        await timed(connection, EVIDENCE, key=KEY, now=NOW, first=first, last=last)
        seconds = await timed(connection, FILL.format(table="findings", last=ENDPOINTS - 1), after=after)
        await timed(connection, "VACUUM ANALYZE")
        size = await connection.scalar(sa.text("SELECT pg_total_relation_size('findings')"))
        rows = await connection.scalar(sa.select(sa.func.count()).select_from(schema.findings)) or 0
        rate = (last - first + 1) * ENDPOINTS / seconds
        print(f"results in the table: {rows:,}; stored in bulk: {rate:,.0f}/s; bytes each: {(size or 0) / rows:.0f}")
        for days in (30, 365):
            since = NOW - dt.timedelta(days=days)
            best = min([await timed(connection, QUERY.format(table="findings"), since=since) for _ in range(5)])
            print(f"verdicts of one institution of twenty, {days} days: {best * 1000:.0f} ms")


async def partition(store: Store) -> None:
    """Print how long a month takes to go, as rows and as a partition."""
    bounds = [dt.date(2025, 11, 1), dt.date(2025, 12, 1), *(dt.date(2026, month, 1) for month in range(1, 13))]
    async with store.maintain() as connection:
        await timed(connection, "CREATE TABLE parts (LIKE findings INCLUDING DEFAULTS) PARTITION BY RANGE (at)")
        for first, last in itertools.pairwise(bounds):
            name = f"parts_{first:%Y_%m}"
            await timed(connection, f"CREATE TABLE {name} PARTITION OF parts FOR VALUES FROM ('{first}') TO ('{last}')")
        await timed(connection, "CREATE INDEX ON parts (institution, at)")
        await timed(connection, FILL.format(table="parts", last=ENDPOINTS - 1), after=0)
        await timed(connection, "VACUUM ANALYZE")
        month = "at >= '2026-01-01' AND at < '2026-02-01'"
        rows = await connection.scalar(sa.text(f"SELECT count(*) FROM findings WHERE {month}"))  # noqa: S608 - the month is the literal above; no input is part of the statement
        deleting = await timed(connection, f"DELETE FROM findings WHERE {month}")  # noqa: S608 - the month is the literal above; no input is part of the statement
        dropping = await timed(connection, "DROP TABLE parts_2026_01")
        print(f"a month of {rows:,} results: deleted in {deleting:.2f} s, its partition dropped in {dropping:.3f} s")


async def main(results: int, pieces: int) -> None:
    """Measure everything."""
    with running_server(()) as server:
        async with await Store.open(server.url, migrate=True) as store:
            async with store.begin() as connection:
                for number in range(INSTITUTIONS):
                    await keys.add_institution(connection, keys.Institution(f"i{number}", "Institution", NOW))
                await keys.add_key(connection, keys.Key(KEY, "i1", "signing", NOW, None, None, 600, 4 << 20))
            print(f"evidence of {BODY:,} bytes received: {await receive(store, pieces):.0f}/s from {CLIENTS} tasks")
            print(f"evidence stored with {ENDPOINTS} results by one worker: {await assess(store, pieces):.0f}/s")
            count = results // ENDPOINTS
            for first, last in ((1, count // 10), (count // 10 + 1, count)):
                await grow(store, first, last)
            await partition(store)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--pieces", type=int, default=300)
    options = parser.parse_args()
    asyncio.run(main(options.results, options.pieces))
