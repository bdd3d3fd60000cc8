"""What packages/collect/deploy says works: its commands one by one, behind a real nginx and a real HAProxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import re
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import aiohttp
import pytest
import sqlalchemy as sa
import yaml  # type: ignore[import-untyped] # its stubs are a distribution of their own
from detector_collect.store import keys
from detector_collect.store.database import Store
from detector_collect.store.schema import evidence
from detector_testing import PrivatePKI
from detector_testing.pki import to_pem
from support.collect_reports import client_certificate, pin_report
from support.collect_service import DSSE, NORTH, identifier, sealed
from support.collect_stores import collect_postgres, fresh_database
from support.command import clean_environment
from support.lab_programs import free_port, running_haproxy, running_nginx

from detector.session.seams import utc_now
from detector.trust.key_files import create_signing_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import Issued

__all__ = ["collect_postgres"]

pytestmark = pytest.mark.lab

FOLDER: Final = Path(__file__).parents[1] / "deploy"
SERVICES: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"]
NAMES: Final = ("service-1", "service-2")
PKI: Final = PrivatePKI.create()
CLIENT: Final = client_certificate("report.north.example.edu")

FORGED: Final = {
    "Client-Cert": f":{base64.b64encode(CLIENT.leaf).decode()}:",
    "X-Client-Certificate": quote(to_pem(CLIENT.leaf)),
}
"""What a client without the key writes itself."""


class Composed(NamedTuple):
    """Two services with their ports, the database that they share, and a folder for a proxy."""

    ports: dict[str, int]
    database: str
    folder: Path


def collector(words: list[str], folder: Path, database: str, **listening: int) -> tuple[list[str], dict[str, str]]:
    """A command of compose.yaml on this machine, and its environment."""
    replaced = {
        "${REVIEW_ORIGIN:?}": "https://collect.example.com",
        "/run/secrets": str(folder),
        "0.0.0.0:8080": f"127.0.0.1:{listening.get('port', 0)}",
        "172.30.0.0/24": "127.0.0.1",
    }
    for found, used in replaced.items():
        words = [word.replace(found, used) for word in words]
    environment = clean_environment() | {"DETECTOR_COLLECT_DATABASE": database}
    return [sys.executable, "-m", "detector_collect", *words], environment


@contextlib.asynccontextmanager
async def running(name: str, folder: Path, database: str, *more: str, **listening: int) -> AsyncIterator[None]:
    """Run the command of a service until the block ends, and see it end in order."""
    command, environment = collector([*SERVICES[name]["command"], *more], folder, database, **listening)
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        if listening:
            assert process.stdout is not None
            assert (await process.stdout.readline()).startswith(b"http://127.0.0.1:")
        yield
    finally:
        process.terminate()
        assert await process.wait() in {0, -15, 143}


@contextlib.asynccontextmanager
async def composed(url: str, folder: Path, *more: str) -> AsyncIterator[Composed]:
    """The database migrated as compose.yaml does it, an institution with its keys, and both services."""
    database = await asyncio.to_thread(fresh_database, url)
    command, environment = collector(SERVICES["migrate"]["command"], folder, database)
    migrating = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    assert await migrating.wait() == 0
    create_signing_key(str(folder / "service.key"))
    async with await Store.open(database) as store, store.begin() as connection:
        now = utc_now()
        await keys.add_institution(connection, keys.Institution("north", "North", now))
        certificate = f"certificate/{hashlib.sha256(CLIENT.leaf).hexdigest()}"
        for key, kind in ((identifier(NORTH), "signing"), (certificate, "certificate")):
            await keys.add_key(connection, keys.Key(key, "north", kind, now, None, None, 600, 4 << 20))
    async with contextlib.AsyncExitStack() as stack:
        ports = {name: free_port() for name in NAMES}
        for name, port in ports.items():
            await stack.enter_async_context(running(name, folder, database, *more, port=port))
        yield Composed(ports, database, folder)


def served(issued: Issued, folder: Path) -> None:
    """The files of a proxy's certificate."""
    (folder / "chain.pem").write_bytes(issued.chain_pem)
    (folder / "key.pem").write_bytes(issued.key_pem)
    (folder / "both.pem").write_bytes(issued.chain_pem + issued.key_pem)


def placed(text: str, behind: Composed) -> str:
    """A configuration with the ports and files of this machine."""
    for name, listening in behind.ports.items():
        text = text.replace(f"{name}:8080", f"127.0.0.1:{listening}")
    return text.replace("/run/secrets", str(behind.folder))


@contextlib.asynccontextmanager
async def nginx(behind: Composed) -> AsyncIterator[int]:
    """nginx with the shipped configuration."""
    port = free_port()
    (http,) = re.findall(r"^http \{\n(.*)^\}", (FOLDER / "nginx.conf").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    placed_http = placed(http, behind).replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    async with running_nginx(port, behind.folder, placed_http):
        yield port


@contextlib.asynccontextmanager
async def haproxy(behind: Composed) -> AsyncIterator[int]:
    """HAProxy with the shipped configuration."""
    port = free_port()
    text = placed((FOLDER / "haproxy.cfg").read_text("utf-8"), behind)
    async with running_haproxy(port, behind.folder, text.replace("bind :443", f"bind 127.0.0.1:{port}")):
        yield port


def tls(client: Issued | None) -> ssl.SSLContext:
    """A client's TLS, with a certificate or without."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client is not None:
        client.configure_cert(context)
    return context


async def send(
    port: int,
    body: bytes,
    *,
    client: Issued | None = None,
    path: str = "/v1/evidence",
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Send a body through a proxy; returns the status, and the answer as text."""
    media_type = "application/json" if "kind=" in path else DSSE
    named = {"Content-Type": media_type} | (headers or {})
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls(client))) as session,
        session.post(f"https://127.0.0.1:{port}{path}", data=io.BytesIO(body), headers=named) as answer,
    ):
        return answer.status, await answer.text()


PROXIES: Final[dict[str, tuple[Callable[[Composed], contextlib.AbstractAsyncContextManager[int]], tuple[str, ...]]]] = {
    "nginx": (nginx, ()),
    "haproxy": (haproxy, ("--certificate-header=Client-Cert", "--certificate-form=rfc9440")),
}


@pytest.mark.parametrize("name", PROXIES)
async def test_behind_a_real_proxy(collect_postgres: str, tmp_path: Path, name: str) -> None:
    """Envelopes and reports arrive, a certificate counts by its TLS handshake alone, and one service may end."""
    proxy, more = PROXIES[name]
    served(PKI.issue(["collect.example.com"]), tmp_path)
    envelope, reports = sealed(made=utc_now()), "/v1/evidence?kind=trustkit"
    report = pin_report(PKI.issue(["exam.example.org"]).chain, at=utc_now())
    async with composed(collect_postgres, tmp_path, *more) as behind, proxy(behind) as port:
        status, first = await send(port, envelope)
        assert status == 201
        assert await send(port, envelope, client=CLIENT) == (200, first)
        assert (await send(port, report, client=CLIENT, path=reports))[0] == 201
        status, said = await send(port, report, path=reports)
        assert (status, "no-certificate" in said) == (403, True)
        for header, value in FORGED.items():
            assert (await send(port, report, path=reports, headers={header: value}))[0] == 403
        other = client_certificate("else.example.edu")
        status, said = await send(port, report, client=other, path=reports)
        assert (status, "unknown-key" in said) == (403, True)
        assert (await send(port, b"", path="/metrics"))[0] in {404, 405}
        assert (await send(port, b" " * (4 << 20) + b" "))[0] == 413
        async with await Store.open(behind.database) as store, store.connect() as connection:
            assert await connection.scalar(sa.select(sa.func.count()).select_from(evidence)) == 2


async def test_the_worker_of_the_composition(collect_postgres: str, tmp_path: Path) -> None:
    """What a service received is assessed by the command of the worker."""
    async with composed(collect_postgres, tmp_path) as behind, running("worker", tmp_path, behind.database):
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{behind.ports['service-2']}/v1/evidence",
                data=sealed(made=utc_now()),
                headers={"Content-Type": DSSE},
            ) as answer,
        ):
            assert answer.status == 201
        async with await Store.open(behind.database) as store, asyncio.timeout(120):
            state = "waiting"
            while state == "waiting":
                async with store.connect() as connection:
                    state = str(await connection.scalar(sa.select(evidence.c.state)))
                await asyncio.sleep(0.1)
    assert state == "claimed"


def test_every_service_runs_a_command_that_exists() -> None:
    """No other commands are composed than those that the tests run."""
    commands = {name: service["command"][0] for name, service in SERVICES.items() if "command" in service}
    assert commands == {
        "migrate": "migrate", "service-1": "serve", "service-2": "serve", "worker": "work", "proxy": "nginx",
    }  # fmt: skip


def test_the_build_context_is_what_is_copied() -> None:
    """Containerfile.dockerignore lets pass what Containerfile copies from the clone, and no more."""
    allowed = re.findall(r"^!(\S+)$", (FOLDER / "Containerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    copies = re.findall(r"^COPY (?!--)(.*) \S+$", (FOLDER / "Containerfile").read_text("utf-8"), re.MULTILINE)
    assert sorted(name.rstrip("/") for words in copies for name in words.split()) == sorted(allowed)
