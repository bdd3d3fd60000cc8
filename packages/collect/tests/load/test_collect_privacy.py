"""What names a person is put wherever a client can write, and is not kept: in no table, no log, no metric.

Room: tests of the collector. Starts a service with its worker, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
import sqlalchemy as sa
from detector_collect.store.database import Store
from detector_collect.store.schema import counters, evidence, institutions
from detector_testing import PrivatePKI
from support.collect_contents import of_every_kind, with_text
from support.collect_kills import assessed
from support.collect_load import Client, request
from support.collect_processes import COMMAND, Collector, running_collector
from support.collect_stores import fresh_database
from support.collect_traces import traces, traces_in_database
from support.collect_world import CollectWorld

from detector.outbox.submission import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.lab

NAME: Final = "Ada.Lovelace@students.example.edu"
ADDRESS: Final = "2001:db8:5eed::77"
IDENTIFYING: Final = (
    NAME,
    ADDRESS,
    "Ada Lovelace-Byron",
    "ADAS-LAPTOP.dorm.example.edu",
    "198.51.100.177",
    "ExamBrowser/9 (adas laptop)",
    "https://lms.example.edu/students/ada-177",
    "session=ada-cookie-177",
    "student=ada-query-177",
    "Ada's room, third floor",
    "E621E1F8-C36C-495A-93FC-0C247A3E6E5F",
    "com.example.adas.exam.app",
    "adaUnknownField",
)
VENDORS_WORDS: Final = frozenset({"policy", "product", "vendor", "operator", "roots"})
"""Fields with the vendor's own words, which docs/limits.md names."""
TRIED: Final = 20
"""Changed contents of each kind that are sent; tests/outbox decodes all of them."""
PROXY: Final = ("--proxy", "127.0.0.1/32")


def headers() -> Iterator[tuple[str, str]]:
    """Every header in which clients and proxies name somebody."""
    for name in ("X-Forwarded-For", "X-Real-IP", "Client-Cert", "X-Client-Cert", "True-Client-IP"):
        yield name, ADDRESS
    yield "Forwarded", f'for="[{ADDRESS}]";host={NAME}'
    yield "User-Agent", "ExamBrowser/9 (adas laptop)"
    yield "Referer", "https://lms.example.edu/students/ada-177"
    yield "Cookie", "session=ada-cookie-177"
    yield "Authorization", f"Bearer {NAME}"
    yield "X-Request-ID", "Ada's room, third floor"
    yield "From", NAME


def bodies(world: CollectWorld, at: dt.datetime) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
    """Submissions of every kind with what names a person in them, and other bodies, with more headers."""
    institution = min(world.keys)
    draw = random.Random(20)  # noqa: S311 - the same choice each time
    for kind, content in of_every_kind(PrivatePKI.create(), world.keys[institution]).items():
        accepted = [(name, value) for name, value in headers() if name != "Client-Cert"]  # which would be read
        yield world.report(institution, kind, content, at=at, student=NAME).envelope, accepted
        changed = [
            (place, one)
            for text in (NAME, "Ada Lovelace-Byron")
            for place, one in with_text(kind, content, text, world.keys[institution])
            if VENDORS_WORDS.isdisjoint(place.replace("[", ".").replace("6", ".").replace("+", ".").split("."))
        ]
        for _, content_of_somebody in draw.sample(changed, min(TRIED, len(changed))):
            yield world.report(institution, kind, content_of_somebody, at=at, student=NAME).envelope, []
    envelope = json.loads(world.report(institution, Kind.BUNDLE, b"{}", at=at, student=NAME).envelope)
    for one in ({**envelope, "adaUnknownField": NAME}, {**envelope, "payloadType": NAME}, {"payload": NAME}, NAME):
        yield json.dumps(one).encode(), []
    for text in IDENTIFYING:
        yield text.encode(), list(headers())
        yield b"{", [("Content-Encoding", text.encode().decode("latin-1"))]


def report_of_trustkit() -> bytes:
    """A report as TrustKit sends it, with a device's identifiers."""
    return json.dumps(
        {
            "app-bundle-id": "com.example.adas.exam.app",
            "app-vendor-id": "E621E1F8-C36C-495A-93FC-0C247A3E6E5F",
            "app-version": "Ada Lovelace-Byron",
            "hostname": "exam.example.edu",
            "noted-hostname": NAME,
            "served-certificate-chain": [NAME],
            "date-time": "2026-11-30T10:00:00Z",
        }
    ).encode()


@pytest.fixture(params=["sqlite", "postgresql"])
async def collector(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Collector, CollectWorld]]:
    """A service with its worker, which believes the headers of this machine."""
    world = CollectWorld(institutions=2)
    database = f"sqlite:///{tmp_path}/collect.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("collect_postgres")
        database = await asyncio.to_thread(fresh_database, url)
    async with running_collector(database, tmp_path, world) as running:
        await running.serve(*PROXY).ready()
        yield running, world


async def test_nothing_that_names_a_person_is_kept(collector: tuple[Collector, CollectWorld]) -> None:
    """Names, addresses and identifiers in headers, paths and every field are in no cell, log or metric."""
    running, world = collector
    (part,) = running.parts
    client, statuses = Client(part.url), []
    for body, extra in bodies(world, dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)):
        statuses.append((await client.send(request(part.url, body, headers=extra)))[0])
    asked = request(part.url, report_of_trustkit(), headers=headers(), kind="application/json")
    paths = ("/v1/evidence?kind=trustkit&student=ada-query-177", f"/{NAME}", f"/v1/evidence/{ADDRESS}?{NAME}")
    statuses += [(await client.send(asked.replace(b"/v1/evidence", path.encode(), 1)))[0] for path in paths]
    client.close()
    await assessed(running.database)
    metrics = await fetch(part.url, "/metrics")
    part.stop()
    assert statuses.count(201) >= len(Kind), Counter(statuses)
    assert sum(status >= 400 for status in statuses) > len(IDENTIFYING)
    async with await Store.open(running.database) as store, store.begin() as connection:
        assert await traces_in_database(connection, IDENTIFYING) == {}
        assert (await connection.scalars(sa.select(counters.c.name))).all() != []
        # The search finds what is there.
        await connection.execute(sa.update(institutions).values(title=f"School of {NAME}"))
        assert await traces_in_database(connection, IDENTIFYING) == {"institutions.title": {NAME}}
    log = part.log.read_text()
    assert '"event":"stopped"' in log
    assert traces(log, IDENTIFYING) == set()
    assert traces(metrics.decode(), IDENTIFYING) == set()


async def test_erasing_a_student_leaves_no_trace(collector: tuple[Collector, CollectWorld]) -> None:
    """The command erases every row of a student's hash; what is held stays, and the command says so."""
    running, world = collector
    (part,) = running.parts
    at = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    reports = list(world.reports(8, at=at))
    client = Client(part.url)
    assert {(await client.send(request(part.url, one.envelope)))[0] for one in reports} == {201}
    client.close()
    await assessed(running.database)
    async with await Store.open(running.database) as store, store.connect() as connection:
        columns = evidence.c.institution, evidence.c.student, evidence.c.digest
        rows = (await connection.execute(sa.select(*columns).order_by(evidence.c.institution))).all()
    gone, held = rows[0], rows[-1]
    await run("hold", "place", "institution-01", "--reason", "dispute", "--database", running.database)
    for row in (gone, held):
        said = await run("erase", row.student.hex(), "--database", running.database)
        assert said == f"Erased: {int(row is gone)}. Kept under a hold: {int(row is held)}.\n"
    part.stop()
    async with await Store.open(running.database) as store, store.connect() as connection:
        hashes = {gone.student.hex(), gone.digest.hex()}
        assert await traces_in_database(connection, hashes) == {}
        left = set(await connection.scalars(sa.select(evidence.c.digest)))
    assert left == {row.digest for row in rows} - {gone.digest}


async def run(*words: str) -> str:
    """What a command of the collector prints."""
    process = await asyncio.create_subprocess_exec(*COMMAND, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = (await process.communicate())[0].decode()
    assert process.returncode in {0, 1, 3}, said
    return said


async def fetch(url: str, path: str) -> bytes:
    """What is answered to `GET path`."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer
