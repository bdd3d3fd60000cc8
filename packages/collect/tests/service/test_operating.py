"""What an operator sees of a service: metrics, logs, and a process that starts and ends in order."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import logging
import signal
import ssl
import sys
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
import sqlalchemy as sa
from detector_collect.review.access import people
from detector_collect.review.access.permissions import Permission
from detector_collect.service import logs, metrics
from detector_collect.service.app import create_app
from detector_collect.service.serving import TLS, listening, serving
from detector_collect.service.settings import ServiceSettings
from detector_collect.store import keys
from detector_collect.store.database import Store
from detector_collect.store.schema import evidence
from detector_testing import PrivatePKI
from support.collect_service import DSSE, NORTH, SERVICE_KEY, STRANGER, identifier, running_service, sealed
from support.collect_stores import NOW
from support.command import clean_environment

from detector.session.seams import utc_now
from detector.trust.key_files import create_signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ON_SQLITE: Final = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
HIDDEN: Final = ("127.0.0.1", "ab" * 32, "cd" * 32, "algebra", "Ada Lovelace", "x-secret", "ed25519/", "token=")
"""What was sent, and must be in no line and no metric."""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the service logs during a test."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonFormatter())
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    before = root.level
    root.setLevel(logging.INFO)
    yield written
    root.setLevel(before)


async def test_metrics_count_what_was_answered(store: Store) -> None:
    """Receipts, refusals by reason, the queue, and no name; only with a token for it."""
    async with running_service(store) as service:
        await service.post(sealed())
        await service.post(sealed())
        await service.post(sealed(key=STRANGER))
        body = (await metrics.Metrics().exposition(store, now=utc_now())).decode()
        assert (await service.ask("GET", "/metrics")).status == 401
        assert (await service.ask("GET", "/metrics", headers={"Authorization": "Bearer x"})).status == 401
        token = await operator_token(store)
        answer = await service.ask("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200
    found = dict(line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
    assert found['detector_collect_accepted_total{new="yes"}'] == "1.0"
    assert found['detector_collect_accepted_total{new="no"}'] == "1.0"
    assert found['detector_collect_refused_total{refusal="unknown-key"}'] == "1.0"
    assert found["detector_collect_queue_depth"] == "1.0"
    assert found['detector_collect_submissions{state="waiting"}'] == "1.0"
    assert found["detector_collect_database_reachable"] == "1.0"
    assert not [hidden for hidden in (*HIDDEN, "north") if hidden in answer.body.decode() + body]


async def operator_token(store: Store) -> str:
    """A token that opens the metrics."""
    async with store.begin() as connection:
        person = await people.add_person(
            connection, issuer="https://identity.example", subject="1", name="Monitoring", now=NOW
        )
        return await people.issue_token(
            connection,
            person=person,
            name="prometheus",
            scopes=[Permission.OPERATE],
            institution=None,
            expires=NOW + dt.timedelta(days=1),
            now=NOW,
        )


@ON_SQLITE
async def test_lines_say_what_happened_and_not_to_whom(
    store: Store, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One JSON object each, for many requests together and for each fault, without anything that was sent."""

    async def fail(*_: object) -> None:
        raise RuntimeError("Ada Lovelace")

    async with running_service(store, key_seconds=0.0) as service:
        for _ in range(3):
            await service.post(sealed(), {"X-Secret": "x-secret"}, "/v1/evidence?token=secret")
        await service.post(b"Ada Lovelace")
        await service.talk(b"Ada Lovelace\r\n\r\n")
        monkeypatch.setattr(keys, "find_key", fail)
        assert (await service.post(sealed())).status == 500
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in written)
    received = [line for line in written if line["event"] == "received"]  # one, if the machine is not too busy
    counts = {name: sum(line.get(name, 0) for line in received) for name in ("accepted", "known", "refused-unreadable")}
    assert counts == {"accepted": 1, "known": 2, "refused-unreadable": 1}
    (fault,) = [line for line in written if line["event"] == "fault"]
    assert fault["exception"][0].startswith("RuntimeError at ")
    assert fault["route"] == "/v1/evidence"
    assert not [hidden for hidden in HIDDEN if hidden in lines.getvalue()]


def test_what_other_libraries_log_is_cut_to_what_is_fixed(lines: io.StringIO) -> None:
    """Arguments of their messages, and messages of exceptions, may hold anything."""
    try:
        int("Ada Lovelace")
    except ValueError:
        logging.getLogger("asyncio").exception("failed for %s\n%s", "127.0.0.1", "token=1")
    line = json.loads(lines.getvalue())
    assert line["event"] == "failed for %s"
    assert [one.partition(" at ")[0] for one in line["exception"]] == ["ValueError"]
    assert not [hidden for hidden in HIDDEN if hidden in lines.getvalue()]


async def start(database: str, folder: Path, *more: str) -> tuple[asyncio.subprocess.Process, str]:
    """A service as a process, and its address."""
    command = [sys.executable, "-m", "detector_collect", "serve", "--listen", "127.0.0.1:0", *more]
    process = await asyncio.create_subprocess_exec(
        *command, "--signing-key", str(folder / "service.key"),
        env=clean_environment() | {"DETECTOR_COLLECT_DATABASE": database},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def test_a_service_from_its_start_to_its_end(database: str, tmp_path: Path) -> None:
    """Two processes on one PostgreSQL answer the same; SIGTERM ends them with 0; its worker assessed what came."""
    create_signing_key(str(tmp_path / "service.key"))
    async with await Store.open(database, migrate=True) as store, store.begin() as connection:
        await keys.add_institution(connection, keys.Institution("north", "North", utc_now()))
        await keys.add_key(
            connection, keys.Key(identifier(NORTH), "north", "signing", utc_now(), None, None, 600, 1 << 20)
        )
    more = [("--worker",)] if database.startswith("sqlite") else [("--worker",), ("--no-worker", "--only", "ingest")]
    services = [await start(database, tmp_path, *words) for words in more]
    body, receipts = sealed(made=utc_now()), []
    async with aiohttp.ClientSession() as session:
        for _, address in services:
            async with session.post(f"{address}/v1/evidence", data=body, headers={"Content-Type": DSSE}) as answer:
                receipts.append((answer.status, await answer.read()))
        async with session.get(f"{services[-1][1]}/sign-in", allow_redirects=False) as answer:
            assert (answer.status == 404) is (len(services) > 1)
    async with await Store.open(database) as store, asyncio.timeout(120):
        state = "waiting"
        while state == "waiting":
            async with store.connect() as connection:
                state = str(await connection.scalar(sa.select(evidence.c.state)))
            await asyncio.sleep(0.1)
    assert state == "claimed"
    assert [status for status, _ in receipts] == [201, 200][: len(receipts)]
    assert len({receipt for _, receipt in receipts}) == 1
    for process, _ in services:
        process.send_signal(signal.SIGTERM)
        _, written = await process.communicate()
        assert process.returncode == 0
        events = [json.loads(line)["event"] for line in written.decode().splitlines()]
        assert (events[0], events[-1]) == ("started", "stopped")


@ON_SQLITE
async def test_what_a_service_cannot_start_with(database: str, tmp_path: Path) -> None:
    """The message names the option, the file or the address, and the exit code is 2."""
    create_signing_key(str(tmp_path / "service.key"))
    (tmp_path / "text.pem").write_text("no certificate")
    text = str(tmp_path / "text.pem")
    before, _ = await failing(database, tmp_path)
    assert "detector-collect migrate" in before
    async with await Store.open(database, migrate=True):
        pass
    for words, said in {
        ("--listen", "no-port"): "--listen",
        ("--listen", "192.0.2.1:80"): "192.0.2.1:80",
        ("--proxy", "nobody"): "--proxy",
        ("--tls-cert", text): "--tls-key",
        ("--tls-cert", text, "--tls-key", text): text,
        ("--signing-key", text): text,
        ("--origin", "http://review.example.com"): "HTTPS",
    }.items():
        written, code = await failing(database, tmp_path, *words)
        assert (code, said in written, "Traceback" in written) == (2, True, False), written


async def failing(database: str, folder: Path, *more: str) -> tuple[str, int | None]:
    """What a service that cannot start writes, and its exit code."""
    command = [sys.executable, "-m", "detector_collect", "serve", "--signing-key", str(folder / "service.key"), *more]
    process = await asyncio.create_subprocess_exec(
        *command, env=clean_environment() | {"DETECTOR_COLLECT_DATABASE": database}, stderr=asyncio.subprocess.PIPE
    )
    _, written = await process.communicate()
    return written.decode(), process.returncode


async def test_tls_without_a_proxy(tmp_path: Path) -> None:
    """A service ends TLS itself where it is given a chain and a key, and takes nothing else then."""
    issued = PrivatePKI.create().issue(["collect.example.com"])
    files = TLS(tmp_path / "chain.pem", tmp_path / "key.pem")
    files.certificate.write_bytes(issued.chain_pem)
    files.key.write_bytes(issued.key_pem)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with await Store.open(f"sqlite:///{tmp_path}/collect.sqlite", migrate=True) as store:
        settings = ServiceSettings(SERVICE_KEY)
        app, sockets = create_app(store, settings), await listening()
        async with serving(app, sockets, tls=files) as port, aiohttp.ClientSession() as session:
            async with session.get(f"https://127.0.0.1:{port}/healthz", ssl=context) as answer:
                assert await answer.text() == "ok\n"
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{port}/healthz")
