"""`detector-collect serve`: receive evidence and show the review room over HTTP.

Room: detector_collect.cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from detector.cli import common, options, signals
from detector.cli.streams import put
from detector.errors import InputError, KeyFileError
from detector.trust.key_files import load_signing_key, read_key_file
from detector_collect import demo as demonstration
from detector_collect import review
from detector_collect.review.access.oidc import Configuration
from detector_collect.service import logs
from detector_collect.service.app import create_app
from detector_collect.service.serving import TLS, listening, serving
from detector_collect.service.settings import ServiceSettings, client_certificates
from detector_collect.store.database import Store
from detector_collect.worker import Worker

from .common import database, material
from .work import run_worker

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from detector_collect.worker import MaterialConfig

LISTEN_DEFAULT: Final = "127.0.0.1:8080"
"""A port that needs no privilege, reached from this machine alone: a proxy in front ends TLS."""

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})

LOG: Final = logging.getLogger("detector_collect.service")


@options.command(
    "detector-collect serve --demo",
    "detector-collect serve --database sqlite:///collect.sqlite --signing-key service.key",
    (
        "detector-collect serve --database postgresql://collector@db.example.com/collector --signing-key key.pem"
        " --listen 0.0.0.0:8080 --proxy 192.0.2.0/28 --origin https://review.example.com"
    ),
)
def serve(  # noqa: PLR0913 - one parameter per option
    *,
    database: str | None = database,
    signing_key: str | None = options.service(
        "--signing-key",
        "Sign receipts with this Ed25519 key (PKCS #8), from `detector witness keygen`; the same for all processes.",
        metavar="PEM",
    ),
    listen: str = options.service(
        "--listen", "Where to listen; port 0 is any free one.", default=LISTEN_DEFAULT, metavar="HOST:PORT"
    ),
    only: str | None = options.service(
        "--only", "Serve one part alone, as for two host names.", type=click.Choice(["ingest", "review"])
    ),
    worker: bool = options.service(
        "--worker/--no-worker", "Assess what was received in this process, too.", default=True, show_default=True
    ),
    origin: str | None = options.service(
        "--origin", "Address of the review room as browsers see it; this machine's own by default.", metavar="URL"
    ),
    identity_issuer: str | None = options.service(
        "--identity-issuer", "The OpenID provider where reviewers sign in.", metavar="URL"
    ),
    identity_client: str | None = options.service(
        "--identity-client", "What it calls this site (client ID).", metavar="NAME"
    ),
    identity_secret: str | None = options.service(
        "--identity-secret", "File with the client secret that it gave, readable by the service alone.", metavar="FILE"
    ),
    proxies: tuple[str, ...] = options.service(
        "--proxy",
        "Believe client certificates that a proxy at this address or in this network passes; repeatable.",
        multiple=True,
        metavar="NETWORK",
    ),
    certificate_header: str = options.service(
        "--certificate-header", "The header that it passes them in.", default="Client-Cert", metavar="NAME"
    ),
    certificate_form: str = options.service(
        "--certificate-form",
        "How: RFC 9440, or PEM with URL encoding ($ssl_client_escaped_cert of nginx).",
        type=click.Choice(["rfc9440", "pem"]),
        default="rfc9440",
    ),
    demo: bool = options.service(
        "--demo",
        "Serve a simulated term of twenty institutions, in a new database: a temporary one unless one is named.",
        is_flag=True,
    ),
    settings: dict[str, Any] = options.settings(only={"data", "pins"}),
    tls_cert: str | None = options.service(
        "--tls-cert", "End TLS here: the certificate chain, leaf first.", metavar="PEM"
    ),
    tls_key: str | None = options.service("--tls-key", "Its private key, not encrypted.", metavar="PEM"),
) -> int:
    """Receive evidence, and show the review room, until interrupted.

    Prints where it listens; logs are JSON on standard error. One process: to serve more, start more behind one
    PostgreSQL and a proxy that spreads requests. On SIGTERM, SIGHUP or Ctrl-C, requests in progress are answered and
    the exit code is 0.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("Give --tls-cert and --tls-key together.")
    host, port = _address(listen)
    with contextlib.ExitStack() as stack:
        if demo:
            if host not in _THIS_MACHINE:
                raise click.UsageError("--demo signs anybody in: let it --listen on 127.0.0.1, ::1 or localhost.")
            if database is None:
                database = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/collect.sqlite"
        if database is None:
            raise click.UsageError("Name the database: --database URL, or set DETECTOR_COLLECT_DATABASE.")
        if signing_key is None and not demo:
            raise click.UsageError("Name the key that signs receipts: --signing-key PEM.")
        tls = None if tls_cert is None or tls_key is None else TLS(Path(tls_cert), Path(tls_key))
        key = Ed25519PrivateKey.generate() if signing_key is None else load_signing_key(signing_key)
        sockets = asyncio.run(listening(host, port))  # first: a port in use is said before a term is simulated
        for one in sockets:
            stack.enter_context(one)
        port = sockets[0].getsockname()[1]
        address = _address_of(host, port, tls)
        service = ServiceSettings(
            key,
            origin=origin or (address if host in _THIS_MACHINE else _address_of("127.0.0.1", port, tls)),
            identity=_identity(identity_issuer, identity_client, identity_secret),
            certificates=client_certificates(proxies, header=certificate_header, form=certificate_form),
        )
        logs.install()
        serving_one = _Service(service, sockets, address, tls, only, material(settings) if worker else None)
        asyncio.run(serving_one.run(database, demo=demo))
    return common.CLEAN


def _address_of(host: str, port: int, tls: TLS | None) -> str:
    return f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"


def _identity(issuer: str | None, client: str | None, secret: str | None) -> Configuration | None:
    """The identity provider that is configured. Raises `KeyFileError`, and click.UsageError for a part of it."""
    if issuer is None and client is None and secret is None:
        return None
    if issuer is None or client is None or secret is None:
        raise click.UsageError("Give --identity-issuer, --identity-client and --identity-secret together.")
    text = read_key_file(secret, private=True).decode("utf-8", "replace").strip()
    if not text or not text.isprintable():
        raise KeyFileError(f"{secret}: holds no client secret.", advice="Write the secret into it, and nothing else.")
    return Configuration(issuer, client, text)


class _Service(NamedTuple):
    """One service on open sockets; `known` is what its worker assesses with, None without a worker."""

    settings: ServiceSettings
    sockets: list[socket.socket]
    address: str
    tls: TLS | None
    only: str | None
    known: MaterialConfig | None

    async def run(self, database: str, *, demo: bool) -> None:
        """Serve until interrupted."""
        async with await Store.open(database, migrate=demo) as store:
            one = await self._filled(store) if demo else self
            await one._serve(store)  # noqa: SLF001 - its own class

    async def _filled(self, store: Store) -> _Service:
        """The service of a demonstration: its term is filled in, and its people may be signed in as."""
        put("Simulating and assessing a term of twenty institutions: half a minute, or more on a busy machine.")
        now, begun = self.settings.clock(), time.monotonic()
        term = await demonstration.fill(store, now=now)
        people = await demonstration.add_people(store, now=now)
        put(f"Simulated: {term.submissions} submissions, assessed within {time.monotonic() - begun:.0f} s.")
        known = None if self.known is None else term.config
        return self._replace(settings=self.settings._replace(demo_people=people), known=known)

    async def _serve(self, store: Store) -> None:
        stop = asyncio.Event()
        app = create_app(
            store,
            self.settings,
            receives=self.only != "review",
            review=() if self.only == "ingest" else [review.routes()],
        )
        async with (
            serving(app, self.sockets, limits=self.settings.limits, tls=self.tls),
            _working(store, stop, self.known),
        ):
            with signals.setting(stop):
                LOG.info("started")
                put(self.address)
                await stop.wait()
            LOG.info("stopping")
        LOG.info("stopped")


@contextlib.asynccontextmanager
async def _working(store: Store, stop: asyncio.Event, known: MaterialConfig | None) -> AsyncIterator[None]:
    """Assess what was received until the block ends; a worker that fails stops the service, and its error is raised."""
    if known is None:
        yield
        return
    async with Worker(store, known) as worker:
        task = asyncio.create_task(run_worker(store, worker))
        task.add_done_callback(lambda _: stop.set())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _address(listen: str) -> tuple[str, int]:
    """Split `host:port`. Raises `InputError`."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal():
        raise InputError(f"--listen: {listen[:100]!r} is no host and port.", advice=f"Write {LISTEN_DEFAULT}.")
    return host.strip("[]"), int(port)
